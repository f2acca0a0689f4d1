//! Finds `${{ ... }}` in a text before it is read as YAML, and stands placeholders of the same length in its place,
//! so that quotes, braces and bars inside an expression mean nothing to the YAML reader and offsets stay true.

use super::text::Span;
use std::borrow::Cow;

/// How an expression begins.
const OPEN: &str = "${{";
/// How it ends.
const CLOSE: &str = "}}";
/// The longest expression in bytes.
const LONGEST: usize = 1024;
/// The bytes of a private-use character.
const MARK: usize = 3;

/// A text with placeholders.
pub struct Masked<'a> {
    /// The text to read; as long as the original.
    pub text: Cow<'a, str>,
    /// The character before a placeholder's number; it stands nowhere else in the text.
    mark: char,
    /// Where the expressions stand, braces included.
    expressions: Vec<Span>,
}

/// A piece of a scalar.
#[derive(Debug, PartialEq)]
pub enum Piece<'a> {
    /// Text.
    Text(&'a str),
    /// The expression that stands at this span of the source.
    Expression(Span),
}

impl<'a> Masked<'a> {
    /// The text as it is.
    pub fn none(text: &'a str) -> Self {
        Masked { text: Cow::Borrowed(text), mark: '\u{E000}', expressions: Vec::new() }
    }

    /// Masks every expression of a text.
    pub fn new(text: &'a str) -> Self {
        if !text.contains(OPEN) {
            return Masked::none(text);
        }
        // One private-use character that the text does not use. A text that uses all of them has no expressions.
        let Some(mark) = ('\u{E000}'..='\u{E0FF}').find(|mark| !text.contains(*mark)) else {
            return Masked::none(text);
        };
        let mut masked = String::with_capacity(text.len());
        let mut expressions = Vec::new();
        let mut done = 0;
        while let Some(found) = text.get(done..).and_then(|rest| rest.find(OPEN)) {
            let start = done + found;
            let Some(length) = text.get(start..).and_then(expression_length) else {
                done = copy(text, &mut masked, done, start + OPEN.len());
                continue;
            };
            let (width, number) = (length.saturating_sub(2 * MARK), expressions.len().to_string());
            if number.len() > width {
                done = copy(text, &mut masked, done, start + OPEN.len());
                continue;
            }
            done = copy(text, &mut masked, done, start);
            masked.push(mark);
            masked.push_str(&format!("{number:0>width$}"));
            masked.push(mark);
            expressions.push(Span::new(start, start + length));
            done += length;
        }
        copy(text, &mut masked, done, text.len());
        Masked { text: Cow::Owned(masked), mark, expressions }
    }

    /// Splits a scalar's text at its placeholders. `within` is where the scalar stands: a placeholder that was
    /// written by the user (as an escape) and not by this mask is text.
    pub fn pieces<'s>(&self, scalar: &'s str, within: Span) -> Vec<Piece<'s>> {
        let mut pieces = Vec::new();
        let mut rest = scalar;
        let mut plain_until = 0;
        while let Some(start) = rest.get(plain_until..).and_then(|r| r.find(self.mark)) {
            let start = start + plain_until;
            let after = rest.get(start + MARK..).unwrap_or_default();
            let span = after.find(self.mark).and_then(|end| {
                let index: usize = after.get(..end)?.parse().ok()?;
                let span = self.expressions.get(index).copied()?;
                (within.start <= span.start && span.end <= within.end).then_some((span, end))
            });
            let Some((span, end)) = span else {
                plain_until = start + MARK;
                continue;
            };
            if start > 0 {
                pieces.push(Piece::Text(rest.get(..start).unwrap_or_default()));
            }
            pieces.push(Piece::Expression(span));
            rest = after.get(end + MARK..).unwrap_or_default();
            plain_until = 0;
        }
        if !rest.is_empty() || pieces.is_empty() {
            pieces.push(Piece::Text(rest));
        }
        pieces
    }

    /// Whether a scalar may hold a placeholder.
    pub fn concerns(&self, scalar: &str) -> bool {
        !self.expressions.is_empty() && scalar.contains(self.mark)
    }
}

fn copy(text: &str, into: &mut String, from: usize, to: usize) -> usize {
    into.push_str(text.get(from..to).unwrap_or_default());
    to
}

/// The length of the expression that a text begins with; it ends on its line. Braces in quotes do not end it.
fn expression_length(text: &str) -> Option<usize> {
    let line = text.bytes().take(LONGEST).take_while(|byte| *byte != b'\n' && *byte != b'\r').count();
    let line =
        text.get(..line).or_else(|| text.get(..(0..line).rev().find(|n| text.is_char_boundary(*n))?))?;
    // The open quote; in JSON the quotes of an expression are escaped, both of them.
    let mut quote = None;
    let mut escaped = false;
    for (offset, byte) in line.bytes().enumerate().skip(OPEN.len()) {
        match (quote, byte) {
            (None | Some((b'"', _)), b'\\') if !escaped => {
                escaped = true;
                continue;
            }
            (Some(open), byte) if (byte, escaped) == open => quote = None,
            (None, b'"' | b'`') => quote = Some((byte, escaped)),
            (None, b'}') if line.get(offset..).is_some_and(|rest| rest.starts_with(CLOSE)) => {
                return Some(offset + CLOSE.len());
            }
            _ => {}
        }
        escaped = false;
    }
    line.find(CLOSE).map(|offset| offset + CLOSE.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_keeps_the_length_and_finds_its_expressions_again() {
        let text = "a: \"Bearer ${{ env \"DECK_X\" }}\" # ${{\nb: ${{ env \"}}é\" | toInt }}";
        let masked = Masked::new(text);
        assert_eq!(masked.text.len(), text.len());
        assert!(!masked.text.contains("env"));
        let whole = Span::new(0, text.len());
        let spans: Vec<&str> = masked
            .pieces(&masked.text, whole)
            .iter()
            .filter_map(|piece| match piece {
                Piece::Expression(span) => text.get(span.range()),
                Piece::Text(_) => None,
            })
            .collect();
        assert_eq!(spans, ["${{ env \"DECK_X\" }}", "${{ env \"}}é\" | toInt }}"]);
    }

    #[test]
    fn escaped_quotes_close_each_other() {
        let expression = r#"${{ env \"DECK_X\" }}"#;
        let text = format!(r#"{{"a":{{"b":"Bearer {expression}"}},"c":{{"d":{{}}}}}}"#);
        assert_eq!(expression_length(&text[text.find(OPEN).unwrap()..]), Some(expression.len()));
    }

    #[test]
    fn what_is_not_closed_on_its_line_stays_text() {
        for text in ["a: ${{ env", "a: ${{ env\n }}", "${{}}", "${{${{"] {
            assert_eq!(Masked::new(text).text, text);
        }
    }

    #[test]
    fn a_forged_placeholder_is_text() {
        let text = "a: ${{ env \"DECK_X\" }}\nb: x";
        let masked = Masked::new(text);
        let forged = "\u{E000}0\u{E000}";
        assert_eq!(masked.pieces(forged, Span::new(24, 28)), [Piece::Text(forged)]);
    }
}
