//! `xensnap snapshots`.

use snapbox::str;

use crate::world::*;

#[tokio::test]
async fn snapshots_are_listed_by_vm_and_policy() {
    let world = World::week().await;
    world.run(80, "snapshots").assert().success().stdout_eq(str![[r#"
  DUE (Berlin)         AGE  KIND  STATE    SNAPSHOT
database-server-of-the-accounting-department, policy nightly: 1 snapshot
  2026-03-05 02:30   2d10h  disk  durable  5e000009-0000-4000-8000-000000000009
web-01, policy nightly: 3 snapshots
  2026-03-07 02:30  10h29m  disk  marked   6000000d-0000-4000-8000-00000000000d
  2026-03-05 02:30   2d10h  disk  durable  5e000008-0000-4000-8000-000000000008
      pinned until 2026-04-10 03:30: before the migration
  2026-03-02 02:30   5d10h  disk  durable  5b000006-0000-4000-8000-000000000006
ファイルサーバ, policy nightly: 1 snapshot
  2026-03-05 02:30   2d10h  disk  durable  5e00000a-0000-4000-8000-00000000000a

"#]]);
}

#[tokio::test]
async fn a_wide_screen_shows_whole_uuids_and_pins_beside() {
    let world = World::week().await;
    world.run(200, "snapshots").assert().success().stdout_eq(str![[r#"
  DUE (Berlin)         AGE  KIND  STATE    SNAPSHOT                              PINNED, GONE
database-server-of-the-accounting-department, policy nightly: 1 snapshot
  2026-03-05 02:30   2d10h  disk  durable  5e000009-0000-4000-8000-000000000009
web-01, policy nightly: 3 snapshots
  2026-03-07 02:30  10h29m  disk  marked   6000000d-0000-4000-8000-00000000000d
  2026-03-05 02:30   2d10h  disk  durable  5e000008-0000-4000-8000-000000000008  pinned until 2026-04-10 03:30: before the migration
  2026-03-02 02:30   5d10h  disk  durable  5b000006-0000-4000-8000-000000000006
ファイルサーバ, policy nightly: 1 snapshot
  2026-03-05 02:30   2d10h  disk  durable  5e00000a-0000-4000-8000-00000000000a

"#]]);
}

#[tokio::test]
async fn those_that_are_gone_are_listed_on_request() {
    let world = World::week().await;
    world.run(80, "snapshots --all --vm web-01").assert().success().stdout_eq(str![[r#"
  DUE (Berlin)         AGE  KIND  STATE    SNAPSHOT
web-01, policy nightly: 4 snapshots
  2026-03-07 02:30  10h29m  disk  marked   6000000d-0000-4000-8000-00000000000d
  2026-03-05 02:30   2d10h  disk  durable  5e000008-0000-4000-8000-000000000008
      pinned until 2026-04-10 03:30: before the migration
  2026-03-02 02:30   5d10h  disk  durable  5b000006-0000-4000-8000-000000000006
  2026-03-01 02:30   6d10h  disk  removed  5a000002-0000-4000-8000-000000000002
      gone since 2026-03-05 02:31:20

"#]]);
}

#[tokio::test]
async fn snapshots_are_narrowed_by_policy() {
    let world = World::week().await;
    world.run(80, "snapshots --policy hourly").assert().success().stdout_eq(str![[r#"
No such snapshots. --all shows also those that are gone.

"#]]);
}

#[tokio::test]
async fn with_a_configuration_it_is_said_why_each_stays_and_when_it_goes() {
    let world = World::week().await;
    world.configured(80, "snapshots").assert().success().stdout_eq(str![[r#"
  DUE (Berlin)         AGE  STATE    KEPT BY                  GOES      SNAPSHOT
database-server-of-the-accounting-department, policy nightly: 1 snapshot
  2026-03-05 02:30   2d10h  durable  last good, last, daily…  in 7d13h  5e000009
web-01, policy nightly: 3 snapshots
  2026-03-07 02:30  10h29m  marked   not durable yet          in 7d13h  6000000d
  2026-03-05 02:30   2d10h  durable  last good, last, daily…  in 34d    5e000008
      pinned until 2026-04-10 03:30: before the migration
  2026-03-02 02:30   5d10h  durable  last, daily              in 5d13h  5b000006
ファイルサーバ, policy nightly: 1 snapshot
  2026-03-05 02:30   2d10h  durable  last good, last, daily…  in 7d13h  5e00000a

"#]]);
}

#[tokio::test]
async fn a_wide_screen_shows_the_time_at_which_each_goes() {
    let world = World::week().await;
    world.configured(200, "snapshots").assert().success().stdout_eq(str![[r#"
  DUE (Berlin)         AGE  KIND  STATE    KEPT BY                                  GOES      GOES AT           SNAPSHOT
database-server-of-the-accounting-department, policy nightly: 1 snapshot
  2026-03-05 02:30   2d10h  disk  durable  last good, last, daily, monthly          in 7d13h  2026-03-15 02:30  5e000009-0000-4000-8000-000000000009
web-01, policy nightly: 3 snapshots
  2026-03-07 02:30  10h29m  disk  marked   not durable yet                          in 7d13h  2026-03-15 02:30  6000000d-0000-4000-8000-00000000000d
  2026-03-05 02:30   2d10h  disk  durable  last good, last, daily, monthly, pinned  in 34d    2026-04-11 02:30  5e000008-0000-4000-8000-000000000008
      pinned until 2026-04-10 03:30: before the migration
  2026-03-02 02:30   5d10h  disk  durable  last, daily                              in 5d13h  2026-03-13 02:30  5b000006-0000-4000-8000-000000000006
ファイルサーバ, policy nightly: 1 snapshot
  2026-03-05 02:30   2d10h  disk  durable  last good, last, daily, monthly          in 7d13h  2026-03-15 02:30  5e00000a-0000-4000-8000-00000000000a

"#]]);
}
