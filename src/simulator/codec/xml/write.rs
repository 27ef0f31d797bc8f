//! XML-RPC as the real server's encoder writes it: text and integers untagged, and map keys not escaped, so that a key with `<` or
//! `&` makes an answer that is not well-formed (MEASURED 24). That trap is kept.

use crate::simulator::codec::{Emit, number};

/// Writes `<value>...</value>` elements to the end of a string.
#[derive(Debug)]
pub struct XmlEmit<'a>(pub &'a mut String);

impl XmlEmit<'_> {
    fn tagged(&mut self, tag: &str, text: &str) {
        for part in ["<value><", tag, ">", text, "</", tag, "></value>"] {
            self.0.push_str(part);
        }
    }
}

impl Emit for XmlEmit<'_> {
    fn text(&mut self, text: &str) {
        self.0.push_str("<value>");
        escape(self.0, text);
        self.0.push_str("</value>");
    }

    fn int(&mut self, value: i64) {
        self.0.push_str("<value>");
        self.0.push_str(&value.to_string());
        self.0.push_str("</value>");
    }

    fn int32(&mut self, value: i32) {
        self.tagged("i4", &value.to_string());
    }

    fn float(&mut self, value: f64) {
        self.tagged("double", &number::general(value, 16));
    }

    fn bool(&mut self, value: bool) {
        self.tagged("boolean", if value { "1" } else { "0" });
    }

    fn date(&mut self, text: &str) {
        self.tagged("dateTime.iso8601", text);
    }

    fn open_set(&mut self) {
        self.0.push_str("<value><array><data>");
    }

    fn item(&mut self, _first: bool) {}

    fn close_set(&mut self) {
        self.0.push_str("</data></array></value>");
    }

    fn open_map(&mut self) {
        self.0.push_str("<value><struct>");
    }

    fn key(&mut self, _first: bool, key: &str) {
        self.0.push_str("<member><name>");
        self.0.push_str(key);
        self.0.push_str("</name>");
    }

    fn end_member(&mut self) {
        self.0.push_str("</member>");
    }

    fn close_map(&mut self) {
        self.0.push_str("</struct></value>");
    }
}

/// Writes text with the characters replaced that the real encoder replaces; control characters that XML cannot carry are dropped.
pub fn escape(out: &mut String, text: &str) {
    let mut done = 0;
    for (at, byte) in text.bytes().enumerate() {
        let replacement = match byte {
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'&' => "&amp;",
            b'"' => "&quot;",
            0x00..=0x08 | 0x0b | 0x0c | 0x0e..=0x1f => "",
            _ => continue,
        };
        out.push_str(&text[done..at]);
        out.push_str(replacement);
        done = at + 1;
    }
    out.push_str(&text[done..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::value::Value;

    #[test]
    fn values_are_escaped_and_keys_are_not() {
        let mut out = String::new();
        XmlEmit(&mut out).value(&Value::pairs([("k<&>", "v<&>")]));
        assert_eq!(out, "<value><struct><member><name>k<&></name><value>v&lt;&amp;&gt;</value></member></struct></value>");
    }

    #[test]
    fn only_what_needs_a_tag_has_one() {
        let mut out = String::new();
        XmlEmit(&mut out).value(&Value::Set(vec![Value::Int(-1), Value::Bool(true), Value::Float(1.0), Value::Int32(2)]));
        assert_eq!(
            out,
            "<value><array><data><value>-1</value><value><boolean>1</boolean></value><value><double>1</double></value>\
             <value><i4>2</i4></value></data></array></value>"
        );
    }
}
