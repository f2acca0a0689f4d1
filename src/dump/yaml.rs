//! YAML laid out byte for byte as decK's users know it: two spaces a level, lists not indented below their key,
//! quotes only where a reader of YAML 1.1 would take the text for something else, line breaks as literal blocks, and long
//! lines broken at the first space behind the 80th column.

use crate::value::{Map, Value};
use regex::Regex;
use std::sync::LazyLock;

/// A tree as YAML, secrets included.
pub(super) fn yaml(tree: &Value) -> String {
    let mut out = String::new();
    match tree.exposed() {
        Value::Object(members) if !members.is_empty() => mapping(members, 0, &mut out),
        Value::Array(items) if !items.is_empty() => sequence(items, 0, &mut out),
        // A block that stands alone has nothing to be indented against.
        Value::String(value) => {
            push_text(value, None, &mut out);
            out.push('\n');
        }
        other => {
            push_scalar(other, 0, &mut out);
            out.push('\n');
        }
    }
    out
}

/// Writes the members, of which the first one's indentation stands there already.
fn mapping(members: &Map, indent: usize, out: &mut String) {
    for (n, (key, value)) in members.iter().enumerate() {
        if n > 0 {
            push_indent(indent, out);
        }
        push_text(key, None, out);
        out.push(':');
        match value.exposed() {
            Value::Object(inner) if !inner.is_empty() => {
                out.push('\n');
                push_indent(indent + 2, out);
                mapping(inner, indent + 2, out);
            }
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                push_indent(indent, out);
                sequence(items, indent, out);
            }
            other => {
                out.push(' ');
                push_scalar(other, indent + 2, out);
                out.push('\n');
            }
        }
    }
}

fn sequence(items: &[Value], indent: usize, out: &mut String) {
    for (n, item) in items.iter().enumerate() {
        if n > 0 {
            push_indent(indent, out);
        }
        out.push_str("- ");
        match item.exposed() {
            Value::Object(members) if !members.is_empty() => mapping(members, indent + 2, out),
            Value::Array(items) if !items.is_empty() => sequence(items, indent + 2, out),
            other => {
                push_scalar(other, indent + 2, out);
                out.push('\n');
            }
        }
    }
}

fn push_indent(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// Writes what holds nothing else; further lines of it are indented so far.
fn push_scalar(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(value) => push_text(value, Some(indent), out),
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
        Value::Secret(secret) => push_scalar(secret.expose(), indent, out),
    }
}

/// Writes a text; `indent` is that of further lines, where there may be some: not in keys.
fn push_text(value: &str, indent: Option<usize>, out: &mut String) {
    let shape = Shape::of(value);
    let style = if value.contains('\n') {
        match indent {
            Some(indent) if shape.block => return out.push_str(&literal(value, indent)),
            _ => Style::Double,
        }
    } else if means_something_else(value) || !shape.quotable {
        Style::Double
    } else if shape.plain {
        Style::Plain
    } else {
        Style::Single
    };
    push_flowing(value, style, indent, out);
}

/// How a text is marked as one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Single,
    Double,
}

/// Behind this column a line is broken at the next space.
const WIDTH: usize = 80;

/// Writes a text that a reader makes one line of, on as many as it needs.
fn push_flowing(value: &str, style: Style, indent: Option<usize>, out: &mut String) {
    let mark = match style {
        Style::Plain => "",
        Style::Single => "'",
        Style::Double => "\"",
    };
    out.push_str(mark);
    let line = out.rfind('\n').map_or(0, |end| end + 1);
    let mut column = out.get(line..).map_or(0, |line| line.chars().count());
    let mut after_space = false;
    let mut chars = value.chars().peekable();
    let mut first = true;
    while let Some(c) = chars.next() {
        let start = out.len();
        if c == ' ' {
            let next = chars.peek();
            let before_space = next == Some(&' ');
            // Within quotes a space at either end has to stay, and so has one before another, unless it is escaped.
            let breaks = !after_space
                && column > WIDTH
                && (style == Style::Plain || (!first && next.is_some()))
                && (style == Style::Double || !before_space);
            match indent {
                Some(indent) if breaks => {
                    out.push('\n');
                    push_indent(indent, out);
                    column = indent;
                    if before_space {
                        out.push('\\');
                        column += 1;
                    }
                }
                _ => {
                    out.push(' ');
                    column += 1;
                }
            }
        } else {
            match style {
                Style::Plain => out.push(c),
                Style::Single if c == '\'' => out.push_str("''"),
                Style::Single => out.push(c),
                Style::Double => push_escaped(c, out),
            }
            column += out.get(start..).map_or(0, |piece| piece.chars().count());
        }
        after_space = c == ' ';
        first = false;
    }
    out.push_str(mark);
}

