//! Everything the client is told about one pool. Values are checked before they get here; nothing here knows how they are written
//! in a file.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;

use super::trust::Trust;
use super::wire::{Limits, Wire};
use crate::domain::address::Address;

/// How to reach one pool and as whom.
///
/// `Debug` shows no password: [`SecretString`] hides it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What people call the pool; it appears in messages.
    pub name: String,
    /// Hosts of the pool, at least one, in the order in which they are tried.
    pub addresses: Vec<Address>,
    /// Who logs in.
    pub username: String,
    /// The password. It travels unencrypted only to addresses whose scheme is HTTP.
    pub password: SecretString,
    /// Which certificates are accepted.
    pub trust: Trust,
    /// The wire to use; `None` finds out.
    pub wire: Option<Wire>,
    /// The pool that is meant; `None` keeps to the first one found.
    pub pool_uuid: Option<String>,
    /// What sessions are called at the server, constant for one installation (`xensnap|<installation id>`): the server's cap on
    /// sessions counts by it.
    pub originator: String,
    /// Addresses of members known from earlier, see [`super::Pool::known_members`].
    pub members: Vec<Address>,
    /// Addresses the hosts have among themselves, mapped to those they have from here (NAT).
    pub address_map: BTreeMap<String, Address>,
    /// How long a call waits for a pool that is away, unless it says otherwise.
    pub patience: Duration,
    /// How long a call for events waits at the server for something to happen, in time of the clock.
    pub poll: Duration,
    /// Bounds on real input and output.
    pub timeouts: Timeouts,
    /// Bounds on what a server may make us read.
    pub limits: Limits,
    /// How attempts at a pool that is away are spaced.
    pub backoff: Backoff,
}

impl Settings {
    /// Settings with defaults for all that has one.
    pub fn new(name: &str, address: Address, username: &str, password: SecretString) -> Self {
        Self {
            name: name.to_owned(),
            addresses: vec![address],
            username: username.to_owned(),
            password,
            trust: Trust::default(),
            wire: None,
            pool_uuid: None,
            originator: "xensnap".to_owned(),
            members: Vec::new(),
            address_map: BTreeMap::new(),
            patience: Duration::from_secs(300),
            poll: Duration::from_secs(30),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            backoff: Backoff::default(),
        }
    }
}

/// Bounds in real time. They only end real hangs and are generous; deadlines of the work come from the clock.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Name resolution, TCP and TLS. More than the 10 s after which a plain HTTP port gives up on a TLS greeting and so betrays itself.
    pub connect: Duration,
    /// Until a login is answered (old releases sleep, external authentication may start for two minutes).
    pub login: Duration,
    /// Until an answer begins, for calls that cannot block.
    pub answer: Duration,
    /// Until an answer begins, for calls that the server may hold back behind a lock (it waits up to two hours).
    pub blocking: Duration,
    /// Between two pieces of an answer, or of an upload.
    pub idle: Duration,
    /// From the first to the last byte of an answer to a call.
    pub whole: Duration,
    /// Until a stream begins, and between two pieces of it: the server may read empty blocks, or wait for a lock, without a word.
    pub stream: Duration,
    /// All of a logout.
    pub logout: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            login: Duration::from_secs(150),
            answer: Duration::from_secs(120),
            blocking: Duration::from_secs(2 * 3600 + 600),
            idle: Duration::from_secs(60),
            whole: Duration::from_secs(1800),
            stream: Duration::from_secs(900),
            logout: Duration::from_secs(10),
        }
    }
}

/// Spacing of repeated attempts, in time of the clock.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// Never longer than this.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), longest: Duration::from_secs(30) }
    }
}

impl Backoff {
    /// The pause after `failures` failures in a row: doubled each time, and drawn from its upper half so that clients part company.
    pub fn pause(&self, failures: u32) -> Duration {
        let doubled = self.first.saturating_mul(1 << failures.saturating_sub(1).min(16));
        doubled.min(self.longest).mul_f64(rand::random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_does_not_contain_the_password() {
        let settings = Settings::new("lab", "xen1".parse().unwrap(), "root", "hunter2".into());
        let shown = format!("{settings:?} {settings:#?}");
        assert!(shown.contains("root") && !shown.contains("hunter2"));
    }

    #[test]
    fn pauses_grow_and_stay_within_their_bounds() {
        let backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(30) };
        for (failures, shortest, longest) in [(1, 0.5, 1.0), (2, 1.0, 2.0), (4, 4.0, 8.0), (6, 15.0, 30.0), (500, 15.0, 30.0)] {
            let pause = backoff.pause(failures).as_secs_f64();
            assert!((shortest..=longest).contains(&pause), "{failures}: {pause}");
        }
    }
}
