use rstest::rstest;

use super::*;
use crate::domain::policy::Fallback;
use crate::domain::selection::Role;
use crate::domain::span::Exact;
use crate::xenapi::records::GuestFeature::{Poweroff, Quiesce, Shutdown, Snapshot, Suspend};
use crate::xenapi::records::{GuestFeature, HostOperation, PowerState, VmOperation};
use crate::xenapi::types::Ref;

type Vm = VmCondition<'static>;

const DISK: WantedKind = WantedKind::Disk;
const QUIESCED: WantedKind = WantedKind::Quiesced(Fallback::Fail);
const MEMORY: WantedKind = WantedKind::Memory(Fallback::Fail);
const OFFLINE: WantedKind = WantedKind::Offline { shutdown_timeout: Exact::seconds(60) };
const GIB: i64 = 1 << 30;

/// A running VM of which every kind of snapshot can be had.
fn able() -> Vm {
    VmCondition {
        role: Role::Vm,
        power: PowerState::Running,
        operations: Vec::new(),
        allowed: [VmOperation::Snapshot].into_iter().collect(),
        blocked: std::iter::empty::<(&str, &str)>().collect(),
        usb_devices: 0,
        virtual_gpus: 0,
        pci_devices: 0,
        guest: Some(guest(&[Suspend, Snapshot, Quiesce, Shutdown])),
        disks: vec![disk("0"), disk("1")],
        reachable: true,
        memory: 4 * GIB,
        image_store: Some(ImageStore {
            uuid: crate::domain::id::SrUuid(uuid::Uuid::nil()),
            name: "images",
            free: Some(100 * GIB),
        }),
        release_quiesces: true,
        quiesce_withheld: false,
        memory_withheld: false,
        being_upgraded: false,
        host: Some(HostCondition { name: "xen-1", enabled: true, operations: Vec::new() }),
        vapp_at_work: None,
    }
}

fn guest(features: &[GuestFeature]) -> GuestCondition<'static> {
    GuestCondition { features: features.iter().cloned().collect(), cannot_suspend: None, has_drivers: true }
}

