//! A job's life: intents before calls, attempts that are never doubled, states that move along their lines.

use uuid::Uuid;
use xensnap::store::{
    AttemptState, Cause, Ended, Error, JobState, NewJob, Outcome, Page, RunState, SlotFilter, SlotState, SnapshotState,
};

use crate::support::*;

fn cause(code: &str) -> Cause {
    Cause::new(code, format!("the server said {code}"))
}

#[tokio::test]
async fn a_job_goes_from_its_slot_to_its_end_and_every_step_is_there_afterwards() {
    let world = World::new().await;
    let run = world.run("nightly", hour(0)).await;
    let job = world.store.add_jobs(run.id, vec![new_job(1)], hour(0)).await.unwrap().remove(0);
    assert_eq!((job.state, job.attempts, job.policy.as_str(), job.pool), (JobState::Queued, 0, "nightly", POOL));

    let attempt = world.store.write_intent(job.id, "n0nce", MASTER_START, hour(1)).await.unwrap();
    assert_eq!((attempt.number, attempt.state), (1, AttemptState::Intent));
    world.store.call_answered(attempt.id, "OpaqueRef:task", MASTER_START, hour(2)).await.unwrap();
    let id = world.store.snapshot_taken(attempt.id, snapshot(Uuid::from_u128(9), 1, "nightly", hour(0)), hour(3)).await.unwrap();
    world.store.snapshot_marked(id, hour(4)).await.unwrap();
    world.store.advance_run(run.id, RunState::Synchronising).await.unwrap();
    world.store.snapshots_durable(vec![id], hour(5)).await.unwrap();
    world.store.advance_run(run.id, RunState::Removing).await.unwrap();
    world.store.job_pruned(job.id, hour(6)).await.unwrap();
    world.store.end_job(job.id, JobState::Done, None, hour(7)).await.unwrap();
    let run = world.store.finish_run(run.id, Outcome::Succeeded, None, hour(8)).await.unwrap();
    assert_eq!((run.state, run.outcome, run.jobs, run.done, run.failed), (RunState::Done, Some(Outcome::Succeeded), 1, 1, 0));

    let job = world.store.job(job.id).await.unwrap();
    assert_eq!((job.state, job.finished_at, job.due_at), (JobState::Done, Some(hour(7)), hour(0)));
    let attempt = world.store.attempt_by_nonce("n0nce").await.unwrap().unwrap();
    assert_eq!(attempt.state, AttemptState::Succeeded);
    assert_eq!(
        (attempt.task.as_deref(), attempt.called_at, attempt.ended_at),
        (Some("OpaqueRef:task"), Some(hour(2)), Some(hour(3)))
    );
    let snapshot = world.store.snapshot(id).await.unwrap();
    assert_eq!((snapshot.run, snapshot.job, snapshot.state), (Some(run.id), Some(job.id), SnapshotState::Durable));
    assert_eq!(snapshot.disks.len(), 2);
    let slot = world.store.slot("nightly", POOL, hour(0)).await.unwrap().unwrap();
    assert!(slot.is_final() && slot.run == Some(run.id));
}

