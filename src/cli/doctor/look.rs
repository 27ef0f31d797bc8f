//! Asks one pool: a login, one stream that brings everything, the server's time, the user's rights, the certificates. No call is made for
//! a single VM.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::told::{PoolFacts, PoolReport, Shown};
use crate::clock::SharedClock;
use crate::config::Config;
use crate::domain::finding::{self, Code, Finding, Weight};
use crate::domain::id::PoolUuid;
use crate::domain::policy::Policy;
use crate::domain::selection::Judgement;
use crate::engine::checkup::{self, Checked, certificates};
use crate::engine::view;
use crate::store::{Options, Store};
use crate::xenapi::inventory::Tables;
use crate::xenapi::records::{Certificate, Host, PowerState, Sr, Vm};
use crate::xenapi::types::Ref;
use crate::xenapi::wire::Wire;
use crate::xenapi::{Incarnation, Inventory, Pool, Settings, calls};

/// Clocks that differ by more than this make retention by age a matter of luck.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::seconds(5);

/// How long reading a whole pool may take.
const READING: Duration = Duration::from_secs(300);

/// What a snapshot service calls.
const NEEDED: [&str; 8] = [
    "VM.snapshot",
    "VM.checkpoint",
    "VM.destroy",
    "VDI.destroy",
    "VM.add_to_other_config",
    "pool.sync_database",
    "pool.add_to_other_config",
    "event.from",
];

/// Who asks.
pub(super) struct Asked<'a> {
    pub(super) clock: SharedClock,
    pub(super) config: Option<&'a Config>,
    /// Taken for the present time.
    pub(super) now: Option<DateTime<Utc>>,
}

impl Asked<'_> {
    /// The time it is.
    pub(super) fn now(&self) -> DateTime<Utc> {
        self.now.unwrap_or_else(|| self.clock.now())
    }
}

/// Everything about one pool.
pub(super) async fn at(asked: &Asked<'_>, settings: Settings) -> PoolReport {
    let name = settings.name.clone();
    let encrypted = settings.addresses.iter().all(|address| address.to_string().starts_with("https"));
    let pool = match Pool::connect(settings, asked.clock.clone()).await {
        Ok(pool) => pool,
        Err(error) => return PoolReport::away(name, one_line(&error.problem)),
    };
    let report = look(asked, &pool, encrypted).await;
    pool.logout().await;
    report.unwrap_or_else(|error| PoolReport::away(name, format!("{error:#}")))
}

async fn look(asked: &Asked<'_>, pool: &Pool, encrypted: bool) -> anyhow::Result<PoolReport> {
    let inventory = pool.inventory(&checkup::CLASSES);
    anyhow::ensure!(
        inventory.ready(READING).await,
        "the pool was not read within {} s; look at the master's load",
        READING.as_secs()
    );
    let incarnation = pool.incarnation().ok_or_else(|| anyhow::anyhow!("the session is gone; try again"))?;
    let ahead = ahead(pool, &incarnation).await?;
    let mut findings: Vec<Finding> = clock(ahead).into_iter().chain(rights(pool).await?).collect();
    findings.extend((!encrypted).then(not_encrypted));
    let known = certificates_of(pool).await?;
    let policies = policies(asked, pool.name());
    let (facts, checked) = judged(asked, pool, &inventory, (&incarnation, ahead), policies.as_deref())?;
    findings.extend(certificates::judge(&pool.certificates(), known.iter(), &inventory.read(), asked.now()));
    findings.extend(orphans(asked, &facts.uuid).await);
    findings.extend(checked.findings);
    finding::sort(&mut findings);
    Ok(PoolReport { name: pool.name().to_owned(), pool: Some(facts), findings, filling: checked.filling })
}

/// The policies that fire on a pool; nothing where none are known.
fn policies<'a>(asked: &Asked<'a>, pool: &str) -> Option<Vec<&'a Policy>> {
    let config = asked.config?;
    let firing = config.policies.iter().filter(|checked| checked.policy.enabled && checked.covers(pool));
    Some(firing.map(|checked| &checked.policy).collect())
}

fn judged(
    asked: &Asked<'_>,
    pool: &Pool,
    inventory: &Inventory,
    (incarnation, ahead): (&Incarnation, TimeDelta),
    policies: Option<&[&Policy]>,
) -> anyhow::Result<(PoolFacts, Checked)> {
    let uuid: PoolUuid = incarnation.pool_uuid.parse()?;
    let tables = inventory.read();
    let patient = checkup::Pool {
        tables: &tables,
        pool: (uuid, pool.name()),
        installation: asked.config.map(|config| &config.installation),
        policies,
        now: asked.now(),
    };
    let checked = checkup::examine(&patient);
    let vms = view::vms(&tables, patient.pool);
    let covers = |policy: &&Policy, vm| matches!(policy.selection.judge(vm), Judgement::In(_));
    let covered = policies.map(|all| vms.iter().filter(|(_, vm)| all.iter().any(|policy| covers(policy, vm))).count());
    Ok((PoolFacts { covered, ..facts(pool, &tables, incarnation, ahead) }, checked))
}

