//! `journalctl -x` explains every kind of event, and says what to do.

use std::collections::BTreeMap;

use xensnap::domain::event::EventKind;

use crate::{file, systemd};

/// Entries by MESSAGE_ID: the subject, and the text.
fn entries() -> BTreeMap<String, (String, String)> {
    let text = std::fs::read_to_string(file("systemd/xensnap.catalog")).unwrap();
    let mut entries = BTreeMap::new();
    for entry in text.split("\n-- ").skip(1) {
        let (head, body) = entry.split_once("\n\n").expect("an empty line follows the head");
        let (id, head) = head.split_once('\n').unwrap();
        let subject = head.lines().find_map(|line| line.strip_prefix("Subject: ")).expect("a subject");
        assert!(head.contains("Defined-By: xensnap"), "{id}");
        let before = entries.insert(id.to_owned(), (subject.to_owned(), body.trim().to_owned()));
        assert!(before.is_none(), "{id} stands there twice");
    }
    entries
}

#[test]
fn every_kind_of_event_is_explained_and_nothing_else() {
    let entries = entries();
    for kind in EventKind::ALL {
        let (subject, text) = entries.get(kind.message_id()).unwrap_or_else(|| {
            panic!("{kind} is not in systemd/xensnap.catalog: add an entry `-- {}` that explains it", kind.message_id())
        });
        assert!(!subject.ends_with('.') && text.len() > 60, "{kind}: {subject}: {text}");
    }
    let known = |id: &String| EventKind::ALL.iter().any(|kind| kind.message_id() == id);
    let unknown: Vec<_> = entries.keys().filter(|id| !known(id)).collect();
    assert!(unknown.is_empty(), "the catalogue has entries that no kind has: {unknown:?}");
}

/// Where the program's source says the kind of what it tells.
fn told_in(folder: &std::path::Path, kind: EventKind) -> bool {
    let name = format!("EventKind::{kind:?}");
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_dir() {
            return told_in(&path, kind);
        }
        let text = std::fs::read_to_string(&path).unwrap();
        text.match_indices(&name).any(|(at, _)| !text[at + name.len()..].starts_with(|next: char| next.is_alphanumeric()))
    })
}

#[test]
fn nothing_is_explained_that_is_never_told() {
    let never: Vec<_> = EventKind::ALL.iter().filter(|kind| !told_in(&file("src"), **kind)).collect();
    assert!(never.is_empty(), "{never:?}");
}

#[test]
fn journalctl_takes_the_catalogue() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("usr/lib/systemd/catalog")).unwrap();
    std::fs::create_dir_all(root.path().join("var/lib/systemd/catalog")).unwrap();
    std::fs::copy(file("systemd/xensnap.catalog"), root.path().join("usr/lib/systemd/catalog/xensnap.catalog")).unwrap();
    let root = format!("--root={}", root.path().display());
    let Some(updated) = systemd("journalctl", &[&root, "--update-catalog"]) else { return };
    assert_eq!((updated.status.success(), String::from_utf8_lossy(&updated.stderr).as_ref()), (true, ""));
    let listed = systemd("journalctl", &[&root, "--list-catalog"]).unwrap();
    assert_eq!(String::from_utf8_lossy(&listed.stdout).lines().count(), EventKind::ALL.len());
}
