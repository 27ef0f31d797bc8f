//! Which slots run, which are missed and which are skipped; and that each is decided exactly once.

use proptest::prelude::*;
use rstest::rstest;

use super::super::window::Closure;
use super::*;

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn schedule(expressions: &[&str]) -> Schedule {
    let expressions = expressions.iter().map(|text| text.parse().unwrap()).collect();
    Schedule::new(expressions, Zone::named("Europe/Berlin").unwrap()).unwrap()
}

/// Nightly at 02:30 in Berlin, which is 01:30Z in winter.
fn nightly() -> Schedule {
    schedule(&["30 2 * * *"])
}

fn since(counts_from: &str) -> Progress {
    Progress { counts_from: utc(counts_from), last_claimed: None, running: None }
}

/// Due times and verdicts as text.
fn told(agenda: &Agenda) -> Vec<String> {
    agenda.decisions.iter().map(|decision| format!("{} {}", decision.due_at.format("%d %H:%M"), decision.verdict)).collect()
}

fn catch_up(schedule: Schedule, max_age: &str) -> Schedule {
    Schedule { catch_up: CatchUp::One { max_age: max_age.parse().unwrap() }, ..schedule }
}

fn windows(schedule: Schedule, open: &[&str], blackouts: &[&str]) -> Schedule {
    let read = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    Schedule { windows: Windows { open: read(open), blackouts: read(blackouts) }, ..schedule }
}

#[test]
fn a_slot_runs_at_its_time() {
    let agenda = nightly().agenda(&since("2026-11-22T00:00:00Z"), utc("2026-11-22T01:30:00Z"));
    assert_eq!(told(&agenda), ["22 01:30 on time"]);
    assert_eq!(agenda.wake_at, Some(utc("2026-11-23T01:30:00Z")));
}

#[test]
fn before_its_time_nothing_is_done_and_the_next_look_is_known() {
    let agenda = nightly().agenda(&since("2026-11-22T00:00:00Z"), utc("2026-11-22T01:29:59.999Z"));
    assert_eq!(agenda, Agenda { decisions: Vec::new(), wake_at: Some(utc("2026-11-22T01:30:00Z")) });
}

#[test]
fn nothing_runs_because_a_policy_was_created_or_enabled_again() {
    let agenda = nightly().agenda(&since("2026-11-22T01:30:00Z"), utc("2026-11-22T01:30:10Z"));
    assert!(agenda.decisions.is_empty());
    // Disabled for a week with an old slot on record: the week is nobody's fault.
    let progress = Progress { last_claimed: Some(utc("2026-11-15T01:30:00Z")), ..since("2026-11-22T10:00:00Z") };
    assert!(nightly().agenda(&progress, utc("2026-11-22T10:00:01Z")).decisions.is_empty());
}

#[test]
fn a_missed_night_is_run_once_after_a_reboot() {
    let progress = Progress { last_claimed: Some(utc("2026-11-19T01:30:00Z")), ..since("2026-11-01T00:00:00Z") };
    let agenda = nightly().agenda(&progress, utc("2026-11-22T07:00:00Z"));
    assert_eq!(
        told(&agenda),
        [
            "20 01:30 missed: found 2d5h30m late, the policy catches up for 1d",
            "21 01:30 missed: found 1d5h30m late, the policy catches up for 1d",
            "22 01:30 late by 5h30m",
        ]
    );
}

#[test]
fn of_several_slots_that_could_be_made_up_for_only_the_newest_is() {
    let hourly = schedule(&["@hourly"]);
    let progress = Progress { last_claimed: Some(utc("2026-11-22T03:00:00Z")), ..since("2026-11-01T00:00:00Z") };
    let agenda = hourly.agenda(&progress, utc("2026-11-22T06:10:00Z"));
    assert_eq!(
        told(&agenda),
        [
            "22 04:00 missed: the newer slot 2026-11-22 06:00:00Z runs in its place",
            "22 05:00 missed: the newer slot 2026-11-22 06:00:00Z runs in its place",
            "22 06:00 late by 10m",
        ]
    );
}

#[test]
fn a_policy_that_does_not_catch_up_records_what_it_missed() {
    let never = Schedule { catch_up: CatchUp::None, ..nightly() };
    let missed = never.agenda(&since("2026-11-22T00:00:00Z"), utc("2026-11-22T01:32:00Z"));
    assert_eq!(told(&missed), ["22 01:30 missed: found 2m late, and the policy does not catch up"]);
    let in_time = never.agenda(&since("2026-11-22T00:00:00Z"), utc("2026-11-22T01:30:45Z"));
    assert_eq!(told(&in_time), ["22 01:30 on time"]);
}

