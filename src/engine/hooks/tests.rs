use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::output::{KEPT, Tail, harmless};
use super::process::Limits;
use super::*;
use crate::clock::{HandClock, SystemClock};
use crate::domain::span::Exact;

fn clock() -> SharedClock {
    Arc::new(SystemClock::new())
}

fn hook(command: &[&str]) -> Hook {
    Hook {
        phase: Phase::BeforeVm,
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        environment: [("GREETING".to_owned(), "hello".to_owned())].into(),
        timeout: Exact::seconds(60),
        on_failure: OnFailure::Fail,
    }
}

fn script(text: &str) -> Hook {
    hook(&["/bin/sh", "-c", text])
}

fn context() -> HookContext {
    HookContext {
        policy: "Nightly".to_owned(),
        policy_id: "nightly".to_owned(),
        pool: "lab".to_owned(),
        pool_uuid: "p-1".to_owned(),
        run: "r-1".to_owned(),
        due_at: "2026-03-29T01:30:00Z".parse().unwrap(),
        vm: Some(("v-1".to_owned(), "wéb 01; rm -rf /".to_owned())),
        snapshot_uuid: None,
        outcome: None,
    }
}

async fn run(phase: Phase, hooks: &[Hook]) -> Vec<HookReport> {
    let clock = clock();
    run_hooks(&mut Worker::new(&clock), &clock, hooks.iter(), phase, &context()).await
}

async fn one(hook: Hook) -> HookReport {
    run(Phase::BeforeVm, &[hook]).await.remove(0)
}

/// A script that is given an hour, and a minute to end when asked, on a clock that only the test moves.
struct Bounded {
    clock: HandClock,
    ended: tokio::task::JoinHandle<process::Ended>,
    folder: tempfile::TempDir,
}

impl Bounded {
    const TIMEOUT: Duration = Duration::from_secs(3600);
    const GRACE: Duration = Duration::from_secs(60);

    /// Starts it, in a folder of its own, and waits until it has written a line into the file `ready`.
    async fn start(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = HandClock::new(context().due_at);
        let command = script(&format!("cd {}; {text}", folder.path().display())).command;
        let ended = tokio::spawn({
            let clock: SharedClock = Arc::new(clock.clone());
            let environment = [("PATH".into(), "/usr/bin:/bin".into())].into();
            let limits = Limits { timeout: Self::TIMEOUT, grace: Self::GRACE };
            async move { process::run(&clock, &command, environment, limits).await }
        });
        let bounded = Self { clock, ended, folder };
        until("the script is ready", || bounded.ready().ends_with('\n')).await;
        bounded
    }

    fn ready(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("ready")).unwrap_or_default()
    }

    /// The process whose number stands in `ready`.
    fn pid(&self) -> String {
        self.ready().trim().to_owned()
    }
}

/// Whether a process lives; one that ended and waits to be collected does not.
fn lives(pid: &str) -> bool {
    let state = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    state.rsplit(')').next().and_then(|rest| rest.split_whitespace().next()).is_some_and(|state| state != "Z")
}

/// Waits until a condition holds, and fails after ten seconds.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

#[tokio::test]
async fn a_hook_that_succeeds_is_reported_with_what_it_wrote_in_the_order_written() {
    let report = one(script("echo one; echo two >&2; echo three")).await;
    assert!(report.result.is_ok(), "{report}");
    assert_eq!(report.output, "one\ntwo\nthree\n");
    assert_eq!(report.command, "/bin/sh -c 'echo one; echo two >&2; echo three'");
    assert_eq!(verdict(&[report]), None);
}

#[tokio::test]
async fn an_exit_code_is_a_failure_with_what_was_written_before() {
    let report = one(script("echo no room; exit 3")).await;
    assert!(matches!(report.result, Err(HookFailure::Code { code: 3 })), "{report}");
    assert_eq!(report.output, "no room\n");
    let text = verdict(&[report]).unwrap();
    assert!(text.starts_with("before-vm hook /bin/sh -c") && text.contains("exit code 3"), "{text}");
}

