//! A claim as it stands in the pool: the key has the installation and the number, the value says who, where and for how long. Other
//! installations have keys of their own, because what they do is none of our business.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::id::InstallationId;

/// What all keys begin with.
const PREFIX: &str = "xensnap-lease-";

/// No claim is longer; a longer value is somebody else's doing.
const LONGEST: usize = 1024;

/// A number from here on is no claim: nobody comes so far, and somebody who wrote it by hand does not keep everybody out.
const HIGHEST: u64 = 1 << 53;

/// A term that somebody else says is believed up to this.
const LONGEST_TERM: Duration = Duration::from_secs(24 * 3600);

/// The key of an installation's claim.
pub fn key(installation: &InstallationId, epoch: u64) -> String {
    format!("{PREFIX}{installation}-{epoch}")
}

/// The number of a key, if it is one of this installation's.
pub fn epoch_of(installation: &InstallationId, key: &str) -> Option<u64> {
    let (name, number) = key.strip_prefix(PREFIX)?.rsplit_once('-')?;
    let plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    if name == installation.as_str() && plain { number.parse().ok().filter(|number| *number < HIGHEST) } else { None }
}

/// What a claim says. JSON on one line, so that a person who reads the pool's `other_config` understands it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// One life of one process.
    pub holder: Uuid,
    /// Where its history lies: this very file on this very machine. Whoever has that file locked knows that an earlier life is over.
    pub home: String,
    /// The machine's name, for people.
    pub host: String,
    /// The process, for people.
    pub pid: u32,
    /// Since when it holds the lease, by its clock, for people.
    pub since: DateTime<Utc>,
    /// Its term, in seconds.
    pub expires: u64,
    /// It has ended in order, and nobody need wait.
    #[serde(default)]
    pub released: bool,
}

impl Claim {
    /// The value.
    pub fn encode(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads a value. Nothing for one that is none: it counts as a living claim of somebody unknown.
    pub fn decode(value: &str) -> Option<Self> {
        if value.len() > LONGEST { None } else { serde_json::from_str(value).ok() }
    }

    /// How long it is good for.
    pub fn term(&self) -> Duration {
        Duration::from_secs(self.expires).min(LONGEST_TERM)
    }

    /// Who that is, for people. What others wrote is shortened and without control characters.
    pub fn who(&self) -> String {
        let host: String = self.host.chars().filter(|c| !c.is_control()).take(64).collect();
        let since = self.since.to_rfc3339_opts(SecondsFormat::Secs, true);
        format!("{host}, process {}, since {since}", self.pid)
    }
}
