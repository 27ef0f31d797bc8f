use std::fmt::Write as _;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::{Answer, Limits, Param, Wire, decode, decode_seed, encode, task_result};
use super::{in_pieces, success};
use crate::xenapi::records::{EventBatchSeed, Vm};
use crate::xenapi::types::Void;

/// Text that a server can hold.
const TEXT: &str = "[\\t\\n\\r -\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]{0,12}";

/// A key that XML can carry: anything but the end of a name with a value behind it.
fn key() -> impl Strategy<Value = String> {
    TEXT.prop_filter("ends the name", |key| !format!("{key}</name><value").trim_end_matches("</name><value").contains("</name>"))
}

/// What a server may answer.
fn answer() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        TEXT.prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        (-1_000_000i32..1_000_000).prop_map(|n| json!(f64::from(n) / 64.0)),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            btree_map(key(), inner, 0..6).prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// As the server writes it on XML: text untagged and escaped, keys as they are.
fn server_xml(out: &mut String, value: &Value) {
    out.push_str("<value>");
    match value {
        Value::Null => {}
        Value::Bool(value) => drop(write!(out, "<boolean>{}</boolean>", u8::from(*value))),
        Value::Number(number) if number.is_f64() => drop(write!(out, "<double>{number}</double>")),
        Value::Number(number) => drop(write!(out, "<i8>{number}</i8>")),
        Value::String(text) => out.push_str(&text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")),
        Value::Array(items) => {
            out.push_str("<array><data>");
            items.iter().for_each(|item| server_xml(out, item));
            out.push_str("</data></array>");
        }
        Value::Object(members) => {
            out.push_str("<struct>");
            for (key, value) in members {
                let _ = write!(out, "<member><name>{key}</name>");
                server_xml(out, value);
                out.push_str("</member>");
            }
            out.push_str("</struct>");
        }
    }
    out.push_str("</value>");
}

/// A parameter as a decoder of untyped values sees it come back: integers are text on XML.
fn echo(param: &Param, wire: Wire) -> Value {
    match param {
        Param::Str(text) => Value::from(text.as_str()),
        Param::Int(value) if wire == Wire::Xml => Value::from(value.to_string()),
        Param::Int(value) => Value::from(*value),
        Param::Float(value) => json!(value),
        Param::Bool(value) => Value::from(*value),
        Param::Set(items) => items.iter().map(|item| echo(item, wire)).collect(),
        Param::Map(members) => members.iter().map(|(key, value)| (key.clone(), echo(value, wire))).collect(),
    }
}

fn param() -> impl Strategy<Value = Param> {
    let leaf = prop_oneof![
        TEXT.prop_map(Param::Str),
        any::<i64>().prop_map(Param::Int),
        any::<bool>().prop_map(Param::Bool),
        (-1_000_000i32..1_000_000).prop_map(|n| Param::Float(f64::from(n) / 64.0)),
    ];
    leaf.prop_recursive(3, 30, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Param::Set),
            // Keys go out escaped, and come in as they stand.
            btree_map("[a-zA-Z0-9 :._ü-]{0,8}", inner, 0..5).prop_map(|members| Param::Map(members.into_iter().collect())),
        ]
    })
}

/// The value of the only parameter of a request, as a successful answer.
fn as_answer(wire: Wire, request: &str) -> String {
    match wire {
        Wire::Json => {
            let params = request.split_once(r#""params":["#).unwrap().1.rsplit_once(r#"],"id":"#).unwrap().0;
            format!("{{\"result\":{params}}}")
        }
        Wire::Xml => success(request.split_once("<param>").unwrap().1.rsplit_once("</param>").unwrap().0),
    }
}

fn decoded(wire: Wire, bytes: &[u8], piece: usize) -> Value {
    match decode::<Value>(wire, in_pieces(bytes, piece), Limits::default()).unwrap() {
        Answer::Value(value) => value,
        Answer::Failure(failure) => panic!("{failure}"),
    }
}

proptest! {
    #[test]
    fn what_a_server_writes_is_read_in_any_pieces(value in answer(), piece in 1usize..100) {
        let mut xml = String::new();
        server_xml(&mut xml, &value);
        prop_assert_eq!(&decoded(Wire::Xml, success(&xml).as_bytes(), piece), &value);
        let json = json!({"jsonrpc": "2.0", "result": value, "id": 1}).to_string();
        prop_assert_eq!(&decoded(Wire::Json, json.as_bytes(), piece), &value);
    }

    #[test]
    fn what_is_sent_can_be_read_back(param in param(), piece in 1usize..100) {
        for wire in [Wire::Json, Wire::Xml] {
            let request = String::from_utf8(encode(wire, "a.b", std::slice::from_ref(&param), 1).unwrap()).unwrap();
            prop_assert_eq!(decoded(wire, as_answer(wire, &request).as_bytes(), piece), echo(&param, wire));
        }
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in vec(any::<u8>(), 0..400)) {
        never_panics(&bytes);
    }

    #[test]
    fn no_markup_makes_a_decoder_panic(words in vec(prop::sample::select(WORDS), 0..60)) {
        never_panics(words.concat().as_bytes());
    }

    #[test]
    fn no_damage_to_an_answer_makes_a_decoder_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        for sample in [XML_SAMPLE, JSON_SAMPLE] {
            let mut bytes = sample.as_bytes().to_vec();
            let at = at.index(bytes.len());
            if cut {
                bytes.remove(at);
            } else {
                bytes[at] = byte;
            }
            never_panics(&bytes);
        }
    }
}

