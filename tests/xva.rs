//! Transfers of the simulated server, held against what a real one answered and wrote.
#![allow(clippy::unwrap_used, reason = "a test says what failed by panicking")]

mod simulated;

use std::collections::BTreeMap;

use rstest::rstest;
use serde_json::json;
use simulated::{Pool, http, recipe, shared, world};
use xensnap::simulator::value::{Ref, Value};
use xensnap::simulator::xva::objects::Object;
use xensnap::simulator::xva::ova;
use xensnap::simulator::xva::reader::{Reader, Step};

/// An archive as its parts: objects, and the content of each disk.
struct Archive {
    ova: String,
    objects: Vec<Object>,
    names: Vec<String>,
    disks: BTreeMap<String, Vec<u8>>,
}

fn read(archive: &[u8]) -> Archive {
    let mut steps = Vec::new();
    let mut reader = Reader::new(true);
    for piece in archive.chunks(100_000) {
        reader.feed(piece, &mut |step| steps.push(step)).unwrap();
    }
    reader.finish(&mut |step| steps.push(step)).unwrap();
    let mut read = Archive { ova: String::new(), objects: Vec::new(), names: Vec::new(), disks: BTreeMap::new() };
    for step in steps {
        match step {
            Step::Ova(text) => {
                read.objects = ova::read(&text).unwrap();
                read.ova = String::from_utf8(text).unwrap();
            }
            Step::Chunk { disk, offset, bytes, right } => {
                assert!(right, "{disk} at {offset}");
                let content = read.disks.entry(disk.to_string()).or_default();
                content.resize(content.len().max(offset as usize + bytes.len()), 0);
                content[offset as usize..offset as usize + bytes.len()].copy_from_slice(&bytes);
                read.names.push(format!("{disk} {offset}"));
            }
            Step::End => {}
        }
    }
    read
}

/// The first file of the tar and the size of the whole, without the code under test.
fn tar_names(archive: &[u8]) -> Vec<String> {
    let mut tar = tar::Archive::new(archive);
    tar.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect()
}

async fn pool() -> Pool {
    Pool::start(world(&recipe("26.17"))).await
}

fn sample(name: &str) -> Option<Vec<u8>> {
    shared(&format!("xenapi/samples/{name}")).map(|path| std::fs::read(path).unwrap())
}

#[rstest]
#[case("vm-plain.xva")]
#[case("vm-gzip.xva")]
#[case("vm-zstd.xva")]
#[tokio::test]
async fn an_archive_of_a_real_server_comes_back_the_same(#[case] name: &str) {
    let (Some(archive), Some(disk)) = (sample(name), sample("disk.raw")) else { return };
    let pool = pool().await;
    let task = pool.call("task.create", json!(["my import", ""])).await.unwrap();
    let (head, body) = pool.put(&format!("/import?task_id={}", task.as_str().unwrap()), &archive).await;
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\nConnection: close\r\nCache-Control: no-cache, no-store\r\ntask-id:OpaqueRef:"),
        "{head}"
    );
    assert!(head.ends_with("\r\ncontent-type: application/octet-stream\r\n\r\n") && body.is_empty(), "{head}");
    let record = pool.task(&task).await;
    assert_eq!(record["status"], "success", "{record}");
    assert_eq!(record["other_config"]["object_creation"], "complete");
    let result = record["result"].as_str().unwrap();
    let vm =
        result.strip_prefix("<value><array><data><value>").and_then(|rest| rest.strip_suffix("</value></data></array></value>"));
    let vm = vm.unwrap_or_else(|| panic!("{result}"));

    let (head, again) = pool.get(&format!("/export?ref={vm}")).await;
    assert!(head.starts_with("HTTP/1.0 200 OK\r\n"), "{head}");
    let (before, after) = (read(&archive), read(&again));
    assert_eq!(after.disks.values().next().unwrap(), &disk);
    // Only block 2 is all zeros.
    assert_eq!(before.names.iter().map(|n| n.split(' ').nth(1).unwrap()).collect::<Vec<_>>(), ["0", "1048576", "3145728"]);
    assert_eq!(places(&before), places(&after));
    compare(&before.objects, &after.objects);
}

