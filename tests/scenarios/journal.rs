//! What two nights leave in the journal, read back from a real journal file: the lines go through the journal's own protocol to a socket
//! of this test, `systemd-journal-remote` makes a file of them, and `journalctl` answers as it answers an administrator. Where Debian's
//! package systemd-journal-remote is not installed, the test says so and skips that.

use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use serde_json::Value;
use tempfile::TempDir;
use tracing_subscriber::Layer as _;
use tracing_subscriber::layer::SubscriberExt as _;
use xensnap::domain::event::EventKind;
use xensnap::simulator::error::ApiError;
use xensnap::simulator::faults::{Action, Plan, Rule};
use xensnap::simulator::value::Value as Field;
use xensnap::telemetry::Journal;

use super::lab::{Lab, folder, policy};

/// A name that tries to be a line, and a field, of its own.
const HOSTILE: &str = "db\nMESSAGE_ID=00000000000000000000000000000000\nroot: all is well";

/// Ends a recording.
const OVER: &[u8] = b"over";

/// A socket in place of the journal's.
struct Recorder {
    folder: TempDir,
    reader: JoinHandle<Vec<Vec<u8>>>,
}

impl Recorder {
    fn new() -> Self {
        let folder = folder();
        let socket = UnixDatagram::bind(folder.path().join("socket")).unwrap();
        let reader = std::thread::spawn(move || {
            let (mut entries, mut buffer) = (Vec::new(), vec![0; 1 << 20]);
            loop {
                let length = socket.recv(&mut buffer).unwrap();
                if &buffer[..length] == OVER {
                    return entries;
                }
                entries.push(buffer[..length].to_vec());
            }
        });
        Self { folder, reader }
    }

    /// Whatever this thread says goes there while the guards live. With one subscriber alone, `tracing` asks the thread that says
    /// something for the first time whether anybody listens, and keeps its answer for all threads; other tests of this binary have
    /// threads on which nobody does. So there are two.
    fn listen(&self) -> (tracing::Dispatch, tracing::subscriber::DefaultGuard) {
        let second = tracing::Dispatch::new(tracing_subscriber::registry());
        let journal = Journal::at(&self.folder.path().join("socket"));
        let lines = journal.with_filter(tracing_subscriber::EnvFilter::new("debug"));
        (second, tracing::subscriber::set_default(tracing_subscriber::registry().with(lines)))
    }

    fn entries(self) -> (TempDir, Vec<Vec<u8>>) {
        UnixDatagram::unbound().unwrap().send_to(OVER, self.folder.path().join("socket")).unwrap();
        (self.folder, self.reader.join().unwrap())
    }
}

/// The program that writes journal files, where it is installed.
fn writer() -> Option<&'static Path> {
    let paths = ["/lib/systemd/systemd-journal-remote", "/usr/lib/systemd/systemd-journal-remote"];
    paths.into_iter().map(Path::new).find(|path| path.exists())
}

/// Makes a journal file: an entry of the journal's protocol is one of its export format, but for the times that the journal adds.
fn journal_file(writer: &Path, folder: &Path, entries: &[Vec<u8>]) -> PathBuf {
    let file = folder.join("test.journal");
    let mut command = Command::new(writer);
    command.arg("-o").arg(&file).arg("-").stdin(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    for (n, entry) in entries.iter().enumerate() {
        let (real, monotonic) = (1_772_366_400_000_000 + n, 1_000_000 + n);
        write!(
            input,
            "__REALTIME_TIMESTAMP={real}\n__MONOTONIC_TIMESTAMP={monotonic}\n_BOOT_ID={:032x}\n_SYSTEMD_UNIT=xensnap.service\n",
            1
        )
        .unwrap();
        input.write_all(entry).unwrap();
        input.write_all(b"\n").unwrap();
    }
    drop(input);
    assert!(child.wait().unwrap().success());
    file
}

/// What `journalctl` finds with these matches.
fn journalctl(file: &Path, matches: &[&str]) -> Vec<Value> {
    let output = Command::new("journalctl").arg("--file").arg(file).args(["-o", "json", "--all"]).args(matches).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The fields that the catalogue's text for this kind names.
fn named_by_catalogue(kind: EventKind) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/xensnap.catalog");
    let text = std::fs::read_to_string(path).unwrap();
    let entry = text.split("\n-- ").find(|entry| entry.starts_with(kind.message_id())).expect("every kind is in the catalogue");
    let names = entry.split('@').skip(1).step_by(2).map(str::to_owned);
    names.collect()
}

fn text<'v>(entry: &'v Value, field: &str) -> &'v str {
    entry[field].as_str().unwrap_or_else(|| panic!("no {field} in {entry}"))
}

