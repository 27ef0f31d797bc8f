//! Names and descriptions of snapshots, from a template. They are for people: readable in XenCenter and `xe`, in the policy's zone.
//! Nothing but the nonce at the end is ever read back, and that only to find an attempt again.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use thiserror::Error;

use super::id::{PolicyId, RunId};
use super::nearest::nearest;
use super::nonce::Nonce;
use super::snapshot::Kind;
use super::zone::Zone;

/// The longest name, nonce included, in characters.
pub const LONGEST_NAME: usize = 200;
/// The longest description, in characters.
pub const LONGEST_DESCRIPTION: usize = 1000;
/// How `{due}` is written unless it says otherwise.
const DUE: &str = "%Y-%m-%d %H:%M";
/// What a template may contain, longer than any sensible one.
const LONGEST_TEMPLATE: usize = 1000;

/// A template that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}; {help}")]
pub struct TemplateError {
    /// Where in the template, in bytes.
    pub at: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

/// A checked template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    source: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Vm,
    Policy,
    PolicyId,
    /// The due time in this form of strftime.
    Due(String),
    Zone,
    Run,
    Kind,
}

const WORDS: [&str; 7] = ["vm", "policy", "policy_id", "due", "zone", "run", "kind"];

/// What a template is filled with.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The VM's name.
    pub vm: &'a str,
    /// The policy's name.
    pub policy: &'a str,
    /// The policy's id.
    pub policy_id: &'a PolicyId,
    /// When the slot was due.
    pub due_at: DateTime<Utc>,
    /// The policy's zone.
    pub zone: &'a Zone,
    /// The run.
    pub run: RunId,
    /// How the snapshot is taken.
    pub kind: Kind,
}

impl Template {
    /// The name of a snapshot: the template filled, cut to length, and the nonce.
    pub fn name(&self, subject: &Subject<'_>, nonce: Nonce) -> String {
        let suffix = nonce.suffix();
        let mut name = cut(&self.fill(subject), LONGEST_NAME - suffix.len());
        name.push_str(&suffix);
        name
    }

    /// The description of a snapshot: the template filled and cut to length.
    pub fn description(&self, subject: &Subject<'_>) -> String {
        cut(&self.fill(subject), LONGEST_DESCRIPTION)
    }

    /// The policy's name and nothing else.
    pub fn of_policy() -> Self {
        Self { source: "{policy}".to_owned(), pieces: vec![Piece::Policy] }
    }

    fn fill(&self, subject: &Subject<'_>) -> String {
        let filled = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Vm => subject.vm.to_owned(),
            Piece::Policy => subject.policy.to_owned(),
            Piece::PolicyId => subject.policy_id.to_string(),
            Piece::Due(format) => subject.zone.format(subject.due_at, format).unwrap_or_default(),
            Piece::Zone => subject.zone.to_string(),
            Piece::Run => subject.run.to_string(),
            Piece::Kind => subject.kind.to_string(),
        });
        filled.collect::<String>().chars().map(storable).collect::<String>().trim().to_owned()
    }
}

/// The server refuses a text with a character that XML cannot carry, with an error that explains nothing.
fn storable(c: char) -> char {
    match c {
        '\u{FFFE}' | '\u{FFFF}' => char::REPLACEMENT_CHARACTER,
        c if c.is_control() => ' ',
        c => c,
    }
}

/// At most so many characters; what is cut off is shown by dots.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most - 3).collect();
    short.truncate(short.trim_end().len());
    short + "..."
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        if text.trim().is_empty() {
            return refuse(0..text.len(), "the template is empty", "write for example \"{policy} {due:%Y-%m-%d %H:%M}\"");
        }
        if text.len() > LONGEST_TEMPLATE {
            return refuse(
                0..text.len(),
                format!("the template is longer than {LONGEST_TEMPLATE} characters"),
                "write a shorter one",
            );
        }
        Ok(Self { source: text.to_owned(), pieces: Reader { text, at: 0 }.pieces()? })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.source)
    }
}

fn refuse<T>(at: Range<usize>, message: impl Into<String>, help: impl Into<String>) -> Result<T, TemplateError> {
    Err(TemplateError { at, message: message.into(), help: help.into() })
}

/// Reads a template from left to right.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn pieces(&mut self) -> Result<Vec<Piece>, TemplateError> {
        let mut pieces = Vec::new();
        while self.at < self.text.len() {
            pieces.push(self.piece()?);
        }
        Ok(pieces)
    }

    fn piece(&mut self) -> Result<Piece, TemplateError> {
        let rest = &self.text[self.at..];
        if rest.starts_with("{{") || rest.starts_with("}}") {
            self.at += 2;
            return Ok(Piece::Text(rest[..1].to_owned()));
        }
        match rest.as_bytes()[0] {
            b'{' => self.placeholder(rest),
            b'}' => refuse(self.at..self.at + 1, "a brace closes nothing", "write }} for a brace in the name"),
            _ => {
                let end = rest.find(['{', '}']).unwrap_or(rest.len());
                self.at += end;
                Ok(Piece::Text(rest[..end].to_owned()))
            }
        }
    }

    fn placeholder(&mut self, rest: &str) -> Result<Piece, TemplateError> {
        let Some(end) = rest.find('}') else {
            return refuse(self.at..self.text.len(), "a brace is not closed", "write {{ for a brace in the name");
        };
        let at = self.at..self.at + end + 1;
        self.at = at.end;
        let inside = &rest[1..end];
        let (word, format) = inside.split_once(':').map_or((inside, None), |(word, format)| (word, Some(format)));
        match (word, format) {
            ("due", format) => due(at, format.unwrap_or(DUE)),
            (word, Some(_)) if WORDS.contains(&word) => {
                refuse(at, format!("{{{word}}} takes no format"), format!("write {{{word}}}"))
            }
            ("vm", None) => Ok(Piece::Vm),
            ("policy", None) => Ok(Piece::Policy),
            ("policy_id", None) => Ok(Piece::PolicyId),
            ("zone", None) => Ok(Piece::Zone),
            ("run", None) => Ok(Piece::Run),
            ("kind", None) => Ok(Piece::Kind),
            (word, _) => unknown(at, word),
        }
    }
}

