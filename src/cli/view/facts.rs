//! One thing, a line for each fact: a label, and a text that is broken and never cut.

use super::super::out::say;
use super::screen::{Screen, Tone, harmless, width, wrapped};

/// Facts about one thing.
#[derive(Debug, Default)]
pub(in crate::cli) struct Facts {
    lines: Vec<(&'static str, String, Tone)>,
}

impl Facts {
    /// Adds a fact.
    pub(in crate::cli) fn add(&mut self, label: &'static str, text: impl AsRef<str>) {
        self.toned(label, text, Tone::Plain);
    }

    /// Adds a fact with a meaning.
    pub(in crate::cli) fn toned(&mut self, label: &'static str, text: impl AsRef<str>, tone: Tone) {
        self.lines.push((label, harmless(text.as_ref()), tone));
    }

    /// Adds a fact if there is one.
    pub(in crate::cli) fn maybe(&mut self, label: &'static str, text: Option<impl AsRef<str>>) {
        if let Some(text) = text {
            self.add(label, text);
        }
    }

    /// Prints them under a heading.
    pub(in crate::cli) fn print(&self, heading: &str, screen: &Screen) {
        say!("{}", screen.paint(Tone::Strong, &harmless(heading)));
        let labels = self.lines.iter().map(|(label, ..)| width(label)).max().unwrap_or(0);
        for (label, text, tone) in &self.lines {
            let mut label = *label;
            for line in wrapped(text, screen.width.saturating_sub(labels + 4)) {
                say!("  {label:<labels$}  {}", screen.paint(*tone, &line));
                label = "";
            }
        }
    }
}