fn places(archive: &Archive) -> Vec<&str> {
    archive.names.iter().map(|name| name.split(' ').nth(1).unwrap()).collect()
}

/// Objects are the same but for what an import must change.
fn compare(before: &[Object], after: &[Object]) {
    let classes = |objects: &[Object]| objects.iter().map(|object| object.class.to_string()).collect::<Vec<_>>();
    assert_eq!(classes(before), classes(after));
    for (before, after) in before.iter().zip(after) {
        let masked: &[&str] = match &*before.class {
            "VM" => &["uuid", "VBDs", "metrics", "guest_metrics", "resident_on", "affinity", "other_config", "memory_target"],
            "VM_metrics" => &["uuid"],
            "VBD" => &["uuid", "VM", "VDI", "unpluggable"],
            "VDI" => &["uuid", "location", "SR", "VBDs", "sm_config", "snapshots", "physical_utilisation"],
            // It is another SR.
            "SR" => continue,
            _ => &[],
        };
        for (field, value) in before.record.members() {
            if !masked.contains(&&**field) {
                assert_eq!(Some(value), after.record.member(field), "{}.{field}", before.class);
            }
        }
        let names = |object: &Object| object.record.members().iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>();
        assert_eq!(names(before), names(after), "{}", before.class);
    }
}

#[tokio::test]
async fn an_export_has_the_heads_and_the_shape_of_a_real_one() {
    let pool = pool().await;
    let vm = pool.halted();
    let task = pool.call("task.create", json!(["my export", ""])).await.unwrap();
    let (head, body) = pool.get(&format!("/export?ref={vm}&task_id={}", task.as_str().unwrap())).await;
    let expected = format!(
        "HTTP/1.0 200 OK\r\nConnection: close\r\nCache-Control: no-cache, no-store\r\ntask-id: {}\r\nServer: xapi/26.17\r\n\
         content-type: application/octet-stream\r\nContent-Disposition: attachment; filename=\"export.xva\"\r\n\r\n",
        task.as_str().unwrap()
    );
    assert_eq!(head, expected);
    let record = pool.task(&task).await;
    assert_eq!((&record["status"], &record["result"], &record["progress"]), (&json!("success"), &json!(""), &json!(1.0)));
    assert!(body.ends_with(&[0; 1024]));
    let archive = read(&body);
    let disks: Vec<_> = archive.disks.keys().collect();
    assert!(!disks.is_empty() && archive.disks.values().all(|content| content.len() == 5 << 20));
    assert!(tar_names(&body)[1].starts_with("Ref:"));
    assert_eq!(tar_names(&body)[0], "ova.xml");
    assert!(archive.ova.starts_with("<value><struct><member><name>version</name><value><struct><member><name>hostname</name>"));

    // The same disk has the same content every time, and numbers of names go on.
    let (_, second) = pool.get(&format!("/export?ref={vm}&use_compression=zstd")).await;
    let second = read(&second);
    assert_eq!(second.disks.values().collect::<Vec<_>>(), archive.disks.values().collect::<Vec<_>>());
    assert_ne!(second.disks.keys().collect::<Vec<_>>(), disks);
}

