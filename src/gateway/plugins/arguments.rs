//! Arguments of requests: in the query and in bodies of forms, JSON and multipart, read and taken out.

use crate::gateway::proxy::{BodyError, Context};
use http::header::CONTENT_TYPE;
use serde_json::Value as Json;

/// The largest body that is read for its arguments, in bytes.
const LARGEST_BODY: usize = 10 * 1024 * 1024;

/// What a name stands for.
#[derive(Debug, PartialEq, Eq)]
pub enum Argument {
    /// One value.
    One(String),
    /// Several values.
    Several,
}

/// A query argument. One without `=` is none.
pub fn in_query(query: Option<&str>, name: &str) -> Option<Argument> {
    let mut values = all_in_query(query, name);
    let first = values.pop()?;
    Some(if values.is_empty() { Argument::One(first) } else { Argument::Several })
}

/// All values of a query argument; those without `=` are none.
pub fn all_in_query(query: Option<&str>, name: &str) -> Vec<String> {
    let pairs = query.unwrap_or_default().split('&').filter(|pair| pair.contains('='));
    pairs
        .flat_map(|pair| url::form_urlencoded::parse(pair.as_bytes()))
        .filter(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
        .collect()
}

/// Takes an argument out of a query; the others stay as they are.
pub fn without(query: &str, name: &str) -> String {
    let is_other = |pair: &&str| !url::form_urlencoded::parse(pair.as_bytes()).any(|(key, _)| key == name);
    query.split('&').filter(is_other).collect::<Vec<_>>().join("&")
}

/// A body whose arguments can be read.
#[derive(Debug)]
pub enum Arguments {
    /// `application/x-www-form-urlencoded`.
    Form(String),
    /// `application/json`, an object.
    Json(serde_json::Map<String, Json>),
}

impl Arguments {
    /// Reads the client's body; `None` when it has no arguments of a known form, or is too large.
    ///
    /// # Errors
    /// What breaks the body.
    pub async fn read(context: &mut Context) -> Result<Option<Self>, BodyError> {
        let kind =
            context.inbound.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let json = kind.starts_with("application/json");
        if !json && !kind.starts_with("application/x-www-form-urlencoded") {
            return Ok(None);
        }
        let data = match context.request_body(LARGEST_BODY).await {
            Ok(data) => data,
            Err(BodyError::TooLarge { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        if json {
            return Ok(serde_json::from_slice(&data).ok().map(Arguments::Json));
        }
        Ok(String::from_utf8(data.into()).ok().map(Arguments::Form))
    }

    /// An argument by name.
    pub fn get(&self, name: &str) -> Option<Argument> {
        match self {
            Arguments::Form(form) => in_query(Some(form), name),
            Arguments::Json(members) => match members.get(name)? {
                Json::String(text) => Some(Argument::One(text.clone())),
                Json::Array(_) | Json::Object(_) => Some(Argument::Several),
                _ => None,
            },
        }
    }

    /// Takes an argument out, and gives the body that is left.
    pub fn remove(&mut self, name: &str) -> Vec<u8> {
        match self {
            Arguments::Form(form) => {
                *form = without(form, name);
                form.clone().into_bytes()
            }
            Arguments::Json(members) => {
                members.remove(name);
                serde_json::to_vec(members).unwrap_or_default()
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
        assert_eq!(in_query(query, "c"), None);
        assert_eq!(in_query(query, "d"), Some(Argument::One(String::new())));
        assert_eq!(in_query(None, "a"), None);
        assert_eq!(without("a=1&b=%20x&a=2&c&d=", "a"), "b=%20x&c&d=");
    }
}
