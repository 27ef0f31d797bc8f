//! Sends answers that a fault has spoilt.

use std::io;

use crate::simulator::faults::Spoilt;
use crate::simulator::http::connection::Connection;
use crate::simulator::http::response::Response;

/// Sends a spoilt answer. The connection is of no use afterwards.
///
/// # Errors
/// Those of the socket; an endless answer ends so.
pub(crate) async fn send(connection: &mut Connection, spoilt: &Spoilt) -> io::Result<()> {
    let reason = if spoilt.status == 200 { "OK" } else { "Bad Gateway" };
    let mut head = Response::start("1.1", &spoilt.status.to_string(), reason).header("content-type", &spoilt.content_type);
    if let Some(length) = spoilt.length {
        head = head.header("content-length", &length.to_string());
    }
    connection.write(&head.header("connection", "close").into_bytes()).await?;
    connection.write(&spoilt.body).await?;
    let (piece, times) = &spoilt.then;
    for _ in 0..*times {
        connection.write(piece).await?;
    }
    connection.flush().await
}
