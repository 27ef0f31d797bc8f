//! Starts and stops a server: the world behind one listener per host.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpListener;

use super::codec::{Answer, Call, Rpc};
use super::context::Shared;
use super::dispatch::{self, Outcome, Request};
use super::error::{ApiError, ApiResult};
use super::front::Front;
use super::http::{Listening, serve};
use super::options::Options;
use super::value::{Ref, Value};
use super::world::World;
use super::{events, messages, sessions, tasks};
use crate::clock::SharedClock;

/// A running server.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    listening: Mutex<Vec<Listening>>,
}

impl Server {
    /// Serves `world` on `listener`, which is the master's.
    ///
    /// # Errors
    /// When the listener has no address.
    pub async fn start(options: Options, clock: SharedClock, world: World, listener: TcpListener) -> io::Result<Self> {
        let master = world.master.clone();
        let shared = Arc::new(Shared::with_options(clock, world, options));
        let front = Arc::new(Front::new(master));
        shared.add_front(Arc::clone(&front));
        let listening = serve(&shared, front, listener)?;
        let address = listening.address;
        collect_garbage(&shared);
        Ok(Self { shared, address, listening: Mutex::new(vec![listening]) })
    }

    /// Adds a host's own listener; a host may have several.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn listen(&self, host: &Ref, listener: TcpListener) -> io::Result<SocketAddr> {
        let front = self.shared.front(host).unwrap_or_else(|| Arc::new(Front::new(host.clone())));
        self.shared.add_front(Arc::clone(&front));
        let listening = serve(&self.shared, front, listener)?;
        let address = listening.address;
        self.listening.lock().unwrap_or_else(PoisonError::into_inner).push(listening);
        Ok(address)
    }

    /// Where the master listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What operations, tests and fault plans share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Stops everything: connections are cut, work is dropped. Returns when nothing runs any more.
    pub async fn shutdown(self) {
        self.shared.stop().await;
        let listening = std::mem::take(&mut *self.listening.lock().unwrap_or_else(PoisonError::into_inner));
        for listener in listening {
            listener.connections.close();
            listener.connections.wait().await;
        }
    }

    /// Calls a message without HTTP, as somebody with `session`; for tests and for the server's own scheduler.
    ///
    /// # Errors
    /// What the message answers.
    pub async fn call(&self, method: &str, params: Vec<Rpc>) -> ApiResult<Value> {
        call(&self.shared, method, params).await
    }
}

/// Calls a message without HTTP, as somebody with a session among the parameters.
///
/// # Errors
/// What the message answers.
pub async fn call(shared: &Arc<Shared>, method: &str, params: Vec<Rpc>) -> ApiResult<Value> {
    let master = shared.step(|world| world.master.clone());
    let front = shared.front(&master).unwrap_or_else(|| Arc::new(Front::new(master)));
    let request = Request::new(Call { method: method.to_owned(), params }, front);
    let hold = shared.clock.activity().hold();
    match dispatch::dispatch(shared, request, hold).await {
        Outcome::Answered(result) => result.map(|answer: Answer| answer.to_value()),
        Outcome::Raised(error) => Err(error),
        Outcome::Hang => Err(ApiError::internal("the call would hang")),
    }
}

/// Sessions, tasks and messages that are too old or too many go every 30 s.
fn collect_garbage(shared: &Arc<Shared>) {
    let collector = Arc::clone(shared);
    shared.spawn(async move {
        loop {
            collector.clock.sleep(collector.options.collect_every).await;
            let _busy = collector.clock.activity().hold();
            let now = collector.clock.now();
            collector.step(|world| {
                sessions::collect(world, &collector.options.sessions, now);
                tasks::collect(world, now);
                messages::collect(world);
                events::heartbeat(world, now);
            });
            collector.nudge();
        }
    });
}
