//! The schema keeps what the migrations' header promises.

use std::collections::BTreeSet;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, Row};
use xensnap::store::{
    AlarmForm, ApprovalState, AttemptState, DeliveryState, JobState, Kind, Origin, Outcome, PartState, RemovalState, Role,
    RunState, Severity, SlotState, SnapshotState,
};

use crate::support::*;

async fn raw(world: &World) -> SqliteConnection {
    SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(world.path())).await.unwrap()
}

async fn tables(connection: &mut SqliteConnection) -> Vec<(String, String)> {
    let select =
        "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> '_sqlx_migrations'";
    let rows = sqlx::query(select).fetch_all(connection).await.unwrap();
    rows.iter().map(|row| (row.get("name"), row.get("sql"))).collect()
}

/// The words a CHECK allows in a column.
fn allowed<'a>(sql: &'a str, column: &str) -> BTreeSet<&'a str> {
    let (_, rest) = sql.split_once(&format!("CHECK ({column} IN (")).unwrap_or_else(|| panic!("{column} has no CHECK in {sql}"));
    let (list, _) = rest.split_once("))").unwrap();
    list.split(',').map(|word| word.trim().trim_matches('\'')).collect()
}

#[tokio::test]
async fn every_closed_set_is_the_same_in_the_schema_and_in_the_program() {
    let world = World::new().await;
    let tables = tables(&mut raw(&world).await).await;
    macro_rules! same {
        ($table:literal, $column:literal, $values:ty) => {
            let (_, sql) = tables.iter().find(|(name, _)| name == $table).unwrap();
            let words: BTreeSet<&str> = <$values>::ALL.iter().map(|value| value.as_str()).collect();
            assert_eq!(allowed(sql, $column), words, "{}.{}", $table, $column);
            assert_eq!(words.len(), <$values>::ALL.len());
        };
    }
    same!("slots", "origin", Origin);
    same!("slots", "state", SlotState);
    same!("runs", "state", RunState);
    same!("runs", "outcome", Outcome);
    same!("jobs", "kind", Kind);
    same!("jobs", "state", JobState);
    same!("attempts", "state", AttemptState);
    same!("snapshots", "kind", Kind);
    same!("snapshots", "state", SnapshotState);
    same!("removals", "state", RemovalState);
    same!("removal_parts", "role", Role);
    same!("removal_parts", "state", PartState);
    same!("events", "severity", Severity);
    same!("approvals", "state", ApprovalState);
    same!("alarms", "severity", Severity);
    same!("alarm_edges", "edge", xensnap::domain::alarm::Edge);
    same!("alarm_messages", "form", AlarmForm);
    same!("alarm_deliveries", "state", DeliveryState);
}

#[tokio::test]
async fn every_table_is_strict() {
    let world = World::new().await;
    let tables = tables(&mut raw(&world).await).await;
    assert!(tables.len() >= 15, "{}", tables.len());
    for (name, sql) in tables {
        assert!(sql.rsplit_once(')').unwrap().1.contains("STRICT"), "{name} is not strict");
    }
}

/// Without an index on the referring column, deleting a row looks through the whole other table.
#[tokio::test]
async fn every_foreign_key_has_an_index_to_be_checked_by() {
    let world = World::new().await;
    let mut connection = raw(&world).await;
    for (table, _) in tables(&mut connection).await {
        let keys = sqlx::query("SELECT \"from\" FROM pragma_foreign_key_list($1)")
            .bind(&table)
            .fetch_all(&mut connection)
            .await
            .unwrap();
        for key in keys {
            let column: String = key.get(0);
            let first =
                "SELECT count(*) FROM pragma_index_list($1) l JOIN pragma_index_info(l.name) i ON i.seqno = 0 WHERE i.name = $2";
            let indexes: i64 = sqlx::query_scalar(first).bind(&table).bind(&column).fetch_one(&mut connection).await.unwrap();
            let rowid = "SELECT count(*) FROM pragma_table_info($1) WHERE name = $2 AND pk = 1";
            let primary: i64 = sqlx::query_scalar(rowid).bind(&table).bind(&column).fetch_one(&mut connection).await.unwrap();
            // Policies and pools are never deleted, so nothing has to be looked for when they would be.
            let parents = ["policy_id", "pool_id"];
            assert!(indexes + primary > 0 || parents.contains(&column.as_str()), "{table}.{column} has no index");
        }
    }
}

#[tokio::test]
async fn what_the_schema_forbids_is_refused_even_past_the_program() {
    let world = World::new().await;
    let job = world.job("nightly", hour(0), 1).await;
    world.intent(&job).await;
    let mut connection = raw(&world).await;
    for sql in [
        "INSERT INTO slots SELECT 99, policy_id, pool_id, due_at, origin, state, reason, detail, decided_at FROM slots",
        "UPDATE slots SET state = 'perhaps'",
        "UPDATE slots SET due_at = 'yesterday'",
        "INSERT INTO attempts (job_id, number, nonce, state, intent_at) SELECT job_id, 2, 'other', 'intent', 0 FROM attempts",
        "UPDATE runs SET state = 'done'",
        "DELETE FROM runs",
        "INSERT INTO installation SELECT 2, database_uuid, installation, created_at, generation, 0, NULL, NULL FROM installation",
    ] {
        let refused = sqlx::query(sql).execute(&mut connection).await;
        assert!(refused.is_err(), "{sql}");
    }
}
