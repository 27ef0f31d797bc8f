//! Whose hands the files are in. The rule: who may write a policy file decides what is destroyed, and hooks run as the service; so a
//! file or a folder that everybody may write is refused, and so is a password that everybody may read.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::findings::Findings;
use super::source::{FileId, Place};

const OTHERS_READ: u32 = 0o004;
const OTHERS_WRITE: u32 = 0o002;
/// Of a folder: who may write it may not change what others put there.
const STICKY: u32 = 0o1000;

/// What is not there is told where it is read.
fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).map_or(0, |about| about.mode())
}

/// Looks at a file of policies or settings, and at the folder that it is in.
pub(super) fn file(file: FileId, path: &Path, findings: &mut Findings) {
    if mode(path) & OTHERS_WRITE != 0 {
        let help = format!("whoever writes it decides what is removed: chmod o-w {}", path.display());
        findings.error(file, "everybody on this machine may write this file", help);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if is_open(folder) {
        let help = format!("whoever writes it decides what is removed: chmod o-w {}", folder.display());
        findings.error(file, "everybody on this machine may write into the folder of this file", help);
    }
}

/// Whether everybody may put files into a folder, or take some away.
fn is_open(folder: &Path) -> bool {
    mode(folder) & (OTHERS_WRITE | STICKY) == OTHERS_WRITE
}

/// Looks at a program that runs as the service. One that is not there is told when its hook runs.
pub(super) fn program(path: &Path, place: Place, findings: &mut Findings) {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let open = if mode(path) & OTHERS_WRITE != 0 { Some(path) } else { Some(folder).filter(|folder| is_open(folder)) };
    if let Some(open) = open {
        let help = format!("whoever writes there decides what the service runs: chmod o-w {}", open.display());
        findings.error(place, "everybody on this machine may change this program", help);
    }
}

/// Looks at a file that has a password in it.
pub(super) fn password(path: &Path, place: Place, findings: &mut Findings) {
    if mode(path) & OTHERS_READ != 0 {
        let help = format!("chmod o-r {}, or put the password into a file of its own (password_file)", path.display());
        findings.error(place, "everybody on this machine may read the password in this file", help);
    }
}
