//! The client against small hosts on loopback: sessions, masters, wires, certificates, tasks, the inventory and transfers.
#![allow(clippy::unwrap_used, reason = "a test says what failed by panicking")]

mod fake;
mod feed;
mod inventories;
mod masters;
mod sessions;
mod tasks;
mod tls;
mod transfers;
mod wires;

use std::sync::Arc;
use std::time::Duration;

use fake::Host;
use xensnap::clock::{SharedClock, SystemClock};
use xensnap::xenapi::failure::Kind;
use xensnap::xenapi::settings::{Backoff, Settings};
use xensnap::xenapi::{Call, CallError, Pool};

/// When a hand-moved clock starts.
const START: chrono::DateTime<chrono::Utc> = chrono::DateTime::UNIX_EPOCH;

/// The password every host takes.
const PASSWORD: &str = "secret";

fn clock() -> SharedClock {
    Arc::new(SystemClock::new())
}

/// Settings that reach `host` and wait a little for it.
fn settings(host: &Host) -> Settings {
    let mut settings = Settings::new("lab", host.address().parse().unwrap(), "root", PASSWORD.into());
    settings.originator = "xensnap|test".to_owned();
    settings.backoff = Backoff { first: Duration::from_millis(5), longest: Duration::from_millis(50) };
    settings.patience = Duration::from_secs(10);
    settings
}

fn open(settings: Settings) -> Pool {
    Pool::open(settings, clock()).unwrap()
}

/// A pool with one host that answers `VM.snapshot` and `VM.get_all`.
async fn pool() -> (Arc<Host>, Pool) {
    let host = Host::start().await;
    let pool = open(settings(&host));
    (host, pool)
}

fn read() -> Call<Vec<String>> {
    Call::read("VM.get_all")
}

fn snapshot() -> Call<String> {
    Call::mutating("VM.snapshot").with(xensnap::xenapi::wire::Param::Str("OpaqueRef:vm".into()))
}

fn kind<T: std::fmt::Debug>(result: Result<T, CallError>) -> Kind {
    result.unwrap_err().kind()
}

/// Waits for `condition`, and fails after ten seconds.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}
