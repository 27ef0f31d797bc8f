//! Covering passwords. Each byte of a value that is or may be a password is replaced by `*` before the text is kept for quoting, so
//! that places stay what they are. Where the text is no TOML, lines are looked at, and rather too much is covered than too little.

use std::ops::Range;

use super::pool;
use super::tree::{Node, Table, Value};

/// The text as it may be quoted.
pub(super) fn covered(text: &str, tree: Option<&Table>) -> String {
    let secrets = match tree {
        Some(table) => {
            let mut secrets = Vec::new();
            look(table, false, &mut secrets);
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
fn look(table: &Table, in_pool: bool, secrets: &mut Vec<Range<usize>>) {
    for (key, entry) in &table.entries {
        let unknown = in_pool && !pool::KEYS.contains(&key.as_str());
        if unknown || is_secret(key) {
            secrets.push(entry.node.place.range());
        } else {
            look_into(&entry.node, in_pool && key != "address_map" || key == "pool", secrets);
        }
    }
}

fn look_into(node: &Node, in_pool: bool, secrets: &mut Vec<Range<usize>>) {
    match &node.value {
        Value::Table(table) => look(table, in_pool, secrets),
        Value::List(items) => items.iter().for_each(|item| look_into(item, in_pool, secrets)),
        // A user and a password do not belong into an address, which does not keep people from writing them there.
        Value::Text(text) if in_pool && text.text.contains('@') => secrets.push(node.place.range()),
        _ => {}
    }
}

fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let place_of_one = key == "password_file" || key == "password_credential";
    !place_of_one && ["pas", "pwd", "pw", "secret", "token"].iter().any(|word| key.contains(word))
}

/// The same for a text without a tree: in `[[pool]]` blocks whatever is not known to be harmless.
fn in_lines(text: &str) -> Vec<Range<usize>> {
    let mut secrets = Vec::new();
    let (mut at, mut in_pool) = (0, false);
    while at < text.len() {
        let end = text[at..].find('\n').map_or(text.len(), |length| at + length);
        let line = &text[at..end];
        if line.trim_start().starts_with('[') {
            in_pool = line.contains("pool");
        }
        let key: String = line.trim_start().chars().take_while(|c| c.is_alphanumeric() || "_-\"'.".contains(*c)).collect();
        let bare = key.trim_matches(['"', '\'']).rsplit('.').next().unwrap_or_default();
        let harmless = line.trim_start().starts_with(['[', '#']) || pool::KEYS.contains(&bare) && bare != "password";
        let covers = in_pool && !harmless && !bare.is_empty() || is_secret(line) && !harmless || in_pool && line.contains('@');
        let mut next = end + 1;
        if covers {
            let from = at + line.find('=').map_or(line.len() - line.trim_start().len() + key.len(), |equals| equals + 1);
            let to = end_of_value(text, from, end);
            secrets.push(from..to);
            next = text[to..].find('\n').map_or(text.len(), |length| to + length) + 1;
        }
        at = next;
    }
    secrets
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
