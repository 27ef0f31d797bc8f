//! How wide the reader's screen is, and whether it shows colours. A pipe is 80 columns wide and has none.

use std::io::IsTerminal as _;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// How wide a screen is of which nothing is known.
const USUAL: usize = 80;
/// Nothing can be laid out on less.
const NARROWEST: usize = 40;

/// What is printed on.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Screen {
    /// Columns.
    pub(in crate::cli) width: usize,
    /// Whether colours are understood and wanted.
    pub(in crate::cli) colour: bool,
    /// Whether it is a screen, and no file or pipe.
    pub(in crate::cli) is_terminal: bool,
}

/// What a colour says. Nothing is said by colour alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::cli) enum Tone {
    /// As it is.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// It may need somebody.
    Doubt,
    /// It needs somebody.
    Bad,
    /// A heading.
    Strong,
    /// By the way.
    Faint,
}

impl Screen {
    /// Standard output's screen, as wide as `COLUMNS` says if that is set.
    pub(in crate::cli) fn of_output() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let variable = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse::<u16>().ok());
        let measured = || terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| width.0);
        let width = variable.or_else(measured).map_or(USUAL, usize::from);
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { width: width.max(NARROWEST), colour: terminal && !unwanted, is_terminal: terminal }
    }

    /// The text in its colour.
    pub(in crate::cli) fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Good => 32,
            Tone::Doubt => 33,
            Tone::Bad => 31,
            Tone::Strong => 1,
            Tone::Faint => 2,
        };
        if self.colour && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// How many columns a text takes.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// A text from anywhere as one line that cannot steer the terminal: control characters and those that turn the direction of writing
/// are replaced.
pub(in crate::cli) fn harmless(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let clean = |c: char| match c {
        '\n' | '\t' | '\r' | '\u{2028}' | '\u{2029}' => ' ',
        c if c.is_control() || turns(c) => '\u{fffd}',
        c => c,
    };
    text.trim_end().chars().map(clean).collect()
}

/// The text if it fits, otherwise its beginning and `…`.
pub(in crate::cli) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut kept = beginning(text, columns.saturating_sub(1));
    kept.push('…');
    kept
}

/// As many characters as fit.
pub(super) fn beginning(text: &str, columns: usize) -> String {
    let mut room = columns;
    let fits = |c: &char| match room.checked_sub(c.width().unwrap_or(0)) {
        Some(left) => {
            room = left;
            true
        }
        None => false,
    };
    text.chars().take_while(fits).collect()
}

/// The text in lines of at most so many columns, broken between words where there are any.
pub(in crate::cli) fn wrapped(text: &str, columns: usize) -> Vec<String> {
    // A character may take two.
    let columns = columns.max(2);
    let (mut lines, mut line) = (Vec::new(), String::new());
    for mut word in text.split_whitespace() {
        let gap = usize::from(!line.is_empty());
        if width(&line) + gap + width(word) > columns && !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        while width(word) > columns {
            let part = beginning(word, columns);
            word = &word[part.len()..];
            lines.push(part);
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_from_a_server_cannot_steer_the_terminal() {
        assert_eq!(harmless("web\x1b[2J\r\nroot#\u{202e}t\u{7f}xt"), "web\u{fffd}[2J  root#\u{fffd}t\u{fffd}xt");
        assert_eq!(harmless("日本語 ok"), "日本語 ok");
    }

    #[test]
    fn what_is_too_long_ends_with_an_ellipsis_whatever_the_script() {
        assert_eq!(cut("database-01", 11), "database-01");
        assert_eq!(cut("database-01", 6), "datab…");
        assert_eq!(cut("日本語日本語", 6), "日本…");
        assert_eq!(width(&cut("日本語日本語", 6)), 5);
    }

    #[test]
    fn text_is_broken_between_words_and_a_word_only_if_it_must() {
        assert_eq!(wrapped("one two three", 8), ["one two", "three"]);
        assert_eq!(wrapped("abcdefgh ij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrapped("", 4), [""]);
    }

    #[test]
    fn without_colour_nothing_is_added() {
        let plain = Screen { width: 80, colour: false, is_terminal: false };
        assert_eq!(plain.paint(Tone::Bad, "failed"), "failed");
        let colourful = Screen { colour: true, ..plain };
        assert_eq!(colourful.paint(Tone::Bad, "failed"), "\x1b[31mfailed\x1b[0m");
    }
}
