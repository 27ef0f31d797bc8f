//! Which sets are the other side of a reference. Read off the data model's list of relations.

/// `(class, field, other class, set)`: writing `class.field` moves the row in and out of `other.set`.
const RELATIONS: [(&str, &str, &str, &str); 36] = [
    ("VBD", "VM", "VM", "VBDs"),
    ("VBD", "VDI", "VDI", "VBDs"),
    ("VIF", "VM", "VM", "VIFs"),
    ("VIF", "network", "network", "VIFs"),
    ("VDI", "SR", "SR", "VDIs"),
    ("VDI", "snapshot_of", "VDI", "snapshots"),
    ("VM", "snapshot_of", "VM", "snapshots"),
    ("VM", "parent", "VM", "children"),
    ("VM", "resident_on", "host", "resident_VMs"),
    ("VM", "appliance", "VM_appliance", "VMs"),
    ("VM", "protection_policy", "VMPP", "VMs"),
    ("VM", "snapshot_schedule", "VMSS", "VMs"),
    ("PBD", "SR", "SR", "PBDs"),
    ("PBD", "host", "host", "PBDs"),
    ("PIF", "host", "host", "PIFs"),
    ("PIF", "network", "network", "PIFs"),
    ("PCI", "host", "host", "PCIs"),
    ("PGPU", "host", "host", "PGPUs"),
    ("PUSB", "host", "host", "PUSBs"),
    ("VTPM", "VM", "VM", "VTPMs"),
    ("VUSB", "VM", "VM", "VUSBs"),
    ("VGPU", "VM", "VM", "VGPUs"),
    ("console", "VM", "VM", "consoles"),
    ("crashdump", "VM", "VM", "crash_dumps"),
    ("crashdump", "VDI", "VDI", "crash_dumps"),
    ("host_cpu", "host", "host", "host_CPUs"),
    ("host_crashdump", "host", "host", "crashdumps"),
    ("host_patch", "host", "host", "patches"),
    ("Feature", "host", "host", "features"),
    ("Certificate", "host", "host", "certificates"),
    ("task", "subtask_of", "task", "subtasks"),
    ("tunnel", "access_PIF", "PIF", "tunnel_access_PIF_of"),
    ("tunnel", "transport_PIF", "PIF", "tunnel_transport_PIF_of"),
    ("VLAN", "tagged_PIF", "PIF", "VLAN_slave_of"),
    ("Bond", "master", "PIF", "bond_master_of"),
    ("Cluster_host", "cluster", "Cluster", "cluster_hosts"),
];

/// The set that mirrors a reference field.
pub(super) fn reverse_of(class: &str, field: &str) -> Option<(&'static str, &'static str)> {
    RELATIONS.iter().find(|(c, f, ..)| *c == class && *f == field).map(|(_, _, other, set)| (*other, *set))
}

/// A mirrored field by its static names, and the class it refers to.
pub(super) fn forward(class: &str, field: &str) -> Option<((&'static str, &'static str), &'static str)> {
    RELATIONS.iter().find(|(c, f, ..)| *c == class && *f == field).map(|(c, f, other, _)| ((*c, *f), *other))
}

/// The reference fields that are mirrored in sets of `class`, as `(class, field, set)`.
pub(super) fn into_class(class: &str) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    RELATIONS.iter().filter(move |(.., other, _)| *other == class).map(|(c, f, _, set)| (*c, *f, *set))
}
