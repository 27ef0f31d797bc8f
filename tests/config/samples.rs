//! The files that are shipped: the main file shows the defaults, and the policies are good.

use std::path::Path;

use xensnap::config::{AlarmsConfig, Config, DaemonConfig, MetricsConfig, StoreConfig};
use xensnap::domain::policy::{Afterwards, Fallback, WantedKind};

use crate::support::{now, shipped, toml_files};

fn main_file() -> String {
    std::fs::read_to_string(shipped().join("xensnap.toml")).unwrap()
}

/// The main file with its defaults written out.
fn written_out() -> String {
    let default =
        |line: &str| line.starts_with("#[") || line.starts_with('#') && line[1..].starts_with(|c: char| c.is_ascii_lowercase());
    let lines =
        main_file().lines().map(|line| if default(line) { line[1..].to_owned() } else { line.to_owned() }).collect::<Vec<_>>();
    format!("installation = \"backup-1\"\n{}", lines.join("\n"))
}

fn defaults(text: &str) -> (DaemonConfig, StoreConfig, MetricsConfig, AlarmsConfig, usize) {
    let config = Config::from_texts(("/etc/xensnap/xensnap.toml", text), &[], now()).unwrap().config;
    (config.daemon, config.store, config.metrics.unwrap_or_default(), config.alarms.unwrap_or_default(), config.pools.len())
}

fn all_defaults() -> (DaemonConfig, StoreConfig, MetricsConfig, AlarmsConfig, usize) {
    (DaemonConfig::default(), StoreConfig::default(), MetricsConfig::default(), AlarmsConfig::default(), 0)
}

#[test]
fn the_main_file_shows_the_defaults_and_all_of_them() {
    let expected = all_defaults();
    assert_eq!(defaults("installation = \"backup-1\""), expected);
    assert_eq!(defaults(&written_out()), expected);
    for key in [
        "policies",
        "drain_grace",
        "reconcile_interval",
        "sync_interval",
        "lease",
        "socket",
        "socket_group",
        "per_sr",
        "per_host",
        "per_pool",
        "path",
        "keep",
        "listen",
        "vms",
        "least",
        "interval",
        "remind",
        "give_up",
        "enabled",
        "cron",
        "zone",
    ] {
        assert!(written_out().lines().any(|line| line.starts_with(&format!("{key} = "))), "{key} is not shown");
    }
}

#[test]
fn each_default_of_the_main_file_counts_when_it_is_changed() {
    for line in written_out().lines().filter(|line| {
        line.contains(" = \"") || line.starts_with("per_") || line.starts_with("vms") || line.starts_with("enabled")
    }) {
        if line.starts_with('#') || line.starts_with("installation") || line.starts_with("policies") {
            continue;
        }
        let (key, _) = line.split_once(" = ").unwrap();
        let other = match key {
            "path" | "socket" => "\"/other\"",
            "listen" => "\"127.0.0.1:1\"",
            "least" => "\"critical\"",
            "remind" | "give_up" => "\"59h\"",
            "cron" => "\"0 8 * * *\"",
            "zone" => "\"Europe/Berlin\"",
            "enabled" => "false",
            "per_sr" | "per_host" | "per_pool" | "vms" => "2",
            _ => "\"59s\"",
        };
        let changed = written_out().replace(line, &format!("{key} = {other}"));
        assert_ne!(defaults(&changed), all_defaults(), "{key}");
    }
}

