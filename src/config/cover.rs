//! Covering passwords. Each byte of a value that is or may be a password is replaced by `*` before the text is kept for quoting, so
//! that places stay what they are. Where the text is no TOML, lines are looked at, and rather too much is covered than too little.

use std::ops::Range;

use super::tree::{Node, Table, Value};
use super::{alarms, pool};

/// The text as it may be quoted.
pub(super) fn covered(text: &str, tree: Option<&Table>) -> String {
    let secrets = match tree {
        Some(table) => {
            let mut secrets = Vec::new();
            look(table, None, &mut secrets);
            secrets
        }
        None => in_lines(text),
    };
    let mut bytes = text.as_bytes().to_vec();
    for range in secrets {
        let part = bytes.get_mut(range).unwrap_or_default();
        part.iter_mut().filter(|byte| !matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b'*');
    }
    // Whole values are covered, so that no character is cut in two.
    String::from_utf8(bytes).unwrap_or_default()
}

/// The values of a tree that nobody should see.
fn look(table: &Table, within: Option<Block>, secrets: &mut Vec<Range<usize>>) {
    for (key, entry) in &table.entries {
        let unknown = within.is_some_and(|block| !block.keys().contains(&key.as_str()));
        match &entry.node.value {
            _ if unknown || is_secret(key) => all_of(&entry.node, secrets),
            // Its keys are addresses.
            Value::Table(map) if within.is_some() => {
                map.entries.values().for_each(|entry| look_into(&entry.node, within, secrets));
            }
            _ => look_into(&entry.node, within.or_else(|| Block::named(key)), secrets),
        }
    }
}

/// A block in which a value whose key is not known may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    Pool,
    Mail,
    Webhook,
    DeadMan,
}

impl Block {
    fn named(key: &str) -> Option<Self> {
        match key {
            "pool" => Some(Block::Pool),
            "mail" => Some(Block::Mail),
            "webhook" => Some(Block::Webhook),
            "dead_man" => Some(Block::DeadMan),
            _ => None,
        }
    }

    /// The block of a line that seems to begin one.
    fn of_header(line: &str) -> Option<Self> {
        let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        words.into_iter().find_map(Self::named)
    }

    /// The keys that hold no secret, and those that are secrets by their name.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Block::Pool => &pool::KEYS,
            Block::Mail => alarms::MAIL_KEYS,
            Block::Webhook => alarms::WEBHOOK_KEYS,
            Block::DeadMan => alarms::DEAD_MAN_KEYS,
        }
    }
}

/// A table in several places has no place of its own, so what is in it is covered piece by piece.
fn all_of(node: &Node, secrets: &mut Vec<Range<usize>>) {
    match &node.value {
        Value::Table(table) => table.entries.values().for_each(|entry| all_of(&entry.node, secrets)),
        Value::List(items) => items.iter().for_each(|item| all_of(item, secrets)),
        _ => secrets.push(node.place.range()),
    }
}

fn look_into(node: &Node, within: Option<Block>, secrets: &mut Vec<Range<usize>>) {
    match &node.value {
        Value::Table(table) => look(table, within, secrets),
        Value::List(items) => items.iter().for_each(|item| look_into(item, within, secrets)),
        // A user and a password do not belong into an address, which does not keep people from writing them there.
        Value::Text(text) if within == Some(Block::Pool) && text.text.contains('@') => secrets.push(node.place.range()),
        _ => {}
    }
}

fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let place_of_one = ["password_file", "password_credential", "secret_file", "secret_credential"].contains(&key.as_str());
    !place_of_one && ["pas", "pwd", "pw", "secret", "token"].iter().any(|word| key.contains(word))
}

/// The same for a text without a tree, line by line. In a pool whatever is not known to be harmless is covered.
fn in_lines(text: &str) -> Vec<Range<usize>> {
    let mut secrets = Vec::new();
    let (mut at, mut within) = (0, None);
    while at < text.len() {
        let mut end = text[at..].find('\n').map_or(text.len(), |length| at + length);
        let line = Line::of(&text[at..end]);
        within = if line.is_header { Block::of_header(line.text) } else { within.or_else(|| Block::named(line.key)) };
        if line.is_secret(within) {
            let from = at + line.value;
            let to = end_of_value(text, from, end);
            secrets.push(from..to);
            end = text[to..].find('\n').map_or(text.len(), |length| to + length);
        }
        at = end + 1;
    }
    secrets
}

/// A line of a text that is no TOML.
struct Line<'a> {
    text: &'a str,
    is_header: bool,
    /// The last part of the key it seems to begin with.
    key: &'a str,
    /// Where the value seems to begin.
    value: usize,
}

impl<'a> Line<'a> {
    fn of(text: &'a str) -> Self {
        let begin = text.len() - text.trim_start().len();
        let length = text[begin..].find(|c: char| !c.is_alphanumeric() && !"_-\"'.".contains(c)).unwrap_or(text.len() - begin);
        let written = &text[begin..begin + length];
        let key = written.trim_matches(['"', '\'']).rsplit('.').next().unwrap_or_default();
        let behind = text.find('=').map_or(begin + length, |equals| equals + 1);
        let value = text[behind..].find(|c: char| !c.is_whitespace()).map_or(behind, |spaces| behind + spaces);
        Self { text, is_header: text[begin..].starts_with('['), key, value }
    }

    fn is_secret(&self, within: Option<Block>) -> bool {
        let unknown =
            |block: Block| !block.keys().contains(&self.key) && !self.is_header && !self.text.trim_start().starts_with('#');
        is_secret(self.text) || within.is_some_and(unknown) || within == Some(Block::Pool) && self.text.contains('@')
    }
}

/// A text of several lines ends with its three quotes, and without them with the file.
fn end_of_value(text: &str, from: usize, end_of_line: usize) -> usize {
    let value = &text[from..end_of_line];
    let quotes = ["\"\"\"", "'''"].into_iter().find_map(|quotes| Some((quotes, value.find(quotes)? + 3)));
    match quotes {
        Some((quotes, begin)) => text[from + begin..].find(quotes).map_or(text.len(), |length| from + begin + length + 3),
        None => end_of_line,
    }
}
