//! Which wire a host speaks, found out without a session and without a password.
//!
//! A call without parameters is refused for their number before anything else is looked at, on members of a dead master too (any
//! other call hangs there). Only the shape of the refusal counts: JSON-RPC 2.0 is there from XenServer 7.3 on, 6.5 to 7.2 answer in
//! the shape of 1.0 or forget the id, and older ones answer `/jsonrpc` in XML, because they know only `/`.

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::Value;

use super::{Body, Transport};
use crate::domain::address::Address;
use crate::xenapi::failure::Failure;
use crate::xenapi::fault::{Fault, TransportError};
use crate::xenapi::wire::{Wire, encode};

/// Asked because every release knows it.
const METHOD: &str = "pool.get_all";
/// An answer to the probe is a few hundred bytes; a web page need not be read to its end.
const ENOUGH: usize = 16 * 1024;
/// Any number but the one a forgetful server sends.
const ID: u64 = 4711;

/// What a host was found to be.
#[derive(Debug, PartialEq)]
pub(crate) enum Probed {
    /// It speaks this.
    Speaks(Wire),
    /// It answered as a host does that starts or waits; what it speaks will show later.
    NotReady(Failure),
}

impl Transport {
    /// Finds out which wire `address` speaks.
    pub(crate) async fn probe(&self, address: &Address) -> Result<Probed, TransportError> {
        let at = |fault| TransportError { address: address.clone(), fault };
        match self.shape(address, Wire::Json).await.map_err(at)? {
            Shape::Json2 => Ok(Probed::Speaks(Wire::Json)),
            Shape::NotReady(failure) => Ok(Probed::NotReady(failure)),
            Shape::Json1 | Shape::Xml => Ok(Probed::Speaks(Wire::Xml)),
            Shape::Other(_) | Shape::Status(_) => match self.shape(address, Wire::Xml).await.map_err(at)? {
                Shape::Xml => Ok(Probed::Speaks(Wire::Xml)),
                Shape::Other(what) => Err(at(Fault::NotXenApi(what))),
                Shape::Status(status) if status >= 500 => Err(at(Fault::Status(status))),
                Shape::Status(status) => Err(at(Fault::NotXenApi(format!("HTTP {status}")))),
                _ => Err(at(Fault::NotXenApi("it answers XML with JSON".to_owned()))),
            },
        }
    }

    async fn shape(&self, address: &Address, wire: Wire) -> Result<Shape, Fault> {
        let body = encode(wire, METHOD, &[], ID).map_err(|error| Fault::Local(Box::new(error)))?;
        let post = self
            .http
            .post(address.url(wire.path()))
            .header(CONTENT_TYPE, wire.content_type())
            .headers(HeaderMap::new())
            .body(body);
        read_shape(self.send(post, self.timeouts.answer).await?).await
    }
}

#[derive(Debug, PartialEq)]
enum Shape {
    Json2,
    Json1,
    Xml,
    NotReady(Failure),
    Status(u16),
    /// In words for a person.
    Other(String),
}

async fn read_shape(mut body: Body) -> Result<Shape, Fault> {
    let status = body.status();
    let kind = body.content_type().unwrap_or_default();
    let bytes = body.head_of_body(ENOUGH).await?;
    Ok(match status {
        200 => shape_of(&kind, &bytes),
        _ => Shape::Status(status),
    })
}

fn shape_of(kind: &str, bytes: &[u8]) -> Shape {
    if let Ok(Value::Object(answer)) = serde_json::from_slice::<Value>(bytes) {
        return json_shape(&answer);
    }
    let text = String::from_utf8_lossy(bytes);
    if text.contains("<methodResponse>") {
        return Shape::Xml;
    }
    Shape::Other(
        if kind.contains("html") { "it sends a web page" } else { "its answer is neither JSON-RPC nor XML-RPC" }.to_owned(),
    )
}

fn json_shape(answer: &serde_json::Map<String, Value>) -> Shape {
    let error = answer.get("error");
    if let Some(failure) = error.and_then(Value::as_array).and_then(|words| failure_of(words)).filter(Failure::is_emergency) {
        return Shape::NotReady(failure);
    }
    if !answer.contains_key("error") && !answer.contains_key("result") {
        return Shape::Other("its JSON is no JSON-RPC".to_owned());
    }
    let second = answer.get("jsonrpc").and_then(Value::as_str) == Some("2.0");
    let keeps_id = answer.get("id").and_then(Value::as_u64) == Some(ID);
    if second && keeps_id { Shape::Json2 } else { Shape::Json1 }
}

fn failure_of(words: &[Value]) -> Option<Failure> {
    let mut words = words.iter().map(|word| word.as_str().map(str::to_owned));
    let code = words.next()??;
    Some(Failure { code, params: words.collect::<Option<_>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_json_rpc_2_answer_with_our_id_selects_json() {
        let refused = r#""error":{"code":1,"message":"MESSAGE_PARAMETER_COUNT_MISMATCH","data":["pool.get_all","0","-1"]}"#;
        for (body, shape) in [
            (format!(r#"{{"jsonrpc":"2.0",{refused},"id":4711}}"#), Shape::Json2),
            (format!(r#"{{"jsonrpc":"2.0",{refused},"id":0}}"#), Shape::Json1),
            (r#"{"result":null,"error":["MESSAGE_PARAMETER_COUNT_MISMATCH"],"id":4711}"#.to_owned(), Shape::Json1),
            ("<?xml version=\"1.0\"?><methodResponse><fault>".to_owned(), Shape::Xml),
        ] {
            assert_eq!(shape_of("", body.as_bytes()), shape, "{body}");
        }
    }

    #[test]
    fn a_booting_host_does_not_decide_the_wire() {
        let booting = br#"{"jsonrpc":"2.0","error":["HOST_STILL_BOOTING"],"id":0}"#;
        assert!(
            matches!(shape_of("application/json", booting), Shape::NotReady(failure) if failure.code == "HOST_STILL_BOOTING")
        );
    }

    #[test]
    fn what_is_no_xenapi_is_said_so() {
        for (kind, body) in [("text/html", "<html>"), ("application/json", "{}"), ("", "SSH-2.0"), ("application/json", "[1]")] {
            assert!(matches!(shape_of(kind, body.as_bytes()), Shape::Other(_)), "{body}");
        }
    }
}