/// In which styles a text keeps its meaning.
struct Shape {
    plain: bool,
    /// Within single quotes.
    quotable: bool,
    /// As a literal block.
    block: bool,
}

impl Shape {
    fn of(value: &str) -> Self {
        let printable =
            |c: char| c == '\n' || !c.is_control() && !matches!(c, '\u{feff}' | '\u{fffe}' | '\u{ffff}');
        let special = !value.chars().all(printable) || value.contains(['\u{85}', '\u{2028}', '\u{2029}']);
        let ends_in_space = value.ends_with(' ');
        let space_before_break = value.contains(" \n");
        let indicated = value.starts_with("---") || value.starts_with("...") || has_indicators(value);
        Shape {
            plain: !(special || indicated || ends_in_space || value.starts_with(' ') || value.is_empty()),
            quotable: !special,
            block: !(special || ends_in_space || space_before_break),
        }
    }
}

fn has_indicators(value: &str) -> bool {
    let mut before = ' ';
    let mut chars = value.chars().peekable();
    let mut first = true;
    while let Some(c) = chars.next() {
        let ends_word = chars.peek().is_none_or(|next| next.is_whitespace());
        let found = match c {
            ':' => ends_word,
            '#' => before.is_whitespace(),
            '-' | '?' if first => ends_word,
            ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => first,
            _ => false,
        };
        if found {
            return true;
        }
        before = c;
        first = false;
    }
    false
}

/// Whether a reader of YAML 1.1 would take a plain text for a number, a truth value, a time or nothing.
fn means_something_else(value: &str) -> bool {
    const WORDS: [&str; 40] = [
        "", "~", "null", "Null", "NULL", "y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On",
        "ON", "n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF", ".nan", ".NaN",
        ".NAN", ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF", "<<",
    ];
    static NUMBERS: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let decimal = r"[-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?";
        let dot_last = r"[-+]?[0-9]+\.";
        let based = "[-+]?0(?:[xX][0-9a-fA-F]+|[oO]?[0-7]+|[bB][01]+)";
        let sixties = r"[-+]?[0-9]+(?::[0-5]?[0-9])+(?:\.[0-9]*)?";
        let time = r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:(?:[Tt]| +)[0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}(?:\.[0-9]*)?(?:Z|[-+][0-9]{2}:[0-9]{2})?)?";
        Regex::new(&format!("^(?:{decimal}|{dot_last}|{based}|{sixties}|{time})$")).ok()
    });
    WORDS.contains(&value)
        || value.starts_with(['+', '-', '.']) | value.starts_with(|c: char| c.is_ascii_digit())
            && NUMBERS.as_ref().is_none_or(|numbers| numbers.is_match(&value.replace('_', "")))
}

fn literal(value: &str, indent: usize) -> String {
    let mut out = String::from("|");
    if value.starts_with([' ', '\n']) {
        out.push('2');
    }
    match value.strip_suffix('\n') {
        None => out.push('-'),
        Some(rest) if rest.ends_with('\n') || rest.is_empty() => out.push('+'),
        Some(_) => {}
    }
    let body = value.strip_suffix('\n').unwrap_or(value);
    for line in body.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            push_indent(indent, &mut out);
            out.push_str(line);
        }
    }
    out
}

