//! A message as people read it in their mail: the subject says the worst, the text what began, what goes on and what is over.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};

use super::content::{Content, Told};
use super::edges::Edge;
use super::plain::plain;
use crate::domain::zone::Zone;

/// The longest subject, in characters.
const SUBJECT: usize = 150;

/// A mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// One line.
    pub subject: String,
    /// Lines, each with its end.
    pub text: String,
}

/// The mail that tells this.
pub fn letter(content: &Content) -> Letter {
    let zone = Zone::named(&content.zone).unwrap_or_else(|_| Zone::utc());
    Letter { subject: plain(&subject(content), SUBJECT), text: text(content, &zone) }
}

fn subject(content: &Content) -> String {
    let from = format!("[xensnap {}]", content.installation);
    if content.form == "test" {
        return format!("{from} a test of this channel");
    }
    let of = |edge: Edge| content.alarms.iter().filter(|told| told.edge == edge.as_str()).count();
    let (began, goes_on, over) = (of(Edge::Raised), of(Edge::Reminded), of(Edge::Cleared));
    let all = content.alarms.len() + content.more;
    let first = content.alarms.first().map_or("", |told| told.text.as_str());
    let digest = if content.form == "digest" { "digest: " } else { "" };
    match (all, began, goes_on, over) {
        (1, 1, ..) => format!("{from} {digest}{first}"),
        (1, 0, 1, _) => format!("{from} {digest}still: {first}"),
        (1, 0, 0, 1) => format!("{from} {digest}over: {first}"),
        _ if began == 0 && goes_on == 0 => format!("{from} {digest}{all} alarms are over"),
        _ => format!("{from} {digest}{all} alarms, first: {first}"),
    }
}

fn text(content: &Content, zone: &Zone) -> String {
    let mut text = String::new();
    if content.form == "test" {
        text.push_str("Somebody asked xensnap to try this channel (`xensnap alarms test`). It works.\n\n");
    }
    for (edge, title) in [(Edge::Raised, "Began"), (Edge::Reminded, "Goes on"), (Edge::Cleared, "Is over")] {
        let told: Vec<&Told> = content.alarms.iter().filter(|told| told.edge == edge.as_str()).collect();
        if !told.is_empty() {
            let _ = writeln!(text, "{title}\n");
            told.into_iter().for_each(|told| entry(&mut text, told, zone));
        }
    }
    if content.more > 0 {
        let _ = writeln!(text, "And {} more.\n", content.more);
    }
    let raised = match content.raised {
        0 => "Nothing is wrong now.".to_owned(),
        1 => "1 alarm is raised now; `xensnap alarms` on the backup host shows it.".to_owned(),
        raised => format!("{raised} alarms are raised now; `xensnap alarms` on the backup host lists them."),
    };
    let written = when(content.created_at, zone);
    let _ =
        write!(text, "{raised}\n\n-- \nxensnap, installation {}, {written}\nmessage {}\n", content.installation, content.message);
    text
}

fn entry(text: &mut String, told: &Told, zone: &Zone) {
    let about = [("pool", &told.pool), ("policy", &told.policy)];
    let about = about.into_iter().filter_map(|(word, name)| Some(format!(", {word} {}", name.as_ref()?)));
    let over = if told.edge == Edge::Cleared.as_str() { format!(" until {}", when(told.at, zone)) } else { String::new() };
    let about: String = about.collect();
    let _ = writeln!(text, "* {}, since {}{over}{about}\n  {}", told.severity, when(told.since, zone), told.text);
    for vm in &told.vms {
        let _ = writeln!(text, "  - {} ({}): {}", vm.name, vm.uuid, vm.text.as_deref().unwrap_or("no snapshot"));
    }
    if told.more_vms > 0 {
        let _ = writeln!(text, "  - and {} more VMs", told.more_vms);
    }
    text.push('\n');
}

