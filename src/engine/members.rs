//! Where the role forbids `pool.sync_database`, what is durable is so on the master only: its members have it within a day. That is
//! remembered for as long as it is so, and retention spares what a member that takes over in an emergency would need.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use serde_json::json;

use super::barrier::Passed;
use super::error::Result;
use super::holdings::Held;
use super::site::Site;
use crate::domain::retention::{self, Plan};
use crate::xenapi::records::Host;

/// So often at least the master gives its database to the members by itself (`pool_data_sync_interval`).
const GIVEN: TimeDelta = TimeDelta::days(1);

/// The note that a pool's members may lack what the master has.
fn note(site: &Site) -> String {
    format!("members-lack/{}", site.uuid)
}

/// Takes in how the barrier was passed. Idempotent.
///
/// # Errors
/// When the history cannot be kept.
pub async fn take_in(site: &Site, passed: Passed) -> Result<()> {
    let name = note(site);
    let known = site.store.kept(&name).await?.is_some();
    let lack = passed == Passed::ByTime && site.inventory.read().all::<Host>().count() > 1;
    match (known, lack) {
        (false, true) => site.store.keep(&name, &json!(true), site.now()).await?,
        (true, false) => site.store.drop_note(&name).await?,
        _ => {}
    }
    Ok(())
}

/// The plan in which what the members know is spared, where they may lack what the master has.
///
/// # Errors
/// When the history cannot be read.
pub async fn spare(site: &Site, plan: Plan, held: &[Held]) -> Result<Plan> {
    if site.store.kept(&note(site)).await?.is_none() {
        return Ok(plan);
    }
    let given = site.now() - GIVEN;
    let known = held.iter().filter(|held| held.row.marked_at.unwrap_or(held.row.taken_at) <= given);
    let known: BTreeSet<_> = known.map(|held| held.candidate.snapshot).collect();
    Ok(retention::sparing(plan, &known))
}
