//! The stage of the demonstration: a simulated pool on loopback addresses with the storage times that were measured, and the files of
//! `config/` as its policies.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;

use anyhow::Context as _;
use chrono::{DateTime, Utc};

use crate::clock::SharedClock;
use crate::config::Config;
use crate::simulator::generate::{Recipe, generate};
use crate::simulator::http::tls::Identity;
use crate::simulator::simulation::{Seat, Simulation};
use crate::simulator::world::World;
use crate::simulator::{Options, revive};

/// The policy files that come with the program.
const POLICIES: [(&str, &str); 4] = [
    ("00-templates.toml", include_str!("../../../config/policies.d/00-templates.toml")),
    ("10-nightly.toml", include_str!("../../../config/policies.d/10-nightly.toml")),
    ("20-databases.toml", include_str!("../../../config/policies.d/20-databases.toml")),
    ("30-weekly-offline.toml", include_str!("../../../config/policies.d/30-weekly-offline.toml")),
];

/// What is on the stage.
pub(super) struct Stage {
    /// The pool.
    pub(super) simulation: Simulation,
    /// A configuration that leads to it.
    pub(super) text: String,
}

/// Sets it up.
///
/// # Errors
/// When no port is free.
pub(super) async fn set(vms: u16, seed: u64, clock: SharedClock) -> anyhow::Result<Stage> {
    let recipe = Recipe { vms: vms.into(), seed, ..Recipe::default() };
    let mut world = generate(&recipe, clock.now());
    let seats = seats(&mut world)?;
    let identity = Identity::self_signed(&["127.0.0.1", "127.0.0.2", "127.0.0.3"])?;
    let fingerprint = identity.fingerprint();
    // Nobody looks more often than need be: simulated weeks pass in a minute.
    let options = Options { tls: Some(identity), collect_every: std::time::Duration::from_secs(3600), ..Options::default() };
    let simulation = Simulation::start(options, clock, world, seats).await?;
    let addresses = simulation.addresses().into_iter().map(|(_, address)| format!("\"https://{address}\""));
    let text = format!(
        "installation = \"demo\"\n[store]\npath = \"history.sqlite\"\n[[pool]]\nname = \"simulated\"\naddresses = [{}]\n\
         username = \"root\"\npassword = \"xensnap\"\nfingerprints = [\"sha256:{fingerprint}\"]\n",
        addresses.collect::<Vec<_>>().join(", ")
    );
    Ok(Stage { simulation, text })
}

/// The policies and the way to the pool, as the service reads them.
///
/// # Errors
/// When the files that come with the program are wrong, which a test rules out.
pub(super) fn configuration(stage: &Stage, now: DateTime<Utc>) -> anyhow::Result<Config> {
    match Config::from_texts(("xensnap.toml", &stage.text), &POLICIES, now) {
        Ok(loaded) => Ok(loaded.config),
        Err(problems) => anyhow::bail!("{}", problems.render(false)),
    }
}

/// Writes the configuration where `xensnap history` and its like find it.
///
/// # Errors
/// When the folder cannot be written.
pub(super) fn write_down(stage: &Stage, folder: &std::path::Path) -> anyhow::Result<()> {
    let policies = folder.join("policies.d");
    std::fs::create_dir_all(&policies).with_context(|| format!("cannot make {}", policies.display()))?;
    let written = std::fs::write(folder.join("xensnap.toml"), &stage.text);
    // There is a password in it.
    let private = || std::fs::set_permissions(folder.join("xensnap.toml"), std::fs::Permissions::from_mode(0o600));
    written.and_then(|()| private()).with_context(|| format!("cannot write to {}", folder.display()))?;
    for (name, text) in POLICIES {
        std::fs::write(policies.join(name), text).with_context(|| format!("cannot write to {}", policies.display()))?;
    }
    Ok(())
}

/// A socket for each host: addresses of their own with the master's port, as in a real pool.
fn seats(world: &mut World) -> anyhow::Result<Vec<Seat>> {
    let hosts = revive::hosts(world);
    for _ in 0..20 {
        let Ok(first) = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)) else { continue };
        let port = first.local_addr()?.port();
        let mut listeners = vec![first];
        let others = (2u8..).take(hosts.len().saturating_sub(1)).map(|n| TcpListener::bind((Ipv4Addr::new(127, 0, 0, n), port)));
        let Ok(mut others) = others.collect::<std::io::Result<Vec<_>>>() else { continue };
        listeners.append(&mut others);
        let names: Vec<_> = (1u8..).take(hosts.len()).map(|n| format!("127.0.0.{n}").as_str().into()).collect();
        revive::set_addresses(world, &names);
        let seats = hosts.into_iter().zip(listeners).map(|(host, listener)| {
            listener.set_nonblocking(true)?;
            Ok(Seat { host, listener })
        });
        return seats.collect::<std::io::Result<_>>().context("a socket of the simulated pool cannot be used");
    }
    anyhow::bail!("no free port on the loopback addresses 127.0.0.1 to 127.0.0.3; stop what uses them, or try again")
}
