//! YAML laid out byte for byte as decK's users know it: two spaces a level, lists not indented below their key,
//! quotes only where a reader of YAML 1.1 would take the text for something else, line breaks as literal blocks.
//!
//! Long lines stay whole: folding them would make every edit of one a change of many lines.

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
            out.push_str(&text(value, None));
            out.push('\n');
        }
        other => {
            out.push_str(&scalar(other, 0));
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
        out.push_str(&text(key, None));
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
                out.push_str(&scalar(other, indent + 2));
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
                out.push_str(&scalar(other, indent + 2));
                out.push('\n');
            }
        }
    }
}

fn push_indent(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// What needs no lines of its own; the lines of a literal block are indented so far.
fn scalar(value: &Value, indent: usize) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(value) => text(value, Some(indent)),
        Value::Array(_) => "[]".to_owned(),
        Value::Object(_) => "{}".to_owned(),
        Value::Secret(secret) => scalar(secret.expose(), indent),
    }
}

/// A text; `block` is the indentation of a literal block where one may stand.
fn text(value: &str, block: Option<usize>) -> String {
    let shape = Shape::of(value);
    if value.contains('\n') {
        return match block {
            Some(indent) if shape.block => literal(value, indent),
            _ => double_quoted(value),
        };
    }
    if means_something_else(value) || !shape.quotable {
        double_quoted(value)
    } else if shape.plain {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', "''"))
    }
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

fn double_quoted(value: &str) -> String {
    let mut out = String::from("\"");
    for c in value.chars() {
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
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn shown(value: &str) -> String {
        text(value, Some(2))
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

    fn any_tree() -> impl Strategy<Value = Value> {
        let text = prop_oneof!["[ -~]{0,12}", "\\PC{0,6}", "[a \\n\\t:#'\"-]{0,8}", "[0-9+._:eExob-]{0,6}"];
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
