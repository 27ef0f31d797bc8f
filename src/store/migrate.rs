//! The schema's versions. A file is looked at before it is touched, copied before it is changed, and changed one version at a time,
//! each in a transaction of its own.

use std::path::Path;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType};

use super::error::{Error, Fault, Result};
use super::sqlite::{APPLICATION_ID, Connection};

/// Where sqlx keeps which versions were applied.
const TABLE: &str = "_sqlx_migrations";

/// Every version, oldest first. Released ones are never edited.
const STEPS: &[(i64, &str, &str)] = &[
    (1, "slots", include_str!("../../migrations/0001_slots.sql")),
    (2, "runs", include_str!("../../migrations/0002_runs.sql")),
    (3, "snapshots", include_str!("../../migrations/0003_snapshots.sql")),
    (4, "events", include_str!("../../migrations/0004_events.sql")),
    (5, "alarms", include_str!("../../migrations/0005_alarms.sql")),
];

/// The newest schema this program knows.
pub(super) fn newest() -> i64 {
    STEPS.iter().map(|(version, _, _)| *version).max().unwrap_or_default()
}

/// What kind of file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// No tables yet.
    Empty,
    /// A history of this version.
    History(i64),
}

/// Reads what the file is, and refuses what must not be touched: other programs' databases and newer schemas.
pub(super) async fn look(connection: &mut Connection, path: &Path) -> Result<Found, Fault> {
    let application: i64 = sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut *connection).await?;
    let tables = "SELECT count(*) FROM sqlite_schema WHERE name <> '_sqlx_migrations' AND name NOT LIKE 'sqlite_%'";
    let tables: i64 = sqlx::query_scalar(tables).fetch_one(&mut *connection).await?;
    match (application, tables) {
        (APPLICATION_ID, _) => {}
        (0, 0) => return Ok(Found::Empty),
        _ => return Err(Error::NotOurs { path: path.to_owned() }.into()),
    }
    let version: i64 = sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations").fetch_one(connection).await?;
    if version > newest() {
        return Err(Error::NewerSchema { path: path.to_owned(), found: version, known: newest() }.into());
    }
    Ok(Found::History(version))
}

/// Brings the schema to the newest version. Killed in between, the next start goes on from the last version that was reached.
pub(super) async fn run(connection: &mut Connection, path: &Path) -> Result<(), Fault> {
    connection.ensure_migrations_table(TABLE).await.map_err(fault)?;
    let applied = connection.list_applied_migrations(TABLE).await.map_err(fault)?;
    for &(version, name, sql) in STEPS {
        let step = Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false);
        match applied.iter().find(|applied| applied.version == version) {
            Some(applied) if applied.checksum == step.checksum => {}
            Some(_) => return Err(Error::ForeignMigration { path: path.to_owned(), version }.into()),
            None => drop(connection.apply(TABLE, &step).await.map_err(fault)?),
        }
    }
    Ok(())
}

fn fault(error: MigrateError) -> Fault {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        other => sqlx::Error::Migrate(Box::new(other)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_in_migrations_is_a_step_and_the_numbers_have_no_gap() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let mut files: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        let steps: Vec<String> = STEPS.iter().map(|(version, name, _)| format!("{version:04}_{name}.sql")).collect();
        assert_eq!(files, steps);
        assert!(STEPS.iter().zip(1..).all(|((version, _, _), expected)| *version == expected));
    }
}
