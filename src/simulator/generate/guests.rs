//! Guests: records, disks, drives, network cards and what the tools inside report.

use super::hosts::{self, Host};
use super::maker::Maker;
use super::names::{self, Character};
use super::schedules::Schedules;
use super::snapshots::SnapshotPlan;
use super::storage::{Part, Sr, Storage, occupied};
use crate::simulator::value::{NULL, Ref, Text, Value};

const GIB: i64 = 1 << 30;
const SIZES: [i64; 6] = [8, 16, 20, 40, 60, 100];

/// A disk that is going to be made.
#[derive(Debug, Clone)]
pub(super) struct DiskPlan {
    pub(super) vdi: Ref,
    pub(super) uuid: Text,
    pub(super) sr: Sr,
    pub(super) size: i64,
    pub(super) data: i64,
    pub(super) name: Text,
}

impl DiskPlan {
    pub(super) fn new(maker: &mut Maker<'_>, sr: Sr, size: i64, name: impl Into<Text>) -> Self {
        // Data in whole blocks, between a tenth and six tenths of the disk.
        let blocks = (size >> 20).max(1);
        let data = (blocks * (10 + maker.below(50) as i64) / 100).max(1) << 20;
        Self { vdi: maker.reference(), uuid: maker.uuid(), sr, size, data: data.min(size), name: name.into() }
    }
}

/// What runs a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Running,
    Halted,
    Suspended,
    Paused,
}

impl State {
    pub(super) fn name(self) -> &'static str {
        match self {
            State::Running => "Running",
            State::Halted => "Halted",
            State::Suspended => "Suspended",
            State::Paused => "Paused",
        }
    }

    fn is_live(self) -> bool {
        matches!(self, State::Running | State::Paused)
    }
}

/// A guest that is going to be made.
#[derive(Debug, Clone)]
pub(super) struct Guest {
    pub(super) reference: Ref,
    pub(super) uuid: Text,
    pub(super) character: Character,
    pub(super) state: State,
    pub(super) tools: bool,
    pub(super) disks: Vec<DiskPlan>,
    pub(super) networks: Vec<Ref>,
    /// The disc in its drive; none: the drive is empty.
    pub(super) iso: Option<Ref>,
    pub(super) memory: i64,
    pub(super) vcpus: i64,
    pub(super) uefi: bool,
    number: usize,
    host: Ref,
    /// Its disks can only be reached from its host.
    local: bool,
}

/// Decides what the `number`-th guest is.
pub(super) fn plan(maker: &mut Maker<'_>, number: usize, hosts: &[Host], storage: &Storage) -> Guest {
    let character = names::character(maker, number);
    let host = &hosts[number % hosts.len()];
    let local = maker.percent(25);
    let sr = if local { storage.local[host.number].clone() } else { maker.pick(&storage.shared).clone() };
    let count = if character.large { 1 + maker.below(3) } else { 1 + usize::from(maker.percent(15)) };
    let disks = (0..count)
        .map(|disk| {
            let size = maker.recipe.disk_size.unwrap_or_else(|| *maker.pick(&SIZES) * GIB);
            DiskPlan::new(maker, sr.clone(), size, format!("{} disk {disk}", character.name))
        })
        .collect();
    // The first guests show every state, so that small pools have them too.
    let state = match number {
        3 => State::Halted,
        5 => State::Suspended,
        _ => match maker.below(100) {
            0..72 => State::Running,
            72..92 => State::Halted,
            92..97 => State::Suspended,
            _ => State::Paused,
        },
    };
    let (memory, vcpus) = *maker.pick(&[(1, 1), (2, 1), (2, 2), (4, 2), (8, 4), (16, 8)]);
    let iso = (!storage.isos.is_empty() && (number == 1 || maker.percent(12))).then(|| maker.pick(&storage.isos).clone());
    let mut networks = vec![host.networks[0].clone()];
    networks.extend(maker.percent(15).then(|| host.networks[1].clone()));
    Guest {
        reference: maker.reference(),
        uuid: maker.uuid(),
        state,
        tools: maker.percent(88),
        disks,
        networks,
        iso,
        memory: memory * GIB,
        vcpus,
        uefi: maker.since("naples") && maker.percent(35),
        number,
        host: host.reference.clone(),
        local,
        character,
    }
}

