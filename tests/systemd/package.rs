//! The Debian package on a clean Debian: installed, configured, working through a night, upgraded while a slot is due, removed, purged.
//! `XENSNAP_DEBIAN_ROOTS` names a folder in which the clean root is kept once debootstrap has made it; without that, or where this is
//! not root on Debian, there is nothing to see.
//!
//! No systemd runs below that root. `systemctl` there is a script that hands what it is asked to the test, which plays systemd for the
//! maintainer scripts (`manager.rs`) as the launcher does for the program.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use serde_json::Value;
use tempfile::TempDir;

use crate::file;
use crate::launcher::Machine;
use crate::manager::{Manager, below, done, now, said};

/// The versions that are packed, the older first.
const VERSIONS: [&str; 2] = ["1.0.0-1", "1.0.1-1"];

/// The packages, with the program that the tests have built in both.
fn packages() -> &'static [PathBuf] {
    static PACKAGES: OnceLock<(TempDir, Vec<PathBuf>)> = OnceLock::new();
    let (_, packages) = PACKAGES.get_or_init(|| {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let packed = VERSIONS.map(|version| {
            let mut build = Command::new(file("packaging/build-deb"));
            build.args(["--binary", env!("CARGO_BIN_EXE_xensnap"), "--version", version, "--output"]).arg(folder.path());
            // Neither is for anybody: no debug information, and packed soon rather than small.
            build.env("DEB_BUILD_OPTIONS", "noautodbgsym").env("XENSNAP_DPKG_DEB", "-Zgzip -z1");
            let printed = done(&mut build);
            PathBuf::from(printed.lines().last().unwrap())
        });
        (folder, packed.to_vec())
    });
    packages
}

/// The folder of clean roots, if this test can be done here.
fn roots() -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("XENSNAP_DEBIAN_ROOTS") else {
        eprintln!("skipped: XENSNAP_DEBIAN_ROOTS names no folder for a clean Debian");
        return None;
    };
    let has = |program: &str| Command::new("sh").args(["-c", &format!("command -v {program}")]).stdout(Stdio::null()).status();
    let lacking = ["debootstrap", "dh", "dpkg-deb", "lintian", "chroot", "unshare"].into_iter();
    let lacking: Vec<&str> = lacking.filter(|program| !has(program).unwrap().success()).collect();
    let is_root = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0;
    if !is_root || !lacking.is_empty() {
        eprintln!("skipped: packages are looked at by root on Debian; root: {is_root}, lacking: {lacking:?}");
        return None;
    }
    if !Command::new("unshare").args(["--mount", "true"]).status().unwrap().success() {
        eprintln!("skipped: this machine lets nobody mount anything, not even for himself");
        return None;
    }
    Some(folder.into())
}

/// A clean Debian of its own.
fn clean(roots: &Path) -> TempDir {
    let kept = roots.join("bookworm.tar");
    if !kept.exists() {
        std::fs::create_dir_all(roots).unwrap();
        let making = tempfile::tempdir_in(roots).unwrap();
        let (root, packed) = (making.path().join("root"), making.path().join("tar"));
        done(Command::new("debootstrap").args(["--variant=minbase", "--include=systemd", "bookworm"]).arg(&root));
        done(Command::new("tar").arg("-cf").arg(&packed).arg("-C").arg(&root).arg("."));
        std::fs::rename(packed, &kept).unwrap();
    }
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    done(Command::new("tar").arg("-xf").arg(kept).arg("-C").arg(root.path()));
    root
}

/// Everything below the root, but what belongs to dpkg and to the accounts.
fn inventory(root: &Path) -> Vec<String> {
    let listed = done(below(root, "find").args(["/", "-xdev", "-printf", "%p %M %u:%g %l\n"]));
    let of_others =
        ["/var/lib/dpkg", "/var/log/dpkg.log", "/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/.pwd.lock"];
    let mut lines: Vec<String> = listed.lines().map(str::to_owned).collect();
    lines.retain(|line| !of_others.iter().any(|path| line.starts_with(path)));
    lines.sort();
    lines
}

/// `xensnap simulator`, ended with the test.
struct Pool(std::process::Child, String);

