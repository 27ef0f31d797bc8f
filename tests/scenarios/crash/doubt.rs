//! Calls whose end is not known. A lost answer never makes two snapshots or two removals: a task is picked up where the server knows
//! it, a snapshot is found by its nonce where it does not, and a second attempt is made only after the first is proven to be nothing.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use xensnap::clock::Clock;
use xensnap::domain::policy::Policy;
use xensnap::domain::span::Exact;
use xensnap::simulator::faults::{Action, Moment, Order, Plan, Rule, When};
use xensnap::simulator::storage::timings::Timings;
use xensnap::simulator::value::Value;
use xensnap::store::{Attempt, AttemptState, EventFilter, Job, JobState, Outcome, Page, RunFilter};

use super::bench::Bench;
use super::life::{Death, Life, play};
use crate::lab::Lab;

/// Work on disks takes a minute.
fn slow() -> Timings {
    let mut timings = Timings::default();
    for operation in ["VDI.snapshot", "VDI.destroy"] {
        timings.set(operation, Duration::from_secs(60));
    }
    timings
}

impl Bench {
    async fn attempts(&self, due: DateTime<Utc>) -> Vec<(Job, Vec<Attempt>)> {
        let jobs = self.jobs(due).await;
        let store = self.history().await;
        let mut all = Vec::new();
        for job in jobs {
            let attempts = store.attempts(job.id).await.unwrap();
            all.push((job, attempts));
        }
        store.close().await.unwrap();
        all
    }

    fn fault(&self, rule: Rule) {
        self.lab.simulation.set_faults(Plan::new(0).with(rule));
    }

    fn struck(&self) -> u64 {
        self.lab.simulation.faults().reports().iter().map(|report| report.struck).sum()
    }
}

#[test]
fn a_lost_answer_to_any_call_doubles_nothing() {
    play(async |life: Life| {
        let mut bench = Bench::new(life).await;
        let methods = [
            "VM.snapshot",
            "VM.add_to_other_config",
            "VM.set_name_description",
            "pool.sync_database",
            "VM.get_record",
            "VM.destroy",
            "VDI.get_record",
            "VDI.destroy",
            "task.destroy",
        ];
        for method in methods {
            for cut in [When::After, When::Before] {
                bench.before_slot().await;
                bench.fault(Rule::on(method, Action::Cut(cut)).times(2));
                bench.pass_hour().await;
                assert_eq!(bench.struck(), 2, "{method} {cut:?}");
            }
        }
    });
}

#[test]
fn a_second_attempt_is_made_only_after_the_first_is_proven_to_be_nothing_and_both_are_in_the_history() {
    play(async |life: Life| {
        let mut bench = Bench::new(life).await;
        let due = bench.due;
        bench.before_slot().await;
        bench.fault(Rule::on("VM.snapshot", Action::Cut(When::Before)).times(1));
        bench.pass_hour().await;
        let mut attempts = bench.attempts(due).await;
        attempts.sort_by_key(|(_, attempts)| attempts.len());
        let states = |attempts: &[Attempt]| attempts.iter().map(|attempt| attempt.state).collect::<Vec<_>>();
        assert_eq!(states(&attempts[0].1), [AttemptState::Succeeded]);
        assert_eq!(states(&attempts[1].1), [AttemptState::Absent, AttemptState::Succeeded]);
        let [first, second] = &attempts[1].1[..] else { unreachable!() };
        assert_ne!(first.nonce, second.nonce);
        assert!(first.cause.as_ref().is_some_and(|cause| cause.code == "absent"), "{first:?}");
        assert!(second.intent_at >= first.ended_at.unwrap(), "the second left after the first was decided");
        assert!(first.ended_at.unwrap() - first.intent_at >= TimeDelta::seconds(30), "a request may be on its way for a while");
    });
}

#[test]
fn a_task_that_still_runs_is_picked_up_by_the_next_life() {
    play(async |life: Life| {
        let mut bench = Bench::with(life, slow()).await;
        let due = bench.due;
        bench.before_slot().await;
        bench.lab.simulation.shared().unwrap().reset_calls();
        bench.lab.clock.advance(Duration::from_secs(11)).await;
        bench.life.kill();
        bench.life.start(&bench.lab).await;
        bench.pass_hour().await;
        let attempts = bench.attempts(due).await;
        assert!(attempts.iter().all(|(_, attempts)| attempts.len() == 1), "{attempts:?}");
        let calls = bench.lab.simulation.shared().unwrap().calls();
        // One look for each, and one for tasks that nobody watches.
        assert_eq!((calls["Async.VM.snapshot"], calls["task.get_all_records"]), (2, 3), "{calls:?}");
    });
}

#[test]
fn a_snapshot_whose_task_the_server_has_forgotten_is_found_by_its_nonce() {
    play(async |life: Life| {
        let mut bench = Bench::with(life, slow()).await;
        let due = bench.due;
        bench.before_slot().await;
        bench.lab.clock.advance(Duration::from_secs(11)).await;
        bench.life.kill();
        bench.lab.clock.advance(Duration::from_secs(600)).await;
        bench.lab.simulation.shared().unwrap().step(|world| {
            for task in world.database.refs("task") {
                world.database.destroy("task", &task);
            }
        });
        bench.life.start(&bench.lab).await;
        bench.pass_hour().await;
        let attempts = bench.attempts(due).await;
        assert!(attempts.iter().all(|(_, attempts)| attempts.len() == 1), "{attempts:?}");
    });
}

