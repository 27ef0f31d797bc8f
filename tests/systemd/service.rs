//! The binary as the unit starts it, against a simulated pool.

use std::os::unix::process::ExitStatusExt as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::{Connection as _, Executor as _};
use xensnap::clock::{SharedClock, SystemClock};
use xensnap::simulator::Options;
use xensnap::simulator::generate::{Recipe, generate};
use xensnap::simulator::options::User;
use xensnap::simulator::simulation::{Seat, Simulation};
use xensnap::simulator::value::Value;

use crate::launcher::{Machine, Service, mode};

/// What nobody may ever read but the pool.
const PASSWORD: &str = "correct-horse-battery-staple";

const CREDENTIAL: &str = "[Service]\nLoadCredential=tokyo:/etc/xensnap/credentials/tokyo\n";

async fn pool() -> Simulation {
    let clock: SharedClock = Arc::new(SystemClock::new());
    let recipe = Recipe { hosts: 1, vms: 1, snapshots: Some(0), disk_size: Some(5 << 20), ..Recipe::default() };
    let mut world = generate(&recipe, clock.now());
    let host = world.database.refs("host").remove(0);
    world.database.set("host", &host, "address", Value::str("127.0.0.1")).unwrap();
    let seat = Seat { host, listener: std::net::TcpListener::bind("127.0.0.1:0").unwrap() };
    let users = vec![User { name: "root".into(), password: PASSWORD.into(), role: None }];
    Simulation::start(Options { users, ..Options::default() }, clock, world, vec![seat]).await.unwrap()
}

/// One pool whose password is a credential, and a policy that fires at these times and only looks.
fn configure(machine: &Machine, pool: &Simulation, id: &str, cron: &str) {
    let address = pool.addresses()[0].1;
    let history = machine.path("/var/lib/xensnap/history.sqlite");
    let socket = machine.path("/run/xensnap/control.sock");
    machine.write(
        "/etc/xensnap/xensnap.toml",
        &format!(
            "installation = \"launched\"\n[daemon]\nsocket = {socket:?}\n[store]\npath = {history:?}\n[[pool]]\nname = \"tokyo\"\naddresses = [\"http://{address}\"]\n\
             username = \"root\"\npassword_credential = \"tokyo\"\n"
        ),
    );
    policy(machine, id, cron);
}

fn policy(machine: &Machine, id: &str, cron: &str) {
    let text = format!(
        "[[policy]]\nname = \"{id}\"\nid = \"{id}\"\nobserve = true\n[policy.schedule]\nzone = \"UTC\"\ncron = \"{cron}\"\n\
         [policy.select]\ninclude = [{{ name = \"*\" }}]\n[policy.retention]\nlast = 1\n"
    );
    machine.write("/etc/xensnap/policies.d/policy.toml", &text);
}

/// Starts it, and waits until it works with the pool.
async fn started(machine: &Machine, next: &str) -> Service {
    let mut service = machine.start();
    service.tells("that it is ready", |line| line == "READY=1").await;
    let begins = format!("STATUS=idle, next {next}");
    service.tells("what comes next", |line| line.starts_with(&begins) && !line.contains("waiting")).await;
    service
}

