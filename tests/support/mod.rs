//! What several tests need.

use std::path::{Path, PathBuf};

/// A file or folder of the shared material, or none with a word about it where there is none.
pub fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("XENSNAP_SHARED").map(PathBuf::from);
    let root = root.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"));
    let file = root.join(path);
    if file.exists() {
        return Some(file);
    }
    println!("skipped: there is no {}", file.display());
    None
}
