//! Events of note: what a person may ask about later. One sentence that can be read alone, and data for programs.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::Store;
use super::columns::{Columns, at, between, json, key, prose};
use super::error::{Fault, Result};
use super::ids::{EventId, RunId, VmId};
use super::lineage::Lineage;
use super::page::{Listed, Page};
use super::sqlite::{Connection, Query, Row};
use super::{policies, pools};
pub use crate::domain::event::{EventKind, Severity};

impl super::closed::Closed for Severity {
    fn of_word(word: &str) -> Option<Self> {
        Self::from_word(word)
    }
}

/// Something to be written down.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// When.
    pub at: DateTime<Utc>,
    /// What happened; how much it matters follows from that.
    pub kind: EventKind,
    /// The pool it is about.
    pub pool: Option<Uuid>,
    /// The policy it is about.
    pub policy: Option<String>,
    /// The VM it is about; needs the pool. One that history does not know is left out.
    pub vm: Option<Uuid>,
    /// The run it happened in.
    pub run: Option<RunId>,
    /// The snapshot it is about.
    pub snapshot: Option<Uuid>,
    /// One sentence.
    pub text: String,
    /// For programs.
    pub data: Value,
}

impl NewEvent {
    /// An event about nothing in particular; set the other fields as needed.
    pub fn new(at: DateTime<Utc>, kind: EventKind, text: impl Into<String>) -> Self {
        Self { at, kind, pool: None, policy: None, vm: None, run: None, snapshot: None, text: text.into(), data: Value::Null }
    }

    pub(super) fn restored(lineage: Lineage, now: DateTime<Utc>) -> Self {
        let what = match lineage {
            Lineage::OlderCopy { missing: 0 } => "a copy of the history was put in place".to_owned(),
            Lineage::OlderCopy { missing } => format!("an older copy of the history was put in place, {missing} commits behind"),
            Lineage::Lost => "the history was gone and begins anew".to_owned(),
            Lineage::OtherDatabase => "a different history was put in place".to_owned(),
            Lineage::Unknown | Lineage::Created | Lineage::Continued => {
                "the history has no sidecar and may be an older copy".to_owned()
            }
        };
        let text = format!("{what}; its removal queue was emptied, and it is compared with the pools before it counts");
        Self::new(now, EventKind::HistoryRestored, text)
    }
}

/// Something that was written down.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its row.
    pub id: EventId,
    /// When.
    pub at: DateTime<Utc>,
    /// The word of its kind; older and newer versions may have words that this one has not.
    pub kind: String,
    /// How much it matters.
    pub severity: Severity,
    /// The pool it is about.
    pub pool: Option<Uuid>,
    /// The policy it is about.
    pub policy: Option<String>,
    /// The VM's row, while history has it.
    pub vm: Option<VmId>,
    /// The VM it is about.
    pub vm_uuid: Option<Uuid>,
    /// That VM's name when last seen.
    pub vm_name: Option<String>,
    /// The run it happened in, while history has it.
    pub run: Option<RunId>,
    /// The snapshot it is about.
    pub snapshot: Option<Uuid>,
    /// One sentence.
    pub text: String,
    /// For programs.
    pub data: Value,
}

/// Which events are wanted. Each part narrows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// About this VM.
    pub vm: Option<VmId>,
    /// About this policy.
    pub policy: Option<String>,
    /// About this pool.
    pub pool: Option<Uuid>,
    /// In this run.
    pub run: Option<RunId>,
    /// About this snapshot.
    pub snapshot: Option<Uuid>,
    /// Of this kind.
    pub kind: Option<String>,
    /// At least as severe.
    pub at_least: Option<Severity>,
    /// Not before.
    pub from: Option<DateTime<Utc>>,
    /// Before.
    pub until: Option<DateTime<Utc>>,
}

impl Store {
    /// Writes down an event.
    ///
    /// # Errors
    /// [`super::Error::TooLong`] for data over 4 MiB, [`super::Error::NotFound`] for a run that does not exist.
    pub async fn note_event(&self, event: NewEvent) -> Result<EventId> {
        self.write("write down an event", move |c| Box::pin(async move { insert(c, &event).await })).await
    }

    /// Events, newest first.
    pub async fn events(&self, filter: EventFilter, page: Page) -> Result<Listed<Event>> {
        self.read("list events", move |c| {
            Box::pin(async move {
                let Some(filter) = Narrowed::of(c, &filter).await? else { return Ok(page.cut(Vec::new(), place)) };
                let rows = filter.query(page).fetch_all(c).await?;
                Ok(page.cut(rows.iter().map(read).collect::<Result<_, _>>()?, place))
            })
        })
        .await
    }
}

impl Store {
    /// The number of the newest event; 0 if there is none.
    pub async fn newest_event(&self) -> Result<i64> {
        self.read("look for the newest event", move |c| {
            Box::pin(async move {
                let newest: Option<i64> = sqlx::query_scalar("SELECT max(id) FROM events").fetch_one(c).await?;
                Ok(newest.unwrap_or(0))
            })
        })
        .await
    }

    /// Events of some weight after this number, oldest first, so many at most.
    pub async fn events_after(&self, after: i64, most: u32) -> Result<Vec<Event>> {
        self.read("list events", move |c| {
            Box::pin(async move {
                let rows = sqlx::query(AFTER).bind(after).bind(most).fetch_all(c).await?;
                rows.iter().map(read).collect()
            })
        })
        .await
    }
}

const AFTER: &str = "SELECT e.*, o.uuid AS pool_uuid, p.key AS policy_key, v.uuid AS vm_uuid, v.name AS vm_name
     FROM events e LEFT JOIN pools o ON o.id = e.pool_id LEFT JOIN policies p ON p.id = e.policy_id LEFT JOIN vms v ON v.id = e.vm_id
     WHERE e.id > $1 AND e.severity IN ('warning', 'error', 'critical') ORDER BY e.id LIMIT $2";

