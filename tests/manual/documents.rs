//! What the documents tell of the program is true: each command line is one, each role is the least that suffices, each exit code and
//! each alarm is there. The paper is read, and the program is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use xensnap::domain::event::{EventKind, Severity};
use xensnap::simulator::model::Model;

use crate::{stdout, text, xensnap};

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The documents, by their paths.
fn documents() -> Vec<PathBuf> {
    let pages = std::fs::read_dir(file("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = pages.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.chain(["README.md", "systemd/xensnap.catalog"].map(file)).collect()
}

/// A command line that a document shows.
struct Shown {
    place: String,
    words: Vec<String>,
    /// It is named in a sentence, where what it needs may be left out.
    named: bool,
}

/// Splits as a shell does, as far as documents need it; ends where another command begins.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            ('#' | '|' | '>' | ';' | '&', None) if word.is_none() => break,
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// What stands for something else: a snapshot's uuid is the only thing that must look like one.
fn filled_in(word: String) -> String {
    match word.as_str() {
        "SNAPSHOT" | "@SNAPSHOT_UUID@" => "4e09ffe2-bf2f-4ca4-b115-5f38703ed324".to_owned(),
        "DATE" => "2027-01-31".to_owned(),
        "SHELL" => "bash".to_owned(),
        _ => word,
    }
}

/// A line with its number.
type Line<'a> = (usize, &'a str);

/// The lines of a page with their numbers: those of its blocks, and the others.
fn lines(page: &str) -> (Vec<Line<'_>>, Vec<Line<'_>>) {
    let (mut blocks, mut prose, mut in_block) = (Vec::new(), Vec::new(), false);
    for line in page.lines().enumerate() {
        if line.1.trim_start().starts_with("```") {
            in_block = !in_block;
        } else {
            if in_block { &mut blocks } else { &mut prose }.push((line.0 + 1, line.1));
        }
    }
    (blocks, prose)
}

/// What stands between two quotes, with the number of the line in which it begins; it may go on in the next.
fn quoted(prose: &[Line<'_>], quote: char) -> Vec<(usize, String)> {
    let (mut found, mut open) = (Vec::new(), None::<(usize, String)>);
    for (number, line) in prose {
        // A paragraph ends what somebody forgot to end.
        open = open.filter(|_| !line.is_empty());
        for c in line.chars().chain([' ']) {
            match (&mut open, c == quote) {
                (None, true) => open = Some((*number, String::new())),
                (Some(_), true) => found.extend(open.take()),
                (Some((_, span)), false) => span.push(c),
                (None, false) => {}
            }
        }
    }
    found
}

/// Command lines in the blocks of a page, and in its sentences between backquotes, or between quotes in the catalogue.
fn shown(path: &Path) -> Vec<Shown> {
    let page = text(path);
    let (blocks, prose) = lines(&page);
    let quote = if path.extension().is_some_and(|extension| extension == "catalog") { '"' } else { '`' };
    let blocks = blocks.into_iter().map(|(number, line)| (number, line.trim_start_matches(['$', ' ']).to_owned(), false));
    let named = quoted(&prose, quote).into_iter().map(|(number, span)| (number, span, true));
    let ours =
        |command: &str| command.starts_with("xensnap ") || command.starts_with("systemd-run") && command.contains(" xensnap ");
    let commands = blocks.chain(named).filter(|(_, command, _)| ours(command));
    let shown = commands.map(|(number, command, named)| {
        // Nobody writes the dots.
        let words = words(&command).into_iter().filter(|word| !word.starts_with("..") && !word.starts_with('…'));
        let words = words.skip_while(|word| word != "xensnap").skip(1).map(filled_in).collect();
        Shown { place: format!("{}:{number}: {command}", path.display()), words, named }
    });
    shown.collect()
}

#[test]
fn each_command_line_in_the_documents_is_one() {
    let all: Vec<Shown> = documents().iter().flat_map(|path| shown(path)).collect();
    assert!(all.len() > 100, "only {} were found", all.len());
    let wrong: Vec<String> = all
        .iter()
        .filter_map(|shown| {
            let why = xensnap::cli::understood(shown.words.iter().map(String::as_str)).err()?;
            let left_out = why.contains("required arguments were not provided") || why.contains("requires a subcommand");
            (!shown.named || !left_out).then(|| format!("{}\n    {why}", shown.place))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The rows of the table below this heading, without its head.
fn table(page: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

fn operations() -> String {
    text(&file("docs/OPERATIONS.md"))
}

#[test]
fn every_event_that_may_need_somebody_stands_in_the_table_of_alarms_with_what_to_do() {
    let told: BTreeMap<String, String> = table(&operations(), "Alarms")
        .into_iter()
        .map(|row| {
            assert!(row.len() == 4 && row[2..].iter().all(|cell| cell.len() > 10), "{row:?}");
            (row[0].trim_matches('`').to_owned(), row[1].clone())
        })
        .collect();
    let kinds = EventKind::ALL.iter().filter(|kind| kind.severity() >= Severity::Warning);
    let expected: BTreeMap<String, String> =
        kinds.map(|kind| (kind.as_str().to_owned(), kind.severity().as_str().to_owned())).collect();
    assert_eq!(told, expected);
}

#[test]
fn each_call_stands_in_the_table_of_rights_with_the_least_role_that_may_make_it() {
    let mut told = BTreeSet::new();
    for row in table(&operations(), "Rights in the pool") {
        for method in row[0].split(", ").map(|method| method.trim_matches('`')) {
            let (_, message) = Model::get().message(method).unwrap_or_else(|| panic!("there is no {method}"));
            assert_eq!(message.role.as_deref(), Some(row[1].as_str()), "{method}");
            told.insert(method.to_lowercase());
        }
    }
    let missing: Vec<String> = calls_of_the_engine().into_iter().filter(|method| !told.contains(method)).collect();
    assert!(missing.is_empty(), "{missing:?} are called as well");
}

/// What the engine calls that not every role may call, in lower case.
fn calls_of_the_engine() -> BTreeSet<String> {
    let (mut folders, mut methods) = (vec![file("src/engine")], BTreeSet::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
                continue;
            }
            for call in text(&entry).split("calls::").skip(1) {
                let end = call.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(call.len());
                methods.insert(call[..end].replace("::", "."));
            }
        }
    }
    let classes = Model::get().classes().iter();
    let messages = classes.flat_map(|class| class.messages.iter().map(move |message| (class, message)));
    let called = messages.filter_map(|(class, message)| {
        let method = format!("{}.{}", class.name, message.name).to_lowercase();
        (message.role.as_deref() != Some("read-only") && methods.contains(&method)).then_some(method)
    });
    called.collect()
}

#[test]
fn the_exit_codes_are_those_that_help_lists() {
    let help = stdout(xensnap().arg("--help"));
    let rows = table(&operations(), "Exit codes");
    assert!(rows.len() >= 4);
    let told: Vec<String> = rows.iter().map(|row| format!("{} {}", row[0], row[1])).collect();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains(&format!("Exit codes: {}.", told.join("; "))), "{help}\n{told:?}");
}

#[test]
fn links_between_the_documents_lead_somewhere() {
    for path in documents().iter().filter(|path| path.extension().is_some_and(|extension| extension == "md")) {
        for link in text(path).split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let (target, heading) = link.split_once('#').unwrap_or((link, ""));
            if target.contains("://") {
                continue;
            }
            let there = if target.is_empty() { path.clone() } else { path.parent().unwrap().join(target) };
            assert!(there.exists(), "{}: {link}", path.display());
            let anchors = |page: &str| -> BTreeSet<String> {
                let headings =
                    page.lines().filter_map(|line| line.strip_prefix('#')).map(|line| line.trim_start_matches('#').trim());
                headings.map(|heading| heading.to_lowercase().replace(' ', "-")).collect()
            };
            assert!(heading.is_empty() || anchors(&text(&there)).contains(heading), "{}: {link}", path.display());
        }
    }
}
