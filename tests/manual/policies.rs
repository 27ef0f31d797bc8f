//! `xensnap policy`: what it prints and writes is what `xensnap check` takes.

use std::path::Path;

use snapbox::str;

use crate::{stdout, text, xensnap};

/// A folder with a main file, and with the shipped policies or none.
fn folder(samples: bool) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("xensnap.toml"), "installation = \"test\"\n").unwrap();
    std::fs::create_dir(folder.path().join("policies.d")).unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/policies.d");
    for entry in std::fs::read_dir(shipped).unwrap().filter(|_| samples) {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.path().join("policies.d").join(path.file_name().unwrap())).unwrap();
    }
    folder
}

fn check(folder: &Path) -> String {
    stdout(xensnap().current_dir(folder).args(["check", "--config", "xensnap.toml"]))
}

fn show(folder: &Path, policy: &str) -> String {
    stdout(xensnap().current_dir(folder).args(["policy", "show", policy, "--config", "xensnap.toml"]))
}

#[test]
fn a_policy_that_is_shown_is_a_file_that_shows_the_same() {
    let from = folder(true);
    for id in ["nightly", "databases-hourly", "weekly-offline"] {
        let shown = show(from.path(), id);
        let to = folder(false);
        std::fs::write(to.path().join("policies.d/one.toml"), &shown).unwrap();
        assert!(check(to.path()).contains("1 policy, 0 pools"));
        let again = show(to.path(), id);
        let body = |text: &str| text.split_once('\n').unwrap().1.to_owned();
        assert_eq!(body(&again), body(&shown));
        assert!(!shown.contains("inherit"), "{shown}");
    }
}

