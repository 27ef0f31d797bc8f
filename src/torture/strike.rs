//! A step of a plan as a fault of the simulator that strikes the service's calls.

use std::time::Duration;

use chrono::TimeDelta;

use super::plan::{Fault, Step};
use crate::simulator::error::ApiError;
use crate::simulator::faults::{Action, Garbage, Moment, Order, Rule, When};

/// What a server says that does not want to.
const REFUSALS: [(&str, &[&str]); 6] = [
    ("SR_BACKEND_FAILURE_44", &["", "There is insufficient space", ""]),
    ("OTHER_OPERATION_IN_PROGRESS", &["VM", "OpaqueRef:x", "snapshot", "OpaqueRef:y"]),
    ("INTERNAL_ERROR", &["Unix.Unix_error(Unix.ECONNREFUSED, \"connect\", \"\")"]),
    ("TOO_MANY_PENDING_TASKS", &[]),
    ("SR_BACKEND_FAILURE_46", &["", "The VDI is not available", ""]),
    ("CANNOT_CONTACT_HOST", &["OpaqueRef:x"]),
];

/// By how many seconds clocks step.
const STEPS: [i64; 6] = [-7200, 10_800, -40, 95, 3600, -600];

/// How the clock steps that a step of the plan is about.
pub(super) fn clock_step(step: &Step) -> TimeDelta {
    TimeDelta::seconds(*chosen(&STEPS, step.pick))
}

fn chosen<T>(all: &[T], pick: u64) -> &T {
    &all[usize::try_from(pick).unwrap_or_default() % all.len()]
}

/// The fault, under this name; none for what is not done to calls. `sr` is where it may get narrow.
pub(super) fn rule(step: &Step, name: String, since: Duration, sr: &str) -> Option<Rule> {
    let method = step.method.clone().unwrap_or_else(|| "*".to_owned());
    let down = Some(Duration::from_secs(5 + step.pick % 120));
    let server = |order: Order, when: When| Action::Server { order, when, delay: Duration::from_millis(step.pick % 90) };
    let action = match step.fault {
        Fault::Refused => refusal(step.pick),
        Fault::Hung | Fault::KilledBefore => Action::Hang,
        Fault::Mute | Fault::KilledAfter => Action::Mute,
        Fault::CutBefore => Action::Cut(When::Before),
        Fault::CutAfter => Action::Cut(When::After),
        Fault::Delayed => Action::Delay(Duration::from_secs(1 + step.pick % 600)),
        Fault::Slow => Action::Slow((10 + step.pick % 5000) as f64),
        Fault::Stuck => Action::Stuck,
        Fault::Garbage => {
            let kinds: Vec<&str> = Garbage::names().collect();
            Action::Garbage(Garbage::parse(chosen::<&str>(&kinds, step.pick))?)
        }
        Fault::LostEvents => Action::LoseEvents,
        Fault::ExpiredSessions => Action::ExpireSessions,
        Fault::MasterChange => server(Order::Promote { host: None, emergency: false }, When::During),
        Fault::Restart => server(Order::Stop { down }, When::During),
        Fault::Crash => server(Order::Kill { down }, *chosen(&[When::Before, When::During, When::After], step.pick)),
        Fault::Promotion => server(Order::Promote { host: None, emergency: true }, When::After),
        Fault::FullSr => Action::FillSr { sr: sr.to_owned(), leave: 0 },
        Fault::PartialSnapshot => {
            let error = ApiError::new("SR_BACKEND_FAILURE_44", ["", "There is insufficient space", ""]);
            Action::FailDisk { disk: 1 + step.pick % 2, error }
        }
        Fault::ServerClock => Action::Skew(clock_step(step)),
        _ => return None,
    };
    let rule = Rule::on(method, action).named(name).times(1);
    let mut rule = if step.fault == Fault::PartialSnapshot { rule } else { rule.nth(step.nth) };
    rule.trigger.from = Some(Moment::Since(since));
    Some(rule)
}

fn refusal(pick: u64) -> Action {
    let (code, params) = *chosen(&REFUSALS, pick);
    Action::Refuse(ApiError::new(code, params.iter().copied()))
}
