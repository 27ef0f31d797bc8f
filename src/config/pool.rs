//! The `[[pool]]` block. All problems of a block are found at once, and none of their texts contains the password.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::fields::{Fields, Written, read, text};
use super::findings::Findings;
use super::told::Told;
use super::tree::{Table, Value};
use crate::domain::address::Address;
use crate::domain::fingerprint::Fingerprint;
use crate::domain::id::PoolUuid;

pub use super::password::{PasswordError, PasswordSource};

/// The keys of a block. Values of other keys are not quoted: somebody may have misspelt `password`.
pub(super) const KEYS: [&str; 11] = [
    "name",
    "addresses",
    "username",
    "password",
    "password_file",
    "password_credential",
    "fingerprints",
    "ca_file",
    "wire",
    "pool_uuid",
    "address_map",
];

/// Which encoding is spoken with a pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WireChoice {
    /// It is found out.
    #[default]
    Auto,
    /// JSON-RPC, from XenServer 7.3.
    Json,
    /// XML-RPC, every release.
    Xml,
}

const WIRES: [(&str, WireChoice); 3] = [("auto", WireChoice::Auto), ("json", WireChoice::Json), ("xml", WireChoice::Xml)];

/// A pool that can be connected to, as far as a file can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolConfig {
    /// What people call it; unique among the pools.
    pub name: String,
    /// At least one.
    pub addresses: Vec<Address>,
    /// Who logs in.
    pub username: String,
    /// Where the password is.
    pub password: PasswordSource,
    /// Certificates that are accepted by themselves.
    pub fingerprints: Vec<Fingerprint>,
    /// The authority that is accepted, instead of the machine's.
    pub ca_file: Option<PathBuf>,
    /// The encoding.
    pub wire: WireChoice,
    /// The pool that is meant.
    pub pool_uuid: Option<PoolUuid>,
    /// Addresses that hosts have among themselves, with those they have from here.
    pub address_map: BTreeMap<String, Address>,
}

/// A checked block, with the places that are compared with those of other blocks.
pub(super) struct ReadPool {
    pub config: PoolConfig,
    pub name: super::source::Place,
    pub addresses: Vec<Written<Address>>,
    pub pool_uuid: Option<Written<PoolUuid>>,
}

/// Reads a block. Relative paths count from `base`, the folder of the file. A pool that is not read leaves an error behind.
pub(super) fn pool(table: &Table, base: &Path, findings: &mut Findings) -> Option<ReadPool> {
    let before = findings.errors();
    let read = parts(table, base, findings).filter(|_| findings.errors() == before);
    if read.is_none() && findings.errors() == before {
        findings.error(table.place, "this pool is incomplete", "a pool needs a name, addresses, a user name and a password");
    }
    read
}

fn parts(table: &Table, base: &Path, findings: &mut Findings) -> Option<ReadPool> {
    let mut fields = Fields::new(table);
    let name = named(&mut fields, findings);
    let addresses = addresses(&mut fields, findings);
    let username = required(&mut fields, "username", "username = \"root\"", findings);
    let username = username.filter(|written| filled(written, findings));
    let password = password(&mut fields, base, findings);
    let fingerprints = fields.all_parsed::<Fingerprint>("fingerprints", findings);
    let ca_file = fields.text("ca_file", findings).map(|file| base.join(file.value));
    let wire = fields.choice("wire", &WIRES, findings);
    let pool_uuid = fields.parsed::<PoolUuid>("pool_uuid", findings);
    let address_map = address_map(&mut fields, findings);
    fields.finish(findings);
    let (name, addresses) = (name?, addresses?);
    let config = PoolConfig {
        name: name.value.to_owned(),
        addresses: addresses.iter().map(|address| address.value.clone()).collect(),
        username: username?.value.to_owned(),
        password: password?,
        fingerprints: fingerprints.map(|all| all.value.into_iter().map(|each| each.value).collect()).unwrap_or_default(),
        ca_file,
        wire: wire.map(|wire| wire.value).unwrap_or_default(),
        pool_uuid: pool_uuid.map(|uuid| uuid.value),
        address_map,
    };
    Some(ReadPool { config, name: name.place, addresses, pool_uuid })
}

