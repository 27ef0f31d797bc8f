//! `[[policy.hooks]]`.

use std::collections::BTreeMap;
use std::path::Path;

use super::super::fields::{Fields, text};
use super::super::findings::Findings;
use super::super::rights;
use super::super::tree::{Table, Value};
use crate::domain::policy::{Hook, OnFailure, Phase};
use crate::domain::span::Exact;

const PHASES: [(&str, Phase); 4] = [
    ("before_run", Phase::BeforeRun),
    ("after_run", Phase::AfterRun),
    ("before_vm", Phase::BeforeVm),
    ("after_vm", Phase::AfterVm),
];
const FAILURES: [(&str, OnFailure); 2] = [("fail", OnFailure::Fail), ("continue", OnFailure::Continue)];

/// How long a command may take.
const TIMEOUT: Exact = Exact::seconds(60);
/// Variables that describe run and VM begin so.
const RESERVED: &str = "XENSNAP_";

pub(super) fn hooks(fields: &mut Fields<'_>, findings: &mut Findings) -> Vec<Hook> {
    let tables = fields.tables("hooks", findings).map(|tables| tables.value).unwrap_or_default();
    tables.into_iter().filter_map(|table| hook(table, findings)).collect()
}

fn hook(table: &Table, findings: &mut Findings) -> Option<Hook> {
    let mut fields = Fields::new(table);
    if fields.lacks("phase") {
        let help = "write phase = \"before_vm\", \"after_vm\", \"before_run\" or \"after_run\"";
        findings.error(fields.place(), "a hook needs `phase`", help);
    }
    let phase = fields.choice("phase", &PHASES, findings);
    let command = command(&mut fields, findings);
    let environment = environment(&mut fields, findings);
    let timeout = fields.parsed::<Exact>("timeout", findings);
    let on_failure = fields.choice("on_failure", &FAILURES, findings);
    fields.finish(findings);
    if let Some(timeout) = timeout.filter(|timeout| timeout.value == Exact::default()) {
        findings.error(timeout.place, "no command ends in no time", "write for example timeout = \"60s\"");
    }
    Some(Hook {
        phase: phase?.value,
        command: command?,
        environment,
        timeout: timeout.map_or(TIMEOUT, |timeout| timeout.value),
        on_failure: on_failure.map(|choice| choice.value).unwrap_or_default(),
    })
}

fn command(fields: &mut Fields<'_>, findings: &mut Findings) -> Option<Vec<String>> {
    let example = "write command = [\"/usr/local/bin/before-snapshot\", \"--quiet\"]";
    if fields.lacks("command") {
        findings.error(fields.place(), "a hook needs `command`", example);
    }
    let command = fields.texts("command", findings)?;
    let Some((program, text)) = command.value.first() else {
        findings.error(command.place, "a command needs a program", example);
        return None;
    };
    if !text.text.starts_with('/') {
        let message = "the program is named without its full path";
        findings.error(program.place, message, format!("{example}; no shell and no PATH is used"));
    } else if text.text.contains(' ') && command.value.len() == 1 {
        let help = "write each argument as a text of its own: [\"/bin/sync\", \"-f\"]";
        findings.warning(program.place, "the program's path contains a space", help);
    } else {
        rights::program(Path::new(&text.text), program.place, findings);
    }
    if let Some((node, _)) = command.value.iter().find(|(_, text)| text.text.contains('\0')) {
        findings.error(node.place, "a command cannot contain a zero byte", "remove \\u0000");
    }
    Some(command.value.iter().map(|(_, text)| text.text.clone()).collect())
}

fn environment(fields: &mut Fields<'_>, findings: &mut Findings) -> BTreeMap<String, String> {
    let Some(Value::Table(table)) = fields.node("environment").map(|node| &node.value) else {
        fields.table("environment", findings);
        return BTreeMap::new();
    };
    let mut variables = BTreeMap::new();
    for (name, entry) in &table.entries {
        let well_formed = !name.starts_with(|c: char| c.is_ascii_digit())
            && !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !well_formed {
            findings.error(entry.key, "this is no name of a variable", "write letters, digits and `_`");
        } else if name.starts_with(RESERVED) {
            let message = format!("variables that begin with {RESERVED} describe run and VM");
            findings.error(entry.key, message, "choose another name");
        }
        let Some(value) = text(name, &entry.node, findings) else { continue };
        if value.text.contains('\0') {
            findings.error(entry.node.place, "a variable cannot contain a zero byte", "remove \\u0000");
        }
        variables.insert(name.clone(), value.text.clone());
    }
    variables
}
