//! What makes entities the same, and what no two of them may share, as texts to look up by.
//!
//! The texts hold secrets in clear: they stay inside this room and are never shown.

use crate::schema::{Kind, Type};
use crate::value::{Exposed, Value};
use std::fmt::Write;
use uuid::Uuid;

/// The text of a key of several fields: the fields' values as JSON, as the gateway stores them, in the key's order.
///
/// `value` gives a field's value and `reference` a text for what a foreign field points to. `None` when the key is a
/// single field without a value, or several that are all without one.
pub(super) fn text<'v>(
    kind: &Kind,
    key: &[Box<str>],
    value: impl Fn(&str) -> Option<&'v Value>,
    reference: impl Fn(&str) -> Option<String>,
) -> Option<String> {
    let mut out = String::new();
    let mut any = false;
    for name in key {
        let part = if is_foreign(kind, name) {
            reference(name)
        } else {
            // What a file leaves out is the default.
            let default = || plain(kind, name, kind.record.field(name)?.default.as_ref()?);
            value(name).and_then(|value| plain(kind, name, value)).or_else(default)
        };
        any |= part.is_some();
        let _ = write!(out, "{}\u{1f}", part.as_deref().unwrap_or("null"));
    }
    any.then_some(out)
}

fn plain(kind: &Kind, name: &str, value: &Value) -> Option<String> {
    let normal = value.exposed_str().and_then(|text| kind.record.field(name)?.normal_form(text));
    match normal {
        _ if value.is_null() => None,
        Some(normal) => serde_json::to_string(&normal).ok(),
        None => serde_json::to_string(&Exposed(value)).ok(),
    }
}

/// Whether a field of a kind is a reference.
pub(super) fn is_foreign(kind: &Kind, name: &str) -> bool {
    kind.record.field(name).is_some_and(|field| matches!(field.ty, Type::Foreign { .. }))
}

/// The keys of a kind that no two entities may share: unique fields, fields unique together or cached by, and what
/// makes two entities the same.
pub(super) fn unique(kind: &Kind) -> Vec<Vec<Box<str>>> {
    let mut keys: Vec<Vec<Box<str>>> = kind
        .record
        .fields
        .iter()
        .filter(|field| field.unique && !field.computed)
        .map(|field| vec![field.name.clone()])
        .collect();
    let same = |a: &[Box<str>], b: &[Box<str>]| a.len() == b.len() && a.iter().all(|name| b.contains(name));
    for key in kind.unique_together.iter().chain([&kind.cache_key]).chain(&kind.identity) {
        if !key.is_empty() && !keys.iter().any(|other| same(other, key)) {
            keys.push(key.clone());
        }
    }
    keys
}

/// Calls `found` with every id that stands anywhere in a value: references hide in lists of ids too.
pub(super) fn each_id(value: &Value, found: &mut dyn FnMut(Uuid)) {
    match value {
        // The length of a hyphenated id.
        Value::String(text) if text.len() == 36 => {
            if let Ok(id) = Uuid::try_parse(text) {
                found(id);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| each_id(item, found)),
        Value::Object(members) => members.values().for_each(|member| each_id(member, found)),
        _ => {}
    }
}

/// Calls `found` with the kind and id of each entity that a whole entity references: by foreign fields, by lists of
/// links, and, of kinds that nothing says, by ids that stand anywhere else.
pub(super) fn each_reference(kind: &Kind, body: &Value, found: &mut dyn FnMut(Option<&str>, Uuid)) {
    for (name, value) in body.as_object().into_iter().flatten() {
        if &**name == "id" {
            continue;
        }
        let foreign = kind.record.foreign().find(|(field, _)| field.name == *name).map(|(_, to)| to);
        let linked = || kind.record.links().find(|(field, ..)| field.name == *name).map(|(.., to)| to);
        let to = foreign.or_else(linked);
        each_id(value, &mut |id| found(to, id));
    }
}
