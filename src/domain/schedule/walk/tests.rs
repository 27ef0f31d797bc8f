//! Tables of nights in which the clocks change, and the law behind them held against another implementation of cron.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Instant;

use chrono::{DateTime, FixedOffset, NaiveDateTime, TimeDelta, Utc};
use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn zone(name: &str) -> Zone {
    Zone::named(name).unwrap()
}

fn expression(text: &str) -> CronExpression {
    text.parse().unwrap()
}

/// The slots from `from` on, until and without `to`, as wall clock and offset.
fn slots(text: &str, name: &str, from: &str, to: &str) -> Vec<String> {
    let (zone, expression) = (zone(name), expression(text));
    let to: DateTime<Utc> = to.parse().unwrap();
    let mut at: DateTime<Utc> = from.parse().unwrap();
    let mut shown = Vec::new();
    while let Some(next) = expression.next_after(&zone, at).filter(|next| *next < to) {
        let offset = FixedOffset::east_opt(zone.offset(next)).unwrap();
        shown.push(next.with_timezone(&offset).format("%m-%d %H:%M%:z").to_string());
        at = next;
    }
    shown
}

#[rstest]
// Spring in Berlin: 02:00 becomes 03:00.
#[case("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", "2026-03-30T12:00:00Z",
    &["03-28 02:30+01:00", "03-29 03:30+02:00", "03-30 02:30+02:00"])]
// Autumn: 03:00 becomes 02:00.
#[case("30 2 * * *", "Europe/Berlin", "2026-10-24T00:00:00Z", "2026-10-26T12:00:00Z",
    &["10-24 02:30+02:00", "10-25 02:30+02:00", "10-26 02:30+01:00"])]
// The edges of the gap and of the overlap.
#[case("0 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z", &["03-29 03:00+02:00", "03-30 02:00+02:00"])]
#[case("0 3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z", &["03-29 03:00+02:00", "03-30 03:00+02:00"])]
#[case("59 1 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z", &["03-29 01:59+01:00"])]
#[case("0 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z", &["10-25 02:00+02:00", "10-26 02:00+01:00"])]
#[case("0 3 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z", &["10-25 03:00+01:00", "10-26 03:00+01:00"])]
// Two fixed times of which one is moved upon the other are one slot.
#[case("30 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z",
    &["03-29 03:30+02:00", "03-30 02:30+02:00", "03-30 03:30+02:00"])]
// A moved time does not overtake those that come naturally.
#[case("15,45 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T12:00:00Z", &["03-29 03:15+02:00", "03-29 03:45+02:00"])]
#[case("50 2,4 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T12:00:00Z", &["03-29 03:50+02:00", "03-29 04:50+02:00"])]
// Intervals fire in every real interval, neither late in spring nor silent in the repeated hour.
#[case("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T02:00:00Z",
    &["03-29 01:30+01:00", "03-29 03:00+02:00", "03-29 03:30+02:00"])]
#[case("*/30 * * * *", "Europe/Berlin", "2026-10-24T23:59:00Z", "2026-10-25T02:30:00Z",
    &["10-25 02:00+02:00", "10-25 02:30+02:00", "10-25 02:00+01:00", "10-25 02:30+01:00", "10-25 03:00+01:00"])]
#[case("0 * * * *", "Europe/Berlin", "2026-10-24T23:30:00Z", "2026-10-25T02:30:00Z",
    &["10-25 02:00+02:00", "10-25 02:00+01:00", "10-25 03:00+01:00"])]
// An interval that falls into the gap as a whole is not lost either; nothing fires twice within one.
#[case("0 */2 * * *", "Europe/Berlin", "2026-03-28T22:30:00Z", "2026-03-29T05:00:00Z",
    &["03-29 00:00+01:00", "03-29 03:00+02:00", "03-29 04:00+02:00", "03-29 06:00+02:00"])]
#[case("*/15 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z",
    &["03-29 03:00+02:00", "03-29 03:15+02:00", "03-29 03:30+02:00", "03-29 03:45+02:00"])]
