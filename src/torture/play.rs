//! One seed from the beginning to the verdict: time passes from sleeper to sleeper, what the plan says goes wrong, the service is killed
//! and started again, and in the end the pool is healthy for some days.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::task::JoinHandle;

use super::invariants::{Violation, check};
use super::plan::{Fault, Plan, Step};
use super::service::Service;
use super::stage::{self, Stage};
use super::tally::Tally;
use super::{gather, neighbour, strike};
use crate::clock::{Clock as _, HandClock, Leader};
use crate::simulator::faults::{Action, Plan as FaultPlan, Rule};

/// How long the pool is healthy before everything is looked at. A server sweeps up after a day what a killed client left.
const HEALTHY: Duration = Duration::from_secs(30 * 3600);
/// How long a clock stays wrong before somebody sees to it: while clocks contradict one another nothing is removed.
const WRONG: Duration = Duration::from_secs(18 * 3600);
/// How long a disk or an SR stays full, and a call that never ends stays alone before a person restarts the server.
const FULL: Duration = Duration::from_secs(4 * 3600);
/// How long the service has to stop.
const STOPS: u64 = 1800;
/// Real time in which the service gives up on a call that hangs; see `xensnap daemon --clock`.
const GIVES_UP: Duration = Duration::from_millis(3600);
/// How long after its death the service is started again, by the machine that it runs on.
const RESTARTS: [u64; 5] = [0, 3, 20, 100, 900];

