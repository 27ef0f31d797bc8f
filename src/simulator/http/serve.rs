//! Accepts connections and reads requests from them until they end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{Connection, HeadLimits, NoHead};
use super::handlers::{self, Exchange, Next};
use super::head::Head;
use super::{response, tls};
use crate::simulator::context::Shared;
use crate::simulator::front::Front;
use crate::simulator::model::release;

/// The first byte of a TLS handshake.
const HANDSHAKE: u8 = 0x16;

/// A listener at work.
#[derive(Debug)]
pub struct Listening {
    /// Where it listens.
    pub address: SocketAddr,
    /// Ends it and cuts its connections.
    pub stop: CancellationToken,
    /// Its connections.
    pub connections: TaskTracker,
}

/// Serves a host's listener until it is stopped or the server is.
///
/// # Errors
/// When the listener has no address.
pub fn serve(shared: &Arc<Shared>, front: Arc<Front>, listener: TcpListener) -> io::Result<Listening> {
    let address = listener.local_addr()?;
    let stop = shared.stopped().child_token();
    let connections = TaskTracker::new();
    let accepting = accept(Arc::clone(shared), front, listener, stop.clone(), connections.clone());
    connections.spawn(accepting);
    Ok(Listening { address, stop, connections })
}

async fn accept(
    shared: Arc<Shared>,
    front: Arc<Front>,
    listener: TcpListener,
    stop: CancellationToken,
    connections: TaskTracker,
) {
    let places = Arc::new(Semaphore::new(shared.options.limits.connections));
    loop {
        let next = async {
            let accepted = listener.accept().await;
            // Connections beyond the limit are accepted and then hang.
            let place = Arc::clone(&places).acquire_owned().await;
            (accepted, place)
        };
        let (accepted, place) = tokio::select! {
            () = stop.cancelled() => return,
            next = next => next,
        };
        // A client that has gone already, or too many open files: the next one may do better.
        let Ok((stream, _)) = accepted else {
            tokio::task::yield_now().await;
            continue;
        };
        let (shared, front, stop) = (Arc::clone(&shared), Arc::clone(&front), stop.clone());
        connections.spawn(async move {
            let _place = place;
            tokio::select! {
                () = stop.cancelled() => {}
                () = converse(shared, front, stream) => {}
            }
        });
    }
}

async fn converse(shared: Arc<Shared>, front: Arc<Front>, stream: TcpStream) {
    // Without it small answers wait for acknowledgements; a socket that refuses is as good.
    let _ = stream.set_nodelay(true);
    let identity = shared.options.tls.clone();
    let Some(mut connection) = secure(stream, identity).await else { return };
    let next = requests(&shared, &front, &mut connection).await;
    if next == Next::Close {
        connection.close().await;
    }
}

/// Plain HTTP on a TLS port is closed without an answer.
async fn secure(stream: TcpStream, identity: Option<tls::Identity>) -> Option<Connection> {
    let Some(identity) = identity else { return Some(Connection::new(Box::new(stream), false)) };
    let mut first = [0];
    let read = stream.peek(&mut first).await.ok()?;
    if read == 0 || first[0] != HANDSHAKE {
        return None;
    }
    let stream = identity.acceptor().accept(stream).await.ok()?;
    Some(Connection::new(Box::new(stream), true))
}

/// Works off the requests of a connection; tells how it ends.
async fn requests(shared: &Arc<Shared>, front: &Arc<Front>, connection: &mut Connection) -> Next {
    let mut limits = limits(shared);
    loop {
        let head = match connection.head(limits).await {
            Ok(head) => head,
            Err(reason) => return no_head(connection, reason).await,
        };
        if !front.is_up() {
            return Next::Cut;
        }
        match one(shared, front, connection, &head).await {
            Ok(Next::Request) if !head.close => {}
            Ok(Next::Request) => return Next::Close,
            Ok(end) => return end,
            Err(_) => return Next::Cut,
        }
        // Only a connection's first request is timed.
        (limits.read, limits.total) = (None, None);
    }
}

/// The limits appeared after 8.2.
fn limits(shared: &Shared) -> HeadLimits {
    let set = &shared.options.limits;
    if shared.step(|world| world.release) < release("22.0.0") {
        return HeadLimits { length: Some(64 * 1024), read: None, total: None };
    }
    HeadLimits { length: Some(set.head), read: Some(set.head_read), total: Some(set.head_total) }
}

async fn no_head(connection: &mut Connection, reason: NoHead) -> Next {
    let page = match reason {
        NoHead::Closed => return Next::Cut,
        NoHead::Timeout => response::request_timeout(),
        NoHead::TooLarge => response::header_too_large(),
        NoHead::Unreadable(reason) => response::internal_error(None, &reason.0),
    };
    // A client that has gone misses nothing.
    let _ = connection.write(&page).await;
    Next::Close
}

async fn one(shared: &Arc<Shared>, front: &Arc<Front>, connection: &mut Connection, head: &Head) -> io::Result<Next> {
    let now = shared.step(|world| world.release);
    let Some(handler) = handlers::find(head, now) else {
        let _exchange = shared.clock.activity().accept();
        connection.write(&response::not_implemented(head)).await?;
        return Ok(Next::Close);
    };
    handler(Exchange { shared, front, head, connection }).await
}
