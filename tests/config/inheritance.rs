//! Templates: what an heir takes over, from whichever file, and what counts where both say something.

use xensnap::domain::policy::{Fallback, WantedKind};
use xensnap::domain::schedule::CatchUp;
use xensnap::domain::selection::Selection;

use crate::support::{POLICY, policy, problems, read};

const NIGHT: &str = r#"
[template.night]
priority = 70
schedule = { cron = "0 1 * * *", zone = "Asia/Tokyo", spread = "30m", catch_up_max_age = "2h" }
select = { all = true }
snapshot = { kind = "quiesced", fallback = "disk" }
retention = { daily = 7, weekly = 4 }
"#;

#[test]
fn an_heir_takes_over_key_by_key_what_it_does_not_say() {
    let heir = "[[policy]]\nname = \"A\"\nid = \"a\"\ninherit = \"night\"\nschedule.cron = \"0 3 * * *\"\nretention.weekly = 0\n";
    let loaded = read(&[("a.toml", heir), ("z.toml", NIGHT)]).unwrap();
    let policy = &loaded.config.policies[0].policy;
    assert_eq!(policy.schedule.signature(), "Asia/Tokyo; 0 3 * * *");
    assert_eq!(policy.schedule.spread.to_string(), "30m");
    assert_eq!(policy.retention.rules.to_string(), "daily 7, min 1");
    assert_eq!((policy.priority.number(), policy.snapshot.kind), (70, WantedKind::Quiesced(Fallback::Disk)));
    assert_eq!(loaded.warnings.len(), 0, "{}", loaded.warnings);
}

#[test]
fn a_chain_of_templates_is_followed_and_the_nearest_counts() {
    let text = format!(
        "{NIGHT}\n[template.gold]\ninherit = \"night\"\npriority = 90\nretention.yearly = 2\n\n[[policy]]\nname = \"A\"\nid = \"a\"\ninherit = \"gold\"\n"
    );
    let policy = policy(&text).policy;
    assert_eq!(policy.priority.number(), 90);
    assert_eq!(policy.retention.rules.to_string(), "daily 7, weekly 4, yearly 2, min 1");
}

#[test]
fn what_an_heir_chooses_makes_an_inherited_key_idle_instead_of_wrong() {
    let heir = |keys: &str| format!("{NIGHT}\n[[policy]]\nname = \"A\"\nid = \"a\"\ninherit = \"night\"\n{keys}\n");
    assert_eq!(policy(&heir("snapshot.kind = \"disk\"")).policy.snapshot.kind, WantedKind::Disk);
    assert_eq!(policy(&heir("schedule.catch_up = \"none\"")).policy.schedule.catch_up, CatchUp::None);
    let some = policy(&heir("select.include = [{ tag = \"x\" }]")).policy.selection;
    assert_eq!(some.to_string(), "tag = \"x\"");
    assert_ne!(some, Selection::everything());
    let text =
        heir("select.include = [{ tag = \"x\" }]").replace("select = { all = true }", "select = { include = [{ tag = \"y\" }] }");
    assert_eq!(
        policy(&text.replace("select.include = [{ tag = \"x\" }]", "select.all = true")).policy.selection,
        Selection::everything()
    );
}

#[test]
fn a_list_is_replaced_as_a_whole() {
    let text = format!(
        "[template.a]\nselect = {{ include = [{{ tag = \"x\" }}, {{ tag = \"y\" }}] }}\n{}",
        POLICY.replace("select = { all = true }", "select = { include = [{ tag = \"z\" }] }\ninherit = \"a\"")
    );
    assert_eq!(policy(&text).policy.selection.to_string(), "tag = \"z\"");
}

#[test]
fn a_mistake_in_a_template_is_told_once_and_in_its_file() {
    let template = NIGHT.replace("daily = 7", "daily = \"7\"");
    let heir = |id: &str| format!("[[policy]]\nname = \"{id}\"\nid = \"{id}\"\ninherit = \"night\"\n");
    let told = read(&[("a.toml", &heir("a")), ("b.toml", &heir("b")), ("c.toml", &template)]).unwrap_err();
    let lines: Vec<String> = told.iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["c.toml:7: `daily` takes a number, not text; write daily = 1, without quotes"]);
}

#[test]
fn templates_have_unique_names_across_files() {
    let told = read(&[("a.toml", NIGHT), ("b.toml", NIGHT), ("c.toml", POLICY)]).unwrap_err();
    let lines: Vec<String> = told.errors().map(ToString::to_string).collect();
    assert_eq!(lines, ["b.toml:2: a second template is called \"night\"; choose another name"]);
}

#[test]
fn a_template_that_may_stand_in_an_unreadable_file_is_not_complained_of() {
    let heir = POLICY.replace("id = \"nightly\"", "id = \"nightly\"\ninherit = \"night\"\npools = [\"prod\"]");
    let told = read(&[("a.toml", &heir), ("b.toml", "[template.night\n")]).unwrap_err();
    assert!(told.iter().all(|problem| problem.file.ends_with("b.toml")), "{told}");
}

#[test]
fn an_endless_chain_of_templates_is_refused() {
    let chain: String = (0..40).map(|n| format!("[template.t{n}]\ninherit = \"t{}\"\n", n + 1)).collect();
    let text = format!("{chain}[template.t40]\n{POLICY}inherit = \"t0\"\n");
    assert!(problems(&text)[0].contains("more than 16 templates inherit from one another"), "{:?}", problems(&text));
}

#[test]
fn no_policy_vanishes_in_silence() {
    for key in ["name", "schedule", "select", "retention"] {
        let lines = POLICY.lines().filter(|line| !line.starts_with(key)).collect::<Vec<_>>().join("\n");
        assert!(read(&[("a.toml", &lines)]).is_err(), "{lines}");
    }
    for part in ["cron = \"30 2 * * *\", ", ", zone = \"Europe/Berlin\"", "all = true", "last = 7"] {
        assert!(read(&[("a.toml", &POLICY.replace(part, ""))]).is_err(), "{part}");
    }
    for wrong in ["zone = []", "zone = [\"UTC\", \"Asia/Tokyo\"]", "zone = 1", "cron = 1, zone = \"UTC\"", "zone = {}"] {
        assert!(read(&[("a.toml", &POLICY.replace("zone = \"Europe/Berlin\"", wrong))]).is_err(), "{wrong}");
    }
}
