//! One source's text, and the way from a byte offset to a line and column.

use crate::diagnostics::{Place, Position};
use std::sync::Arc;

/// A line is indexed again after so many bytes, so that a place in a very long line is found quickly.
const STRIDE: usize = 256;

/// A stretch of a text in bytes, from `start` up to, not including, `end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Where it begins.
    pub start: u32,
    /// Where it ends.
    pub end: u32,
}

impl Span {
    /// A span from offsets; texts are smaller than 4 GiB.
    pub fn new(start: usize, end: usize) -> Self {
        let narrow = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
        Span { start: narrow(start), end: narrow(end.max(start)) }
    }

    /// From the start of this one to the end of another.
    pub fn to(self, end: Span) -> Self {
        Span { start: self.start, end: end.end.max(self.start) }
    }

    /// The offsets.
    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A source: its name, its text and an index of positions.
#[derive(Debug)]
pub struct Text {
    name: Arc<str>,
    text: Arc<str>,
    /// Positions at every line's start and at every `STRIDE` bytes of a longer line, in order.
    marks: Vec<Position>,
}

impl Text {
    /// Indexes a text. Lines end with LF, CRLF or a lone CR, as in YAML.
    pub fn new(name: Arc<str>, text: Arc<str>) -> Self {
        let mut marks = vec![Position { line: 1, column: 1, offset: 0 }];
        let (mut line, mut column, mut last) = (1u32, 1u32, 0usize);
        let bytes = text.as_bytes();
        for (offset, &byte) in bytes.iter().enumerate() {
            let next = offset + 1;
            let ends = byte == b'\n' || (byte == b'\r' && bytes.get(next) != Some(&b'\n'));
            if ends {
                line += 1;
                column = 1;
            } else if byte & 0xC0 != 0x80 {
                if offset - last >= STRIDE {
                    marks.push(Position { line, column, offset: offset as u32 });
                    last = offset;
                }
                column += 1;
            }
            if ends {
                marks.push(Position { line, column, offset: next as u32 });
                last = next;
            }
        }
        Text { name, text, marks }
    }

    /// The source's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The whole text.
    pub fn shared(&self) -> &Arc<str> {
        &self.text
    }

    /// The text of a span; empty when it is not one of this text.
    pub fn slice(&self, span: Span) -> &str {
        self.text.get(span.range()).unwrap_or_default()
    }

    /// Line and column of an offset.
    pub fn position(&self, offset: u32) -> Position {
        let after = self.marks.partition_point(|mark| mark.offset <= offset);
        let mark = after.checked_sub(1).and_then(|n| self.marks.get(n)).copied().unwrap_or_default();
        let between = self.text.as_bytes().get(mark.offset as usize..offset as usize).unwrap_or_default();
        let columns = between.iter().filter(|byte| **byte & 0xC0 != 0x80).count();
        Position { line: mark.line, column: mark.column + columns as u32, offset }
    }

    /// A span as a place.
    pub fn place(&self, span: Span) -> Place {
        Place { file: self.name.clone(), start: self.position(span.start), end: self.position(span.end) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, offset: usize) -> (u32, u32) {
        let position = Text::new("t".into(), text.into()).position(offset as u32);
        (position.line, position.column)
    }

    #[test]
    fn lines_end_with_lf_crlf_or_cr_and_columns_count_characters() {
        let text = "a\nöb\r\nc\rd";
        assert_eq!(at(text, 0), (1, 1));
        assert_eq!(at(text, 2), (2, 1));
        assert_eq!(at(text, text.find('b').unwrap_or(0)), (2, 2));
        assert_eq!(at(text, text.find('c').unwrap_or(0)), (3, 1));
        assert_eq!(at(text, text.len() - 1), (4, 1));
        assert_eq!(at(text, text.len()), (4, 2));
        assert_eq!(at("", 0), (1, 1));
    }

    #[test]
    fn a_place_in_a_long_line_is_exact() {
        let text = "é".repeat(1000);
        assert_eq!(at(&text, 1998), (1, 1000));
        assert_eq!(at(&text, 2000), (1, 1001));
    }
}