#[tokio::test]
async fn a_recorded_machine_gives_the_recorded_catalogue() {
    let Some(archive) = sample("vm-plain.xva") else { return };
    let Some(dump) = shared("pools/xapi26-one-host.xml") else { return };
    let file = std::io::BufReader::new(std::fs::File::open(dump).unwrap());
    let loaded = xensnap::simulator::pool_database::load(file, None).unwrap();
    let mut world = xensnap::simulator::world::World::new(loaded.release, 1);
    world.database = loaded.database;
    let vm = world.database.by_uuid("VM", "c24cdfbe-3d65-b6c4-aa61-4edbd67ec847").cloned().expect("the sample's VM");
    world.master = world.database.refs("host")[0].clone();
    let scope = xensnap::simulator::xva::objects::Scope { vms: vec![vm], ..Default::default() };
    let catalogue = xensnap::simulator::xva::objects::catalogue(&mut world, &scope).unwrap();
    let text = ova::write(&ova::version(&world), &catalogue.objects);
    // Between the export and the dump the SR's sizes have moved, and the disk was given a mark.
    let masked = |text: &str| {
        let mark = "<member><name>content_id</name><value>298c91af-2a4f-ff51-a633-7cd8a043b409</value></member>";
        let mut text = text.replace(mark, "");
        for field in ["virtual_allocation", "physical_utilisation"] {
            let start = format!("<name>{field}</name><value>");
            let pieces: Vec<&str> = text.split(&start).collect();
            let rest = pieces[1..].iter().map(|piece| &piece[piece.find('<').unwrap()..]);
            text = std::iter::once(pieces[0]).chain(rest).collect::<Vec<_>>().join(&start);
        }
        text
    };
    let (ours, theirs) = (masked(&text), masked(&read(&archive).ova));
    let differs = ours.bytes().zip(theirs.bytes()).position(|(a, b)| a != b);
    let around = differs.map(|at| (&ours[at - 200..at + 200], &theirs[at - 200..at + 200]));
    assert_eq!((ours.len(), around), (theirs.len(), None));
}

#[tokio::test]
async fn a_recorded_machine_gives_the_recorded_metadata() {
    let Some(archive) = sample("vm-metadata.xva") else { return };
    let Some(dump) = shared("pools/xapi26-one-host.xml") else { return };
    let file = std::io::BufReader::new(std::fs::File::open(dump).unwrap());
    let loaded = xensnap::simulator::pool_database::load(file, None).unwrap();
    let mut world = xensnap::simulator::world::World::new(loaded.release, 1);
    world.database = loaded.database;
    // Three exports of six objects came before.
    world.exported = 18;
    let vm = world.database.by_uuid("VM", "c24cdfbe-3d65-b6c4-aa61-4edbd67ec847").cloned().expect("the sample's VM");
    let scope =
        xensnap::simulator::xva::objects::Scope { vms: vec![vm], snapshots: true, power_state: true, ..Default::default() };
    let catalogue = xensnap::simulator::xva::objects::catalogue(&mut world, &scope).unwrap();
    let recorded = ova::read(&metadata_of(&archive)).unwrap();
    assert_eq!(catalogue.objects.len(), recorded.len());
    for (ours, theirs) in catalogue.objects.iter().zip(&recorded) {
        assert_eq!((&ours.class, &ours.id), (&theirs.class, &theirs.id));
        for (field, value) in theirs.record.members() {
            if !matches!((&*ours.class, &**field), ("SR", "virtual_allocation" | "physical_utilisation")) {
                assert_eq!(ours.record.member(field), Some(value), "{} {}.{field}", ours.id, ours.class);
            }
        }
    }
}

fn metadata_of(archive: &[u8]) -> Vec<u8> {
    let mut found = Vec::new();
    let mut entries = tar::Archive::new(archive);
    let mut first = entries.entries().unwrap().next().unwrap().unwrap();
    std::io::Read::read_to_end(&mut first, &mut found).unwrap();
    found
}

#[rstest]
#[case("8.0", "checksum")]
#[case("8.2", "xxhash")]
#[tokio::test]
async fn checksums_are_those_of_the_release(#[case] release: &str, #[case] suffix: &str) {
    let pool = Pool::start(world(&recipe(release))).await;
    let vm = pool.halted();
    let (head, body) = pool.get(&format!("/export?ref={vm}")).await;
    assert!(head.contains(" 200 "), "{head}{}", String::from_utf8_lossy(&body));
    assert!(tar_names(&body)[2].ends_with(suffix), "{:?}", &tar_names(&body)[..3]);
    read(&body);
}

#[tokio::test]
async fn zstd_is_silently_ignored_before_8_1() {
    let pool = Pool::start(world(&recipe("8.0"))).await;
    let (_, body) = pool.get(&format!("/export?ref={}&use_compression=zstd", pool.halted())).await;
    assert!(body.starts_with(b"ova.xml\0"));
    let (_, body) = pool.get(&format!("/export?ref={}&use_compression=true", pool.halted())).await;
    assert!(body.starts_with(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]));
}

