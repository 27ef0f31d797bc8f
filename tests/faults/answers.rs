//! What happens to single calls: refused, delayed, never answered, cut off, answered with rubbish, or made in a session that is over.

use std::time::Duration;

use rstest::rstest;
use xensnap::clock::Clock;
use xensnap::simulator::faults::{Action, Garbage, Rule, When};
use xensnap::simulator::storage::timings::Timings;
use xensnap::xenapi::calls;
use xensnap::xenapi::failure::Kind;
use xensnap::xenapi::wire::Wire;

use crate::bench::{Bench, impatient, kind, over, refuse};

#[rstest]
#[case(Wire::Json)]
#[case(Wire::Xml)]
#[tokio::test]
async fn a_refusal_comes_with_its_code_and_the_next_call_succeeds(#[case] wire: Wire) {
    let bench = Bench::with(Timings::instant(), over(wire)).await;
    let vm = bench.vm().await;
    bench.fault(Rule::on("VM.snapshot", refuse("SR_BACKEND_FAILURE_44")).nth(1));
    let task = bench.run(bench.pool.start(calls::vm::snapshot(&vm, "refused"))).await.unwrap();
    let error = bench.run(task.finish(None)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NoSpace);
    assert!(error.to_string().contains("SR_BACKEND_FAILURE_44"), "{error}");
    bench.run(bench.pool.call(calls::vm::snapshot(&vm, "granted"))).await.unwrap();
    assert_eq!((bench.report().met, bench.struck()), (2, 1));
    bench.end().await;
}

#[tokio::test]
async fn a_delayed_call_succeeds_later() {
    let bench = Bench::new().await;
    let vm = bench.vm().await;
    bench.fault(Rule::on("VM.set_name_label", Action::Delay(Duration::from_secs(90))));
    let begin = bench.clock.elapsed();
    bench.run(bench.pool.call(calls::vm::set_name_label(&vm, "late"))).await.unwrap();
    assert!(bench.clock.elapsed() - begin >= Duration::from_secs(90));
    assert!(bench.is_called(&vm, "late"));
    bench.end().await;
}

#[tokio::test]
async fn a_call_that_hangs_is_given_up_and_had_no_effect() {
    let bench = Bench::with(Timings::instant(), impatient).await;
    let vm = bench.vm().await;
    bench.fault(Rule::on("VM.add_to_other_config", Action::Hang).times(1));
    let marked = bench.run(bench.pool.call(calls::vm::add_to_other_config(&vm, "key", "value"))).await;
    assert_eq!(kind(marked), Kind::Ambiguous, "the caller has to look");
    assert!(!bench.is_marked(&vm, "key"));
    bench.run(bench.pool.call(calls::vm::add_to_other_config(&vm, "key", "value"))).await.unwrap();
    bench.end().await;
}

#[rstest]
#[case(When::Before, false)]
#[case(When::After, true)]
#[tokio::test]
async fn a_cut_before_or_after_the_effect_is_ambiguous_alike(#[case] when: When, #[case] done: bool) {
    let bench = Bench::new().await;
    let vm = bench.vm().await;
    bench.fault(Rule::on("VM.add_to_other_config", Action::Cut(when)).times(1));
    let marked = bench.run(bench.pool.call(calls::vm::add_to_other_config(&vm, "key", "value"))).await;
    assert_eq!(kind(marked), Kind::Ambiguous);
    assert_eq!(bench.is_marked(&vm, "key"), done);
    assert_eq!(bench.struck(), 1, "it was not sent twice");
    bench.end().await;
}

#[tokio::test]
async fn a_read_or_an_idempotent_write_that_was_cut_is_simply_made_again() {
    let bench = Bench::new().await;
    let vm = bench.vm().await;
    bench.fault(Rule::on("VM.*", Action::Cut(When::After)).nth(1).nth(3));
    bench.run(bench.pool.call(calls::record(&vm))).await.unwrap();
    bench.run(bench.pool.call(calls::vm::set_name_label(&vm, "twice"))).await.unwrap();
    assert!(bench.is_called(&vm, "twice"));
    assert_eq!((bench.report().met, bench.struck()), (4, 2));
    assert_eq!(bench.pool.incarnation().unwrap().number, 1, "the session outlives its connection");
    bench.end().await;
}

#[rstest]
#[case(Garbage::Truncated)]
#[case(Garbage::Html)]
#[case(Garbage::BadGateway)]
#[case(Garbage::Empty)]
#[case(Garbage::Binary)]
#[case(Garbage::Nested)]
#[case(Garbage::Huge)]
#[case(Garbage::Endless)]
#[tokio::test]
async fn rubbish_ends_in_one_clear_line_and_the_next_call_succeeds(#[case] garbage: Garbage) {
    let bench = Bench::with(Timings::instant(), impatient).await;
    let vm = bench.vm().await;
    bench.fault(Rule::on("VM.get_record", Action::Garbage(garbage)).nth(1).nth(2));
    let error = bench.run(bench.pool.call(calls::record(&vm))).await;
    // What goes wrong on the way is asked for a second time; either way nothing wrong is believed.
    let error = match error {
        Ok(record) => panic!("{garbage:?} was taken for {record:?}"),
        Err(error) => error.to_string(),
    };
    assert!(!error.contains('\n') && error.contains("VM.get_record"), "{error}");
    while bench.struck() < 2 {
        let _ = bench.run(bench.pool.call(calls::record(&vm))).await;
    }
    bench.run(bench.pool.call(calls::record(&vm))).await.unwrap();
    bench.end().await;
}

#[tokio::test]
async fn a_wrong_content_type_does_no_harm_because_the_client_knows_what_it_asked() {
    let bench = Bench::new().await;
    let vm = bench.vm().await;
    bench.fault(Rule::on("VM.get_record", Action::Garbage(Garbage::ContentType)).times(1));
    bench.run(bench.pool.call(calls::record(&vm))).await.unwrap();
    assert_eq!(bench.struck(), 1);
    bench.end().await;
}

#[tokio::test]
async fn a_session_that_expires_is_renewed_without_a_word() {
    let bench = Bench::new().await;
    let vm = bench.vm().await;
    bench.fault(Rule::on("VM.add_to_other_config", Action::ExpireSessions).originator("xensnap*").times(1));
    bench.run(bench.pool.call(calls::vm::add_to_other_config(&vm, "key", "value"))).await.unwrap();
    assert!(bench.is_marked(&vm, "key"));
    assert_eq!(bench.pool.incarnation().unwrap().number, 2);
    assert_eq!(bench.shared().step(|world| world.sessions.len()), 1, "no session is leaked");
    bench.end().await;
}