#[test]
fn a_clock_set_back_doubles_nothing() {
    let progress = Progress { last_claimed: Some(utc("2026-11-22T01:30:00Z")), ..since("2026-11-01T00:00:00Z") };
    let agenda = nightly().agenda(&progress, utc("2026-11-21T01:30:00Z"));
    assert_eq!(agenda, Agenda { decisions: Vec::new(), wake_at: Some(utc("2026-11-23T01:30:00Z")) });
}

#[test]
fn a_slot_that_overlaps_a_run_is_skipped_and_names_it() {
    let progress = Progress { running: Some(utc("2026-11-21T01:30:00Z")), ..since("2026-11-22T00:00:00Z") };
    let agenda = nightly().agenda(&progress, utc("2026-11-22T01:30:00Z"));
    assert_eq!(told(&agenda), ["22 01:30 skipped: the run of slot 2026-11-21 01:30:00Z still works"]);
}

#[test]
fn a_slot_whose_time_is_closed_is_skipped_with_what_closed_it() {
    let hourly = windows(schedule(&["@hourly"]), &["22:00-06:00"], &["11-22 03:00-04:00"]);
    let progress = Progress { last_claimed: Some(utc("2026-11-22T01:00:00Z")), ..since("2026-11-01T00:00:00Z") };
    let agenda = hourly.agenda(&progress, utc("2026-11-22T02:00:00Z"));
    assert_eq!(told(&agenda), ["22 02:00 skipped: in the blackout \"11-22 03:00-04:00\""]);
    let progress = Progress { last_claimed: Some(utc("2026-11-22T04:00:00Z")), ..progress };
    let agenda = hourly.agenda(&progress, utc("2026-11-22T05:00:00Z"));
    assert_eq!(told(&agenda), ["22 05:00 skipped: outside the policy's window"]);
}

#[test]
fn a_late_slot_waits_for_the_window_and_then_runs() {
    let night = windows(nightly(), &["22:00-06:00"], &[]);
    let progress = since("2026-11-21T12:00:00Z");
    // 12:00 in Berlin: closed until 22:00, which is within the day that it catches up for.
    let agenda = night.agenda(&progress, utc("2026-11-22T11:00:00Z"));
    assert_eq!(agenda, Agenda { decisions: Vec::new(), wake_at: Some(utc("2026-11-22T21:00:00Z")) });
    assert_eq!(told(&night.agenda(&progress, utc("2026-11-22T21:00:00Z"))), ["22 01:30 late by 19h30m"]);
}

#[test]
fn a_late_slot_whose_window_opens_too_late_is_missed() {
    let night = catch_up(windows(nightly(), &["22:00-06:00"], &[]), "12h");
    let agenda = night.agenda(&since("2026-11-21T12:00:00Z"), utc("2026-11-22T11:00:00Z"));
    assert_eq!(told(&agenda), ["22 01:30 missed: outside the policy's window, which does not open in time to catch up"]);
    assert_eq!(agenda.decisions[0].verdict, Verdict::Missed(Missed::NeverOpened(Closure::Outside)));
}

#[test]
fn a_slot_missed_before_the_window_closed_is_not_hidden_by_closed_ones() {
    let hourly = windows(schedule(&["@hourly"]), &["22:00-06:00"], &[]);
    // The host was down from 05:30 to 09:10 in Berlin. 05:00 ran; 06:00 to 09:00 were closed anyway.
    let progress = Progress { last_claimed: Some(utc("2026-11-22T03:00:00Z")), ..since("2026-11-01T00:00:00Z") };
    let agenda = hourly.agenda(&progress, utc("2026-11-22T08:10:00Z"));
    assert_eq!(agenda.wake_at, Some(utc("2026-11-22T09:00:00Z")), "{agenda:?}");
    assert!(agenda.decisions.is_empty(), "05:00 waits for the next opening: {agenda:?}");
}

#[test]
fn several_expressions_are_one_line_of_slots() {
    let twice = schedule(&["0 3 * * *", "0 15 * * *", "0 3 * * sun"]);
    let slots: Vec<_> = twice.slots_after(utc("2026-11-21T12:00:00Z")).take(3).collect();
    assert_eq!(slots, ["2026-11-21T14:00:00Z", "2026-11-22T02:00:00Z", "2026-11-22T14:00:00Z"].map(utc));
}

#[test]
fn a_month_of_minutes_is_decided_in_bounded_looks() {
    let minutely = catch_up(schedule(&["* * * * *"]), "10m");
    let now = utc("2026-11-22T00:00:30Z");
    let mut progress = since("2026-10-22T00:00:00Z");
    let (mut looks, mut slots, mut runs) = (0, 0, 0);
    loop {
        let agenda = minutely.agenda(&progress, now);
        let Some(last) = agenda.decisions.last() else { break };
        assert!(agenda.decisions.len() <= MOST_SLOTS);
        progress.last_claimed = Some(last.due_at);
        runs += agenda.decisions.iter().filter(|decision| decision.verdict.runs()).count();
        (looks, slots) = (looks + 1, slots + agenda.decisions.len());
    }
    assert_eq!((looks, slots, runs), (45, 31 * 1440, 1));
}

