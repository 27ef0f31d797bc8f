//! A policy file edited wrongly in more than thirty ways while the service runs: each time `xensnap reload` says where the mistake is, what
//! it is and how to mend it, and what was in force goes on: the next slot fires as before.

use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::net::TcpListener;
use xensnap::clock::{Clock as _, SystemClock};
use xensnap::simulator::generate::{Recipe, generate};
use xensnap::simulator::storage::timings::Timings;
use xensnap::simulator::{Options, Server};
use xensnap::store::{Options as StoreOptions, Page, SlotFilter, SlotState, Store};

use crate::world::xensnap;

/// Fires every second, so that "the next slot" is soon.
const GOOD: &str = r#"[[policy]]
name = "every-second"
id = "every-second"
enabled = true
priority = 50
pools = ["lab"]

[policy.schedule]
cron = "* * * * * *"
zone = "Europe/Berlin"
blackout = ["2020-12-24..2020-12-26"]
catch_up = "one"

[policy.select]
include = [{ name = "*" }]
exclude = [{ tag = "scratch" }]

[policy.snapshot]
kind = "disk"
name = "{vm} {policy} {due:%H%M%S}"

[policy.retention]
last = 2
daily = 1
min = 1
order = "snapshot-first"

[[policy.hooks]]
phase = "after_run"
command = ["/bin/true"]
timeout = "10s"
on_failure = "continue"
"#;

/// What is written in place of what, the line in which the mistake is, and parts of what is said and of how to mend it.
const EDITS: [(&str, &str, usize, &str, &str); 36] = [
    ("name = \"every-second\"\nid", "nmae = \"every-second\"\nid", 2, "unknown key `nmae`", "write `name`"),
    ("name = \"every-second\"\nid", "name = \"\"\nid", 2, "this is no name of a policy", "write 1 to 64 characters"),
    ("name = \"every-second\"", "name = \"every-second", 2, "this is no TOML", "put text between two quotes"),
    ("id = \"every-second\"", "id = \"every second\"", 3, "the policy id consists of letters", "every-second"),
    ("enabled = true", "enabled = \"yes\"", 4, "`enabled` takes true or false", "write enabled = true, without quotes"),
    ("enabled = true", "enabled true", 4, "this is no TOML", "write key = value"),
    ("priority = 50", "priority = 101", 5, "`priority` is out of range", "from 0 to 100"),
    ("priority = 50", "priority = 50.5", 5, "`priority` takes a number", "write a whole number"),
    ("pools = [\"lab\"]", "pools = [\"lba\"]", 6, "no pool is called \"lba\"", "write \"lab\""),
    ("pools = [\"lab\"]", "pools = []", 6, "no pool is named", "leave `pools` out"),
    ("cron = \"* * * * * *\"", "cron = \"0 2 * *\"", 9, "", "write"),
    ("cron = \"* * * * * *\"", "cron = \"30 24 * * *\"", 9, "24 is no hour", "midnight is hour 0"),
    ("cron = \"* * * * * *\"", "cron = \"30 2 * * tusday\"", 9, "\"tusday\" is no day of week", "write \"tue\""),
    ("cron = \"* * * * * *\"", "cron = \"0 0 30 2 *\"", 9, "no such day exists", "never has a day 30"),
    ("cron = \"* * * * * *\"\n", "", 8, "a schedule needs `cron`", "write cron ="),
    ("zone = \"Europe/Berlin\"", "zone = \"Europe/Berln\"", 10, "no time zone is called", "write \"Europe/Berlin\""),
    ("zone = \"Europe/Berlin\"", "zone = \"CEST\"", 10, "no time zone is called", "write \"Europe/Berlin\""),
    ("zone = \"Europe/Berlin\"\n", "", 8, "a schedule needs `zone`", "write zone ="),
    ("2020-12-24..2020-12-26", "2020-12-26..2020-12-24", 11, "the dates run backwards", "write the earlier date first"),
    ("[\"2020-12-24..2020-12-26\"]", "[2020-12-24]", 11, "`blackout` takes text", "put it in quotes"),
    ("catch_up = \"one\"", "catch_up = \"all\"", 12, "\"all\" is nothing that `catch_up` can be", "write \"none\" or \"one\""),
    ("catch_up = \"one\"", "spread = 30", 12, "`spread` takes text", "put it in quotes, with its unit"),
    ("catch_up = \"one\"", "spread = \"30\"", 12, "\"30\" has no unit", "write 90s, 15m or 1h30m"),
    ("include = [{ name = \"*\" }]", "include = []", 15, "nothing is selected", "write include ="),
    ("include = [{ name = \"*\" }]", "include = [{}]", 15, "a clause without conditions fits everything", "write a condition"),
    ("include = [{ name = \"*\" }]", "include = [{ name = \"[web\" }]", 15, "no pattern", "backslash"),
    ("exclude = [{ tag =", "exclude = [{ tags =", 16, "unknown key `tags`", "write `tag`"),
    ("kind = \"disk\"", "kind = \"quiesed\"", 19, "\"quiesed\" is nothing that `kind` can be", "write \"quiesced\""),
    ("kind = \"disk\"", "kind = true", 19, "`kind` takes text", "\"offline\""),
    ("{vm} {policy}", "{vm} {polcy}", 20, "{polcy} is not known", "write {policy}"),
    ("last = 2", "last = \"2\"", 23, "`last` takes a number, not text", "without quotes"),
    ("last = 2", "last = -2", 23, "`last` is out of range", "write a number"),
    ("daily = 1", "dayly = 1", 24, "unknown key `dayly`", "write `daily`"),
    ("min = 1", "min = 9", 25, "`min` is more than all rules together keep", "or a smaller `min`"),
    ("phase = \"after_run\"", "phase = \"after\"", 29, "\"after\" is nothing that `phase` can be", "write \"after_"),
    (
        "command = [\"/bin/true\"]",
        "command = [\"true\"]",
        30,
        "the program is named without its full path",
        "no shell and no PATH",
    ),
];

