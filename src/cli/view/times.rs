//! Instants as a person reads them: in the zone of the machine that shows them, or in UTC if that was asked for; and lengths of time
//! with as much precision as anybody wants.

use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};

use crate::domain::span::Exact;
use crate::domain::zone::Zone;

/// When it is now, and in which zone times are shown.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Times {
    /// Now.
    pub(in crate::cli) now: DateTime<Utc>,
    zone: Zone,
}

impl Times {
    /// Times in the machine's zone, or in UTC.
    pub(in crate::cli) fn new(now: DateTime<Utc>, utc: bool) -> Self {
        let system = || Zone::named(jiff::tz::TimeZone::try_system().ok()?.iana_name()?).ok();
        let zone = if utc { None } else { system() };
        Self { now, zone: zone.unwrap_or_else(Zone::utc) }
    }

    /// True if times are shown in UTC anyway.
    pub(in crate::cli) fn is_utc(&self) -> bool {
        self.zone == Zone::utc()
    }

    /// When it will be this time of day next.
    pub(in crate::cli) fn next_at(&self, time: NaiveTime) -> DateTime<Utc> {
        let today = self.zone.civil(self.now).date();
        let days = [Some(today), today.succ_opt()];
        let instants = days.into_iter().flatten().map(|day| self.zone.instant(day.and_time(time)));
        instants.into_iter().find(|at| *at > self.now).unwrap_or(self.now)
    }

    /// A column's title with the place whose time it shows.
    pub(in crate::cli) fn title(&self, word: &str) -> String {
        let place = self.zone.name().rsplit('/').next().unwrap_or_default().replace('_', " ");
        format!("{word} ({place})")
    }

    /// `2026-03-01 03:00`, with seconds if there are any.
    pub(in crate::cli) fn short(&self, at: DateTime<Utc>) -> String {
        short_in(&self.zone, at)
    }

    /// `Sun 2026-03-01 03:00:05 CET`.
    pub(in crate::cli) fn long(&self, at: DateTime<Utc>) -> String {
        self.zone.format(at, "%a %Y-%m-%d %H:%M:%S %Z").unwrap_or_else(|| short_in(&self.zone, at))
    }

    /// The long form, with the same in UTC.
    pub(in crate::cli) fn both(&self, at: DateTime<Utc>) -> String {
        let long = self.long(at);
        if self.is_utc() { long } else { format!("{long} ({})", at.format("%Y-%m-%d %H:%M:%S UTC")) }
    }

    /// The long form, with how long ago or ahead it is.
    pub(in crate::cli) fn with_distance(&self, at: DateTime<Utc>) -> String {
        format!("{}, {}", self.long(at), self.distance(at))
    }

    /// `3h ago`, `in 2d`.
    pub(in crate::cli) fn distance(&self, at: DateTime<Utc>) -> String {
        match at - self.now {
            ahead if ahead >= TimeDelta::seconds(1) => format!("in {}", rough(ahead)),
            behind if behind <= TimeDelta::seconds(-1) => format!("{} ago", rough(-behind)),
            _ => "now".to_owned(),
        }
    }
}

/// `2026-03-01 03:00` in a zone, with seconds if there are any.
fn short_in(zone: &Zone, at: DateTime<Utc>) -> String {
    let whole = at.timestamp() % 60 == 0;
    zone.civil(at).format(if whole { "%Y-%m-%d %H:%M" } else { "%Y-%m-%d %H:%M:%S" }).to_string()
}

/// A length of time in its two largest units: `3d4h`, `12m5s`, `0s`.
pub(in crate::cli) fn rough(length: TimeDelta) -> String {
    let seconds = length.num_seconds().unsigned_abs();
    let second_unit = match seconds {
        0..3600 => 1,
        3600..86_400 => 60,
        86_400..864_000 => 3600,
        _ => 86_400,
    };
    Exact::seconds(seconds - seconds % second_unit).to_string()
}

/// A time as a person writes it: a date, a date and a time, an instant with its zone, or how long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Moment {
    /// Whatever the zone.
    Instant(DateTime<Utc>),
    /// In the reader's zone.
    Civil(NaiveDateTime),
    /// So long ago.
    Ago(Exact),
}

impl Moment {
    /// The instant that is meant.
    pub(in crate::cli) fn instant(self, times: &Times) -> DateTime<Utc> {
        match self {
            Moment::Instant(at) => at,
            Moment::Civil(civil) => times.zone.instant(civil),
            Moment::Ago(length) => {
                let length = TimeDelta::from_std(length.0).unwrap_or(TimeDelta::MAX);
                times.now.checked_sub_signed(length).unwrap_or(DateTime::UNIX_EPOCH)
            }
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(length) = text.parse() {
            return Ok(Self::Ago(length));
        }
        if let Ok(at) = DateTime::parse_from_rfc3339(text) {
            return Ok(Self::Instant(at.to_utc()));
        }
        let civil = ["%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"];
        let civil = civil.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
        let date = || text.parse::<NaiveDate>().ok().map(|date| date.and_time(NaiveTime::MIN));
        let example = || "write 2026-03-01, \"2026-03-01 02:00\", 2026-03-01T02:00:00Z, or 7d for a week ago".to_owned();
        civil.or_else(date).map(Self::Civil).ok_or_else(example)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn berlin() -> Times {
        Times { now: "2026-03-01T12:00:00Z".parse().unwrap(), zone: Zone::named("Europe/Berlin").unwrap() }
    }

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[rstest]
    #[case(0, "0s")]
    #[case(59, "59s")]
    #[case(725, "12m5s")]
    #[case(3600, "1h")]
    #[case(5 * 3600 + 61, "5h1m")]
    #[case(3 * 86_400 + 4 * 3600 + 59, "3d4h")]
    #[case(40 * 86_400 + 4 * 3600, "40d")]
    fn a_length_has_two_units_at_most(#[case] seconds: i64, #[case] text: &str) {
        assert_eq!(rough(TimeDelta::seconds(seconds)), text);
        assert_eq!(rough(TimeDelta::seconds(-seconds)), text);
    }

    #[test]
    fn an_instant_is_shown_in_the_readers_zone() {
        let times = berlin();
        assert_eq!(times.title("DUE"), "DUE (Berlin)");
        assert_eq!(times.short(utc("2026-03-01T02:00:00Z")), "2026-03-01 03:00");
        assert_eq!(times.short(utc("2026-07-01T02:00:07Z")), "2026-07-01 04:00:07");
        assert_eq!(times.both(utc("2026-07-01T22:00:00Z")), "Thu 2026-07-02 00:00:00 CEST (2026-07-01 22:00:00 UTC)");
        assert_eq!(times.distance(utc("2026-03-01T09:00:00Z")), "3h ago");
        assert_eq!(times.distance(utc("2026-03-03T12:00:00Z")), "in 2d");
    }

    #[rstest]
    #[case("7d", "2026-02-22T12:00:00Z")]
    #[case("2026-02-01", "2026-01-31T23:00:00Z")]
    #[case("2026-07-01 02:30", "2026-07-01T00:30:00Z")]
    #[case("2026-07-01T02:30:00Z", "2026-07-01T02:30:00Z")]
    #[case("2026-07-01T02:30:00+05:00", "2026-06-30T21:30:00Z")]
    fn a_time_is_read_as_people_write_it(#[case] text: &str, #[case] instant: &str) {
        assert_eq!(text.parse::<Moment>().unwrap().instant(&berlin()), utc(instant));
    }

    #[test]
    fn what_is_no_time_is_answered_with_examples() {
        assert!("yesterday".parse::<Moment>().unwrap_err().contains("7d for a week ago"));
    }
}
