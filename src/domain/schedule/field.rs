//! One field of a cron expression: lists of values, ranges, steps and names. Every refusal says where it happened and what to
//! write instead.

use std::ops::Range;

use super::super::nearest::nearest;

/// What is wrong in a cron expression, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// Bytes of the expression.
    pub at: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

pub(super) fn fault<T>(at: Range<usize>, message: impl Into<String>, help: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { at, message: message.into(), help: help.into() })
}

/// A field's name, values and value names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unit {
    pub name: &'static str,
    pub first: u32,
    pub last: u32,
    /// Names of the values from `first` on.
    pub names: &'static [&'static str],
}

pub(super) const SECOND: Unit = Unit { name: "second", first: 0, last: 59, names: &[] };
pub(super) const MINUTE: Unit = Unit { name: "minute", first: 0, last: 59, names: &[] };
pub(super) const HOUR: Unit = Unit { name: "hour", first: 0, last: 23, names: &[] };
pub(super) const DAY: Unit = Unit { name: "day of month", first: 1, last: 31, names: &[] };
pub(super) const MONTH: Unit = Unit {
    name: "month",
    first: 1,
    last: 12,
    names: &[
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ],
};
/// Sunday is 0 and 7.
pub(super) const WEEKDAY: Unit = Unit {
    name: "day of week",
    first: 0,
    last: 7,
    names: &["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"],
};

/// The values of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    /// Bit `n` stands for the value `n`; Sunday is bit 0 only.
    pub values: u64,
    /// The field begins with `*`, as Vixie's rule of the two day fields asks.
    pub star: bool,
    /// Written with `*` or a step, so meant as an interval.
    pub interval: bool,
}

impl Field {
    /// Reads a field that begins at byte `at` of the expression.
    pub(super) fn parse(unit: &Unit, text: &str, at: usize) -> Result<Self, Fault> {
        let mut values = 0;
        let mut from = at;
        for item in text.split(',') {
            values |= Item { unit, text: item, at: from }.values()?;
            from += item.len() + 1;
        }
        if unit.last == 7 && values & 1 << 7 != 0 {
            values = values & !(1 << 7) | 1;
        }
        Ok(Self { values, star: text.starts_with('*'), interval: text.contains(['*', '/']) })
    }

    /// The values in ascending order.
    pub(super) fn iter(self) -> impl Iterator<Item = u32> {
        (0..64).filter(move |n| self.values & 1 << n != 0)
    }
}

/// One entry of a list: a value, a range or `*`, perhaps with a step.
struct Item<'a> {
    unit: &'a Unit,
    text: &'a str,
    at: usize,
}

impl Item<'_> {
    fn values(&self) -> Result<u64, Fault> {
        if self.text.is_empty() {
            return fault(
                self.span(),
                format!("a value is missing in the {}", self.unit.name),
                "write lists without spaces: 0,30",
            );
        }
        let (range, step) = match self.text.split_once('/') {
            None => (self.text, None),
            Some((range, step)) => (range, Some(self.step(range.len() + 1, step)?)),
        };
        let (first, last) = self.range(range, step.is_some())?;
        Ok((first..=last).step_by(step.unwrap_or(1) as usize).fold(0, |bits, n| bits | 1 << n))
    }

    fn span(&self) -> Range<usize> {
        self.at..self.at + self.text.len()
    }

    fn step(&self, offset: usize, text: &str) -> Result<u32, Fault> {
        let at = self.at + offset..self.at + self.text.len();
        let most = self.unit.last - self.unit.first;
        match text.parse::<u32>() {
            Ok(0) => fault(at, "a step of 0 never moves on", "write a step of 1 or more, for example */15"),
            Ok(step) if step > most => fault(
                at,
                format!(
                    "a step of {step} is longer than the whole {} field ({} to {})",
                    self.unit.name, self.unit.first, self.unit.last
                ),
                longer_step(self.unit, step),
            ),
            Ok(step) => Ok(step),
            Err(_) => fault(at, format!("\"{text}\" is no step"), "write a number after the slash, for example */15"),
        }
    }

    fn range(&self, text: &str, stepped: bool) -> Result<(u32, u32), Fault> {
        if text == "*" {
            // A step over the week counts Sunday once.
            return Ok((self.unit.first, if self.unit.last == 7 { 6 } else { self.unit.last }));
        }
        let Some((from, to)) = text.split_once('-') else {
            let value = self.value(0, text)?;
            return Ok((value, if stepped { self.unit.last } else { value }));
        };
        let first = self.value(0, from)?;
        let last = match self.value(from.len() + 1, to)? {
            // "Sat-Sun" ends with the week.
            0 if self.unit.last == 7 && !to.starts_with('0') => 7,
            last => last,
        };
        if first > last {
            let help = format!(
                "write it as two ranges: {first}-{},{}-{last}",
                self.unit.last.min(if self.unit.last == 7 { 6 } else { 59 }),
                self.unit.first
            );
            return fault(self.at..self.at + text.len(), format!("the range {text} runs backwards"), help);
        }
        Ok((first, last))
    }

    fn value(&self, offset: usize, text: &str) -> Result<u32, Fault> {
        let at = self.at + offset..self.at + offset + text.len();
        let (first, last) = (self.unit.first, self.unit.last);
        if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
            return match text.parse() {
                Ok(value) if (first..=last).contains(&value) => Ok(value),
                _ => fault(at, format!("{text} is no {}", self.unit.name), out_of_range(self.unit, text)),
            };
        }
        let wanted = text.to_ascii_lowercase();
        let named = self.unit.names.iter().position(|name| *name == wanted || name[..3] == *wanted);
        match named {
            Some(index) => Ok(first + index as u32),
            None => fault(at, format!("\"{text}\" is no {}", self.unit.name), self.instead_of(&wanted)),
        }
    }

    fn instead_of(&self, wanted: &str) -> String {
        if let Some(name) = nearest(wanted, self.unit.names.iter().copied()) {
            return format!("write \"{}\"", &name[..3]);
        }
        if wanted.contains(['?', '#', 'l', 'w']) && self.unit.names.is_empty() | wanted.contains(['?', '#']) {
            return "?, L, W and # of other schedulers are not known here; write * for \"any\"".to_owned();
        }
        format!("write a number from {} to {}", self.unit.first, self.unit.last)
    }
}

fn out_of_range(unit: &Unit, text: &str) -> String {
    match (unit.name, text) {
        ("hour", "24") => "midnight is hour 0".to_owned(),
        ("minute" | "second", "60") => format!("the full {} is 0", if unit.name == "minute" { "hour" } else { "minute" }),
        _ => format!("write a number from {} to {}", unit.first, unit.last),
    }
}

/// What somebody meant with `*/90` minutes.
fn longer_step(unit: &Unit, step: u32) -> String {
    match (unit.name, step) {
        ("minute", 60) => "every hour is: 0 * * * *".to_owned(),
        ("minute", step) if step % 60 == 0 && step < 1440 => format!("every {} hours is: 0 */{} * * *", step / 60, step / 60),
        ("hour", 24) => "every day is: 0 0 * * *".to_owned(),
        _ => "cron counts within the field only; write several expressions, or a step that fits".to_owned(),
    }
}
