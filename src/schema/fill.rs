//! Default values, filled in as the gateway does and taken out again, and bodies made comparable.

use super::bundled::Schemas;
use super::checks::normal_form;
use super::types::{Check, Field, Kind, Type};
use super::view::View;
use crate::value::{Map, Value};

/// Fills every default in, recursively, the config of plugins included.
///
/// With `nulls`, optional fields without a value become null, as the Admin API shows them; otherwise they stay absent.
/// Texts take the form in which the gateway stores them (targets get their port).
/// Fields that the gateway makes (`auto`) and references are left to the caller. A field that is null stays null.
pub fn fill_defaults(schemas: &Schemas, kind: &Kind, body: &mut Value, nulls: bool) {
    // The default of a subschema's key comes first: it decides on the other fields.
    if let Some(subschema) = &kind.subschema
        && body.get(&subschema.key).is_none()
        && let Some(default) = kind.record.field(&subschema.key).and_then(|field| field.default.clone())
    {
        body.set(&subschema.key, default);
    }
    let view = View::of(schemas, kind, body);
    if let Some(members) = body.as_object_mut() {
        fill(view, members, nulls);
        super::shorthand::settle(&kind.record, members);
        if kind.ttl && nulls && !members.contains_key("ttl") {
            members.insert("ttl".into(), Value::Null);
        }
    }
}

fn fill(view: View<'_>, members: &mut Map, nulls: bool) {
    for field in view.fields() {
        match members.get_mut(&*field.name) {
            Some(value) => fill_value(field, value, nulls),
            None => {
                if let Some(value) = missing(field, nulls) {
                    members.insert(field.name.clone(), value);
                }
            }
        }
    }
}

/// Gives every text that the gateway makes up (keys, secrets) a value where there is none, however deep it stands.
///
/// `make` is asked for each such field but ids; `None` leaves it absent.
pub fn generate(
    schemas: &Schemas,
    kind: &Kind,
    body: &mut Value,
    make: &mut dyn FnMut(&Field) -> Option<Value>,
) {
    let view = View::of(schemas, kind, body);
    if let Some(members) = body.as_object_mut() {
        generate_in(view, members, make);
    }
}

fn generate_in(view: View<'_>, members: &mut Map, make: &mut dyn FnMut(&Field) -> Option<Value>) {
    for field in view.fields() {
        let is_made = field.auto
            && matches!(field.ty, Type::String)
            && !field.checks.iter().any(|check| matches!(check, Check::Uuid));
        match members.get_mut(&*field.name) {
            None if is_made => {
                if let Some(value) = make(field) {
                    members.insert(field.name.clone(), value);
                }
            }
            Some(Value::Object(inner)) => {
                if let Type::Record(record) = &field.ty {
                    generate_in(View::plain(record), inner, make);
                }
            }
            _ => {}
        }
    }
}

/// What stands for a field without a value.
fn missing(field: &Field, nulls: bool) -> Option<Value> {
    if field.auto || field.transient {
        return None;
    }
    if let Some(default) = &field.default {
        if default.is_null() && !nulls {
            return None;
        }
        let mut value = default.clone();
        fill_value(field, &mut value, nulls);
        return Some(value);
    }
    if !field.required {
        return nulls.then_some(Value::Null);
    }
    match &field.ty {
        Type::Record(record) => {
            let mut members = Map::new();
            fill(View::plain(record), &mut members, nulls);
            Some(Value::Object(members))
        }
        _ => None,
    }
}

pub(super) fn fill_value(field: &Field, value: &mut Value, nulls: bool) {
    match &field.ty {
        Type::Record(record) => {
            // An empty list and an empty object are the same to the gateway.
            if value.as_array().is_some_and(<[Value]>::is_empty) {
                *value = Value::object();
            }
            if let Some(members) = value.as_object_mut() {
                fill(View::plain(record), members, nulls);
            }
        }
        Type::Array(element) | Type::Set(element) => {
            if value.as_object().is_some_and(Map::is_empty) {
                *value = Value::Array(Vec::new());
            }
            if let Value::Array(items) = value {
                if has_defaults(element) {
                    items.iter_mut().for_each(|item| fill_value(element, item, nulls));
                }
                if matches!(field.ty, Type::Set(_)) {
                    remove_repeats(items);
                }
            }
        }
        Type::Map { values, .. } => {
            if value.as_array().is_some_and(<[Value]>::is_empty) {
                *value = Value::object();
            }
            if let Some(members) = value.as_object_mut() {
                members.iter_mut().for_each(|(_, member)| fill_value(values, member, nulls));
            }
        }
        Type::String => {
            if let Some(name) = &field.normal
                && let Some(normal) = value.exposed_str().and_then(|text| normal_form(name, text))
            {
                let origin = value.origin().cloned();
                *value = Value::from(normal);
                if let Some(origin) = origin {
                    value.conceal(&origin);
                }
            }
        }
        _ => {}
    }
}

