//! What is removed where the master alone has what is durable. A member that takes over in an emergency may know nothing of the last
//! day; so a snapshot that only the master knows of does not justify the removal of the last one that every member knows.
//!
//! Two may stay that no rule keeps: the newest that every member knows, and the oldest of the others, which takes its place in a day.
//! Without the second no snapshot of a policy that fires often would ever grow old enough.

use std::collections::BTreeSet;

use super::super::id::SnapshotUuid;
use super::decide::{Decision, Plan, Verdict};
use super::reason::{Reason, Reasons, Removal};

/// The plan in which these stay too. `known` are the snapshots that every member knows of.
#[must_use]
pub fn sparing(plan: Plan, known: &BTreeSet<SnapshotUuid>) -> Plan {
    let newest_known = plan.decisions.iter().filter(is_good).find(|decision| known.contains(&decision.snapshot));
    let oldest_other = plan.decisions.iter().filter(is_good).rfind(|decision| !known.contains(&decision.snapshot));
    let spared: BTreeSet<SnapshotUuid> = newest_known.into_iter().chain(oldest_other).map(|decision| decision.snapshot).collect();
    let mut plan = plan;
    for decision in plan.decisions.iter_mut().filter(|decision| spared.contains(&decision.snapshot)) {
        if decision.verdict == Verdict::Remove(Removal::NotKept) {
            decision.verdict = Verdict::Keep(Reasons::from_iter([Reason::Members]));
        }
    }
    plan
}

/// Whether a snapshot is one that a VM could be brought back from.
fn is_good(decision: &&Decision) -> bool {
    const NONE: [Reason; 5] = [Reason::NotDurable, Reason::Unresolved, Reason::Detached, Reason::Foreign, Reason::Future];
    match decision.verdict {
        Verdict::Keep(reasons) => !NONE.into_iter().any(|reason| reasons.has(reason)),
        Verdict::Remove(removal) => removal == Removal::NotKept,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    /// The newest first; `x` is removed, `k` kept, `p` a partial one that goes; capitals are known to every member.
    fn spared(plan: &str) -> String {
        let snapshot = |n: usize| SnapshotUuid(Uuid::from_u128(n as u128));
        let verdict = |letter: char| match letter.to_ascii_lowercase() {
            'k' => Verdict::Keep(Reasons::from_iter([Reason::Last])),
            'p' => Verdict::Remove(Removal::Partial),
            _ => Verdict::Remove(Removal::NotKept),
        };
        let decision =
            |(n, letter)| Decision { snapshot: snapshot(n), due_at: chrono::DateTime::UNIX_EPOCH, verdict: verdict(letter) };
        let decisions = plan.chars().enumerate().map(decision).collect();
        let known = plan.chars().enumerate().filter(|(_, letter)| letter.is_uppercase()).map(|(n, _)| snapshot(n)).collect();
        let letter = |decision: &Decision| if decision.verdict.keeps() { 'k' } else { 'x' };
        sparing(Plan { decisions }, &known).decisions.iter().map(letter).collect()
    }

    #[test]
    fn the_newest_that_every_member_knows_and_the_oldest_of_the_others_stay() {
        // Nightly, one of them: last night's is known by the master alone.
        assert_eq!(spared("kXX"), "kkx");
        // Nightly, two of them: the rules keep one that everybody knows.
        assert_eq!(spared("kKX"), "kkx");
        // Every hour, two of them: one grows old.
        assert_eq!(spared("kkxxX"), "kkxkk");
        assert_eq!(spared("kkxx"), "kkxk");
        assert_eq!(spared("KKX"), "kkx");
    }

    #[test]
    fn what_counts_for_nothing_is_not_spared() {
        assert_eq!(spared("kPX"), "kxk");
        assert_eq!(spared("kP"), "kx");
        assert_eq!(spared(""), "");
    }
}
