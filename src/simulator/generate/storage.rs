//! Drivers, SRs of every kind with their PBDs, and ISO images.

use super::hosts::Host;
use super::maker::Maker;
use crate::simulator::storage::layout;
use crate::simulator::value::{Ref, Text, Value};

const GIB: i64 = 1 << 30;

/// An SR for disks.
#[derive(Debug, Clone)]
pub(super) struct Sr {
    pub(super) reference: Ref,
    /// Disks occupy their whole size at once.
    pub(super) thick: bool,
}

/// The pool's storage.
pub(super) struct Storage {
    /// Shared SRs: NFS (thin) and iSCSI (thick).
    pub(super) shared: Vec<Sr>,
    /// One local SR per host, thick and thin by turns.
    pub(super) local: Vec<Sr>,
    /// ISO images that a guest may have in its drive.
    pub(super) isos: Vec<Ref>,
}

/// `(type, name, features)` of the drivers.
const DRIVERS: [(&str, &str, &[&str]); 6] = [
    ("lvm", "Local VHD on LVM", VHD),
    ("ext", "Local EXT3 VHD", VHD),
    ("nfs", "NFS VHD", VHD),
    ("lvmoiscsi", "VHD over iSCSI", VHD),
    ("iso", "ISO", &["VDI_CREATE", "VDI_DELETE", "VDI_ATTACH", "VDI_DETACH"]),
    ("udev", "udev", &["VDI_INTRODUCE", "VDI_ATTACH", "VDI_DETACH", "VDI_UPDATE", "SR_UPDATE"]),
];

const VHD: &[&str] = &[
    "SR_PROBE",
    "SR_UPDATE",
    "VDI_CREATE",
    "VDI_DELETE",
    "VDI_ATTACH",
    "VDI_DETACH",
    "VDI_UPDATE",
    "VDI_CLONE",
    "VDI_SNAPSHOT",
    "VDI_RESIZE",
    "VDI_MIRROR",
    "VDI_GENERATE_CONFIG",
    "VDI_RESET_ON_BOOT",
    "VDI_ACTIVATE",
    "VDI_DEACTIVATE",
    "VDI_CONFIG_CBT",
];

/// Makes drivers, SRs and ISO images.
pub(super) fn make(maker: &mut Maker<'_>, hosts: &[Host]) -> Storage {
    for (kind, name, features) in DRIVERS {
        driver(maker, kind, name, features);
    }
    let all: Vec<&Host> = hosts.iter().collect();
    let nfs = sr(maker, Kind { kind: "nfs", name: "NFS virtual disk storage", content: "user", shared: true }, &all);
    let iscsi = sr(maker, Kind { kind: "lvmoiscsi", name: "iSCSI virtual disk storage", content: "user", shared: true }, &all);
    let mut local = Vec::new();
    for host in hosts {
        let kind = if host.number.is_multiple_of(2) { "lvm" } else { "ext" };
        local.push(sr(maker, Kind { kind, name: "Local storage", content: "user", shared: false }, &[host]));
        sr(maker, Kind { kind: "udev", name: "DVD drives", content: "iso", shared: false }, &[host]);
    }
    let isos = isos(maker, &all);
    Storage { shared: vec![nfs, iscsi], local, isos }
}

fn driver(maker: &mut Maker<'_>, kind: &str, name: &str, features: &[&str]) {
    let known: Vec<&str> = features.iter().copied().filter(|f| *f != "VDI_CONFIG_CBT" || maker.since("inverness")).collect();
    let versions = known.iter().map(|feature| (Text::from(*feature), Value::Int(1))).collect();
    let fields = vec![
        ("type", Value::str(kind)),
        ("name_label", Value::str(name)),
        ("name_description", Value::str(format!("SR plugin for {name}"))),
        ("vendor", Value::str("Citrix Systems Inc")),
        ("copyright", Value::str("(C) 2008 Citrix Systems Inc")),
        ("version", Value::str("1.0")),
        ("required_api_version", Value::str("1.0")),
        ("capabilities", Value::texts(known)),
        ("features", Value::Map(versions)),
        ("driver_filename", Value::str(format!("/opt/xensource/sm/{}SR", kind.to_uppercase()))),
    ];
    maker.row("SM", fields);
}

struct Kind {
    kind: &'static str,
    name: &'static str,
    content: &'static str,
    shared: bool,
}

fn sr(maker: &mut Maker<'_>, kind: Kind, hosts: &[&Host]) -> Sr {
    let thick = matches!(kind.kind, "lvm" | "lvmoiscsi");
    let config = if thick { vec![("allocation", "thick"), ("use_vhd", "true")] } else { Vec::new() };
    let other = match kind.name {
        "Local storage" => vec![("i18n-key", "local-storage"), ("i18n-original-value-name_label", "Local storage")],
        "DVD drives" => vec![("i18n-key", "local-hotplug-cd"), ("i18n-original-value-name_label", "DVD drives")],
        _ => Vec::new(),
    };
    let reference = maker.row(
        "SR",
        vec![
            ("name_label", Value::str(kind.name)),
            ("type", Value::str(kind.kind)),
            ("content_type", Value::str(kind.content)),
            ("shared", Value::Bool(kind.shared)),
            ("sm_config", Value::pairs(config)),
            ("other_config", Value::pairs(other)),
            ("allowed_operations", Value::texts(operations(kind.kind).iter().copied())),
        ],
    );
    for host in hosts {
        pbd(maker, &reference, host, kind.kind);
    }
    Sr { reference, thick }
}

