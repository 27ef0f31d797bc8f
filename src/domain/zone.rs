//! Time zones. Stored time is UTC; a zone belongs to a policy and is asked for three things: the civil time of an instant, the
//! instant of a civil time, and its transitions, between which the civil line runs straight.
//!
//! The zone data is the system's, and jiff's own copy where the system has none or lacks the zone. It is read when a zone is named.

use std::fmt;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, civil};
use thiserror::Error;

use super::nearest::nearest_few;

/// A zone that nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no time zone is called \"{name}\"{}", self.hint())]
pub struct ZoneError {
    /// What was asked for.
    pub name: String,
    /// Zones that may have been meant, nearest first.
    pub nearest: Vec<String>,
}

impl ZoneError {
    /// What to write instead.
    pub fn hint(&self) -> String {
        match self.nearest.first() {
            Some(nearest) => format!("; write \"{nearest}\""),
            None => "; write a name of the IANA database, for example \"Europe/Berlin\" or \"UTC\"".to_owned(),
        }
    }
}

/// Abbreviations hold for half a year at most, and some zones are called by several places: one that has it.
const PLACES: [(&str, &str); 12] = [
    ("CEST", "Europe/Berlin"),
    ("BST", "Europe/London"),
    ("IST", "Asia/Kolkata"),
    ("MSK", "Europe/Moscow"),
    ("JST", "Asia/Tokyo"),
    ("KST", "Asia/Seoul"),
    ("AEST", "Australia/Sydney"),
    ("EDT", "America/New_York"),
    ("CDT", "America/Chicago"),
    ("MDT", "America/Denver"),
    ("PDT", "America/Los_Angeles"),
    ("PST", "America/Los_Angeles"),
];

fn place_of(abbreviation: &str) -> Option<&'static str> {
    PLACES.iter().find(|(known, _)| abbreviation.eq_ignore_ascii_case(known)).map(|(_, place)| *place)
}

/// A time zone with its name.
#[derive(Clone, PartialEq, Eq)]
pub struct Zone {
    zone: TimeZone,
    name: String,
}

/// A stretch of time during which the offset of a zone does not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// The transition it begins with; none when it has always been so.
    pub start: Option<DateTime<Utc>>,
    /// The transition it ends with, exclusive; none when it stays so.
    pub end: Option<DateTime<Utc>>,
    /// Seconds east of UTC.
    pub offset: i32,
    /// The offset before `start`; `offset` itself without a start.
    pub offset_before: i32,
}

impl Segment {
    /// The civil time of an instant in this segment.
    pub fn civil(&self, instant: DateTime<Utc>) -> NaiveDateTime {
        shifted(instant, self.offset).naive_utc()
    }

    /// The instant of a civil time in this segment. Not checked to lie within.
    pub fn instant(&self, civil: NaiveDateTime) -> DateTime<Utc> {
        shifted(civil.and_utc(), -self.offset)
    }

    /// True for an instant between start and end.
    pub fn contains(&self, instant: DateTime<Utc>) -> bool {
        self.start.is_none_or(|start| start <= instant) && self.end.is_none_or(|end| instant < end)
    }
}

impl Zone {
    /// The zone of this IANA name, in any case.
    pub fn named(name: &str) -> Result<Self, ZoneError> {
        let known = jiff::tz::db().get(name).or_else(|_| TimeZoneDatabase::bundled().get(name));
        let meant = || place_of(name).map_or_else(|| similar(name), |place| vec![place.to_owned()]);
        let unknown = || ZoneError { name: name.chars().take(80).collect(), nearest: meant() };
        let zone = known.ok().filter(|zone| !zone.is_unknown()).ok_or_else(unknown)?;
        let name = zone.iana_name().unwrap_or(name).to_owned();
        Ok(Self { zone, name })
    }

    /// UTC.
    pub fn utc() -> Self {
        Self { zone: TimeZone::UTC, name: "UTC".to_owned() }
    }

    /// The IANA name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Seconds east of UTC at `instant`.
    pub fn offset(&self, instant: DateTime<Utc>) -> i32 {
        self.zone.to_offset(timestamp(instant)).seconds()
    }

    /// The civil time at `instant`.
    pub fn civil(&self, instant: DateTime<Utc>) -> NaiveDateTime {
        shifted(instant, self.offset(instant)).naive_utc()
    }

    /// The instant of a civil time: the first of two when it occurs twice, moved by the length of the gap when it does not occur.
    pub fn instant(&self, civil: NaiveDateTime) -> DateTime<Utc> {
        let found = datetime(civil).and_then(|at| self.zone.to_ambiguous_timestamp(at).compatible().ok());
        found.map_or_else(|| civil.and_utc(), instant)
    }

    /// The stretch without a transition around `at`.
    pub fn segment(&self, at: DateTime<Utc>) -> Segment {
        let offset = self.offset(at);
        // `preceding` is exclusive, and a transition belongs to the segment it begins.
        let start = self.zone.preceding(timestamp(shifted(at, 1))).map(|t| instant(t.timestamp())).find(|t| *t <= at);
        let end = self.zone.following(timestamp(at)).next().map(|t| instant(t.timestamp()));
        let offset_before = start.map_or(offset, |start| self.offset(shifted(start, -1)));
        Segment { start, end, offset, offset_before }
    }

    /// `at` in this zone in the form of strftime; nothing when a directive is unknown.
    pub fn format(&self, at: DateTime<Utc>, format: &str) -> Option<String> {
        let zoned = timestamp(at).to_zoned(self.zone.clone());
        jiff::fmt::strtime::format(format, &zoned).ok()
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.name)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}

