//! `event.from` and its kin: each recorded batch is asked of a world that holds exactly what the batch shows.

use std::path::Path;

use xensnap::simulator::codec::{Rpc, json, xml};
use xensnap::simulator::model::{Model, Release};
use xensnap::simulator::value::Value;
use xensnap::simulator::world::World;

use crate::compare::Mask;
use crate::recordings;
use crate::replay::Replay;
use crate::state::{self, member, members};
use crate::transcript::Transcript;

const SESSION: &str = "OpaqueRef:5f2db32b-474f-2813-232d-6aabfef1a802";
const VM: &str = "OpaqueRef:890a8889-23e9-5591-636a-59e8e836d157";
const LOGGED_OUT: &str = "OpaqueRef:86e94692-015d-48a5-1b4e-aaeb97e0c3bd";

/// Exchanges whose recorded answers were kept as a whole and can be asked of a world of their own.
const BATCHES: [&str; 13] = [
    "02_from_timeout_nothing",
    "03_from_after_snapshot",
    "04_from_after_vm_destroy",
    "05_from_after_vdi_destroy",
    "07_from_after_inject",
    "08b_token_future",
    "09_lowercase_class",
    "10_unknown_class",
    "11_one_object",
    "12_empty_classes",
    "13_int_timeout",
    "14_string_timeout",
    "21_from_huge_timeout_capped",
];

#[tokio::test]
async fn batches() {
    for recordings in recordings() {
        for exchange in Transcript::folder(&recordings.join("event")) {
            if BATCHES.iter().any(|name| exchange.name.contains(name)) {
                batch(&exchange).await;
            }
        }
    }
}

async fn batch(exchange: &Transcript) {
    let Some(answer) = state::result(&exchange.body) else {
        // One VM has a map key that makes all of it no XML.
        assert_eq!(exchange.name, "event/08b_token_future.xml");
        return;
    };
    let asked = request(exchange);
    let mut world = World::new(Release::NEWEST, 1);
    let since = generation(asked[2].text().unwrap());
    let token = generation(member(&answer, "token").and_then(Rpc::text).unwrap());
    restore(&mut world, items(member(&answer, "events").unwrap()), since, token);
    fill_up(&mut world, member(&answer, "valid_ref_counts").unwrap());
    let mut replay = Replay::start(world).await;
    replay.server.shared().step(|world| state::log_in(world, SESSION));
    replay.check(exchange, &[]).await;
    replay.finish().await;
}

fn request(exchange: &Transcript) -> Vec<Rpc> {
    let at = exchange.request.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let body = &exchange.request[at + 4..];
    if exchange.name.ends_with(".json") { json::parse(body).unwrap().call.params } else { xml::parse(body).unwrap().params }
}

fn generation(token: &str) -> u64 {
    token.split(',').next().and_then(|half| half.parse().ok()).unwrap_or_default()
}

fn items(rpc: &Rpc) -> &[Rpc] {
    match rpc {
        Rpc::List(items) => items,
        _ => &[],
    }
}

/// Rows with the generations that their events show, and deletions.
fn restore(world: &mut World, events: &[Rpc], since: u64, token: u64) {
    let text = |event: &Rpc, name: &str| member(event, name).and_then(Rpc::text).unwrap().to_owned();
    let mut deletions = Vec::new();
    let mut newest = since;
    for (at, event) in events.iter().enumerate() {
        let (id, reference) = (text(event, "id").parse::<u64>().unwrap(), text(event, "ref"));
        let class = class_of(&text(event, "class"));
        newest = newest.max(id);
        match &*text(event, "operation") {
            "del" => deletions.push((id, class, reference)),
            operation => {
                let born = if operation == "add" { id } else { 1 };
                // The newest change of a batch of additions shows in the token alone.
                let changed = if at == 0 && operation == "add" { id.max(token) } else { id };
                let changed = if newest >= token { id } else { changed };
                let values = values(class, member(event, "snapshot").unwrap());
                world.database.restore(class, reference, born, changed, values);
            }
        }
    }
    world.database.finish_restoring(since);
    overwrite_sets(world, events);
    deletions.sort();
    for (id, class, reference) in deletions {
        world.database.restore_deletion(class, reference, 1, id);
    }
    world.database.set_generation(token.max(newest));
}

/// Reverse sets name objects that the batch does not show.
fn overwrite_sets(world: &mut World, events: &[Rpc]) {
    for event in events {
        let Some(record) = member(event, "snapshot") else { continue };
        let class = class_of(member(event, "class").and_then(Rpc::text).unwrap());
        let reference = member(event, "ref").and_then(Rpc::text).unwrap();
        for field in &Model::get().class(class).unwrap().fields {
            let value = state::value(member(record, &field.name).unwrap(), &field.kind);
            if matches!(value, Value::Set(_)) {
                world.database.rewrite(class, reference, &field.name, value);
            }
        }
    }
}