#[test]
fn a_policy_is_shown_with_its_template_and_its_defaults() {
    let folder = folder(true);
    snapbox::assert_data_eq!(
        show(folder.path(), "Nightly"),
        str![[r##"
# policies.d/10-nightly.toml:4, with templates resolved and defaults written out.

[[policy]]
name = "Nightly"
id = "nightly"
enabled = true
observe = false
priority = 50

[policy.schedule]
blackout = "12-31..01-01"
catch_up = "one"
catch_up_max_age = "18h"
cron = "30 0 * * *"
deadline = "4h"
run_on_start = false
spread = "45m"
window = "22:00-06:00"
zone = "Europe/Berlin"

[policy.select]
honour_no_bak = true

[[policy.select.exclude]]
name = ["*-test", "*-scratch"]

[[policy.select.include]]
tag = "backup:nightly"

[[policy.select.include]]
folder = "/Production"

[policy.snapshot]
description = "{kind} snapshot of {vm} by xensnap, policy {policy_id}, due {due:%Y-%m-%d %H:%M} {zone}, run {run}"
kind = "disk"
name = "{policy} {due:%Y-%m-%d %H:%M}"

[[policy.snapshot.exclude_disks]]
name = "*swap*"

[[policy.snapshot.exclude_disks]]
tag = "nobackup"

[policy.retention]
daily = 7
min = 3
monthly = 6
on_policy_removed = "keep"
on_vm_deleted = "keep"
order = "snapshot-first"
weekly = 4

[policy.guards]
chain_refuse = 28
chain_warn = 20
coalesce = "wait"
on_low_space = "skip"
space_reserve = "10%"

"##]]
    );
}

#[test]
fn an_unknown_policy_is_answered_with_the_nearest() {
    let folder = folder(true);
    let command = xensnap().current_dir(folder.path()).args(["policy", "show", "nightli", "--config", "xensnap.toml"]);
    command.assert().code(1).stderr_eq(str![[r#"
xensnap: the configuration has no policy "nightli"; did you mean "Nightly" or "nightly"?

"#]]);
}

#[test]
fn a_configuration_that_is_wrong_is_told_with_its_exit_code() {
    let folder = folder(false);
    std::fs::write(folder.path().join("policies.d/a.toml"), "[[policy]]\n").unwrap();
    let command = xensnap().current_dir(folder.path()).args(["policy", "show", "a", "--config", "xensnap.toml"]);
    let told = command.assert().code(78).get_output().stderr.clone();
    assert!(String::from_utf8(told).unwrap().contains("policies.d/a.toml:1"));
}

const NEW: [&str; 8] = ["policy", "new", "--config", "xensnap.toml", "--zone", "Europe/Berlin", "--name", "Web servers, nightly"];

#[test]
fn a_new_policy_is_written_with_comments_and_never_over_another() {
    let folder = folder(false);
    let new = || xensnap().current_dir(folder.path()).args(NEW).args(["--tag", "backup:web", "--tag", "web"]).stdin("");
    new().assert().success().stdout_eq(str![[r#"
policies.d/web-servers-nightly.toml is written; `xensnap check --config xensnap.toml` says what it means

"#]]);
    let file = folder.path().join("policies.d/web-servers-nightly.toml");
    snapbox::assert_data_eq!(
        text(&file),
        str![[r##"
# xensnap-policy(5) has every key. After a change: `xensnap check`, then `xensnap reload`.

[[policy]]
name = "Web servers, nightly"
# The identity of the policy: it stands in the mark of each snapshot and stays when the policy is renamed.
id = "web-servers-nightly"
# Plans and records without touching anything. False, or without this line: in earnest.
observe = true

[policy.schedule]
# Minute, hour, day of month, month, weekday; several as a list.
cron = "30 2 * * *"
# The zone in which times are meant, days are counted and names are written.
zone = "Europe/Berlin"
# VMs start at places of their own in this time, so that they do not hit the storage at once.
#spread = "45m"
# Jobs start in this time only.
#window = "22:00-06:00"
# What has not started by then is recorded as not done.
#deadline = "4h"

[policy.select]
# Possible are uuid, name (a glob), name_exact, name_regex, tag, folder, power, pool, host, sr, vapp, other_config.
include = [{ tag = ["backup:web", "web"] }]
#exclude = [{ name = "*-test" }]

[policy.snapshot]
# "disk", "quiesced", "memory" or "offline".
kind = "disk"
# Disks that are left out.
#exclude_disks = [{ name = "*swap*" }]

[policy.retention]
# The rules add up: what one of them keeps stays. One chain of disks bears 30 snapshots.
daily = 7
weekly = 4
#monthly = 6
# Whatever happens, so many of the newest stay.
min = 1

"##]]
    );
    let told = check(folder.path());
    assert!(told.contains("Web servers, nightly (id web-servers-nightly)") && told.contains("only observes"), "{told}");
    std::fs::write(&file, "mine").unwrap();
    new().assert().code(1).stderr_eq(str![[r#"
xensnap: policies.d/web-servers-nightly.toml exists and was not touched; name another file

"#]]);
    assert_eq!(text(&file), "mine");
}

#[test]
fn a_new_policy_is_what_the_options_say() {
    let folder = folder(false);
    let new = xensnap().current_dir(folder.path()).args(NEW).stdin("");
    let options = ["policies.d/b.toml", "--all", "--cron", "@weekly", "--kind", "offline", "--daily", "0", "--in-earnest"];
    new.args(options).args(["--id", "web"]).assert().success();
    let shown = show(folder.path(), "web");
    for line in ["all = true", "cron = \"@weekly\"", "kind = \"offline\"", "weekly = 4", "observe = false"] {
        assert!(shown.contains(line), "{line}\n{shown}");
    }
    assert!(!shown.contains("daily ="), "{shown}");
}

#[test]
fn what_is_wrong_or_missing_is_told_and_nothing_is_written() {
    let folder = folder(false);
    let refused = |arguments: &[&str]| {
        let command = xensnap().current_dir(folder.path()).args(["policy", "new", "--config", "xensnap.toml"]).stdin("");
        String::from_utf8(command.args(arguments).assert().code(2).get_output().stderr.clone()).unwrap()
    };
    assert!(refused(&["--all"]).contains("a policy needs --name"));
    assert!(refused(&["--name", "a"]).contains("say which VMs: --tag, --vm or --all"));
    assert!(refused(&["--name", "a", "--all", "--tag", "b"]).contains("cannot be used with"));
    let told = refused(&["--name", "a", "--all", "--cron", "0 25 * * *", "--zone", "Berlin"]);
    assert!(told.contains("25 is no hour") && told.contains("Europe/Berlin") && told.contains("no file was written"), "{told}");
    assert_eq!(std::fs::read_dir(folder.path().join("policies.d")).unwrap().count(), 0);
}

#[test]
fn a_new_policy_can_be_printed_and_a_missing_folder_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let new = || xensnap().current_dir(folder.path()).args(NEW).args(["--vm", "db-*"]).stdin("");
    assert!(stdout(new().arg("-")).contains("include = [{ name = [\"db-*\"] }]"));
    let told = new().assert().code(1).get_output().stderr.clone();
    assert!(String::from_utf8(told).unwrap().contains("create it, or name another file"));
}
