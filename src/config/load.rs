//! From texts to a checked whole. Every file is read to its end whatever stands in the others, so that all mistakes are told at
//! once; only what may be missing because a file could not be read is not complained of.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::alarms::{self, AlarmsConfig};
use super::diagnostics::Diagnostics;
use super::fields::Fields;
use super::findings::Findings;
use super::inherit::Templates;
use super::metrics::{self, MetricsConfig};
use super::password::PasswordSource;
use super::policy::{Extent, ReadPolicy, Surroundings};
use super::pool::{self, PoolConfig, ReadPool};
use super::settings::{self, DaemonConfig, DaemonLimits, StoreConfig, blocks};
use super::source::{FileId, Place, Sources};
use super::tree::{Table, parse};
use super::{CheckedPolicy, Config, Loaded, across, cover, files, policy, rights};
use crate::domain::id::InstallationId;

/// What is known of the main file.
struct Main {
    installation: Option<InstallationId>,
    daemon: DaemonConfig,
    store: StoreConfig,
    metrics: Option<MetricsConfig>,
    alarms: Option<AlarmsConfig>,
    folder: (PathBuf, Option<Place>),
    pools: Vec<ReadPool>,
    /// False when it could not be read, or one of its pools is wrong.
    whole: bool,
}

/// Everything that is read so far.
pub(super) struct Loading {
    sources: Sources,
    findings: Findings,
    /// The trees of the files that have one.
    trees: Vec<(FileId, Table)>,
    incomplete: bool,
    now: DateTime<Utc>,
}

impl Loading {
    pub fn new(now: DateTime<Utc>) -> Self {
        Self { sources: Sources::default(), findings: Findings::default(), trees: Vec::new(), incomplete: false, now }
    }

    /// Main file and policy files from the disk.
    pub fn files(mut self, path: &Path) -> Result<Loaded, Diagnostics> {
        let id = self.open(path);
        let main = self.main(id, path, true);
        rights::file(id, path, &mut self.findings);
        self.rights_of_passwords(path, &main);
        if main.whole || self.tree(id).is_some() {
            let (folder, written) = &main.folder;
            for path in files::policy_files(folder, id, *written, &mut self.findings) {
                let id = self.open(&path);
                rights::file(id, &path, &mut self.findings);
            }
        }
        self.finish(main)
    }

    fn rights_of_passwords(&mut self, path: &Path, main: &Main) {
        let with = main.pools.iter().find(|pool| matches!(pool.config.password, PasswordSource::Given(_)));
        if let Some(pool) = with {
            rights::password(path, pool.name, &mut self.findings);
        }
    }

    /// The pools of the main file; nothing else is needed of it.
    pub fn pools(mut self, path: &Path) -> Result<Vec<PoolConfig>, Diagnostics> {
        let id = self.open(path);
        let main = self.main(id, path, false);
        if self.findings.errors() > 0 {
            return Err(Diagnostics::new(Arc::new(self.sources), self.findings.errors_only()));
        }
        Ok(main.pools.into_iter().map(|pool| pool.config).collect())
    }

    /// The control socket alone, as far as the main file can be read.
    pub fn socket(mut self, path: &Path) -> PathBuf {
        let id = self.open(path);
        self.main(id, path, false).daemon.socket
    }

    /// The same as `files` from texts.
    pub fn texts(mut self, main: (&str, &str), policies: &[(&str, &str)]) -> Result<Loaded, Diagnostics> {
        let path = Path::new(main.0);
        let id = self.take(path, Some(main.1.as_bytes().to_vec()));
        let main = self.main(id, path, true);
        for (name, text) in policies {
            self.take(Path::new(name), Some(text.as_bytes().to_vec()));
        }
        self.finish(main)
    }

    fn open(&mut self, path: &Path) -> FileId {
        let id = self.sources.add(path);
        let bytes = files::read(id, path, &mut self.findings);
        self.understand(id, bytes);
        id
    }

    fn take(&mut self, path: &Path, bytes: Option<Vec<u8>>) -> FileId {
        let id = self.sources.add(path);
        self.understand(id, bytes);
        id
    }

    fn understand(&mut self, id: FileId, bytes: Option<Vec<u8>>) {
        let text = bytes.and_then(|bytes| files::text(id, bytes, &mut self.sources, &mut self.findings));
        let Some(text) = text else {
            self.incomplete = true;
            return;
        };
        let tree = parse(id, &text, &mut self.findings);
        self.sources.set_text(id, cover::covered(&text, tree.as_ref()));
        match tree {
            Some(tree) => self.trees.push((id, tree)),
            None => self.incomplete = true,
        }
    }

    fn tree(&self, id: FileId) -> Option<&Table> {
        self.trees.iter().find(|(file, _)| *file == id).map(|(_, tree)| tree)
    }

