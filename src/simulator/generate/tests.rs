use chrono::TimeZone;

use super::*;
use crate::simulator::model::release;
use crate::simulator::pool_database;
use crate::simulator::value::{Ref, Value, is_null};

fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 22, 12, 0, 0).unwrap()
}

fn dump(world: &World) -> Vec<u8> {
    let mut out = Vec::new();
    pool_database::dump(&world.database, &pool_database::Kept::default(), world.release, &mut out).unwrap();
    out
}

fn having(world: &World, class: &str, field: &str, value: &Value) -> Vec<Ref> {
    let all = world.database.refs(class).into_iter();
    all.filter(|reference| world.database.get(class, reference, field) == Some(value)).collect()
}

#[test]
fn the_same_recipe_gives_the_same_pool_and_another_seed_another() {
    let pool = |seed| dump(&generate(&Recipe { seed, ..Recipe::default() }, now()));
    assert_eq!(pool(7), pool(7));
    assert_ne!(pool(7), pool(8));
}

#[test]
fn a_pool_has_what_the_recipe_says_and_something_to_protect() {
    let world = generate(&Recipe::default(), now());
    let db = &world.database;
    assert_eq!(db.count("host"), 3);
    assert_eq!(db.text("pool", &db.refs("pool")[0], "master"), world.master);
    let snapshots = having(&world, "VM", "is_a_snapshot", &Value::Bool(true));
    let plain = having(&world, "VM", "is_a_template", &Value::Bool(false)).len() - db.count("host");
    assert_eq!(plain, 40);
    for state in ["Running", "Halted", "Suspended"] {
        assert!(!having(&world, "VM", "power_state", &Value::str(state)).is_empty(), "{state}");
    }
    assert!(snapshots.len() > 10);
    assert!(!having(&world, "VM", "is_vmss_snapshot", &Value::Bool(true)).is_empty());
    assert!(snapshots.iter().any(|vm| db.map_text("VM", vm, "other_config", "xo:backup:job").is_some()));
    assert!(snapshots.iter().any(|vm| !is_null(&db.text("VM", vm, "suspend_VDI"))));
    assert!(!having(&world, "VM", "is_default_template", &Value::Bool(true)).is_empty());
    assert!(db.count("VTPM") > 0 && db.count("VMSS") == 1 && db.count("VM_appliance") == 1);
}

#[test]
fn every_reference_of_a_generated_pool_leads_somewhere() {
    for version in ["5.6", "6.1", "7.2", "8.2", "26.17"] {
        let world = generate(&Recipe { release: release(version), ..Recipe::default() }, now());
        let db = &world.database;
        for (class, field, other) in [
            ("VM", "metrics", "VM_metrics"),
            ("VM", "guest_metrics", "VM_guest_metrics"),
            ("VM", "suspend_VDI", "VDI"),
            ("VM", "snapshot_of", "VM"),
            ("VM", "parent", "VM"),
            ("VBD", "VM", "VM"),
            ("VBD", "VDI", "VDI"),
            ("VDI", "SR", "SR"),
            ("VDI", "snapshot_of", "VDI"),
            ("host", "metrics", "host_metrics"),
            ("host", "suspend_image_sr", "SR"),
            ("pool", "default_SR", "SR"),
        ] {
            for reference in db.refs(class) {
                let target = db.text(class, &reference, field);
                assert!(is_null(&target) || db.exists(other, &target), "{version}: {class}.{field} = {target}");
            }
        }
    }
}

#[test]
fn a_snapshot_stands_on_the_same_hidden_parent_as_its_disk() {
    let world = generate(&Recipe { vms: 1, snapshots: Some(3), ..Recipe::default() }, now());
    let db = &world.database;
    let parent =
        |vdi: &str| db.map_text("VDI", vdi, "sm_config", "vhd-parent").and_then(|uuid| db.by_uuid("VDI", &uuid).cloned());
    let snapshots = having(&world, "VDI", "is_a_snapshot", &Value::Bool(true));
    let disks: Vec<Ref> = snapshots.iter().map(|vdi| db.text("VDI", vdi, "snapshot_of")).filter(|disk| !is_null(disk)).collect();
    assert!(disks.len() >= 3);
    for disk in disks {
        let depth = std::iter::successors(parent(&disk), |vdi| parent(vdi)).count();
        assert_eq!(depth, 3);
        let newest = parent(&disk);
        assert_eq!(snapshots.iter().filter(|vdi| parent(vdi) == newest).count(), 1);
    }
}

#[test]
fn old_releases_have_no_schedules_of_later_ones() {
    let count =
        |version, class| generate(&Recipe { release: release(version), ..Recipe::default() }, now()).database.count(class);
    assert_eq!([count("5.6", "VMPP"), count("5.6FP1", "VMPP"), count("6.2", "VMPP"), count("7.2", "VMSS")], [0, 1, 0, 1]);
}

#[test]
fn a_generated_pool_survives_dump_and_load() {
    for version in ["5.6", "8.2", "26.17"] {
        let world = generate(&Recipe { release: release(version), ..Recipe::default() }, now());
        let text = dump(&world);
        let loaded = pool_database::load(&text[..], None).unwrap();
        assert_eq!(loaded.release, release(version));
        assert!(loaded.damages.is_empty());
        let mut again = Vec::new();
        pool_database::dump(&loaded.database, &loaded.kept, loaded.release, &mut again).unwrap();
        assert!(text == again, "{version}");
    }
}