/// How a play went.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What must not be and was.
    pub violations: Vec<Violation>,
    /// Which faults were planned and seen.
    pub tally: Tally,
    /// How many snapshots were taken.
    pub taken: u64,
    /// How many were removed.
    pub removed: usize,
    /// Disks of calls that died with the server before the service heard of them; see [`super::invariants::Remains::unheard`].
    pub unheard: usize,
}

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The stage cannot be set.
    #[error("the play cannot be set up in {0}; see that the folder can be written and loopback ports are free")]
    Stage(PathBuf, #[source] io::Error),
    /// The service's process cannot be handled.
    #[error("the service under test cannot be run; its journal is {0}")]
    Service(PathBuf, #[source] io::Error),
    /// The service's history cannot be read.
    #[error("the history of the service cannot be read")]
    History(#[source] crate::store::Error),
}

/// What happens later.
#[derive(Debug)]
enum Later {
    Start,
    EmptySrs,
    WriteAgain,
    RestartServer,
    /// Somebody sets the server's clock right.
    SetServerClock,
    /// The same of the service's machine.
    SetServiceClock,
}

struct Play<'a> {
    plan: &'a Plan,
    folder: &'a Path,
    leader: Leader,
    stage: Stage,
    service: Service,
    tally: Tally,
    /// By elapsed time; what is due at the same moment in the order in which it was thought of.
    later: BTreeMap<(Duration, usize), Later>,
    /// How much was thought of so far.
    thought_of: usize,
    /// Names of rules that are armed, and how often each was seen to strike.
    armed: Vec<(String, Step, u64)>,
    acts: Vec<(Fault, JoinHandle<Option<String>>)>,
    deaths: Vec<String>,
    began: DateTime<Utc>,
    full_disk: bool,
    /// Until then it may end by itself, because it could not write.
    forgiven: Duration,
}

/// Plays a plan with this program as the service, in a folder that is empty.
///
/// # Errors
/// When there is no verdict, through no fault of the service.
pub async fn play(plan: &Plan, program: &Path, folder: &Path) -> Result<Outcome, Trouble> {
    let clock = HandClock::new(stage::beginning(plan.seed));
    let trouble = |error| Trouble::Stage(folder.to_owned(), error);
    let stage = stage::set(plan.seed, &clock, folder).await.map_err(trouble)?;
    let service = Service::new(program, folder).map_err(trouble)?;
    let began = clock.now();
    let leader = Leader::new(clock);
    let mut play = Play {
        plan,
        folder,
        leader,
        stage,
        service,
        tally: Tally::default(),
        later: BTreeMap::new(),
        thought_of: 0,
        armed: Vec::new(),
        acts: Vec::new(),
        deaths: Vec::new(),
        began,
        full_disk: false,
        forgiven: Duration::ZERO,
    };
    play.run().await
}

impl Play<'_> {
    async fn run(&mut self) -> Result<Outcome, Trouble> {
        self.start().await?;
        for (number, step) in self.plan.steps.iter().enumerate() {
            self.until(Duration::from_secs(step.at)).await?;
            self.apply(number, step).await?;
        }
        self.until(Duration::from_secs(u64::from(self.plan.days) * 86_400)).await?;
        self.heal().await?;
        let healthy = self.leader.clock().now();
        self.until(self.leader.clock().elapsed() + HEALTHY).await?;
        self.end().await?;
        let path = self.folder.join(stage::HISTORY);
        let evidence = gather::evidence(&self.stage, &path, [self.began, healthy, self.leader.clock().now()], &self.deaths).await;
        let evidence = evidence.map_err(Trouble::History)?;
        let (taken, removed, unheard) = (self.stage.chronicle.seen().taken, evidence.removals.len(), evidence.remains.unheard);
        Ok(Outcome { violations: check(&evidence), tally: std::mem::take(&mut self.tally), taken, removed, unheard })
    }

    fn trouble(&self, error: io::Error) -> Trouble {
        Trouble::Service(self.folder.join(stage::JOURNAL), error)
    }

    /// Lets time pass, with everything that happens by itself.
    async fn until(&mut self, at: Duration) -> Result<(), Trouble> {
        loop {
            let next = self.later.first_key_value().map_or(at, |((due, _), _)| (*due).min(at));
            let reached = match self.leader.step(next).await {
                Ok(reached) => reached,
                Err(lost) => {
                    self.lost(&lost).await?;
                    false
                }
            };
            self.look().await?;
            if reached {
                while let Some(entry) = self.later.first_entry().filter(|entry| entry.key().0 <= next) {
                    let later = entry.remove();
                    self.happens(later).await?;
                }
                if next >= at {
                    return Ok(());
                }
            }
        }
    }

    /// The service did not answer: it has ended, or works without end.
    async fn lost(&mut self, lost: &crate::clock::Lost) -> Result<(), Trouble> {
        let end = tokio::time::Instant::now() + Duration::from_secs(5);
        while tokio::time::Instant::now() < end {
            if self.look().await? {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.deaths.push(format!("{}: it works without coming to rest: {lost}", self.leader.clock().now()));
        self.kill(0).map(drop)
    }

    /// Looks whether somebody has to be killed, waited for or started again. True: the service is dead.
    async fn look(&mut self) -> Result<bool, Trouble> {
        let faults = self.stage.simulation.faults().clone();
        let mut struck = Vec::new();
        for (name, step, seen) in &mut self.armed {
            let now = faults.struck(name);
            if now > std::mem::replace(seen, now) {
                struck.push(step.clone());
            }
        }
        for step in struck {
            if step.fault.kills() {
                if self.kill(step.pick)? {
                    self.tally.fired(step.fault, 1);
                }
            } else if matches!(step.fault, Fault::Hung | Fault::Mute) {
                tokio::time::sleep(GIVES_UP).await;
            }
        }
        let ended =
            self.service.ended(&mut self.leader).map_err(|error| Trouble::Service(self.folder.join(stage::JOURNAL), error))?;
        if let Some(status) = ended {
            // Without a disk to write to it may give up, and what runs keeps it from ending for a while; its unit starts it again.
            if self.leader.clock().elapsed() > self.forgiven {
                self.deaths.push(format!("{}: it ended by itself: {status}", self.leader.clock().now()));
            }
            self.later(Duration::from_secs(60), Later::Start);
        }
        Ok(!self.service.is_alive())
    }

    fn later(&mut self, after: Duration, what: Later) {
        self.thought_of += 1;
        self.later.insert((self.leader.clock().elapsed() + after, self.thought_of), what);
    }

    async fn happens(&mut self, later: Later) -> Result<(), Trouble> {
        match later {
            Later::Start if !self.service.is_alive() => self.start().await?,
            Later::Start => {}
            Later::EmptySrs => self.empty_srs(),
            Later::RestartServer => self.restart_server().await?,
            Later::SetServerClock => self.set_server_clock(),
            Later::SetServiceClock => self.set_service_clock(-self.service.skew).await?,
            Later::WriteAgain => {
                self.full_disk = false;
                self.service.may_write(true);
            }
        }
        Ok(())
    }

    async fn start(&mut self) -> Result<(), Trouble> {
        let started = self.service.start(&mut self.leader).await;
        started.map_err(|error| self.trouble(error))?;
        self.service.may_write(!self.full_disk);
        Ok(())
    }

    /// SIGKILL, and a new life later. False: it was dead.
    fn kill(&mut self, pick: u64) -> Result<bool, Trouble> {
        let killed = self.service.kill(&mut self.leader);
        let killed = killed.map_err(|error| self.trouble(error))?;
        if killed {
            let pause = RESTARTS[usize::try_from(pick / 3).unwrap_or_default() % RESTARTS.len()];
            self.later(Duration::from_secs(pause), Later::Start);
        }
        Ok(killed)
    }

    async fn apply(&mut self, number: usize, step: &Step) -> Result<(), Trouble> {
        self.tally.planned(step.fault);
        match step.fault {
            Fault::KilledAnytime => self.kill_anytime(step).await?,
            Fault::FullDisk => self.fill_disk(),
            Fault::ServiceClock => self.step_service_clock(step).await?,
            Fault::VmDeleted | Fault::VmRenamed | Fault::VmMigrated | Fault::VmReverted | Fault::BusyVm => self.act(step),
            _ => self.arm(number, step),
        }
        Ok(())
    }

    fn arm(&mut self, number: usize, step: &Step) {
        let name = format!("{number}: {}", step.fault.word());
        let sr = gather::sr_of(&self.stage, step.pick).unwrap_or_default();
        if let Some(rule) = strike::rule(step, name.clone(), self.leader.clock().elapsed(), &sr) {
            self.stage.simulation.faults().add(rule);
            self.armed.push((name, step.clone(), 0));
        }
        if step.fault == Fault::FullSr {
            self.later(FULL, Later::EmptySrs);
        }
        if step.fault == Fault::ServerClock {
            self.later(WRONG, Later::SetServerClock);
        }
        if step.fault == Fault::Stuck {
            self.later(FULL, Later::RestartServer);
        }
    }

    /// In the midst of what it does when time has passed to its next sleeper.
    async fn kill_anytime(&mut self, step: &Step) -> Result<(), Trouble> {
        let soon = self.leader.clock().elapsed() + Duration::from_secs(30);
        let moment = Duration::from_micros(step.pick % 8000);
        let _ = tokio::time::timeout(moment, async { while let Ok(false) = self.leader.step(soon).await {} }).await;
        if self.kill(step.pick)? {
            self.tally.fired(step.fault, 1);
        }
        Ok(())
    }

    fn fill_disk(&mut self) {
        self.full_disk = true;
        self.forgiven = self.leader.clock().elapsed() + FULL;
        self.service.may_write(false);
        self.later(FULL / 2, Later::WriteAgain);
        self.tally.fired(Fault::FullDisk, u64::from(self.service.is_alive()));
    }

    async fn step_service_clock(&mut self, step: &Step) -> Result<(), Trouble> {
        let by = strike::clock_step(step);
        self.tally.fired(step.fault, 1);
        self.later(WRONG, Later::SetServiceClock);
        self.set_service_clock(by).await
    }

    async fn set_service_clock(&mut self, by: TimeDelta) -> Result<(), Trouble> {
        self.service.skew += by;
        if let Some(number) = self.service.number()
            && let Err(lost) = self.leader.step_wall_clock(number, by).await
        {
            self.lost(&lost).await?;
        }
        Ok(())
    }

    fn act(&mut self, step: &Step) {
        let Some(shared) = self.stage.simulation.shared() else { return };
        let names: Vec<String> = self.stage.names.concat();
        let (fault, pick) = (step.fault, step.pick);
        self.acts.push((fault, tokio::spawn(async move { neighbour::act(&shared, fault, pick, &names).await })));
    }

    fn set_server_clock(&self) {
        let faults = self.stage.simulation.faults();
        let wrong = faults.skew();
        faults.add(Rule::on("*", Action::Skew(-wrong)).times(1));
    }

    fn empty_srs(&self) {
        if let Some(shared) = self.stage.simulation.shared() {
            shared.step(|world| self.stage.simulation.faults().empty_srs(world));
        }
    }

    async fn restart_server(&self) -> Result<(), Trouble> {
        self.stage.simulation.restart().await.map_err(|error| Trouble::Stage(self.folder.to_owned(), error))
    }

    /// Nothing goes wrong any more: what hangs is cleared as a person would, by a restart of the server.
    async fn heal(&mut self) -> Result<(), Trouble> {
        for (name, step, _) in std::mem::take(&mut self.armed) {
            let struck = if step.fault.kills() { 0 } else { self.stage.simulation.faults().struck(&name) };
            self.tally.fired(step.fault, struck);
        }
        for (fault, act) in std::mem::take(&mut self.acts) {
            let done = act.is_finished() && matches!(act.await, Ok(Some(_)));
            self.tally.fired(fault, u64::from(done));
        }
        let simulation = &self.stage.simulation;
        let up = simulation.up().await;
        up.map_err(|error| Trouble::Stage(self.folder.to_owned(), error))?;
        self.empty_srs();
        simulation.set_faults(FaultPlan::default());
        self.set_server_clock();
        let stuck = [Fault::Stuck, Fault::Slow, Fault::Hung, Fault::Mute];
        if self.plan.kinds().iter().any(|kind| stuck.contains(kind)) {
            self.restart_server().await?;
        }
        self.full_disk = false;
        self.service.may_write(true);
        let skew = self.service.skew;
        self.set_service_clock(-skew).await?;
        if !self.service.is_alive() { self.start().await } else { Ok(()) }
    }

    /// SIGTERM, and the end that it asks for.
    async fn end(&mut self) -> Result<(), Trouble> {
        self.service.terminate();
        for _ in 0..STOPS {
            tokio::time::sleep(Duration::from_millis(2)).await;
            let second = self.leader.clock().elapsed() + Duration::from_secs(1);
            while let Ok(false) = self.leader.step(second).await {}
            let ended = self.service.ended(&mut self.leader).map_err(|error| Trouble::Service(self.folder.to_owned(), error))?;
            match ended {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    self.deaths.push(format!("told to stop, it ended with {status}"));
                    return Ok(());
                }
                None => {}
            }
        }
        self.deaths.push("told to stop, it did not".to_owned());
        self.kill(0).map(drop)
    }
}
