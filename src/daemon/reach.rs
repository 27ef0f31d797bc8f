//! How each pool is reached, and since when: what its keeper knows, for whoever asks.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// How a pool stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It is being reached for the first time.
    Connecting,
    /// It was never reached, or is not any more.
    Unreachable,
    /// History and pool are being compared; nothing is removed until then.
    Comparing,
    /// Another daemon of the installation works with it.
    StandingBy,
    /// It is worked with.
    Connected,
    /// Nobody knows: no service runs.
    Unknown,
}

/// How one pool stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reach {
    pub(super) phase: Phase,
    pub(super) since: DateTime<Utc>,
    /// What is in the way.
    pub(super) problem: Option<String>,
}

/// How all pools stand. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Reaches(watch::Sender<BTreeMap<String, Reach>>);

impl Reaches {
    /// A pool stands so from now on, unless it did before.
    pub(super) fn set(&self, pool: &str, phase: Phase, problem: Option<String>, now: DateTime<Utc>) {
        self.0.send_if_modified(|all| {
            let since = all.get(pool).filter(|known| known.phase == phase).map_or(now, |known| known.since);
            let reach = Reach { phase, since, problem };
            all.insert(pool.to_owned(), reach.clone()) != Some(reach)
        });
    }

    /// Whether another daemon works with the pool.
    pub(super) fn is_standing_by(&self, pool: &str) -> bool {
        self.of(pool).is_some_and(|reach| reach.phase == Phase::StandingBy)
    }

    pub(super) fn of(&self, pool: &str) -> Option<Reach> {
        self.0.borrow().get(pool).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_when_stays_as_long_as_the_pool_stands_so_whatever_is_in_the_way() {
        let at = |second: i64| DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(second);
        let reaches = Reaches::default();
        reaches.set("lab", Phase::Unreachable, Some("no route".into()), at(1));
        reaches.set("lab", Phase::Unreachable, Some("wrong password".into()), at(2));
        assert_eq!(
            reaches.of("lab").unwrap(),
            Reach { phase: Phase::Unreachable, since: at(1), problem: Some("wrong password".into()) }
        );
        reaches.set("lab", Phase::Connected, None, at(3));
        assert_eq!(reaches.of("lab").unwrap().since, at(3));
        assert_eq!(reaches.of("other"), None);
    }
}
