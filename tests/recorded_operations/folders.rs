//! The recorded folders, each in its state.

use std::path::Path;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use xensnap::simulator::codec::Rpc;
use xensnap::simulator::value::{Ref, Text, Value};
use xensnap::simulator::world::World;

use crate::compare::{Mask, difference};
use crate::origin::{DISC, Drive, EXT, ISO, NFS, record, text, vm, world};
use crate::recordings;
use crate::replay::{Replay, read_answer};
use crate::transcript::Transcript;

/// What differs from run to run: dates, fresh generation ids, and sizes, which the recorded driver did not keep.
pub const MASKS: [Mask; 3] = [Mask::Dates, Mask::Field("generation_id"), Mask::Field("physical_utilisation")];

pub fn exchanges(recordings: &Path, folder: &str, wanted: impl Fn(&str) -> bool) -> Vec<Transcript> {
    Transcript::folder(&recordings.join(folder)).into_iter().filter(|exchange| wanted(&exchange.name)).collect()
}

/// Replays exchanges; what is drawn anew in each run is levelled inside of texts, too.
pub async fn check_all(replay: &mut Replay, recorded: &[Transcript], masks: &[Mask]) {
    for exchange in recorded {
        let request = replay.bindings.translate(&exchange.request);
        let mut stream = TcpStream::connect(replay.server.address()).await.unwrap();
        stream.write_all(&request).await.unwrap();
        let mut answer = read_answer(&mut stream, &mut Vec::new()).await;
        answer.body = level(&answer.body);
        let levelled = Transcript { body: level(&exchange.body), ..exchange.clone() };
        replay.compare(&levelled, masks, &answer);
    }
}

/// Takes out the numbers behind what is drawn anew in each run: generation ids, domains, the time a domain was made.
fn level(body: &[u8]) -> Vec<u8> {
    let mut text = String::from_utf8_lossy(body).into_owned();
    for start in [
        "('generation_id' '",
        "('domid' '",
        "last_create_time\\\":",
        "last_create_time&quot;:",
        "last_create_time\\\\\\\":",
        "\"domid\\\":",
        "domid\\\":",
        "domid&quot;:",
    ] {
        text = without_number(&text, start);
    }
    text.into_bytes()
}

fn without_number(text: &str, start: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(start) {
        let (before, value) = rest.split_at(at + start.len());
        out.push_str(before);
        rest = value.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | ':' | '-'));
    }
    out + rest
}

pub fn disk<'a>(device: &'a str, vdi: &'a str, sr: &'a str, name: &'a str, size: i64) -> Drive<'a> {
    Drive { device, kind: "Disk", vdi, sr, name, size }
}

pub const CD: Drive = Drive { device: "3", kind: "CD", vdi: DISC, sr: ISO, name: "debian-lab.iso", size: 1 << 20 };

pub const MIB: i64 = 1 << 20;

/// A copy of a VM under another reference, for exchanges that only need one of its kind.
fn twin(world: &mut World, of: &Ref, reference: &str) -> Ref {
    let fields = xensnap::simulator::operations::copies::fields(world, "VM", of).unwrap();
    let plain: Vec<_> = fields.into_iter().filter(|(_, value)| !matches!(value, Value::Set(_))).collect();
    let uuid = world.uuid();
    world.database.create(
        "VM",
        reference,
        plain.into_iter().filter(|(name, _)| *name != "uuid").chain([("uuid", Value::str(uuid))]),
    )
}

fn of_snapshot(recordings: &Path, name: &str) -> Rpc {
    record(recordings, &format!("snapshot/20_record_of_{name}_snapshot.json"))
}

fn mac_of_snapshot(recordings: &Path, name: &str) -> Text {
    text(&record(recordings, &format!("snapshot/23_vif_of_{name}_snapshot.json")), "MAC")
}

