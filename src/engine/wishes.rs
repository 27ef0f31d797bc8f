//! What people want of work that goes on: pauses, and runs or VMs whose jobs are to end. They are kept in the history first, so that a
//! restart forgets none, and shown here to whoever works.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tokio::sync::watch;
use uuid::Uuid;

use super::error::Result;
use crate::domain::pause::{self, Pause, Work};
use crate::store::{RunId, Store};

const PAUSED: &str = "pause/";
const CANCELLED: &str = "cancel/";

/// A pause that is over is remembered so long, for slots that were due meanwhile and are found late.
const REMEMBERED: TimeDelta = TimeDelta::days(31);

/// A whole run, or one VM in it.
type Target = (RunId, Option<Uuid>);

/// The wishes of people. One for each service.
#[derive(Debug, Default)]
pub struct Wishes {
    pauses: watch::Sender<Vec<Pause>>,
    cancelled: watch::Sender<HashMap<Target, String>>,
}

impl Wishes {
    /// What the history knows.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn of(store: &Store) -> Result<Self> {
        let pauses = pauses(store).await?;
        let notes = store.kept_under(CANCELLED).await?;
        let cancelled = notes.iter().filter_map(|(name, by)| Some((target(name)?, by.as_str()?.to_owned())));
        Ok(Self { pauses: watch::Sender::new(pauses), cancelled: watch::Sender::new(cancelled.collect()) })
    }

    /// All pauses, those that are over a while ago included.
    pub fn pauses(&self) -> Vec<Pause> {
        self.pauses.borrow().clone()
    }

    /// Pauses, or says otherwise about the pause of the same id.
    ///
    /// # Errors
    /// When the history cannot be written: then nothing is paused.
    pub async fn pause(&self, store: &Store, pause: Pause, now: DateTime<Utc>) -> Result<()> {
        let value = serde_json::to_value(&pause).unwrap_or_default();
        store.keep(&format!("{PAUSED}{}", pause.id), &value, now).await?;
        self.pauses.send_modify(|pauses| {
            pauses.retain(|known| known.id != pause.id);
            pauses.push(pause);
        });
        Ok(())
    }

    /// Forgets pauses that were over long ago.
    ///
    /// # Errors
    /// When the history cannot be written.
    pub async fn forget(&self, store: &Store, now: DateTime<Utc>) -> Result<()> {
        let is_over = |pause: &Pause| pause.until.is_some_and(|until| until + REMEMBERED < now);
        for pause in self.pauses().into_iter().filter(is_over) {
            store.drop_note(&format!("{PAUSED}{}", pause.id)).await?;
            self.pauses.send_modify(|pauses| pauses.retain(|known| known.id != pause.id));
        }
        Ok(())
    }

    /// Why a job may not begin now, if it may not.
    pub fn paused(&self, work: &Work<'_>, now: DateTime<Utc>) -> Option<String> {
        pause::of_work(&self.pauses.borrow(), work, now).map(Pause::to_string)
    }

    /// Lets a run, or one VM in it, come to an end before it is done.
    ///
    /// # Errors
    /// When the history cannot be written: then it goes on.
    pub async fn cancel(&self, store: &Store, run: RunId, vm: Option<Uuid>, by: &str, now: DateTime<Utc>) -> Result<()> {
        store.keep(&note((run, vm)), &json!(by), now).await?;
        self.cancelled.send_modify(|cancelled| drop(cancelled.insert((run, vm), by.to_owned())));
        Ok(())
    }

    /// Who wants that this VM's job in this run ends.
    pub fn cancelled(&self, run: RunId, vm: Uuid) -> Option<String> {
        let cancelled = self.cancelled.borrow();
        cancelled.get(&(run, None)).or_else(|| cancelled.get(&(run, Some(vm)))).cloned()
    }

    /// Waits until somebody wants that.
    pub async fn cancellation(&self, run: RunId, vm: Uuid) {
        let mut cancelled = self.cancelled.subscribe();
        let wanted = |all: &HashMap<Target, String>| all.contains_key(&(run, None)) || all.contains_key(&(run, Some(vm)));
        if cancelled.wait_for(wanted).await.is_err() {
            // Nobody can want anything any more.
            std::future::pending::<()>().await;
        }
    }

    /// The run has ended, and nobody wants anything of it any more.
    ///
    /// # Errors
    /// When the history cannot be written.
    pub async fn settled(&self, store: &Store, run: RunId) -> Result<()> {
        let mine: Vec<Target> = self.cancelled.borrow().keys().filter(|(of, _)| *of == run).copied().collect();
        for target in mine {
            store.drop_note(&note(target)).await?;
            self.cancelled.send_modify(|cancelled| drop(cancelled.remove(&target)));
        }
        Ok(())
    }
}

/// The pauses that the history knows, for whoever only reads it.
///
/// # Errors
/// When it cannot be read.
pub async fn pauses(store: &Store) -> Result<Vec<Pause>> {
    let notes = store.kept_under(PAUSED).await?;
    Ok(notes.into_iter().filter_map(|(_, value)| serde_json::from_value::<Pause>(value).ok()).collect())
}

fn note((run, vm): Target) -> String {
    match vm {
        Some(vm) => format!("{CANCELLED}{run}/{vm}"),
        None => format!("{CANCELLED}{run}"),
    }
}

fn target(note: &str) -> Option<Target> {
    let name = note.strip_prefix(CANCELLED)?;
    match name.split_once('/') {
        Some((run, vm)) => Some((run.parse().ok()?, Some(vm.parse().ok()?))),
        None => Some((name.parse().ok()?, None)),
    }
}