#[tokio::test]
async fn refusals_are_those_of_the_real_server() {
    let pool = pool().await;
    let page = |answer: &(String, Vec<u8>)| {
        (answer.0.lines().next().unwrap().to_owned(), String::from_utf8_lossy(&answer.1).into_owned())
    };
    let running = pool.running();
    for (target, status, text) in [
        (
            "/export?uuid=00000000-0000-0000-0000-000000000000".to_owned(),
            "HTTP/1.1 500 Internal Error",
            "UUID_INVALID: [ VM; 00000000-0000-0000-0000-000000000000 ]</body></html>".to_owned(),
        ),
        ("/export".to_owned(), "HTTP/1.1 500 Internal Error", "</h1>Not_found</body></html>".to_owned()),
        (
            format!("/export?ref={running}"),
            "HTTP/1.1 500 Internal Error",
            format!("VM_BAD_POWER_STATE: [ {running}; halted, suspended; running ]"),
        ),
        (
            "/export_raw_vdi?vdi=00000000-0000-0000-0000-000000000000&format=raw".to_owned(),
            "HTTP/1.1 500 Internal Error",
            "Db_exn.Read_missing_uuid(&quot;VDI&quot;, &quot;&quot;, &quot;00000000-0000-0000-0000-000000000000&quot;)"
                .to_owned(),
        ),
        ("/nosuchhandler".to_owned(), "HTTP/1.1 403 Forbidden", "HTTP 403 forbidden".to_owned()),
    ] {
        let (head, body) = page(&pool.get(&target).await);
        assert_eq!(head, status, "{target}");
        assert!(body.contains(&text), "{target}: {body}");
    }
    let (head, body) = http(pool.master(), "GET /export?uuid=x HTTP/1.1\r\nHost: x\r\n\r\n", b"").await;
    assert!(head.starts_with("HTTP/1.1 401 Unauthorised\r\ncontent-length: 96\r\n"), "{head}");
    assert!(head.contains("WWW-Authenticate: Basic realm=\"get_export\"") && !body.is_empty(), "{head}");
    let (head, _) = http(pool.master(), "GET /pool/xmldbdump HTTP/1.1\r\nHost: x\r\n\r\n", b"").await;
    assert!(head.contains("realm=\"get_pool_xml_db_sync\""), "{head}");
    let (head, _) = http(pool.master(), "PUT /import HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n", b"abc").await;
    assert!(head.contains("realm=\"put_import\""), "{head}");
    let (head, _) = http(pool.master(), "HEAD /export HTTP/1.1\r\nHost: x\r\n\r\n", b"").await;
    assert!(head.starts_with("HTTP/1.1 501 "), "{head}");
}

#[tokio::test]
async fn a_failed_import_says_so_in_its_body_and_in_its_task() {
    let pool = pool().await;
    let task = pool.call("task.create", json!(["x", ""])).await.unwrap();
    let before = (pool.count("VM"), pool.count("VDI"));
    let (head, body) = pool.put(&format!("/import?task_id={}", task.as_str().unwrap()), &b"this is no archive".repeat(100)).await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let body = String::from_utf8(body).unwrap();
    assert!(body.starts_with("HTTP/1.1 500 Internal Error\r\ncontent-length: 263\r\n"), "{body}");
    assert!(body.ends_with("IMPORT_ERROR_PREMATURE_EOF: [  ]</body></html>"), "{body}");
    assert_eq!(pool.task(&task).await["error_info"], json!(["IMPORT_ERROR_PREMATURE_EOF"]));

    let chunked = format!("PUT /import?session_id={} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", pool.session);
    let (head, body) = http(pool.master(), &chunked, b"3\r\nabc\r\n0\r\n\r\n").await;
    assert_eq!(head, "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nCache-Control: no-cache, no-store\r\n\r\n");
    assert_eq!(body.len(), 402);

    let (head, body) = pool.put("/import?sr_uuid=00000000-0000-0000-0000-000000000000", b"").await;
    assert!(head.starts_with("HTTP/1.1 500 Internal Error\r\ncontent-length: 335\r\n"), "{head}");
    assert!(String::from_utf8(body).unwrap().contains("Db_exn.Read_missing_uuid(&quot;SR&quot;"));
    assert_eq!((pool.count("VM"), pool.count("VDI")), before);
}