#[tokio::test]
async fn a_signal_is_a_failure_by_its_number() {
    let report = one(script("kill -9 $$")).await;
    assert!(matches!(report.result, Err(HookFailure::Signal { signal: 9 })), "{report}");
}

#[tokio::test]
async fn what_cannot_be_started_says_what_to_do() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for (command, advice) in [
        (vec!["/nowhere/at-all"], "no such file"),
        (vec![file.path().to_str().unwrap()], "chmod +x"),
        (vec!["/"], "chmod +x"),
        (vec![], "full path"),
    ] {
        let report = one(hook(&command)).await;
        let text = verdict(&[report]).unwrap();
        assert!(text.contains(advice), "{command:?}: {text}");
    }
}

#[tokio::test]
async fn a_hook_that_takes_too_long_is_ended_with_all_its_children() {
    let hook = Bounded::start("sleep 1000 & echo $! > ready; sleep 1000").await;
    let child = hook.pid();
    hook.clock.advance(Bounded::TIMEOUT - Duration::from_secs(1)).await;
    assert!(!hook.ended.is_finished() && lives(&child));
    hook.clock.advance(Duration::from_secs(1)).await;
    let ended = hook.ended.await.unwrap();
    assert!(matches!(ended.result, Err(HookFailure::TooLong { killed: false, .. })), "{ended:?}");
    assert!(ended.result.unwrap_err().to_string().contains("within 1h and was asked to end"));
    assert!(!lives(&child));
}

#[tokio::test]
async fn a_hook_that_does_not_end_when_asked_is_killed_with_all_its_children() {
    let hook = Bounded::start("trap '' TERM; sleep 1000 & echo $! > ready; echo begun; while :; do sleep 1000; done").await;
    let child = hook.pid();
    hook.clock.advance(Bounded::TIMEOUT).await;
    assert!(!hook.ended.is_finished() && lives(&child), "it does not mind being asked");
    while !hook.ended.is_finished() {
        hook.clock.advance(Bounded::GRACE).await;
    }
    let ended = hook.ended.await.unwrap();
    assert!(matches!(ended.result, Err(HookFailure::TooLong { killed: true, .. })), "{ended:?}");
    assert_eq!(ended.output, "begun\n");
    until("the child is gone", || !lives(&child)).await;
}

#[tokio::test]
async fn children_of_a_hook_that_ended_when_asked_have_the_same_time_to_end() {
    let child = "(trap 'sleep 0.2; echo tidied; exit' TERM; echo > ready; while :; do sleep 0.05; done)";
    let hook = Bounded::start(&format!("{child} & sleep 1000")).await;
    hook.clock.advance(Bounded::TIMEOUT).await;
    let ended = hook.ended.await.unwrap();
    assert!(matches!(ended.result, Err(HookFailure::TooLong { killed: false, .. })), "{ended:?}");
    assert!(ended.output.contains("tidied"), "{ended:?}");
}

#[tokio::test]
async fn a_hook_whose_caller_went_away_is_killed_with_all_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pids");
    let text = format!("sleep 1000 & echo $$ $! > {}; sleep 1000", file.display());
    let running = tokio::spawn(one(script(&text)));
    let pids = || std::fs::read_to_string(&file).unwrap_or_default();
    until("the hook runs", || pids().ends_with('\n')).await;
    running.abort();
    until("both are gone", || pids().split_whitespace().all(|pid| !lives(pid))).await;
}

#[tokio::test]
async fn a_process_that_a_hook_left_behind_holds_nobody_up_and_lives_on() {
    let begun = Instant::now();
    let report = one(script("sleep 30 & echo $!")).await;
    assert!(report.result.is_ok() && begun.elapsed() < Duration::from_secs(10), "{report:?}");
    assert!(lives(report.output.trim()));
    drop(std::process::Command::new("/bin/kill").arg(report.output.trim()).status());
}

