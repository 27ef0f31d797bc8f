//! Small facts with a name and one current value: the highest lease epoch seen, a pause, the state of an alarm. What has rows, or is
//! ever searched by anything but its name, has a table of its own.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::Store;
use super::columns::{Columns, at, json, whole};
use super::error::Result;

impl Store {
    /// Keeps a value under a name, instead of what was there.
    ///
    /// # Errors
    /// [`super::Error::TooLong`] for values over 4 MiB.
    pub async fn keep(&self, name: &str, value: &Value, now: DateTime<Utc>) -> Result<()> {
        let name = whole("a note's name", name)?.to_owned();
        let value = json("a note", value)?;
        self.write("keep a note", move |c| {
            Box::pin(async move {
                let upsert = "INSERT INTO notes (key, value, changed_at) VALUES ($1, $2, $3)
                     ON CONFLICT (key) DO UPDATE SET value = excluded.value, changed_at = excluded.changed_at";
                sqlx::query(upsert).bind(name).bind(value).bind(at(now)).execute(c).await?;
                Ok(())
            })
        })
        .await
    }

    /// What is kept under a name.
    pub async fn kept(&self, name: &str) -> Result<Option<Value>> {
        let name = name.to_owned();
        self.read("read a note", move |c| {
            Box::pin(async move {
                let row = sqlx::query("SELECT value FROM notes WHERE key = $1").bind(name).fetch_optional(c).await?;
                row.map(|row| row.json("value")).transpose()
            })
        })
        .await
    }

    /// Everything kept under names that begin so, by name.
    pub async fn kept_under(&self, prefix: &str) -> Result<Vec<(String, Value)>> {
        let prefix = prefix.to_owned();
        self.read("read notes", move |c| {
            Box::pin(async move {
                let select = "SELECT key, value FROM notes WHERE key >= $1 ORDER BY key";
                let rows = sqlx::query(select).bind(&prefix).fetch_all(c).await?;
                let notes = rows.iter().map(|row| Ok((row.text("key")?, row.json("value")?)));
                let mut notes: Vec<(String, Value)> = notes.collect::<Result<_, super::error::Fault>>()?;
                notes.retain(|(name, _)| name.starts_with(&prefix));
                Ok(notes)
            })
        })
        .await
    }

    /// Forgets a note. Idempotent.
    pub async fn drop_note(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.write("drop a note", move |c| {
            Box::pin(async move {
                sqlx::query("DELETE FROM notes WHERE key = $1").bind(name).execute(c).await?;
                Ok(())
            })
        })
        .await
    }
}
