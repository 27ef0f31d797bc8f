//! The ways on which alarms leave: mail, webhooks, messages of pools; and the ping that says that all is well.

use std::path::{Path, PathBuf};

use super::super::fields::{Fields, Written};
use super::super::findings::Findings;
use super::super::password::PasswordSource;
use super::super::tree::Table;
use super::{SEVERITIES, length};
use crate::domain::alarm::{Mailbox, WebAddress, is_loopback};
use crate::domain::event::Severity;
use crate::domain::span::Exact;

/// The keys of `[[alarms.mail]]`. Values of other keys are not quoted: somebody may have misspelt a password.
pub(in crate::config) const MAIL_KEYS: &[&str] =
    &["name", "host", "port", "tls", "username", "password_file", "password_credential", "from", "to", "ca_file", "timeout"];
/// Those of `[[alarms.webhook]]` that hold no secret.
pub(in crate::config) const WEBHOOK_KEYS: &[&str] = &["name", "secret_file", "secret_credential", "ca_file", "timeout"];
/// Those of `[alarms.dead_man]` that hold no secret.
pub(in crate::config) const DEAD_MAN_KEYS: &[&str] = &["interval", "ca_file", "timeout"];

/// A mail server, and who gets mail through it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailConfig {
    /// What it is called in messages; unique among the channels.
    pub name: String,
    /// The server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: MailTls,
    /// Who logs in, if somebody does.
    pub login: Option<(String, PasswordSource)>,
    /// The sender.
    pub from: Mailbox,
    /// The recipients; at least one.
    pub to: Vec<Mailbox>,
    /// The authority that is accepted, instead of the machine's.
    pub ca_file: Option<PathBuf>,
    /// How long a delivery may take.
    pub timeout: Exact,
}

/// How the connection to a mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MailTls {
    /// It begins in the clear and must be encrypted before anything is said.
    #[default]
    Starttls,
    /// It is encrypted from the beginning.
    Tls,
    /// It is not.
    None,
}

impl MailTls {
    const fn port(self) -> u16 {
        match self {
            MailTls::Starttls => 587,
            MailTls::Tls => 465,
            MailTls::None => 25,
        }
    }
}

const TLS: [(&str, MailTls); 3] = [("starttls", MailTls::Starttls), ("tls", MailTls::Tls), ("none", MailTls::None)];

/// Somebody on the web who takes alarms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookConfig {
    /// What it is called in messages; unique among the channels.
    pub name: String,
    /// Where.
    pub url: WebAddress,
    /// What messages are signed with.
    pub secret: Option<PasswordSource>,
    /// The authority that is accepted, instead of the machine's.
    pub ca_file: Option<PathBuf>,
    /// How long a delivery may take.
    pub timeout: Exact,
}

/// Which alarms become messages of the pool that they are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolMessagesConfig {
    /// What matters less does not.
    pub least: Severity,
}

/// An outside monitor that raises an alarm when it hears nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadManConfig {
    /// Where.
    pub url: WebAddress,
    /// How often.
    pub interval: Exact,
    /// The authority that is accepted, instead of the machine's.
    pub ca_file: Option<PathBuf>,
    /// How long a ping may take.
    pub timeout: Exact,
}

fn timeout(fields: &mut Fields<'_>, default: u64, findings: &mut Findings) -> Exact {
    length(fields, "timeout", (1, 120), findings).unwrap_or(Exact::seconds(default))
}

fn required<'t>(
    fields: &mut Fields<'t>,
    block: &str,
    key: &'static str,
    example: &str,
    findings: &mut Findings,
) -> Option<Written<&'t str>> {
    if fields.lacks(key) {
        findings.error(fields.place(), format!("{block} needs `{key}`"), format!("write {key} = {example}"));
    }
    fields.text(key, findings)
}

