//! When snapshots may be taken at all: windows that are open, and blackouts that are closed whatever the windows say. Both are
//! times of day on some days, in the policy's zone.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike, Utc};

use super::super::zone::Zone;
use super::expression::ExpressionError;
use super::field::{Fault, fault};

/// Times of day on some days: `22:00-06:00`, `Mon-Fri 08:00-18:00`, `Sat,Sun`, `2026-12-24..2027-01-02`, `12-24..12-26` (every
/// year). A range that ends before it begins lasts over midnight and belongs to the day it begins on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeWindow {
    source: String,
    days: DaySet,
    /// Seconds of the day; 86400 is its end.
    from: u32,
    to: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DaySet {
    Every,
    /// Bit 0 is Monday.
    Weekdays(u8),
    Dates(NaiveDate, NaiveDate),
    /// Month and day, both included; may pass over the new year.
    Yearly((u32, u32), (u32, u32)),
}

impl DaySet {
    fn contains(self, date: NaiveDate) -> bool {
        let of_year = (date.month(), date.day());
        match self {
            DaySet::Every => true,
            DaySet::Weekdays(bits) => bits & 1 << date.weekday().num_days_from_monday() != 0,
            DaySet::Dates(first, last) => first <= date && date <= last,
            DaySet::Yearly(first, last) if first <= last => first <= of_year && of_year <= last,
            DaySet::Yearly(first, last) => first <= of_year || of_year <= last,
        }
    }
}

impl TimeWindow {
    fn contains(&self, civil: NaiveDateTime) -> bool {
        let (date, second) = (civil.date(), civil.num_seconds_from_midnight());
        if self.from < self.to {
            return self.days.contains(date) && (self.from..self.to).contains(&second);
        }
        let began_yesterday = || date.pred_opt().is_some_and(|yesterday| self.days.contains(yesterday));
        self.days.contains(date) && second >= self.from || second < self.to && began_yesterday()
    }
}

impl fmt::Display for TimeWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.source)
    }
}

impl FromStr for TimeWindow {
    type Err = ExpressionError;

    fn from_str(text: &str) -> Result<Self, ExpressionError> {
        let parts: Vec<&str> = text.split_whitespace().collect();
        let (days, times) = match parts.as_slice() {
            [times] if times.contains(':') => (None, Some(*times)),
            [days] => (Some(*days), None),
            [days, times] => (Some(*days), Some(*times)),
            _ => return Ok(fault(0..text.len(), "not understood", EXAMPLES)?),
        };
        let days = days.map_or(Ok(DaySet::Every), |days| day_set(text, days))?;
        let (from, to) = times.map_or(Ok((0, DAY)), |times| time_range(text, times))?;
        Ok(Self { source: text.trim().to_owned(), days, from, to })
    }
}

const EXAMPLES: &str = "write for example \"22:00-06:00\", \"Mon-Fri 08:00-18:00\", \"Sat,Sun\" or \"2026-12-24..2027-01-02\"";
const DAY: u32 = 86_400;
const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

fn span(text: &str, part: &str) -> Range<usize> {
    let at = part.as_ptr() as usize - text.as_ptr() as usize;
    at..at + part.len()
}

fn day_set(text: &str, days: &str) -> Result<DaySet, Fault> {
    if !days.starts_with(|c: char| c.is_ascii_digit()) {
        return weekdays(text, days).map(DaySet::Weekdays);
    }
    let (first, last) = days.split_once("..").unwrap_or((days, days));
    if let (Some(first), Some(last)) = (of_year(first), of_year(last)) {
        return Ok(DaySet::Yearly(first, last));
    }
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if first <= last => Ok(DaySet::Dates(first, last)),
        (Ok(_), Ok(_)) => fault(span(text, days), "the dates run backwards", "write the earlier date first"),
        _ => fault(
            span(text, days),
            format!("\"{days}\" is no date"),
            "write 2026-12-24, 2026-12-24..2027-01-02, or 12-24 for every year",
        ),
    }
}

