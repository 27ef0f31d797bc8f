//! What people ask of the service. A question is answered at once and may be asked by whoever may read; what changes something is done
//! one after another, and what it starts is on disk before it is acknowledged. Who asked may go away: what was begun is brought to its
//! end all the same.

mod alarms;
mod approvals;
mod cancel;
mod explain;
mod follow;
mod names;
mod pauses;
mod policies;
mod reload;
mod reply;
mod snapshots;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Handle, report};
use crate::engine::error::Result;
use crate::engine::site::SharedSite;
use crate::engine::worker::Worker;
pub use pauses::Pausable;
pub use reload::{Reload, Reloaded};
pub use reply::{Reply, Said, Slot};

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ask {
    /// A run of a policy now, on every pool it applies to.
    Run {
        /// The policy's id or name.
        policy: String,
        /// Only these VMs, by name or uuid; empty for all that it selects.
        #[serde(default)]
        vms: Vec<String>,
        /// Answer when the runs have ended, and tell of them until then.
        #[serde(default)]
        wait: bool,
    },
    /// Retention of a policy now.
    Prune {
        /// The policy's id or name.
        policy: String,
    },
    /// What a run of a policy would take and remove; nothing is done.
    Preview {
        /// The policy's id or name.
        policy: String,
        /// Only these VMs, by name or uuid; empty for all that it selects.
        #[serde(default)]
        vms: Vec<String>,
        /// Only what retention would remove now.
        #[serde(default)]
        prune: bool,
    },
    /// Which prunings wait for a person's word, with all snapshots that would go.
    Questions {
        /// Only those of a policy, by its id or name.
        #[serde(default)]
        policy: Option<String>,
        /// Only those of a run, by its number.
        #[serde(default)]
        run: Option<i64>,
    },
    /// Agree to prunings that wait: of a run, or of a policy.
    Approve {
        /// The policy's id or name.
        #[serde(default)]
        policy: Option<String>,
        /// The run's number.
        #[serde(default)]
        run: Option<i64>,
        /// Only to these questions, by their numbers, and only if all of them wait still; empty for all that wait.
        #[serde(default)]
        questions: Vec<i64>,
    },
    /// Why a VM or snapshot is treated as it is.
    Explain {
        /// A uuid, or the name of a VM.
        subject: String,
    },
    /// A snapshot stays until then.
    Pin {
        /// The snapshot.
        snapshot: Uuid,
        /// Until when.
        until: DateTime<Utc>,
        /// Why.
        #[serde(default)]
        reason: String,
    },
    /// Retention decides about a snapshot again.
    Unpin {
        /// The snapshot.
        snapshot: Uuid,
    },
    /// Snapshots of others become a policy's.
    Adopt {
        /// The policy's id or name.
        policy: String,
        /// The snapshots.
        snapshots: Vec<Uuid>,
    },
    /// Snapshots of ours become somebody else's.
    Release {
        /// The snapshots.
        snapshots: Vec<Uuid>,
        /// The installation that gets them; nobody if there is none.
        #[serde(default)]
        to: Option<String>,
    },
    /// Put the files as they are now in force.
    Reload {},
    /// A run, or the jobs of a VM, end before they are done.
    Cancel {
        /// The number of a run, or a VM by name or uuid.
        subject: String,
    },
    /// Nothing is begun about this for a while.
    Pause {
        /// What is paused.
        what: Pausable,
        /// Until when; until it is resumed if nothing is said.
        #[serde(default)]
        until: Option<DateTime<Utc>>,
        /// Why.
        #[serde(default)]
        reason: String,
    },
    /// A pause is taken back.
    Resume {
        /// What was paused; everything ends all pauses.
        what: Pausable,
    },
    /// How the service stands.
    Status {},
    /// How well each VM is protected.
    Coverage {},
    /// What is raised, and what waits to be delivered.
    Alarms {},
    /// What is left that nobody works on.
    Orphans {},
    /// A message is sent through each channel now, to try it.
    AlarmsTest {
        /// Only this one.
        #[serde(default)]
        channel: Option<String>,
    },
}