fn has_defaults(element: &Field) -> bool {
    matches!(element.ty, Type::Record(_) | Type::Array(_) | Type::Set(_) | Type::Map { .. })
}

/// Drops repeated scalars; the first of each stays.
fn remove_repeats(items: &mut Vec<Value>) {
    let mut at = 1;
    while at < items.len() {
        let (before, rest) = items.split_at(at);
        let scalar = rest.first().filter(|item| !matches!(item, Value::Array(_) | Value::Object(_)));
        if scalar.is_some_and(|item| before.contains(item)) {
            items.remove(at);
        } else {
            at += 1;
        }
    }
}

/// Takes out what [`fill_defaults`] would fill in again: values equal to their default, nulls of fields without one,
/// and records that are empty then.
pub fn strip_defaults(schemas: &Schemas, kind: &Kind, body: &mut Value) {
    let view = View::of(schemas, kind, body);
    if let Some(members) = body.as_object_mut() {
        strip(view, members);
    }
}

/// Takes these fields out of a body where they have their defaults.
pub fn strip_default_fields(schemas: &Schemas, kind: &Kind, body: &mut Value, names: &[Box<str>]) {
    let view = View::of(schemas, kind, body);
    let Some(members) = body.as_object_mut() else { return };
    for field in view.fields().filter(|field| names.contains(&field.name)) {
        if members.get(&field.name).is_some_and(|value| is_what_is_filled_in(field, value)) {
            members.remove(&field.name);
        }
    }
}

fn strip(view: View<'_>, members: &mut Map) {
    for field in view.fields() {
        let Some(value) = members.get_mut(&*field.name) else { continue };
        strip_value(field, value);
        if is_what_is_filled_in(field, value) {
            members.remove(&*field.name);
        }
    }
}

fn is_what_is_filled_in(field: &Field, value: &Value) -> bool {
    let empty_record = matches!(field.ty, Type::Record(_)) && value.as_object().is_some_and(Map::is_empty);
    match &field.default {
        Some(default) if empty_record => {
            let mut default = default.clone();
            strip_value(field, &mut default);
            default == *value
        }
        Some(default) => same(field, default, value),
        None => value.is_null() && !field.required || empty_record && field.required,
    }
}

fn strip_value(field: &Field, value: &mut Value) {
    match (&field.ty, value) {
        (Type::Record(record), Value::Object(members)) => strip(View::plain(record), members),
        (Type::Array(element) | Type::Set(element), Value::Array(items)) if has_defaults(element) => {
            items.iter_mut().for_each(|item| strip_value(element, item));
        }
        (Type::Map { values, .. }, Value::Object(members)) => {
            members.iter_mut().for_each(|(_, member)| strip_value(values, member));
        }
        _ => {}
    }
}

/// Whether two values mean the same: sets without order, records with their defaults.
fn same(field: &Field, a: &Value, b: &Value) -> bool {
    let canonical = |value: &Value| {
        let mut value = value.clone();
        fill_value(field, &mut value, false);
        canonical_value(field, &mut value);
        value
    };
    match &field.ty {
        Type::Record(_) | Type::Set(_) | Type::Array(_) | Type::Map { .. } => canonical(a) == canonical(b),
        _ => a == b,
    }
}

/// Makes a body comparable: sets sorted and without repeats, members that the gateway computes dropped.
///
/// Fill defaults first. `nulls` and absent members are the same afterwards: null members are dropped.
pub fn canonical(schemas: &Schemas, kind: &Kind, body: &mut Value) {
    let view = View::of(schemas, kind, body);
    if let Some(members) = body.as_object_mut() {
        canonical_members(view, members, true);
    }
}

fn canonical_members(view: View<'_>, members: &mut Map, top: bool) {
    members.retain(|name, value| {
        !(value.is_null() || top && view.field(name).is_some_and(|field| field.computed))
    });
    for (name, value) in members.iter_mut() {
        if let Some(field) = view.field(name) {
            canonical_value(field, value);
        }
    }
}

fn canonical_value(field: &Field, value: &mut Value) {
    match (&field.ty, value) {
        (Type::Record(record), Value::Object(members)) => {
            canonical_members(View::plain(record), members, false);
        }
        (Type::Array(element), Value::Array(items)) => {
            items.iter_mut().for_each(|item| canonical_value(element, item));
        }
        (Type::Set(element), Value::Array(items)) => {
            items.iter_mut().for_each(|item| canonical_value(element, item));
            items.sort_by_cached_key(sort_key);
            items.dedup();
        }
        (Type::Map { values, .. }, Value::Object(members)) => {
            members.iter_mut().for_each(|(_, member)| canonical_value(values, member));
        }
        _ => {}
    }
}

/// A text that orders values. It stays inside this module: it holds secrets in clear.
fn sort_key(value: &Value) -> String {
    serde_json::to_string(&crate::value::Exposed(value)).unwrap_or_default()
}
