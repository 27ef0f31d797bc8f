//! Lengths of time as people write them. An exact length (`90s`, `1h30m`) is so many seconds; a calendar span (`6mo`, `2w`) is
//! counted on the civil line of a zone, because a month is no number of seconds. Each refuses the unit that only makes sense for
//! the other, so that `1m` never means a minute where a month was meant.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Days, Months, NaiveDateTime, TimeDelta, Utc};
use thiserror::Error;

use super::zone::Zone;

/// Text that is no length of time.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct SpanError {
    message: String,
}

fn error<T>(message: impl Into<String>) -> Result<T, SpanError> {
    Err(SpanError { message: message.into() })
}

/// The longest length that is taken: a thousand years, far from every overflow.
const MOST_SECONDS: u64 = 1000 * 366 * 86_400;

/// An exact length of time: `s`, `m` (minutes), `h`, `d` (24 hours), `w`; several parts may follow one another (`1h30m`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Exact(pub Duration);

impl Exact {
    /// So many seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl FromStr for Exact {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let mut total = 0_u64;
        for (count, unit) in parts(text, "90s, 15m or 1h30m")? {
            let seconds = match unit {
                "s" | "sec" => 1,
                "m" | "min" => 60,
                "h" => 3600,
                "d" => 86_400,
                "w" => 7 * 86_400,
                "mo" | "y" => return error(format!("\"{unit}\" has no exact length here; write days, for example \"30d\"")),
                _ => return error(format!("\"{unit}\" is no unit; write s, m, h, d or w, for example \"1h30m\"")),
            };
            total = total.saturating_add(count.saturating_mul(seconds));
        }
        if total > MOST_SECONDS {
            return error("longer than a thousand years");
        }
        Ok(Self::seconds(total))
    }
}

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_secs();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, seconds) in [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)] {
            if rest >= seconds {
                write!(f, "{}{unit}", rest / seconds)?;
                rest %= seconds;
            }
        }
        Ok(())
    }
}

/// A length on the calendar: `y`, `mo`, `w`, `d`, then `h`, `min` and `s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CalendarSpan {
    months: u32,
    days: u64,
    seconds: i64,
}

impl CalendarSpan {
    /// So many civil days.
    pub const fn days(days: u64) -> Self {
        Self { months: 0, days, seconds: 0 }
    }

    /// True when nothing is measured.
    pub fn is_zero(self) -> bool {
        self == Self::default()
    }

    /// The instant this much before `instant`, on the civil line of `zone`. The 31st minus a month is the last day of that month.
    pub fn before(self, instant: DateTime<Utc>, zone: &Zone) -> DateTime<Utc> {
        let civil = |at: NaiveDateTime| at.checked_sub_months(Months::new(self.months))?.checked_sub_days(Days::new(self.days));
        let moved = self.on_civil_line(instant, zone, civil);
        moved.and_then(|at| at.checked_sub_signed(TimeDelta::seconds(self.seconds))).unwrap_or(DateTime::<Utc>::MIN_UTC)
    }

    /// The instant this much after `instant`, on the civil line of `zone`.
    pub fn after(self, instant: DateTime<Utc>, zone: &Zone) -> DateTime<Utc> {
        let civil = |at: NaiveDateTime| at.checked_add_months(Months::new(self.months))?.checked_add_days(Days::new(self.days));
        let moved = self.on_civil_line(instant, zone, civil);
        moved.and_then(|at| at.checked_add_signed(TimeDelta::seconds(self.seconds))).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// Moves along the civil line, unless nothing civil is measured: then the instant must not take a detour over a repeated hour.
    fn on_civil_line(
        self,
        instant: DateTime<Utc>,
        zone: &Zone,
        moved: impl FnOnce(NaiveDateTime) -> Option<NaiveDateTime>,
    ) -> Option<DateTime<Utc>> {
        if self.months == 0 && self.days == 0 {
            return Some(instant);
        }
        moved(zone.civil(instant)).map(|civil| zone.instant(civil))
    }
}

impl FromStr for CalendarSpan {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let (mut months, mut days, mut seconds) = (0_u64, 0_u64, 0_u64);
        for (count, unit) in parts(text, "14d, 8w or 1y6mo")? {
            let (total, factor) = match unit {
                "y" => (&mut months, 12),
                "mo" => (&mut months, 1),
                "w" => (&mut days, 7),
                "d" => (&mut days, 1),
                "h" => (&mut seconds, 3600),
                "min" => (&mut seconds, 60),
                "s" | "sec" => (&mut seconds, 1),
                "m" => return error("\"m\" could be minutes or months; write \"min\" or \"mo\""),
                _ => return error(format!("\"{unit}\" is no unit; write y, mo, w, d, h or min, for example \"1y6mo\"")),
            };
            *total = total.saturating_add(count.saturating_mul(factor));
        }
        if months > 12_000 || days > 366_000 || seconds > MOST_SECONDS {
            return error("longer than a thousand years");
        }
        Ok(Self { months: months as u32, days, seconds: seconds as i64 })
    }
}

