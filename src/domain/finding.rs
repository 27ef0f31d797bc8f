//! What somebody who looks at a pool is told. A finding has a code for programs, a weight, one sentence that says what is so, and one
//! that says what to do. `docs/DOCTOR.md` explains each code; its table is made from the one here.

use std::fmt;

use serde::Serialize;
use uuid::Uuid;

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// As it should be.
    Fine,
    /// Worth knowing.
    Note,
    /// Somebody should look.
    Warning,
    /// Snapshots are not taken as asked until somebody does something.
    Problem,
}

impl Weight {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Weight::Fine => "fine",
            Weight::Note => "note",
            Weight::Warning => "warning",
            Weight::Problem => "problem",
        }
    }
}

macro_rules! codes {
    ($($code:ident $word:literal $meaning:literal $todo:literal;)+) => {
        /// What was found.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $meaning] $code,)+
        }

        impl Code {
            /// All codes, in the order in which they are told.
            pub const ALL: &[Code] = &[$(Code::$code,)+];

            /// The code for programs.
            pub fn word(self) -> &'static str {
                match self { $(Code::$code => $word,)+ }
            }

            /// What it means.
            pub fn meaning(self) -> &'static str {
                match self { $(Code::$code => $meaning,)+ }
            }

            /// What to do about it, whatever it is about.
            pub fn todo(self) -> &'static str {
                match self { $(Code::$code => $todo,)+ }
            }
        }
    };
}