#[tokio::test]
async fn it_tells_that_it_is_ready_what_comes_next_that_it_lives_reloads_and_ends() {
    let pool = pool().await;
    let machine = Machine::new(&[CREDENTIAL, "[Service]\nWatchdogSec=2s\n"]);
    configure(&machine, &pool, "yearly", "0 0 1 1 *");
    machine.write("/etc/xensnap/credentials/tokyo", &format!("{PASSWORD}\n"));
    let mut service = started(&machine, "yearly 20").await;
    assert_eq!(service.memory_is_shown_to(), 0, "passwords are in it, and neither core dump nor debugger gets them");
    for _ in 0..2 {
        service.tells("that it lives", |line| line == "WATCHDOG=1").await;
    }
    policy(&machine, "leap-day", "0 0 29 2 *");
    service.signal("-HUP");
    service.tells("that it reloads", |line| line == "RELOADING=1").await;
    service.tells("since when", |line| line.starts_with("MONOTONIC_USEC=")).await;
    service.tells("that it is ready again", |line| line == "READY=1").await;
    service.tells("what comes next", |line| line.starts_with("STATUS=idle, next leap-day 20")).await;
    service.signal("-TERM");
    service.tells("that it ends", |line| line == "STOPPING=1").await;
    let ended = service.ends().await;
    assert!(ended.success() && !machine.unit.restarts_after(ended), "{ended}: {}", service.log());
    assert_eq!(mode(&machine.path("/var/lib/xensnap")), 0o750);
    let log = service.log();
    assert!(
        log.contains("the pool tokyo is worked with") && log.contains("policy yearly is gone; policy leap-day is new"),
        "{log}"
    );
    assert!(!log.contains(PASSWORD) && !service.told.iter().any(|line| line.contains(PASSWORD)));
}

#[tokio::test]
async fn a_reload_of_files_with_errors_changes_nothing_and_ends() {
    let pool = pool().await;
    let machine = Machine::new(&[CREDENTIAL]);
    configure(&machine, &pool, "yearly", "0 0 1 1 *");
    machine.write("/etc/xensnap/credentials/tokyo", PASSWORD);
    let mut service = started(&machine, "yearly 20").await;
    policy(&machine, "yearly", "61 * * * *");
    let reloaded = machine.reload();
    let said = String::from_utf8_lossy(&[reloaded.stdout, reloaded.stderr].concat()).into_owned();
    assert_eq!(reloaded.status.code(), Some(78), "{said}");
    assert!(said.contains("61 * * * *"), "{said}");
    service.tells("that it reloads", |line| line == "RELOADING=1").await;
    service.tells("that it is ready again", |line| line == "READY=1").await;
    service.signal("-TERM");
    assert!(service.ends().await.success());
    assert!(service.log().contains("the policies of before stay in force"), "{}", service.log());
}

#[tokio::test]
async fn the_units_own_reload_waits_until_the_files_are_in_force_and_says_what_changed() {
    let pool = pool().await;
    let machine = Machine::new(&[CREDENTIAL]);
    configure(&machine, &pool, "yearly", "0 0 1 1 *");
    machine.write("/etc/xensnap/credentials/tokyo", PASSWORD);
    let mut service = started(&machine, "yearly 20").await;
    policy(&machine, "leap-day", "0 0 29 2 *");
    let reloaded = machine.reload();
    let said = String::from_utf8_lossy(&[reloaded.stdout, reloaded.stderr].concat()).into_owned();
    assert!(reloaded.status.success() && said.contains("yearly") && said.contains("leap-day"), "{said}");
    // The answer came after the change, so nobody needs to wait for it.
    assert!(service.log().contains("policy yearly is gone; policy leap-day is new"), "{}", service.log());
    service.signal("-TERM");
    assert!(service.ends().await.success());
    let reloaded = machine.reload();
    let said = String::from_utf8_lossy(&reloaded.stderr).into_owned();
    assert!(!reloaded.status.success() && said.contains("no service answers"), "{said}");
}

#[tokio::test]
async fn a_timekeeper_that_is_stuck_is_found_by_the_watchdog_and_the_service_starts_anew() {
    let pool = pool().await;
    let machine = Machine::new(&[CREDENTIAL, "[Service]\nWatchdogSec=2s\n"]);
    configure(&machine, &pool, "busy", "* * * * * *");
    machine.write("/etc/xensnap/credentials/tokyo", PASSWORD);
    let mut service = machine.start();
    service.tells("that it works", |line| line.contains("next busy")).await;
    service.tells("that it lives", |line| line == "WATCHDOG=1").await;
    let history = format!("sqlite://{}", machine.path("/var/lib/xensnap/history.sqlite").display());
    let mut other = sqlx::sqlite::SqliteConnection::connect(&history).await.unwrap();
    other.execute("PRAGMA busy_timeout = 60000").await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let ended = service.watched(machine.unit.duration("WatchdogSec")).await;
    other.execute("ROLLBACK").await.unwrap();
    assert_eq!(ended.signal(), Some(6), "{ended}: {}", service.log());
    assert!(machine.unit.restarts_after(ended));
    drop(service);
    let mut again = machine.start();
    again.tells("that it works again", |line| line.contains("next busy")).await;
}

