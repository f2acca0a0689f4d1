//! Places in sources, and the texts they point into.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A point in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Line, counted from 1.
    pub line: u32,
    /// Column in characters, counted from 1.
    pub column: u32,
    /// Offset in bytes, counted from 0.
    pub offset: u32,
}

/// A span of a source: from `start` up to, not including, `end`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The source's name as the user gave it; `-` for standard input.
    pub file: Arc<str>,
    /// Where it begins.
    pub start: Position,
    /// Where it ends.
    pub end: Position,
}

impl fmt::Display for Place {
    /// `file:line:column`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.start.line, self.start.column)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The texts of all sources of a run, by name, for showing lines.
#[derive(Clone, Default)]
pub struct SourceMap {
    texts: BTreeMap<Arc<str>, Arc<str>>,
    /// Stretches that hold secrets, by file, in bytes.
    concealed: BTreeMap<Arc<str>, BTreeMap<u32, u32>>,
}

impl SourceMap {
    /// Keeps a source's text.
    pub fn insert(&mut self, file: Arc<str>, text: Arc<str>) {
        self.texts.insert(file, text);
    }

    /// Takes in the texts of another map.
    pub fn append(&mut self, mut other: SourceMap) {
        self.texts.append(&mut other.texts);
        for (file, spans) in other.concealed {
            self.concealed.entry(file).or_default().extend(spans);
        }
    }

    /// Marks a stretch that holds a secret: lines are shown without it.
    pub fn conceal(&mut self, place: &Place) {
        let spans = self.concealed.entry(place.file.clone()).or_default();
        let end = spans.entry(place.start.offset).or_default();
        *end = (*end).max(place.end.offset);
    }

    /// The stretches of a source between two offsets that hold secrets, as pairs of offsets, in order.
    pub fn concealed(&self, file: &str, from: u32, to: u32) -> Vec<(u32, u32)> {
        let Some(spans) = self.concealed.get(file) else { return Vec::new() };
        // Stretches may lie in one another but are few before a line; the last that begin before it may reach in.
        let before = spans.range(..from).rev().take(64).filter(|(_, end)| **end > from);
        let mut found: Vec<(u32, u32)> = before.chain(spans.range(from..to)).map(|(s, e)| (*s, *e)).collect();
        found.sort_unstable();
        found
    }

    /// The text of a source.
    pub fn text(&self, file: &str) -> Option<&Arc<str>> {
        self.texts.get(file)
    }
}
