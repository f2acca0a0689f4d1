//! Two JSON values as lines with `-` and `+`, keys sorted, what is new in an object after what was there.

use super::Fingerprints;
use crate::value::{Exposed, Map, Value};
use similar::{Algorithm, DiffOp, capture_diff_slices};

/// What a line of a difference says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The line is on both sides.
    Same,
    /// The line goes.
    Gone,
    /// The line is new.
    New,
}

impl Mark {
    /// The line's first character.
    pub fn sign(self) -> char {
        match self {
            Mark::Same => ' ',
            Mark::Gone => '-',
            Mark::New => '+',
        }
    }
}

/// One line of a difference: JSON without its mark, indented by two spaces a level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Which side has it.
    pub mark: Mark,
    /// The text.
    pub text: String,
}

/// How texts are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Texts {
    /// As JSON: each on one line.
    Json,
    /// As they are, between quotes, as decK shows them: certificates and scripts can be read. Only line breaks and tabs
    /// of the control characters, so that a terminal does nothing else.
    Plain,
}

/// The lines between the braces of two objects' difference. Secrets that change show their fingerprints.
pub fn lines(old: &Map, new: &Map, texts: Texts, fingerprints: &Fingerprints) -> Vec<Line> {
    let mut writer = Writer { fingerprints, texts, lines: Vec::new(), left: Vec::new() };
    // A list of the entity itself that holds nothing is shown as decK shows it: not at all.
    let said = |side: &Map| {
        let empty = |value: &Value| matches!(value, Value::Array(items) if items.is_empty());
        side.iter()
            .filter(|(_, value)| !empty(value))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    let (old, new): (Map, Map) = (said(old), said(new));
    writer.object(&old, &new);
    writer.lines
}

struct Writer<'a> {
    fingerprints: &'a Fingerprints,
    texts: Texts,
    lines: Vec<Line>,
    /// For each open object or list, how many of its old members are still to come: the last has no comma.
    left: Vec<usize>,
}

