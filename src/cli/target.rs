//! Which pools a verb talks to: one named on the command line, or those of a configuration file.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args as ClapArgs;
use secrecy::SecretString;

use super::check::DEFAULT;
use crate::clock::{Clock as _, SystemClock};
use crate::config::pool::{PasswordSource, PoolConfig, WireChoice};
use crate::config::{Config, Diagnostics};
use crate::domain::address::Address;
use crate::domain::fingerprint::Fingerprint;
use crate::xenapi::Settings;
use crate::xenapi::wire::Wire;

/// One pool by its address, or the pools of a file.
#[derive(Debug, ClapArgs)]
pub struct Target {
    #[arg(
        value_name = "ADDRESS",
        conflicts_with = "config",
        help = "A host of the pool, such as https://xen1.example.com; plain HTTP only if http:// is written"
    )]
    address: Option<Address>,
    #[arg(
        long,
        value_name = "FILE",
        help = "Every [[pool]] of this configuration file, and its policies [default without ADDRESS: /etc/xensnap/xensnap.toml]"
    )]
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

/// What is meant.
pub(super) struct Meant {
    /// The settings of each pool, or why there are none; with its name.
    pub(super) pools: Vec<(String, anyhow::Result<Settings>)>,
    /// The configuration, where one was read that can be used.
    pub(super) config: Option<Box<Config>>,
    /// Why the configuration cannot be used, although its pools can.
    pub(super) unusable: Option<Diagnostics>,
    /// The main file, if one was read.
    pub(super) file: Option<PathBuf>,
}

impl Target {
    /// The pools that are meant, and the configuration they stand in.
    ///
    /// # Errors
    /// When nothing is named and there is no configuration, or its pools cannot be understood, or there is no password for an address.
    pub(super) fn meant(self) -> anyhow::Result<Meant> {
        let Some(address) = self.address else {
            let default = || Some(PathBuf::from(DEFAULT)).filter(|path| path.is_file());
            let Some(file) = self.config.or_else(default) else {
                bail!("name a pool: its address, or a file with --config; there is no {DEFAULT}");
            };
            return from_file(file);
        };
        let mut settings = Settings::new(&address.to_string(), address, &self.username, password(self.password_file)?);
        settings.trust.fingerprints = self.fingerprints;
        settings.trust.ca_file = self.ca_file;
        Ok(Meant { pools: vec![(settings.name.clone(), Ok(settings))], config: None, unusable: None, file: None })
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

fn from_file(path: PathBuf) -> anyhow::Result<Meant> {
    let now = SystemClock::new().now();
    let (config, unusable) = match Config::load(&path, now) {
        Ok(loaded) => (Some(Box::new(loaded.config)), None),
        Err(problems) => (None, Some(problems)),
    };
    let pools = match (&config, Config::load_pools(&path, now)) {
        (Some(config), _) => config.pools.clone(),
        (None, Ok(pools)) => pools,
        (None, Err(problems)) => bail!("{} cannot be used\n{}", path.display(), problems.render(false)),
    };
    if pools.is_empty() {
        bail!("{} has no [[pool]]; `xensnap simulator` prints one to start from", path.display());
    }
    let pools = pools.into_iter().map(|pool| (pool.name.clone(), settings(pool))).collect();
    Ok(Meant { pools, config, unusable, file: Some(path) })
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
