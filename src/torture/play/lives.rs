//! The lives of the two services of a play: who runs, who acts, who is killed, and what a second daemon does.

use std::path::PathBuf;
use std::time::Duration;

use super::{Later, Play, Trouble};
use crate::clock::{Clock as _, Lost};
use crate::torture::plan::Step;
use crate::torture::service::End;
use crate::torture::{gather, stage};

/// How long the pool is healthy before everything is looked at: a server sweeps up after a day what a killed client left. It does not
/// end at a minute at which a slot comes due, whose run the service would leave to its next life.
const HEALTHY: Duration = Duration::from_secs(30 * 3600 + 7 * 60);
/// How long the service has to stop.
const STOPS: u64 = 1800;
/// How long after its death the service is started again, by the machine that it runs on.
const RESTARTS: [u64; 5] = [0, 3, 20, 100, 900];

/// The service that is there all the time, unless it is killed or a second one stands in for it.
pub(super) const FIRST: usize = 0;
/// The one that comes and goes.
pub(super) const SECOND: usize = 1;

/// How a service is stopped.
#[derive(Debug, Clone, Copy)]
pub(super) enum Manner {
    Told,
    Killed,
}

impl Play<'_> {
    /// A healthy day of a service that ever ran, without the other, and its end: each finds what it alone knows of.
    pub(super) async fn alone(&mut self, who: usize) -> Result<(), Trouble> {
        if self.services[who].lives == 0 {
            return Ok(());
        }
        self.arrive(who).await?;
        self.until(self.leader.clock().elapsed() + HEALTHY).await?;
        self.end(who).await
    }

    /// Where the services that ever ran have their histories.
    pub(super) fn histories(&self) -> Vec<PathBuf> {
        let ran = self.services.iter().zip(stage::folders(self.folder)).filter(|(service, _)| service.lives > 0);
        ran.map(|(_, folder)| folder.join(stage::HISTORY)).collect()
    }

    /// The service did not answer: it has ended, or works without end.
    pub(super) async fn lost(&mut self, lost: &Lost) -> Result<(), Trouble> {
        let end = tokio::time::Instant::now() + Duration::from_secs(5);
        loop {
            self.look().await?;
            let Some(who) = self.services.iter().position(|service| service.number() == Some(lost.number)) else { return Ok(()) };
            if tokio::time::Instant::now() > end {
                self.deaths.push(format!("{}: it works without coming to rest: {lost}", self.leader.clock().now()));
                return self.kill(who, 0).map(drop);
            }
            // Its end is the machine's affair, which the simulated time cannot hasten.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Whether a service has ended without having been killed.
    pub(super) fn look_after(&mut self, who: usize) -> Result<(), Trouble> {
        let ended = self.services[who].ended(&mut self.leader).map_err(|error| self.trouble(error))?;
        let Some(End { status, told }) = ended else { return Ok(()) };
        // Without a disk to write to it may give up, and what runs keeps it from ending for a while; its unit starts it again.
        let forgiven = self.leader.clock().elapsed() <= self.forgiven;
        let in_order = told && status.success();
        if !forgiven && !in_order {
            let how = if told { "told to stop, it ended" } else { "it ended by itself" };
            self.deaths.push(format!("{}: {how}: {status}", self.leader.clock().now()));
        }
        self.later(Duration::from_secs(60), Later::Start(who));
        Ok(())
    }

    /// The service that has the lease, by what stands in the pool; where nobody has it, the one that runs.
    pub(super) fn acting(&self) -> usize {
        let alive = |who: &usize| self.services[*who].is_alive();
        let holder = gather::holder(&self.stage);
        let holds = |who: &usize| holder.is_some() && self.services[*who].process() == holder;
        let both = [FIRST, SECOND];
        both.into_iter().find(holds).or_else(|| both.into_iter().find(alive)).unwrap_or(FIRST)
    }

    pub(super) async fn start(&mut self, who: usize) -> Result<(), Trouble> {
        let started = self.services[who].start(&mut self.leader).await;
        started.map_err(|error| self.trouble(error))?;
        self.services[who].may_write(who != FIRST || !self.full_disk);
        Ok(())
    }

    /// From now on a service is to run.
    pub(super) async fn arrive(&mut self, who: usize) -> Result<(), Trouble> {
        self.services[who].wanted = true;
        if self.services[who].is_alive() { Ok(()) } else { self.start(who).await }
    }

    /// From now on it is not.
    pub(super) fn leave(&mut self, who: usize, manner: Manner) -> Result<(), Trouble> {
        match manner {
            Manner::Told => self.services[who].terminate(),
            Manner::Killed => drop(self.kill(who, 0)?),
        }
        self.services[who].wanted = false;
        Ok(())
    }

    /// A second service comes, the first one goes away and comes again, and the second one goes: by steps of hours, in order or not.
    pub(super) async fn second_daemon(&mut self, pick: u64) -> Result<(), Trouble> {
        let manner = |bit: u64| if pick >> bit & 1 == 0 { Manner::Told } else { Manner::Killed };
        let hours = |bit: u64, bound: u64| Duration::from_secs((1 + (pick >> bit) % bound) * 3600);
        let gone = hours(2, 6);
        let again = gone + hours(8, 6);
        self.later(gone, Later::Leave(FIRST, manner(0)));
        self.later(again, Later::Arrive(FIRST));
        self.later(again + hours(14, 24), Later::Leave(SECOND, manner(1)));
        self.arrive(SECOND).await
    }

    /// SIGKILL, and a new life later. False: it was dead.
    pub(super) fn kill(&mut self, who: usize, pick: u64) -> Result<bool, Trouble> {
        let killed = self.services[who].kill(&mut self.leader);
        let killed = killed.map_err(|error| self.trouble(error))?;
        if killed {
            let pause = RESTARTS[usize::try_from(pick / 3).unwrap_or_default() % RESTARTS.len()];
            self.later(Duration::from_secs(pause), Later::Start(who));
        }
        Ok(killed)
    }

    /// In the midst of what it does when time has passed to its next sleeper.
    pub(super) async fn kill_anytime(&mut self, step: &Step) -> Result<(), Trouble> {
        let soon = self.leader.clock().elapsed() + Duration::from_secs(30);
        let moment = Duration::from_micros(step.pick % 8000);
        let _ = tokio::time::timeout(moment, async { while let Ok(false) = self.leader.step(soon).await {} }).await;
        if self.kill(self.acting(), step.pick)? {
            self.tally.fired(step.fault, 1);
        }
        Ok(())
    }

    /// SIGTERM, and the end that it asks for.
    pub(super) async fn end(&mut self, who: usize) -> Result<(), Trouble> {
        self.leave(who, Manner::Told)?;
        for _ in 0..STOPS {
            if !self.services[who].is_alive() {
                return Ok(());
            }
            // The signal reaches it in the machine's time; without a pause the simulated half hour could pass before.
            tokio::time::sleep(Duration::from_millis(2)).await;
            let second = self.leader.clock().elapsed() + Duration::from_secs(1);
            while let Ok(false) = self.leader.step(second).await {}
            self.look_after(who)?;
        }
        self.deaths.push("told to stop, it did not".to_owned());
        self.kill(who, 0).map(drop)
    }
}
