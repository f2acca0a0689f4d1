//! Regular expressions: whether a text is one, and PCRE's words when it is not.

use super::{Outcome, demand};
use fancy_regex::{Error, ParseError, Regex};

/// Whether a text is a regular expression.
pub fn is_regex(pattern: &str) -> bool {
    Regex::new(pattern).is_ok()
}

/// What PCRE would say of a faulty regular expression; `None` for a good one.
pub fn pcre_fault(pattern: &str) -> Option<String> {
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
        assert_eq!(pcre_fault("/v[0-9]+$"), None);
        for (pattern, words) in [
            ("/v[0-9+$", "missing terminating ] for character class in \"/v[0-9+$\""),
            ("/(a", "missing closing parenthesis in \"/(a\""),
        ] {
            assert_eq!(pcre_fault(pattern), Some(format!("pcre2_compile() failed: {words}")));
        }
    }
}
