//! Errors and warnings for people: all of them, each with file, line, caret and what to write instead. Passwords cannot appear:
//! the texts that are quoted were covered when they were read.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet, normalize_untrusted_str};

pub use super::findings::Severity;
use super::findings::{Finding, Findings, Spot};
use super::source::{Place, Source, Sources};

/// One thing to correct or to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// In which file.
    pub file: PathBuf,
    /// In which line, from 1, unless it concerns the file as a whole.
    pub line: Option<usize>,
    /// What is the matter.
    pub message: String,
    /// What to write instead.
    pub help: String,
    place: Option<Place>,
    related: Option<(Place, &'static str)>,
}

impl fmt::Display for Problem {
    /// One line, for the journal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, " {}", self.message)?;
        if self.help.is_empty() { Ok(()) } else { write!(f, "; {}", self.help) }
    }
}

/// Everything that was found in the files of a configuration, in their order.
#[derive(Clone, Default)]
pub struct Diagnostics {
    sources: Arc<Sources>,
    problems: Vec<Problem>,
    left_out: usize,
}

/// More problems are not drawn: who has a hundred has one cause.
const MOST_DRAWN: usize = 100;

/// Longer lines are not drawn.
const LONGEST_LINE: usize = 500;

impl Diagnostics {
    pub(super) fn new(sources: Arc<Sources>, findings: Findings) -> Self {
        let (kept, left_out) = findings.into_sorted();
        let problems = kept.into_iter().map(|finding| problem(&sources, finding)).collect();
        Self { sources, problems, left_out }
    }

    /// All problems, by file and line.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter()
    }

    /// The problems that keep the configuration from being used.
    pub fn errors(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(|problem| problem.severity == Severity::Error)
    }

    /// How many problems there are.
    pub fn len(&self) -> usize {
        self.problems.len() + self.left_out
    }

    /// True when there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// All problems as they are shown to people, in colours or without.
    pub fn render(&self, coloured: bool) -> String {
        let renderer = if coloured { Renderer::styled() } else { Renderer::plain() };
        let drawn: Vec<String> = self.problems.iter().take(MOST_DRAWN).map(|problem| self.draw(&renderer, problem)).collect();
        let mut text = drawn.join("\n\n");
        match self.len().saturating_sub(MOST_DRAWN) {
            0 => {}
            more => text.push_str(&format!("\n\n... and {more} more")),
        }
        text
    }

    fn draw(&self, renderer: &Renderer, problem: &Problem) -> String {
        let level = if problem.severity == Severity::Error { Level::ERROR } else { Level::WARNING };
        let group = Group::with_title(level.primary_title(problem.message.as_str()));
        let group = match problem.place {
            Some(place) => self.quote(group, place, AnnotationKind::Primary, None),
            None => group.element(Origin::path(shown(&problem.file))),
        };
        let group = match problem.related {
            Some((place, label)) => self.quote(group, place, AnnotationKind::Context, Some(label)),
            None => group,
        };
        let help = (!problem.help.is_empty()).then(|| Level::HELP.message(normalize_untrusted_str(&problem.help)));
        renderer.render(&[group.elements(help)])
    }

    /// The line of a place, marked. Only that line is handed on, so that a huge file costs nothing.
    fn quote<'a>(&'a self, group: Group<'a>, place: Place, kind: AnnotationKind, label: Option<&'static str>) -> Group<'a> {
        let Some(source) = self.sources.get(place.file) else { return group };
        let number = source.line_of(place.range().start);
        let line = source.line(number);
        let name = shown(&source.name);
        match source.text.get(line.clone()).filter(|text| text.len() <= LONGEST_LINE) {
            Some(text) => {
                let span = within(source, place, &line);
                let snippet = Snippet::source(text).path(name).line_start(number);
                group.element(snippet.annotation(kind.span(span).label(label)))
            }
            None => {
                let before = source.text.get(line.start..place.range().start).unwrap_or_default();
                group.element(Origin::path(name).line(number).char_column(before.chars().count() + 1))
            }
        }
    }
}

/// The part of a place that lies in a line, in bytes of the line. It has at least one character where there is one.
fn within(source: &Source, place: Place, line: &std::ops::Range<usize>) -> std::ops::Range<usize> {
    let text = &source.text[line.clone()];
    let inside = |at: usize| {
        let mut at = at.clamp(line.start, line.end) - line.start;
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let (start, end) = (inside(place.range().start), inside(place.range().end));
    let one_more = text[start..].chars().next().map_or(start, |first| start + first.len_utf8());
    start..end.max(one_more)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn problem(sources: &Sources, finding: Finding) -> Problem {
    let place = match finding.spot {
        Spot::File(_) => None,
        Spot::At(place) => Some(place),
    };
    Problem {
        severity: finding.severity,
        file: sources.name(finding.spot.file()).to_owned(),
        line: place.map(|place| sources.line(place)),
        message: one_line(&finding.message),
        help: one_line(&finding.help),
        place,
        related: finding.related,
    }
}

/// Values are quoted in messages; what would move the cursor or colour the terminal is shown as what it is.
fn one_line(text: &str) -> String {
    let visible = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(visible).collect()
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl fmt::Debug for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.problems.iter().map(Problem::to_string)).finish()
    }
}

impl std::error::Error for Diagnostics {}
