//! What a hook wrote, for a history and a terminal: never more than fits, never a byte that a terminal would obey, and never a cut
//! that does not say how much is missing.

use std::fmt::Write;

/// So many bytes of a hook's output are kept, the last ones.
pub(super) const KEPT: usize = 64 * 1024;

/// Characters that turn the direction of writing: they make a line read otherwise than it is.
const TURNING: [char; 12] = [
    '\u{61c}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}', '\u{2066}', '\u{2067}',
    '\u{2068}', '\u{2069}',
];

/// The end of a stream of bytes.
#[derive(Debug, Default)]
pub(super) struct Tail {
    bytes: Vec<u8>,
    left_out: u64,
}

impl Tail {
    /// Takes in what comes next.
    pub(super) fn push(&mut self, more: &[u8]) {
        self.bytes.extend_from_slice(more);
        // Cut seldom, so that each byte is moved once at most.
        if self.bytes.len() > 2 * KEPT {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let beyond = self.bytes.len().saturating_sub(KEPT);
        // Not within a character.
        let broken = self.bytes[beyond..].iter().take(3).take_while(|byte| beyond > 0 && **byte & 0b1100_0000 == 0b1000_0000);
        let cut = beyond + broken.count();
        self.bytes.drain(..cut);
        self.left_out += cut as u64;
    }

    /// The text to keep.
    pub(super) fn into_text(mut self) -> String {
        self.cut();
        let text = harmless(&self.bytes);
        match self.left_out {
            0 => text,
            left_out => format!("[{left_out} bytes before this were left out]\n{text}"),
        }
    }
}

/// Bytes as text that can be shown: what is no text, or would move a cursor or change how a line reads, is written as its code.
pub(super) fn harmless(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' | '\t' => text.push(c),
                c if c.is_control() || TURNING.contains(&c) => text.extend(c.escape_default()),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}
