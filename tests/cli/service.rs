//! Verbs that ask a service, against one that runs in this process on a simulated pool and a clock that stands still.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use snapbox::cmd::{Command, OutputAssert};
use snapbox::str;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use xensnap::simulator::error::ApiError;
use xensnap::simulator::faults::{Action, Plan, Rule};
use xensnap::simulator::generate::{Recipe, generate};

use crate::lab::{Lab, SOCKET, policy};
use crate::world::xensnap;

/// A pool of three VMs at noon, with a policy for each night and one for each hour.
async fn lab() -> Lab {
    let mut lab = Lab::new(3, vec![policy("nightly", "0 2 * * *", "*", 9)]).await;
    let first = lab.vms().remove(0);
    lab.policies.push(policy("hourly", "0 * * * *", &first, 3));
    lab.start().await;
    lab.until("2026-03-01T12:10:00Z").await;
    lab
}

/// Runs the binary while the service goes on in this thread.
pub(crate) async fn run(command: Command) -> OutputAssert {
    tokio::task::spawn_blocking(move || command.assert()).await.unwrap()
}

fn at(socket: &Path, width: u16, words: &str) -> Command {
    let asking = xensnap(width).env("SUDO_USER", "alice");
    asking.args(words.split_whitespace()).args(["--config", "/nonexistent/xensnap.toml", "--socket"]).arg(socket)
}

pub(crate) async fn asked(lab: &Lab, width: u16, words: &str) -> OutputAssert {
    run(at(&lab.folder.path().join(SOCKET), width, words)).await
}

/// A night that fails, and an SR that is paused.
async fn troubled() -> Lab {
    let lab = lab().await;
    let full = ApiError::new("SR_BACKEND_FAILURE_44", ["", "There is insufficient space", ""]);
    lab.simulation.set_faults(Plan::new(0).with(Rule::on("VM.snapshot", Action::Refuse(full))));
    lab.until("2026-03-02T07:30:00Z").await;
    lab.simulation.set_faults(Plan::default());
    asked(&lab, 80, "pause policy hourly --until 2026-03-02T12:00:00Z --reason tests").await.success();
    lab
}

