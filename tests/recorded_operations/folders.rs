//! The recorded folders, each in its state.

use std::path::Path;

use xensnap::simulator::value::{Ref, Value};
use xensnap::simulator::world::World;

use crate::compare::Mask;
use crate::origin::{DISC, Drive, EXT, ISO, NFS, record, text, vm, world};
use crate::recordings;
use crate::replay::Replay;
use crate::transcript::Transcript;

/// What differs from run to run: dates, fresh generation ids, and sizes, which the recorded driver did not keep.
const MASKS: [Mask; 3] = [Mask::Dates, Mask::Field("generation_id"), Mask::Field("physical_utilisation")];

fn exchanges(recordings: &Path, folder: &str, wanted: impl Fn(&str) -> bool) -> Vec<Transcript> {
    Transcript::folder(&recordings.join(folder)).into_iter().filter(|exchange| wanted(&exchange.name)).collect()
}

fn disk<'a>(device: &'a str, vdi: &'a str, sr: &'a str, name: &'a str, size: i64) -> Drive<'a> {
    Drive { device, kind: "Disk", vdi, sr, name, size }
}

const CD: Drive = Drive { device: "3", kind: "CD", vdi: DISC, sr: ISO, name: "debian-lab.iso", size: 1 << 20 };

const MIB: i64 = 1 << 20;

/// A copy of a VM under another reference, for exchanges that only need one of its kind.
fn twin(world: &mut World, of: &Ref, reference: &str) -> Ref {
    let fields = xensnap::simulator::operations::copies::fields(world, "VM", of).unwrap();
    let plain: Vec<_> = fields.into_iter().filter(|(_, value)| !matches!(value, Value::Set(_))).collect();
    let uuid = world.uuid();
    world.database.create("VM", reference, plain.into_iter().filter(|(name, _)| *name != "uuid").chain([("uuid", Value::str(uuid))]))
}

#[tokio::test]
async fn snapshot() {
    let Some(recordings) = recordings() else { return };
    let mut world = world(&recordings, &["7811ffe2-453c-1911-d536-93de595b6f41", "e6b5c385-a206-cdab-0ae9-cf0d0f465acb"]);
    let of = |name: &str| record(&recordings, &format!("snapshot/20_record_of_{name}_snapshot.json"));
    let mac_of = |name: &str| text(&record(&recordings, &format!("snapshot/23_vif_of_{name}_snapshot.json")), "MAC");
    let halted = vm(
        &mut world,
        &of("halted"),
        &mac_of("halted"),
        &[
            disk("0", "OpaqueRef:0bdf2f86-5450-23e5-551f-ae431b3967b7", EXT, "batch02 disk 0", 256 * MIB),
            disk("1", "OpaqueRef:bb039163-9931-f57a-855f-5a29a168fa46", NFS, "batch02 disk 1", 256 * MIB),
        ],
    );
    let template = twin(&mut world, &halted, "OpaqueRef:7b4c8419-db67-6fe0-ac4e-cbc9bf8e3573");
    world.database.set("VM", &template, "is_a_template", Value::Bool(true)).unwrap();
    twin(&mut world, &halted, "OpaqueRef:890a8889-23e9-5591-636a-59e8e836d157");
    let running = [
        disk("1", "OpaqueRef:e6c0503f-e0e6-a39a-c3ed-7a32a7c7bd26", NFS, "web02 disk 1", 2048 * MIB),
        disk("0", "OpaqueRef:d61f97b0-0000-0000-0000-000000000000", EXT, "web02 disk 0", 1024 * MIB),
    ];
    vm(&mut world, &of("running"), &mac_of("running"), &running);
    let suspended = [disk("0", "OpaqueRef:8999734f-0000-0000-0000-000000000000", EXT, "susp01 disk 0", 128 * MIB)];
    vm(&mut world, &of("susp"), &mac_of("susp"), &suspended);
    let with_cd = [disk("0", "OpaqueRef:ce6f3a38-0000-0000-0000-000000000000", EXT, "install01 disk 0", 512 * MIB), CD];
    vm(&mut world, &of("cd"), &mac_of("cd"), &with_cd);
    let mut replay = Replay::start(world).await;
    // 25 and 26 show snapshots of disks that nobody remembers, 30 is of another run.
    let all = exchanges(&recordings, "snapshot", |name| !["/25_", "/26_", "/30_"].iter().any(|part| name.contains(part)));
    replay.check_all(&all, &MASKS).await;
    replay.finish().await;
}
