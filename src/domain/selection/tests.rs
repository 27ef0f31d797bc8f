//! A small pool, and who is in.

use rstest::rstest;
use uuid::Uuid;

use super::super::id::{ApplianceUuid, HostUuid, PoolUuid, SrUuid, VmUuid};
use super::*;

fn vm(n: u128, name: &'static str) -> VmView<'static> {
    VmView {
        uuid: VmUuid(Uuid::from_u128(n)),
        name,
        role: Role::Vm,
        power: PowerState::Running,
        tags: Vec::new(),
        other_config: Vec::new(),
        pool: (PoolUuid(Uuid::from_u128(100)), "lab"),
        host: Some((HostUuid(Uuid::from_u128(200)), "host-1")),
        srs: vec![(SrUuid(Uuid::from_u128(300)), "fast")],
        appliance: None,
    }
}

fn pool() -> Vec<VmView<'static>> {
    let web = VmView { tags: vec!["prod", "xo:no-bak=cattle"], other_config: vec![("folder", "/Prod/Web")], ..vm(1, "web-01") };
    let db = VmView {
        tags: vec!["prod"],
        srs: vec![(SrUuid(Uuid::from_u128(301)), "slow")],
        other_config: vec![("folder", "/Production"), ("tier", "gold")],
        ..vm(2, "db-01")
    };
    let off = VmView { power: PowerState::Halted, host: None, ..vm(3, "off") };
    let skipped = VmView { tags: vec!["prod", "xensnap:skip=being rebuilt"], ..vm(4, "web-02") };
    let app = VmView { appliance: Some((ApplianceUuid(Uuid::from_u128(400)), "erp")), ..vm(5, "erp-app") };
    let template = VmView { role: Role::Template, tags: vec!["prod"], ..vm(6, "web-template") };
    let snapshot = VmView { role: Role::Snapshot, tags: vec!["prod"], ..vm(7, "web-01 Nightly") };
    let dom0 = VmView { role: Role::ControlDomain, ..vm(8, "Control domain") };
    vec![web, db, off, skipped, app, template, snapshot, dom0]
}

fn clause(conditions: &[(Field, &str)]) -> Clause {
    let condition = |(field, values): &(Field, &str)| Condition::parse(*field, &values.split('|').collect::<Vec<_>>()).unwrap();
    Clause(conditions.iter().map(condition).collect())
}

fn chosen(selection: &Selection) -> Vec<u128> {
    selection.choose(&pool()).iter().map(|vm| vm.uuid.0.as_u128()).collect()
}

#[rstest]
#[case(&[], &[1, 2, 3, 5])]
#[case(&[(Field::Uuid, "00000000-0000-0000-0000-000000000002")], &[2])]
#[case(&[(Field::Name, "web-*")], &[1])]
#[case(&[(Field::Name, "web-*|off")], &[1, 3])]
#[case(&[(Field::NameExact, "web-01")], &[1])]
#[case(&[(Field::NameRegex, "[wd]e?b-\\d+")], &[1, 2])]
#[case(&[(Field::Tag, "prod")], &[1, 2])]
#[case(&[(Field::Folder, "/Prod")], &[1])]
#[case(&[(Field::Power, "Halted")], &[3])]
#[case(&[(Field::Pool, "lab")], &[1, 2, 3, 5])]
#[case(&[(Field::Host, "host-1")], &[1, 2, 5])]
#[case(&[(Field::Sr, "slow")], &[2])]
#[case(&[(Field::Sr, "00000000-0000-0000-0000-00000000012c")], &[1, 3, 5])]
#[case(&[(Field::Appliance, "erp")], &[5])]
#[case(&[(Field::OtherConfig, "tier=gold")], &[2])]
#[case(&[(Field::Tag, "prod"), (Field::Sr, "fast")], &[1])]
fn a_clause_selects(#[case] conditions: &[(Field, &str)], #[case] expected: &[u128]) {
    assert_eq!(chosen(&Selection { include: vec![clause(conditions)], ..Selection::default() }), expected);
}

#[test]
fn templates_snapshots_and_control_domains_are_never_selected() {
    let told: Vec<_> = pool()[5..].iter().map(|vm| Selection::everything().judge(vm).to_string()).collect();
    assert_eq!(told, ["a template is never selected", "a snapshot is never selected", "a control domain is never selected"]);
}

#[test]
fn the_skip_tag_wins_even_over_an_explicit_uuid() {
    let explicit = clause(&[(Field::Uuid, "00000000-0000-0000-0000-000000000004")]);
    let selection = Selection { include: vec![explicit], ..Selection::default() };
    assert_eq!(selection.judge(&pool()[3]).to_string(), "skipped because of its tag \"xensnap:skip=being rebuilt\"");
}

#[test]
fn the_tag_of_xen_orchestra_is_honoured_on_request() {
    let selection = Selection { honour_no_bak: true, ..Selection::everything() };
    assert_eq!(chosen(&selection), [2, 3, 5]);
    assert_eq!(selection.judge(&pool()[0]).to_string(), "skipped because of its tag \"xo:no-bak=cattle\"");
    let unrelated = VmView { tags: vec!["xo:no-bakery", "xensnap:skipper"], ..vm(9, "bakery") };
    assert!(matches!(selection.judge(&unrelated), Judgement::In(_)));
}

#[test]
fn every_vm_is_told_why() {
    let selection = Selection {
        include: vec![clause(&[(Field::Tag, "prod")]), clause(&[(Field::Name, "o*"), (Field::Power, "running")])],
        exclude: vec![clause(&[(Field::Name, "db-*")])],
        ..Selection::default()
    };
    let pool = pool();
    let told: Vec<_> = pool[..3].iter().map(|vm| selection.judge(vm).to_string()).collect();
    assert_eq!(told, ["selected by tag = \"prod\"", "excluded by name = \"db-*\"", "no include fits"]);
    assert_eq!(
        selection.why_not_included(&pool[2]),
        ["tag = \"prod\": not tag = \"prod\"", "name = \"o*\" and power = \"running\": not power = \"running\""]
    );
}

#[test]
fn a_selector_that_fits_nothing_names_what_may_have_been_meant() {
    let selection = Selection {
        include: vec![
            clause(&[(Field::Name, "web-1|db-*")]),
            clause(&[(Field::Tag, "prd")]),
            clause(&[(Field::Name, "off"), (Field::Power, "running")]),
        ],
        exclude: vec![clause(&[(Field::Sr, "slwo")])],
        ..Selection::default()
    };
    let told: Vec<_> = selection.unmatched(&pool()).iter().map(Unmatched::to_string).collect();
    assert_eq!(
        told,
        [
            "name = \"web-1\" fits no VM; there is \"web-01\", \"web-02\"",
            "tag = \"prd\" fits no VM; there is \"prod\"",
            "sr = \"slwo\" fits no VM; there is \"slow\"",
            "no VM fits all of name = \"off\" and power = \"running\"",
        ]
    );
}

#[test]
fn a_selection_that_fits_has_nothing_unmatched() {
    assert_eq!(Selection::everything().unmatched(&pool()), []);
    assert_eq!(Selection::everything().unmatched(&[]), []);
}

#[test]
fn a_power_state_that_does_not_exist_is_refused() {
    let (index, error) = Condition::parse(Field::Power, &["halted", "runing"]).unwrap_err();
    assert_eq!((index, error.to_string()), (1, "\"runing\" is not known; write \"running\"".to_owned()));
}
