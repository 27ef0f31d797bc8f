//! The stage of a play: a pool, policies and the files of the service, all drawn from the seed.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::draw::Dice;
use super::witness::Chronicle;
use crate::clock::{HandClock, SharedClock};
use crate::config::Config;
use crate::domain::policy::Policy;
use crate::simulator::generate::{Recipe, generate};
use crate::simulator::options::User;
use crate::simulator::simulation::{Seat, Simulation};
use crate::simulator::value::{Ref, is_null};
use crate::simulator::world::World;
use crate::simulator::{Options, revive};

/// The main file.
pub(super) const MAIN: &str = "xensnap.toml";
/// What the installation is called.
pub(super) const INSTALLATION: &str = "torture";
/// As whom the two services are logged in.
pub(super) const USERS: [&str; 2] = ["root", "deputy"];
const PASSWORD: &str = "xensnap";
/// The history.
pub(super) const HISTORY: &str = "history.sqlite";
/// What the service says.
pub(super) const JOURNAL: &str = "journal";
/// The folder of the second service, in that of the first.
const SECOND: &str = "second";
/// Where the service finds the time.
pub(super) const CLOCK: &str = "clock";

/// The days contain nights in which clocks are turned.
const BEGINNINGS: [&str; 3] = ["2026-03-24T11:30:00Z", "2026-10-20T11:30:00Z", "2026-06-01T11:30:00Z"];
const ZONES: [&str; 3] = ["UTC", "Europe/Berlin", "America/New_York"];
const CRONS: [&str; 6] = ["0 */4 * * *", "15 */6 * * *", "30 2 * * *", "45 1,13 * * *", "0 */8 * * *", "30 */12 * * *"];
const KEPT: [&str; 6] =
    ["last = 3", "last = 1", "last = 2\ndaily = 3", "hourly = 6\nmin = 2", "within = \"1d\"\nlast = 1", "daily = 4\nweekly = 2"];

/// What is on the stage.
pub(super) struct Stage {
    pub(super) simulation: Simulation,
    pub(super) chronicle: Arc<Chronicle>,
    pub(super) policies: Vec<Policy>,
    /// Which names each policy covers.
    pub(super) names: Vec<Vec<String>>,
}

/// When the play of a seed begins.
pub(super) fn beginning(seed: u64) -> DateTime<Utc> {
    let text = Dice::new(seed).one_of(&BEGINNINGS).to_owned();
    text.parse().unwrap_or_default()
}

/// Where the two services have their files: the first one in the play's folder, the second one in a folder there.
pub(super) fn folders(folder: &Path) -> [PathBuf; 2] {
    [folder.to_owned(), folder.join(SECOND)]
}

/// Sets it up, with the files of the service in this folder and those of the second one in a folder there.
///
/// # Errors
/// When no port is free or the folder cannot be written.
pub(super) async fn set(seed: u64, clock: &HandClock, folder: &Path) -> io::Result<Stage> {
    let mut dice = Dice::new(seed);
    let (hosts, vms) = (2 + dice.below(2) as usize, 3 + dice.below(3) as usize);
    let recipe = Recipe { hosts, vms, snapshots: Some(2), seed, disk_size: Some(5 << 20), ..Recipe::default() };
    let shared: SharedClock = Arc::new(clock.clone());
    let mut world = generate(&recipe, shared.now());
    let names = plain(&world);
    let able = able(&world);
    let seats = seats(&mut world)?;
    let chronicle = Arc::new(Chronicle::default());
    let witness = Some(Arc::clone(&chronicle) as Arc<_>);
    let collect_every = Duration::from_secs(3600);
    let users = USERS.map(|name| User { name: name.into(), password: PASSWORD.into(), role: None }).to_vec();
    let options = Options { users, collect_every, refusal_takes: Duration::ZERO, witness, ..Options::default() };
    let simulation = Simulation::start(options, Arc::clone(&shared), world, seats).await?;
    let (text, covered) = policy_file(&mut dice, &names, &able);
    for (folder, user) in folders(folder).iter().zip(USERS) {
        write_down(folder, &main_file(&simulation, user), &text)?;
    }
    let main = main_file(&simulation, USERS[0]);
    let config = Config::from_texts((MAIN, &main), &[("drawn.toml", &text)], shared.now());
    let config = config.map_err(|problems| io::Error::other(problems.render(false)))?.config;
    let policies = config.policies.into_iter().map(|checked| checked.policy).collect();
    Ok(Stage { simulation, chronicle, policies, names: covered })
}

/// The names of the VMs that are no templates and no snapshots.
fn plain(world: &World) -> Vec<String> {
    let database = &world.database;
    let is_plain =
        |vm: &Ref| ["is_a_template", "is_a_snapshot", "is_control_domain"].iter().all(|field| !database.bool("VM", vm, field));
    let vms = database.refs("VM").into_iter().filter(is_plain);
    let mut names: Vec<String> = vms.map(|vm| database.text("VM", &vm, "name_label").to_string()).collect();
    names.sort();
    names.dedup();
    names
}

