//! `[alarms]`: who is told of what goes wrong, and how. Without the table nobody is told but the history and the journal; with it alone,
//! promises are watched, and what is raised stands in `xensnap alarms`.

mod channel;

use std::path::Path;

pub(super) use channel::{DEAD_MAN_KEYS, MAIL_KEYS, WEBHOOK_KEYS};
pub use channel::{DeadManConfig, MailConfig, MailTls, PoolMessagesConfig, WebhookConfig};

use super::across;
use super::fields::Fields;
use super::findings::Findings;
use super::settings::blocks;
use crate::domain::event::Severity;
use crate::domain::schedule::{CronExpression, Schedule};
use crate::domain::span::Exact;
use crate::domain::zone::Zone;

/// Who is told, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmsConfig {
    /// What matters at least so much is told at once; the rest by the digest.
    pub least: Severity,
    /// What is told at once is gathered, so that there is at most one message in this time.
    pub interval: Exact,
    /// What is still wrong is told again after this; never if nothing is said.
    pub remind: Option<Exact>,
    /// How long a message that cannot be delivered is tried.
    pub give_up: Exact,
    /// When the digest goes; nothing: there is none.
    pub digest: Option<Schedule>,
    /// By mail.
    pub mail: Vec<MailConfig>,
    /// By HTTP.
    pub webhook: Vec<WebhookConfig>,
    /// As messages of the pools.
    pub pool_messages: Option<PoolMessagesConfig>,
    /// Who is told, again and again, that all is well.
    pub dead_man: Option<DeadManConfig>,
}

/// How much something may have to matter.
pub(super) const SEVERITIES: [(&str, Severity); 4] =
    [("notice", Severity::Notice), ("warning", Severity::Warning), ("error", Severity::Error), ("critical", Severity::Critical)];

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

impl Default for AlarmsConfig {
    fn default() -> Self {
        Self {
            least: Severity::Error,
            interval: Exact::seconds(600),
            remind: Some(Exact::seconds(DAY)),
            give_up: Exact::seconds(3 * DAY),
            digest: digest_at("0 7 * * *".parse().ok().into_iter().collect(), Zone::utc()),
            mail: Vec::new(),
            webhook: Vec::new(),
            pool_messages: None,
            dead_man: None,
        }
    }
}

/// A digest that would never go is none.
fn digest_at(cron: Vec<CronExpression>, zone: Zone) -> Option<Schedule> {
    Schedule::new(cron, zone).ok()
}

/// Reads `[alarms]`; nothing if it is not there.
pub(super) fn alarms(fields: &mut Fields<'_>, base: &Path, findings: &mut Findings) -> Option<AlarmsConfig> {
    let mut fields = fields.table("alarms", findings)?;
    let mut alarms = AlarmsConfig::default();
    if let Some(least) = fields.choice("least", &SEVERITIES, findings) {
        alarms.least = least.value;
    }
    alarms.interval = length(&mut fields, "interval", (0, DAY), findings).unwrap_or(alarms.interval);
    alarms.give_up = length(&mut fields, "give_up", (HOUR, 30 * DAY), findings).unwrap_or(alarms.give_up);
    alarms.remind = remind(&mut fields, alarms.remind, findings);
    alarms.digest = digest(&mut fields, alarms.digest, findings);
    let (mail, webhooks) = (blocks(&mut fields, "mail", findings), blocks(&mut fields, "webhook", findings));
    across::channels(mail.iter().chain(&webhooks).copied(), findings);
    alarms.mail = mail.into_iter().filter_map(|table| channel::mail(table, base, findings)).collect();
    alarms.webhook = webhooks.into_iter().filter_map(|table| channel::webhook(table, base, findings)).collect();
    alarms.pool_messages = channel::pool_messages(&mut fields, findings);
    alarms.dead_man = channel::dead_man(&mut fields, base, findings);
    fields.finish(findings);
    Some(alarms)
}

/// A length of time within bounds, in seconds.
fn length(fields: &mut Fields<'_>, key: &'static str, (from, to): (u64, u64), findings: &mut Findings) -> Option<Exact> {
    let written = fields.parsed::<Exact>(key, findings)?;
    let (from, to) = (Exact::seconds(from), Exact::seconds(to));
    let fits = (from..=to).contains(&written.value);
    if !fits {
        findings.error(written.place, format!("`{key}` is out of range"), format!("write {from} to {to}"));
    }
    fits.then_some(written.value)
}

fn remind(fields: &mut Fields<'_>, default: Option<Exact>, findings: &mut Findings) -> Option<Exact> {
    if let Some(super::tree::Value::Text(text)) = fields.node("remind").map(|node| &node.value)
        && text.text == "never"
    {
        return None;
    }
    length(fields, "remind", (HOUR, 30 * DAY), findings).or(default)
}

fn digest(fields: &mut Fields<'_>, default: Option<Schedule>, findings: &mut Findings) -> Option<Schedule> {
    let Some(mut fields) = fields.table("digest", findings) else { return default };
    let enabled = fields.flag("enabled", findings).is_none_or(|enabled| enabled.value);
    let cron = fields.all_parsed::<CronExpression>("cron", findings);
    if let Some(cron) = cron.as_ref().filter(|cron| cron.value.is_empty()) {
        findings.error(cron.place, "a digest needs a time", "write cron = \"0 7 * * *\", or enabled = false");
    }
    let zone = fields.node("zone").and_then(|node| {
        let text = super::fields::text("zone", node, findings)?;
        super::fields::read(node, text, Zone::named(&text.text), findings)
    });
    fields.finish(findings);
    let default = default?;
    let cron = cron.map_or_else(
        || default.expressions().to_vec(),
        |cron| cron.value.into_iter().map(|expression| expression.value).collect(),
    );
    digest_at(cron, zone.map_or_else(|| default.zone().clone(), |zone| zone.value)).filter(|_| enabled)
}
