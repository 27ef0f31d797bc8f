//! The traps in which a mark lies. Each has cost somebody a snapshot somewhere.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn mark() -> Mark {
    Mark {
        installation: "site-a".parse().unwrap(),
        pool: PoolUuid(Uuid::from_u128(1)),
        snapshot: SnapshotUuid(Uuid::from_u128(2)),
        vm: VmUuid(Uuid::from_u128(3)),
        policy: "nightly".parse().unwrap(),
        due_at: "2026-11-22T01:30:00Z".parse().unwrap(),
        run: RunId(Uuid::from_u128(4)),
        kind: Kind::Disk,
        nonce: Nonce::from_bits([7; 5]),
    }
}

/// The snapshot as it was taken and marked.
fn facts(value: &str) -> SnapshotFacts<'_> {
    SnapshotFacts {
        pool: PoolUuid(Uuid::from_u128(1)),
        uuid: SnapshotUuid(Uuid::from_u128(2)),
        name: "web-01 Nightly 2026-11-22 02:30",
        is_a_snapshot: true,
        is_a_template: true,
        parent: Parent::Vm(VmUuid(Uuid::from_u128(3))),
        mark: Some(value),
        shared_disk: None,
    }
}

fn judged(facts: &SnapshotFacts<'_>) -> Ownership {
    verify(&"site-a".parse().unwrap(), facts)
}

#[test]
fn a_mark_can_be_read_by_a_person() {
    assert_eq!(
        mark().encode(),
        "{\"v\":1,\"installation\":\"site-a\",\"pool\":\"00000000-0000-0000-0000-000000000001\",\
         \"snapshot\":\"00000000-0000-0000-0000-000000000002\",\"vm\":\"00000000-0000-0000-0000-000000000003\",\
         \"policy\":\"nightly\",\"due\":\"2026-11-22T01:30:00Z\",\"run\":\"00000000-0000-0000-0000-000000000004\",\
         \"kind\":\"disk\",\"nonce\":\"7r1eg3w0\"}"
    );
}

#[test]
fn a_snapshot_whose_mark_is_true_in_every_part_is_ours() {
    let value = mark().encode();
    assert_eq!(judged(&facts(&value)), Ownership::Ours(mark()));
}

#[test]
fn a_snapshot_renamed_by_a_person_is_still_ours() {
    let value = mark().encode();
    let renamed = SnapshotFacts { name: "before the upgrade", ..facts(&value) };
    assert_eq!(judged(&renamed).ours(), Some(&mark()));
}

#[test]
fn a_snapshot_without_a_mark_is_foreign_whatever_its_name() {
    let unmarked = SnapshotFacts { mark: None, name: "web-01 Nightly 2026-11-22 02:30 #7r1eg3w0", ..facts("") };
    assert_eq!(judged(&unmarked), Ownership::Foreign { malformed: None });
}

#[test]
fn a_manual_snapshot_of_a_vm_that_was_cloned_from_ours_only_inherited_the_mark() {
    // The clone carries the mark in its other_config, and so does every snapshot of the clone.
    let value = mark().encode();
    let of_clone =
        SnapshotFacts { uuid: SnapshotUuid(Uuid::from_u128(9)), parent: Parent::Vm(VmUuid(Uuid::from_u128(8))), ..facts(&value) };
    assert_eq!(judged(&of_clone), Ownership::Inherited(mark(), Untrue::Snapshot(mark().snapshot)));
}

#[test]
fn a_manual_snapshot_of_the_same_vm_after_a_revert_or_a_copy_by_hand_only_inherited_the_mark() {
    let value = mark().encode();
    let manual = SnapshotFacts { uuid: SnapshotUuid(Uuid::from_u128(9)), ..facts(&value) };
    assert_eq!(judged(&manual), Ownership::Inherited(mark(), Untrue::Snapshot(mark().snapshot)));
}

#[test]
fn a_vm_or_template_that_carries_a_mark_is_no_snapshot_of_ours() {
    let value = mark().encode();
    let template = SnapshotFacts { is_a_snapshot: false, parent: Parent::Nothing, ..facts(&value) };
    assert_eq!(judged(&template), Ownership::Inherited(mark(), Untrue::NoSnapshot));
}

#[test]
fn a_pool_restored_or_imported_elsewhere_with_the_same_uuids_owns_nothing() {
    let value = mark().encode();
    let elsewhere = SnapshotFacts { pool: PoolUuid(Uuid::from_u128(5)), ..facts(&value) };
    assert_eq!(judged(&elsewhere), Ownership::Inherited(mark(), Untrue::Pool(mark().pool)));
}

#[test]
fn a_second_installation_with_a_policy_of_the_same_name_does_not_own_the_first_ones() {
    let value = mark().encode();
    assert_eq!(verify(&"test-lab".parse().unwrap(), &facts(&value)), Ownership::OtherInstallation(mark()));
    let handed = mark().handed_to("test-lab".parse().unwrap());
    let value = handed.encode();
    assert_eq!(verify(&"test-lab".parse().unwrap(), &facts(&value)), Ownership::Ours(handed));
}

#[test]
fn a_snapshot_turned_into_a_vm_is_detached() {
    let value = mark().encode();
    let turned = SnapshotFacts { is_a_template: false, ..facts(&value) };
    assert_eq!(judged(&turned), Ownership::Detached(mark(), Detachment::TurnedIntoVm));
}

