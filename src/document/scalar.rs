//! What a scalar without quotes means: null, a boolean, a number or text.

use super::node::Data;
use crate::value::Number;

/// The words that YAML 1.1 reads as booleans and YAML 1.2 as text. They stay text here until a schema says
/// that a boolean is wanted.
const OLD_BOOLEANS: [(&str, bool); 4] = [("yes", true), ("on", true), ("no", false), ("off", false)];

/// The boolean that YAML 1.1 reads in a word such as `yes` or `Off`.
pub fn old_boolean(text: &str) -> Option<bool> {
    let known = |word: &str| {
        let capital = |c: &str| c.get(..1).is_some_and(|first| first.chars().all(char::is_uppercase));
        text.eq_ignore_ascii_case(word)
            && (text == word
                || text == word.to_uppercase()
                || (capital(text) && text.get(1..) == word.get(1..)))
    };
    OLD_BOOLEANS.iter().find(|(word, _)| known(word)).map(|(_, value)| *value)
}

/// Reads a scalar without quotes as YAML's core schema does; numbers also in the spellings of YAML 1.1
/// (`0777`, `0b1`, `1_000`) that decK's users write.
pub fn typed(text: &str) -> Data {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Data::Null,
        "true" | "True" | "TRUE" => Data::Bool(true),
        "false" | "False" | "FALSE" => Data::Bool(false),
        _ => number(text).map_or_else(|| Data::Text(text.into()), Data::Number),
    }
}

/// A number, or `None` when the text is none. Numbers that JSON cannot hold are text.
fn number(text: &str) -> Option<Number> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    if !digits.as_bytes().first().is_some_and(|first| first.is_ascii_digit() || *first == b'.') {
        return None;
    }
    let digits: std::borrow::Cow<'_, str> =
        if digits.contains('_') { digits.replace('_', "").into() } else { digits.into() };
    integer(&digits, negative).or_else(|| float(&digits, negative))
}

fn integer(digits: &str, negative: bool) -> Option<Number> {
    let (radix, rest) = match digits.get(..2) {
        Some("0x" | "0X") => (16, digits.get(2..)?),
        Some("0o" | "0O") => (8, digits.get(2..)?),
        Some("0b" | "0B") => (2, digits.get(2..)?),
        Some(two) if two.starts_with('0') => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    if !rest.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = u64::from_str_radix(rest, radix).ok()?;
    if negative { 0i64.checked_sub_unsigned(magnitude).map(Number::from) } else { Some(magnitude.into()) }
}

fn float(digits: &str, negative: bool) -> Option<Number> {
    let shaped = digits.bytes().any(|byte| byte.is_ascii_digit())
        && digits
            .bytes()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    let value: f64 = if shaped { digits.parse().ok()? } else { return None };
    Number::from_f64(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match typed(text) {
            Data::Null => "null".into(),
            Data::Bool(b) => b.to_string(),
            Data::Number(n) => n.to_string(),
            Data::Text(text) => format!("{text:?}"),
            _ => "?".into(),
        }
    }

    #[test]
    fn scalars_are_typed_as_yaml_types_them() {
        for (text, want) in [
            ("", "null"),
            ("~", "null"),
            ("True", "true"),
            ("80", "80"),
            ("-7", "-7"),
            ("+7", "7"),
            ("0x1F", "31"),
            ("0o17", "15"),
            ("010", "8"),
            ("0b11", "3"),
            ("1_000", "1000"),
            ("1.5", "1.5"),
            (".5", "0.5"),
            ("1e3", "1000.0"),
            ("09", "9.0"),
            ("18446744073709551615", "18446744073709551615"),
            ("yes", "\"yes\""),
            ("1.2.3", "\"1.2.3\""),
            ("-", "\"-\""),
            (".", "\".\""),
            ("1-2", "\"1-2\""),
            ("0x", "\"0x\""),
            (".inf", "\".inf\""),
            ("2026-11-24", "\"2026-11-24\""),
            ("10.0.0.1:80", "\"10.0.0.1:80\""),
        ] {
            assert_eq!(shown(text), want, "{text}");
        }
    }

    #[test]
    fn old_booleans_are_known_in_the_spellings_of_yaml_1_1() {
        assert_eq!(old_boolean("Yes"), Some(true));
        assert_eq!(old_boolean("OFF"), Some(false));
        assert_eq!(old_boolean("oN"), None);
        assert_eq!(old_boolean("yess"), None);
        assert_eq!(old_boolean("nO"), None);
    }
}
