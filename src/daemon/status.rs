//! What the service does, in one line for the service manager (`systemctl status`): told when it changes, and only then.

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::notify::Manager;
use super::runs::Runs;
use super::{Daemon, Plan};
use crate::clock::SharedClock;
use crate::domain::zone::Zone;
use crate::engine::error::Result;
use crate::engine::site::SharedSite;

/// The due time that comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Coming {
    pub(super) policy: String,
    pub(super) at: DateTime<Utc>,
    pub(super) zone: Zone,
}

/// Tells the manager.
pub(super) struct Status {
    manager: Manager,
    clock: SharedClock,
    plan: watch::Receiver<std::sync::Arc<Plan>>,
    sites: watch::Receiver<Vec<SharedSite>>,
    coming: watch::Receiver<Option<Coming>>,
    runs: Runs,
    stop: CancellationToken,
}

impl Status {
    pub(super) fn new(daemon: &Daemon) -> Self {
        Self {
            manager: daemon.manager.clone(),
            clock: daemon.clock.clone(),
            plan: daemon.plan.subscribe(),
            sites: daemon.sites.subscribe(),
            coming: daemon.coming.subscribe(),
            runs: daemon.runs.clone(),
            stop: daemon.stop.clone(),
        }
    }

    pub(super) async fn run(mut self) -> Result<()> {
        let mut running = self.runs.count();
        let mut told = String::new();
        loop {
            let now = self.text(*running.borrow_and_update());
            if now != told {
                self.manager.status(&now);
                told = now;
            }
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                Ok(()) = running.changed() => {}
                Ok(()) = self.sites.changed() => {}
                Ok(()) = self.coming.changed() => {}
                Ok(()) = self.plan.changed() => {}
            }
        }
    }

    fn text(&mut self, running: usize) -> String {
        let reached: Vec<String> = self.sites.borrow_and_update().iter().map(|site| site.name().to_owned()).collect();
        let plan = self.plan.borrow_and_update();
        let pools = plan.pools.iter().map(|pool| pool.settings.name.clone());
        let away: Vec<String> = pools.filter(|name| !reached.contains(name)).collect();
        line(running, self.coming.borrow_and_update().as_ref(), &away, self.clock.now())
    }
}

/// `3 running, next nightly 02:00`, and the pools that are waited for.
fn line(running: usize, coming: Option<&Coming>, away: &[String], now: DateTime<Utc>) -> String {
    let running = if running == 0 { "idle".to_owned() } else { format!("{running} running") };
    let next = coming.map(|coming| format!(", next {} {}", coming.policy, moment(coming, now))).unwrap_or_default();
    let away = if away.is_empty() { String::new() } else { format!("; waiting for pool {}", away.join(", ")) };
    format!("{running}{next}{away}")
}

/// The time alone within a day, with its date beyond, in the policy's zone. Seconds only where there are any.
fn moment(coming: &Coming, now: DateTime<Utc>) -> String {
    let clock = if coming.at.timestamp() % 60 == 0 { "%H:%M" } else { "%H:%M:%S" };
    let soon = coming.at - now < chrono::TimeDelta::hours(24);
    let format = if soon { clock.to_owned() } else { format!("%Y-%m-%d {clock}") };
    coming.zone.civil(coming.at).format(&format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn the_line_says_what_runs_what_comes_in_the_policys_zone_and_what_is_waited_for() {
        let now = at("2026-03-01T12:00:00Z");
        let coming = |at: DateTime<Utc>| Coming { policy: "nightly".into(), at, zone: Zone::named("Europe/Berlin").unwrap() };
        let soon = coming(at("2026-03-02T01:00:00Z"));
        assert_eq!(line(3, Some(&soon), &[], now), "3 running, next nightly 02:00");
        let later = coming(at("2026-03-08T01:00:30Z"));
        let away = ["tokyo".to_owned(), "osaka".to_owned()];
        assert_eq!(line(0, Some(&later), &away, now), "idle, next nightly 2026-03-08 02:00:30; waiting for pool tokyo, osaka");
        assert_eq!(line(0, None, &[], now), "idle");
    }
}