#[test]
fn a_snapshot_of_a_vm_that_was_deleted_is_detached_also_after_the_vm_was_imported_again() {
    let value = mark().encode();
    let gone = SnapshotFacts { parent: Parent::Gone, ..facts(&value) };
    assert_eq!(judged(&gone), Ownership::Detached(mark(), Detachment::VmGone));
    let other = VmUuid(Uuid::from_u128(8));
    let again = SnapshotFacts { parent: Parent::Vm(other), ..facts(&value) };
    assert_eq!(judged(&again), Ownership::Detached(mark(), Detachment::OtherVm(other)));
}

#[test]
fn a_snapshot_whose_disk_was_attached_to_another_vm_is_detached() {
    let value = mark().encode();
    let disk = VdiUuid(Uuid::from_u128(6));
    let attached = SnapshotFacts { shared_disk: Some(disk), ..facts(&value) };
    assert_eq!(judged(&attached), Ownership::Detached(mark(), Detachment::DiskShared(disk)));
}

#[test]
fn a_mark_of_a_later_version_is_read_if_it_says_it_may_be_and_left_alone_otherwise() {
    let later = mark().encode().replace("{\"v\":1,", "{\"v\":3,\"copies\":[1,2],");
    assert_eq!(judged(&facts(&later)), Ownership::TooNew { version: 3 });
    let harmless = mark().encode().replace("{\"v\":1,", "{\"v\":3,\"since\":1,\"copies\":[1,2],");
    assert_eq!(judged(&facts(&harmless)), Ownership::Ours(mark()));
}

#[test]
fn anything_else_under_our_key_is_foreign() {
    let nested = "[".repeat(3000);
    let huge = "x".repeat(1_000_000);
    let wrong_time = mark().encode().replace("2026-11-22T01:30:00Z", "yesterday");
    for value in ["", "true", "{}", "{\"v\":1}", "{\"v\":-1}", nested.as_str(), huge.as_str(), wrong_time.as_str()] {
        let judged = judged(&facts(value));
        assert!(matches!(judged, Ownership::Foreign { malformed: Some(_) }), "{judged:?}");
    }
}

#[test]
fn an_attempt_finds_its_snapshot_by_nonce_and_vm_and_nothing_else() {
    let installation = "site-a".parse().unwrap();
    let attempt = Attempt { vm: mark().vm, nonce: mark().nonce };
    let name = format!("web-01 Nightly{}", mark().nonce.suffix());
    let unmarked = SnapshotFacts { mark: None, name: &name, ..facts("") };
    assert!(attempt.took(&installation, &unmarked));
    // It inherited the mark of the snapshot that its VM was cloned from.
    let inherited = Mark { snapshot: SnapshotUuid(Uuid::from_u128(77)), ..mark() }.encode();
    assert!(attempt.took(&installation, &SnapshotFacts { mark: Some(&inherited), ..unmarked.clone() }));

    let marked = mark().encode();
    let not = [
        SnapshotFacts { mark: Some(&marked), ..unmarked.clone() },
        SnapshotFacts { parent: Parent::Vm(VmUuid(Uuid::from_u128(8))), ..unmarked.clone() },
        SnapshotFacts { parent: Parent::Gone, ..unmarked.clone() },
        SnapshotFacts { is_a_template: false, ..unmarked.clone() },
        SnapshotFacts { name: "web-01 Nightly", ..unmarked.clone() },
    ];
    for facts in not {
        assert!(!attempt.took(&installation, &facts), "{facts:?}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        installation in "[a-z0-9][a-zA-Z0-9._-]{0,63}", policy in "[a-z0-9][a-zA-Z0-9._-]{0,63}", uuids: [u128; 4],
        due in 0..4_000_000_000_i64, nonce: [u8; 5], kind in prop::sample::select(&Kind::ALL[..]),
    ) {
        let mark = Mark {
            installation: installation.parse().unwrap(),
            pool: PoolUuid(Uuid::from_u128(uuids[0])),
            snapshot: SnapshotUuid(Uuid::from_u128(uuids[1])),
            vm: VmUuid(Uuid::from_u128(uuids[2])),
            policy: policy.parse().unwrap(),
            due_at: DateTime::from_timestamp(due, 0).unwrap(),
            run: RunId(Uuid::from_u128(uuids[3])),
            kind,
            nonce: Nonce::from_bits(nonce),
        };
        prop_assert_eq!(Mark::decode(&mark.encode()), Ok(mark.clone()));
        let value: serde_json::Value = serde_json::from_str(&mark.encode()).unwrap();
        prop_assert_eq!(value["policy"].as_str(), Some(policy.as_str()));
    }

    /// Whichever part of the truth changes, the snapshot is no longer ours.
    #[test]
    fn every_part_must_be_true(part in 0..7_usize) {
        let value = mark().encode();
        let mut facts = facts(&value);
        match part {
            0 => facts.pool = PoolUuid(Uuid::from_u128(99)),
            1 => facts.uuid = SnapshotUuid(Uuid::from_u128(99)),
            2 => facts.is_a_snapshot = false,
            3 => facts.is_a_template = false,
            4 => facts.parent = Parent::Vm(VmUuid(Uuid::from_u128(99))),
            5 => facts.parent = Parent::Gone,
            _ => facts.shared_disk = Some(VdiUuid(Uuid::from_u128(99))),
        }
        let judged = judged(&facts);
        prop_assert_eq!(judged.ours(), None);
    }
}