    /// Reads the main file, except its policies and templates. `needed`: whether the daemon is to run with it.
    fn main(&mut self, id: FileId, path: &Path, needed: bool) -> Main {
        let base = path.parent().unwrap_or(Path::new(""));
        let (daemon, store) = (DaemonConfig::default(), StoreConfig::default());
        let nothing = Main {
            installation: None,
            daemon,
            store,
            metrics: None,
            alarms: None,
            folder: Default::default(),
            pools: Vec::new(),
            whole: false,
        };
        let Some(at) = self.trees.iter().position(|(file, _)| *file == id) else { return nothing };
        let (findings, mut fields) = (&mut self.findings, Fields::new(&self.trees[at].1));
        let installation = settings::installation(&mut fields, needed, findings);
        let folder = settings::folder(&mut fields, base, findings);
        let daemon = settings::daemon(&mut fields, base, findings);
        let store = settings::store(&mut fields, base, findings);
        let metrics = metrics::metrics(&mut fields, base, findings);
        let alarms = alarms::alarms(&mut fields, base, findings);
        let before = findings.errors();
        let tables = blocks(&mut fields, "pool", findings);
        let pools: Vec<ReadPool> = tables.into_iter().filter_map(|table| pool::pool(table, base, findings)).collect();
        across::pools(&pools, findings);
        let whole = findings.errors() == before;
        if whole && pools.is_empty() && needed {
            findings.warning(
                id,
                "there is no [[pool]], so nothing can be snapshotted",
                "`xensnap simulator` prints one to start from",
            );
        }
        // Read with the policy files.
        let _ = (fields.node("template"), fields.node("policy"));
        fields.finish(findings);
        Main { installation, daemon, store, metrics, alarms, folder, pools, whole }
    }

    fn finish(mut self, main: Main) -> Result<Loaded, Diagnostics> {
        let policies = self.policies(main.daemon.limits);
        let pools: Vec<&str> = main.pools.iter().map(|pool| pool.config.name.as_str()).collect();
        across::policies(&policies, main.whole.then_some(pools.as_slice()), &mut self.findings);
        let checked = policies.into_iter().map(|read| checked(&self.sources, read)).collect();
        let sources = Arc::new(self.sources);
        let Some(installation) = main.installation.filter(|_| self.findings.errors() == 0) else {
            return Err(Diagnostics::new(sources, self.findings.errors_only()));
        };
        let pools = main.pools.into_iter().map(|pool| pool.config).collect();
        let (daemon, store, metrics, alarms) = (main.daemon, main.store, main.metrics, main.alarms);
        let config = Config { installation, daemon, store, metrics, alarms, pools, policies: checked };
        Ok(Loaded { config, warnings: Diagnostics::new(sources, self.findings) })
    }

    /// Templates first, then the policies of all files.
    fn policies(&mut self, limits: DaemonLimits) -> Vec<ReadPolicy> {
        let around = Surroundings { now: self.now, limits };
        let findings = &mut self.findings;
        let mut templates = Templates::new(self.incomplete);
        let mut tables: Vec<&Table> = Vec::new();
        let main = self.trees.first().map(|(id, _)| *id);
        for (file, tree) in &self.trees {
            let mut fields = Fields::new(tree);
            if let Some(super::tree::Value::Table(all)) = fields.node("template").map(|node| &node.value) {
                templates.add(all, findings);
            } else {
                fields.table("template", findings);
            }
            let blocks = blocks(&mut fields, "policy", findings);
            if Some(*file) != main {
                no_policy(*file, tree, blocks.is_empty(), findings);
                fields.finish(findings);
            }
            tables.extend(blocks);
        }
        for name in templates.names() {
            if let Some(table) = templates.get(&name, findings) {
                policy::policy(&table, Extent::Part, &around, findings);
            }
        }
        if tables.is_empty()
            && !self.incomplete
            && let Some(main) = main
        {
            findings.warning(
                main,
                "there is no [[policy]], so nothing will be snapshotted",
                "put one into a file of the policy folder",
            );
        }
        let complete = tables.into_iter().filter_map(|table| {
            let table = templates.complete(table, findings)?;
            policy::policy(&table, Extent::Whole, &around, findings)
        });
        complete.collect()
    }
}

/// A file without a policy and without a template was hardly meant.
fn no_policy(file: FileId, tree: &Table, without: bool, findings: &mut Findings) {
    if without && !tree.entries.contains_key("template") {
        findings.warning(file, "there is no policy in this file", "write a [[policy]], or remove the file");
    }
}

fn checked(sources: &Sources, read: ReadPolicy) -> CheckedPolicy {
    CheckedPolicy {
        policy: read.policy,
        pools: read.pools.into_iter().map(|pool| pool.value).collect(),
        file: sources.name(read.place.file).to_owned(),
        line: sources.line(read.place),
    }
}
