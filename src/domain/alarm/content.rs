//! What a message tells, as programs read it (`docs/ALARMS.md`): a webhook gets it as it is, and what people read is made of it. However
//! much goes wrong at once, it is one message of bounded length: the worst first, the rest as a number.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::condition::Condition;
use super::edges::Edge;
use super::plain::plain;

/// So many alarms are told one by one, and so many VMs of each.
const ALARMS: usize = 100;
const VMS: usize = 50;

/// So many characters of a name, and of a sentence.
const NAME: usize = 120;
const SENTENCE: usize = 600;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// The version of this form.
    pub version: u32,
    /// The message: the same in every delivery of it.
    pub message: Uuid,
    /// `immediate` or `digest`, or `test`.
    pub form: String,
    /// Who tells it.
    pub installation: String,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// The zone in which people read times.
    pub zone: String,
    /// What is told, the worst first.
    pub alarms: Vec<Told>,
    /// How many more there are to tell that do not stand here.
    pub more: usize,
    /// How many alarms are raised now.
    pub raised: usize,
}

/// What is told of an alarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// `raised`, `reminded` or `cleared`.
    pub edge: String,
    /// When that was so.
    pub at: DateTime<Utc>,
    /// The alarm's number.
    pub alarm: i64,
    /// What it is.
    pub code: String,
    /// How much it matters.
    pub severity: String,
    /// The pool's name.
    pub pool: Option<String>,
    /// The policy's id.
    pub policy: Option<String>,
    /// The VM.
    pub vm: Option<ToldVm>,
    /// The run.
    pub run: Option<i64>,
    /// Since when it is wrong.
    pub since: DateTime<Utc>,
    /// One sentence.
    pub text: String,
    /// The VMs without a snapshot, where it is about a run.
    pub vms: Vec<ToldVm>,
    /// How many more of them there are.
    pub more_vms: usize,
}

/// A VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldVm {
    /// The VM.
    pub uuid: Uuid,
    /// Its name.
    pub name: String,
    /// A code for what went wrong.
    pub code: Option<String>,
    /// What went wrong.
    pub text: Option<String>,
}

/// What is to be told of an alarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telling {
    /// What.
    pub edge: Edge,
    /// When it was so.
    pub at: DateTime<Utc>,
    /// The alarm's number.
    pub alarm: i64,
    /// What is or was wrong.
    pub what: Condition,
}

/// What is to be told, with the VMs that it is about.
pub type Part = (Telling, Vec<ToldVm>);

impl Content {
    /// A message of all that is to be told.
    pub fn new(
        message: Uuid,
        form: &str,
        (installation, zone): (&str, &str),
        mut parts: Vec<Part>,
        raised: usize,
        now: DateTime<Utc>,
    ) -> Self {
        // The worst first; and what began, goes on and is over by themselves.
        parts.sort_by(|(one, _), (other, _)| {
            let place = |told: &Telling| (std::cmp::Reverse(told.what.severity), told.edge, told.what.key.clone(), told.at);
            place(one).cmp(&place(other))
        });
        let more = parts.len().saturating_sub(ALARMS);
        Self {
            version: 1,
            message,
            form: form.to_owned(),
            installation: installation.to_owned(),
            created_at: now,
            zone: zone.to_owned(),
            alarms: parts.into_iter().take(ALARMS).map(told).collect(),
            more,
            raised,
        }
    }

    /// A message that tries a channel.
    pub fn test(message: Uuid, installation: &str, raised: usize, now: DateTime<Utc>) -> Self {
        Self::new(message, "test", (installation, "UTC"), Vec::new(), raised, now)
    }
}

impl ToldVm {
    /// A VM and what went wrong.
    pub fn new(uuid: Uuid, name: &str, cause: Option<(&str, &str)>) -> Self {
        Self {
            uuid,
            name: plain(name, NAME),
            code: cause.map(|(code, _)| plain(code, NAME)),
            text: cause.map(|(_, text)| plain(text, SENTENCE)),
        }
    }
}

fn told((telling, vms): Part) -> Told {
    let what = telling.what;
    let more_vms = vms.len().saturating_sub(VMS);
    Told {
        edge: telling.edge.as_str().to_owned(),
        at: telling.at,
        alarm: telling.alarm,
        code: what.code,
        severity: what.severity.as_str().to_owned(),
        pool: what.pool.map(|pool| plain(&pool, NAME)),
        policy: what.policy.map(|policy| plain(&policy, NAME)),
        vm: what.vm.map(|(uuid, name)| ToldVm::new(uuid, &name, None)),
        run: what.run,
        since: what.since,
        text: plain(&what.text, SENTENCE),
        vms: vms.into_iter().take(VMS).collect(),
        more_vms,
    }
}
