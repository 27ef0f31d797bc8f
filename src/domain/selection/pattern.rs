//! How one value is compared: exactly, by glob, by regular expression, by uuid, by folder, by key and value.

use std::fmt;

use globset::{GlobBuilder, GlobMatcher};
use regex::{Regex, RegexBuilder};
use thiserror::Error;
use uuid::Uuid;

use super::super::nearest::nearest;

/// A pattern that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct PatternError {
    message: String,
}

impl PatternError {
    pub(super) fn unknown_word(text: &str, words: &[&str]) -> Self {
        let meant = nearest(text, words.iter().copied()).map(|word| format!("write \"{word}\""));
        let help = meant.unwrap_or_else(|| format!("write one of {}", words.join(", ")));
        Self { message: format!("\"{}\" is not known; {help}", shortened(text)) }
    }

    pub(super) fn no_position(text: &str) -> Self {
        let text = shortened(text);
        Self { message: format!("\"{text}\" is no position; write the VBD's userdevice, 0 for the first disk") }
    }
}

fn refuse<T>(message: impl Into<String>) -> Result<T, PatternError> {
    Err(PatternError { message: message.into() })
}

/// A value to compare with, and the text it was written as.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    Exact,
    Glob(GlobMatcher),
    Regex(Regex),
    Uuid(Uuid),
    /// Without a slash at its end.
    Folder(String),
    /// A key, and what its value must be.
    Entry(String, Option<GlobMatcher>),
}

/// Regular expressions that need more memory than this are refused.
const MOST_REGEX: usize = 1 << 20;

/// The longest pattern that is taken.
const LONGEST: usize = 1024;

fn bounded(text: &str) -> Result<(), PatternError> {
    match text.len() {
        0 => refuse("an empty pattern matches nothing; write \"*\" for everything"),
        1..=LONGEST => Ok(()),
        length => refuse(format!("a pattern has at most {LONGEST} characters, this one has {length}")),
    }
}

impl Pattern {
    /// The text, character by character.
    pub fn exact(text: &str) -> Result<Self, PatternError> {
        bounded(text)?;
        Ok(Self { text: text.to_owned(), test: Test::Exact })
    }

    /// `*` for anything, `?` for one character, `[a-z]`, `{a,b}`; a backslash before a character takes it as it is.
    pub fn glob(text: &str) -> Result<Self, PatternError> {
        Ok(Self { text: text.to_owned(), test: Test::Glob(glob(text)?) })
    }

    /// A regular expression that must match the whole text.
    pub fn regex(text: &str) -> Result<Self, PatternError> {
        bounded(text)?;
        let built = RegexBuilder::new(&format!("^(?:{text})$")).size_limit(MOST_REGEX).dfa_size_limit(MOST_REGEX).build();
        match built {
            Ok(regex) => Ok(Self { text: text.to_owned(), test: Test::Regex(regex) }),
            Err(regex::Error::CompiledTooBig(_)) => refuse("the regular expression grows too large; write a simpler one"),
            Err(error) => refuse(format!("no regular expression: {}", reason(&error.to_string()))),
        }
    }

    /// A uuid if it is one, a glob over names otherwise.
    pub fn uuid_or_glob(text: &str) -> Result<Self, PatternError> {
        match Uuid::try_parse(text) {
            Ok(uuid) => Ok(Self { text: text.to_owned(), test: Test::Uuid(uuid) }),
            Err(_) => Self::glob(text),
        }
    }

    /// A uuid.
    pub fn uuid(text: &str) -> Result<Self, PatternError> {
        match Uuid::try_parse(text) {
            Ok(uuid) => Ok(Self { text: text.to_owned(), test: Test::Uuid(uuid) }),
            Err(_) => refuse(format!("\"{}\" is no uuid; write it as xe prints it, or select by name", shortened(text))),
        }
    }

    /// A folder of XenCenter with all that is in it: `/Production/Web`.
    pub fn folder(text: &str) -> Result<Self, PatternError> {
        bounded(text)?;
        let path = text.trim_matches('/');
        let folder = if path.is_empty() { String::new() } else { format!("/{path}") };
        Ok(Self { text: text.to_owned(), test: Test::Folder(folder) })
    }

    /// A key (`backup`), or a key and a glob for its value (`backup=daily*`).
    pub fn entry(text: &str) -> Result<Self, PatternError> {
        bounded(text)?;
        let (key, value) = match text.split_once('=') {
            Some(("", _)) => return refuse("a key is missing before \"=\"; write key or key=value"),
            Some((key, "")) => (key, Some(exact_glob("")?)),
            Some((key, value)) => (key, Some(glob(value)?)),
            None => (text, None),
        };
        Ok(Self { text: text.to_owned(), test: Test::Entry(key.to_owned(), value) })
    }