/// Two nights of three VMs, of which one is refused in the first and one has a hostile name.
async fn two_nights(lab: &mut Lab) {
    lab.step(|world| {
        let first = world.database.refs("VM").into_iter().find(|vm| !world.database.bool("VM", vm, "is_a_template"));
        let vm = first.filter(|vm| !world.database.bool("VM", vm, "is_control_domain")).unwrap();
        world.database.set("VM", &vm, "name_label", Field::str(HOSTILE)).unwrap();
    });
    lab.start().await;
    let full = ApiError::new("SR_BACKEND_FAILURE_44", ["", "There is insufficient space"]);
    lab.simulation.set_faults(Plan::new(1).with(Rule::on("VM.snapshot", Action::Refuse(full)).times(1)));
    lab.until("2026-03-02T03:00:00Z").await;
    lab.until("2026-03-03T03:00:00Z").await;
    lab.stop().await;
}

#[tokio::test]
async fn the_journal_is_filtered_by_policy_vm_run_and_error() {
    let Some(writer) = writer() else {
        eprintln!("skipped: systemd-journal-remote is not installed (apt-get install systemd-journal-remote)");
        return;
    };
    let mut lab = Lab::new(3, vec![policy("nightly", "0 2 * * *", "*", 1), policy("weekly", "0 5 * * 0", "*", 1)]).await;
    let vms = lab.vms().len();
    let recorder = Recorder::new();
    {
        let _guards = recorder.listen();
        two_nights(&mut lab).await;
    }
    let (folder, entries) = recorder.entries();
    let file = journal_file(writer, folder.path(), &entries);

    let all = journalctl(&file, &[]);
    assert_eq!(all.len(), entries.len(), "no line is lost");
    check_lines(&all);
    let taken = journalctl(&file, &["POLICY=nightly", "EVENT=snapshot-taken"]);
    assert_eq!(taken.len(), 2 * vms - 1);
    assert!(taken.iter().all(|entry| text(entry, "DURATION_MS").parse::<u64>().is_ok()), "{taken:?}");
    let of_hostile = journalctl(&file, &[&format!("VM_NAME={HOSTILE}"), "EVENT=snapshot-taken"]);
    assert!(!of_hostile.is_empty());
    let uuid = text(&of_hostile[0], "VM_UUID");
    assert_eq!(journalctl(&file, &[&format!("VM_UUID={uuid}"), "EVENT=snapshot-taken"]).len(), of_hostile.len());

    let refused = journalctl(&file, &["XENAPI_ERROR=SR_BACKEND_FAILURE_44"]);
    assert_eq!(refused.len(), 1, "one line for one fact: {refused:?}");
    assert_eq!((text(&refused[0], "EVENT"), text(&refused[0], "PRIORITY")), ("failed", "3"));
    let run = journalctl(&file, &[&format!("RUN_ID={}", text(&refused[0], "RUN_ID")), "EVENT=run-partial"]);
    assert_eq!((run.len(), text(&run[0], "SLOT")), (1, "2026-03-02T02:00:00Z"));
    let removed = journalctl(&file, &[&format!("MESSAGE_ID={}", EventKind::SnapshotRemoved.message_id())]);
    assert_eq!(removed.len(), vms - 1);
    assert!(
        removed.iter().all(|entry| !journalctl(&file, &[&format!("SNAPSHOT_UUID={}", text(entry, "SNAPSHOT_UUID"))]).is_empty())
    );
    assert_eq!(journalctl(&file, &["POLICY=weekly"]), Vec::<Value>::new());
    assert_eq!(journalctl(&file, &["POOL=lab", "EVENT=pool-reached"]).len(), 1);
}

/// Every line can be read alone, and one of a known kind has what the catalogue's text fills in.
fn check_lines(all: &[Value]) {
    for entry in all {
        let message = text(entry, "MESSAGE");
        assert!(!message.is_empty() && !message.contains('\n'), "{message:?}");
        assert_eq!(text(entry, "SYSLOG_IDENTIFIER"), "xensnap");
        assert!(text(entry, "PRIORITY").parse::<u8>().is_ok_and(|priority| priority <= 7), "{entry}");
        let Some(kind) = entry["EVENT"].as_str() else {
            assert!(entry["MESSAGE_ID"].is_null(), "{entry}");
            continue;
        };
        let kind = EventKind::from_word(kind).unwrap();
        assert_eq!(text(entry, "MESSAGE_ID"), kind.message_id());
        assert_eq!(text(entry, "PRIORITY"), kind.severity().priority().to_string());
        for field in named_by_catalogue(kind) {
            assert!(!entry[&field].is_null(), "the catalogue's text for {kind} names {field}, which is not in {entry}");
        }
    }
}
