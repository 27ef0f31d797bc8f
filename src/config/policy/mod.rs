//! One policy, from its table to the value of the domain. A template is read the same way, except that nothing is missing in it:
//! so a mistake in a template is told even if nobody inherits it.

mod hooks;
mod retention;
mod schedule;
mod select;
mod snapshot;

use std::num::NonZeroU32;

use chrono::{DateTime, Utc};

use super::fields::{Fields, Written, shortened};
use super::findings::Findings;
use super::inherit::INHERIT;
use super::settings::DaemonLimits;
use super::source::Place;
use super::told::Told;
use super::tree::Table;
use crate::domain::id::{NameError, PolicyId};
use crate::domain::policy::{Limits, Policy, PolicyError, Priority};
use crate::domain::schedule::ScheduleError;
use crate::domain::span::Exact;

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// A policy.
    Whole,
    /// A template, in which keys may be missing.
    Part,
}

/// What the reading of policies needs to know besides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surroundings {
    pub now: DateTime<Utc>,
    pub limits: DaemonLimits,
}

/// A policy with the places that are compared with those of others.
#[derive(Debug)]
pub(super) struct ReadPolicy {
    pub policy: Policy,
    pub place: Place,
    pub name: Place,
    /// Nothing when the id was made from the name.
    pub id: Option<Place>,
    pub pools: Vec<Written<String>>,
}

/// Reads a policy, or checks a template. A policy that is not read leaves an error behind: none ever vanishes in silence.
pub(super) fn policy(table: &Table, extent: Extent, around: &Surroundings, findings: &mut Findings) -> Option<ReadPolicy> {
    let before = findings.errors();
    let read = parts(table, extent, around, findings).filter(|_| findings.errors() == before);
    if read.is_none() && extent == Extent::Whole && findings.errors() == before {
        findings.error(table.place, "this policy is incomplete", "compare it with the samples in policies.d");
    }
    read.filter(|read| sound(read, around, findings))
}

fn parts(table: &Table, extent: Extent, around: &Surroundings, findings: &mut Findings) -> Option<ReadPolicy> {
    let mut fields = Fields::new(table);
    // Followed already; asked for so that it is known.
    let _ = fields.node(INHERIT);
    let identity = if extent == Extent::Whole { identity(&mut fields, findings) } else { None };
    let enabled = fields.flag("enabled", findings);
    let observe = fields.flag("observe", findings);
    let priority = fields.number("priority", 0..=100, findings);
    let pools = pools(&mut fields, findings);
    let schedule = schedule::schedule(&mut fields, extent, findings);
    let selection = select::selection(&mut fields, extent, findings);
    let snapshot = snapshot::snapshot(&mut fields, extent, findings);
    let hooks = hooks::hooks(&mut fields, findings);
    let rpo = rpo(&mut fields, findings);
    let retention = retention::retention(&mut fields, extent, findings);
    let limits = limits(&mut fields, around, findings);
    fields.finish(findings);
    let (name, id, id_place) = identity?;
    let policy = Policy {
        id,
        name: name.value.to_owned(),
        enabled: enabled.is_none_or(|enabled| enabled.value),
        observe: observe.is_some_and(|observe| observe.value),
        priority: priority.and_then(|number| Priority::new(u8::try_from(number.value).ok()?)).unwrap_or_default(),
        schedule: schedule?,
        selection: selection?,
        snapshot: snapshot?,
        hooks,
        rpo,
        retention: retention?,
        limits,
    };
    Some(ReadPolicy { policy, place: table.place, name: name.place, id: id_place, pools })
}

/// The last word has the domain: whatever was overlooked here is an error too. What depends on today's date is a warning, because
/// a file that was right yesterday must not keep the daemon from starting today.
fn sound(read: &ReadPolicy, around: &Surroundings, findings: &mut Findings) -> bool {
    let policy = &read.policy;
    match policy.check(around.now) {
        Ok(()) => {}
        Err(PolicyError::Schedule(error @ ScheduleError::NeverOpen { .. })) => {
            findings.warning(read.name, format!("\"{}\" does not fire: {error}", policy.name), "look at window and blackout");
        }
        Err(error) => {
            let told = Told::from_message(&error.to_string());
            findings.error(read.place, told.message, told.help);
            return false;
        }
    }
    for doubt in policy.doubts(around.now) {
        let told = Told::from_message(&doubt.to_string());
        findings.warning(read.name, format!("\"{}\": {}", policy.name, told.message), told.help);
    }
    if !policy.enabled {
        findings.warning(read.name, format!("\"{}\" is disabled and will not fire", policy.name), "");
    }
    if policy.observe {
        findings.warning(read.name, format!("\"{}\" only observes: it plans and records, and touches nothing", policy.name), "");
    }
    true
}