fn disk(position: &'static str) -> DiskCondition<'static> {
    DiskCondition {
        vdi: Ref::new(position),
        name: "data",
        position,
        sr: "fast",
        excluded: false,
        sharable: false,
        raw: false,
        reset_on_boot: false,
        missing: false,
        plugged: true,
        driver_snapshots: true,
    }
}

fn but(change: impl FnOnce(&mut Vm)) -> Vm {
    let mut vm = able();
    change(&mut vm);
    vm
}

fn power(power: PowerState) -> Vm {
    but(|vm| vm.power = power)
}

fn busy(operation: VmOperation) -> Vm {
    but(|vm| vm.operations = vec![VmOperation::GetBootRecord, operation])
}

fn block(operation: &'static str) -> Vm {
    but(|vm| vm.blocked = [(operation, "by hand")].into_iter().collect())
}

fn features(features: &[GuestFeature]) -> Vm {
    but(|vm| vm.guest = Some(guest(features)))
}

fn on_a_host(enabled: bool, operation: HostOperation) -> Vm {
    but(|vm| vm.host = Some(HostCondition { name: "xen-1", enabled, operations: vec![operation] }))
}

fn second_disk(change: impl FnOnce(&mut DiskCondition<'static>)) -> Vm {
    but(|vm| change(&mut vm.disks[1]))
}

fn images(free: Option<i64>) -> Vm {
    but(|vm| vm.image_store = Some(ImageStore { uuid: crate::domain::id::SrUuid(uuid::Uuid::nil()), name: "images", free }))
}

#[rstest]
#[case::disk(DISK)]
#[case::quiesced(QUIESCED)]
#[case::memory(MEMORY)]
#[case::offline(OFFLINE)]
fn a_vm_in_good_order_gets_what_is_asked_for(#[case] wanted: WantedKind) {
    assert_eq!(choose(&wanted, &able()), Choice::Take { kind: wanted.kind(), note: None });
}

#[rstest]
#[case::disk_of_a_halted_vm(DISK, power(PowerState::Halted))]
#[case::disk_of_a_paused_vm(DISK, power(PowerState::Paused))]
#[case::disk_of_a_suspended_vm(DISK, power(PowerState::Suspended))]
#[case::disk_of_an_unknown_state(DISK, power("Dreaming".into()))]
#[case::disk_without_tools(DISK, but(|vm| vm.guest = None))]
#[case::disk_without_disks(DISK, but(|vm| vm.disks.clear()))]
#[case::disk_with_a_passed_through_card(DISK, but(|vm| vm.pci_devices = 1))]
#[case::disk_with_a_virtual_gpu(DISK, but(|vm| vm.virtual_gpus = 1))]
#[case::disk_where_other_operations_are_blocked(DISK, block("checkpoint"))]
#[case::disk_where_shutdown_is_blocked(DISK, block("clean_shutdown"))]
#[case::disk_during_something_momentary(DISK, busy(VmOperation::DataSourceOp))]
#[case::disk_on_a_licence_without_memory(DISK, but(|vm| vm.memory_withheld = true))]
#[case::disk_on_a_full_image_store(DISK, images(Some(0)))]
#[case::disk_with_a_shared_disk_left_out(DISK, second_disk(|disk| (disk.sharable, disk.excluded) = (true, true)))]
#[case::disk_with_a_raw_disk_left_out(DISK, second_disk(|disk| (disk.raw, disk.excluded) = (true, true)))]
#[case::disk_with_a_disk_of_a_poor_driver_left_out(DISK, second_disk(|disk| (disk.driver_snapshots, disk.excluded) = (false, true)))]
#[case::disk_on_a_disabled_host(DISK, on_a_host(false, HostOperation::Provision))]
#[case::disk_on_a_host_that_starts_another(DISK, on_a_host(true, HostOperation::VmStart))]
#[case::disk_on_no_host(DISK, but(|vm| vm.host = None))]
#[case::offline_on_an_enabled_host(OFFLINE, on_a_host(true, HostOperation::VmMigrate))]
#[case::quiesced_without_suspending(QUIESCED, features(&[Snapshot, Quiesce]))]
#[case::memory_of_a_suspended_vm(MEMORY, power(PowerState::Suspended))]
#[case::memory_of_a_suspended_vm_without_tools(MEMORY, but(|vm| (vm.power, vm.guest) = (PowerState::Suspended, None)))]
#[case::memory_of_a_paravirtual_guest_without_tools(MEMORY, but(|vm| {
    vm.guest = None;
    vm.allowed = [VmOperation::Checkpoint].into_iter().collect();
}))]
#[case::memory_with_a_gpu_that_can(MEMORY, but(|vm| {
    vm.virtual_gpus = 1;
    vm.allowed = [VmOperation::Checkpoint].into_iter().collect();
}))]
#[case::memory_where_the_store_does_not_say(MEMORY, images(None))]
#[case::memory_where_the_image_just_fits(MEMORY, images(Some((4 * GIB + 2 * (4 << 20)) * 6 / 5)))]
#[case::memory_on_a_new_release(MEMORY, but(|vm| vm.release_quiesces = false))]
#[case::offline_of_a_halted_vm(OFFLINE, power(PowerState::Halted))]
#[case::offline_of_a_halted_vm_that_may_not_start(OFFLINE, but(|vm| {
    vm.power = PowerState::Halted;
    vm.blocked = [("start", "decommissioned")].into_iter().collect();
}))]
#[case::offline_of_a_halted_vm_without_tools(OFFLINE, but(|vm| (vm.power, vm.guest) = (PowerState::Halted, None)))]
#[case::offline_of_a_guest_that_powers_off(OFFLINE, features(&[Poweroff]))]
#[case::offline_of_a_paravirtual_guest(OFFLINE, but(|vm| {
    vm.guest = None;
    vm.allowed = [VmOperation::CleanShutdown].into_iter().collect();
}))]
fn what_does_not_matter_is_not_in_the_way(#[case] wanted: WantedKind, #[case] vm: Vm) {
    assert_eq!(choose(&wanted, &vm), Choice::Take { kind: wanted.kind(), note: None });
}

