//! `xensnap doctor`: can this program work with a pool, and if not, what has to be done? Nothing is changed on the server.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use clap::Args as ClapArgs;

use super::out::say;
use super::target::Target;
use crate::clock::{SharedClock, SystemClock};
use crate::xenapi::records::{EventClass, Host, Pbd, PowerState, Sr, Vm};
use crate::xenapi::types::Ref;
use crate::xenapi::wire::Wire;
use crate::xenapi::{Inventory, Pool, Settings, calls};

/// Clocks that differ by more than this make retention by age a matter of luck.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::seconds(5);

/// How long reading a whole pool may take.
const READING: Duration = Duration::from_secs(300);

/// What a snapshot service calls.
const NEEDED: [&str; 7] =
    ["VM.snapshot", "VM.checkpoint", "VM.destroy", "VDI.destroy", "VM.add_to_other_config", "pool.sync_database", "event.from"];

/// What is read to judge a pool.
const CLASSES: [EventClass; 4] = [EventClass::Host, EventClass::Vm, EventClass::Sr, EventClass::Pbd];

/// Checks whether a pool can be worked with, and says what has to be done if not. Changes nothing.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(flatten)]
    target: Target,
    /// Wait this many seconds for a pool that is away
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait: u64,
}

/// Checks every pool that is meant; the exit code is 1 if one of them needs something.
///
/// # Errors
/// When the settings cannot be read.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut healthy = true;
    for settings in args.target.settings()? {
        let settings = Settings { patience: Duration::from_secs(args.wait), originator: "xensnap|doctor".to_owned(), ..settings };
        healthy &= examine(settings).await;
    }
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn examine(settings: Settings) -> bool {
    say!("pool {}", settings.name);
    let clock: SharedClock = Arc::new(SystemClock::new());
    let pool = match Pool::connect(settings, clock).await {
        Ok(pool) => pool,
        Err(error) => {
            line("PROBLEM", &one_line(&error.problem));
            return false;
        }
    };
    let findings = look(&pool).await;
    pool.logout().await;
    findings.unwrap_or_else(|error| {
        line("PROBLEM", &format!("{error:#}"));
        false
    })
}

async fn look(pool: &Pool) -> anyhow::Result<bool> {
    let inventory = pool.inventory(&CLASSES);
    anyhow::ensure!(
        inventory.ready(READING).await,
        "the pool was not read within {} s; look at the master's load",
        READING.as_secs()
    );
    server(pool, &inventory);
    let clock = clocks(pool).await?;
    let rights = rights(pool).await?;
    contents(&inventory);
    let storage = storage(&inventory);
    Ok(clock && rights && storage)
}

fn server(pool: &Pool, inventory: &Inventory) {
    let Some(incarnation) = pool.incarnation() else { return };
    let view = inventory.read();
    let wire = if pool.wire() == Some(Wire::Xml) { "XML-RPC" } else { "JSON-RPC" };
    if let Some(host) = view.get(&Ref::<Host>::new(&incarnation.master)) {
        let software = |key| host.software_version.get(key).unwrap_or("?");
        let version =
            format!("{} {} (xapi {}), {wire}", software("product_brand"), software("product_version"), software("xapi"));
        line("server", &version);
        line("master", &format!("{} at {}", host.name_label, incarnation.address));
    }
    line("uuid", &format!("{} (to pin it: pool_uuid = \"{0}\")", incarnation.pool_uuid));
    line("hosts", &view.all::<Host>().len().to_string());
}

/// How far the server's clock is from ours.
async fn clocks(pool: &Pool) -> anyhow::Result<bool> {
    let Some(incarnation) = pool.incarnation() else { return Ok(false) };
    let before = pool.clock().now();
    let theirs = pool.call(calls::host::get_servertime(&Ref::new(&incarnation.master))).await?.get();
    let ours = before + (pool.clock().now() - before) / 2;
    let ahead = theirs - ours;
    let fine = ahead.abs() <= CLOCK_TOLERANCE;
    let seconds = ahead.num_seconds().abs();
    let text = match (fine, ahead > TimeDelta::zero()) {
        (true, _) => "the server's clock agrees with ours".to_owned(),
        (false, true) => format!("the server's clock is {seconds} s ahead of ours; make both follow NTP"),
        (false, false) => format!("the server's clock is {seconds} s behind ours; make both follow NTP"),
    };
    line(if fine { "clock" } else { "PROBLEM" }, &text);
    Ok(fine)
}

async fn rights(pool: &Pool) -> anyhow::Result<bool> {
    let missing = pool.missing_rights(&NEEDED).await?;
    if missing.is_empty() {
        line("rights", "everything that snapshots need");
        return Ok(true);
    }
    let methods: Vec<&str> = missing.iter().map(|right| right.method.as_str()).collect();
    // Roles contain one another, so the mightiest that is needed allows all.
    let role = missing.iter().filter_map(|right| right.role).max();
    let role = role.map_or_else(|| "a higher role".to_owned(), |role| format!("the role {role}"));
    line("PROBLEM", &format!("the user may not call {}; give it {role} (`xe subject-role-add`)", methods.join(", ")));
    Ok(false)
}

fn contents(inventory: &Inventory) {
    let view = inventory.read();
    let vms: Vec<_> = view.all::<Vm>().map(|(_, vm)| vm).collect();
    let plain = vms.iter().filter(|vm| vm.is_plain()).count();
    let running = vms.iter().filter(|vm| vm.is_plain() && vm.power_state == PowerState::Running).count();
    let snapshots = vms.iter().filter(|vm| vm.is_a_snapshot).count();
    line("contents", &format!("{plain} VMs ({running} running), {snapshots} snapshots, {} SRs", view.all::<Sr>().len()));
}

/// A storage repository that a host cannot reach keeps VMs with a disk, or only a disc, in it from being snapshotted.
fn storage(inventory: &Inventory) -> bool {
    let view = inventory.read();
    let mut fine = true;
    for (_, pbd) in view.all::<Pbd>().filter(|(_, pbd)| !pbd.currently_attached) {
        let sr = view.get(&pbd.sr).map_or_else(|| pbd.sr.to_string(), |sr| sr.name_label.to_string());
        let host = view.get(&pbd.host).map_or_else(|| pbd.host.to_string(), |host| host.name_label.to_string());
        line(
            "PROBLEM",
            &format!(
                "{sr} is not attached to {host}; VMs with a disk or a disc on it cannot be snapshotted there (`xe pbd-plug`)"
            ),
        );
        fine = false;
    }
    fine
}

fn line(what: &str, text: &str) {
    say!("  {what:<9} {text}");
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