    /// The text it was written as.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether this text fits.
    pub fn fits(&self, text: &str) -> bool {
        match &self.test {
            Test::Exact => self.text == text,
            Test::Glob(glob) => glob.is_match(text),
            Test::Regex(regex) => regex.is_match(text),
            Test::Folder(folder) => {
                let text = text.trim_end_matches('/');
                text.strip_prefix(folder.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            Test::Uuid(_) | Test::Entry(..) => false,
        }
    }

    /// Whether this uuid is meant.
    pub fn fits_uuid(&self, uuid: Uuid) -> bool {
        matches!(self.test, Test::Uuid(wanted) if wanted == uuid)
    }

    /// Whether this entry of a map fits.
    pub fn fits_entry(&self, key: &str, value: &str) -> bool {
        match &self.test {
            Test::Entry(wanted, None) => wanted == key,
            Test::Entry(wanted, Some(glob)) => wanted == key && glob.is_match(value),
            _ => false,
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && std::mem::discriminant(&self.test) == std::mem::discriminant(&other.test)
    }
}

impl Eq for Pattern {}

fn glob(text: &str) -> Result<GlobMatcher, PatternError> {
    bounded(text)?;
    exact_glob(text)
}

fn exact_glob(text: &str) -> Result<GlobMatcher, PatternError> {
    match GlobBuilder::new(text).literal_separator(false).backslash_escape(true).build() {
        Ok(glob) => Ok(glob.compile_matcher()),
        Err(error) => refuse(format!("no pattern: {}; write a backslash before a character to take it as it is", error.kind())),
    }
}

/// The last line of a regex error says what is wrong; those before draw the expression.
fn reason(error: &str) -> &str {
    let last = error.lines().last().unwrap_or(error).trim();
    last.strip_prefix("error: ").unwrap_or(last)
}

fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(Pattern::glob("web-*"), "web-01", true)]
    #[case(Pattern::glob("web-*"), "old-web-01", false)]
    #[case(Pattern::glob("web-*"), "web-a/b", true)]
    #[case(Pattern::glob("WEB-*"), "web-01", false)]
    #[case(Pattern::glob("web-0[1-3]"), "web-02", true)]
    #[case(Pattern::glob("{web,db}-01"), "db-01", true)]
    #[case(Pattern::glob("\\[prod\\] *"), "[prod] web", true)]
    #[case(Pattern::glob("日本*"), "日本語", true)]
    #[case(Pattern::exact("[prod] *"), "[prod] *", true)]
    #[case(Pattern::exact("[prod] *"), "[prod] web", false)]
    #[case(Pattern::regex("web-\\d+"), "web-17", true)]
    #[case(Pattern::regex("web-\\d+"), "old web-17", false)]
    #[case(Pattern::regex("(?i)web.*|db"), "WEB-1", true)]
    #[case(Pattern::folder("/Prod"), "/Prod", true)]
    #[case(Pattern::folder("Prod/"), "/Prod/Web", true)]
    #[case(Pattern::folder("/Prod"), "/Production", false)]
    #[case(Pattern::folder("/"), "/Anything", true)]
    fn a_pattern_fits(#[case] pattern: Result<Pattern, PatternError>, #[case] text: &str, #[case] fits: bool) {
        assert_eq!(pattern.unwrap().fits(text), fits);
    }

    #[test]
    fn entries_are_compared_by_key_and_value() {
        let fits = |pattern: &str| Pattern::entry(pattern).unwrap().fits_entry("backup", "daily-1");
        assert!(fits("backup") && fits("backup=daily-1") && fits("backup=daily*"));
        assert!(!fits("back*") && !fits("backup=") && !fits("backup=weekly"));
    }

    #[rstest]
    #[case(Pattern::glob(""), "an empty pattern matches nothing; write \"*\" for everything")]
    #[case(
        Pattern::glob("web-[1"),
        "no pattern: unclosed character class; missing ']'; write a backslash before a character to take it as it is"
    )]
    #[case(Pattern::regex("web-(\\d"), "no regular expression: unclosed group")]
    #[case(Pattern::regex("(a{1000}){1000}"), "the regular expression grows too large; write a simpler one")]
    #[case(Pattern::uuid("web"), "\"web\" is no uuid; write it as xe prints it, or select by name")]
    #[case(Pattern::entry("=x"), "a key is missing before \"=\"; write key or key=value")]
    fn a_pattern_that_cannot_be_used_is_refused(#[case] pattern: Result<Pattern, PatternError>, #[case] message: &str) {
        assert_eq!(pattern.unwrap_err().to_string(), message);
    }

    #[test]
    fn a_pattern_of_a_megabyte_is_refused() {
        assert!(Pattern::glob(&"*".repeat(1 << 20)).is_err());
        assert!(Pattern::regex(&"a".repeat(1 << 20)).is_err());
    }
}
