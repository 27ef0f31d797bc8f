//! What people call things, and what history calls them. A name that stands for several is listed, never guessed; one that stands for
//! nothing is answered with the nearest.

use std::collections::HashMap;

use anyhow::bail;
use uuid::Uuid;

use super::view::harmless;
use crate::domain::nearest::nearest_few;
use crate::store::{Policy, Pool, Store, Vm};

/// How many names are suggested.
const SUGGESTED: usize = 3;

/// The policies and pools that history knows.
#[derive(Debug)]
pub(super) struct Names {
    policies: Vec<Policy>,
    pools: HashMap<Uuid, Pool>,
}

impl Names {
    /// Reads them.
    pub(super) async fn of(store: &Store) -> anyhow::Result<Self> {
        let pools = store.pools().await?.into_iter().map(|pool| (pool.uuid, pool)).collect();
        Ok(Self { policies: store.policies().await?, pools })
    }

    /// A pool's name, if one was seen.
    pub(super) fn pool_name(&self, uuid: Uuid) -> Option<&str> {
        self.pools.get(&uuid).map(|pool| pool.name.as_str()).filter(|name| !name.is_empty())
    }

    /// A pool's name, or its uuid.
    pub(super) fn pool(&self, uuid: Uuid) -> String {
        self.pool_name(uuid).map_or_else(|| uuid.to_string(), str::to_owned)
    }

    /// True if there is only one pool, which then need not be named.
    pub(super) fn one_pool(&self) -> bool {
        self.pools.len() <= 1
    }

    /// The id of the policy with this id or name.
    ///
    /// # Errors
    /// When there is none, or several have the name.
    pub(super) fn policy_id(&self, wanted: &str) -> anyhow::Result<String> {
        let by_id = self.policies.iter().find(|policy| policy.id == wanted);
        let named: Vec<&Policy> = self.policies.iter().filter(|policy| policy.name == wanted).collect();
        match (by_id.or_else(|| only(&named).copied()), named.as_slice()) {
            (Some(policy), _) => Ok(policy.id.clone()),
            (None, []) => {
                let known = self.policies.iter().flat_map(|policy| [policy.id.as_str(), policy.name.as_str()]);
                bail!("history knows no policy \"{}\"{}", harmless(wanted), suggestion(wanted, known))
            }
            (None, several) => {
                let ids: Vec<&str> = several.iter().map(|policy| policy.id.as_str()).collect();
                bail!("{} policies are called \"{}\"; give the id of one: {}", ids.len(), harmless(wanted), ids.join(", "))
            }
        }
    }

    /// The pool with this uuid or name.
    ///
    /// # Errors
    /// When there is none, or several have the name.
    pub(super) fn pool_uuid(&self, wanted: &str) -> anyhow::Result<Uuid> {
        let uuid = Uuid::try_parse(wanted).ok().filter(|uuid| self.pools.contains_key(uuid));
        let named: Vec<Uuid> = self.pools.values().filter(|pool| pool.name == wanted).map(|pool| pool.uuid).collect();
        match (uuid.or_else(|| only(&named).copied()), named.as_slice()) {
            (Some(uuid), _) => Ok(uuid),
            (None, []) => {
                let known = self.pools.keys().filter_map(|uuid| self.pool_name(*uuid));
                bail!("history knows no pool \"{}\"{}", harmless(wanted), suggestion(wanted, known))
            }
            (None, several) => {
                let uuids: Vec<String> = several.iter().map(Uuid::to_string).collect();
                bail!("{} pools are called \"{}\"; give the uuid of one: {}", uuids.len(), harmless(wanted), uuids.join(", "))
            }
        }
    }

    /// One VM with this uuid or name, in this pool if one is given.
    ///
    /// # Errors
    /// When there is none, or there are several.
    pub(super) async fn vm(&self, store: &Store, wanted: &str, pool: Option<Uuid>) -> anyhow::Result<Vm> {
        let mut found = store.find_vms(wanted).await?;
        found.retain(|vm| pool.is_none_or(|pool| vm.pool == pool));
        match found.as_slice() {
            [] => bail!("history knows no VM \"{}\"{}", harmless(wanted), suggested_vms(store, wanted).await?),
            [_] => Ok(found.remove(0)),
            several => bail!(
                "{} VMs are meant by \"{}\"; give the uuid of one, or its pool with --pool:\n{}",
                several.len(),
                harmless(wanted),
                several.iter().map(|vm| self.vm_line(vm)).collect::<Vec<_>>().join("\n")
            ),
        }
    }

    /// A VM in a list of those that may be meant.
    pub(super) fn vm_line(&self, vm: &Vm) -> String {
        format!("  VM {}  {} in pool {}", vm.uuid, harmless(&vm.name), harmless(&self.pool(vm.pool)))
    }
}

fn only<T>(list: &[T]) -> Option<&T> {
    if let [one] = list { Some(one) } else { None }
}

/// VMs whose names are like this one, as the end of a message.
pub(super) async fn suggested_vms(store: &Store, wanted: &str) -> anyhow::Result<String> {
    let vms = store.recent_vms().await?;
    Ok(suggestion(wanted, vms.iter().map(|vm| vm.name.as_str())))
}

/// Names like this one, as the end of a message.
pub(super) fn suggestion<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let near = nearest_few(wanted, known, SUGGESTED);
    let quoted: Vec<String> = near.iter().map(|name| format!("\"{}\"", harmless(name))).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((only, [])) => format!("; did you mean {only}?"),
        Some((last, rest)) => format!("; did you mean {} or {last}?", rest.join(", ")),
    }
}
