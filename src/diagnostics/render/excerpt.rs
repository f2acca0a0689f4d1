//! The line that a place points into, cut to what a terminal can show.

use crate::diagnostics::{Place, SourceMap};
use std::ops::Range;

/// Lines longer than this are cut around the place.
const WIDEST: usize = 160;
/// What is kept before the place in a line that is cut.
const BEFORE: usize = 40;

/// One line, or a piece of it, and the stretch in it to underline.
pub(super) struct Excerpt {
    pub line: String,
    pub span: Range<usize>,
    /// Something is missing at the left.
    pub cut: bool,
}

/// The line of a place, stars in place of what is secret. Only the place's first line is underlined. `None` when
/// the text has no such place.
pub(super) fn excerpt(sources: &SourceMap, place: &Place) -> Option<Excerpt> {
    let text = sources.text(&place.file).filter(|text| !text.is_empty())?;
    let start = place.start.offset as usize;
    let (before, after) = (text.get(..start)?, text.get(start..)?);
    // Both searches are bounded, for a line may have megabytes.
    let before = tail(before, WIDEST);
    let line_start = before.rfind(['\n', '\r']).map_or(0, |end| end + 1);
    let mut before = before.get(line_start..)?;
    let after = head(after, WIDEST);
    let mut after = after.get(..after.find(['\n', '\r']).unwrap_or(after.len()))?;
    let wanted = (place.end.offset as usize).saturating_sub(start).min(after.len());
    let mut line = String::new();
    let mut cut = false;
    let mut cut_after = false;
    if before.len() + after.len() > WIDEST {
        let shorter = tail(before, BEFORE.max(WIDEST.saturating_sub(after.len())));
        cut = shorter.len() < before.len() || before.len() == WIDEST;
        before = shorter;
        let kept = head(after, WIDEST.saturating_sub(before.len()));
        cut_after = kept.len() < after.len();
        after = kept;
    }
    if cut {
        line.push_str("...");
    }
    let hidden = sources.concealed(&place.file, (start - before.len()) as u32, (start + after.len()) as u32);
    let wanted = after.get(..wanted).unwrap_or(after);
    let rest = after.get(wanted.len()..).unwrap_or_default();
    conceal(&mut line, before, start - before.len(), &hidden);
    let begin = line.len();
    conceal(&mut line, wanted, start, &hidden);
    let span = begin..line.len();
    conceal(&mut line, rest, start + wanted.len(), &hidden);
    if cut_after {
        line.push_str("...");
    }
    Some(Excerpt { span, line, cut })
}

/// Adds text that stands at an offset, its characters in the hidden stretches as stars.
fn conceal(line: &mut String, text: &str, offset: usize, hidden: &[(u32, u32)]) {
    if hidden.is_empty() {
        line.push_str(text);
        return;
    }
    for (at, c) in text.char_indices() {
        let at = (offset + at) as u32;
        let secret = hidden.iter().any(|(start, end)| (*start..*end).contains(&at));
        line.push(if secret { '*' } else { c });
    }
}

/// At most so many bytes from the end.
fn tail(text: &str, most: usize) -> &str {
    let from = text.len().saturating_sub(most);
    (from..=text.len()).find_map(|from| text.get(from..)).unwrap_or_default()
}

/// At most so many bytes from the start.
fn head(text: &str, most: usize) -> &str {
    (0..=most.min(text.len())).rev().find_map(|to| text.get(..to)).unwrap_or_default()
}