fn class_of(lower: &str) -> &'static str {
    let class = Model::get().classes().iter().find(|class| class.name.to_lowercase() == lower);
    &class.unwrap_or_else(|| panic!("there is no class {lower}")).name
}

fn values(class: &str, record: &Rpc) -> Vec<Value> {
    let facts = Model::get().class(class).unwrap();
    facts.fields.iter().map(|field| state::value(member(record, &field.name).unwrap(), &field.kind)).collect()
}

/// Rows of no interest until every table has as many as were counted.
fn fill_up(world: &mut World, counts: &Rpc) {
    for (table, count) in members(counts) {
        let Rpc::Int(count) = count else { panic!("{count:?}") };
        let class = class_of(table);
        let zero: Vec<Value> = Model::get().class(class).unwrap().fields.iter().map(|field| field.kind.zero()).collect();
        for at in world.database.count(class)..*count as usize {
            // Born and changed before anything that was asked for.
            world.database.restore(class, format!("zz{at}"), 0, 0, zero.clone());
        }
    }
}

#[tokio::test]
async fn refusals() {
    for recordings in recordings() {
        let mut world = state::pool(&recordings);
        state::session(&mut world, SESSION);
        state::like(&mut world, "VM", |_, _| true, VM.strip_prefix("OpaqueRef:").unwrap());
        let mut replay = Replay::start(world).await;
        replay.check_all(&only(&recordings, &["08_bad_token", "16_inject_bad_ref"]), &[]).await;
        injected(&mut replay, &recordings).await;
        replay.finish().await;
    }
}

/// Register, look at the counter, change the VM, be told, unregister: first over JSON, then over XML.
#[tokio::test]
async fn the_older_interface() {
    for recordings in recordings() {
        let mut world = World::new(Release::NEWEST, 1);
        state::session(&mut world, SESSION);
        for exchange in only(&recordings, &["19_next.json"]) {
            let told = state::result(&exchange.body).unwrap();
            let record = member(&items(&told)[0], "snapshot").unwrap().clone();
            state::row(&mut world, "VM", VM, &record);
            state::overwrite(&mut world, "VM", VM, &record);
        }
        let mut replay = Replay::start(world).await;
        for wire in ["json", "xml"] {
            let named = |name: &str| only(&recordings, &[&format!("{name}.{wire}")]);
            replay.check_all(&named("17_register"), &[]).await;
            replay.check_all(&named("18_get_current_id"), &[]).await;
            replay.server.shared().step(|world| world.database.touch("VM", VM));
            replay.check_all(&named("19_next"), &[Mask::Field("timestamp"), Mask::Field("name_description")]).await;
            replay.check_all(&named("20_unregister"), &[]).await;
        }
        replay.finish().await;
    }
}

fn only(recordings: &Path, names: &[&str]) -> Vec<Transcript> {
    let all = Transcript::folder(&recordings.join("event"));
    all.into_iter().filter(|exchange| names.iter().any(|name| exchange.name.contains(name))).collect()
}

/// `event.inject` answers a token of the generation before the one it takes.
async fn injected(replay: &mut Replay, recordings: &Path) {
    for exchange in only(recordings, &["06_inject"]) {
        let text = String::from_utf8_lossy(&exchange.body).into_owned();
        let digits = text.split(|c: char| !c.is_ascii_digit()).find(|part| part.len() == 20).unwrap();
        let token: u64 = digits.parse().unwrap();
        replay.server.shared().step(|world| world.database.set_generation(token + 1));
        replay.check(&exchange, &[]).await;
    }
}

#[tokio::test]
async fn a_logout_ends_a_call_that_waits() {
    for recordings in recordings() {
        let mut world = state::pool(&recordings);
        state::session(&mut world, LOGGED_OUT);
        world.database.set_generation(22_200);
        let mut replay = Replay::start(world).await;
        for exchange in only(&recordings, &["22_from_blocked"]) {
            let shared = replay.server.shared().clone();
            let logout = tokio::spawn(async move {
                // The call is under way when it has been counted.
                while !shared.calls().contains_key("event.from") {
                    tokio::task::yield_now().await;
                }
                shared.step(|world| xensnap::simulator::sessions::end(world, LOGGED_OUT));
            });
            replay.check(&exchange, &[]).await;
            logout.await.unwrap();
        }
        replay.finish().await;
    }
}
