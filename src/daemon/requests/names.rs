//! What people call VMs. A name that stands for several is listed, never guessed.

use uuid::Uuid;

use crate::engine::error::Result;
use crate::engine::site::SharedSite;
use crate::store::Store;
use crate::xenapi::records::Vm;

/// The VMs that are meant, by uuid or name, as the pools or the history know them; or why they cannot be told.
///
/// # Errors
/// When the history cannot be read.
pub(super) async fn vms(
    store: &Store,
    sites: &[SharedSite],
    wanted: &[String],
) -> Result<std::result::Result<Vec<Uuid>, String>> {
    let mut found = Vec::with_capacity(wanted.len());
    for name in wanted {
        match vm(store, sites, name).await? {
            Ok(vm) => found.push(vm),
            Err(why) => return Ok(Err(why)),
        }
    }
    Ok(Ok(found))
}

async fn vm(store: &Store, sites: &[SharedSite], wanted: &str) -> Result<std::result::Result<Uuid, String>> {
    if let Ok(uuid) = wanted.parse() {
        return Ok(Ok(uuid));
    }
    let mut uuids: Vec<Uuid> = sites.iter().flat_map(|site| named(site, wanted)).collect();
    if uuids.is_empty() {
        let known = store.find_vms(wanted).await?;
        uuids.extend(known.iter().filter(|vm| sites.iter().any(|site| site.uuid.0 == vm.pool)).map(|vm| vm.uuid));
    }
    uuids.sort_unstable();
    uuids.dedup();
    Ok(match uuids.as_slice() {
        [one] => Ok(*one),
        [] => Err(format!("no VM is called {wanted}; give its uuid (`xe vm-list name-label=...`)")),
        several => {
            let list: Vec<String> = several.iter().map(ToString::to_string).collect();
            Err(format!("several VMs are called {wanted}: {}; give the uuid of one", list.join(", ")))
        }
    })
}

fn named(site: &SharedSite, wanted: &str) -> Vec<Uuid> {
    let tables = site.inventory.read();
    let named = tables.all::<Vm>().filter(|(_, vm)| vm.is_plain() && *vm.name_label == *wanted);
    named.map(|(_, vm)| vm.uuid.get()).collect()
}
