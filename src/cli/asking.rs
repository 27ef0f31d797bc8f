//! Verbs that ask the service for something. Where a service runs it is asked through the history that both have open; where none
//! runs the verb does the work itself, as a service without a timekeeper that ends when the work is done.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args as ClapArgs;
use uuid::Uuid;

use super::check::DEFAULT;
use super::out::say;
use super::{Exit, planned};
use crate::clock::{SharedClock, SystemClock};
use crate::config::Config;
use crate::daemon::{Ask, Daemon, Handle, Reply, submit};
use crate::store::{Outcome, Run, Store};

/// How long a running service may take to answer.
const PATIENCE: Duration = Duration::from_secs(600);

/// How long a pool may take to be reached where no service runs.
const REACHING: Duration = Duration::from_secs(60);

/// Where the configuration is.
#[derive(Debug, ClapArgs)]
pub(super) struct Asking {
    /// The main file
    #[arg(long, value_name = "FILE", default_value = DEFAULT)]
    config: PathBuf,
}

/// A way to ask.
pub(super) struct Asker {
    /// The configuration.
    pub(super) config: Config,
    store: Store,
    clock: SharedClock,
    hosted: Option<Hosted>,
}

struct Hosted {
    handle: Handle,
    task: tokio::task::JoinHandle<Result<(), crate::daemon::DaemonError>>,
}

impl Asking {
    /// Finds the service, or becomes one for a while.
    ///
    /// # Errors
    /// When the configuration or the history cannot be used, or no pool is reached.
    pub(super) async fn asker(self) -> anyhow::Result<Asker> {
        let clock: SharedClock = Arc::new(SystemClock::new());
        let config = match Config::load(&self.config, clock.now()) {
            Ok(loaded) => loaded.config,
            Err(problems) => {
                let text = format!("{} cannot be used\n{}", self.config.display(), problems.render(false));
                return Err(Exit { code: super::check::WRONG_CONFIGURATION, text }.into());
            }
        };
        let opened = planned::history(&config.store.path, clock.now()).await?;
        let store = opened.store.clone();
        let hosted = if opened.alone {
            let daemon = Daemon::new(opened, planned::plan(&config)?, Arc::clone(&clock)).await?.without_timekeeping();
            let handle = daemon.handle();
            let task = tokio::spawn(daemon.run(Duration::from_secs(60)));
            Some(Hosted { handle, task })
        } else {
            None
        };
        let asker = Asker { config, store, clock, hosted };
        asker.reached().await?;
        Ok(asker)
    }
}

impl Asker {
    /// Waits until every pool is reached, where that is ours to do.
    async fn reached(&self) -> anyhow::Result<()> {
        let Some(hosted) = &self.hosted else { return Ok(()) };
        let mut sites = hosted.handle.sites();
        let all = sites.wait_for(|sites| sites.len() >= self.config.pools.len());
        match tokio::time::timeout(REACHING, all).await {
            Ok(_) => Ok(()),
            Err(_) if hosted.handle.sites().borrow().is_empty() => {
                anyhow::bail!("no pool was reached within {} s; `xensnap doctor --config FILE` says why", REACHING.as_secs())
            }
            Err(_) => {
                eprintln!("xensnap: not every pool was reached within {} s; going on with those that were", REACHING.as_secs());
                Ok(())
            }
        }
    }

    /// The id of a policy that a person named.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn policy(&self, name: &str) -> anyhow::Result<String> {
        if let Some(checked) = self.config.policy(name) {
            return Ok(checked.policy.id.to_string());
        }
        let known: Vec<&str> = self.config.policies.iter().map(|checked| checked.policy.id.as_str()).collect();
        let near = crate::domain::nearest::nearest(name, known.iter().copied());
        let hint = near.map_or_else(|| known.join(", "), ToString::to_string);
        Err(Exit::usage(format!("there is no policy {name}; there is {hint}")).into())
    }

    /// Asks, and prints the answer.
    ///
    /// # Errors
    /// When nobody answers.
    pub(super) async fn ask(&self, ask: Ask) -> anyhow::Result<Reply> {
        let reply = submit(&self.store, &self.clock, ask, PATIENCE).await?;
        let reply = reply
            .ok_or_else(|| anyhow::anyhow!("the service did not answer within {} s; look at its journal", PATIENCE.as_secs()))?;
        for line in &reply.lines {
            say!("{line}");
        }
        Ok(reply)
    }

    /// Follows the runs that an answer names to their ends, and prints how each ended.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub(super) async fn follow(&self, slots: &[(String, Uuid, DateTime<Utc>)]) -> anyhow::Result<bool> {
        let mut well = true;
        for (policy, pool, due_at) in slots {
            let run = self.ended(policy, *pool, *due_at).await?;
            let outcome = run.outcome.map_or("unknown", Outcome::as_str);
            say!(
                "run {} {outcome}: {} taken, {} failed, {} skipped, {} removed",
                run.id,
                run.done,
                run.failed,
                run.skipped,
                run.removed
            );
            for job in self.store.jobs_of(run.id).await? {
                if let Some(cause) = &job.cause {
                    say!("  {} {}: {}", job.vm_name, job.state.as_str(), cause.text);
                }
            }
            well &= matches!(run.outcome, Some(Outcome::Succeeded | Outcome::Observed));
        }
        Ok(well)
    }

    async fn ended(&self, policy: &str, pool: Uuid, due_at: DateTime<Utc>) -> anyhow::Result<Run> {
        loop {
            if let Some(slot) = self.store.slot(policy, pool, due_at).await?
                && let Some(run) = slot.run.filter(|_| slot.outcome.is_some())
            {
                return Ok(self.store.run(run).await?);
            }
            self.clock.sleep(Duration::from_millis(300)).await;
        }
    }

    /// Ends what was hosted.
    ///
    /// # Errors
    /// When it did not end well.
    pub(super) async fn done(self, well: bool) -> anyhow::Result<ExitCode> {
        if let Some(Hosted { handle, task }) = self.hosted {
            handle.stop();
            task.await??;
        }
        Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// The VMs that a person named, by uuid or name, as the history or the pool knows them.
    ///
    /// # Errors
    /// When one is unknown.
    pub(super) async fn vms(&self, names: &[String]) -> anyhow::Result<Vec<Uuid>> {
        let mut found = Vec::new();
        for name in names {
            if let Ok(uuid) = name.parse::<Uuid>() {
                found.push(uuid);
                continue;
            }
            let known = self.store.find_vms(name).await?;
            let hosted = self.hosted.iter().flat_map(|hosted| hosted.handle.sites().borrow().clone());
            let mut uuids: Vec<Uuid> = known.iter().map(|vm| vm.uuid).collect();
            for site in hosted {
                let tables = site.inventory.read();
                let named =
                    tables.all::<crate::xenapi::records::Vm>().filter(|(_, vm)| vm.is_plain() && *vm.name_label == **name);
                uuids.extend(named.map(|(_, vm)| vm.uuid.get()));
            }
            uuids.sort_unstable();
            uuids.dedup();
            match uuids.as_slice() {
                [one] => found.push(*one),
                [] => {
                    return Err(Exit::usage(format!(
                        "no VM is known by the name {name}; give its uuid (`xe vm-list name-label=...`)"
                    ))
                    .into());
                }
                several => {
                    let list: Vec<String> = several.iter().map(ToString::to_string).collect();
                    return Err(Exit::usage(format!("several VMs are called {name}: {}; give the uuid", list.join(", "))).into());
                }
            }
        }
        Ok(found)
    }
}
