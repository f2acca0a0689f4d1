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
    /// Stretches that hold secrets, by file: start and end in bytes, none touching another.
    concealed: Spans,
    /// Stretches that are no secret wherever they stand, in the same way.
    revealed: Spans,
}

/// Stretches by file: start and end in bytes, none touching another.
type Spans = BTreeMap<Arc<str>, BTreeMap<u32, u32>>;

impl SourceMap {
    /// Keeps a source's text.
    pub fn insert(&mut self, file: Arc<str>, text: Arc<str>) {
        self.texts.insert(file, text);
    }

    /// Takes in the texts of another map.
    pub fn append(&mut self, mut other: SourceMap) {
        self.texts.append(&mut other.texts);
        for (own, others) in [(&mut self.concealed, other.concealed), (&mut self.revealed, other.revealed)] {
            for (file, spans) in others {
                own.entry(file).or_default().extend(spans);
            }
        }
    }

    /// Marks a stretch that holds a secret: lines are shown without it.
    pub fn conceal(&mut self, place: &Place) {
        mark(&mut self.concealed, place);
    }

    /// Marks a stretch that is no secret, such as the name of a variable: lines are shown with it, also when it stands
    /// in a stretch that holds a secret.
    pub fn reveal(&mut self, place: &Place) {
        mark(&mut self.revealed, place);
    }

    /// Takes over what another map has concealed in the same sources.
    pub fn conceal_as(&mut self, other: &SourceMap) {
        for (file, spans) in &other.concealed {
            for (&start, &end) in spans {
                let at = |offset| Position { offset, ..Position::default() };
                self.conceal(&Place { file: file.clone(), start: at(start), end: at(end) });
            }
        }
    }

    /// The stretches of a source between two offsets that hold secrets, as pairs of offsets, in order.
    pub fn concealed(&self, file: &str, from: u32, to: u32) -> Vec<(u32, u32)> {
        let mut hidden = Vec::new();
        for (mut start, end) in between(&self.concealed, file, from, to) {
            for (shown, shown_end) in between(&self.revealed, file, start, end) {
                if start < shown {
                    hidden.push((start, shown));
                }
                start = shown_end.max(start);
            }
            if start < end {
                hidden.push((start, end));
            }
        }
        hidden
    }

    /// The text of a source.
    pub fn text(&self, file: &str) -> Option<&Arc<str>> {
        self.texts.get(file)
    }
}

/// Adds a stretch; it takes the place of all that it touches.
fn mark(all: &mut Spans, place: &Place) {
    let spans = all.entry(place.file.clone()).or_default();
    let (mut start, mut end) = (place.start.offset, place.end.offset);
    while let Some((&other, &other_end)) = spans.range(..=end).next_back().filter(|(_, e)| **e >= start) {
        spans.remove(&other);
        start = start.min(other);
        end = end.max(other_end);
    }
    spans.insert(start, end);
}

/// The stretches that reach into that from one offset to another, in order.
fn between(all: &Spans, file: &str, from: u32, to: u32) -> Vec<(u32, u32)> {
    let Some(spans) = all.get(file) else { return Vec::new() };
    let before = spans.range(..from).next_back().filter(|(_, end)| **end > from);
    before.into_iter().chain(spans.range(from..to.max(from))).map(|(start, end)| (*start, *end)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concealed_stretches_are_joined_and_found_where_they_reach_in() {
        let file: Arc<str> = "f".into();
        let mut sources = SourceMap::default();
        for (start, end) in [(10, 20), (30, 40), (12, 14), (18, 25), (25, 26), (50, 60)] {
            let at = |offset| Position { offset, ..Position::default() };
            sources.conceal(&Place { file: file.clone(), start: at(start), end: at(end) });
        }
        assert_eq!(sources.concealed("f", 0, 100), [(10, 26), (30, 40), (50, 60)]);
        assert_eq!(sources.concealed("f", 22, 35), [(10, 26), (30, 40)]);
        assert_eq!(sources.concealed("f", 26, 30), []);
        let mut other = SourceMap::default();
        other.conceal_as(&sources);
        assert_eq!(other.concealed("f", 0, 100), sources.concealed("f", 0, 100));
    }

    #[test]
    fn what_is_no_secret_is_cut_out_of_what_is() {
        let file: Arc<str> = "f".into();
        let at = |offset| Position { offset, ..Position::default() };
        let place = |start, end| Place { file: file.clone(), start: at(start), end: at(end) };
        let mut sources = SourceMap::default();
        sources.conceal(&place(10, 40));
        for (start, end) in [(5, 12), (20, 25), (38, 50), (60, 70)] {
            sources.reveal(&place(start, end));
        }
        assert_eq!(sources.concealed("f", 0, 100), [(12, 20), (25, 38)]);
        // Order does not matter.
        sources.conceal(&place(40, 65));
        assert_eq!(sources.concealed("f", 0, 100), [(12, 20), (25, 38), (50, 60)]);
    }
}
