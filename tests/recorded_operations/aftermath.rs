//! What is left after deletions, and whose marks stand on what: copies, destructions, blocked and inherited fields, schedules, tasks.

use std::path::Path;
use std::time::Duration;

use xensnap::simulator::error::ApiError;
use xensnap::simulator::faults::{Action, Rule};
use xensnap::simulator::value::{Ref, Value};
use xensnap::simulator::world::{Session, World};

use crate::compare::Mask;
use crate::folders::{
    CD, MASKS, MIB, REV01, REVERTS, batch02, check_all, disk, disk_of, exchanges, meanwhile, over, rev01, snapshot_as, stands_for,
};
use crate::origin::{DISC, Drive, EXT, ISO, NFS, record, vm, world};
use crate::replay::Replay;
use crate::{recordings, state};

/// The drive that names a disk.
fn vbd_of(replay: &Replay, vdi: &str) -> Ref {
    replay.server.shared().step(|world| world.database.texts("VDI", vdi, "VBDs").remove(0))
}

/// The exchanges of the folder `destroy` that begin with one of these numbers.
fn steps(recordings: &Path, wire: &str, numbers: &[&str]) -> Vec<crate::transcript::Transcript> {
    over(recordings, "destroy", wire, |name| numbers.iter().any(|number| name.starts_with(&format!("destroy/{number}_"))))
}

/// What one run over one wire named.
struct Run {
    wire: &'static str,
    snapshot: &'static str,
    vbd: &'static str,
    left: &'static str,
    maimed: &'static str,
    lost: &'static str,
    dangling: &'static str,
}

const RUNS: [Run; 2] = [
    Run {
        wire: "json",
        snapshot: "OpaqueRef:68bc9b78-5272-82f5-19e9-c9ddf45194a9",
        vbd: "OpaqueRef:e8037510-d993-d5dd-21c5-ae6b4a1032a4",
        left: "OpaqueRef:c26de637-36c5-e7ca-f99d-b91aa4dcaa3c",
        maimed: "OpaqueRef:2f540b56-6306-f487-093d-eecb9ed58fb5",
        lost: "OpaqueRef:052ee299-2107-76c6-9252-7fbc21ee88d3",
        dangling: "OpaqueRef:1ccda558-caa3-b3cf-8adb-dfc5582b2137",
    },
    Run {
        wire: "xml",
        snapshot: "OpaqueRef:4aae6682-7842-3dc0-4d0e-68af2a09f76b",
        vbd: "OpaqueRef:bd351849-2040-b812-23ba-bb6d77482782",
        left: "OpaqueRef:9d841c7c-7b23-e752-3096-db86473bd104",
        maimed: "OpaqueRef:e2436b4e-4cb2-69ee-42a1-d0b086121105",
        lost: "OpaqueRef:f19ca187-65a4-9d0c-fd91-f02800ee52b5",
        dangling: "OpaqueRef:7699022e-89d3-df9a-4221-7fb376e79eca",
    },
];

