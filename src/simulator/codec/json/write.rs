//! JSON as the real server's encoder writes it: no blanks, floats always with a point, text in UTF-8.

use crate::simulator::codec::{Emit, number};

/// Writes JSON to the end of a string.
#[derive(Debug)]
pub struct JsonEmit<'a>(pub &'a mut String);

impl Emit for JsonEmit<'_> {
    fn text(&mut self, text: &str) {
        quote(self.0, text);
    }

    fn int(&mut self, value: i64) {
        self.0.push_str(&value.to_string());
    }

    fn int32(&mut self, value: i32) {
        self.int(value.into());
    }

    fn float(&mut self, value: f64) {
        let text = number::exact(value);
        self.0.push_str(&text);
        if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
            self.0.push_str(".0");
        }
    }

    fn bool(&mut self, value: bool) {
        self.0.push_str(if value { "true" } else { "false" });
    }

    fn date(&mut self, text: &str) {
        quote(self.0, text);
    }

    fn open_set(&mut self) {
        self.0.push('[');
    }

    fn item(&mut self, first: bool) {
        if !first {
            self.0.push(',');
        }
    }

    fn close_set(&mut self) {
        self.0.push(']');
    }

    fn open_map(&mut self) {
        self.0.push('{');
    }

    fn key(&mut self, first: bool, key: &str) {
        self.item(first);
        quote(self.0, key);
        self.0.push(':');
    }

    fn end_member(&mut self) {}

    fn close_map(&mut self) {
        self.0.push('}');
    }
}

/// Writes a string literal.
pub fn quote(out: &mut String, text: &str) {
    out.push('"');
    let mut done = 0;
    for (at, byte) in text.bytes().enumerate() {
        let Some(escape) = escape(byte) else { continue };
        out.push_str(&text[done..at]);
        match escape {
            Escape::Short(short) => out.push_str(short),
            Escape::Long => out.push_str(&format!("\\u{byte:04x}")),
        }
        done = at + 1;
    }
    out.push_str(&text[done..]);
    out.push('"');
}

enum Escape {
    Short(&'static str),
    Long,
}

fn escape(byte: u8) -> Option<Escape> {
    Some(Escape::Short(match byte {
        b'"' => "\\\"",
        b'\\' => "\\\\",
        b'\n' => "\\n",
        b'\r' => "\\r",
        b'\t' => "\\t",
        0x08 => "\\b",
        0x0c => "\\f",
        0x00..=0x1f | 0x7f => return Some(Escape::Long),
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_only_where_json_needs_it() {
        let mut out = String::new();
        quote(&mut out, "a\"b\\c\n\u{1}\u{7f}é/");
        assert_eq!(out, "\"a\\\"b\\\\c\\n\\u0001\\u007fé/\"");
    }

    #[test]
    fn a_float_always_has_a_point() {
        let mut out = String::new();
        for value in [0.0, 1.0, 0.25, -3.0, 1e20] {
            JsonEmit(&mut out).float(value);
            out.push(' ');
        }
        assert_eq!(out, "0.0 1.0 0.25 -3.0 1e+20 ");
    }
}
