//! The one row about the database itself: whose it is, how many commits it has seen, whether it was restored.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Store;
use super::columns::{Columns, at, key, whole};
use super::error::{Fault, Result};
use super::lineage::{self, Lineage, Noted, Stated};
use super::sqlite::{self, Connection, Row};
use super::{events, removals};

/// What the database says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// Names this line of history.
    pub database: Uuid,
    /// The configured installation that used it last.
    pub installation: Option<String>,
    /// When it was begun.
    pub created_at: DateTime<Utc>,
    /// Commits so far.
    pub generation: u64,
    /// Set while history has to be compared with the pools, because an older copy was restored.
    pub restored_at: Option<DateTime<Utc>>,
}

impl Store {
    /// What the database says about itself.
    pub async fn installation(&self) -> Result<Installation> {
        self.read("read about the history itself", |c| {
            Box::pin(async move {
                let row = sqlx::query("SELECT * FROM installation").fetch_one(c).await?;
                Ok(Installation {
                    database: row.uuid("database_uuid")?,
                    installation: row.maybe_text("installation")?,
                    created_at: row.time("created_at")?,
                    generation: row.count("generation")?,
                    restored_at: row.maybe_time("restored_at")?,
                })
            })
        })
        .await
    }

    /// Remembers whose history this is, and returns whose it was before if that was another's. Idempotent.
    ///
    /// The configuration decides who we are; another value here means that the history of another installation was put in place.
    pub async fn belong_to(&self, installation: &str) -> Result<Option<String>> {
        let ours = whole("the installation's id", installation)?.to_owned();
        self.write("write down whose history it is", move |c| {
            Box::pin(async move {
                let before: Option<String> =
                    sqlx::query_scalar("SELECT installation FROM installation").fetch_one(&mut *c).await?;
                sqlx::query("UPDATE installation SET installation = $1").bind(&ours).execute(c).await?;
                Ok(before.filter(|before| *before != ours))
            })
        })
        .await
    }

    /// History has been compared with the pools: what it says counts again. Idempotent.
    pub async fn restore_settled(&self) -> Result<()> {
        self.write("write down that history agrees with the pools", |c| {
            Box::pin(async move {
                sqlx::query("UPDATE installation SET restored_at = NULL").execute(c).await?;
                Ok(())
            })
        })
        .await
    }
}

/// What [`enter`] found and wrote.
pub(super) struct Entered {
    pub(super) lineage: Lineage,
    pub(super) generation: u64,
    pub(super) database: Uuid,
    pub(super) restored: bool,
}

/// Compares the database with its sidecar's note, and draws the consequences in the same transaction. `file_is_whole`: the log was
/// folded into the file just now.
pub(super) async fn enter(
    c: &mut Connection,
    noted: Option<Noted>,
    file_is_whole: bool,
    now: DateTime<Utc>,
) -> Result<Entered, Fault> {
    sqlite::begin(c).await?;
    let row = sqlx::query("SELECT * FROM installation").fetch_optional(&mut *c).await?;
    let stated = row.as_ref().map(|row| {
        Ok::<_, Fault>(Stated {
            generation: row.count("generation")?,
            database: row.uuid("database_uuid")?,
            is_copy: row.maybe_time("copied_at")?.is_some(),
        })
    });
    let stated = stated.transpose()?;
    let pending = row.as_ref().map(|row| row.maybe_time("restored_at")).transpose()?.flatten().is_some();
    let lineage = lineage::compare(noted, stated);
    let database = stated.map_or_else(Uuid::new_v4, |stated| stated.database);
    let seen = noted.map_or(0, |noted| noted.generation).max(stated.map_or(0, |stated| stated.generation));
    let entered = Entered { lineage, generation: seen + 1, database, restored: pending || lineage.is_suspect() };
    let whole = stated.filter(|_| file_is_whole).map_or(0, |stated| stated.generation);
    write(c, &entered, whole, now).await?;
    if lineage.is_suspect() {
        removals::drop_queue(c, "an older copy of the history was restored", now).await?;
        events::insert(c, &events::NewEvent::restored(lineage, now)).await?;
    }
    sqlx::query("COMMIT").execute(c).await?;
    Ok(entered)
}

/// Whose the file is and how far it has come; `None` if it does not say.
pub(super) async fn standing(c: &mut Connection) -> Result<Option<Standing>, Fault> {
    let row = sqlx::query("SELECT * FROM installation").fetch_optional(c).await?;
    let read = |row: Row| {
        Ok(Standing {
            database: row.uuid("database_uuid")?,
            generation: row.int("generation")?,
            checkpointed: row.int("checkpointed")?,
        })
    };
    row.map(read).transpose()
}

/// See [`standing`].
pub(super) struct Standing {
    pub(super) database: Uuid,
    pub(super) generation: i64,
    pub(super) checkpointed: i64,
}

async fn write(c: &mut Connection, entered: &Entered, whole: u64, now: DateTime<Utc>) -> Result<(), Fault> {
    let number = |generation: u64| i64::try_from(generation).unwrap_or(i64::MAX);
    sqlx::query(
        "INSERT INTO installation (only_row, database_uuid, created_at, generation, checkpointed, restored_at)
         VALUES (1, $1, $2, $3, $5, $4)
         ON CONFLICT (only_row) DO UPDATE SET generation = excluded.generation, copied_at = NULL,
             checkpointed = CASE WHEN installation.checkpointed < $5 THEN $5 ELSE installation.checkpointed END,
             restored_at = coalesce(excluded.restored_at, installation.restored_at)",
    )
    .bind(key(entered.database))
    .bind(at(now))
    .bind(number(entered.generation))
    .bind(entered.lineage.is_suspect().then_some(at(now)))
    .bind(number(whole))
    .execute(c)
    .await?;
    Ok(())
}