impl fmt::Display for CalendarSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (years, months) = (self.months / 12, self.months % 12);
        let seconds = self.seconds.unsigned_abs();
        let (hours, minutes) = (seconds / 3600, seconds % 3600 / 60);
        let parts = [
            (u64::from(years), "y"),
            (u64::from(months), "mo"),
            (self.days, "d"),
            (hours, "h"),
            (minutes, "min"),
            (seconds % 60, "s"),
        ];
        if self.is_zero() {
            return f.write_str("0d");
        }
        parts.iter().filter(|(count, _)| *count > 0).try_for_each(|(count, unit)| write!(f, "{count}{unit}"))
    }
}

/// Splits `1h 30m` into counts and units.
fn parts<'a>(text: &'a str, example: &str) -> Result<Vec<(u64, &'a str)>, SpanError> {
    let mut rest = text.trim();
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let tail = tail.trim_start();
        let letters = tail.find(|c: char| c.is_ascii_digit() || c.is_whitespace()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        match number.parse() {
            Err(_) => return error(format!("\"{}\" is no length of time; write {example}", shortened(text))),
            Ok(_) if unit.is_empty() => return error(format!("\"{number}\" has no unit; write {example}")),
            Ok(count) => parts.push((count, unit)),
        }
        rest = tail.trim_start();
    }
    if parts.is_empty() { error(format!("empty; write {example}")) } else { Ok(parts) }
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= 40 { text.to_owned() } else { text.chars().take(40).chain("...".chars()).collect() }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("90s", 90)]
    #[case("1h30m", 5400)]
    #[case("1h 30m", 5400)]
    #[case("2 d", 172_800)]
    #[case("1w", 604_800)]
    #[case("0s", 0)]
    fn exact_lengths_are_read(#[case] text: &str, #[case] seconds: u64) {
        assert_eq!(text.parse::<Exact>().unwrap(), Exact::seconds(seconds));
    }

    #[rstest]
    #[case("", "empty; write 90s, 15m or 1h30m")]
    #[case("90", "\"90\" has no unit; write 90s, 15m or 1h30m")]
    #[case("soon", "\"soon\" is no length of time; write 90s, 15m or 1h30m")]
    #[case("-5m", "\"-5m\" is no length of time; write 90s, 15m or 1h30m")]
    #[case("1mo", "\"mo\" has no exact length here; write days, for example \"30d\"")]
    #[case("3 parsecs", "\"parsecs\" is no unit; write s, m, h, d or w, for example \"1h30m\"")]
    #[case("99999999999999999999s", "\"99999999999999999999s\" is no length of time; write 90s, 15m or 1h30m")]
    #[case("18446744073709551615w", "longer than a thousand years")]
    fn what_is_no_exact_length_is_refused_with_what_to_write(#[case] text: &str, #[case] message: &str) {
        assert_eq!(text.parse::<Exact>().unwrap_err().to_string(), message);
    }

    #[test]
    fn a_bare_m_is_refused_where_it_could_be_months() {
        let error = "1m".parse::<CalendarSpan>().unwrap_err();
        assert_eq!(error.to_string(), "\"m\" could be minutes or months; write \"min\" or \"mo\"");
    }

    #[test]
    fn lengths_are_shown_as_they_are_written() {
        for text in ["90s", "1h30m", "2d"] {
            let exact: Exact = text.parse().unwrap();
            assert_eq!(exact.to_string().parse::<Exact>().unwrap(), exact);
        }
        assert_eq!("1y6mo2w3h".parse::<CalendarSpan>().unwrap().to_string(), "1y6mo14d3h");
    }

    #[rstest]
    #[case("1mo", "2026-03-31T10:00:00Z", "2026-02-28T10:00:00Z")]
    #[case("1y", "2028-02-29T10:00:00Z", "2027-02-28T10:00:00Z")]
    #[case("24h", "2026-03-29T10:00:00Z", "2026-03-28T10:00:00Z")]
    // One civil day over the night that lost an hour is 23 hours.
    #[case("1d", "2026-03-29T10:00:00Z", "2026-03-28T11:00:00Z")]
    fn spans_are_counted_on_the_civil_line(#[case] span: &str, #[case] from: &str, #[case] expected: &str) {
        let zone = Zone::named(if span == "1d" { "Europe/Berlin" } else { "UTC" }).unwrap();
        let span: CalendarSpan = span.parse().unwrap();
        assert_eq!(span.before(from.parse().unwrap(), &zone), expected.parse::<DateTime<Utc>>().unwrap());
    }

    #[test]
    fn a_span_beyond_the_calendar_ends_at_its_edge() {
        let span: CalendarSpan = "1000y".parse().unwrap();
        let zone = Zone::utc();
        assert!(span.before(DateTime::<Utc>::MIN_UTC, &zone) <= span.before("2026-01-01T00:00:00Z".parse().unwrap(), &zone));
        assert!(span.after(DateTime::<Utc>::MAX_UTC, &zone) >= span.after("2026-01-01T00:00:00Z".parse().unwrap(), &zone));
    }
}
