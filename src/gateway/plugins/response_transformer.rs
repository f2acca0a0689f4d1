//! `response-transformer`: edits the headers of answers, and the members of their JSON bodies.

use super::edits::{Edits, append};
use super::{ConfigError, Entry, Failure, Instance, Plugin};
use crate::gateway::proxy::Context;
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, response};
use serde_json::{Map, Value as Json};
use std::sync::Arc;

/// The plugin's line in the table.
pub const ENTRY: Entry = Entry { name: "response-transformer", priority: 800, build };

/// The largest body that is transformed, in bytes.
const LARGEST_BODY: usize = 32 * 1024 * 1024;

struct ResponseTransformer {
    headers: Edits,
    json: Edits,
    replace_types: Vec<Box<str>>,
    add_types: Vec<Box<str>>,
    append_types: Vec<Box<str>>,
}

fn build(instance: &Instance<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
    let headers = Edits::new(instance, "headers");
    headers.check_headers()?;
    Ok(Arc::new(ResponseTransformer {
        headers,
        json: Edits::new(instance, "json"),
        replace_types: instance.texts("replace.json_types"),
        add_types: instance.texts("add.json_types"),
        append_types: instance.texts("append.json_types"),
    }))
}

#[async_trait]
impl Plugin for ResponseTransformer {
    fn whole_response(&self, _context: &Context, head: &response::Parts) -> Option<usize> {
        (!self.json.is_empty() && is_json(&head.headers)).then_some(LARGEST_BODY)
    }

    async fn response(&self, _context: &mut Context, answer: &mut Response<Bytes>) -> Result<(), Failure> {
        // What is no JSON object passes as it is.
        if let Ok(Json::Object(mut members)) = serde_json::from_slice(answer.body()) {
            self.edit(&mut members);
            *answer.body_mut() =
                serde_json::to_vec(&members).map_err(|e| Failure::new(e.to_string()))?.into();
        }
        Ok(())
    }

    fn response_headers(&self, _context: &mut Context, head: &mut response::Parts) {
        edit_headers(&self.headers, &mut head.headers);
        if !self.json.is_empty() && is_json(&head.headers) {
            head.headers.remove(CONTENT_LENGTH);
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(',').any(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/json")
            || kind.starts_with("application/") && kind.ends_with("+json")
    })
}

/// Edits headers. What `rename`, `replace` and `add` ask for is whether a header was there at the beginning.
fn edit_headers(edits: &Edits, headers: &mut HeaderMap) {
    let before = headers.clone();
    let value = |text: &str| HeaderValue::from_str(text).ok().filter(|value| !value.is_empty());
    for edit in &edits.remove {
        edit.header().map(|name| headers.remove(name));
    }
    for edit in &edits.rename {
        let (Some(old), Ok(new)) = (edit.header(), edit.value.parse::<http::HeaderName>()) else { continue };
        if !before.contains_key(&old) {
            continue;
        }
        headers.remove(&new);
        for value in before.get_all(&old) {
            headers.append(&new, value.clone());
        }
        headers.remove(&old);
    }
    for (edits, only_present) in [(&edits.replace, true), (&edits.add, false)] {
        for edit in edits {
            if let (Some(name), Some(value)) = (edit.header(), value(&edit.value))
                && before.contains_key(&name) == only_present
            {
                headers.insert(name, value);
            }
        }
    }
    for edit in &edits.append {
        if let (Some(name), Some(value)) = (edit.header(), value(&edit.value)) {
            headers.append(name, value);
        }
    }
}

impl ResponseTransformer {
    fn edit(&self, members: &mut Map<String, Json>) {
        for edit in &self.json.remove {
            members.remove(&*edit.name);
        }
        for edit in &self.json.rename {
            if !edit.value.is_empty()
                && let Some(value) = members.remove(&*edit.name)
            {
                members.insert(edit.value.to_string(), value);
            }
        }
        for (number, edit) in self.json.replace.iter().enumerate() {
            if members.get(&*edit.name).is_some_and(|value| *value != Json::Bool(false))
                && let Some(value) = typed(&edit.value, self.replace_types.get(number).map(Box::as_ref))
            {
                members.insert(edit.name.to_string(), value);
            }
        }
        for (number, edit) in self.json.add.iter().enumerate() {
            if members.get(&*edit.name).is_none_or(|value| *value == Json::Bool(false))
                && let Some(value) = typed(&edit.value, self.add_types.get(number).map(Box::as_ref))
            {
                members.insert(edit.name.to_string(), value);
            }
        }
        for (number, edit) in self.json.append.iter().enumerate() {
            if let Some(value) = typed(&edit.value, self.append_types.get(number).map(Box::as_ref)) {
                append(members, &edit.name, value);
            }
        }
    }
}

/// A configured value as its type says; text without a type. `None` when it is no value of the type. An entry without
/// a value is the text `null`.
fn typed(text: &str, kind: Option<&str>) -> Option<Json> {
    let text = if text.is_empty() { "null" } else { text };
    match kind {
        Some("number") => serde_json::from_str::<serde_json::Number>(text.trim()).ok().map(Json::Number),
        Some("boolean") => Some(Json::Bool(text == "true")),
        _ => Some(Json::String(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn edits(name: &str, value: &str) -> Vec<super::super::edits::Edit> {
        vec![super::super::edits::Edit { name: name.into(), value: value.into() }]
    }

    #[test]
    fn members_are_edited_in_order_and_with_types() {
        let json = Edits {
            remove: edits("gone", ""),
            rename: edits("old", "new"),
            replace: edits("v", "9"),
            add: edits("extra", "true"),
            append: edits("list", "z"),
        };
        let plugin = ResponseTransformer {
            headers: Edits::default(),
            json,
            replace_types: vec!["number".into()],
            add_types: vec!["boolean".into()],
            append_types: Vec::new(),
        };
        let Json::Object(mut members) = json!({"gone": 1, "old": 2, "v": 3, "list": "a"}) else { return };
        plugin.edit(&mut members);
        assert_eq!(Json::Object(members), json!({"new": 2, "v": 9, "extra": true, "list": ["a", "z"]}));
    }

    #[test]
    fn headers_are_edited_in_order() {
        let edits = Edits {
            remove: edits("x-gone", ""),
            rename: edits("x-a", "x-b"),
            replace: edits("x-r", "new"),
            add: edits("x-b", "added"),
            append: edits("x-b", "2"),
        };
        let mut headers = HeaderMap::new();
        for (name, value) in [("x-gone", "1"), ("x-a", "1"), ("x-r", "old")] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        edit_headers(&edits, &mut headers);
        assert!(!headers.contains_key("x-gone") && !headers.contains_key("x-a"));
        assert_eq!(headers.get_all("x-b").iter().collect::<Vec<_>>(), ["added", "2"]);
        assert_eq!(headers.get("x-r"), Some(&HeaderValue::from_static("new")));
    }
}
