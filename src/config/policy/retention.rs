//! `[policy.retention]`.

use std::str::FromStr;

use super::super::fields::{Fields, Written};
use super::super::findings::Findings;
use super::super::told::Told;
use super::Extent;
use crate::domain::policy::{Afterwards, Retention};
use crate::domain::retention::{Order, Period, Rules, RulesError};
use crate::domain::span::{CalendarSpan, Exact};

/// The most that a rule may keep.
const MOST: u32 = 100_000;
const ORDERS: [(&str, Order); 2] = [("snapshot-first", Order::SnapshotFirst), ("prune-first", Order::PruneFirst)];
const COUNTS: [(&str, Period); 5] = [
    ("hourly", Period::Hour),
    ("daily", Period::Day),
    ("weekly", Period::Week),
    ("monthly", Period::Month),
    ("yearly", Period::Year),
];

/// `keep`, or `remove after 30d`.
struct AfterwardsText(Afterwards);

impl FromStr for AfterwardsText {
    type Err = Told;

    fn from_str(text: &str) -> Result<Self, Told> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.as_slice() {
            ["keep"] => Ok(Self(Afterwards::Keep)),
            ["remove", "after", span @ ..] if !span.is_empty() => {
                let span = span.concat().parse::<Exact>()?;
                Ok(Self(Afterwards::RemoveAfter(span)))
            }
            _ => Err(Told::from_message("this is not understood; write \"keep\", or \"remove after 30d\"")),
        }
    }
}

pub(super) fn retention(fields: &mut Fields<'_>, extent: Extent, findings: &mut Findings) -> Option<Retention> {
    if extent == Extent::Whole && fields.lacks("retention") {
        findings.error(fields.place(), "this policy does not say what it keeps", "write retention = { last = 7 }");
    }
    let mut fields = fields.table("retention", findings)?;
    let before = findings.errors();
    let (rules, min) = rules(&mut fields, findings);
    let order = fields.choice("order", &ORDERS, findings);
    let on_vm_deleted = fields.parsed::<AfterwardsText>("on_vm_deleted", findings);
    let on_policy_removed = fields.parsed::<AfterwardsText>("on_policy_removed", findings);
    let place = fields.place();
    fields.finish(findings);
    if extent == Extent::Whole && findings.errors() == before {
        match rules.check() {
            Ok(()) => within_reach(&rules, min, findings),
            Err(error @ RulesError::Empty) => {
                let told = Told::from_message(&error.to_string());
                findings.error(place, told.message, told.help);
            }
            Err(error) => findings.error(place, error.to_string(), ""),
        }
    }
    Some(Retention {
        rules,
        order: order.map(|order| order.value).unwrap_or_default(),
        on_vm_deleted: on_vm_deleted.map(|text| text.value.0).unwrap_or_default(),
        on_policy_removed: on_policy_removed.map(|text| text.value.0).unwrap_or_default(),
    })
}

fn rules(fields: &mut Fields<'_>, findings: &mut Findings) -> (Rules, Option<Written<u32>>) {
    let mut rules = Rules::last(0);
    if let Some(last) = fields.number("last", 0..=MOST, findings) {
        rules.last = last.value;
    }
    for (key, period) in COUNTS {
        if let Some(count) = fields.number(key, 0..=MOST, findings) {
            rules = rules.with(period, count.value);
        }
    }
    rules.within = fields.parsed::<CalendarSpan>("within", findings).map(|within| within.value);
    let min = fields.number("min", 1..=MOST, findings);
    rules.min = min.map_or(1, |min| min.value);
    (rules, min)
}

/// A floor above everything that the rules keep would be the only rule.
fn within_reach(rules: &Rules, min: Option<Written<u32>>, findings: &mut Findings) {
    let most = Rules { min: 1, ..*rules }.most_counted();
    if let Some(min) = min.filter(|min| rules.within.is_none() && min.value > most) {
        findings.error(
            min.place,
            format!("`min` is more than all rules together keep ({most})"),
            format!("write last = {}, or a smaller `min`", min.value),
        );
    }
}
