//! Reading files, within bounds: a configuration is small, and whatever is not is a mistake.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::findings::Findings;
use super::source::{FileId, Place, Sources};

/// The largest file that is read.
const LARGEST: u64 = 4 << 20;

/// The content of a file. What is wrong with it becomes a finding.
pub(super) fn read(file: FileId, path: &Path, findings: &mut Findings) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        findings.error(file, format!("the file cannot be read: {error}"), "check the path and its rights");
        return None;
    }
    Some(bytes)
}

/// The text of some bytes.
pub(super) fn text(file: FileId, bytes: Vec<u8>, sources: &mut Sources, findings: &mut Findings) -> Option<String> {
    if bytes.len() as u64 > LARGEST {
        let message = format!("the file is larger than {} MiB", LARGEST >> 20);
        findings.error(file, message, "divide the policies among several files");
        return None;
    }
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        findings.error(file, "the file is in UTF-16", "save it in UTF-8");
        return None;
    }
    if bytes.contains(&0) {
        findings.error(file, "the file is no text", "remove it, or give it another ending than .toml");
        return None;
    }
    match String::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            // The line is named, but not quoted: without a tree nobody knows what in it is secret.
            let before = &error.as_bytes()[..at];
            let lines = before.iter().filter(|byte| **byte == b'\n').count();
            sources.set_text(file, "\n".repeat(lines));
            let place = Place::new(file, lines..lines);
            findings.error(place, "the file is not in UTF-8 from this line on", "save it in UTF-8");
            None
        }
    }
}

/// The policy files of a folder, in the order of their names. `written`: where the folder is named, if it is.
pub(super) fn policy_files(folder: &Path, main: FileId, written: Option<Place>, findings: &mut Findings) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let shown = folder.display();
    let entries = match (entries, written) {
        (Ok(entries), _) => entries,
        (Err(error), None) if error.kind() == std::io::ErrorKind::NotFound => {
            findings.warning(
                main,
                format!("there is no folder {shown}"),
                "create it, and put policies into files that end in .toml",
            );
            return Vec::new();
        }
        (Err(error), Some(place)) => {
            findings.error(place, format!("the folder {shown} cannot be read: {error}"), "create it, or correct the path");
            return Vec::new();
        }
        (Err(error), None) => {
            findings.error(main, format!("the folder {shown} cannot be read: {error}"), "check its rights");
            return Vec::new();
        }
    };
    let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    paths.retain(|path| is_policy_file(path, main, findings));
    paths
}

fn is_policy_file(path: &Path, main: FileId, findings: &mut Findings) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    if path.extension().is_none_or(|ending| ending != "toml") {
        if !hidden {
            findings.warning(main, format!("{} is not read", path.display()), "policy files end in .toml");
        }
        return false;
    }
    // Opening a pipe would wait for somebody to write into it.
    match std::fs::metadata(path) {
        Ok(about) if !about.is_file() => {
            findings.warning(main, format!("{} is not read: it is no file", path.display()), "policy files are plain files");
            false
        }
        // What cannot be looked at is reported when it is opened.
        _ => true,
    }
}
