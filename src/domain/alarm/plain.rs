//! Names and messages of servers and guests are hostile: in a message to people they begin no line of their own, turn no text around,
//! and have an end.

/// The text on one line, without what hides or reorders text, and at most so many characters of it.
pub fn plain(text: &str, most: usize) -> String {
    let harmless = |c: char| match c {
        c if c.is_control() => ' ',
        // Separators of lines and paragraphs.
        '\u{2028}' | '\u{2029}' => ' ',
        // What has no width or turns the direction of text.
        '\u{00ad}'
        | '\u{061c}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}' => '\u{fffd}',
        '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => '\u{fffd}',
        c => c,
    };
    let mut characters = text.chars().map(harmless);
    let mut short: String = characters.by_ref().take(most).collect();
    if characters.next().is_some() {
        short.pop();
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_begins_no_line_and_turns_no_text_around() {
        assert_eq!(plain("db\r\nBcc: all@example.org\u{1b}[2J\0", 100), "db  Bcc: all@example.org [2J ");
        assert_eq!(plain("a\u{202e}gnp\u{2066}b\u{2028}c\u{200b}\u{feff}", 100), "a\u{fffd}gnp\u{fffd}b c\u{fffd}\u{fffd}");
        assert_eq!(plain("Müller – 東京 🙂", 100), "Müller – 東京 🙂");
    }

    #[test]
    fn a_name_has_an_end() {
        assert_eq!(plain(&"é".repeat(1000), 5), "éééé…");
        assert_eq!(plain("12345", 5), "12345");
    }
}
