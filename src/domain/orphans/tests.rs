use super::*;

fn at(hour: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::hours(hour)
}

fn forgotten() -> Disk {
    Disk { gone: Gone::Forgotten, since: at(0), pinned: false, spared: false, signs: Signs::default() }
}

#[test]
fn a_disk_of_a_snapshot_that_the_server_forgot_goes_after_a_day() {
    assert_eq!(disk(&forgotten(), at(23)), Judgement::Later(at(24)));
    assert_eq!(disk(&forgotten(), at(24)), Judgement::Repair(()));
    assert_eq!(disk(&Disk { gone: Gone::Removed, ..forgotten() }, at(24)), Judgement::Repair(()));
}

#[test]
fn a_disk_that_anybody_may_want_never_goes_by_itself() {
    let lists = |disk_| match disk(&disk_, at(1000)) {
        Judgement::List(why) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(lists(Disk { gone: Gone::ByOthers, ..forgotten() }), Why::ByOthers);
    assert_eq!(lists(Disk { pinned: true, ..forgotten() }), Why::Pinned);
    assert_eq!(lists(Disk { spared: true, ..forgotten() }), Why::Spared);
    assert_eq!(lists(Disk { signs: Signs { renamed: true, ..Signs::default() }, ..forgotten() }), Why::Renamed);
}

#[test]
fn what_is_used_is_no_leftover() {
    let used = [
        Signs { snapshot_is_back: true, ..Signs::default() },
        Signs { used: true, ..Signs::default() },
        Signs { unmanaged: true, ..Signs::default() },
    ];
    for signs in used {
        assert_eq!(disk(&Disk { signs, ..forgotten() }, at(1000)), Judgement::Fine, "{signs:?}");
        assert!(spared(signs).is_some());
    }
    assert_eq!(spared(Signs::default()), None);
}

#[test]
fn a_name_alone_never_removes_a_snapshot_and_marks_none() {
    for hours in [0, 2, 3, 10_000] {
        let judged = unmarked(&Known::NameOnly, Some(at(0)), at(hours));
        assert!(!matches!(judged, Judgement::Repair(_)), "{judged:?}");
    }
    assert_eq!(unmarked(&Known::NameOnly, Some(at(0)), at(2)), Judgement::Fine, "another installation may be about to mark it");
    assert_eq!(unmarked(&Known::NameOnly, Some(at(0)), at(3)), Judgement::List(Why::NameOnly));
}

#[test]
fn what_the_history_recorded_is_marked_again_and_what_failed_goes() {
    assert_eq!(unmarked(&Known::Counts, None, at(0)), Judgement::Repair(Mend::Mark));
    assert_eq!(unmarked(&Known::Late, None, at(0)), Judgement::Repair(Mend::Mark));
    assert_eq!(unmarked(&Known::Removed, None, at(0)), Judgement::Repair(Mend::Ghost));
    assert_eq!(unmarked(&Known::Failed, None, at(0)), Judgement::Repair(Mend::Remove));
    assert_eq!(unmarked(&Known::InHands, None, at(1000)), Judgement::Fine);
}

#[test]
fn a_task_of_which_the_history_knows_nothing_is_anothers() {
    for (ended, told) in [(false, false), (true, false), (false, true), (true, true)] {
        assert_eq!(task(Task { awaited: None, ended, told }), Judgement::Fine);
        assert_eq!(task(Task { awaited: Some(true), ended, told }), Judgement::Fine);
    }
    let left = |ended, told| task(Task { awaited: Some(false), ended, told });
    assert_eq!(left(true, true), Judgement::Repair(Settle::Forget));
    assert_eq!(left(false, false), Judgement::Repair(Settle::Cancel));
    assert_eq!(left(false, true), Judgement::List(Why::EndsNot));
}

#[test]
fn a_guard_that_the_history_lost_is_a_pin_until_its_date() {
    assert_eq!(guard(at(5), Some(at(5)), at(9)), Judgement::Fine, "whoever ends pins takes it off");
    assert_eq!(guard(at(5), None, at(4)), Judgement::Repair(Guard::Record));
    assert_eq!(guard(at(5), None, at(5)), Judgement::Repair(Guard::TakeOff));
}

#[test]
fn every_reason_says_what_to_do_and_has_a_code_of_its_own() {
    use std::collections::BTreeSet;
    let codes: BTreeSet<&str> = Why::CODES.iter().copied().collect();
    assert_eq!(codes.len(), Why::CODES.len());
    let all = [Why::Waits, Why::Detached("its VM is gone".into()), Why::Stuck("busy".into()), Why::EndsNot, Why::Suspended];
    for why in all {
        assert!(codes.contains(why.code()));
        assert!(!why.todo(uuid::Uuid::nil()).is_empty() && !why.to_string().is_empty());
    }
}
