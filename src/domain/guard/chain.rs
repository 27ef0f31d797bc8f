//! Chains: whether a snapshot would lengthen a disk's chain towards the point at which the server refuses. What a chain consists of
//! tells whether waiting helps: layers that only wait for the storage's garbage collector go by themselves, those that somebody's
//! snapshots stand on do not.

use std::fmt;

use super::{Coalesce, Guards};
use crate::domain::chain::{Chain, LIMIT};

/// A disk with its chain. Which one that is, in words of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hanging<'a> {
    /// The disk's name, which may be empty.
    pub disk: &'a str,
    /// Its position.
    pub position: &'a str,
    /// The name of its SR.
    pub sr: &'a str,
    /// The storage coalesces there: nobody has switched its garbage collector off.
    pub coalesces: bool,
    /// What the disk stands on.
    pub chain: Chain,
}

/// A chain that is too long for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooLong {
    disk: String,
    sr: String,
    coalesces: bool,
    chain: Chain,
    /// How many other disks of the VM are so too.
    others: usize,
    /// The threshold that was reached.
    from: usize,
}

/// What is done about a VM's chains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chained {
    /// Nothing.
    Fine,
    /// The snapshot is taken, and somebody is told.
    Long(TooLong),
    /// It waits for the storage.
    Wait(TooLong),
    /// There is none.
    Refuse(TooLong),
}

/// Decides by the deepest chain; where one would wait and another be refused, it is refused.
pub fn chained<'a>(guards: &Guards, disks: impl IntoIterator<Item = Hanging<'a>>) -> Chained {
    let disks: Vec<Hanging<'a>> = disks.into_iter().collect();
    let full: Vec<&Hanging<'a>> = disks.iter().filter(|disk| disk.chain.depth >= guards.chain_refuse).collect();
    let hopeless: Vec<&Hanging<'a>> = full.iter().copied().filter(|disk| !gets_shorter(disk, guards.chain_refuse)).collect();
    if !hopeless.is_empty() || guards.coalesce == Coalesce::Refuse && !full.is_empty() {
        let why = if hopeless.is_empty() { &full } else { &hopeless };
        return deepest(why, guards.chain_refuse).map_or(Chained::Fine, Chained::Refuse);
    }
    if let Some(found) = deepest(&full, guards.chain_refuse) {
        return Chained::Wait(found);
    }
    let long: Vec<&Hanging<'a>> = disks.iter().filter(|disk| disk.chain.depth >= guards.chain_warn).collect();
    deepest(&long, guards.chain_warn).map_or(Chained::Fine, Chained::Long)
}

/// Whether the storage alone makes the chain short enough.
fn gets_shorter(disk: &Hanging<'_>, refuse: usize) -> bool {
    disk.coalesces && disk.chain.depth - disk.chain.remains < refuse
}

