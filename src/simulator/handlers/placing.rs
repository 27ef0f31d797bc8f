//! Which host does a transfer: the one that was asked, if it can see the storage; else the client is sent to one that can.

use super::pages;
use super::transfer::{End, Transfer};
use crate::simulator::operations::vm_disks::{is_live, is_plugged_on};
use crate::simulator::value::{Ref, Text};
use crate::simulator::world::World;

/// Where SRs can be reached.
pub(super) enum Place {
    /// On the host that was asked.
    Here,
    /// On another host with this address.
    There(Text),
    /// Nowhere.
    Nowhere,
}

/// Finds a host that sees all SRs.
pub(super) fn find(world: &World, here: &Ref, srs: &[Ref]) -> Place {
    let sees = |host: &Ref| is_live(world, host) && srs.iter().all(|sr| is_plugged_on(world, sr, host));
    if sees(here) {
        return Place::Here;
    }
    let other = world.database.refs("host").into_iter().find(|host| sees(host));
    other.map_or(Place::Nowhere, |host| Place::There(world.database.text("host", &host, "address")))
}

/// Sends the client to another host, with the same query. The task is left to that one.
pub(super) async fn redirect(transfer: &mut Transfer<'_>, address: &str) -> End {
    let head = transfer.exchange.head;
    let scheme = if transfer.exchange.connection.tls { "https" } else { "http" };
    // The real server always listens on the usual port; this one is reached where the client has reached it.
    let port = head.header_value("host").and_then(port_of).map(|port| format!(":{port}")).unwrap_or_default();
    let address = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    let query: Vec<String> = head.query.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    let location = format!("{scheme}://{address}{port}{}?{}", head.path, query.join("&"));
    let response = pages::closing("1.1", "302", "Found").header("Location", &location).into_bytes();
    match transfer.exchange.connection.write(&response).await {
        Ok(()) => End::Elsewhere,
        Err(_) => End::Gone,
    }
}

fn port_of(host: &str) -> Option<u16> {
    host.rsplit_once(':')?.1.parse().ok()
}

fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b':' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
