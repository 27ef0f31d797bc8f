//! What is news. An alarm is an edge, not a level: it is raised once when something begins to be wrong and cleared once when that is over,
//! however often it is looked at in between; and it is told again only after the time that somebody configured.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::condition::{Condition, Raised, lasts};
use crate::domain::event::Severity;

/// What merely happened is over when it has not happened again for this long.
const QUIET: TimeDelta = TimeDelta::hours(1);

/// The least that is told at all.
const LEAST: Severity = Severity::Warning;

/// What is told of an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Edge {
    /// It began.
    Raised,
    /// It goes on.
    Reminded,
    /// It is over.
    Cleared,
}

impl Edge {
    /// Every value.
    pub const ALL: &'static [Self] = &[Self::Raised, Self::Reminded, Self::Cleared];

    /// The word that stands for it in the history and in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Reminded => "reminded",
            Self::Cleared => "cleared",
        }
    }

    /// The value of a word; `None` if there is none.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|edge| edge.as_str() == word)
    }
}

/// How people want to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// What matters at least so much is told at once.
    pub least: Severity,
    /// What is still wrong is told again after this.
    pub remind: Option<TimeDelta>,
}

impl Rules {
    /// Whether what matters so much is told at once; nothing if it is not told at all.
    pub fn urgent(&self, severity: Severity) -> Option<bool> {
        let least = self.least.min(LEAST);
        (severity >= least).then_some(severity >= self.least)
    }
}

/// What a look at everything changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// What began; whether it is told at once, if it is told.
    pub raise: Vec<(Condition, Option<bool>)>,
    /// What goes on in another way; whether it is told anew, at once.
    pub renew: Vec<(i64, Condition, bool)>,
    /// What happened again.
    pub seen: Vec<i64>,
    /// What is told again.
    pub remind: Vec<i64>,
    /// What is over; whether it is told at once, if it is told.
    pub clear: Vec<(i64, Option<bool>)>,
}