#[test]
fn the_pool_that_the_main_file_shows_is_one() {
    let text = main_file();
    let (_, block) = text.split_once("# [[pool]]").unwrap();
    let shown = |line: &str| {
        line.strip_prefix("# ")
            .filter(|line| line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')))
            .map(str::to_owned)
    };
    let keys: Vec<String> = block.lines().filter_map(shown).collect();
    for password in ["password", "password_file", "password_credential"] {
        let one = keys.iter().filter(|line| !line.starts_with("password") || line.starts_with(&format!("{password} ")));
        let text = format!("[[pool]]\n{}", one.cloned().collect::<Vec<_>>().join("\n"));
        let text = format!("installation = \"x\"\n{text}");
        let config = Config::from_texts(("xensnap.toml", &text), &[], now()).unwrap().config;
        let pool = &config.pools[0];
        assert_eq!((pool.addresses.len(), pool.fingerprints.len(), pool.address_map.len()), (2, 1, 1));
        assert!(pool.ca_file.is_some() && pool.pool_uuid.is_some());
    }
}

#[test]
fn the_shipped_main_file_only_lacks_its_installation() {
    let problems = Config::load(&shipped().join("xensnap.toml"), now()).unwrap_err();
    let errors: Vec<&str> = problems.errors().map(|problem| problem.message.as_str()).collect();
    assert_eq!(errors, ["`installation` is missing"]);
}

#[test]
fn the_channels_that_the_main_file_shows_can_be_used() {
    let text = main_file();
    let (_, block) = text.split_once("#zone = \"UTC\"").unwrap();
    let (block, _) = block.split_once("# ---- pools").unwrap();
    let shown = |line: &str| {
        let line = line.strip_prefix("# ")?;
        let key = line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
        (line.starts_with('[') || key).then(|| line.to_owned())
    };
    let lines: Vec<String> = block.lines().filter_map(shown).collect();
    let text = format!("installation = \"x\"\n{}", lines.join("\n"));
    let alarms = Config::from_texts(("xensnap.toml", &text), &[], now()).unwrap().config.alarms.unwrap();
    let (mail, webhook) = (&alarms.mail[0], &alarms.webhook[0]);
    assert_eq!((mail.port, mail.to.len(), mail.login.is_some(), mail.ca_file.is_some()), (587, 1, true, true));
    assert!(webhook.secret.is_some() && webhook.ca_file.is_some());
    assert!(alarms.pool_messages.is_some() && alarms.dead_man.is_some());
}

fn shipped_policies() -> Config {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("xensnap.toml");
    std::fs::write(&main, "installation = \"x\"\n").unwrap();
    std::fs::create_dir(folder.path().join("policies.d")).unwrap();
    for path in toml_files(&shipped().join("policies.d")) {
        std::fs::copy(&path, folder.path().join("policies.d").join(path.file_name().unwrap())).unwrap();
    }
    let loaded = Config::load(&main, now()).unwrap();
    let doubts: Vec<&str> = loaded.warnings.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(
        doubts,
        [
            "there is no [[pool]], so nothing can be snapshotted",
            "\"Weekly, offline\" only observes: it plans and records, and touches nothing",
        ]
    );
    loaded.config
}

#[test]
fn the_shipped_policies_mean_what_they_say() {
    let config = shipped_policies();
    let policy = |id: &str| &config.policy(id).unwrap().policy;
    let nightly = policy("nightly");
    assert_eq!(nightly.schedule.zone().name(), "Europe/Berlin");
    assert_eq!(nightly.schedule.next_open_after(now()).unwrap().to_string(), "2026-11-24 23:30:00 UTC");
    assert_eq!(nightly.retention.rules.to_string(), "daily 7, weekly 4, monthly 6, min 3");
    assert_eq!(nightly.retention.on_vm_deleted, Afterwards::Keep);
    assert_eq!(nightly.snapshot.exclude_disks.len(), 2);
    assert!(nightly.selection.honour_no_bak);
    assert_eq!(policy("databases-hourly").snapshot.kind, WantedKind::Quiesced(Fallback::Disk));
    assert!(matches!(policy("weekly-offline").snapshot.kind, WantedKind::Offline { .. }));
    assert_eq!(config.policy("Weekly, offline").unwrap().file.file_name(), Some("30-weekly-offline.toml".as_ref()));
}

#[test]
fn what_the_samples_show_in_comments_is_right_too() {
    let path = shipped().join("policies.d/20-databases.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let code = |line: &str| {
        line == "# [[policy.hooks]]"
            || line.starts_with("# ") && line[2..].split_once(" = ").is_some_and(|(key, _)| !key.contains(' '))
    };
    let all: Vec<&str> = text.lines().map(|line| if code(line) { &line[2..] } else { line }).collect();
    let loaded = crate::support::read(&[("20-databases.toml", &all.join("\n"))]).unwrap();
    let checked = &loaded.config.policies[0];
    assert_eq!((checked.pools.as_slice(), checked.policy.hooks.len()), (["prod".to_owned()].as_slice(), 1));
    assert!(Path::new(&checked.policy.hooks[0].command[0]).is_absolute());
}