impl Ask {
    /// All verbs, as they are written.
    pub const VERBS: &'static [&'static str] = &[
        "run",
        "prune",
        "preview",
        "questions",
        "approve",
        "explain",
        "pin",
        "unpin",
        "adopt",
        "release",
        "reload",
        "cancel",
        "pause",
        "resume",
        "status",
        "coverage",
        "alarms",
        "orphans",
        "alarms-test",
    ];

    /// True if nothing is changed by it, so that whoever may read may ask it.
    pub fn only_reads(&self) -> bool {
        matches!(
            self,
            Ask::Preview { .. }
                | Ask::Explain { .. }
                | Ask::Questions { .. }
                | Ask::Status {}
                | Ask::Coverage {}
                | Ask::Alarms {}
                | Ask::Orphans {}
        )
    }

    /// True if it is about a pool, and so needs one that is reached.
    fn needs_a_pool(&self) -> bool {
        !matches!(
            self,
            Ask::Reload {}
                | Ask::Cancel { .. }
                | Ask::Pause { .. }
                | Ask::Resume { .. }
                | Ask::Questions { .. }
                | Ask::Status {}
                | Ask::Alarms {}
                | Ask::AlarmsTest { .. }
                // It says which pools could not be looked at.
                | Ask::Orphans {}
                // Of pools that are away the history tells.
                | Ask::Coverage {}
        )
    }
}

/// Answers, to the end. `by` is who asks, for the record.
pub(super) async fn answer(mut worker: Worker, handle: &Handle, ask: Ask, by: &str, mut reply: Reply) {
    let answered = if ask.only_reads() {
        carry_out(&mut worker, handle, &ask, by, &mut reply).await
    } else {
        let turn = worker.wait(handle.desk.turn.lock()).await;
        let answered = carry_out(&mut worker, handle, &ask, by, &mut reply).await;
        drop(turn);
        answered
    };
    let answered = match answered {
        Ok(()) if matches!(ask, Ask::Run { wait: true, .. }) => follow::follow(&mut worker, handle, &mut reply).await,
        other => other,
    };
    if let Err(error) = answered {
        let text = crate::xenapi::error::chain(&error);
        tracing::error!(error = %text, "a request could not be carried out");
        reply.refuse("history", text);
    }
    reply.end();
}

async fn carry_out(worker: &mut Worker, handle: &Handle, ask: &Ask, by: &str, reply: &mut Reply) -> Result<()> {
    let sites: Vec<SharedSite> = handle.sites.borrow().clone();
    if sites.is_empty() && ask.needs_a_pool() {
        let plan = handle.plan();
        let others = plan.pools.iter().any(|pool| handle.desk.reaches.is_standing_by(&pool.settings.name));
        let why = if others {
            "another daemon of this installation works with the pool, and this one stands by; ask that one (`xensnap status` says where)"
        } else {
            "no pool is reached now; `xensnap doctor` says why"
        };
        reply.refuse("no-pool", why);
        return Ok(());
    }
    match ask {
        Ask::Run { policy, .. } | Ask::Prune { policy } | Ask::Preview { policy, .. } | Ask::Adopt { policy, .. } => {
            policies::answer(worker, handle, &sites, policy, (ask, by), reply).await
        }
        Ask::Questions { policy, run } => approvals::tell(handle, policy.as_deref(), *run, reply).await,
        Ask::Approve { .. } => approvals::agree(worker, handle, &sites, (ask, by), reply).await,
        Ask::Explain { subject } => explain::answer(handle, &sites, subject, reply).await,
        Ask::Pin { snapshot, .. } | Ask::Unpin { snapshot } => snapshots::pinned(worker, &sites, *snapshot, ask, reply).await,
        Ask::Release { snapshots, to } => snapshots::release(worker, &sites, snapshots, to.as_deref(), reply).await,
        Ask::Reload {} => reload::answer(worker, handle, by, reply).await,
        Ask::Cancel { subject } => cancel::answer(handle, subject, by, reply).await,
        Ask::Pause { what, until, reason } => pauses::pause(handle, (what, by), (*until, reason), reply).await,
        Ask::Resume { what } => pauses::resume(handle, what, by, reply).await,
        Ask::Status {} => {
            reply.data(&report::live(worker, handle).await?);
            Ok(())
        }
        Ask::Coverage {} => {
            reply.data(&report::coverage(handle).await?);
            Ok(())
        }
        Ask::Alarms {} => {
            reply.data(&report::alarms(handle).await?);
            Ok(())
        }
        Ask::Orphans {} => {
            reply.data(&report::orphans(worker, handle).await?);
            Ok(())
        }
        Ask::AlarmsTest { channel } => alarms::test(worker, handle, channel.as_deref(), reply).await,
    }
}
