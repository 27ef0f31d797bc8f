//! Which known name somebody may have meant. Suggestions are only made when they are likely right; a wrong one is worse than none.

/// The known name nearest to `wanted`, if it is near enough to be a slip of the pen. Case is ignored.
pub fn nearest<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    nearest_few(wanted, known, 1).into_iter().next()
}

/// Up to `count` known names, nearest first; equal distances in alphabetical order.
pub fn nearest_few<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>, count: usize) -> Vec<&'a str> {
    let wanted = wanted.to_lowercase();
    let mut scored: Vec<(usize, &str)> = known.into_iter().filter_map(|name| Some((distance(&wanted, name)?, name))).collect();
    scored.sort_unstable();
    scored.dedup();
    scored.into_iter().map(|(_, name)| name).take(count).collect()
}

/// How far apart, or nothing when too far. One name that begins with the other is near whatever its length.
fn distance(wanted: &str, name: &str) -> Option<usize> {
    let name = name.to_lowercase();
    let (ours, theirs) = (wanted.chars().count(), name.chars().count());
    let begins = ours.min(theirs) >= 3 && (name.starts_with(wanted) || wanted.starts_with(&name));
    let allowed = (ours.max(theirs) / 3).max(1);
    // The comparison takes time and memory in proportion to the product of the lengths, and the text may be hostile.
    if ours.abs_diff(theirs) > allowed || ours > LONGEST_COMPARED {
        return begins.then_some(ours.abs_diff(theirs));
    }
    let edits = strsim::damerau_levenshtein(wanted, &name);
    (edits <= allowed || begins).then_some(edits)
}

/// Longer text is not compared letter by letter.
const LONGEST_COMPARED: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_recognised() {
        assert_eq!(nearest("retension", ["schedule", "retention", "select"]), Some("retention"));
        assert_eq!(nearest("dayly", ["hourly", "daily", "weekly"]), Some("daily"));
        assert_eq!(nearest("WEB-01", ["web-02", "db-01", "web-01"]), Some("web-01"));
    }

    #[test]
    fn something_quite_different_gets_no_suggestion() {
        assert_eq!(nearest("color", ["schedule", "retention"]), None);
        assert_eq!(nearest("x", ["schedule"]), None);
        assert_eq!(nearest("", ["schedule"]), None);
    }

    #[test]
    fn a_megabyte_of_text_is_answered_at_once() {
        assert_eq!(nearest(&"x".repeat(1_000_000), ["x".repeat(900_000).as_str(), "y"]), Some("x".repeat(900_000).as_str()));
    }

    #[test]
    fn the_nearest_come_first_and_none_twice() {
        assert_eq!(nearest_few("web-1", ["web-11", "web-1a", "db", "web-1", "web-1"], 2), ["web-1", "web-11"]);
    }
}
