//! `xensnap show`.

use snapbox::str;

use crate::world::*;

#[tokio::test]
async fn a_run_is_shown_with_its_jobs_calls_and_events() {
    let world = World::week().await;
    world.run(80, "show 2").assert().success().stdout_eq(str![[r#"
Run 2
  uuid      4e000005-0000-4000-8000-000000000005
  policy    nightly
  pool      tokyo (00070c10-0000-4000-8000-000000000001)
  due       Mon 2026-03-02 02:30:00 CET (2026-03-02 01:30:00 UTC), by schedule
  started   Mon 2026-03-02 02:30:02 CET, 2s after it was due
  finished  Mon 2026-03-02 02:40:25 CET, after 10m23s
  outcome   partial: 3 jobs (1 done, 1 failed, 1 skipped), 0 snapshots removed
  cause     1 of 3 VMs failed: there is no space on SR "san-2"

Jobs
VM                                    KIND      STATE    CALLS    TOOK  SNAPSHOT
web-01                                disk      done         1  10m19s  5b000006
database-server-of-the-accounting-d…  disk      failed       2   9m58s  -
    SR_BACKEND_FAILURE_44: There is insufficient space [opterr=VDI size 1650
    GiB]
ファイルサーバ                        quiesced  skipped      0      0s  -
    no-guest-tools: the guest has no tools, so it cannot be quiesced

Calls
VM                CALL  SENT (Berlin)        RESULT     TOOK  NONCE     TASK
web-01               1  2026-03-02 02:30:03  succeeded   14s  k7m2x006  7a000006
database-server…     1  2026-03-02 02:30:20  refused      9s  p3q8r101  -
    SR_BACKEND_FAILURE_44: There is insufficient space [opterr=VDI size 1650
    GiB]
database-server…     2  2026-03-02 02:35:20  refused      9s  p3q8r102  -
    SR_BACKEND_FAILURE_44: There is insufficient space [opterr=VDI size 1650
    GiB]

Events
AT (Berlin)          SEVERITY  KIND
2026-03-02 02:35:29  error     failed
    SR "san-2" has no space left for a snapshot of
    database-server-of-the-accounting-department; free 1.7 TiB, or move the VM

"#]]);
}

#[tokio::test]
async fn a_run_is_shown_with_what_it_removed() {
    let world = World::week().await;
    world.run(80, "show 3").assert().success().stdout_eq(str![[r#"
Run 3
  uuid      4e000007-0000-4000-8000-000000000007
  policy    nightly
  pool      tokyo (00070c10-0000-4000-8000-000000000001)
  due       Thu 2026-03-05 02:30:00 CET (2026-03-05 01:30:00 UTC), by schedule
  started   Thu 2026-03-05 02:30:02 CET, 2s after it was due
  finished  Thu 2026-03-05 02:31:26 CET, after 1m24s
  outcome   succeeded: 3 jobs (3 done), 1 snapshot removed

Jobs
VM                                           KIND  STATE  CALLS   TOOK  SNAPSHOT
web-01                                       disk  done       1  1m13s  5e000008
database-server-of-the-accounting-departme…  disk  done       1  1m13s  5e000009
ファイルサーバ                               disk  done       1  1m13s  5e00000a

Calls
VM                CALL  SENT (Berlin)        RESULT     TOOK  NONCE     TASK
web-01               1  2026-03-05 02:30:03  succeeded   14s  k7m2x008  7a000008
database-server…     1  2026-03-05 02:30:23  succeeded   14s  k7m2x009  7a000009
ファイルサーバ       1  2026-03-05 02:30:43  succeeded   14s  k7m2x010  7a00000a

Removals
SNAPSHOT  PLANNED (Berlin)     STATE     TRIES  PARTS GONE  TOOK
5a000002  2026-03-05 02:31:20  done          1  3 of 3        5s
    no rule keeps it
5a000003  2026-03-05 02:31:20  orphaned      1  2 of 3        5s
    no rule keeps it; VDI_IN_USE: the disk is attached to the control domain
5a000004  2026-03-05 02:31:20  waiting       1  1 of 3         -
    no rule keeps it; VDI_IN_USE: the disk is attached to the control domain;
    next try in 13h31m

"#]]);
}

#[tokio::test]
async fn a_wide_screen_shows_a_run_in_full() {
    let world = World::week().await;
    world.run(200, "show 2").assert().success().stdout_eq(str![[r#"
Run 2
  uuid      4e000005-0000-4000-8000-000000000005
  policy    nightly
  pool      tokyo (00070c10-0000-4000-8000-000000000001)
  due       Mon 2026-03-02 02:30:00 CET (2026-03-02 01:30:00 UTC), by schedule
  started   Mon 2026-03-02 02:30:02 CET, 2s after it was due
  finished  Mon 2026-03-02 02:40:25 CET, after 10m23s
  outcome   partial: 3 jobs (1 done, 1 failed, 1 skipped), 0 snapshots removed
  cause     1 of 3 VMs failed: there is no space on SR "san-2"

Jobs
VM                                            KIND      STATE    CALLS    TOOK  SNAPSHOT                              CAUSE
web-01                                        disk      done         1  10m19s  5b000006-0000-4000-8000-000000000006
database-server-of-the-accounting-department  disk      failed       2   9m58s  -                                     SR_BACKEND_FAILURE_44: There is insufficient space [opterr=VDI size 1650 GiB]
ファイルサーバ                                quiesced  skipped      0      0s  -                                     no-guest-tools: the guest has no tools, so it cannot be quiesced

Calls
VM                                            CALL  SENT (Berlin)        RESULT     TOOK  NONCE     TASK
web-01                                           1  2026-03-02 02:30:03  succeeded   14s  k7m2x006  7a000006-0000-4000-8000-000000000006
database-server-of-the-accounting-department     1  2026-03-02 02:30:20  refused      9s  p3q8r101  -
    SR_BACKEND_FAILURE_44: There is insufficient space [opterr=VDI size 1650 GiB]
database-server-of-the-accounting-department     2  2026-03-02 02:35:20  refused      9s  p3q8r102  -
    SR_BACKEND_FAILURE_44: There is insufficient space [opterr=VDI size 1650 GiB]

Events
AT (Berlin)          SEVERITY  KIND    WHAT
2026-03-02 02:35:29  error     failed  SR "san-2" has no space left for a snapshot of database-server-of-the-accounting-department; free 1.7 TiB, or move the VM

"#]]);
}

#[tokio::test]
async fn a_run_that_goes_on_says_so() {
    let world = World::week().await;
    world.run(80, "show 5").assert().success().stdout_eq(str![[r#"
Run 5
  uuid     4e00000c-0000-4000-8000-00000000000c
  policy   nightly
  pool     tokyo (00070c10-0000-4000-8000-000000000001)
  due      Sat 2026-03-07 02:30:00 CET (2026-03-07 01:30:00 UTC), by schedule
  started  Sat 2026-03-07 02:30:02 CET, 2s after it was due
  state    snapshotting, since 10h29m

Jobs
VM              KIND  STATE   CALLS  TOOK  SNAPSHOT
web-01          disk  marked      1     -  6000000d-0000-4000-8000-00000000000d
ファイルサーバ  disk  queued      0     -  -

Calls
VM      CALL  SENT (Berlin)        RESULT     TOOK  NONCE     TASK
web-01     1  2026-03-07 02:30:03  succeeded   14s  k7m2x013  7a00000d

"#]]);
}

#[tokio::test]
async fn a_run_is_found_by_its_uuid() {
    let world = World::week().await;
    world.run(80, "show 4e000007-0000-4000-8000-000000000007").assert().success().stdout_eq(str![[r#"
Run 3
  uuid      4e000007-0000-4000-8000-000000000007
  policy    nightly
  pool      tokyo (00070c10-0000-4000-8000-000000000001)
  due       Thu 2026-03-05 02:30:00 CET (2026-03-05 01:30:00 UTC), by schedule
  started   Thu 2026-03-05 02:30:02 CET, 2s after it was due
  finished  Thu 2026-03-05 02:31:26 CET, after 1m24s
  outcome   succeeded: 3 jobs (3 done), 1 snapshot removed

Jobs
VM                                           KIND  STATE  CALLS   TOOK  SNAPSHOT
web-01                                       disk  done       1  1m13s  5e000008
database-server-of-the-accounting-departme…  disk  done       1  1m13s  5e000009
ファイルサーバ                               disk  done       1  1m13s  5e00000a

Calls
VM                CALL  SENT (Berlin)        RESULT     TOOK  NONCE     TASK
web-01               1  2026-03-05 02:30:03  succeeded   14s  k7m2x008  7a000008
database-server…     1  2026-03-05 02:30:23  succeeded   14s  k7m2x009  7a000009
ファイルサーバ       1  2026-03-05 02:30:43  succeeded   14s  k7m2x010  7a00000a

Removals
SNAPSHOT  PLANNED (Berlin)     STATE     TRIES  PARTS GONE  TOOK
5a000002  2026-03-05 02:31:20  done          1  3 of 3        5s
    no rule keeps it
5a000003  2026-03-05 02:31:20  orphaned      1  2 of 3        5s
    no rule keeps it; VDI_IN_USE: the disk is attached to the control domain
5a000004  2026-03-05 02:31:20  waiting       1  1 of 3         -
    no rule keeps it; VDI_IN_USE: the disk is attached to the control domain;
    next try in 13h31m

"#]]);
}

#[tokio::test]
async fn a_vm_is_shown_with_its_snapshots_and_jobs() {
    let world = World::week().await;
    world.run(80, "show web-01").assert().success().stdout_eq(str![[r#"
VM web-01
  uuid      f10000a1-0000-4000-8000-0000000000a1
  pool      tokyo (00070c10-0000-4000-8000-000000000001)
  last job  Sat 2026-03-07 02:30:17 CET, 10h29m ago

Snapshots
  DUE (Berlin)         AGE  KIND  STATE    SNAPSHOT
web-01, policy nightly: 3 snapshots
  2026-03-07 02:30  10h29m  disk  marked   6000000d-0000-4000-8000-00000000000d
  2026-03-05 02:30   2d10h  disk  durable  5e000008-0000-4000-8000-000000000008
      pinned until 2026-04-10 03:30: before the migration
  2026-03-02 02:30   5d10h  disk  durable  5b000006-0000-4000-8000-000000000006

Jobs
DUE (Berlin)      POLICY   KIND  STATE     CALLS    TOOK  RUN
2026-03-07 02:30  nightly  disk  marked        1       -    5
2026-03-05 03:30  hourly   disk  observed      0      1s    4
2026-03-05 02:30  nightly  disk  done          1   1m13s    3
2026-03-02 02:30  nightly  disk  done          1  10m19s    2
2026-03-01 02:30  nightly  disk  done          1   1m13s    1

"#]]);
}

#[tokio::test]
async fn a_wide_screen_shows_a_vm_in_full() {
    let world = World::week().await;
    world.run(200, "show ファイルサーバ").assert().success().stdout_eq(str![[r#"
VM ファイルサーバ
  uuid      f10000a3-0000-4000-8000-0000000000a3
  pool      tokyo (00070c10-0000-4000-8000-000000000001)
  last job  Sat 2026-03-07 02:30:02 CET, 10h29m ago

Snapshots
  DUE (Berlin)        AGE  KIND  STATE    SNAPSHOT
ファイルサーバ, policy nightly: 1 snapshot
  2026-03-05 02:30  2d10h  disk  durable  5e00000a-0000-4000-8000-00000000000a

Jobs
DUE (Berlin)      POLICY   KIND      STATE    CALLS   TOOK  RUN  CAUSE
2026-03-07 02:30  nightly  disk      queued       0      -    5
2026-03-05 02:30  nightly  disk      done         1  1m13s    3
2026-03-02 02:30  nightly  quiesced  skipped      0     0s    2  no-guest-tools: the guest has no tools, so it cannot be quiesced
2026-03-01 02:30  nightly  disk      done         1  1m13s    1

"#]]);
}

#[tokio::test]
async fn a_snapshot_is_shown_with_its_disks_and_its_mark() {
    let world = World::week().await;
    world.run(80, "show 5e000008").assert().success().stdout_eq(str![[r#"
Snapshot 5e000008-0000-4000-8000-000000000008
  name     web-01 nightly 2026-03-05 02:30 #k7m2x008
  VM       web-01 (f10000a1-0000-4000-8000-0000000000a1)
  pool     tokyo (00070c10-0000-4000-8000-000000000001)
  policy   nightly
  run      3
  kind     disk
  due      Thu 2026-03-05 02:30:00 CET (2026-03-05 01:30:00 UTC)
  taken    Thu 2026-03-05 02:30:15 CET, 2d10h ago
  state    durable
  marked   Thu 2026-03-05 02:30:18 CET, 2d10h ago
  durable  Thu 2026-03-05 02:31:10 CET, 2d10h ago
  pinned   until 2026-04-10 03:30: before the migration
  mark     xensnap:mark of installation site-a, run
           4e000007-0000-4000-8000-000000000007, nonce k7m2x008

Disks
AT  NAME       SIZE  DISK                                  SR        TAKEN OF
 0  system   20 GiB  d0000080-0000-4000-8000-000000000080  5e000002  da000000
 1  data    1.6 TiB  d0000081-0000-4000-8000-000000000081  5e000002  da000001

"#]]);
}

#[tokio::test]
async fn a_snapshot_that_was_removed_is_shown_with_what_became_of_each_part() {
    let world = World::week().await;
    world.run(80, "show 5a000003").assert().success().stdout_eq(str![[r#"
Snapshot 5a000003-0000-4000-8000-000000000003
  name     database-server-of-the-accounting-department nightly 2026-03-01 02:30
           #k7m2x003
  VM       database-server-of-the-accounting-department
           (f10000a2-0000-4000-8000-0000000000a2)
  pool     tokyo (00070c10-0000-4000-8000-000000000001)
  policy   nightly
  run      1
  kind     disk
  due      Sun 2026-03-01 02:30:00 CET (2026-03-01 01:30:00 UTC)
  taken    Sun 2026-03-01 02:30:35 CET, 6d10h ago
  state    removed
  marked   Sun 2026-03-01 02:30:38 CET, 6d10h ago
  durable  Sun 2026-03-01 02:31:10 CET, 6d10h ago
  removed  Thu 2026-03-05 02:31:20 CET, 2d10h ago
  mark     xensnap:mark of installation site-a, run
           4e000001-0000-4000-8000-000000000001, nonce k7m2x003

Disks
AT  NAME       SIZE  DISK                                  SR        TAKEN OF
 0  system   20 GiB  d0000030-0000-4000-8000-000000000030  5e000002  da000000
 1  data    1.6 TiB  d0000031-0000-4000-8000-000000000031  5e000002  da000001

Removals
SNAPSHOT  PLANNED (Berlin)     STATE     TRIES  PARTS GONE  TOOK
5a000003  2026-03-05 02:31:20  orphaned      1  2 of 3        5s
    no rule keeps it; VDI_IN_USE: the disk is attached to the control domain

Parts of the removal planned 2026-03-05 02:31:20
SINCE (Berlin)       PART      STATE  UUID
2026-03-05 02:31:20  snapshot  gone   5a000003-0000-4000-8000-000000000003
2026-03-05 02:31:21  disk      gone   d0000030-0000-4000-8000-000000000030
2026-03-05 02:31:22  disk      stuck  d0000031-0000-4000-8000-000000000031
    VDI_IN_USE: the disk is attached to the control domain

"#]]);
}

#[tokio::test]
async fn with_a_configuration_a_snapshot_is_shown_with_its_fate() {
    let world = World::week().await;
    world.configured(80, "show 5e000008").assert().success().stdout_eq(str![[r#"
Snapshot 5e000008-0000-4000-8000-000000000008
  name     web-01 nightly 2026-03-05 02:30 #k7m2x008
  VM       web-01 (f10000a1-0000-4000-8000-0000000000a1)
  pool     tokyo (00070c10-0000-4000-8000-000000000001)
  policy   nightly
  run      3
  kind     disk
  due      Thu 2026-03-05 02:30:00 CET (2026-03-05 01:30:00 UTC)
  taken    Thu 2026-03-05 02:30:15 CET, 2d10h ago
  state    durable
  marked   Thu 2026-03-05 02:30:18 CET, 2d10h ago
  durable  Thu 2026-03-05 02:31:10 CET, 2d10h ago
  pinned   until 2026-04-10 03:30: before the migration
  kept by  last good, last, daily, monthly, pinned
  goes     Sat 2026-04-11 02:30:00 CEST, in 34d
  mark     xensnap:mark of installation site-a, run
           4e000007-0000-4000-8000-000000000007, nonce k7m2x008

Disks
AT  NAME       SIZE  DISK                                  SR        TAKEN OF
 0  system   20 GiB  d0000080-0000-4000-8000-000000000080  5e000002  da000000
 1  data    1.6 TiB  d0000081-0000-4000-8000-000000000081  5e000002  da000001

"#]]);
}

#[tokio::test]
async fn the_beginning_of_several_uuids_is_answered_with_all() {
    let world = World::week().await;
    world.run(80, "show 5e00").assert().code(1).stderr_eq(str![[r#"
xensnap: "5e00" may mean one of these; give its uuid, or its pool with --pool:
  snapshot 5e000008-0000-4000-8000-000000000008  of web-01 in pool tokyo
  snapshot 5e000009-0000-4000-8000-000000000009  of database-server-of-the-accounting-department in pool tokyo
  snapshot 5e00000a-0000-4000-8000-00000000000a  of ファイルサーバ in pool tokyo

"#]]);
}
