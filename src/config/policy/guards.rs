//! `[policy.guards]`. All of it has defaults, which let a policy work on a healthy pool as if there were none.

use super::super::fields::Fields;
use super::super::findings::Findings;
use crate::domain::chain::LIMIT;
use crate::domain::guard::removals::{Limits, MOST};
use crate::domain::guard::{Coalesce, Guards, OnLowSpace, Reserve};

pub(super) fn guards(fields: &mut Fields<'_>, findings: &mut Findings) -> Guards {
    let mut guards = Guards::default();
    let Some(mut fields) = fields.table("guards", findings) else { return guards };
    if let Some(reserve) = fields.parsed::<Reserve>("space_reserve", findings) {
        guards.space_reserve = reserve.value;
    }
    if let Some(choice) = fields.choice("on_low_space", &OnLowSpace::WORDS, findings) {
        guards.on_low_space = choice.value;
    }
    chains(&mut fields, &mut guards, findings);
    let [per_vm, per_run] = ["max_removals_per_vm", "max_removals_per_run"]
        .map(|key| fields.number(key, 0..=MOST, findings).map(|number| number.value));
    guards.removals = Limits { per_vm, per_run };
    fields.finish(findings);
    guards
}

fn chains(fields: &mut Fields<'_>, guards: &mut Guards, findings: &mut Findings) {
    let depths = 2..=u32::try_from(LIMIT - 1).unwrap_or(u32::MAX);
    let [warn, refuse] = ["chain_warn", "chain_refuse"].map(|key| fields.number(key, depths.clone(), findings));
    let depth = |value: u32| usize::try_from(value).unwrap_or_default();
    if let Some(refuse) = &refuse {
        guards.chain_refuse = depth(refuse.value);
        // A default gives way to what was written.
        guards.chain_warn = guards.chain_warn.min(guards.chain_refuse);
    }
    if let Some(warn) = warn {
        guards.chain_warn = depth(warn.value);
        if guards.chain_warn > guards.chain_refuse {
            let help = format!("write chain_warn = {} or less, or raise chain_refuse", guards.chain_refuse);
            findings.error(warn.place, "nobody would be warned before snapshots are refused", help);
        }
    }
    if let Some(choice) = fields.choice("coalesce", &Coalesce::WORDS, findings) {
        guards.coalesce = choice.value;
    }
}
