//! From a database on paper to a pool that runs: the rows stay as they were dumped, except for what the starting server itself sets.

use super::model::Release;
use super::pool_database::Loaded;
use super::value::{Ref, Text, Value};
use super::world::World;

/// A loaded database that cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ReviveError {
    /// There is no pool row, or it names a master that is not there.
    #[error("the database names no pool master; take a complete dump with `xe pool-dump-database`")]
    NoMaster,
}

/// The pool of a loaded database.
///
/// # Errors
/// [`ReviveError`].
pub fn revive(loaded: Loaded, seed: u64) -> Result<World, ReviveError> {
    let release: Release = loaded.release;
    let mut world = World::new(release, seed);
    world.database = loaded.database;
    world.kept = loaded.kept;
    let pool = world.database.refs("pool").into_iter().next().ok_or(ReviveError::NoMaster)?;
    world.master = world.database.text("pool", &pool, "master");
    if !world.database.exists("host", &world.master) {
        return Err(ReviveError::NoMaster);
    }
    for host in world.database.refs("host") {
        let metrics = world.database.text("host", &host, "metrics");
        // A host without metrics stays as it is; one that is served is alive.
        let _ = world.database.set("host_metrics", &metrics, "live", Value::Bool(true));
    }
    Ok(world)
}

/// The pool's hosts, the master first.
pub fn hosts(world: &World) -> Vec<Ref> {
    let mut hosts = world.database.refs("host");
    hosts.sort_by_key(|host| *host != world.master);
    hosts
}

/// Gives hosts the addresses at which they are reached here, in the order of [`hosts`].
pub fn set_addresses(world: &mut World, addresses: &[Text]) {
    for (host, address) in hosts(world).iter().zip(addresses) {
        // The host was just listed.
        let _ = world.database.set("host", host, "address", Value::Str(address.clone()));
    }
}
