//! `[policy.guards]`. All of it has defaults, which let a policy work on a healthy pool as if there were none.

use super::super::fields::Fields;
use super::super::findings::Findings;
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
    fields.finish(findings);
    guards
}