impl Writer<'_> {
    fn line(&mut self, mark: Mark, text: String) {
        let depth = self.left.len();
        self.lines.push(Line { mark, text: format!("{}{text}", "  ".repeat(depth)) });
    }

    /// One member less to come; whether more follow.
    fn comma(&mut self) -> &'static str {
        match self.left.last_mut() {
            Some(left) => {
                *left = left.saturating_sub(1);
                if *left > 0 { "," } else { "" }
            }
            None => "",
        }
    }

    fn object(&mut self, old: &Map, new: &Map) {
        self.left.push(old.len());
        for (name, was) in old {
            match new.get(name) {
                Some(is) => self.pair(&key(name), was, is),
                None => self.whole(Mark::Gone, &key(name), was, false),
            }
        }
        for (name, is) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
            self.whole(Mark::New, &key(name), is, false);
        }
        self.left.pop();
    }

    fn list(&mut self, old: &[Value], new: &[Value]) {
        self.left.push(old.len());
        let (was, is) = (texts(old), texts(new));
        for op in capture_diff_slices(Algorithm::Myers, &was, &is) {
            match op {
                DiffOp::Equal { old_index, len, .. } => {
                    for item in old.iter().skip(old_index).take(len) {
                        self.whole(Mark::Same, "", item, false);
                    }
                }
                DiffOp::Delete { old_index, old_len, .. } => {
                    for item in old.iter().skip(old_index).take(old_len) {
                        self.whole(Mark::Gone, "", item, false);
                    }
                }
                DiffOp::Insert { new_index, new_len, .. } => {
                    for item in new.iter().skip(new_index).take(new_len) {
                        self.inserted(item);
                    }
                }
                DiffOp::Replace { old_index, old_len, new_index, new_len } => {
                    let both = old_len.min(new_len);
                    for (was, is) in old.iter().skip(old_index).zip(new.iter().skip(new_index)).take(both) {
                        self.pair("", was, is);
                    }
                    for item in old.iter().skip(old_index + both).take(old_len - both) {
                        self.whole(Mark::Gone, "", item, false);
                    }
                    for item in new.iter().skip(new_index + both).take(new_len - both) {
                        self.inserted(item);
                    }
                }
            }
        }
        self.left.pop();
    }

    /// A new item between old ones does not count as one of them.
    fn inserted(&mut self, item: &Value) {
        if let Some(left) = self.left.last_mut() {
            *left += usize::from(*left > 0);
        }
        self.whole(Mark::New, "", item, false);
    }

    fn pair(&mut self, key: &str, was: &Value, is: &Value) {
        match (was, is) {
            _ if was == is => self.whole(Mark::Same, key, is, false),
            (Value::Object(was), Value::Object(is)) => self.nested(key, "{", "}", |w| w.object(was, is)),
            (Value::Array(was), Value::Array(is)) => self.nested(key, "[", "]", |w| w.list(was, is)),
            _ => {
                let left = self.left.last().copied();
                self.whole(Mark::Gone, key, was, true);
                if let (Some(now), Some(before)) = (self.left.last_mut(), left) {
                    *now = before;
                }
                self.whole(Mark::New, key, is, true);
            }
        }
    }

    fn nested(&mut self, key: &str, open: &str, close: &str, inside: impl FnOnce(&mut Self)) {
        self.line(Mark::Same, format!("{key}{open}"));
        inside(self);
        let comma = self.comma();
        self.line(Mark::Same, format!("{close}{comma}"));
    }

    /// A value all of whose lines have one mark. `changed`: secrets in it show their fingerprints.
    fn whole(&mut self, mark: Mark, key: &str, value: &Value, changed: bool) {
        match value {
            Value::Object(members) => {
                self.line(mark, format!("{key}{{"));
                self.left.push(members.len());
                for (name, member) in members {
                    self.whole(mark, &self::key(name), member, changed);
                }
                self.left.pop();
                let comma = self.comma();
                self.line(mark, format!("}}{comma}"));
            }
            Value::Array(items) => {
                self.line(mark, format!("{key}["));
                self.left.push(items.len());
                for item in items {
                    self.whole(mark, "", item, changed);
                }
                self.left.pop();
                let comma = self.comma();
                self.line(mark, format!("]{comma}"));
            }
            scalar => {
                let text = match scalar {
                    Value::Secret(secret) if changed => json(&Value::from(self.fingerprints.show(secret))),
                    Value::String(text) if self.texts == Texts::Plain => plain(text),
                    other => json(other),
                };
                let comma = self.comma();
                self.line(mark, format!("{key}{text}{comma}"));
            }
        }
    }
}

fn key(name: &str) -> String {
    format!("{}: ", json(&Value::from(name)))
}

/// Compact JSON, secrets as their origins.
fn json(value: &Value) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// A text between quotes, without its control characters but line breaks and tabs.
fn plain(text: &str) -> String {
    let escaped = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    match text.chars().any(escaped) {
        true => json(&Value::from(text)),
        false => format!("\"{text}\""),
    }
}

/// The items' texts, to compare them by. They hold secrets in clear and are never shown.
fn texts(items: &[Value]) -> Vec<String> {
    items.iter().map(|item| serde_json::to_string(&Exposed(item)).unwrap_or_default()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(texts: Texts) -> String {
        let map = |value| match Value::from(value) {
            Value::Object(members) => members,
            _ => Map::new(),
        };
        let old =
            map(json!({"add": {"body": [], "headers": ["a"]}, "script": "say \"a\"\nend", "bell": "\u{7}"}));
        let new =
            map(json!({"add": {"body": [], "headers": ["b"]}, "script": "say \"a\"\nend", "bell": "\u{7}"}));
        let lines = lines(&old, &new, texts, &Fingerprints::new([0; 16]));
        lines.iter().map(|line| format!("{}{}\n", line.mark.sign(), line.text)).collect()
    }

    #[test]
    fn empty_lists_have_two_lines_and_texts_are_written_as_they_are_or_as_json() {
        insta::assert_snapshot!(shown(Texts::Plain));
        assert!(shown(Texts::Json).contains(r#""say \"a\"\nend""#));
    }
}