#[tokio::test]
async fn a_wrong_checksum_fails_the_import_and_leaves_nothing() {
    let pool = pool().await;
    let (_, mut archive) = pool.get(&format!("/export?ref={}", pool.halted())).await;
    let before = (pool.count("VM"), pool.count("VDI"));
    let chunk = archive.len() / 2;
    archive[chunk] ^= 1;
    let task = pool.call("task.create", json!(["x", ""])).await.unwrap();
    let target = format!("/import?task_id={}", task.as_str().unwrap());
    pool.put(&target, &archive).await;
    let record = pool.task(&task).await;
    assert_eq!(record["error_info"], json!(["IMPORT_ERROR_SOME_CHECKSUMS_FAILED"]), "{record}");
    assert_eq!((pool.count("VM"), pool.count("VDI")), before);

    let task = pool.call("task.create", json!(["x", ""])).await.unwrap();
    pool.put(&format!("/import?force=true&task_id={}", task.as_str().unwrap()), &archive).await;
    assert_eq!(pool.task(&task).await["status"], "success");
}

#[tokio::test]
async fn a_disk_that_is_gone_cuts_the_export_short_and_only_the_task_tells() {
    let pool = pool().await;
    let vm = pool.halted();
    let disk = pool.shared().step(|world| {
        let vbd = world.database.texts("VM", &vm, "VBDs");
        let disk =
            vbd.iter().map(|vbd| world.database.text("VBD", vbd, "VDI")).find(|vdi| world.database.exists("VDI", vdi)).unwrap();
        let uuid = world.database.text("VDI", &disk, "uuid");
        world.durable.lose(&uuid);
        world.storage.remove(&uuid);
        uuid
    });
    let task = pool.call("task.create", json!(["x", ""])).await.unwrap();
    let (head, body) = pool.get(&format!("/export?ref={vm}&task_id={}", task.as_str().unwrap())).await;
    assert!(head.starts_with("HTTP/1.0 200 OK\r\n"), "{head}");
    let text = String::from_utf8_lossy(&body);
    assert!(
        text.contains("HTTP/1.1 500 Internal Error\r\n") && text.contains("Got UNIX error: No such file or directory open /dev/")
    );
    let info = &pool.task(&task).await["error_info"];
    assert_eq!(info[0], "INTERNAL_ERROR");
    assert!(info[1].as_str().unwrap().contains(&*disk), "{info}");
    assert!(Reader::new(true).feed(&body, &mut |_| {}).is_ok());
    assert_eq!(
        pool.shared().step(|world| world.database.get("VM", &vm, "current_operations").cloned()),
        Some(Value::Map(vec![]))
    );
}

#[tokio::test]
async fn a_snapshot_comes_back_as_a_plain_template() {
    let pool = pool().await;
    let vm = pool.halted();
    let snapshot = pool.call("VM.snapshot", json!([&*vm, "to export"])).await.unwrap();
    let (_, archive) = pool.get(&format!("/export?ref={}", snapshot.as_str().unwrap())).await;
    let task = pool.call("task.create", json!(["x", ""])).await.unwrap();
    pool.put(&format!("/import?task_id={}", task.as_str().unwrap()), &archive).await;
    let record = pool.task(&task).await;
    let result = record["result"].as_str().unwrap();
    let imported = result.split("<value>").nth(2).unwrap().split('<').next().unwrap();
    let record = pool.call("VM.get_record", json!([imported])).await.unwrap();
    assert_eq!(record["name_label"], "to export");
    assert_eq!((&record["is_a_template"], &record["is_a_snapshot"]), (&json!(true), &json!(false)));
    assert_eq!((&record["snapshot_of"], &record["power_state"]), (&json!("OpaqueRef:NULL"), &json!("Halted")));
    assert_ne!(record["uuid"], json!(pool.text("VM", snapshot.as_str().unwrap(), "uuid")));
    assert_eq!(record["other_config"]["import_task"], task);
    assert_ne!(
        record["other_config"]["mac_seed"],
        pool.shared().step(|w| json!(w.database.map_text("VM", &vm, "other_config", "mac_seed")))
    );
    assert!(record["allowed_operations"].as_array().unwrap().contains(&json!("destroy")), "{record}");
    let vif = record["VIFs"][0].as_str().unwrap();
    assert_ne!(
        pool.text("VIF", vif, "MAC"),
        pool.shared().step(|w| w.database.text("VIF", &w.database.texts("VM", &vm, "VIFs")[0], "MAC").to_string())
    );
}

