//! Cron expressions as people know them: five fields, six with seconds, the `@daily` words, names, ranges, steps, Sunday as 0 and
//! 7, and Vixie's rule that a day matches when either of two restricted day fields does. The `cron` crate walks them; since it
//! refuses five fields, counts Sunday as 1 and wants both day fields to match, it is handed what it understands.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use chrono::{DateTime, Datelike, NaiveDateTime, TimeDelta, Utc};
use thiserror::Error;

use super::super::nearest::nearest;
use super::field::{DAY, Fault, Field, HOUR, MINUTE, MONTH, SECOND, WEEKDAY, fault};

/// A cron expression that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}; {help}")]
pub struct ExpressionError {
    /// Where in the expression, in bytes.
    pub at: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

impl From<Fault> for ExpressionError {
    fn from(Fault { at, message, help }: Fault) -> Self {
        Self { at, message, help }
    }
}

/// How an expression behaves where the civil line breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Named times of day: each fires once, whatever the clocks do that night.
    Fixed,
    /// `*` or a step in minute or hour: fires in every real interval.
    Interval,
}

/// A checked cron expression.
#[derive(Clone)]
pub struct CronExpression {
    source: String,
    pace: Pace,
    /// One walker, or two whose union is Vixie's OR of the day fields.
    walkers: Vec<cron::Schedule>,
}

impl CronExpression {
    /// The text it was read from.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// How it behaves at a transition.
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// The first matching civil time after `after`, to the second. None after the year 2100.
    pub fn next_civil(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        if after.year() > LAST_YEAR {
            return None;
        }
        // The walker is used on UTC, which has no transitions: it never sees a zone.
        let after = after.and_utc().max(DateTime::<Utc>::UNIX_EPOCH - TimeDelta::seconds(1));
        self.walkers.iter().filter_map(|walker| walker.after(&after).next()).min().map(|at| at.naive_utc())
    }
}

impl FromStr for CronExpression {
    type Err = ExpressionError;

    fn from_str(text: &str) -> Result<Self, ExpressionError> {
        let fields = Fields::parse(text)?;
        let expression = Self { source: text.trim().to_owned(), pace: fields.pace(), walkers: fields.walkers(text)? };
        match expression.next_civil(NaiveDateTime::MIN) {
            Some(_) => Ok(expression),
            None => Ok(fault(0..text.len(), "no such day exists", fields.why_never())?),
        }
    }
}

impl fmt::Display for CronExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.source)
    }
}

impl fmt::Debug for CronExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CronExpression({:?})", self.source)
    }
}

impl PartialEq for CronExpression {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for CronExpression {}

/// What the `@` words stand for.
const WORDS: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// The `cron` crate knows the years 1970 to 2100.
const LAST_YEAR: i32 = 2100;

/// The longest text that is looked at.
const LONGEST: usize = 1024;

struct Fields {
    second: Field,
    minute: Field,
    hour: Field,
    day: Field,
    month: Field,
    weekday: Field,
}

impl Fields {
    fn parse(text: &str) -> Result<Self, Fault> {
        if text.len() > LONGEST {
            return fault(0..text.len(), "a cron expression has at most 1024 characters", "write several expressions");
        }
        if let Some(word) = text.trim().strip_prefix('@') {
            return Self::parse(spelled_out(text, word)?);
        }
        let parts = split(text);
        if let Some((at, part)) = parts.iter().find(|(_, part)| part.ends_with(',')) {
            return fault(
                *at..at + part.len(),
                "a list with a space in it is read as two fields",
                "write lists without spaces: 0,30",
            );
        }
        match parts.as_slice() {
            [minute, hour, day, month, weekday] => Self::read(&(0, "0"), minute, hour, day, month, weekday),
            [second, minute, hour, day, month, weekday] => Self::read(second, minute, hour, day, month, weekday),
            _ => wrong_count(text, &parts),
        }
    }

