//! One seed from the beginning to the verdict: time passes from sleeper to sleeper, what the plan says goes wrong, the service is killed
//! and started again, and in the end the pool is healthy for some days.

mod lives;

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
use lives::{FIRST, Manner, SECOND};

/// How long a clock stays wrong before somebody sees to it: while clocks contradict one another nothing is removed.
const WRONG: Duration = Duration::from_secs(18 * 3600);
/// How long a disk or an SR stays full, and a call that never ends stays alone before a person restarts the server.
const FULL: Duration = Duration::from_secs(4 * 3600);
/// Real time in which the service gives up on a call that hangs; see `xensnap daemon --clock`.
const GIVES_UP: Duration = Duration::from_millis(3600);

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
    /// Disks that were in use by a VM when they were to be destroyed; see [`super::invariants::Remains::spared`].
    pub spared: usize,
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
    /// A service is started again, if it is to run.
    Start(usize),
    /// Somebody lets a service run.
    Arrive(usize),
    /// Somebody stops a service for a while, in order or not.
    Leave(usize, Manner),
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
    services: [Service; 2],
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
    let [here, beside] = stage::folders(folder);
    let mut first = Service::new(program, &here).map_err(trouble)?;
    first.wanted = true;
    let second = Service::new(program, &beside).map_err(trouble)?;
    let began = clock.now();
    let leader = Leader::new(clock);
    let mut play = Play {
        plan,
        folder,
        leader,
        stage,
        services: [first, second],
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
        self.start(FIRST).await?;
        for (number, step) in self.plan.steps.iter().enumerate() {
            self.until(Duration::from_secs(step.at)).await?;
            self.apply(number, step).await?;
        }
        self.until(Duration::from_secs(u64::from(self.plan.days) * 86_400)).await?;
        self.heal().await?;
        let healthy = self.leader.clock().now();
        for who in [FIRST, SECOND] {
            self.alone(who).await?;
        }
        let histories = self.histories();
        let moments = [self.began, healthy, self.leader.clock().now()];
        let evidence = gather::evidence(&self.stage, &histories, moments, &self.deaths).await;
        let evidence = evidence.map_err(Trouble::History)?;
        let (taken, removed) = (self.stage.chronicle.seen().taken, evidence.removals.len());
        let (unheard, spared) = (evidence.remains.unheard, evidence.remains.spared);
        Ok(Outcome { violations: check(&evidence), tally: std::mem::take(&mut self.tally), taken, removed, unheard, spared })
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

    /// Looks whether somebody has to be killed, waited for or started again.
    async fn look(&mut self) -> Result<(), Trouble> {
        let faults = self.stage.simulation.faults().clone();
        let mut struck = Vec::new();
        for (name, step, seen) in &mut self.armed {
            let now = faults.struck(name);
            if now > std::mem::replace(seen, now) {
                struck.push((step.clone(), faults.struck_user(name)));
            }
        }
        for (step, user) in struck {
            if step.fault.kills() {
                // Whoever made the call: one that only stands by is killed at its calls as well.
                let caller = user.and_then(|user| stage::USERS.iter().position(|name| **name == *user));
                if self.kill(caller.unwrap_or_else(|| self.acting()), step.pick)? {
                    self.tally.fired(step.fault, 1);
                }
            } else if matches!(step.fault, Fault::Hung | Fault::Mute) {
                tokio::time::sleep(GIVES_UP).await;
            }
        }
        for who in [FIRST, SECOND] {
            self.look_after(who)?;
        }
        Ok(())
    }

    fn later(&mut self, after: Duration, what: Later) {
        self.thought_of += 1;
        self.later.insert((self.leader.clock().elapsed() + after, self.thought_of), what);
    }

    async fn happens(&mut self, later: Later) -> Result<(), Trouble> {
        match later {
            Later::Start(who) if self.services[who].wanted => self.arrive(who).await?,
            Later::Start(_) => {}
            Later::Arrive(who) => {
                let stands_in = who == FIRST && self.acting() == SECOND;
                self.tally.fired(Fault::SecondDaemon, u64::from(stands_in));
                self.arrive(who).await?;
            }
            Later::Leave(who, manner) => self.leave(who, manner)?,
            Later::EmptySrs => self.empty_srs(),
            Later::RestartServer => self.restart_server().await?,
            Later::SetServerClock => self.set_server_clock(),
            Later::SetServiceClock => self.set_service_clock(-self.services[FIRST].skew).await?,
            Later::WriteAgain => {
                self.full_disk = false;
                self.services[FIRST].may_write(true);
            }
        }
        Ok(())
    }

    async fn apply(&mut self, number: usize, step: &Step) -> Result<(), Trouble> {
        self.tally.planned(step.fault);
        match step.fault {
            Fault::KilledAnytime => self.kill_anytime(step).await?,
            Fault::FullDisk => self.fill_disk(),
            Fault::SecondDaemon => self.second_daemon(step.pick).await?,
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

    fn fill_disk(&mut self) {
        self.full_disk = true;
        self.forgiven = self.leader.clock().elapsed() + FULL;
        self.services[FIRST].may_write(false);
        self.later(FULL / 2, Later::WriteAgain);
        self.tally.fired(Fault::FullDisk, u64::from(self.services[FIRST].is_alive()));
    }

    async fn step_service_clock(&mut self, step: &Step) -> Result<(), Trouble> {
        let by = strike::clock_step(step);
        self.tally.fired(step.fault, 1);
        self.later(WRONG, Later::SetServiceClock);
        self.set_service_clock(by).await
    }

    async fn set_service_clock(&mut self, by: TimeDelta) -> Result<(), Trouble> {
        self.services[FIRST].skew += by;
        if let Some(number) = self.services[FIRST].number()
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
        self.services[FIRST].may_write(true);
        let skew = self.services[FIRST].skew;
        self.set_service_clock(-skew).await?;
        self.later.retain(|_, later| !matches!(later, Later::Arrive(_) | Later::Leave(..)));
        self.end(SECOND).await
    }
}