impl Pool {
    fn start() -> Self {
        use std::io::{BufRead as _, BufReader};
        let args =
            ["simulator", "--listen", "127.0.0.1:0", "--hosts", "1", "--vms", "2", "--snapshots", "0", "--storage-time", "0"];
        let mut child = Command::new(env!("CARGO_BIN_EXE_xensnap")).args(args).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| Some(line.split_once("answers at http://")?.1.trim().to_owned())).unwrap();
        // It must not be stopped by a pipe that nobody reads.
        std::thread::spawn(move || lines.for_each(drop));
        Self(child, address)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What an admin writes: a pool, and its password as a credential.
fn configure(machine: &Machine, pool: &Pool) {
    let main = std::fs::read_to_string(machine.path("/etc/xensnap/xensnap.toml")).unwrap();
    assert!(main.lines().all(|line| line.is_empty() || line.starts_with('#')), "everything in it waits for an admin: {main}");
    let block = format!(
        "installation = \"packed\"\n[[pool]]\nname = \"tokyo\"\naddresses = [\"http://{}\"]\nusername = \"root\"\n\
         password_credential = \"tokyo\"\n",
        pool.1
    );
    std::fs::write(machine.path("/etc/xensnap/xensnap.toml"), format!("{main}{block}")).unwrap();
    std::fs::write(machine.path("/etc/xensnap/credentials/tokyo"), "xensnap\n").unwrap();
    schedule(machine, "never", "0 0 1 1 *");
}

/// The one policy, which comes into force by the unit's own reload where the service runs.
fn schedule(machine: &Machine, id: &str, cron: &str) {
    let text = format!(
        "#:schema ../policy.schema.json\n[[policy]]\nname = \"{id}\"\nid = \"{id}\"\n[policy.schedule]\nzone = \"UTC\"\n\
         cron = \"{cron}\"\ncatch_up = \"one\"\n[policy.select]\ninclude = [{{ name = \"*\" }}]\n[policy.retention]\nlast = 3\n"
    );
    std::fs::write(machine.path("/etc/xensnap/policies.d/policy.toml"), text).unwrap();
}

/// The policy comes into force by the unit's own reload.
fn reload(machine: &Machine) {
    let reloaded = machine.reload();
    assert!(reloaded.status.success(), "{}", said(&reloaded));
}

/// Lets this policy be due once, soon; the service knows it well before.
fn due_soon(machine: &Machine, id: &str) -> DateTime<Utc> {
    for seconds in [10, 20, 40, 80] {
        let due = (now() + TimeDelta::seconds(seconds)).duration_trunc(TimeDelta::seconds(1)).unwrap();
        schedule(machine, id, &due.format("%-S %-M %-H %-d %-m *").to_string());
        reload(machine);
        if now() + TimeDelta::seconds(seconds / 2) < due {
            return due;
        }
    }
    panic!("a reload takes longer than 40 s");
}

/// The slots of a policy.
fn slots(root: &Path, policy: &str) -> Vec<Value> {
    let listed = done(below(root, "xensnap").args(["history", "--slots", "--json", "--policy", policy]));
    serde_json::from_str::<Value>(&listed).unwrap()["slots"].as_array().unwrap().clone()
}

/// What became of a policy's slot, when its run has ended.
async fn ended(root: &Path, policy: &str, due: DateTime<Utc>) -> Value {
    let end = now() + TimeDelta::seconds(120);
    loop {
        let slots = slots(root, policy);
        let slot = slots.iter().find(|slot| time(&slot["due_at"]) == due);
        if let Some(slot) = slot.filter(|slot| !slot["outcome"].is_null()) {
            return slot.clone();
        }
        assert!(now() < end, "{policy} {due}: {slots:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

#[test]
fn lintian_finds_nothing_to_say_about_the_package() {
    if roots().is_some() {
        let looked = done(Command::new("lintian").args(["--allow-root", "--fail-on", "error,warning"]).arg(&packages()[0]));
        assert!(!looked.contains("E: ") && !looked.contains("W: "), "{looked}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_package_installs_works_is_upgraded_without_a_lost_slot_and_leaves_nothing() {
    let Some(roots) = roots() else { return };
    let debian = clean(&roots);
    let (root, pool) = (debian.path(), Pool::start());
    let before = inventory(root);
    let mut manager = Manager::of(root);
    manager.dpkg(&["--install", "/old.deb"], &packages()[0]).await;
    assert_eq!(manager.restarts, 0, "nothing is started before it is described: {:?}", manager.asked);

    // Nobody has described a pool, and somebody starts it all the same.
    let machine = Machine::debian(root, &["[Service]\nLoadCredential=tokyo:/etc/xensnap/credentials/tokyo\n"]);
    std::fs::write(machine.path("/etc/xensnap/credentials/tokyo"), "").unwrap();
    let unconfigured = machine.start().ends().await;
    assert_eq!((unconfigured.code(), machine.unit.restarts_after(unconfigured)), (Some(78), false));

    configure(&machine, &pool);
    done(below(root, "xensnap").arg("check"));
    done(below(root, "/bin/systemctl").args(["enable", "xensnap"]).env("SYSTEMD_OFFLINE", "1"));
    manager.start(machine).await;
    let due = due_soon(manager.machine(), "night");
    let slot = ended(root, "night", due).await;
    assert_eq!((&slot["origin"], &slot["outcome"]), (&"schedule".into(), &"succeeded".into()), "{slot}");
    let taken = done(below(root, "xensnap").args(["snapshots", "--json"]));
    let taken: Value = serde_json::from_str(&taken).unwrap();
    assert_eq!(taken["snapshots"].as_array().map(Vec::len), Some(2), "{taken}");

    // A slot is due while neither the old program nor the new one runs.
    schedule(manager.machine(), "each-minute", "* * * * *");
    reload(manager.machine());
    manager.lingers = true;
    manager.dpkg(&["--install", "/new.deb"], &packages()[1]).await;
    assert_eq!(manager.restarts, 1, "{:?}", manager.asked);
    let slot = ended(root, "each-minute", manager.away_at.unwrap()).await;
    assert!(time(&slot["decided_at"]) > manager.back_at.unwrap(), "by the new program: {slot}");
    assert_eq!(slot["outcome"], "succeeded", "{slot}");
    let all = slots(root, "each-minute");
    let due: Vec<DateTime<Utc>> = all.iter().map(|slot| time(&slot["due_at"])).collect();
    assert!(due.windows(2).all(|pair| pair[0] - pair[1] == TimeDelta::minutes(1)), "none is lost, none is taken twice: {all:?}");
    assert!(all.iter().all(|slot| slot["state"] != "missed"), "{all:?}");
    let shown = done(below(root, "journalctl").args(["--dump-catalog", "6523302916d84223838b692bc45555e7"]));
    assert!(shown.contains("A snapshot was taken"), "{shown}");

    manager.dpkg(&["--remove", "xensnap"], Path::new("")).await;
    assert!(!manager.runs(), "{:?}", manager.asked);
    for kept in ["etc/xensnap/xensnap.toml", "etc/xensnap/policies.d/policy.toml", "var/lib/xensnap/history.sqlite"] {
        assert!(root.join(kept).exists(), "{kept} outlives a removal");
    }
    manager.dpkg(&["--purge", "xensnap"], Path::new("")).await;
    manager.gone();
    let users = std::fs::read_to_string(root.join("etc/shadow")).unwrap();
    assert!(users.contains("\nxensnap:!"), "the user stays, locked: {users}");
    let after = inventory(root);
    let left: Vec<&String> = after.iter().filter(|line| !before.contains(line)).collect();
    let missing: Vec<&String> = before.iter().filter(|line| !after.contains(line)).collect();
    assert!(left.is_empty() && missing.is_empty(), "left: {left:#?}, missing: {missing:#?}");
}

/// What the tarball is made of, elsewhere.
fn copy(to: &Path) {
    let parts =
        ["Cargo.toml", "Cargo.lock", "README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE", "src", "benches", "config"];
    for part in parts.into_iter().chain(["systemd", "docs", "monitoring", "packaging"]) {
        done(Command::new("cp").arg("-r").arg(file(part)).arg(to));
    }
}

#[test]
fn the_tarball_of_the_same_program_has_the_same_bytes_wherever_and_by_whomever_it_is_packed() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (elsewhere, program) = (folder.path().join("elsewhere"), folder.path().join("xensnap"));
    std::fs::create_dir(&elsewhere).unwrap();
    copy(&elsewhere);
    done(Command::new("strip").arg("-o").arg(&program).arg(env!("CARGO_BIN_EXE_xensnap")));
    let pack = |script: &Path, umask: &str, zone: &str, output: &str| {
        let output = folder.path().join(output);
        let mut command = Command::new("sh");
        command.args(["-c", &format!("umask {umask}; exec \"$@\""), "sh"]).arg(script);
        command.arg("--binary").arg(&program).arg("--output").arg(&output);
        command
            .env("SOURCE_DATE_EPOCH", "1795478400")
            .env("XENSNAP_REVISION", "513d48f")
            .env("TZ", zone)
            .env("XENSNAP_GZIP", "-1");
        done(&mut command);
        done(Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(&output));
        std::fs::read_to_string(output.join("SHA256SUMS")).unwrap()
    };
    let here = pack(&file("packaging/build-tarball"), "022", "UTC", "one");
    let there = pack(&elsewhere.join("packaging/build-tarball"), "077", "Asia/Tokyo", "two");
    assert_eq!(here, there);
}
