//! What a selector may look at in a VM.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use super::super::id::{ApplianceUuid, HostUuid, PoolUuid, SrUuid, VmUuid};
use super::pattern::{Pattern, PatternError};

/// A VM as selection sees it. It borrows from whoever knows the pool.
#[derive(Debug, Clone)]
pub struct VmView<'a> {
    /// Its uuid.
    pub uuid: VmUuid,
    /// `name_label`; neither unique nor necessarily there.
    pub name: &'a str,
    /// What kind of record it is.
    pub role: Role,
    /// `power_state`.
    pub power: PowerState,
    /// `tags`.
    pub tags: Vec<&'a str>,
    /// `other_config`; XenCenter keeps the folder here.
    pub other_config: Vec<(&'a str, &'a str)>,
    /// The pool it lives in.
    pub pool: (PoolUuid, &'a str),
    /// The host it runs on.
    pub host: Option<(HostUuid, &'a str)>,
    /// The storage repositories of its disks; CDs do not count.
    pub srs: Vec<(SrUuid, &'a str)>,
    /// Its vApp.
    pub appliance: Option<(ApplianceUuid, &'a str)>,
}

impl<'a> VmView<'a> {
    /// The folder of XenCenter that it lies in.
    pub fn folder(&self) -> Option<&'a str> {
        self.other_config.iter().find(|(key, _)| *key == "folder").map(|(_, folder)| *folder)
    }
}

/// What kind of record a VM record is. Only plain VMs are ever selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// A virtual machine.
    Vm,
    /// A template.
    Template,
    /// A snapshot.
    Snapshot,
    /// A host's control domain.
    ControlDomain,
}

/// Whether a VM runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PowerState {
    /// Switched off.
    Halted,
    /// In memory, not running.
    Paused,
    /// Running.
    Running,
    /// Its memory is on disk.
    Suspended,
    /// A state that this program does not know.
    Unknown,
}

impl PowerState {
    const NAMED: [(PowerState, &'static str); 4] = [
        (PowerState::Halted, "halted"),
        (PowerState::Paused, "paused"),
        (PowerState::Running, "running"),
        (PowerState::Suspended, "suspended"),
    ];

    /// The word used in policies.
    pub fn word(self) -> &'static str {
        Self::NAMED.iter().find(|(state, _)| *state == self).map_or("unknown", |(_, word)| word)
    }
}

impl FromStr for PowerState {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let named = Self::NAMED.iter().find(|(_, word)| word.eq_ignore_ascii_case(text));
        named.map(|(state, _)| *state).ok_or_else(|| PatternError::unknown_word(text, &Self::NAMED.map(|(_, word)| word)))
    }
}

impl fmt::Display for PowerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// What a condition looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// The VM's uuid.
    Uuid,
    /// Its name, by glob.
    Name,
    /// Its name, to the letter.
    NameExact,
    /// Its name, by regular expression.
    NameRegex,
    /// One of its tags, by glob.
    Tag,
    /// Its folder or one above it.
    Folder,
    /// Its power state.
    Power,
    /// Its pool, by uuid or name.
    Pool,
    /// The host it runs on, by uuid or name.
    Host,
    /// One of the storage repositories of its disks, by uuid or name.
    Sr,
    /// Its vApp, by uuid or name.
    Appliance,
    /// An entry of its `other_config`.
    OtherConfig,
}

impl Field {
    /// All fields.
    pub const ALL: [Field; 12] = [
        Field::Uuid,
        Field::Name,
        Field::NameExact,
        Field::NameRegex,
        Field::Tag,
        Field::Folder,
        Field::Power,
        Field::Pool,
        Field::Host,
        Field::Sr,
        Field::Appliance,
        Field::OtherConfig,
    ];

    /// The key used in policies.
    pub fn word(self) -> &'static str {
        match self {
            Field::Uuid => "uuid",
            Field::Name => "name",
            Field::NameExact => "name_exact",
            Field::NameRegex => "name_regex",
            Field::Tag => "tag",
            Field::Folder => "folder",
            Field::Power => "power",
            Field::Pool => "pool",
            Field::Host => "host",
            Field::Sr => "sr",
            Field::Appliance => "vapp",
            Field::OtherConfig => "other_config",
        }
    }

    /// Reads a value of this field.
    pub fn pattern(self, text: &str) -> Result<Pattern, PatternError> {
        match self {
            Field::Uuid => Pattern::uuid(text),
            Field::Name | Field::Tag => Pattern::glob(text),
            Field::NameExact => Pattern::exact(text),
            Field::NameRegex => Pattern::regex(text),
            Field::Folder => Pattern::folder(text),
            Field::Power => text.parse::<PowerState>().and_then(|state| Pattern::exact(state.word())),
            Field::Pool | Field::Host | Field::Sr | Field::Appliance => Pattern::uuid_or_glob(text),
            Field::OtherConfig => Pattern::entry(text),
        }
    }

    /// Whether the VM fits the pattern in this field.
    pub fn fits(self, pattern: &Pattern, vm: &VmView<'_>) -> bool {
        self.uuids(vm).into_iter().any(|uuid| pattern.fits_uuid(uuid))
            || self.texts(vm).into_iter().any(|text| pattern.fits(text))
            || self == Field::OtherConfig && vm.other_config.iter().any(|(key, value)| pattern.fits_entry(key, value))
    }

    /// What the field holds as text; for suggestions too.
    pub(super) fn texts<'a>(self, vm: &VmView<'a>) -> Vec<&'a str> {
        match self {
            Field::Uuid => Vec::new(),
            Field::Name | Field::NameExact | Field::NameRegex => vec![vm.name],
            Field::Tag => vm.tags.clone(),
            Field::Folder => vm.folder().into_iter().collect(),
            Field::Power => vec![vm.power.word()],
            Field::Pool => vec![vm.pool.1],
            Field::Host => vm.host.iter().map(|(_, name)| *name).collect(),
            Field::Sr => vm.srs.iter().map(|(_, name)| *name).collect(),
            Field::Appliance => vm.appliance.iter().map(|(_, name)| *name).collect(),
            Field::OtherConfig => vm.other_config.iter().map(|(key, _)| *key).collect(),
        }
    }

    fn uuids(self, vm: &VmView<'_>) -> Vec<Uuid> {
        match self {
            Field::Uuid => vec![vm.uuid.0],
            Field::Pool => vec![vm.pool.0.0],
            Field::Host => vm.host.iter().map(|(uuid, _)| uuid.0).collect(),
            Field::Sr => vm.srs.iter().map(|(uuid, _)| uuid.0).collect(),
            Field::Appliance => vm.appliance.iter().map(|(uuid, _)| uuid.0).collect(),
            _ => Vec::new(),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}
