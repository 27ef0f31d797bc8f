//! What doctor prints for people: what a pool is, what was found (the worst first, long lists cut), and who fills its storage.

use super::super::out::say;
use super::super::view::{Cell, Column, NOTHING, Screen, Table, Tone, counted, harmless, wrapped};
use super::told::{PoolFacts, PoolReport};
use crate::config::Config;
use crate::domain::finding::{Code, Finding, Weight};
use crate::domain::size;
use crate::engine::checkup::filling::{Filling, Share};

/// So many findings of one kind are shown, unless all are asked for.
const SHOWN: usize = 5;

/// So many of those who fill a repository are shown.
const FILLERS: usize = 6;

/// Where texts begin.
const INDENT: usize = 12;

/// A pool.
pub(super) fn pool(report: &PoolReport, config: Option<&Config>, all: bool, screen: &Screen) {
    say!("{}", screen.paint(Tone::Strong, &harmless(&format!("pool {}", report.name))));
    if let Some(pool) = &report.pool {
        facts(pool, report, screen);
    }
    findings(&report.findings, all, screen);
    for filling in &report.filling {
        fillers(filling, config, all, screen);
    }
}

/// The service on this machine; nothing if there is nothing to say.
pub(super) fn service(found: &[Finding], all: bool, screen: &Screen) {
    if !found.is_empty() {
        say!("{}", screen.paint(Tone::Strong, "service"));
        findings(found, all, screen);
    }
}

fn facts(pool: &PoolFacts, report: &PoolReport, screen: &Screen) {
    let is_found = |code| report.findings.iter().any(|finding| finding.code == code);
    line("server", &format!("{}, {}", pool.release, pool.wire), Tone::Plain, screen);
    line("master", &format!("{} at {}", pool.master, pool.address), Tone::Plain, screen);
    line("uuid", &format!("{} (to pin it: pool_uuid = \"{0}\")", pool.uuid), Tone::Plain, screen);
    line("hosts", &pool.hosts.to_string(), Tone::Plain, screen);
    for certificate in &pool.certificates {
        let ends = certificate.not_after.map_or_else(|| "an unknown date".to_owned(), |end| end.format("%Y-%m-%d").to_string());
        line("TLS", &format!("{}: its certificate is good until {ends}", certificate.server), Tone::Plain, screen);
    }
    if !is_found(Code::Clock) {
        line("clock", "the server's clock agrees with ours", Tone::Plain, screen);
    }
    if !is_found(Code::Rights) {
        line("rights", "everything that snapshots need", Tone::Plain, screen);
    }
    let (vms, snapshots) = (counted(pool.vms, "VM"), counted(pool.snapshots, "snapshot"));
    line("contents", &format!("{vms} ({} running), {snapshots}, {}", pool.running, counted(pool.srs, "SR")), Tone::Plain, screen);
    if let Some(covered) = pool.covered {
        line("covered", &format!("{covered} of {vms} by policies"), Tone::Plain, screen);
    }
}

/// The findings, which are sorted; of each kind a few.
fn findings(all_found: &[Finding], all: bool, screen: &Screen) {
    for of_a_kind in all_found.chunk_by(|one, other| (one.weight, one.code) == (other.weight, other.code)) {
        let shown = if all || of_a_kind.len() == SHOWN + 1 { of_a_kind.len() } else { SHOWN };
        for finding in of_a_kind.iter().take(shown) {
            let (label, tone) = weight(finding.weight);
            line(label, &format!("{finding} [{}]", finding.code), tone, screen);
        }
        let more = of_a_kind.len().saturating_sub(shown);
        if more > 0 {
            line("", &format!("and {more} more of this kind [{}]; --all shows them", of_a_kind[0].code), Tone::Faint, screen);
        }
    }
}

fn weight(weight: Weight) -> (&'static str, Tone) {
    match weight {
        Weight::Problem => ("PROBLEM", Tone::Bad),
        Weight::Warning => ("WARNING", Tone::Doubt),
        Weight::Note => ("note", Tone::Plain),
        Weight::Fine => ("fine", Tone::Good),
    }
}