/// Killed in a removal: the record is gone, or one of the disks is going, and the next life goes on with the rest.
#[test]
fn a_removal_is_gone_on_with_wherever_it_stopped() {
    play(async |life: Life| {
        let mut bench = Bench::with(life, slow()).await;
        for seconds in [245, 290, 330, 370, 450] {
            bench.before_slot().await;
            bench.lab.clock.advance(Duration::from_secs(seconds)).await;
            bench.life.kill();
            bench.life.start(&bench.lab).await;
            bench.pass_hour().await;
        }
        let destroyed = bench.lab.simulation.shared().unwrap().calls()["Async.VM.destroy"];
        assert_eq!(destroyed, 10, "no record was destroyed twice");
    });
}

/// No events come any more and then the answer of the second snapshot is lost, until beyond the slot's window.
async fn in_the_dark(bench: &mut Bench, cut: When) {
    let until = Some(Moment::At(bench.due + TimeDelta::minutes(20)));
    let mut silence = Rule::on("event.from", Action::Cut(When::Before));
    silence.trigger.until = until;
    bench.lab.simulation.set_faults(Plan::new(0).with(silence).with(Rule::on("VM.snapshot", Action::Cut(cut)).nth(2)));
    // Something happens, so that the waiting call is answered and the next one is made.
    bench.lab.simulation.shared().unwrap().step(|world| {
        let vm = world.database.refs("VM").remove(0);
        world.database.set("VM", &vm, "name_description", Value::str("news")).unwrap();
    });
    bench.lab.clock.advance_to(bench.due + TimeDelta::minutes(19)).await;
}

fn impatient(lab: &mut Lab) {
    let within = |policy: &mut Policy| policy.schedule.deadline = Some(Exact(Duration::from_secs(600)));
    lab.policies.iter_mut().for_each(within);
}

async fn outcome_of(bench: &Bench, due: DateTime<Utc>) -> Option<Outcome> {
    let store = bench.history().await;
    let runs = store.runs(RunFilter::default(), Page::first(5)).await.unwrap().rows;
    store.close().await.unwrap();
    runs.into_iter().find(|run| run.due_at == due).and_then(|run| run.outcome)
}

#[test]
fn what_cannot_be_decided_is_unresolved_and_settled_when_the_pool_is_back() {
    for (cut, ending, code) in [(When::After, JobState::Done, "late"), (When::Before, JobState::Failed, "absent")] {
        play(async |life: Life| {
            let mut bench = Bench::new(life).await;
            bench.life.kill();
            impatient(&mut bench.lab);
            bench.life.start(&bench.lab).await;
            let due = bench.due;
            in_the_dark(&mut bench, cut).await;
            let states: Vec<JobState> = bench.jobs(due).await.iter().map(|job| job.state).collect();
            assert_eq!(states, [JobState::Unresolved; 2]);
            let store = bench.history().await;
            let alarm = EventFilter { kind: Some("unresolved".into()), ..EventFilter::default() };
            assert_eq!(store.events(alarm, Page::first(5)).await.unwrap().rows.len(), 2, "an alarm for each");
            store.close().await.unwrap();
            // Back, and with time to look.
            bench.lab.simulation.set_faults(Plan::default());
            bench.lab.clock.advance_to(due + TimeDelta::minutes(100)).await;
            assert!(outcome_of(&bench, due).await.is_some());
            let jobs = bench.jobs(due).await;
            let mut ends: Vec<_> = jobs.iter().map(|job| (job.state, job.cause.clone().unwrap().code)).collect();
            ends.sort();
            assert_eq!(ends, [(JobState::Done, "late".to_owned()), (ending, code.to_owned())]);
            // The next pass leaves what the policy promises.
            bench.lab.clock.advance_to(due + TimeDelta::minutes(150)).await;
            let held = bench.lab.held();
            assert!(held.len() == 2 && held.values().all(|due| *due == ["03-01 16:00"]), "{held:?}");
        });
    }
}

#[test]
fn a_service_killed_while_the_pool_is_away_decides_when_both_are_back() {
    play(async |life: Life| {
        let bench = Bench::new(life).await;
        bench.before_slot().await;
        let stop = Action::Server {
            order: Order::Stop { down: Some(Duration::from_secs(300)) },
            when: When::During,
            delay: Duration::ZERO,
        };
        bench.lab.simulation.set_faults(
            Plan::new(0)
                .with(Rule::on("VM.snapshot", Action::Cut(When::After)).nth(1))
                .with(Rule::on("VM.snapshot", stop).nth(1)),
        );
        bench.life.dies(Death::Struck(bench.lab.simulation.faults().clone()));
        assert!(bench.life.until_dead(&bench.lab, Duration::from_secs(60)).await);
        bench.lab.simulation.set_faults(Plan::default());
        bench.life.start(&bench.lab).await;
        assert!(bench.lab.clock.now() >= bench.due + TimeDelta::minutes(4), "it waited for the pool");
        bench.lab.clock.advance_to(bench.due + TimeDelta::minutes(45)).await;
        let held = bench.lab.held();
        assert!(held.len() == 2 && held.values().all(|due| *due == ["03-01 14:00"]), "{held:?}");
    });
}
