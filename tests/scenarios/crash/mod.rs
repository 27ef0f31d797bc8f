//! SIGKILL at every step. Whatever the service was doing, the next life ends it: one snapshot per slot and VM, marked and durable,
//! what retention removes is removed, and the pool and the history hold nothing else.
//!
//! One pool lives through many hours, and in each the service dies one step later than in the one before.

mod bench;
mod doubt;
mod leftover;
mod life;
mod offline;
mod stopping;

use std::time::Duration;

use xensnap::simulator::faults::{Action, Plan, Rule, When};

use bench::Bench;
pub use bench::{policy_for, with_disks, world};
pub use leftover::{fails_slowly, leave_half};
use life::{Death, Life, play};

const AT_ONCE: Duration = Duration::ZERO;

/// Dies at the first, the second, the third … call, until a whole run is through. How many calls there were.
async fn at_each_call(bench: &mut Bench, method: &str, cut: When) -> u64 {
    for nth in 1.. {
        bench.before_slot().await;
        bench.lab.simulation.set_faults(Plan::new(0).with(Rule::on(method, Action::Cut(cut)).nth(nth)));
        bench.life.dies(Death::Struck(bench.lab.simulation.faults().clone()));
        if !bench.survive(AT_ONCE).await {
            return nth - 1;
        }
    }
    unreachable!("a run makes some calls")
}

#[test]
fn a_service_killed_after_any_call_had_its_effect_ends_the_run_in_its_next_life() {
    play(async |life: Life| {
        let mut bench = Bench::new(life).await;
        let calls = at_each_call(&mut bench, "*", When::After).await;
        println!("killed after each of {calls} calls");
        assert!(calls >= 28, "{calls}");
        bench.check_a_day_later().await;
    });
}

#[test]
fn a_service_killed_before_any_call_that_changes_something_had_its_effect_ends_the_run_in_its_next_life() {
    play(async |life: Life| {
        let mut bench = Bench::new(life).await;
        for method in ["VM.*", "VDI.*", "pool.*", "task.*"] {
            let calls = at_each_call(&mut bench, method, When::Before).await;
            println!("killed before each of {calls} calls of {method}");
            assert!(calls >= 2, "{method}: {calls}");
        }
        bench.check_a_day_later().await;
    });
}

#[test]
fn a_service_killed_after_any_write_to_its_history_ends_the_run_in_its_next_life() {
    play(async |life: Life| {
        life.is_watched_closely();
        let mut bench = Bench::new(life).await;
        for nth in 1.. {
            bench.before_slot().await;
            bench.life.dies(Death::Written(nth));
            if !bench.survive(AT_ONCE).await {
                println!("killed after each of {} commits", nth - 1);
                assert!(nth > 15, "{nth}");
                break;
            }
        }
    });
}

/// Between two turns of any of its tasks: while a commit is under way, with an answer that was read and not yet understood.
#[test]
fn a_service_killed_between_any_two_turns_of_its_tasks_ends_the_run_in_its_next_life() {
    play(async |life: Life| {
        life.is_watched_closely();
        let mut bench = Bench::new(life).await;
        let mut deaths = 0;
        for turns in (1..).step_by(83) {
            bench.before_slot().await;
            bench.life.dies(Death::Turned(turns));
            let began = bench.life.deaths();
            bench.survive(Duration::from_secs(7)).await;
            deaths += bench.life.deaths() - began;
            if turns > 1200 {
                break;
            }
        }
        println!("killed {deaths} times");
    });
}

/// The next life dies too, at each of its first calls: what it goes on with was left by somebody who had not begun it himself.
#[test]
fn a_service_killed_while_it_goes_on_with_what_another_life_began_is_gone_on_with_by_a_third() {
    play(async |life: Life| {
        let mut bench = Bench::new(life).await;
        for (method, cut) in [("VM.snapshot", When::After), ("VM.destroy", When::After), ("VDI.destroy", When::Before)] {
            for nth in (1..).step_by(7) {
                bench.before_slot().await;
                bench.lab.simulation.set_faults(Plan::new(0).with(Rule::on(method, Action::Cut(cut)).nth(2)));
                bench.life.dies(Death::Struck(bench.lab.simulation.faults().clone()));
                assert!(bench.life.until_dead(&bench.lab, Duration::from_secs(900)).await);
                bench.lab.simulation.set_faults(Plan::new(0).with(Rule::on("*", Action::Cut(When::After)).nth(nth)));
                bench.life.dies(Death::Struck(bench.lab.simulation.faults().clone()));
                bench.life.start(&bench.lab).await;
                if !bench.survive(AT_ONCE).await {
                    println!("{method}: killed at every seventh of {nth} calls of the second life");
                    break;
                }
            }
        }
    });
}
