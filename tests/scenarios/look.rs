//! What the history says, as whole lists, oldest first.
#![allow(dead_code, reason = "each scenario uses a part of it")]

use xensnap::store::{
    Event, EventFilter, Job, JobFilter, Listed, Page, Run, RunFilter, Slot, SlotFilter, SlotState, Snapshot, SnapshotFilter,
    Store,
};

/// Follows a list to its end.
async fn all<T, F: Future<Output = xensnap::store::Result<Listed<T>>>>(read: impl Fn(Page) -> F) -> Vec<T> {
    let mut rows = xensnap::store::all(read).await.unwrap();
    rows.reverse();
    rows
}

/// Every slot of a policy.
pub async fn slots(store: &Store, policy: &str) -> Vec<Slot> {
    let filter = SlotFilter { policy: Some(policy.to_owned()), ..SlotFilter::default() };
    all(|page| store.slots(filter.clone(), page)).await
}

/// Due time and state of every slot of a policy.
pub async fn verdicts(store: &Store, policy: &str) -> Vec<(String, SlotState)> {
    slots(store, policy).await.into_iter().map(|slot| (slot.due_at.format("%m-%d %H:%M").to_string(), slot.state)).collect()
}

/// Every run of a policy.
pub async fn runs(store: &Store, policy: &str) -> Vec<Run> {
    let filter = RunFilter { policy: Some(policy.to_owned()), ..RunFilter::default() };
    all(|page| store.runs(filter.clone(), page)).await
}

/// Every job of a policy.
pub async fn jobs(store: &Store, policy: &str) -> Vec<Job> {
    let filter = JobFilter { policy: Some(policy.to_owned()), ..JobFilter::default() };
    all(|page| store.jobs(filter.clone(), page)).await
}

/// Every snapshot that the history knows of a policy.
pub async fn snapshots(store: &Store, policy: &str) -> Vec<Snapshot> {
    let filter = SnapshotFilter { policy: Some(policy.to_owned()), ..SnapshotFilter::default() };
    all(|page| store.snapshots(filter.clone(), page)).await
}

/// Every event of a kind.
pub async fn events(store: &Store, kind: &str) -> Vec<Event> {
    let filter = EventFilter { kind: Some(kind.to_owned()), ..EventFilter::default() };
    all(|page| store.events(filter.clone(), page)).await
}
