//! Gathers what is now: from the plan, the pools' inventories and turns, and the history. Which VM is covered by which policy is found
//! out once in a while only.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::super::{Handle, Plan};
use crate::domain::chain::Depths;
use crate::domain::event::Severity;
use crate::domain::policy::Policy;
use crate::engine::chains;
use crate::engine::selecting;
use crate::engine::site::{SharedSite, Site};
use crate::store;
use crate::telemetry::metrics::{Calls, PolicyScene, PoolScene, Scene, SrScene, VmScene};
use crate::xenapi::inventory::Follows;
use crate::xenapi::records::Sr;

/// What is costly is gathered again after this, in time of the clock.
const FRESH: Duration = Duration::from_secs(60);

/// The VMs of a policy.
#[derive(Default)]
struct Covered {
    /// How many.
    count: usize,
    /// Those that get a series, by name: there is room for so many in all.
    shown: Vec<(Uuid, String)>,
}

/// What is costly, as of a minute ago at most.
#[derive(Default)]
struct Costly {
    /// VMs, by pool and policy.
    covered: HashMap<Uuid, HashMap<String, Covered>>,
    /// How deep the chains of disks are, by pool and SR.
    depths: HashMap<(Uuid, Uuid), Depths>,
    /// The pools that were looked at.
    pools: Vec<Uuid>,
}

/// The day of which it is, and seconds.
type Interval = (NaiveDate, Option<i64>);

pub(super) struct Gatherer {
    handle: Handle,
    costly: Mutex<Option<(Duration, Arc<Costly>)>>,
    /// The longest time between two slots, by policy and all that decides it, and of which day: what is closed comes and goes.
    intervals: std::sync::Mutex<HashMap<(String, String), Interval>>,
}

impl Gatherer {
    pub(super) fn new(handle: Handle) -> Self {
        Self { handle, costly: Mutex::default(), intervals: std::sync::Mutex::default() }
    }

    pub(super) async fn scene(&self) -> store::Result<Scene> {
        let sites = self.handle.sites.borrow().clone();
        let costly = self.costly(&sites).await;
        let cursors = self.handle.store.cursors().await?;
        let since: HashMap<(Uuid, &str), DateTime<Utc>> =
            cursors.iter().map(|cursor| ((cursor.pool, cursor.policy.as_str()), cursor.counts_from)).collect();
        let plan = self.handle.plan();
        let mut pools = Vec::new();
        for planned in &plan.pools {
            let name = &planned.settings.name;
            let standing_by = self.handle.desk.reaches.is_standing_by(name);
            let mut scene = PoolScene { name: name.clone(), standing_by, ..PoolScene::default() };
            if let Some(site) = sites.iter().find(|site| site.name() == name) {
                // How well VMs are protected is told by the daemon that works with the pool.
                let policies = plan.enabled_on(name).filter(|_| !standing_by);
                scene.policies = policies.map(|policy| self.policy(site, policy, &since)).collect();
                self.pool(site, &costly, &mut scene).await?;
            }
            pools.push(scene);
        }
        Ok(Scene {
            build: self.handle.desk.build,
            history_bytes: self.handle.store.bytes(),
            running: self.handle.runs.len() as u64,
            tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks() as u64,
            alarms: self.alarms(&plan).await?,
            alarms_waiting: self.alarms_waiting(&plan).await?,
            pools,
        })
    }

    async fn alarms(&self, plan: &Plan) -> store::Result<Vec<(&'static str, u64)>> {
        if plan.alarms.is_none() {
            return Ok(Vec::new());
        }
        let raised = self.handle.store.raised_alarms().await?;
        let count = |severity: &Severity| raised.iter().filter(|raised| raised.what.severity == *severity).count() as u64;
        Ok(Severity::ALL.iter().filter(|severity| **severity >= Severity::Notice).map(|one| (one.as_str(), count(one))).collect())
    }

    async fn alarms_waiting(&self, plan: &Plan) -> store::Result<Vec<(String, u64)>> {
        let Some(alarms) = &plan.alarms else { return Ok(Vec::new()) };
        let waiting = self.handle.store.deliveries_by_channel().await?;
        let count = |name: &str| waiting.iter().find(|(channel, _)| channel == name).map_or(0, |(_, count)| *count);
        Ok(super::super::alarms::names(alarms, plan).into_iter().map(|name| (name.clone(), count(&name))).collect())
    }

