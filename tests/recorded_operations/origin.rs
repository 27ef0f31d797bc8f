//! VMs as they were before their recorded snapshots, made from what the snapshots remember.

use std::path::Path;

use xensnap::simulator::codec::Rpc;
use xensnap::simulator::model::Model;
use xensnap::simulator::operations::device_lifecycle::update_vm;
use xensnap::simulator::sexpr;
use xensnap::simulator::storage::timings::Timings;
use xensnap::simulator::value::{NULL, Ref, Text, Value, is_null};
use xensnap::simulator::world::World;

use crate::state;
use crate::transcript::Transcript;

/// The seed pool of the recordings, with somebody logged in under each of the references.
pub fn world(recordings: &Path, sessions: &[&str]) -> World {
    let mut world = state::pool(recordings);
    world.storage.timings = Timings::instant();
    // The recorded driver merged base copies at once, and only it did; nothing is merged during a replay.
    world.storage.collector.off = true;
    // The seed pool was made anew between recordings: its own VMs have not the disc in.
    for vbd in world.database.texts("VDI", DISC, "VBDs") {
        world.database.destroy("VBD", &vbd);
    }
    for session in sessions {
        state::session(&mut world, &format!("OpaqueRef:{session}"));
    }
    world
}

/// The record that an exchange answered with.
pub fn record(recordings: &Path, name: &str) -> Rpc {
    let exchange = Transcript::read(&recordings.join(format!("{name}.txt"))).unwrap_or_else(|| panic!("no {name}"));
    state::result(&exchange.body).unwrap_or_else(|| panic!("{name} has no result"))
}

pub fn text(record: &Rpc, field: &str) -> Text {
    state::member(record, field).and_then(Rpc::text).unwrap_or_else(|| panic!("no {field}")).into()
}

/// A drive of the VM: its number, its disk, and how large that is.
pub struct Drive<'a> {
    pub device: &'a str,
    pub kind: &'a str,
    pub vdi: &'a str,
    pub sr: &'a str,
    pub name: &'a str,
    pub size: i64,
}

pub const EXT: &str = "OpaqueRef:96ec64fc-abfa-fc4c-e90d-1b5f781578f6";
pub const NFS: &str = "OpaqueRef:53dfda05-b0a5-71a5-0908-bedbc9879828";
pub const ISO: &str = "OpaqueRef:763f5ceb-aa53-5c28-2a9d-e2bb92a4fc03";
/// The disc that several VMs have in.
pub const DISC: &str = "OpaqueRef:7817c194-7686-5f30-0054-245fbd8c6dd6";

/// Makes the VM of a recorded snapshot as it was when the snapshot was taken, with drives in the order of its VBDs.
pub fn vm(world: &mut World, snapshot: &Rpc, mac: &str, drives: &[Drive]) -> Ref {
    let fields = sexpr::parse_metadata(&text(snapshot, "snapshot_metadata")).unwrap();
    let reference: Ref = text(snapshot, "snapshot_of");
    let of = |name: &str| fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value.clone());
    let refs = |name: &str| -> Vec<Ref> { of(name).unwrap().items().iter().filter_map(Value::as_text).cloned().collect() };
    let class = Model::get().class("VM").unwrap();
    let mirrors = |field: &str| matches!(class.field(field).unwrap().kind.zero(), Value::Set(_)) && field != "tags";
    let kept = fields.iter().filter(|(field, _)| !mirrors(field) && *field != "current_operations");
    let kept: Vec<(&str, Value)> = kept.map(|(field, value)| (*field, value.clone())).collect();
    if world.database.exists("VM", &reference) {
        world.database.destroy("VM", &reference);
    }
    world.database.create("VM", reference.clone(), kept);
    // The oldest first, so that the newest ends up in front.
    for (old, at) in refs("snapshots").iter().rev().zip(0..) {
        older_snapshot(world, &reference, old, at);
    }
    for (part, class) in [("metrics", "VM_metrics"), ("guest_metrics", "VM_guest_metrics")] {
        let part = of(part).unwrap().as_text().unwrap().clone();
        if !is_null(&part) && !world.database.exists(class, &part) {
            world.database.create(class, part, guest(class));
        }
    }
    let image = of("suspend_VDI").unwrap().as_text().unwrap().clone();
    if !is_null(&image) {
        let uuid = world.uuid();
        let fields = [
            ("uuid", Value::str(uuid)),
            ("SR", Value::str(EXT)),
            ("type", Value::str("suspend")),
            ("managed", Value::Bool(true)),
        ];
        world.database.create("VDI", image, fields.into_iter().chain([("virtual_size", Value::Int(443_086_274))]));
    }
    for (vbd, drive) in refs("VBDs").iter().zip(drives).rev() {
        attach(world, &reference, vbd, drive);
    }
    for vif in refs("VIFs").iter().rev() {
        network_card(world, &reference, vif, mac);
    }
    update_vm(world, &reference);
    reference
}

