//! Reads recorded exchanges.

use std::path::{Path, PathBuf};

/// An exchange as it was recorded.
#[derive(Debug, Clone)]
pub struct Transcript {
    /// Folder and file, such as `reads/VM.get_all_records.json`.
    pub name: String,
    /// The exact bytes sent.
    pub request: Vec<u8>,
    /// The exact head received; other text where there was none.
    pub head: String,
    /// The body received.
    pub body: Vec<u8>,
    /// The body's true length; more than was kept of very long ones.
    pub length: usize,
}

const REQUEST: &[u8] = b"===== REQUEST (exact bytes) =====\n";
const HEAD: &[u8] = b"\n===== RESPONSE HEAD (exact) =====\n";
const BODY: &[u8] = b"\n===== RESPONSE BODY (exact, ";
const PRETTY: &[u8] = b"\n===== RESPONSE BODY (pretty";
const TRUNCATED: &[u8] = b"\n...[truncated in this transcript]";

impl Transcript {
    /// Reads a file; none when it is not in the exchanges' form.
    pub fn read(path: &Path) -> Option<Self> {
        let bytes = std::fs::read(path).unwrap();
        let (_, rest) = split(&bytes, REQUEST)?;
        let (request, rest) = split(rest, HEAD)?;
        let (head, rest) = split(rest, BODY)?;
        let (length, rest) = split(rest, b" bytes) =====\n")?;
        let length: usize = std::str::from_utf8(length).ok()?.parse().ok()?;
        let (body, _) = split(rest, PRETTY)?;
        let body = split(body, TRUNCATED).map_or(body, |(body, _)| body);
        Some(Self {
            name: name(path),
            request: request.to_vec(),
            head: String::from_utf8_lossy(head).into_owned(),
            body: body.to_vec(),
            length,
        })
    }

    /// All exchanges of a folder, by name.
    pub fn folder(path: &Path) -> Vec<Self> {
        let entries = std::fs::read_dir(path).map(|entries| entries.flatten().map(|entry| entry.path()).collect());
        let mut files: Vec<PathBuf> = entries.unwrap_or_default();
        files.sort();
        files.iter().filter_map(|file| Self::read(file)).collect()
    }
}

fn split<'a>(bytes: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes.windows(mark.len()).position(|window| window == mark)?;
    Some((&bytes[..at], &bytes[at + mark.len()..]))
}

fn name(path: &Path) -> String {
    let folder = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    format!("{folder}/{}", file.strip_suffix(".txt").unwrap_or(&file))
}
