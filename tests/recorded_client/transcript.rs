//! Reading the recorded exchanges: request, response head, exact body.

use std::path::{Path, PathBuf};

use xensnap::xenapi::wire::Wire;

/// One recorded exchange.
pub(crate) struct Exchange {
    /// Folder and file, for messages.
    pub(crate) name: String,
    /// By the answer's content type; `None` for HTML and for silence.
    pub(crate) wire: Option<Wire>,
    /// The method called.
    pub(crate) method: String,
    /// The answer's body; where the recording cut the exact body short, the pretty-printed one if that is whole.
    pub(crate) body: Option<Vec<u8>>,
    /// The exact body as far as the recording goes, where it was cut short.
    pub(crate) cut: Option<Vec<u8>>,
}

/// What the recorder wrote where it cut: in full under an exact body.
const CUT: &str = "\n...[truncated";
const CUT_EXACT: &str = "\n...[truncated in this transcript]";

/// The folder of selected recordings that goes with the package.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/recorded")
}

/// The folder of all recordings, where this machine has it.
pub(crate) fn all() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let shared = std::env::var_os("XENSNAP_SHARED").map_or_else(beside, PathBuf::from);
    let transcripts = shared.join("xenapi/transcripts");
    if transcripts.is_dir() {
        return Some(transcripts);
    }
    println!("skipped: no recordings at {}", transcripts.display());
    None
}

/// Every exchange below a folder that was made over one of the two wires.
pub(crate) fn exchanges(root: &Path) -> Vec<Exchange> {
    let mut found: Vec<Exchange> = files(root).iter().filter_map(|path| read(root, path)).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder of recordings") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "txt") {
            found.push(path);
        }
    }
    found
}

fn read(root: &Path, path: &Path) -> Option<Exchange> {
    let bytes = std::fs::read(path).expect("a recording");
    let name = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
    let request = section(&bytes, "REQUEST (exact")?;
    let head = String::from_utf8_lossy(section(&bytes, "RESPONSE HEAD (exact")?).to_ascii_lowercase();
    let body = section(&bytes, "RESPONSE BODY (exact")?;
    let pretty = section(&bytes, "RESPONSE BODY (pretty").unwrap_or_default();
    let (body, cut) = match strip_suffix(body, CUT_EXACT.as_bytes()) {
        Some(cut) => (find(pretty, CUT.as_bytes()).is_none().then(|| pretty.to_vec()), Some(cut.to_vec())),
        None => (Some(first_message(&head, body).to_vec()), None),
    };
    Some(Exchange { name, wire: wire(&head), method: method(request)?, body, cut })
}

/// The bytes of a section, without the line feed that ends it.
fn section<'b>(bytes: &'b [u8], title: &str) -> Option<&'b [u8]> {
    let start = find(bytes, format!("===== {title}").as_bytes())?;
    let start = start + find(&bytes[start..], b"\n")? + 1;
    let end = find(&bytes[start..], b"\n===== RE").map_or(bytes.len(), |length| start + length);
    Some(&bytes[start..end])
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn strip_suffix<'b>(bytes: &'b [u8], suffix: &[u8]) -> Option<&'b [u8]> {
    bytes.trim_ascii_end().strip_suffix(suffix.trim_ascii_end())
}

/// What belongs to the first of several answers on one connection.
fn first_message<'b>(head: &str, body: &'b [u8]) -> &'b [u8] {
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    &body[..length.unwrap_or(body.len()).min(body.len())]
}

fn wire(head: &str) -> Option<Wire> {
    let kind = head.lines().find_map(|line| line.strip_prefix("content-type:"))?.trim();
    match kind {
        "application/json" => Some(Wire::Json),
        "text/xml" => Some(Wire::Xml),
        _ => None,
    }
}

/// The method, from either form of request; only requests that have one were calls.
fn method(request: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(request);
    let json = text.split("\"method\"").nth(1).and_then(|rest| rest.split('"').nth(1));
    let xml = text.split("<methodName>").nth(1).and_then(|rest| rest.split('<').next());
    json.or(xml).map(str::to_owned)
}