#[rstest]
#[case::template(but(|vm| vm.role = Role::Template), "VM_IS_TEMPLATE", "exclude")]
#[case::snapshot(but(|vm| vm.role = Role::Snapshot), "VM_IS_SNAPSHOT", "choose its VM")]
#[case::control_domain(but(|vm| vm.role = Role::ControlDomain), "OPERATION_NOT_ALLOWED", "exclude")]
#[case::usb(but(|vm| vm.usb_devices = 1), "VM_HAS_VUSBS", "vusb-destroy")]
#[case::reset_disk(second_disk(|disk| disk.reset_on_boot = true), "VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION", "on-boot=persist")]
#[case::shared_disk(second_disk(|disk| disk.sharable = true), "VDI_IS_SHARABLE", "\"data\" at position 1")]
#[case::nameless_disk(second_disk(|disk| (disk.sharable, disk.name) = (true, "")), "VDI_IS_SHARABLE", "the disk at position 1")]
#[case::raw_disk(second_disk(|disk| disk.raw = true), "UNIMPLEMENTED_IN_SM_BACKEND", "exclude the disk")]
#[case::missing_disk(second_disk(|disk| disk.missing = true), "VDI_MISSING", "sr-scan")]
#[case::poor_driver(second_disk(|disk| disk.driver_snapshots = false), "SR_OPERATION_NOT_SUPPORTED", "SR \"fast\"")]
fn what_forbids_every_kind_stays_so_and_has_no_fallback(#[case] vm: Vm, #[case] code: &str, #[case] says: &str) {
    for wanted in [DISK, QUIESCED, MEMORY, OFFLINE, WantedKind::Quiesced(Fallback::Disk), WantedKind::Memory(Fallback::Disk)] {
        assert_cannot(&choose(&wanted, &vm), code, says, false);
    }
}

#[rstest]
#[case::snapshot(busy(VmOperation::Snapshot), "OTHER_OPERATION_IN_PROGRESS", "(snapshot)")]
#[case::checkpoint(busy(VmOperation::Checkpoint), "OTHER_OPERATION_IN_PROGRESS", "(checkpoint)")]
#[case::migration(busy(VmOperation::PoolMigrate), "OTHER_OPERATION_IN_PROGRESS", "(pool_migrate)")]
#[case::export(busy(VmOperation::Export), "OTHER_OPERATION_IN_PROGRESS", "(export)")]
#[case::start(busy(VmOperation::Start), "OTHER_OPERATION_IN_PROGRESS", "(start)")]
#[case::something_new(busy("teleport".into()), "OTHER_OPERATION_IN_PROGRESS", "(teleport)")]
#[case::upgrade(but(|vm| vm.being_upgraded = true), "NOT_SUPPORTED_DURING_UPGRADE", "upgraded")]
#[case::evacuation(
    on_a_host(true, HostOperation::Evacuate),
    "OTHER_OPERATION_IN_PROGRESS",
    "\"xen-1\" is on its way out (evacuate)"
)]
#[case::reboot(on_a_host(false, HostOperation::Reboot), "OTHER_OPERATION_IN_PROGRESS", "(reboot)")]
#[case::vapp(but(|vm| vm.vapp_at_work = Some("shop")), "OTHER_OPERATION_IN_PROGRESS", "the vApp \"shop\"")]
#[case::unplugged(second_disk(|disk| disk.plugged = false), "NO_HOSTS_AVAILABLE", "SR \"fast\"")]
#[case::unreachable(but(|vm| vm.reachable = false), "NO_HOSTS_AVAILABLE", "eject")]
fn what_may_pass_is_tried_again_for_every_kind(#[case] vm: Vm, #[case] code: &str, #[case] says: &str) {
    for wanted in [DISK, QUIESCED, MEMORY, OFFLINE, WantedKind::Quiesced(Fallback::Disk), WantedKind::Memory(Fallback::Disk)] {
        assert_cannot(&choose(&wanted, &vm), code, says, true);
    }
}

