//! `[policy.guards]`. All of it has defaults, which let a policy work on a healthy pool as if there were none.

use super::super::fields::Fields;
use super::super::findings::Findings;
use crate::domain::guard::removals::{Limits, MOST};
use crate::domain::guard::{Guards, OnLowSpace, Reserve};

pub(super) fn guards(fields: &mut Fields<'_>, findings: &mut Findings) -> Guards {
    let mut guards = Guards::default();
    let Some(mut fields) = fields.table("guards", findings) else { return guards };
    if let Some(reserve) = fields.parsed::<Reserve>("space_reserve", findings) {
        guards.space_reserve = reserve.value;
    }
    if let Some(choice) = fields.choice("on_low_space", &OnLowSpace::WORDS, findings) {
        guards.on_low_space = choice.value;
    }
    let [per_vm, per_run] = ["max_removals_per_vm", "max_removals_per_run"]
        .map(|key| fields.number(key, 0..=MOST, findings).map(|number| number.value));
    guards.removals = Limits { per_vm, per_run };
    fields.finish(findings);
    guards
}