    fn read(
        second: &Part<'_>,
        minute: &Part<'_>,
        hour: &Part<'_>,
        day: &Part<'_>,
        month: &Part<'_>,
        weekday: &Part<'_>,
    ) -> Result<Self, Fault> {
        Ok(Self {
            second: Field::parse(&SECOND, second.1, second.0)?,
            minute: Field::parse(&MINUTE, minute.1, minute.0)?,
            hour: Field::parse(&HOUR, hour.1, hour.0)?,
            day: Field::parse(&DAY, day.1, day.0)?,
            month: Field::parse(&MONTH, month.1, month.0)?,
            weekday: Field::parse(&WEEKDAY, weekday.1, weekday.0)?,
        })
    }

    fn pace(&self) -> Pace {
        if self.minute.interval || self.hour.interval { Pace::Interval } else { Pace::Fixed }
    }

    /// Vixie: when neither day field begins with `*`, a day matches when either does; otherwise both must.
    fn walkers(&self, text: &str) -> Result<Vec<cron::Schedule>, Fault> {
        let (day, weekday) = (numbers(self.day, 0), numbers(self.weekday, 1));
        if self.day.star || self.weekday.star {
            return Ok(vec![self.walker(text, &day, &weekday)?]);
        }
        Ok(vec![self.walker(text, &day, "*")?, self.walker(text, "*", &weekday)?])
    }

    fn walker(&self, text: &str, day: &str, weekday: &str) -> Result<cron::Schedule, Fault> {
        let [second, minute, hour, month] = [self.second, self.minute, self.hour, self.month].map(|field| numbers(field, 0));
        cron::Schedule::from_str(&format!("{second} {minute} {hour} {day} {month} {weekday}")).or_else(|error| {
            fault(0..text.len(), format!("not understood: {error}"), "write five fields, for example 30 2 * * *")
        })
    }

    fn why_never(&self) -> String {
        let day = self.day.iter().next().unwrap_or(DAY.last);
        let months: Vec<&str> = self.month.iter().map(|month| MONTH.names[month as usize - 1]).collect();
        format!(
            "{} never has a day {day}; the last day of a month cannot be written in cron, day 28 exists in all",
            months.join(" or ")
        )
    }
}

/// The values as the `cron` crate reads them; it counts weekdays from 1.
fn numbers(field: Field, shift: u32) -> String {
    field.iter().map(|n| (n + shift).to_string()).collect::<Vec<_>>().join(",")
}

/// Byte position and text of a field.
type Part<'a> = (usize, &'a str);

fn split(text: &str) -> Vec<Part<'_>> {
    let position = |part: &str| part.as_ptr() as usize - text.as_ptr() as usize;
    text.split_whitespace().map(|part| (position(part), part)).collect()
}

fn spelled_out(text: &str, word: &str) -> Result<&'static str, Fault> {
    let wanted = text.trim().to_ascii_lowercase();
    if let Some((_, expression)) = WORDS.iter().find(|(known, _)| *known == wanted) {
        return Ok(expression);
    }
    let help = match (word.to_ascii_lowercase().as_str(), nearest(&wanted, WORDS.map(|(known, _)| known))) {
        ("reboot", _) => "write run_on_start = true".to_owned(),
        (word, _) if word.starts_with("every") => "write a step, for example */15 * * * *".to_owned(),
        (_, Some(known)) => format!("write \"{known}\""),
        (_, None) => format!("the words are {}", WORDS.map(|(known, _)| known).join(", ")),
    };
    fault(0..text.len(), format!("\"{wanted}\" is no schedule"), help)
}

