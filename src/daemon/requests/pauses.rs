//! Pauses: said, and taken back. They are in the history before they are acknowledged, and what they kept from running says so there.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::Handle;
use super::Reply;
use crate::domain::nearest::nearest_few;
use crate::domain::pause::{Pause, Scope};
use crate::engine::error::Result;
use crate::engine::site::SharedSite;
use crate::store::{EventKind, NewEvent};
use crate::telemetry::Fact;
use crate::xenapi::records::{Host, Sr, Vm};

/// What is to be paused, as people call it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Pausable {
    /// Everything.
    All {},
    /// A policy, by id or name.
    Policy(String),
    /// A pool, by its configured name or uuid.
    Pool(String),
    /// A storage repository, by name or uuid.
    Sr(String),
    /// The VMs that are on a host, by name or uuid.
    Host(String),
    /// A VM, by name or uuid.
    Vm(String),
}

/// Pauses.
pub(super) async fn pause(
    handle: &Handle,
    (what, by): (&Pausable, &str),
    (until, reason): (Option<DateTime<Utc>>, &str),
    reply: &mut Reply,
) -> Result<()> {
    let now = handle.clock.now();
    if until.is_some_and(|until| until <= now) {
        reply.refuse("usage", "the end of the pause is past; name a time that is to come");
        return Ok(());
    }
    let (scope, name) = match scope(handle, what).await? {
        Ok(found) => found,
        Err(why) => {
            reply.refuse("not-found", why);
            return Ok(());
        }
    };
    let known = handle.wishes.pauses().into_iter().find(|pause| pause.scope == scope && pause.holds_at(now));
    let id = known.as_ref().map_or_else(Uuid::new_v4, |pause| pause.id);
    let from = known.map_or(now, |pause| pause.from);
    let pause = Pause { id, scope, name, from, until, reason: reason.to_owned(), by: by.to_owned() };
    let text = pause.to_string();
    handle.wishes.pause(&handle.store, pause, now).await?;
    note(handle, EventKind::Paused, &text).await?;
    reply.say(text);
    reply.say("snapshots in work go on to their end (`xensnap cancel` stops them); what has not begun is skipped");
    Ok(())
}

/// Takes pauses back: those of exactly this, or all that there are.
pub(super) async fn resume(handle: &Handle, what: &Pausable, by: &str, reply: &mut Reply) -> Result<()> {
    let now = handle.clock.now();
    let open: Vec<Pause> = handle.wishes.pauses().into_iter().filter(|pause| pause.holds_at(now)).collect();
    let meant = match what {
        Pausable::All {} => open.clone(),
        what => match scope(handle, what).await? {
            Ok((scope, _)) => open.iter().filter(|pause| pause.scope == scope).cloned().collect(),
            // Its pool may be away.
            Err(_) => open.iter().filter(|pause| pause.name == plain(what)).cloned().collect(),
        },
    };
    if meant.is_empty() {
        let names: Vec<&str> = open.iter().map(|pause| pause.name.as_str()).collect();
        let paused = if names.is_empty() { "nothing is paused".to_owned() } else { format!("paused is {}", names.join(", ")) };
        reply.refuse("not-found", format!("that is not paused; {paused}"));
    }
    for pause in meant {
        let text = format!("{} is resumed by {by}", pause.name);
        // It ends and is not forgotten: what was due meanwhile stays skipped.
        handle.wishes.pause(&handle.store, Pause { until: Some(now), ..pause }, now).await?;
        note(handle, EventKind::Resumed, &text).await?;
        reply.say(text);
    }
    Ok(())
}

async fn note(handle: &Handle, kind: EventKind, text: &str) -> Result<()> {
    Fact::new(kind).say(text);
    handle.store.note_event(NewEvent::new(handle.clock.now(), kind, text)).await?;
    Ok(())
}

fn plain(what: &Pausable) -> String {
    match what {
        Pausable::All {} => "everything".to_owned(),
        Pausable::Policy(name) => format!("policy {name}"),
        Pausable::Pool(name) => format!("pool {name}"),
        Pausable::Sr(name) => format!("SR {name}"),
        Pausable::Host(name) => format!("host {name}"),
        Pausable::Vm(name) => format!("VM {name}"),
    }
}

/// The thing that is meant, and what it is called from now on.
async fn scope(handle: &Handle, what: &Pausable) -> Result<Result<(Scope, String), String>> {
    Ok(found(handle, what, pools(handle).await?))
}