#[rstest]
#[case::disk(DISK)]
#[case::offline(OFFLINE)]
fn a_blocked_snapshot_is_told_with_the_reason(#[case] wanted: WantedKind) {
    assert_cannot(&choose(&wanted, &block("snapshot")), "OPERATION_BLOCKED", "\"by hand\"", false);
}

#[rstest]
#[case::release(QUIESCED, but(|vm| vm.release_quiesces = false), "MESSAGE_REMOVED", "after 8.0")]
#[case::licence(QUIESCED, but(|vm| vm.quiesce_withheld = true), "LICENCE_RESTRICTION", "license")]
#[case::halted(QUIESCED, power(PowerState::Halted), "VM_BAD_POWER_STATE", "is halted")]
#[case::paused(QUIESCED, power(PowerState::Paused), "VM_BAD_POWER_STATE", "is paused")]
#[case::suspended(QUIESCED, power(PowerState::Suspended), "VM_BAD_POWER_STATE", "is suspended")]
#[case::blocked(QUIESCED, block("snapshot_with_quiesce"), "OPERATION_BLOCKED", "\"by hand\"")]
#[case::no_tools(QUIESCED, but(|vm| vm.guest = None), "VM_SNAPSHOT_WITH_QUIESCE_NOT_SUPPORTED", "install them")]
#[case::no_drivers(QUIESCED, but(|vm| vm.guest.as_mut().unwrap().has_drivers = false),
    "VM_SNAPSHOT_WITH_QUIESCE_NOT_SUPPORTED", "no drivers")]
#[case::no_snapshots(QUIESCED, features(&[Quiesce]), "VM_SNAPSHOT_WITH_QUIESCE_NOT_SUPPORTED", "update them")]
#[case::no_provider(QUIESCED, features(&[Snapshot]), "VM_SNAPSHOT_WITH_QUIESCE_NOT_SUPPORTED", "install-XenProvider.cmd")]
#[case::quiesced_with_a_disk_left_out(QUIESCED, second_disk(|disk| disk.excluded = true),
    "MESSAGE_PARAMETER_COUNT_MISMATCH", "position 1")]
#[case::memory_licence(MEMORY, but(|vm| vm.memory_withheld = true), "LICENCE_RESTRICTION", "license")]
#[case::memory_of_a_halted_vm(MEMORY, power(PowerState::Halted), "VM_BAD_POWER_STATE", "is halted")]
#[case::memory_of_a_paused_vm(MEMORY, power(PowerState::Paused), "VM_BAD_POWER_STATE", "would hold no memory")]
#[case::memory_of_an_unknown_state(MEMORY, power("Dreaming".into()), "VM_BAD_POWER_STATE", "is dreaming")]
#[case::memory_blocked(MEMORY, block("checkpoint"), "OPERATION_BLOCKED", "\"by hand\"")]
#[case::memory_pci(MEMORY, but(|vm| vm.pci_devices = 1), "VM_HAS_PCI_ATTACHED", "detach")]
#[case::memory_gpu(MEMORY, but(|vm| vm.virtual_gpus = 1), "VM_HAS_VGPU", "detach")]
#[case::memory_no_tools(MEMORY, but(|vm| vm.guest = None), "VM_LACKS_FEATURE", "install")]
#[case::memory_tools_that_cannot(MEMORY, features(&[Snapshot]), "VM_LACKS_FEATURE", "update")]
#[case::memory_guest_says_no(MEMORY, but(|vm| vm.guest.as_mut().unwrap().cannot_suspend = Some("nested")),
    "VM_NON_SUSPENDABLE", "\"nested\"")]
#[case::memory_nowhere(MEMORY, but(|vm| vm.image_store = None), "VM_NO_SUSPEND_SR", "suspend-image-SR-uuid")]
#[case::memory_with_a_disk_left_out(MEMORY, second_disk(|disk| disk.excluded = true),
    "MESSAGE_PARAMETER_COUNT_MISMATCH", "kind = \"disk\"")]
