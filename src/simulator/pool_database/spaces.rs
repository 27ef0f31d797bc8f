//! How text hides its white space inside the database's XML, where a parser would otherwise tidy it up.
//!
//! `%n`, `%t`, `%r` and `%%` stand for newline, tab, return and the sign itself. Releases up to 8.0 write two blanks in a row as
//! `%_` (seen in 5.5 to 6.1), newer ones every blank as `%.` (seen in 26.17). Both are read.

use std::borrow::Cow;

/// How blanks are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blanks {
    /// Pairs as `%_`, a single one as it is.
    Pairs,
    /// Each as `%.`.
    Each,
}

/// Hides white space.
pub(super) fn protect(text: &str, blanks: Blanks) -> Cow<'_, str> {
    if !text.contains(['%', '\n', '\t', '\r', ' ']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '%' => out.push_str("%%"),
            '\n' => out.push_str("%n"),
            '\t' => out.push_str("%t"),
            '\r' => out.push_str("%r"),
            ' ' if blanks == Blanks::Each => out.push_str("%."),
            ' ' if chars.next_if_eq(&' ').is_some() => out.push_str("%_"),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Shows white space again. A sign that stands for nothing stays as it is.
pub(super) fn unprotect(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let meaning = match rest.as_bytes().get(1) {
            Some(b'%') => "%",
            Some(b'n') => "\n",
            Some(b't') => "\t",
            Some(b'r') => "\r",
            Some(b'.') => " ",
            Some(b'_') => "  ",
            _ => "",
        };
        let read = if meaning.is_empty() { 1 } else { 2 };
        out.push_str(if meaning.is_empty() { "%" } else { meaning });
        rest = &rest[read..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn blanks_are_hidden_as_each_release_does_it() {
        assert_eq!(protect("a b   c\n100%", Blanks::Each), "a%.b%.%.%.c%n100%%");
        assert_eq!(protect("a b   c\n100%", Blanks::Pairs), "a b%_ c%n100%%");
        assert_eq!(unprotect("CPU%_%_ X%.%n100%%%x%"), "CPU     X \n100%%x%");
    }

    proptest! {
        #[test]
        fn whatever_is_hidden_comes_back(text in "(?s).*") {
            for blanks in [Blanks::Pairs, Blanks::Each] {
                let hidden = protect(&text, blanks).into_owned();
                prop_assert_eq!(unprotect(&hidden), text.as_str());
            }
        }
    }
}
