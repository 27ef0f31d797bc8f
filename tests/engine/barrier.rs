//! The durability barrier: who joins which synchronisation, and what a success is worth.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use xensnap::clock::{Clock, SharedClock};
use xensnap::engine::barrier::{Barrier, BarrierError, Passed, Settings};
use xensnap::engine::worker::Worker;
use xensnap::simulator::faults::{Action, Trigger, When};
use xensnap::simulator::value::Value;
use xensnap::xenapi::calls;
use xensnap::xenapi::records::Vm;
use xensnap::xenapi::types::Ref;

use crate::lab::Lab;
use crate::simulated;

const SYNC: &str = "pool.sync_database";

impl Lab {
    fn barrier(&self) -> Barrier {
        Barrier::new(self.pool.clone(), Settings::default())
    }

    /// Somebody passes the barrier; answers when, too.
    fn passing(&self, barrier: &Barrier) -> JoinHandle<(Result<Passed, BarrierError>, Duration)> {
        let (barrier, clock): (_, SharedClock) = (barrier.clone(), Arc::new(self.clock.clone()));
        let mut worker = Worker::new(&clock);
        tokio::spawn(async move {
            let passed = worker.wait(barrier.pass()).await;
            (passed, clock.elapsed())
        })
    }

    async fn passes(&self, barrier: &Barrier) -> Result<Passed, BarrierError> {
        let passing = self.passing(barrier);
        self.clock.run(passing).await.unwrap().0
    }

    /// Renames a VM through the client.
    async fn rename(&self, vm: &str, name: &str) {
        self.clock.run(self.pool.call(calls::vm::set_name_label(&Ref::<Vm>::new(vm), name))).await.unwrap();
    }

    fn name(&self, vm: &str) -> String {
        self.server.text("VM", vm, "name_label")
    }
}

fn is<T: std::fmt::Debug>(result: Result<T, BarrierError>, expected: fn(&BarrierError) -> bool) {
    assert!(result.as_ref().is_err_and(expected), "{result:?}");
}