fn what_forbids_one_kind_fails_or_falls_back_to_the_disks(
    #[case] wanted: WantedKind,
    #[case] vm: Vm,
    #[case] code: &str,
    #[case] says: &str,
) {
    assert_cannot(&choose(&wanted, &vm), code, says, false);
    assert_cannot(&choose(&wanted, &vm), code, "fallback = \"disk\"", false);
    assert_falls_back(wanted, &vm, says);
}

#[test]
fn a_vm_that_could_not_be_started_again_where_it_is_is_not_shut_down_yet() {
    let vm = on_a_host(false, HostOperation::Provision);
    assert_cannot(&choose(&OFFLINE, &vm), "HOST_DISABLED", "enable the host", true);
}

#[test]
fn a_full_image_store_is_waited_for_unless_there_is_a_fallback() {
    let vm = images(Some((4 * GIB + 2 * (4 << 20)) * 6 / 5 - 1));
    assert_cannot(&choose(&MEMORY, &vm), "SR_SUSPEND_SPACE_INSUFFICIENT", "\"images\" has 4924 MiB free", true);
    assert_falls_back(MEMORY, &vm, "SR \"images\"");
}

#[rstest]
#[case::paused(power(PowerState::Paused), "VM_BAD_POWER_STATE", "unpause")]
#[case::suspended(power(PowerState::Suspended), "VM_BAD_POWER_STATE", "resume")]
#[case::unknown(power("Dreaming".into()), "VM_BAD_POWER_STATE", "is dreaming")]
#[case::shutdown_blocked(block("clean_shutdown"), "OPERATION_BLOCKED", "clean_shutdown")]
#[case::start_blocked(block("start"), "OPERATION_BLOCKED", "start")]
#[case::no_tools(but(|vm| vm.guest = None), "VM_LACKS_FEATURE", "install")]
#[case::deaf_tools(features(&[Suspend]), "VM_LACKS_FEATURE", "shut it down")]
fn a_vm_that_would_not_go_down_or_not_come_back_is_left_running(#[case] vm: Vm, #[case] code: &str, #[case] says: &str) {
    assert_cannot(&choose(&OFFLINE, &vm), code, says, false);
}

#[test]
fn only_the_disks_named_are_left_out() {
    let vm = but(|vm| vm.disks.iter_mut().for_each(|disk| disk.sharable = true));
    assert_cannot(&choose(&DISK, &vm.clone().without(&[Ref::new("0")])), "VDI_IS_SHARABLE", "position 1", false);
    let both = vm.without(&[Ref::new("0")]).without(&[Ref::new("1"), Ref::new("of another VM")]);
    assert_eq!(choose(&DISK, &both), Choice::Take { kind: Kind::Disk, note: None });
}

#[test]
fn a_fallback_that_cannot_be_had_either_says_what_is_in_its_own_way() {
    let vm = but(|vm| {
        vm.power = PowerState::Halted;
        vm.blocked = [("snapshot", "golden image")].into_iter().collect();
    });
    assert_cannot(&choose(&WantedKind::Memory(Fallback::Disk), &vm), "OPERATION_BLOCKED", "golden image", false);
}

fn assert_cannot(choice: &Choice, expected: &str, says: &str, expected_for_now: bool) {
    let Choice::Cannot { code, text, for_now } = choice else { panic!("{choice:?}") };
    assert_eq!((*code, *for_now), (expected, expected_for_now), "{text}");
    assert!(text.contains(says), "{says:?} is not in {text:?}");
    assert!(text.len() > 30 && !text.ends_with(['.', ' ', '\n']), "{text:?} is no sentence that says what to do");
}

fn assert_falls_back(wanted: WantedKind, vm: &Vm, says: &str) {
    let (falling, one) = match wanted {
        WantedKind::Quiesced(_) => (WantedKind::Quiesced(Fallback::Disk), "a quiesced one"),
        _ => (WantedKind::Memory(Fallback::Disk), "one with memory"),
    };
    let Choice::Take { kind: Kind::Disk, note: Some(note) } = choose(&falling, vm) else { panic!("no fallback") };
    assert!(note.contains(one) && note.contains(says) && !note.contains("fallback"), "{note}");
}
