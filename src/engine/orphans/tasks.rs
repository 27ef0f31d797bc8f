//! Tasks that carry a nonce of ours and that nobody waits for any more: what is over is cleaned away, what goes on is told to end.

use std::time::Duration;

use uuid::Uuid;

use super::{AGAIN, orphan, reclaimed};
use crate::domain::orphans::{self, Judgement, Orphan, Settle, What, Why};
use crate::engine::attempt::TAG;
use crate::engine::error::Result;
use crate::engine::site::Site;
use crate::engine::worker::Worker;
use crate::xenapi::calls;
use crate::xenapi::records::Task;
use crate::xenapi::types::Ref;

/// How long the pool may take to list its tasks.
const PATIENCE: Duration = Duration::from_secs(30);

/// A task with a nonce, and what is to be done about it.
struct Found {
    reference: Ref<Task>,
    task: Task,
    judgement: Judgement<Settle>,
}

/// Puts right what can be, and returns what is left.
pub(super) async fn settle(worker: &mut Worker, site: &Site) -> Result<Vec<Orphan>> {
    let all = judged(worker, site).await?;
    for found in &all {
        let uuid = found.task.uuid.get();
        match found.judgement {
            Judgement::Repair(Settle::Forget) => {
                worker.wait(site.pool.forget(&found.reference)).await;
                let text = format!("the task {} ({uuid}), which nobody waited for, was cleaned away", found.task.name_label);
                reclaimed(site, What::Task, uuid, (None, None), text).await?;
            }
            Judgement::Repair(Settle::Cancel) => {
                if let Err(error) = worker.call(&site.pool, calls::task::cancel(&found.reference)).await {
                    tracing::info!(pool = %site.name(), task = %uuid, %error, "a task that nobody waits for could not be cancelled");
                }
            }
            _ => {}
        }
    }
    Ok(all.into_iter().filter(|found| found.judgement != Judgement::Repair(Settle::Forget)).filter_map(as_orphan).collect())
}

pub(super) async fn look(worker: &mut Worker, site: &Site) -> Result<Vec<Orphan>> {
    Ok(judged(worker, site).await?.into_iter().filter_map(as_orphan).collect())
}

fn as_orphan(Found { task, judgement, .. }: Found) -> Option<Orphan> {
    let why = match judgement {
        Judgement::Repair(_) => Why::Unmended(AGAIN.to_owned()),
        Judgement::List(why) => why,
        Judgement::Fine | Judgement::Later(_) => return None,
    };
    let since = task.created.happened();
    Some(Orphan { since, ..orphan(What::Task, task.uuid.get(), &task.name_label, why) })
}

/// Every task with a nonce; none if the pool cannot be asked now.
async fn judged(worker: &mut Worker, site: &Site) -> Result<Vec<Found>> {
    let tasks = match worker.call(&site.pool, calls::all::<Task>().within(PATIENCE)).await {
        Ok(tasks) => tasks,
        Err(error) => {
            tracing::info!(pool = %site.name(), %error, "the pool's tasks cannot be read now");
            return Ok(Vec::new());
        }
    };
    let key = format!("http:{TAG}");
    let mut found = Vec::new();
    for (reference, task) in tasks {
        let Some(nonce) = task.other_config.get(&key) else { continue };
        let awaited = awaited(site, nonce).await?;
        let (ended, told) = (task.has_ended(), was_listed(site, task.uuid.get()));
        let judgement = orphans::task(orphans::Task { awaited, ended, told });
        found.push(Found { reference, task, judgement });
    }
    Ok(found)
}

/// Whether somebody waits for the end of the attempt with this nonce; nothing if the history does not know it for this pool.
async fn awaited(site: &Site, nonce: &str) -> Result<Option<bool>> {
    let Some(attempt) = site.store.attempt_by_nonce(nonce).await? else { return Ok(None) };
    let job = site.store.job(attempt.job).await?;
    if job.pool != site.uuid.0 {
        return Ok(None);
    }
    let in_hands = attempt.state.is_open() || site.store.run(job.run).await?.outcome.is_none();
    Ok(Some(in_hands))
}

/// What was listed at the last look was told to end then.
fn was_listed(site: &Site, task: Uuid) -> bool {
    site.left.borrow().iter().any(|orphan| orphan.what == What::Task && orphan.uuid == task)
}
