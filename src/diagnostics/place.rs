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
pub struct SourceMap(BTreeMap<Arc<str>, Arc<str>>);

impl SourceMap {
    /// Keeps a source's text.
    pub fn insert(&mut self, file: Arc<str>, text: Arc<str>) {
        self.0.insert(file, text);
    }

    /// The text of a source.
    pub fn text(&self, file: &str) -> Option<&Arc<str>> {
        self.0.get(file)
    }
}