#[tokio::test]
async fn a_quiet_service_says_what_comes() {
    let mut lab = lab().await;
    asked(&lab, 80, "status --utc").await.success().stdout_eq(str![[r#"
xensnap [..], process [..], up 10m: nothing runs, next hourly in 50m

Pools
POOL  STATE          SINCE  MASTER  ADDRESS                 CLOCK  VMS
lab   connected  [..] ago  xen-01  http://127.0.0.1:[..]    +0s    3

Coming
DUE (UTC)           LEFT  POLICY
2026-03-01 13:00     50m  hourly
2026-03-02 02:00  13h50m  nightly

"#]]);
    lab.stop().await;
}

#[tokio::test]
async fn what_is_wrong_and_paused_stands_in_the_status() {
    let mut lab = troubled().await;
    asked(&lab, 80, "status --utc").await.success().stdout_eq(str![[r#"
xensnap [..], process [..], up 19h30m: nothing runs, next hourly in 30m

Wrong
WEIGHT    SINCE (UTC)          AGE
critical  2026-03-01 13:00  18h30m
    policy hourly: run 20 failed, 1 of 1 VMs without a snapshot, 19 runs in a
    row; `xensnap show 20`
critical  2026-03-02 02:00   5h30m
    policy nightly: run 15 failed, 3 of 3 VMs without a snapshot; `xensnap show
    15`

Pools
POOL  STATE           SINCE  MASTER  ADDRESS                 CLOCK  VMS
lab   connected  [..] ago  xen-01  http://127.0.0.1:[..]    +0s    3

Coming
DUE (UTC)           LEFT  POLICY   NOTE
2026-03-02 08:00     30m  hourly   will be skipped: paused
2026-03-03 02:00  18h30m  nightly

Paused
WHAT           UNTIL (UTC)       SINCE  BY[..]WHY
policy hourly  2026-03-02 12:00    now  alice as [..]tests

"#]]);
    asked(&lab, 200, "status --utc").await.success().stdout_eq(str![[r#"
xensnap [..], process [..], up 19h30m: nothing runs, next hourly in 30m

Wrong
WEIGHT    SINCE (UTC)          AGE  WHAT
critical  2026-03-01 13:00  18h30m  policy hourly: run 20 failed, 1 of 1 VMs without a snapshot, 19 runs in a row; `xensnap show 20`
critical  2026-03-02 02:00   5h30m  policy nightly: run 15 failed, 3 of 3 VMs without a snapshot; `xensnap show 15`

Pools
POOL  STATE           SINCE  MASTER  ADDRESS                 RELEASE          CLOCK  VMS
lab   connected  [..] ago  xen-01  http://127.0.0.1:[..]  XenServer 9.0.0    +0s    3

Coming
DUE (UTC)           LEFT  POLICY   NOTE
2026-03-02 08:00     30m  hourly   will be skipped: paused
2026-03-03 02:00  18h30m  nightly

Paused
WHAT           UNTIL (UTC)       SINCE  BY[..]WHY
policy hourly  2026-03-02 12:00    now  alice as [..]tests

"#]]);
    lab.stop().await;
}

#[tokio::test]
async fn what_runs_is_shown_with_how_far_it_is() {
    let recipe = Recipe { hosts: 1, vms: 6, snapshots: Some(0), disk_size: Some(5 << 20), ..Recipe::default() };
    let mut world = generate(&recipe, "2026-03-01T12:00:00Z".parse().unwrap());
    world.storage.timings.scale = 600.0;
    let mut lab = Lab::with("2026-03-01T12:00:00Z", world, vec![policy("nightly", "0 2 * * *", "*", 9)]).await;
    lab.start().await;
    lab.until("2026-03-02T02:02:00Z").await;
    asked(&lab, 80, "status --utc").await.success().stdout_eq(str![[r#"
xensnap [..], process [..], up 14h2m: 1 running, next nightly in 23h58m

Pools
POOL  STATE          SINCE  MASTER  ADDRESS                 CLOCK  VMS
lab   connected  [..] ago  xen-01  http://127.0.0.1:[..]    +0s    6

Running
RUN  POLICY   DUE (UTC)         STARTED  STATE         JOBS    TAKEN  FAILED
  1  nightly  2026-03-02 02:00   2m ago  snapshotting     6  [..]0
    [..] calling for [..]s[..]

Coming
DUE (UTC)           LEFT  POLICY
2026-03-03 02:00  23h58m  nightly

"#]]);
    asked(&lab, 200, "status --utc").await.success().stdout_eq(str![[r#"
xensnap [..], process [..], up 14h2m: 1 running, next nightly in 23h58m

Pools
POOL  STATE          SINCE  MASTER  ADDRESS                 RELEASE          CLOCK  VMS
lab   connected  [..] ago  xen-01  http://127.0.0.1:[..]  XenServer 9.0.0    +0s    6

Running
RUN  POLICY   DUE (UTC)         STARTED  STATE         JOBS    TAKEN  FAILED  NOW
  1  nightly  2026-03-02 02:00   2m ago  snapshotting     6  [..]0  [..] calling for [..]s[..]

Coming
DUE (UTC)           LEFT  POLICY
2026-03-03 02:00  23h58m  nightly

"#]]);
    asked(&lab, 80, "cancel 1").await.success().stdout_eq(str![[r#"
run 1: [..] not begun end now, [..] are stopped at the server; what is taken already stays

"#]]);
    lab.pass(1800).await;
    // VMs without a snapshot are told, whoever wanted it so.
    asked(&lab, 80, "status --check").await.code(1);
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_looks_again_and_again_and_tells_also_that_the_service_has_gone() {
    let mut lab = lab().await;
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_xensnap"));
    command.args(["status", "--watch", "--config", "/nonexistent/xensnap.toml", "--socket"]).arg(lab.folder.path().join(SOCKET));
    let mut watch = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut until = async |wanted: &str| {
        let look = async { while !lines.next_line().await.unwrap().expect("it goes on").contains(wanted) {} };
        tokio::time::timeout(Duration::from_secs(60), look).await.expect(wanted);
    };
    until("nothing runs").await;
    until("nothing runs").await;
    lab.stop().await;
    until("no service answers").await;
    watch.kill().await.unwrap();
}

#[tokio::test]
async fn the_probe_answers_with_one_line_and_its_exit_code() {
    let mut quiet = lab().await;
    asked(&quiet, 80, "status --check").await.code(0).stdout_eq(str![[r#"
XENSNAP OK - 0 running, next hourly in 50m | critical=0;;1;0 warning=0;1;;0 unreachable=0;;1;0;1 running=0;;;0 waiting=0;;;0 working=0;;;0 paused=0;;;0 clock=0s;60;;0

"#]]);
    quiet.stop().await;
    let socket = quiet.folder.path().join(SOCKET);
    run(at(&socket, 80, "status --check")).await.code(2).stdout_eq(str![[r#"
XENSNAP CRITICAL - no service answers, so nothing is taken

"#]]);
    let mut troubled = troubled().await;
    asked(&troubled, 80, "status --check").await.code(2).stdout_eq(str![[r#"
XENSNAP CRITICAL - policy hourly: run 20 failed, 1 of 1 VMs without a snapshot, 19 runs in a row; `xensnap show 20`, for 18h30m (and 1 more) | critical=2;;1;0 warning=0;1;;0 unreachable=0;;1;0;1 running=0;;;0 waiting=0;;;0 working=0;;;0 paused=1;;;0 clock=0s;60;;0

"#]]);
    troubled.stop().await;
}

#[tokio::test]
async fn coverage_names_who_is_protected_and_who_is_not() {
    let mut lab = troubled().await;
    asked(&lab, 80, "coverage --utc").await.code(1).stdout_eq(str![[r#"
VM        RPO      POLICIES         NEWEST (UTC)  AGE  PROMISED
cache-01  pending  nightly          -               -      1d6h
db-03     broken   nightly, hourly  -               -        2h
    hourly: no good snapshot, promised every 2h
dc-02     pending  nightly          -               -      1d6h
3 VMs: 0 kept, 1 broken, 2 not due yet, 0 that nobody protects

"#]]);
    asked(&lab, 200, "coverage --utc --gaps").await.code(1).stdout_eq(str![[r#"
VM     RPO     POLICIES         NEWEST (UTC)  AGE  PROMISED  WHY
db-03  broken  nightly, hourly  -               -        2h  hourly: no good snapshot, promised every 2h
1 VM: 0 kept, 1 broken, 0 not due yet, 0 that nobody protects

"#]]);
    lab.stop().await;
}

#[tokio::test]
async fn coverage_of_a_pool_that_is_away_says_so_and_since_when() {
    let mut lab = lab().await;
    lab.until("2026-03-02T02:30:00Z").await;
    lab.stop().await;
    lab.simulation.kill().await;
    lab.start_alone().await;
    lab.pass(600).await;
    asked(&lab, 80, "coverage --utc").await.success().stdout_eq(str![[r#"
VM        RPO   POLICIES         NEWEST (UTC)      AGE  PROMISED
cache-01  kept  nightly          2026-03-02 02:00  40m      1d6h
db-03     kept  nightly, hourly  2026-03-02 02:00  40m        2h
dc-02     kept  nightly          2026-03-02 02:00  40m      1d6h
3 VMs: 3 kept, 0 broken, 0 not due yet, 0 that nobody protects
pool lab is not reached since 2026-03-02 02:3[..]
...
its VMs are told from the history, which last heard of it 2026-03-02 02:00[..]
[..]ago): those of the newest runs; what became of them since is not known

"#]]);
    asked(&lab, 200, "coverage --utc").await.success().stdout_eq(str![[r#"
VM        RPO   POLICIES         NEWEST (UTC)      AGE  PROMISED  SNAPSHOT
cache-01  kept  nightly          2026-03-02 02:00  40m      1d6h  [..]
db-03     kept  nightly, hourly  2026-03-02 02:00  40m        2h  [..]
dc-02     kept  nightly          2026-03-02 02:00  40m      1d6h  [..]
3 VMs: 3 kept, 0 broken, 0 not due yet, 0 that nobody protects
pool lab is not reached since 2026-03-02 02:3[..]
...
its VMs are told from the history, which last heard of it 2026-03-02 02:00[..] ago): those of the newest runs; what became of them since is not known

"#]]);
    lab.stop().await;
}

#[tokio::test]
async fn pauses_are_said_and_taken_back() {
    let mut lab = lab().await;
    asked(&lab, 80, "pause pool lab --until 2026-03-02T06:00:00Z --reason memory").await.success().stdout_eq(str![[r#"
paused (pool lab) by alice as [..] until 2026-03-02 06:00 UTC: memory
snapshots in work go on to their end (`xensnap cancel` stops them); what has not begun is skipped

"#]]);
    asked(&lab, 80, "resume pool lab").await.success().stdout_eq(str![[r#"
pool lab is resumed by alice as [..]

"#]]);
    asked(&lab, 80, "resume all").await.code(2).stderr_eq(str![[r#"
xensnap: that is not paused; nothing is paused

"#]]);
    asked(&lab, 80, "pause policy nihgtly").await.code(2).stderr_eq(str![[r#"
xensnap: there is no policy nihgtly; there is nightly

"#]]);
    asked(&lab, 80, "pause vm").await.code(2).stderr_eq(str![[r#"
xensnap: say which one, for example: xensnap pause policy nightly

"#]]);
    asked(&lab, 80, "pause all --until noon").await.code(2).stderr_eq(str![[r#"
xensnap: "noon" is no time; write 18:00, 2027-01-31, "2027-01-31 06:00", 2027-01-31T06:00:00Z, or 4h from now

"#]]);
    asked(&lab, 80, "cancel 12").await.code(2).stderr_eq(str![[r#"
xensnap: run 12 is not under way; `xensnap status` shows what is

"#]]);
    lab.stop().await;
}

#[tokio::test]
async fn a_run_is_told_while_it_goes_on_and_a_service_answers_without_a_configuration() {
    let mut lab = lab().await;
    asked(&lab, 80, "run nightly --dry-run").await.success();
    asked(&lab, 80, "run nihgtly").await.code(2).stderr_eq(str![[r#"
xensnap: the service has no policy nihgtly; there is nightly. If it is new: xensnap reload

"#]]);
    asked(&lab, 80, "run nightly --no-wait").await.success().stdout_eq(str![[r#"
lab: a run of policy nightly was started

"#]]);
    lab.pass(300).await;
    assert_eq!(lab.snapshots().len(), 3);
    lab.stop().await;
}

#[tokio::test]
async fn where_no_service_runs_the_status_is_read_from_the_history() {
    let mut lab = troubled().await;
    lab.stop().await;
    let main = lab.folder.path().join("xensnap.toml");
    let text = "installation = \"lab\"\n[daemon]\nsocket = \"control.sock\"\n[store]\npath = \"history.sqlite\"\n\
                [[pool]]\nname = \"lab\"\naddresses = [\"http://127.0.0.1:1\"]\nusername = \"root\"\npassword = \"xensnap\"\n";
    std::fs::write(&main, text).unwrap();
    std::fs::set_permissions(&main, Permissions::from_mode(0o600)).unwrap();
    std::fs::create_dir(lab.folder.path().join("policies.d")).unwrap();
    let output = run(xensnap(80).args(["status", "--json", "--config"]).arg(&main)).await.code(1);
    let status: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!((&status["service"], &status["pools"][0]["phase"]), (&Value::Null, &Value::from("unknown")));
    run(xensnap(80).args(["cancel", "1", "--config"]).arg(&main)).await.code(1);
    run(xensnap(80).args(["reload", "--config"]).arg(&main)).await.code(1);
    std::fs::write(&main, "installation =\n").unwrap();
    run(xensnap(80).args(["status", "--config"]).arg(&main)).await.code(78);
    run(xensnap(80).args(["explain", "web", "--config"]).arg(&main).arg("--socket").arg(lab.folder.path().join("no.sock")))
        .await
        .code(78);
}

#[tokio::test]
async fn both_objects_have_a_version_and_every_member_is_described() {
    let mut lab = troubled().await;
    for words in ["status --json", "coverage --json"] {
        let output = asked(&lab, 80, words).await;
        let object: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
        crate::json::assert_described(&object, words);
    }
    lab.stop().await;
}

/// The binary as a user of the machine who is neither root nor the service's, if this test may become one.
fn as_nobody(lab: &Lab, words: &[&str]) -> Option<(Option<i32>, String)> {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_xensnap"));
    command.args(words).args(["--config", "/nonexistent/xensnap.toml", "--socket"]).arg(lab.folder.path().join(SOCKET));
    let output = command.uid(NOBODY).gid(NOBODY).current_dir("/").output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.code(), String::from_utf8_lossy(&said).into_owned()))
}

const NOBODY: u32 = 65_534;

/// The name of the group of that number.
fn nobodys_group() -> Option<String> {
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    let line = groups.lines().find(|line| line.split(':').nth(2) == Some("65534"))?;
    line.split(':').next().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_told_that_they_may_not_and_a_group_may_read() {
    let mut lab = Lab::new(1, vec![policy("nightly", "0 2 * * *", "*", 9)]).await;
    lab.group = nobodys_group();
    std::fs::set_permissions(lab.folder.path(), Permissions::from_mode(0o755)).unwrap();
    lab.start().await;
    let asked = as_nobody(&lab, &["status", "--json"]);
    let (Some(group), Some((code, said))) = (lab.group.clone(), asked) else {
        eprintln!("skipped: only root can become another user, and this machine has to have one");
        return lab.stop().await;
    };
    assert_eq!(code, Some(0), "a member of the group may read: {said}");
    let (code, said) = as_nobody(&lab, &["prune", "nightly"]).unwrap();
    assert_eq!(code, Some(1));
    assert!(said.contains(&format!("may not do this: root and the service's user may, and group {group} may read")), "{said}");
    // Without the group, the system refuses; and the service does, where somebody has opened the file to all.
    lab.stop().await;
    lab.group = None;
    lab.start().await;
    let (code, said) = as_nobody(&lab, &["status"]).unwrap();
    assert!(code == Some(1) && said.contains("you may not talk to the service at "), "{said}");
    std::fs::set_permissions(lab.folder.path().join(SOCKET), Permissions::from_mode(0o666)).unwrap();
    let (code, said) = as_nobody(&lab, &["status"]).unwrap();
    assert!(code == Some(1) && said.contains("the service refuses: ") && said.contains("may not do this"), "{said}");
    assert_eq!(as_nobody(&lab, &["status", "--check"]).unwrap().0, Some(3));
    lab.stop().await;
}
