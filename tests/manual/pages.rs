//! The manual pages.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use xensnap::config::schema::{Block, CONFIG, POLICIES};

use crate::{has, stdout, text, verbs, xensnap};

fn written() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let told = stdout(xensnap().arg("man").arg(folder.path().join("man")));
    assert!(told.contains("manual pages are in"), "{told}");
    folder
}

fn names(folder: &Path) -> BTreeSet<String> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn there_is_a_page_for_the_program_each_verb_and_both_files() {
    let folder = written();
    let mut expected: BTreeSet<String> = verbs().iter().map(|verb| format!("xensnap-{verb}.1")).collect();
    expected.extend(
        [
            "xensnap.1",
            "xensnap-alarms-test.1",
            "xensnap-policy-new.1",
            "xensnap-policy-show.1",
            "xensnap.toml.5",
            "xensnap-policy.5",
        ]
        .map(str::to_owned),
    );
    assert_eq!(names(&folder.path().join("man")), expected);
}

#[test]
fn each_page_has_its_sections_and_nothing_of_today() {
    let (one, two) = (written(), written());
    for name in names(&one.path().join("man")) {
        let page = text(&one.path().join("man").join(&name));
        assert_eq!(page, text(&two.path().join("man").join(&name)), "{name}");
        for section in [".SH NAME", ".SH DESCRIPTION", ".SH \"SEE ALSO\""] {
            assert!(page.contains(section), "{name} has no {section}\n{page}");
        }
        if name.ends_with(".1") {
            assert!(page.contains(".SH \"EXIT STATUS\"") && page.contains("\\fB78\\fR"), "{name}\n{page}");
        }
    }
}

fn keys(block: &'static Block, all: &mut BTreeSet<&'static str>) {
    for key in block.keys() {
        all.insert(key.name);
        if let Some(inner) = key.shape.block() {
            keys(inner, all);
        }
    }
}

#[test]
fn the_pages_of_the_files_have_every_key() {
    let folder = written();
    let main = text(&folder.path().join("man/xensnap.toml.5"));
    let policy = text(&folder.path().join("man/xensnap-policy.5"));
    let mut all = BTreeSet::new();
    keys(&CONFIG, &mut all);
    keys(&POLICIES, &mut all);
    assert!(all.len() > 70, "{}", all.len());
    for key in all {
        let entry = format!("\\fB{key}\\fR = ");
        assert!(main.contains(&entry) || policy.contains(&entry), "{key}");
    }
    assert!(main.contains("policies.d") && policy.contains("Europe/Berlin"));
}

/// Skipped where there is no groff.
#[test]
fn the_pages_are_good_roff() {
    if !has("groff") {
        return;
    }
    let folder = written();
    for name in names(&folder.path().join("man")) {
        let page = folder.path().join("man").join(&name);
        let output = Command::new("groff").args(["-man", "-ww", "-Tutf8"]).arg(&page).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "{name}: {said}");
    }
}
