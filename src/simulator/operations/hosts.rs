//! Where a VM can run: the tests that choose a host, in the server's order.

use super::vm_disks::{is_live, is_plugged_on, required_srs};
use crate::simulator::error::{ApiError, ApiResult};
use crate::simulator::value::{Ref, is_null};
use crate::simulator::world::World;

/// Fails unless the VM can boot on the host.
///
/// # Errors
/// HOST_NOT_LIVE, HOST_DISABLED, VM_REQUIRES_SR, VM_REQUIRES_NETWORK, HOST_NOT_ENOUGH_FREE_MEMORY.
pub fn assert_can_boot(world: &World, vm: &str, host: &str) -> ApiResult<()> {
    world.database.check("host", host)?;
    if !is_live(world, host) {
        return Err(ApiError::bare("HOST_NOT_LIVE"));
    }
    if !world.database.bool("host", host, "enabled") {
        return Err(ApiError::new("HOST_DISABLED", [host]));
    }
    if let Some(sr) = required_srs(world, vm).iter().find(|sr| !is_plugged_on(world, sr, host)) {
        return Err(ApiError::new("VM_REQUIRES_SR", [vm, sr]));
    }
    if let Some(network) = missing_network(world, vm, host) {
        return Err(ApiError::new("VM_REQUIRES_NETWORK", [vm, &network]));
    }
    assert_memory(world, vm, host)
}

/// A network of the VM that other hosts have a card in and this one has not.
fn missing_network(world: &World, vm: &str, host: &str) -> Option<Ref> {
    let database = &world.database;
    let networks = database.texts("VM", vm, "VIFs").into_iter().map(|vif| database.text("VIF", &vif, "network"));
    networks.into_iter().find(|network| {
        let pifs = database.texts("network", network, "PIFs");
        !pifs.is_empty() && !pifs.iter().any(|pif| *database.text("PIF", pif, "host") == *host)
    })
}

fn assert_memory(world: &World, vm: &str, host: &str) -> ApiResult<()> {
    let (needed, available) = (memory(world, vm), free_memory(world, host));
    match available {
        Some(available) if needed > available => {
            Err(ApiError::new("HOST_NOT_ENOUGH_FREE_MEMORY", [needed.to_string(), available.max(0).to_string()]))
        }
        _ => Ok(()),
    }
}

/// What a VM occupies while it runs.
pub fn memory(world: &World, vm: &str) -> i64 {
    world.database.int("VM", vm, "memory_dynamic_min").max(0) + world.database.int("VM", vm, "memory_overhead")
}

/// What a host has left; none where its size is not known.
pub fn free_memory(world: &World, host: &str) -> Option<i64> {
    let database = &world.database;
    let total = database.int("host_metrics", &database.text("host", host, "metrics"), "memory_total");
    let taken: i64 = database.texts("host", host, "resident_VMs").iter().map(|vm| memory(world, vm)).sum();
    (total > 0).then(|| total - database.int("host", host, "memory_overhead") - taken)
}

/// The hosts a VM can boot on.
pub fn possible(world: &World, vm: &str) -> Vec<Ref> {
    world.database.refs("host").into_iter().filter(|host| assert_can_boot(world, vm, host).is_ok()).collect()
}

/// The host for a VM: its favourite, else the one with most room.
///
/// # Errors
/// The reason, when there is only one host; NO_HOSTS_AVAILABLE.
pub fn choose(world: &World, vm: &str) -> ApiResult<Ref> {
    let hosts = possible(world, vm);
    let favourite = world.database.text("VM", vm, "affinity");
    if !is_null(&favourite) && hosts.contains(&favourite) {
        return Ok(favourite);
    }
    let room = |host: &Ref| free_memory(world, host).unwrap_or(i64::MAX);
    // The first of equals, so that the choice does not depend on anything else.
    if let Some(host) = hosts.into_iter().reduce(|best, host| if room(&host) > room(&best) { host } else { best }) {
        return Ok(host);
    }
    match world.database.refs("host").as_slice() {
        [only] => Err(assert_can_boot(world, vm, only).err().unwrap_or_else(|| ApiError::bare("NO_HOSTS_AVAILABLE"))),
        _ => Err(ApiError::bare("NO_HOSTS_AVAILABLE")),
    }
}
