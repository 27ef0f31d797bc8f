//! Servers that stop, die, or hand their office to another host, by order of the plan.

use std::time::Duration;

use xensnap::simulator::faults::{Action, Moment, Order, Rule, When};
use xensnap::xenapi::calls;
use xensnap::xenapi::failure::Kind;
use xensnap::xenapi::records::Vm;
use xensnap::xenapi::types::Ref;

use crate::bench::{Bench, kind};

fn server(order: Order, when: When) -> Action {
    Action::Server { order, when, delay: Duration::ZERO }
}

impl Bench {
    async fn snapshot(&self, name: &str) -> Ref<Vm> {
        let vm = self.vm().await;
        self.run(self.pool.call(calls::vm::snapshot(&vm, name))).await.unwrap()
    }

    async fn has(&self, vm: &Ref<Vm>) -> bool {
        self.run(self.pool.call(calls::all::<Vm>())).await.unwrap().contains_key(vm)
    }
}

#[tokio::test]
async fn a_stopped_server_comes_back_with_everything_and_the_client_waits_for_it() {
    let bench = Bench::new().await;
    let taken = bench.snapshot("written out").await;
    let before = bench.pool.incarnation().unwrap();
    let down = Some(Duration::from_secs(120));
    bench.fault(Rule::on("pool.get_all", server(Order::Stop { down }, When::Before)).times(1));
    bench.run(bench.pool.call::<Vec<String>>(xensnap::xenapi::Call::read("pool.get_all"))).await.unwrap();
    assert!(bench.has(&taken).await);
    let now = bench.pool.incarnation().unwrap();
    assert!(now.number > before.number && !now.is_same_server(&before), "{now:?}");
    bench.end().await;
}

#[tokio::test]
async fn a_killed_server_forgets_what_was_not_written_out() {
    let bench = Bench::new().await;
    let kept = bench.snapshot("synchronised").await;
    bench.run(bench.pool.call(calls::pool::sync_database())).await.unwrap();
    let lost = bench.snapshot("acknowledged only").await;
    let down = Some(Duration::from_secs(20));
    bench.fault(Rule::at(Moment::Since(Duration::from_secs(1)), server(Order::Kill { down }, When::Before)));
    bench.clock.advance(Duration::from_secs(30)).await;
    assert_eq!(bench.struck(), 1);
    assert!(bench.has(&kept).await);
    assert!(!bench.has(&lost).await);
    bench.end().await;
}

#[tokio::test]
async fn a_server_killed_in_the_middle_of_a_mutating_call_leaves_it_ambiguous() {
    let bench = Bench::new().await;
    let vm = bench.vm().await;
    let down = Some(Duration::from_secs(20));
    bench.fault(Rule::on("VM.snapshot", server(Order::Kill { down }, When::After)).times(1));
    let taken = bench.run(bench.pool.call(calls::vm::snapshot(&vm, "who knows"))).await;
    assert_eq!(kind(taken), Kind::Ambiguous);
    assert!(bench.report().effects[0].effect.contains("succeeded"), "it was done, and the client cannot know");
    bench.run(bench.pool.connected()).await.unwrap();
    bench.end().await;
}

#[tokio::test]
async fn a_server_that_stays_down_is_given_up_with_the_last_reason() {
    let bench = Bench::new().await;
    bench.fault(Rule::on("pool.get_all", server(Order::Kill { down: None }, When::Before)));
    let error = bench.run(bench.pool.call::<Vec<String>>(xensnap::xenapi::Call::read("pool.get_all"))).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Transient);
    assert!(error.to_string().contains("not reachable for"), "{error}");
    bench.end().await;
}

#[tokio::test]
async fn a_planned_change_of_master_is_followed_and_loses_nothing() {
    let bench = Bench::new().await;
    let taken = bench.snapshot("handed over").await;
    let before = bench.pool.incarnation().unwrap();
    let order = Order::Promote { host: None, emergency: false };
    bench.fault(Rule::at(Moment::Since(Duration::ZERO), server(order, When::Before)));
    bench.clock.advance(Duration::from_secs(1)).await;
    assert!(bench.has(&taken).await);
    let now = bench.pool.incarnation().unwrap();
    assert_ne!(now.master, before.master);
    assert_ne!(now.address, before.address);
    bench.end().await;
}

#[tokio::test]
async fn an_emergency_brings_back_an_older_database_and_the_inventory_shows_it() {
    let bench = Bench::new().await;
    let inventory = bench.inventory().await;
    let kept = bench.snapshot("with the members").await;
    bench.run(bench.pool.call(calls::pool::sync_database())).await.unwrap();
    let lost = bench.snapshot("with the dead master").await;
    bench
        .until(&inventory, "both", |inventory| inventory.read().get(&kept).is_some() && inventory.read().get(&lost).is_some())
        .await;
    let before = bench.pool.incarnation().unwrap();
    let order = Order::Promote { host: None, emergency: true };
    bench.fault(Rule::at(Moment::Since(Duration::ZERO), server(order, When::Before)));
    bench.clock.advance(Duration::from_secs(1)).await;
    bench.until(&inventory, "yesterday", |inventory| inventory.read().get(&lost).is_none()).await;
    assert!(inventory.read().get(&kept).is_some());
    assert_ne!(bench.pool.incarnation().unwrap().master, before.master);
    bench.end().await;
}
