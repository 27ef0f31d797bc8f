//! Configuration: from files to values that cannot be wrong.
//!
//! The main file says who this installation is, how the daemon works and which pools there are; policies stand in the files of a
//! folder beside it. Reading happens in two steps: TOML becomes a tree in which everything knows its place, and the tree becomes
//! values through the constructors of the domain. Nothing stops at the first mistake. A [`Config`] exists only if no error was
//! found; what is merely doubtful is a warning beside it. Relative paths count from the folder of the main file.

mod across;
mod alarms;
pub mod changes;
mod cover;
pub mod diagnostics;
mod fields;
mod files;
mod findings;
mod inherit;
mod load;
mod metrics;
mod nesting;
mod password;
mod policy;
pub mod pool;
mod rights;
pub mod schema;
mod settings;
mod source;
mod told;
mod tree;
mod written;

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

pub use alarms::{AlarmsConfig, DeadManConfig, MailConfig, MailTls, PoolMessagesConfig, WebhookConfig};
pub use diagnostics::{Diagnostics, Problem, Severity};
pub use metrics::MetricsConfig;
pub use settings::{DaemonConfig, DaemonLimits, StoreConfig};

use crate::domain::id::InstallationId;
use crate::domain::policy::Policy;

/// A checked configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Who this installation is; it stands in the mark of every snapshot.
    pub installation: InstallationId,
    /// How the daemon works.
    pub daemon: DaemonConfig,
    /// Where the history lies.
    pub store: StoreConfig,
    /// How figures are offered, if they are.
    pub metrics: Option<MetricsConfig>,
    /// Who is told of what goes wrong, if somebody is.
    pub alarms: Option<AlarmsConfig>,
    /// The pools, with unique names and addresses.
    pub pools: Vec<pool::PoolConfig>,
    /// The policies, with unique names and ids, in the order of the files.
    pub policies: Vec<CheckedPolicy>,
}

/// A policy with what the configuration knows of it besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedPolicy {
    /// The policy.
    pub policy: Policy,
    /// The names of the pools it covers; none: all of them.
    pub pools: Vec<String>,
    /// The file it stands in.
    pub file: PathBuf,
    /// The line it begins in.
    pub line: usize,
}

impl CheckedPolicy {
    /// Whether the policy covers the pool of this name.
    pub fn covers(&self, pool: &str) -> bool {
        self.pools.is_empty() || self.pools.iter().any(|name| name == pool)
    }

    /// A policy file with this policy alone: templates resolved, defaults written out. Read again it is the same policy.
    ///
    /// # Errors
    /// When TOML cannot hold it, which is so for no policy that was read.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        written::text(self)
    }
}

/// A configuration that can be used, and what should be looked at all the same.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Doubts, by file and line.
    pub warnings: Diagnostics,
}

impl Config {
    /// Reads the main file and the policy files beside it. `now` only decides warnings: a configuration that is right today is
    /// right tomorrow.
    ///
    /// # Errors
    /// All mistakes in all files.
    pub fn load(path: &Path, now: DateTime<Utc>) -> Result<Loaded, Diagnostics> {
        load::Loading::new(now).files(path)
    }

    /// The same from texts with their names; no file is looked at.
    ///
    /// # Errors
    /// All mistakes in all texts.
    pub fn from_texts(main: (&str, &str), policies: &[(&str, &str)], now: DateTime<Utc>) -> Result<Loaded, Diagnostics> {
        load::Loading::new(now).texts(main, policies)
    }

    /// The pools of the main file alone, for verbs that need nothing else: neither an installation nor policies.
    ///
    /// # Errors
    /// All mistakes in the main file.
    pub fn load_pools(path: &Path, now: DateTime<Utc>) -> Result<Vec<pool::PoolConfig>, Diagnostics> {
        load::Loading::new(now).pools(path)
    }

    /// The control socket that the main file names, whatever else is wrong with it: a service that runs goes on with the files of
    /// before, and is asked there. The default if that cannot be read.
    pub fn socket(path: &Path, now: DateTime<Utc>) -> PathBuf {
        load::Loading::new(now).socket(path)
    }

    /// The policy of this id or name.
    pub fn policy(&self, word: &str) -> Option<&CheckedPolicy> {
        let by_id = self.policies.iter().find(|checked| checked.policy.id.as_str() == word);
        by_id.or_else(|| self.policies.iter().find(|checked| checked.policy.name == word))
    }
}
