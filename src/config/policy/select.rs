//! `[policy.select]`, and clauses in general: tables whose keys are fields and whose values are patterns.

use super::super::fields::{Fields, read};
use super::super::findings::Findings;
use super::super::told::Told;
use super::super::tree::{Table, Text, Value};
use super::Extent;
use crate::domain::policy::PolicyError;
use crate::domain::selection::{Clause, Condition, DiskClause, DiskField, Field, Pattern, PatternError, Selection};

pub(super) fn selection(fields: &mut Fields<'_>, extent: Extent, findings: &mut Findings) -> Option<Selection> {
    if extent == Extent::Whole && fields.lacks("select") {
        findings.error(fields.place(), "this policy has no `select`", format!("{}, in [policy.select]", nothing().help));
    }
    let mut fields = fields.table("select", findings)?;
    let exclude = fields.tables("exclude", findings).map(|tables| clauses(&tables.value, findings)).unwrap_or_default();
    let include = include(&mut fields, extent, findings);
    let honour_no_bak = fields.flag("honour_no_bak", findings).is_some_and(|honour| honour.value);
    fields.finish(findings);
    Some(Selection { include: include?, exclude, honour_no_bak })
}

fn nothing() -> Told {
    Told::from_message(&PolicyError::NothingSelected.to_string())
}

/// `all` or `include`: the one that stands nearer to the policy; not both in one place.
fn include(fields: &mut Fields<'_>, extent: Extent, findings: &mut Findings) -> Option<Vec<Clause>> {
    let all = fields.flag("all", findings).filter(|all| all.value);
    let include = fields.tables("include", findings);
    let read = include.as_ref().map(|tables| clauses(&tables.value, findings)).unwrap_or_default();
    match (all, include) {
        (Some(all), Some(include)) if include.depth == all.depth => {
            let other = (all.place, "every VM is taken here");
            findings.conflict(include.place, other, "`include` has no effect beside all = true", "keep one of the two");
            None
        }
        (Some(all), include) if include.as_ref().is_none_or(|include| include.yields_to(&all)) => Some(vec![Clause::default()]),
        (_, Some(include)) if !include.value.is_empty() || extent == Extent::Part => Some(read),
        (_, include) => {
            if extent == Extent::Whole && (include.is_some() || fields.lacks("include")) {
                findings.error(include.map_or(fields.place(), |include| include.place), nothing().message, nothing().help);
            }
            None
        }
    }
}

fn clauses(tables: &[&Table], findings: &mut Findings) -> Vec<Clause> {
    tables.iter().map(|table| clause(table, findings)).collect()
}

fn clause(table: &Table, findings: &mut Findings) -> Clause {
    let conditions = conditions(table, &Field::ALL.map(|field| (field.word(), field)), Field::pattern, findings);
    Clause(conditions.into_iter().map(|(field, patterns)| Condition { field, patterns }).collect())
}

/// Reads a clause about disks.
pub(super) fn disk_clause(table: &Table, findings: &mut Findings) -> DiskClause {
    DiskClause(conditions(table, &DiskField::ALL.map(|field| (field.word(), field)), DiskField::pattern, findings))
}

/// The conditions of a clause: one pattern, or several of which one must fit, for each field.
fn conditions<F: Copy>(
    table: &Table,
    all: &[(&'static str, F)],
    pattern: impl Fn(F, &str) -> Result<Pattern, PatternError>,
    findings: &mut Findings,
) -> Vec<(F, Vec<Pattern>)> {
    let mut fields = Fields::new(table);
    let mut conditions = Vec::new();
    for (word, field) in all {
        if let Some(Value::Integer(Some(number))) = fields.node(word).map(|node| &node.value)
            && *word == "position"
        {
            conditions.extend(pattern(*field, &number.to_string()).map(|pattern| (*field, vec![pattern])).ok());
            continue;
        }
        let Some(texts) = fields.texts(word, findings) else { continue };
        if texts.value.is_empty() {
            findings.error(texts.place, format!("`{word}` has no value"), format!("write {word} = \"...\", or leave it out"));
        }
        let read = |(node, text): (_, &Text)| read(node, text, pattern(*field, &text.text), findings).map(|read| read.value);
        conditions.push((*field, texts.value.into_iter().filter_map(read).collect()));
    }
    if table.entries.is_empty() {
        findings.error(table.place, "a clause without conditions fits everything", "write a condition: { tag = \"...\" }");
    }
    fields.finish(findings);
    conditions
}