/// A halted VM with two disks, and another like it.
pub fn batch02(world: &mut World, recordings: &Path) -> Ref {
    let drives = [
        disk("0", "OpaqueRef:0bdf2f86-5450-23e5-551f-ae431b3967b7", EXT, "batch02 disk 0", 256 * MIB),
        disk("1", "OpaqueRef:bb039163-9931-f57a-855f-5a29a168fa46", NFS, "batch02 disk 1", 256 * MIB),
    ];
    let halted = vm(world, &of_snapshot(recordings, "halted"), &mac_of_snapshot(recordings, "halted"), &drives);
    twin(world, &halted, "OpaqueRef:890a8889-23e9-5591-636a-59e8e836d157");
    halted
}

/// A suspended VM.
fn susp01(world: &mut World, recordings: &Path) {
    let drives = [disk("0", "OpaqueRef:8999734f-0000-0000-0000-000000000000", EXT, "susp01 disk 0", 128 * MIB)];
    vm(world, &of_snapshot(recordings, "susp"), &mac_of_snapshot(recordings, "susp"), &drives);
}

#[tokio::test]
async fn snapshot() {
    let recordings = recordings();
    let mut world = world(&recordings, &["7811ffe2-453c-1911-d536-93de595b6f41", "e6b5c385-a206-cdab-0ae9-cf0d0f465acb"]);
    let of = |name: &str| of_snapshot(&recordings, name);
    let mac_of = |name: &str| mac_of_snapshot(&recordings, name);
    let halted = batch02(&mut world, &recordings);
    let template = twin(&mut world, &halted, "OpaqueRef:7b4c8419-db67-6fe0-ac4e-cbc9bf8e3573");
    world.database.set("VM", &template, "is_a_template", Value::Bool(true)).unwrap();
    susp01(&mut world, &recordings);
    let running = [
        disk("1", "OpaqueRef:e6c0503f-e0e6-a39a-c3ed-7a32a7c7bd26", NFS, "web02 disk 1", 2048 * MIB),
        disk("0", "OpaqueRef:d61f97b0-0000-0000-0000-000000000000", EXT, "web02 disk 0", 1024 * MIB),
    ];
    vm(&mut world, &of("running"), &mac_of("running"), &running);
    let with_cd = [disk("0", "OpaqueRef:ce6f3a38-0000-0000-0000-000000000000", EXT, "install01 disk 0", 512 * MIB), CD];
    vm(&mut world, &of("cd"), &mac_of("cd"), &with_cd);
    let mut replay = Replay::start(world).await;
    // 25 and 26 show snapshots of disks that nobody remembers, 30 is of another run.
    let all = exchanges(&recordings, "snapshot", |name| !["/25_", "/26_", "/30_"].iter().any(|part| name.contains(part)));
    check_all(&mut replay, &all, &MASKS).await;
    replay.finish().await;
}

/// What happened between two recordings without being recorded itself.
pub async fn meanwhile(replay: &Replay, session: &str, method: &str, args: &[&str]) -> Value {
    let text = |text: &&str| match *text {
        "true" => Rpc::Bool(true),
        "false" => Rpc::Bool(false),
        "[]" => Rpc::List(vec![]),
        text => Rpc::String(text.to_owned()),
    };
    let session = Rpc::String(format!("OpaqueRef:{session}"));
    replay.server.call(method, std::iter::once(session).chain(args.iter().map(text)).collect()).await.unwrap()
}

/// Takes a snapshot that was not recorded, and lets it stand for the recorded one.
pub async fn snapshot_as(replay: &mut Replay, session: &str, vm: &str, name: &str, recorded: &str) -> Ref {
    let made = meanwhile(replay, session, "VM.snapshot", &[vm, name, "[]"]).await;
    let made = made.as_text().unwrap().clone();
    stands_for(replay, recorded, &made);
    made
}

/// Lets an object stand for a recorded one.
pub fn stands_for(replay: &mut Replay, recorded: &str, simulated: &str) {
    let clash = difference(&mut replay.bindings, &[], recorded.as_bytes(), simulated.as_bytes(), false);
    assert_eq!(clash, None);
}

