//! Our session.

use serde::Deserialize;

use super::{Host, SessionUuid};
use crate::xenapi::types::{Date, Ref, Shared, StringMap, TextSet};

/// A session: only one's own can be read, by reference.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Session {
    /// Its uuid.
    pub uuid: SessionUuid,
    /// The host that answers.
    pub this_host: Ref<Host>,
    /// When it was last used, to within ten minutes.
    #[serde(default)]
    pub last_active: Date,
    /// It belongs to the pool itself; false for ours.
    #[serde(default)]
    pub pool: bool,
    /// Has every permission; then `rbac_permissions` is empty. From 5.5.
    #[serde(default)]
    pub is_local_superuser: Option<bool>,
    /// Who logged in; from 5.6.
    #[serde(default)]
    pub auth_user_name: Option<Shared>,
    /// What the role allows, lower-case; from 5.6.
    #[serde(default)]
    pub rbac_permissions: Option<TextSet>,
    /// Who made it, as the client said; from 6.2.
    #[serde(default)]
    pub originator: Option<Shared>,
    /// Free for the client's use.
    #[serde(default)]
    pub other_config: StringMap,
}

impl Session {
    /// Whether the role allows a call, for example `VM.snapshot`. A server too old to say is taken to allow it.
    pub fn allows(&self, method: &str) -> bool {
        match (self.is_local_superuser, &self.rbac_permissions) {
            (Some(false), Some(permissions)) => permissions.contains(&method.to_ascii_lowercase()),
            _ => true,
        }
    }
}