// Half an hour on Lord Howe Island, at 02:00.
#[case("15 2 * * *", "Australia/Lord_Howe", "2026-10-02T16:00:00Z", "2026-10-04T16:00:00Z",
    &["10-04 02:45+11:00", "10-05 02:15+11:00"])]
#[case("*/20 * * * *", "Australia/Lord_Howe", "2026-10-03T15:00:00Z", "2026-10-03T16:30:00Z",
    &["10-04 01:40+10:30", "10-04 02:30+11:00", "10-04 02:40+11:00", "10-04 03:00+11:00", "10-04 03:20+11:00"])]
#[case("45 1 * * *", "Australia/Lord_Howe", "2026-04-03T15:00:00Z", "2026-04-05T16:00:00Z",
    &["04-05 01:45+11:00", "04-06 01:45+10:30"])]
// Samoa went without the 30th of December 2011.
#[case("0 12 * * *", "Pacific/Apia", "2011-12-29T00:00:00Z", "2011-12-31T20:00:00Z", &["12-29 12:00-10:00", "12-31 12:00+14:00"])]
#[case("0 12 30 12 *", "Pacific/Apia", "2011-12-01T00:00:00Z", "2012-12-01T00:00:00Z", &["12-31 12:00+14:00"])]
#[case("0 12 * * fri", "Pacific/Apia", "2011-12-28T00:00:00Z", "2012-01-07T00:00:00Z", &["12-31 12:00+14:00", "01-06 12:00+14:00"])]
// Havana changes at midnight: 00:00 becomes 01:00, 01:00 becomes 00:00.
#[case("0 0 * * *", "America/Havana", "2026-03-07T12:00:00Z", "2026-03-09T12:00:00Z", &["03-08 01:00-04:00", "03-09 00:00-04:00"])]
#[case("30 0 * * *", "America/Havana", "2026-10-31T12:00:00Z", "2026-11-02T12:00:00Z", &["11-01 00:30-04:00", "11-02 00:30-05:00"])]
// Casablanca goes back for Ramadan and forward after it.
#[case("30 2 * * *", "Africa/Casablanca", "2026-02-14T12:00:00Z", "2026-02-16T12:00:00Z", &["02-15 02:30+01:00", "02-16 02:30+00:00"])]
#[case("30 2 * * *", "Africa/Casablanca", "2026-03-21T12:00:00Z", "2026-03-23T12:00:00Z", &["03-22 03:30+01:00", "03-23 02:30+01:00"])]
// New York, Sydney (the other half of the year), Kolkata (half hours, no transitions).
#[case("0 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", "2026-03-09T12:00:00Z", &["03-08 03:00-04:00", "03-09 02:00-04:00"])]
#[case("30 2 * * *", "Australia/Sydney", "2026-10-03T00:00:00Z", "2026-10-05T00:00:00Z", &["10-04 03:30+11:00", "10-05 02:30+11:00"])]
#[case("0 0 * * *", "Asia/Kolkata", "2026-03-28T12:00:00Z", "2026-03-29T20:00:00Z", &["03-29 00:00+05:30", "03-30 00:00+05:30"])]
// Seconds.
#[case("*/30 59 1 * * *", "Europe/Berlin", "2026-03-29T00:59:10Z", "2026-03-29T12:00:00Z", &["03-29 01:59+01:00"])]
fn a_night_in_which_the_clocks_change(
    #[case] text: &str,
    #[case] zone: &str,
    #[case] from: &str,
    #[case] to: &str,
    #[case] expected: &[&str],
) {
    assert_eq!(slots(text, zone, from, to), expected);
}

#[test]
fn the_next_slot_is_never_the_present_one_and_never_in_the_past() {
    let (berlin, nightly) = (zone("Europe/Berlin"), expression("30 2 * * *"));
    let mut at: DateTime<Utc> = "2026-03-29T01:29:59.999Z".parse().unwrap();
    at = nightly.next_after(&berlin, at).unwrap();
    assert_eq!(at, "2026-03-29T01:30:00Z".parse::<DateTime<Utc>>().unwrap());
    at = nightly.next_after(&berlin, at).unwrap();
    assert_eq!(at, "2026-03-30T00:30:00Z".parse::<DateTime<Utc>>().unwrap());
}

