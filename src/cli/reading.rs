//! What all verbs that read have in common: which history and which policies, and how they are shown.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use clap::Args as ClapArgs;

use super::Exit;
use super::check::{DEFAULT, WRONG_CONFIGURATION};
use super::view::{Screen, Times};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::domain::policy::Policy;
use crate::store::{Options, Store};

/// Which history is read, and how it is shown.
#[derive(Debug, ClapArgs)]
pub(super) struct Reading {
    /// The configuration, which says where the history is and what the policies are [default: /etc/xensnap/xensnap.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// This history instead, such as a copy; what depends on policies is left out unless --config is given too
    #[arg(long, value_name = "FILE")]
    database: Option<PathBuf>,
    /// Show times in UTC
    #[arg(long)]
    utc: bool,
    /// Print one JSON object for programs (docs/JSON.md)
    #[arg(long)]
    json: bool,
    /// Take this for the present time
    #[arg(long, value_name = "TIME", hide = true)]
    now: Option<DateTime<Utc>>,
}

/// What is read.
pub(super) struct Sources {
    database: PathBuf,
    /// The policies of the configuration, if one is read.
    pub(super) policies: Option<Vec<Policy>>,
}

impl Reading {
    /// What is to be read: a history, and the policies of the configuration unless only a history is named.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub(super) fn sources(&self) -> anyhow::Result<Sources> {
        match (&self.config, &self.database) {
            (None, Some(database)) => Ok(Sources { database: database.clone(), policies: None }),
            _ => self.configured(),
        }
    }

    /// The same with the policies in any case.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub(super) fn configured(&self) -> anyhow::Result<Sources> {
        let config = load(self.config.as_deref().unwrap_or(Path::new(DEFAULT)), self.now())?;
        let policies = config.policies.into_iter().map(|checked| checked.policy).collect();
        Ok(Sources { database: self.database.clone().unwrap_or(config.store.path), policies: Some(policies) })
    }

    /// The time it is, and how times are shown.
    pub(super) fn times(&self) -> Times {
        Times::new(self.now(), self.utc)
    }

    fn now(&self) -> DateTime<Utc> {
        self.now.unwrap_or_else(|| SystemClock::new().now())
    }

    /// What is printed on.
    pub(super) fn screen(&self) -> Screen {
        Screen::of_output()
    }

    /// True if times are wanted in UTC.
    pub(super) fn utc(&self) -> bool {
        self.utc
    }

    /// True if programs read it.
    pub(super) fn json(&self) -> bool {
        self.json
    }
}

impl Sources {
    /// Opens the history for reading. A daemon may work with it meanwhile.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub(super) async fn store(&self) -> anyhow::Result<Store> {
        match self.store_if_any().await? {
            Some(store) => Ok(store),
            None => bail!("no history at {}; has the daemon run yet? --database names another file", self.database.display()),
        }
    }

    /// The same; nothing when there is no file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) async fn store_if_any(&self) -> anyhow::Result<Option<Store>> {
        let path = &self.database;
        let there = path.try_exists();
        if !there.with_context(|| format!("cannot look at {}; run as the service's user or as root", path.display()))? {
            return Ok(None);
        }
        Ok(Some(Store::open_read_only(path, &Options::default()).await?))
    }
}

fn load(path: &Path, now: DateTime<Utc>) -> anyhow::Result<Config> {
    Config::load(path, now).map(|loaded| loaded.config).map_err(|problems| {
        let drawn = problems.render(std::io::stderr().is_terminal());
        let text = format!("{} is not usable; --database reads a history without it\n{drawn}", path.display());
        Exit { code: WRONG_CONFIGURATION, text }.into()
    })
}
