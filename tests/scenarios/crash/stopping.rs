//! SIGTERM while something is in flight: it comes to a safe point within its bound, and the next start goes on.

use std::time::Duration;

use xensnap::simulator::storage::timings::Timings;
use xensnap::store::{EventFilter, Page};

use super::bench::Bench;
use super::life::{Life, play};

/// What the service was given to come to a safe point, and for its parts to end.
const BOUND: Duration = Duration::from_secs(60 + 10 + 1);

fn slow(seconds: u64) -> Timings {
    let mut timings = Timings::default();
    for operation in ["VDI.snapshot", "VDI.destroy"] {
        timings.set(operation, Duration::from_secs(seconds));
    }
    timings
}

#[test]
fn a_service_told_to_stop_ends_what_is_in_flight_and_the_next_start_does_the_rest() {
    play(async |life: Life| {
        let mut bench = Bench::with(life, slow(10)).await;
        for seconds in [1, 6, 25, 45, 70, 100] {
            bench.before_slot().await;
            bench.lab.clock.advance(Duration::from_secs(seconds)).await;
            let sessions = bench.lab.count("session");
            let took = bench.life.stop(&bench.lab).await;
            assert!(took <= BOUND, "{seconds}: {took:?}");
            assert_eq!((sessions, bench.lab.count("session")), (1, 0), "it logged out");
            bench.life.start(&bench.lab).await;
            bench.pass_hour().await;
        }
    });
}

/// Calls that take longer than the grace are left to the server, and found again.
#[test]
fn a_service_told_to_stop_does_not_wait_longer_than_its_grace() {
    play(async |life: Life| {
        let mut bench = Bench::with(life, slow(150)).await;
        for seconds in [10, 650] {
            bench.before_slot().await;
            bench.lab.clock.advance(Duration::from_secs(seconds)).await;
            let took = bench.life.stop(&bench.lab).await;
            assert!(took <= BOUND, "{seconds}: {took:?}");
            let store = bench.history().await;
            let alarms = EventFilter { kind: Some("unresolved".into()), ..EventFilter::default() };
            assert_eq!(store.events(alarms, Page::first(5)).await.unwrap().rows, [], "stopping is no doubt");
            store.close().await.unwrap();
            bench.life.start(&bench.lab).await;
            bench.pass_hour().await;
        }
    });
}