/// The configured pools that were ever reached: one that is away can be paused too.
async fn pools(handle: &Handle) -> Result<Vec<Named>> {
    let plan = handle.plan();
    let is_ours = |name: &str| plan.pools.iter().any(|pool| pool.settings.name == name);
    let known = handle.store.pools().await?;
    Ok(known.into_iter().filter(|pool| is_ours(&pool.name)).map(|pool| (pool.uuid, pool.name)).collect())
}

fn found(handle: &Handle, what: &Pausable, pools: Vec<Named>) -> Result<(Scope, String), String> {
    let sites = handle.sites.borrow().clone();
    let (scope, name) = match what {
        Pausable::All {} => (Scope::All, String::new()),
        Pausable::Policy(wanted) => {
            let plan = handle.plan();
            let names: Vec<&str> = plan.policies.iter().map(|assigned| assigned.policy.name.as_str()).collect();
            let policy = &plan.find(wanted).ok_or_else(|| unknown(what, wanted, &names))?.policy;
            (Scope::Policy(policy.id.clone()), policy.name.clone())
        }
        Pausable::Pool(wanted) => {
            let (pool, name) = only(what, wanted, pools)?;
            (Scope::Pool(pool), name)
        }
        Pausable::Sr(wanted) => {
            let all = every(&sites, |site| {
                site.inventory.read().all::<Sr>().map(|(_, sr)| (sr.uuid.get(), sr.name_label.to_string())).collect()
            });
            let (sr, name) = only(what, wanted, all)?;
            (Scope::Sr(sr), name)
        }
        Pausable::Host(wanted) => {
            let all = every(&sites, |site| {
                site.inventory.read().all::<Host>().map(|(_, host)| (host.uuid.get(), host.name_label.to_string())).collect()
            });
            let (host, name) = only(what, wanted, all)?;
            (Scope::Host(host), name)
        }
        Pausable::Vm(wanted) => {
            let plain = |site: &SharedSite| {
                let tables = site.inventory.read();
                let plain = tables.all::<Vm>().filter(|(_, vm)| vm.is_plain());
                plain.map(|(_, vm)| (vm.uuid.get(), vm.name_label.to_string())).collect()
            };
            let (vm, name) = only(what, wanted, every(&sites, plain))?;
            (Scope::Vm(vm), name)
        }
    };
    Ok((scope, plain(&what.named(name))))
}

impl Pausable {
    fn named(&self, name: String) -> Self {
        match self {
            Pausable::All {} => Pausable::All {},
            Pausable::Policy(_) => Pausable::Policy(name),
            Pausable::Pool(_) => Pausable::Pool(name),
            Pausable::Sr(_) => Pausable::Sr(name),
            Pausable::Host(_) => Pausable::Host(name),
            Pausable::Vm(_) => Pausable::Vm(name),
        }
    }
}

type Named = (Uuid, String);

fn every(sites: &[SharedSite], of: impl Fn(&SharedSite) -> Vec<Named>) -> Vec<Named> {
    sites.iter().flat_map(of).collect()
}

/// The one that is called so.
fn only(what: &Pausable, wanted: &str, all: Vec<Named>) -> Result<Named, String> {
    let uuid = wanted.parse::<Uuid>().ok();
    let meant: Vec<&Named> = all.iter().filter(|(of, name)| uuid == Some(*of) || name == wanted).collect();
    match meant.as_slice() {
        [one] => Ok((*one).clone()),
        [] => {
            let names: Vec<&str> = all.iter().map(|(_, name)| name.as_str()).collect();
            Err(unknown(what, wanted, &names))
        }
        several => {
            let uuids: Vec<String> = several.iter().map(|(uuid, _)| uuid.to_string()).collect();
            Err(format!("several are called {wanted}: {}; give the uuid of one", uuids.join(", ")))
        }
    }
}

fn unknown(what: &Pausable, wanted: &str, names: &[&str]) -> String {
    let near = nearest_few(wanted, names.iter().copied(), 3).join(", ");
    let hint = if near.is_empty() { String::new() } else { format!("; there is {near}") };
    let reached = if matches!(what, Pausable::Policy(_)) { "" } else { " that is reached now" };
    format!("there is no {}{reached}{hint}", plain(what))
}
