//! Which handler a request goes to: by method, and by the longest path that the request's path begins with, as the real server's
//! tree of handlers finds it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use super::connection::Connection;
use super::head::Head;
use super::rpc;
use crate::simulator::context::Shared;
use crate::simulator::front::Front;
use crate::simulator::model::{Release, release};

/// What a handler works with. It reads the rest of the request from the connection (with `head.content_length`, or to the end) and
/// writes the whole response, its head included.
#[derive(Debug)]
pub struct Exchange<'a> {
    /// The server.
    pub shared: &'a Arc<Shared>,
    /// The host that received the request.
    pub front: &'a Arc<Front>,
    /// The request's head.
    pub head: &'a Head,
    /// The bytes behind and before it.
    pub connection: &'a mut Connection,
}

/// What follows a request on its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The next request, unless the head said `connection: close`.
    Request,
    /// Nothing: the connection is closed in order.
    Close,
    /// Nothing: the connection is cut.
    Cut,
}

/// A handler at work.
pub type Handling<'a> = Pin<Box<dyn Future<Output = io::Result<Next>> + Send + 'a>>;

/// A handler. Once it has read the request it calls `shared.clock.activity().accept()` and keeps that while it works, so that virtual
/// time does not run past it; what waits does so inside `while_waiting`.
pub type Handler = for<'a> fn(Exchange<'a>) -> Handling<'a>;

/// A handler's place.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// The HTTP method.
    pub method: &'static str,
    /// The path that requests begin with.
    pub path: &'static str,
    /// The first release that has it.
    pub since: &'static str,
    /// The handler.
    pub handler: Handler,
}

/// The calls' own routes.
const CALLS: [Route; 9] = [
    Route { method: "POST", path: "/", since: "rio", handler: rpc::xml },
    Route { method: "POST", path: "/RPC2", since: "26.0.0", handler: rpc::xml },
    Route { method: "POST", path: "/json", since: "rio", handler: rpc::json_in_old_dress },
    Route { method: "POST", path: "/jsonrpc", since: "creedence", handler: rpc::json },
    Route { method: "OPTIONS", path: "/", since: "creedence", handler: rpc::options },
    Route { method: "OPTIONS", path: "/json", since: "creedence", handler: rpc::options },
    Route { method: "OPTIONS", path: "/jsonrpc", since: "creedence", handler: rpc::options },
    // Methods the server knows, without a handler of ours.
    Route { method: "GET", path: "", since: "rio", handler: rpc::forbidden },
    Route { method: "PUT", path: "", since: "rio", handler: rpc::forbidden },
];

/// The handler of a request; none when the server has none for the method at all.
pub fn find(head: &Head, now: Release) -> Option<Handler> {
    let routes = CALLS.iter().chain(super::super::transfer_routes());
    let fitting = routes.filter(|route| route.method == head.method && release(route.since) <= now);
    let mut fitting = fitting.peekable();
    fitting.peek()?;
    let longest = fitting.filter(|route| head.path.starts_with(route.path)).max_by_key(|route| route.path.len());
    Some(longest.map_or(rpc::forbidden as Handler, |route| route.handler))
}
