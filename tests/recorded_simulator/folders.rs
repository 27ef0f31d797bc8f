//! The recorded folders, each in its state.

use std::path::Path;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use xensnap::simulator::error::ApiError;
use xensnap::simulator::front::Mode;
use xensnap::simulator::value::Value;
use xensnap::simulator::world::World;

use crate::compare::Mask;
use crate::replay::{Replay, read_answer};
use crate::transcript::Transcript;
use crate::{recordings, state};

/// The exchanges of a folder whose names contain none of `without`.
fn exchanges(recordings: &Path, folder: &str, without: &[&str]) -> Vec<Transcript> {
    let all = Transcript::folder(&recordings.join(folder));
    all.into_iter().filter(|exchange| !without.iter().any(|part| exchange.name.contains(part))).collect()
}

/// The exchanges of a folder whose names contain one of `with`.
fn only(recordings: &Path, folder: &str, with: &[&str]) -> Vec<Transcript> {
    let all = Transcript::folder(&recordings.join(folder));
    all.into_iter().filter(|exchange| with.iter().any(|part| exchange.name.contains(part))).collect()
}

fn session(world: &mut World, uuid: &str) {
    state::session(world, &format!("OpaqueRef:{uuid}"));
}

#[tokio::test]
async fn reads() {
    for recordings in recordings() {
        let mut world = state::pool(&recordings);
        session(&mut world, "21e69483-2b60-496d-5c83-18b2a31fbbd4");
        session(&mut world, "730fe0c9-eabf-b3ea-7a51-298970730650");
        let mut replay = Replay::start(world).await;
        // SR.get_record was recorded in a later state of the SR.
        replay.check_all(&exchanges(&recordings, "reads", &["servertime", "SR.get_record"]), &[]).await;
        replay.check_all(&only(&recordings, "reads", &["servertime"]), &[Mask::Dates]).await;
        replay.finish().await;
    }
}

#[tokio::test]
async fn login() {
    for recordings in recordings() {
        let mut world = state::pool(&recordings);
        for uuid in ["dfdf4e55-de4d-860e-c506-cdf4abf3a4d2", "5f2a87c8-c737-6991-0928-f05ee0e6b7e6"] {
            session(&mut world, uuid);
        }
        let own = "OpaqueRef:e0652e5d-9a30-3230-e232-18d1ba5fa757";
        for exchange in only(&recordings, "login", &["session_get_record.json"]) {
            state::row(&mut world, "session", own, &state::result(&exchange.body).unwrap());
        }
        state::log_in(&mut world, own);
        let mut replay = Replay::start(world).await;
        replay.check_all(&exchanges(&recordings, "login", &["session_get_record"]), &[]).await;
        replay.check_all(&only(&recordings, "login", &["session_get_record"]), &[Mask::Field("last_active"), Mask::Dates]).await;
        replay.finish().await;
    }
}

#[tokio::test]
async fn transport() {
    for recordings in recordings() {
        let mut world = state::pool(&recordings);
        session(&mut world, "e0652e5d-9a30-3230-e232-18d1ba5fa757");
        let mut replay = Replay::start(world).await;
        // What is no single answer over plain HTTP has tests of its own.
        let special = ["garbage", "pipelined", "plain_http_on_443", "https"];
        replay.check_all(&exchanges(&recordings, "transport", &special), &[]).await;
        for exchange in only(&recordings, "transport", &["pipelined"]) {
            pipelined(&mut replay, &exchange).await;
        }
        replay.finish().await;
    }
}

/// The recording holds three answers in a row, with a line between them.
async fn pipelined(replay: &mut Replay, recorded: &Transcript) {
    let mut stream = TcpStream::connect(replay.server.address()).await.unwrap();
    stream.write_all(&recorded.request).await.unwrap();
    let (mut answers, mut buffer) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let answer = read_answer(&mut stream, &mut buffer).await;
        answers.push(format!("{}\r\n\r\n{}", answer.head, String::from_utf8_lossy(&answer.body)));
    }
    assert_eq!(answers.join("\n--\n") + "\n--\n", String::from_utf8_lossy(&recorded.body));
}