fn wrong_count(text: &str, parts: &[Part<'_>]) -> Result<Fields, Fault> {
    let shape = "write \"minute hour day month weekday\", for example \"30 2 * * *\"";
    let help = match parts.len() {
        0 => shape.to_owned(),
        7 => "a seventh field for the year is not supported; remove it".to_owned(),
        _ => format!("{shape}; a sixth field in front is for seconds"),
    };
    let message = match parts.len() {
        0 => "the expression is empty".to_owned(),
        count => format!("{count} field{} instead of five", if count == 1 { "" } else { "s" }),
    };
    fault(0..text.len(), message, help)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn first(expression: &str, after: &str) -> String {
        let expression: CronExpression = expression.parse().unwrap();
        expression.next_civil(after.parse().unwrap()).unwrap().to_string()
    }

    #[rstest]
    #[case("30 2 * * *", "2026-11-22 02:30:00")]
    #[case("15 30 2 * * *", "2026-11-22 02:30:15")]
    #[case("@hourly", "2026-11-22 01:00:00")]
    #[case("@daily", "2026-11-23 00:00:00")]
    #[case("@MIDNIGHT", "2026-11-23 00:00:00")]
    #[case("@weekly", "2026-11-29 00:00:00")]
    #[case("@monthly", "2026-12-01 00:00:00")]
    #[case("@yearly", "2027-01-01 00:00:00")]
    #[case("  0   4  *  *  *  ", "2026-11-22 04:00:00")]
    // Sunday is 0 and 7 and has a name; 2026-11-22 is one.
    #[case("0 4 * * 0", "2026-11-22 04:00:00")]
    #[case("0 4 * * 7", "2026-11-22 04:00:00")]
    #[case("0 4 * * sun", "2026-11-22 04:00:00")]
    #[case("0 4 * * Monday", "2026-11-23 04:00:00")]
    #[case("0 4 * * 1-5", "2026-11-23 04:00:00")]
    #[case("0 4 * * Sat-Sun", "2026-11-22 04:00:00")]
    #[case("0 4 * * 5-7", "2026-11-22 04:00:00")]
    #[case("0 4 * * */2", "2026-11-22 04:00:00")]
    #[case("0 4 * * */3", "2026-11-22 04:00:00")]
    #[case("0 4 * jan,Mar *", "2027-01-01 04:00:00")]
    #[case("0 4 1-7 1 *", "2027-01-01 04:00:00")]
    #[case("*/20 * * * *", "2026-11-22 00:20:00")]
    #[case("5/20 * * * *", "2026-11-22 00:05:00")]
    #[case("10-40/15 * * * *", "2026-11-22 00:10:00")]
    #[case("0 0 29 2 *", "2028-02-29 00:00:00")]
    // Either day field is enough when both are restricted...
    #[case("0 0 13 * 5", "2026-11-27 00:00:00")]
    #[case("0 0 30 2 1", "2027-02-01 00:00:00")]
    // ...and both are needed when one begins with a star.
    #[case("0 0 */2 * 1", "2026-11-23 00:00:00")]
    #[case("0 0 13 * *", "2026-12-13 00:00:00")]
    #[case("0 0 8-14 * */7", "2026-12-13 00:00:00")]
    fn an_expression_means_what_cron_means(#[case] expression: &str, #[case] next: &str) {
        assert_eq!(first(expression, "2026-11-22T00:00:30"), next);
    }

    #[test]
    fn every_month_and_weekday_has_its_number() {
        for (index, month) in MONTH.names.iter().enumerate() {
            let expected = first(&format!("0 0 1 {} *", index + 1), "2026-12-31T12:00:00");
            assert_eq!(first(&format!("0 0 1 {} *", &month[..3]), "2026-12-31T12:00:00"), expected);
        }
        for (index, weekday) in WEEKDAY.names.iter().enumerate() {
            let expected = first(&format!("0 0 * * {index}"), "2026-12-31T12:00:00");
            assert_eq!(first(&format!("0 0 * * {}", &weekday[..3]), "2026-12-31T12:00:00"), expected);
        }
    }

    #[rstest]
    #[case("", 0..0, "the expression is empty", "write \"minute hour day month weekday\", for example \"30 2 * * *\"")]
    #[case("30 2 * *", 0..8, "4 fields instead of five", "write \"minute hour day month weekday\", for example \"30 2 * * *\"; a sixth field in front is for seconds")]
    #[case("0 30 2 * * * 2026", 0..17, "7 fields instead of five", "a seventh field for the year is not supported; remove it")]
    #[case("0, 30 2 * * *", 0..2, "a list with a space in it is read as two fields", "write lists without spaces: 0,30")]
    #[case("30 24 * * *", 3..5, "24 is no hour", "midnight is hour 0")]
    #[case("60 2 * * *", 0..2, "60 is no minute", "the full hour is 0")]
    #[case("0 2 * 0 *", 6..7, "0 is no month", "write a number from 1 to 12")]
    #[case("0 2 * * 8", 8..9, "8 is no day of week", "write a number from 0 to 7")]
    #[case("0 2 * * mo", 8..10, "\"mo\" is no day of week", "write a number from 0 to 7")]
    #[case("0 2 * * tusday", 8..14, "\"tusday\" is no day of week", "write \"tue\"")]
    #[case("0 2 * decembr *", 6..13, "\"decembr\" is no month", "write \"dec\"")]
    #[case("0 2 ? * 1", 4..5, "\"?\" is no day of month", "?, L, W and # of other schedulers are not known here; write * for \"any\"")]
    #[case("0 2 L * *", 4..5, "\"L\" is no day of month", "?, L, W and # of other schedulers are not known here; write * for \"any\"")]
    #[case("0 2 * * 1#2", 8..11, "\"1#2\" is no day of week", "?, L, W and # of other schedulers are not known here; write * for \"any\"")]
    #[case("0 22-4 * * *", 2..6, "the range 22-4 runs backwards", "write it as two ranges: 22-23,0-4")]
    #[case("0 2 * * fri-mon", 8..15, "the range fri-mon runs backwards", "write it as two ranges: 5-6,0-1")]
    #[case("*/0 * * * *", 2..3, "a step of 0 never moves on", "write a step of 1 or more, for example */15")]
    #[case("*/90 * * * *", 2..4, "a step of 90 is longer than the whole minute field (0 to 59)", "cron counts within the field only; write several expressions, or a step that fits")]
    #[case("*/120 * * * *", 2..5, "a step of 120 is longer than the whole minute field (0 to 59)", "every 2 hours is: 0 */2 * * *")]
    #[case("*/x * * * *", 2..3, "\"x\" is no step", "write a number after the slash, for example */15")]
    #[case("0,,30 * * * *", 2..2, "a value is missing in the minute", "write lists without spaces: 0,30")]
    #[case("-5 * * * *", 0..0, "\"\" is no minute", "write a number from 0 to 59")]
    #[case("0 0 30 2 *", 0..10, "no such day exists", "february never has a day 30; the last day of a month cannot be written in cron, day 28 exists in all")]
    #[case("0 0 31 2,4,6 *", 0..14, "no such day exists", "february or april or june never has a day 31; the last day of a month cannot be written in cron, day 28 exists in all")]
    #[case("@reboot", 0..7, "\"@reboot\" is no schedule", "write run_on_start = true")]
    #[case("@dayly", 0..6, "\"@dayly\" is no schedule", "write \"@daily\"")]
    #[case("@every 5m", 0..9, "\"@every 5m\" is no schedule", "write a step, for example */15 * * * *")]
    #[case("99999999999999999999 * * * *", 0..20, "99999999999999999999 is no minute", "write a number from 0 to 59")]
    #[case("0 0 \u{1F600} * *", 4..8, "\"\u{1F600}\" is no day of month", "write a number from 1 to 31")]
    fn a_mistake_is_shown_where_it_is_with_what_to_write(
        #[case] expression: &str,
        #[case] at: Range<usize>,
        #[case] message: &str,
        #[case] help: &str,
    ) {
        let error = expression.parse::<CronExpression>().unwrap_err();
        assert_eq!((error.at, error.message.as_str(), error.help.as_str()), (at, message, help));
    }

    #[test]
    fn an_expression_of_a_megabyte_is_refused_at_once() {
        let error = "1,".repeat(500_000).parse::<CronExpression>().unwrap_err();
        assert_eq!(error.message, "a cron expression has at most 1024 characters");
    }

    #[test]
    fn time_ends_quietly() {
        let daily: CronExpression = "0 0 * * *".parse().unwrap();
        assert_eq!(daily.next_civil(NaiveDateTime::MAX), None);
        assert_eq!(daily.next_civil("2100-12-31T00:00:00".parse().unwrap()), None);
        assert_eq!(daily.next_civil(NaiveDateTime::MIN), Some("1970-01-01T00:00:00".parse().unwrap()));
    }
}
