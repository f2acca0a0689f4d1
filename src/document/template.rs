//! Text with variables: `${{ env "NAME" | toInt }}`, `$NAME`, `${NAME:-default}`.

use super::options::{Expansion, Options, Unset, Variables};
use super::scalar::typed;
use super::text::{Span, Text};
use super::{mask::Piece, node::Data};
use crate::diagnostics::{Diagnostic, codes};
use crate::schema::is_reference_text;
use crate::value::{Number, Origin, Secret, Value};
use std::sync::Arc;

/// A scalar that holds variables, or what looks like them.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    parts: Box<[Part]>,
    /// The scalar is one unquoted expression and nothing else: its value is typed as YAML types it.
    typed: bool,
    /// How far the lines of a block scalar are indented, for `indent`.
    indent: usize,
}

#[derive(Clone, Debug, PartialEq)]
struct Part {
    /// As it is written.
    raw: Box<str>,
    span: Span,
    what: What,
}

#[derive(Clone, Debug, PartialEq)]
enum What {
    Text,
    /// `$$` in the shell spelling.
    Dollar,
    /// decK's spelling.
    Deck(Box<str>, Box<[Filter]>),
    Shell(Box<str>, Otherwise),
    /// An expression that cannot be read, and why.
    Bad(Box<str>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Filter {
    ToBool,
    ToInt,
    ToFloat,
    Indent(usize),
}

/// What stands in for a variable that is unset or empty.
#[derive(Clone, Debug, PartialEq)]
enum Otherwise {
    Nothing,
    Default(Box<str>),
    Message(Box<str>),
}

/// A template's value.
pub struct Expanded {
    /// The value; secret when a variable is in it.
    pub value: Value,
    /// Whether every variable was set. When not, the value is the text as written and says nothing.
    pub known: bool,
}

impl Template {
    /// Reads the pieces of a scalar that stands at `span` of a text. `None` when it is text and nothing else.
    pub fn new(
        pieces: &[Piece<'_>],
        span: Span,
        text: &Text,
        plain: bool,
        spelling: Expansion,
    ) -> Option<Self> {
        let mut parts = Vec::new();
        let mut from = span;
        for piece in pieces {
            match piece {
                Piece::Expression(at) => {
                    let raw = text.slice(*at);
                    let what = deck_expression(raw);
                    parts.push(Part { raw: raw.into(), span: *at, what });
                    from.start = at.end;
                }
                Piece::Text(piece) => split_text(piece, &mut from, text, spelling, &mut parts),
            }
        }
        if parts.iter().all(|part| part.what == What::Text) {
            return None;
        }
        let typed = plain && matches!(parts.as_slice(), [one] if one.what != What::Text);
        let indent = parts.iter().find(|part| matches!(part.what, What::Deck(..))).map_or(0, |part| {
            let before = text.slice(Span { start: 0, end: part.span.start });
            let line = before.rsplit(['\n', '\r']).next().unwrap_or_default();
            line.len() - line.trim_start_matches(' ').len()
        });
        Some(Template { parts: parts.into(), typed, indent })
    }

    /// The variables that must be set: those without a default.
    pub fn needs(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match &part.what {
            What::Deck(name, _) | What::Shell(name, Otherwise::Nothing | Otherwise::Message(_)) => {
                Some(&**name)
            }
            _ => None,
        })
    }

    /// The stretches of this scalar, which stands at `within`, that are no text of the user's own: its expressions
    /// without their defaults and messages, and the quotes around it. All of it when it refers to a vault.
    pub fn plain(&self, within: Span, text: &Text) -> Vec<Span> {
        if is_reference_text(&self.raw()) {
            return vec![within];
        }
        let mut spans = Vec::new();
        let source = text.slice(within);
        if source.len() > 1 && ['"', '\''].iter().any(|q| source.starts_with(*q) && source.ends_with(*q)) {
            let (start, end) = (within.start as usize, within.end as usize);
            spans.extend([Span::new(start, start + 1), Span::new(end - 1, end)]);
        }
        // The text of a regular expression is no variable, whatever it looks like.
        let regex = self.parts.first().is_some_and(|part| part.raw.starts_with('~'));
        // Where escapes hide a part its span is that of the whole scalar.
        for part in self.parts.iter().filter(|part| text.slice(part.span) == &*part.raw) {
            let (start, end) = (part.span.start as usize, part.span.end as usize);
            match &part.what {
                What::Deck(..) => spans.push(part.span),
                What::Shell(_, Otherwise::Nothing) if !regex => spans.push(part.span),
                // `${NAME:-` and `}`.
                What::Shell(name, _) if !regex => {
                    spans.extend([Span::new(start, start + name.len() + 4), Span::new(end - 1, end)]);
                }
                _ => {}
            }
        }
        spans
    }

    /// The text as it is written.
    pub fn raw(&self) -> String {
        self.parts.iter().map(|part| &*part.raw).collect()
    }

    /// The value. In `verbatim` text, and in text that begins with `~` (a regex), `$` is an ordinary character.
    pub fn expand(
        &self,
        verbatim: bool,
        options: &Options,
        text: &Text,
        problems: &mut Vec<Diagnostic>,
    ) -> Expanded {
        let as_is = || Expanded { value: Value::String(self.raw()), known: true };
        if options.unset == Unset::Keep {
            return as_is();
        }
        let regex = self.parts.first().is_some_and(|part| part.raw.starts_with('~'));
        let shell = !verbatim && !regex;
        let mut whole = String::new();
        let mut names: Vec<Arc<str>> = Vec::new();
        let mut only = None;
        let mut known = true;
        for part in &self.parts {
            let place = || text.place(part.span);
            let value = match &part.what {
                What::Text => Ok(part.raw.to_string()),
                What::Dollar if shell => Ok("$".to_owned()),
                What::Shell(name, otherwise) if shell => {
                    shell_value(name, otherwise, &options.variables, &mut names)
                }
                What::Dollar | What::Shell(..) => Ok(part.raw.to_string()),
                What::Deck(name, filters) => self.deck_value(name, filters, options, &mut names, &mut only),
                What::Bad(why) => Err((codes::BAD_EXPRESSION, why.to_string())),
            };
            match value {
                Ok(value) => whole.push_str(&value),
                Err((code, message)) => {
                    known = false;
                    let unset = code == codes::UNSET_VARIABLE;
                    let mut problem = match options.unset {
                        Unset::Warn if unset => Diagnostic::warning(code, message),
                        _ => Diagnostic::error(code, message),
                    };
                    problem = problem.at(place());
                    if unset {
                        problem = problem.help(unset_help(&part.what, &options.variables));
                    } else {
                        problem = problem.help("an expression reads `${{ env \"NAME\" }}`, with `| toInt`, `| toFloat`, `| toBool` or `| indent N` after the name where needed");
                    }
                    problems.push(problem);
                }
            }
        }
        if !known {
            // Secret, so that nothing takes the expression's text for a value.
            let origin = Origin::Variables(names);
            return Expanded { value: Value::Secret(Secret::text(self.raw(), origin)), known };
        }
        let value = match (self.typed, only) {
            (true, Some(value)) => value,
            (true, None) => match typed(&whole) {
                Data::Null => Value::Null,
                Data::Bool(b) => Value::Bool(b),
                Data::Number(n) => Value::Number(n),
                _ => Value::String(whole),
            },
            _ => Value::String(whole),
        };
        if names.is_empty() || value.is_null() {
            return Expanded { value, known };
        }
        Expanded { value: Value::Secret(Secret::new(value, Origin::Variables(names))), known }
    }

    /// The value of one of decK's expressions as text; `only` becomes the value itself when a filter typed it.
    fn deck_value(
        &self,
        name: &str,
        filters: &[Filter],
        options: &Options,
        names: &mut Vec<Arc<str>>,
        only: &mut Option<Value>,
    ) -> Result<String, (crate::diagnostics::Code, String)> {
        names.push(name.into());
        let Some(value) = options.variables.get(name) else {
            return Err((codes::UNSET_VARIABLE, format!("variable {name} is not set")));
        };
        let mut value = value.to_owned();
        let fault = |what: &str| {
            (codes::BAD_EXPRESSION, format!("the value of variable {name} cannot be read as {what}"))
        };
        for filter in filters {
            match filter {
                Filter::ToBool => {
                    let read = match value.as_str() {
                        "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
                        "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
                        _ => return Err(fault("a boolean")),
                    };
                    value = read.to_string();
                    *only = Some(Value::Bool(read));
                }
                Filter::ToInt => {
                    let read: i64 = value.parse().map_err(|_| fault("a whole number"))?;
                    value = read.to_string();
                    *only = Some(Value::from(read));
                }
                Filter::ToFloat => {
                    let read =
                        value.parse().ok().and_then(Number::from_f64).ok_or_else(|| fault("a number"))?;
                    value = read.as_f64().map_or_else(|| read.to_string(), |float| float.to_string());
                    *only = Some(Value::Number(read));
                }
                // The block scalar's own indentation is gone already; what is asked for beyond it stays.
                Filter::Indent(spaces) => {
                    let more = " ".repeat(spaces.saturating_sub(self.indent));
                    value = value.replace('\n', &format!("\n{more}"));
                    *only = None;
                }
            }
        }
        Ok(value)
    }
}

fn shell_value(
    name: &str,
    otherwise: &Otherwise,
    variables: &Variables,
    names: &mut Vec<Arc<str>>,
) -> Result<String, (crate::diagnostics::Code, String)> {
    let value = variables.get(name);
    match (value, otherwise) {
        (Some(""), Otherwise::Nothing) => {
            names.push(name.into());
            Ok(String::new())
        }
        (None | Some(""), Otherwise::Default(default)) => Ok(default.to_string()),
        (None | Some(""), Otherwise::Message(message)) => {
            names.push(name.into());
            let state = if value.is_some() { "empty" } else { "not set" };
            let why = if message.is_empty() { String::new() } else { format!(": {message}") };
            Err((codes::UNSET_VARIABLE, format!("variable {name} is {state}{why}")))
        }
        (None, Otherwise::Nothing) => {
            names.push(name.into());
            Err((codes::UNSET_VARIABLE, format!("variable {name} is not set")))
        }
        (Some(value), _) => {
            names.push(name.into());
            Ok(value.to_owned())
        }
    }
}

fn unset_help(what: &What, variables: &Variables) -> String {
    let (What::Deck(name, _) | What::Shell(name, _)) = what else { return String::new() };
    let near = crate::diagnostics::nearest(name, variables.names());
    let near = near.map_or(String::new(), |near| format!("did you mean {near}? Otherwise "));
    let dollar = if matches!(what, What::Shell(..)) { "; for a dollar sign write `$$`" } else { "" };
    format!("{near}set {name} in the environment or in a file given by --env-file{dollar}")
}

/// Reads `${{ env "NAME" | filter }}`.
fn deck_expression(raw: &str) -> What {
    match read_deck(raw) {
        Ok((name, filters)) => What::Deck(name, filters),
        Err(why) => What::Bad(why.into()),
    }
}

fn read_deck(raw: &str) -> Result<(Box<str>, Box<[Filter]>), String> {
    let inner = raw.strip_prefix("${{").and_then(|r| r.strip_suffix("}}")).unwrap_or(raw).trim();
    let inner = inner.replace("\\\"", "\"");
    let mut stages = inner.split('|').map(str::trim);
    let call = stages.next().unwrap_or_default();
    let name = call.strip_prefix("env").map(str::trim).and_then(|argument| {
        let quoted = |quote: char| argument.strip_prefix(quote).and_then(|a| a.strip_suffix(quote));
        quoted('"').or_else(|| quoted('`'))
    });
    let Some(name) = name.filter(|name| !name.is_empty() && !name.contains(['"', '`', ' ', '='])) else {
        return Err(format!("the expression `{call}` cannot be read"));
    };
    let filters = stages
        .map(|stage| match stage.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["toBool"] => Ok(Filter::ToBool),
            ["toInt"] => Ok(Filter::ToInt),
            ["toFloat"] => Ok(Filter::ToFloat),
            ["indent", spaces] => match spaces.parse() {
                Ok(spaces) if spaces <= 1000 => Ok(Filter::Indent(spaces)),
                _ => Err(format!("`indent {spaces}` is not a number of spaces")),
            },
            _ => Err(format!("`{stage}` is not a known filter")),
        })
        .collect::<Result<_, String>>()?;
    Ok((name.into(), filters))
}

/// Splits text at `$NAME` and its kin. `from` is where the text may stand in the source; it moves on.
fn split_text(piece: &str, from: &mut Span, text: &Text, spelling: Expansion, parts: &mut Vec<Part>) {
    let whole = *from;
    let push = |parts: &mut Vec<Part>, raw: &str, from: &mut Span, what: What| {
        if raw.is_empty() {
            return;
        }
        // The place of a part is where its spelling stands in the scalar's source; escapes may hide it.
        let found = (what != What::Text).then(|| text.slice(*from).find(raw)).flatten();
        let span = found.map_or(whole, |at| {
            let start = from.start as usize + at;
            Span::new(start, start + raw.len())
        });
        if what != What::Text {
            // After one that is hidden none is looked for again.
            from.start = if found.is_some() { span.end } else { from.end };
        }
        parts.push(Part { raw: raw.into(), span, what });
    };
    let mut plain = 0;
    let mut at = 0;
    while let Some(dollar) = piece.get(at..).and_then(|rest| rest.find('$')).map(|found| at + found) {
        let rest = piece.get(dollar..).unwrap_or_default();
        let found = if rest.starts_with("${{") {
            spelling.deck().then(|| (3, What::Bad("`${{` is not closed by `}}` on its line".into())))
        } else {
            spelling.shell().then(|| shell_part(rest)).flatten()
        };
        let Some((length, what)) = found else {
            at = dollar + 1;
            continue;
        };
        push(parts, piece.get(plain..dollar).unwrap_or_default(), from, What::Text);
        push(parts, rest.get(..length).unwrap_or_default(), from, what);
        plain = dollar + length;
        at = plain;
    }
    push(parts, piece.get(plain..).unwrap_or_default(), from, What::Text);
}

/// The shell part that a text beginning with `$` begins with, and its length.
fn shell_part(text: &str) -> Option<(usize, What)> {
    let after = text.get(1..)?;
    if after.starts_with('$') {
        return Some((2, What::Dollar));
    }
    let name_length = |text: &str| {
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_uppercase() || byte == b'_');
        let length = text
            .bytes()
            .take_while(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_')
            .count();
        let ends = !text
            .get(length..)
            .and_then(|rest| rest.chars().next())
            .is_some_and(|next| next.is_alphanumeric() || next == '_');
        (first && ends).then_some(length)
    };
    if let Some(braced) = after.strip_prefix('{') {
        let length = name_length(braced)?;
        let name = braced.get(..length)?;
        let rest = braced.get(length..)?;
        let closed = |rest: &str| rest.find('}').map(|end| (rest.get(..end).unwrap_or_default().into(), end));
        let (otherwise, used) = if rest.starts_with('}') {
            (Otherwise::Nothing, 0)
        } else if let Some(rest) = rest.strip_prefix(":-") {
            let (default, end) = closed(rest)?;
            (Otherwise::Default(default), end + 2)
        } else if let Some(rest) = rest.strip_prefix(":?") {
            let (message, end) = closed(rest)?;
            (Otherwise::Message(message), end + 2)
        } else {
            return None;
        };
        return Some((2 + length + used + 1, What::Shell(name.into(), otherwise)));
    }
    let length = name_length(after)?;
    Some((1 + length, What::Shell(after.get(..length)?.into(), Otherwise::Nothing)))
}