/// A character as it stands between double quotes.
fn push_escaped(c: char, out: &mut String) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\t' => out.push_str("\\t"),
        '\r' => out.push_str("\\r"),
        '\0' => out.push_str("\\0"),
        '\u{85}' => out.push_str("\\N"),
        '\u{2028}' => out.push_str("\\L"),
        '\u{2029}' => out.push_str("\\P"),
        c if c.is_control() && u32::from(c) <= 0xff => out.push_str(&format!("\\x{:02X}", u32::from(c))),
        c if matches!(c, '\u{feff}' | '\u{fffe}' | '\u{ffff}') => {
            out.push_str(&format!("\\u{:04X}", u32::from(c)));
        }
        c => out.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn shown(value: &str) -> String {
        let mut out = String::new();
        push_text(value, Some(2), &mut out);
        out
    }

    #[test]
    fn texts_are_quoted_only_where_they_would_be_something_else() {
        for plain in
            ["a", "a b", "10.0.0.1:80", "127.0.0.1", "~/re$", "http://x/y", "a#b", "-x", "x-", "a,b", "1.2.3"]
        {
            assert_eq!(shown(plain), plain);
        }
        for single in [
            "*.a.test",
            "[::1]:80",
            "{vault://env/x}",
            "a: b",
            "a #b",
            "- x",
            "@x",
            "%x",
            " x",
            "x ",
            "a:",
            "'x'",
        ] {
            assert_eq!(shown(single), format!("'{}'", single.replace('\'', "''")));
        }
        for double in [
            "",
            "true",
            "on",
            "y",
            "12",
            "3.0",
            "1e3",
            "0x1F",
            "~",
            "null",
            "10:20",
            "2024-01-01",
            "1_000",
            "\u{7}",
        ] {
            assert!(shown(double).starts_with('"'), "{double}: {}", shown(double));
        }
    }

    #[test]
    fn line_breaks_are_literal_blocks() {
        assert_eq!(shown("a\nb\n"), "|\n  a\n  b");
        assert_eq!(shown("a\nb"), "|-\n  a\n  b");
        assert_eq!(shown("a\n\n"), "|+\n  a\n");
        assert_eq!(shown(" a\nb"), "|2-\n   a\n  b");
        assert_eq!(shown("a \nb"), "\"a \\nb\"");
    }

    #[test]
    fn long_lines_break_behind_the_80th_column() {
        let words = "word ".repeat(18);
        let words = words.trim_end();
        let (head, tail) = ("word ".repeat(17), "word");
        assert_eq!(shown(words), format!("{}\n  {tail}", head.trim_end()));
        // What a reader would take away stays on its line.
        assert_eq!(shown(&format!("x{}  y", "y".repeat(90))), format!("x{}  y", "y".repeat(90)));
        assert_eq!(shown(&format!("{} a: b", "z".repeat(90))), format!("'{}\n  a: b'", "z".repeat(90)));
        let lines = format!("a \nb{}   end", "c".repeat(80));
        assert_eq!(shown(&lines), format!("\"a \\nb{}\n  \\  end\"", "c".repeat(80)));
        // Keys are never broken.
        let mut out = String::new();
        push_text(words, None, &mut out);
        assert_eq!(out, words);
    }

    fn any_tree() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            "[ -~]{0,12}",
            "([a-c'\":#]{0,30} {1,3}){0,9}",
            "\\PC{0,6}",
            "[a \\n\\t:#'\"-]{0,8}",
            "[0-9+._:eExob-]{0,6}"
        ];
        let leaf = prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(|value| json!(value)),
            any::<i64>().prop_map(|value| json!(value)),
            text.prop_map(|value| json!(value)),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(|items| json!(items)),
                prop::collection::btree_map("[ -~]{0,8}", inner, 0..4).prop_map(|members| json!(members)),
            ]
        })
        .prop_map(Value::from)
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(tree in any_tree()) {
            let text = yaml(&tree);
            let read: serde_json::Value = serde_saphyr::from_str(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
            prop_assert_eq!(Value::from(read), tree, "{}", text);
        }
    }
}
