//! A policy written as a file again is the same policy.

use xensnap::config::{CheckedPolicy, Config};

use crate::support::{MAIN, now, policy, read, shipped, toml_files};

fn again(checked: &CheckedPolicy) {
    let text = checked.to_toml().unwrap();
    let read = match read(&[("again.toml", &text)]) {
        Ok(loaded) => loaded.config.policies,
        Err(problems) => panic!("{text}\n{problems}"),
    };
    assert_eq!(read.len(), 1);
    assert_eq!((&read[0].policy, &read[0].pools), (&checked.policy, &checked.pools), "{text}");
}

#[test]
fn the_samples_are_the_same_when_they_are_written_again() {
    let files = toml_files(&shipped().join("policies.d"));
    let texts: Vec<(String, String)> =
        files.iter().map(|path| (path.display().to_string(), std::fs::read_to_string(path).unwrap())).collect();
    let texts: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let config = Config::from_texts(("xensnap.toml", MAIN), &texts, now()).unwrap().config;
    assert_eq!(config.policies.len(), 3);
    config.policies.iter().for_each(again);
}

/// Keys that exclude one another, one of them inherited, must not both stand in the text.
#[test]
fn what_a_policy_says_against_its_template_is_resolved() {
    let text = r#"
[template.base]
[template.base.select]
include = [{ tag = "a" }]
[template.base.snapshot]
kind = "quiesced"
fallback = "disk"
[template.base.schedule]
catch_up_max_age = "3h"
[[policy]]
name = "Alle, die \"es\" gibt \\ täglich"
id = "all"
inherit = "base"
schedule = { cron = "@daily", zone = "UTC", catch_up = "none" }
select = { all = true }
snapshot = { kind = "offline" }
retention = { within = "1y2mo3w4d" }
"#;
    let checked = policy(text);
    again(&checked);
    let text = checked.to_toml().unwrap();
    assert!(text.contains("all = true") && !text.contains("include") && !text.contains("fallback"), "{text}");
}

#[test]
fn everything_that_a_policy_can_say_survives() {
    let text = r#"
[[policy]]
name = "Everything"
id = "everything"
enabled = false
observe = true
priority = 7
rpo = "26h"
pools = ["lab", "prod"]
[policy.schedule]
cron = ["5 4 * * mon-fri", "0 0 12 1 */2 *"]
zone = "America/New_York"
spread = "1h1m1s"
window = ["22:00-06:00", "Sat,Sun"]
blackout = "2026-12-24..2027-01-02"
deadline = "2d"
catch_up_max_age = "90m"
run_on_start = true
[policy.select]
include = [
  { name = "db-*", power = ["running", "halted"], tag = ["a", "b"] },
  { name_regex = "^\\d+\\s\"x\"$", folder = "/A/B", other_config = ["k", "k=v=w"] },
  { uuid = "6a3b1f0e-58c1-4e0f-9a53-2f7f6f0f4f10", host = "xen1", sr = "san", vapp = "shop", pool = "prod" },
]
exclude = [{ name_exact = "x [y]" }]
honour_no_bak = true
[policy.snapshot]
kind = "memory"
fallback = "disk"
exclude_disks = [{ name = "*swap*", position = 3 }, { tag = ["x", "y"], sr = "iso" }]
name = "{vm} {{literal}} {due:%G-W%V}"
description = "{vm}"
[[policy.hooks]]
phase = "before_run"
command = ["/bin/true", "--flag", "a b", "\t"]
environment = { A = "1", B_2 = "x=\"y\"" }
timeout = "90s"
on_failure = "continue"
[[policy.hooks]]
phase = "after_vm"
command = "/bin/sync"
[policy.retention]
last = 2
hourly = 3
daily = 4
weekly = 5
monthly = 6
yearly = 7
within = "36h30min"
min = 2
order = "prune-first"
on_vm_deleted = "remove after 30d"
on_policy_removed = "remove after 1d12h"
[policy.limits]
per_sr = 1
per_host = 2
per_pool = 3
[policy.guards]
space_reserve = "50GiB"
on_low_space = "prune-first"
max_removals_per_vm = 0
max_removals_per_run = 300
"#;
    again(&policy(text));
}
