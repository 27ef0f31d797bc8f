//! Dates. The rule: every spelling a server has used is read, an instant in UTC is kept, and the compact spelling, which every release
//! understands, is written.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use serde::de::{Deserialize, Deserializer, Error};

use super::text::text;
use crate::xenapi::wire::Param;

/// A XenAPI datetime. The epoch stands for "never".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(DateTime<Utc>);

impl Date {
    /// What the server writes where nothing happened yet.
    pub const NEVER: Self = Self(DateTime::UNIX_EPOCH);

    /// From an instant.
    pub fn new(instant: DateTime<Utc>) -> Self {
        Self(instant)
    }

    /// The instant.
    pub fn get(self) -> DateTime<Utc> {
        self.0
    }

    /// The instant, unless it never happened.
    pub fn happened(self) -> Option<DateTime<Utc>> {
        (self != Self::NEVER).then_some(self.0)
    }
}

impl Default for Date {
    fn default() -> Self {
        Self::NEVER
    }
}

/// A text that is no date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a text is not a date")]
pub struct BadDate;

impl FromStr for Date {
    type Err = BadDate;

    /// `20260821T10:00:00Z`, with or without hyphens and colons, with or without a fraction, in any zone or without one (then UTC).
    fn from_str(text: &str) -> Result<Self, BadDate> {
        parse(text.trim()).map(Self).ok_or(BadDate)
    }
}

fn parse(text: &str) -> Option<DateTime<Utc>> {
    let (day, rest) = text.split_once(['T', 't', ' '])?;
    let (clock, zone) = rest.split_at(rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len()));
    let local = NaiveDateTime::new(parse_day(day)?, NaiveTime::MIN).checked_add_signed(parse_clock(clock)?)?;
    let offset = TimeDelta::seconds(i64::from(parse_zone(zone)?.local_minus_utc()));
    Some(local.checked_sub_signed(offset)?.and_utc())
}

/// `20260821` or `2026-08-21`.
fn parse_day(text: &str) -> Option<NaiveDate> {
    let [year, month, day] = match text.len() {
        8 => [text.get(..4)?, text.get(4..6)?, text.get(6..)?],
        10 if text.get(4..5)? == "-" && text.get(7..8)? == "-" => [text.get(..4)?, text.get(5..7)?, text.get(8..)?],
        _ => return None,
    };
    let year = i32::try_from(number(year)?).ok()?;
    NaiveDate::from_ymd_opt(year, number(month)?, number(day)?)
}

/// `10:00:00`, `100000`, with an optional fraction; the time since midnight. A leap second is the next minute's first.
fn parse_clock(text: &str) -> Option<TimeDelta> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let [hour, minute, second] = match clock.len() {
        6 => [clock.get(..2)?, clock.get(2..4)?, clock.get(4..)?],
        8 if clock.get(2..3)? == ":" && clock.get(5..6)? == ":" => [clock.get(..2)?, clock.get(3..5)?, clock.get(6..)?],
        _ => return None,
    };
    let (hour, minute, second) = (number(hour)?, number(minute)?, number(second)?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    TimeDelta::new(i64::from(hour * 3600 + minute * 60 + second), nanoseconds(fraction)?)
}

/// The digits after the point; what is finer than a nanosecond is cut off.
fn nanoseconds(digits: &str) -> Option<u32> {
    if digits.is_empty() {
        return Some(0);
    }
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    number(&format!("{digits:0<9}")[..9])
}

/// Nothing, `Z`, `+02:00`, `+0200` or `+02`.
fn parse_zone(text: &str) -> Option<FixedOffset> {
    let digits = match text {
        "" | "Z" | "z" => return FixedOffset::east_opt(0),
        _ => &text[1..],
    };
    let (hours, minutes) = match digits.len() {
        2 => (digits, "00"),
        4 => (digits.get(..2)?, digits.get(2..)?),
        5 if digits.get(2..3)? == ":" => (digits.get(..2)?, digits.get(3..)?),
        _ => return None,
    };
    let seconds = i32::try_from(number(hours)? * 3600 + number(minutes)? * 60).ok()?;
    FixedOffset::east_opt(if text.starts_with('-') { -seconds } else { seconds })
}

/// Digits only: `u32::from_str` would take a sign.
fn number(digits: &str) -> Option<u32> {
    if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok() } else { None }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.format("%Y%m%dT%H:%M:%SZ").fmt(f)
    }
}

impl fmt::Debug for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl From<Date> for Param {
    fn from(date: Date) -> Self {
        Param::Str(date.to_string())
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, "a date", |text| if text.is_empty() { Ok(Self::NEVER) } else { text.parse() })?
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("20260821T10:00:05Z")]
    #[case("2026-08-21T10:00:05Z")]
    #[case("2026-08-21T10:00:05.000Z")]
    #[case("20260821T100005Z")]
    #[case("20260821T10:00:05")]
    #[case("2026-08-21T10:00:05")]
    #[case("20260821T12:00:05+02:00")]
    #[case("20260821T12:00:05+0200")]
    #[case("20260821T12:00:05+02")]
    #[case("2026-08-21T06:30:05-03:30")]
    #[case("2026-08-21 10:00:05z")]
    #[case(" 20260821T10:00:05Z\n")]
    fn every_spelling_is_the_same_instant(#[case] text: &str) {
        let date: Date = text.parse().unwrap();
        assert_eq!(date.to_string(), "20260821T10:00:05Z");
        assert_eq!(date.get().timestamp_subsec_nanos(), 0);
    }

    #[rstest]
    #[case("20260821T10:00:05.5Z", 500_000_000)]
    #[case("20260821T10:00:05.000000001Z", 1)]
    #[case("20260821T10:00:05.1234567899Z", 123_456_789)]
    fn fractions_are_kept_to_the_nanosecond(#[case] text: &str, #[case] nanoseconds: u32) {
        assert_eq!(text.parse::<Date>().unwrap().get().timestamp_subsec_nanos(), nanoseconds);
    }

    #[test]
    fn the_epoch_never_happened() {
        let never: Date = "19700101T00:00:00Z".parse().unwrap();
        assert_eq!((never, never.happened()), (Date::NEVER, None));
        assert!("19700101T00:00:01Z".parse::<Date>().unwrap().happened().is_some());
    }

    #[test]
    fn a_leap_second_is_the_next_minute() {
        assert_eq!("20161231T23:59:60Z".parse::<Date>().unwrap().to_string(), "20170101T00:00:00Z");
    }

    #[rstest]
    #[case("")]
    #[case("20260821")]
    #[case("20261321T10:00:05Z")]
    #[case("20260230T10:00:05Z")]
    #[case("20260821T24:00:05Z")]
    #[case("20260821T10:60:05Z")]
    #[case("20260821T10:00:61Z")]
    #[case("20260821T10:00:05+1")]
    #[case("20260821T10:00:05+99:00")]
    #[case("20260821T10:00:05Zebra")]
    #[case("+0260821T10:00:05Z")]
    #[case("20260821T10:00:05.x")]
    #[case("2026ü821T10:00:05Z")]
    #[case("tomorrow")]
    fn what_is_no_date_is_refused(#[case] text: &str) {
        assert_eq!(text.parse::<Date>(), Err(BadDate));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(seconds in -2_208_988_800_i64..4_102_444_800) {
            let date = Date::new(DateTime::from_timestamp(seconds, 0).unwrap());
            prop_assert_eq!(date.to_string().parse::<Date>(), Ok(date));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}|[0-9TZ:.+ -]{0,30}") {
            let _ = text.parse::<Date>();
        }
    }
}