/// `12-24` as month and day. The 29th of February is one, in leap years.
fn of_year(text: &str) -> Option<(u32, u32)> {
    let (month, day) = text.split_once('-').filter(|_| text.len() == 5)?;
    let (month, day) = (month.parse().ok()?, day.parse().ok()?);
    NaiveDate::from_ymd_opt(2024, month, day).map(|_| (month, day))
}

fn weekdays(text: &str, days: &str) -> Result<u8, Fault> {
    let mut bits = 0;
    for item in days.split(',') {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let (first, last) = (weekday(text, first)?, weekday(text, last)?);
        // "Sat-Mon" goes on over the end of the week.
        let length = (last + 7 - first) % 7;
        bits |= (0..=length).fold(0, |bits, n| bits | 1 << ((first + n) % 7));
    }
    Ok(bits)
}

fn weekday(text: &str, name: &str) -> Result<u8, Fault> {
    let wanted = name.to_ascii_lowercase();
    let full = |index: usize| super::field::WEEKDAY.names[(index + 1) % 7];
    let found = (0..7).find(|index| WEEKDAYS[*index] == wanted || full(*index) == wanted);
    match found {
        Some(index) => Ok(index as u8),
        None => fault(
            span(text, name),
            format!("\"{name}\" is no day"),
            "write Mon, Tue, Wed, Thu, Fri, Sat or Sun, or a date as 2026-12-24",
        ),
    }
}

fn time_range(text: &str, times: &str) -> Result<(u32, u32), Fault> {
    let Some((from, to)) = times.split_once('-') else {
        return fault(span(text, times), format!("\"{times}\" is no range of times"), "write from and to: 22:00-06:00");
    };
    match (time(text, from)?, time(text, to)?) {
        (DAY, _) => fault(span(text, from), "a day ends with 24:00, nothing begins there", "write 00:00"),
        (from, to) if from == to => fault(span(text, times), "the range is empty", "leave the times out for the whole day"),
        // "22:00-00:00" ends with the day it began on.
        (from, 0) => Ok((from, DAY)),
        range => Ok(range),
    }
}

fn time(text: &str, time: &str) -> Result<u32, Fault> {
    if time == "24:00" {
        return Ok(DAY);
    }
    match NaiveTime::parse_from_str(time, "%H:%M") {
        Ok(time) => Ok(time.num_seconds_from_midnight()),
        Err(_) => fault(span(text, time), format!("\"{time}\" is no time of day"), "write hours and minutes: 06:00"),
    }
}

/// Why nothing may start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closure {
    /// No window is open.
    Outside,
    /// This blackout applies.
    Blackout(String),
}

impl fmt::Display for Closure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Closure::Outside => f.write_str("outside the policy's window"),
            Closure::Blackout(which) => write!(f, "in the blackout \"{which}\""),
        }
    }
}

/// The windows and blackouts of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Windows {
    /// Open times; none means always.
    pub open: Vec<TimeWindow>,
    /// Closed times; they win.
    pub blackouts: Vec<TimeWindow>,
}

/// How far ahead an opening or a closing is looked for.
const HORIZON_DAYS: u64 = 3 * 366;

impl Windows {
    /// True when nothing is ever closed.
    pub fn is_always_open(&self) -> bool {
        self.open.is_empty() && self.blackouts.is_empty()
    }

    /// Why `at` is closed; nothing when it is open.
    pub fn closed_at(&self, zone: &Zone, at: DateTime<Utc>) -> Option<Closure> {
        let civil = zone.civil(at);
        if let Some(blackout) = self.blackouts.iter().find(|blackout| blackout.contains(civil)) {
            return Some(Closure::Blackout(blackout.source.clone()));
        }
        let open = self.open.is_empty() || self.open.iter().any(|window| window.contains(civil));
        (!open).then_some(Closure::Outside)
    }

    /// The first open instant from `at` on; nothing when there is none for three years.
    pub fn next_open(&self, zone: &Zone, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.first(zone, at, true)
    }

    /// The first closed instant from `at` on; nothing when there is none for three years.
    pub fn next_closed(&self, zone: &Zone, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.first(zone, at, false)
    }