#[tokio::test]
async fn the_same_intent_twice_is_one_attempt() {
    let world = World::new().await;
    let job = world.job("nightly", hour(0), 1).await;
    let first = world.store.write_intent(job.id, "same", MASTER_START, hour(0)).await.unwrap();
    let second = world.store.write_intent(job.id, "same", MASTER_START, hour(1)).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(world.store.attempts(job.id).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_nonce_names_one_job() {
    let world = World::new().await;
    let first = world.job("nightly", hour(0), 1).await;
    let second = world.job("hourly", hour(0), 1).await;
    world.store.write_intent(first.id, "same", MASTER_START, hour(0)).await.unwrap();
    let error = world.store.write_intent(second.id, "same", MASTER_START, hour(0)).await.unwrap_err();
    assert!(matches!(error, Error::NonceTaken { .. }), "{error:?}");
    assert_eq!(world.store.job(second.id).await.unwrap().state, JobState::Queued, "what was refused changed nothing");
}

#[tokio::test]
async fn a_second_attempt_needs_the_end_of_the_first_and_both_are_named() {
    let world = World::new().await;
    let job = world.job("nightly", hour(0), 1).await;
    let first = world.store.write_intent(job.id, "one", MASTER_START, hour(0)).await.unwrap();
    let error = world.store.write_intent(job.id, "two", MASTER_START, hour(0)).await.unwrap_err();
    assert!(matches!(&error, Error::AttemptOpen { nonce, .. } if nonce == "one"), "{error:?}");

    world.store.call_ended(first.id, Ended::Absent, cause("absent"), hour(2), hour(1)).await.unwrap();
    let waiting = world.store.job(job.id).await.unwrap();
    assert_eq!((waiting.state, waiting.next_try), (JobState::Queued, hour(2)));
    assert_eq!(waiting.cause, Some(cause("absent")));
    world.store.write_intent(job.id, "two", MASTER_START, hour(2)).await.unwrap();
    let attempts = world.store.attempts(job.id).await.unwrap();
    let told: Vec<_> = attempts.iter().map(|attempt| (attempt.number, attempt.nonce.as_str(), attempt.state)).collect();
    assert_eq!(told, [(1, "one", AttemptState::Absent), (2, "two", AttemptState::Intent)]);
}

#[tokio::test]
async fn an_unresolved_call_is_never_retried_until_it_is_decided() {
    let world = World::new().await;
    let job = world.job("nightly", hour(0), 1).await;
    let attempt = world.intent(&job).await;
    world.store.call_unresolved(attempt.id, cause("lost"), hour(1)).await.unwrap();
    world.store.call_unresolved(attempt.id, cause("lost"), hour(2)).await.unwrap();
    assert!(matches!(world.store.write_intent(job.id, "two", "", hour(1)).await, Err(Error::AttemptOpen { .. })));
    let end = world.store.end_job(job.id, JobState::Failed, None, hour(1)).await;
    assert!(matches!(end, Err(Error::Illegal { from: "unresolved", .. })), "{end:?}");
    let run = world.store.finish_run(job.run, Outcome::Partial, None, hour(2)).await.unwrap();
    assert_eq!((run.failed, run.done), (1, 0), "the run may end, and says so");

    let id = world.store.snapshot_taken(attempt.id, snapshot(Uuid::from_u128(9), 1, "nightly", hour(0)), hour(3)).await.unwrap();
    world.store.snapshot_marked(id, hour(3)).await.unwrap();
    world.store.snapshots_durable(vec![id], hour(3)).await.unwrap();
    world.store.end_job(job.id, JobState::Done, None, hour(4)).await.unwrap();
    let run = world.store.run(job.run).await.unwrap();
    assert_eq!((run.failed, run.done), (0, 1), "and its counts follow what was found out later");
}

#[tokio::test]
async fn a_call_that_turns_out_absent_after_its_run_ended_fails_its_job() {
    let world = World::new().await;
    let job = world.job("nightly", hour(0), 1).await;
    let attempt = world.intent(&job).await;
    world.store.call_unresolved(attempt.id, cause("lost"), hour(1)).await.unwrap();
    world.store.finish_run(job.run, Outcome::Failed, None, hour(2)).await.unwrap();
    world.store.call_ended(attempt.id, Ended::Absent, cause("absent"), hour(3), hour(3)).await.unwrap();
    assert_eq!(world.store.job(job.id).await.unwrap().state, JobState::Failed);
    assert_eq!(world.store.unfinished_jobs().await.unwrap(), []);
}

#[tokio::test]
async fn a_pending_task_that_was_found_again_takes_up_an_unresolved_call() {
    let world = World::new().await;
    let job = world.job("nightly", hour(0), 1).await;
    let attempt = world.intent(&job).await;
    world.store.call_unresolved(attempt.id, cause("lost"), hour(1)).await.unwrap();
    world.store.call_answered(attempt.id, "OpaqueRef:found", MASTER_START, hour(2)).await.unwrap();
    world.store.call_answered(attempt.id, "OpaqueRef:found", MASTER_START, hour(3)).await.unwrap();
    let attempt = &world.store.attempts(job.id).await.unwrap()[0];
    assert_eq!((attempt.state, attempt.called_at), (AttemptState::Calling, Some(hour(2))));
    assert_eq!(world.store.job(job.id).await.unwrap().state, JobState::Calling);
}

#[tokio::test]
async fn states_move_along_their_lines_only_and_an_illegal_step_changes_nothing() {
    let world = World::new().await;
    let job = world.job("nightly", hour(0), 1).await;
    for state in [JobState::Done, JobState::Queued, JobState::Marked] {
        let error = world.store.end_job(job.id, state, None, hour(1)).await.unwrap_err();
        assert!(matches!(error, Error::Illegal { what: "job", from: "queued", .. }), "{error:?}");
    }
    assert!(matches!(world.store.job_pruned(job.id, hour(1)).await, Err(Error::Illegal { .. })));
    assert_eq!(world.store.job(job.id).await.unwrap(), job);

    world.store.end_job(job.id, JobState::Cancelled, Some(cause("asked")), hour(1)).await.unwrap();
    let ended = world.store.job(job.id).await.unwrap();
    world.store.end_job(job.id, JobState::Cancelled, None, hour(2)).await.unwrap();
    assert_eq!(world.store.job(job.id).await.unwrap(), ended, "the same end again is no step");
    assert!(matches!(world.store.end_job(job.id, JobState::Failed, None, hour(2)).await, Err(Error::Illegal { .. })));
    assert!(matches!(world.store.write_intent(job.id, "late", "", hour(2)).await, Err(Error::Illegal { .. })));
}

#[test]
fn a_final_state_has_no_way_out_but_the_one_for_what_the_pool_forgot() {
    for &state in JobState::ALL.iter().filter(|state| state.is_final()) {
        let ways: Vec<_> = JobState::ALL.iter().filter(|next| state.may_become(**next)).collect();
        let expected: &[&JobState] = if state == JobState::Done { &[&JobState::Queued] } else { &[] };
        assert_eq!(ways, expected, "{state}");
    }
    for &state in JobState::ALL.iter().filter(|state| !state.is_final()) {
        assert!(JobState::ALL.iter().any(|next| state.may_become(*next)), "{state} is a dead end");
    }
}

#[tokio::test]
async fn a_run_does_not_end_before_its_jobs() {
    let world = World::new().await;
    let job = world.job("nightly", hour(0), 1).await;
    let error = world.store.finish_run(job.run, Outcome::Succeeded, None, hour(1)).await.unwrap_err();
    assert!(matches!(error, Error::JobsOpen { open: 1, .. }), "{error:?}");
    world.store.end_job(job.id, JobState::Failed, Some(cause("NO_SPACE")), hour(1)).await.unwrap();
    let run = world.store.finish_run(job.run, Outcome::Failed, Some(cause("NO_SPACE")), hour(1)).await.unwrap();
    assert_eq!(world.store.finish_run(job.run, Outcome::Succeeded, None, hour(9)).await.unwrap(), run, "it stays as it ended");
    let late = world.store.add_jobs(job.run, vec![new_job(2)], hour(2)).await;
    assert!(matches!(late, Err(Error::Illegal { what: "run", .. })), "{late:?}");
    assert!(matches!(world.store.advance_run(job.run, RunState::Removing).await, Err(Error::Illegal { .. })));
}

fn new_job(vm: u128) -> NewJob {
    job(vm, hour(0))
}

#[tokio::test]
async fn a_run_goes_forward_or_back_to_snapshots() {
    let world = World::new().await;
    let run = world.run("nightly", hour(0)).await;
    for state in [RunState::Removing, RunState::Removing, RunState::Snapshotting, RunState::Synchronising] {
        world.store.advance_run(run.id, state).await.unwrap();
    }
    world.store.advance_run(run.id, RunState::Settling).await.unwrap();
    assert!(matches!(world.store.advance_run(run.id, RunState::Removing).await, Err(Error::Illegal { .. })));
    assert!(matches!(world.store.advance_run(run.id, RunState::Done).await, Err(Error::Illegal { .. })));
}

#[tokio::test]
async fn a_vm_has_one_job_in_a_run_and_keeps_the_name_it_had() {
    let world = World::new().await;
    let run = world.run("nightly", hour(0)).await;
    let skipped = NewJob { skip: Some(cause("chain-too-deep")), ..new_job(2) };
    let jobs = world.store.add_jobs(run.id, vec![new_job(1), skipped], hour(0)).await.unwrap();
    let renamed = NewJob { vm_name: "renamed".into(), ..new_job(1) };
    assert_eq!(world.store.add_jobs(run.id, vec![renamed, new_job(2)], hour(1)).await.unwrap(), jobs);
    assert_eq!((jobs[1].state, jobs[1].finished_at), (JobState::Skipped, Some(hour(0))));
    assert_eq!(world.store.find_vms("renamed").await.unwrap()[0].uuid, Uuid::from_u128(1));
}

#[tokio::test]
async fn a_postponed_job_waits_with_its_reason() {
    let world = World::new().await;
    let job = world.job("nightly", hour(0), 1).await;
    world.store.postpone_job(job.id, hour(3), cause("coalescing"), hour(1)).await.unwrap();
    let waiting = world.store.job(job.id).await.unwrap();
    assert_eq!((waiting.state, waiting.next_try, waiting.cause), (JobState::Queued, hour(3), Some(cause("coalescing"))));
    world.intent(&job).await;
    assert!(matches!(world.store.postpone_job(job.id, hour(4), cause("x"), hour(1)).await, Err(Error::Illegal { .. })));
}

#[tokio::test]
async fn what_was_begun_and_not_ended_is_listed_for_recovery() {
    let world = World::new().await;
    let queued = world.job("nightly", hour(0), 1).await;
    let calling = world.job("hourly", hour(0), 2).await;
    let attempt = world.intent(&calling).await;
    world.store.call_answered(attempt.id, "OpaqueRef:t", MASTER_START, hour(0)).await.unwrap();
    let ended = world.job("hourly", hour(1), 3).await;
    world.store.end_job(ended.id, JobState::Skipped, None, hour(1)).await.unwrap();
    world.store.finish_run(ended.run, Outcome::Empty, None, hour(1)).await.unwrap();

    let jobs: Vec<_> = world.store.unfinished_jobs().await.unwrap().into_iter().map(|job| job.id).collect();
    assert_eq!(jobs, [queued.id, calling.id]);
    let open = world.store.open_attempts().await.unwrap();
    assert_eq!((open.len(), open[0].id, open[0].state), (1, attempt.id, AttemptState::Calling));
    let runs: Vec<_> = world.store.unfinished_runs().await.unwrap().into_iter().map(|run| run.id).collect();
    assert_eq!(runs, [queued.run, calling.run]);
    assert_eq!(world.store.newest_time().await.unwrap(), Some(hour(1)));
}

#[tokio::test]
async fn writes_that_are_refused_take_nobody_with_them_and_leave_nothing_behind() {
    let world = World::new().await;
    let run = world.run("nightly", hour(0)).await;
    let jobs = world.store.add_jobs(run.id, (0..80).map(new_job).collect(), hour(0)).await.unwrap();
    let writes = jobs.iter().map(|job| {
        let (store, id, n) = (world.store.clone(), job.id, job.vm_uuid.as_u128());
        tokio::spawn(async move {
            match n % 4 {
                // Refused for all but the first.
                0 => store.write_intent(id, "the same for all", MASTER_START, hour(1)).await.map(drop),
                // Refused at its second half, when the first is already written.
                1 => {
                    let halves =
                        [slot("hourly", hour(n as i64), SlotState::Claimed), slot("unheard", hour(1), SlotState::Claimed)];
                    store.claim_all(halves.into(), hour(1)).await.map(drop)
                }
                2 => store.job_pruned(id, hour(1)).await,
                _ => store.write_intent(id, &format!("nonce {n}"), MASTER_START, hour(1)).await.map(drop),
            }
        })
    });
    let mut done = Vec::new();
    for (write, job) in writes.collect::<Vec<_>>().into_iter().zip(&jobs) {
        if write.await.unwrap().is_ok() {
            done.push(job.id);
        }
    }
    assert_eq!(done.len(), 21, "every fourth, and one that had the shared nonce first");
    for job in &jobs {
        let state = world.store.job(job.id).await.unwrap().state;
        assert_eq!(state == JobState::Intent, done.contains(&job.id), "{state}");
        assert_eq!(world.store.attempts(job.id).await.unwrap().len(), usize::from(done.contains(&job.id)));
    }
    let hourly = SlotFilter { policy: Some("hourly".into()), ..SlotFilter::default() };
    assert_eq!(world.store.slots(hourly, Page::default()).await.unwrap().rows, []);
}