fn required<'t>(fields: &mut Fields<'t>, key: &'static str, example: &str, findings: &mut Findings) -> Option<Written<&'t str>> {
    if fields.lacks(key) {
        findings.error(fields.place(), format!("a [[pool]] needs `{key}`"), format!("write {example}"));
    }
    fields.text(key, findings)
}

fn named<'t>(fields: &mut Fields<'t>, findings: &mut Findings) -> Option<Written<&'t str>> {
    let name = required(fields, "name", "name = \"prod\"", findings)?;
    let fits = (1..=64).contains(&name.value.len()) && name.value.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c));
    if !fits {
        findings.error(name.place, "this is no name of a pool", "write 1 to 64 letters, digits, `-`, `_` or `.`");
    }
    fits.then_some(name)
}

fn filled(username: &Written<&str>, findings: &mut Findings) -> bool {
    if username.value.is_empty() {
        findings.error(
            username.place,
            "the user name is empty",
            "write username = \"root\", or a user with the role pool-operator",
        );
    }
    !username.value.is_empty()
}

/// An address that carries a password is not quoted.
fn without_user(text: &str) -> Result<Address, Told> {
    if text.contains('@') {
        return Err(Told::from_message("a user name does not belong into an address; write it as username = \"...\""));
    }
    text.parse::<Address>().map_err(Told::from)
}

fn addresses(fields: &mut Fields<'_>, findings: &mut Findings) -> Option<Vec<Written<Address>>> {
    let example = "write addresses = [\"xen1.example.org\"]";
    if fields.lacks("addresses") {
        findings.error(fields.place(), "a [[pool]] needs `addresses`", example);
    }
    let all = fields.texts("addresses", findings)?;
    if all.value.is_empty() && matches!(fields.node("addresses")?.value, Value::List(ref list) if list.is_empty()) {
        findings.error(all.place, "a pool needs at least one address", example);
    }
    Some(all.value.into_iter().filter_map(|(node, text)| read(node, text, without_user(&text.text), findings)).collect())
}

fn address_map(fields: &mut Fields<'_>, findings: &mut Findings) -> BTreeMap<String, Address> {
    let Some(Value::Table(table)) = fields.node("address_map").map(|node| &node.value) else {
        fields.table("address_map", findings);
        return BTreeMap::new();
    };
    let entries = table.entries.iter().filter_map(|(inner, entry)| {
        let outer = text("address_map", &entry.node, findings)?;
        Some((inner.clone(), read(&entry.node, outer, without_user(&outer.text), findings)?.value))
    });
    entries.collect()
}

fn password(fields: &mut Fields<'_>, base: &Path, findings: &mut Findings) -> Option<PasswordSource> {
    let keys = ["password", "password_file", "password_credential"];
    let [given, file, credential] = keys.map(|key| fields.text(key, findings));
    match keys.into_iter().filter_map(|key| fields.key(key)).collect::<Vec<_>>().as_slice() {
        [] if !fields.lacks("password") => {}
        [] => findings.error(
            fields.place(),
            "this pool has no password",
            "write password_file = \"/etc/xensnap/prod.password\", password_credential = \"prod\" or password = \"...\"",
        ),
        [_] => {}
        [first, second, ..] => findings.conflict(
            *second,
            (*first, "one is here"),
            "there is more than one password",
            "keep one of password, password_file and password_credential",
        ),
    }
    let credential = credential.filter(|name| plain(name, findings));
    given
        .map(|password| PasswordSource::Given(password.value.into()))
        .or_else(|| file.map(|file| PasswordSource::File(base.join(file.value))))
        .or_else(|| credential.map(|name| PasswordSource::Credential(name.value.to_owned())))
}

fn plain(name: &Written<&str>, findings: &mut Findings) -> bool {
    let plain = !name.value.is_empty() && !name.value.contains(['/', '\0']) && name.value != "..";
    if !plain {
        findings.error(name.place, "this is no name of a credential", "write a plain file name, as in LoadCredential=");
    }
    plain
}
