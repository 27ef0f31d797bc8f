use chrono::TimeZone;

use super::*;
use crate::simulator::model::Release;
use crate::simulator::world::Session;

fn world() -> World {
    let mut world = World::new(Release::NEWEST, 1);
    let db = &mut world.database;
    db.create("SR", "sr", [("uuid", Value::str("u-sr")), ("name_label", Value::str("nfs")), ("physical_size", Value::Int(100))]);
    db.create("VM", "vm", [("uuid", Value::str("u-vm")), ("name_label", Value::str("web-01"))]);
    db.create("VM", "snap", [("uuid", Value::str("u-snap")), ("snapshot_of", Value::str("vm"))]);
    db.create("VDI", "vdi", [("SR", Value::str("sr"))]);
    db.create("VBD", "vbd", [("VM", Value::str("vm")), ("VDI", Value::str("vdi"))]);
    world
}

fn at(seconds: u64) -> Now {
    let wall = Utc.with_ymd_and_hms(2026, 11, 22, 0, 0, 0).unwrap() + Duration::from_secs(seconds);
    Now { elapsed: Duration::from_secs(seconds), wall }
}

fn faults(rule: Rule) -> Faults {
    let faults = Faults::default();
    faults.load(Plan::new(7).with(rule), at(0));
    faults
}

fn strike(faults: &Faults, world: &mut World, method: &str, arg: &str) -> Strikes {
    faults.on_call(world, Call { method, args: &[Value::str(arg)], originator: "xensnap", user: "root" }, at(1))
}

fn no_space() -> ApiError {
    ApiError::new("SR_BACKEND_FAILURE_44", ["", "no space", ""])
}

#[test]
fn only_the_nth_call_is_struck_and_the_report_says_so() {
    let faults = faults(Rule::on("VM.snapshot", Action::Refuse(no_space())).nth(2));
    let mut world = world();
    assert_eq!(strike(&faults, &mut world, "VM.snapshot", "vm"), Strikes::default());
    assert_eq!(strike(&faults, &mut world, "VM.destroy", "vm"), Strikes::default());
    assert_eq!(strike(&faults, &mut world, "Async.VM.snapshot", "vm").instead, Some(Instead::Refuse(no_space())));
    assert_eq!(strike(&faults, &mut world, "VM.snapshot", "vm"), Strikes::default());
    let report = &faults.reports()[0];
    assert_eq!((report.met, report.struck), (3, 1));
    assert_eq!(report.effects[0].effect, "refuse with SR_BACKEND_FAILURE_44");
}

#[test]
fn an_object_is_met_by_its_names_and_by_what_it_belongs_to() {
    for object in ["web-01", "web*", "u-vm", "vm", "nfs"] {
        let faults = faults(Rule::on("*", Action::Hang).object(object));
        assert_eq!(strike(&faults, &mut world(), "VM.snapshot", "vm").instead, Some(Instead::Hang), "{object}");
    }
    let faults = faults(Rule::on("VM.destroy", Action::Hang).object("web-01"));
    assert_eq!(strike(&faults, &mut world(), "VM.destroy", "snap").instead, Some(Instead::Hang));
    assert_eq!(strike(&faults, &mut world(), "VM.destroy", "other").instead, None);
}

#[test]
fn the_same_seed_strikes_the_same_calls() {
    let struck = |seed| {
        let faults = Faults::default();
        faults.load(Plan::new(seed).with(Rule::on("*", Action::Hang).probability(0.5)), at(0));
        (0..64).map(|_| strike(&faults, &mut world(), "VM.start", "vm").instead.is_some()).collect::<Vec<_>>()
    };
    assert_eq!(struck(1), struck(1));
    assert_ne!(struck(1), struck(2));
    assert!((16..48).contains(&struck(1).iter().filter(|struck| **struck).count()));
}

#[test]
fn what_a_cut_connection_hid_is_in_the_report() {
    let faults = faults(Rule::on("VM.snapshot", Action::Cut(When::After)));
    let strikes = strike(&faults, &mut world(), "VM.snapshot", "vm");
    assert_eq!(strikes.answer, Some(Spoil::Cut));
    faults.over(&strikes, &Ok(Value::str("snap")));
    assert_eq!(faults.reports()[0].effects[0].effect, "cut the connection after the effect; the call succeeded");
}

#[test]
fn the_nth_disk_of_a_snapshot_fails() {
    let faults = faults(Rule::on("VM.snapshot", Action::FailDisk { disk: 2, error: no_space() }).object("web-01").nth(1));
    let world = world();
    let disk = |n| faults.on_disk(&world, "VM.snapshot", "vm", n, at(1));
    assert_eq!((disk(1), disk(2), disk(2)), (None, Some(no_space()), None));
}

#[test]
fn expired_sessions_are_gone_only_for_that_client() {
    let faults = faults(Rule::on("VM.get_all", Action::ExpireSessions).originator("xensnap"));
    let mut world = world();
    for originator in ["xensnap", "other"] {
        let session = Session { user: "root".into(), originator: originator.into(), role: None, scheduler: false };
        world.sessions.insert(originator.into(), session);
    }
    let _ = strike(&faults, &mut world, "VM.get_all", "");
    assert_eq!(world.sessions.keys().map(|key| &**key).collect::<Vec<_>>(), ["other"]);
    assert_eq!(faults.reports()[0].effects[0].effect, "1 sessions ended");
}