impl Changes {
    /// True if nothing is to be written down.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What is news, when this was raised and that is found. `unknown` says of what was raised whether it cannot be told now whether it goes
/// on: then it stays as it is.
pub fn changes(
    raised: &[Raised],
    present: Vec<Condition>,
    unknown: impl Fn(&Condition) -> bool,
    rules: &Rules,
    now: DateTime<Utc>,
) -> Changes {
    let known: HashMap<&str, &Raised> = raised.iter().map(|raised| (raised.what.key.as_str(), raised)).collect();
    let mut changes = Changes::default();
    let mut found: HashSet<String> = HashSet::new();
    for condition in present {
        if !found.insert(condition.key.clone()) {
            continue;
        }
        match known.get(condition.key.as_str()) {
            Some(raised) => goes_on(raised, condition, rules, &mut changes),
            None => {
                let urgent = rules.urgent(condition.severity);
                changes.raise.push((condition, urgent));
            }
        }
    }
    for gone in raised.iter().filter(|raised| !found.contains(&raised.what.key) && !unknown(&raised.what)) {
        if lasts(&gone.what.code) {
            changes.clear.push((gone.id, rules.urgent(gone.what.severity)));
        } else if now - gone.seen_at >= QUIET {
            changes.clear.push((gone.id, None));
        }
    }
    remind(raised, rules, now, &mut changes);
    changes
}

fn goes_on(raised: &Raised, condition: Condition, rules: &Rules, changes: &mut Changes) {
    if !lasts(&condition.code) {
        changes.seen.push(raised.id);
        return;
    }
    let before = &raised.what;
    let as_before = (&before.text, before.severity, &before.code, before.run, before.vm.as_ref())
        == (&condition.text, condition.severity, &condition.code, condition.run, condition.vm.as_ref());
    if !as_before {
        // Worse than it was told is news.
        let urgent = |severity| rules.urgent(severity) == Some(true);
        let worse = urgent(condition.severity) && !urgent(before.severity);
        changes.renew.push((raised.id, condition, worse));
    }
}

/// What was told at once, lasts and was not told for long. What comes due soon goes with it, so that not each has a message of its own.
fn remind(raised: &[Raised], rules: &Rules, now: DateTime<Utc>, changes: &mut Changes) {
    let Some(after) = rules.remind else { return };
    let over: HashSet<i64> = changes.clear.iter().map(|(id, _)| *id).collect();
    let lasting = |raised: &&Raised| {
        lasts(&raised.what.code) && rules.urgent(raised.what.severity) == Some(true) && !over.contains(&raised.id)
    };
    let lasting: Vec<&Raised> = raised.iter().filter(lasting).collect();
    if lasting.iter().any(|raised| now - raised.told_at >= after) {
        let soon = after * 3 / 4;
        changes.remind.extend(lasting.iter().filter(|raised| now - raised.told_at >= soon).map(|raised| raised.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { least: Severity::Error, remind: Some(TimeDelta::days(1)) };

    fn at(hour: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::hours(hour)
    }

    fn condition(key: &str, code: &str, severity: Severity) -> Condition {
        Condition {
            key: key.into(),
            code: code.into(),
            severity,
            pool: None,
            policy: None,
            vm: None,
            run: None,
            text: "wrong".into(),
            since: at(0),
        }
    }

    fn raised(id: i64, what: Condition, hour: i64) -> Raised {
        Raised { id, what, raised_at: at(hour), seen_at: at(hour), told_at: at(hour) }
    }

    fn known(_: &Condition) -> bool {
        false
    }

    #[test]
    fn what_begins_is_raised_once_and_what_ends_is_cleared_once() {
        let wrong = condition("a", "missed", Severity::Error);
        let first = changes(&[], vec![wrong.clone(), wrong.clone()], known, &RULES, at(0));
        assert_eq!(first, Changes { raise: vec![(wrong.clone(), Some(true))], ..Changes::default() });
        let again = changes(&[raised(1, wrong.clone(), 0)], vec![wrong.clone()], known, &RULES, at(1));
        assert!(again.is_empty(), "{again:?}");
        let over = changes(&[raised(1, wrong, 0)], Vec::new(), known, &RULES, at(2));
        assert_eq!(over, Changes { clear: vec![(1, Some(true))], ..Changes::default() });
    }

    #[test]
    fn what_matters_less_waits_for_the_digest_and_what_matters_little_is_not_told() {
        let of = |severity| changes(&[], vec![condition("a", "missed", severity)], known, &RULES, at(0)).raise[0].1;
        assert_eq!([Severity::Critical, Severity::Error].map(of), [Some(true); 2]);
        assert_eq!([Severity::Warning, Severity::Notice].map(of), [Some(false), None]);
        let all = Rules { least: Severity::Notice, remind: None };
        assert_eq!((all.urgent(Severity::Notice), all.urgent(Severity::Info)), (Some(true), None));
    }

    #[test]
    fn of_what_cannot_be_looked_at_nothing_is_said() {
        let wrong = raised(1, Condition { pool: Some("tokyo".into()), ..condition("a", "unreachable", Severity::Error) }, 0);
        let unknown = |what: &Condition| what.pool.as_deref() == Some("tokyo");
        assert!(changes(&[wrong], Vec::new(), unknown, &RULES, at(1)).is_empty());
    }

    #[test]
    fn another_text_is_written_down_and_only_what_got_worse_is_told_anew() {
        let before = raised(1, condition("a", "missed", Severity::Warning), 0);
        let text = Condition { text: "2 runs".into(), ..before.what.clone() };
        assert_eq!(changes(std::slice::from_ref(&before), vec![text.clone()], known, &RULES, at(1)).renew, [(1, text, false)]);
        let worse = Condition { severity: Severity::Error, ..before.what.clone() };
        assert_eq!(changes(&[before], vec![worse.clone()], known, &RULES, at(1)).renew, [(1, worse, true)]);
    }

    #[test]
    fn what_merely_happened_is_over_in_silence_when_it_does_not_happen_again() {
        let happened = raised(1, condition("a", "left-halted", Severity::Critical), 0);
        let again = changes(std::slice::from_ref(&happened), vec![happened.what.clone()], known, &RULES, at(9));
        assert_eq!(again, Changes { seen: vec![1], ..Changes::default() });
        let soon = changes(std::slice::from_ref(&happened), Vec::new(), known, &RULES, at(0) + TimeDelta::minutes(59));
        assert!(soon.is_empty());
        assert_eq!(changes(&[happened], Vec::new(), known, &RULES, at(1)).clear, [(1, None)]);
    }

    #[test]
    fn what_goes_on_is_told_again_after_the_configured_time_and_together() {
        let wrong = |key: &str| condition(key, "missed", Severity::Error);
        let all = [raised(1, wrong("a"), 0), raised(2, wrong("b"), 5), raised(3, wrong("c"), 20)];
        let present = || vec![wrong("a"), wrong("b"), wrong("c")];
        assert!(changes(&all, present(), known, &RULES, at(23)).remind.is_empty());
        assert_eq!(changes(&all, present(), known, &RULES, at(24)).remind, [1, 2]);
        assert!(changes(&all, present(), known, &Rules { remind: None, ..RULES }, at(999)).remind.is_empty());
        // What is over is not told again too.
        assert_eq!(changes(&all, vec![wrong("b"), wrong("c")], known, &RULES, at(24)).remind, [2_i64; 0]);
    }
}