/// Makes a planned guest. Its disks stand on what the snapshots that are to be made leave behind.
pub(super) fn make(maker: &mut Maker<'_>, guest: Guest, schedules: &Schedules, snapshots: &[SnapshotPlan]) -> Guest {
    let attached = guest.state != State::Halted;
    let mut vbds = Vec::new();
    for (at, disk) in guest.disks.iter().enumerate() {
        let parent = snapshots.last().and_then(|last| last.bases.get(at)).cloned();
        live_disk(maker, disk, parent);
        vbds.push(vbd(maker, &guest.reference, Some(&disk.vdi), at, "Disk", attached));
    }
    vbds.push(vbd(maker, &guest.reference, guest.iso.as_ref(), 3.max(guest.disks.len()), "CD", attached));
    let networks = guest.networks.iter().enumerate();
    let vifs: Vec<Ref> = networks.map(|(at, network)| vif(maker, &guest.reference, network, at, attached)).collect();
    let fields = fields(maker, &guest, schedules, snapshots, vbds, vifs);
    maker.row_as("VM", guest.reference.clone(), fields);
    if guest.uefi && maker.since("22.26.0") {
        vtpm(maker, &guest.reference);
    }
    if guest.state.is_live() {
        console(maker, &guest);
    }
    guest
}

fn fields(
    maker: &mut Maker<'_>,
    guest: &Guest,
    schedules: &Schedules,
    snapshots: &[SnapshotPlan],
    vbds: Vec<Ref>,
    vifs: Vec<Ref>,
) -> Vec<(&'static str, Value)> {
    let metrics = metrics(maker, guest);
    let guest_metrics = guest_metrics(maker, guest);
    let suspend_image = suspend_image(maker, guest);
    let parent = snapshots.last().map_or_else(|| NULL.into(), |last| last.reference.clone());
    let pinned = if guest.local { guest.host.clone() } else { NULL.into() };
    let resident = if guest.state.is_live() { guest.host.clone() } else { NULL.into() };
    let mut fields = common_fields(maker, true, guest.memory, guest.vcpus);
    fields.extend([
        ("uuid", Value::Str(guest.uuid.clone())),
        ("name_label", Value::Str(guest.character.name.clone())),
        ("name_description", Value::Str(guest.character.description.clone())),
        ("power_state", Value::str(guest.state.name())),
        ("tags", guest.character.tags.clone()),
        ("other_config", other_config(maker, guest)),
        ("affinity", Value::Str(pinned)),
        ("resident_on", Value::Str(resident)),
        ("domid", Value::Int(if guest.state.is_live() { 1 + guest.number as i64 } else { -1 })),
        ("metrics", Value::Str(metrics)),
        ("guest_metrics", Value::Str(guest_metrics)),
        ("suspend_VDI", Value::Str(suspend_image)),
        ("parent", Value::Str(parent)),
        ("VBDs", Value::texts(vbds)),
        ("VIFs", Value::texts(vifs)),
        ("recommendations", Value::str("")),
    ]);
    fields.extend(schedules.fields_of(maker, guest));
    fields.extend(boot_fields(maker, guest));
    fields
}

fn boot_fields(maker: &mut Maker<'_>, guest: &Guest) -> Vec<(&'static str, Value)> {
    let firmware = if guest.uefi { "uefi" } else { "bios" };
    let mut boot = vec![("order", "cdn")];
    boot.extend(maker.since("naples").then_some(("firmware", firmware)));
    let mut fields = vec![("HVM_boot_params", Value::pairs(boot))];
    if guest.uefi {
        fields.push(("NVRAM", Value::pairs([("EFI-variables", "VkFSUwEAAAAAAAAAAAAAAAAAAAA=")])));
    }
    if guest.state != State::Halted {
        fields.push(("last_boot_CPU_flags", Value::pairs([("vendor", "GenuineIntel"), ("features", "")])));
    }
    fields
}

/// What every VM has, whatever it is for.
pub(super) fn common_fields(maker: &mut Maker<'_>, hvm: bool, memory: i64, vcpus: i64) -> Vec<(&'static str, Value)> {
    let generation = format!("{}:{}", maker.below(usize::MAX), maker.below(usize::MAX));
    let platform = [("nx", "true"), ("acpi", "1"), ("apic", "true"), ("pae", "true"), ("viridian", "true")];
    let limits = ["memory_target", "memory_static_max", "memory_dynamic_max", "memory_dynamic_min"];
    let mut fields = vec![
        ("user_version", Value::Int(1)),
        ("power_state", Value::str("Halted")),
        ("domid", Value::Int(-1)),
        ("domain_type", Value::str(if hvm { "hvm" } else { "pv" })),
        ("HVM_boot_policy", Value::str(if hvm { "BIOS order" } else { "" })),
        ("PV_bootloader", Value::str(if hvm { "" } else { "pygrub" })),
        ("HVM_shadow_multiplier", Value::Float(1.0)),
        ("VCPUs_max", Value::Int(vcpus)),
        ("VCPUs_at_startup", Value::Int(vcpus)),
        ("memory_static_min", Value::Int(memory / 2)),
        ("memory_overhead", Value::Int((memory >> 7) + (4 << 20))),
        ("actions_after_softreboot", Value::str("soft_reboot")),
        ("actions_after_shutdown", Value::str("destroy")),
        ("actions_after_reboot", Value::str("restart")),
        ("actions_after_crash", Value::str("restart")),
        ("platform", Value::pairs(platform)),
        ("generation_id", Value::str(generation)),
        ("hardware_platform_version", Value::Int(if maker.since("ely") { 2 } else { 0 })),
        ("secureboot_certificates_state", Value::str("ok")),
    ];
    fields.extend(limits.map(|limit| (limit, Value::Int(memory))));
    fields
}

