//! The file that `xensnap policy new` writes: what was asked, and in comments what else is possible.

use toml::Value;

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answers {
    pub name: String,
    pub id: Option<String>,
    pub cron: String,
    pub zone: String,
    pub which: Which,
    pub kind: String,
    pub daily: u32,
    pub weekly: u32,
    pub observe: bool,
}

/// Which VMs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Which {
    All,
    Tags(Vec<String>),
    Names(Vec<String>),
}

/// The text of the file.
pub(super) fn text(answers: &Answers) -> String {
    let Answers { daily, weekly, observe, .. } = answers;
    let [name, cron, zone, kind] = [&answers.name, &answers.cron, &answers.zone, &answers.kind].map(|text| quoted(text));
    let id = answers.id.as_ref().map(|id| format!("{ID}id = {}\n", quoted(id))).unwrap_or_default();
    let select = select(&answers.which);
    format!(
        r#"# xensnap-policy(5) has every key. After a change: `xensnap check`, then `xensnap reload`.

[[policy]]
name = {name}
{id}# Plans and records without touching anything. False, or without this line: in earnest.
observe = {observe}

[policy.schedule]
# Minute, hour, day of month, month, weekday; several as a list.
cron = {cron}
# The zone in which times are meant, days are counted and names are written.
zone = {zone}
# VMs start at places of their own in this time, so that they do not hit the storage at once.
#spread = "45m"
# Jobs start in this time only.
#window = "22:00-06:00"
# What has not started by then is recorded as not done.
#deadline = "4h"

[policy.select]
# Possible are uuid, name (a glob), name_exact, name_regex, tag, folder, power, pool, host, sr, vapp, other_config.
{select}
#exclude = [{{ name = "*-test" }}]

[policy.snapshot]
# "disk", "quiesced", "memory" or "offline".
kind = {kind}
# Disks that are left out.
#exclude_disks = [{{ name = "*swap*" }}]

[policy.retention]
# The rules add up: what one of them keeps stays. One chain of disks bears 30 snapshots.
daily = {daily}
weekly = {weekly}
#monthly = 6
# Whatever happens, so many of the newest stay.
min = 1
"#
    )
}

const ID: &str = "# The identity of the policy: it stands in the mark of each snapshot and stays when the policy is renamed.\n";

fn select(which: &Which) -> String {
    let list = |values: &[String]| Value::from(values.to_vec()).to_string();
    match which {
        Which::All => "all = true".to_owned(),
        Which::Tags(tags) => format!("include = [{{ tag = {} }}]", list(tags)),
        Which::Names(names) => format!("include = [{{ name = {} }}]", list(names)),
    }
}

/// A text as TOML writes it.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