fn name(fields: &mut Fields<'_>, block: &str, example: &str, findings: &mut Findings) -> Option<String> {
    let name = required(fields, block, "name", example, findings)?;
    let fits = (1..=32).contains(&name.value.len()) && name.value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if !fits {
        findings.error(name.place, "this is no name of a channel", "write 1 to 32 letters, digits, `-`, `_` or `.`");
    }
    fits.then(|| name.value.to_owned())
}

/// One of a file and a credential. `word` is what they are called.
fn secret(fields: &mut Fields<'_>, keys: [&'static str; 2], base: &Path, findings: &mut Findings) -> Option<PasswordSource> {
    let [file, credential] = keys.map(|key| fields.text(key, findings));
    if let (Some(file), Some(credential)) = (file, credential) {
        let help = format!("keep one of {} and {}", keys[0], keys[1]);
        findings.conflict(credential.place, (file.place, "one is here"), "there is more than one secret", help);
    }
    if let Some(name) = credential.filter(|name| name.value.is_empty() || name.value.contains(['/', '\0']) || name.value == "..")
    {
        findings.error(name.place, "this is no name of a credential", "write a plain file name, as in LoadCredential=");
    }
    let file = file.map(|file| PasswordSource::File(base.join(file.value)));
    file.or_else(|| credential.map(|name| PasswordSource::Credential(name.value.to_owned())))
}

/// Reads `[[alarms.mail]]`. One that is not read leaves an error behind.
pub(super) fn mail(table: &Table, base: &Path, findings: &mut Findings) -> Option<MailConfig> {
    const BLOCK: &str = "[[alarms.mail]]";
    let (before, mut fields) = (findings.errors(), Fields::new(table));
    let name = name(&mut fields, BLOCK, "\"admins\"", findings);
    let host = required(&mut fields, BLOCK, "host", "\"mail.example.org\"", findings).filter(|host| named(host, findings));
    let tls = fields.choice("tls", &TLS, findings);
    let port = fields.number("port", 1..=65_535, findings);
    let login = login(&mut fields, base, findings);
    let from = required(&mut fields, BLOCK, "from", "\"xensnap@example.org\"", findings);
    let from = from.and_then(|_| fields.parsed::<Mailbox>("from", findings));
    let to = recipients(&mut fields, findings);
    let ca_file = fields.text("ca_file", findings).map(|file| base.join(file.value));
    let timeout = timeout(&mut fields, 30, findings);
    fields.finish(findings);
    let protection = tls.map_or_else(MailTls::default, |tls| tls.value);
    if let (Some(host), Some(tls)) = (host, tls.filter(|tls| tls.value == MailTls::None)) {
        in_the_clear(&host, &tls, login.is_some(), findings);
    }
    let port = port.and_then(|port| u16::try_from(port.value).ok()).unwrap_or(protection.port());
    let (name, host, from, to) = (name?, host?.value.to_owned(), from?.value, to?);
    let mail = MailConfig { name, host, port, tls: protection, login, from, to, ca_file, timeout };
    (findings.errors() == before).then_some(mail)
}

fn named(host: &Written<&str>, findings: &mut Findings) -> bool {
    let named = !host.value.is_empty() && host.value.chars().all(|c| c.is_ascii_alphanumeric() || "-._:".contains(c));
    if !named {
        findings.error(host.place, "this is no name of a host", "write a name or an IP address; the port has a key of its own");
    }
    named
}

fn recipients(fields: &mut Fields<'_>, findings: &mut Findings) -> Option<Vec<Mailbox>> {
    let example = "write to = [\"ops@example.org\"]";
    if fields.lacks("to") {
        findings.error(fields.place(), "[[alarms.mail]] needs `to`", example);
    }
    let to = fields.all_parsed::<Mailbox>("to", findings)?;
    if to.value.is_empty() {
        findings.error(to.place, "nobody gets this mail", example);
    }
    Some(to.value.into_iter().map(|to| to.value).collect())
}