/// A snapshot is destroyed, then its disks; of another one a disk is destroyed, and the VM reverted to what is left.
#[tokio::test]
async fn destroy() {
    let recordings = recordings();
    let mut replay = Replay::start(rev01(&recordings)).await;
    for run in &RUNS {
        let made = snapshot_as(&mut replay, REVERTS, REV01, "to destroy", run.snapshot).await;
        let disk = disk_of(&replay, &made, "1");
        stands_for(&mut replay, run.left, &disk);
        let drive = vbd_of(&replay, &disk);
        stands_for(&mut replay, run.vbd, &drive);
        let all = steps(&recordings, run.wire, &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
        // The disc's record lists all drives it is in, those of other runs included; the disc is refused to a running VM only.
        let (disc, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|exchange| exchange.name.contains("CD"));
        check_all(&mut replay, &rest, &MASKS).await;
        if run.wire == "json" {
            check_all(
                &mut replay,
                &disc.into_iter().filter(|exchange| exchange.name.contains("/7_")).collect::<Vec<_>>(),
                &MASKS,
            )
            .await;
        }
        let made = snapshot_as(&mut replay, REVERTS, REV01, "to destroy 2", run.maimed).await;
        let doomed = disk_of(&replay, &made, "0");
        stands_for(&mut replay, run.lost, &doomed);
        let drive = vbd_of(&replay, &doomed);
        stands_for(&mut replay, run.dangling, &drive);
        check_all(&mut replay, &steps(&recordings, run.wire, &["10", "11", "12", "13"]), &MASKS).await;
        // The VM has lost the disk that the snapshot had lost.
        let left = replay.server.shared().step(|world| world.database.texts("VM", REV01, "VBDs").len());
        assert_eq!(left, 2, "{}", run.wire);
        give_disk(&replay);
    }
    let base = replay.server.shared().step(|world| {
        let hidden = |vdi: &Ref| !world.database.bool("VDI", vdi, "managed");
        world.database.refs("VDI").into_iter().find(hidden).unwrap()
    });
    stands_for(&mut replay, "OpaqueRef:fc1bbb7e-106d-742c-c2a5-d8fe8c350a4f", &base);
    check_all(&mut replay, &steps(&recordings, "json", &["20", "21", "22"]), &MASKS).await;
    replay.finish().await;
}

/// Attaches a disk of the pool to the VM again.
fn give_disk(replay: &Replay) {
    replay.server.shared().step(|world| {
        let free = |vdi: &Ref| {
            world.database.bool("VDI", vdi, "managed")
                && world.database.texts("VDI", vdi, "VBDs").is_empty()
                && &*world.database.text("VDI", vdi, "SR") == EXT
                && &*world.database.text("VDI", vdi, "type") == "user"
        };
        let disk = world.database.refs("VDI").into_iter().find(free).unwrap();
        let vm: Ref = REV01.into();
        xensnap::simulator::operations::vbd::attach_new_disk(world, &vm, &disk, "0", true);
    });
}

#[tokio::test]
async fn revert_after_the_vm_was_destroyed() {
    let recordings = recordings();
    for drawn in 0.. {
        if revive(&recordings, drawn).await {
            return;
        }
    }
}

/// The revived VM lists its snapshots in the order of their references, which are drawn; so this goes on only where they were drawn
/// in the recorded order. False where they were not.
async fn revive(recordings: &Path, drawn: usize) -> bool {
    let mut world = world(recordings, &[REVERTS]);
    (0..drawn).for_each(|_| drop(world.uuid()));
    let of = record(recordings, "destroy/30_snapshot_record_after_parent_destroyed.json");
    let disk = disk("0", "OpaqueRef:f66286a0-a0d1-6c39-7fce-a8aa666f0630", EXT, "parent01 disk 0", 64 * MIB);
    let parent = vm(&mut world, &of, "00:00:00:00:00:00", &[disk]);
    let mut replay = Replay::start(world).await;
    let first = snapshot_as(&mut replay, REVERTS, &parent, "p1", "OpaqueRef:b87a3e8a-a3e1-8705-dd07-48526a07f262").await;
    let second = snapshot_as(&mut replay, REVERTS, &parent, "p2", "OpaqueRef:c7b186b7-24ed-e770-478f-081ddd10cfb5").await;
    if first > second {
        return false;
    }
    let disk = disk_of(&replay, &first, "0");
    stands_for(&mut replay, "OpaqueRef:921ac77b-a05e-fc32-824a-aa4eb566e19d", &disk);
    meanwhile(&replay, REVERTS, "VM.destroy", &[&parent]).await;
    check_all(&mut replay, &steps(recordings, "json", &["30", "31", "32"]), &MASKS).await;
    let recreated = replay.server.shared().step(|world| world.database.text("VM", &first, "snapshot_of"));
    stands_for(&mut replay, "OpaqueRef:0ee723dd-33be-6df3-c7d3-e49fc8dd8f33", &recreated);
    check_all(&mut replay, &steps(recordings, "json", &["33", "34"]), &MASKS).await;
    replay.finish().await;
    true
}

const COPIES: &str = "93f1cdfe-73e4-e813-3090-5bb67a572761";
const REV02: &str = "OpaqueRef:971bfa11-43c3-9f69-a3c0-7a59ddb01694";

#[tokio::test]
async fn copy_maim_revert_and_single_disks() {
    let recordings = recordings();
    let mut world = world(&recordings, &[COPIES]);
    let of = record(&recordings, "destroy/15_snapshot_record_after_its_disk_destroyed.json");
    let drives = [
        Drive { vdi: "", ..CD },
        disk("1", "OpaqueRef:43f3510a-a30c-a71c-a35f-f2de53ac3e59", NFS, "rev02 disk 1", 64 * MIB),
        disk("0", "OpaqueRef:36693156-0000-0000-0000-000000000000", EXT, "rev02 disk 0", 64 * MIB),
    ];
    vm(&mut world, &of, "00:00:00:00:00:00", &drives);
    let mut replay = Replay::start(world).await;
    let source = "OpaqueRef:cf3ed6d1-2800-fcb1-24ee-b36a336ba5e2";
    let snapshot = snapshot_as(&mut replay, COPIES, REV02, "for copy", source).await;
    for wire in ["json", "xml"] {
        let copies = over(&recordings, "copy", wire, |name| ["/2_", "/3_"].iter().any(|part| name.contains(part)));
        check_all(&mut replay, &copies, &MASKS).await;
    }
    check_all(&mut replay, &exchanges(&recordings, "copy", |name| name.contains("/4_") || name.contains("/5_")), &MASKS).await;
    all_tasks_done(&replay).await;
    check_all(&mut replay, &exchanges(&recordings, "copy", |name| name.contains("/6_")), &MASKS).await;
    let lost = disk_of(&replay, &snapshot, "0");
    meanwhile(&replay, COPIES, "VDI.destroy", &[&lost]).await;
    check_all(&mut replay, &steps(&recordings, "json", &["15", "16"]), &MASKS).await;
    meanwhile(&replay, COPIES, "VM.start", &[REV02, "false", "false"]).await;
    let live = disk_of(&replay, REV02, "1");
    stands_for(&mut replay, "OpaqueRef:04e98f92-220e-8634-0f25-e1ba9d0684cb", &live);
    for wire in ["json", "xml"] {
        check_all(&mut replay, &over(&recordings, "vdi", wire, |_| true), &MASKS).await;
    }
    replay.finish().await;
}

async fn all_tasks_done(replay: &Replay) {
    let pending = |world: &mut World| {
        let tasks = world.database.refs("task");
        tasks.iter().any(|task| &*world.database.text("task", task, "status") == "pending")
    };
    let mut changes = replay.server.shared().changes();
    while replay.server.shared().step(pending) {
        tokio::time::timeout(Duration::from_secs(10), changes.changed()).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn destroy_a_disc_and_a_memory_image() {
    let recordings = recordings();
    let mut world = rev01(&recordings);
    state::session(&mut world, &format!("OpaqueRef:{COPIES}"));
    let disc = "OpaqueRef:95f0bdbd-27fc-ed8e-ada0-2f3252224a0e";
    let halted = batch02(&mut world, &recordings);
    let fields = xensnap::simulator::operations::copies::fields(&world, "VDI", DISC).unwrap();
    let plain = fields.into_iter().filter(|(_, value)| !matches!(value, Value::Set(_)));
    let changes =
        [("uuid", "8ddc6c59-8b92-5568-a7b5-723ca0a256ca"), ("name_label", "precious.iso"), ("location", "precious.iso")];
    let changes = changes.map(|(field, text)| (field, Value::str(text)));
    let sizes = [("virtual_size", Value::Int(4096)), ("SR", Value::str(ISO))];
    world.database.create("VDI", disc, plain.chain(changes).chain(sizes));
    let vbd = world.database.texts("VM", &halted, "VBDs").remove(0);
    let changes = vec![
        ("VM", Value::str(halted.clone())),
        ("VDI", Value::str(disc)),
        ("userdevice", Value::str("3")),
        ("type", Value::str("CD")),
    ];
    xensnap::simulator::operations::copies::copy_row(&mut world, "VBD", &vbd, changes).unwrap();
    let mut replay = Replay::start(world).await;
    meanwhile(&replay, COPIES, "VM.snapshot", &[&halted, "s", "[]"]).await;
    check_all(&mut replay, &steps(&recordings, "json", &["40", "41"]), &MASKS).await;
    let emptied = replay.server.shared().step(|world| {
        let vbds = world.database.texts("VM", &halted, "VBDs");
        vbds.iter().any(|vbd| world.database.bool("VBD", vbd, "empty"))
    });
    assert!(emptied, "the drive of the live VM is empty now");
    let made = meanwhile(&replay, COPIES, "VM.checkpoint", &[REV01, "cp"]).await;
    let made = made.as_text().unwrap().clone();
    stands_for(&mut replay, "OpaqueRef:aae8c6d5-907d-6c30-1da8-890231a3d492", &made);
    let image = replay.server.shared().step(|world| world.database.text("VM", &made, "suspend_VDI"));
    stands_for(&mut replay, "OpaqueRef:0cf79ba5-91c7-8b3c-9efa-014da06f8df1", &image);
    let masks = [&MASKS[..], &[Mask::Field("sm_config")]].concat();
    check_all(&mut replay, &steps(&recordings, "json", &["50", "51"]), &masks).await;
    replay.finish().await;
}

const MARKS: &str = "730fe0c9-eabf-b3ea-7a51-298970730650";

#[tokio::test]
async fn inherit_and_block() {
    let recordings = recordings();
    let mut world = world(&recordings, &[MARKS]);
    let of = record(&recordings, "inherit/0_snapshot_of_marked_vm.json");
    let disk = disk("0", "OpaqueRef:11111111-0000-0000-0000-000000000000", EXT, "disk", 64 * MIB);
    let marked = vm(&mut world, &of, "", &[disk]);
    let mut replay = Replay::start(world).await;
    let name = "manual snapshot of a marked VM";
    let snapshot = snapshot_as(&mut replay, MARKS, &marked, name, "OpaqueRef:c6d4d742-58ec-8258-ae00-340c7da7bd6b").await;
    check_all(&mut replay, &exchanges(&recordings, "inherit", |name| name.contains("/0_")), &MASKS).await;
    let clone = meanwhile(&replay, MARKS, "VM.clone", &[&snapshot, "clone of that snapshot"]).await;
    stands_for(&mut replay, "OpaqueRef:bcec9f4f-8b3a-ef12-e7f3-97e1ee8656cb", clone.as_text().unwrap());
    check_all(&mut replay, &exchanges(&recordings, "inherit", |name| name.contains("/1_")), &MASKS).await;
    meanwhile(&replay, MARKS, "VM.add_to_other_config", &[&snapshot, "written later", "x"]).await;
    meanwhile(&replay, MARKS, "VM.revert", &[&snapshot]).await;
    check_all(&mut replay, &exchanges(&recordings, "inherit", |name| name.contains("/2_")), &MASKS).await;
    check_all(&mut replay, &exchanges(&recordings, "block", |_| true), &MASKS).await;
    replay.finish().await;
}

#[tokio::test]
async fn vmss() {
    let recordings = recordings();
    let session = "7ad906d6-eaab-816b-5866-3ff058e25119";
    let mut world = world(&recordings, &[session]);
    let of = record(&recordings, "vmss/snapshot_record.json");
    let drives = [
        disk("0", "OpaqueRef:22222222-0000-0000-0000-000000000000", EXT, "batch02 disk 0", 256 * MIB),
        disk("1", "OpaqueRef:33333333-0000-0000-0000-000000000000", NFS, "batch02 disk 1", 256 * MIB),
    ];
    let scheduled = vm(&mut world, &of, "", &drives);
    let policy = "OpaqueRef:8761baa5-e8ba-6df2-96d8-24fb647f5f27";
    state::row(&mut world, "VMSS", policy, &record(&recordings, "vmss/get_record.json"));
    world.database.set("VM", &scheduled, "snapshot_schedule", Value::null()).unwrap();
    world.database.set("VM", &scheduled, "snapshot_schedule", Value::str(policy)).unwrap();
    let caller = Session { user: "__dom0__vmss".into(), originator: "vmss".into(), role: None, scheduler: true };
    world.database.create("session", "OpaqueRef:scheduler", []);
    world.sessions.insert("OpaqueRef:scheduler".into(), caller);
    let mut replay = Replay::start(world).await;
    let made = snapshot_as(
        &mut replay,
        "scheduler",
        &scheduled,
        "[nightly] vmss snap",
        "OpaqueRef:e5d48bc6-9331-72f4-c295-381cc06351ee",
    )
    .await;
    assert!(replay.server.shared().step(|world| world.database.bool("VM", &made, "is_vmss_snapshot")));
    check_all(&mut replay, &exchanges(&recordings, "vmss", |_| true), &MASKS).await;
    replay.finish().await;
}

#[tokio::test]
async fn finished_tasks() {
    let recordings = recordings();
    let mut world = world(&recordings, &["7811ffe2-453c-1911-d536-93de595b6f41"]);
    batch02(&mut world, &recordings);
    let mut replay = Replay::start(world).await;
    // Where in the server's source a failure came from is not simulated.
    let masks = [&MASKS[..], &[Mask::Field("backtrace")]].concat();
    for (run, polls) in [
        ("fail_handle_invalid", "1_poll"),
        ("checkpoint_halted_fails", "2_poll"),
        ("snapshot_halted_json", "3_poll"),
        ("snapshot_halted_xml", "3_poll"),
    ] {
        run_of_a_task(&mut replay, &recordings, run, polls, &masks).await;
    }
    replay.finish().await;
}

/// One recorded task from its call to its destruction; of the polls, the one after its end.
async fn run_of_a_task(replay: &mut Replay, recordings: &Path, run: &str, polls: &str, masks: &[Mask]) {
    let wire = if run.ends_with("xml") { "xml" } else { "json" };
    for step in ["0_call", polls, "8_status", "9_result", "9z_destroy"] {
        let name = format!("async/{run}.{step}.{wire}");
        check_all(replay, &exchanges(recordings, "async", |other| other == name), masks).await;
        all_tasks_done(replay).await;
    }
}

/// The recorded driver was told to find no space; here a fault of the plan says so.
#[tokio::test]
async fn a_driver_that_finds_no_space() {
    let recordings = recordings();
    let mut world = world(&recordings, &["7811ffe2-453c-1911-d536-93de595b6f41"]);
    batch02(&mut world, &recordings);
    let mut replay = Replay::start(world).await;
    let error = ApiError::new("SR_BACKEND_FAILURE_44", ["", "lab: no space left", ""]);
    replay.server.shared().options.faults.add(Rule::on("VM.snapshot", Action::FailDisk { disk: 1, error }));
    let masks = [&MASKS[..], &[Mask::Field("backtrace")]].concat();
    run_of_a_task(&mut replay, &recordings, "fail_sr_backend", "2_poll", &masks).await;
    let refused = exchanges(&recordings, "errors2", |name| name.contains("snapshot_sr_backend_failure"));
    check_all(&mut replay, &refused, &masks).await;
    replay.finish().await;
}
