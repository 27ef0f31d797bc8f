//! The same for programs: versioned objects, each member of which is described.

use snapbox::str;

use crate::world::*;

#[tokio::test]
async fn runs_are_one_object() {
    let world = World::week().await;
    world.run(80, "history --json --outcome partial").assert().success().stdout_eq(str![[r#"
{
  "version": 1,
  "now": "2026-03-07T12:00:00Z",
  "runs": [
    {
      "run": 2,
      "uuid": "4e000005-0000-4000-8000-000000000005",
      "policy": {
        "id": "nightly",
        "name": "nightly"
      },
      "pool": {
        "uuid": "00070c10-0000-4000-8000-000000000001",
        "name": "tokyo"
      },
      "due_at": "2026-03-02T01:30:00Z",
      "origin": "schedule",
      "started_at": "2026-03-02T01:30:02Z",
      "late_seconds": 2,
      "finished_at": "2026-03-02T01:40:25Z",
      "state": "done",
      "outcome": "partial",
      "observe": false,
      "approval_needed": false,
      "jobs": {
        "total": 3,
        "done": 1,
        "failed": 1,
        "skipped": 1
      },
      "removed": 0,
      "cause": {
        "code": "",
        "text": "1 of 3 VMs failed: there is no space on SR /"san-2/""
      }
    }
  ],
  "next": null
}

"#]]);
}

#[tokio::test]
async fn jobs_are_one_object() {
    let world = World::week().await;
    world.run(80, "history --json --vm web-01 --limit 1").assert().success().stdout_eq(str![[r#"
{
  "version": 1,
  "now": "2026-03-07T12:00:00Z",
  "vm": {
    "uuid": "f10000a1-0000-4000-8000-0000000000a1",
    "name": "web-01"
  },
  "jobs": [
    {
      "job": 11,
      "run": 5,
      "policy": {
        "id": "nightly",
        "name": "nightly"
      },
      "pool": {
        "uuid": "00070c10-0000-4000-8000-000000000001",
        "name": "tokyo"
      },
      "vm": {
        "uuid": "f10000a1-0000-4000-8000-0000000000a1",
        "name": "web-01"
      },
      "due_at": "2026-03-07T01:30:00Z",
      "kind": "disk",
      "state": "marked",
      "attempts": 1,
      "created_at": "2026-03-07T01:30:02Z",
      "next_try_at": "2026-03-07T01:30:00Z",
      "deadline_at": "2026-03-07T05:30:00Z",
      "finished_at": null,
      "cause": null
    }
  ],
  "next": "1772847002000000.11"
}

"#]]);
}

#[tokio::test]
async fn slots_are_one_object() {
    let world = World::week().await;
    world.run(80, "history --json --slots --state skipped").assert().success().stdout_eq(str![[r#"
{
  "version": 1,
  "now": "2026-03-07T12:00:00Z",
  "slots": [
    {
      "policy": {
        "id": "nightly",
        "name": "nightly"
      },
      "pool": {
        "uuid": "00070c10-0000-4000-8000-000000000001",
        "name": "tokyo"
      },
      "due_at": "2026-03-04T01:30:00Z",
      "origin": "schedule",
      "state": "skipped",
      "reason": "skipped",
      "detail": "in the blackout /"2026-03-04/"",
      "decided_at": "2026-03-04T01:30:02Z",
      "run": null,
      "outcome": null
    }
  ],
  "next": null
}

"#]]);
}

#[tokio::test]
async fn a_run_is_one_object() {
    let world = World::week().await;
    world.run(80, "show 2 --json").assert().success().stdout_eq(str![[r#"
{
  "version": 1,
  "now": "2026-03-07T12:00:00Z",
  "run": {
    "run": 2,
    "uuid": "4e000005-0000-4000-8000-000000000005",
    "policy": {
      "id": "nightly",
      "name": "nightly"
    },
    "pool": {
      "uuid": "00070c10-0000-4000-8000-000000000001",
      "name": "tokyo"
    },
    "due_at": "2026-03-02T01:30:00Z",
    "origin": "schedule",
    "started_at": "2026-03-02T01:30:02Z",
    "late_seconds": 2,
    "finished_at": "2026-03-02T01:40:25Z",
    "state": "done",
    "outcome": "partial",
    "observe": false,
    "approval_needed": false,
    "jobs": {
      "total": 3,
      "done": 1,
      "failed": 1,
      "skipped": 1
    },
    "removed": 0,
    "cause": {
      "code": "",
      "text": "1 of 3 VMs failed: there is no space on SR /"san-2/""
    }
  },
  "jobs": [
    {
      "job": 4,
      "run": 2,
      "policy": {
        "id": "nightly",
        "name": "nightly"
      },
      "pool": {
        "uuid": "00070c10-0000-4000-8000-000000000001",
        "name": "tokyo"
      },
      "vm": {
        "uuid": "f10000a1-0000-4000-8000-0000000000a1",
        "name": "web-01"
      },
      "due_at": "2026-03-02T01:30:00Z",
      "kind": "disk",
      "state": "done",
      "attempts": 1,
      "created_at": "2026-03-02T01:30:02Z",
      "next_try_at": null,
      "deadline_at": "2026-03-02T05:30:00Z",
      "finished_at": "2026-03-02T01:40:21Z",
      "cause": null
    },
    {
      "job": 5,
      "run": 2,
      "policy": {
        "id": "nightly",
        "name": "nightly"
      },
      "pool": {
        "uuid": "00070c10-0000-4000-8000-000000000001",
        "name": "tokyo"
      },
      "vm": {
        "uuid": "f10000a2-0000-4000-8000-0000000000a2",
        "name": "database-server-of-the-accounting-department"
      },
      "due_at": "2026-03-02T01:30:00Z",
      "kind": "disk",
      "state": "failed",
      "attempts": 2,
      "created_at": "2026-03-02T01:30:02Z",
      "next_try_at": null,
      "deadline_at": "2026-03-02T05:30:00Z",
      "finished_at": "2026-03-02T01:40:00Z",
      "cause": {
        "code": "SR_BACKEND_FAILURE_44",
        "text": "There is insufficient space [opterr=VDI size 1650 GiB]"
      }
    },
    {
      "job": 6,
      "run": 2,
      "policy": {
        "id": "nightly",
        "name": "nightly"
      },
      "pool": {
        "uuid": "00070c10-0000-4000-8000-000000000001",
        "name": "tokyo"
      },
      "vm": {
        "uuid": "f10000a3-0000-4000-8000-0000000000a3",
        "name": "ファイルサーバ"
      },
      "due_at": "2026-03-02T01:30:00Z",
      "kind": "quiesced",
      "state": "skipped",
      "attempts": 0,
      "created_at": "2026-03-02T01:30:02Z",
      "next_try_at": null,
      "deadline_at": "2026-03-02T05:30:00Z",
      "finished_at": "2026-03-02T01:30:02Z",
      "cause": {
        "code": "no-guest-tools",
        "text": "the guest has no tools, so it cannot be quiesced"
      }
    }
  ],
  "attempts": [
    {
      "job": 4,
      "number": 1,
      "nonce": "k7m2x006",
      "result": "succeeded",
      "task": "OpaqueRef:7a000006-0000-4000-8000-000000000006",
      "intent_at": "2026-03-02T01:30:03Z",
      "called_at": "2026-03-02T01:30:04Z",
      "ended_at": "2026-03-02T01:30:17Z",
      "cause": null
    },
    {
      "job": 5,
      "number": 1,
      "nonce": "p3q8r101",
      "result": "refused",
      "task": null,
      "intent_at": "2026-03-02T01:30:20Z",
      "called_at": null,
      "ended_at": "2026-03-02T01:30:29Z",
      "cause": {
        "code": "SR_BACKEND_FAILURE_44",
        "text": "There is insufficient space [opterr=VDI size 1650 GiB]"
      }
    },
    {
      "job": 5,
      "number": 2,
      "nonce": "p3q8r102",
      "result": "refused",
      "task": null,
      "intent_at": "2026-03-02T01:35:20Z",
      "called_at": null,
      "ended_at": "2026-03-02T01:35:29Z",
      "cause": {
        "code": "SR_BACKEND_FAILURE_44",
        "text": "There is insufficient space [opterr=VDI size 1650 GiB]"
      }
    }
  ],
  "removals": [],
  "events": [
    {
      "at": "2026-03-02T01:35:29Z",
      "severity": "error",
      "kind": "sr-full",
      "text": "SR /"san-2/" has no space left for a snapshot of database-server-of-the-accounting-department; free 1.7 TiB, or move the VM",
      "data": null
    }
  ]
}

"#]]);
}

#[tokio::test]
async fn a_vm_is_one_object() {
    let world = World::week().await;
    world.run(80, "show ファイルサーバ --json").assert().success().stdout_eq(str![[r#"
{
  "version": 1,
  "now": "2026-03-07T12:00:00Z",
  "vm": {
    "uuid": "f10000a3-0000-4000-8000-0000000000a3",
    "name": "ファイルサーバ"
  },
  "pool": {
    "uuid": "00070c10-0000-4000-8000-000000000001",
    "name": "tokyo"
  },
  "last_seen_at": "2026-03-07T01:30:02Z",
  "snapshots": [
    {
      "snapshot": "5e00000a-0000-4000-8000-00000000000a",
      "name": "ファイルサーバ nightly 2026-03-05 02:30 #k7m2x010",
      "vm": {
        "uuid": "f10000a3-0000-4000-8000-0000000000a3",
        "name": "ファイルサーバ"
      },
      "pool": {
        "uuid": "00070c10-0000-4000-8000-000000000001",
        "name": "tokyo"
      },
      "policy": {
        "id": "nightly",
        "name": "nightly"
      },
      "due_at": "2026-03-05T01:30:00Z",
      "taken_at": "2026-03-05T01:30:55Z",
      "kind": "disk",
      "state": "durable",
      "run": 3,
      "marked_at": "2026-03-05T01:30:58Z",
      "durable_at": "2026-03-05T01:31:10Z",
      "adopted_at": null,
      "released_at": null,
      "vanished_at": null,
      "ghost_at": null,
      "removed_at": null,
      "pinned_until": null,
      "pin_reason": null,
      "disks": [
        {
          "vdi": "d00000a0-0000-4000-8000-0000000000a0",
          "sr": "5e000002-0000-4000-8000-000000000002",
          "position": "0",
          "name": "system",
          "virtual_size": 21474836480,
          "of": "da000000-0000-4000-8000-000000000000"
        },
        {
          "vdi": "d00000a1-0000-4000-8000-0000000000a1",
          "sr": "5e000002-0000-4000-8000-000000000002",
          "position": "1",
          "name": "data",
          "virtual_size": 1771674009600,
          "of": "da000001-0000-4000-8000-000000000001"
        }
      ],
      "suspend_image": null,
      "fate": null
    }
  ],
  "jobs": [
    {
      "job": 12,
      "run": 5,
      "policy": {
        "id": "nightly",
        "name": "nightly"
      },
      "pool": {
        "uuid": "00070c10-0000-4000-8000-000000000001",
        "name": "tokyo"
      },
      "vm": {
        "uuid": "f10000a3-0000-4000-8000-0000000000a3",
        "name": "ファイルサーバ"
      },
      "due_at": "2026-03-07T01:30:00Z",
      "kind": "disk",
      "state": "queued",
      "attempts": 0,
      "created_at": "2026-03-07T01:30:02Z",
      "next_try_at": "2026-03-07T01:30:00Z",
      "deadline_at": "2026-03-07T05:30:00Z",
      "finished_at": null,
      "cause": null
    },
    {
      "job": 9,
      "run": 3,
      "policy": {
        "id": "nightly",
        "name": "nightly"
      },
      "pool": {
        "uuid": "00070c10-0000-4000-8000-000000000001",
        "name": "tokyo"
      },
      "vm": {
        "uuid": "f10000a3-0000-4000-8000-0000000000a3",
        "name": "ファイルサーバ"
      },
      "due_at": "2026-03-05T01:30:00Z",
      "kind": "disk",
      "state": "done",
      "attempts": 1,
      "created_at": "2026-03-05T01:30:02Z",
      "next_try_at": null,
      "deadline_at": "2026-03-05T05:30:00Z",
      "finished_at": "2026-03-05T01:31:15Z",
      "cause": null
    },
    {
      "job": 6,
      "run": 2,
      "policy": {
        "id": "nightly",
        "name": "nightly"
      },
      "pool": {
        "uuid": "00070c10-0000-4000-8000-000000000001",
        "name": "tokyo"
      },
      "vm": {
        "uuid": "f10000a3-0000-4000-8000-0000000000a3",
        "name": "ファイルサーバ"
      },
      "due_at": "2026-03-02T01:30:00Z",
      "kind": "quiesced",
      "state": "skipped",
      "attempts": 0,
      "created_at": "2026-03-02T01:30:02Z",
      "next_try_at": null,
      "deadline_at": "2026-03-02T05:30:00Z",
      "finished_at": "2026-03-02T01:30:02Z",
      "cause": {
        "code": "no-guest-tools",
        "text": "the guest has no tools, so it cannot be quiesced"
      }
    },
    {
      "job": 3,
      "run": 1,
      "policy": {
        "id": "nightly",
        "name": "nightly"
      },
      "pool": {
        "uuid": "00070c10-0000-4000-8000-000000000001",
        "name": "tokyo"
      },
      "vm": {
        "uuid": "f10000a3-0000-4000-8000-0000000000a3",
        "name": "ファイルサーバ"
      },
      "due_at": "2026-03-01T01:30:00Z",
      "kind": "disk",
      "state": "done",
      "attempts": 1,
      "created_at": "2026-03-01T01:30:02Z",
      "next_try_at": null,
      "deadline_at": "2026-03-01T05:30:00Z",
      "finished_at": "2026-03-01T01:31:15Z",
      "cause": null
    }
  ],
  "events": []
}

"#]]);
}

#[tokio::test]
async fn a_snapshot_is_one_object() {
    let world = World::week().await;
    world.run(80, "show 5a000003 --json").assert().success().stdout_eq(str![[r#"
{
  "version": 1,
  "now": "2026-03-07T12:00:00Z",
  "snapshot": {
    "snapshot": "5a000003-0000-4000-8000-000000000003",
    "name": "database-server-of-the-accounting-department nightly 2026-03-01 02:30 #k7m2x003",
    "vm": {
      "uuid": "f10000a2-0000-4000-8000-0000000000a2",
      "name": "database-server-of-the-accounting-department"
    },
    "pool": {
      "uuid": "00070c10-0000-4000-8000-000000000001",
      "name": "tokyo"
    },
    "policy": {
      "id": "nightly",
      "name": "nightly"
    },
    "due_at": "2026-03-01T01:30:00Z",
    "taken_at": "2026-03-01T01:30:35Z",
    "kind": "disk",
    "state": "removed",
    "run": 1,
    "marked_at": "2026-03-01T01:30:38Z",
    "durable_at": "2026-03-01T01:31:10Z",
    "adopted_at": null,
    "released_at": null,
    "vanished_at": null,
    "ghost_at": null,
    "removed_at": "2026-03-05T01:31:20Z",
    "pinned_until": null,
    "pin_reason": null,
    "disks": [
      {
        "vdi": "d0000030-0000-4000-8000-000000000030",
        "sr": "5e000002-0000-4000-8000-000000000002",
        "position": "0",
        "name": "system",
        "virtual_size": 21474836480,
        "of": "da000000-0000-4000-8000-000000000000"
      },
      {
        "vdi": "d0000031-0000-4000-8000-000000000031",
        "sr": "5e000002-0000-4000-8000-000000000002",
        "position": "1",
        "name": "data",
        "virtual_size": 1771674009600,
        "of": "da000001-0000-4000-8000-000000000001"
      }
    ],
    "suspend_image": null,
    "fate": null
  },
  "mark": "{/"v/":1,/"installation/":/"site-a/",/"pool/":/"00070c10-0000-4000-8000-000000000001/",/"snapshot/":/"5a000003-0000-4000-8000-000000000003/",/"vm/":/"f10000a2-0000-4000-8000-0000000000a2/",/"policy/":/"nightly/",/"due/":/"2026-03-01T01:30:00Z/",/"run/":/"4e000001-0000-4000-8000-000000000001/",/"kind/":/"disk/",/"nonce/":/"k7m2x003/"}",
  "removals": [
    {
      "snapshot": "5a000003-0000-4000-8000-000000000003",
      "run": 3,
      "reason": "no rule keeps it",
      "state": "orphaned",
      "tries": 1,
      "planned_at": "2026-03-05T01:31:20Z",
      "finished_at": "2026-03-05T01:31:25Z",
      "settled_at": null,
      "cause": {
        "code": "VDI_IN_USE",
        "text": "the disk is attached to the control domain"
      },
      "parts": [
        {
          "uuid": "5a000003-0000-4000-8000-000000000003",
          "role": "snapshot",
          "state": "gone",
          "changed_at": "2026-03-05T01:31:20Z",
          "cause": null
        },
        {
          "uuid": "d0000030-0000-4000-8000-000000000030",
          "role": "disk",
          "state": "gone",
          "changed_at": "2026-03-05T01:31:21Z",
          "cause": null
        },
        {
          "uuid": "d0000031-0000-4000-8000-000000000031",
          "role": "disk",
          "state": "stuck",
          "changed_at": "2026-03-05T01:31:22Z",
          "cause": {
            "code": "VDI_IN_USE",
            "text": "the disk is attached to the control domain"
          }
        }
      ]
    }
  ],
  "events": []
}

"#]]);
}

#[tokio::test]
async fn snapshots_are_one_object() {
    let world = World::week().await;
    world.configured(80, "snapshots --json --vm web-01").assert().success().stdout_eq(str![[r#"
{
  "version": 1,
  "now": "2026-03-07T12:00:00Z",
  "snapshots": [
    {
      "snapshot": "6000000d-0000-4000-8000-00000000000d",
      "name": "web-01 nightly 2026-03-07 02:30 #k7m2x013",
      "vm": {
        "uuid": "f10000a1-0000-4000-8000-0000000000a1",
        "name": "web-01"
      },
      "pool": {
        "uuid": "00070c10-0000-4000-8000-000000000001",
        "name": "tokyo"
      },
      "policy": {
        "id": "nightly",
        "name": "nightly"
      },
      "due_at": "2026-03-07T01:30:00Z",
      "taken_at": "2026-03-07T01:30:15Z",
      "kind": "disk",
      "state": "marked",
      "run": 5,
      "marked_at": "2026-03-07T01:30:18Z",
      "durable_at": null,
      "adopted_at": null,
      "released_at": null,
      "vanished_at": null,
      "ghost_at": null,
      "removed_at": null,
      "pinned_until": null,
      "pin_reason": null,
      "disks": [
        {
          "vdi": "d00000d0-0000-4000-8000-0000000000d0",
          "sr": "5e000002-0000-4000-8000-000000000002",
          "position": "0",
          "name": "system",
          "virtual_size": 21474836480,
          "of": "da000000-0000-4000-8000-000000000000"
        },
        {
          "vdi": "d00000d1-0000-4000-8000-0000000000d1",
          "sr": "5e000002-0000-4000-8000-000000000002",
          "position": "1",
          "name": "data",
          "virtual_size": 1771674009600,
          "of": "da000001-0000-4000-8000-000000000001"
        }
      ],
      "suspend_image": null,
      "fate": {
        "keep": [
          "not durable yet"
        ],
        "remove": null,
        "goes": "at",
        "goes_at": "2026-03-15T01:30:00Z"
      }
    },
    {
      "snapshot": "5e000008-0000-4000-8000-000000000008",
      "name": "web-01 nightly 2026-03-05 02:30 #k7m2x008",
      "vm": {
        "uuid": "f10000a1-0000-4000-8000-0000000000a1",
        "name": "web-01"
      },
      "pool": {
        "uuid": "00070c10-0000-4000-8000-000000000001",
        "name": "tokyo"
      },
      "policy": {
        "id": "nightly",
        "name": "nightly"
      },
      "due_at": "2026-03-05T01:30:00Z",
      "taken_at": "2026-03-05T01:30:15Z",
      "kind": "disk",
      "state": "durable",
      "run": 3,
      "marked_at": "2026-03-05T01:30:18Z",
      "durable_at": "2026-03-05T01:31:10Z",
      "adopted_at": null,
      "released_at": null,
      "vanished_at": null,
      "ghost_at": null,
      "removed_at": null,
      "pinned_until": "2026-04-10T01:30:00Z",
      "pin_reason": "before the migration",
      "disks": [
        {
          "vdi": "d0000080-0000-4000-8000-000000000080",
          "sr": "5e000002-0000-4000-8000-000000000002",
          "position": "0",
          "name": "system",
          "virtual_size": 21474836480,
          "of": "da000000-0000-4000-8000-000000000000"
        },
        {
          "vdi": "d0000081-0000-4000-8000-000000000081",
          "sr": "5e000002-0000-4000-8000-000000000002",
          "position": "1",
          "name": "data",
          "virtual_size": 1771674009600,
          "of": "da000001-0000-4000-8000-000000000001"
        }
      ],
      "suspend_image": null,
      "fate": {
        "keep": [
          "last good",
          "last",
          "daily",
          "monthly",
          "pinned"
        ],
        "remove": null,
        "goes": "at",
        "goes_at": "2026-04-11T00:30:00Z"
      }
    },
    {
      "snapshot": "5b000006-0000-4000-8000-000000000006",
      "name": "web-01 nightly 2026-03-02 02:30 #k7m2x006",
      "vm": {
        "uuid": "f10000a1-0000-4000-8000-0000000000a1",
        "name": "web-01"
      },
      "pool": {
        "uuid": "00070c10-0000-4000-8000-000000000001",
        "name": "tokyo"
      },
      "policy": {
        "id": "nightly",
        "name": "nightly"
      },
      "due_at": "2026-03-02T01:30:00Z",
      "taken_at": "2026-03-02T01:30:15Z",
      "kind": "disk",
      "state": "durable",
      "run": 2,
      "marked_at": "2026-03-02T01:30:18Z",
      "durable_at": "2026-03-02T01:40:20Z",
      "adopted_at": null,
      "released_at": null,
      "vanished_at": null,
      "ghost_at": null,
      "removed_at": null,
      "pinned_until": null,
      "pin_reason": null,
      "disks": [
        {
          "vdi": "d0000060-0000-4000-8000-000000000060",
          "sr": "5e000002-0000-4000-8000-000000000002",
          "position": "0",
          "name": "system",
          "virtual_size": 21474836480,
          "of": "da000000-0000-4000-8000-000000000000"
        },
        {
          "vdi": "d0000061-0000-4000-8000-000000000061",
          "sr": "5e000002-0000-4000-8000-000000000002",
          "position": "1",
          "name": "data",
          "virtual_size": 1771674009600,
          "of": "da000001-0000-4000-8000-000000000001"
        }
      ],
      "suspend_image": null,
      "fate": {
        "keep": [
          "last",
          "daily"
        ],
        "remove": null,
        "goes": "at",
        "goes_at": "2026-03-13T01:30:00Z"
      }
    }
  ]
}

"#]]);
}

#[tokio::test]
async fn coming_slots_are_one_object() {
    let world = World::week().await;
    world.configured(80, "next --json --policy nightly").assert().success().stdout_eq(str![[r#"
{
  "version": 1,
  "now": "2026-03-07T12:00:00Z",
  "slots": [
    {
      "policy": {
        "id": "nightly",
        "name": "nightly"
      },
      "pool": {
        "uuid": "00070c10-0000-4000-8000-000000000001",
        "name": "tokyo"
      },
      "zone": "Europe/Berlin",
      "due_at": "2026-03-08T01:30:00Z",
      "last_due_at": "2026-03-07T01:30:00Z",
      "prospect": "skipped-closed",
      "note": "will be skipped: in the blackout /"2026-03-08/""
    },
    {
      "policy": {
        "id": "nightly",
        "name": "nightly"
      },
      "pool": {
        "uuid": "00070c10-0000-4000-8000-000000000001",
        "name": "tokyo"
      },
      "zone": "Europe/Berlin",
      "due_at": "2026-03-09T01:30:00Z",
      "last_due_at": null,
      "prospect": "runs",
      "note": null
    }
  ]
}

"#]]);
}
