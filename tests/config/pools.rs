//! The `[[pool]]` block.

use std::path::Path;

use secrecy::ExposeSecret as _;
use xensnap::config::pool::{PasswordSource, PoolConfig, WireChoice};
use xensnap::config::{Config, Diagnostics};

use crate::support::now;

const FULL: &str = r#"
[[pool]]
name = "prod"
addresses = ["xen1.example.org", "http://10.0.0.6:8080"]
username = "root"
password = "hunter2"
fingerprints = ["sha256:37:54:F7:CF:A9:1A:67:4F:84:4E:4C:18:8F:D9:5A:8C:83:D3:85:00:64:95:32:A5:30:78:0E:E7:5E:DB:51:79"]
wire = "xml"
pool_uuid = "6a3b1f0e-58c1-4e0f-9a53-2f7f6f0f4f10"
address_map = { "192.168.0.6" = "xen2.example.org:8443" }
"#;

fn read(text: &str) -> Result<Vec<PoolConfig>, Diagnostics> {
    let text = format!("installation = \"x\"\n{text}");
    Config::from_texts(("/etc/xensnap/xensnap.toml", &text), &[], now()).map(|loaded| loaded.config.pools)
}

#[test]
fn a_full_block_is_read() {
    let pool = read(FULL).unwrap().remove(0);
    let addresses: Vec<String> = pool.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["https://xen1.example.org", "http://10.0.0.6:8080"]);
    assert_eq!((pool.wire, pool.fingerprints.len()), (WireChoice::Xml, 1));
    assert_eq!(pool.address_map["192.168.0.6"].to_string(), "https://xen2.example.org:8443");
    assert_eq!(pool.password.read(None).unwrap().expose_secret(), "hunter2");
}

#[test]
fn relative_paths_count_from_the_folder_of_the_file() {
    let text = FULL.replace("password = \"hunter2\"", "password_file = \"prod.password\"\nca_file = \"/ca.pem\"");
    let pool = read(&text).unwrap().remove(0);
    assert_eq!(pool.password, PasswordSource::File("/etc/xensnap/prod.password".into()));
    assert_eq!(pool.ca_file.as_deref(), Some(Path::new("/ca.pem")));
}

#[test]
fn all_problems_of_a_block_are_found_at_once_with_their_places() {
    let text = r#"
[[pool]]
name = "a b"
addresses = ["ftp://x", "ok"]
username = ""
password = "p"
password_file = "/p"
fingerprints = ["zz"]
pool_uuid = "x"
wire = "soap"
address_map = { a = "b:0", c = 1 }
ca_fil = "/x"
"#;
    let told = read(text).unwrap_err();
    let lines: Vec<usize> = told.errors().filter_map(|problem| problem.line).collect();
    assert_eq!(lines, [4, 5, 6, 8, 9, 10, 11, 12, 12, 13], "{told}");
}

#[test]
fn pools_are_compared_with_one_another() {
    let told = read(&format!("{FULL}{FULL}")).unwrap_err();
    let messages: Vec<&str> = told.errors().map(|problem| problem.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "a second pool is called \"prod\"",
            "https://xen1.example.org stands here twice",
            "http://10.0.0.6:8080 stands here twice",
            "two pools have this uuid",
        ]
    );
}

#[test]
fn a_verb_that_only_needs_pools_gets_them_without_an_installation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pools.toml");
    std::fs::write(&path, FULL).unwrap();
    assert_eq!(Config::load_pools(&path, now()).unwrap().len(), 1);
    std::fs::write(&path, FULL.replace("username", "user")).unwrap();
    let told = Config::load_pools(&path, now()).unwrap_err();
    assert!(told.to_string().contains("write `username`"), "{told}");
}