fn operations(kind: &str) -> &'static [&'static str] {
    match kind {
        "iso" => &["unplug", "plug", "pbd_create", "pbd_destroy", "vdi_clone", "scan", "vdi_create", "vdi_destroy"],
        "udev" => &["unplug", "plug", "pbd_create", "update", "pbd_destroy", "vdi_introduce", "vdi_clone", "scan"],
        _ => &[
            "unplug",
            "plug",
            "pbd_create",
            "update",
            "pbd_destroy",
            "vdi_resize",
            "vdi_clone",
            "scan",
            "vdi_snapshot",
            "vdi_mirror",
            "vdi_create",
            "vdi_destroy",
        ],
    }
}

fn pbd(maker: &mut Maker<'_>, sr: &Ref, host: &Host, kind: &str) {
    let config = match kind {
        "nfs" => vec![("server", "10.20.0.5".to_owned()), ("serverpath", "/export/xen".to_owned())],
        "lvmoiscsi" => vec![("target", "10.20.0.6".to_owned()), ("targetIQN", "iqn.2001-05.com.example:storage".to_owned())],
        "iso" => vec![("location", "10.20.0.5:/export/iso".to_owned())],
        "udev" => vec![("location", "/dev/xapi/cd".to_owned())],
        _ => vec![("device", format!("/dev/disk/by-id/scsi-36006{:08}-part3", host.number))],
    };
    maker.row(
        "PBD",
        vec![
            ("SR", Value::Str(sr.clone())),
            ("host", Value::Str(host.reference.clone())),
            ("device_config", Value::pairs(config)),
            ("currently_attached", Value::Bool(true)),
        ],
    );
}

const ISOS: [&str; 4] =
    ["debian-12.5.0-amd64-netinst.iso", "rhel-9.3-x86_64-dvd.iso", "en-us_windows_server_2022_x64.iso", "systemrescue-11.00.iso"];

fn isos(maker: &mut Maker<'_>, hosts: &[&Host]) -> Vec<Ref> {
    let library = sr(maker, Kind { kind: "iso", name: "ISO library", content: "iso", shared: true }, hosts);
    let tools = sr(maker, Kind { kind: "iso", name: "XenServer Tools", content: "iso", shared: true }, hosts);
    maker.rewrite("SR", &tools.reference, "name_description", Value::str("XenServer Tools ISOs"));
    maker.rewrite("SR", &tools.reference, "is_tools_sr", Value::Bool(true));
    let internal = [("xensource_internal", "true"), ("xenserver_tools_sr", "true"), ("i18n-key", "xenserver-tools")];
    maker.rewrite("SR", &tools.reference, "other_config", Value::pairs(internal));
    let made = ISOS.iter().map(|name| iso(maker, &library.reference, name)).collect();
    let guest_tools = iso(maker, &tools.reference, if maker.since("quebec") { "guest-tools.iso" } else { "xs-tools.iso" });
    maker.rewrite("VDI", &guest_tools, "is_tools_iso", Value::Bool(true));
    made
}

fn iso(maker: &mut Maker<'_>, sr: &Ref, name: &str) -> Ref {
    let size = (400 + maker.below(4000) as i64) << 20;
    let size = maker.recipe.disk_size.map_or(size, |most| size.min(most));
    maker.occupy(sr, size, size);
    maker.row(
        "VDI",
        vec![
            ("name_label", Value::str(name)),
            ("location", Value::str(name)),
            ("SR", Value::Str(sr.clone())),
            ("virtual_size", Value::Int(size)),
            ("physical_utilisation", Value::Int(size)),
            ("type", Value::str("user")),
            ("read_only", Value::Bool(true)),
            ("managed", Value::Bool(true)),
            ("on_boot", Value::str("persist")),
            ("allowed_operations", Value::texts(["clone", "copy"])),
        ],
    )
}

/// What a disk occupies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The disk itself, with `data` bytes in it.
    Live,
    /// A hidden parent with `data` bytes.
    Base,
    /// A snapshot's empty leaf.
    Leaf,
}

/// The bytes that a part of a chain occupies.
pub(super) fn occupied(sr: &Sr, part: Part, size: i64, data: i64) -> i64 {
    match (sr.thick, part) {
        (true, Part::Live) => layout::full(size),
        (true, Part::Base) => layout::deflated(data),
        (true, Part::Leaf) => layout::EMPTY_VHD,
        (false, Part::Leaf) => 64 << 10,
        (false, _) => data + (64 << 10),
    }
}

/// Writes into the SRs how full they are, and makes them large enough.
pub(super) fn account(maker: &mut Maker<'_>, storage: &Storage) {
    let for_disks = storage.shared.iter().chain(&storage.local).map(|sr| sr.reference.clone());
    let isos = storage.isos.first().map(|iso| maker.text("VDI", iso, "SR"));
    for sr in for_disks.chain(isos) {
        let (used, allotted) = maker.used.get(&sr).copied().unwrap_or_default();
        let size = ((used * 2).max(500 * GIB) / GIB + 1) * GIB;
        maker.rewrite("SR", &sr, "physical_size", Value::Int(size));
        maker.rewrite("SR", &sr, "physical_utilisation", Value::Int(used));
        maker.rewrite("SR", &sr, "virtual_allocation", Value::Int(allotted));
    }
}