#[tokio::test]
async fn a_flood_of_output_is_bounded_and_says_how_much_is_missing() {
    let report = one(script("head -c 10000000 /dev/zero | tr '\\0' x; echo; echo the end")).await;
    assert!(report.result.is_ok(), "{report}");
    let (first, rest) = report.output.split_once('\n').unwrap();
    assert_eq!(first, format!("[{} bytes before this were left out]", 10_000_009 - KEPT));
    assert!(rest.len() == KEPT && rest.ends_with("x\nthe end\n"));
}

#[tokio::test]
async fn somebody_left_behind_who_writes_for_ever_holds_nobody_up_either() {
    let begun = Instant::now();
    let report = one(script("yes > /dev/fd/1 & echo $!")).await;
    assert!(report.result.is_ok() && begun.elapsed() < Duration::from_secs(10), "{}", report.output.len());
    assert!(report.output.len() < 2 * KEPT);
}

#[tokio::test]
async fn no_byte_of_a_hook_reaches_a_terminal_unseen() {
    let report = one(script("printf 'a\\033[2Jb\\000\\377\\r\\n\\tc\\302\\205\\342\\200\\256é'")).await;
    assert_eq!(report.output, "a\\u{1b}[2Jb\\u{0}\\xff\\r\n\tc\\u{85}\\u{202e}é");
}

#[test]
fn a_cut_never_splits_a_character() {
    let mut tail = Tail::default();
    tail.push("é".repeat(KEPT).as_bytes());
    tail.push(b"x");
    let text = tail.into_text();
    let (first, rest) = text.split_once('\n').unwrap();
    assert_eq!(first, format!("[{} bytes before this were left out]", KEPT + 2));
    assert!(rest.starts_with('é') && rest.ends_with("éx") && rest.len() == KEPT - 1);
}

#[test]
fn a_tail_is_never_longer_than_it_may_be_and_counts_what_it_drops() {
    for (pieces, size) in [(1, 0), (1, KEPT), (1, KEPT + 1), (7, KEPT / 3), (1000, 997), (3, 5 * KEPT)] {
        let mut tail = Tail::default();
        for _ in 0..pieces {
            tail.push(&vec![b'x'; size]);
        }
        let text = tail.into_text();
        let left_out = (pieces * size).saturating_sub(KEPT);
        let mark = if left_out == 0 { String::new() } else { format!("[{left_out} bytes before this were left out]\n") };
        assert_eq!(text, mark + &"x".repeat(pieces * size - left_out));
    }
}

#[test]
fn harmless_text_stays_as_it_is() {
    let text = "plain, with \"quotes\", \\ and 日本語\n\tindented";
    assert_eq!(harmless(text.as_bytes()), text);
}

#[tokio::test]
async fn a_hook_sees_the_run_and_nothing_of_the_service() {
    let report = one(hook(&["/usr/bin/env"])).await;
    let names: Vec<&str> = report.output.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    let known = |name: &str| ["GREETING", "HOME", "LANG", "PATH", "TZ"].contains(&name) || name.starts_with("LC_");
    // The variables of the test's own runner stand for the service's.
    assert!(std::env::vars_os().any(|(name, _)| !known(&name.to_string_lossy())));
    assert!(names.iter().all(|name| known(name) || name.starts_with("XENSNAP_")), "{names:?}");
    for line in [
        "GREETING=hello",
        "XENSNAP_POLICY=Nightly",
        "XENSNAP_POLICY_ID=nightly",
        "XENSNAP_POOL=lab",
        "XENSNAP_POOL_UUID=p-1",
        "XENSNAP_RUN=r-1",
        "XENSNAP_DUE=2026-03-29T01:30:00Z",
        "XENSNAP_PHASE=before-vm",
        "XENSNAP_VM_UUID=v-1",
        "XENSNAP_VM_NAME=wéb 01; rm -rf /",
        "XENSNAP_SNAPSHOT_UUID=",
        "XENSNAP_OUTCOME=",
    ] {
        assert!(report.output.lines().any(|shown| shown == line), "{line} is missing in {}", report.output);
    }
}

