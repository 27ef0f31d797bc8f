//! VMs that are shut down for their snapshot come back, whatever happens in between.

use std::time::Duration;

use xensnap::clock::Clock;
use xensnap::engine::offline::{OfflineError, StepError, WasRunning, bring_back, shut_down};
use xensnap::simulator::error::ApiError;
use xensnap::simulator::faults::{Action, Rule, When};
use xensnap::simulator::value::Value;
use xensnap::xenapi::failure::Kind;
use xensnap::xenapi::records::{PowerState, Vm};
use xensnap::xenapi::types::Ref;
use xensnap::xenapi::{TaskError, calls};

use super::small_pool::SmallPool;

const MINUTE: Duration = Duration::from_secs(60);

async fn newest() -> SmallPool {
    SmallPool::start("26.17", |_| ()).await
}

impl SmallPool {
    async fn shut_down(&self, vm: &Ref<Vm>) -> Result<WasRunning, OfflineError> {
        self.run(shut_down(&mut self.worker(), &self.pool, &self.inventory, vm, MINUTE)).await
    }

    async fn bring_back(&self, vm: &Ref<Vm>) -> Result<(), OfflineError> {
        self.run(bring_back(&mut self.worker(), &self.pool, &self.inventory, vm)).await
    }

    /// A VM that was running and is down now.
    async fn one_that_is_down(&self) -> Ref<Vm> {
        let vm = self.running();
        assert_eq!(self.shut_down(&vm).await.unwrap(), WasRunning::Yes);
        assert_eq!(self.power(&vm), "Halted");
        vm
    }

    fn refuse(&self, method: &str, code: &str, times: u64) {
        let rule = Rule::on(method, Action::Refuse(ApiError::bare(code)));
        self.server.shared().options.faults.add(rule.times(times));
    }

    fn cut_after(&self, method: &str) {
        self.server.shared().options.faults.add(Rule::on(method, Action::Cut(When::After)).times(1));
    }

    fn slow_shutdown(&self, takes: Duration) {
        self.server.shared().step(|world| {
            world.storage.timings.scale = 1.0;
            world.storage.timings.set("VM.clean_shutdown", takes);
        });
    }

    fn shown(&self, vm: &Ref<Vm>) -> PowerState {
        self.inventory.read().get(vm).unwrap().power_state.clone()
    }
}

#[tokio::test]
async fn a_running_vm_goes_down_and_comes_back_and_the_inventory_shows_both() {
    for release in ["6.2", "8.2", "26.17"] {
        let lab = SmallPool::start(release, |_| ()).await;
        let vm = lab.one_that_is_down().await;
        assert_eq!(lab.shown(&vm), PowerState::Halted);
        lab.bring_back(&vm).await.unwrap();
        assert_eq!((lab.power(&vm).as_str(), lab.shown(&vm)), ("Running", PowerState::Running));
        assert_eq!((lab.calls("VM.clean_shutdown"), lab.calls("VM.start")), (1, 1), "{release}");
        assert_eq!(lab.calls("VM.hard_shutdown"), 0);
        lab.end().await;
    }
}

#[tokio::test]
async fn a_halted_vm_is_left_as_it_is() {
    let lab = newest().await;
    let vm = lab.find(|_, vm| vm.power_state == PowerState::Halted);
    assert_eq!(lab.shut_down(&vm).await.unwrap(), WasRunning::No);
    assert_eq!((lab.power(&vm).as_str(), lab.calls("VM.clean_shutdown")), ("Halted", 0));
    lab.end().await;
}

#[tokio::test]
async fn a_suspended_or_paused_vm_is_refused_with_advice() {
    let lab = newest().await;
    let vm = lab.running();
    for (state, advice) in [("Suspended", "resume"), ("Paused", "unpause")] {
        lab.set("VM", &vm.to_string(), "power_state", Value::str(state));
        let error = lab.shut_down(&vm).await.unwrap_err();
        assert!(error.to_string().contains(advice) && error.to_string().contains(&state.to_lowercase()), "{error}");
        assert!(!error.may_still_go_down() && error.kind() == Kind::Unsupported);
    }
    assert_eq!(lab.calls("VM.clean_shutdown"), 0);
    lab.end().await;
}

