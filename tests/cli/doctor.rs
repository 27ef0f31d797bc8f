//! What `xensnap doctor` says to somebody who cannot get at a pool: one line each, with what to do next.

use std::sync::Arc;

use snapbox::cmd::Command;
use snapbox::str;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use xensnap::clock::{Clock as _, SystemClock};
use xensnap::simulator::generate::{Recipe, generate};
use xensnap::simulator::http::tls::Identity;
use xensnap::simulator::model::Release;
use xensnap::simulator::options::User;
use xensnap::simulator::pool_database;
use xensnap::simulator::value::{Ref, Value};
use xensnap::simulator::world::World;
use xensnap::simulator::{Options, Server, revive};

use crate::world::xensnap;

async fn pool(options: Options) -> Server {
    let clock = Arc::new(SystemClock::new());
    let world = generate(&Recipe { hosts: 1, vms: 3, snapshots: Some(2), ..Recipe::default() }, clock.now());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = Options { refusal_takes: std::time::Duration::ZERO, ..options };
    Server::start(options, clock, world, listener).await.unwrap()
}

fn doctor(address: &str) -> Command {
    // Messages of the system, which differ, would be broken at different places.
    xensnap(1000).env("XENSNAP_PASSWORD", "xensnap").args(["doctor", address])
}

/// What is printed, with the port of the day taken out.
fn says(command: Command, code: i32, port: u16, expected: impl snapbox::IntoData) {
    let output = command.assert().code(code);
    let printed = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    assert!(!printed.contains("hunter2"), "{printed}");
    snapbox::assert_data_eq!(printed.replace(&format!(":{port}"), ":PORT"), expected);
}

/// A port where nobody listens: it was free a moment ago.
async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

