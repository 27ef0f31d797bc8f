//! A pause: for some time nothing is begun about a part of the world, because a person said so. What was due meanwhile is not made up
//! for; it is skipped, and says why.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::id::PolicyId;

/// What is paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Everything.
    All,
    /// A policy, on all its pools.
    Policy(PolicyId),
    /// A pool.
    Pool(Uuid),
    /// What touches a storage repository.
    Sr(Uuid),
    /// The VMs that are on a host.
    Host(Uuid),
    /// A VM.
    Vm(Uuid),
}

/// A pause, as it was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Names it.
    pub id: Uuid,
    /// What is paused.
    pub scope: Scope,
    /// What people call that: `policy nightly`.
    pub name: String,
    /// From when on.
    pub from: DateTime<Utc>,
    /// When it is over by itself; never if nothing is said.
    pub until: Option<DateTime<Utc>>,
    /// Why, if that was said.
    pub reason: String,
    /// Who said so.
    pub by: String,
}

impl Pause {
    /// Whether it holds at this time.
    pub fn holds_at(&self, at: DateTime<Utc>) -> bool {
        self.from <= at && self.until.is_none_or(|until| at < until)
    }
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "paused ({}) by {}", self.name, self.by)?;
        match self.until {
            Some(until) => write!(f, " until {}", until.format("%Y-%m-%d %H:%M UTC"))?,
            None => f.write_str(" until it is resumed")?,
        }
        if self.reason.is_empty() { Ok(()) } else { write!(f, ": {}", self.reason) }
    }
}

/// What a job is about, as far as it can be paused.
#[derive(Debug, Clone, Copy)]
pub struct Work<'a> {
    /// Its policy.
    pub policy: &'a PolicyId,
    /// Its pool.
    pub pool: Uuid,
    /// Its VM.
    pub vm: Uuid,
    /// The storage that it touches.
    pub srs: &'a [Uuid],
    /// The host that the VM is on.
    pub host: Option<Uuid>,
}

/// The pause that keeps a slot from being run: one that holds when it is due, or now.
pub fn of_slot<'p>(
    pauses: &'p [Pause],
    (policy, pool): (&PolicyId, Uuid),
    due_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Option<&'p Pause> {
    let covers = |scope: &Scope| match scope {
        Scope::All => true,
        Scope::Policy(paused) => paused == policy,
        Scope::Pool(paused) => *paused == pool,
        Scope::Sr(_) | Scope::Host(_) | Scope::Vm(_) => false,
    };
    pauses.iter().find(|pause| covers(&pause.scope) && (pause.holds_at(due_at) || pause.holds_at(now)))
}

/// The pause that keeps a job from being begun now.
pub fn of_work<'p>(pauses: &'p [Pause], work: &Work<'_>, now: DateTime<Utc>) -> Option<&'p Pause> {
    let covers = |scope: &Scope| match scope {
        Scope::All => true,
        Scope::Policy(paused) => paused == work.policy,
        Scope::Pool(paused) => *paused == work.pool,
        Scope::Sr(paused) => work.srs.contains(paused),
        Scope::Host(paused) => work.host == Some(*paused),
        Scope::Vm(paused) => *paused == work.vm,
    };
    pauses.iter().find(|pause| covers(&pause.scope) && pause.holds_at(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        format!("2026-03-{text}:00Z").parse().unwrap()
    }

    fn pause(scope: Scope) -> Pause {
        Pause {
            id: Uuid::nil(),
            scope,
            name: "all".to_owned(),
            from: at("01T10:00"),
            until: Some(at("01T12:00")),
            reason: String::new(),
            by: "alice".to_owned(),
        }
    }

    #[test]
    fn a_pause_says_who_until_when_and_why() {
        let mut pause = pause(Scope::All);
        assert_eq!(pause.to_string(), "paused (all) by alice until 2026-03-01 12:00 UTC");
        pause.reason = "the SAN is moved".to_owned();
        pause.until = None;
        assert_eq!(pause.to_string(), "paused (all) by alice until it is resumed: the SAN is moved");
    }

    #[test]
    fn a_slot_is_paused_that_was_due_meanwhile_or_is_decided_meanwhile() {
        let (policy, pool) = ("nightly".parse().unwrap(), Uuid::from_u128(1));
        let paused = |pause: Pause, due: &str, now: &str| of_slot(&[pause], (&policy, pool), at(due), at(now)).is_some();
        assert!(paused(pause(Scope::All), "01T11:00", "01T11:00"));
        assert!(paused(pause(Scope::All), "01T11:00", "01T13:00"), "found late");
        assert!(paused(pause(Scope::All), "01T09:00", "01T10:00"), "late, and decided now");
        assert!(!paused(pause(Scope::All), "01T12:00", "01T12:00"), "over");
        assert!(!paused(pause(Scope::All), "01T09:59", "01T09:59"), "not yet");
        assert!(paused(pause(Scope::Policy(policy.clone())), "01T11:00", "01T11:00"));
        assert!(!paused(pause(Scope::Policy("other".parse().unwrap())), "01T11:00", "01T11:00"));
        assert!(!paused(pause(Scope::Pool(Uuid::from_u128(2))), "01T11:00", "01T11:00"));
        assert!(!paused(pause(Scope::Vm(pool)), "01T11:00", "01T11:00"), "one VM is a matter of its job");
    }

    #[test]
    fn a_job_is_paused_with_anything_that_it_touches() {
        let policy: PolicyId = "nightly".parse().unwrap();
        let [pool, vm, sr, host, other] = [1, 2, 3, 4, 5].map(Uuid::from_u128);
        let work = Work { policy: &policy, pool, vm, srs: &[sr], host: Some(host) };
        for scope in
            [Scope::All, Scope::Policy(policy.clone()), Scope::Pool(pool), Scope::Vm(vm), Scope::Sr(sr), Scope::Host(host)]
        {
            let pauses = [pause(scope)];
            assert!(of_work(&pauses, &work, at("01T11:00")).is_some(), "{pauses:?}");
            assert!(of_work(&pauses, &work, at("01T12:00")).is_none(), "{pauses:?}");
        }
        for scope in [Scope::Pool(other), Scope::Vm(other), Scope::Sr(other), Scope::Host(other)] {
            assert!(of_work(&[pause(scope)], &work, at("01T11:00")).is_none());
        }
    }
}