fn other_config(maker: &mut Maker<'_>, guest: &Guest) -> Value {
    let base = if guest.character.windows { "Windows Server 2016 (64-bit)" } else { "Other install media" };
    let mut pairs: Vec<(&str, Text)> = vec![("mac_seed", maker.uuid()), ("base_template_name", base.into())];
    if maker.percent(60) {
        pairs.push(("folder", guest.character.folder.into()));
    }
    if maker.percent(25) {
        let owner = *maker.pick(&["ops", "dba", "web team", "office"]);
        pairs.push(("XenCenter.CustomFields.Owner", owner.into()));
    }
    if maker.percent(30) {
        pairs.push(("auto_poweron", "true".into()));
    }
    Value::pairs(pairs)
}

/// The disk as the guest has it, on top of `parent`.
pub(super) fn live_disk(maker: &mut Maker<'_>, disk: &DiskPlan, parent: Option<Text>) -> Ref {
    let own = if parent.is_some() { ((disk.data / 50) >> 20) << 20 } else { disk.data };
    let used = occupied(&disk.sr, Part::Live, disk.size, own);
    maker.occupy(&disk.sr.reference, used, disk.size);
    let mut fields = vdi_fields(disk, &disk.uuid, parent.as_ref());
    fields.push(("physical_utilisation", Value::Int(used)));
    maker.row_as("VDI", disk.vdi.clone(), fields)
}

/// What all volumes of a chain have in common.
pub(super) fn vdi_fields(disk: &DiskPlan, uuid: &Text, parent: Option<&Text>) -> Vec<(&'static str, Value)> {
    let mut config: Vec<(&str, Text)> = Vec::new();
    config.extend(parent.map(|parent| ("vhd-parent", parent.clone())));
    config.extend(disk.sr.thick.then(|| ("vdi_type", "vhd".into())));
    vec![
        ("uuid", Value::Str(uuid.clone())),
        ("location", Value::Str(uuid.clone())),
        ("name_label", Value::Str(disk.name.clone())),
        ("SR", Value::Str(disk.sr.reference.clone())),
        ("virtual_size", Value::Int(disk.size)),
        ("type", Value::str("user")),
        ("managed", Value::Bool(true)),
        ("on_boot", Value::str("persist")),
        ("sm_config", Value::pairs(config)),
    ]
}

fn suspend_image(maker: &mut Maker<'_>, guest: &Guest) -> Ref {
    if guest.state != State::Suspended {
        return NULL.into();
    }
    suspend_image_in(maker, &guest.disks[0].sr.clone(), guest.memory, None)
}

/// A suspend image; with a time it belongs to a snapshot.
pub(super) fn suspend_image_in(maker: &mut Maker<'_>, sr: &Sr, memory: i64, snapshot: Option<Value>) -> Ref {
    let size = memory / 100 * 126 + (100 << 20);
    let used = occupied(sr, if snapshot.is_some() { Part::Leaf } else { Part::Live }, size, memory / 2);
    maker.occupy(&sr.reference, used, size);
    let uuid = maker.uuid();
    let mut fields = vec![
        ("uuid", Value::Str(uuid.clone())),
        ("location", Value::Str(uuid)),
        ("name_label", Value::str("Suspend image")),
        ("name_description", Value::str("Suspend image")),
        ("SR", Value::Str(sr.reference.clone())),
        ("virtual_size", Value::Int(size)),
        ("physical_utilisation", Value::Int(used)),
        ("type", Value::str("suspend")),
        ("managed", Value::Bool(true)),
        ("on_boot", Value::str("persist")),
    ];
    if let Some(time) = snapshot {
        fields.extend([("is_a_snapshot", Value::Bool(true)), ("snapshot_time", time)]);
    }
    maker.row("VDI", fields)
}

/// A drive: a disk, or a CD drive that may be empty.
pub(super) fn vbd(maker: &mut Maker<'_>, vm: &Ref, vdi: Option<&Ref>, position: usize, kind: &str, attached: bool) -> Ref {
    let disk = kind == "Disk";
    let letter = char::from(b'a' + (position % 26) as u8);
    let device = if attached { format!("xvd{letter}") } else { String::new() };
    let owner: &[(&str, &str)] = if disk { &[("owner", "")] } else { &[] };
    maker.row(
        "VBD",
        vec![
            ("VM", Value::Str(vm.clone())),
            ("VDI", vdi.map_or_else(Value::null, |vdi| Value::Str(vdi.clone()))),
            ("device", Value::str(device)),
            ("userdevice", Value::str(position.to_string())),
            ("bootable", Value::Bool(position == 0)),
            ("mode", Value::str(if disk { "RW" } else { "RO" })),
            ("type", Value::str(kind)),
            ("unpluggable", Value::Bool(true)),
            ("empty", Value::Bool(vdi.is_none())),
            ("currently_attached", Value::Bool(attached)),
            ("other_config", Value::pairs(owner.iter().copied())),
        ],
    )
}

