//! GET /host_backup and PUT /host_restore: the control domain of the host that was asked.
//!
//! What is inside a backup is the host's own business; here it is a small tar that says whose it is.

use super::pages;
use super::transfer::{self, End, Kind, Transfer};
use crate::simulator::error::ApiError;
use crate::simulator::http::handlers::{Exchange, Handling};
use crate::simulator::xva::reader::Broken;
use crate::simulator::xva::tar::{self, Piece, Untar};

const GET: Kind = Kind { realm: "get_host_backup", role: "pool-admin", label: "host_backup" };
const PUT: Kind = Kind { realm: "put_host_restore", role: "pool-admin", label: "host_restore" };

/// The handler of GET.
pub(super) fn get_backup(exchange: Exchange<'_>) -> Handling<'_> {
    Box::pin(transfer::run(exchange, GET, async |transfer| backup(transfer).await.unwrap_or_else(|end| end)))
}

/// The handler of PUT.
pub(super) fn put_restore(exchange: Exchange<'_>) -> Handling<'_> {
    Box::pin(transfer::run(exchange, PUT, async |transfer| restore(transfer).await.unwrap_or_else(|end| end)))
}

async fn backup(transfer: &mut Transfer<'_>) -> Result<End, End> {
    let host = transfer.exchange.front.host.clone();
    let now = transfer.context.shared.clock.now().timestamp();
    let (uuid, name) = transfer.context.step(|world| {
        let text = |field| world.database.text("host", &host, field);
        (text("uuid"), text("hostname"))
    });
    transfer.send_head(&pages::closing("1.1", "200", "OK").into_bytes()).await?;
    let mut archive = Vec::new();
    tar::entry(&mut archive, "etc/hostname", format!("{name}\n").as_bytes(), now);
    tar::entry(&mut archive, "etc/xensource-inventory", format!("INSTALLATION_UUID='{uuid}'\n").as_bytes(), now);
    archive.extend_from_slice(&tar::END);
    transfer.send(&archive).await?;
    Ok(End::Done(None))
}

async fn restore(transfer: &mut Transfer<'_>) -> Result<End, End> {
    transfer.send_head(&pages::closing("1.1", "200", "OK").into_bytes()).await?;
    let mut untar = Untar::default();
    let unreadable = |broken: Broken| ApiError::new("RESTORE_SCRIPT_FAILED", [broken.to_string()]);
    while let Some(bytes) = transfer.receive().await? {
        let mut input = &bytes[..];
        while untar.next(&mut input).map_err(unreadable)?.is_some_and(|piece| piece != Piece::End) {}
        if untar.is_over() {
            return Ok(End::Done(None));
        }
    }
    Err(unreadable(Broken::TooShort).into())
}
