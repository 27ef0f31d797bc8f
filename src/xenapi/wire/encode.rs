//! Requests. The rule: parameters are positional, and what a server would answer with an internal error or a cut connection
//! (control characters, characters outside XML, infinite floats) is refused here, before it is sent, on both wires alike.

use std::fmt::Write as _;

use super::{EncodeError, Param};

/// Refuses what no server stores.
pub(super) fn check(method: &str, params: &[Param]) -> Result<(), EncodeError> {
    for (index, param) in params.iter().enumerate() {
        if let Some(what) = flaw(param) {
            let what = format!("parameter {} holds {what}", index + 1);
            return Err(EncodeError::Unrepresentable { method: method.to_owned(), what });
        }
    }
    Ok(())
}

/// What is wrong with a parameter, in words.
fn flaw(param: &Param) -> Option<String> {
    match param {
        Param::Str(text) => text_flaw(text),
        Param::Float(value) => (!value.is_finite()).then(|| format!("the float {value}")),
        Param::Int(_) | Param::Bool(_) => None,
        Param::Set(items) => items.iter().find_map(flaw),
        Param::Map(members) => members.iter().find_map(|(key, value)| text_flaw(key).or_else(|| flaw(value))),
    }
}

/// The first character that XML 1.0 cannot carry: the server keeps its database in XML and refuses the same ones.
fn text_flaw(text: &str) -> Option<String> {
    let bad = |c: &char| matches!(*c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
    text.chars().find(bad).map(|c| format!("the character U+{:04X}", u32::from(c)))
}

/// A JSON-RPC 2.0 request.
pub(super) fn json(method: &str, params: &[Param], id: u64) -> Vec<u8> {
    let mut out = String::from(r#"{"jsonrpc":"2.0","method":"#);
    json_text(&mut out, method);
    out.push_str(r#","params":"#);
    json_set(&mut out, params);
    let _ = write!(out, r#","id":{id}}}"#);
    out.into_bytes()
}

fn json_value(out: &mut String, param: &Param) {
    match param {
        Param::Str(text) => json_text(out, text),
        Param::Int(value) => drop(write!(out, "{value}")),
        // `Debug` keeps the point that makes it a float for the server.
        Param::Float(value) => drop(write!(out, "{value:?}")),
        Param::Bool(value) => drop(write!(out, "{value}")),
        Param::Set(items) => json_set(out, items),
        Param::Map(members) => json_map(out, members),
    }
}

fn json_set(out: &mut String, items: &[Param]) {
    out.push('[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        json_value(out, item);
    }
    out.push(']');
}

fn json_map(out: &mut String, members: &[(String, Param)]) {
    out.push('{');
    for (index, (key, value)) in members.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        json_text(out, key);
        out.push(':');
        json_value(out, value);
    }
    out.push('}');
}

fn json_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' || c == '\u{7f}' => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// An XML-RPC request.
pub(super) fn xml(method: &str, params: &[Param]) -> Vec<u8> {
    let mut out = String::from("<?xml version=\"1.0\"?><methodCall><methodName>");
    xml_text(&mut out, method);
    out.push_str("</methodName><params>");
    for param in params {
        out.push_str("<param>");
        xml_value(&mut out, param);
        out.push_str("</param>");
    }
    out.push_str("</params></methodCall>");
    out.into_bytes()
}

fn xml_value(out: &mut String, param: &Param) {
    out.push_str("<value>");
    match param {
        // Tagged, because a parser may drop bare text that is only blanks.
        Param::Str(text) => {
            out.push_str("<string>");
            xml_text(out, text);
            out.push_str("</string>");
        }
        Param::Int(value) => drop(write!(out, "<string>{value}</string>")),
        Param::Float(value) => drop(write!(out, "<double>{value:?}</double>")),
        Param::Bool(value) => drop(write!(out, "<boolean>{}</boolean>", u8::from(*value))),
        Param::Set(items) => {
            out.push_str("<array><data>");
            items.iter().for_each(|item| xml_value(out, item));
            out.push_str("</data></array>");
        }
        Param::Map(members) => xml_struct(out, members),
    }
    out.push_str("</value>");
}

fn xml_struct(out: &mut String, members: &[(String, Param)]) {
    out.push_str("<struct>");
    for (key, value) in members {
        out.push_str("<member><name>");
        xml_text(out, key);
        out.push_str("</name>");
        xml_value(out, value);
        out.push_str("</member>");
    }
    out.push_str("</struct>");
}

fn xml_text(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // A parser turns a bare carriage return into a line feed.
            '\r' => out.push_str("&#13;"),
            c => out.push(c),
        }
    }
}
