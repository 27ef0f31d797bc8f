//! Which hour, day, week, month or year a moment belongs to, in a zone. Keys grow with time; where a zone turns its clocks back
//! over midnight a key may return for an hour, and whoever walks must not take that for a new period.

use chrono::{DateTime, Datelike, NaiveDateTime, Timelike, Utc};

use super::super::zone::{Segment, Zone};
use super::rules::Period;

/// The key of a period; comparable within the period's kind only.
pub(super) type Key = i64;

/// Finds civil times with few look-ups, as long as it is asked about moments near one another.
pub(super) struct Calendar<'a> {
    zone: &'a Zone,
    segment: Option<Segment>,
}

impl<'a> Calendar<'a> {
    pub(super) fn new(zone: &'a Zone) -> Self {
        Self { zone, segment: None }
    }

    /// The civil time of `at`.
    pub(super) fn civil(&mut self, at: DateTime<Utc>) -> NaiveDateTime {
        match &self.segment {
            Some(segment) if segment.contains(at) => segment.civil(at),
            _ => self.segment.insert(self.zone.segment(at)).civil(at),
        }
    }
}

impl Period {
    /// The key of the period that holds `at`, whose civil time is given.
    pub(super) fn key(self, at: DateTime<Utc>, civil: NaiveDateTime) -> Key {
        match self {
            Period::Hour => at.timestamp() - i64::from(civil.minute() * 60 + civil.second()),
            Period::Day => civil.num_days_from_ce().into(),
            Period::Week => i64::from(civil.iso_week().year()) * 100 + i64::from(civil.iso_week().week()),
            Period::Month => i64::from(civil.year()) * 12 + i64::from(civil.month0()),
            Period::Year => civil.year().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn key(zone: &str, period: Period, at: &str) -> Key {
        let at = at.parse().unwrap();
        period.key(at, Calendar::new(&Zone::named(zone).unwrap()).civil(at))
    }

    #[rstest]
    // 23:30Z is the next day in Berlin.
    #[case(Period::Day, "2026-11-21T23:30:00Z", "2026-11-22T12:00:00Z", true)]
    #[case(Period::Day, "2026-11-21T22:30:00Z", "2026-11-22T12:00:00Z", false)]
    // The 1st of January 2027 is a Friday of the week 53 of 2026.
    #[case(Period::Week, "2026-12-28T12:00:00Z", "2027-01-03T12:00:00Z", true)]
    #[case(Period::Week, "2027-01-03T12:00:00Z", "2027-01-04T12:00:00Z", false)]
    #[case(Period::Month, "2026-10-31T23:30:00Z", "2026-11-30T12:00:00Z", true)]
    #[case(Period::Year, "2026-12-31T23:30:00Z", "2027-06-01T12:00:00Z", true)]
    // 02:30 occurs twice: two real hours.
    #[case(Period::Hour, "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", false)]
    #[case(Period::Hour, "2026-10-25T00:01:00Z", "2026-10-25T00:59:00Z", true)]
    fn periods_are_those_of_the_zone(#[case] period: Period, #[case] one: &str, #[case] other: &str, #[case] same: bool) {
        assert_eq!(key("Europe/Berlin", period, one) == key("Europe/Berlin", period, other), same);
    }
}
