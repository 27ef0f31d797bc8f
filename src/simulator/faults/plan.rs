//! What a fault plan says: which calls a fault meets, when it strikes, and what it does.
//!
//! A plan is data. It is built in code, or read from a file by [`Plan::parse`](super::Plan::parse).

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::garbage::Garbage;
use crate::simulator::error::ApiError;

/// Faults and the seed from which their chance is drawn.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// The seed of every probability in the plan.
    pub seed: u64,
    /// The faults, asked in this order; each decides for itself.
    pub rules: Vec<Rule>,
}

/// One fault.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its name in reports.
    pub name: String,
    /// Which calls it meets.
    pub matching: Match,
    /// Which of those it strikes.
    pub trigger: Trigger,
    /// What it does.
    pub action: Action,
}

/// Which calls a fault meets; what is not given meets everything. A text may end in `*`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Match {
    /// The message (`VM.snapshot`, also met by its `Async.` form unless the text itself begins so), or an HTTP handler
    /// (`GET /export`).
    pub method: Option<String>,
    /// Name, uuid or reference of an object among the parameters, of the VM a snapshot belongs to, or of an SR that holds its disks.
    pub object: Option<String>,
    /// What the client called itself at login.
    pub originator: Option<String>,
}

impl Match {
    /// True for a fault that waits for its time instead of for a call.
    pub fn is_for_no_call(&self) -> bool {
        self.method.is_none() && self.object.is_none() && self.originator.is_none()
    }
}

/// Which of the calls it meets a fault strikes; conditions add up.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Trigger {
    /// Only these, counted from 1; empty: no such condition.
    pub nth: Vec<u64>,
    /// Only every so-manieth.
    pub every: Option<u64>,
    /// Each with this chance, 0 to 1.
    pub probability: Option<f64>,
    /// At most so often.
    pub times: Option<u64>,
    /// Not earlier.
    pub from: Option<Moment>,
    /// Not later.
    pub until: Option<Moment>,
}

/// A moment of simulated time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Since the plan was loaded.
    Since(Duration),
    /// By the pool's wall clock.
    At(DateTime<Utc>),
}

/// When, seen from the call that a fault struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Before the call has any effect.
    Before,
    /// While the call goes on.
    During,
    /// After the effect, before the answer.
    After,
}

/// What a fault does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// The call fails without effect.
    Refuse(ApiError),
    /// The call starts later.
    Delay(Duration),
    /// The call has no effect and is never answered.
    Hang,
    /// The call takes effect and is never answered.
    Mute,
    /// The connection is closed instead of an answer; `When::During` counts as `After`.
    Cut(When),
    /// Something else than the answer is sent; the call took effect.
    Garbage(Garbage),
    /// Deletions are forgotten, and `event.next` answers EVENTS_LOST once per session.
    LoseEvents,
    /// Every session ends; with an originator in the match, only those of that client.
    ExpireSessions,
    /// An SR has no more than `leave` bytes free from now on.
    FillSr {
        /// Name, uuid or reference of the SR.
        sr: String,
        /// What stays free, in bytes.
        leave: i64,
    },
    /// The `disk`-th disk (from 1) of a snapshot fails.
    FailDisk {
        /// Which disk, in the order the server takes them.
        disk: u64,
        /// With what.
        error: ApiError,
    },
    /// The call's work takes so many times as long.
    Slow(f64),
    /// The call never ends; its task stays pending.
    Stuck,
    /// The server's wall clock jumps.
    Skew(TimeDelta),
    /// Something happens to the server.
    Server {
        /// What.
        order: Order,
        /// When, for a fault that meets calls.
        when: When,
        /// So much later.
        delay: Duration,
    },
}

/// What happens to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// A clean stop, with everything written out.
    Stop {
        /// How long until it starts again; none: never by itself.
        down: Option<Duration>,
    },
    /// The process is killed; what was not written out is gone.
    Kill {
        /// How long until it starts again; none: never by itself.
        down: Option<Duration>,
    },
    /// Another host becomes master.
    Promote {
        /// Name, uuid or reference of the member; none: the first that is not master.
        host: Option<String>,
        /// With the member's own copy of the database, the old master being dead.
        emergency: bool,
    },
}

impl Plan {
    /// A plan without faults.
    pub fn new(seed: u64) -> Self {
        Self { seed, rules: Vec::new() }
    }

    /// Adds a fault.
    #[must_use]
    pub fn with(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }
}

impl Rule {
    /// A fault that meets every call of `method`; add conditions with the other functions.
    pub fn on(method: impl Into<String>, action: Action) -> Self {
        let method = method.into();
        let matching = Match { method: Some(method.clone()), ..Match::default() };
        Self { name: format!("{action} on {method}"), matching, trigger: Trigger::default(), action }
    }

    /// A fault that strikes once at a moment.
    pub fn at(moment: Moment, action: Action) -> Self {
        let trigger = Trigger { from: Some(moment), times: Some(1), ..Trigger::default() };
        Self { name: action.to_string(), matching: Match::default(), trigger, action }
    }

    /// Names the fault for reports.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Only calls that concern this object.
    #[must_use]
    pub fn object(mut self, object: impl Into<String>) -> Self {
        self.matching.object = Some(object.into());
        self
    }

    /// Only calls of this client.
    #[must_use]
    pub fn originator(mut self, originator: impl Into<String>) -> Self {
        self.matching.originator = Some(originator.into());
        self
    }

    /// Only the `nth` call that it meets, from 1; may be given several times.
    #[must_use]
    pub fn nth(mut self, nth: u64) -> Self {
        self.trigger.nth.push(nth);
        self
    }

    /// At most so often.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.trigger.times = Some(times);
        self
    }

    /// Each call with this chance.
    #[must_use]
    pub fn probability(mut self, probability: f64) -> Self {
        self.trigger.probability = Some(probability);
        self
    }
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Action::Refuse(error) => write!(f, "refuse with {}", error.code),
            Action::Delay(by) => write!(f, "delay by {by:?}"),
            Action::Hang => f.write_str("hang"),
            Action::Mute => f.write_str("never answer"),
            Action::Cut(When::Before) => f.write_str("cut the connection before the effect"),
            Action::Cut(_) => f.write_str("cut the connection after the effect"),
            Action::Garbage(kind) => write!(f, "answer garbage ({kind})"),
            Action::LoseEvents => f.write_str("lose events"),
            Action::ExpireSessions => f.write_str("expire sessions"),
            Action::FillSr { sr, leave } => write!(f, "fill SR {sr} up to {leave} bytes"),
            Action::FailDisk { disk, error } => write!(f, "fail disk {disk} with {}", error.code),
            Action::Slow(factor) => write!(f, "slow down {factor} times"),
            Action::Stuck => f.write_str("get stuck"),
            Action::Skew(by) => write!(f, "skew the clock by {by}"),
            Action::Server { order, .. } => order.fmt(f),
        }
    }
}

impl std::fmt::Display for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Order::Stop { down: None } => f.write_str("stop the server"),
            Order::Stop { down: Some(down) } => write!(f, "restart the server, down for {down:?}"),
            Order::Kill { down: None } => f.write_str("kill the server for good"),
            Order::Kill { down: Some(down) } => write!(f, "kill the server, down for {down:?}"),
            Order::Promote { host, emergency } => {
                let host = host.as_deref().unwrap_or("the first member");
                let how = if *emergency { "in an emergency" } else { "as planned" };
                write!(f, "promote {host} {how}")
            }
        }
    }
}
