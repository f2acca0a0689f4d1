//! Fields that are accepted and turned into others: `url`, `redis_host`.

use super::bundled::Schemas;
use super::check::{check_field, show};
use super::faults::{Fault, Members};
use super::types::{Field, Kind, Record, Shorthand, Type, Violation, ViolationKind};
use super::view::View;
use crate::value::{Map, Path, Step, Value};

/// Turns every shorthand of a body into the fields that it stands for; their values keep their secrecy.
///
/// Where a shorthand cannot be turned into its fields the faults are given, and Kong answers with these alone. Do this
/// before [`super::fill_defaults`].
pub fn expand_shorthands(schemas: &Schemas, kind: &Kind, body: &mut Value) -> Vec<Violation> {
    let mut faults = Members::default();
    let view = View::of(schemas, kind, body);
    if let Some(members) = body.as_object_mut() {
        expand(view, members, &mut faults);
    }
    faults.into_violations()
}

/// The fields of a body that stand beside a shorthand for several fields (`url`); `None` where there is none.
/// In a state file they win over what the shorthand says of them, at the Admin API they do not.
pub fn said_beside(kind: &Kind, body: &Value) -> Option<Value> {
    let wide = |shorthand: &&Shorthand| {
        shorthand.expand.is_some() && kind.record.field(&shorthand.field.name).is_none()
    };
    let shorthand =
        kind.record.shorthands.iter().filter(wide).find(|it| body.get(&it.field.name).is_some())?;
    let mut said = body.clone();
    said.remove(&shorthand.field.name);
    Some(said)
}

fn expand(view: View<'_>, members: &mut Map, faults: &mut Members) {
    for shorthand in &view.base.shorthands {
        if members.contains_key(&*shorthand.field.name)
            && let Err(fault) = expand_one(shorthand, members)
        {
            faults.set(&shorthand.field.name, fault);
        }
    }
    for field in view.fields() {
        if let Some(value) = members.get_mut(&*field.name) {
            let mut inner = Members::default();
            expand_value(field, value, &mut inner);
            if !inner.is_empty() {
                faults.set(&field.name, Fault::Members(inner));
            }
        }
    }
}

fn expand_value(field: &Field, value: &mut Value, faults: &mut Members) {
    match (&field.ty, value) {
        (Type::Record(record), Value::Object(members)) => expand(View::plain(record), members, faults),
        (Type::Array(element) | Type::Set(element), Value::Array(items)) => {
            if let Type::Record(record) = &element.ty {
                for item in items {
                    if let Value::Object(members) = item {
                        expand(View::plain(record), members, faults);
                    }
                }
            }
        }
        (Type::Map { values, .. }, Value::Object(members)) => {
            members.iter_mut().for_each(|(_, member)| expand_value(values, member, faults));
        }
        _ => {}
    }
}

fn expand_one(shorthand: &Shorthand, members: &mut Map) -> Result<(), Fault> {
    let name = &shorthand.field.name;
    let Some(value) = members.get(name).cloned() else { return Ok(()) };
    check_field(&shorthand.field, &value)?;
    let successors = shorthand.field.deprecation.as_ref().map_or(&[][..], |it| &it.replaced_with);
    if !value.is_null() {
        for path in successors {
            if let Some(present) =
                at(members, path).filter(|present| !present.is_null() && **present != value)
            {
                return Err(Fault::new(
                    ViolationKind::InvalidValue,
                    format!(
                        "both deprecated and new field are used but their values mismatch: {name} = {} vs {path} = {}",
                        show(&value),
                        show(present)
                    ),
                ));
            }
        }
    }
    if let Some(function) = &shorthand.expand {
        members.remove(name);
        for (key, value) in named(function, value) {
            members.insert(key.into(), value);
        }
        return Ok(());
    }
    members.remove(name);
    for path in successors {
        // The successor's own value takes precedence.
        if at(members, path).is_none_or(Value::is_null) {
            set(members, path, value.clone());
        }
    }
    Ok(())
}

/// Lets fields that are shorthands too have their effect on each other once every default is there:
/// an upstream's `hash_on: none` undoes consistent hashing.
pub(super) fn settle(record: &Record, members: &mut Map) {
    for shorthand in &record.shorthands {
        let name = &shorthand.field.name;
        if let (Some(function), Some(_)) = (&shorthand.expand, record.field(name))
            && let Some(value) = members.get(name).cloned()
        {
            for (key, value) in named(function, value) {
                // What the field may not hold stays, for the check to refuse.
                let refused = record
                    .field(key)
                    .zip(members.get(key))
                    .is_some_and(|(field, held)| check_field(field, held).is_err());
                if !refused {
                    members.insert(key.into(), value);
                }
            }
        }
    }
}

