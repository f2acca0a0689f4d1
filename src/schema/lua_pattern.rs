//! Lua patterns, as Kong's schemas write them, by way of regular expressions.

use regex::Regex;
use std::fmt;
use std::sync::OnceLock;

/// A Lua pattern. The regular expression that means the same is made at the first use.
#[derive(Clone)]
pub struct Pattern {
    lua: Box<str>,
    regex: OnceLock<Option<Regex>>,
}

impl Pattern {
    /// A pattern, or what is wrong with it.
    pub fn new(lua: &str) -> Result<Self, String> {
        translate(lua).map(|_| Pattern { lua: lua.into(), regex: OnceLock::new() })
    }

    /// The pattern as the schema writes it.
    pub fn as_str(&self) -> &str {
        &self.lua
    }

    /// The regular expression that means the same, as JSON Schema spells it.
    pub fn to_ecma(&self) -> String {
        let translated = translate(&self.lua).unwrap_or_default();
        let body = translated.strip_prefix("(?s)").unwrap_or(&translated);
        body.replace(r"\A", "^").replace(r"\z", "$")
    }

    /// Whether the pattern matches somewhere in the text.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex
            .get_or_init(|| translate(&self.lua).ok().and_then(|source| Regex::new(&source).ok()))
            .as_ref()
            .is_some_and(|regex| regex.is_match(text))
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.lua)
    }
}

/// What a class letter means inside brackets; `None` for a letter that is no class.
fn class(letter: char) -> Option<&'static str> {
    Some(match letter {
        'a' => "A-Za-z",
        'd' => "0-9",
        'l' => "a-z",
        'u' => "A-Z",
        'w' => "A-Za-z0-9",
        'x' => "A-Fa-f0-9",
        's' => r"\t\n\x0B\x0C\r ",
        'c' => r"\x00-\x1F\x7F",
        'p' => r"!-/:-@\[-`{-~",
        'g' => "!-~",
        _ => return None,
    })
}

/// What the negated class letter means inside brackets.
fn negated_class(letter: char) -> Option<String> {
    class(letter.to_ascii_lowercase()).filter(|_| letter.is_ascii_uppercase()).map(|set| format!("[^{set}]"))
}

fn push_literal(out: &mut String, c: char) {
    if c.is_ascii() && !c.is_ascii_alphanumeric() && c != ' ' && c != '_' {
        out.push_str(&format!("\\x{:02X}", c as u32));
    } else {
        out.push(c);
    }
}

/// The regular expression that means the same as a Lua pattern. `%b`, `%f` and back references have none.
fn translate(lua: &str) -> Result<String, String> {
    let mut out = String::from("(?s)");
    let chars: Vec<char> = lua.chars().collect();
    let mut at = 0;
    if chars.first() == Some(&'^') {
        out.push_str(r"\A");
        at = 1;
    }
    while let Some(&c) = chars.get(at) {
        at += 1;
        match c {
            '$' if at == chars.len() => {
                out.push_str(r"\z");
                break;
            }
            '(' | ')' => {
                out.push(c);
                continue;
            }
            '.' => out.push('.'),
            '%' => {
                let letter = *chars.get(at).ok_or("the pattern ends in %")?;
                at += 1;
                escape(&mut out, letter)?;
            }
            '[' => at = set(&mut out, &chars, at)?,
            other => push_literal(&mut out, other),
        }
        match chars.get(at) {
            Some('-') => {
                out.push_str("*?");
                at += 1;
            }
            Some(&repeat @ ('*' | '+' | '?')) => {
                out.push(repeat);
                at += 1;
            }
            _ => {}
        }
    }
    Ok(out)
}

fn escape(out: &mut String, letter: char) -> Result<(), String> {
    if let Some(set) = class(letter) {
        out.push_str(&format!("[{set}]"));
    } else if let Some(set) = negated_class(letter) {
        out.push_str(&set);
    } else if letter.is_ascii_alphanumeric() {
        return Err(format!("%{letter} has no regular expression that means the same"));
    } else {
        push_literal(out, letter);
    }
    Ok(())
}

/// A set in brackets; gives the position after it.
fn set(out: &mut String, chars: &[char], mut at: usize) -> Result<usize, String> {
    out.push('[');
    if chars.get(at) == Some(&'^') {
        out.push('^');
        at += 1;
    }
    let mut first = true;
    loop {
        let c = *chars.get(at).ok_or("a set without its closing bracket")?;
        at += 1;
        match c {
            ']' if !first => break,
            '%' => {
                let letter = *chars.get(at).ok_or("the pattern ends in %")?;
                at += 1;
                match (class(letter), negated_class(letter)) {
                    (Some(set), _) => out.push_str(set),
                    (None, Some(set)) => out.push_str(&set),
                    (None, None) => push_literal(out, letter),
                }
            }
            low => {
                push_literal(out, low);
                if chars.get(at) == Some(&'-') && chars.get(at + 1).is_some_and(|high| *high != ']') {
                    out.push('-');
                    push_literal(out, chars.get(at + 1).copied().unwrap_or_default());
                    at += 2;
                }
            }
        }
        first = false;
    }
    out.push(']');
    Ok(at)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn patterns_match_as_in_lua() {
        let cases = [
            ("^%u+$", "GET", true),
            ("^%u+$", "post", false),
            ("^[a-z][a-z%d-]-[a-z%d]+$", "my-vault1", true),
            ("^[a-z][a-z%d-]-[a-z%d]+$", "Bad_Prefix", false),
            ("^[%a_-][%a%d_-]*$", "1bad", false),
            ("^[%a_-][%a%d_-]*$", "_ok-1", true),
            ("^[^*]*%*?[^*]*$", "*.a.b", true),
            ("^[^*]*%*?[^*]*$", "*.a.*", false),
            ("%.%*$", "a.*", true),
            ("//", "/a//b", true),
            ("^[^:]+:.*$", "X-A:b\nc", true),
            ("^~/", "~/x", true),
            ("%w*%p*@+%w*%.?%w*", "ops@site.test", true),
            ("%w*%p*@+%w*%.?%w*", "ops", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(Pattern::new(pattern).unwrap().is_match(text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn what_cannot_be_translated_says_so() {
        assert!(Pattern::new("%b()").is_err());
        assert!(Pattern::new("[a").is_err());
        assert!(Pattern::new("a%").is_err());
    }
}