#[test]
fn a_fixed_time_fires_once_on_every_day_from_1970_to_2100() {
    for name in ["Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "Africa/Casablanca"] {
        let (zone, nightly) = (zone(name), expression("30 2 * * *"));
        let (mut at, mut count) = (zone.instant("1970-01-01T00:00:00".parse().unwrap()), 0);
        let started = Instant::now();
        while let Some(next) = nightly.next_after(&zone, at) {
            assert!(next > at && next - at <= TimeDelta::hours(26), "{name}: {at} then {next}");
            (at, count) = (next, count + 1);
        }
        assert_eq!(count, 131 * 365 + 32, "{name}: days from 1970 to 2100");
        assert!(started.elapsed().as_secs() < 20, "{name} took {:?}", started.elapsed());
    }
}

#[test]
fn rare_days_are_found_far_ahead() {
    let (berlin, leap) = (zone("Europe/Berlin"), expression("0 12 29 2 *"));
    let next = leap.next_after(&berlin, "2096-03-01T00:00:00Z".parse().unwrap());
    assert_eq!(next, None, "2100 is no leap year");
    let next = leap.next_after(&berlin, "2088-03-01T00:00:00Z".parse().unwrap());
    assert_eq!(next, Some("2092-02-29T11:00:00Z".parse().unwrap()));
}

#[test]
fn the_edges_of_time_give_an_answer() {
    let (berlin, nightly) = (zone("Europe/Berlin"), expression("30 2 * * *"));
    assert_eq!(nightly.next_after(&berlin, DateTime::<Utc>::MIN_UTC), Some("1970-01-01T01:30:00Z".parse().unwrap()));
    assert_eq!(nightly.next_after(&berlin, DateTime::<Utc>::MAX_UTC), None);
}

/// Zones with transitions of many kinds, and days on which some of them have one.
const ZONES: [&str; 10] = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Havana",
    "Africa/Casablanca",
    "Pacific/Apia",
    "America/St_Johns",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "UTC",
];
const DAYS: [&str; 12] = [
    "2026-03-28",
    "2026-10-24",
    "2026-03-07",
    "2026-10-31",
    "2026-04-04",
    "2026-10-03",
    "2026-02-14",
    "2026-03-21",
    "2011-12-29",
    "2006-10-28",
    "2006-04-01",
    "2026-07-15",
];

fn list(first: u32, last: u32) -> impl Strategy<Value = String> {
    let value = (first..=last).prop_map(|n| n.to_string());
    let range = (first..=last, first..=last).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b)));
    let stepped = (first..=last, first..=last, 1..=7u32).prop_map(|(a, b, step)| format!("{}-{}/{step}", a.min(b), a.max(b)));
    prop::collection::vec(prop_oneof![4 => value, 2 => range, 1 => stepped], 1..3).prop_map(|items| items.join(","))
}

fn starred(first: u32, last: u32) -> impl Strategy<Value = String> {
    prop_oneof![2 => Just("*".to_owned()), 1 => (2..=7u32).prop_map(|step| format!("*/{step}")), 4 => list(first, last)]
}

/// Day fields: the other implementation takes `*/2` for restricted, Vixie does not; so stars stand alone here.
fn day(first: u32, last: u32) -> impl Strategy<Value = String> {
    prop_oneof![2 => Just("*".to_owned()), 1 => list(first, last)]
}

fn any_expression() -> impl Strategy<Value = String> {
    (starred(0, 59), starred(0, 23), day(1, 31), day(1, 12), day(0, 6))
        .prop_map(|(minute, hour, day, month, weekday)| format!("{minute} {hour} {day} {month} {weekday}"))
}

/// All civil times that match within `days` days from `from`, by the other implementation.
fn civil_matches(oracle: &croner::Cron, from: NaiveDateTime, days: i64) -> Vec<NaiveDateTime> {
    let end = jiff_civil(from + TimeDelta::days(days));
    let next = |at: &jiff::civil::DateTime| oracle.find_next_occurrence(at, false).ok().filter(|at| *at < end);
    let first = oracle.find_next_occurrence(&jiff_civil(from), true).ok().filter(|at| *at < end);
    std::iter::successors(first, next).map(chrono_civil).collect()
}

