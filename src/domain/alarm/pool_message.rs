//! A message as the pool keeps it, in the form that XenCenter shows for scheduled snapshots: a name of the `VMSS_` family, and a line for
//! each VM in which it finds name, uuid and error. Names must not break that form.

use super::content::{Content, Told, ToldVm};
use super::edges::Edge;
use crate::domain::event::Severity;

/// Something that the pool is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolMessage {
    /// What kind, in the words of the server.
    pub name: &'static str,
    /// From 1 (urgent) to 5 (for the record), as the server gives it to that kind.
    pub priority: i64,
    /// A line for each VM.
    pub body: String,
}

const FAILED: (&str, i64) = ("VMSS_SNAPSHOT_FAILED", 3);
const MISSED: (&str, i64) = ("VMSS_SNAPSHOT_MISSED_EVENT", 3);
const SUCCEEDED: (&str, i64) = ("VMSS_SNAPSHOT_SUCCEEDED", 5);

/// So many characters of an explanation.
const SENTENCE: usize = 200;

/// Whether an alarm of this code is about snapshots, so that whoever looks at the pool should know of it.
pub fn is_about_snapshots(code: &str) -> bool {
    ["run-failed", "run-partial", "missed", "unresolved", "rpo-broken", "behind-schedule", "left-halted", "left-suspended"]
        .contains(&code)
}

/// What the pool of this name is told: what failed, what was missed, what is good again.
pub fn pool_messages(content: &Content, pool: &str, least: Severity) -> Vec<PoolMessage> {
    let concerned = |told: &&Told| {
        let severity = Severity::from_word(&told.severity).unwrap_or(Severity::Info);
        told.pool.as_deref() == Some(pool) && severity >= least && is_about_snapshots(&told.code)
    };
    let concerned: Vec<&Told> = content.alarms.iter().filter(concerned).collect();
    if content.form == "test" {
        let body = format!("A test by xensnap, installation {}.", content.installation);
        return vec![PoolMessage { name: SUCCEEDED.0, priority: SUCCEEDED.1, body }];
    }
    let kinds = [FAILED, MISSED, SUCCEEDED].into_iter().filter_map(|(name, priority)| {
        let of_kind: Vec<&Told> = concerned.iter().copied().filter(|told| kind(told).0 == name).collect();
        let body: Vec<String> = of_kind.iter().flat_map(|told| lines(told)).collect();
        (!body.is_empty()).then(|| PoolMessage { name, priority, body: body.join("\n") })
    });
    kinds.collect()
}

fn kind(told: &Told) -> (&'static str, i64) {
    match told.edge.as_str() {
        edge if edge == Edge::Cleared.as_str() => SUCCEEDED,
        _ if told.code == "missed" => MISSED,
        _ => FAILED,
    }
}

/// A line for each VM; without one, the sentence alone.
fn lines(told: &Told) -> Vec<String> {
    let over = told.edge == Edge::Cleared.as_str();
    let line = |vm: &ToldVm| {
        let name = quoted(&vm.name).replace("UUID:", "UUID").replace("Error:", "Error");
        if over {
            return format!("VM:{name} UUID:{}", vm.uuid);
        }
        let (code, text) = (vm.code.as_deref().unwrap_or(&told.code), vm.text.as_deref().unwrap_or(&told.text));
        format!("VM:{name} UUID:{} Error:['{}', '{}'],", vm.uuid, quoted(code), quoted(text))
    };
    let vms: Vec<&ToldVm> = told.vm.iter().chain(&told.vms).collect();
    if vms.is_empty() {
        return vec![super::plain::plain(&told.text, SENTENCE)];
    }
    let more = (told.more_vms > 0).then(|| format!("and {} more VMs", told.more_vms));
    vms.into_iter().map(line).chain(more).collect()
}

/// Without what ends a part of the form.
fn quoted(text: &str) -> String {
    let harmless = text.chars().map(|c| match c {
        '\'' => '’',
        '[' => '(',
        ']' => ')',
        c => c,
    });
    super::plain::plain(&harmless.collect::<String>(), SENTENCE)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use regex::Regex;
    use uuid::Uuid;

    use super::super::condition::Condition;
    use super::super::content::Telling;
    use super::*;

    fn content(tellings: &[(Edge, &str, Option<&str>, Severity)]) -> Content {
        let now = DateTime::UNIX_EPOCH;
        let part = |(edge, code, vm, severity): &(Edge, &str, Option<&str>, Severity)| {
            let what = Condition {
                key: format!("{code}/{vm:?}"),
                code: (*code).into(),
                severity: *severity,
                pool: Some("tokyo".into()),
                policy: Some("nightly".into()),
                vm: vm.map(|name| (Uuid::from_u128(1), name.to_owned())),
                run: None,
                text: "it's too old".into(),
                since: now,
            };
            (Telling { edge: *edge, at: now, alarm: 1, what }, Vec::new())
        };
        Content::new(Uuid::nil(), "immediate", ("backup-1", "UTC"), tellings.iter().map(part).collect(), 0, now)
    }

    const WARNING: Severity = Severity::Warning;

    #[test]
    fn each_kind_is_one_message_with_a_line_for_each_vm() {
        let content = content(&[
            (Edge::Raised, "rpo-broken", Some("db-01"), Severity::Error),
            (Edge::Raised, "missed", None, WARNING),
            (Edge::Cleared, "rpo-broken", Some("db-02"), WARNING),
            (Edge::Raised, "orphans", None, WARNING),
            (Edge::Raised, "rpo-broken", Some("db-03"), Severity::Notice),
        ]);
        let uuid = Uuid::from_u128(1);
        let message = |(name, priority): (&'static str, i64), body: String| PoolMessage { name, priority, body };
        let expected = [
            message(FAILED, format!("VM:db-01 UUID:{uuid} Error:['rpo-broken', 'it’s too old'],")),
            message(MISSED, "it's too old".to_owned()),
            message(SUCCEEDED, format!("VM:db-02 UUID:{uuid}")),
        ];
        assert_eq!(pool_messages(&content, "tokyo", WARNING), expected);
        assert_eq!(pool_messages(&content, "osaka", WARNING), []);
    }

    #[test]
    fn a_hostile_name_does_not_break_the_form() {
        let name = "db' UUID:x Error:['A'],\nVM:other";
        let messages = pool_messages(&content(&[(Edge::Raised, "rpo-broken", Some(name), WARNING)]), "tokyo", WARNING);
        let form = Regex::new(r"^VM:(.+) UUID:([0-9a-f-]{36}) Error:\['([^']+)', '([^']*)'\],$").unwrap();
        assert_eq!(messages[0].body.lines().count(), 1);
        assert!(form.is_match(&messages[0].body), "{}", messages[0].body);
    }
}
