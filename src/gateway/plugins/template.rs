//! Templates in configured values: `$(headers["x-app"])`, `$(query_params.q or "none")`, `$(uri_captures.id)`.
//!
//! Kong runs these as Lua. Here are the expressions that configurations are made of: fields of the four tables,
//! texts, numbers, `or`, and `..`. Anything else is refused when the configuration is read.

use super::ConfigError;
use super::arguments::parse;
use crate::gateway::proxy::Context;

/// A text with expressions in it.
#[derive(Debug)]
pub struct Template(Vec<Part>);

#[derive(Debug)]
enum Part {
    Text(String),
    Value(Vec<Vec<Term>>),
}

/// One operand: alternatives (`or`) of concatenated (`..`) terms make an expression.
#[derive(Debug)]
enum Term {
    Literal(String),
    Field(Table, String),
}

#[derive(Clone, Copy, Debug)]
enum Table {
    Headers,
    Query,
    Captures,
    Shared,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// [`ConfigError`] naming the expression that is not understood.
    pub fn parse(field: &str, text: &str) -> Result<Self, ConfigError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find("$(") {
            let (before, after) = rest.split_at(start);
            let inside = after.get(2..).unwrap_or_default();
            let end = closing(inside)
                .ok_or_else(|| ConfigError::new(field, format!("{text:?} has no closing )")))?;
            let (expression, tail) = inside.split_at(end);
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let value = expression_of(expression).ok_or_else(|| {
                ConfigError::new(field, format!("the expression {expression:?} is not executed here"))
            })?;
            parts.push(Part::Value(value));
            rest = tail.get(1..).unwrap_or_default();
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Template(parts))
    }

    /// The text for this request; what is absent is empty.
    pub fn render(&self, context: &Context) -> String {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Value(alternatives) => {
                    let value = alternatives.iter().find_map(|terms| {
                        terms.iter().map(|term| term.value(context)).collect::<Option<Vec<_>>>()
                    });
                    out.extend(value.into_iter().flatten());
                }
            }
        }
        out
    }
}

impl Term {
    fn value(&self, context: &Context) -> Option<String> {
        match self {
            Term::Literal(text) => Some(text.clone()),
            Term::Field(Table::Headers, name) => {
                let value = context.header(&name.replace('_', "-").parse().ok()?)?;
                Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
            }
            Term::Field(Table::Query, name) => {
                let found =
                    parse(context.outbound.query.as_deref()?).into_iter().find(|(known, _)| known == name);
                found.map(|(_, value)| value.unwrap_or_else(|| "true".to_owned()))
            }
            Term::Field(Table::Captures, name) => {
                context.captures.iter().find(|(known, _)| **known == **name).map(|(_, text)| text.to_string())
            }
            Term::Field(Table::Shared, name) => match context.log.get(name)? {
                serde_json::Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            },
        }
    }
}

/// Where the parenthesis closes that stands before this text.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0usize, None);
    for (position, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') if depth == 0 => return Some(position),
            (None, ')') => depth -= 1,
            (None, _) => {}
        }
    }
    None
}

fn expression_of(text: &str) -> Option<Vec<Vec<Term>>> {
    split(text, " or ").into_iter().map(|side| split(side, "..").into_iter().map(term).collect()).collect()
}

/// Splits at an operator outside of quotes.
fn split<'a>(text: &'a str, operator: &str) -> Vec<&'a str> {
    let (mut parts, mut start, mut quote) = (Vec::new(), 0, None);
    for (position, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, _)
                if position >= start
                    && text.get(position..).is_some_and(|rest| rest.starts_with(operator)) =>
            {
                parts.extend(text.get(start..position));
                start = position + operator.len();
            }
            (None, _) => {}
        }
    }
    parts.extend(text.get(start..));
    parts
}

fn quoted(text: &str) -> Option<&str> {
    ['"', '\''].iter().find_map(|quote| {
        text.strip_prefix(*quote)?.strip_suffix(*quote).filter(|inner| !inner.contains(*quote))
    })
}

fn term(text: &str) -> Option<Term> {
    let text = text.trim();
    if let Some(literal) = quoted(text) {
        return Some(Term::Literal(literal.to_owned()));
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Some(Term::Literal(text.to_owned()));
    }
    let (table, rest) = [
        ("headers", Table::Headers),
        ("query_params", Table::Query),
        ("uri_captures", Table::Captures),
        ("shared", Table::Shared),
    ]
    .iter()
    .find_map(|(name, table)| text.strip_prefix(name).map(|rest| (*table, rest)))?;
    let name = match rest.strip_prefix('.') {
        Some(name) => name,
        None => {
            let inner = rest.strip_prefix('[')?.strip_suffix(']')?.trim();
            quoted(inner).or_else(|| inner.bytes().all(|b| b.is_ascii_digit()).then_some(inner))?
        }
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (!name.is_empty() && name.bytes().all(plain)).then(|| Term::Field(table, name.to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_understood_or_refused() {
        for good in [
            "plain $ text",
            "$(headers[\"x-in\"])",
            "a-$(uri_captures[1])-$(uri_captures.id or 'none')",
            "$(\"p \" .. query_params.q .. ')')",
        ] {
            Template::parse("add.headers", good).unwrap();
        }
        for bad in ["$(os.exit())", "$(headers[\"x\"]", "$(headers[x])", "$()"] {
            assert!(Template::parse("add.headers", bad).is_err(), "{bad}");
        }
    }
}
