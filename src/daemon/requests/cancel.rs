//! A run, or the jobs of a VM, are to end before they are done. What has not begun ends at once; what the server works on is stopped
//! there, and whatever end it takes counts: a snapshot that was taken all the same is marked and kept like any other.

use super::super::Handle;
use super::Reply;
use crate::engine::error::Result;
use crate::store::{EventKind, Job, JobState, NewEvent, Run, RunId};
use crate::telemetry::Fact;

/// Lets it end. `subject` is the number of a run, or a VM by name or uuid.
pub(super) async fn answer(handle: &Handle, subject: &str, by: &str, reply: &mut Reply) -> Result<()> {
    let runs = handle.store.unfinished_runs().await?;
    if let Ok(number) = subject.parse::<RunId>() {
        return match runs.into_iter().find(|run| run.id == number) {
            Some(run) => cancel(handle, &run, None, by, reply).await,
            None => {
                reply.refuse("not-found", format!("run {number} is not under way; `xensnap status` shows what is"));
                Ok(())
            }
        };
    }
    let mut found = false;
    for run in runs {
        for job in handle.store.jobs_of(run.id).await?.into_iter().filter(|job| is_meant(job, subject)) {
            found = true;
            cancel(handle, &run, Some(&job), by, reply).await?;
        }
    }
    if !found {
        reply.refuse("not-found", format!("no VM {subject} has a job under way; `xensnap status` shows what is"));
    }
    Ok(())
}

fn is_meant(job: &Job, subject: &str) -> bool {
    let named = job.vm_name == subject || subject.parse() == Ok(job.vm_uuid);
    named && !job.state.is_final() && job.state != JobState::Unresolved
}

async fn cancel(handle: &Handle, run: &Run, vm: Option<&Job>, by: &str, reply: &mut Reply) -> Result<()> {
    let now = handle.clock.now();
    let jobs = handle.store.jobs_of(run.id).await?;
    let mine = || jobs.iter().filter(|job| vm.is_none_or(|vm| vm.id == job.id));
    let waiting = mine().filter(|job| job.state == JobState::Queued).count();
    let working = mine().filter(|job| matches!(job.state, JobState::Intent | JobState::Calling)).count();
    let what = vm.map_or_else(|| format!("run {}", run.id), |vm| format!("VM {} in run {}", vm.vm_name, run.id));
    let text = format!("{what} of policy {} is cancelled by {by}", run.policy_name);
    // First what lasts: a service that dies now cancels in its next life.
    handle.wishes.cancel(&handle.store, run.id, vm.map(|vm| vm.vm_uuid), by, now).await?;
    Fact::new(EventKind::Cancelled).policy(&run.policy_name).run(run.id.0).say(&text);
    let event = NewEvent::new(now, EventKind::Cancelled, text);
    let vm = vm.map(|vm| vm.vm_uuid);
    handle
        .store
        .note_event(NewEvent { run: Some(run.id), policy: Some(run.policy.clone()), pool: Some(run.pool), vm, ..event })
        .await?;
    reply.say(format!("{what}: {waiting} not begun end now, {working} are stopped at the server; what is taken already stays"));
    Ok(())
}
