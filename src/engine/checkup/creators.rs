//! Who made a snapshot. Marks are believed only where they are true of the object that carries them; of other tools' marks it is enough
//! that they are there, because nothing is decided by them but what a person is told.

use std::collections::HashMap;
use std::fmt;

use chrono::{DateTime, Utc};

use super::Pool;
use crate::domain::mark::Ownership;
use crate::engine::view;
use crate::xenapi::records::Vm;
use crate::xenapi::types::Ref;

/// Who made a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Creator {
    /// We, for the policy of this id.
    Ours(String),
    /// Another installation of this program.
    Other(String),
    /// The server's own schedule.
    Schedule,
    /// Xen Orchestra.
    XenOrchestra,
    /// NAUbackup (VmBackup.py).
    Naubackup,
    /// A person, or a tool that leaves no sign.
    Somebody,
}

impl fmt::Display for Creator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Creator::Ours(_) => f.write_str("xensnap"),
            Creator::Other(installation) => write!(f, "xensnap of installation {installation}"),
            Creator::Schedule => f.write_str("the server's own schedule"),
            Creator::XenOrchestra => f.write_str("Xen Orchestra"),
            Creator::Naubackup => f.write_str("NAUbackup"),
            Creator::Somebody => f.write_str("somebody"),
        }
    }
}

impl Creator {
    /// A tool that comes back by itself.
    pub(super) fn is_another_tool(&self) -> bool {
        !matches!(self, Creator::Ours(_) | Creator::Somebody)
    }
}

/// A snapshot with who made it.
#[derive(Debug, Clone)]
pub(super) struct Made<'a> {
    pub(super) record: &'a Vm,
    pub(super) by: Creator,
    pub(super) at: Option<DateTime<Utc>>,
}

/// All snapshots of a pool.
#[derive(Debug)]
pub(super) struct Creators<'a> {
    all: HashMap<&'a Ref<Vm>, Made<'a>>,
    of_vm: HashMap<&'a Ref<Vm>, Vec<&'a Ref<Vm>>>,
}

impl<'a> Creators<'a> {
    pub(super) fn of(pool: &Pool<'a>) -> Self {
        let mut found = Self { all: HashMap::new(), of_vm: HashMap::new() };
        for (reference, record) in pool.tables.all::<Vm>().filter(|(_, vm)| vm.is_a_snapshot) {
            let made = Made { record, by: creator(pool, record), at: record.snapshot_time.happened() };
            found.of_vm.entry(&record.snapshot_of).or_default().push(reference);
            found.all.insert(reference, made);
        }
        found
    }

    /// A snapshot.
    pub(super) fn made(&self, snapshot: &Ref<Vm>) -> Option<&Made<'a>> {
        self.all.get(snapshot)
    }

    /// The snapshots of a VM.
    pub(super) fn of_vm(&self, vm: &Ref<Vm>) -> impl Iterator<Item = &Made<'a>> {
        self.of_vm.get(vm).into_iter().flatten().filter_map(|snapshot| self.all.get(snapshot))
    }

    /// All.
    pub(super) fn all(&self) -> impl Iterator<Item = &Made<'a>> {
        self.all.values()
    }
}

fn creator(pool: &Pool<'_>, snapshot: &Vm) -> Creator {
    let unknown = "unknown".parse().ok();
    let installation = pool.installation.or(unknown.as_ref());
    let whose = installation.and_then(|us| view::ownership_for(pool.tables, us, pool.pool.0, snapshot));
    match whose {
        Some(Ownership::Ours(mark) | Ownership::Detached(mark, _)) if pool.installation.is_some() => {
            return Creator::Ours(mark.policy.to_string());
        }
        Some(Ownership::Ours(mark) | Ownership::Detached(mark, _) | Ownership::OtherInstallation(mark)) => {
            return Creator::Other(mark.installation.to_string());
        }
        _ => {}
    }
    let name = &*snapshot.name_label;
    if snapshot.is_vmss_snapshot == Some(true) || snapshot.is_snapshot_from_vmpp == Some(true) {
        Creator::Schedule
    } else if is_of_xen_orchestra(snapshot) {
        Creator::XenOrchestra
    } else if name.starts_with("RESTORE_") {
        Creator::Naubackup
    } else {
        Creator::Somebody
    }
}

/// Keys that its backups write, and names that its snapshots have while and after they are taken.
fn is_of_xen_orchestra(snapshot: &Vm) -> bool {
    let name = &*snapshot.name_label;
    snapshot.other_config.iter().any(|(key, _)| key.starts_with("xo:backup:"))
        || name == "xo-backup-temp-snapshot-name"
        || name.starts_with("[XO Backup ")
}