#[test]
fn a_start_adds_a_slot_only_when_asked_to() {
    let started_at = utc("2026-11-22T11:22:33.444Z");
    assert_eq!(nightly().on_start(started_at), None);
    let eager = Schedule { run_on_start: true, ..nightly() };
    assert_eq!(eager.on_start(started_at).unwrap().due_at, utc("2026-11-22T11:22:33Z"));
    let closed = windows(eager, &["22:00-06:00"], &[]).on_start(started_at).unwrap();
    assert_eq!(closed.verdict.code(), "skipped-closed");
}

#[rstest]
#[case(windows(nightly(), &["08:00-18:00"], &[]), "no slot lies within the windows, so nothing would ever run; the first is due 2026-01-01 02:30")]
#[case(Schedule { spread: Exact::seconds(3600), deadline: Some(Exact::seconds(3600)), ..nightly() },
    "the spread of 1h reaches the deadline of 1h, so the last VMs would never start; shorten the spread")]
fn a_schedule_that_does_not_hang_together_is_refused(#[case] schedule: Schedule, #[case] message: &str) {
    assert_eq!(schedule.check(utc("2026-01-01T00:00:00Z")).unwrap_err().to_string(), message);
}

#[test]
fn a_schedule_is_another_one_when_its_times_change_and_only_then() {
    let other = Schedule { spread: Exact::seconds(60), run_on_start: true, ..nightly() };
    assert_eq!(nightly().signature(), other.signature());
    assert_ne!(nightly().signature(), schedule(&["30 3 * * *"]).signature());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// However the clock jumps and whenever somebody looks: each slot is decided once, in order, none from before it counted.
    #[test]
    fn every_slot_is_decided_exactly_once(
        expressions in prop::sample::subsequence(vec!["30 2 * * *", "@hourly", "*/20 1-4 * * *", "0 12 * * fri", "0 0 13 * *"], 1..4),
        restricted: bool,
        looks in prop::collection::vec((-3600..200_000_i64, prop::bool::weighted(0.2)), 1..40),
    ) {
        let schedule = windows(schedule(&expressions), if restricted { &["22:00-10:00"] } else { &[] }, &["Sun 04:00-05:00"]);
        let start = utc("2026-10-20T00:00:00Z");
        let mut progress = Progress { counts_from: start, last_claimed: None, running: None };
        let (mut now, mut claimed, mut newest) = (start, Vec::new(), start);
        for (step, busy) in looks {
            now += TimeDelta::seconds(step);
            newest = newest.max(now);
            progress.running = busy.then_some(start);
            let agenda = schedule.agenda(&progress, now);
            prop_assert!(agenda.decisions.iter().filter(|decision| decision.verdict.runs()).count() <= 1);
            prop_assert!(agenda.wake_at.is_some_and(|wake| wake > now));
            claimed.extend(agenda.decisions.iter().map(|decision| decision.due_at));
            progress.last_claimed = claimed.last().copied();
        }
        let expected: Vec<_> = schedule.slots_after(start).take_while(|at| *at <= newest).collect();
        prop_assert_eq!(&claimed[..], &expected[..claimed.len()]);
        // What is left over waits for an opening; without windows nothing may wait.
        prop_assert!(restricted || expected[claimed.len()..].iter().all(|at| *at > newest - TimeDelta::days(1)));
    }
}

#[rstest]
#[case::every_night(&["30 2 * * *"], &[], &[], Some(25))]
#[case::working_days(&["0 22 * * mon-fri"], &[], &[], Some(73))]
#[case::every_minute_of_working_hours(&["* 9-17 * * mon-fri"], &[], &[], Some(64))]
#[case::twice_a_day(&["0 6 * * *", "0 12 * * *"], &[], &[], Some(19))]
#[case::the_first_of_each_month(&["0 0 1 * *"], &[], &[], Some(31 * 24 + 1))]
#[case::slots_outside_a_window_are_none(&["0 * * * *"], &["22:00-05:00"], &[], Some(18))]
#[case::a_closed_week(&["30 2 * * *"], &[], &["2026-11-01..2026-11-07"], Some(8 * 24))]
#[case::a_leap_day(&["0 0 29 2 *"], &[], &[], None)]
fn the_longest_time_between_two_slots_is_that_over_weekends_nights_and_what_is_closed(
    #[case] expressions: &[&str],
    #[case] open: &[&str],
    #[case] blackouts: &[&str],
    #[case] hours: Option<i64>,
) {
    // The clocks go back within the time that is looked at.
    let found = windows(schedule(expressions), open, blackouts).longest_interval(utc("2026-10-12T00:00:00Z"));
    assert_eq!(found.map(|found| found.num_hours()), hours, "{found:?}");
}
