//! Whose newest good snapshot is too old. It is looked at by time, whether or not anything ran: while a pool is away, by what it last
//! showed and what the history has. A VM without any snapshot is measured by the time since which its policy covers it.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::super::{Handle, Plan};
use super::look::of_promise;
use crate::domain::alarm::{Condition, Promise};
use crate::domain::policy::Policy;
use crate::engine::error::Result;
use crate::engine::selecting;
use crate::engine::site::SharedSite;
use crate::store::Covering;
use crate::xenapi::inventory::Follows;

/// The promises that are broken now, of every configured pool that the history knows.
pub(super) async fn broken(handle: &Handle) -> Result<Vec<Condition>> {
    let (plan, now) = (handle.plan(), handle.clock.now());
    let sites = handle.sites.borrow().clone();
    let known: HashMap<String, Uuid> = handle.store.pools().await?.into_iter().map(|pool| (pool.name, pool.uuid)).collect();
    let mut broken = Vec::new();
    for pool in plan.pools.iter().map(|pool| pool.settings.name.as_str()) {
        // Whether promises are kept there is the other daemon's to say: our history does not know.
        if handle.desk.reaches.is_standing_by(pool) {
            continue;
        }
        let site = sites.iter().find(|site| site.name() == pool);
        if let Some(site) = site.filter(|site| shows_the_present(site)) {
            see(handle, &plan, site, now).await?;
        }
        let Some(uuid) = site.map(|site| site.uuid.0).or_else(|| known.get(pool).copied()) else { continue };
        broken.extend(of_pool(handle, &plan, (pool, uuid), now).await?);
    }
    Ok(broken)
}

/// What a policy that fires promises something about.
fn promising<'a>(plan: &'a Plan, pool: &str) -> Vec<&'a Policy> {
    plan.enabled_on(pool).map(|policy| &**policy).filter(|policy| !policy.observe).collect()
}

fn shows_the_present(site: &SharedSite) -> bool {
    matches!(site.inventory.status().borrow().follows, Follows::Live | Follows::ByReading)
}

/// Writes down which policy covers which VM now, as far as that changed.
async fn see(handle: &Handle, plan: &Plan, site: &SharedSite, now: DateTime<Utc>) -> Result<()> {
    let policies = promising(plan, site.name());
    let mut gone: BTreeMap<(String, Uuid), String> = BTreeMap::new();
    for covering in handle.store.coverings(site.uuid.0).await? {
        gone.insert((covering.policy, covering.vm), covering.vm_name);
    }
    let mut more = Vec::new();
    selecting::each(site, &policies, |policy, vm| {
        let known = gone.remove(&(policy.id.to_string(), vm.uuid.0));
        if known.as_deref() != Some(vm.name) {
            let (policy, vm_name) = (policy.id.to_string(), vm.name.to_owned());
            more.push(Covering { policy, vm: vm.uuid.0, vm_name, since: now });
        }
    });
    if !more.is_empty() || !gone.is_empty() {
        handle.store.change_coverings(site.uuid.0, more, gone.into_keys().collect(), now).await?;
    }
    Ok(())
}

async fn of_pool(handle: &Handle, plan: &Plan, (pool, uuid): (&str, Uuid), now: DateTime<Utc>) -> Result<Vec<Condition>> {
    let policies: HashMap<&str, (&Policy, Promise)> =
        promising(plan, pool).into_iter().map(|policy| (policy.id.as_str(), (policy, Promise::of(policy, now)))).collect();
    let newest: HashMap<(Uuid, String), DateTime<Utc>> =
        handle.store.figures(uuid).await?.newest.into_iter().map(|(vm, policy, at)| ((vm, policy), at)).collect();
    let mut seen = HashSet::new();
    let mut broken = Vec::new();
    for covering in handle.store.coverings(uuid).await? {
        let Some((policy, promise)) = policies.get(covering.policy.as_str()) else { continue };
        let newest = newest.get(&(covering.vm, covering.policy.clone())).copied();
        let from = promise.broken_from(policy, newest, covering.since);
        if let Some(since) = from.filter(|from| *from < now && seen.insert((covering.vm, covering.policy.clone()))) {
            let about = (pool, covering.policy.as_str(), policy.name.as_str());
            broken.push(of_promise(about, (covering.vm, &covering.vm_name), (promise.said, promise.within), newest, since));
        }
    }
    Ok(broken)
}
