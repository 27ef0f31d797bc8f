//! `[policy.select]`, and clauses in general: tables whose keys are fields and whose values are patterns.

use super::super::fields::{Fields, Told, read};
use super::super::findings::Findings;
use super::super::tree::{Table, Text, Value};
use super::Extent;
use crate::domain::policy::PolicyError;
use crate::domain::selection::{Clause, Condition, DiskClause, DiskField, Field, Pattern, PatternError, Selection};

pub(super) fn selection(fields: &mut Fields<'_>, extent: Extent, findings: &mut Findings) -> Option<Selection> {
    let nothing = Told::from_message(&PolicyError::NothingSelected.to_string());
    if extent == Extent::Whole && fields.key("select").is_none() {
        findings.error(fields.place(), "this policy has no `select`", format!("{}, in [policy.select]", nothing.help));
    }
    let mut fields = fields.table("select", findings)?;
    let all = fields.flag("all", findings);
    let include = fields.tables("include", findings);
    let exclude = fields.tables("exclude", findings).map(|tables| clauses(&tables.value, findings)).unwrap_or_default();
    let honour_no_bak = fields.flag("honour_no_bak", findings).is_some_and(|honour| honour.value);
    let place = fields.place();
    fields.finish(findings);
    let read = include.as_ref().map(|tables| clauses(&tables.value, findings)).unwrap_or_default();
    let include = match (all.filter(|all| all.value), include) {
        (Some(all), Some(include)) if !include.yields_to(&all) && !all.yields_to(&include) => {
            findings.conflict(
                include.place,
                (all.place, "every VM is taken here"),
                "`include` has no effect beside all = true",
                "keep one of the two",
            );
            return None;
        }
        (Some(all), include) if include.as_ref().is_none_or(|include| include.yields_to(&all)) => vec![Clause::default()],
        (_, Some(include)) => {
            if extent == Extent::Whole && include.value.is_empty() {
                findings.error(include.place, nothing.message, nothing.help);
            }
            read
        }
        (_, None) => {
            if extent == Extent::Whole {
                findings.error(place, nothing.message, nothing.help);
            }
            return None;
        }
    };
    Some(Selection { include, exclude, honour_no_bak })
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