#[tokio::test]
async fn a_configuration_that_cannot_be_used_ends_it_for_good() {
    let pool = pool().await;
    let machine = Machine::new(&[CREDENTIAL]);
    configure(&machine, &pool, "nightly", "0 25 * * *");
    machine.write("/etc/xensnap/credentials/tokyo", PASSWORD);
    let mut service = machine.start();
    let ended = service.ends().await;
    assert_eq!((ended.code(), machine.unit.restarts_after(ended)), (Some(78), false), "{}", service.log());
    assert!(!service.told.contains(&"READY=1".to_owned()), "{:?}", service.told);
}

#[tokio::test]
async fn a_credential_that_is_missing_or_empty_ends_it_for_good_and_says_what_to_write() {
    let pool = pool().await;
    for (drop_ins, text, expected) in [
        (&[][..], "", "start xensnap with systemd and LoadCredential=tokyo:<file>"),
        (&[CREDENTIAL], "\n", "the credential tokyo is empty"),
        (
            &["[Service]\nLoadCredential=osaka:/etc/xensnap/credentials/tokyo\n"],
            PASSWORD,
            "no credential tokyo among those it has (osaka)",
        ),
    ] {
        let machine = Machine::new(drop_ins);
        configure(&machine, &pool, "nightly", "0 2 * * *");
        machine.write("/etc/xensnap/credentials/tokyo", text);
        let mut service = machine.start();
        let ended = service.ends().await;
        assert_eq!((ended.code(), machine.unit.restarts_after(ended)), (Some(78), false), "{}", service.log());
        assert!(service.log().contains(expected), "{}", service.log());
    }
}

#[tokio::test]
async fn figures_that_cannot_be_offered_keep_nobodys_snapshots_from_being_taken() {
    let pool = pool().await;
    let machine = Machine::new(&[CREDENTIAL]);
    configure(&machine, &pool, "nightly", "0 2 * * *");
    machine.write("/etc/xensnap/credentials/tokyo", PASSWORD);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let main = std::fs::read_to_string(machine.path("/etc/xensnap/xensnap.toml")).unwrap();
    let listen = format!("{main}[metrics]\nlisten = \"{}\"\n", taken.local_addr().unwrap());
    machine.write("/etc/xensnap/xensnap.toml", &listen);
    let mut service = machine.start();
    service.tells("that it is ready", |line| line == "READY=1").await;
    assert!(service.log().contains("no metrics are offered"), "{}", service.log());
    service.signal("-TERM");
    assert!(service.ends().await.success());

    machine.write("/etc/xensnap/xensnap.toml", &format!("{listen}token_file = \"missing\"\n"));
    let mut service = machine.start();
    assert_eq!(service.ends().await.code(), Some(78), "{}", service.log());
    assert!(service.log().contains("the token of [metrics] cannot be used"), "{}", service.log());
}

#[tokio::test]
async fn what_goes_wrong_otherwise_is_tried_again_for_as_long_as_it_takes() {
    let pool = pool().await;
    let machine = Machine::new(&[CREDENTIAL]);
    configure(&machine, &pool, "nightly", "0 2 * * *");
    machine.write("/etc/xensnap/credentials/tokyo", PASSWORD);
    std::fs::create_dir_all(machine.path("/var/lib/xensnap/history.sqlite")).unwrap();
    let mut service = machine.start();
    let ended = service.ends().await;
    assert!(machine.unit.restarts_after(ended), "{ended}: {}", service.log());
    assert!(machine.unit.duration("RestartSec") >= Duration::from_secs(5));
    assert_eq!(machine.unit.of_unit("StartLimitIntervalSec"), "0", "a full disk must not end the snapshots of all nights after");
}