codes! {
    Unreachable "unreachable" "The pool cannot be worked with." "Look at the host, the network in between, and what `[[pool]]` says.";
    Configuration "configuration" "The configuration has errors, so that policies cannot be judged." "`xensnap check` names each, with file and line.";
    Clock "clock" "The server's clock differs from ours: due times and ages are told by both." "Let both follow NTP.";
    Rights "rights" "The user may not call what snapshots need." "Give it the role that is named (`xe subject-role-add`).";
    NotEncrypted "not-encrypted" "The connection is plain HTTP: whoever is in between reads the password." "Write `https://` in the pool's `addresses`, with `fingerprints` or `ca_file`.";
    CertificateEnds "certificate-ends" "A certificate of the pool ends within 30 days, or has ended." "Renew it on the host (`xe host-refresh-server-certificate`, or install one), then change `fingerprints`.";
    SrUnplugged "sr-unplugged" "A host does not reach a storage repository: VMs with a disk, or only a disc, on it cannot be snapshotted there." "Plug it (`xe pbd-plug`).";
    SrNoSnapshots "sr-no-snapshots" "The driver of a storage repository with disks of VMs takes no snapshots." "Move the disks to another SR, or exclude them in the policy.";
    SrNotUpgraded "sr-not-upgraded" "An LVM repository still has the form of servers before 5.5, in which nothing can be snapshotted." "Upgrade it in XenCenter, or move the disks.";
    SrNoCollection "sr-no-collection" "Somebody switched off the garbage collector of a repository: what is removed never becomes free, and chains grow." "Take `gc`, `coalesce` and `leaf-coalesce` out of the SR's `other_config`.";
    SrFull "sr-full" "A repository is nearly full." "Free space on it, or move disks; `xensnap doctor` lists who fills it.";
    VmUsb "vm-usb" "A VM has USB devices passed through, which forbid every snapshot." "Detach them (`xe vusb-destroy`), or exclude the VM.";
    VmPci "vm-pci" "A VM has PCI devices passed through, which forbid snapshots with memory." "Take `kind = \"disk\"`, or detach them.";
    VmVgpu "vm-vgpu" "A VM has a virtual GPU that cannot be suspended, which forbids snapshots with memory." "Take `kind = \"disk\"`, or detach it.";
    DiskSharable "disk-sharable" "A disk is shared between VMs, which the server does not snapshot." "Exclude the disk (`exclude_disks`).";
    DiskRaw "disk-raw" "A disk is raw, which no driver can snapshot." "Exclude the disk, or copy it (`xe vdi-copy`) and use the copy.";
    DiskResets "disk-resets" "A disk is reset at each boot of its VM, which forbids snapshots of the VM." "Set `on-boot=persist` on it (`xe vdi-param-set`).";
    DiskMissing "disk-missing" "The storage did not find a disk at its last scan." "Run `xe sr-scan`, and look at the SR.";
    DiskNoSnapshots "disk-no-snapshots" "A disk is on a repository whose driver takes no snapshots." "Move the disk, or exclude it.";
    GuestNotQuiesced "guest-not-quiesced" "A guest cannot be quiesced: a prerequisite is missing." "What is named: tools, their service, or the VSS provider.";
    GuestNotSuspended "guest-not-suspended" "A guest says that it cannot be suspended, which a snapshot with memory needs." "See to that in the guest.";
    GuestLacksFeature "guest-lacks-feature" "A guest does not offer to be suspended (for a snapshot with memory) or shut down (for an offline one)." "Install or update the guest's tools, and see that their service runs.";
    NoQuiesce "no-quiesce" "Servers after 8.0 have no quiesced snapshots." "Take `kind = \"disk\"` with hooks that quiesce the guest.";
    Licence "licence" "The pool's licence lacks this kind of snapshot." "License the pool, or take `kind = \"disk\"`.";
    VmPower "vm-power" "The kind asked for cannot be had in the VM's present state." "Start or stop the VM, or give the policy a fallback.";
    VmBlocked "vm-blocked" "Somebody blocked the operation for this VM." "Remove it from `blocked_operations` if it is not wanted.";
    VmImage "vm-image" "There is no room, or no repository, for a memory image." "Free space, or name another (`suspend-image-SR-uuid`).";
    VmStorage "vm-storage" "No running host reaches all storage of a VM." "Plug every SR of its disks on one host, and eject discs of unplugged ISO SRs.";
    VmCannot "vm-cannot" "A VM cannot be snapshotted as its policy asks." "What is said of it.";
    PolicyEmpty "policy-empty" "A policy covers no VM of a pool." "Look at its `select`; `xensnap explain VM` says why a VM is not covered.";
    VmUnprotected "vm-unprotected" "Nobody protects a VM." "Add it to a policy, or tag it `xensnap:skip=reason` if that is meant so.";
    VmLeftOut "vm-left-out" "A VM is left out on purpose: by a tag, or by an exclude." "Nothing, if that is still meant so.";
    VmElsewhere "vm-elsewhere" "No policy covers a VM, but another tool protects it." "Nothing, if that is still meant so.";
    VmReplica "vm-replica" "A VM that a policy covers is a replica which another tool makes anew." "Exclude it: its snapshots hinder the replication.";
    ProtectedTwice "protected-twice" "Another tool protects a VM that a policy covers: both fill the storage, and both lengthen the chains." "Let one of them do it.";
    OtherTool "other-tool" "Another tool takes snapshots in this pool." "Know of it: what it keeps counts in the same chains.";
    ChainFull "chain-full" "A disk's chain is so deep that the next snapshot may be refused." "Remove snapshots, and see that the storage coalesces.";
    ChainLong "chain-long" "A disk's chain is long." "Keep fewer snapshots, and see that the storage coalesces.";
    ChainGrows "chain-grows" "With what the policies keep, a disk's chain will come near the server's limit." "Keep fewer snapshots.";
    Coalescing "coalescing" "Layers wait to be coalesced." "If it stays so, look at the SR's garbage collector (`/var/log/SMlog` on its host).";
    SnapshotOld "snapshot-old" "A snapshot that nobody looks after is older than 90 days." "Remove it if nobody needs it (`xe snapshot-uninstall`).";
    Orphans "orphans" "Snapshots of ours could not be removed." "`xensnap orphans` and `xensnap show SNAPSHOT` say why.";
    HookMissing "hook-missing" "The program of a hook is not there." "Install it, or mend the policy's `command`.";
    HookNotExecutable "hook-not-executable" "The program of a hook is no file that may be executed." "`chmod +x` it, for the service's user.";
    HookHidden "hook-hidden" "The service's unit hides a hook's program from the service." "Install the drop-in that is named, or move the program.";
    HookNotAllowed "hook-not-allowed" "The service's unit keeps a hook's program from being executed." "Install the drop-in that is named, or move the program.";
    CredentialMissing "credential-missing" "The unit hands the service no credential of the name that a pool's password has." "Install `credentials.conf.example` as a drop-in, with a line for the pool.";
    FolderMissing "folder-missing" "A folder that a drop-in lets the service write to is not there, and without it the service does not start." "Make it (`install -d -o xensnap -g xensnap -m 0750`), or write `-` before it.";
    UnitUnknown "unit-unknown" "The service's unit was not found, so that hooks could not be judged by it." "Nothing, if the service does not run under systemd here.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// What a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Thing {
    /// `vm`, `sr`, `host`, `policy`, `certificate`, `file`.
    pub kind: &'static str,
    /// Its uuid, if it has one.
    pub uuid: Option<Uuid>,
    /// Its name.
    pub name: String,
}