fn restarted(error: &BarrierError) -> bool {
    matches!(error, BarrierError::ServerRestarted)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_survives_a_kill() {
    let mut lab = Lab::new().await;
    let (barrier, vm) = (lab.barrier(), lab.server.halted());
    lab.rename(&vm, "durable").await;
    let before = lab.clock.elapsed();
    assert_eq!(lab.passes(&barrier).await.unwrap(), Passed::Synchronised);
    assert!(lab.clock.elapsed() - before < Duration::from_secs(1), "the first leaves at once");
    lab.rename(&vm, "forgotten").await;
    lab.kill_and_start().await;
    assert_eq!(lab.name(&vm), "durable");
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_who_come_before_it_is_sent_share_one_call() {
    let lab = Lab::new().await;
    let barrier = lab.barrier();
    lab.passes(&barrier).await.unwrap();
    let sent = lab.clock.elapsed();
    let mut passing = Vec::new();
    for _ in 0..20 {
        passing.push(lab.passing(&barrier));
        lab.clock.advance(Duration::from_secs(2)).await;
    }
    lab.clock.advance(Duration::from_secs(60)).await;
    for one in passing {
        let (passed, at) = one.await.unwrap();
        assert_eq!(passed.unwrap(), Passed::Synchronised);
        assert!((59..61).contains(&(at - sent).as_secs()), "at most every minute, but then: {at:?}");
    }
    assert_eq!(lab.calls(SYNC), 2);
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_on_its_way_serves_nobody_who_comes_later() {
    let mut lab = Lab::new().await;
    let (barrier, vm) = (lab.barrier(), lab.server.halted());
    lab.strike(SYNC, Trigger { nth: vec![1], ..Trigger::default() }, Action::Delay(Duration::from_secs(10)));
    let first = lab.passing(&barrier);
    lab.clock.advance(Duration::from_secs(5)).await;
    lab.rename(&vm, "late").await;
    let second = lab.passing(&barrier);
    assert!(lab.clock.run(first).await.unwrap().1 < Duration::from_secs(20));
    lab.clock.advance(Duration::from_secs(20)).await;
    assert!(!second.is_finished());
    assert_eq!(lab.clock.run(second).await.unwrap().0.unwrap(), Passed::Synchronised);
    assert_eq!(lab.calls(SYNC), 2);
    lab.kill_and_start().await;
    assert_eq!(lab.name(&vm), "late");
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_asked_for_again() {
    let lab = Lab::new().await;
    lab.strike(SYNC, Trigger { nth: vec![1], ..Trigger::default() }, Action::Cut(When::After));
    assert_eq!(lab.passes(&lab.barrier()).await.unwrap(), Passed::Synchronised);
    assert_eq!(lab.calls(SYNC), 2);
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_before_the_success_is_told_to_all_who_came_before_it() {
    let mut lab = Lab::new().await;
    let (barrier, vm) = (lab.barrier(), lab.server.halted());
    lab.passes(&barrier).await.unwrap();
    lab.rename(&vm, "forgotten").await;
    let waiting = [lab.passing(&barrier), lab.passing(&barrier)];
    lab.clock.advance(Duration::from_secs(5)).await;
    lab.kill_and_start().await;
    for one in waiting {
        is(lab.clock.run(one).await.unwrap().0, restarted);
    }
    assert_ne!(lab.name(&vm), "forgotten");
    assert_eq!(lab.passes(&barrier).await.unwrap(), Passed::Synchronised, "who comes now asks the new server");
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_of_an_earlier_life_of_the_server_does_not_pass() {
    let mut lab = Lab::new().await;
    let barrier = lab.barrier();
    let since = lab.pool.incarnation().unwrap();
    // So that the new life has another time of its start.
    lab.clock.advance(Duration::from_secs(5)).await;
    lab.kill_and_start().await;
    lab.rename(&lab.server.halted(), "this logs in anew").await;
    is(lab.clock.run(barrier.pass_since(since)).await, restarted);
    assert_eq!(lab.passes(&barrier).await.unwrap(), Passed::Synchronised);
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_with_a_redo_log_is_asked_about_it_and_not_to_synchronise() {
    let lab = Lab::new().await;
    let (barrier, object) = (lab.barrier(), lab.pool_object());
    lab.set("pool", &object, "ha_enabled", Value::Bool(true));
    let asked = lab.calls("pool.get_record");
    for _ in 0..5 {
        assert_eq!(lab.passes(&barrier).await.unwrap(), Passed::RedoLog);
    }
    assert_eq!((lab.calls("pool.get_record") - asked, lab.calls(SYNC)), (1, 0));
    lab.set("pool", &object, "ha_enabled", Value::Bool(false));
    lab.clock.advance(Duration::from_secs(301)).await;
    assert_eq!(lab.passes(&barrier).await.unwrap(), Passed::Synchronised);
    lab.end().await;
}

#[tokio::test]
async fn where_the_role_forbids_it_time_does_it_and_one_warning_says_so() {
    let log = Log::default();
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).with_max_level(tracing::Level::WARN).with_writer(log.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let lab = Lab::of(simulated::world(&simulated::recipe("26.17")), "vm-admin").await;
    let barrier = lab.barrier();
    for _ in 0..3 {
        let before = lab.clock.elapsed();
        assert_eq!(lab.passes(&barrier).await.unwrap(), Passed::ByTime);
        assert!((330..335).contains(&(lab.clock.elapsed() - before).as_secs()));
    }
    assert_eq!(log.text().matches("WARN").count(), 1, "{}", log.text());
    assert!(log.text().contains("pool-operator"), "{}", log.text());
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_does_not_help_when_the_server_was_restarted_meanwhile() {
    let mut lab = Lab::of(simulated::world(&simulated::recipe("26.17")), "vm-admin").await;
    let barrier = lab.barrier();
    let waiting = lab.passing(&barrier);
    lab.clock.advance(Duration::from_secs(100)).await;
    lab.kill_and_start().await;
    is(lab.clock.run(waiting).await.unwrap().0, restarted);
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_one_who_asks_goes_away_another_takes_over() {
    let lab = Lab::new().await;
    let barrier = lab.barrier();
    lab.strike(SYNC, Trigger { nth: vec![1], ..Trigger::default() }, Action::Hang);
    let first = lab.passing(&barrier);
    lab.clock.advance(Duration::from_secs(5)).await;
    let second = lab.passing(&barrier);
    lab.clock.advance(Duration::from_secs(5)).await;
    first.abort();
    assert!(first.await.is_err());
    let (passed, at) = lab.clock.run(second).await.unwrap();
    assert_eq!(passed.unwrap(), Passed::Synchronised);
    assert!((60..62).contains(&at.as_secs()), "{at:?}");
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_cannot_be_asked_is_an_error_with_its_cause() {
    let lab = Lab::new().await;
    let barrier = lab.barrier();
    lab.server.simulation.kill().await;
    is(lab.passes(&barrier).await, |error| {
        matches!(error, BarrierError::Failed(_)) && std::error::Error::source(error).is_some()
    });
}

/// What was logged.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'w> tracing_subscriber::fmt::MakeWriter<'w> for Log {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}
