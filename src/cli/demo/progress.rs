//! What passes before the reader's eyes: a bar that moves with the nights, and a line for everything out of the ordinary. Where nobody
//! looks at a terminal, a line for each night.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;

use chrono::{DateTime, Utc};
use indicatif::{ProgressBar, ProgressStyle};

use super::super::out::say;
use super::is_told;
use crate::clock::{Clock as _, FastClock};
use crate::store::{EventFilter, Page, RunFilter, Store};

/// So many lines of one kind are told; the rest is counted.
const TOLD: usize = 3;

/// The bar and what was told.
pub(super) struct Progress {
    nights: u16,
    store: Store,
    bar: Option<ProgressBar>,
    told_until: DateTime<Utc>,
    kinds: BTreeMap<String, usize>,
}

impl Progress {
    /// Begins at `now`.
    pub(super) fn new(nights: u16, store: Store, now: DateTime<Utc>) -> Self {
        let style =
            ProgressStyle::with_template("{bar:28} night {pos} of {len}  {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = std::io::stdout().is_terminal().then(|| ProgressBar::new(nights.into()).with_style(style));
        Self { nights, store, bar, told_until: now, kinds: BTreeMap::new() }
    }

    /// Tells something.
    pub(super) fn tell(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => say!("{text}"),
        }
    }

    /// Lets time pass until `end`, and tells of it.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub(super) async fn pass(&mut self, clock: &FastClock, end: DateTime<Utc>, pace: f64, night: u16) -> anyhow::Result<()> {
        while clock.now() < end {
            let step = (clock.now() + chrono::TimeDelta::hours(2)).min(end);
            clock.run(step, pace).await;
            self.look(clock.now(), night).await?;
        }
        Ok(())
    }

    async fn look(&mut self, now: DateTime<Utc>, night: u16) -> anyhow::Result<()> {
        let filter = EventFilter { from: Some(self.told_until), ..EventFilter::default() };
        let mut events = self.store.events(filter, Page::first(1000)).await?.rows;
        events.reverse();
        self.told_until = now;
        for event in events.iter().filter(|event| is_told(event.severity) && event.at < now) {
            let seen = self.kinds.entry(event.kind.clone()).or_default();
            *seen += 1;
            if *seen <= TOLD {
                let line = format!("  {}  {}", event.at.format("%m-%d %H:%M"), event.text);
                self.tell(&super::super::view::cut(&line, 160));
            }
        }
        let runs = self.store.runs(RunFilter::default(), Page::first(1000)).await?.rows;
        let (taken, removed): (u64, u64) =
            runs.iter().fold((0, 0), |(taken, removed), run| (taken + run.done, removed + run.removed));
        let state = format!("{}  {taken} taken, {removed} removed", now.format("%Y-%m-%d"));
        match &self.bar {
            Some(bar) => {
                bar.set_position(night.into());
                bar.set_message(state);
                bar.tick();
            }
            None if now.format("%H").to_string() == "12" => say!("night {night} of {}: {state}", self.nights),
            None => {}
        }
        Ok(())
    }

    /// Says how often what was told a few times only came in all.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish();
        }
        let more: Vec<String> = self
            .kinds
            .iter()
            .filter(|(_, count)| **count > TOLD)
            .map(|(kind, count)| format!("{kind} {count} times in all"))
            .collect();
        if !more.is_empty() {
            self.tell(&format!("  ({})", more.join(", ")));
        }
    }
}
