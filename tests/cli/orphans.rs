//! `xensnap orphans` against a service in this process: what is left, why, and what to do.

use serde_json::Value;
use snapbox::str;
use xensnap::domain::orphans::Why;
use xensnap::simulator::value::Ref;
use xensnap::simulator::value::Value as Row;

use crate::json::assert_described;
use crate::lab::{Lab, policy};
use crate::service::asked;

/// A night, a snapshot that became a VM, and one of which only the record was destroyed.
async fn left() -> Lab {
    let mut lab = Lab::new(2, vec![policy("nightly", "0 2 * * *", "*", 9)]).await;
    lab.start().await;
    lab.until("2026-03-02T12:10:00Z").await;
    let found = lab.snapshots();
    let (turned, forgotten): (Ref, Ref) = (found[0].reference.clone(), found[1].reference.clone());
    lab.step(|world| {
        world.database.set("VM", &turned, "is_a_template", Row::Bool(false)).unwrap();
        for vbd in world.database.texts("VM", &forgotten, "VBDs") {
            world.database.destroy("VBD", &vbd);
        }
        world.database.destroy("VM", &forgotten);
    });
    lab.until("2026-03-02T15:00:00Z").await;
    lab
}

#[tokio::test]
async fn what_is_left_is_shown_with_why_and_what_to_do() {
    let mut lab = left().await;
    asked(&lab, 80, "orphans --utc").await.code(1).stdout_eq(str![[r#"
WHAT      UUID                                  VM       AGE
snapshot  [..]           [..]
    it was ours and counts for no policy any more: it was turned into a VM; to
    do: use it, or: xe snapshot-uninstall
    uuid=[..]
disk      [..]  dc-02  [..]
    somebody else removed its snapshot and left the disk; to do: if nobody wants
    it: xe vdi-destroy uuid=[..]
2 things left, 2 of which somebody has to look at

"#]]);
    asked(&lab, 200, "orphans --utc").await.code(1).stdout_eq(str![[r#"
WHAT      UUID                                  VM       AGE  NAME                                         POOL  SR                        BYTES
snapshot  [..]           [..]  cache-01 nightly 2026-03-02 02:00 #[..]  lab
    it was ours and counts for no policy any more: it was turned into a VM; to do: use it, or: xe snapshot-uninstall uuid=[..]
disk      [..]  dc-02  [..]  dc-02 disk 0                                 lab   NFS virtual disk storage  65536
    somebody else removed its snapshot and left the disk; to do: if nobody wants it: xe vdi-destroy uuid=[..]
2 things left, 2 of which somebody has to look at

"#]]);
    let told = asked(&lab, 80, "orphans --json").await.code(1);
    let told: Value = serde_json::from_slice(&told.get_output().stdout).unwrap();
    assert_described(&told, "orphans --json");
    assert!(told["orphans"].as_array().unwrap().len() >= 2, "{told}");
    let status = asked(&lab, 80, "status --json").await;
    let status: Value = serde_json::from_slice(&status.get_output().stdout).unwrap();
    assert!(status["troubles"].as_array().unwrap().iter().any(|trouble| trouble["code"] == "orphans"), "{status}");
    lab.stop().await;
}

#[tokio::test]
async fn where_nothing_is_left_it_says_so() {
    let mut lab = Lab::new(1, vec![]).await;
    lab.start().await;
    asked(&lab, 80, "orphans").await.success().stdout_eq(str![[r#"
nothing is left that nobody works on

"#]]);
    lab.stop().await;
}

#[test]
fn every_reason_is_told_in_the_document() {
    let document = include_str!("../../docs/ORPHANS.md");
    for code in Why::CODES {
        assert!(document.contains(&format!("`{code}`")), "docs/ORPHANS.md does not tell of {code}");
    }
}
