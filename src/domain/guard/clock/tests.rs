use proptest::prelude::*;

use super::*;

fn now() -> DateTime<Utc> {
    "2026-03-02T02:00:00Z".parse().unwrap()
}

fn judged(server: Option<TimeDelta>, history: Option<TimeDelta>) -> Result<(), String> {
    let at = |by: TimeDelta| now() + by;
    let witnesses = Witnesses { now: now(), server: server.map(at), newest: None, agreed: history.map(at) };
    judge(&witnesses).map_err(|why| why.to_string())
}

#[test]
fn a_server_that_agrees_is_enough_whatever_the_history_says() {
    for history in [None, Some(TimeDelta::days(-400)), Some(TimeDelta::days(400)), Some(TimeDelta::zero())] {
        assert_eq!(judged(Some(TimeDelta::seconds(40)), history), Ok(()));
        assert_eq!(judged(Some(-APART), history), Ok(()));
    }
}

#[test]
fn a_server_that_shows_another_time_is_told_with_what_the_history_says_of_ours() {
    let year = TimeDelta::days(365);
    assert_eq!(judged(Some(year), None).unwrap_err(), "the server's clock is 365d ahead of ours");
    assert_eq!(
        judged(Some(-year), Some(-year)).unwrap_err(),
        "the server's clock is 365d behind ours; by the history ours jumped ahead, or the service was away for 365d"
    );
    assert_eq!(
        judged(Some(TimeDelta::minutes(90)), Some(TimeDelta::minutes(85))).unwrap_err(),
        "the server's clock is 1h30m ahead of ours; by the history ours went back by 1h25m"
    );
}

#[test]
fn where_the_server_is_silent_the_history_stands_in() {
    assert_eq!(judged(None, Some(TimeDelta::hours(-30))), Ok(()));
    assert_eq!(judged(None, Some(APART)), Ok(()));
    let told = judged(None, Some(TimeDelta::days(-9))).unwrap_err();
    assert_eq!(
        told,
        "our clock agreed with the server's 9d ago by its own count, may have jumped ahead since, and the server does not say"
    );
    let told = judged(None, Some(TimeDelta::hours(5))).unwrap_err();
    assert_eq!(told, "the history is 5h ahead of our clock, which must have gone back, and the server does not say");
    let old = Witnesses { now: now(), server: None, newest: Some(now() + TimeDelta::days(1)), agreed: Some(now()) };
    assert_eq!(judge(&old), Err(Implausible::WentBack { by: TimeDelta::days(1) }));
    assert_eq!(judged(None, None).unwrap_err(), "neither the server nor the history says what time it is");
}

proptest! {
    /// A clock of ours that is wrong by more than two days is never believed on its own word, and never against a server that is right.
    #[test]
    fn a_wrong_clock_is_never_believed(by in 3..4000i64, back: bool, silent: bool, since in 0..47i64) {
        let wrong = TimeDelta::days(if back { -by } else { by });
        let truth = now();
        let server = (!silent).then_some(truth);
        let agreed = Some(truth - TimeDelta::hours(since));
        // What was written down since the clock went wrong is wrong too, and proves nothing.
        let judged = judge(&Witnesses { now: truth + wrong, server, newest: Some(truth + wrong), agreed });
        prop_assert!(judged.is_err(), "{judged:?}");
    }

    /// One that is right is believed, however long the service was away, as soon as the server says so.
    #[test]
    fn a_right_clock_is_believed_once_the_server_agrees(away in -4000..4000i64, off in -600..=600i64) {
        let witnesses = Witnesses {
            now: now(),
            server: Some(now() + TimeDelta::seconds(off)),
            newest: Some(now() + TimeDelta::days(away)),
            agreed: Some(now() - TimeDelta::days(away)),
        };
        prop_assert_eq!(judge(&witnesses), Ok(()));
    }
}
