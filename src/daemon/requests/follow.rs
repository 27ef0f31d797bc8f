//! Runs that somebody waits for: how far they have come, and how each ended. Nobody waits any more: then nothing is told, and the runs
//! go on.

use std::time::Duration;

use super::super::Handle;
use super::{Reply, Slot};
use crate::engine::error::Result;
use crate::engine::worker::Worker;
use crate::store::{Job, Outcome, Run};

/// The progress of runs is looked at this often, besides when one ends.
const LOOK: Duration = Duration::from_secs(2);

/// Tells of the runs of the slots that the answer names until all have ended.
///
/// # Errors
/// When the history cannot be read.
pub(super) async fn follow(worker: &mut Worker, handle: &Handle, reply: &mut Reply) -> Result<()> {
    let mut open = reply.slots.clone();
    let mut told = (0, 0);
    let mut changes = handle.runs.changes();
    loop {
        changes.borrow_and_update();
        let mut still = Vec::new();
        let (mut done, mut of) = (0, 0);
        for slot in open {
            let (run, jobs) = look(handle, &slot).await?;
            done += jobs.iter().filter(|job| job.state.is_final()).count();
            of += jobs.len();
            match run.filter(|run| run.outcome.is_some()) {
                Some(run) => tell(&run, &jobs, reply),
                None => still.push(slot),
            }
        }
        open = still;
        if open.is_empty() || !reply.is_awaited() {
            return Ok(());
        }
        if told != (done, of) {
            told = (done, of);
            reply.progress(done, of);
        }
        let sleep = handle.clock.sleep(LOOK);
        let stopped = async {
            tokio::select! { () = handle.stop.cancelled() => true, _ = changes.changed() => false, () = sleep => false }
        };
        if worker.wait(stopped).await {
            reply.fail("the service stops; the next start goes on with the run");
            return Ok(());
        }
    }
}

async fn look(handle: &Handle, slot: &Slot) -> Result<(Option<Run>, Vec<Job>)> {
    let row = handle.store.slot(&slot.policy, slot.pool, slot.due_at).await?;
    let Some(run) = row.and_then(|row| row.run) else { return Ok((None, Vec::new())) };
    Ok((Some(handle.store.run(run).await?), handle.store.jobs_of(run).await?))
}

fn tell(run: &Run, jobs: &[Job], reply: &mut Reply) {
    let outcome = run.outcome.map_or("unknown", Outcome::as_str);
    let Run { id, done, failed, skipped, removed, .. } = run;
    let line = format!("run {id} {outcome}: {done} taken, {failed} failed, {skipped} skipped, {removed} removed");
    if matches!(run.outcome, Some(Outcome::Succeeded | Outcome::Observed)) {
        reply.say(line);
    } else {
        reply.fail(line);
    }
    for job in jobs {
        if let Some(cause) = &job.cause {
            reply.say(format!("  {} {}: {}", job.vm_name, job.state.as_str(), cause.text));
        }
    }
}
