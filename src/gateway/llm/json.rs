//! Reading JSON by pointers.

use super::Map;
use serde_json::Value as Json;

/// The value at a pointer such as `/choices/0/text`. Unlike serde_json's own way this makes no copies of the names,
/// which here need none of the pointers' escapes.
fn at<'a>(value: &'a Json, pointer: &str) -> Option<&'a Json> {
    pointer.split('/').skip(1).try_fold(value, |value, name| match value {
        Json::Object(members) => members.get(name),
        Json::Array(items) => items.get(name.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Text at a pointer.
pub(super) fn text<'a>(value: &'a Json, pointer: &str) -> Option<&'a str> {
    at(value, pointer).and_then(Json::as_str)
}

/// A count at a pointer; a double without fraction counts too.
pub(super) fn count(value: &Json, pointer: &str) -> Option<u64> {
    let found = at(value, pointer)?;
    found.as_u64().or_else(|| found.as_f64().filter(|f| *f >= 0.0 && *f < 9.0e15).map(|f| f as u64))
}

/// The items of a list at a pointer, empty when there is none.
pub(super) fn list<'a>(value: &'a Json, pointer: &str) -> &'a [Json] {
    at(value, pointer).and_then(Json::as_array).map_or(&[], Vec::as_slice)
}

/// An object of the members that are there.
pub(super) fn object<const N: usize>(members: [(&str, Option<Json>); N]) -> Map {
    members.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

/// Moves a member to another name, when it is there and not null.
pub(super) fn rename(members: &mut Map, from: &str, to: &str) {
    if let Some(value) = members.remove(from).filter(|value| !value.is_null()) {
        members.insert(to.to_owned(), value);
    }
}

/// A member that is there and not null.
pub(super) fn present<'a>(members: &'a Map, key: &str) -> Option<&'a Json> {
    members.get(key).filter(|value| !value.is_null())
}

/// The text of a message's content: the text itself, or the text parts of a list, one after the other.
pub(super) fn content_text(content: &Json) -> String {
    match content {
        Json::String(text) => text.clone(),
        Json::Array(parts) => parts
            .iter()
            .filter_map(|part| part.as_str().or_else(|| text(part, "/text")))
            .collect::<Vec<_>>()
            .join("\n"),
        _ => String::new(),
    }
}

/// Adds a tool's result to a conversation whose messages hold their parts in the member `parts`. With `joins`, the
/// results of one turn stand in one message: providers ask for all of them at once.
pub(super) fn add_result(messages: &mut Vec<Json>, parts: &str, result: Json, joins: bool) {
    // results are told by what the new one has too
    let is_alike = |part: &Json| match (part.get("type"), result.get("type")) {
        (Some(kind), Some(wanted)) => kind == wanted,
        (None, None) => {
            result.as_object().is_some_and(|result| result.keys().all(|key| part.get(key).is_some()))
        }
        _ => false,
    };
    let earlier = messages.last_mut().filter(|_| joins).and_then(|last| last.get_mut(parts)?.as_array_mut());
    match earlier.filter(|earlier| !earlier.is_empty() && earlier.iter().all(is_alike)) {
        Some(earlier) => earlier.push(result),
        None => messages.push(Json::Object(object([
            ("role", Some("user".into())),
            (parts, Some(Json::Array(vec![result]))),
        ]))),
    }
}
