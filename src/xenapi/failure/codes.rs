//! Every code this program may meet, with its kind and a sentence of advice. The rule: one row per code, sorted; a code that is not
//! here is `Broken`, because nothing may be repeated on a guess.
//!
//! Codes and their meaning are facts of the published data model and of the contract (sections 1.8, 2.2, 5 and 8).

use super::Kind::{self, Ambiguous, Broken, Busy, Denied, NoSpace, NotFound, Transient, Unsupported};

/// What is known about one code.
pub(super) struct Row {
    code: &'static str,
    pub(super) kind: Kind,
    /// The host answers every call with this until it has started or recovered.
    pub(super) emergency: bool,
    pub(super) advice: &'static str,
}

/// The advice for a code that is not in the table.
pub(super) const OTHER: &str =
    "The server refused with a code this program does not know: look at /var/log/xensource.log on the pool master";

const STARTING: &str = "The host is starting or recovering: it is tried again; if this lasts, look at the host's console";
const MEMBER: &str = "This host is a member of its pool: the call belongs to the pool master it names";
const SESSION: &str =
    "The session ended; the program logs in again. If it repeats, another client ends it or the pool has too many sessions";
const EVENTS: &str = "The event queue overflowed: the state is read anew";
const OFFLINE: &str = "The host is off or not reachable from the pool master: bring it back, or evict it from the pool";
const NO_HOST: &str = "No running host can reach all storage of the VM: check that every SR of its disks is plugged, and eject discs of unplugged ISO SRs";
const DETACHED: &str = "The SR is not attached: plug it on the hosts (xe pbd-plug)";
const MEMORY: &str = "The hosts have no memory free for it: stop or move other VMs";
const SILENT: &str = "The guest did not answer in time: look at its tools and its load";
const STORAGE: &str = "The storage layer did not answer: look at /var/log/SMlog and xensource.log on the host";
const IN_USE: &str = "Another operation works on the object: it is tried again; xe task-list shows what runs";
const CROWD: &str = "The server has more than a hundred calls waiting: it is tried again; let fewer run at once";
const UPGRADE: &str = "The pool is being upgraded: schedules wait until the upgrade is over";
const GONE: &str = "The object is not there any more: it was removed, or the name belongs to another pool";
const LOST_DISK: &str = "The storage does not know the disk any more: run xe sr-scan, and look whether the SR is complete";
const NO_DEFAULT_SR: &str = "No default SR is set: set one (xe pool-param-set default-SR=...) or name one";
const PASSWORD: &str = "User name or password is wrong: check them in the configuration";
const NO_ACCESS: &str = "The account is known, but has no access to this pool: add it (xe subject-add) and give it a role";
const ROLE: &str = "The account's role does not allow this call: give the account a higher role";
const BLOCKED: &str = "Somebody blocked this operation on the object (blocked_operations): remove the block if it is not wanted";
const LICENCE: &str = "The pool's licence lacks this feature: license the pool, or choose a kind of snapshot without it";
const RELEASE: &str =
    "This release of the server does not have the call, or not with these parameters: choose another kind of snapshot";
const STATE: &str = "The object's state does not allow it now: look at its power state and what uses it";
const POWER: &str = "The VM is in the wrong power state for this: a snapshot with memory needs it running, paused or suspended";
const SNAPSHOT: &str = "A snapshot cannot be used like a VM: choose the VM it was taken of";
const TEMPLATE: &str = "A template cannot be snapshotted or started: exclude it";
const NO_SUSPEND: &str =
    "The VM cannot be suspended, so its memory cannot be kept: take a disk snapshot, or take the device away";