fn deepest(disks: &[&Hanging<'_>], from: usize) -> Option<TooLong> {
    let disk = disks.iter().max_by_key(|disk| disk.chain.depth)?;
    let Hanging { position, sr, coalesces, chain, .. } = **disk;
    let name = match disk.disk {
        "" => format!("the disk at position {position}"),
        name => format!("the disk {name:?} at position {position}"),
    };
    Some(TooLong { disk: name, sr: sr.to_owned(), coalesces, chain, others: disks.len() - 1, from })
}

impl TooLong {
    /// What makes it shorter.
    pub fn remedy(&self) -> String {
        let Chain { ours, others, shared, remains, .. } = self.chain;
        if remains > 0 && !self.coalesces {
            return "the SR's garbage collector is switched off: take gc, coalesce and leaf-coalesce = false out of its other_config".into();
        }
        if remains > 0 {
            return format!(
                "wait until the storage has coalesced {remains} of them, or look why it does not (SMlog, `xe sr-scan`)"
            );
        }
        match others.max(ours).max(shared) {
            most if most == others => "remove snapshots of other tools".into(),
            most if most == ours => "keep fewer snapshots".into(),
            _ => "copy the disk (xe vdi-copy): clones share its layers".into(),
        }
    }
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { disk, sr, chain, others, from, .. } = self;
        let depth = chain.depth;
        write!(f, "{disk} on SR {sr} has a chain of {depth} layers, {from} are too many (the server refuses at {LIMIT}): ")?;
        let parts = [
            (chain.ours, "under snapshots of xensnap"),
            (chain.others, "under snapshots of others"),
            (chain.shared, "shared by clones"),
            (chain.remains, "waiting to be coalesced"),
        ];
        let parts: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        f.write_str(&parts.join(", "))?;
        match others {
            0 => Ok(()),
            1 => f.write_str("; another disk is as bad"),
            n => write!(f, "; {n} other disks are as bad"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn disk(chain: Chain) -> Hanging<'static> {
        Hanging { disk: "root", position: "0", sr: "nfs", coalesces: true, chain }
    }

    fn chain(ours: usize, others: usize, remains: usize) -> Chain {
        Chain { depth: 1 + ours + others + remains, ours, others, shared: 0, remains }
    }

    fn word(decided: &Chained) -> &'static str {
        match decided {
            Chained::Fine => "fine",
            Chained::Long(_) => "long",
            Chained::Wait(_) => "wait",
            Chained::Refuse(_) => "refuse",
        }
    }

    #[rstest]
    #[case::short(chain(18, 0, 0), "fine")]
    #[case::at_the_first_threshold(chain(19, 0, 0), "long")]
    #[case::one_before_the_second(chain(7, 0, 19), "long")]
    #[case::at_the_second_with_remains(chain(10, 0, 17), "wait")]
    #[case::at_the_second_without(chain(10, 17, 0), "refuse")]
    #[case::remains_that_do_not_suffice(chain(10, 20, 2), "refuse")]
    fn a_chain_is_waited_for_only_where_that_helps(#[case] chain: Chain, #[case] expected: &str) {
        assert_eq!(word(&chained(&Guards::default(), [disk(chain)])), expected);
    }

    #[test]
    fn nobody_waits_for_a_collector_that_is_off_or_where_the_policy_does_not_want_it() {
        let off = Hanging { coalesces: false, ..disk(chain(0, 0, 28)) };
        let Chained::Refuse(found) = chained(&Guards::default(), [off]) else { panic!("it waits") };
        assert!(found.remedy().contains("switched off"), "{}", found.remedy());
        let refuse = Guards { coalesce: Coalesce::Refuse, ..Guards::default() };
        assert_eq!(word(&chained(&refuse, [disk(chain(0, 0, 28))])), "refuse");
    }

    #[test]
    fn it_is_told_which_disk_where_how_deep_and_why() {
        let second = Hanging { disk: "", position: "1", ..disk(chain(0, 27, 0)) };
        let Chained::Refuse(found) = chained(&Guards::default(), [disk(chain(2, 28, 0)), second]) else { panic!() };
        assert_eq!(
            found.to_string(),
            "the disk \"root\" at position 0 on SR nfs has a chain of 31 layers, 28 are too many (the server refuses at 30): \
             2 under snapshots of xensnap, 28 under snapshots of others; another disk is as bad"
        );
        assert_eq!(found.remedy(), "remove snapshots of other tools");
    }

    #[test]
    fn one_disk_that_cannot_be_waited_for_is_enough_to_refuse() {
        let decided = chained(&Guards::default(), [disk(chain(0, 0, 29)), disk(chain(0, 27, 0))]);
        let Chained::Refuse(found) = decided else { panic!("{decided:?}") };
        assert_eq!(found.chain.depth, 28, "the one that is in the way is told");
    }

    proptest! {
        #[test]
        fn no_chain_that_the_server_would_refuse_is_ever_let_pass(ours in 0usize..40, others in 0usize..40, remains in 0usize..40, warn in 2usize..30, more in 0usize..28, wait: bool) {
            let refuse = (warn + more).min(29);
            let coalesce = if wait { Coalesce::Wait } else { Coalesce::Refuse };
            let guards = Guards { chain_warn: warn.min(refuse), chain_refuse: refuse, coalesce, ..Guards::default() };
            let chain = chain(ours, others, remains);
            let passes = matches!(chained(&guards, [disk(chain)]), Chained::Fine | Chained::Long(_));
            prop_assert_eq!(passes, chain.depth < refuse);
        }
    }
}
