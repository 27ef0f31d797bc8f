//! The control socket: how people and their tools talk to a service that runs. One line of JSON is one request, each line that comes
//! back is a piece of its answer (`docs/CONTROL.md`). The kernel says who is at the other end.
//!
//! # The rules it keeps
//!
//! - *Nobody at the socket can hold the service up.* Lines, connections and waits are bounded; who does not read is left; and what was
//!   asked runs in a task of its own, which never waits for whoever asked.
//! - *Rights come from the kernel*, not from what is said: root and the service's user may change things, members of the configured
//!   group may ask, everybody else is told so.
//! - *One service for each socket.* A lock tells a dead service's file, which is replaced, from a live one's, which is left alone.
//!
//! | file | idea |
//! | --- | --- |
//! | `place` | the file: lock, mode, group |
//! | `rights` | who may what |
//! | `protocol` | lines |
//! | `conversation` | one connection |

mod conversation;
mod place;
pub mod protocol;
mod rights;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::Semaphore;

use super::Handle;
use crate::engine::error::Result;
pub use place::{Listening, PlaceError};
pub use rights::Rights;

/// So many connections at once of those who may change things, and so many of all others: who may only read cannot keep root out.
const CONNECTIONS: usize = 32;

/// After a failure to accept (no file descriptors left), before the next try.
const BREATH: Duration = Duration::from_millis(200);

/// Takes connections until the service stops.
pub(super) async fn serve(listening: Listening, handle: Handle) -> Result<()> {
    let places = Places { writers: Arc::new(Semaphore::new(CONNECTIONS)), others: Arc::new(Semaphore::new(CONNECTIONS)) };
    loop {
        let accepted =
            tokio::select! { () = handle.stop.cancelled() => return Ok(()), accepted = listening.accept() => accepted };
        match accepted {
            Ok(stream) => places.seat(stream, &listening, &handle),
            Err(error) => {
                tracing::warn!(%error, "the control socket cannot take a connection now");
                // Real time: this is about the machine, not about the plan.
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

struct Places {
    writers: Arc<Semaphore>,
    others: Arc<Semaphore>,
}

impl Places {
    fn seat(&self, stream: UnixStream, listening: &Listening, handle: &Handle) {
        let (group, handle) = (listening.group().cloned(), handle.clone());
        let (writers, others) = (Arc::clone(&self.writers), Arc::clone(&self.others));
        // Whoever stands at the door does not take a place yet, but there are not more of them than places either.
        let Ok(door) = Arc::clone(&self.others).try_acquire_owned().or_else(|_| Arc::clone(&self.writers).try_acquire_owned())
        else {
            return;
        };
        tokio::spawn(async move {
            let peer = rights::Peer::of(&stream, group.as_ref()).await;
            drop(door);
            let places = if peer.rights == Some(Rights::Write) { writers } else { others };
            let place = places.try_acquire_owned().ok();
            conversation::hold(stream, &handle, &peer, place.is_some()).await;
        });
    }
}