fn at<'a>(members: &'a Map, path: &Path) -> Option<&'a Value> {
    let mut steps = path.steps().iter();
    let Some(Step::Key(first)) = steps.next() else { return None };
    steps.try_fold(members.get(&**first)?, |value, step| match step {
        Step::Key(key) => value.get(key),
        Step::Index(_) => None,
    })
}

fn set(members: &mut Map, path: &Path, value: Value) {
    let Some((Step::Key(last), way)) = path.steps().split_last() else { return };
    let mut members = members;
    for step in way {
        let Step::Key(key) = step else { return };
        if members.get(&**key).is_none_or(Value::is_null) {
            members.insert(key.clone(), Value::object());
        }
        match members.get_mut(&**key) {
            Some(Value::Object(inner)) => members = inner,
            _ => return,
        }
    }
    members.insert(last.clone(), value);
}

/// The shorthands whose fields follow from the value by code.
fn named(function: &str, value: Value) -> Vec<(&'static str, Value)> {
    match function {
        "service_url" => service_url(&value),
        "upstream_algorithm" => match value.exposed_str() {
            Some("least-connections" | "latency") => vec![("algorithm", value), ("hash_on", Value::Null)],
            _ => vec![("algorithm", value)],
        },
        "upstream_hash_on" => match value.exposed_str() {
            None if value.is_null() => vec![("hash_on", "none".into())],
            // No text: left for the check to refuse.
            None => vec![("hash_on", value)],
            Some("none") => vec![("hash_on", value), ("algorithm", "round-robin".into())],
            Some(_) => vec![("hash_on", value), ("algorithm", "consistent-hashing".into())],
        },
        _ => Vec::new(),
    }
}

/// The names of the functions of [`named`].
#[cfg(test)]
pub(super) const FUNCTIONS: [&str; 3] = ["service_url", "upstream_algorithm", "upstream_hash_on"];

/// `protocol`, `host`, `port` and `path` of a service's URL. A query and a fragment have no place in a service.
fn service_url(value: &Value) -> Vec<(&'static str, Value)> {
    let Some(url) = value.exposed_str() else { return Vec::new() };
    let parts = super::url::parse(url);
    let port = parts.port.as_deref().and_then(|port| port.parse::<u64>().ok());
    let protocol =
        parts.scheme.unwrap_or_else(|| if port == Some(443) { "https" } else { "http" }.to_owned());
    let port = match (port, parts.port) {
        (Some(port), _) => Value::from(port),
        (None, Some(text)) => Value::from(text),
        (None, None) => Value::from(if protocol == "https" { 443_u64 } else { 80 }),
    };
    let text = |part: Option<String>| part.map_or(Value::Null, Value::from);
    let mut out = vec![
        ("protocol", Value::from(protocol)),
        ("host", text(parts.host)),
        ("port", port),
        ("path", text(parts.path)),
    ];
    // Whoever hides the URL hides its parts.
    if let Value::Secret(secret) = value {
        out.iter_mut().for_each(|(_, part)| part.conceal(secret.origin()));
    }
    out
}

/// Shows deprecated fields again, with the values of their successors, as the Admin API answers.
pub fn show_shorthands(schemas: &Schemas, kind: &Kind, body: &mut Value) {
    let view = View::of(schemas, kind, body);
    for field in view.fields() {
        if let (Type::Record(record), Some(Value::Object(members))) =
            (&field.ty, body.as_object_mut().and_then(|members| members.get_mut(&*field.name)))
        {
            show_in(record, members);
        }
    }
}

/// Takes out the deprecated fields that [`show_shorthands`] shows, so that a change of their successors holds.
pub fn hide_shorthands(schemas: &Schemas, kind: &Kind, body: &mut Value) {
    let view = View::of(schemas, kind, body);
    if let Some(members) = body.as_object_mut() {
        hide(view, members);
    }
}

fn hide(view: View<'_>, members: &mut Map) {
    for shorthand in &view.base.shorthands {
        let name = &*shorthand.field.name;
        if view.base.field(name).is_none() {
            members.remove(name);
        }
    }
    for field in view.fields() {
        if let (Type::Record(record), Some(Value::Object(inner))) = (&field.ty, members.get_mut(&*field.name))
        {
            hide(View::plain(record), inner);
        }
    }
}

/// Where the value of a deprecated field goes, first of all.
fn successor(shorthand: &Shorthand) -> Option<&Path> {
    shorthand.field.deprecation.as_ref()?.replaced_with.first()
}

fn show_in(record: &Record, members: &mut Map) {
    for shorthand in &record.shorthands {
        if let Some(path) = successor(shorthand) {
            let value = at(members, path).cloned().unwrap_or(Value::Null);
            members.insert(shorthand.field.name.clone(), value);
        }
    }
    for field in &record.fields {
        if let (Type::Record(inner), Some(Value::Object(members))) =
            (&field.ty, members.get_mut(&*field.name))
        {
            show_in(inner, members);
        }
    }
}
