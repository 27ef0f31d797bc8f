//! The texts that were read, and places in them. A text is covered before it is kept: nothing that quotes it can show a password.

use std::ops::Range;
use std::path::{Path, PathBuf};

/// Which of the texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct FileId(u32);

/// Some bytes of a text. Files are bounded, so that 32 bits are enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub file: FileId,
    start: u32,
    end: u32,
}

impl Place {
    pub fn new(file: FileId, range: Range<usize>) -> Self {
        let [start, end] = [range.start, range.end.max(range.start)].map(|at| u32::try_from(at).unwrap_or(u32::MAX));
        Self { file, start, end }
    }

    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

#[derive(Debug, Clone)]
pub(super) struct Source {
    pub name: PathBuf,
    pub text: String,
    /// Where lines begin.
    lines: Vec<u32>,
}

/// All texts of one configuration.
#[derive(Debug, Clone, Default)]
pub(super) struct Sources(Vec<Source>);

impl Sources {
    /// Takes a file in that nothing is known of yet, or whose text cannot be had.
    pub fn add(&mut self, name: &Path) -> FileId {
        let id = FileId(u32::try_from(self.0.len()).unwrap_or(u32::MAX));
        self.0.push(Source { name: name.to_owned(), text: String::new(), lines: Vec::new() });
        id
    }

    /// Gives a file the text that may be quoted.
    pub fn set_text(&mut self, file: FileId, text: String) {
        let begins = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at as u32 + 1);
        let lines = std::iter::once(0).chain(begins).collect();
        if let Some(source) = self.0.get_mut(file.0 as usize) {
            *source = Source { name: std::mem::take(&mut source.name), text, lines };
        }
    }

    pub fn get(&self, file: FileId) -> Option<&Source> {
        self.0.get(file.0 as usize)
    }

    pub fn name(&self, file: FileId) -> &Path {
        self.get(file).map_or(Path::new(""), |source| &source.name)
    }

    /// The line of a place, from 1.
    pub fn line(&self, place: Place) -> usize {
        self.get(place.file).map_or(1, |source| source.line_of(place.range().start))
    }
}

impl Source {
    /// The line of a byte, from 1.
    pub fn line_of(&self, at: usize) -> usize {
        self.lines.partition_point(|begin| *begin as usize <= at).max(1)
    }

    /// The bytes of a line, without its end.
    pub fn line(&self, number: usize) -> Range<usize> {
        let begin = |number: usize| self.lines.get(number).map(|begin| *begin as usize);
        let from = begin(number.saturating_sub(1)).unwrap_or(self.text.len());
        let to = begin(number).map_or(self.text.len(), |next| next - 1);
        from..to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_from_one_and_found_again() {
        let mut sources = Sources::default();
        let file = sources.add(Path::new("a.toml"));
        sources.set_text(file, "one\ntwo\n\nfour".to_owned());
        let source = sources.get(file).unwrap();
        let shown: Vec<&str> = (1..=4).map(|line| &source.text[source.line(line)]).collect();
        assert_eq!(shown, ["one", "two", "", "four"]);
        assert_eq!([0, 3, 4, 8, 9, 99].map(|at| source.line_of(at)), [1, 1, 2, 3, 4, 4]);
    }
}