/// Zones whose name, or whose city, is like `name`.
fn similar(name: &str) -> Vec<String> {
    let known: Vec<String> = TimeZoneDatabase::bundled().available().map(|zone| zone.as_str().to_owned()).collect();
    let wanted = name.trim().replace(' ', "_");
    let city = |zone: &String| zone.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(&wanted));
    let cities: Vec<String> = known.iter().filter(|zone| city(zone)).cloned().collect();
    if !cities.is_empty() {
        return cities;
    }
    nearest_few(&wanted, known.iter().map(String::as_str), 3).into_iter().map(str::to_owned).collect()
}

fn shifted(at: DateTime<Utc>, seconds: i32) -> DateTime<Utc> {
    at.checked_add_signed(TimeDelta::seconds(seconds.into())).unwrap_or(at)
}

/// jiff's range ends with the year 9999; instants beyond are taken as its edge.
fn timestamp(at: DateTime<Utc>) -> Timestamp {
    let edge = if at.timestamp() < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::new(at.timestamp(), at.timestamp_subsec_nanos().min(999_999_999) as i32).unwrap_or(edge)
}

fn instant(at: Timestamp) -> DateTime<Utc> {
    // Sub-second digits count from the second below, as chrono has it; jiff counts them towards zero.
    let (second, nanos) = (at.as_nanosecond().div_euclid(1_000_000_000), at.as_nanosecond().rem_euclid(1_000_000_000));
    DateTime::from_timestamp(second as i64, nanos as u32).unwrap_or_default()
}

fn datetime(civil: NaiveDateTime) -> Option<civil::DateTime> {
    let at = civil.and_utc();
    let whole = civil::DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
    whole.checked_add(jiff::SignedDuration::new(at.timestamp(), at.timestamp_subsec_nanos().min(999_999_999) as i32)).ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_zone_is_found_whatever_its_case() {
        assert_eq!(Zone::named("europe/berlin").unwrap().name(), "Europe/Berlin");
        assert_eq!(Zone::named("UTC").unwrap(), Zone::named("utc").unwrap());
    }

    #[rstest]
    #[case("CEST", "no time zone is called \"CEST\"; write \"Europe/Berlin\"")]
    #[case("pst", "no time zone is called \"pst\"; write \"America/Los_Angeles\"")]
    #[case("Berlin", "no time zone is called \"Berlin\"; write \"Europe/Berlin\"")]
    #[case("Europe/Berln", "no time zone is called \"Europe/Berln\"; write \"Europe/Berlin\"")]
    #[case("new york", "no time zone is called \"new york\"; write \"America/New_York\"")]
    #[case(
        "+02:00",
        "no time zone is called \"+02:00\"; write a name of the IANA database, for example \"Europe/Berlin\" or \"UTC\""
    )]
    #[case("", "no time zone is called \"\"; write a name of the IANA database, for example \"Europe/Berlin\" or \"UTC\"")]
    #[case(
        "Etc/Unknown",
        "no time zone is called \"Etc/Unknown\"; write a name of the IANA database, for example \"Europe/Berlin\" or \"UTC\""
    )]
    fn an_unknown_zone_is_refused_with_what_may_have_been_meant(#[case] name: &str, #[case] message: &str) {
        assert_eq!(Zone::named(name).unwrap_err().to_string(), message);
    }

    #[test]
    fn a_transition_belongs_to_the_segment_it_begins() {
        let berlin = Zone::named("Europe/Berlin").unwrap();
        let spring = utc("2026-03-29T01:00:00Z");
        let segment = berlin.segment(spring);
        assert_eq!((segment.start, segment.offset_before, segment.offset), (Some(spring), 3600, 7200));
        assert_eq!(segment.end, Some(utc("2026-10-25T01:00:00Z")));
        let winter = berlin.segment(spring - TimeDelta::nanoseconds(1));
        assert_eq!((winter.end, winter.offset), (Some(spring), 3600));
    }

    #[test]
    fn a_zone_without_transitions_is_one_segment() {
        let segment = Zone::utc().segment(utc("2026-03-29T01:00:00Z"));
        assert_eq!(segment, Segment { start: None, end: None, offset: 0, offset_before: 0 });
    }

    #[test]
    fn a_civil_time_is_the_first_of_two_and_moved_out_of_a_gap() {
        let berlin = Zone::named("Europe/Berlin").unwrap();
        let civil = |text: &str| text.parse::<NaiveDateTime>().unwrap();
        assert_eq!(berlin.instant(civil("2026-10-25T02:30:00")), utc("2026-10-25T00:30:00Z"));
        assert_eq!(berlin.instant(civil("2026-03-29T02:30:00")), utc("2026-03-29T01:30:00Z"));
    }

    #[test]
    fn instants_at_the_edge_of_time_do_not_panic() {
        let berlin = Zone::named("Europe/Berlin").unwrap();
        for at in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC, utc("1969-12-31T23:59:59.5Z")] {
            let civil = berlin.civil(at);
            let _ = (berlin.segment(at), berlin.instant(civil), berlin.format(at, "%Y"));
        }
        assert_eq!(instant(timestamp(utc("1969-12-31T23:59:59.5Z"))), utc("1969-12-31T23:59:59.5Z"));
    }

    #[test]
    fn the_zone_data_is_of_this_year() {
        // Vancouver stays on summer time from November 2026 on: data of 2025 is an hour off.
        let vancouver = TimeZoneDatabase::bundled().get("America/Vancouver").unwrap();
        assert_eq!(vancouver.to_offset(timestamp(utc("2026-12-01T12:00:00Z"))).seconds(), -7 * 3600);
    }
}