/// Name and id. Without an id it follows from the name, and a rename makes another policy of it.
fn identity<'t>(fields: &mut Fields<'t>, findings: &mut Findings) -> Option<(Written<&'t str>, PolicyId, Option<Place>)> {
    if fields.lacks("name") {
        findings.error(fields.place(), "a [[policy]] needs a name", "write name = \"Nightly\"");
    }
    let name = fields.text("name", findings);
    let id = fields.parsed::<PolicyId>("id", findings);
    let written = fields.key("id").is_some();
    let name = name?;
    if name.value.trim().is_empty() || name.value.chars().count() > 64 || name.value.chars().any(char::is_control) {
        findings.error(name.place, "this is no name of a policy", "write 1 to 64 characters on one line");
        return None;
    }
    if written {
        return id.map(|id| (name, id.value, Some(id.place)));
    }
    match slug(name.value) {
        Some(id) => {
            let message = format!("\"{}\" has no id of its own, so a rename would leave its snapshots behind", name.value);
            findings.warning(name.place, message, format!("write id = \"{id}\" below the name"));
            Some((name, id, None))
        }
        None => {
            let message = format!("no id can be made of the name \"{}\"", shortened(name.value));
            findings.error(name.place, message, "write id = \"...\" with letters, digits, `-`, `_` and `.`");
            None
        }
    }
}

/// The id of a name: the domain's own suggestion, in small letters.
fn slug(name: &str) -> Option<PolicyId> {
    if !name.chars().any(|c| c.is_ascii_alphanumeric()) {
        return None;
    }
    match name.to_ascii_lowercase().parse() {
        Ok(id) => Some(id),
        Err(NameError::Character { suggestion, .. }) => suggestion.parse().ok(),
        Err(_) => None,
    }
}

fn rpo(fields: &mut Fields<'_>, findings: &mut Findings) -> Option<Exact> {
    let rpo = fields.parsed::<Exact>("rpo", findings)?;
    let (least, most) = (Exact::seconds(60), Exact::seconds(366 * 86_400));
    let fits = (least..=most).contains(&rpo.value);
    if !fits {
        findings.error(rpo.place, "`rpo` is out of range", format!("write {least} to {most}, for example rpo = \"26h\""));
    }
    fits.then_some(rpo.value)
}

fn pools(fields: &mut Fields<'_>, findings: &mut Findings) -> Vec<Written<String>> {
    let Some(pools) = fields.texts("pools", findings) else { return Vec::new() };
    if pools.value.is_empty() {
        findings.error(pools.place, "no pool is named", "name one, or leave `pools` out for all of them");
    }
    let written = |(node, text): (&super::tree::Node, &super::tree::Text)| Written {
        value: text.text.clone(),
        place: node.place,
        depth: node.depth,
    };
    pools.value.into_iter().map(written).collect()
}

fn limits(fields: &mut Fields<'_>, around: &Surroundings, findings: &mut Findings) -> Limits {
    let Some(mut fields) = fields.table("limits", findings) else { return Limits::default() };
    let bounds = around.limits;
    let [per_sr, per_host, per_pool] = [("per_sr", bounds.per_sr), ("per_host", bounds.per_host), ("per_pool", bounds.per_pool)]
        .map(|(key, bound)| {
            let limit = fields.number(key, 1..=1000, findings)?;
            if limit.value > bound.get() {
                let message = format!("`{key}` is above the daemon's limit of {bound}, which holds");
                findings.warning(limit.place, message, format!("raise {key} in [daemon.limits], or leave it out here"));
            }
            NonZeroU32::new(limit.value)
        });
    fields.finish(findings);
    Limits { per_sr, per_host, per_pool }
}