#[tokio::test]
async fn the_vm_comes_back_after_a_snapshot_that_failed() {
    let lab = newest().await;
    let vm = lab.one_that_is_down().await;
    let full = ApiError::new("SR_BACKEND_FAILURE_44", ["", "no space", ""]);
    lab.server.shared().options.faults.add(Rule::on("VM.snapshot", Action::FailDisk { disk: 1, error: full }));
    let taken = lab.run(async { lab.pool.start(calls::vm::snapshot(&vm, "offline")).await.unwrap().finish(None).await }).await;
    assert_eq!(taken.unwrap_err().kind(), Kind::NoSpace);
    lab.bring_back(&vm).await.unwrap();
    assert_eq!(lab.power(&vm), "Running");
    lab.end().await;
}

#[tokio::test]
async fn a_guest_that_does_not_shut_down_in_time_is_left_running() {
    let lab = newest().await;
    let vm = lab.running();
    lab.slow_shutdown(Duration::from_secs(90));
    let error = lab.shut_down(&vm).await.unwrap_err();
    assert!(matches!(error, OfflineError::NotDown(StepError::Task(TaskError::Deadline { .. }))), "{error:?}");
    assert!(error.may_still_go_down(), "a guest that was asked may follow");
    lab.bring_back(&vm).await.unwrap();
    assert_eq!((lab.power(&vm).as_str(), lab.calls("VM.start")), ("Running", 0));
    lab.end().await;
}

#[tokio::test]
async fn a_guest_that_follows_a_little_late_counts_as_shut_down() {
    let lab = newest().await;
    let vm = lab.running();
    lab.slow_shutdown(Duration::from_secs(90));
    let late = async {
        let mut worker = lab.worker();
        worker.sleep(Duration::from_secs(150)).await;
        lab.set("VM", &vm.to_string(), "power_state", Value::str("Halted"));
    };
    let shutdown = async { shut_down(&mut lab.worker(), &lab.pool, &lab.inventory, &vm, MINUTE).await };
    let (outcome, ()) = lab.run(async { tokio::join!(shutdown, late) }).await;
    assert_eq!(outcome.unwrap(), WasRunning::Yes);
    lab.bring_back(&vm).await.unwrap();
    assert_eq!((lab.power(&vm).as_str(), lab.calls("VM.start")), ("Running", 1));
    lab.end().await;
}

#[tokio::test]
async fn a_shutdown_that_was_refused_leaves_nothing_to_bring_back() {
    let lab = newest().await;
    let vm = lab.running();
    lab.refuse("VM.clean_shutdown", "TOO_MANY_PENDING_TASKS", 1);
    let before = lab.clock.elapsed();
    let error = lab.shut_down(&vm).await.unwrap_err();
    assert!(matches!(error, OfflineError::NotDown(_)) && !error.may_still_go_down(), "{error:?}");
    assert_eq!(error.kind(), Kind::Busy);
    assert!(lab.clock.elapsed() - before < Duration::from_secs(1), "nobody waits for what was not asked");
    lab.end().await;
}

#[tokio::test]
async fn a_shutdown_whose_answer_was_lost_is_found_by_its_effect() {
    let lab = newest().await;
    let vm = lab.running();
    lab.cut_after("Async.VM.clean_shutdown");
    assert_eq!(lab.shut_down(&vm).await.unwrap(), WasRunning::Yes);
    assert_eq!((lab.power(&vm).as_str(), lab.calls("VM.clean_shutdown")), ("Halted", 1));
    lab.end().await;
}

#[tokio::test]
async fn a_vm_that_somebody_else_shuts_down_is_theirs() {
    let lab = newest().await;
    let vm = lab.running();
    lab.slow_shutdown(MINUTE);
    let theirs = lab.run(async { lab.pool.start(calls::vm::clean_shutdown(&vm)).await.unwrap() }).await;
    let error = lab.shut_down(&vm).await.unwrap_err();
    assert!(matches!(error, OfflineError::Busy(_)) && !error.may_still_go_down(), "{error:?}");
    lab.run(theirs.finish(None)).await.unwrap();
    assert_eq!((lab.power(&vm).as_str(), lab.calls("VM.clean_shutdown")), ("Halted", 1));
    lab.end().await;
}

#[tokio::test]
async fn a_start_that_is_refused_twice_is_tried_a_third_time() {
    let lab = newest().await;
    let vm = lab.one_that_is_down().await;
    lab.refuse("VM.start", "HOST_NOT_ENOUGH_FREE_MEMORY", 2);
    let before = lab.clock.elapsed();
    lab.bring_back(&vm).await.unwrap();
    assert_eq!((lab.power(&vm).as_str(), lab.calls("VM.start")), ("Running", 3));
    assert!(lab.clock.elapsed() - before >= Duration::from_secs(1 + 2), "with pauses that grow");
    lab.end().await;
}

