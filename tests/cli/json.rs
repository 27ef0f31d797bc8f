//! The same for programs: versioned objects, each member of which is described.

use std::collections::BTreeSet;

use serde_json::Value;
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
        "text": "1 of 3 VMs failed: there is no space on SR \"san-2\""
      }
    }
  ],
  "next": null
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
      "detail": "in the blackout \"2026-03-04\"",
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
async fn a_snapshot_is_one_object() {
    let world = World::week().await;
    world.configured(80, "show 5e000008 --json").assert().success().stdout_eq(str![[r#"
{
  "version": 1,
  "now": "2026-03-07T12:00:00Z",
  "snapshot": {
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
  "mark": "{\"v\":1,\"installation\":\"site-a\",\"pool\":\"00070c10-0000-4000-8000-000000000001\",\"snapshot\":\"5e000008-0000-4000-8000-000000000008\",\"vm\":\"f10000a1-0000-4000-8000-0000000000a1\",\"policy\":\"nightly\",\"due\":\"2026-03-05T01:30:00Z\",\"run\":\"4e000007-0000-4000-8000-000000000007\",\"kind\":\"disk\",\"nonce\":\"k7m2x008\"}",
  "removals": [],
  "events": []
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
      "pool": "tokyo",
      "zone": "Europe/Berlin",
      "due_at": "2026-03-08T01:30:00Z",
      "last_due_at": "2026-03-07T01:30:00Z",
      "prospect": "skipped-closed",
      "note": "will be skipped: in the blackout \"2026-03-08\""
    },
    {
      "policy": {
        "id": "nightly",
        "name": "nightly"
      },
      "pool": "tokyo",
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

/// Every verb that prints JSON, so that all members are seen.
const ALL: [&str; 9] = [
    "history --json",
    "history --json --slots",
    "history --json --vm web-01 --limit 1",
    "next --json",
    "show 2 --json",
    "show 3 --json",
    "show web-01 --json",
    "show 5a000003 --json",
    "snapshots --json --all",
];

#[tokio::test]
async fn every_object_has_its_version_and_every_member_is_described() {
    let world = World::week().await;
    for words in ALL {
        let output = world.configured(80, words).assert().success();
        let object: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
        assert_described(&object, words);
    }
}

/// It has a version, and the page tells what each of its members is.
pub(crate) fn assert_described(object: &Value, words: &str) {
    let described = include_str!("../../docs/JSON.md");
    assert_eq!(object["version"], 1, "{words}");
    let mut members = BTreeSet::new();
    collect(object, &mut members);
    for member in members {
        assert!(described.contains(&format!("`{member}`")), "docs/JSON.md does not describe {member}, which {words} prints");
    }
}

#[tokio::test]
async fn a_page_goes_on_where_the_one_before_ended() {
    let world = World::week().await;
    let mut runs = Vec::new();
    let mut words = "history --json --limit 2".to_owned();
    loop {
        let output = world.run(80, &words).assert().success();
        let page: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
        runs.extend(page["runs"].as_array().unwrap().iter().map(|run| run["run"].as_i64().unwrap()));
        let Some(next) = page["next"].as_str() else { break };
        words = format!("history --json --limit 2 --after {next}");
    }
    assert_eq!(runs, [5, 4, 3, 2, 1]);
}

#[tokio::test]
async fn a_copy_is_told_with_its_size() {
    let world = World::week().await;
    let copy = world.folder.path().join("copy.db");
    let words = format!("history --json --backup {}", copy.display());
    let output = world.run(80, &words).assert().success();
    let told: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!(told["backup"]["bytes"].as_u64(), Some(std::fs::metadata(copy).unwrap().len()));
}

/// The names of all members, in all depths. What an event holds for programs is its own.
fn collect(value: &Value, members: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                members.insert(name.clone());
                if name != "data" {
                    collect(value, members);
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, members)),
        _ => {}
    }
}
