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
use crate::config::{CheckedPolicy, Config};
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
    config: Option<Config>,
}

impl Reading {
    /// What is to be read: a history, and the policies of the configuration unless only a history is named.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub(super) fn sources(&self) -> anyhow::Result<Sources> {
        match (&self.config, &self.database) {
            (None, Some(database)) => Ok(Sources { database: database.clone(), config: None }),
            _ => {
                let (config, sources) = self.configured()?;
                Ok(Sources { config: Some(config), ..sources })
            }
        }
    }

    /// The configuration, for what makes no sense without one, and the history that goes with it.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub(super) fn configured(&self) -> anyhow::Result<(Config, Sources)> {
        let config = load(self.config.as_deref().unwrap_or(Path::new(DEFAULT)), self.now())?;
        let database = self.database.clone().unwrap_or_else(|| config.store.path.clone());
        Ok((config, Sources { database, config: None }))
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
    /// The policies, if a configuration is read.
    pub(super) fn policies(&self) -> Option<&[CheckedPolicy]> {
        self.config.as_ref().map(|config| config.policies.as_slice())
    }

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