#[tokio::test]
async fn a_restore_over_an_existing_machine_is_refused_as_the_real_server_refuses_it() {
    let pool = pool().await;
    let vm = pool.halted();
    let (_, archive) = pool.get(&format!("/export?ref={vm}")).await;
    let import = async |options: &str| {
        let task = pool.call("task.create", json!(["x", ""])).await.unwrap();
        pool.put(&format!("/import?restore=true&{options}&task_id={}", task.as_str().unwrap()), &archive).await;
        pool.task(&task).await
    };
    let refused = import("force=false").await;
    assert_eq!(refused["error_info"], json!(["VM_TO_IMPORT_IS_NOT_NEWER_VERSION", &*vm, "0", "0"]));
    let uuid = pool.text("VM", &vm, "uuid");
    assert_eq!(import("force=true").await["status"], "success");
    let now = pool.shared().step(|world| world.database.by_uuid("VM", &uuid).cloned()).unwrap();
    assert_ne!(now, vm);
    let seed = pool.shared().step(|world| world.database.map_text("VM", &now, "other_config", "mac_seed").unwrap());
    pool.call("VM.set_uuid", json!([])).await.unwrap_err();
    pool.shared().step(|world| world.database.set("VM", &now, "uuid", Value::str("other")).unwrap());
    assert_eq!(import("force=true").await["error_info"], json!(["DUPLICATE_MAC_SEED", &*seed]));
}

#[tokio::test]
async fn metadata_restores_a_machine_with_its_snapshots_and_links() {
    let pool = pool().await;
    let vm = pool.halted();
    let snapshot = pool.call("VM.snapshot", json!([&*vm, "kept"])).await.unwrap();
    let snapshot = snapshot.as_str().unwrap().to_owned();
    let (head, archive) = pool.get(&format!("/export_metadata?ref={vm}")).await;
    assert!(head.contains(&format!("Content-Length: {}\r\nContent-Disposition", archive.len())), "{head}");
    let uuids = [pool.text("VM", &vm, "uuid"), pool.text("VM", &snapshot, "uuid")];

    let import = async |options: &str| {
        let task = pool.call("task.create", json!(["x", ""])).await.unwrap();
        pool.put(&format!("/import_metadata?{options}&task_id={}", task.as_str().unwrap()), &archive).await;
        pool.task(&task).await
    };
    let before = pool.count("VM");
    let dry = import("dry_run=true").await;
    assert_eq!(dry["status"], "success", "{dry}");
    assert_eq!(pool.count("VM"), before);

    let snapshots = pool.call("VM.get_snapshots", json!([&*vm])).await.unwrap();
    for doomed in snapshots.as_array().unwrap().iter().chain([&json!(&*vm)]) {
        pool.call("VM.destroy", json!([doomed])).await.unwrap();
    }
    let restored = import("restore=true").await;
    assert_eq!(restored["status"], "success", "{restored}");
    let found = uuids.map(|uuid| pool.shared().step(|world| world.database.by_uuid("VM", &uuid).cloned()).unwrap());
    assert_eq!(pool.text("VM", &found[1], "snapshot_of"), *found[0]);
    assert_eq!(pool.text("VM", &found[0], "parent"), *found[1]);
    assert!(
        restored["result"].as_str().unwrap().contains(&*found[0]) && !restored["result"].as_str().unwrap().contains(&*found[1])
    );
    assert!(pool.shared().step(|world| {
        world
            .database
            .texts("VM", &found[0], "VBDs")
            .iter()
            .any(|vbd| !xensnap::simulator::value::is_null(&world.database.text("VBD", vbd, "VDI")))
    }));
}