const USB: &str = "The VM has USB devices passed through, which the server cannot snapshot: detach them (xe vusb-destroy)";
const SUSPEND_SR: &str = "No valid SR for memory images: set one on the VM or the pool (suspend-image-SR-uuid)";
const QUIESCE: &str = "The guest cannot be quiesced: check its tools and VSS provider, or use fallback = \"disk\"";
const KIND_OF_SR: &str = "This kind of storage cannot do it: move the disk to an SR that can snapshot, or exclude the disk";
const KIND_OF_DISK: &str = "A disk of this VM cannot be snapshotted (shared, physical, or of another purpose): exclude it";
const RESET_DISK: &str = "A disk of this VM is reset at each boot and cannot be snapshotted: exclude it or set on-boot=persist";
const NO_CBT: &str = "Changed block tracking is not available for this disk: take a full copy";
const WRONG_OBJECT: &str = "Only a snapshot can be reverted to, and only a template be provisioned: check the object given";
const MEMBERSHIP: &str = "The VM belongs to a vApp, a schedule or a protection policy: take it out first";
const FAILOVER: &str = "High availability forbids it: look at the pool's failover plan";
const NO_FIT: &str = "The VM cannot run on the hosts there are: look at its CPU, GPU, network and platform needs";
const VALUE: &str = "The server does not take this value: check the setting it comes from";
const FULL: &str = "The SR is full: remove snapshots or enlarge it, and wait for the garbage collector";
const SUSPEND_FULL: &str = "The SR for memory images is full: free space on it or name another (suspend-image-SR-uuid)";
const UNKNOWN: &str = "It is not known whether it happened: the program looks before it acts again; check the objects concerned";
const INSIDE: &str = "The server failed inside: look at /var/log/xensource.log on the pool master";
const NOT_RESUMED: &str =
    "The VM was suspended for its snapshot and could not be resumed: resume it (xe vm-resume) and look at the host";
const HALF_REVERTED: &str =
    "The VM is partly reverted, perhaps without its disks; the snapshot is whole: make space and revert again";
const CANCELLED: &str = "The task was cancelled: run it again if that was not meant";
const TAKEN: &str = "The key is there already: somebody else wrote it first";
const NOT_UNDERSTOOD: &str = "The server did not understand a value this program sent: report it with the call's name";
const ARCHIVE: &str = "The archive cannot be imported as it is: check that the file is whole and of a release this pool takes";
const SCRIPT: &str = "The backup or restore script of the host failed: look at /var/log/xensource.log there";
const SR_STATE: &str = "The SR is not in the state this needs: look at its disks and connections";
const NETWORK: &str =
    "This concerns the pool's network or cluster, which this program does not touch: look at the call that was made";