#[tokio::test]
async fn errors() {
    for recordings in recordings() {
        let mut world = state::pool(&recordings);
        session(&mut world, "e0652e5d-9a30-3230-e232-18d1ba5fa757");
        session(&mut world, "730fe0c9-eabf-b3ea-7a51-298970730650");
        let halted = state::like(&mut world, "VM", is_halted_vm, "f9a9a11b-a69f-4223-2b1e-48872cc122bf");
        if let Some(halted) = halted {
            world.database.put("VM", &halted, "other_config", "base_template_name", Value::str("t")).unwrap();
        }
        state::like(&mut world, "VM", is_halted_vm, "86a87e1b-c9c8-ad86-028a-efce930bb90d");
        state::like(&mut world, "VM", is_running, "5a89fd53-b2f2-e530-2cf7-9c8637396b72");
        state::like(&mut world, "VM", is_template, "7b4c8419-db67-6fe0-ac4e-cbc9bf8e3573");
        let marked = state::like(&mut world, "VM", is_halted_vm, "f29f7813-36cc-1347-931e-295fefefaddd");
        if let Some(marked) = marked {
            let pairs = [("k<&>", "v<&>"), ("xensnap", "inherited?"), ("mac_seed", "76987e1e-5881-9bf8-b839-1971a9fd8d1e")];
            world.database.set("VM", &marked, "other_config", Value::pairs(pairs)).unwrap();
        }
        state::like(&mut world, "VMSS", |_, _| true, "8761baa5-e8ba-6df2-96d8-24fb647f5f27");
        state::disk_in_use(&mut world, "4feb1f5c-2d5e-ae32-48d4-f1892af9cfe5");
        let mut replay = Replay::start(world).await;
        replay.check_all(&exchanges(&recordings, "errors", &[]), &[]).await;
        replay.finish().await;
    }
}

fn is_template(world: &World, vm: &str) -> bool {
    world.database.bool("VM", vm, "is_a_template") && !world.database.bool("VM", vm, "is_a_snapshot")
}

fn is_halted_vm(world: &World, vm: &str) -> bool {
    &*world.database.text("VM", vm, "power_state") == "Halted" && !world.database.bool("VM", vm, "is_a_template")
}

fn is_running(world: &World, vm: &str) -> bool {
    &*world.database.text("VM", vm, "power_state") == "Running" && !world.database.bool("VM", vm, "is_control_domain")
}

#[tokio::test]
async fn lease() {
    for recordings in recordings() {
        let mut world = state::pool(&recordings);
        session(&mut world, "730fe0c9-eabf-b3ea-7a51-298970730650");
        let mut replay = Replay::start(world).await;
        replay.check_all(&exchanges(&recordings, "lease", &[]), &[]).await;
        replay.finish().await;
    }
}

#[tokio::test]
async fn message() {
    for recordings in recordings() {
        let mut world = state::pool(&recordings);
        session(&mut world, "730fe0c9-eabf-b3ea-7a51-298970730650");
        let vm = state::like(&mut world, "VM", is_halted_vm, "00000000-1111-2222-3333-444444444444");
        if let Some(vm) = vm {
            world.database.set("VM", &vm, "uuid", Value::str("313997a8-5903-5b8b-0814-8d603d7e74fb")).unwrap();
        }
        for exchange in only(&recordings, "message", &["1_get_record.json"]) {
            let record = state::result(&exchange.body).unwrap();
            state::message(&mut world, "OpaqueRef:219688f5-67bc-62f4-7c3a-66351ce812ee", 900, &record);
        }
        let mut replay = Replay::start(world).await;
        replay.check_all(&exchanges(&recordings, "message", &["get_since"]), &[]).await;
        replay.finish().await;
    }
}

#[tokio::test]
async fn slave() {
    for recordings in recordings() {
        let mut world = state::pool(&recordings);
        let member = world.master.clone();
        world.database.create("host", "OpaqueRef:master", [("uuid", Value::str("m")), ("address", Value::str("127.0.0.2"))]);
        world.master = "OpaqueRef:master".into();
        let mut replay = Replay::start_on(world, &member).await;
        let master = replay.server.shared().front("OpaqueRef:master").unwrap();
        master.set_mode(Mode::Down);
        let answered = ["login"];
        replay.check_all(&only(&recordings, "slave", &answered), &[]).await;
        for exchange in exchanges(&recordings, "slave", &answered) {
            replay.hangs(&exchange).await;
        }
        replay.finish().await;
    }
}

#[tokio::test]
async fn boot() {
    for recordings in recordings() {
        let world = state::pool(&recordings);
        let mut replay = Replay::start(world).await;
        replay.check_all(&only(&recordings, "boot", &["01_session"]), &[]).await;
        // The session of the second exchange was one of before the restart.
        replay.check_all(&only(&recordings, "boot", &["07_VM"]), &[]).await;
        let master = replay.server.shared().step(|world| world.master.clone());
        let front = replay.server.shared().front(&master).unwrap();
        front.set_mode(Mode::Emergency(ApiError::bare("HOST_STILL_BOOTING")));
        if let Some(exchange) = only(&recordings, "boot", &["07_VM"]).first() {
            let answer = replay.exchange(&exchange.request).await;
            let body = String::from_utf8(answer.body).unwrap();
            assert_eq!(body, "{\"jsonrpc\":\"2.0\",\"error\":[\"HOST_STILL_BOOTING\"],\"id\":0}");
        }
        replay.finish().await;
    }
}