/// The disk in a VM's drive.
pub fn disk_of(replay: &Replay, vm: &str, device: &str) -> Ref {
    replay.server.shared().step(|world| {
        let vbds = world.database.texts("VM", vm, "VBDs");
        let vbd = vbds.into_iter().find(|vbd| &*world.database.text("VBD", vbd, "userdevice") == device).unwrap();
        world.database.text("VBD", &vbd, "VDI")
    })
}

pub const REVERTS: &str = "e6b5c385-a206-cdab-0ae9-cf0d0f465acb";
pub const REV01: &str = "OpaqueRef:baadf6ae-0265-0d89-49ad-be5a6796cf47";

/// rev01 runs, with two disks and a disc.
pub fn rev01(recordings: &Path) -> World {
    let mut world = world(recordings, &[REVERTS]);
    let drives = [
        CD,
        disk("1", "OpaqueRef:ace1fcdf-0000-0000-0000-000000000000", NFS, "rev01 disk 1", 64 * MIB),
        disk("0", "OpaqueRef:12be64b3-0000-0000-0000-000000000000", EXT, "rev01 disk 0", 64 * MIB),
    ];
    vm(&mut world, &record(recordings, "revert/3_snapshot_record_after.json"), "00:00:00:00:00:00", &drives);
    world
}

/// The exchanges of a folder over one wire.
pub fn over(recordings: &Path, folder: &str, wire: &str, wanted: impl Fn(&str) -> bool) -> Vec<Transcript> {
    exchanges(recordings, folder, |name| name.ends_with(wire) && wanted(name))
}

/// One run of the recorder: reverts and checkpoints of one VM over both wires, then clones of a snapshot, and a snapshot made a VM.
#[tokio::test]
async fn revert_checkpoint_clone_template() {
    let recordings = recordings();
    let mut world = rev01(&recordings);
    batch02(&mut world, &recordings);
    susp01(&mut world, &recordings);
    let mut replay = Replay::start(world).await;
    for wire in ["json", "xml"] {
        check_all(&mut replay, &over(&recordings, "revert", wire, |_| true), &MASKS).await;
        meanwhile(&replay, REVERTS, "VM.start", &[REV01, "false", "false"]).await;
    }
    // The recorded driver left no chain behind a memory image.
    let masks = [&MASKS[..], &[Mask::Field("sm_config")]].concat();
    for wire in ["json", "xml"] {
        let steps = over(&recordings, "checkpoint", wire, |name| {
            !["/6_", "/7_", "/8_", "/2_suspend_vdi_record.xml"].iter().any(|part| name.contains(part))
        });
        check_all(&mut replay, &steps, &masks).await;
    }
    check_all(&mut replay, &exchanges(&recordings, "checkpoint", |name| name.contains("/6_") || name.contains("/7_")), &MASKS)
        .await;
    meanwhile(&replay, REVERTS, "VM.pause", &[REV01]).await;
    check_all(&mut replay, &exchanges(&recordings, "snapshot", |name| name.contains("/30_")), &MASKS).await;
    check_all(&mut replay, &exchanges(&recordings, "checkpoint", |name| name.contains("/8_")), &MASKS).await;
    meanwhile(&replay, REVERTS, "VM.unpause", &[REV01]).await;
    let for_copy = "OpaqueRef:ce560794-5b81-fe3b-169a-58bec6b761cb";
    snapshot_as(&mut replay, REVERTS, REV01, "for copy", for_copy).await;
    for wire in ["json", "xml"] {
        check_all(&mut replay, &over(&recordings, "copy", wire, |name| name.contains("/0_") || name.contains("/1_")), &masks)
            .await;
    }
    check_all(&mut replay, &exchanges(&recordings, "template", |_| true), &masks).await;
    replay.finish().await;
}
