//! What the main file says besides pools: who this installation is, how the daemon works, where the history lies and for how long.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use super::fields::Fields;
use super::findings::Findings;
use super::source::Place;
use super::tree::Table;
use crate::domain::id::InstallationId;
use crate::domain::span::{CalendarSpan, Exact};

/// How the daemon works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonConfig {
    /// How much it does at once.
    pub limits: DaemonLimits,
    /// How long jobs may go on after SIGTERM before they are left to the next start.
    pub drain_grace: Exact,
    /// How often the pool is compared with the history, besides at every event that gives cause.
    pub reconcile_interval: Exact,
    /// `pool.sync_database` is called at most this often; runs share a call.
    pub sync_interval: Exact,
    /// The control socket.
    pub socket: PathBuf,
    /// The group whose members may ask at it; none: only root and the service's user.
    pub socket_group: Option<String>,
}

/// How much is done at once, in all policies together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DaemonLimits {
    /// Storage operations on one SR. The server works on one at a time; from the third on it makes all of them wait.
    pub per_sr: NonZeroU32,
    /// Jobs of VMs on one host.
    pub per_host: NonZeroU32,
    /// Jobs in one pool. The server refuses tasks beyond a hundred that wait.
    pub per_pool: NonZeroU32,
    /// Where so many layers on one SR wait to be coalesced, removals there wait.
    pub uncoalesced: NonZeroU32,
}

/// Where the history lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// The SQLite file.
    pub path: PathBuf,
    /// How long finished runs stay in it. Snapshots that exist stay in it whatever their age.
    pub keep: CalendarSpan,
}

const fn count(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(number) => number,
        None => NonZeroU32::MIN,
    }
}

impl Default for DaemonLimits {
    fn default() -> Self {
        Self { per_sr: count(1), per_host: count(16), per_pool: count(32), uncoalesced: count(500) }
    }
}

impl Default for DaemonConfig {
    fn default() -> Self {
        Self {
            limits: DaemonLimits::default(),
            drain_grace: Exact::seconds(60),
            reconcile_interval: Exact::seconds(600),
            sync_interval: Exact::seconds(60),
            socket: PathBuf::from("/run/xensnap/control.sock"),
            socket_group: None,
        }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { path: PathBuf::from("/var/lib/xensnap/history.sqlite"), keep: CalendarSpan::days(400) }
    }
}

/// What the system has room for, less the ending of the name under which a socket is made.
const LONGEST_SOCKET: usize = 100;

/// The folder of policies, beside the file.
pub(super) const POLICIES: &str = "policies.d";

/// Reads `installation`.
pub(super) fn installation(fields: &mut Fields<'_>, needed: bool, findings: &mut Findings) -> Option<InstallationId> {
    if needed && fields.lacks("installation") {
        findings.error(
            fields.place().file,
            "`installation` is missing",
            "write installation = \"...\" at the top, a name of its own for each installation: it decides whose a snapshot is",
        );
    }
    fields.parsed::<InstallationId>("installation", findings).map(|id| id.value)
}

/// Reads `policies`: the folder, and where somebody wrote it.
pub(super) fn folder(fields: &mut Fields<'_>, base: &Path, findings: &mut Findings) -> (PathBuf, Option<Place>) {
    match fields.text("policies", findings) {
        Some(folder) => (base.join(folder.value), Some(folder.place)),
        None => (base.join(POLICIES), None),
    }
}

/// Reads `[daemon]`.
pub(super) fn daemon(fields: &mut Fields<'_>, base: &Path, findings: &mut Findings) -> DaemonConfig {
    let mut daemon = DaemonConfig::default();
    let Some(mut fields) = fields.table("daemon", findings) else { return daemon };
    let bounds = [
        ("drain_grace", 0, 3600, &mut daemon.drain_grace),
        ("reconcile_interval", 10, 86_400, &mut daemon.reconcile_interval),
        ("sync_interval", 1, 3600, &mut daemon.sync_interval),
    ];
    for (key, from, to, setting) in bounds {
        let (from, to) = (Exact::seconds(from), Exact::seconds(to));
        let Some(written) = fields.parsed::<Exact>(key, findings) else { continue };
        if (from..=to).contains(&written.value) {
            *setting = written.value;
        } else {
            findings.error(written.place, format!("`{key}` is out of range"), format!("write {from} to {to}"));
        }
    }
    socket(&mut fields, base, &mut daemon, findings);
    limits(&mut fields, &mut daemon.limits, findings);
    fields.finish(findings);
    daemon
}

fn socket(fields: &mut Fields<'_>, base: &Path, daemon: &mut DaemonConfig, findings: &mut Findings) {
    if let Some(path) = fields.text("socket", findings) {
        let socket = base.join(path.value);
        if path.value.is_empty() || path.value.ends_with('/') || path.value.contains('\0') {
            findings.error(path.place, "this is no path of a socket", "write socket = \"/run/xensnap/control.sock\"");
        } else if socket.as_os_str().len() > LONGEST_SOCKET {
            let help = format!("the system takes {LONGEST_SOCKET} bytes at most; write socket = \"/run/xensnap/control.sock\"");
            findings.error(path.place, "the path of the socket is too long", help);
        }
        daemon.socket = socket;
    }
    if let Some(group) = fields.text("socket_group", findings) {
        if group.value.contains(['\0', ':', '\n']) {
            findings.error(group.place, "this is no name of a group", "write for example socket_group = \"backup\"");
        }
        daemon.socket_group = Some(group.value.to_owned()).filter(|group| !group.is_empty());
    }
}

fn limits(fields: &mut Fields<'_>, limits: &mut DaemonLimits, findings: &mut Findings) {
    let Some(mut fields) = fields.table("limits", findings) else { return };
    if let Some(written) = fields.number("uncoalesced", 1..=1_000_000, findings) {
        limits.uncoalesced = count(written.value);
    }
    let all = [("per_sr", &mut limits.per_sr), ("per_host", &mut limits.per_host), ("per_pool", &mut limits.per_pool)];
    for (key, limit) in all {
        let Some(written) = fields.number(key, 1..=1000, findings) else { continue };
        *limit = count(written.value);
        if key == "per_sr" && written.value > 2 {
            findings.warning(
                written.place,
                format!("{} storage operations at once on one SR take longer than one after another", written.value),
                "the server lets one work and puts the others to sleep for up to 20 s each; write 1, or 2",
            );
        }
    }
    fields.finish(findings);
}

/// Reads `[store]`.
pub(super) fn store(fields: &mut Fields<'_>, base: &Path, findings: &mut Findings) -> StoreConfig {
    let mut store = StoreConfig::default();
    let Some(mut fields) = fields.table("store", findings) else { return store };
    if let Some(path) = fields.text("path", findings) {
        if path.value.is_empty() || path.value.ends_with('/') || path.value.contains('\0') {
            findings.error(path.place, "this is no path of a file", "write path = \"/var/lib/xensnap/history.sqlite\"");
        }
        store.path = base.join(path.value);
    }
    if let Some(keep) = fields.parsed::<CalendarSpan>("keep", findings) {
        if keep.value.is_zero() {
            findings.error(keep.place, "a history that keeps nothing is none", "write for example keep = \"400d\"");
        }
        store.keep = keep.value;
    }
    fields.finish(findings);
    store
}

/// Reads a list of blocks, such as `[[pool]]`.
pub(super) fn blocks<'t>(fields: &mut Fields<'t>, key: &'static str, findings: &mut Findings) -> Vec<&'t Table> {
    fields.tables(key, findings).map(|blocks| blocks.value).unwrap_or_default()
}