const EPOCH: jiff::civil::DateTime = jiff::civil::DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

fn jiff_civil(civil: NaiveDateTime) -> jiff::civil::DateTime {
    EPOCH + jiff::SignedDuration::from_secs(civil.and_utc().timestamp())
}

fn chrono_civil(civil: jiff::civil::DateTime) -> NaiveDateTime {
    DateTime::from_timestamp(civil.duration_since(EPOCH).as_secs(), 0).unwrap().naive_utc()
}

/// What the house asks for, without walking: every civil time is placed, or every real minute is looked at.
fn expected(
    expression: &CronExpression,
    oracle: &croner::Cron,
    zone: &Zone,
    from: DateTime<Utc>,
    days: i64,
) -> BTreeSet<DateTime<Utc>> {
    let civil_from = zone.civil(from).date().and_hms_opt(0, 0, 0).unwrap() - TimeDelta::days(2);
    let matches = civil_matches(oracle, civil_from, days + 4);
    let placed: BTreeSet<_> = matches.iter().map(|civil| zone.instant(*civil)).collect();
    if expression.pace() == Pace::Fixed {
        return placed;
    }
    let known: BTreeSet<_> = matches.iter().copied().collect();
    let minutes = (-2 * 1440..(days + 2) * 1440).map(|minute| from + TimeDelta::minutes(minute));
    let real: BTreeSet<_> = minutes.filter(|at| known.contains(&zone.civil(*at))).collect();
    let in_gap = matches.iter().filter(|civil| zone.civil(zone.instant(**civil)) != **civil).map(|civil| zone.instant(*civil));
    let lonely = in_gap.filter(|at| real.range(zone.segment(*at).start.unwrap()..=*at).next().is_none());
    real.iter().copied().chain(lonely).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn every_slot_around_a_transition_is_the_one_the_rule_asks_for(
        text in any_expression(),
        name in prop::sample::select(&ZONES[..]),
        day in prop::sample::select(&DAYS[..]),
    ) {
        let Ok(expression) = text.parse::<CronExpression>() else { return Ok(()) };
        let oracle = croner::Cron::from_str(&text).unwrap();
        let zone = zone(name);
        let from = format!("{day}T00:00:00Z").parse::<DateTime<Utc>>().unwrap();
        let to = from + TimeDelta::days(4);
        let expected: Vec<_> = expected(&expression, &oracle, &zone, from, 4).range(from..to).copied().collect();
        let mut walked = Vec::new();
        let mut at = from - TimeDelta::nanoseconds(1);
        while let Some(next) = expression.next_after(&zone, at).filter(|next| *next < to) {
            walked.push(next);
            at = next;
        }
        prop_assert_eq!(walked, expected, "{} in {} from {}", text, name, day);
    }

    #[test]
    fn civil_times_agree_with_another_implementation_anywhere_in_the_calendar(text in any_expression(), second in 0..3_500_000_000_i64) {
        let Ok(expression) = text.parse::<CronExpression>() else { return Ok(()) };
        let oracle = croner::Cron::from_str(&text).unwrap();
        let after = DateTime::from_timestamp(second, 0).unwrap().naive_utc();
        let theirs = oracle.find_next_occurrence(&jiff_civil(after), false).ok().map(chrono_civil);
        let ours = expression.next_civil(after);
        prop_assert_eq!(ours, theirs, "{} after {}", text, after);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,40}") {
        if let Err(error) = text.parse::<CronExpression>() {
            prop_assert!(text.get(error.at.clone()).is_some(), "{:?} is no part of {:?}", error.at, text);
        }
    }

    #[test]
    fn nothing_made_of_the_characters_of_cron_makes_the_reader_panic(text in "[-0-9*/, @a-z?#LW]{0,30}") {
        if let Err(error) = text.parse::<CronExpression>() {
            prop_assert!(text.get(error.at.clone()).is_some(), "{:?} is no part of {:?}", error.at, text);
        }
    }
}
