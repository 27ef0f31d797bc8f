//! A VM that is shut down for its snapshot, and comes back whatever happens. The rules:
//!
//! - The server is asked how the VM stands, because the inventory may be a moment behind; and asked again after every doubt.
//! - A guest is only ever asked to shut down. Nobody's plug is pulled for a snapshot.
//! - Who shut a VM down starts it again, with patience, unless somebody else did. Bringing a VM back that is back does nothing, so it
//!   can be done after a crash by whoever finds the note that it was shut down.
//! - Either function ends when the inventory shows what was done, so that whoever looks there next does not see the past.

use std::time::Duration;

use super::worker::Worker;
use crate::clock::SharedClock;
use crate::xenapi::failure::Kind;
use crate::xenapi::inventory::{Follows, Inventory};
use crate::xenapi::records::{PowerState, Vm, VmOperation};
use crate::xenapi::task::TaskError;
use crate::xenapi::types::{Ref, Void};
use crate::xenapi::{Call, CallError, Pool, calls};

/// A guest that was asked may follow that long after the time it was given; until then it is watched.
const LATE: Duration = Duration::from_secs(120);
/// Between two looks at a VM whose state is in doubt.
const LOOK: Duration = Duration::from_secs(5);
/// How long one attempt to start a VM may take.
const ATTEMPT: Duration = Duration::from_secs(600);
/// How long a VM is tried to be started.
const PATIENCE: Duration = Duration::from_secs(30 * 60);
/// The pauses between attempts to start: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long the inventory may take to show what was done.
const CATCH_UP: Duration = Duration::from_secs(10);

/// What moves a VM from one power state to another: how it stands is known when that is over.
const MOVING: [VmOperation; 8] = [
    VmOperation::Start,
    VmOperation::StartOn,
    VmOperation::Resume,
    VmOperation::ResumeOn,
    VmOperation::CleanShutdown,
    VmOperation::HardShutdown,
    VmOperation::Shutdown,
    VmOperation::Reverting,
];

/// How a VM was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WasRunning {
    /// It ran, and was shut down: it has to be brought back.
    Yes,
    /// It was halted.
    No,
}

