//! Other tools that take snapshots of VMs which a policy covers: the server's own schedule, Xen Orchestra, another installation of this
//! program. Two of them on one disk fill the storage twice and lengthen its chain, and each counts only its own. Nothing is done about
//! them. The rule: a person is told once of each, in whichever life, and again only when it was away for a while.

use std::collections::BTreeSet;

use serde_json::json;

use super::checkup::{self, Pool};
use super::error::Result;
use super::site::Site;
use crate::domain::policy::Policy;
use crate::store::EventKind;

/// So many VMs are named.
const NAMED: usize = 3;

/// Looks who else is at work, and tells of whoever was not there before.
///
/// # Errors
/// When the history cannot be read or written.
pub async fn tell(site: &Site, policies: &[&Policy]) -> Result<()> {
    let found = {
        let tables = site.inventory.read();
        let (pool, installation) = ((site.uuid, site.name()), Some(&site.installation));
        checkup::other_tools(&Pool { tables: &tables, pool, installation, policies: Some(policies), now: site.now() })
    };
    let note = format!("other-tools/{}", site.uuid);
    let known = site.store.kept(&note).await?;
    let known: BTreeSet<&str> =
        known.iter().filter_map(|value| value.as_array()).flatten().filter_map(|value| value.as_str()).collect();
    for (tool, vms) in found.iter().filter(|(tool, _)| !known.contains(tool.as_str())) {
        site.note(site.event(EventKind::OtherTool, text(tool, vms))).await?;
    }
    if found.keys().map(String::as_str).collect::<BTreeSet<_>>() != known {
        site.store.keep(&note, &json!(found.keys().collect::<Vec<_>>()), site.now()).await?;
    }
    Ok(())
}

fn text(tool: &str, vms: &[String]) -> String {
    let named = vms.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = vms.len().saturating_sub(NAMED);
    let named = if more == 0 { named } else { format!("{named} and {more} more") };
    format!("{tool} takes snapshots of VMs that policies cover ({named}): let one tool do it; `xensnap doctor` names each")
}