    fn first(&self, zone: &Zone, at: DateTime<Utc>, open: bool) -> Option<DateTime<Utc>> {
        let wanted = |at: &DateTime<Utc>| self.closed_at(zone, *at).is_none() == open;
        if wanted(&at) {
            return Some(at);
        }
        if self.is_always_open() {
            return None;
        }
        let today = zone.civil(at).date();
        let days = (0..=HORIZON_DAYS).map_while(|n| today.checked_add_days(Days::new(n)));
        days.flat_map(|day| self.changes(zone, day)).find(|change| *change > at && wanted(change))
    }

    /// Every instant of a civil day at which something may open or close, in order: the edges of the windows, and the transitions
    /// of the zone, since a gap can skip an edge and an overlap can show it twice.
    fn changes(&self, zone: &Zone, day: NaiveDate) -> Vec<DateTime<Utc>> {
        let edges = self.open.iter().chain(&self.blackouts).flat_map(|window| [window.from, window.to]);
        let midnight = day.and_time(NaiveTime::MIN);
        let civil = edges.map(|second| midnight + TimeDelta::seconds(second.into()));
        let mut changes: Vec<_> = civil.flat_map(|civil| occurrences(zone, civil)).collect();
        let (start, end) = (zone.instant(midnight), zone.instant(midnight + TimeDelta::days(1)));
        changes.extend(zone.segment(start).end.filter(|transition| *transition <= end));
        changes.sort_unstable();
        changes
    }
}