#[tokio::test]
async fn metadata_without_their_disks_are_refused() {
    let pool = pool().await;
    let vm = pool.halted();
    let (_, archive) = pool.get(&format!("/export_metadata?ref={vm}&export_snapshots=false")).await;
    let disks: Vec<Ref> = pool.shared().step(|world| {
        let vbds = world.database.texts("VM", &vm, "VBDs");
        vbds.iter()
            .filter(|vbd| *world.database.text("VBD", vbd, "type") == *"Disk")
            .map(|vbd| world.database.text("VBD", vbd, "VDI"))
            .collect()
    });
    pool.call("VM.destroy", json!([&*vm])).await.unwrap();
    for disk in &disks {
        pool.call("VDI.destroy", json!([&**disk])).await.unwrap();
    }
    let task = pool.call("task.create", json!(["x", ""])).await.unwrap();
    pool.put(&format!("/import_metadata?task_id={}", task.as_str().unwrap()), &archive).await;
    let record = pool.task(&task).await;
    assert_eq!(record["error_info"][0], "IMPORT_ERROR_ATTACHED_DISKS_NOT_FOUND", "{record}");
    assert_eq!(record["error_info"].as_array().unwrap().len(), 1 + disks.len());
}

#[tokio::test]
async fn a_raw_disk_goes_out_and_comes_back() {
    let pool = pool().await;
    let vm = pool.halted();
    let vdi = pool.shared().step(|world| {
        let vbds = world.database.texts("VM", &vm, "VBDs");
        vbds.iter().map(|vbd| world.database.text("VBD", vbd, "VDI")).find(|vdi| world.database.exists("VDI", vdi)).unwrap()
    });
    let uuid = pool.text("VDI", &vdi, "uuid");
    let (head, content) = pool.get(&format!("/export_raw_vdi?vdi={uuid}&format=raw")).await;
    assert!(head.contains(&format!("content-disposition: attachment; filename=\"{uuid}.raw\"")), "{head}");
    assert_eq!(content.len(), 5 << 20);
    let other: Vec<u8> = (0..content.len()).map(|n| (n / 3) as u8).collect();
    pool.put(&format!("/import_raw_vdi?vdi={vdi}&format=raw"), &other).await;
    assert!(pool.get(&format!("/export_raw_vdi?vdi={vdi}")).await.1 == other);
    assert!(pool.get(&format!("/export_raw_vdi?vdi={vdi}&format=nonsense")).await.0.contains(" 404 "));
}

