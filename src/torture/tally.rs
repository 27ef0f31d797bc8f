//! How often each kind of fault was planned, and seen to have had an effect.

use std::collections::BTreeMap;
use std::fmt;

use super::plan::Fault;

/// Counts over one or many plays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    counts: BTreeMap<Fault, Count>,
}

/// Of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// How often it was tried.
    pub planned: u64,
    /// How often something came of it.
    pub fired: u64,
}

impl Tally {
    /// It was tried.
    pub fn planned(&mut self, fault: Fault) {
        self.counts.entry(fault).or_default().planned += 1;
    }

    /// An effect was seen.
    pub fn fired(&mut self, fault: Fault, times: u64) {
        self.counts.entry(fault).or_default().fired += times;
    }

    /// Adds another play's.
    pub fn add(&mut self, other: &Self) {
        for (fault, count) in &other.counts {
            let sum = self.counts.entry(*fault).or_default();
            sum.planned += count.planned;
            sum.fired += count.fired;
        }
    }

    /// Of one kind.
    pub fn of(&self, fault: Fault) -> Count {
        self.counts.get(&fault).copied().unwrap_or_default()
    }

    /// How often the service was killed.
    pub fn kills(&self) -> u64 {
        Fault::ALL.iter().filter(|fault| fault.kills()).map(|fault| self.of(*fault).fired).sum()
    }

    /// The kinds of which nothing was seen.
    pub fn silent(&self) -> Vec<Fault> {
        Fault::ALL.iter().copied().filter(|fault| self.of(*fault).fired == 0).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<18} {:>8} {:>8}", "fault", "planned", "seen")?;
        for fault in Fault::ALL {
            let count = self.of(*fault);
            writeln!(f, "{:<18} {:>8} {:>8}", fault.word(), count.planned, count.fired)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_which_nothing_was_seen_is_silent_however_often_it_was_planned() {
        let mut tally = Tally::default();
        for fault in Fault::ALL {
            tally.planned(*fault);
            tally.fired(*fault, u64::from(*fault != Fault::Crash));
        }
        assert_eq!(tally.silent(), [Fault::Crash]);
        assert_eq!(tally.kills(), 3);
    }
}
