//! What all verbs that read have in common: which history, and how it is shown.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use clap::Args as ClapArgs;

use super::view::{Screen, Times};
use crate::clock::{Clock as _, SystemClock};
use crate::domain::policy::Policy;
use crate::store::{Options, Store};

/// Which history is read, and how it is shown.
#[derive(Debug, ClapArgs)]
pub(super) struct Reading {
    /// The history's file
    #[arg(long, value_name = "FILE")]
    database: PathBuf,
    /// Show times in UTC and not in this machine's time zone
    #[arg(long)]
    utc: bool,
    /// Print one JSON object for programs (docs/JSON.md); its times are always in UTC
    #[arg(long)]
    json: bool,
    /// Take this for the present time
    #[arg(long, value_name = "TIME", hide = true)]
    now: Option<DateTime<Utc>>,
    /// Take the terminal to be so wide
    #[arg(long, value_name = "COLUMNS", hide = true)]
    width: Option<u16>,
}

impl Reading {
    /// Opens the history for reading. A daemon may work with it meanwhile.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub(super) async fn store(&self) -> anyhow::Result<Store> {
        let path = &self.database;
        if !exists(path)? {
            bail!("no history at {}; has the daemon run yet? --database names another file", path.display());
        }
        Ok(Store::open_read_only(path, &Options::default()).await?)
    }

    /// The policies, if a configuration is read.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub(super) fn policies(&self) -> anyhow::Result<Option<Vec<Policy>>> {
        Ok(None)
    }

    /// The time it is, and how times are shown.
    pub(super) fn times(&self) -> Times {
        Times::new(self.now.unwrap_or_else(|| SystemClock::new().now()), self.utc)
    }

    /// What is printed on.
    pub(super) fn screen(&self) -> Screen {
        Screen::of_output(self.width)
    }

    /// True if programs read it.
    pub(super) fn json(&self) -> bool {
        self.json
    }
}

fn exists(path: &Path) -> anyhow::Result<bool> {
    path.try_exists()
        .with_context(|| format!("cannot look for the history at {}; run as the service's user or as root", path.display()))
}
