//! The templates that come with a release, and one that somebody made.

use super::guests::{self, DiskPlan};
use super::hosts::Host;
use super::maker::Maker;
use super::storage::Storage;
use crate::simulator::value::Value;

/// `(name, since, until, Windows, memory in MiB, disk in GiB)`; an empty release means always.
const DEFAULTS: [(&str, &str, &str, bool, i64, i64); 15] = [
    ("Windows Server 2003 (32-bit)", "", "dundee", true, 256, 8),
    ("Windows Server 2008 R2 (64-bit)", "midnight-ride", "stockholm", true, 512, 24),
    ("Windows 7 (64-bit)", "midnight-ride", "quebec", true, 2048, 24),
    ("Debian Squeeze 6.0 (64-bit)", "boston", "dundee", false, 128, 8),
    ("CentOS 5 (64-bit)", "", "lima", false, 512, 8),
    ("Red Hat Enterprise Linux 6 (64-bit)", "boston", "stockholm", false, 1024, 8),
    ("CentOS 7", "creedence", "26.0.0", false, 2048, 10),
    ("Windows Server 2016 (64-bit)", "dundee", "", true, 2048, 32),
    ("Windows Server 2019 (64-bit)", "naples", "", true, 2048, 32),
    ("Debian Buster 10", "stockholm", "", false, 1024, 10),
    ("Windows Server 2022 (64-bit)", "22.20.0", "", true, 2048, 32),
    ("Debian Bookworm 12", "22.20.0", "", false, 1024, 10),
    ("Rocky Linux 9", "22.20.0", "", false, 2048, 10),
    ("Ubuntu Noble Numbat 24.04", "24.16.0", "", false, 1024, 10),
    ("Other install media", "", "", true, 256, 0),
];

/// Makes the templates.
pub(super) fn make(maker: &mut Maker<'_>, storage: &Storage, hosts: &[Host]) {
    for (name, since, until, hvm, memory, disk) in DEFAULTS {
        if (since.is_empty() || maker.since(since)) && (until.is_empty() || !maker.since(until)) {
            default(maker, name, hvm || maker.since("creedence"), memory << 20, disk << 30);
        }
    }
    golden(maker, storage, hosts);
}

fn default(maker: &mut Maker<'_>, name: &str, hvm: bool, memory: i64, disk: i64) {
    let seed = maker.uuid();
    let mut other = vec![("mac_seed", seed.to_string()), ("default_template", "true".to_owned())];
    if disk > 0 {
        let disks =
            format!("<provision><disk device=\"0\" size=\"{disk}\" sr=\"\" bootable=\"true\" type=\"system\"/></provision>");
        other.push(("disks", disks));
        other.push(("install-methods", "cdrom,nfs,http,ftp".to_owned()));
    }
    let most = 128i64 << 30;
    let recommendations = format!(
        "<restrictions><restriction field=\"memory-static-max\" max=\"{most}\" /><restriction field=\"vcpus-max\" max=\"16\" />\
         <restriction property=\"number-of-vbds\" max=\"16\" /><restriction property=\"number-of-vifs\" max=\"7\" /></restrictions>"
    );
    let metrics = maker.row("VM_metrics", Vec::new());
    let mut fields = guests::common_fields(maker, hvm, memory, 1);
    fields.extend([
        ("name_label", Value::str(name)),
        ("name_description", Value::str(format!("Clone this template to more easily provision {name}"))),
        ("is_a_template", Value::Bool(true)),
        ("is_default_template", Value::Bool(true)),
        ("metrics", Value::Str(metrics)),
        ("recommendations", Value::str(recommendations)),
        ("other_config", Value::pairs(other)),
        ("reference_label", Value::str(name.to_lowercase().replace(' ', "-"))),
        ("allowed_operations", Value::texts(TEMPLATE_OPERATIONS)),
    ]);
    maker.row("VM", fields);
}

const TEMPLATE_OPERATIONS: [&str; 8] = [
    "metadata_export",
    "export",
    "changing_shadow_memory",
    "changing_static_range",
    "changing_dynamic_range",
    "provision",
    "copy",
    "clone",
];

/// A template with a disk of its own, as administrators make them.
fn golden(maker: &mut Maker<'_>, storage: &Storage, hosts: &[Host]) {
    let size = maker.recipe.disk_size.unwrap_or(10 << 30);
    let sr = storage.shared[0].clone();
    let metrics = maker.row("VM_metrics", Vec::new());
    let seed = maker.uuid();
    let vm = maker.reference();
    let disk = DiskPlan::new(maker, sr, size, "Golden image disk 0");
    let vdi = guests::live_disk(maker, &disk, None);
    guests::vbd(maker, &vm, Some(&vdi), 0, "Disk", false);
    guests::vif(maker, &vm, &hosts[0].networks[0], 0, false);
    let mut fields = guests::common_fields(maker, true, 2 << 30, 2);
    fields.extend([
        ("name_label", Value::str("Golden image")),
        ("name_description", Value::str("Patched monthly; clone, do not start")),
        ("is_a_template", Value::Bool(true)),
        ("metrics", Value::Str(metrics)),
        ("other_config", Value::pairs([("mac_seed", &*seed), ("base_template_name", "Other install media")])),
        ("tags", Value::texts(["gold"])),
        ("allowed_operations", Value::texts(["destroy"].into_iter().chain(TEMPLATE_OPERATIONS))),
    ]);
    maker.row_as("VM", vm, fields);
}