fn login(fields: &mut Fields<'_>, base: &Path, findings: &mut Findings) -> Option<(String, PasswordSource)> {
    let username = fields.text("username", findings);
    let password = secret(fields, ["password_file", "password_credential"], base, findings);
    match (username, password) {
        (Some(username), Some(password)) => Some((username.value.to_owned(), password)),
        (Some(username), None) => {
            let help = "write password_file = \"/etc/xensnap/mail.password\" or password_credential = \"mail\"";
            findings.error(username.place, "there is a user without a password", help);
            None
        }
        (None, Some(_)) if fields.lacks("username") => {
            findings.error(fields.place(), "there is a password without a user", "write username = \"xensnap\"");
            None
        }
        (None, _) => None,
    }
}

/// What is said in the clear stays on this machine, or somebody wants it so; a password never leaves in the clear.
fn in_the_clear(host: &Written<&str>, tls: &Written<MailTls>, login: bool, findings: &mut Findings) {
    let help = "write tls = \"starttls\", or \"tls\"";
    if is_loopback(host.value) {
        return;
    }
    if login {
        findings.error(tls.place, "everybody on the way could read the password", help);
    } else {
        findings.warning(tls.place, "everybody on the way can read this mail", help);
    }
}

fn url(fields: &mut Fields<'_>, block: &str, example: &str, findings: &mut Findings) -> Option<WebAddress> {
    required(fields, block, "url", example, findings)?;
    let url = fields.parsed::<WebAddress>("url", findings)?;
    if !url.value.is_private() {
        findings.warning(url.place, "everybody on the way can read what is sent there", "write https:// if it can be had");
    }
    Some(url.value)
}

/// Reads `[[alarms.webhook]]`. One that is not read leaves an error behind.
pub(super) fn webhook(table: &Table, base: &Path, findings: &mut Findings) -> Option<WebhookConfig> {
    const BLOCK: &str = "[[alarms.webhook]]";
    let (before, mut fields) = (findings.errors(), Fields::new(table));
    let name = name(&mut fields, BLOCK, "\"chat\"", findings);
    let url = url(&mut fields, BLOCK, "\"https://alarms.example.org/xensnap\"", findings);
    let secret = secret(&mut fields, ["secret_file", "secret_credential"], base, findings);
    let ca_file = fields.text("ca_file", findings).map(|file| base.join(file.value));
    let timeout = timeout(&mut fields, 10, findings);
    fields.finish(findings);
    let webhook = WebhookConfig { name: name?, url: url?, secret, ca_file, timeout };
    (findings.errors() == before).then_some(webhook)
}

/// Reads `[alarms.pool_messages]`; nothing if it is not there or says that it is off.
pub(super) fn pool_messages(fields: &mut Fields<'_>, findings: &mut Findings) -> Option<PoolMessagesConfig> {
    let mut fields = fields.table("pool_messages", findings)?;
    let enabled = fields.flag("enabled", findings).is_none_or(|enabled| enabled.value);
    let least = fields.choice("least", &SEVERITIES, findings).map_or(Severity::Warning, |least| least.value);
    fields.finish(findings);
    enabled.then_some(PoolMessagesConfig { least })
}

/// Reads `[alarms.dead_man]`; nothing if it is not there.
pub(super) fn dead_man(fields: &mut Fields<'_>, base: &Path, findings: &mut Findings) -> Option<DeadManConfig> {
    let mut fields = fields.table("dead_man", findings)?;
    let url = url(&mut fields, "[alarms.dead_man]", "\"https://monitor.example.org/ping/...\"", findings);
    let interval = length(&mut fields, "interval", (10, 86_400), findings).unwrap_or(Exact::seconds(60));
    let ca_file = fields.text("ca_file", findings).map(|file| base.join(file.value));
    let timeout = timeout(&mut fields, 10, findings);
    fields.finish(findings);
    Some(DeadManConfig { url: url?, interval, ca_file, timeout })
}
