//! The JSON Schemas and the table they are made from: as shipped, true to the readers, and good for the samples. After a change of
//! the table: SNAPSHOTS=overwrite cargo test --test config schema.

use std::collections::BTreeSet;

use serde_json::Value as Json;
use snapbox::Data;
use xensnap::config::schema::{Block, CONFIG, Key, POLICIES, Shape, json_schema};
use xensnap::config::{Config, Diagnostics, Problem};

use crate::support::{MAIN, POLICY, now, policy, read, shipped, toml_files};

fn validator(file: &'static Block) -> jsonschema::Validator {
    jsonschema::validator_for(&serde_json::from_str(&json_schema(file)).unwrap()).unwrap()
}

fn mistakes(file: &'static Block, text: &str) -> Vec<String> {
    let value: Json = serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap();
    validator(file).iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn the_shipped_schemas_are_those_of_the_program() {
    for (file, name) in [(&CONFIG, "xensnap.schema.json"), (&POLICIES, "policy.schema.json")] {
        snapbox::assert_data_eq!(json_schema(file), Data::read_from(&shipped().join(name), None).raw());
    }
}

#[test]
fn every_sample_fits_its_schema() {
    for path in toml_files(&shipped().join("policies.d")) {
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(mistakes(&POLICIES, &text), [""; 0], "{}", path.display());
        let schema = text.lines().next().unwrap().strip_prefix("#:schema ").unwrap();
        assert!(path.parent().unwrap().join(schema).exists(), "{}", path.display());
    }
    let main = std::fs::read_to_string(shipped().join("xensnap.toml")).unwrap();
    assert!(main.starts_with("#:schema ./xensnap.schema.json\n"));
    // It lacks its installation on purpose.
    assert_eq!(mistakes(&CONFIG, &main).len(), 1);
    assert_eq!(mistakes(&CONFIG, &format!("installation = \"x\"\n{main}")), [""; 0]);
    assert_eq!(mistakes(&CONFIG, &format!("{MAIN}{POLICY}")), [""; 0]);
    assert_eq!(mistakes(&POLICIES, POLICY), [""; 0]);
}

/// What the readers refuse because of its form is refused by the schema too; what needs a look at the value is theirs alone.
#[test]
fn unknown_keys_and_wrong_kinds_of_values_are_refused() {
    let formal = [
        "unknown key",
        "` takes ",
        "is nothing that",
        "is out of range",
        "needs a name",
        "has no schedule",
        "has no `select`",
        "does not say what it keeps",
        "a schedule needs `",
        "a hook needs",
        "a [[pool]] needs",
        "[[alarms.mail]] needs",
        "[[alarms.webhook]] needs",
        "[alarms.dead_man] needs",
        "this pool has no password",
        "there is more than one password",
        "`installation` is missing",
    ];
    let mut refused = 0;
    for path in toml_files(&shipped().join("invalid")) {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let is_main = path.file_name().unwrap().to_str().unwrap().starts_with("main-");
        if text.parse::<toml::Table>().is_err() {
            continue;
        }
        let told = std::fs::read_to_string(path.with_extension("txt")).unwrap();
        let titles: Vec<&str> = told.lines().filter(|line| line.starts_with("error: ")).collect();
        // Bounds of lengths of time, and of what is written as text, are not in the schema.
        let told_by_form = titles.iter().any(|title| formal.iter().any(|form| title.contains(form)));
        let by_value =
            ["main-daemon-range", "template-with-id", "rpo-of-nothing"].iter().any(|name| path.to_str().unwrap().contains(name));
        if told_by_form && !by_value {
            let found = mistakes(if is_main { &CONFIG } else { &POLICIES }, &text);
            assert!(!found.is_empty(), "{} fits the schema\n{told}", path.display());
            refused += 1;
        }
    }
    assert!(refused >= 25, "{refused}");
}

/// Calls `look` with every block and a text that ends within it.
fn blocks(block: &'static Block, path: &str, before: &str, look: &mut impl FnMut(&'static Block, &str)) {
    look(block, before);
    for key in block.keys() {
        let inner = if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
        let (header, inner) = match key.shape {
            Shape::Table(_) => (format!("[{inner}]\n"), inner),
            Shape::Tables(_) => (format!("[[{inner}]]\n"), inner),
            Shape::Named(_) => (format!("[{inner}.some]\n"), format!("{inner}.some")),
            _ => continue,
        };
        blocks(key.shape.block().unwrap(), &inner, &format!("{before}{header}"), look);
    }
}

fn problems(file: &'static Block, text: &str) -> Vec<Problem> {
    let all = |problems: Diagnostics| problems.iter().cloned().collect();
    if std::ptr::eq(file, &CONFIG) {
        return Config::from_texts(("xensnap.toml", text), &[], now()).map_or_else(all, |_| Vec::new());
    }
    read(&[("a.toml", text)]).map_or_else(all, |_| Vec::new())
}

fn problem(file: &'static Block, text: &str, begins: &str) -> Problem {
    let all = problems(file, text);
    let found = all.iter().find(|problem| problem.message.starts_with(begins));
    found.unwrap_or_else(|| panic!("no problem begins with {begins:?} in\n{text}\n{all:?}")).clone()
}

