//! Passwords appear in no diagnostic, whatever is wrong with the file they stand in.

use proptest::prelude::*;
use xensnap::config::Config;

use crate::support::now;

/// Everything that can be shown of a main file.
fn shown(text: &str) -> String {
    match Config::from_texts(("xensnap.toml", text), &[], now()) {
        Ok(loaded) => format!("{loaded:?}{}", loaded.warnings.render(true)),
        Err(problems) => format!("{problems:?}{problems}{}", problems.render(true)),
    }
}

fn main_with(line: &str) -> String {
    format!("installation = \"x\"\n[[pool]]\nname = \"prod\"\naddresses = [\"xen1\"]\nusername = \"root\"\n{line}\n")
}

#[test]
fn a_password_is_quoted_nowhere() {
    for line in [
        "password = \"hunter2\"",
        "password = hunter2",
        "password = \"hunter2",
        "password = 'hunter2",
        "password = \"\"\"\nhunter2\n",
        "password = \"\"\"\nhunter2\n\"\"\" x",
        "password \"hunter2\"",
        "password = [\"hunter2\"]",
        "password = { a = \"hunter2\" }",
        "password = \"hunter2\" \"",
        "\"password\" = hunter2",
        "passwort = \"hunter2\"",
        "pasword = hunter2",
        "kennwort = \"hunter2\"",
        "kennwort = hunter2",
        "secret = [{ x = \"hunter2\" }]",
        "password = \"hunter2\"\npassword_file = \"/x\"",
        "password = \"hunter2\"\npassword = \"hunter2\"",
        "addresses = [\"root:hunter2@xen1\"]",
        "address_map = { a = \"root:hunter2@xen1\" }",
        "address_map = { a = \"root:hunter2@xen1\" ",
        "password.x = \"hunter2\"",
        "password = \"hunter2\"\nname = 3",
        "password = 'hunter2'; username = 'root'",
        "  password='hunter2'x",
    ] {
        let text = main_with(line);
        assert!(!shown(&text).contains("hunter2"), "{line}\n{}", shown(&text));
        let inline = format!("pool = [{{ name = \"p\", {line}");
        assert!(!shown(&inline).contains("hunter2"), "{line}\n{}", shown(&inline));
    }
}

#[test]
fn what_is_secret_about_alarms_is_quoted_nowhere() {
    for lines in [
        "[[alarms.webhook]]\nname = \"a\"\nurl = \"https://x/hunter2\"",
        "[[alarms.webhook]]\nname = \"a\"\nurl = \"hunter2\"",
        "[[alarms.webhook]]\nname = \"a\"\nurl = https://x/hunter2",
        "[[alarms.webhook]]\nname = \"a\"\nURL = \"https://x/hunter2\"",
        "[[alarms.webhook]]\nname = \"a\"\nadress = \"https://x/hunter2\"",
        "[[alarms.webhook]]\nname = \"a\"\nsecret = \"hunter2\"",
        "[alarms.dead_man]\nurl = \"https://user:hunter2@x/\"",
        "[alarms.dead_man]\nurl = \"https://x/hunter2",
        "[alarms]\ndead_man = { url = \"hunter2\" }",
        "[[alarms.mail]]\nname = \"a\"\npassword = \"hunter2\"",
        "[[alarms.mail]]\nname = \"a\"\nkennwort = \"hunter2\"",
        "[[alarms.mail]]\nname = \"a\"\nkennwort = hunter2",
        "[alarms]\nmail = [{ kennwort = \"hunter2\" }]",
    ] {
        let text = format!("installation = \"x\"\n{lines}\n");
        assert!(!shown(&text).contains("hunter2"), "{lines}\n{}", shown(&text));
    }
}

#[test]
fn what_is_covered_keeps_its_place() {
    let told = Config::from_texts(("xensnap.toml", &main_with("pasword = \"hunter2\"")), &[], now()).unwrap_err();
    assert!(told.to_string().contains("6 | pasword = *********"), "{told}");
    assert!(told.to_string().contains("write `password`"), "{told}");
}

proptest! {
    /// A good file with a password, damaged somewhere, does not show it either.
    #[test]
    fn a_damaged_file_does_not_show_its_password(cut in 0_usize..200, length in 0_usize..12, insert in "[\\[\\]{}\"'=#\n a-z]{0,4}") {
        let good = main_with("password = \"hunter2hunter2\"\nwire = \"auto\"");
        let at = good.floor_char_boundary(cut.min(good.len()));
        // What stands on the password's own line before it may be gone; then nobody can know that it is one.
        let line = good.find("password =").unwrap();
        let end = good.ceil_char_boundary((at + length).min(good.len()));
        prop_assume!(end <= line || at > line + "password = ".len());
        let text = format!("{}{insert}{}", &good[..at], &good[end..]);
        prop_assume!(!insert.contains(['#', '\n']) && text.contains("\npassword ="));
        prop_assert!(!shown(&text).contains("hunter2hunter2"), "{text}\n{}", shown(&text));
    }
}