#[test]
fn a_filled_sr_shows_it_and_stays_full() {
    let faults = faults(Rule::at(Moment::Since(Duration::from_secs(5)), Action::FillSr { sr: "nfs".into(), leave: 10 }));
    let mut world = world();
    assert_eq!(faults.next_moment(at(2)), Some(Duration::from_secs(3)));
    faults.on_time(&mut world, at(4));
    assert_eq!(faults.squeeze("sr", 50), 50);
    faults.on_time(&mut world, at(5));
    assert_eq!((faults.squeeze("sr", 50), faults.squeeze("other", 50)), (10, 50));
    assert_eq!(world.database.int("SR", "sr", "physical_utilisation"), 90);
    assert_eq!(faults.next_moment(at(6)), None);
    faults.empty_srs(&mut world);
    assert_eq!((faults.squeeze("sr", 50), world.database.int("SR", "sr", "physical_utilisation")), (50, 0));
}

#[test]
fn a_window_keeps_a_fault_to_its_time() {
    let mut rule = Rule::on("*", Action::Hang);
    rule.trigger.from = Some(Moment::Since(Duration::from_secs(10)));
    rule.trigger.until = Some(Moment::At(at(20).wall));
    let faults = faults(rule);
    let struck = |seconds| {
        let call = Call { method: "VM.start", args: &[], originator: "", user: "" };
        faults.on_call(&mut world(), call, at(seconds)).instead.is_some()
    };
    assert_eq!([9, 10, 19, 20].map(struck), [false, true, true, false]);
}

#[test]
fn a_plan_is_read_from_a_file() {
    let plan = Plan::parse(
        r#"
        seed = 7
        [[fault]]
        name = "no space"
        method = "VM.snapshot"
        object = "web-01"
        nth = [1, 3]
        action = "refuse"
        code = "SR_BACKEND_FAILURE_44"
        params = ["", "no space", ""]
        [[fault]]
        after = "30m"
        action = "kill"
        down = "20s"
        [[fault]]
        method = "VM.*"
        probability = 0.25
        until = "2026-11-22T00:00:00Z"
        action = "garbage"
        kind = "huge"
        [[fault]]
        at = "2026-11-22T00:00:00Z"
        action = "skew"
        by = "-90s"
        "#,
    )
    .unwrap();
    assert_eq!(plan.seed, 7);
    assert_eq!(
        plan.rules[0],
        Rule::on("VM.snapshot", Action::Refuse(no_space())).object("web-01").nth(1).nth(3).named("no space")
    );
    let order = Order::Kill { down: Some(Duration::from_secs(20)) };
    assert_eq!(plan.rules[1].action, Action::Server { order, when: When::During, delay: Duration::ZERO });
    assert_eq!(plan.rules[1].trigger.from, Some(Moment::Since(Duration::from_secs(1800))));
    assert_eq!(plan.rules[2].action, Action::Garbage(Garbage::Huge));
    assert_eq!(plan.rules[3].action, Action::Skew(TimeDelta::seconds(-90)));
}

#[test]
fn a_mistake_in_a_file_is_told_with_its_line_and_what_to_write() {
    let refuse = "[[fault]]\nmethod = \"*\"\n";
    for (text, line, hint) in [
        ("seed = 7\nsped = 8\n", 2, "unknown field `sped`"),
        (&*format!("{refuse}mehtod = \"x\"\n"), 3, "unknown field `mehtod`"),
        (refuse, 1, "`action` is missing: write one of `refuse`"),
        (&*format!("{refuse}action = \"explode\"\n"), 3, "unknown action `explode`: write one of `refuse`"),
        (&*format!("{refuse}action = \"refuse\"\n"), 3, "`code` is missing: write code ="),
        (&*format!("{refuse}action = \"hang\"\nby = \"5s\"\n"), 4, "`by` means nothing for action `hang`"),
        (&*format!("{refuse}action = \"delay\"\ndelay = \"5\"\n"), 4, "`5` is no duration: write \"500ms\""),
        (&*format!("{refuse}action = \"cut\"\nwhen = \"now\"\n"), 4, "write when = \"before\""),
        (&*format!("{refuse}action = \"garbage\"\nkind = \"foul\"\n"), 4, "write one of `truncated`"),
        (&*format!("{refuse}probability = 7.0\naction = \"hang\"\n"), 3, "from 0.0 to 1.0"),
        (&*format!("{refuse}nth = 0\naction = \"hang\"\n"), 3, "counts from 1"),
        (&*format!("{refuse}nth = \"x\"\naction = \"hang\"\n"), 3, "a number such as 3"),
        ("[[fault]]\naction = \"hang\"\n", 1, "`hang` strikes calls"),
        ("[[fault]]\naction = \"kill\"\n", 1, "never strike"),
        ("[[fault]]\nafter = \"1m\"\nnth = 2\naction = \"kill\"\n", 1, "`nth` counts calls"),
        ("[[fault]\n", 1, ""),
    ] {
        let error = Plan::parse(text).unwrap_err();
        assert_eq!(error.line, line, "{text}\n{error}");
        assert!(error.message.contains(hint), "{text}\n{error}");
    }
}
