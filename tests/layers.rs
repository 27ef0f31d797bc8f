//! Imports point only downward. The table here is the one in the header of `src/lib.rs`, as code.
#![allow(clippy::unwrap_used, reason = "a test says what failed by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use syn::visit::Visit;

/// Each module of the crate root, and what it may import besides itself.
const LAYERS: &[(&str, &[&str])] = &[
    (
        "cli",
        &["clock", "config", "daemon", "domain", "engine", "outward", "simulator", "store", "telemetry", "torture", "xenapi"],
    ),
    ("torture", &["clock", "config", "domain", "simulator", "store"]),
    ("daemon", &["clock", "domain", "engine", "outward", "store", "telemetry", "xenapi"]),
    ("engine", &["clock", "domain", "store", "telemetry", "xenapi"]),
    ("outward", &["domain"]),
    ("xenapi", &["clock", "domain"]),
    ("store", &["domain"]),
    ("simulator", &["clock"]),
    ("telemetry", &["domain"]),
    ("config", &["domain"]),
    ("clock", &[]),
    ("domain", &[]),
];

/// Crates that only one module may know.
const PRIVATE_CRATES: &[(&str, &[&str])] = &[
    ("reqwest", &["xenapi", "outward"]),
    ("lettre", &["outward"]),
    ("sd_notify", &["daemon"]),
    ("sqlx", &["store"]),
    ("x509_parser", &["xenapi"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("anyhow", &["cli"]),
    ("tokio", NOT_PURE),
];

/// Everything but the pure floors.
const NOT_PURE: &[&str] =
    &["cli", "daemon", "engine", "outward", "xenapi", "store", "simulator", "clock", "telemetry", "torture"];

#[derive(Default)]
struct Paths(BTreeSet<Vec<String>>);

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.walk(&item.tree, Vec::new());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.0.insert(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        // Arguments of macros are tokens, not paths: `crate :: x ::` and `name ::` are looked for in them.
        let text = call.tokens.to_string().replace(' ', "");
        for (at, _) in text.match_indices("crate::") {
            let name: String = text[at + 7..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            self.0.insert(vec!["crate".to_owned(), name]);
        }
        syn::visit::visit_macro(self, call);
    }
}

impl Paths {
    fn walk(&mut self, tree: &syn::UseTree, mut path: Vec<String>) {
        match tree {
            syn::UseTree::Path(step) => {
                path.push(step.ident.to_string());
                self.walk(&step.tree, path);
            }
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.walk(tree, path.clone())),
            syn::UseTree::Name(name) => self.end(path, name.ident.to_string()),
            syn::UseTree::Rename(name) => self.end(path, name.ident.to_string()),
            syn::UseTree::Glob(_) => drop(self.0.insert(path)),
        }
    }

    fn end(&mut self, mut path: Vec<String>, name: String) {
        path.push(name);
        self.0.insert(path);
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}

fn paths_of(file: &Path) -> BTreeSet<Vec<String>> {
    let text = std::fs::read_to_string(file).unwrap();
    let mut paths = Paths::default();
    paths.visit_file(&syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display())));
    paths.0
}

fn modules() -> Vec<(String, Vec<PathBuf>)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let folders = std::fs::read_dir(&src).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    folders.map(|folder| (folder.file_name().unwrap().to_str().unwrap().to_owned(), sources(&folder))).collect()
}

#[test]
fn every_module_stands_in_the_table() {
    let known: BTreeSet<&str> = LAYERS.iter().map(|(name, _)| *name).collect();
    let found = modules();
    let found: BTreeSet<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(found, known, "a module was added or removed: give it a floor in tests/layers.rs and src/lib.rs");
}

#[test]
fn imports_point_only_downward() {
    for (module, files) in modules() {
        let (_, allowed) = LAYERS.iter().find(|(name, _)| *name == module).unwrap();
        for file in files {
            for path in paths_of(&file).iter().filter(|path| path.first().is_some_and(|first| first == "crate")) {
                // `pub(crate)` is a path of one name.
                let Some(target) = path.get(1).map(String::as_str).filter(|target| !target.is_empty()) else { continue };
                let fine = target == module || allowed.contains(&target);
                assert!(fine, "{} ({module}) imports crate::{target}, which is not below it", file.display());
            }
        }
    }
}

#[test]
fn a_crate_that_belongs_to_one_module_is_known_by_no_other() {
    for (module, files) in modules() {
        for file in files {
            for path in paths_of(&file) {
                let owners = PRIVATE_CRATES.iter().find(|(name, _)| path.first().is_some_and(|first| first == name));
                let Some((name, owners)) = owners else { continue };
                assert!(
                    owners.contains(&module.as_str()),
                    "{} ({module}) uses {name}, which belongs to {owners:?}",
                    file.display()
                );
            }
        }
    }
}