/// A server that answers every connection with these bytes.
async fn other_server(answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
                // Closing before everything was read would reset the connection, and take the answer along.
                while matches!(tokio::io::AsyncReadExt::read(&mut stream, &mut request).await, Ok(read) if read > 0) {}
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_can_be_worked_with_is_described() {
    let server = pool(Options::default()).await;
    let port = server.address().port();
    let expected = str![[r#"
pool http://127.0.0.1:PORT
  server    XenServer 9.0.0 (xapi 26.17), JSON-RPC
  master    xen-01 at http://127.0.0.1:PORT
  uuid      6b732d0d-d33f-4c47-ba61-e5796afb77bf (to pin it: pool_uuid = "6b732d0d-d33f-4c47-ba61-e5796afb77bf")
  hosts     1
  clock     the server's clock agrees with ours
  rights    everything that snapshots need
  contents  3 VMs (2 running), 2 snapshots, 6 SRs
  note      the connection is not encrypted, so that whoever is in between reads the password: write https:// in the pool's addresses [not-encrypted]
  note      no tool protects VM crm-02, as far as its snapshots and the server's schedules show: cover it by a policy [vm-unprotected]
  note      no tool protects VM crm-03, as far as its snapshots and the server's schedules show: cover it by a policy [vm-unprotected]
  note      no tool protects VM db-01, as far as its snapshots and the server's schedules show: cover it by a policy [vm-unprotected]
  SR Local storage of xen-01 (lvm): 72.6 GiB of 501 GiB taken
  BY                     VMS  SNAPSHOTS     TAKEN
  disks of VMs             1             72.6 GiB
  snapshots by somebody    1          1     8 MiB
  SR NFS virtual disk storage (nfs): 25.8 GiB of 501 GiB taken
  BY                     VMS  SNAPSHOTS     TAKEN
  disks of VMs             1             23.3 GiB
  templates                1              2.5 GiB
  snapshots by somebody    1          1   128 KiB
  SR iSCSI virtual disk storage (lvmoiscsi): 8 GiB of 501 GiB taken
  BY            VMS  TAKEN
  disks of VMs    1  8 GiB

"#]];
    says(doctor(&format!("http://127.0.0.1:{port}")), 0, port, expected);
    server.shutdown().await;
}

#[test]
fn a_name_that_does_not_exist() {
    says(
        doctor("https://xen1.invalid"),
        1,
        0,
        str![[r#"
pool https://xen1.invalid
  PROBLEM   https://xen1.invalid: the name cannot be resolved; check the pool's `addresses` and this machine's name server[..] [unreachable]

"#]],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection() {
    let port = free_port().await;
    says(
        doctor(&format!("https://127.0.0.1:{port}")),
        1,
        port,
        str![[r#"
pool https://127.0.0.1:PORT
  PROBLEM   https://127.0.0.1:PORT: the connection is refused; check host and port in the pool's `addresses`, and that the host's toolstack runs [unreachable]

"#]],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_certificate() {
    let identity = Identity::self_signed(&["127.0.0.1"]).unwrap();
    let fingerprint = identity.fingerprint();
    let server = pool(Options { tls: Some(identity), ..Options::default() }).await;
    let port = server.address().port();
    let address = format!("https://127.0.0.1:{port}");
    let output = doctor(&address).assert().code(1);
    let printed = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    let printed = printed.replace(&format!(":{port}"), ":PORT").replace(&fingerprint, "AB:CD");
    snapbox::assert_data_eq!(
        printed,
        str![[r#"
pool https://127.0.0.1:PORT
  PROBLEM   https://127.0.0.1:PORT: its certificate is not trusted (it is signed by an unknown authority, or by itself). If it has this fingerprint on the host's own console too, put this line into the pool's block: fingerprints = ["sha256:AB:CD"] [unreachable]

"#]]
    );
    doctor(&address).args(["--fingerprint", &format!("sha256:{fingerprint}")]).assert().code(0);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password() {
    let server = pool(Options::default()).await;
    let port = server.address().port();
    let command = doctor(&format!("http://127.0.0.1:{port}")).env("XENSNAP_PASSWORD", "hunter2");
    says(
        command,
        1,
        port,
        str![[r#"
pool http://127.0.0.1:PORT
  PROBLEM   http://127.0.0.1:PORT refuses user `root` with this password; check `username` and the password [unreachable]

"#]],
    );
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_the_right_to_snapshot() {
    let user = |name: &str, role| User { name: name.into(), password: "xensnap".into(), role };
    let users = vec![user("root", None), user("reader", Some("read-only".into()))];
    let server = pool(Options { users, ..Options::default() }).await;
    let port = server.address().port();
    let command = doctor(&format!("http://127.0.0.1:{port}")).args(["--username", "reader"]);
    says(
        command,
        1,
        port,
        str![[r#"
pool http://127.0.0.1:PORT
  server    XenServer 9.0.0 (xapi 26.17), JSON-RPC
  master    xen-01 at http://127.0.0.1:PORT
  uuid      6b732d0d-d33f-4c47-ba61-e5796afb77bf (to pin it: pool_uuid = "6b732d0d-d33f-4c47-ba61-e5796afb77bf")
  hosts     1
  clock     the server's clock agrees with ours
  contents  3 VMs (2 running), 2 snapshots, 6 SRs
  PROBLEM   the user may not call VM.snapshot, VM.checkpoint, VM.destroy, VDI.destroy, VM.add_to_other_config, pool.sync_database, pool.add_to_other_config: give it the role pool-operator (xe subject-role-add) [rights]
  note      the connection is not encrypted, so that whoever is in between reads the password: write https:// in the pool's addresses [not-encrypted]
  note      no tool protects VM crm-02, as far as its snapshots and the server's schedules show: cover it by a policy [vm-unprotected]
  note      no tool protects VM crm-03, as far as its snapshots and the server's schedules show: cover it by a policy [vm-unprotected]
  note      no tool protects VM db-01, as far as its snapshots and the server's schedules show: cover it by a policy [vm-unprotected]
  SR Local storage of xen-01 (lvm): 72.6 GiB of 501 GiB taken
  BY                     VMS  SNAPSHOTS     TAKEN
  disks of VMs             1             72.6 GiB
  snapshots by somebody    1          1     8 MiB
  SR NFS virtual disk storage (nfs): 25.8 GiB of 501 GiB taken
  BY                     VMS  SNAPSHOTS     TAKEN
  disks of VMs             1             23.3 GiB
  templates                1              2.5 GiB
  snapshots by somebody    1          1   128 KiB
  SR iSCSI virtual disk storage (lvmoiscsi): 8 GiB of 501 GiB taken
  BY            VMS  TAKEN
  disks of VMs    1  8 GiB

"#]],
    );
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_server_that_is_no_xenserver() {
    let port = other_server(
        "HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: 9\r\n\r\nnot here\n",
    )
    .await;
    says(
        doctor(&format!("http://127.0.0.1:{port}")),
        1,
        port,
        str![[r#"
pool http://127.0.0.1:PORT
  PROBLEM   http://127.0.0.1:PORT: what answers there is no XenServer (HTTP 404); check host and port in the pool's `addresses` [unreachable]

"#]],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_no_web_server() {
    let port = other_server("SSH-2.0-OpenSSH_9.6\r\n").await;
    says(
        doctor(&format!("http://127.0.0.1:{port}")),
        1,
        port,
        str![[r#"
pool http://127.0.0.1:PORT
  PROBLEM   http://127.0.0.1:PORT: what answers there is no web server, so no XenServer; check host and port (and `https://` against `http://`) [unreachable]

"#]],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_where_tls_is_spoken_and_the_other_way_round() {
    let identity = Identity::self_signed(&["127.0.0.1"]).unwrap();
    let server = pool(Options { tls: Some(identity), ..Options::default() }).await;
    let port = server.address().port();
    says(
        doctor(&format!("http://127.0.0.1:{port}")),
        1,
        port,
        str![[r#"
pool http://127.0.0.1:PORT
  PROBLEM   http://127.0.0.1:PORT: the connection ended before the answer was complete; if it stays so, look at the host, the network in between, and whether its port speaks TLS (`https://`)[..] [unreachable]

"#]],
    );
    server.shutdown().await;
    let port = other_server("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    says(
        doctor(&format!("https://127.0.0.1:{port}")),
        1,
        port,
        str![[r#"
pool https://127.0.0.1:PORT
  PROBLEM   https://127.0.0.1:PORT: this port does not speak TLS; use the port that does (443 by default), or write `http://` in front of the address if everybody on the way may read the password [unreachable]

"#]],
    );
}

#[test]
fn no_password_at_all() {
    let command = xensnap(100).env_remove("XENSNAP_PASSWORD").args(["doctor", "https://xen1.example.com"]);
    command.assert().code(1).stderr_eq(str![[r#"
xensnap: no password; give --password-file, or set XENSNAP_PASSWORD

"#]]);
}

/// When the pool with everything in it is looked at.
const THEN: &str = "2026-06-01T12:00:00Z";

/// The plain VMs, by name.
fn vms(world: &World) -> Vec<Ref> {
    let database = &world.database;
    let is = |vm: &Ref, field| database.bool("VM", vm, field);
    let plain = |vm: &Ref| !["is_a_template", "is_a_snapshot", "is_control_domain"].iter().any(|field| is(vm, field));
    let mut vms: Vec<Ref> = database.refs("VM").into_iter().filter(plain).collect();
    vms.sort_by_key(|vm| database.text("VM", vm, "name_label"));
    vms
}

/// The first disk of a VM.
fn disk(world: &World, vm: &Ref) -> Ref {
    let database = &world.database;
    let of_vm = |vbd: &Ref| database.text("VBD", vbd, "VM") == *vm && &*database.text("VBD", vbd, "type") == "Disk";
    let vbd = database.refs("VBD").into_iter().filter(of_vm).min_by_key(|vbd| database.text("VBD", vbd, "userdevice")).unwrap();
    database.text("VBD", &vbd, "VDI")
}

/// A pool in which everything is wrong once.
fn ailing(release: &str) -> World {
    let release = Release::parse(release).unwrap();
    let recipe = Recipe { hosts: 2, vms: 14, snapshots: Some(16), seed: 11, release, ..Recipe::default() };
    let mut world = generate(&recipe, THEN.parse().unwrap());
    let vms = vms(&world);
    let set = |world: &mut World, class: &str, object: &Ref, field: &str, value| {
        world.database.set(class, object, field, value).unwrap();
    };
    world.database.create(
        "VUSB",
        "OpaqueRef:usb",
        [("VM", Value::Str(vms[6].clone())), ("uuid", Value::str("75b00000-0000-4000-8000-000000000001"))],
    );
    set(&mut world, "VM", &vms[1], "attached_PCIs", Value::texts(["OpaqueRef:pci"]));
    let shared = disk(&world, &vms[2]);
    set(&mut world, "VDI", &shared, "sharable", Value::Bool(true));
    let raw = disk(&world, &vms[3]);
    set(&mut world, "VDI", &raw, "sm_config", Value::pairs([("vdi_type", "raw")]));
    set(&mut world, "VM", &vms[4], "tags", Value::texts(["xensnap:skip=test"]));
    set(&mut world, "VM", &vms[5], "blocked_operations", Value::pairs([("snapshot", "by the vendor")]));
    let srs: Vec<Ref> = world.database.refs("SR");
    let named =
        |world: &World, name: &str| srs.iter().find(|sr| &*world.database.text("SR", sr, "name_label") == name).unwrap().clone();
    let nfs = named(&world, "NFS virtual disk storage");
    set(&mut world, "SR", &nfs, "other_config", Value::pairs([("gc", "false")]));
    let (size, library) = (world.database.int("SR", &nfs, "physical_size"), named(&world, "ISO library"));
    set(&mut world, "SR", &nfs, "physical_utilisation", Value::Int(size / 100 * 95));
    let pbd = world.database.refs("PBD").into_iter().find(|pbd| world.database.text("PBD", pbd, "SR") == library).unwrap();
    set(&mut world, "PBD", &pbd, "currently_attached", Value::Bool(false));
    let host = world.master.clone();
    world.database.create(
        "Certificate",
        "OpaqueRef:certificate",
        [("host", Value::Str(host)), ("type", Value::str("host")), ("not_after", Value::Date("20200101T00:00:00Z".into()))],
    );
    world
}

/// Policies for that pool, with a hook in a home folder and one that is not there.
const POLICIES: &str = r#"
[[policy]]
name = "nightly"
schedule = { cron = "30 2 * * *", zone = "Europe/Berlin" }
select = { include = [{ name = "*-0*" }] }
retention = { last = 27 }
[[policy.hooks]]
phase = "before_run"
command = ["/home/ops/freeze.sh"]

[[policy]]
name = "deep"
schedule = { cron = "@weekly", zone = "UTC" }
select = { include = [{ name = "*-0*" }], exclude = [{ name = "web-*" }] }
snapshot = { kind = "memory", fallback = "disk" }
retention = { last = 2 }

[[policy]]
name = "sql"
schedule = { cron = "@daily", zone = "UTC" }
select = { include = [{ name = "sql-*" }] }
snapshot = { kind = "quiesced" }
retention = { last = 2 }
"#;

/// A folder with a configuration for a pool, and the unit as it is shipped.
fn configured(port: u16) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let main = format!(
        "installation = \"lab\"\n[store]\npath = \"history.db\"\n[[pool]]\nname = \"lab\"\naddresses = [\"http://127.0.0.1:{port}\"]\n\
         username = \"root\"\npassword = \"xensnap\"\n"
    );
    let path = folder.path().join("xensnap.toml");
    std::fs::write(&path, main).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::create_dir(folder.path().join("policies.d")).unwrap();
    std::fs::write(folder.path().join("policies.d/all.toml"), POLICIES).unwrap();
    let unit = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/xensnap.service");
    std::fs::copy(unit, folder.path().join("xensnap.service")).unwrap();
    folder
}

async fn serve(world: World) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = Options { refusal_takes: std::time::Duration::ZERO, ..Options::default() };
    Server::start(options, Arc::new(SystemClock::new()), world, listener).await.unwrap()
}

fn examined(folder: &tempfile::TempDir, width: u16, more: &[&str]) -> Command {
    let command = xensnap(width).args(["doctor", "--now", THEN, "--config"]).arg(folder.path().join("xensnap.toml"));
    command.arg("--unit").arg(folder.path().join("xensnap.service")).args(more)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_in_which_everything_is_wrong_is_told_at_80_columns() {
    let server = serve(ailing("26.17.0")).await;
    let port = server.address().port();
    let folder = configured(port);
    says(
        examined(&folder, 80, &[]),
        1,
        port,
        str![[r#"
pool lab
  server    XenServer 9.0.0 (xapi 26.17), JSON-RPC
  master    xen-01 at http://127.0.0.1:PORT
  uuid      9d40315a-e86e-4113-9a10-134e418916ab (to pin it: pool_uuid =
            "9d40315a-e86e-4113-9a10-134e418916ab")
  hosts     2
  clock     the server's clock agrees with ours
  rights    everything that snapshots need
  contents  14 VMs (8 running), 16 snapshots, 8 SRs
  covered   8 of 14 VMs by policies
  PROBLEM   the SR ISO library is not attached to xen-02, so VMs with a disk or
            a disc on it cannot be snapshotted there: plug it (xe pbd-plug)
            [sr-unplugged]
  PROBLEM   VM ci-06 (policy deep, nightly): the VM has USB devices passed
            through: detach them (xe vusb-destroy), or exclude the VM [vm-usb]
  PROBLEM   VM app-07 (policy deep, nightly): the disk "app-07 disk 0" at
            position 0 is shared between VMs, which the server does not
            snapshot: exclude the disk [disk-sharable]
  PROBLEM   VM app-09 (policy deep, nightly): the disk "app-09 disk 0" at
            position 0 is raw, which no driver can snapshot: exclude the disk,
            or copy it (xe vdi-copy) [disk-raw]
  PROBLEM   VM ci-05 (policy deep, nightly): somebody blocked snapshot of this
            VM ("by the vendor"): remove it from blocked_operations if it is not
            wanted [vm-blocked]
  WARNING   the certificate of host xen-01 has ended on 2020-01-01: renew it on
            the host (xe host-refresh-server-certificate), and put a new
            fingerprint into the pool's block [certificate-ends]
  WARNING   the garbage collector of the SR NFS virtual disk storage is switched
            off (gc), so what is removed never becomes free: take gc out of the
            SR's other_config (xe sr-param-remove) [sr-no-collection]
  WARNING   the SR NFS virtual disk storage is 94 % full, 25.1 GiB left: free
            space on it or move disks; who fills it is listed below [sr-full]
  WARNING   VM app-02 (policy deep): a snapshot of the disks instead of one with
            memory: the VM has PCI devices passed through, so its memory cannot
            be kept: detach them [vm-pci]
  WARNING   VM erp-04 (policy deep): a snapshot of the disks instead of one with
            memory: the VM is halted: only a running or suspended VM has memory
            to keep [vm-power]
  WARNING   the policy sql covers no VM of this pool: look at its `select`
            (`xensnap explain VM` says why a VM is not covered), or name other
            `pools` [policy-empty]
  WARNING   no policy covers VM Exchange 2019 – Frankfurt, and no other tool
            does: add it to a policy, or tag it xensnap:skip=REASON if that is
            meant so [vm-unprotected]
  WARNING   no policy covers VM mon-13, and no other tool does: add it to a
            policy, or tag it xensnap:skip=REASON if that is meant so
            [vm-unprotected]
  WARNING   no policy covers VM proxy-14, and no other tool does: add it to a
            policy, or tag it xensnap:skip=REASON if that is meant so
            [vm-unprotected]
  WARNING   VM app-02 is protected by policy deep, nightly and by the server's
            own schedule (its newest snapshot is of 2026-05-31 00:57 UTC): let
            one of them do it: both fill the storage, and both lengthen the
            chains [protected-twice]
  WARNING   VM app-07 is protected by policy deep, nightly and by Xen Orchestra
            (its newest snapshot is of 2026-05-31 06:29 UTC): let one of them do
            it: both fill the storage, and both lengthen the chains
            [protected-twice]
  WARNING   VM app-09 is protected by policy deep, nightly and by Xen Orchestra
            (its newest snapshot is of 2026-05-31 03:43 UTC): let one of them do
            it: both fill the storage, and both lengthen the chains
            [protected-twice]
  WARNING   VM ci-05 is protected by policy deep, nightly and by the server's
            own schedule (its newest snapshot is of 2026-05-31 03:49 UTC): let
            one of them do it: both fill the storage, and both lengthen the
            chains [protected-twice]
  WARNING   VM ci-06 is protected by policy deep, nightly and by the server's
            own schedule (its newest snapshot is of 2026-05-31 08:45 UTC): let
            one of them do it: both fill the storage, and both lengthen the
            chains [protected-twice]
            and 2 more of this kind [protected-twice]; --all shows them
  WARNING   VM app-02, disk 0 on SR NFS virtual disk storage: with what the
            policies keep, its chain will have 32 layers of the 30 that the
            server allows: keep fewer snapshots (retention) [chain-grows]
  WARNING   VM app-07, disk 0 on SR Local storage of xen-01: with what the
            policies keep, its chain will have 31 layers of the 30 that the
            server allows: keep fewer snapshots (retention) [chain-grows]
  WARNING   VM app-09, disk 0 on SR iSCSI virtual disk storage: with what the
            policies keep, its chain will have 30 layers of the 30 that the
            server allows: keep fewer snapshots (retention) [chain-grows]
  WARNING   VM ci-05, disk 0 on SR Local storage of xen-01: with what the
            policies keep, its chain will have 31 layers of the 30 that the
            server allows: keep fewer snapshots (retention) [chain-grows]
  WARNING   VM ci-06, disk 0 on SR NFS virtual disk storage: with what the
            policies keep, its chain will have 31 layers of the 30 that the
            server allows: keep fewer snapshots (retention) [chain-grows]
            and 5 more of this kind [chain-grows]; --all shows them
  note      the connection is not encrypted, so that whoever is in between reads
            the password: write https:// in the pool's addresses [not-encrypted]
  note      VM ci-01 is left out: skipped because of its tag "xensnap:skip=test"
            [vm-left-out]
  note      no policy covers VM ci-10; the server's own schedule "nightly" does
            [vm-elsewhere]
  note      no policy covers VM queue-11; the server's own schedule "nightly"
            does [vm-elsewhere]
  SR NFS virtual disk storage (nfs): 475.9 GiB of 501 GiB taken
  BY                                      VMS  SNAPSHOTS      TAKEN
  disks of VMs                              7             179.0 GiB
  templates                                 1               4.7 GiB
  snapshots by the server's own schedule    4          4    1.8 GiB
  snapshots by somebody                     4          4    256 KiB
  snapshots by Xen Orchestra                1          1     64 KiB
  SR Local storage of xen-01 (lvm): 280.4 GiB of 561 GiB taken
  BY                                      VMS  SNAPSHOTS      TAKEN
  disks of VMs                              4             280.4 GiB
  snapshots by somebody                     2          2     32 MiB
  snapshots by the server's own schedule    1          1      8 MiB
  snapshots by Xen Orchestra                1          1      8 MiB
  SR iSCSI virtual disk storage (lvmoiscsi): 181.3 GiB of 501 GiB taken
  BY                          VMS  SNAPSHOTS      TAKEN
  disks of VMs                  2             171.3 GiB
  snapshots by Xen Orchestra    1          1     10 GiB
  snapshots by somebody         1          1     16 MiB
  SR Local storage of xen-02 (ext): 6.7 GiB of 501 GiB taken
  BY                     VMS  SNAPSHOTS    TAKEN
  disks of VMs             1             6.7 GiB
  snapshots by somebody    1          1   64 KiB
service
  PROBLEM   a hook of policy nightly: /home/ops/freeze.sh is not there: install
            it, or mend the hook's command [hook-missing]
  PROBLEM   a hook of policy nightly: /home/ops/freeze.sh is in a home folder,
            which the unit hides (ProtectHome): move it to
            /usr/local/lib/xensnap, or install
            /usr/share/doc/xensnap/xensnap.service.d/hooks.conf.example as
            /etc/systemd/system/xensnap.service.d/hooks.conf with
            ProtectHome=read-only [hook-hidden]

"#]],
    );
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_in_which_everything_is_wrong_is_told_at_200_columns() {
    let server = serve(ailing("26.17.0")).await;
    let port = server.address().port();
    let folder = configured(port);
    says(
        examined(&folder, 200, &[]),
        1,
        port,
        str![[r#"
pool lab
  server    XenServer 9.0.0 (xapi 26.17), JSON-RPC
  master    xen-01 at http://127.0.0.1:PORT
  uuid      9d40315a-e86e-4113-9a10-134e418916ab (to pin it: pool_uuid = "9d40315a-e86e-4113-9a10-134e418916ab")
  hosts     2
  clock     the server's clock agrees with ours
  rights    everything that snapshots need
  contents  14 VMs (8 running), 16 snapshots, 8 SRs
  covered   8 of 14 VMs by policies
  PROBLEM   the SR ISO library is not attached to xen-02, so VMs with a disk or a disc on it cannot be snapshotted there: plug it (xe pbd-plug) [sr-unplugged]
  PROBLEM   VM ci-06 (policy deep, nightly): the VM has USB devices passed through: detach them (xe vusb-destroy), or exclude the VM [vm-usb]
  PROBLEM   VM app-07 (policy deep, nightly): the disk "app-07 disk 0" at position 0 is shared between VMs, which the server does not snapshot: exclude the disk [disk-sharable]
  PROBLEM   VM app-09 (policy deep, nightly): the disk "app-09 disk 0" at position 0 is raw, which no driver can snapshot: exclude the disk, or copy it (xe vdi-copy) [disk-raw]
  PROBLEM   VM ci-05 (policy deep, nightly): somebody blocked snapshot of this VM ("by the vendor"): remove it from blocked_operations if it is not wanted [vm-blocked]
  WARNING   the certificate of host xen-01 has ended on 2020-01-01: renew it on the host (xe host-refresh-server-certificate), and put a new fingerprint into the pool's block [certificate-ends]
  WARNING   the garbage collector of the SR NFS virtual disk storage is switched off (gc), so what is removed never becomes free: take gc out of the SR's other_config (xe sr-param-remove)
            [sr-no-collection]
  WARNING   the SR NFS virtual disk storage is 94 % full, 25.1 GiB left: free space on it or move disks; who fills it is listed below [sr-full]
  WARNING   VM app-02 (policy deep): a snapshot of the disks instead of one with memory: the VM has PCI devices passed through, so its memory cannot be kept: detach them [vm-pci]
  WARNING   VM erp-04 (policy deep): a snapshot of the disks instead of one with memory: the VM is halted: only a running or suspended VM has memory to keep [vm-power]
  WARNING   the policy sql covers no VM of this pool: look at its `select` (`xensnap explain VM` says why a VM is not covered), or name other `pools` [policy-empty]
  WARNING   no policy covers VM Exchange 2019 – Frankfurt, and no other tool does: add it to a policy, or tag it xensnap:skip=REASON if that is meant so [vm-unprotected]
  WARNING   no policy covers VM mon-13, and no other tool does: add it to a policy, or tag it xensnap:skip=REASON if that is meant so [vm-unprotected]
  WARNING   no policy covers VM proxy-14, and no other tool does: add it to a policy, or tag it xensnap:skip=REASON if that is meant so [vm-unprotected]
  WARNING   VM app-02 is protected by policy deep, nightly and by the server's own schedule (its newest snapshot is of 2026-05-31 00:57 UTC): let one of them do it: both fill the storage, and both
            lengthen the chains [protected-twice]
  WARNING   VM app-07 is protected by policy deep, nightly and by Xen Orchestra (its newest snapshot is of 2026-05-31 06:29 UTC): let one of them do it: both fill the storage, and both lengthen the
            chains [protected-twice]
  WARNING   VM app-09 is protected by policy deep, nightly and by Xen Orchestra (its newest snapshot is of 2026-05-31 03:43 UTC): let one of them do it: both fill the storage, and both lengthen the
            chains [protected-twice]
  WARNING   VM ci-05 is protected by policy deep, nightly and by the server's own schedule (its newest snapshot is of 2026-05-31 03:49 UTC): let one of them do it: both fill the storage, and both
            lengthen the chains [protected-twice]
  WARNING   VM ci-06 is protected by policy deep, nightly and by the server's own schedule (its newest snapshot is of 2026-05-31 08:45 UTC): let one of them do it: both fill the storage, and both
            lengthen the chains [protected-twice]
            and 2 more of this kind [protected-twice]; --all shows them
  WARNING   VM app-02, disk 0 on SR NFS virtual disk storage: with what the policies keep, its chain will have 32 layers of the 30 that the server allows: keep fewer snapshots (retention)
            [chain-grows]
  WARNING   VM app-07, disk 0 on SR Local storage of xen-01: with what the policies keep, its chain will have 31 layers of the 30 that the server allows: keep fewer snapshots (retention) [chain-grows]
  WARNING   VM app-09, disk 0 on SR iSCSI virtual disk storage: with what the policies keep, its chain will have 30 layers of the 30 that the server allows: keep fewer snapshots (retention)
            [chain-grows]
  WARNING   VM ci-05, disk 0 on SR Local storage of xen-01: with what the policies keep, its chain will have 31 layers of the 30 that the server allows: keep fewer snapshots (retention) [chain-grows]
  WARNING   VM ci-06, disk 0 on SR NFS virtual disk storage: with what the policies keep, its chain will have 31 layers of the 30 that the server allows: keep fewer snapshots (retention) [chain-grows]
            and 5 more of this kind [chain-grows]; --all shows them
  note      the connection is not encrypted, so that whoever is in between reads the password: write https:// in the pool's addresses [not-encrypted]
  note      VM ci-01 is left out: skipped because of its tag "xensnap:skip=test" [vm-left-out]
  note      no policy covers VM ci-10; the server's own schedule "nightly" does [vm-elsewhere]
  note      no policy covers VM queue-11; the server's own schedule "nightly" does [vm-elsewhere]
  SR NFS virtual disk storage (nfs): 475.9 GiB of 501 GiB taken
  BY                                      VMS  SNAPSHOTS      TAKEN
  disks of VMs                              7             179.0 GiB
  templates                                 1               4.7 GiB
  snapshots by the server's own schedule    4          4    1.8 GiB
  snapshots by somebody                     4          4    256 KiB
  snapshots by Xen Orchestra                1          1     64 KiB
  SR Local storage of xen-01 (lvm): 280.4 GiB of 561 GiB taken
  BY                                      VMS  SNAPSHOTS      TAKEN
  disks of VMs                              4             280.4 GiB
  snapshots by somebody                     2          2     32 MiB
  snapshots by the server's own schedule    1          1      8 MiB
  snapshots by Xen Orchestra                1          1      8 MiB
  SR iSCSI virtual disk storage (lvmoiscsi): 181.3 GiB of 501 GiB taken
  BY                          VMS  SNAPSHOTS      TAKEN
  disks of VMs                  2             171.3 GiB
  snapshots by Xen Orchestra    1          1     10 GiB
  snapshots by somebody         1          1     16 MiB
  SR Local storage of xen-02 (ext): 6.7 GiB of 501 GiB taken
  BY                     VMS  SNAPSHOTS    TAKEN
  disks of VMs             1             6.7 GiB
  snapshots by somebody    1          1   64 KiB
service
  PROBLEM   a hook of policy nightly: /home/ops/freeze.sh is not there: install it, or mend the hook's command [hook-missing]
  PROBLEM   a hook of policy nightly: /home/ops/freeze.sh is in a home folder, which the unit hides (ProtectHome): move it to /usr/local/lib/xensnap, or install
            /usr/share/doc/xensnap/xensnap.service.d/hooks.conf.example as /etc/systemd/system/xensnap.service.d/hooks.conf with ProtectHome=read-only [hook-hidden]

"#]],
    );
    says(
        examined(&folder, 200, &["--all"]),
        1,
        port,
        str![[r#"
pool lab
  server    XenServer 9.0.0 (xapi 26.17), JSON-RPC
  master    xen-01 at http://127.0.0.1:PORT
  uuid      9d40315a-e86e-4113-9a10-134e418916ab (to pin it: pool_uuid = "9d40315a-e86e-4113-9a10-134e418916ab")
  hosts     2
  clock     the server's clock agrees with ours
  rights    everything that snapshots need
  contents  14 VMs (8 running), 16 snapshots, 8 SRs
  covered   8 of 14 VMs by policies
  PROBLEM   the SR ISO library is not attached to xen-02, so VMs with a disk or a disc on it cannot be snapshotted there: plug it (xe pbd-plug) [sr-unplugged]
  PROBLEM   VM ci-06 (policy deep, nightly): the VM has USB devices passed through: detach them (xe vusb-destroy), or exclude the VM [vm-usb]
  PROBLEM   VM app-07 (policy deep, nightly): the disk "app-07 disk 0" at position 0 is shared between VMs, which the server does not snapshot: exclude the disk [disk-sharable]
  PROBLEM   VM app-09 (policy deep, nightly): the disk "app-09 disk 0" at position 0 is raw, which no driver can snapshot: exclude the disk, or copy it (xe vdi-copy) [disk-raw]
  PROBLEM   VM ci-05 (policy deep, nightly): somebody blocked snapshot of this VM ("by the vendor"): remove it from blocked_operations if it is not wanted [vm-blocked]
  WARNING   the certificate of host xen-01 has ended on 2020-01-01: renew it on the host (xe host-refresh-server-certificate), and put a new fingerprint into the pool's block [certificate-ends]
  WARNING   the garbage collector of the SR NFS virtual disk storage is switched off (gc), so what is removed never becomes free: take gc out of the SR's other_config (xe sr-param-remove)
            [sr-no-collection]
  WARNING   the SR NFS virtual disk storage is 94 % full, 25.1 GiB left: free space on it or move disks; who fills it is listed below [sr-full]
  WARNING   VM app-02 (policy deep): a snapshot of the disks instead of one with memory: the VM has PCI devices passed through, so its memory cannot be kept: detach them [vm-pci]
  WARNING   VM erp-04 (policy deep): a snapshot of the disks instead of one with memory: the VM is halted: only a running or suspended VM has memory to keep [vm-power]
  WARNING   the policy sql covers no VM of this pool: look at its `select` (`xensnap explain VM` says why a VM is not covered), or name other `pools` [policy-empty]
  WARNING   no policy covers VM Exchange 2019 – Frankfurt, and no other tool does: add it to a policy, or tag it xensnap:skip=REASON if that is meant so [vm-unprotected]
  WARNING   no policy covers VM mon-13, and no other tool does: add it to a policy, or tag it xensnap:skip=REASON if that is meant so [vm-unprotected]
  WARNING   no policy covers VM proxy-14, and no other tool does: add it to a policy, or tag it xensnap:skip=REASON if that is meant so [vm-unprotected]
  WARNING   VM app-02 is protected by policy deep, nightly and by the server's own schedule (its newest snapshot is of 2026-05-31 00:57 UTC): let one of them do it: both fill the storage, and both
            lengthen the chains [protected-twice]
  WARNING   VM app-07 is protected by policy deep, nightly and by Xen Orchestra (its newest snapshot is of 2026-05-31 06:29 UTC): let one of them do it: both fill the storage, and both lengthen the
            chains [protected-twice]
  WARNING   VM app-09 is protected by policy deep, nightly and by Xen Orchestra (its newest snapshot is of 2026-05-31 03:43 UTC): let one of them do it: both fill the storage, and both lengthen the
            chains [protected-twice]
  WARNING   VM ci-05 is protected by policy deep, nightly and by the server's own schedule (its newest snapshot is of 2026-05-31 03:49 UTC): let one of them do it: both fill the storage, and both
            lengthen the chains [protected-twice]
  WARNING   VM ci-06 is protected by policy deep, nightly and by the server's own schedule (its newest snapshot is of 2026-05-31 08:45 UTC): let one of them do it: both fill the storage, and both
            lengthen the chains [protected-twice]
  WARNING   VM erp-04 is protected by policy deep, nightly and by the server's own schedule (its newest snapshot is of 2026-05-31 05:55 UTC): let one of them do it: both fill the storage, and both
            lengthen the chains [protected-twice]
  WARNING   VM web-08 is protected by policy nightly and by Xen Orchestra (its newest snapshot is of 2026-05-31 01:57 UTC): let one of them do it: both fill the storage, and both lengthen the chains
            [protected-twice]
  WARNING   VM app-02, disk 0 on SR NFS virtual disk storage: with what the policies keep, its chain will have 32 layers of the 30 that the server allows: keep fewer snapshots (retention)
            [chain-grows]
  WARNING   VM app-07, disk 0 on SR Local storage of xen-01: with what the policies keep, its chain will have 31 layers of the 30 that the server allows: keep fewer snapshots (retention) [chain-grows]
  WARNING   VM app-09, disk 0 on SR iSCSI virtual disk storage: with what the policies keep, its chain will have 30 layers of the 30 that the server allows: keep fewer snapshots (retention)
            [chain-grows]
  WARNING   VM ci-05, disk 0 on SR Local storage of xen-01: with what the policies keep, its chain will have 31 layers of the 30 that the server allows: keep fewer snapshots (retention) [chain-grows]
  WARNING   VM ci-06, disk 0 on SR NFS virtual disk storage: with what the policies keep, its chain will have 31 layers of the 30 that the server allows: keep fewer snapshots (retention) [chain-grows]
  WARNING   VM erp-03, disk 0 on SR iSCSI virtual disk storage: with what the policies keep, its chain will have 31 layers of the 30 that the server allows: keep fewer snapshots (retention)
            [chain-grows]
  WARNING   VM erp-03, disk 1 on SR iSCSI virtual disk storage: with what the policies keep, its chain will have 31 layers of the 30 that the server allows: keep fewer snapshots (retention)
            [chain-grows]
  WARNING   VM erp-04, disk 0 on SR NFS virtual disk storage: with what the policies keep, its chain will have 31 layers of the 30 that the server allows: keep fewer snapshots (retention)
            [chain-grows]
  WARNING   VM erp-04, disk 1 on SR NFS virtual disk storage: with what the policies keep, its chain will have 31 layers of the 30 that the server allows: keep fewer snapshots (retention)
            [chain-grows]
  WARNING   VM web-08, disk 0 on SR NFS virtual disk storage: with what the policies keep, its chain will have 29 layers of the 30 that the server allows: keep fewer snapshots (retention)
            [chain-grows]
  note      the connection is not encrypted, so that whoever is in between reads the password: write https:// in the pool's addresses [not-encrypted]
  note      VM ci-01 is left out: skipped because of its tag "xensnap:skip=test" [vm-left-out]
  note      no policy covers VM ci-10; the server's own schedule "nightly" does [vm-elsewhere]
  note      no policy covers VM queue-11; the server's own schedule "nightly" does [vm-elsewhere]
  SR NFS virtual disk storage (nfs): 475.9 GiB of 501 GiB taken
  BY                                      VM                         SNAPSHOTS      TAKEN
  disks of VMs                            app-02                                 58.1 GiB
  disks of VMs                            ci-01                                  34.9 GiB
  disks of VMs                            web-08                                 28.2 GiB
  disks of VMs                            ci-06                                  19.6 GiB
  disks of VMs                            Exchange 2019 – Frankfurt              18.4 GiB
  disks of VMs                            proxy-14                               15.5 GiB
  templates                               Golden image                            4.7 GiB
  disks of VMs                            erp-04                                  4.3 GiB
  snapshots by the server's own schedule  app-02                             1    1.1 GiB
  snapshots by the server's own schedule  ci-01                              1  700.1 MiB
  snapshots by the server's own schedule  erp-04                             1    128 KiB
  snapshots by somebody                   Exchange 2019 – Frankfurt          1     64 KiB
  snapshots by the server's own schedule  ci-06                              1     64 KiB
  snapshots by somebody                   app-02                             1     64 KiB
  snapshots by Xen Orchestra              web-08                             1     64 KiB
  snapshots by somebody                   proxy-14                           1     64 KiB
  snapshots by somebody                   ci-01                              1     64 KiB
  SR Local storage of xen-01 (lvm): 280.4 GiB of 561 GiB taken
  BY                                      VM        SNAPSHOTS     TAKEN
  disks of VMs                            mon-13                124 GiB
  disks of VMs                            ci-05                79.8 GiB
  disks of VMs                            queue-11             66.8 GiB
  disks of VMs                            app-07                9.7 GiB
  snapshots by somebody                   queue-11          1    16 MiB
  snapshots by somebody                   mon-13            1    16 MiB
  snapshots by the server's own schedule  ci-05             1     8 MiB
  snapshots by Xen Orchestra              app-07            1     8 MiB
  SR iSCSI virtual disk storage (lvmoiscsi): 181.3 GiB of 501 GiB taken
  BY                          VM      SNAPSHOTS     TAKEN
  disks of VMs                app-09              100 GiB
  disks of VMs                erp-03             71.2 GiB
  snapshots by Xen Orchestra  app-09          1    10 GiB
  snapshots by somebody       erp-03          1    16 MiB
  SR Local storage of xen-02 (ext): 6.7 GiB of 501 GiB taken
  BY                     VM     SNAPSHOTS    TAKEN
  disks of VMs           ci-10             6.7 GiB
  snapshots by somebody  ci-10          1   64 KiB
service
  PROBLEM   a hook of policy nightly: /home/ops/freeze.sh is not there: install it, or mend the hook's command [hook-missing]
  PROBLEM   a hook of policy nightly: /home/ops/freeze.sh is in a home folder, which the unit hides (ProtectHome): move it to /usr/local/lib/xensnap, or install
            /usr/share/doc/xensnap/xensnap.service.d/hooks.conf.example as /etc/systemd/system/xensnap.service.d/hooks.conf with ProtectHome=read-only [hook-hidden]

"#]],
    );
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_pool_is_told_by_its_address_alone() {
    let server = serve(ailing("8.0")).await;
    let port = server.address().port();
    says(
        doctor(&format!("http://127.0.0.1:{port}")).args(["--now", THEN]),
        1,
        port,
        str![[r#"
pool http://127.0.0.1:PORT
  server    Citrix Hypervisor 8.0.0 (xapi 1.160), JSON-RPC
  master    xen-01 at http://127.0.0.1:PORT
  uuid      8785639f-88ce-4d4e-9ddf-718e17d63cf2 (to pin it: pool_uuid = "8785639f-88ce-4d4e-9ddf-718e17d63cf2")
  hosts     2
  clock     the server's clock agrees with ours
  rights    everything that snapshots need
  contents  14 VMs (9 running), 16 snapshots, 8 SRs
  PROBLEM   the SR ISO library is not attached to xen-01, so VMs with a disk or a disc on it cannot be snapshotted there: plug it (xe pbd-plug) [sr-unplugged]
  WARNING   the garbage collector of the SR NFS virtual disk storage is switched off (gc), so what is removed never becomes free: take gc out of the SR's other_config (xe sr-param-remove) [sr-no-collection]
  WARNING   the SR NFS virtual disk storage is 94 % full, 25.1 GiB left: free space on it or move disks; who fills it is listed below [sr-full]
  note      the connection is not encrypted, so that whoever is in between reads the password: write https:// in the pool's addresses [not-encrypted]
  note      VM crm-13: the VM has USB devices passed through: detach them (xe vusb-destroy), or exclude the VM [vm-usb]
  note      VM app-10: a snapshot of the disks instead of one with memory: the VM has PCI devices passed through, so its memory cannot be kept: detach them [vm-pci]
  note      VM cache-06: the disk "cache-06 disk 0" at position 0 is shared between VMs, which the server does not snapshot: exclude the disk [disk-sharable]
  note      VM ci-04: the disk "ci-04 disk 0" at position 0 is raw, which no driver can snapshot: exclude the disk, or copy it (xe vdi-copy) [disk-raw]
  note      VM Exchange 2019 – Frankfurt: a snapshot of the disks instead of a quiesced one: the guest's tools do not offer snapshots: update them, and see that their service runs [guest-not-quiesced]
  note      VM app-10: a snapshot of the disks instead of a quiesced one: the guest's tools do not offer snapshots: update them, and see that their service runs [guest-not-quiesced]
  note      VM log-11: a snapshot of the disks instead of a quiesced one: the guest's tools do not offer snapshots: update them, and see that their service runs [guest-not-quiesced]
  note      VM mail-03: a snapshot of the disks instead of a quiesced one: the guest's tools do not report: install them, or see that their service runs [guest-not-quiesced]
  note      VM mon-14: a snapshot of the disks instead of a quiesced one: the guest's tools do not offer snapshots: update them, and see that their service runs [guest-not-quiesced]
  note      VM mail-03: a snapshot of the disks instead of one with memory: the guest's tools do not offer to suspend it: install or update them, and see that their service runs [guest-lacks-feature]
  note      VM crm-01: somebody blocked snapshot of this VM ("by the vendor"): remove it from blocked_operations if it is not wanted [vm-blocked]
  note      VM file-07: no running host reaches all storage of the VM: plug every SR of its disks on one host, and eject discs of unplugged ISO SRs [vm-storage]
  note      no tool protects VM crm-13, as far as its snapshots and the server's schedules show: cover it by a policy [vm-unprotected]
  note      no tool protects VM log-11, as far as its snapshots and the server's schedules show: cover it by a policy [vm-unprotected]
  note      no tool protects VM mail-03, as far as its snapshots and the server's schedules show: cover it by a policy [vm-unprotected]
  note      no tool protects VM mon-14, as far as its snapshots and the server's schedules show: cover it by a policy [vm-unprotected]
  note      the server's own schedule takes snapshots here (5 now, the newest of 2026-05-31 08:59 UTC): let one tool protect a VM [other-tool]
  note      Xen Orchestra takes snapshots here (3 now, the newest of 2026-05-31 09:01 UTC): let one tool protect a VM [other-tool]
  SR iSCSI virtual disk storage (lvmoiscsi): 788.9 GiB of 1.5 TiB taken
  BY                                      VMS  SNAPSHOTS      TAKEN
  disks of VMs                              9             775.6 GiB
  snapshots by the server's own schedule    4          4   13.2 GiB
  snapshots by somebody                     6          6     80 MiB
  snapshots by Xen Orchestra                1          1      8 MiB
  SR NFS virtual disk storage (nfs): 475.9 GiB of 501 GiB taken
  BY                                      VMS  SNAPSHOTS     TAKEN
  disks of VMs                              1             22.7 GiB
  templates                                 1              2.8 GiB
  snapshots by the server's own schedule    1          1    64 KiB
  SR Local storage of xen-01 (lvm): 104.1 GiB of 501 GiB taken
  BY                          VMS  SNAPSHOTS    TAKEN
  disks of VMs                  3             104 GiB
  snapshots by somebody         1          1   24 MiB
  snapshots by Xen Orchestra    2          2   24 MiB
  SR Local storage of xen-02 (ext): 4.1 GiB of 501 GiB taken
  BY                     VMS  SNAPSHOTS    TAKEN
  disks of VMs             1             4.1 GiB
  snapshots by somebody    1          1   64 KiB

"#]],
    );
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_doctor_finds_is_one_object_and_every_member_is_described() {
    let server = serve(ailing("26.17.0")).await;
    let folder = configured(server.address().port());
    let output = examined(&folder, 80, &["--json"]).assert().code(1);
    let object: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    crate::json::assert_described(&object, "doctor --json");
    let codes = |weight: &str| -> std::collections::BTreeSet<String> {
        let findings = object["pools"][0]["findings"].as_array().unwrap().iter().chain(object["service"].as_array().unwrap());
        findings
            .filter(|finding| finding["weight"] == weight)
            .map(|finding| finding["code"].as_str().unwrap().to_owned())
            .collect()
    };
    for code in ["vm-usb", "disk-sharable", "disk-raw", "vm-blocked", "sr-unplugged", "hook-missing", "hook-hidden"] {
        assert!(codes("problem").contains(code), "{code} in {:?}", codes("problem"));
    }
    for code in ["sr-no-collection", "sr-full", "certificate-ends", "vm-pci", "protected-twice"] {
        assert!(codes("warning").contains(code), "{code} in {:?}", codes("warning"));
    }
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_and_credentials_are_judged_by_the_unit_with_its_drop_ins() {
    let server = serve(ailing("26.17.0")).await;
    let port = server.address().port();
    let folder = configured(port);
    let drop_ins = folder.path().join("xensnap.service.d");
    std::fs::create_dir(&drop_ins).unwrap();
    std::fs::write(drop_ins.join("hooks.conf"), "[Service]\nProtectHome=read-only\nReadWritePaths=/nonexistent/exports\n")
        .unwrap();
    let service = |folder: &tempfile::TempDir| -> Vec<String> {
        let output = examined(folder, 80, &["--json"]).assert();
        let object: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
        object["service"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(service(&folder), ["hook-missing", "folder-missing"]);
    std::fs::remove_file(folder.path().join("xensnap.service")).unwrap();
    assert_eq!(service(&folder), ["hook-missing", "unit-unknown"]);
    std::fs::write(folder.path().join("policies.d/all.toml"), "[[policy]]\nnmae = 1\n").unwrap();
    assert_eq!(service(&folder), ["configuration"]);
    server.shutdown().await;
}

/// Databases of real pools, where there are some: the folder beside the project.
fn real_pools() -> Vec<std::path::PathBuf> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/pools");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("skipped: there is no {}", folder.display());
        return Vec::new();
    };
    entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "xml")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn real_pools_are_judged_without_a_failure_and_every_finding_says_what_is_so() {
    for path in real_pools() {
        let file = std::io::BufReader::new(std::fs::File::open(&path).unwrap());
        let server = serve(revive::revive(pool_database::load(file, None).unwrap(), 7).unwrap()).await;
        let output = doctor(&format!("http://{}", server.address())).arg("--json").assert();
        let object: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
        let pool = &object["pools"][0];
        assert!(pool["pool"]["uuid"].is_string(), "{}: {pool}", path.display());
        for finding in pool["findings"].as_array().unwrap() {
            assert_ne!(finding["what"], "", "{}: {finding}", path.display());
            assert!(finding["code"] != "vm-cannot", "{}: {finding}", path.display());
        }
        server.shutdown().await;
    }
}

#[test]
fn the_manual_has_every_code_with_what_it_means_and_what_to_do() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/DOCTOR.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once("<!-- codes -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- end of codes -->").unwrap();
    let right = format!("{before}<!-- codes -->\n{}<!-- end of codes -->{after}", xensnap::domain::finding::table());
    if std::env::var("SNAPSHOTS").is_ok_and(|what| what == "overwrite") {
        std::fs::write(&path, &right).unwrap();
    } else {
        assert_eq!(page, right, "docs/DOCTOR.md is out of date: SNAPSHOTS=overwrite cargo test --test cli doctor writes it anew");
    }
}