/// The instants of a civil time: one, two when it is repeated, none when it is skipped.
fn occurrences(zone: &Zone, civil: NaiveDateTime) -> impl Iterator<Item = DateTime<Utc>> {
    let first = zone.instant(civil);
    let again = zone.segment(first).end.map(|end| zone.segment(end).instant(civil));
    std::iter::once(first).chain(again).filter(move |at| zone.civil(*at) == civil)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn windows(open: &[&str], blackouts: &[&str]) -> Windows {
        let read = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Windows { open: read(open), blackouts: read(blackouts) }
    }

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[rstest]
    #[case("22:00-06:00", "2026-11-22T22:00:00", true)]
    #[case("22:00-06:00", "2026-11-22T05:59:59", true)]
    #[case("22:00-06:00", "2026-11-22T06:00:00", false)]
    #[case("22:00-00:00", "2026-11-22T23:59:59", true)]
    #[case("22:00-00:00", "2026-11-23T00:00:00", false)]
    #[case("00:00-24:00", "2026-11-22T12:00:00", true)]
    #[case("Mon-Fri 08:00-18:00", "2026-11-20T17:59:00", true)]
    #[case("Mon-Fri 08:00-18:00", "2026-11-21T17:59:00", false)]
    // The night from Friday to Saturday belongs to Friday.
    #[case("Fri 22:00-06:00", "2026-11-21T03:00:00", true)]
    #[case("Fri 22:00-06:00", "2026-11-20T03:00:00", false)]
    #[case("sat,Sunday", "2026-11-22T12:00:00", true)]
    #[case("Sat-Mon", "2026-11-23T12:00:00", true)]
    #[case("Sat-Mon", "2026-11-24T12:00:00", false)]
    #[case("2026-12-24..2027-01-02", "2027-01-02T23:59:59", true)]
    #[case("2026-12-24..2027-01-02", "2027-01-03T00:00:00", false)]
    #[case("2026-12-24 18:00-24:00", "2026-12-24T17:00:00", false)]
    #[case("12-24..01-02", "2031-01-01T00:00:00", true)]
    #[case("12-24..01-02", "2031-01-03T00:00:00", false)]
    #[case("02-29", "2028-02-29T01:00:00", true)]
    fn a_window_holds_the_times_it_names(#[case] window: &str, #[case] civil: &str, #[case] inside: bool) {
        assert_eq!(window.parse::<TimeWindow>().unwrap().contains(civil.parse().unwrap()), inside);
    }

    #[rstest]
    #[case("", 0..0, "not understood", EXAMPLES)]
    #[case("22-06", 0..5, "\"22-06\" is no date", "write 2026-12-24, 2026-12-24..2027-01-02, or 12-24 for every year")]
    #[case("Mo 22:00-06:00", 0..2, "\"Mo\" is no day", "write Mon, Tue, Wed, Thu, Fri, Sat or Sun, or a date as 2026-12-24")]
    #[case("Mon 22:00", 4..9, "\"22:00\" is no range of times", "write from and to: 22:00-06:00")]
    #[case("22:00-25:00", 6..11, "\"25:00\" is no time of day", "write hours and minutes: 06:00")]
    #[case("22:00-22:00", 0..11, "the range is empty", "leave the times out for the whole day")]
    #[case("24:00-06:00", 0..5, "a day ends with 24:00, nothing begins there", "write 00:00")]
    #[case("2027-01-02..2026-12-24", 0..22, "the dates run backwards", "write the earlier date first")]
    #[case("2026-02-30", 0..10, "\"2026-02-30\" is no date", "write 2026-12-24, 2026-12-24..2027-01-02, or 12-24 for every year")]
    fn a_mistake_is_shown_where_it_is(#[case] text: &str, #[case] at: Range<usize>, #[case] message: &str, #[case] help: &str) {
        let error = text.parse::<TimeWindow>().unwrap_err();
        assert_eq!((error.at, error.message.as_str(), error.help.as_str()), (at, message, help));
    }

    #[test]
    fn a_blackout_wins_and_names_itself() {
        let windows = windows(&["22:00-06:00"], &["12-24..12-26"]);
        let at = utc("2026-12-24T23:00:00Z");
        assert_eq!(windows.closed_at(&Zone::utc(), at), Some(Closure::Blackout("12-24..12-26".into())));
        assert_eq!(windows.next_open(&Zone::utc(), at), Some(utc("2026-12-27T00:00:00Z")));
        assert_eq!(windows.next_closed(&Zone::utc(), utc("2026-12-23T23:00:00Z")), Some(utc("2026-12-24T00:00:00Z")));
    }

    #[test]
    fn what_never_opens_or_never_closes_is_found_out() {
        assert_eq!(windows(&[], &["00:00-24:00"]).next_open(&Zone::utc(), utc("2026-01-01T00:00:00Z")), None);
        assert_eq!(windows(&[], &[]).next_closed(&Zone::utc(), utc("2026-01-01T00:00:00Z")), None);
        assert_eq!(windows(&["Mon-Sun"], &[]).next_closed(&Zone::utc(), utc("2026-01-01T00:00:00Z")), None);
    }

    #[test]
    fn a_window_whose_edge_is_skipped_opens_with_the_transition() {
        let berlin = Zone::named("Europe/Berlin").unwrap();
        let opening = windows(&["02:30-05:00"], &[]).next_open(&berlin, utc("2026-03-29T00:00:00Z"));
        assert_eq!(opening, Some(utc("2026-03-29T01:00:00Z")));
    }

    proptest! {
        /// Edges and transitions are all there is: looking at every minute finds nothing earlier.
        #[test]
        fn no_opening_or_closing_is_overlooked(
            open in prop::sample::subsequence(vec!["22:00-06:00", "02:30-05:00", "Sat,Sun", "Mon 08:00-18:00", "00:15-00:45"], 0..3),
            blackouts in prop::sample::subsequence(vec!["02:00-02:45", "2026-10-25", "03-29 01:00-12:00", "Sun 23:00-01:00"], 0..3),
            zone in prop::sample::select(vec!["Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "UTC"]),
            start in prop::sample::select(vec!["2026-03-27", "2026-10-23", "2026-03-06", "2026-10-30", "2026-10-02", "2026-04-03"]),
            minute in 0..2880_i64,
            wanted: bool,
        ) {
            let (windows, zone) = (windows(&open, &blackouts), Zone::named(zone).unwrap());
            let at = utc(&format!("{start}T00:00:00Z")) + TimeDelta::minutes(minute);
            let minutes = (0..3 * 1440).map(|n| at + TimeDelta::minutes(n));
            let slow = minutes.into_iter().find(|at| windows.closed_at(&zone, *at).is_none() == wanted);
            let quick = windows.first(&zone, at, wanted);
            prop_assert_eq!(quick.filter(|found| *found < at + TimeDelta::minutes(3 * 1440)), slow);
        }
    }
}
