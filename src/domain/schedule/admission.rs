//! When the jobs of a run may start: each VM at its place in the spread, none outside the windows, none after the deadline. A
//! spread that would reach beyond the moment everything closes is compressed, so that no VM loses its turn to its place.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use super::plan::{Schedule, delta};
use super::slot::ON_TIME;
use super::spread::Place;
use super::window::Closure;

/// A slot that was claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimed {
    /// When it was due.
    pub due_at: DateTime<Utc>,
    /// When its run was started.
    pub started_at: DateTime<Utc>,
}

impl Claimed {
    /// From where spread and deadline are counted: the due time, or the start of a run that is late.
    pub fn base(&self) -> DateTime<Utc> {
        if self.started_at - self.due_at <= ON_TIME { self.due_at } else { self.started_at }
    }
}

/// Whether a job may start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// At once.
    Now,
    /// Not before this instant.
    NotBefore(DateTime<Utc>),
    /// Not any more in this slot.
    Over(Over),
}

/// Why a job may not start any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Over {
    /// The run's deadline has passed.
    Deadline(DateTime<Utc>),
    /// Closed, and not open again before the deadline.
    Closed(Closure),
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Over::Deadline(at) => write!(f, "the run's deadline {} has passed", at.format("%Y-%m-%d %H:%M:%SZ")),
            Over::Closed(closure) => write!(f, "{closure}, which does not open again before the run's deadline"),
        }
    }
}

impl Schedule {
    /// After this instant no job of the run is started.
    pub fn deadline_of(&self, slot: &Claimed) -> Option<DateTime<Utc>> {
        self.deadline.and_then(|deadline| slot.base().checked_add_signed(delta(deadline)))
    }

    /// When the job of the VM at `place` starts, if nothing is closed.
    pub fn start_of(&self, slot: &Claimed, place: Place) -> DateTime<Utc> {
        let base = slot.base();
        let closing = (!self.windows.is_always_open()).then(|| self.windows.next_closed(self.zone(), base)).flatten();
        let room = closing.map_or(TimeDelta::MAX, |closing| closing - base);
        base + place.within(delta(self.spread).min(room))
    }

    /// Whether the job of the VM at `place` may start at `now`.
    pub fn admission(&self, slot: &Claimed, place: Place, now: DateTime<Utc>) -> Admission {
        let deadline = self.deadline_of(slot);
        if let Some(deadline) = deadline.filter(|deadline| *deadline <= now) {
            return Admission::Over(Over::Deadline(deadline));
        }
        let start = self.start_of(slot, place);
        if now < start {
            return Admission::NotBefore(start);
        }
        let Some(closure) = self.windows.closed_at(self.zone(), now) else { return Admission::Now };
        match (self.windows.next_open(self.zone(), now), deadline) {
            (Some(opens), Some(deadline)) if opens < deadline => Admission::NotBefore(opens),
            _ => Admission::Over(Over::Closed(closure)),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::window::Windows;
    use super::*;
    use crate::domain::id::VmUuid;
    use crate::domain::zone::Zone;

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn place(vm: u128) -> Place {
        Place::of(&"site-a".parse().unwrap(), &"nightly".parse().unwrap(), VmUuid(Uuid::from_u128(vm)))
    }

    fn schedule(spread: &str, open: &[&str], deadline: Option<&str>) -> Schedule {
        let mut schedule = Schedule::new(vec!["0 22 * * *".parse().unwrap()], Zone::utc()).unwrap();
        schedule.spread = spread.parse().unwrap();
        schedule.windows = Windows { open: open.iter().map(|text| text.parse().unwrap()).collect(), blackouts: Vec::new() };
        schedule.deadline = deadline.map(|text| text.parse().unwrap());
        schedule
    }

    fn slot(late_minutes: i64) -> Claimed {
        let due_at = utc("2026-11-22T22:00:00Z");
        Claimed { due_at, started_at: due_at + TimeDelta::minutes(late_minutes) }
    }

    #[test]
    fn each_vm_starts_at_its_place_counted_from_the_due_time() {
        let schedule = schedule("30m", &[], None);
        let start = schedule.start_of(&slot(0), place(1));
        assert_eq!(start, utc("2026-11-22T22:07:35Z"));
        assert_eq!(schedule.admission(&slot(0), place(1), utc("2026-11-22T22:00:01Z")), Admission::NotBefore(start));
        assert_eq!(schedule.admission(&slot(0), place(1), start), Admission::Now);
    }

    #[test]
    fn in_a_late_run_the_spread_counts_from_its_start() {
        assert_eq!(schedule("30m", &[], None).start_of(&slot(60), place(1)), utc("2026-11-22T23:07:35Z"));
    }

    #[test]
    fn a_spread_is_compressed_to_end_before_the_window_does() {
        let schedule = schedule("2h", &["21:00-22:30"], None);
        let starts = (0..500).map(|vm| schedule.start_of(&slot(0), place(vm)));
        assert!(starts.clone().all(|start| start < utc("2026-11-22T22:30:00Z")));
        assert!(starts.max() > Some(utc("2026-11-22T22:29:00Z")));
    }

    #[test]
    fn after_the_deadline_no_job_starts() {
        let schedule = schedule("0s", &[], Some("4h"));
        let admission = schedule.admission(&slot(0), place(1), utc("2026-11-23T02:00:00Z"));
        assert_eq!(admission, Admission::Over(Over::Deadline(utc("2026-11-23T02:00:00Z"))));
        assert_eq!(schedule.admission(&slot(0), place(1), utc("2026-11-23T01:59:59Z")), Admission::Now);
    }

    #[test]
    fn a_window_that_closes_ends_the_run_unless_it_opens_again_before_the_deadline() {
        let now = utc("2026-11-22T23:30:00Z");
        let closing = schedule("0s", &["22:00-23:00"], None);
        assert_eq!(closing.admission(&slot(0), place(1), now), Admission::Over(Over::Closed(Closure::Outside)));
        let paused = schedule("0s", &["22:00-23:00", "00:00-06:00"], Some("4h"));
        assert_eq!(paused.admission(&slot(0), place(1), now), Admission::NotBefore(utc("2026-11-23T00:00:00Z")));
    }
}