/// A network card.
pub(super) fn vif(maker: &mut Maker<'_>, vm: &Ref, network: &Ref, device: usize, attached: bool) -> Ref {
    let mac = hosts::mac(maker);
    maker.row(
        "VIF",
        vec![
            ("VM", Value::Str(vm.clone())),
            ("network", Value::Str(network.clone())),
            ("device", Value::str(device.to_string())),
            ("MAC", Value::Str(mac)),
            ("MAC_autogenerated", Value::Bool(true)),
            ("MTU", Value::Int(1500)),
            ("currently_attached", Value::Bool(attached)),
            ("locking_mode", Value::str("network_default")),
            ("ipv4_configuration_mode", Value::str("None")),
            ("ipv6_configuration_mode", Value::str("None")),
            ("allowed_operations", Value::texts(["attach"])),
        ],
    )
}

fn metrics(maker: &mut Maker<'_>, guest: &Guest) -> Ref {
    let live = guest.state.is_live();
    let up = 60 + maker.below(30 * 1440) as i64;
    maker.row(
        "VM_metrics",
        vec![
            ("memory_actual", Value::Int(if live { guest.memory } else { 0 })),
            ("VCPUs_number", Value::Int(if live { guest.vcpus } else { 0 })),
            ("state", Value::texts(live.then_some("running"))),
            ("start_time", maker.ago(up)),
            ("install_time", maker.ago(up + 300 * 1440)),
            ("last_updated", maker.ago(up)),
            ("hvm", Value::Bool(true)),
            ("current_domain_type", Value::str(if live { "hvm" } else { "unspecified" })),
        ],
    )
}

fn guest_metrics(maker: &mut Maker<'_>, guest: &Guest) -> Ref {
    if !guest.tools || guest.state == State::Halted {
        return NULL.into();
    }
    let system: &[(&str, &str)] = if guest.character.windows {
        &[("name", "Microsoft Windows Server 2016 Standard|C:\\Windows"), ("distro", "windows"), ("major", "10"), ("minor", "0")]
    } else {
        &[
            ("name", "Debian GNU/Linux 12 (bookworm)"),
            ("distro", "debian"),
            ("major", "12"),
            ("minor", "0"),
            ("uname", "6.1.0-18"),
        ]
    };
    let mut features =
        vec![("feature-suspend", "1"), ("feature-poweroff", "1"), ("feature-reboot", "1"), ("feature-balloon", "1")];
    if guest.character.windows && !maker.since("quebec") {
        features.extend([("feature-snapshot", "1"), ("feature-quiesce", "1")]);
    }
    let number = guest.number;
    let address = format!("10.30.{}.{}", number / 200 % 256, 10 + number % 200);
    maker.row(
        "VM_guest_metrics",
        vec![
            ("os_version", Value::pairs(system.iter().copied())),
            ("PV_drivers_version", Value::pairs([("major", "9"), ("minor", "3"), ("micro", "2"), ("build", "112")])),
            ("PV_drivers_up_to_date", Value::Bool(true)),
            ("PV_drivers_detected", Value::Bool(true)),
            ("networks", Value::pairs([("0/ip", &*address), ("0/ipv4/0", &*address)])),
            ("other", Value::pairs(features)),
            ("last_updated", maker.ago(number as i64 % 600)),
            ("live", Value::Bool(true)),
            ("can_use_hotplug_vbd", Value::str("yes")),
            ("can_use_hotplug_vif", Value::str("yes")),
        ],
    )
}

fn vtpm(maker: &mut Maker<'_>, vm: &Ref) {
    maker.row(
        "VTPM",
        vec![
            ("VM", Value::Str(vm.clone())),
            ("persistence_backend", Value::str("xapi")),
            ("allowed_operations", Value::texts(["destroy"])),
        ],
    );
}

fn console(maker: &mut Maker<'_>, guest: &Guest) {
    let uuid = maker.uuid();
    let address = maker.text("host", &guest.host, "address");
    maker.row(
        "console",
        vec![
            ("VM", Value::Str(guest.reference.clone())),
            ("protocol", Value::str("rfb")),
            ("location", Value::str(format!("https://{address}/console?uuid={uuid}"))),
            ("uuid", Value::Str(uuid)),
        ],
    );
}