fn unknown<T>(at: Range<usize>, word: &str) -> Result<T, TemplateError> {
    let help = match nearest(word, WORDS) {
        Some(word) => format!("write {{{word}}}"),
        None => format!("the words are {}", WORDS.map(|word| format!("{{{word}}}")).join(", ")),
    };
    refuse(at, format!("{{{word}}} is not known"), help)
}

/// Checks the form of strftime by using it.
fn due(at: Range<usize>, format: &str) -> Result<Piece, TemplateError> {
    match Zone::utc().format(DateTime::UNIX_EPOCH, format) {
        Some(shown) if !shown.trim().is_empty() => Ok(Piece::Due(format.to_owned())),
        _ => refuse(at, format!("\"{format}\" is no form of strftime"), "write for example {due:%Y-%m-%d %H:%M}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use uuid::Uuid;

    use super::*;

    fn filled(template: &str, vm: &str) -> String {
        let (zone, policy_id) = (Zone::named("Europe/Berlin").unwrap(), "nightly".parse().unwrap());
        let subject = Subject {
            vm,
            policy: "Nightly (gold)",
            policy_id: &policy_id,
            due_at: "2026-11-22T01:30:00Z".parse().unwrap(),
            zone: &zone,
            run: RunId(Uuid::from_u128(7)),
            kind: Kind::Disk,
        };
        template.parse::<Template>().unwrap().name(&subject, Nonce::from_bits([0; 5]))
    }

    #[rstest]
    #[case("{vm} {policy} {due}", "web-01 Nightly (gold) 2026-11-22 02:30 #00000000")]
    #[case("{policy_id}-{due:%Y%m%d-%H%M%Z}", "nightly-20261122-0230CET #00000000")]
    #[case("{kind} in {zone}, run {run}", "disk in Europe/Berlin, run 00000000-0000-0000-0000-000000000007 #00000000")]
    #[case("{{{vm}}} }}{{", "{web-01} }{ #00000000")]
    #[case("自動 {vm}", "自動 web-01 #00000000")]
    fn a_name_is_filled_in_the_zone_of_the_policy(#[case] template: &str, #[case] expected: &str) {
        assert_eq!(filled(template, "web-01"), expected);
    }

    #[test]
    fn a_long_name_is_cut_before_the_nonce() {
        let name = filled("{vm} {due}", &"long name ".repeat(100));
        assert_eq!(name.chars().count(), LONGEST_NAME);
        assert!(name.ends_with("long na... #00000000"), "{name}");
    }

    #[test]
    fn characters_that_the_server_refuses_are_replaced() {
        assert_eq!(filled("{vm}", "a\u{0}b\tc\u{FFFF}"), "a b c\u{FFFD} #00000000");
    }

    #[rstest]
    #[case("", 0..0, "the template is empty", "write for example \"{policy} {due:%Y-%m-%d %H:%M}\"")]
    #[case("{vm", 0..3, "a brace is not closed", "write {{ for a brace in the name")]
    #[case("a } b", 2..3, "a brace closes nothing", "write }} for a brace in the name")]
    #[case("x {polcy}", 2..9, "{polcy} is not known", "write {policy}")]
    #[case("{}", 0..2, "{} is not known", "the words are {vm}, {policy}, {policy_id}, {due}, {zone}, {run}, {kind}")]
    #[case("{vm:%Y}", 0..7, "{vm} takes no format", "write {vm}")]
    #[case("{due:%!}", 0..8, "\"%!\" is no form of strftime", "write for example {due:%Y-%m-%d %H:%M}")]
    #[case("{due:}", 0..6, "\"\" is no form of strftime", "write for example {due:%Y-%m-%d %H:%M}")]
    fn a_mistake_is_shown_where_it_is(#[case] text: &str, #[case] at: Range<usize>, #[case] message: &str, #[case] help: &str) {
        let error = text.parse::<Template>().unwrap_err();
        assert_eq!((error.at, error.message.as_str(), error.help.as_str()), (at, message, help));
    }

    proptest! {
        #[test]
        fn every_name_is_bounded_storable_and_ends_with_its_nonce(vm in "\\PC{0,300}|[\\x00-\\x1f a]{0,20}") {
            let name = filled("{vm} {due}", &vm);
            prop_assert!(name.chars().count() <= LONGEST_NAME);
            prop_assert!(!name.contains(|c: char| c.is_control()));
            prop_assert!(Nonce::from_bits([0; 5]).ends(&name));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "[{}:%a-z ü]{0,30}") {
            if let Err(error) = text.parse::<Template>() {
                prop_assert!(text.get(error.at).is_some());
            }
        }
    }
}
