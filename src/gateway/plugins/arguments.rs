//! Arguments of requests: in the query and in bodies of forms, JSON and multipart, read, taken out and written.

use super::multipart::Multipart;
use crate::gateway::proxy::{BodyError, Context};
use http::header::CONTENT_TYPE;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value as Json;

/// The largest body that is read for its arguments, in bytes.
const LARGEST_BODY: usize = 10 * 1024 * 1024;
/// What is escaped in arguments.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*');

/// What a name stands for.
#[derive(Debug, PartialEq, Eq)]
pub enum Argument {
    /// One text.
    One(String),
    /// Several values.
    Several,
    /// Something that is no text: a name without `=`, a number.
    Other,
}

/// Names and values in order. A name without `=` has no value.
pub type Pairs = Vec<(String, Option<String>)>;

/// Reads the pairs of a query or a form.
pub fn parse(text: &str) -> Pairs {
    let pair = |pair: &str| {
        let (name, value) = url::form_urlencoded::parse(pair.as_bytes()).next()?;
        Some((name.into_owned(), pair.contains('=').then(|| value.into_owned())))
    };
    text.split('&').filter_map(pair).collect()
}

/// Writes pairs as Kong does: sorted by name.
pub fn write(mut pairs: Pairs) -> String {
    pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
    let escape = |text: &str| utf8_percent_encode(text, ESCAPED).to_string();
    let pair = |(name, value): &(String, Option<String>)| match value {
        Some(value) => format!("{}={}", escape(name), escape(value)),
        None => escape(name),
    };
    pairs.iter().map(pair).collect::<Vec<_>>().join("&")
}

/// An argument of a query.
pub fn in_query(query: Option<&str>, name: &str) -> Option<Argument> {
    in_pairs(&parse(query.unwrap_or_default()), name)
}

fn in_pairs(pairs: &Pairs, name: &str) -> Option<Argument> {
    let mut values = pairs.iter().filter(|(known, _)| known == name).map(|(_, value)| value);
    let first = values.next()?;
    Some(match (first, values.next()) {
        (_, Some(_)) => Argument::Several,
        (Some(text), None) => Argument::One(text.clone()),
        (None, None) => Argument::Other,
    })
}

/// Takes an argument out of a query; the others are written anew, as a browser does.
pub fn without(query: &str, name: &str) -> String {
    let others = url::form_urlencoded::parse(query.as_bytes()).filter(|(known, _)| known != name);
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(others).finish().replace('+', "%20")
}

/// A body whose arguments can be read.
#[derive(Debug)]
pub enum Arguments {
    /// `application/x-www-form-urlencoded`.
    Form(Pairs),
    /// `application/json`, an object.
    Json(serde_json::Map<String, Json>),
    /// `multipart/form-data`.
    Multipart(Multipart),
}

impl Arguments {
    /// Reads the client's body; `None` when it has no arguments of a known form, or is too large.
    ///
    /// # Errors
    /// What breaks the body.
    pub async fn read(context: &mut Context) -> Result<Option<Self>, BodyError> {
        let kind = context.inbound.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.unwrap_or_default().to_owned();
        let is = |name: &str| kind.starts_with(name);
        let (json, form) = (is("application/json"), is("application/x-www-form-urlencoded"));
        if !json && !form && !is("multipart/form-data") {
            return Ok(None);
        }
        let data = match context.request_body(LARGEST_BODY).await {
            Ok(data) => data,
            Err(BodyError::TooLarge { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(if json {
            serde_json::from_slice(&data).ok().map(Arguments::Json)
        } else if form {
            String::from_utf8(data.into()).ok().map(|text| Arguments::Form(parse(&text)))
        } else {
            Multipart::read(&kind, data).await.map(Arguments::Multipart)
        })
    }

    /// An argument by name.
    pub fn get(&self, name: &str) -> Option<Argument> {
        match self {
            Arguments::Form(pairs) => in_pairs(pairs, name),
            Arguments::Json(members) => Some(match members.get(name)? {
                Json::String(text) => Argument::One(text.clone()),
                Json::Array(_) | Json::Object(_) => Argument::Several,
                _ => Argument::Other,
            }),
            Arguments::Multipart(form) => {
                form.get(name).map(|value| Argument::One(String::from_utf8_lossy(value).into_owned()))
            }
        }
    }

    /// The body without one of its arguments.
    pub fn without(self, name: &str) -> Vec<u8> {
        match self {
            Arguments::Form(mut pairs) => {
                pairs.retain(|(known, _)| known != name);
                write(pairs).into_bytes()
            }
            Arguments::Json(mut members) => {
                members.remove(name);
                serde_json::to_vec(&members).unwrap_or_default()
            }
            Arguments::Multipart(mut form) => {
                form.remove(name);
                form.write()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_found_and_taken_out() {
        let query = Some("a=1&b=%20x&a=2&c&d=");
        assert_eq!(in_query(query, "a"), Some(Argument::Several));
        assert_eq!(in_query(query, "b"), Some(Argument::One(" x".into())));
        assert_eq!(in_query(query, "c"), Some(Argument::Other));
        assert_eq!(in_query(query, "d"), Some(Argument::One(String::new())));
        assert_eq!(in_query(None, "a"), None);
        assert_eq!(without("a=1&b=%20x&a=2&d=", "a"), "b=%20x&d=");
        assert_eq!(write(parse("z=1&a=%20&m")), "a=%20&m&z=1");
    }
}
