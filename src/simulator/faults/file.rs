//! A fault plan as a TOML file.
//!
//! ```toml
//! seed = 7
//!
//! [[fault]]
//! name = "the third snapshot of web-01 finds no space"
//! method = "VM.snapshot"
//! object = "web-01"
//! nth = [3]
//! action = "refuse"
//! code = "SR_BACKEND_FAILURE_44"
//! params = ["", "There is insufficient space", ""]
//!
//! [[fault]]
//! after = "30m"
//! action = "kill"
//! down = "20s"
//! ```
//!
//! The rule: a key that would have no effect is an error, and every error names its line and what to write instead.

use std::ops::Range;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use toml::Spanned;

use super::{Action, Garbage, Match, Moment, Order, Plan, Rule, Trigger, When};
use crate::simulator::error::ApiError;

/// A plan that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("fault plan, line {line}: {message}")]
pub struct PlanError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, and what to write.
    pub message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPlan {
    #[serde(default)]
    seed: u64,
    #[serde(default)]
    fault: Vec<Spanned<RawFault>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFault {
    name: Option<String>,
    method: Option<String>,
    object: Option<String>,
    originator: Option<String>,
    nth: Option<Spanned<Nth>>,
    every: Option<Spanned<u64>>,
    probability: Option<Spanned<f64>>,
    times: Option<u64>,
    after: Option<Spanned<String>>,
    at: Option<Spanned<String>>,
    until: Option<Spanned<String>>,
    action: Option<Spanned<String>>,
    when: Option<Spanned<String>>,
    code: Option<Spanned<String>>,
    params: Option<Spanned<Vec<String>>>,
    delay: Option<Spanned<String>>,
    kind: Option<Spanned<String>>,
    sr: Option<Spanned<String>>,
    leave: Option<Spanned<i64>>,
    disk: Option<Spanned<u64>>,
    factor: Option<Spanned<f64>>,
    by: Option<Spanned<String>>,
    down: Option<Spanned<String>>,
    host: Option<Spanned<String>>,
    emergency: Option<Spanned<bool>>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a number such as 3, or a list such as [1, 3]")]
enum Nth {
    One(u64),
    Several(Vec<u64>),
}

/// `(name, keys that belong to it)`: every action of a plan.
const ACTIONS: [(&str, &[&str]); 16] = [
    ("refuse", &["code", "params"]),
    ("delay", &["delay"]),
    ("hang", &[]),
    ("mute", &[]),
    ("cut", &["when"]),
    ("garbage", &["kind"]),
    ("lose-events", &[]),
    ("expire-sessions", &[]),
    ("fill-sr", &["sr", "leave"]),
    ("fail-disk", &["disk", "code", "params"]),
    ("slow", &["factor"]),
    ("stuck", &[]),
    ("skew", &["by"]),
    ("stop", &["when", "delay", "down"]),
    ("kill", &["when", "delay", "down"]),
    ("promote", &["when", "delay", "host", "emergency"]),
];
/// Written like an action of its own: a stop that comes back by itself.
const RESTART: (&str, &[&str]) = ("restart", &["when", "delay", "down"]);
/// How long a restart takes when the plan does not say.
const RESTART_TAKES: Duration = Duration::from_secs(5);
/// Actions that strike a call and nothing else.
const NEED_A_CALL: [&str; 9] = ["refuse", "delay", "hang", "mute", "cut", "garbage", "fail-disk", "slow", "stuck"];

impl Plan {
    /// Reads a plan.
    ///
    /// # Errors
    /// [`PlanError`] for the first mistake, with its line.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        let raw: RawPlan = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            Reader { text }.error(at, error.message())
        })?;
        let reader = Reader { text };
        let rules = raw.fault.into_iter().enumerate().map(|(at, fault)| reader.rule(at, fault)).collect::<Result<_, _>>()?;
        Ok(Self { seed: raw.seed, rules })
    }
}

struct Reader<'a> {
    text: &'a str,
}

