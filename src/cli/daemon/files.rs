//! The files that the service works by, and how others come into force while it runs: all or none, and with an answer to whoever asked.

use std::path::PathBuf;

use chrono::{DateTime, Utc};

use super::super::planned;
use crate::clock::SharedClock;
use crate::config::changes::{Change, changes};
use crate::config::{Config, DaemonConfig, Diagnostics};
use crate::daemon::{Handle, Reloaded};
use crate::domain::event::EventKind;
use crate::telemetry::{Fact, Format};

/// The files, and the configuration that is in force.
pub(super) struct Files {
    pub(super) handle: Handle,
    pub(super) path: PathBuf,
    pub(super) now: Config,
    pub(super) clock: SharedClock,
    pub(super) format: Format,
}

/// What came into force.
struct Taken {
    /// What is doubtful in the files, drawn for whoever asked; the journal has each for itself.
    warnings: Vec<String>,
    /// What changed.
    changes: Vec<String>,
    /// What changed and waits for a restart.
    waiting: Option<String>,
    /// How many policies there are now.
    count: String,
}

impl Files {
    /// Puts the files as they are now in force; if anything is wrong with them, nothing changes. Says the same to the journal.
    pub(super) async fn reload(&mut self, by: &str) -> Reloaded {
        self.handle.manager().reloading();
        let taken = self.take_over().await;
        self.handle.manager().ready();
        match taken {
            Ok(Taken { warnings, changes, waiting, count }) => {
                self.handle.files_are_wrong(None);
                Fact::new(EventKind::Reloaded).say(&format!("read anew for {by}: {}; {count}", changes.join("; ")));
                waiting.iter().for_each(|text| Fact::new(EventKind::RestartNeeded).say(text));
                Reloaded::Yes(warnings.into_iter().chain(changes).chain(waiting).chain([count]).collect())
            }
            Err(refused) => {
                match &refused {
                    Reloaded::Wrong(drawn) => {
                        let text = drawn.lines().next().unwrap_or_default().to_owned();
                        self.handle.files_are_wrong(Some(text));
                        say_refused(by, "it has errors");
                    }
                    Reloaded::Failed(error) => say_refused(by, error),
                    Reloaded::Yes(_) => {}
                }
                refused
            }
        }
    }

    /// What came into force, or why nothing did.
    async fn take_over(&mut self) -> Result<Taken, Reloaded> {
        let loaded = match Config::load(&self.path, self.clock.now()) {
            Ok(loaded) => loaded,
            Err(problems) => {
                super::tell(&problems, self.format);
                return Err(Reloaded::Wrong(self.wrong(&problems)));
            }
        };
        let new = loaded.config;
        let kept = self.without_what_waits(&new);
        let plan = planned::plan(&kept).map_err(|error| Reloaded::Failed(format!("{error:#}")))?;
        self.handle.reload(plan).await.map_err(|error| {
            let error = crate::xenapi::error::chain(&error);
            Reloaded::Failed(format!("the history cannot be written, so what was in force stays so: {error}"))
        })?;
        super::tell(&loaded.warnings, self.format);
        let drawn = if loaded.warnings.is_empty() { String::new() } else { loaded.warnings.render(false) };
        let count = kept.policies.len();
        let taken = Taken {
            warnings: drawn.lines().map(str::to_owned).collect(),
            changes: told(&self.now, &new, self.clock.now()),
            waiting: waiting(&self.now, &new),
            count: if count == 1 { "1 policy is in force".to_owned() } else { format!("{count} policies are in force") },
        };
        self.now = kept;
        Ok(taken)
    }

    fn wrong(&self, problems: &Diagnostics) -> String {
        let count = problems.errors().count();
        let errors = if count == 1 { "1 error".to_owned() } else { format!("{count} errors") };
        let path = self.path.display();
        format!("{path} was not reloaded, {errors}; what was in force stays so\n{}", problems.render(false))
    }

    /// The new files with what a service that runs cannot follow as it was.
    fn without_what_waits(&self, new: &Config) -> Config {
        let now = &self.now;
        let (socket, socket_group, lease) = (now.daemon.socket.clone(), now.daemon.socket_group.clone(), now.daemon.lease);
        Config {
            installation: now.installation.clone(),
            pools: now.pools.clone(),
            store: now.store.clone(),
            metrics: now.metrics.clone(),
            alarms: new.alarms.clone(),
            daemon: DaemonConfig { socket, socket_group, lease, ..new.daemon.clone() },
            policies: new.policies.clone(),
        }
    }
}

fn say_refused(by: &str, why: &str) {
    let text = format!("the configuration was not reloaded for {by}, and the policies of before stay in force: {why}");
    Fact::new(EventKind::ReloadRefused).say(&text);
}

/// What changed, policy by policy, with the next slot of those that are new or fire at other times.
fn told(old: &Config, new: &Config, now: DateTime<Utc>) -> Vec<String> {
    let changes = changes(old, new);
    if changes.is_empty() {
        return vec!["nothing changed".to_owned()];
    }
    let fires = |id: &str| {
        let policy = &new.policy(id)?.policy;
        let zone = policy.schedule.zone();
        let next = policy.schedule.next_open_after(now).filter(|_| policy.enabled);
        let at = |at| zone.format(at, "%a %Y-%m-%d %H:%M %Z").unwrap_or_else(|| at.to_string());
        Some(next.map_or_else(|| "it fires no more".to_owned(), |next| format!("next {}", at(next))))
    };
    changes
        .iter()
        .map(|change| fires_of(change).and_then(fires).map_or_else(|| change.to_string(), |fires| format!("{change}; {fires}")))
        .collect()
}

/// The policy of which a person wants to know when it fires now.
fn fires_of(change: &Change) -> Option<&str> {
    match change {
        Change::PolicyAdded(id) | Change::PolicyIdChanged { to: id, .. } => Some(id),
        Change::PolicyChanged { id, parts } => {
            parts.iter().any(|part| ["schedule", "enabled"].contains(part)).then_some(id.as_str())
        }
        _ => None,
    }
}

/// What a service that runs does not follow.
fn waiting(old: &Config, new: &Config) -> Option<String> {
    let socket = (&old.daemon.socket, &old.daemon.socket_group) != (&new.daemon.socket, &new.daemon.socket_group);
    let all = [
        ("the installation", old.installation != new.installation),
        ("pools", old.pools != new.pools),
        ("the history", old.store != new.store),
        ("metrics", old.metrics != new.metrics),
        ("the control socket", socket),
        ("the lease", old.daemon.lease != new.daemon.lease),
    ];
    let changed: Vec<&str> = all.into_iter().filter(|(_, differs)| *differs).map(|(what, _)| what).collect();
    let text = || format!("not taken over before a restart: {}", changed.join(", "));
    (!changed.is_empty()).then(text)
}
