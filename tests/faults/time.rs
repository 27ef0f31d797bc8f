//! A server whose own clock is wrong.

use chrono::TimeDelta;
use xensnap::clock::Clock;
use xensnap::simulator::faults::{Action, Moment, Rule};
use xensnap::xenapi::calls;
use xensnap::xenapi::records::Host;
use xensnap::xenapi::types::Ref;

use crate::bench::Bench;

#[tokio::test]
async fn a_server_with_a_wrong_clock_says_the_wrong_time() {
    let bench = Bench::new().await;
    let host: Ref<Host> = Ref::new(&bench.pool.incarnation().unwrap().master);
    bench.fault(Rule::at(Moment::Since(std::time::Duration::ZERO), Action::Skew(TimeDelta::hours(-3))));
    bench.clock.advance(std::time::Duration::from_secs(1)).await;
    let theirs = bench.run(bench.pool.call(calls::host::get_servertime(&host))).await.unwrap().get();
    let behind = bench.clock.now() - theirs;
    assert!((TimeDelta::hours(3) - behind).abs() <= TimeDelta::seconds(2), "{behind}");
    bench.end().await;
}