/// The service, ended with the test.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main_file(folder: &Path, address: &str) -> std::path::PathBuf {
    let text = format!(
        "installation = \"lab\"\n[daemon]\nsocket = \"control.sock\"\nsync_interval = \"1s\"\n[store]\npath = \"history.db\"\n[[pool]]\nname = \"lab\"\n\
         addresses = [\"{address}\"]\nusername = \"root\"\npassword = \"xensnap\"\n"
    );
    let main = folder.join("xensnap.toml");
    std::fs::write(&main, text).unwrap();
    std::fs::set_permissions(&main, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::create_dir(folder.join("policies.d")).unwrap();
    main
}

/// Waits until a slot that is due after this has a run.
async fn fires_after(history: &Path, then: DateTime<Utc>) {
    let patience = Instant::now() + Duration::from_secs(120);
    loop {
        let filter = SlotFilter { from: Some(then), ..SlotFilter::default() };
        let store = Store::open_read_only(history, &StoreOptions::default()).await;
        let slots = match &store {
            Ok(store) => store.slots(filter, Page::first(50)).await.map(|listed| listed.rows).unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        if slots.iter().any(|slot| matches!(slot.state, SlotState::Claimed | SlotState::Late)) {
            return;
        }
        assert!(Instant::now() < patience, "no slot after {then} fired; the newest: {:?}", slots.first());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_file_edited_wrongly_is_refused_with_place_and_remedy_and_harms_nothing() {
    let clock = Arc::new(SystemClock::new());
    let recipe = Recipe { hosts: 1, vms: 1, snapshots: Some(0), disk_size: Some(5 << 20), ..Recipe::default() };
    let mut world = generate(&recipe, clock.now());
    world.storage.timings = Timings::instant();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server::start(Options::default(), clock.clone(), world, listener).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let main = main_file(folder.path(), &format!("http://{}", server.address()));
    let (file, history) = (folder.path().join("policies.d/only.toml"), folder.path().join("history.db"));
    std::fs::write(&file, GOOD).unwrap();
    let mut daemon = std::process::Command::new(env!("CARGO_BIN_EXE_xensnap"));
    daemon.args(["daemon", "--config"]).arg(&main).stdout(Stdio::null()).stderr(Stdio::null());
    let _service = Service(daemon.spawn().unwrap());
    fires_after(&history, clock.now()).await;
    let reload = || {
        let command = xensnap(100).args(["reload", "--config"]).arg(&main);
        tokio::task::spawn_blocking(move || command.assert())
    };
    for (place, (good, bad, line, what, remedy)) in EDITS.into_iter().enumerate() {
        assert_eq!(GOOD.matches(good).count(), 1, "edit {place} replaces one thing: {good}");
        std::fs::write(&file, GOOD.replace(good, bad)).unwrap();
        let refused = reload().await.unwrap().code(78);
        let said = String::from_utf8(refused.get_output().stderr.clone()).unwrap();
        let told = format!("edit {place}, {bad:?}:\n{said}");
        assert!(said.contains("was not reloaded") && said.contains("what was in force stays so"), "{told}");
        assert!(said.contains(&format!("policies.d/only.toml:{line}:")), "where? line {line} in {told}");
        assert!(said.contains(what), "what? {what} in {told}");
        let help = said.split("help: ").nth(1).unwrap_or_else(|| panic!("no remedy in {told}"));
        assert!(help.contains(remedy), "how to mend it? {remedy} in {told}");
        // A due time that came after the refusal fires by what was in force.
        if place % 6 == 0 || place + 1 == EDITS.len() {
            fires_after(&history, clock.now()).await;
        }
    }
    let status = xensnap(100).args(["status", "--config"]).arg(&main);
    let status = tokio::task::spawn_blocking(move || status.assert()).await.unwrap().success();
    let status = String::from_utf8(status.get_output().stdout.clone()).unwrap();
    assert!(status.contains("every-second"), "{status}");
    std::fs::write(&file, GOOD).unwrap();
    reload().await.unwrap().success().stdout_eq(snapbox::str![[r#"
nothing changed
1 policy is in force

"#]]);
    server.shutdown().await;
}
