//! What not to show of a text that cannot be read: nobody knows which of its values are secret.

use super::text::{Span, Text};
use crate::diagnostics::Diagnostic;

/// How far from a problem its line is looked at, in bytes; renderers show less.
const FAR: usize = 1024;
/// What gives a line its structure and is shown.
const STRUCTURE: &str = "[]{},:\"' \t";

/// The values in the lines of problems: all that follows the first key of a line, but for what gives it structure.
pub(super) fn values(text: &Text, problems: &[Diagnostic]) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut done = None;
    for place in problems.iter().filter_map(|problem| problem.place.as_ref()) {
        let offset = place.start.offset as usize;
        if done == Some(offset) {
            continue;
        }
        done = Some(offset);
        line_values(text.shared(), offset, &mut spans);
    }
    spans
}

fn line_values(text: &str, offset: usize, spans: &mut Vec<Span>) {
    let whole = |at: &usize| text.is_char_boundary(*at);
    let from = (offset.saturating_sub(FAR)..=offset).find(whole).unwrap_or(offset);
    let to = (offset..=text.len().min(offset.saturating_add(FAR))).rev().find(whole).unwrap_or(offset);
    let (before, after) =
        (text.get(from..offset).unwrap_or_default(), text.get(offset..to).unwrap_or_default());
    let begins = before.rfind(['\n', '\r']).map(|at| at + 1);
    let start = from + begins.unwrap_or(0);
    let end = offset + after.find(['\n', '\r']).unwrap_or(after.len());
    let line = text.get(start..end).unwrap_or_default();
    // Of a line whose beginning is too far away nothing is a key.
    let key = if begins.is_some() || from == 0 { key_length(line) } else { 0 };
    let mut hidden: Option<usize> = None;
    for (at, c) in line.char_indices().skip_while(|(at, _)| *at < key).chain([(line.len(), ' ')]) {
        match (hidden, STRUCTURE.contains(c)) {
            (None, false) => hidden = Some(at),
            (Some(first), true) => {
                spans.push(Span::new(start + first, start + at));
                hidden = None;
            }
            _ => {}
        }
    }
}

/// The length of what a line begins with that is no value: indentation, `- ` and the first key with its colon.
fn key_length(line: &str) -> usize {
    let inner = line.trim_start_matches([' ', '\t', '-', '{', '[', '"', '\'']);
    let before = line.len() - inner.len();
    let word = inner.find(|c: char| !(c.is_alphanumeric() || "_-.".contains(c))).unwrap_or(inner.len());
    let rest = inner.get(word..).unwrap_or_default().trim_start_matches(['"', '\'']);
    let ends = rest.strip_prefix(':').is_some_and(|after| after.is_empty() || after.starts_with([' ', '\t']));
    if ends { before + word } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::{Format, SourceMap, codes, render};

    /// The line of a text that a problem at the mark `^` shows.
    fn shown(marked: &str) -> String {
        let offset = marked.find('^').unwrap();
        let text = Text::new("f".into(), marked.replacen('^', "", 1).as_str().into());
        let problem = Diagnostic::error(codes::SYNTAX, "x").at(text.place(Span::new(offset, offset)));
        let mut sources = SourceMap::default();
        sources.insert("f".into(), text.shared().clone());
        for span in values(&text, std::slice::from_ref(&problem)) {
            sources.conceal(&text.place(span));
        }
        let frame = render(&[problem], &sources, Format::Text, false);
        let line = frame.lines().find(|line| line.contains(" | ") && !line.trim_start().starts_with('|'));
        line.and_then(|line| line.split_once(" | ")).map(|(_, line)| line.to_owned()).unwrap_or_default()
    }

    #[test]
    fn keys_and_structure_are_shown_and_values_are_not() {
        for (text, want) in [
            ("a: 1\n  - key: hus^h # why\nb: 2", "  - key: **** * ***"),
            ("key: \"hush^", "key: \"****"),
            ("{\"key\": ^[hush, \"x\"]", "{\"key\": [****, \"*\"]"),
            ("- hus^h", "* ****"),
            ("Zm9v\nYmFy^+/==\n", "********"),
            ("-----BEGIN KEY^-----", "********** ********"),
            ("http://u:p^@h", "****:***:***"),
        ] {
            assert_eq!(shown(text), want, "{text}");
        }
    }

    #[test]
    fn a_long_line_is_hidden_from_its_first_key_on() {
        let long = shown(&format!("key: {}^{}", "x".repeat(5000), "x".repeat(5000)));
        assert!(long.trim_matches('.').chars().all(|c| c == '*'), "{long}");
    }
}
