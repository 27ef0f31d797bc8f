//! A monitor outside raises an alarm when it does not hear from us. It hears from us only while the timekeeper's loop comes round: a
//! service in which nothing would ever be due again must not say that all is well.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::super::Handle;
use super::channels::DeadMan;
use crate::domain::event::EventKind;
use crate::engine::error::Result;
use crate::engine::worker::Worker;
use crate::store::NewEvent;
use crate::telemetry::Fact;
use crate::xenapi::error::chain;

/// Beyond two of its longest sleeps, the timekeeper may take this long for what it decides.
const BREATH: Duration = Duration::from_secs(30);

/// So many pings in a row fail before it is told.
const FAILURES: u32 = 3;

/// When the timekeeper's loop last came round. Clones share it.
#[derive(Debug, Clone, Default)]
pub(in crate::daemon) struct Pulse(Arc<Mutex<Option<Duration>>>);

impl Pulse {
    /// It came round now, by the clock's monotonic time.
    pub(in crate::daemon) fn beat(&self, now: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Whether it came round within this time.
    fn beats(&self, now: Duration, within: Duration) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| now.saturating_sub(last) <= within)
    }
}

/// How the last ping went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Monitor {
    /// When it was.
    pub at: DateTime<Utc>,
    /// Why it failed, if it did; or why there was none.
    pub error: Option<String>,
}

/// Tells the monitor, again and again.
pub(in crate::daemon) async fn keep_telling(handle: Handle) -> Result<()> {
    let mut worker = Worker::new(&handle.clock);
    let mut plan = handle.plan.subscribe();
    let mut failures = 0;
    loop {
        let dead_man = plan.borrow_and_update().alarms.as_ref().and_then(|alarms| alarms.dead_man.clone());
        if let Some(dead_man) = &dead_man {
            tell(&handle, dead_man, &mut failures).await?;
        }
        let sleep = dead_man.map(|dead_man| handle.clock.sleep(dead_man.interval));
        let stop = handle.stop.clone();
        let on = async {
            tokio::select! {
                () = stop.cancelled() => false,
                Ok(()) = plan.changed() => true,
                () = async { sleep.unwrap_or_else(|| Box::pin(std::future::pending())).await } => true,
            }
        };
        if !worker.wait(on).await {
            return Ok(());
        }
    }
}

async fn tell(handle: &Handle, dead_man: &DeadMan, failures: &mut u32) -> Result<()> {
    let at = handle.clock.now();
    let within = handle.plan().times.look_every.saturating_mul(2).saturating_add(BREATH);
    if !handle.desk.pulse.beats(handle.clock.elapsed(), within) {
        let error = Some("the timekeeper does not come round, so nobody was told that all is well".to_owned());
        handle.desk.monitor.send_replace(Some(Monitor { at, error }));
        return Ok(());
    }
    let error = dead_man.route.ping().await.err().map(|error| chain(&error));
    *failures = if error.is_some() { failures.saturating_add(1) } else { 0 };
    if let Some(error) = error.as_ref().filter(|_| *failures == FAILURES) {
        let text =
            format!("the monitor of [alarms.dead_man] does not take our pings and will raise an alarm of its own: {error}");
        Fact::new(EventKind::MonitorAway).say(&text);
        handle.store.note_event(NewEvent::new(at, EventKind::MonitorAway, text)).await?;
    }
    handle.desk.monitor.send_replace(Some(Monitor { at, error }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::super::{Daemon, Plan, Times};
    use super::*;
    use crate::clock::{Clock as _, HandClock};
    use crate::engine::site::Pace;
    use crate::outward::WebRoute;
    use crate::store::{Options, Store};

    /// A service whose timekeeper does not run, and a monitor that counts.
    async fn stuck(folder: &std::path::Path, clock: &HandClock) -> (Handle, DeadMan, std::net::TcpListener) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let route = WebRoute { url, secret: None, ca_file: None, timeout: Duration::from_millis(500) };
        let opened = Store::open(folder.join("history.sqlite"), &Options::default(), clock.now()).await.unwrap();
        let plan = Plan {
            installation: "lab".parse().unwrap(),
            pools: Vec::new(),
            policies: Vec::new(),
            times: Times::default(),
            pace: Pace::default(),
            lease: None,
            alarms: None,
        };
        let daemon = Daemon::new(opened, plan, std::sync::Arc::new(clock.clone())).await.unwrap();
        (daemon.handle(), DeadMan { route, interval: Duration::from_secs(60) }, listener)
    }

    #[tokio::test]
    async fn a_timekeeper_that_is_stuck_is_not_told_to_be_well() {
        let (folder, clock) = (tempfile::tempdir().unwrap(), HandClock::new(DateTime::UNIX_EPOCH));
        let (handle, dead_man, listener) = stuck(folder.path(), &clock).await;
        let mut failures = 0;
        let error = |handle: &Handle| handle.desk.monitor.borrow().clone().unwrap().error.unwrap();
        tell(&handle, &dead_man, &mut failures).await.unwrap();
        assert!(error(&handle).contains("does not come round") && listener.accept().is_err());
        handle.desk.pulse.beat(clock.elapsed());
        tell(&handle, &dead_man, &mut failures).await.unwrap();
        assert!(error(&handle).contains("did not answer") && listener.accept().is_ok(), "it was asked, and said nothing");
        clock.advance(Duration::from_secs(91)).await;
        tell(&handle, &dead_man, &mut failures).await.unwrap();
        assert!(error(&handle).contains("does not come round") && listener.accept().is_err());
    }

    #[test]
    fn only_a_loop_that_came_round_lately_beats() {
        let (pulse, second) = (Pulse::default(), Duration::from_secs);
        assert!(!pulse.beats(second(0), second(90)), "it never came round");
        pulse.beat(second(100));
        assert!(pulse.beats(second(190), second(90)) && !pulse.beats(second(191), second(90)));
        pulse.clone().beat(second(191));
        assert!(pulse.beats(second(191), second(90)));
    }
}
