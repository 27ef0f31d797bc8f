//! GET /export_metadata and PUT /import_metadata: objects without the content of disks.

use super::export;
use super::import::{self, Settings};
use super::pages;
use super::transfer::{self, End, Kind, Transfer};
use crate::simulator::error::ApiError;
use crate::simulator::http::handlers::{Exchange, Handling};
use crate::simulator::value::{Ref, Text};
use crate::simulator::world::World;
use crate::simulator::xva::objects::{self, Scope};
use crate::simulator::xva::{ova, tar};

const GET: Kind = Kind { realm: "get_export_metadata", role: "vm-admin", label: "VM.export_metadata" };
const PUT: Kind = Kind { realm: "put_import_metadata", role: "vm-admin", label: "VM.metadata_import" };

/// The handler of GET.
pub(super) fn get(exchange: Exchange<'_>) -> Handling<'_> {
    Box::pin(transfer::run(exchange, GET, async |transfer| send(transfer).await.unwrap_or_else(|end| end)))
}

/// The handler of PUT.
pub(super) fn put(exchange: Exchange<'_>) -> Handling<'_> {
    Box::pin(transfer::run(exchange, PUT, async |transfer| {
        let settings = Settings::of_metadata(transfer);
        import::receive(transfer, settings).await.unwrap_or_else(|end| end)
    }))
}

async fn send(transfer: &mut Transfer<'_>) -> Result<End, End> {
    let vms = if transfer.flag("all", false) {
        let with_dom0 = transfer.flag("include_dom0", true);
        transfer.context.step(|world| all(world, with_dom0))
    } else {
        vec![export::find_vm(transfer)?]
    };
    let scope = Scope {
        vms,
        snapshots: transfer.flag("export_snapshots", true),
        power_state: true,
        parents: transfer.flag("include_vhd_parents", false),
        excluded: excluded(transfer),
    };
    let now = transfer.context.shared.clock.now().timestamp();
    let (text, server) = transfer.context.step(|world| {
        let catalogue = objects::catalogue(world, &scope)?;
        Ok::<_, ApiError>((ova::write(&ova::version(world), &catalogue.objects), export::server_name(world)))
    })?;
    let mut archive = Vec::new();
    tar::entry(&mut archive, "ova.xml", text.as_bytes(), now);
    archive.extend_from_slice(&tar::END);
    let head = pages::sending(&server, &transfer.context.task.clone(), Some(archive.len()));
    transfer.send_head(&head).await?;
    transfer.send(&archive).await?;
    Ok(End::Done(None))
}

/// All VMs but templates of the server's own.
fn all(world: &World, with_dom0: bool) -> Vec<Ref> {
    let database = &world.database;
    let wanted = |vm: &Ref| {
        let own_template = database.bool("VM", vm, "is_a_template") && !database.bool("VM", vm, "is_a_snapshot");
        !own_template && (with_dom0 || !database.bool("VM", vm, "is_control_domain"))
    };
    database.refs("VM").into_iter().rev().filter(wanted).collect()
}

/// The devices that are left out.
pub(super) fn excluded(transfer: &Transfer<'_>) -> Vec<Text> {
    let listed = transfer.param("excluded_device_types").unwrap_or_default();
    listed.split(',').filter(|device| !device.is_empty()).map(Text::from).collect()
}
