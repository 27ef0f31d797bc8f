//! The pool.

use serde::Deserialize;

use super::{Host, PoolUuid, Sr};
use crate::xenapi::types::{Ref, StringMap, TextSet};

/// A pool: there is exactly one behind each address.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Pool {
    /// The identity of the pool; an ejected host answers with another.
    pub uuid: PoolUuid,
    /// Empty for a lone host that nobody named.
    #[serde(default)]
    pub name_label: Box<str>,
    /// What somebody wrote about it.
    #[serde(default)]
    pub name_description: Box<str>,
    /// The pool master.
    pub master: Ref<Host>,
    /// May be null or dangle.
    #[serde(default, rename = "default_SR")]
    pub default_sr: Ref<Sr>,
    /// Where memory images go unless VM or host say otherwise; may be null or dangle.
    #[serde(default, rename = "suspend_image_SR")]
    pub suspend_image_sr: Ref<Sr>,
    /// Replicated to the members; adding a key that is there fails, which makes it a place for claims.
    #[serde(default)]
    pub other_config: StringMap,
    /// From 5.0.
    #[serde(default)]
    pub tags: TextSet,
    /// High availability is on: changes go to a redo log as well.
    #[serde(default)]
    pub ha_enabled: bool,
    /// From 5.6.
    #[serde(default)]
    pub redo_log_enabled: Option<bool>,
    /// What the licence withholds: `restrict_checkpoint` and so on, `true` for withheld; from 5.6.
    #[serde(default)]
    pub restrictions: Option<StringMap>,
}

impl Pool {
    /// Whether a rolling upgrade is under way: nothing can be snapshotted or reverted until it is over. Only the key's presence counts.
    pub fn is_being_upgraded(&self) -> bool {
        self.other_config.contains_key("rolling_upgrade_in_progress")
    }

    /// Whether changes go to a redo log, so that nothing acknowledged is lost.
    pub fn has_redo_log(&self) -> bool {
        self.ha_enabled || self.redo_log_enabled == Some(true)
    }

    /// Whether the licence withholds a feature, for example `checkpoint`, as far as the pool says.
    pub fn is_restricted(&self, feature: &str) -> bool {
        let key = format!("restrict_{feature}");
        self.restrictions.as_ref().is_some_and(|restrictions| restrictions.get(&key) == Some("true"))
    }
}