/// Texts between these marks.
fn between(text: &str, mark: char) -> BTreeSet<String> {
    text.split(mark).skip(1).step_by(2).map(str::to_owned).collect()
}

fn names(block: &'static Block) -> BTreeSet<String> {
    block.keys().map(|key| key.name.to_owned()).collect()
}

#[test]
fn the_table_has_exactly_the_keys_that_the_readers_know() {
    let mut seen = 0;
    for file in [&CONFIG, &POLICIES] {
        blocks(file, "", "", &mut |block, before| {
            let told = problem(file, &format!("{before}zzzzzzzz9 = 1\n"), "unknown key `zzzzzzzz9`");
            assert_eq!(between(&told.help, '`'), names(block), "{before}");
            seen += 1;
        });
    }
    assert!(seen >= 40, "{seen}");
}

/// What the reader says about a value that fits nothing.
fn told_shape(key: &Key) -> (&'static str, &'static str) {
    match key.shape {
        Shape::Flag => ("\"x\"", "true or false"),
        Shape::Number(..) => ("true", "a number"),
        Shape::Text | Shape::Choice(_) | Shape::Texts | Shape::TextsOrNumber => ("true", "text"),
        Shape::Map | Shape::Table(_) | Shape::Named(_) => ("true", "a table"),
        Shape::Tables(_) => ("true", "a list of tables"),
    }
}

#[test]
fn the_table_says_of_each_value_what_its_reader_takes() {
    for file in [&CONFIG, &POLICIES] {
        blocks(file, "", "", &mut |block, before| {
            for key in block.keys() {
                let (wrong, wanted) = told_shape(key);
                let text = format!("{before}{} = {wrong}\n", key.name);
                problem(file, &text, &format!("`{}` takes {wanted}, not", key.name));
                match key.shape {
                    Shape::Number(from, to) => {
                        let told =
                            problem(file, &format!("{before}{} = 4000000000\n", key.name), &format!("`{}` is out", key.name));
                        assert_eq!(told.help, format!("write a number from {from} to {to}"), "{text}");
                    }
                    Shape::Choice(words) => {
                        let told = problem(file, &format!("{before}{} = \"zzzzzzzz9\"\n", key.name), "\"zzzzzzzz9\" is nothing");
                        let words: BTreeSet<String> = words.iter().map(ToString::to_string).collect();
                        assert_eq!(between(&told.help, '"'), words, "{text}");
                    }
                    _ => {}
                }
            }
        });
    }
}

#[test]
fn the_defaults_of_the_table_are_those_of_the_main_file() {
    let mut text = "installation = \"x\"\n".to_owned();
    blocks(&CONFIG, "", "", &mut |block, before| {
        let ours =
            ["daemon", "daemon.limits", "store", "metrics", "alarms", "alarms.digest", "alarms.pool_messages", "xensnap.toml"]
                .contains(&block.name);
        if ours {
            let header = before.lines().last().unwrap_or_default();
            let lines = block.keys().filter(|key| !key.default.is_empty());
            let lines: Vec<String> = lines.map(|key| format!("{} = {}", key.name, key.default)).collect();
            text.push_str(&format!("{header}\n{}\n", lines.join("\n")));
        }
    });
    let read = |text: &str| Config::from_texts(("/etc/xensnap/xensnap.toml", text), &[], now()).unwrap().config;
    assert!(text.contains("sync_interval = \"60s\"") && text.contains("keep = "), "{text}");
    // Without its table nothing listens; an empty one has the defaults.
    assert_eq!(read(&text), read("installation = \"x\"\n[metrics]\n[alarms.pool_messages]\n"));
}

#[test]
fn the_defaults_of_the_table_are_those_of_a_policy() {
    let mut seen = 0;
    blocks(&POLICIES, "", "", &mut |block, before| {
        if before.contains("[template") || before.contains("hooks") {
            return;
        }
        for key in block.keys().filter(|key| !key.default.is_empty()) {
            // Some count only beside another one.
            let beside = match key.name {
                "fallback" => "kind = \"memory\"\n",
                "shutdown_timeout" => "kind = \"offline\"\n",
                _ => "",
            };
            let text = |line: &str| with(before, &format!("{beside}{line}"));
            let line = format!("{} = {}\n", key.name, key.default);
            assert_eq!(policy(&text(&line)).policy, policy(&text("")).policy, "{line}");
            seen += 1;
        }
    });
    assert!(seen >= 20, "{seen}");
}

/// A policy with lines in the block where `before` ends.
fn with(before: &str, lines: &str) -> String {
    let header = before.lines().last().unwrap();
    let own = [
        ("[[policy]]", "name = \"N\"\nid = \"n\"\n"),
        ("[policy.schedule]", "cron = \"30 2 * * *\"\nzone = \"UTC\"\n"),
        ("[policy.select]", "include = [{ name = \"a\" }]\n"),
        // Something must be kept, whatever the other rules are.
        ("[policy.retention]", "within = \"1d\"\n"),
        ("[policy.snapshot]", ""),
    ];
    let shown = own.map(|(block, keys)| format!("{block}\n{keys}{}", if block == header { lines } else { "" }));
    shown.concat()
}