/// What was found about one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of finding it is.
    pub code: Code,
    /// How much it matters.
    pub weight: Weight,
    /// What it is about; nothing if it is the pool or the service itself.
    pub about: Option<Thing>,
    /// What is so: a sentence without its full stop.
    pub what: String,
    /// What to do: the same.
    pub todo: String,
}

impl Finding {
    /// About the pool itself.
    pub fn new(code: Code, weight: Weight, what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { code, weight, about: None, what: what.into(), todo: todo.into() }
    }

    /// About one thing.
    #[must_use]
    pub fn about(self, kind: &'static str, uuid: Option<Uuid>, name: impl Into<String>) -> Self {
        Self { about: Some(Thing { kind, uuid, name: name.into() }), ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.todo.is_empty() { f.write_str(&self.what) } else { write!(f, "{}: {}", self.what, self.todo) }
    }
}

/// The worst first, then by code, and in each code by what it is about.
pub fn sort(findings: &mut [Finding]) {
    findings.sort_by(|one, other| {
        let name = |finding: &Finding| finding.about.as_ref().map(|thing| (thing.name.clone(), thing.uuid));
        other.weight.cmp(&one.weight).then(one.code.cmp(&other.code)).then_with(|| name(one).cmp(&name(other)))
    });
}

/// The table of `docs/DOCTOR.md`.
pub fn table() -> String {
    let row = |code: &Code| format!("| `{code}` | {} | {} |\n", code.meaning(), code.todo());
    let rows: String = Code::ALL.iter().map(row).collect();
    format!("| code | what it means | what to do |\n| --- | --- | --- |\n{rows}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_has_a_word_of_its_own_and_says_what_to_do() {
        let words: BTreeSet<&str> = Code::ALL.iter().map(|code| code.word()).collect();
        assert_eq!(words.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.meaning().ends_with('.') && code.todo().ends_with('.'), "{code}");
        }
    }

    #[test]
    fn the_worst_comes_first() {
        let finding = |code, weight, name: &str| Finding::new(code, weight, "", "").about("vm", None, name);
        let mut all = [
            finding(Code::VmUsb, Weight::Note, "a"),
            finding(Code::VmUsb, Weight::Problem, "b"),
            finding(Code::Clock, Weight::Problem, "c"),
            finding(Code::VmUsb, Weight::Problem, "a"),
        ];
        sort(&mut all);
        let told: Vec<(Code, &str)> =
            all.iter().map(|finding| (finding.code, finding.about.as_ref().unwrap().name.as_str())).collect();
        assert_eq!(told, [(Code::Clock, "c"), (Code::VmUsb, "a"), (Code::VmUsb, "b"), (Code::VmUsb, "a")]);
    }
}
