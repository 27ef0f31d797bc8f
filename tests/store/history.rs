//! History by VM, policy, pool, time and outcome, page by page.

use xensnap::store::{After, Cause, JobFilter, JobState, Listed, Outcome, Page, RunFilter, SlotFilter, SlotState};

use crate::support::*;

/// Ten nights of two VMs; every third night fails for VM 1.
async fn ten_nights() -> World {
    let world = World::new().await;
    for n in 0..10 {
        let run = world.run("nightly", hour(n)).await;
        let jobs = world.store.add_jobs(run.id, vec![job(1, hour(n)), job(2, hour(n))], hour(n)).await.unwrap();
        let failed = n % 3 == 0;
        let end = if failed { JobState::Failed } else { JobState::Cancelled };
        world.store.end_job(jobs[0].id, end, Some(Cause::new("X", "")), hour(n)).await.unwrap();
        world.store.end_job(jobs[1].id, JobState::Skipped, None, hour(n)).await.unwrap();
        let outcome = if failed { Outcome::Failed } else { Outcome::Cancelled };
        world.store.finish_run(run.id, outcome, None, hour(n)).await.unwrap();
    }
    world
}

#[tokio::test]
async fn pages_follow_one_another_without_gap_or_repetition_while_rows_are_added() {
    let world = ten_nights().await;
    let vm = world.store.find_vms("vm 1").await.unwrap()[0].id;
    let filter = JobFilter { vm: Some(vm), ..Default::default() };
    let mut page = Page::first(3);
    let mut seen = Vec::new();
    loop {
        let Listed { rows, next } = world.store.jobs(filter.clone(), page).await.unwrap();
        seen.extend(rows.iter().map(|job| job.due_at));
        let Some(next) = next else { break };
        world.job("hourly", hour(100 + seen.len() as i64), 1).await;
        let text = next.to_string();
        page = page.after(text.parse::<After>().unwrap());
    }
    assert_eq!(seen, (0..10).rev().map(hour).collect::<Vec<_>>());
    assert!("12".parse::<After>().is_err() && "a.b".parse::<After>().is_err());
}

#[tokio::test]
async fn jobs_are_found_by_vm_policy_run_state_and_time() {
    let world = ten_nights().await;
    let found = async |filter: JobFilter| world.store.jobs(filter, Page::default()).await.unwrap().rows;
    let vm = world.store.find_vms("vm 1").await.unwrap()[0].id;
    let all = JobFilter::default;
    assert_eq!(found(all()).await.len(), 20);
    assert_eq!(found(JobFilter { vm: Some(vm), ..all() }).await.len(), 10);
    assert_eq!(found(JobFilter { policy: Some("nightly".into()), ..all() }).await.len(), 20);
    assert_eq!(found(JobFilter { policy: Some("hourly".into()), ..all() }).await.len(), 0);
    assert_eq!(found(JobFilter { policy: Some("unheard".into()), ..all() }).await.len(), 0);
    assert_eq!(found(JobFilter { state: Some(JobState::Failed), ..all() }).await.len(), 4);
    assert_eq!(found(JobFilter { state: Some(JobState::Done), ..all() }).await.len(), 0);
    assert_eq!(found(JobFilter { from: Some(hour(3)), until: Some(hour(5)), ..all() }).await.len(), 4);
    let narrow = JobFilter { vm: Some(vm), state: Some(JobState::Failed), from: Some(hour(1)), until: Some(hour(9)), ..all() };
    let due: Vec<_> = found(narrow).await.iter().map(|job| job.due_at).collect();
    assert_eq!(due, [hour(6), hour(3)]);
    let run = found(all()).await[0].run;
    let of_run = found(JobFilter { run: Some(run), ..all() }).await;
    assert_eq!(of_run.iter().map(|job| job.vm_name.as_str()).collect::<Vec<_>>(), ["vm 2", "vm 1"]);
}

#[tokio::test]
async fn runs_are_found_by_policy_pool_outcome_and_time() {
    let world = ten_nights().await;
    let found = async |filter: RunFilter| world.store.runs(filter, Page::default()).await.unwrap().rows.len();
    let all = RunFilter::default;
    assert_eq!(found(all()).await, 10);
    assert_eq!(found(RunFilter { policy: Some("nightly".into()), ..all() }).await, 10);
    assert_eq!(found(RunFilter { pool: Some(POOL), ..all() }).await, 10);
    assert_eq!(found(RunFilter { pool: Some(uuid::Uuid::nil()), ..all() }).await, 0);
    assert_eq!(found(RunFilter { outcome: Some(Outcome::Failed), ..all() }).await, 4);
    assert_eq!(found(RunFilter { outcome: Some(Outcome::Succeeded), ..all() }).await, 0);
    let policy = Some("nightly".to_owned());
    assert_eq!(
        found(RunFilter { policy, outcome: Some(Outcome::Failed), from: Some(hour(1)), until: Some(hour(9)), ..all() }).await,
        2
    );
    let run = world.store.runs(all(), Page::first(1)).await.unwrap().rows.remove(0);
    assert_eq!(world.store.run_by_uuid(run.uuid).await.unwrap(), Some(run.clone()));
    assert_eq!((run.jobs, run.failed, run.skipped), (2, 1, 1));
}

#[tokio::test]
async fn slots_are_found_by_policy_pool_state_and_time() {
    let world = ten_nights().await;
    let missed = (10..15).map(|n| slot("nightly", hour(n), SlotState::Missed)).collect();
    world.store.claim_all(missed, hour(15)).await.unwrap();
    let found = async |filter: SlotFilter| world.store.slots(filter, Page::default()).await.unwrap().rows.len();
    let all = SlotFilter::default;
    assert_eq!(found(all()).await, 15);
    assert_eq!(found(SlotFilter { policy: Some("nightly".into()), state: Some(SlotState::Missed), ..all() }).await, 5);
    assert_eq!(found(SlotFilter { state: Some(SlotState::Claimed), ..all() }).await, 10);
    assert_eq!(found(SlotFilter { pool: Some(POOL), from: Some(hour(9)), until: Some(hour(11)), ..all() }).await, 2);
    assert_eq!(found(SlotFilter { policy: Some("hourly".into()), ..all() }).await, 0);
    let slots = world.store.slots(all(), Page::default()).await.unwrap().rows;
    assert!(slots.iter().all(xensnap::store::Slot::is_final));
}
