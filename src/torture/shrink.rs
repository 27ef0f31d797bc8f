//! A shorter plan that fails as well: steps are left out as long as the same invariant breaks, many at a time first, then one by one.

use super::plan::{Plan, Step};

/// A play for each question is the price; after so many the plan is short enough.
const PLAYS: usize = 60;

/// Shortens a plan. `fails` plays one and says whether it still fails in the way that is looked for.
pub async fn shrink(plan: &Plan, mut fails: impl AsyncFnMut(&Plan) -> bool) -> Plan {
    let mut best = plan.clone();
    let mut plays = 0;
    let mut size = best.steps.len().div_ceil(2).max(1);
    while plays < PLAYS && !best.steps.is_empty() {
        let mut at = 0;
        while at < best.steps.len() && plays < PLAYS {
            let candidate = without(&best, at, size);
            plays += 1;
            if fails(&candidate).await {
                best = candidate;
            } else {
                at += size;
            }
        }
        if size == 1 {
            break;
        }
        size = size.div_ceil(2);
    }
    best
}

/// The plan without so many steps from `at` on; what nothing goes wrong in any more is not played.
fn without(plan: &Plan, at: usize, size: usize) -> Plan {
    let kept = plan.steps.iter().enumerate().filter(|(number, _)| !(at..at + size).contains(number));
    let steps: Vec<Step> = kept.map(|(_, step)| step.clone()).collect();
    let last = steps.last().map_or(0, |step| step.at / 86_400);
    Plan { days: u32::try_from(last).unwrap_or(plan.days).saturating_add(1).min(plan.days), steps, ..*plan }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torture::plan::Fault;

    #[tokio::test]
    async fn only_the_steps_that_it_takes_are_left() {
        let plan = Plan::draw(5, 14);
        let (one, other) = (plan.steps[3].clone(), plan.steps[plan.steps.len() - 5].clone());
        let fails = async |plan: &Plan| plan.steps.contains(&one) && plan.steps.contains(&other);
        let short = shrink(&plan, fails).await;
        assert_eq!(short.steps, [one.clone(), other.clone()]);
        assert!(short.days <= plan.days);
    }

    #[tokio::test]
    async fn a_plan_that_fails_without_any_fault_ends_up_empty() {
        let short = shrink(&Plan::draw(5, 14), async |_: &Plan| true).await;
        assert!(short.steps.is_empty() && short.days == 1 && !Plan::draw(5, 14).kinds().is_empty());
        assert!(Fault::ALL.len() > 20);
    }
}