/// The names of the VMs that run and would hear a request to shut down.
fn able(world: &World) -> Vec<String> {
    let database = &world.database;
    let hears =
        |vm: &Ref| &*database.text("VM", vm, "power_state") == "Running" && !is_null(&database.text("VM", vm, "guest_metrics"));
    let vms = database.refs("VM").into_iter().filter(hears);
    vms.map(|vm| database.text("VM", &vm, "name_label").to_string()).collect()
}

/// What kind of snapshot a policy takes, and what it does where there is little space.
fn kind(dice: &mut Dice, vms: &mut Vec<String>, able: &[String]) -> String {
    let kind = match dice.below(6) {
        0 => "[policy.snapshot]\nkind = \"memory\"\nfallback = \"disk\"\n",
        1 if vms.iter().any(|vm| able.contains(vm)) => {
            vms.retain(|vm| able.contains(vm));
            "[policy.snapshot]\nkind = \"offline\"\n"
        }
        _ => "",
    };
    let space = if dice.below(3) == 0 { "[policy.guards]\non_low_space = \"prune-first\"\n" } else { "" };
    format!("{kind}{space}")
}

/// A socket for each host, at addresses of its own with one port, as in a real pool.
fn seats(world: &mut World) -> io::Result<Vec<Seat>> {
    let hosts = revive::hosts(world);
    for _ in 0..50 {
        let first = TcpListener::bind(("127.0.0.1", 0))?;
        let port = first.local_addr()?.port();
        let others = (2..=hosts.len()).map(|n| TcpListener::bind((format!("127.0.0.{n}"), port)));
        let Ok(others) = others.collect::<io::Result<Vec<_>>>() else { continue };
        let addresses: Vec<_> = (1..=hosts.len()).map(|n| format!("127.0.0.{n}").as_str().into()).collect();
        revive::set_addresses(world, &addresses);
        let seats = hosts.into_iter().zip(std::iter::once(first).chain(others));
        let seat = |(host, listener): (Ref, TcpListener)| listener.set_nonblocking(true).map(|()| Seat { host, listener });
        return seats.map(seat).collect();
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "no port is free on 127.0.0.1 to 127.0.0.3 at once; try again"))
}

fn main_file(simulation: &Simulation, user: &str) -> String {
    let addresses: Vec<String> = simulation.addresses().iter().map(|(_, address)| format!("\"http://{address}\"")).collect();
    format!(
        "installation = \"{INSTALLATION}\"\npolicies = \"policies.d\"\n[daemon]\nlease = \"1h\"\nreconcile_interval = \"2h\"\nsocket = \"control.sock\"\n\
         [store]\npath = \"{HISTORY}\"\n[[pool]]\nname = \"pool\"\naddresses = [{}]\nusername = \"{user}\"\npassword = \"{PASSWORD}\"\n",
        addresses.join(", ")
    )
}

/// Two or three policies, each for some of the VMs.
fn policy_file(dice: &mut Dice, names: &[String], able: &[String]) -> (String, Vec<Vec<String>>) {
    let (mut text, mut covered) = (String::new(), Vec::new());
    for number in 0..2 + dice.below(2) {
        let mut vms: Vec<String> = names.iter().filter(|_| dice.below(3) > 0).cloned().collect();
        if vms.is_empty() {
            vms.extend(names.first().cloned());
        }
        let kind = kind(dice, &mut vms, able);
        let list = toml::Value::Array(vms.iter().cloned().map(toml::Value::String).collect());
        let (zone, cron, kept) = (dice.one_of(&ZONES), dice.one_of(&CRONS), dice.one_of(&KEPT));
        let catch_up = if dice.below(2) == 0 { "none" } else { "one" };
        let _ = write!(
            text,
            "[[policy]]\nname = \"Policy {number}\"\nid = \"policy-{number}\"\n[policy.schedule]\nzone = \"{zone}\"\n\
             cron = \"{cron}\"\ncatch_up = \"{catch_up}\"\n[policy.select]\ninclude = [{{ name = {list} }}]\n[policy.retention]\n{kept}\n{kind}\n"
        );
        covered.push(vms);
    }
    (text, covered)
}

fn write_down(folder: &Path, main: &str, policies: &str) -> io::Result<()> {
    fs::create_dir_all(folder.join("policies.d"))?;
    fs::write(folder.join(MAIN), main)?;
    fs::set_permissions(folder.join(MAIN), fs::Permissions::from_mode(0o600))?;
    fs::write(folder.join("policies.d/drawn.toml"), policies)
}

/// The references of the VMs with these names that are there now.
pub(super) fn named(world: &World, names: &[String]) -> Vec<Ref> {
    let database = &world.database;
    let is_plain =
        |vm: &Ref| ["is_a_template", "is_a_snapshot", "is_control_domain"].iter().all(|field| !database.bool("VM", vm, field));
    let vms = database.refs("VM").into_iter().filter(is_plain);
    vms.filter(|vm| names.iter().any(|name| **name == *database.text("VM", vm, "name_label"))).collect()
}