fn never_panics(bytes: &[u8]) {
    for wire in [Wire::Json, Wire::Xml] {
        let limits = Limits { depth: 8, text: 100, ..Limits::default() };
        let _ = decode::<Value>(wire, bytes, Limits::default());
        let _ = decode::<Value>(wire, bytes, limits);
        let _ = decode::<Void>(wire, bytes, limits);
        let _ = decode::<Box<Vm>>(wire, bytes, Limits::default());
        let _ = decode_seed(wire, bytes, Limits::default(), EventBatchSeed::new(drop));
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = task_result::<Vec<String>>(text);
    }
}

const WORDS: &[&str] = &[
    "<methodResponse>",
    "</methodResponse>",
    "<params>",
    "</params>",
    "<param>",
    "</param>",
    "<value>",
    "</value>",
    "<value/>",
    "<array>",
    "</array>",
    "<array/>",
    "<data>",
    "</data>",
    "<data/>",
    "<struct>",
    "</struct>",
    "<struct/>",
    "<member>",
    "</member>",
    "<name>",
    "</name>",
    "<name/>",
    "Status",
    "Success",
    "Failure",
    "ErrorDescription",
    "Value",
    "events",
    "token",
    "class",
    "snapshot",
    "<i4>",
    "</i4>",
    "<boolean>",
    "</boolean>",
    "<nil/>",
    "<double>",
    "</double>",
    "<string>",
    "</string>",
    "<string/>",
    "&amp;",
    "&",
    "<",
    ">",
    "&#65;",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "<!DOCTYPE",
    "<?xml",
    "?>",
    " ",
    "5",
    "vm",
    "<fault>",
    "</fault>",
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "\"result\"",
    "\"error\"",
    "null",
    "true",
    "\\",
    "\"events\"",
    "1e9",
    "-",
];

const XML_SAMPLE: &str = "<?xml version=\"1.0\"?><methodResponse><params><param><value><struct><member><name>Status</name><value>Success\
    </value></member><member><name>Value</name><value><struct><member><name>events</name><value><array><data><value><struct><member><name>id\
    </name><value>1</value></member><member><name>class</name><value>pbd</value></member><member><name>operation</name><value>add</value>\
    </member><member><name>ref</name><value>OpaqueRef:1</value></member><member><name>snapshot</name><value><struct><member><name>uuid\
    </name><value>u</value></member><member><name>k<&></name><value>&lt;</value></member></struct></value></member></struct></value>\
    </data></array></value></member><member><name>valid_ref_counts</name><value><struct><member><name>vm</name><value><i4>3</i4></value>\
    </member></struct></value></member><member><name>token</name><value>1,2</value></member></struct></value></member></struct></value>\
    </param></params></methodResponse>";

const JSON_SAMPLE: &str = r#"{"jsonrpc":"2.0","result":{"events":[{"id":"1","timestamp":"0.0","snapshot":{"uuid":"u","host":"OpaqueRef:2",
    "SR":"OpaqueRef:3","currently_attached":true,"other_config":{"a":"\u00fc\n"}},"class":"pbd","operation":"add","ref":"OpaqueRef:1"}],
    "valid_ref_counts":{"vm":3},"token":"1,2"},"id":1}"#;
