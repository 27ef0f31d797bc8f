//! Completions for five shells.

use std::process::Command;

use crate::{has, stdout, verbs, xensnap};

fn script(shell: &str) -> String {
    stdout(xensnap().args(["completions", shell]))
}

#[test]
fn every_shell_learns_every_verb() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = script(shell);
        for verb in verbs() {
            assert!(script.contains(&verb), "{shell} does not know {verb}");
        }
        assert!(script.contains("--config") || script.contains("-l config"), "{shell}");
    }
}

#[test]
fn a_shell_that_is_not_known_is_answered_with_those_that_are() {
    let told = xensnap().args(["completions", "csh"]).assert().code(2).get_output().stderr.clone();
    assert!(String::from_utf8(told).unwrap().contains("bash, elvish, fish, powershell, zsh"));
}

/// Completes the last of these words in a real bash; skipped where there is none.
fn completed(words: &[&str]) -> Option<Vec<String>> {
    if !has("bash") {
        return None;
    }
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let (last, before) = (words.last()?, words.get(words.len().checked_sub(2)?)?);
    let ask = format!(
        "{}\nCOMP_WORDS=({}); COMP_CWORD={}; _xensnap xensnap '{last}' '{before}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script("bash"),
        quoted.join(" "),
        words.len() - 1,
    );
    let output = Command::new("bash").args(["--norc", "-c", &ask]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
}

#[test]
fn bash_completes_verbs_options_and_words() {
    for (words, expected) in [
        (["xensnap", "stat"].as_slice(), ["status"].as_slice()),
        (&["xensnap", "status", "--wat"], &["--watch"]),
        (&["xensnap", "policy", "sh"], &["show"]),
        (&["xensnap", "schema", "po"], &["policy"]),
        (&["xensnap", "pause", "ho"], &["host"]),
    ] {
        if let Some(found) = completed(words) {
            assert_eq!(found, expected, "{words:?}");
        }
    }
}
