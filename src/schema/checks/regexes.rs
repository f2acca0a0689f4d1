//! Regular expressions: whether a text is one, and PCRE's words when it is not.

use super::{Outcome, demand};
use fancy_regex::{Error, ParseError, Regex};

/// Whether a text is a regular expression.
pub fn is_regex(pattern: &str) -> bool {
    is_plain(pattern) || Regex::new(pattern).is_ok()
}

/// Whether reading the text already shows that it is a regular expression, for Rust's `regex` and for PCRE alike.
/// Making its automaton costs a hundred times more. Counted repetitions are left out: only the automaton shows their size.
pub fn is_plain(pattern: &str) -> bool {
    !pattern.contains('{') && regex_syntax::parse(pattern).is_ok()
}

/// What PCRE would say of a faulty regular expression; `None` for a good one.
pub fn pcre_fault(pattern: &str) -> Option<String> {
    if is_plain(pattern) {
        return None;
    }
    let fault = Regex::new(pattern).err()?;
    let (words, at) = match &fault {
        Error::ParseError(at, kind) => (words(pattern, kind), Some(*at)),
        _ => ("internal error: code overflow".to_owned(), None),
    };
    // PCRE names the rest of the pattern when it did not get to the end.
    let rest = at.and_then(|at| pattern.get(at..)).filter(|rest| !rest.is_empty());
    Some(match rest {
        Some(rest) => format!("pcre2_compile() failed: {words} in \"{pattern}\" at \"{rest}\""),
        None => format!("pcre2_compile() failed: {words} in \"{pattern}\""),
    })
}

fn words(pattern: &str, kind: &ParseError) -> String {
    match kind {
        ParseError::InvalidClass => "missing terminating ] for character class".to_owned(),
        ParseError::UnclosedOpenParen => "missing closing parenthesis".to_owned(),
        ParseError::TargetNotRepeatable => "quantifier does not follow a repeatable item".to_owned(),
        ParseError::TrailingBackslash => "\\ at end of pattern".to_owned(),
        ParseError::InvalidGroupName => "subpattern name expected".to_owned(),
        _ if pattern.matches(')').count() > pattern.matches('(').count() => {
            "unmatched closing parenthesis".to_owned()
        }
        other => other.to_string(),
    }
}

/// `*`, or a regular expression.
pub fn regex_or_asterisk(text: &str) -> Outcome {
    demand(text == "*" || is_regex(text), || format!("'{text}' is not a valid regex"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_as_pcre_tells_them() {
        for good in ["/v[0-9]+$", "/v\\d{1,3}", "(?!a)b", "https://a.test"] {
            assert_eq!(pcre_fault(good), None);
            assert!(is_regex(good));
        }
        for (pattern, words) in [
            ("/v[0-9+$", "missing terminating ] for character class in \"/v[0-9+$\""),
            ("/(a", "missing closing parenthesis in \"/(a\""),
        ] {
            assert_eq!(pcre_fault(pattern), Some(format!("pcre2_compile() failed: {words}")));
        }
    }
}
