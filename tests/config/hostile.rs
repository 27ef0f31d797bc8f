//! Whatever stands in a file, reading it ends, and ends with a message.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use xensnap::config::{Config, Diagnostics, Loaded};

use crate::support::{MAIN, POLICY, now, read, shipped, toml_files};

/// Reads a text as main file and as policy file and draws what is found.
fn survive(text: &str) {
    let draw = |outcome: Result<Loaded, Diagnostics>| match outcome {
        Ok(loaded) => loaded.warnings.render(true),
        Err(problems) => problems.render(true),
    };
    draw(Config::from_texts(("xensnap.toml", text), &[], now()));
    draw(read(&[("a.toml", text)]));
}

fn refused(text: &str) -> String {
    let begin = Instant::now();
    let told = read(&[("a.toml", text)]).map(|_| ()).unwrap_err().render(false);
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
    assert!(told.len() < 200_000, "{} bytes", told.len());
    told
}

#[test]
fn a_huge_file_is_refused_unread() {
    let told = refused(&format!("x = \"{}\"", "x".repeat(5 << 20)));
    assert!(told.contains("larger than 4 MiB"), "{told}");
}

#[test]
fn deep_nesting_is_refused() {
    for text in [
        format!("a = {}", "[".repeat(100_000)),
        format!("a = {}{}", "{ a = ".repeat(50_000), "1"),
        format!("{} = 1", vec!["a"; 100_000].join(".")),
        format!("[{}]", vec!["a"; 100_000].join(".")),
        format!("{}a = 1", "[[a]]\n".repeat(100_000)),
    ] {
        refused(&text);
    }
}

#[test]
fn nesting_that_the_parser_takes_does_not_exhaust_the_stack() {
    let dotted = vec!["a"; 79].join(".");
    let inline = format!("{}1{}", format!("{{ {dotted} = ").repeat(78), " }".repeat(78));
    refused(&format!("[{dotted}]\n{dotted} = {inline}\n"));
    let template = format!("[template.x.{}]\n", vec!["a"; 78].join("."));
    refused(&format!("{template}{dotted} = {inline}\n{POLICY}inherit = \"x\"\n"));
}

#[test]
fn a_flood_of_mistakes_is_cut_short() {
    let unknown: String = (0..100_000).map(|n| format!("key{n} = {n}\n")).collect();
    let told = refused(&unknown);
    assert!(told.contains("... and 90"), "{}", &told[told.len() - 100..]);
    refused(&"= \n".repeat(1_000_000));
    refused(&POLICY.repeat(5_000));
    refused(&"x".repeat(4 << 20));
    let names: String = (0..20_000).map(|n| format!("\"pool-{n}\",")).collect();
    refused(&format!("{POLICY}pools = [{names}]\n"));
}

#[test]
fn a_line_of_a_megabyte_is_named_and_not_drawn() {
    let told = refused(&format!("{POLICY}{} = 1\n", "x".repeat(1 << 20)));
    assert!(told.contains("a.toml:8:1"), "{told}");
}

#[test]
fn thousands_of_policies_are_read_in_seconds() {
    let policies: String = (0..5000)
        .map(|n| POLICY.replace("\"Nightly\"", &format!("\"Nightly {n}\"")).replace("\"nightly\"", &format!("\"n{n}\"")))
        .collect();
    let begin = Instant::now();
    assert_eq!(read(&[("a.toml", &policies)]).unwrap().config.policies.len(), 5000);
    assert!(begin.elapsed() < Duration::from_secs(120), "{:?}", begin.elapsed());
}

#[test]
fn a_mark_of_byte_order_is_no_mistake() {
    assert_eq!(read(&[("a.toml", &format!("\u{FEFF}{POLICY}"))]).unwrap().config.policies.len(), 1);
    let told = read(&[("a.toml", &format!("\u{FEFF}{}", POLICY.replace("last", "lst")))]).unwrap_err();
    assert!(told.to_string().contains("a.toml:7:15"), "{told}");
}

#[test]
fn lines_may_end_as_on_windows() {
    let windows = POLICY.replace('\n', "\r\n");
    assert_eq!(read(&[("a.toml", &windows)]).unwrap().config.policies.len(), 1);
    let told = read(&[("a.toml", &windows.replace("last", "lst"))]).unwrap_err();
    assert!(told.to_string().contains("a.toml:7:15"), "{told}");
    assert!(!told.to_string().contains('\r'), "{told:?}");
}

fn samples() -> Vec<String> {
    let mut texts = vec![MAIN.to_owned(), POLICY.to_owned()];
    for folder in ["", "policies.d", "invalid"] {
        let files = toml_files(&shipped().join(folder));
        texts.extend(files.into_iter().filter_map(|path| std::fs::read_to_string(path).ok()));
    }
    texts
}

proptest! {
    #[test]
    fn no_text_makes_reading_panic(text in "\\PC{0,200}") {
        survive(&text);
    }

    #[test]
    fn no_toml_makes_reading_panic(text in "((\\[\\[?(policy|pool|template|daemon|schedule|x)(\\.[a-z]{1,4})?\\]?\\]|[a-z_]{1,8} ?= ?(1|-1|true|\"[^\"]{0,9}\"|\\[\\]|\\{\\}|1.5|2026-01-01)|#.*)\n){0,12}") {
        survive(&text);
    }

    #[test]
    fn no_damage_to_a_sample_makes_reading_panic(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        length in 0_usize..40,
        insert in "[\\[\\]{}\"'=#\n\\\\ .,a-z0-9äß\u{0}]{0,6}",
    ) {
        let samples = samples();
        let sample = which.get(&samples);
        let from = sample.floor_char_boundary(at.index(sample.len().max(1)));
        let to = sample.ceil_char_boundary((from + length).min(sample.len()));
        survive(&format!("{}{insert}{}", &sample[..from], &sample[to..]));
    }
}