/// The guests of the recordings had an agent that agrees to everything.
fn guest(class: &str) -> Vec<(&'static str, Value)> {
    let features = ["feature-suspend", "feature-poweroff", "feature-reboot", "feature-vcpu-hotplug"];
    let other = ("other", Value::pairs(features.map(|feature| (feature, "1"))));
    if class == "VM_guest_metrics" { vec![other] } else { Vec::new() }
}

fn older_snapshot(world: &mut World, vm: &Ref, reference: &Ref, at: usize) {
    if world.database.exists("VM", reference) {
        return;
    }
    let fields = [
        ("uuid", Value::str(format!("00000000-0000-0000-0000-0000000000{at:02}"))),
        ("is_a_snapshot", Value::Bool(true)),
        ("is_a_template", Value::Bool(true)),
        ("power_state", Value::str("Halted")),
        ("snapshot_of", Value::str(vm.clone())),
    ];
    world.database.create("VM", reference.clone(), fields);
}

fn attach(world: &mut World, vm: &Ref, vbd: &Ref, drive: &Drive) {
    let running = matches!(&*world.database.text("VM", vm, "power_state"), "Running" | "Suspended" | "Paused");
    if !is_null(drive.vdi) && !world.database.exists("VDI", drive.vdi) {
        let uuid = world.uuid();
        let fields = [
            ("uuid", Value::str(uuid.clone())),
            ("location", if drive.kind == "CD" { Value::str(drive.name) } else { Value::str(uuid) }),
            ("name_label", Value::str(drive.name)),
            ("SR", Value::str(drive.sr)),
            ("virtual_size", Value::Int(drive.size)),
            ("type", Value::str("user")),
            ("managed", Value::Bool(true)),
            ("read_only", Value::Bool(drive.kind == "CD")),
            ("sharable", Value::Bool(drive.kind == "CD")),
            ("on_boot", Value::str("persist")),
            ("metadata_of_pool", Value::str("")),
        ];
        world.database.create("VDI", drive.vdi, fields);
    }
    let letter = char::from(b'a' + drive.device.parse::<u8>().unwrap());
    let was_run = &*world.database.text("VM", vm, "domid") != "-1" || running;
    let disk = drive.kind == "Disk";
    let fields = [
        ("uuid", Value::str(world.uuid())),
        ("VM", Value::str(vm.clone())),
        ("VDI", Value::str(if is_null(drive.vdi) { NULL } else { drive.vdi })),
        ("empty", Value::Bool(is_null(drive.vdi))),
        ("device", Value::str(if was_run && running { format!("xvd{letter}") } else { String::new() })),
        ("userdevice", Value::str(drive.device)),
        ("bootable", Value::Bool(drive.device == "0")),
        ("mode", Value::str(if disk { "RW" } else { "RO" })),
        ("type", Value::str(drive.kind)),
        ("unpluggable", Value::Bool(true)),
        ("currently_attached", Value::Bool(running)),
        ("other_config", if disk { Value::pairs([("owner", "")]) } else { Value::Map(vec![]) }),
    ];
    world.database.create("VBD", vbd.clone(), fields);
}

fn network_card(world: &mut World, vm: &Ref, vif: &Ref, mac: &str) {
    let uuid = world.uuid();
    let network = world.database.refs("network").into_iter().next_back().unwrap();
    let fields = [
        ("uuid", Value::str(uuid)),
        ("VM", Value::str(vm.clone())),
        ("network", Value::str(network)),
        ("device", Value::str("0")),
        ("MTU", Value::Int(1500)),
        ("MAC", Value::str(mac)),
        ("locking_mode", Value::str("network_default")),
    ];
    world.database.create("VIF", vif.clone(), fields);
}
