//! A bound on how deep a text nests, looked at before it is parsed: the parser bounds brackets and the parts of one key, but not
//! their product, and a tree of thousands of levels exhausts the stack.

use std::ops::Range;

/// A key of more parts is refused. Nothing here needs more than four.
const MOST_DOTS: usize = 8;

/// The first key with too many parts.
pub(super) fn too_deep(text: &str) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let (mut at, mut begin, mut dots) = (0, 0, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' | b'\'' => at = end_of_string(bytes, at),
            b'#' => at = end_of_line(bytes, at),
            b'.' => {
                dots += 1;
                at += 1;
            }
            b'=' | b'[' | b']' | b'{' | b'}' | b',' | b'\n' => {
                at += 1;
                (begin, dots) = (at, 0);
            }
            _ => at += 1,
        }
        if dots > MOST_DOTS {
            return Some(begin..begin);
        }
    }
    None
}

fn end_of_line(bytes: &[u8], from: usize) -> usize {
    bytes[from..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |length| from + length)
}

/// Behind the string that begins here. One that is not closed ends with its line, or with the text when it may have several.
fn end_of_string(bytes: &[u8], from: usize) -> usize {
    let quote = bytes[from];
    let long = bytes[from..].starts_with(&[quote; 3]);
    let mut at = from + if long { 3 } else { 1 };
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if quote == b'"' => at += 2,
            b'\n' if !long => return at,
            byte if byte == quote && !long => return at + 1,
            byte if byte == quote && bytes[at..].starts_with(&[quote; 3]) => return at + 3,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_dots_of_one_key_count() {
        let many = "a.".repeat(9);
        for fine in [
            format!("x = \"{many}\" # {many}\n'{many}' = 1.5"),
            format!("x = \"\"\"\n{many}\n\"\"\"\ny = '''{many}'''"),
            format!("x = \"\\\"{many}\""),
            "a.b.c.d.e.f.g.h.i = 1\nj.k.l.m = [1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5]".to_owned(),
        ] {
            assert_eq!(too_deep(&fine), None, "{fine}");
        }
        assert_eq!(too_deep(&format!("x = 1\n{many}a = 1")), Some(6..6));
        assert_eq!(too_deep(&format!("x = {{ {many}a = 1 }}")), Some(5..5));
        assert_eq!(too_deep(&format!("x = \"open\n{many}a = 1")), Some(10..10));
    }
}
