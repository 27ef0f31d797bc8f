//! Which role a call needs at least: contract, section 2.5. The rule: only what this program calls is listed; for the rest the
//! server's own message has to do.

use std::fmt;

/// A role of a XenServer pool, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// `read-only`
    ReadOnly,
    /// `vm-operator`
    VmOperator,
    /// `vm-admin`
    VmAdmin,
    /// `vm-power-admin`
    VmPowerAdmin,
    /// `pool-operator`
    PoolOperator,
    /// `pool-admin`
    PoolAdmin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::ReadOnly => "read-only",
            Role::VmOperator => "vm-operator",
            Role::VmAdmin => "vm-admin",
            Role::VmPowerAdmin => "vm-power-admin",
            Role::PoolOperator => "pool-operator",
            Role::PoolAdmin => "pool-admin",
        })
    }
}

/// Permissions, lower-case as the server names them, with the least role that has them.
const ROLES: &[(Role, &[&str])] = &[
    (
        Role::ReadOnly,
        &[
            "event.from",
            "event.inject",
            "event.next",
            "event.register",
            "task.create",
            "task.cancel",
            "task.destroy",
            "session.login_with_password",
        ],
    ),
    (
        Role::VmOperator,
        &[
            "vm.add_tags",
            "vm.remove_tags",
            "vm.set_tags",
            "vm.add_to_other_config/key:folder",
            "vm.remove_from_other_config/key:folder",
            "vm.start",
            "vm.resume",
            "vm.suspend",
            "vm.clean_shutdown",
            "vm.hard_shutdown",
            "vm.clean_reboot",
            "vm.hard_reboot",
            "vm.pause",
            "vm.unpause",
            "vm.shutdown",
            "vdi.list_changed_blocks",
            "vbd.insert",
            "vbd.eject",
        ],
    ),
    (
        Role::VmAdmin,
        &[
            "vm.destroy",
            "vm.clone",
            "vm.copy",
            "vm.provision",
            "vm.create",
            "vm.set_is_a_template",
            "vm.set_name_label",
            "vm.set_name_description",
            "vm.set_other_config",
            "vm.add_to_other_config",
            "vm.remove_from_other_config",
            "vm.set_blocked_operations",
            "vm.add_to_blocked_operations",
            "vm.remove_from_blocked_operations",
            "vdi.snapshot",
            "vdi.clone",
            "vdi.copy",
            "vdi.create",
            "vdi.destroy",
            "vdi.resize",
            "vdi.set_name_label",
            "vdi.set_name_description",
            "vdi.set_other_config",
            "vdi.add_to_other_config",
            "vdi.remove_from_other_config",
            "vdi.enable_cbt",
            "vdi.disable_cbt",
            "vdi.data_destroy",
            "vdi.get_nbd_info",
            "vbd.create",
            "vbd.destroy",
            "vbd.plug",
            "vbd.unplug",
            "http/get_export",
            "http/get_export_metadata",
            "http/put_import",
            "http/put_import_metadata",
            "http/get_export_raw_vdi",
            "http/put_import_raw_vdi",
        ],
    ),
    (
        Role::VmPowerAdmin,
        &[
            "vm.snapshot",
            "vm.snapshot_with_quiesce",
            "vm.checkpoint",
            "vm.revert",
            "vm.start_on",
            "vm.resume_on",
            "vm.pool_migrate",
            "sr.scan",
            "vdi.revert",
        ],
    ),
    (
        Role::PoolOperator,
        &[
            "vm.import",
            "vm.power_state_reset",
            "vm.set_suspend_vdi",
            "vm.set_snapshot_schedule",
            "vm.set_appliance",
            "vmss.create",
            "vmss.destroy",
            "vmss.snapshot_now",
            "vm_appliance.start",
            "vm_appliance.shutdown",
            "vm_appliance.clean_shutdown",
            "vm_appliance.hard_shutdown",
            "message.create",
            "message.destroy",
            "pool.sync_database",
            "pool.set_other_config",
            "pool.add_to_other_config",
            "pool.remove_from_other_config",
            "task.cancel.any",
            "task.destroy.any",
            "task.add_to_other_config",
        ],
    ),
    (
        Role::PoolAdmin,
        &[
            "host.call_plugin",
            "http/get_pool_xml_db_sync",
            "http/put_pool_xml_db_sync",
            "http/get_host_backup",
            "http/put_host_restore",
        ],
    ),
];

/// The least role that may call `permission`, a method's name in any case, with or without `Async.`; `None` where it is not known.
/// `task.cancel` and `task.destroy` are meant of one's own tasks; those of others need `pool-operator`.
pub fn minimum_role(permission: &str) -> Option<Role> {
    let wanted = permission.to_ascii_lowercase();
    let wanted = wanted.strip_prefix("async.").unwrap_or(&wanted);
    let role_of = |name: &str| ROLES.iter().find(|(_, names)| names.contains(&name)).map(|(role, _)| *role);
    // `vm.add_to_other_config/key:pool` needs what `vm.add_to_other_config` needs, unless the key has a line of its own.
    role_of(wanted).or_else(|| role_of(wanted.split_once("/key:")?.0))
}

/// What to do about RBAC_PERMISSION_DENIED for `permission`.
pub(super) fn advice(permission: &str) -> String {
    match minimum_role(permission) {
        Some(Role::ReadOnly) => "The account has no role in the pool: give it one (xe subject-role-add)".to_owned(),
        Some(role) => format!(
            "The account's role does not allow {permission}: it needs at least {role} \
             (xe subject-role-add uuid=<subject> role-name={role})"
        ),
        None => format!("The account's role does not allow {permission}: give the account a higher role (xe subject-role-add)"),
    }
}
