//! What a reload changes, policy by policy.

use xensnap::config::Config;
use xensnap::config::changes::{Change, changes};

use crate::support::{MAIN, POLICY, now};

fn config(main: &str, policies: &str) -> Config {
    Config::from_texts(("xensnap.toml", main), &[("a.toml", policies)], now()).unwrap().config
}

fn told(from: (&str, &str), to: (&str, &str)) -> Vec<String> {
    changes(&config(from.0, from.1), &config(to.0, to.1)).iter().map(ToString::to_string).collect()
}

#[test]
fn the_same_files_change_nothing_wherever_a_policy_stands_in_them() {
    assert_eq!(told((MAIN, POLICY), (MAIN, &format!("# moved\n\n{POLICY}"))), Vec::<String>::new());
}

#[test]
fn a_changed_policy_names_its_parts() {
    let other = POLICY.replace("last = 7", "last = 8").replace("30 2", "30 3").replace("\"Nightly\"", "\"Every night\"");
    assert_eq!(told((MAIN, POLICY), (MAIN, &other)), ["policy nightly changed: name, schedule, retention"]);
}

#[test]
fn policies_come_and_go() {
    let other = POLICY.replace("nightly", "weekly").replace("Nightly", "Weekly").replace("30 2 * * *", "@weekly");
    assert_eq!(
        told((MAIN, POLICY), (MAIN, &other)),
        ["policy nightly is gone", "policy weekly is new; nothing runs merely because of that"]
    );
}

#[test]
fn a_rename_without_an_id_is_recognised() {
    let without = POLICY.replace("id = \"nightly\"\n", "");
    let renamed = without.replace("\"Nightly\"", "\"Every night\"");
    let (old, new) = (config(MAIN, &without), config(MAIN, &renamed));
    let change = Change::PolicyIdChanged { from: "nightly".to_owned(), to: "every-night".to_owned() };
    assert_eq!(changes(&old, &new), std::slice::from_ref(&change));
    assert_eq!(change.to_string(), "policy nightly is now every-night; to keep its snapshots, write id = \"nightly\" into it");
}

#[test]
fn pools_and_settings_are_compared_too() {
    let other = MAIN
        .replace("secret word", "other word")
        .replace("\"lab\"", "\"test\"")
        .replace("\"test\"\n\n[[pool]]", "\"t2\"\n[daemon]\nsync_interval = \"2m\"\n[store]\nkeep = \"1y\"\n[[pool]]");
    assert_eq!(
        told((MAIN, POLICY), (&other, POLICY)),
        [
            "the installation changed; it owns none of the snapshots taken so far",
            "settings of the daemon changed",
            "the store changed; restart the daemon to use it",
            "pool prod changed",
            "pool lab is gone",
            "pool test is new",
        ]
    );
}