fn when(at: DateTime<Utc>, zone: &Zone) -> String {
    zone.format(at, "%Y-%m-%d %H:%M %Z").unwrap_or_else(|| at.to_rfc3339())
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use uuid::Uuid;

    use super::super::condition::Condition;
    use super::super::content::{Telling, ToldVm};
    use super::*;
    use crate::domain::event::Severity;

    fn telling(edge: Edge, n: u128, name: &str) -> Telling {
        let at = DateTime::UNIX_EPOCH + TimeDelta::hours(2);
        let what = Condition {
            key: format!("{n:05}"),
            code: "rpo-broken".into(),
            severity: Severity::Error,
            pool: Some("tokyo".into()),
            policy: Some("nightly".into()),
            vm: Some((Uuid::from_u128(n), name.into())),
            run: None,
            text: format!("VM {name}: no good snapshot for 27h, promised 26h"),
            since: at,
        };
        Telling { edge, at: at + TimeDelta::hours(1), alarm: 1, what }
    }

    fn content(form: &str, parts: Vec<(Telling, Vec<ToldVm>)>) -> Content {
        let raised = parts.len();
        Content::new(Uuid::nil(), form, ("backup-1", "Europe/Berlin"), parts, raised, DateTime::UNIX_EPOCH + TimeDelta::hours(3))
    }

    #[test]
    fn a_mail_says_what_began_and_what_is_over() {
        let failed = ToldVm::new(Uuid::from_u128(7), "web", Some(("SR_FULL", "there is no space")));
        let parts = vec![(telling(Edge::Cleared, 2, "db-02"), vec![]), (telling(Edge::Raised, 1, "db-01"), vec![failed])];
        let letter = letter(&content("immediate", parts));
        assert_eq!(letter.subject, "[xensnap backup-1] 2 alarms, first: VM db-01: no good snapshot for 27h, promised 26h");
        let expected = "Began

* error, since 1970-01-01 03:00 CET, pool tokyo, policy nightly
  VM db-01: no good snapshot for 27h, promised 26h
  - web (00000000-0000-0000-0000-000000000007): there is no space

Is over

* error, since 1970-01-01 03:00 CET until 1970-01-01 04:00 CET, pool tokyo, policy nightly
  VM db-02: no good snapshot for 27h, promised 26h

2 alarms are raised now; `xensnap alarms` on the backup host lists them.

-- \nxensnap, installation backup-1, 1970-01-01 04:00 CET
message 00000000-0000-0000-0000-000000000000
";
        assert_eq!(letter.text, expected);
    }

    #[test]
    fn the_subject_of_a_single_alarm_says_it() {
        let subject = |form: &str, edge| letter(&content(form, vec![(telling(edge, 1, "a"), vec![])])).subject;
        assert_eq!(subject("immediate", Edge::Raised), "[xensnap backup-1] VM a: no good snapshot for 27h, promised 26h");
        assert_eq!(
            subject("immediate", Edge::Reminded),
            "[xensnap backup-1] still: VM a: no good snapshot for 27h, promised 26h"
        );
        assert_eq!(
            subject("digest", Edge::Cleared),
            "[xensnap backup-1] digest: over: VM a: no good snapshot for 27h, promised 26h"
        );
        assert_eq!(letter(&content("test", vec![])).subject, "[xensnap backup-1] a test of this channel");
    }

    #[test]
    fn a_thousand_alarms_are_one_mail_with_an_end() {
        let parts: Vec<_> = (0..1000).map(|n| (telling(Edge::Raised, n, "x"), vec![])).collect();
        let content = content("immediate", parts);
        assert_eq!((content.alarms.len(), content.more), (100, 900));
        let letter = letter(&content);
        assert!(letter.subject.starts_with("[xensnap backup-1] 1000 alarms, first: "), "{}", letter.subject);
        assert!(letter.text.contains("\nAnd 900 more.\n") && letter.text.len() < 32 << 10, "{}", letter.text.len());
    }

    #[test]
    fn hostile_names_stay_within_their_line() {
        let name = format!("db\r\nBcc: all@example.org\r\n\r\n.\r\nQUIT\u{202e}{}", "x".repeat(100_000));
        let letter = letter(&content("immediate", vec![(telling(Edge::Raised, 1, &name), vec![])]));
        assert!(!letter.subject.contains(['\r', '\n', '\u{202e}']) && letter.subject.chars().count() <= SUBJECT);
        assert!(letter.text.lines().all(|line| !line.starts_with("Bcc") && !line.starts_with('.') && line.len() < 3000));
    }
}
