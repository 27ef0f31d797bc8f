//! `xensnap history`.

use snapbox::str;

use crate::world::*;

#[tokio::test]
async fn runs_are_listed_newest_first() {
    let world = World::week().await;
    world.run(80, "history").assert().success().stdout_eq(str![[r#"
RUN  DUE (Berlin)      LATE  POLICY   OUTCOME    DONE  FAIL  SKIP  REMOVED
  5  2026-03-07 02:30    2s  nightly  running       -     -     -        -
  4  2026-03-05 03:30    2s  hourly   observed      1     0     0        0
  3  2026-03-05 02:30    2s  nightly  succeeded     3     0     0        1
  2  2026-03-02 02:30    2s  nightly  partial       1     1     1        0
    1 of 3 VMs failed: there is no space on SR "san-2"
  1  2026-03-01 02:30    2s  nightly  succeeded     3     0     0        0

"#]]);
}

#[tokio::test]
async fn a_wide_screen_shows_more_of_each_run() {
    let world = World::week().await;
    world.run(200, "history").assert().success().stdout_eq(str![[r#"
RUN  DUE (Berlin)      UTC               LATE  POLICY   POOL   OUTCOME    DONE  FAIL  SKIP  REMOVED    TOOK  CAUSE
  5  2026-03-07 02:30  2026-03-07 01:30    2s  nightly  tokyo  running       -     -     -        -       -
  4  2026-03-05 03:30  2026-03-05 02:30    2s  hourly   tokyo  observed      1     0     0        0      1s
  3  2026-03-05 02:30  2026-03-05 01:30    2s  nightly  tokyo  succeeded     3     0     0        1   1m24s
  2  2026-03-02 02:30  2026-03-02 01:30    2s  nightly  tokyo  partial       1     1     1        0  10m23s  1 of 3 VMs failed: there is no space on SR "san-2"
  1  2026-03-01 02:30  2026-03-01 01:30    2s  nightly  tokyo  succeeded     3     0     0        0   1m24s

"#]]);
}

#[tokio::test]
async fn times_are_shown_in_utc_on_request() {
    let world = World::week().await;
    world.run(80, "history --utc --limit 2").assert().success().stdout_eq(str![[r#"
RUN  DUE (UTC)         LATE  POLICY   POOL   OUTCOME   DONE  FAIL  SKIP  REMOVED
  5  2026-03-07 01:30    2s  nightly  tokyo  running      -     -     -        -
  4  2026-03-05 02:30    2s  hourly   tokyo  observed     1     0     0        0

The newest 2 are shown. For those before them add --after 1772677802000000.4

"#]]);
}

#[tokio::test]
async fn runs_are_narrowed_by_policy_outcome_and_time() {
    let world = World::week().await;
    world
        .run(80, "history --policy nightly --outcome partial --since 2026-03-01 --until 2026-03-03 --pool tokyo")
        .assert()
        .success()
        .stdout_eq(str![[r#"
RUN  DUE (Berlin)      LATE  POLICY   OUTCOME  DONE  FAIL  SKIP  REMOVED
  2  2026-03-02 02:30    2s  nightly  partial     1     1     1        0
    1 of 3 VMs failed: there is no space on SR "san-2"

"#]]);
}

#[tokio::test]
async fn a_list_says_how_to_go_on_and_goes_on_there() {
    let world = World::week().await;
    world.run(80, "history --limit 2").assert().success().stdout_eq(str![[r#"
RUN  DUE (Berlin)      LATE  POLICY   OUTCOME   DONE  FAIL  SKIP  REMOVED
  5  2026-03-07 02:30    2s  nightly  running      -     -     -        -
  4  2026-03-05 03:30    2s  hourly   observed     1     0     0        0

The newest 2 are shown. For those before them add --after 1772677802000000.4

"#]]);
}

#[tokio::test]
async fn the_jobs_of_a_vm_are_listed_with_what_went_wrong() {
    let world = World::week().await;
    world.run(80, "history --vm database-server-of-the-accounting-department").assert().success().stdout_eq(str![[r#"
VM database-server-of-the-accounting-department (f10000a2-0000-4000-8000-0000000000a2) in pool tokyo
DUE (Berlin)      UTC               POLICY   KIND  STATE   CALLS   TOOK  RUN
2026-03-05 02:30  2026-03-05 01:30  nightly  disk  done        1  1m13s    3
2026-03-02 02:30  2026-03-02 01:30  nightly  disk  failed      2  9m58s    2
    SR_BACKEND_FAILURE_44: There is insufficient space [opterr=VDI size 1650
    GiB]
2026-03-01 02:30  2026-03-01 01:30  nightly  disk  done        1  1m13s    1

"#]]);
}

#[tokio::test]
async fn on_a_wide_screen_a_cause_stands_beside_its_job() {
    let world = World::week().await;
    world.run(200, "history --vm database-server-of-the-accounting-department").assert().success().stdout_eq(str![[r#"
VM database-server-of-the-accounting-department (f10000a2-0000-4000-8000-0000000000a2) in pool tokyo
DUE (Berlin)      UTC               POLICY   KIND  STATE   CALLS   TOOK  RUN  CAUSE
2026-03-05 02:30  2026-03-05 01:30  nightly  disk  done        1  1m13s    3
2026-03-02 02:30  2026-03-02 01:30  nightly  disk  failed      2  9m58s    2  SR_BACKEND_FAILURE_44: There is insufficient space [opterr=VDI size 1650 GiB]
2026-03-01 02:30  2026-03-01 01:30  nightly  disk  done        1  1m13s    1

"#]]);
}

#[tokio::test]
async fn every_due_time_is_listed_with_the_reason_why_it_did_not_run() {
    let world = World::week().await;
    world.run(80, "history --slots").assert().success().stdout_eq(str![[r#"
DUE (Berlin)      UTC               POLICY   ORIGIN    DECIDED  RUN  OUTCOME
2026-03-07 02:30  2026-03-07 01:30  nightly  schedule  claimed    5  running
2026-03-05 03:30  2026-03-05 02:30  hourly   schedule  claimed    4  observed
2026-03-05 02:30  2026-03-05 01:30  nightly  schedule  claimed    3  succeeded
2026-03-04 02:30  2026-03-04 01:30  nightly  schedule  skipped    -  -
    in the blackout "2026-03-04"
2026-03-03 02:30  2026-03-03 01:30  nightly  schedule  missed     -  -
    found 14h late, the policy catches up for 12h
2026-03-02 02:30  2026-03-02 01:30  nightly  schedule  claimed    2  partial
2026-03-01 02:30  2026-03-01 01:30  nightly  schedule  claimed    1  succeeded

"#]]);
}

#[tokio::test]
async fn due_times_are_narrowed_by_state() {
    let world = World::week().await;
    world.run(200, "history --slots --state missed").assert().success().stdout_eq(str![[r#"
DUE (Berlin)      UTC               POLICY   POOL   ORIGIN    DECIDED  RUN  OUTCOME  WHY
2026-03-03 02:30  2026-03-03 01:30  nightly  tokyo  schedule  missed     -  -        found 14h late, the policy catches up for 12h

"#]]);
}

#[tokio::test]
async fn where_there_is_nothing_the_list_says_what_to_try() {
    let world = World::empty().await;
    world.run(80, "history").assert().success().stdout_eq(str![[r#"
No such runs. A due time that was missed or skipped has none: --slots shows those too.

"#]]);
}

#[tokio::test]
async fn the_history_is_copied_while_it_is_in_use_and_a_copy_is_never_overwritten() {
    let world = World::week().await;
    let copy = world.folder.path().join("copy.db");
    let words = format!("history --backup {}", copy.display());
    let hidden = |bytes: &[u8]| {
        let folder = world.folder.path().canonicalize().unwrap();
        let said = String::from_utf8_lossy(bytes).replace(folder.to_str().unwrap(), "FOLDER");
        said.replace(&std::fs::metadata(&copy).unwrap().len().to_string(), "SIZE")
    };
    let copied = world.run(80, &words).assert().success();
    snapbox::assert_data_eq!(
        hidden(&copied.get_output().stdout),
        str![[r#"
FOLDER/copy.db holds the history as it was at Sat 2026-03-07 13:00:00 CET: SIZE bytes, read back and found whole.
To restore it, stop the daemon and put it in the place of FOLDER/history.db; the daemon recognises an older copy.

"#]]
    );
    let again = world.run(80, &words).assert().code(1);
    snapbox::assert_data_eq!(
        hidden(&again.get_output().stderr),
        str![[r#"
xensnap: FOLDER/copy.db exists and is not overwritten: name another file

"#]]
    );
    let read = xensnap(80).args(["history", "--limit", "1", "--now", NOW, "--database"]).arg(&copy).assert();
    read.success();
}
