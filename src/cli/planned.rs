//! From a checked configuration to what the service works by.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta};
use secrecy::SecretString;

use super::target;
use crate::config::pool::PasswordSource;
use crate::config::{AlarmsConfig, Config, DaemonLimits, MailConfig, MailTls, MetricsConfig};
use crate::daemon::{Alarms, Assigned, Channel, DeadMan, Door, Plan, PlannedPool, Route, Times};
use crate::domain::alarm::Rules;
use crate::domain::span::{CalendarSpan, Exact};
use crate::domain::zone::Zone;
use crate::engine::admission::Limits;
use crate::engine::site::Pace;
use crate::outward::{MailRoute, Protection, WebRoute};
use crate::store::{Opened, Options, Store};

/// Pools with their passwords, policies, limits.
///
/// # Errors
/// When a password cannot be read.
pub(super) fn plan(config: &Config) -> anyhow::Result<Plan> {
    let limits = limits(config.daemon.limits);
    let pools = config.pools.iter().cloned().map(|pool| {
        let mut settings = target::settings(pool)?;
        settings.originator = format!("xensnap|{}", config.installation);
        Ok(PlannedPool { settings, limits })
    });
    let policies =
        config.policies.iter().map(|checked| Assigned { policy: Arc::new(checked.policy.clone()), pools: checked.pools.clone() });
    Ok(Plan {
        installation: config.installation.clone(),
        pools: pools.collect::<anyhow::Result<_>>()?,
        policies: policies.collect(),
        times: Times {
            compare_every: config.daemon.reconcile_interval.0,
            synchronise_every: config.daemon.sync_interval.0,
            keep_history: Some(length(config.store.keep)),
            ..Times::default()
        },
        pace: Pace { uncoalesced: Some(config.daemon.limits.uncoalesced), ..Pace::default() },
        alarms: config.alarms.as_ref().map(|alarms| told(alarms, config)).transpose()?.map(Arc::new),
    })
}

/// Simulated weeks pass in a minute, so nobody looks more often than need be.
pub(super) fn unhurried(plan: &mut Plan) {
    let hour = Duration::from_secs(3600);
    plan.times = Times { chores_every: hour, look_every: hour, ..plan.times };
    for pool in &mut plan.pools {
        pool.settings.poll = hour;
    }
}

/// Time-outs of real input and output are the machine's: while virtual time stands still nobody waits long for a call that hangs.
pub(super) fn impatient(plan: &mut Plan) {
    let moment = Duration::from_secs(3);
    for pool in &mut plan.pools {
        let timeouts = &mut pool.settings.timeouts;
        (timeouts.answer, timeouts.blocking, timeouts.login) = (moment, moment, moment);
    }
}

/// How often what is wrong is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Who is told of what goes wrong, with passwords and secrets read.
fn told(alarms: &AlarmsConfig, config: &Config) -> anyhow::Result<Alarms> {
    let mail = alarms.mail.iter().map(|mail| {
        let route = Route::Mail(Box::new(mail_route(mail, config)?));
        anyhow::Ok(Channel { name: mail.name.clone(), route })
    });
    let webhooks = alarms.webhook.iter().map(|webhook| {
        let secret = webhook.secret.as_ref().map(secret).transpose();
        let secret = secret.with_context(|| format!("the secret of webhook {} in [alarms]", webhook.name))?;
        let (url, ca_file, timeout) = (webhook.url.clone(), webhook.ca_file.clone(), webhook.timeout.0);
        let route = Route::Web(Box::new(WebRoute { url, secret, ca_file, timeout }));
        anyhow::Ok(Channel { name: webhook.name.clone(), route })
    });
    let dead_man = alarms.dead_man.as_ref().map(|dead_man| DeadMan {
        route: WebRoute {
            url: dead_man.url.clone(),
            secret: None,
            ca_file: dead_man.ca_file.clone(),
            timeout: dead_man.timeout.0,
        },
        interval: dead_man.interval.0,
    });
    let delta = |length: Exact| TimeDelta::from_std(length.0).unwrap_or(TimeDelta::MAX);
    Ok(Alarms {
        look_every: LOOK_EVERY,
        rules: Rules { least: alarms.least, remind: alarms.remind.map(delta) },
        interval: delta(alarms.interval),
        give_up: delta(alarms.give_up),
        digest: alarms.digest.clone(),
        channels: mail.chain(webhooks).collect::<anyhow::Result<_>>()?,
        pool_messages: alarms.pool_messages.map(|messages| messages.least),
        dead_man,
    })
}

fn mail_route(mail: &MailConfig, config: &Config) -> anyhow::Result<MailRoute> {
    let login = mail.login.as_ref().map(|(user, password)| anyhow::Ok((user.clone(), secret(password)?))).transpose();
    Ok(MailRoute {
        host: mail.host.clone(),
        port: mail.port,
        protection: match mail.tls {
            MailTls::Starttls => Protection::Starttls,
            MailTls::Tls => Protection::Tls,
            MailTls::None => Protection::None,
        },
        login: login.with_context(|| format!("the password of mail {} in [alarms]", mail.name))?,
        from: mail.from.clone(),
        from_name: format!("xensnap {}", config.installation),
        to: mail.to.clone(),
        ca_file: mail.ca_file.clone(),
        timeout: mail.timeout.0,
    })
}

/// A secret, read where the configuration says that it is.
fn secret(source: &PasswordSource) -> anyhow::Result<SecretString> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    Ok(source.read(credentials.as_deref())?)
}

/// How figures are offered, with the token and the certificate read; and how many VMs have series of their own.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn door(metrics: &MetricsConfig) -> anyhow::Result<(Door, usize)> {
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("[metrics]: {} cannot be read", path.display()));
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let token = metrics.token.as_ref().map(|token| token.read(credentials.as_deref())).transpose();
    let token = token.context("the token of [metrics] cannot be used")?;
    let tls = metrics.tls.as_ref().map(|(chain, key)| anyhow::Ok((read(chain)?, read(key)?))).transpose()?;
    Ok((Door { listen: metrics.listen, token, tls }, metrics.vms as usize))
}

/// A calendar length in days as they were last year: whether history keeps 400 or 401 days matters to nobody.
fn length(span: CalendarSpan) -> TimeDelta {
    let then = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
    then - span.before(then, &Zone::utc())
}

fn limits(configured: DaemonLimits) -> Limits {
    let DaemonLimits { per_sr, per_host, per_pool, .. } = configured;
    Limits { per_sr, per_host: Some(per_host), per_pool: Some::<NonZeroU32>(per_pool) }
}

/// Opens the history for writing, and makes its folder if there is none.
///
/// # Errors
/// Each says what is wrong with the file and what to do.
pub(super) async fn history(path: &Path, now: chrono::DateTime<chrono::Utc>) -> anyhow::Result<Opened> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)
            .map_err(|error| anyhow::anyhow!("the folder {} of the history cannot be made: {error}", folder.display()))?;
    }
    Ok(Store::open(path, &Options::default(), now).await?)
}