#[tokio::test]
async fn what_only_a_person_can_change_is_told_at_once_and_works_after_they_did() {
    let lab = newest().await;
    let vm = lab.one_that_is_down().await;
    lab.set("VM", &vm.to_string(), "blocked_operations", Value::pairs([("start", "maintenance")]));
    let before = lab.clock.elapsed();
    let error = lab.bring_back(&vm).await.unwrap_err();
    assert!(matches!(error, OfflineError::NotStarted { .. }) && error.kind() == Kind::Denied, "{error:?}");
    assert!(error.to_string().contains("xe vm-start"), "{error}");
    assert_eq!(lab.calls("VM.start"), 1);
    assert!(lab.clock.elapsed() - before < Duration::from_secs(1));
    lab.set("VM", &vm.to_string(), "blocked_operations", Value::pairs::<&str, &str>([]));
    lab.bring_back(&vm).await.unwrap();
    assert_eq!(lab.power(&vm), "Running");
    lab.end().await;
}

#[tokio::test]
async fn half_an_hour_of_refusals_is_an_alarm() {
    let lab = newest().await;
    let vm = lab.one_that_is_down().await;
    lab.refuse("VM.start", "NO_HOSTS_AVAILABLE", u64::MAX);
    let error = lab.bring_back(&vm).await.unwrap_err();
    let OfflineError::NotStarted { tried, .. } = error else { panic!("{error:?}") };
    assert!((28 * MINUTE..=30 * MINUTE).contains(&tried), "{tried:?}");
    assert!((20..50).contains(&lab.calls("VM.start")), "{}", lab.calls("VM.start"));
    lab.end().await;
}

#[tokio::test]
async fn a_vm_that_somebody_else_started_is_not_started_again() {
    let lab = newest().await;
    let vm = lab.one_that_is_down().await;
    lab.run(async { lab.pool.start(calls::vm::start(&vm, false, false)).await.unwrap().finish(None).await }).await.unwrap();
    for _ in 0..2 {
        lab.bring_back(&vm).await.unwrap();
    }
    assert_eq!((lab.power(&vm).as_str(), lab.calls("VM.start")), ("Running", 1));
    lab.end().await;
}

#[tokio::test]
async fn a_vm_that_somebody_else_is_starting_is_waited_for() {
    let lab = newest().await;
    let vm = lab.one_that_is_down().await;
    lab.server.shared().step(|world| {
        world.storage.timings.scale = 1.0;
        world.storage.timings.set("VM.start", MINUTE);
    });
    let theirs = lab.run(async { lab.pool.start(calls::vm::start(&vm, false, false)).await.unwrap() }).await;
    lab.bring_back(&vm).await.unwrap();
    assert_eq!((lab.power(&vm).as_str(), lab.calls("VM.start")), ("Running", 1));
    lab.run(theirs.finish(None)).await.unwrap();
    lab.end().await;
}

#[tokio::test]
async fn a_start_whose_answer_was_lost_is_found_by_its_effect() {
    let lab = newest().await;
    let vm = lab.one_that_is_down().await;
    lab.cut_after("Async.VM.start");
    lab.bring_back(&vm).await.unwrap();
    assert_eq!((lab.power(&vm).as_str(), lab.calls("VM.start")), ("Running", 1));
    lab.end().await;
}

#[tokio::test]
async fn after_a_crash_the_next_life_brings_the_vm_back() {
    let lab = newest().await;
    let vm = lab.running();
    lab.slow_shutdown(Duration::from_secs(30));
    // The first life dies while the guest goes down: nobody waits for the task.
    drop(lab.run(async { lab.pool.start(calls::vm::clean_shutdown(&vm)).await.unwrap() }).await);
    lab.run(lab.pool.logout()).await;
    let (pool, inventory) = lab.run(SmallPool::connect(&lab.clock, &lab.server)).await;
    assert_eq!(lab.power(&vm), "Running", "it has not gone down yet");
    lab.run(bring_back(&mut lab.worker(), &pool, &inventory, &vm)).await.unwrap();
    assert_eq!((lab.power(&vm).as_str(), lab.calls("VM.start")), ("Running", 1));
    lab.run(pool.logout()).await;
    lab.end().await;
}

#[tokio::test]
async fn a_vm_that_was_deleted_is_gone() {
    let lab = newest().await;
    let vm = lab.one_that_is_down().await;
    lab.run(lab.pool.call(calls::vm::destroy(&vm))).await.unwrap();
    assert!(matches!(lab.bring_back(&vm).await, Err(OfflineError::Gone)));
    assert!(matches!(lab.shut_down(&vm).await, Err(OfflineError::Gone)));
    lab.end().await;
}