#[tokio::test]
async fn another_host_is_named_when_this_one_cannot_see_the_disks() {
    let mut world = world(&recipe("26.17"));
    let hosts = world.database.refs("host");
    let other = hosts.iter().find(|host| **host != world.master).unwrap().clone();
    for (host, address) in [(&world.master.clone(), "127.0.0.1"), (&other, "127.0.0.2")] {
        world.database.set("host", host, "address", Value::str(address)).unwrap();
    }
    let master = world.master.clone();
    let pool = Pool::start(world).await;
    let vm = pool.halted();
    let unplug = |host: &Ref| {
        pool.shared().step(|world| {
            for pbd in world
                .database
                .refs("PBD")
                .into_iter()
                .filter(|pbd| world.database.text("PBD", pbd, "host") == *host)
                .collect::<Vec<_>>()
            {
                world.database.set("PBD", &pbd, "currently_attached", Value::Bool(false)).unwrap();
            }
        });
    };
    unplug(&master);
    let task = pool.call("task.create", json!(["x", ""])).await.unwrap();
    let target = format!("/export?ref={vm}&task_id={}", task.as_str().unwrap());
    let (head, _) = pool.get(&target).await;
    assert!(head.starts_with("HTTP/1.1 302 Found\r\n"), "{head}");
    assert!(head.contains(&format!("Location: http://127.0.0.2/export?ref={vm}&task_id=")), "{head}");
    assert_eq!(pool.call("task.get_status", json!([task])).await.unwrap(), "pending");
    // A host that can is a member: its handlers work with the master's session.
    let member = pool.simulation.address_of(&other).unwrap();
    let (head, _) = http(member, &format!("GET {target}&session_id={} HTTP/1.1\r\nHost: x\r\n\r\n", pool.session), b"").await;
    assert!(head.starts_with("HTTP/1.0 200 OK\r\n"), "{head}");
    assert_eq!(pool.task(&task).await["status"], "success");

    unplug(&other);
    let task = pool.call("task.create", json!(["x", ""])).await.unwrap();
    let target = format!("/export?ref={vm}&task_id={}&session_id={}", task.as_str().unwrap(), pool.session);
    assert!(simulated::try_http(pool.master(), &format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"), b"").await.is_none());
    assert_eq!(pool.task(&task).await["error_info"], json!(["NO_HOSTS_AVAILABLE"]));
}

#[tokio::test]
async fn the_database_goes_out_and_is_checked_on_its_way_in() {
    let pool = pool().await;
    let (head, dump) = pool.get("/pool/xmldbdump").await;
    assert_eq!(head, "HTTP/1.1 200 OK\r\nConnection: close\r\nCache-Control: no-cache, no-store\r\n\r\n");
    let loaded = xensnap::simulator::pool_database::load(&dump[..], None).unwrap();
    assert_eq!(loaded.database.count("VM"), pool.count("VM"));
    let put = async |dump: &[u8]| {
        let task = pool.call("task.create", json!(["x", ""])).await.unwrap();
        pool.put(&format!("/pool/xmldbdump?dry_run=true&task_id={}", task.as_str().unwrap()), dump).await;
        pool.task(&task).await["error_info"].clone()
    };
    assert_eq!(put(&dump).await, json!([]));
    let text = String::from_utf8(dump.clone()).unwrap();
    assert_eq!(put(text.replace("value=\"909\"", "value=\"908\"").as_bytes()).await, json!(["RESTORE_INCOMPATIBLE_VERSION"]));
    assert_eq!(
        put(text.replace(" management=\"true\"", " management=\"false\"").as_bytes()).await,
        json!(["RESTORE_TARGET_MGMT_IF_NOT_IN_BACKUP"])
    );
    assert_eq!(
        put(text.replace("device=\"eth0\"", "device=\"eth7\"").as_bytes()).await,
        json!(["RESTORE_TARGET_MISSING_DEVICE", "eth7"])
    );
    assert_eq!(put(&dump[..dump.len() / 2]).await[0], "RESTORE_SCRIPT_FAILED");
}

#[tokio::test]
async fn a_host_is_backed_up_and_its_backup_is_recognised() {
    let pool = pool().await;
    let (head, backup) = pool.get("/host_backup").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nConnection: close\r\n"), "{head}");
    assert_eq!(tar_names(&backup), ["etc/hostname", "etc/xensource-inventory"]);
    let put = async |body: &[u8]| {
        let task = pool.call("task.create", json!(["x", ""])).await.unwrap();
        pool.put(&format!("/host_restore?task_id={}", task.as_str().unwrap()), body).await;
        pool.task(&task).await["status"].clone()
    };
    assert_eq!((put(&backup).await, put(&backup[..700]).await), (json!("success"), json!("failure")));
}

#[tokio::test]
async fn an_export_can_be_cancelled() {
    let mut world = world(&xensnap::simulator::generate::Recipe { disk_size: Some(512 << 20), ..recipe("26.17") });
    world.storage.filled = 1.0;
    let pool = Pool::start(world).await;
    let vm = pool.halted();
    let task = pool.call("task.create", json!(["x", ""])).await.unwrap();
    let target = format!("/export?ref={vm}&task_id={}", task.as_str().unwrap());
    let (answer, ()) = tokio::join!(pool.get(&target), async {
        while pool.call("task.get_allowed_operations", json!([task])).await.unwrap() != json!(["cancel"]) {
            tokio::task::yield_now().await;
        }
        pool.call("task.cancel", json!([task])).await.unwrap();
    });
    assert_eq!(pool.task(&task).await["status"], "cancelled");
    assert!(answer.1.len() < 512 << 20);
}
