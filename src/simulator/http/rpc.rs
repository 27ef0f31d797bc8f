//! Calls over HTTP: XML-RPC on `/`, JSON-RPC on `/jsonrpc`.

use std::io;
use std::sync::Arc;

use super::handlers::{Exchange, Handling, Next};
use super::response::{self, Response};
use super::struck::{self, Fate};
use crate::clock::Exchange as Busy;
use crate::simulator::codec::json::{self, Envelope, Id, JsonEmit, Version, quote};
use crate::simulator::codec::xml::{self, XmlEmit};
use crate::simulator::codec::{Answer, Call, Emit, Malformed};
use crate::simulator::dispatch::{self, Outcome, Request};
use crate::simulator::error::{ApiError, ApiResult};
use crate::simulator::faults::Pace;
use crate::simulator::model::{Release, release};
use crate::simulator::value::Text;

/// Answers are sent in pieces of about this size.
const PIECE: usize = 64 * 1024;

/// POST `/` and everything that begins so.
pub fn xml(exchange: Exchange<'_>) -> Handling<'_> {
    Box::pin(async move {
        let mut exchange = exchange;
        let Some(body) = body(&mut exchange).await? else { return Ok(Next::Close) };
        let busy = exchange.shared.clock.activity().accept();
        let release = exchange.shared.step(|world| world.release);
        let call = match xml::parse(&body) {
            Ok(call) => call,
            Err(Malformed::Unreadable(text)) => return refuse_xml(exchange, release, &text).await,
            Err(Malformed::NotUtf8(text)) => return raised(exchange, &Wire::Xml, invalid_utf8(&text)).await,
        };
        let wire = if call.method == "system.listMethods" { Wire::BareXml } else { Wire::Xml };
        answer(exchange, busy, wire, call).await
    })
}

/// POST `/jsonrpc`.
pub fn json(exchange: Exchange<'_>) -> Handling<'_> {
    Box::pin(async move {
        let mut exchange = exchange;
        let Some(body) = body(&mut exchange).await? else { return Ok(Next::Close) };
        let busy = exchange.shared.clock.activity().accept();
        let release = exchange.shared.step(|world| world.release);
        match json::parse(&body) {
            Ok(envelope) => {
                let (shape, call) = shape(envelope, release);
                answer(exchange, busy, Wire::Json(shape), call).await
            }
            Err(Malformed::Unreadable(text)) => refuse(exchange, &text).await,
            Err(Malformed::NotUtf8(text)) => raised(exchange, &Wire::Json(Shape::raised()), invalid_utf8(&text)).await,
        }
    })
}

/// POST `/json`: an older path that answers XML to what it reads as XML. Nobody should use it.
pub fn json_in_old_dress(exchange: Exchange<'_>) -> Handling<'_> {
    xml(exchange)
}

/// OPTIONS: browsers ask before they post.
pub fn options(exchange: Exchange<'_>) -> Handling<'_> {
    Box::pin(async move {
        let _busy = exchange.shared.clock.activity().accept();
        let asked = exchange.head.header_value("access-control-request-headers");
        let allowed = asked.map_or("X-Requested-With".to_owned(), |asked| format!("{asked}, X-Requested-With"));
        let headers = [
            ("Access-Control-Allow-Origin", "*"),
            ("Access-Control-Allow-Headers", &*allowed),
            ("Access-Control-Allow-Methods", "PUT"),
        ];
        exchange.connection.write(&Response::ok(exchange.head, 0, &headers).into_bytes()).await?;
        Ok(Next::Request)
    })
}

/// For paths that nobody serves.
pub fn forbidden(exchange: Exchange<'_>) -> Handling<'_> {
    Box::pin(async move {
        let _busy = exchange.shared.clock.activity().accept();
        exchange.connection.write(&response::forbidden(Some(exchange.head))).await?;
        Ok(Next::Close)
    })
}

/// How an answer is dressed.
#[derive(Debug, Clone)]
enum Wire {
    Xml,
    /// `system.listMethods` has no status.
    BareXml,
    Json(Shape),
}

#[derive(Debug, Clone)]
struct Shape {
    version: Version,
    id: Id,
    code: i64,
}

impl Shape {
    /// What failed before dispatch is answered in this shape, whatever was asked.
    fn raised() -> Self {
        Self { version: Version::V2, id: Id::Int(0), code: 1 }
    }
}

/// The shape of a release's answers: up to 7.2 always that of 1.0 with id 0, in 7.3 with error code 0.
fn shape(envelope: Envelope, now: Release) -> (Shape, Call) {
    let Envelope { version, id, call } = envelope;
    let old = now < release("inverness");
    let (version, id) = if old { (Version::V1, Id::Int(0)) } else { (version, id) };
    (Shape { version, id, code: i64::from(now >= release("jura")) }, call)
}

fn invalid_utf8(text: &str) -> ApiError {
    ApiError::new("INVALID_VALUE", ["Invalid UTF-8 string in parameter", text])
}

/// The body of a call; none when the request was refused.
async fn body(exchange: &mut Exchange<'_>) -> io::Result<Option<Vec<u8>>> {
    let limit = exchange.shared.options.limits.body;
    let complaint = match exchange.head.content_length {
        None => "Failure(&quot;We require a content-length: HTTP header&quot;)",
        Some(length) if length > limit => "Http_svr.Client_requested_size_over_limit",
        Some(length) => return exchange.connection.body(length as usize).await.map(Some),
    };
    let _busy = exchange.shared.clock.activity().accept();
    exchange.connection.write(&response::internal_error(Some(exchange.head), complaint)).await?;
    Ok(None)
}

async fn refuse(exchange: Exchange<'_>, complaint: &str) -> io::Result<Next> {
    let page = response::internal_error(Some(exchange.head), &response::escape_html(complaint));
    exchange.connection.write(&page).await?;
    Ok(Next::Close)
}

/// Up to 6.2 what is no XML-RPC is answered with a fault.
async fn refuse_xml(exchange: Exchange<'_>, now: Release, complaint: &str) -> io::Result<Next> {
    if now >= release("creedence") {
        return refuse(exchange, complaint).await;
    }
    let mut text = String::new();
    xml::escape(&mut text, complaint);
    let body = format!(
        "<?xml version=\"1.0\"?><methodResponse><fault><value><struct><member><name>faultCode</name><value><int>-32700</int>\
         </value></member><member><name>faultString</name><value>{text}</value></member></struct></value></fault></methodResponse>"
    );
    let head = Response::ok(exchange.head, body.len() as u64, &[("content-type", "text/xml")]);
    exchange.connection.write(&[head.into_bytes(), body.into_bytes()].concat()).await?;
    Ok(Next::Request)
}

/// An error from before dispatch: fewer headers, and on JSON another shape.
async fn raised(exchange: Exchange<'_>, wire: &Wire, error: ApiError) -> io::Result<Next> {
    let (kind, body) = match wire {
        Wire::Xml | Wire::BareXml => ("text/xml", whole(&Wire::Xml, &Err(error))),
        Wire::Json(_) => ("application/json", raised_json(&error)),
    };
    let head = Response::ok(exchange.head, body.len() as u64, &[("content-type", kind)]);
    exchange.connection.write(&[head.into_bytes(), body.into_bytes()].concat()).await?;
    Ok(Next::Request)
}

fn raised_json(error: &ApiError) -> String {
    let mut body = String::from("{\"jsonrpc\":\"2.0\",\"error\":");
    error_list(&mut JsonEmit(&mut body), error);
    body.push_str(",\"id\":0}");
    body
}

async fn answer(mut exchange: Exchange<'_>, mut busy: Busy, wire: Wire, call: Call) -> io::Result<Next> {
    let strikes = struck::meet(&exchange, &call);
    let mut request = request(&exchange, call);
    if strikes.is_any() {
        match struck::before(&exchange, &mut busy, &strikes).await {
            Fate::Goes(pace, refusal) => (request.pace, request.refusal) = (pace, refusal),
            Fate::Cut => return Ok(Next::Cut),
        }
    }
    // The call holds the clock from here on by itself, and lets go of it while it waits.
    let hold = exchange.shared.clock.activity().hold();
    match busy.while_waiting(dispatch::dispatch(exchange.shared, request, hold)).await {
        Outcome::Answered(result) if strikes.is_any() => {
            let answer = || (content_type(&wire), whole(&wire, &result));
            match struck::after(&mut exchange, &mut busy, &strikes, &result, answer).await {
                Some(next) => next,
                None => send(exchange, &wire, result).await,
            }
        }
        Outcome::Answered(result) => send(exchange, &wire, result).await,
        Outcome::Raised(error) => raised(exchange, &wire, error).await,
        Outcome::Hang => busy.while_waiting(std::future::pending()).await,
    }
}

fn request(exchange: &Exchange<'_>, call: Call) -> Request {
    let prefix = "x-http-other-config-";
    let marks = exchange.head.headers.iter().filter_map(|(name, value)| Some((name.strip_prefix(prefix)?, value)));
    Request {
        call,
        front: Arc::clone(exchange.front),
        // The server keeps headers newest first.
        other_config: marks.rev().map(|(key, value)| (Text::from(key), Text::from(&**value))).collect(),
        subtask_of: exchange.head.header_value("subtask-of").map(Text::from),
        task: exchange.head.header_value("task-id").map(Text::from),
        pace: Pace::default(),
        refusal: None,
    }
}

fn content_type(wire: &Wire) -> &'static str {
    if matches!(wire, Wire::Json(_)) { "application/json" } else { "text/xml" }
}

async fn send(exchange: Exchange<'_>, wire: &Wire, result: ApiResult<Answer>) -> io::Result<Next> {
    let headers = [
        ("content-type", content_type(wire)),
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Allow-Headers", "X-Requested-With"),
    ];
    let mut pieces = Pieces::new(wire, &result);
    let first = pieces.next().unwrap_or_default();
    let rest: u64 = pieces.clone().map(|piece| piece.len() as u64).sum();
    let head = Response::ok(exchange.head, first.len() as u64 + rest, &headers).into_bytes();
    exchange.connection.write(&[&head, first.as_bytes()].concat()).await?;
    for piece in pieces {
        exchange.connection.write(piece.as_bytes()).await?;
    }
    Ok(Next::Request)
}

fn whole(wire: &Wire, result: &ApiResult<Answer>) -> String {
    Pieces::new(wire, result).collect()
}

/// The text of an answer, piece by piece: a big one is written twice, once to learn its length, so that it never stands in memory
/// as a whole.
#[derive(Clone)]
struct Pieces<'a> {
    wire: &'a Wire,
    result: &'a ApiResult<Answer>,
    step: usize,
    steps: usize,
}

impl<'a> Pieces<'a> {
    fn new(wire: &'a Wire, result: &'a ApiResult<Answer>) -> Self {
        Self { wire, result, step: 0, steps: result.as_ref().map_or(1, Answer::steps) }
    }

    fn write(&self, out: &mut String) {
        if self.step == 0 {
            self.open(out);
        }
        match (self.result, self.wire) {
            (Ok(answer), Wire::Json(_)) => answer.emit_step(self.step, &mut JsonEmit(out)),
            (Ok(answer), _) => answer.emit_step(self.step, &mut XmlEmit(out)),
            (Err(error), Wire::Json(shape)) => json_error(out, shape, error),
            (Err(error), _) => error_list(&mut XmlEmit(out), error),
        }
        if self.step + 1 == self.steps {
            self.close(out);
        }
    }

    fn open(&self, out: &mut String) {
        out.push_str(match (self.wire, self.result) {
            (Wire::Xml, Ok(_)) => concat!(
                "<?xml version=\"1.0\"?><methodResponse><params><param><value><struct><member><name>Status</name>",
                "<value>Success</value></member><member><name>Value</name>"
            ),
            (Wire::Xml, Err(_)) => concat!(
                "<?xml version=\"1.0\"?><methodResponse><params><param><value><struct><member><name>Status</name>",
                "<value>Failure</value></member><member><name>ErrorDescription</name>"
            ),
            (Wire::BareXml, _) => "<?xml version=\"1.0\"?><methodResponse><params><param>",
            (Wire::Json(Shape { version: Version::V1, .. }), Ok(_)) => "{\"result\":",
            (Wire::Json(Shape { version: Version::V1, .. }), Err(_)) => "{\"result\":null,\"error\":",
            (Wire::Json(_), Ok(_)) => "{\"jsonrpc\":\"2.0\",\"result\":",
            (Wire::Json(_), Err(_)) => "{\"jsonrpc\":\"2.0\",\"error\":",
        });
    }

    fn close(&self, out: &mut String) {
        let shape = match self.wire {
            Wire::Xml => return out.push_str("</member></struct></value></param></params></methodResponse>"),
            Wire::BareXml => return out.push_str("</param></params></methodResponse>"),
            Wire::Json(shape) => shape,
        };
        let null_error = shape.version == Version::V1 && self.result.is_ok();
        out.push_str(if null_error { ",\"error\":null,\"id\":" } else { ",\"id\":" });
        match &shape.id {
            Id::Int(id) => out.push_str(&id.to_string()),
            Id::Text(id) => quote(out, id),
        }
        out.push('}');
    }
}

impl Iterator for Pieces<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        if self.step == self.steps {
            return None;
        }
        let mut out = String::new();
        while self.step < self.steps && out.len() < PIECE {
            self.write(&mut out);
            self.step += 1;
        }
        Some(out)
    }
}

fn error_list(out: &mut impl Emit, error: &ApiError) {
    out.open_set();
    for (at, text) in std::iter::once(&error.code).chain(&error.params).enumerate() {
        out.item(at == 0);
        out.text(text);
    }
    out.close_set();
}

fn json_error(out: &mut String, shape: &Shape, error: &ApiError) {
    if shape.version == Version::V1 {
        return error_list(&mut JsonEmit(out), error);
    }
    let mut emit = JsonEmit(out);
    emit.open_map();
    emit.key(true, "code");
    emit.int(shape.code);
    emit.key(false, "message");
    emit.text(&error.code);
    emit.key(false, "data");
    emit.open_set();
    for (at, param) in error.params.iter().enumerate() {
        emit.item(at == 0);
        emit.text(param);
    }
    emit.close_set();
    emit.close_map();
}
