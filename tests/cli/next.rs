//! `xensnap next`.

use snapbox::str;
use xensnap::domain::pause::{Pause, Scope};
use xensnap::engine::wishes::Wishes;

use crate::world::*;

#[tokio::test]
async fn coming_slots_are_shown_as_timers_are() {
    let world = World::week().await;
    world.configured(80, "next").assert().success().stdout_eq(str![[r#"
NEXT                        LEFT      PASSED  POLICY                       POOL
Sat 2026-03-07 12:30 CET     due    2d9h ago  hourly                       tokyo
    the daemon has not looked yet: late by 30m; 56 before it do not run
Sat 2026-03-07 13:30 CET     30m           -  hourly                       osaka
    new: it counts once the daemon has reached the pool
Sun 2026-03-08 09:15 JST  12h15m           -  weekly-archive-of-the-toky…  osaka
    new: it counts once the daemon has reached the pool
Sun 2026-03-08 09:15 JST  12h15m           -  weekly-archive-of-the-toky…  tokyo
    new: it counts once the daemon has reached the pool
Sun 2026-03-08 02:30 CET  13h30m  10h30m ago  nightly                      tokyo
    will be skipped: in the blackout "2026-03-08"
Mon 2026-03-09 02:30 CET   1d13h              nightly                      tokyo
-                              -           -  old                          osaka
    disabled
-                              -           -  old                          tokyo
    disabled

"#]]);
}

#[tokio::test]
async fn a_wide_screen_shows_the_slot_before_too() {
    let world = World::week().await;
    world.configured(200, "next").assert().success().stdout_eq(str![[r#"
NEXT                        LEFT  LAST                          PASSED  POLICY                              POOL   NOTE
Sat 2026-03-07 12:30 CET     due  Thu 2026-03-05 03:30 CET    2d9h ago  hourly                              tokyo  the daemon has not looked yet: late by 30m; 56 before it do not run
Sat 2026-03-07 13:30 CET     30m  -                                  -  hourly                              osaka  new: it counts once the daemon has reached the pool
Sun 2026-03-08 09:15 JST  12h15m  -                                  -  weekly-archive-of-the-tokyo-office  osaka  new: it counts once the daemon has reached the pool
Sun 2026-03-08 09:15 JST  12h15m  -                                  -  weekly-archive-of-the-tokyo-office  tokyo  new: it counts once the daemon has reached the pool
Sun 2026-03-08 02:30 CET  13h30m  Sat 2026-03-07 02:30 CET  10h30m ago  nightly                             tokyo  will be skipped: in the blackout "2026-03-08"
Mon 2026-03-09 02:30 CET   1d13h                                        nightly                             tokyo
-                              -  -                                  -  old                                 osaka  disabled
-                              -  -                                  -  old                                 tokyo  disabled

"#]]);
}

#[tokio::test]
async fn several_slots_of_one_policy_are_shown_in_utc_on_request() {
    let world = World::week().await;
    world.configured(80, "next --policy nightly --count 3 --utc").assert().success().stdout_eq(str![[r#"
NEXT                        LEFT      PASSED  POLICY   POOL
Sun 2026-03-08 01:30 UTC  13h30m  10h30m ago  nightly  tokyo
    will be skipped: in the blackout "2026-03-08"
Mon 2026-03-09 01:30 UTC   1d13h              nightly  tokyo
Tue 2026-03-10 01:30 UTC   2d13h              nightly  tokyo

"#]]);
}

#[tokio::test]
async fn before_the_daemon_has_run_the_slots_are_shown_all_the_same() {
    let world = World::empty().await;
    std::fs::remove_file(world.path()).unwrap();
    world.configured(80, "next").assert().success().stdout_eq(str![[r#"
NEXT                        LEFT  POLICY                              POOL
Sat 2026-03-07 13:30 CET     30m  hourly                              osaka
    new: it counts once the daemon has reached the pool
Sat 2026-03-07 13:30 CET     30m  hourly                              tokyo
    new: it counts once the daemon has reached the pool
Sun 2026-03-08 09:15 JST  12h15m  weekly-archive-of-the-tokyo-office  osaka
    new: it counts once the daemon has reached the pool
Sun 2026-03-08 09:15 JST  12h15m  weekly-archive-of-the-tokyo-office  tokyo
    new: it counts once the daemon has reached the pool
Sun 2026-03-08 02:30 CET  13h30m  nightly                             tokyo
    will be skipped: in the blackout "2026-03-08"
Mon 2026-03-09 02:30 CET   1d13h  nightly                             tokyo
-                              -  old                                 osaka
    disabled
-                              -  old                                 tokyo
    disabled

"#]]);
}

#[tokio::test]
async fn a_slot_that_is_paused_is_told_with_who_said_so() {
    let world = World::week().await;
    let pause = Pause {
        id: uuid::Uuid::nil(),
        scope: Scope::Policy("weekly-archive-of-the-tokyo-office".parse().unwrap()),
        name: "policy weekly-archive-of-the-tokyo-office".into(),
        from: night(5),
        until: Some(night(9)),
        reason: "the tapes are moved".into(),
        by: "alice".into(),
    };
    Wishes::default().pause(&world.store, pause, night(5)).await.unwrap();
    world.configured(80, "next --policy weekly-archive-of-the-tokyo-office").assert().success().stdout_eq(str![[r#"
NEXT                        LEFT  POLICY                              POOL
Sun 2026-03-08 09:15 JST  12h15m  weekly-archive-of-the-tokyo-office  osaka
    will be skipped: paused (policy weekly-archive-of-the-tokyo-office) by alice
    until 2026-03-10 01:30 UTC: the tapes are moved
Sun 2026-03-08 09:15 JST  12h15m  weekly-archive-of-the-tokyo-office  tokyo
    will be skipped: paused (policy weekly-archive-of-the-tokyo-office) by alice
    until 2026-03-10 01:30 UTC: the tapes are moved

"#]]);
}