/// Sorted by code.
const ROWS: &[Row] = &[
    row("API_VERSION_NOT_SUPPORTED", Unsupported, RELEASE),
    row("AUTH_DISABLE_FAILED_PERMISSION_DENIED", Denied, NO_ACCESS),
    row("BACKUP_SCRIPT_FAILED", Broken, SCRIPT),
    row("BOOTLOADER_FAILED", Broken, INSIDE),
    row("CANNOT_CONTACT_HOST", Ambiguous, UNKNOWN),
    row("CANNOT_PLUG_BOND_SLAVE", Unsupported, NETWORK),
    row("CLUSTERING_DISABLED", Unsupported, NETWORK),
    row("CLUSTERING_ENABLED", Unsupported, NETWORK),
    row("CLUSTER_DOES_NOT_HAVE_ONE_NODE", Unsupported, NETWORK),
    row("CLUSTER_FORCE_DESTROY_FAILED", Unsupported, NETWORK),
    row("CLUSTER_HOST_IS_LAST", Unsupported, NETWORK),
    row("CLUSTER_STACK_IN_USE", Unsupported, NETWORK),
    row("CONCURRENT_OPERATION_IN_PROGRESS", Busy, IN_USE),
    row("CONNECTION_LOST", Ambiguous, UNKNOWN),
    row("DB_UNIQUENESS_CONSTRAINT_VIOLATION", Broken, TAKEN),
    row("DEFAULT_SR_NOT_FOUND", NotFound, NO_DEFAULT_SR),
    row("DEVICE_ALREADY_ATTACHED", Unsupported, VALUE),
    row("DEVICE_ALREADY_DETACHED", NotFound, GONE),
    row("DEVICE_ALREADY_EXISTS", Unsupported, VALUE),
    row("DEVICE_ATTACH_TIMEOUT", Transient, SILENT),
    row("DEVICE_DETACH_REJECTED", Unsupported, VALUE),
    row("DEVICE_DETACH_TIMEOUT", Transient, SILENT),
    row("DEVICE_NOT_ATTACHED", Unsupported, VALUE),
    row("DISK_VBD_MUST_BE_READWRITE_FOR_HVM", Broken, ARCHIVE),
    row("DOMAIN_EXISTS", Busy, IN_USE),
    row("DUPLICATE_VM", Broken, ARCHIVE),
    row("EVENTS_LOST", Transient, EVENTS),
    row("EVENT_FROM_TOKEN_PARSE_FAILURE", Transient, EVENTS),
    row("EVENT_SUBSCRIPTION_PARSE_FAILURE", Broken, NOT_UNDERSTOOD),
    row("FIELD_TYPE_ERROR", Broken, NOT_UNDERSTOOD),
    row("Fault", Broken, INSIDE),
    row("HANDLE_INVALID", NotFound, GONE),
    emergency("HA_ABORT_NEW_MASTER", STARTING),
    row("HA_CONSTRAINT_VIOLATION_NETWORK_NOT_SHARED", Unsupported, FAILOVER),
    row("HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED", Unsupported, FAILOVER),
    emergency("HA_HEARTBEAT_DAEMON_STARTUP_FAILED", STARTING),
    emergency("HA_HOST_CANNOT_ACCESS_STATEFILE", STARTING),
    emergency("HA_HOST_CANNOT_SEE_PEERS", STARTING),
    emergency("HA_HOST_IS_ARMED", STARTING),
    row("HA_IS_ENABLED", Unsupported, FAILOVER),
    emergency("HA_LOST_STATEFILE", STARTING),
    row("HA_NOT_ENABLED", Unsupported, FAILOVER),
    emergency("HA_NO_PLAN", STARTING),
    row("HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN", Unsupported, FAILOVER),
    emergency("HA_POOL_IS_ENABLED_BUT_HOST_IS_DISABLED", STARTING),
    emergency("HA_SHOULD_BE_FENCED", STARTING),
    row("HA_TOO_FEW_HOSTS", Unsupported, FAILOVER),
    emergency("HOST_BROKEN", STARTING),
    row("HOST_CANNOT_ATTACH_NETWORK", Unsupported, NO_FIT),
    row("HOST_DISABLED", Transient, OFFLINE),
    row("HOST_DISABLED_UNTIL_REBOOT", Transient, OFFLINE),
    emergency("HOST_HAS_NO_MANAGEMENT_IP", STARTING),
    emergency("HOST_IN_EMERGENCY_MODE", STARTING),
    row("HOST_IN_USE", Busy, IN_USE),
    row("HOST_IS_LIVE", Transient, OFFLINE),
    row("HOST_IS_SLAVE", Transient, MEMBER),
    emergency("HOST_ITS_OWN_SLAVE", STARTING),
    emergency("HOST_MASTER_CANNOT_TALK_BACK", STARTING),
    row("HOST_NAME_INVALID", Broken, NOT_UNDERSTOOD),
    row("HOST_NOT_ENOUGH_FREE_MEMORY", Transient, MEMORY),
    row("HOST_NOT_ENOUGH_PCPUS", Transient, MEMORY),
    row("HOST_NOT_LIVE", Transient, OFFLINE),
    row("HOST_OFFLINE", Transient, OFFLINE),
    emergency("HOST_STILL_BOOTING", STARTING),
    emergency("HOST_UNKNOWN_TO_MASTER", STARTING),
    emergency("HOST_XAPI_VERSION_HIGHER_THAN_COORDINATOR", STARTING),
    row("IMPORT_ERROR", Broken, ARCHIVE),
    row("IMPORT_ERROR_ATTACHED_DISKS_NOT_FOUND", Broken, ARCHIVE),
    row("IMPORT_ERROR_CANNOT_HANDLE_CHUNKED", Broken, ARCHIVE),
    row("IMPORT_ERROR_FAILED_TO_FIND_OBJECT", Broken, ARCHIVE),
    row("IMPORT_ERROR_GENERIC", Broken, ARCHIVE),
    row("IMPORT_ERROR_PREMATURE_EOF", Broken, ARCHIVE),
    row("IMPORT_ERROR_SOME_CHECKSUMS_FAILED", Broken, ARCHIVE),
    row("IMPORT_ERROR_UNEXPECTED_FILE", Broken, ARCHIVE),
    row("IMPORT_INCOMPATIBLE_VERSION", Broken, ARCHIVE),
    row("INTERNAL_ERROR", Broken, INSIDE),
    row("INVALID_CLUSTER_STACK", Unsupported, NETWORK),
    row("INVALID_DEVICE", Broken, NOT_UNDERSTOOD),
    row("INVALID_FEATURE_STRING", Broken, NOT_UNDERSTOOD),
    row("INVALID_UPDATE", Broken, NOT_UNDERSTOOD),
    row("INVALID_VALUE", Broken, NOT_UNDERSTOOD),
    row("IS_TUNNEL_ACCESS_PIF", Unsupported, NETWORK),
    row("JOINING_HOST_CANNOT_CONTAIN_SHARED_SRS", Unsupported, NETWORK),
    row("LICENCE_RESTRICTION", Unsupported, LICENCE),
    row("LICENSE_CHECKOUT_ERROR", Unsupported, LICENCE),
    row("LICENSE_DOES_NOT_SUPPORT_POOLING", Unsupported, LICENCE),
    row("LICENSE_EXPIRED", Unsupported, LICENCE),
    row("LICENSE_PROCESSING_ERROR", Unsupported, LICENCE),
    row("LICENSE_RESTRICTION", Unsupported, LICENCE),
    row("MAP_DUPLICATE_KEY", Broken, TAKEN),
    row("MEMORY_CONSTRAINT_VIOLATION", Unsupported, NO_FIT),
    row("MESSAGE_DEPRECATED", Unsupported, RELEASE),
    row("MESSAGE_METHOD_UNKNOWN", Unsupported, RELEASE),
    row("MESSAGE_PARAMETER_COUNT_MISMATCH", Unsupported, RELEASE),
    row("MESSAGE_REMOVED", Unsupported, RELEASE),
    row("NETWORK_INCOMPATIBLE_PURPOSES", Unsupported, NETWORK),
    row("NETWORK_SRIOV_INSUFFICIENT_CAPACITY", Unsupported, NETWORK),
    row("NOT_ENOUGH_FREE_MEMORY", Transient, MEMORY),
    row("NOT_IMPLEMENTED", Unsupported, RELEASE),
    row("NOT_SUPPORTED_DURING_UPGRADE", Busy, UPGRADE),
    row("NO_CLUSTER_HOSTS_REACHABLE", Unsupported, NETWORK),
    row("NO_HOSTS_AVAILABLE", Transient, NO_HOST),
    row("OBJECT_NOLONGER_EXISTS", NotFound, GONE),
    row("OPENVSWITCH_NOT_ACTIVE", Unsupported, NETWORK),
    row("OPERATION_BLOCKED", Denied, BLOCKED),
    row("OPERATION_NOT_ALLOWED", Unsupported, STATE),
    row("OPERATION_PARTIALLY_FAILED", Ambiguous, UNKNOWN),
    row("OTHER_OPERATION_IN_PROGRESS", Busy, IN_USE),
    row("OUT_OF_SPACE", NoSpace, FULL),
    row("PBD_EXISTS", Broken, SR_STATE),
    row("PERMISSION_DENIED", Denied, NO_ACCESS),
    row("PIF_ALLOWS_UNPLUG", Unsupported, NETWORK),
    row("PIF_DOES_NOT_ALLOW_UNPLUG", Unsupported, NETWORK),
    row("PIF_HAS_FCOE_SR_IN_USE", Unsupported, NETWORK),
    row("PIF_HAS_NO_NETWORK_CONFIGURATION", Unsupported, NETWORK),
    row("PIF_HAS_NO_V6_NETWORK_CONFIGURATION", Unsupported, NETWORK),
    row("PIF_INCOMPATIBLE_PRIMARY_ADDRESS_TYPE", Unsupported, NETWORK),
    row("PIF_IS_PHYSICAL", Unsupported, NETWORK),
    row("PIF_NOT_ATTACHED_TO_HOST", Unsupported, NETWORK),
    row("PIF_NOT_PRESENT", Unsupported, NETWORK),
    row("PIF_TUNNEL_STILL_EXISTS", Unsupported, NETWORK),
    row("PROVISION_FAILED_OUT_OF_SPACE", NoSpace, FULL),
    row("PROVISION_ONLY_ALLOWED_ON_TEMPLATE", Unsupported, WRONG_OBJECT),
    row("PVS_SITE_CONTAINS_RUNNING_PROXIES", Unsupported, NETWORK),
    row("PVS_SITE_CONTAINS_SERVERS", Unsupported, NETWORK),
    row("RBAC_PERMISSION_DENIED", Denied, ROLE),
    row("REQUIRED_PIF_IS_UNPLUGGED", Unsupported, NETWORK),
    row("RESTORE_INCOMPATIBLE_VERSION", Broken, SCRIPT),
    row("RESTORE_SCRIPT_FAILED", Broken, SCRIPT),
    row("RESTORE_TARGET_MGMT_IF_NOT_IN_BACKUP", Broken, SCRIPT),
    row("RESTORE_TARGET_MISSING_DEVICE", Broken, SCRIPT),
    row("REVERT_ONLY_ALLOWED_ON_SNAPSHOT", Unsupported, WRONG_OBJECT),
    row("SESSION_AUTHENTICATION_FAILED", Denied, PASSWORD),
    row("SESSION_AUTHORIZATION_FAILED", Denied, NO_ACCESS),
    row("SESSION_INVALID", Transient, SESSION),
    row("SESSION_NOT_REGISTERED", Transient, EVENTS),
    row("SM_PLUGIN_COMMUNICATION_FAILURE", Transient, STORAGE),
    row("SR_ALLOCATION_EXCEEDED", NoSpace, FULL),
    row("SR_ATTACH_FAILED", Transient, DETACHED),
    row("SR_BACKEND_FAILURE", Broken, SR_STATE),
    row("SR_DETACHED_ON_MASTER", Transient, DETACHED),
    row("SR_DEVICE_IN_USE", Busy, IN_USE),
    row("SR_DOES_NOT_SUPPORT_MIGRATION", Unsupported, KIND_OF_SR),
    row("SR_FULL", NoSpace, FULL),
    row("SR_HAS_MULTIPLE_PBDS", Broken, SR_STATE),
    row("SR_HAS_NO_PBDS", Transient, DETACHED),
    row("SR_HAS_PBD", Broken, SR_STATE),
    row("SR_INDESTRUCTIBLE", Broken, SR_STATE),
    row("SR_IS_CACHE_SR", Unsupported, KIND_OF_SR),
    row("SR_NOT_ATTACHED", Transient, DETACHED),
    row("SR_NOT_EMPTY", Broken, SR_STATE),
    row("SR_NOT_SHARABLE", Unsupported, KIND_OF_SR),
    row("SR_NO_PBDS", Transient, DETACHED),
    row("SR_OPERATION_NOT_SUPPORTED", Unsupported, KIND_OF_SR),
    row("SR_REQUIRES_UPGRADE", Unsupported, KIND_OF_SR),
    row("SR_SUSPEND_SPACE_INSUFFICIENT", NoSpace, SUSPEND_FULL),
    row("SR_UNKNOWN_DRIVER", Unsupported, KIND_OF_SR),
    row("SR_UUID_EXISTS", Broken, SR_STATE),
    row("SR_VDI_LOCKING_FAILED", Transient, STORAGE),
    row("SSL_VERIFY_ERROR", Broken, INSIDE),
    row("STORAGE_BACKEND_UNAVAILABLE", Transient, STORAGE),
    row("SUBJECT_CANNOT_BE_RESOLVED", Denied, NO_ACCESS),
    row("TASK_CANCELLED", Broken, CANCELLED),
    row("TLS_CONNECTION_FAILED", Broken, INSIDE),
    row("TOO_MANY_PENDING_TASKS", Busy, CROWD),
    row("TRANSPORT_PIF_NOT_CONFIGURED", Unsupported, NETWORK),
    row("UNIMPLEMENTED_IN_SM_BACKEND", Unsupported, KIND_OF_SR),
    row("UNKNOWN_BOOTLOADER", Broken, INSIDE),
    row("USER_IS_NOT_LOCAL_SUPERUSER", Denied, NO_ACCESS),
    row("USER_TO_ROLE_NOT_ALLOWED", Denied, NO_ACCESS),
    row("UUID_INVALID", NotFound, GONE),
    row("V6D_FAILURE", Unsupported, LICENCE),
    row("VALUE_NOT_SUPPORTED", Unsupported, VALUE),
    row("VBD_CDS_MUST_BE_READONLY", Unsupported, VALUE),
    row("VBD_IS_EMPTY", Unsupported, VALUE),
    row("VBD_NOT_EMPTY", Unsupported, VALUE),
    row("VBD_NOT_REMOVABLE_MEDIA", Unsupported, VALUE),
    row("VBD_NOT_UNPLUGGABLE", Unsupported, VALUE),
    row("VBD_TRAY_LOCKED", Unsupported, VALUE),
    row("VCPU_MAX_NOT_CORES_PER_SOCKET_MULTIPLE", Unsupported, NO_FIT),
    row("VDI_CBT_ENABLED", Unsupported, NO_CBT),
    row("VDI_CBT_METADATA_INCONSISTENT", Unsupported, NO_CBT),
    row("VDI_CBT_RESIZE_FAILED", Unsupported, NO_CBT),
    row("VDI_CBT_SNAPSHOT_FAILED", Unsupported, NO_CBT),
    row("VDI_CONTENT_ID_MISSING", NotFound, LOST_DISK),
    row("VDI_COPY_FAILED", Broken, INSIDE),
    row("VDI_HAS_RRDS", Unsupported, KIND_OF_DISK),
    row("VDI_INCOMPATIBLE_TYPE", Unsupported, KIND_OF_DISK),
    row("VDI_IN_USE", Busy, IN_USE),
    row("VDI_IS_A_PHYSICAL_DEVICE", Unsupported, KIND_OF_DISK),
    row("VDI_IS_ENCRYPTED", Unsupported, KIND_OF_DISK),
    row("VDI_IS_NOT_ISO", Unsupported, KIND_OF_DISK),
    row("VDI_IS_SHARABLE", Unsupported, KIND_OF_DISK),
    row("VDI_LOCATION_MISSING", NotFound, LOST_DISK),
    row("VDI_MISSING", NotFound, LOST_DISK),
    row("VDI_NOT_AVAILABLE", Busy, IN_USE),
    row("VDI_NOT_IN_MAP", NotFound, GONE),
    row("VDI_NOT_MANAGED", Unsupported, KIND_OF_DISK),
    row("VDI_NOT_SPARSE", Unsupported, KIND_OF_DISK),
    row("VDI_NO_CBT_METADATA", Unsupported, NO_CBT),
    row("VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION", Unsupported, RESET_DISK),
    row("VDI_READONLY", Unsupported, KIND_OF_DISK),
    row("VDI_TOO_LARGE", Unsupported, KIND_OF_DISK),
    row("VDI_TOO_SMALL", Unsupported, KIND_OF_DISK),
    row("VIF_IN_USE", Busy, IN_USE),
    row("VLAN_TAG_INVALID", Unsupported, NETWORK),
    row("VMPP_HAS_VM", Unsupported, MEMBERSHIP),
    row("VMSS_HAS_VM", Unsupported, MEMBERSHIP),
    row("VM_ASSIGNED_TO_PROTECTION_POLICY", Unsupported, MEMBERSHIP),
    row("VM_ASSIGNED_TO_SNAPSHOT_SCHEDULE", Unsupported, MEMBERSHIP),
    row("VM_BAD_POWER_STATE", Unsupported, POWER),
    row("VM_BIOS_STRINGS_ALREADY_SET", Unsupported, NO_FIT),
    row("VM_CALL_PLUGIN_RATE_LIMIT", Busy, IN_USE),
    row("VM_CANNOT_DELETE_DEFAULT_TEMPLATE", Unsupported, TEMPLATE),
    row("VM_CHECKPOINT_RESUME_FAILED", Broken, NOT_RESUMED),
    row("VM_CHECKPOINT_SUSPEND_FAILED", Broken, INSIDE),
    row("VM_CRASHED", Broken, INSIDE),
    row("VM_FAILED_SHUTDOWN_ACKNOWLEDGMENT", Transient, SILENT),
    row("VM_FAILED_SUSPEND_ACKNOWLEDGMENT", Transient, SILENT),
    row("VM_FAILED_TO_SUSPEND", Transient, SILENT),
    row("VM_HALTED", Broken, INSIDE),
    row("VM_HAS_CHECKPOINT", Unsupported, NO_FIT),
    row("VM_HAS_NO_SUSPEND_VDI", Unsupported, NO_FIT),
    row("VM_HAS_PCI_ATTACHED", Unsupported, NO_SUSPEND),
    row("VM_HAS_SRIOV_VIF", Unsupported, NO_SUSPEND),
    row("VM_HAS_TOO_MANY_SNAPSHOTS", Unsupported, NO_FIT),
    row("VM_HAS_VGPU", Unsupported, NO_SUSPEND),
    row("VM_HAS_VUSBS", Unsupported, USB),
    row("VM_HOST_INCOMPATIBLE_VERSION", Busy, UPGRADE),
    row("VM_HOST_INCOMPATIBLE_VIRTUAL_HARDWARE_PLATFORM_VERSION", Unsupported, NO_FIT),
    row("VM_HVM_REQUIRED", Unsupported, NO_FIT),
    row("VM_INCOMPATIBLE_WITH_THIS_HOST", Unsupported, NO_FIT),
    row("VM_IS_IMMOBILE", Unsupported, NO_SUSPEND),
    row("VM_IS_PART_OF_AN_APPLIANCE", Unsupported, MEMBERSHIP),
    row("VM_IS_PROTECTED", Unsupported, FAILOVER),
    row("VM_IS_SNAPSHOT", Unsupported, SNAPSHOT),
    row("VM_IS_TEMPLATE", Unsupported, TEMPLATE),
    row("VM_IS_USING_NESTED_VIRT", Unsupported, NO_SUSPEND),
    row("VM_LACKS_FEATURE", Unsupported, NO_SUSPEND),
    row("VM_LACKS_FEATURE_SHUTDOWN", Unsupported, NO_SUSPEND),
    row("VM_LACKS_FEATURE_STATIC_IP_SETTING", Unsupported, NO_SUSPEND),
    row("VM_LACKS_FEATURE_SUSPEND", Unsupported, NO_SUSPEND),
    row("VM_LACKS_FEATURE_VCPU_HOTPLUG", Unsupported, NO_SUSPEND),
    row("VM_MEMORY_SIZE_TOO_LOW", Unsupported, NO_FIT),
    row("VM_MIGRATE_FAILED", Broken, INSIDE),
    row("VM_MISSING_PV_DRIVERS", Unsupported, NO_SUSPEND),
    row("VM_NON_SUSPENDABLE", Unsupported, NO_SUSPEND),
    row("VM_NO_SUSPEND_SR", Unsupported, SUSPEND_SR),
    row("VM_OLD_PV_DRIVERS", Unsupported, NO_SUSPEND),
    row("VM_REBOOTED", Broken, INSIDE),
    row("VM_REBOOT_TIMEOUT", Transient, SILENT),
    row("VM_REQUIRES_GPU", Unsupported, NO_FIT),
    row("VM_REQUIRES_IOMMU", Unsupported, NO_FIT),
    row("VM_REQUIRES_NETWORK", Unsupported, NO_FIT),
    row("VM_REQUIRES_SR", Transient, NO_HOST),
    row("VM_REQUIRES_VDI", Unsupported, NO_FIT),
    row("VM_REQUIRES_VGPU", Unsupported, NO_FIT),
    row("VM_REQUIRES_VUSB", Unsupported, NO_FIT),
    row("VM_REVERT_FAILED", Broken, HALF_REVERTED),
    row("VM_SHUTDOWN_TIMEOUT", Transient, SILENT),
    row("VM_SNAPSHOT_WITH_QUIESCE_FAILED", Broken, QUIESCE),
    row("VM_SNAPSHOT_WITH_QUIESCE_NOT_SUPPORTED", Unsupported, QUIESCE),
    row("VM_SNAPSHOT_WITH_QUIESCE_PLUGIN_DEOS_NOT_RESPOND", Unsupported, QUIESCE),
    row("VM_SNAPSHOT_WITH_QUIESCE_TIMEOUT", Transient, SILENT),
    row("VM_SUSPEND_TIMEOUT", Transient, SILENT),
    row("VM_TOO_MANY_VCPUS", Unsupported, NO_FIT),
    row("VM_TO_IMPORT_IS_NOT_NEWER_VERSION", Broken, ARCHIVE),
    row("VM_UNSAFE_BOOT", Broken, INSIDE),
    row("XENAPI_MISSING_PLUGIN", Broken, INSIDE),
    row("XENAPI_PLUGIN_FAILURE", Broken, INSIDE),
    row("XENOPSD_ERROR", Broken, INSIDE),
    row("XEN_VSS_REQ_ERROR_ADDING_VOLUME_TO_SNAPSET_FAILED", Broken, QUIESCE),
    row("XEN_VSS_REQ_ERROR_CREATING_SNAPSHOT", Broken, QUIESCE),
    row("XEN_VSS_REQ_ERROR_CREATING_SNAPSHOT_XML_STRING", Broken, QUIESCE),
    row("XEN_VSS_REQ_ERROR_INIT_FAILED", Unsupported, QUIESCE),
    row("XEN_VSS_REQ_ERROR_NO_VOLUMES_SUPPORTED", Unsupported, QUIESCE),
    row("XEN_VSS_REQ_ERROR_PREPARING_WRITERS", Broken, QUIESCE),
    row("XEN_VSS_REQ_ERROR_PROV_NOT_LOADED", Unsupported, QUIESCE),
    row("XEN_VSS_REQ_ERROR_START_SNAPSHOT_SET_FAILED", Broken, QUIESCE),
    row("XMLRPC_UNMARSHAL_FAILURE", Broken, NOT_UNDERSTOOD),
];

const fn row(code: &'static str, kind: Kind, advice: &'static str) -> Row {
    Row { code, kind, emergency: false, advice }
}

const fn emergency(code: &'static str, advice: &'static str) -> Row {
    Row { code, kind: Transient, emergency: true, advice }
}

/// The row of a code.
pub(super) fn row_of(code: &str) -> Option<&'static Row> {
    ROWS.binary_search_by_key(&code, |row| row.code).ok().map(|index| &ROWS[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_sorted_and_unique() {
        assert!(ROWS.windows(2).all(|pair| pair[0].code < pair[1].code));
    }

    #[test]
    fn every_advice_is_a_sentence_that_says_what_to_do() {
        for row in ROWS {
            assert!(row.advice.len() > 30 && row.advice.starts_with(char::is_uppercase), "{}", row.code);
            assert!(!row.advice.ends_with(['.', '\n', ' ']), "{}", row.code);
        }
    }
}
