//! What administrators call things.

use super::maker::Maker;
use crate::simulator::value::{Text, Value};

/// `(role, folder, Windows, several disks)`: what guests are for.
const ROLES: [(&str, &str, bool, bool); 18] = [
    ("web", "/Production/Web", false, false),
    ("db", "/Production/Databases", false, true),
    ("app", "/Production/Applications", false, false),
    ("dc", "/Infrastructure/Directory", true, false),
    ("file", "/Infrastructure/Files", true, true),
    ("mail", "/Production/Mail", true, true),
    ("proxy", "/Infrastructure/Network", false, false),
    ("ci", "/Development", false, false),
    ("mon", "/Infrastructure/Monitoring", false, false),
    ("erp", "/Production/ERP", true, true),
    ("crm", "/Production/CRM", true, false),
    ("print", "/Infrastructure/Print", true, false),
    ("log", "/Infrastructure/Monitoring", false, true),
    ("cache", "/Production/Web", false, false),
    ("queue", "/Production/Applications", false, false),
    ("vpn", "/Infrastructure/Network", false, false),
    ("wiki", "/Office", false, false),
    ("test", "/Development", false, false),
];

/// Names that trip clients up: blanks, quotes, other scripts, and one that is used twice.
const UNUSUAL: [&str; 6] = [
    "Exchange 2019 \u{2013} Frankfurt",
    "\u{c4}rzteportal",
    "old \"do not touch\" server",
    "R&D <build>",
    "\u{30d5}\u{30a1}\u{30a4}\u{30eb}\u{30b5}\u{30fc}\u{30d0}\u{30fc}",
    "R&D <build>",
];

/// What a guest is.
#[derive(Debug, Clone)]
pub(super) struct Character {
    pub(super) name: Text,
    pub(super) description: Text,
    pub(super) folder: &'static str,
    pub(super) windows: bool,
    pub(super) large: bool,
    pub(super) tags: Value,
}

/// The character of the `number`-th guest.
pub(super) fn character(maker: &mut Maker<'_>, number: usize) -> Character {
    let (role, folder, windows, large) = *maker.pick(&ROLES);
    // Every so often a name that is not of the scheme; small pools have one of them too.
    let unusual = (number % 23 == 11).then(|| UNUSUAL[number / 23 % UNUSUAL.len()]);
    let width = maker.recipe.vms.max(10).to_string().len();
    let name = unusual.map_or_else(|| format!("{role}-{:0width$}", number + 1), str::to_owned);
    let stage = if folder.starts_with("/Development") { "dev" } else { "prod" };
    let mut tags = vec![stage];
    tags.extend(maker.percent(30).then_some("gold"));
    tags.extend(maker.percent(20).then_some("no-backup"));
    Character {
        name: name.into(),
        description: format!("{} server", role_words(role)).into(),
        folder,
        windows,
        large,
        tags: Value::texts(tags),
    }
}

fn role_words(role: &str) -> &str {
    match role {
        "db" => "Database",
        "dc" => "Directory",
        "ci" => "Build",
        "mon" => "Monitoring",
        "erp" | "crm" => "Business",
        role => role,
    }
}
