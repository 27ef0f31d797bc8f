//! The pages of the two kinds of files, from the table of their keys.

use clap_mangen::roff::{Roff, bold, italic, roman};

use super::{MANUAL, Page, SOURCE, see_also};
use crate::config::schema::{Block, CONFIG, Key, Need, POLICIES, Shape};

const FORM: &str = "The file is TOML. Unknown keys are errors. Lengths of time are written 90s, 15m, 1h30m, 2d. `xensnap check` \
                    reads it as the daemon does and tells all mistakes at once; `xensnap reload` puts a change into force.";

/// xensnap.toml(5).
pub(super) fn main_file() -> std::io::Result<Page> {
    let mut roff = begun("xensnap.toml", CONFIG.about);
    roff.text([roman(FORM)]);
    roff.control("PP", []).text([roman("Relative paths count from the folder of the file. It may hold policies too: see ")]);
    roff.text([roman("xensnap-policy(5).")]);
    // Policies have a page of their own.
    blocks(&mut roff, &CONFIG, &|key| !matches!(key.name, "policy" | "template"));
    files(&mut roff, "/etc/xensnap/xensnap.toml", "The main file, unless --config names another.");
    ended("xensnap.toml.5", roff, &["xensnap(1)", "xensnap-daemon(1)"])
}

/// xensnap-policy(5).
pub(super) fn policy_file() -> std::io::Result<Page> {
    let mut roff = begun("xensnap-policy", "Policies, and templates they inherit from");
    roff.text([roman(FORM)]);
    roff.control("PP", []).text([roman("A template has the keys of a policy but name and id. ")]);
    roff.text([roman("`xensnap policy new` writes a file to begin with, `xensnap policy show` prints what counts.")]);
    blocks(&mut roff, &POLICIES, &|key| key.name != "template");
    files(&mut roff, "/etc/xensnap/policies.d/*.toml", "The policies, in the order of the names of their files.");
    ended("xensnap-policy.5", roff, &["xensnap(1)"])
}

fn begun(name: &str, about: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("TH", [name, "5", "", SOURCE, MANUAL]);
    roff.control("SH", ["NAME"]).text([roman(format!("{name} - {}", about.trim_end_matches('.')))]);
    roff.control("SH", ["DESCRIPTION"]);
    roff
}

fn ended(file: &str, mut roff: Roff, others: &[&str]) -> std::io::Result<Page> {
    see_also(&mut roff, others);
    let mut text = Vec::new();
    roff.to_writer(&mut text)?;
    Ok((file.to_owned(), text))
}

fn files(roff: &mut Roff, path: &str, what: &str) {
    roff.control("SH", ["FILES"]).control("TP", []).text([italic(path)]).text([roman(what)]);
}

/// A block with its keys, and then the blocks within. `deep`: whether to go into what a key holds.
fn blocks(roff: &mut Roff, block: &'static Block, deep: &dyn Fn(&Key) -> bool) {
    roff.control("SH", [heading(block).as_str()]).text([roman(block.about)]);
    if !block.one_of.is_empty() {
        roff.control("PP", []).text([roman(format!("Exactly one of these is there: {}.", block.one_of.join(", ")))]);
    }
    for key in block.keys() {
        entry(roff, key);
    }
    let mut told: Vec<&str> = Vec::new();
    for (key, inner) in block.keys().filter_map(|key| Some((key, key.shape.block()?))) {
        // Conditions stand in two places.
        if deep(key) && !told.contains(&inner.name) {
            told.push(inner.name);
            blocks(roff, inner, deep);
        }
    }
}

fn heading(block: &Block) -> String {
    if block.name.contains(' ') && !block.name.contains(',') || block.name.ends_with(".toml") {
        return "Top of the file".to_owned();
    }
    block.name.to_owned()
}

fn entry(roff: &mut Roff, key: &Key) {
    let shape = match key.shape {
        Shape::Table(inner) | Shape::Tables(inner) => format!("{}, see {}", key.shape.told(), inner.name),
        shape => shape.told(),
    };
    roff.control("TP", []).text([bold(key.name), roman(" = "), italic(shape)]);
    let need = match key.need {
        Need::None if key.default.is_empty() => String::new(),
        Need::None => format!(" Default: {}", key.default),
        Need::Always => " It must be there.".to_owned(),
        Need::OrInherited => " It must be there, or in a template that is inherited.".to_owned(),
    };
    roff.text([roman(format!("{}{need}", key.about))]);
}
