//! Objects with events, as event.from tells them: adds, then mods, then dels, merged since the token.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use super::fake::{Host, Reply, Rpc, failure};

/// A tiny database. Keys are (lower-case class, reference).
pub struct Feed {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    generation: u64,
    /// The record, when it was added, when it was last changed.
    rows: BTreeMap<(String, String), (Value, u64, u64)>,
    deleted: Vec<(String, String, u64)>,
    /// Added to the counts that are told.
    miscount: i64,
    /// What classes were asked for, with the token.
    asked: Vec<(Vec<String>, String)>,
}

impl Feed {
    /// Serves event.from on `host`.
    pub fn on(host: &Host) -> Arc<Feed> {
        let feed = Arc::new(Feed { state: Mutex::default(), changed: watch::Sender::new(0) });
        let serving = Arc::clone(&feed);
        host.on_later("event.from", move |rpc| {
            let feed = Arc::clone(&serving);
            async move { feed.answer(rpc).await }
        });
        feed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn put(&self, class: &str, reference: &str, record: Value) {
        let generation = {
            let mut state = self.lock();
            state.generation += 1;
            let generation = state.generation;
            let row = state.rows.entry((class.to_owned(), reference.to_owned())).or_insert((Value::Null, generation, 0));
            (row.0, row.2) = (record, generation);
            generation
        };
        self.changed.send_replace(generation);
    }

    pub fn delete(&self, class: &str, reference: &str) {
        let generation = {
            let mut state = self.lock();
            state.generation += 1;
            let generation = state.generation;
            state.rows.remove(&(class.to_owned(), reference.to_owned()));
            state.deleted.push((class.to_owned(), reference.to_owned(), generation));
            generation
        };
        self.changed.send_replace(generation);
    }

    /// As after more deletions than the server remembers.
    pub fn forget_deletions(&self) {
        self.lock().deleted.clear();
    }

    pub fn miscount_by(&self, number: i64) {
        self.lock().miscount = number;
    }

    /// An older copy of the database is in place.
    pub fn set_back(&self, generation: u64) {
        self.lock().generation = generation;
        self.changed.send_replace(generation);
    }

    /// How often everything was asked for.
    pub fn whole_readings(&self) -> usize {
        self.lock().asked.iter().filter(|(_, token)| token.is_empty()).count()
    }

    pub fn classes(&self) -> Vec<String> {
        self.lock().asked.first().map(|(classes, _)| classes.clone()).unwrap_or_default()
    }

    async fn answer(&self, rpc: Rpc) -> Reply {
        let classes: Vec<String> = rpc.params[1].as_array().unwrap().iter().map(|c| c.as_str().unwrap().to_lowercase()).collect();
        let since = match rpc.text(2) {
            "" => 0,
            token => match token.split_once(',').and_then(|(count, _)| count.parse().ok()) {
                Some(count) => count,
                None => return failure(&["EVENT_FROM_TOKEN_PARSE_FAILURE", token]),
            },
        };
        self.lock().asked.push((classes.clone(), rpc.text(2).to_owned()));
        let mut changed = self.changed.subscribe();
        let ends = tokio::time::Instant::now() + Duration::from_secs_f64(rpc.params[3].as_f64().unwrap());
        loop {
            changed.mark_unchanged();
            let events = self.events(&classes, since);
            let future = since > self.lock().generation;
            if !events.is_empty() || rpc.text(2).is_empty() || future || tokio::time::Instant::now() >= ends {
                return Reply::Value(self.batch(if future { self.events(&classes, 0) } else { events }));
            }
            let _ = tokio::time::timeout_at(ends, changed.changed()).await;
        }
    }

    fn events(&self, classes: &[String], since: u64) -> Vec<Value> {
        let state = self.lock();
        let wanted = |class: &String| classes.contains(class);
        let mut added = Vec::new();
        let mut changed = Vec::new();
        for ((class, reference), (record, at, last)) in state.rows.iter().filter(|((class, _), _)| wanted(class)) {
            if *at > since {
                added.push(event(class, "add", reference, Some(record)));
            } else if *last > since {
                changed.push(event(class, "mod", reference, Some(record)));
            }
        }
        let gone = state.deleted.iter().filter(|(class, _, at)| *at > since && since > 0 && wanted(class));
        let gone = gone.map(|(class, reference, _)| event(class, "del", reference, None));
        added.into_iter().chain(changed).chain(gone).collect()
    }

    fn batch(&self, events: Vec<Value>) -> Value {
        let state = self.lock();
        let mut counts: BTreeMap<&str, i64> = BTreeMap::from([("vm", state.miscount), ("vdi", 0), ("task", 0)]);
        for (class, _) in state.rows.keys() {
            *counts.entry(class).or_default() += 1;
        }
        json!({"events": events, "valid_ref_counts": counts, "token": format!("{:020},{:020}", state.generation.max(1), 0)})
    }
}

fn event(class: &str, operation: &str, reference: &str, record: Option<&Value>) -> Value {
    let mut event = json!({"id": "1", "timestamp": "0.0", "class": class, "operation": operation, "ref": reference});
    if let Some(record) = record {
        event["snapshot"] = record.clone();
    }
    event
}

pub fn task(status: &str, result: &str, error_info: &[&str]) -> Value {
    json!({
        "uuid": "5ca1ab1e-0000-0000-0000-000000000001", "name_label": "Async.VM.snapshot", "status": status, "result": result,
        "progress": if status == "pending" { 0.5 } else { 1.0 }, "error_info": error_info, "other_config": {},
    })
}

pub fn vm(uuid: u32, name: &str) -> Value {
    json!({
        "uuid": format!("00000000-0000-0000-0000-{uuid:012}"), "name_label": name, "power_state": "Halted", "is_a_template": false,
        "is_control_domain": false, "is_a_snapshot": false, "snapshot_of": "OpaqueRef:NULL", "VBDs": [], "memory_static_max": "1024",
        "other_config": {},
    })
}