#[test]
fn of_the_services_environment_only_what_was_named_is_kept() {
    let inherited = [
        ("PATH", "/opt/bin"),
        ("HOME", "/root"),
        ("TZ", "Europe/Berlin"),
        ("LC_TIME", "C"),
        ("XENSNAP_PASSWORD", "hunter2"),
        ("XENSNAP_OUTCOME", "forged"),
        ("CREDENTIALS_DIRECTORY", "/run/credentials"),
        ("LD_PRELOAD", "/tmp/evil.so"),
        ("path", "x"),
    ];
    let inherited = inherited.into_iter().map(|(name, value)| (name.into(), value.into()));
    let mut hook = hook(&["/bin/true"]);
    hook.environment = [("HOME".to_owned(), "/srv\0".to_owned())].into();
    let all = environment::of(inherited, &hook, Phase::AfterRun, &HookContext { vm: None, ..context() });
    let value = |name: &str| all.get(std::ffi::OsStr::new(name)).map(|value| value.to_str().unwrap());
    assert_eq!(all.len(), 4 + 11, "{all:?}");
    assert_eq!((value("PATH"), value("HOME"), value("LC_TIME")), (Some("/opt/bin"), Some("/srv"), Some("C")));
    assert_eq!((value("XENSNAP_PHASE"), value("XENSNAP_VM_NAME")), (Some("after-run"), Some("")));
    assert_eq!((value("XENSNAP_OUTCOME"), value("XENSNAP_PASSWORD")), (Some(""), None));
    let all = environment::of(std::iter::empty(), &hook, Phase::AfterRun, &context());
    assert!(all[std::ffi::OsStr::new("PATH")].to_str().unwrap().contains("/usr/bin"), "a hook always has a path");
}

#[tokio::test]
async fn a_hook_has_no_input_and_works_in_the_root_folder() {
    let report = one(script("cat; pwd")).await;
    assert_eq!(report.output, "/\n");
}

#[tokio::test]
async fn before_something_the_first_failure_that_counts_ends_the_series() {
    let tolerated = Hook { on_failure: OnFailure::Continue, ..script("exit 1") };
    let hooks = [tolerated, script("exit 2"), script("exit 3")];
    for phase in [Phase::BeforeRun, Phase::BeforeVm] {
        let reports = run(phase, &hooks).await;
        assert_eq!(reports.len(), 2);
        assert!(verdict(&reports[..1]).is_none(), "a failure that is tolerated is none");
        assert!(verdict(&reports).unwrap().contains("exit code 2"));
    }
}

#[tokio::test]
async fn after_something_every_hook_is_run() {
    let hooks = [script("exit 2"), hook(&["/nowhere"]), script("echo cleaned up")];
    for phase in [Phase::AfterRun, Phase::AfterVm] {
        let reports = run(phase, &hooks).await;
        assert_eq!(reports.len(), 3);
        assert_eq!(reports[2].output, "cleaned up\n");
        let text = verdict(&reports).unwrap();
        assert!(text.contains("exit code 2") && text.contains("/nowhere"), "{text}");
    }
}

#[tokio::test]
async fn virtual_time_does_not_pass_while_a_hook_runs() {
    let hand = HandClock::new(context().due_at);
    let clock: SharedClock = Arc::new(hand.clone());
    let hooks = [Hook { timeout: Exact::seconds(1), ..script("sleep 0.2") }];
    let mut worker = Worker::new(&clock);
    let context = context();
    let reports = hand.run(run_hooks(&mut worker, &clock, hooks.iter(), Phase::BeforeVm, &context)).await;
    assert!(reports[0].result.is_ok(), "{:?}", reports[0]);
    assert_eq!((reports[0].took, clock.elapsed()), (Duration::ZERO, Duration::ZERO));
}