    /// Which VMs each policy covers and how deep chains are, as of a minute ago at most.
    async fn costly(&self, sites: &[SharedSite]) -> Arc<Costly> {
        let mut known = self.costly.lock().await;
        let now = self.handle.clock.elapsed();
        if let Some((at, costly)) = &*known
            && now.saturating_sub(*at) < FRESH
            && sites.iter().all(|site| costly.pools.contains(&site.uuid.0))
        {
            return Arc::clone(costly);
        }
        let plan = self.handle.plan();
        let mut costly = Costly::default();
        for site in sites {
            let pool = site.uuid.0;
            costly.pools.push(pool);
            let policies: Vec<&Policy> = plan.enabled_on(site.name()).map(|policy| &**policy).collect();
            let mut room = self.handle.vm_series;
            let all = costly.covered.entry(pool).or_default();
            all.extend(policies.iter().map(|policy| (policy.id.to_string(), Covered::default())));
            selecting::each(site, &policies, |policy, vm| {
                let Some(covered) = all.get_mut(policy.id.as_str()) else { return };
                covered.count += 1;
                // Nobody promised anything yet to VMs that a policy only looks at.
                if room > 0 && !policy.observe {
                    room -= 1;
                    covered.shown.push((vm.uuid.0, vm.name.to_owned()));
                }
            });
            tokio::task::yield_now().await;
            costly.depths.extend(depths(site).into_iter().map(|(sr, depths)| ((pool, sr), depths)));
            tokio::task::yield_now().await;
        }
        let costly = Arc::new(costly);
        *known = Some((now, Arc::clone(&costly)));
        costly
    }

    fn policy(&self, site: &Site, policy: &Policy, since: &HashMap<(Uuid, &str), DateTime<Utc>>) -> PolicyScene {
        let (id, now) = (policy.id.to_string(), site.now());
        PolicyScene {
            counts_from: since.get(&(site.uuid.0, id.as_str())).copied(),
            last_success: self.handle.metrics.last_success(site.name(), &id),
            interval_seconds: self.interval(policy, now),
            next_due: policy.schedule.next_after(now),
            observes: policy.observe,
            vms: 0,
            snapshots: Vec::new(),
            id,
        }
    }

    fn interval(&self, policy: &Policy, now: DateTime<Utc>) -> Option<i64> {
        let schedule = &policy.schedule;
        let key = (policy.id.to_string(), format!("{}; {:?}", schedule.signature(), schedule.windows));
        let mut known = self.intervals.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, longest)) = known.get(&key).filter(|(day, _)| *day == now.date_naive()) {
            return *longest;
        }
        let longest = schedule.longest_interval(now).map(|longest| longest.num_seconds());
        known.insert(key, (now.date_naive(), longest));
        longest
    }

    async fn pool(&self, site: &Site, costly: &Costly, scene: &mut PoolScene) -> store::Result<()> {
        let figures = self.handle.store.figures(site.uuid.0).await?;
        scene.connected = matches!(site.inventory.status().borrow().follows, Follows::Live | Follows::ByReading);
        scene.trusted = site.is_trusted();
        (scene.removals_open, scene.orphans) = (figures.open_removals, figures.orphans + site.orphans());
        let newest: HashMap<(Uuid, &str), DateTime<Utc>> =
            figures.newest.iter().map(|(vm, policy, at)| ((*vm, policy.as_str()), *at)).collect();
        for policy in &mut scene.policies {
            let of_policy = figures.held.iter().filter(|(id, ..)| *id == policy.id);
            policy.snapshots = of_policy.map(|(_, state, number)| (state.as_str(), *number)).collect();
            let covered = costly.covered.get(&site.uuid.0).and_then(|all| all.get(policy.id.as_str()));
            let Some(covered) = covered else { continue };
            policy.vms = covered.count as u64;
            let promised = if policy.observes { 0 } else { covered.count };
            scene.vms_left_out += promised.saturating_sub(covered.shown.len()) as u64;
            let series = covered.shown.iter().take(promised).map(|(uuid, name)| VmScene {
                uuid: *uuid,
                name: name.clone(),
                policy: policy.id.clone(),
                newest: newest.get(&(*uuid, policy.id.as_str())).copied(),
            });
            scene.vms.extend(series);
        }
        scene.srs = storage(site, costly);
        let calls = site.pool.tallies().into_iter();
        scene.calls = calls
            .map(|(method, tally)| Calls { method, calls: tally.calls, errors: tally.errors.into_iter().collect() })
            .collect();
        Ok(())
    }
}

/// How deep the chains of each SR are.
fn depths(site: &Site) -> Vec<(Uuid, Depths)> {
    let tables = site.inventory.read();
    let all = chains::of(&tables, (Some(&site.installation), site.uuid));
    chains::by_sr(&tables, &all).iter().map(|(sr, chains)| (*sr, Depths::of(chains))).collect()
}

/// Storage that disks can be on, with what we do there.
fn storage(site: &Site, costly: &Costly) -> Vec<SrScene> {
    let queues = site.admission.queues();
    let tables = site.inventory.read();
    let scenes = tables.all::<Sr>().filter(|(_, sr)| &*sr.content_type != "iso").map(|(_, sr)| {
        let uuid = sr.uuid.get();
        let queue = queues.iter().find(|queue| queue.sr.0 == uuid);
        SrScene {
            uuid,
            name: sr.name_label.to_string(),
            space: (sr.physical_size > 0).then_some((sr.physical_size, sr.physical_utilisation)),
            in_flight: queue.map_or(0, |queue| queue.in_flight),
            waiting: queue.map_or(0, |queue| queue.staged + queue.waiting),
            depths: costly.depths.get(&(site.uuid.0, uuid)).copied(),
        }
    });
    let mut scenes: Vec<SrScene> = scenes.collect();
    scenes.sort_by_key(|sr| sr.uuid);
    scenes
}
