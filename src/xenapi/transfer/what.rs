//! What can be transferred, as paths and parameters. Parameters that a release does not know are ignored by it, not refused.

use crate::xenapi::records::{Host, Sr, Vdi, Vm};
use crate::xenapi::types::Ref;

/// How the server packs an export. A release that does not know the method sends it unpacked all the same: look at the first bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip: slow, and known to every release.
    Gzip,
    /// zstd: from 8.1.
    Zstd,
}

impl Compression {
    fn as_str(self) -> &'static str {
        match self {
            Compression::None => "false",
            // The word that every release knows.
            Compression::Gzip => "true",
            Compression::Zstd => "zstd",
        }
    }
}

/// The form of a single disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DiskFormat {
    /// Byte for byte.
    #[default]
    Raw,
    /// VHD.
    Vhd,
    /// QCOW2; only the newest releases.
    Qcow2,
}

impl DiskFormat {
    fn as_str(self) -> &'static str {
        match self {
            DiskFormat::Raw => "raw",
            DiskFormat::Vhd => "vhd",
            DiskFormat::Qcow2 => "qcow2",
        }
    }
}

/// A path with its parameters, and where it is asked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Target {
    pub(super) label: String,
    pub(super) path: &'static str,
    pub(super) query: Vec<(&'static str, String)>,
    /// The host itself instead of the master.
    pub(super) host: Option<Ref<Host>>,
}

impl Target {
    fn new(label: impl Into<String>, path: &'static str) -> Self {
        Self { label: label.into(), path, query: Vec::new(), host: None }
    }

    fn with(mut self, key: &'static str, value: impl ToString) -> Self {
        self.query.push((key, value.to_string()));
        self
    }

    fn on(mut self, host: &Ref<Host>) -> Self {
        self.host = Some(host.clone());
        self
    }

    /// Path and query, with `task` as the task to complete.
    pub(super) fn url_path(&self, task: &str) -> String {
        let pairs = self.query.iter().map(|(key, value)| (*key, value.as_str())).chain([("task_id", task)]);
        let query: Vec<String> = pairs.map(|(key, value)| format!("{}={}", escaped(key), escaped(value))).collect();
        format!("{}?{}", self.path, query.join("&"))
    }
}

/// As servers of every age read it: only what would end a value is escaped.
fn escaped(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~:".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// Something to read from the pool.
#[derive(Debug, Clone, PartialEq)]
pub struct Download(pub(super) Target);

impl Download {
    /// A VM or snapshot with its disks, as XVA. A running VM is refused; a snapshot of it is not, and imports as a template.
    pub fn export(vm: &Ref<Vm>, compression: Compression) -> Self {
        Self(Target::new("Export of a VM", "/export").with("ref", vm).with("use_compression", compression.as_str()))
    }

    /// A VM without its disks, with its snapshots if asked for.
    pub fn metadata(vm: &Ref<Vm>, snapshots: bool) -> Self {
        Self(Target::new("Export of a VM's metadata", "/export_metadata").with("ref", vm).with("export_snapshots", snapshots))
    }

    /// All VMs without their disks.
    pub fn all_metadata() -> Self {
        Self(Target::new("Export of all metadata", "/export_metadata").with("all", true))
    }

    /// The pool's database. It holds secrets. During a rolling upgrade a server sends an empty one instead.
    pub fn pool_database() -> Self {
        Self(Target::new("Dump of the pool database", "/pool/xmldbdump"))
    }

    /// The control domain of a host, from the host itself.
    pub fn host_backup(host: &Ref<Host>) -> Self {
        Self(Target::new("Backup of a host", "/host_backup").on(host))
    }

    /// One disk.
    pub fn disk(vdi: &Ref<Vdi>, format: DiskFormat) -> Self {
        Self(Target::new("Export of a disk", "/export_raw_vdi").with("vdi", vdi).with("format", format.as_str()))
    }

    /// What differs between a disk and an ancestor, as VHD; from 6.5.
    pub fn disk_since(vdi: &Ref<Vdi>, base: &Ref<Vdi>) -> Self {
        Self(Self::disk(vdi, DiskFormat::Vhd).0.with("base", base))
    }

    /// Under this name the task is seen by others.
    #[must_use]
    pub fn labelled(mut self, label: &str) -> Self {
        label.clone_into(&mut self.0.label);
        self
    }
}

/// Something to write to the pool.
#[derive(Debug, Clone, PartialEq)]
pub struct Upload(pub(super) Target);

impl Upload {
    /// An XVA. Without an SR the pool's default SR is used. `restore` keeps uuids and MAC addresses, and replaces a halted VM of the
    /// same uuid; `force` forgives wrong checksums and age.
    pub fn import(sr: Option<&Ref<Sr>>, restore: bool, force: bool) -> Self {
        let target = Target::new("Import of a VM", "/import").with("restore", restore).with("force", force);
        Self(match sr {
            Some(sr) => target.with("sr_id", sr),
            None => target,
        })
    }

    /// Metadata whose disks are there already. `dry_run` checks and changes nothing.
    pub fn metadata(restore: bool, force: bool, dry_run: bool) -> Self {
        let target = Target::new("Import of metadata", "/import_metadata");
        Self(target.with("restore", restore).with("force", force).with("dry_run", dry_run))
    }

    /// The pool's database. Unless `dry_run`, the master takes it for its own and **reboots**.
    pub fn pool_database(dry_run: bool) -> Self {
        Self(Target::new("Restore of the pool database", "/pool/xmldbdump").with("dry_run", dry_run))
    }

    /// The control domain of a host, into its backup partition.
    pub fn host_restore(host: &Ref<Host>) -> Self {
        Self(Target::new("Restore of a host", "/host_restore").on(host))
    }

    /// The content of a disk that is there.
    pub fn disk(vdi: &Ref<Vdi>, format: DiskFormat) -> Self {
        Self(Target::new("Import of a disk", "/import_raw_vdi").with("vdi", vdi).with("format", format.as_str()))
    }

    /// Under this name the task is seen by others.
    #[must_use]
    pub fn labelled(mut self, label: &str) -> Self {
        label.clone_into(&mut self.0.label);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_recorded_requests() {
        let vm = Ref::new("OpaqueRef:5aa9b3ac-0e8e-7b2e-fe6b-c0854d6f2d35");
        assert_eq!(
            Download::export(&vm, Compression::Zstd).0.url_path("OpaqueRef:t"),
            "/export?ref=OpaqueRef:5aa9b3ac-0e8e-7b2e-fe6b-c0854d6f2d35&use_compression=zstd&task_id=OpaqueRef:t"
        );
        assert_eq!(Download::pool_database().0.url_path("OpaqueRef:t"), "/pool/xmldbdump?task_id=OpaqueRef:t");
        let odd = Download::export(&Ref::new("a&b=c d"), Compression::None).0.url_path("t");
        assert_eq!(odd, "/export?ref=a%26b%3Dc%20d&use_compression=false&task_id=t");
    }
}
