//! What a policy asks to keep.

use std::fmt;

use thiserror::Error;

use super::super::span::CalendarSpan;
use super::reason::Reason;

/// What is kept; the union of all rules. Zero switches a rule off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules {
    /// The newest so many.
    pub last: u32,
    /// The newest of each of so many hours, days, ISO weeks, months and years that have any, by [`Period`].
    pub periods: [u32; 5],
    /// Everything up to so long before the newest. Counted from the newest snapshot and not from today, so that a daemon that was
    /// off for a month does not remove everything when it comes back.
    pub within: Option<CalendarSpan>,
    /// The newest so many stay under all circumstances; at least one does.
    pub min: u32,
}

/// A rule by period of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(usize)]
pub enum Period {
    /// Real hours: a night with a repeated hour has 25.
    Hour,
    /// Civil days.
    Day,
    /// ISO weeks, from Monday.
    Week,
    /// Civil months.
    Month,
    /// Civil years.
    Year,
}

impl Period {
    /// All periods, short ones first.
    pub const ALL: [Period; 5] = [Period::Hour, Period::Day, Period::Week, Period::Month, Period::Year];

    /// The reason that a rule of this period gives.
    pub fn reason(self) -> Reason {
        match self {
            Period::Hour => Reason::Hourly,
            Period::Day => Reason::Daily,
            Period::Week => Reason::Weekly,
            Period::Month => Reason::Monthly,
            Period::Year => Reason::Yearly,
        }
    }
}

/// When a run removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// After the new snapshot exists and is durable.
    #[default]
    SnapshotFirst,
    /// Before the new snapshot is taken, for tight storage; never below `min` durable good ones.
    PruneFirst,
}

/// Rules that cannot be meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RulesError {
    /// Nothing is kept.
    #[error("no rule keeps anything; write for example last = 7")]
    Empty,
    /// A count beyond reason.
    #[error("{word} = {count} is more than {MOST}, the most that is taken; a VHD chain ends at 30 snapshots anyway")]
    TooMany {
        /// Which rule.
        word: &'static str,
        /// What it asks for.
        count: u32,
    },
}

/// The most that a rule may keep.
const MOST: u32 = 100_000;

impl Rules {
    /// Keeps the newest `count`.
    pub fn last(count: u32) -> Self {
        Self { last: count, min: 1, ..Self::default() }
    }

    /// Keeps everything. No file can say this; it is for what no file has any more.
    pub fn everything() -> Self {
        Self::last(u32::MAX)
    }

    /// Whether the rules can be meant.
    pub fn check(&self) -> Result<(), RulesError> {
        let counts = Period::ALL.map(|period| (period.reason().word(), self.of(period)));
        let all = counts.into_iter().chain([("last", self.last), ("min", self.min)]);
        if let Some((word, count)) = all.into_iter().find(|(_, count)| *count > MOST) {
            return Err(RulesError::TooMany { word, count });
        }
        let within = self.within.is_some_and(|within| !within.is_zero());
        if self.last == 0 && !within && self.periods.iter().all(|count| *count == 0) { Err(RulesError::Empty) } else { Ok(()) }
    }

    /// How many of a period are kept.
    pub fn of(&self, period: Period) -> u32 {
        self.periods[period as usize]
    }

    /// The rules with so many of a period.
    pub fn with(mut self, period: Period, count: u32) -> Self {
        self.periods[period as usize] = count;
        self
    }

    /// How many of the newest always stay.
    pub(super) fn floor(&self) -> u32 {
        self.min.max(1)
    }

    /// The most snapshots that the counting rules can keep of one VM at once; `within` may keep more.
    pub fn most_counted(&self) -> u32 {
        let periods = self.periods.iter().fold(0_u32, |sum, count| sum.saturating_add(*count));
        self.last.max(self.floor()).saturating_add(periods)
    }
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let periods = Period::ALL.map(|period| (period.reason().word(), self.of(period)));
        let counts = [("last", self.last)].into_iter().chain(periods).chain([("min", self.min)]);
        let counts = counts.filter(|(_, count)| *count > 0).map(|(word, count)| format!("{word} {count}"));
        let within = self.within.map(|within| format!("within {within}"));
        f.write_str(&counts.chain(within).collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_keep_nothing_are_refused() {
        assert_eq!(Rules { min: 3, ..Rules::default() }.check(), Err(RulesError::Empty));
        assert_eq!(Rules { within: Some(CalendarSpan::default()), ..Rules::default() }.check(), Err(RulesError::Empty));
        assert_eq!(Rules::last(1).check(), Ok(()));
    }

    #[test]
    fn a_count_beyond_reason_is_refused() {
        assert_eq!(
            Rules::last(1).with(Period::Day, 4_000_000).check(),
            Err(RulesError::TooMany { word: "daily", count: 4_000_000 })
        );
    }

    #[test]
    fn rules_are_shown_as_they_are_written() {
        let rules = Rules { within: Some("14d".parse().unwrap()), ..Rules::last(3).with(Period::Week, 4) };
        assert_eq!(rules.to_string(), "last 3, weekly 4, min 1, within 14d");
        assert_eq!(rules.most_counted(), 7);
    }
}