/// Writes an event as part of a larger transaction.
pub(super) async fn insert(c: &mut Connection, event: &NewEvent) -> Result<EventId, Fault> {
    let pool = match event.pool {
        Some(pool) => Some(pools::row_of(c, pool, event.at).await?),
        None => None,
    };
    let policy = match &event.policy {
        Some(policy) => policies::existing(c, policy).await?,
        None => None,
    };
    let vm = match (pool, event.vm) {
        (Some(pool), Some(vm)) => pools::existing_vm(c, pool, vm).await?,
        _ => None,
    };
    if let Some(run) = event.run {
        super::runs::state_of(c, run).await?;
    }
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO events (at, kind, severity, pool_id, policy_id, vm_id, run_id, snapshot_uuid, text, data)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING id",
    )
    .bind(at(event.at))
    .bind(event.kind.as_str())
    .bind(event.kind.severity().as_str())
    .bind(pool)
    .bind(policy)
    .bind(vm)
    .bind(event.run.map(|run| run.0))
    .bind(event.snapshot.map(key))
    .bind(prose(&event.text).as_ref())
    .bind(json("an event's data", &event.data)?)
    .fetch_one(c)
    .await?;
    Ok(EventId(id))
}

macro_rules! select_event {
    ($driver:literal) => {
        concat!(
            "SELECT e.*, o.uuid AS pool_uuid, p.key AS policy_key, v.uuid AS vm_uuid, v.name AS vm_name
             FROM events e LEFT JOIN pools o ON o.id = e.pool_id LEFT JOIN policies p ON p.id = e.policy_id
                 LEFT JOIN vms v ON v.id = e.vm_id
             WHERE ", $driver, "e.at >= $8 AND e.at < $9 AND (e.at, e.id) < ($10, $11)
                 AND ($1 IS NULL OR e.vm_id = $1) AND ($2 IS NULL OR e.policy_id = $2) AND ($3 IS NULL OR e.pool_id = $3)
                 AND ($4 IS NULL OR e.run_id = $4) AND ($5 IS NULL OR e.snapshot_uuid = $5) AND ($6 IS NULL OR e.kind = $6)
                 AND CASE e.severity WHEN 'info' THEN 0 WHEN 'notice' THEN 1 WHEN 'warning' THEN 2 WHEN 'error' THEN 3 ELSE 4 END >= $7
             ORDER BY e.at DESC, e.id DESC LIMIT $12"
        )
    };
}

/// A filter whose names were looked up.
struct Narrowed {
    vm: Option<i64>,
    policy: Option<i64>,
    pool: Option<i64>,
    run: Option<i64>,
    snapshot: Option<String>,
    kind: Option<String>,
    severity: i64,
    times: (i64, i64),
}

impl Narrowed {
    /// `None` if it names what history does not know: then nothing is about it.
    async fn of(c: &mut Connection, filter: &EventFilter) -> Result<Option<Self>, Fault> {
        let Some(policy) = policies::narrowed(c, filter.policy.as_deref()).await? else { return Ok(None) };
        let Some(pool) = pools::narrowed(c, filter.pool).await? else { return Ok(None) };
        Ok(Some(Self {
            vm: filter.vm.map(|vm| vm.0),
            policy,
            pool,
            run: filter.run.map(|run| run.0),
            snapshot: filter.snapshot.map(key),
            kind: filter.kind.clone(),
            severity: filter.at_least.map_or(0, |severity| severity as i64),
            times: between(filter.from, filter.until),
        }))
    }

    /// The statement that walks the narrowest index.
    fn sql(&self) -> &'static str {
        match self {
            Self { snapshot: Some(_), .. } => select_event!("e.snapshot_uuid = $5 AND "),
            Self { run: Some(_), .. } => select_event!("e.run_id = $4 AND "),
            Self { vm: Some(_), .. } => select_event!("e.vm_id = $1 AND "),
            Self { kind: Some(_), .. } => select_event!("e.kind = $6 AND "),
            Self { severity: 2.., .. } => select_event!("e.severity IN ('warning', 'error', 'critical') AND "),
            Self { policy: Some(_), .. } => select_event!("e.policy_id = $2 AND "),
            Self { pool: Some(_), .. } => select_event!("e.pool_id = $3 AND "),
            _ => select_event!(""),
        }
    }

    fn query(self, page: Page) -> Query {
        let (below_at, below_id) = page.below();
        sqlx::query(self.sql())
            .bind(self.vm)
            .bind(self.policy)
            .bind(self.pool)
            .bind(self.run)
            .bind(self.snapshot)
            .bind(self.kind)
            .bind(self.severity)
            .bind(self.times.0)
            .bind(self.times.1)
            .bind(below_at)
            .bind(below_id)
            .bind(page.fetch())
    }
}

fn place(event: &Event) -> (DateTime<Utc>, i64) {
    (event.at, event.id.0)
}

fn read(row: &Row) -> Result<Event, Fault> {
    Ok(Event {
        id: row.id("id")?,
        at: row.time("at")?,
        kind: row.text("kind")?,
        severity: row.closed("severity")?,
        pool: row.maybe_uuid("pool_uuid")?,
        policy: row.maybe_text("policy_key")?,
        vm: row.maybe_id("vm_id")?,
        vm_uuid: row.maybe_uuid("vm_uuid")?,
        vm_name: row.maybe_text("vm_name")?,
        run: row.maybe_id("run_id")?,
        snapshot: row.maybe_uuid("snapshot_uuid")?,
        text: row.text("text")?,
        data: row.json("data")?,
    })
}
