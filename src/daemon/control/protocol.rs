//! Lines of the control socket, as `docs/CONTROL.md` describes them. Members of answers are added without a new version; one that
//! changes its meaning or goes makes a new one. A request with a member that is unknown is refused: it may have been a condition.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::requests::{Ask, Said};
use super::Rights;
use crate::domain::nearest::nearest;

/// The version of all lines.
pub const PROTOCOL: u32 = 1;

/// The longest request, in bytes.
pub const LONGEST: usize = 256 << 10;

/// The first line of the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The version of the service.
    pub xensnap: String,
    /// The version of the lines.
    pub protocol: u32,
    /// What the other end may do.
    pub rights: Rights,
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// What the request had.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub id: Value,
    /// The piece.
    #[serde(flatten)]
    pub said: Said,
}

impl Frame {
    /// A refusal.
    pub fn error(id: Value, code: &str, text: impl Into<String>) -> Self {
        Self { id, said: Said::Error { code: code.to_owned(), text: text.into() } }
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Comes back with every piece of the answer.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub id: Value,
    /// What is asked.
    pub ask: Ask,
    /// The person who asks, for the record; the user of the connection if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl Request {
    /// Reads a line.
    ///
    /// # Errors
    /// A refusal that says what is wrong with it.
    pub fn read(line: &[u8]) -> Result<Self, Frame> {
        let value: Value = serde_json::from_slice(line).map_err(|error| {
            Frame::error(Value::Null, "not-json", format!("a request is one line of JSON; this is none: {error}"))
        })?;
        let id = value.get("id").cloned().unwrap_or_default();
        let verb = value.get("ask").and_then(Value::as_object).filter(|ask| ask.len() == 1).and_then(|ask| ask.keys().next());
        let Some(verb) = verb else {
            let text = "a request says {\"ask\": {VERB: {...}}} with one verb; docs/CONTROL.md lists them";
            return Err(Frame::error(id, "bad-request", text));
        };
        if !Ask::VERBS.contains(&verb.as_str()) {
            let near = nearest(verb, Ask::VERBS.iter().copied());
            let hint = near.map_or_else(|| Ask::VERBS.join(", "), |near| format!("did you mean {near}?"));
            let verb: String = verb.chars().take(60).collect();
            return Err(Frame::error(id, "unknown-verb", format!("there is no verb \"{verb}\" in protocol {PROTOCOL}; {hint}")));
        }
        let verb = verb.clone();
        serde_json::from_value(value).map_err(|error| Frame::error(id, "bad-request", format!("{verb}: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str) -> (String, String) {
        match Request::read(line.as_bytes()).unwrap_err().said {
            Said::Error { code, text } => (code, text),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_request_is_read_as_it_is_documented() {
        let line = r#"{"id": 7, "ask": {"run": {"policy": "nightly", "vms": ["web-01"]}}, "by": "alice"}"#;
        let request = Request::read(line.as_bytes()).unwrap();
        assert_eq!(request.id, 7);
        assert_eq!(request.ask, Ask::Run { policy: "nightly".into(), vms: vec!["web-01".into()], wait: false });
        assert_eq!(request.by.as_deref(), Some("alice"));
    }

    #[test]
    fn what_is_no_request_is_refused_with_a_code_and_what_to_do() {
        assert_eq!(refused("{").0, "not-json");
        assert_eq!(refused("\u{7f}\0").0, "not-json");
        assert_eq!(refused(&"[".repeat(100_000)).0, "not-json");
        assert_eq!(refused("[]").0, "bad-request");
        assert_eq!(refused(r#"{"ask": "run"}"#).0, "bad-request");
        assert_eq!(refused(r#"{"ask": {"run": {}, "prune": {}}}"#).0, "bad-request");
        let (code, text) = refused(r#"{"ask": {"prnue": {"policy": "nightly"}}}"#);
        assert_eq!(
            (code.as_str(), text.as_str()),
            ("unknown-verb", "there is no verb \"prnue\" in protocol 1; did you mean prune?")
        );
    }

    #[test]
    fn a_member_that_is_not_known_is_refused_because_it_may_be_a_condition() {
        let (code, text) = refused(r#"{"ask": {"prune": {"policy": "nightly", "dry_run": true}}}"#);
        assert_eq!(code, "bad-request");
        assert!(text.starts_with("prune: unknown field `dry_run`"), "{text}");
        assert_eq!(refused(r#"{"ask": {"reload": {}}, "if": "ok"}"#).0, "bad-request");
        assert_eq!(refused(r#"{"ask": {"prune": {}}}"#).1, "prune: missing field `policy`");
    }

    #[test]
    fn every_verb_is_in_the_list() {
        let document = include_str!("../../../docs/CONTROL.md");
        for verb in Ask::VERBS {
            assert!(document.contains(&format!("| `{verb}`")), "docs/CONTROL.md does not describe {verb}");
            // Known, even if members are missing.
            let line = format!("{{\"ask\": {{\"{verb}\": {{\"no_such_member\": 1}}}}}}");
            assert_eq!(refused(&line).0, "bad-request", "{verb}");
            assert!(refused(&line).1.contains("unknown field"), "{verb}: {}", refused(&line).1);
        }
    }

    #[test]
    fn pieces_of_an_answer_are_written_as_they_are_documented() {
        let line = |said| serde_json::to_string(&Frame { id: 1.into(), said }).unwrap();
        assert_eq!(line(Said::Say("done".into())), r#"{"id":1,"say":"done"}"#);
        assert_eq!(line(Said::Progress { done: 1, of: 3 }), r#"{"id":1,"progress":{"done":1,"of":3}}"#);
        assert_eq!(line(Said::Alive {}), r#"{"id":1,"alive":{}}"#);
        assert_eq!(line(Said::End { failed: false, slots: Vec::new() }), r#"{"id":1,"end":{"failed":false,"slots":[]}}"#);
        let error = serde_json::to_string(&Frame::error(Value::Null, "busy", "later")).unwrap();
        assert_eq!(error, r#"{"error":{"code":"busy","text":"later"}}"#);
        assert_eq!(serde_json::from_str::<Frame>(&error).unwrap(), Frame::error(Value::Null, "busy", "later"));
    }
}