/// Why a VM was not shut down, or not brought back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OfflineError {
    /// The VM is not there any more.
    #[error("the VM is not there any more; nothing can be done about it")]
    Gone,
    /// It is neither running nor halted.
    #[error(
        "the VM is {}; an offline snapshot needs it running or halted: resume or unpause it, or take kind = \"disk\"",
        power.as_str().to_lowercase()
    )]
    PowerState {
        /// What it is.
        power: PowerState,
    },
    /// Somebody else starts it or shuts it down.
    #[error("the VM is busy ({0}); it is tried again when that is over")]
    Busy(VmOperation),
    /// The pool does not say how the VM stands.
    #[error("the pool does not say how the VM stands; look at it (xe vm-list)")]
    Unseen(#[source] CallError),
    /// The guest did not shut down, or not in time.
    #[error("the VM was not shut down, as far as can be seen; it is left as it is")]
    NotDown(#[source] StepError),
    /// The VM is suspended and could not be resumed.
    #[error("the VM was suspended for its snapshot and is not resumed: resume it (xe vm-resume)")]
    NotResumed(#[source] StepError),
    /// The VM is halted and could not be started.
    #[error("the VM was shut down for its snapshot and is not running: start it (xe vm-start); it was tried for {} s", tried.as_secs())]
    NotStarted {
        /// For how long it was tried.
        tried: Duration,
        /// What was in the way last.
        #[source]
        last: StepError,
    },
}

/// Why a call that runs as a task brought nothing: it did not begin, or did not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// It did not begin.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It did not end well.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// Somebody starts it or shuts it down.
    #[error("the VM is busy ({0})")]
    Busy(VmOperation),
}

impl StepError {
    /// What this means for a retry.
    pub fn kind(&self) -> Kind {
        match self {
            StepError::Call(error) => error.kind(),
            StepError::Task(error) => error.kind(),
            StepError::Busy(_) => Kind::Busy,
        }
    }

    /// Whether a call that ended so may have begun to have its effect.
    fn leaves_open(&self) -> bool {
        match self {
            StepError::Call(error) => error.kind() == Kind::Ambiguous,
            StepError::Task(TaskError::Failed(refusal)) => {
                matches!(refusal.failure.kind(), Kind::Transient | Kind::Ambiguous | Kind::Broken)
            }
            StepError::Task(_) => true,
            StepError::Busy(_) => false,
        }
    }

    /// The server's code, if it was the server that said no.
    fn code(&self) -> Option<&str> {
        match self {
            StepError::Call(error) => error.failure().map(|failure| &*failure.code),
            StepError::Task(TaskError::Failed(refusal)) => Some(&refusal.failure.code),
            StepError::Task(_) | StepError::Busy(_) => None,
        }
    }
}

impl OfflineError {
    /// What this means for a retry.
    pub fn kind(&self) -> Kind {
        match self {
            OfflineError::Gone => Kind::NotFound,
            OfflineError::PowerState { .. } => Kind::Unsupported,
            OfflineError::Busy(_) => Kind::Busy,
            OfflineError::Unseen(error) => error.kind(),
            OfflineError::NotDown(error) | OfflineError::NotResumed(error) | OfflineError::NotStarted { last: error, .. } => {
                error.kind()
            }
        }
    }

    /// Whether asking the guest again in a while may do: what was in the way was not the guest.
    pub fn may_pass(&self) -> bool {
        match self {
            OfflineError::Busy(_) | OfflineError::Unseen(_) => true,
            OfflineError::NotDown(StepError::Task(TaskError::Vanished { .. } | TaskError::Unwatched { .. })) => true,
            OfflineError::NotDown(StepError::Task(TaskError::Deadline { .. } | TaskError::StillRunning { .. })) => false,
            OfflineError::NotDown(error) => {
                let passes = matches!(error.kind(), Kind::Transient | Kind::Busy | Kind::Ambiguous);
                passes || error.code() == Some("VM_BAD_POWER_STATE")
            }
            _ => false,
        }
    }

    /// Whether the guest may have been asked to shut down and yet follow: it runs, and may not an hour later. Where it was not, there
    /// is nothing to bring back, and a VM that goes down is somebody else's.
    pub fn may_still_go_down(&self) -> bool {
        matches!(self, OfflineError::NotDown(error) if error.leaves_open())
    }
}

/// Shuts a VM down for its snapshot, by asking the guest. The note by which it is brought back after a crash must be stored before.
///
/// A guest that was asked may follow when nobody waits any more; then this fails with an error that
/// [leaves it open](OfflineError::may_still_go_down), and the note must stay for later looks with [`bring_back`]. After any other error
/// the note may go, and nothing is to be brought back.
///
/// # Errors
/// As the variants of [`OfflineError`] say. Whatever it is, the VM is not known to be halted.
pub async fn shut_down(
    worker: &mut Worker,
    pool: &Pool,
    inventory: &Inventory,
    vm: &Ref<Vm>,
    timeout: Duration,
) -> Result<WasRunning, OfflineError> {
    let record = look(worker, pool, vm).await?;
    match (&record.power_state, moving(&record)) {
        (_, Some(operation)) => return Err(OfflineError::Busy(operation)),
        (PowerState::Halted, None) => return Ok(WasRunning::No),
        (PowerState::Running, None) => {}
        (power, None) => return Err(OfflineError::PowerState { power: power.clone() }),
    }
    let deadline = pool.clock().elapsed() + timeout;
    if let Err(error) = step(worker, pool, calls::vm::clean_shutdown(vm), timeout).await
        && !(error.leaves_open() && goes_down(worker, pool, vm, watched_until(&error, pool.clock(), deadline)).await?)
    {
        return Err(OfflineError::NotDown(error));
    }
    shown(worker, inventory, pool.clock(), vm, |power| *power == PowerState::Halted).await;
    Ok(WasRunning::Yes)
}

/// Brings a VM back that was shut down for its snapshot: looks whether it is, and starts it on whatever host has room. Tried again and
/// again for half an hour; a refusal that will not change by itself is told at once. Doing it twice does nothing.
///
/// The note of the shutdown may go when this succeeds, and when the VM is [`OfflineError::Gone`]; otherwise it must stay.
///
/// # Errors
/// As its variants say.
pub async fn bring_back(worker: &mut Worker, pool: &Pool, inventory: &Inventory, vm: &Ref<Vm>) -> Result<(), OfflineError> {
    let begun = pool.clock().elapsed();
    let mut pause = FIRST_PAUSE;
    loop {
        let in_the_way = match try_to_bring_back(worker, pool, vm).await? {
            Ok(()) => break,
            Err(error) => error,
        };
        let tried = pool.clock().elapsed().saturating_sub(begun);
        if is_final(&in_the_way) || tried + pause > PATIENCE {
            return Err(match in_the_way {
                StepError::Busy(operation) => OfflineError::Busy(operation),
                last => OfflineError::NotStarted { tried, last },
            });
        }
        tracing::info!(pool = %pool.name(), vm = %vm, error = %in_the_way, "a VM that was shut down cannot be started yet");
        worker.sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    shown(worker, inventory, pool.clock(), vm, |power| *power != PowerState::Halted).await;
    Ok(())
}

/// One look, and one attempt if it is needed. The outer error ends all attempts.
async fn try_to_bring_back(worker: &mut Worker, pool: &Pool, vm: &Ref<Vm>) -> Result<Result<(), StepError>, OfflineError> {
    let record = match look(worker, pool, vm).await {
        Err(OfflineError::Unseen(error)) if may_pass(error.kind()) => return Ok(Err(error.into())),
        other => other?,
    };
    match (&record.power_state, moving(&record)) {
        (_, Some(operation)) => Ok(Err(StepError::Busy(operation))),
        (PowerState::Halted, None) => Ok(step(worker, pool, calls::vm::start(vm, false, false), ATTEMPT).await),
        // Paused or suspended it was by somebody who had it running.
        (_, None) => Ok(Ok(())),
    }
}

/// Resumes a VM that a snapshot with memory left suspended: looks whether it did, and tries once. Doing it twice does nothing.
///
/// # Errors
/// As its variants say; [`OfflineError::Busy`] while something is done with the VM, such as that snapshot.
pub async fn wake(worker: &mut Worker, pool: &Pool, inventory: &Inventory, vm: &Ref<Vm>) -> Result<(), OfflineError> {
    let record = look(worker, pool, vm).await?;
    if record.power_state != PowerState::Suspended {
        return Ok(());
    }
    if let Some((_, operation)) = record.current_operations.iter().next() {
        return Err(OfflineError::Busy(operation.clone()));
    }
    step(worker, pool, calls::vm::resume(vm, false, false), ATTEMPT).await.map_err(OfflineError::NotResumed)?;
    shown(worker, inventory, pool.clock(), vm, |power| *power != PowerState::Suspended).await;
    Ok(())
}

async fn look(worker: &mut Worker, pool: &Pool, vm: &Ref<Vm>) -> Result<Vm, OfflineError> {
    worker.call(pool, calls::record(vm)).await.map_err(|error| match error.kind() {
        Kind::NotFound => OfflineError::Gone,
        _ => OfflineError::Unseen(error),
    })
}

/// The operation that is about to change the power state.
fn moving(vm: &Vm) -> Option<VmOperation> {
    vm.current_operations.iter().map(|(_, operation)| operation).find(|operation| MOVING.contains(operation)).cloned()
}

/// Makes a call that takes long.
async fn step(worker: &mut Worker, pool: &Pool, call: Call<Void>, deadline: Duration) -> Result<(), StepError> {
    let task = worker.wait(pool.start(call)).await?;
    worker.wait(task.finish(Some(deadline))).await?;
    Ok(())
}

/// Until when the guest is watched after its shutdown failed so; `deadline` is when it was to be down.
fn watched_until(error: &StepError, clock: &SharedClock, deadline: Duration) -> Duration {
    let now = clock.elapsed();
    LATE + if error.kind() == Kind::Ambiguous { deadline.max(now) } else { now }
}

/// Watches a VM that may have been asked to shut down; true when it is halted.
async fn goes_down(worker: &mut Worker, pool: &Pool, vm: &Ref<Vm>, until: Duration) -> Result<bool, OfflineError> {
    while pool.clock().elapsed() < until {
        match look(worker, pool, vm).await {
            Ok(record) if record.power_state == PowerState::Halted => return Ok(true),
            Err(OfflineError::Gone) => return Err(OfflineError::Gone),
            Ok(_) | Err(_) => worker.sleep(LOOK).await,
        }
    }
    Ok(false)
}

/// Whether asking again may help.
fn may_pass(kind: Kind) -> bool {
    !matches!(kind, Kind::Denied | Kind::Unsupported)
}

/// Whether somebody has to do something before the VM can start. A state that was another when we looked is no such thing.
fn is_final(error: &StepError) -> bool {
    !may_pass(error.kind()) && error.code() != Some("VM_BAD_POWER_STATE")
}

/// Waits a little for the inventory to show a VM's power state.
async fn shown(
    worker: &mut Worker,
    inventory: &Inventory,
    clock: &SharedClock,
    vm: &Ref<Vm>,
    wanted: impl Fn(&PowerState) -> bool,
) {
    let mut status = inventory.status();
    if status.borrow().follows != Follows::Live {
        return;
    }
    let shows = || inventory.read().get(vm).is_none_or(|vm| wanted(&vm.power_state));
    let showing = async { while !shows() && status.changed().await.is_ok() {} };
    let late = clock.sleep(CATCH_UP);
    worker
        .wait(async {
            tokio::select! {
                () = showing => {}
                () = late => {}
            }
        })
        .await;
}