fn facts(pool: &Pool, tables: &Tables, incarnation: &Incarnation, ahead: TimeDelta) -> PoolFacts {
    let master = tables.get(&Ref::<Host>::new(&incarnation.master));
    let software = |key| master.and_then(|host| host.software_version.get(key)).unwrap_or("?");
    let plain = || tables.all::<Vm>().filter(|(_, vm)| vm.is_plain());
    PoolFacts {
        uuid: incarnation.pool_uuid.clone(),
        master: master.map_or_else(|| "?".to_owned(), |host| host.name_label.to_string()),
        address: incarnation.address.to_string(),
        release: format!("{} {} (xapi {})", software("product_brand"), software("product_version"), software("xapi")),
        wire: if pool.wire() == Some(Wire::Xml) { "XML-RPC" } else { "JSON-RPC" },
        clock_ahead_seconds: ahead.num_seconds(),
        hosts: tables.all::<Host>().len(),
        vms: plain().count(),
        running: plain().filter(|(_, vm)| vm.power_state == PowerState::Running).count(),
        snapshots: tables.all::<Vm>().filter(|(_, vm)| vm.is_a_snapshot).count(),
        srs: tables.all::<Sr>().len(),
        covered: None,
        certificates: pool.certificates().into_iter().map(shown).collect(),
    }
}

fn shown(certificate: crate::xenapi::trust::ServerCertificate) -> Shown {
    Shown {
        server: certificate.server,
        fingerprint: certificate.fingerprint.to_string(),
        pinned: certificate.pinned,
        not_after: certificate.not_after,
    }
}

/// How far the server's clock is ahead of ours.
async fn ahead(pool: &Pool, incarnation: &Incarnation) -> anyhow::Result<TimeDelta> {
    let before = pool.clock().now();
    let theirs = pool.call(calls::host::get_servertime(&Ref::new(&incarnation.master))).await?.get();
    Ok(theirs - (before + (pool.clock().now() - before) / 2))
}

fn clock(ahead: TimeDelta) -> Option<Finding> {
    let (seconds, side) = (ahead.num_seconds().abs(), if ahead > TimeDelta::zero() { "ahead of" } else { "behind" });
    let what = format!("the server's clock is {seconds} s {side} ours");
    (ahead.abs() > CLOCK_TOLERANCE).then(|| Finding::new(Code::Clock, Weight::Problem, what, "make both follow NTP"))
}

async fn rights(pool: &Pool) -> anyhow::Result<Option<Finding>> {
    let missing = pool.missing_rights(&NEEDED).await?;
    if missing.is_empty() {
        return Ok(None);
    }
    let methods: Vec<&str> = missing.iter().map(|right| right.method.as_str()).collect();
    // Roles contain one another, so the mightiest that is needed allows all.
    let role = missing.iter().filter_map(|right| right.role).max();
    let role = role.map_or_else(|| "a higher role".to_owned(), |role| format!("the role {role}"));
    let what = format!("the user may not call {}", methods.join(", "));
    Ok(Some(Finding::new(Code::Rights, Weight::Problem, what, format!("give it {role} (xe subject-role-add)"))))
}

fn not_encrypted() -> Finding {
    let what = "the connection is not encrypted, so that whoever is in between reads the password";
    Finding::new(Code::NotEncrypted, Weight::Note, what, "write https:// in the pool's addresses")
}

/// Those that the pool knows; none of servers that do not.
async fn certificates_of(pool: &Pool) -> anyhow::Result<Vec<Certificate>> {
    match pool.call(calls::host::certificates()).await {
        Ok(known) => Ok(known.into_values().collect()),
        Err(error) if error.is("MESSAGE_METHOD_UNKNOWN") || error.is("RBAC_PERMISSION_DENIED") => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// Snapshots that the history says could not be removed. A history that cannot be read says nothing.
async fn orphans(asked: &Asked<'_>, pool: &str) -> Option<Finding> {
    let path = &asked.config?.store.path;
    if !path.try_exists().unwrap_or(false) {
        return None;
    }
    let store = Store::open_read_only(path, &Options::default()).await.ok()?;
    let orphans = store.orphans(pool.parse().ok()?).await.ok()?;
    let what = match &orphans[..] {
        [] => return None,
        [one] => format!("the snapshot {} of ours could not be removed", one.snapshot),
        [one, ..] => format!("{} snapshots of ours could not be removed, among them {}", orphans.len(), one.snapshot),
    };
    let todo = "`xensnap status` and `xensnap show SNAPSHOT` say what is in the way";
    Some(Finding::new(Code::Orphans, Weight::Warning, what, todo))
}

/// An error with its causes on one line.
fn one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // Transparent errors repeat their source's words.
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