impl Reader<'_> {
    fn error(&self, at: usize, message: impl Into<String>) -> PlanError {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        PlanError { line, message: message.into().replace('\n', "; ") }
    }

    fn rule(&self, at: usize, fault: Spanned<RawFault>) -> Result<Rule, PlanError> {
        let span = fault.span();
        let raw = fault.into_inner();
        let matching = Match { method: raw.method.clone(), object: raw.object.clone(), originator: raw.originator.clone() };
        let action = self.action(&raw, &span)?;
        let trigger = self.trigger(&raw)?;
        self.check_timing(&raw, &span, &matching, &trigger)?;
        let name = raw.name.unwrap_or_else(|| format!("fault {}: {action}", at + 1));
        Ok(Rule { name, matching, trigger, action })
    }

    fn trigger(&self, raw: &RawFault) -> Result<Trigger, PlanError> {
        let nth = match raw.nth.as_ref().map(|nth| (nth.span(), nth.get_ref())) {
            None => Vec::new(),
            Some((_, Nth::One(one))) if *one > 0 => vec![*one],
            Some((_, Nth::Several(some))) if !some.is_empty() && !some.contains(&0) => some.clone(),
            Some((span, _)) => return Err(self.error(span.start, "`nth` counts from 1: write nth = 1, or nth = [1, 3]")),
        };
        let probability = self.checked(&raw.probability, |p| (0.0..=1.0).contains(p), "`probability` is from 0.0 to 1.0")?;
        let every = self.checked(&raw.every, |n| *n > 0, "`every` counts from 1: write every = 5 for each fifth call")?;
        let after = raw.after.as_ref().map(|text| self.duration(text)).transpose()?.map(Moment::Since);
        let at = raw.at.as_ref().map(|text| self.instant(text)).transpose()?.map(Moment::At);
        if let (Some(_), Some(text)) = (after, &raw.at) {
            return Err(self.error(text.span().start, "`at` and `after` exclude one another: keep one"));
        }
        let until = raw.until.as_ref().map(|text| self.moment(text)).transpose()?;
        Ok(Trigger { nth, every, probability, times: raw.times, from: after.or(at), until })
    }

    fn checked<T: Copy>(
        &self,
        value: &Option<Spanned<T>>,
        good: impl Fn(&T) -> bool,
        rule: &str,
    ) -> Result<Option<T>, PlanError> {
        match value {
            Some(value) if !good(value.get_ref()) => Err(self.error(value.span().start, rule)),
            Some(value) => Ok(Some(*value.get_ref())),
            None => Ok(None),
        }
    }

    /// A fault without a call needs a moment, and only some can do without a call.
    fn check_timing(&self, raw: &RawFault, span: &Range<usize>, matching: &Match, trigger: &Trigger) -> Result<(), PlanError> {
        let action = raw.action.as_ref().map_or("", |action| action.get_ref());
        if !matching.is_for_no_call() {
            return Ok(());
        }
        if NEED_A_CALL.contains(&action) {
            let hint = format!("`{action}` strikes calls: write which, for example method = \"VM.snapshot\", or \"*\" for all");
            return Err(self.error(span.start, hint));
        }
        if trigger.from.is_none() {
            let hint = "the fault would never strike: write method, object or originator, or a time: after = \"10m\"";
            return Err(self.error(span.start, hint));
        }
        let useless = [("nth", raw.nth.is_some()), ("every", raw.every.is_some()), ("times", raw.times.is_some())];
        match useless.iter().find(|(_, given)| *given) {
            Some((key, _)) => Err(self.error(span.start, format!("`{key}` counts calls: write which, or remove it"))),
            None => Ok(()),
        }
    }

    fn action(&self, raw: &RawFault, span: &Range<usize>) -> Result<Action, PlanError> {
        let Some(action) = &raw.action else {
            return Err(self.error(span.start, format!("`action` is missing: write one of {}", action_names())));
        };
        let known = ACTIONS.iter().chain([&RESTART]).find(|(name, _)| name == action.get_ref());
        let Some((name, keys)) = known else {
            let hint = format!("unknown action `{}`: write one of {}", action.get_ref(), action_names());
            return Err(self.error(action.span().start, hint));
        };
        self.check_keys(raw, name, keys)?;
        let at = action.span().start;
        Ok(match *name {
            "refuse" => Action::Refuse(self.api_error(raw, at)?),
            "delay" => Action::Delay(self.duration(self.needed(&raw.delay, at, "delay", "\"5s\"")?)?),
            "hang" => Action::Hang,
            "mute" => Action::Mute,
            "cut" => Action::Cut(self.cut(raw, at)?),
            "garbage" => Action::Garbage(self.garbage(raw, at)?),
            "lose-events" => Action::LoseEvents,
            "expire-sessions" => Action::ExpireSessions,
            "fill-sr" => Action::FillSr {
                sr: self.needed(&raw.sr, at, "sr", "\"Local storage\"")?.get_ref().clone(),
                leave: self.checked(&raw.leave, |n| *n >= 0, "`leave` is a number of bytes, at least 0")?.unwrap_or(0),
            },
            "fail-disk" => Action::FailDisk { disk: self.disk(raw, at)?, error: self.api_error(raw, at)? },
            "slow" => Action::Slow(self.factor(raw, at)?),
            "stuck" => Action::Stuck,
            "skew" => Action::Skew(self.skew(self.needed(&raw.by, at, "by", "\"-90s\"")?)?),
            _ => self.server(raw, name)?,
        })
    }

    fn check_keys(&self, raw: &RawFault, action: &str, allowed: &[&str]) -> Result<(), PlanError> {
        let keys = [
            ("when", raw.when.as_ref().map(Spanned::span)),
            ("code", raw.code.as_ref().map(Spanned::span)),
            ("params", raw.params.as_ref().map(Spanned::span)),
            ("delay", raw.delay.as_ref().map(Spanned::span)),
            ("kind", raw.kind.as_ref().map(Spanned::span)),
            ("sr", raw.sr.as_ref().map(Spanned::span)),
            ("leave", raw.leave.as_ref().map(Spanned::span)),
            ("disk", raw.disk.as_ref().map(Spanned::span)),
            ("factor", raw.factor.as_ref().map(Spanned::span)),
            ("by", raw.by.as_ref().map(Spanned::span)),
            ("down", raw.down.as_ref().map(Spanned::span)),
            ("host", raw.host.as_ref().map(Spanned::span)),
            ("emergency", raw.emergency.as_ref().map(Spanned::span)),
        ];
        let stranger = keys.into_iter().find_map(|(key, span)| Some((key, span?)).filter(|(key, _)| !allowed.contains(key)));
        match stranger {
            None => Ok(()),
            Some((key, span)) if allowed.is_empty() => {
                Err(self.error(span.start, format!("`{key}` means nothing for action `{action}`: remove it")))
            }
            Some((key, span)) => {
                let hint = format!("`{key}` means nothing for action `{action}`, which takes {}: remove it", listed(allowed));
                Err(self.error(span.start, hint))
            }
        }
    }

    fn needed<'v, T>(
        &self,
        value: &'v Option<Spanned<T>>,
        at: usize,
        key: &str,
        example: &str,
    ) -> Result<&'v Spanned<T>, PlanError> {
        value.as_ref().ok_or_else(|| self.error(at, format!("`{key}` is missing: write {key} = {example}")))
    }

    fn api_error(&self, raw: &RawFault, at: usize) -> Result<ApiError, PlanError> {
        let code = self.needed(&raw.code, at, "code", "\"SR_BACKEND_FAILURE_44\"")?.get_ref();
        let params = raw.params.as_ref().map(|params| params.get_ref().clone()).unwrap_or_default();
        Ok(ApiError { code: code.clone(), params })
    }

    fn cut(&self, raw: &RawFault, at: usize) -> Result<When, PlanError> {
        let when = self.needed(&raw.when, at, "when", "\"before\" or when = \"after\" (the effect)")?;
        match when.get_ref().as_str() {
            "before" => Ok(When::Before),
            "after" => Ok(When::After),
            _ => Err(self.error(when.span().start, "write when = \"before\" or when = \"after\" (the effect)")),
        }
    }

    fn garbage(&self, raw: &RawFault, at: usize) -> Result<Garbage, PlanError> {
        let kind = self.needed(&raw.kind, at, "kind", "\"truncated\"")?;
        let known: Vec<_> = Garbage::names().collect();
        Garbage::parse(kind.get_ref()).ok_or_else(|| {
            let hint = format!("unknown kind of garbage `{}`: write one of {}", kind.get_ref(), listed(&known));
            self.error(kind.span().start, hint)
        })
    }

    fn disk(&self, raw: &RawFault, at: usize) -> Result<u64, PlanError> {
        let disk = self.needed(&raw.disk, at, "disk", "2")?;
        match disk.get_ref() {
            0 => Err(self.error(disk.span().start, "`disk` counts from 1")),
            n => Ok(*n),
        }
    }

    fn factor(&self, raw: &RawFault, at: usize) -> Result<f64, PlanError> {
        let factor = self.needed(&raw.factor, at, "factor", "10.0")?;
        match *factor.get_ref() {
            n if n.is_finite() && (0.0..=1e6).contains(&n) => Ok(n),
            _ => Err(self.error(factor.span().start, "`factor` is from 0.0 to 1000000.0")),
        }
    }

    fn server(&self, raw: &RawFault, name: &str) -> Result<Action, PlanError> {
        let down = raw.down.as_ref().map(|text| self.duration(text)).transpose()?;
        let order = match name {
            "kill" => Order::Kill { down },
            "stop" => Order::Stop { down },
            "restart" => Order::Stop { down: Some(down.unwrap_or(RESTART_TAKES)) },
            _ => Order::Promote {
                host: raw.host.as_ref().map(|host| host.get_ref().clone()),
                emergency: raw.emergency.as_ref().is_some_and(|emergency| *emergency.get_ref()),
            },
        };
        let when = match raw.when.as_ref().map(|when| (when.span(), when.get_ref().as_str())) {
            None | Some((_, "during")) => When::During,
            Some((_, "before")) => When::Before,
            Some((_, "after")) => When::After,
            Some((span, _)) => return Err(self.error(span.start, "write when = \"before\", \"during\" or \"after\" (the call)")),
        };
        let delay = raw.delay.as_ref().map(|text| self.duration(text)).transpose()?.unwrap_or_default();
        Ok(Action::Server { order, when, delay })
    }

    fn duration(&self, text: &Spanned<String>) -> Result<Duration, PlanError> {
        parse_duration(text.get_ref()).ok_or_else(|| {
            let hint = format!("`{}` is no duration: write \"500ms\", \"5s\", \"10m\", \"2h\" or \"1d\"", text.get_ref());
            self.error(text.span().start, hint)
        })
    }

    fn skew(&self, text: &Spanned<String>) -> Result<TimeDelta, PlanError> {
        let (sign, rest) = match text.get_ref().strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text.get_ref().strip_prefix('+').unwrap_or(text.get_ref())),
        };
        let by = parse_duration(rest).and_then(|by| TimeDelta::from_std(by).ok());
        by.map(|by| by * sign).ok_or_else(|| {
            let hint = format!("`{}` is no step of a clock: write \"-90s\" or \"2h\"", text.get_ref());
            self.error(text.span().start, hint)
        })
    }

    fn instant(&self, text: &Spanned<String>) -> Result<DateTime<Utc>, PlanError> {
        text.get_ref().parse().map_err(|_| {
            let hint = format!("`{}` is no instant: write \"2026-03-29T01:00:00Z\"", text.get_ref());
            self.error(text.span().start, hint)
        })
    }

    fn moment(&self, text: &Spanned<String>) -> Result<Moment, PlanError> {
        match parse_duration(text.get_ref()) {
            Some(after) => Ok(Moment::Since(after)),
            None => text.get_ref().parse().map(Moment::At).map_err(|_| {
                let hint = format!("`{}` is no time: write \"2h\" or \"2026-03-29T01:00:00Z\"", text.get_ref());
                self.error(text.span().start, hint)
            }),
        }
    }
}

/// The longest duration that is taken: ten years.
const LONGEST: f64 = 10.0 * 366.0 * 86_400.0;

fn parse_duration(text: &str) -> Option<Duration> {
    let unit = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    let number: f64 = number.trim().parse().ok()?;
    let all = number * seconds;
    (0.0..=LONGEST).contains(&all).then(|| Duration::from_secs_f64(all))
}

fn action_names() -> String {
    listed(&ACTIONS.iter().chain([&RESTART]).map(|(name, _)| *name).collect::<Vec<_>>())
}

fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