fn line(label: &str, text: &str, tone: Tone, screen: &Screen) {
    let (mut label, text, room) = (label, harmless(text), screen.width.saturating_sub(INDENT));
    // What is to be copied, such as a fingerprint, is not broken.
    let whole = text.split_whitespace().any(|word| word.chars().count() > room);
    for part in if whole { vec![text] } else { wrapped(&text, room) } {
        say!("  {} {}", screen.paint(tone, &format!("{label:<9}")), part);
        label = "";
    }
}

fn fillers(filling: &Filling, config: Option<&Config>, all: bool, screen: &Screen) {
    let host = filling.host.as_ref().map_or_else(String::new, |host| format!(" of {host}"));
    let size = filling.size.map_or_else(String::new, |size| format!(" of {}", size::of(size)));
    say!("  {}", harmless(&format!("SR {}{host} ({}): {}{size} taken", filling.sr.name, filling.driver, size::of(filling.used))));
    let columns = [
        Column::left("  BY").cut(10),
        Column::left("POLICY").cut(8).if_any(),
        Column::left("VM").cut(8).if_any(),
        Column::right("VMS").if_any(),
        Column::right("SNAPSHOTS").if_any(),
        Column::right("TAKEN"),
    ];
    let mut table = Table::new(columns);
    let rows = if all { filling.shares.iter().map(Row::of).collect() } else { summed(&filling.shares) };
    let shown = if all { rows.len() } else { FILLERS };
    for row in rows.iter().take(shown) {
        table.row(row.cells(config), None);
    }
    table.print(screen);
}

/// One who fills a repository, or several taken together.
struct Row<'a> {
    share: &'a Share,
    /// VMs, where several were taken together.
    vms: Option<usize>,
    snapshots: usize,
    bytes: i64,
}

impl<'a> Row<'a> {
    fn of(share: &'a Share) -> Self {
        Self { share, vms: None, snapshots: share.snapshots, bytes: share.bytes }
    }

    fn cells(&self, config: Option<&Config>) -> [Cell; 6] {
        let by = match (self.share.what, &self.share.creator) {
            (_, Some(creator)) => format!("  snapshots by {creator}"),
            ("vm", _) => "  disks of VMs".to_owned(),
            ("template", _) => "  templates".to_owned(),
            ("waiting", _) => "  waiting to be coalesced".to_owned(),
            _ => "  disks of no VM".to_owned(),
        };
        let name = |id: &String| {
            config.and_then(|config| config.policy(id)).map_or_else(|| id.clone(), |known| known.policy.name.clone())
        };
        let policy = self.share.policy.as_ref().map_or_else(String::new, name);
        let vm = if self.vms.is_some() { "" } else { self.share.vm.as_ref().map_or(NOTHING, |vm| vm.name.as_str()) };
        let count = |number: usize| if number == 0 { String::new() } else { number.to_string() };
        [
            by.into(),
            policy.into(),
            vm.into(),
            self.vms.map_or_else(String::new, count).into(),
            count(self.snapshots).into(),
            size::of(self.bytes).into(),
        ]
    }
}

/// All VMs of one maker and policy taken together, the greatest first.
fn summed(shares: &[Share]) -> Vec<Row<'_>> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    for share in shares {
        let same = |row: &&mut Row<'_>| {
            (row.share.what, &row.share.creator, &row.share.policy) == (share.what, &share.creator, &share.policy)
        };
        match rows.iter_mut().find(same) {
            Some(row) => {
                row.vms = row.vms.map(|vms| vms + usize::from(share.vm.is_some()));
                (row.snapshots, row.bytes) = (row.snapshots + share.snapshots, row.bytes + share.bytes);
            }
            None => rows.push(Row { vms: Some(usize::from(share.vm.is_some())), ..Row::of(share) }),
        }
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.bytes));
    rows
}
