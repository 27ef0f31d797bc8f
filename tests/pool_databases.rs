//! Real pool databases are loaded without loss.
#![allow(clippy::unwrap_used, reason = "a test says what failed by panicking")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use quick_xml::Reader;
use quick_xml::events::Event;
use rstest::rstest;
use xensnap::simulator::model::{Model, Release};
use xensnap::simulator::pool_database::{self, Loaded};
use xensnap::simulator::sexpr;
use xensnap::simulator::value::is_null;

/// A file of the shared folder; none, with a word about it, where the folder does not exist.
fn pool(name: &str) -> Option<PathBuf> {
    let shared = std::env::var_os("XENSNAP_SHARED").map_or_else(|| PathBuf::from("../shared"), PathBuf::from);
    let path = shared.join("pools").join(name);
    if !path.exists() {
        println!("skipped: there is no {}", path.display());
    }
    path.exists().then_some(path)
}

fn load(path: &PathBuf) -> Loaded {
    pool_database::load(BufReader::new(File::open(path).unwrap()), None).unwrap()
}

fn dump(loaded: &Loaded) -> String {
    let mut out = Vec::new();
    pool_database::dump(&loaded.database, &loaded.kept, loaded.release, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// Every attribute by element, read without the code under test: `table/ref` for rows, the key for pairs.
fn contents(xml: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut reader = Reader::from_str(xml);
    let (mut table, mut found) = (String::new(), BTreeMap::new());
    loop {
        match reader.read_event().unwrap() {
            Event::Eof => return found,
            Event::Start(element) | Event::Empty(element) => {
                let cells = element.attributes().map(|a| a.unwrap());
                let cells: BTreeMap<String, String> = cells.map(|a| (a.key.as_ref().to_string(), a.value.to_string())).collect();
                match element.name().as_ref() {
                    "table" => {
                        table = cells["name"].clone();
                        found.insert(format!("table {table}"), cells);
                    }
                    "row" => drop(found.insert(format!("{table}/{}", cells["ref"]), cells)),
                    "pair" => drop(found.insert(format!("pair {}", cells["key"]), cells)),
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

#[rstest]
#[case("xs55-one-host-2-snapshots.xml", "5.6", 2, 41)]
#[case("xs56-two-hosts-two-snapshots.xml", "5.5", 2, 41)]
#[case("xs56fp1-vmpp-38-snapshots.xml", "5.6FP1", 38, 96)]
#[case("xs61-two-hosts-5-snapshots.xml", "6.1", 5, 18)]
#[case("xapi26-one-host.xml", "26.17", 124, 309)]
fn a_real_database_is_loaded_and_dumped_without_loss(
    #[case] file: &str,
    #[case] release: &str,
    #[case] snapshots: usize,
    #[case] disks: usize,
) {
    let Some(path) = pool(file) else { return };
    let loaded = load(&path);
    assert_eq!(Some(loaded.release), Release::parse(release));
    let db = &loaded.database;
    let is_snapshot = |vm: &&std::sync::Arc<str>| db.bool("VM", vm, "is_a_snapshot");
    assert_eq!(db.refs("VM").iter().filter(is_snapshot).count(), snapshots);
    assert_eq!(db.count("VDI"), disks);

    let again = dump(&loaded);
    let (before, after) = (contents(&std::fs::read_to_string(&path).unwrap()), contents(&again));
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for (name, cells) in &before {
        assert_eq!(cells, &after[name], "{name}");
    }

    let twice = pool_database::load(again.as_bytes(), None).unwrap();
    assert_eq!(dump(&twice), again);
    for class in Model::get().classes() {
        for (reference, row) in db.rows(&class.name) {
            let other = twice.database.row(&class.name, reference).unwrap();
            for (column, field) in class.fields.iter().enumerate() {
                assert_eq!(row.value(column), other.value(column), "{} {reference} {}", class.name, field.name);
            }
        }
    }
}

#[rstest]
#[case("xs56-two-hosts-two-snapshots.xml")]
#[case("xs61-two-hosts-5-snapshots.xml")]
#[case("xapi26-one-host.xml")]
fn both_sides_of_every_relation_agree(#[case] file: &str) {
    let Some(path) = pool(file) else { return };
    let db = load(&path).database;
    let mut checked = 0;
    for (class, field, other, set) in [("VBD", "VM", "VM", "VBDs"), ("VDI", "SR", "SR", "VDIs"), ("PBD", "host", "host", "PBDs")]
    {
        for reference in db.refs(class) {
            let target = db.text(class, &reference, field);
            assert!(is_null(&target) || !db.exists(other, &target) || db.texts(other, &target, set).contains(&reference));
            checked += 1;
        }
        for reference in db.refs(other) {
            for member in db.texts(other, &reference, set) {
                assert_eq!(db.text(class, &member, field), reference);
            }
        }
    }
    assert!(checked > 10);
}

#[test]
fn the_metadata_of_real_snapshots_is_understood_and_written_alike() {
    let Some(path) = pool("xapi26-one-host.xml") else { return };
    let db = load(&path).database;
    let mut seen = 0;
    for vm in db.refs("VM") {
        let text = db.text("VM", &vm, "snapshot_metadata");
        if text.is_empty() {
            continue;
        }
        let fields = sexpr::parse_metadata(&text).unwrap();
        assert_eq!(fields.len(), 92, "{text}");
        // Written into a row, the same fields give the same text.
        let mut other = xensnap::simulator::database::Database::new();
        let was = text.split("('_ref' '").nth(1).unwrap().split('\'').next().unwrap();
        other.create("VM", was, fields.iter().cloned());
        for (field, value) in fields {
            other.rewrite("VM", was, field, value);
        }
        assert_eq!(sexpr::metadata(&other, was, Release::NEWEST), text);
        seen += 1;
    }
    assert!(seen > 80, "{seen}");
}

#[test]
fn a_member_wrote_this_one() {
    let Some(path) = pool("xs56-two-hosts-two-snapshots.xml") else { return };
    let loaded = load(&path);
    assert_eq!(loaded.kept.written_by_member_of(), Some("10.80.224.75"));
    let db = &loaded.database;
    let master = db.text("pool", &db.refs("pool")[0], "master");
    assert_eq!(&*db.text("host", &master, "address"), "10.80.224.75");
}

#[test]
fn a_truncated_real_database_is_an_error_wherever_it_ends() {
    let Some(path) = pool("xs61-two-hosts-5-snapshots.xml") else { return };
    let bytes = std::fs::read(path).unwrap();
    let whole = bytes.len() - 1;
    for length in (0..whole).step_by(9_973).chain(whole - 20..whole) {
        assert!(pool_database::load(&bytes[..length], None).is_err(), "{length} bytes");
    }
}
