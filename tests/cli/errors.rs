//! What is said when it cannot be done, and the exit code.

use snapbox::str;

use crate::world::*;

#[tokio::test]
async fn an_unknown_policy_is_answered_with_the_nearest() {
    let world = World::week().await;
    world.run(80, "history --policy nihgtly").assert().code(1).stderr_eq(str![[r#"
xensnap: history knows no policy "nihgtly"; did you mean "nightly"?

"#]]);
}

#[tokio::test]
async fn an_unknown_pool_is_answered_with_the_nearest() {
    let world = World::week().await;
    world.run(80, "snapshots --pool tokio").assert().code(1).stderr_eq(str![[r#"
xensnap: history knows no pool "tokio"; did you mean "tokyo"?

"#]]);
}

#[tokio::test]
async fn an_unknown_vm_is_answered_with_the_nearest() {
    let world = World::week().await;
    world.run(80, "show web-02").assert().code(1).stderr_eq(str![[r#"
xensnap: history knows no run, VM or snapshot "web-02"; did you mean "web-01"?

"#]]);
}

#[tokio::test]
async fn an_unknown_uuid_is_answered() {
    let world = World::week().await;
    world.run(80, "show 00000000-0000-4000-8000-00000000dead").assert().code(1).stderr_eq(str![[r#"
xensnap: history knows no run, VM or snapshot "00000000-0000-4000-8000-00000000dead"

"#]]);
}

#[tokio::test]
async fn a_word_that_is_no_outcome_is_wrong_usage() {
    let world = World::week().await;
    world.run(80, "history --outcome fialed").assert().code(2).stderr_eq(str![[r#"
xensnap: "fialed" is no outcome of a run; there are succeeded, partial, failed, cancelled, empty, observed; did you mean "failed"?

"#]]);
}

#[tokio::test]
async fn a_text_that_is_no_time_is_wrong_usage() {
    let world = World::week().await;
    world.run(80, "history --since yesterday").assert().code(2).stderr_eq(str![[r#"
error: invalid value 'yesterday' for '--since <TIME>': write 2026-03-01, "2026-03-01 02:00", 2026-03-01T02:00:00Z, or 7d for a week ago

For more information, try '--help'.

"#]]);
}

#[tokio::test]
async fn a_place_that_is_none_is_wrong_usage() {
    let world = World::week().await;
    world.run(80, "history --after 12").assert().code(2).stderr_eq(str![[r#"
error: invalid value '12' for '--after <PLACE>': not a place in a list: use what the page before printed as its end

For more information, try '--help'.

"#]]);
}

#[test]
fn without_a_history_it_is_said_that_there_is_none() {
    let command = xensnap(80).args(["history", "--database", "/nonexistent/history.db"]);
    command.assert().code(1).stderr_eq(str![[r#"
xensnap: no history at /nonexistent/history.db; has the daemon run yet? --database names another file

"#]]);
}

#[test]
fn a_file_that_is_no_history_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().canonicalize().unwrap().join("notes.txt");
    std::fs::write(&file, "not a database").unwrap();
    let output = xensnap(80).args(["snapshots", "--database"]).arg(&file).assert().code(1);
    let said = String::from_utf8_lossy(&output.get_output().stderr).replace(file.to_str().unwrap(), "FILE");
    snapbox::assert_data_eq!(
        said,
        str![[r#"
xensnap: FILE is not a xensnap history: name another file, or move this one away; it was not touched

"#]]
    );
}

#[tokio::test]
async fn a_policy_that_the_configuration_lacks_is_answered_with_the_nearest() {
    let world = World::week().await;
    world.configured(80, "next --policy hourli").assert().code(1).stderr_eq(str![[r#"
xensnap: the configuration has no policy "hourli"; did you mean "hourly"?

"#]]);
}

#[test]
fn a_configuration_that_cannot_be_used_is_drawn_and_has_its_own_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("xensnap.toml");
    std::fs::write(&file, "installation = \"site-a\"\npolices = \"policies.d\"\n").unwrap();
    let output = xensnap(80).args(["history", "--config"]).arg(&file).assert().code(78);
    let said = String::from_utf8_lossy(&output.get_output().stderr).replace(folder.path().to_str().unwrap(), "FOLDER");
    assert!(said.starts_with("xensnap: FOLDER/xensnap.toml is not usable; --database reads a history without it\n"), "{said}");
    assert!(said.contains("unknown key `polices`") && said.contains("FOLDER/xensnap.toml:2:1"), "{said}");
}

#[tokio::test]
async fn a_name_that_several_have_is_listed() {
    let world = World::twins().await;
    world.run(80, "show web-01").assert().code(1).stderr_eq(str![[r#"
xensnap: "web-01" may mean one of these; give its uuid, or its pool with --pool:
  VM f10000a1-0000-4000-8000-0000000000a1  web-01 in pool tokyo
  VM f2000001-0000-4000-8000-000000000001  web-01 in pool osaka

"#]]);
    world.run(80, "history --vm web-01").assert().code(1).stderr_eq(str![[r#"
xensnap: 2 VMs are meant by "web-01"; give the uuid of one, or its pool with --pool:
  VM f10000a1-0000-4000-8000-0000000000a1  web-01 in pool tokyo
  VM f2000001-0000-4000-8000-000000000001  web-01 in pool osaka

"#]]);
    world.run(80, "show web-01 --pool osaka").assert().success();
}
