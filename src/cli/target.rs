//! Which pools a verb talks to: one named on the command line, or those of a configuration file.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args as ClapArgs;
use secrecy::SecretString;

use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::config::pool::{PasswordSource, PoolConfig, WireChoice};
use crate::domain::address::Address;
use crate::domain::fingerprint::Fingerprint;
use crate::xenapi::Settings;
use crate::xenapi::wire::Wire;

/// One pool by its address, or the pools of a file.
#[derive(Debug, ClapArgs)]
pub struct Target {
    #[arg(
        value_name = "ADDRESS",
        required_unless_present = "config",
        conflicts_with = "config",
        help = "A host of the pool, such as https://xen1.example.com; plain HTTP only if http:// is written"
    )]
    address: Option<Address>,
    #[arg(long, value_name = "FILE", help = "Every [[pool]] of this configuration file")]
    config: Option<PathBuf>,
    /// Who logs in
    #[arg(long, default_value = "root")]
    username: String,
    /// A file whose first line is the password; without it the password is taken from XENSNAP_PASSWORD
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// SHA-256 fingerprint of a certificate to accept; give one for each host
    #[arg(long = "fingerprint", value_name = "SHA256")]
    fingerprints: Vec<Fingerprint>,
    /// PEM file of the authority that signed the hosts' certificates
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl Target {
    /// The settings of every pool that is meant.
    ///
    /// # Errors
    /// When a file cannot be read or understood, or there is no password.
    pub fn settings(self) -> anyhow::Result<Vec<Settings>> {
        match (self.config, self.address) {
            (Some(file), _) => from_file(&file),
            (None, Some(address)) => {
                let mut settings = Settings::new(&address.to_string(), address, &self.username, password(self.password_file)?);
                settings.trust.fingerprints = self.fingerprints;
                settings.trust.ca_file = self.ca_file;
                Ok(vec![settings])
            }
            (None, None) => bail!("name a pool: its address, or a file with --config"),
        }
    }
}

fn password(file: Option<PathBuf>) -> anyhow::Result<SecretString> {
    match file {
        Some(file) => Ok(PasswordSource::File(file).read(None)?),
        None => {
            let text = std::env::var("XENSNAP_PASSWORD").ok().filter(|text| !text.is_empty());
            text.map(Into::into).context("no password; give --password-file, or set XENSNAP_PASSWORD")
        }
    }
}

fn from_file(path: &Path) -> anyhow::Result<Vec<Settings>> {
    let pools = match Config::load_pools(path, SystemClock::new().now()) {
        Ok(pools) => pools,
        Err(problems) => bail!("{} cannot be used\n{}", path.display(), problems.render(false)),
    };
    if pools.is_empty() {
        bail!("{} has no [[pool]]; `xensnap simulator` prints one to start from", path.display());
    }
    pools.into_iter().map(settings).collect()
}

/// A configured pool with its password read.
///
/// # Errors
/// When there is no password to be had.
pub(super) fn settings(pool: PoolConfig) -> anyhow::Result<Settings> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let password = pool.password.read(credentials.as_deref()).with_context(|| format!("pool {}", pool.name))?;
    let mut addresses = pool.addresses.into_iter();
    let first = addresses.next().with_context(|| format!("pool {} has no address", pool.name))?;
    let mut settings = Settings::new(&pool.name, first, &pool.username, password);
    settings.addresses.extend(addresses);
    settings.trust.fingerprints = pool.fingerprints;
    settings.trust.ca_file = pool.ca_file;
    settings.pool_uuid = pool.pool_uuid.map(|uuid| uuid.to_string());
    settings.address_map = pool.address_map;
    settings.wire = match pool.wire {
        WireChoice::Auto => None,
        WireChoice::Json => Some(Wire::Json),
        WireChoice::Xml => Some(Wire::Xml),
    };
    Ok(settings)
}
