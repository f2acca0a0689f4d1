//! Fields that the gateway makes: ids, times, keys and secrets.

use crate::schema::{Check, Field, Kind, Record, Schemas, Type};
use crate::value::{Map, Value};
use rand::Rng;
use rand::distr::Alphanumeric;
use uuid::Uuid;

/// The length of generated keys and secrets, as Kong makes them.
const KEY_LENGTH: usize = 32;

/// Fills in what a new entity (or one written over) lacks. `now` is in seconds since 1970.
pub(super) fn for_insert(kind: &Kind, members: &mut Map, now: f64) {
    for field in kind.record.fields.iter().filter(|field| field.auto) {
        let given = members.get(&*field.name);
        let value = if is_uuid(field) {
            given.is_none().then(|| Value::from(Uuid::new_v4().to_string()))
        } else if is_time(field) {
            let renewed = &*field.name == "updated_at" || given.is_none_or(Value::is_null);
            renewed.then(|| time(field, now))
        } else if matches!(field.ty, Type::String) {
            given.is_none().then(|| Value::from(key()))
        } else {
            None
        };
        if let Some(value) = value {
            members.insert(field.name.clone(), value);
        }
    }
}

/// Fills in the keys that records inside an entity lack (a session's secret). Defaults are filled in before.
pub(super) fn inside(schemas: &Schemas, kind: &Kind, body: &mut Value) {
    let variant = schemas.variant_of(kind, body);
    let Some(members) = body.as_object_mut() else { return };
    for field in &kind.record.fields {
        let field = variant.and_then(|variant| variant.field(&field.name)).unwrap_or(field);
        if let (Type::Record(record), Some(value)) = (&field.ty, members.get_mut(&*field.name)) {
            keys(record, value);
        }
    }
}

fn keys(record: &Record, value: &mut Value) {
    let Some(members) = value.as_object_mut() else { return };
    for field in &record.fields {
        match (&field.ty, members.get_mut(&*field.name)) {
            (Type::Record(inner), Some(value)) => keys(inner, value),
            (Type::String, None) if field.auto && !is_uuid(field) => {
                members.insert(field.name.clone(), Value::from(key()));
            }
            _ => {}
        }
    }
}

/// Fills in what a change brings with it.
pub(super) fn for_update(kind: &Kind, members: &mut Map, now: f64) {
    if let Some(field) = kind.record.field("updated_at").filter(|field| field.auto && is_time(field)) {
        members.insert(field.name.clone(), time(field, now));
    }
}

fn is_uuid(field: &Field) -> bool {
    field.checks.iter().any(|check| matches!(check, Check::Uuid))
}

fn is_time(field: &Field) -> bool {
    matches!(field.ty, Type::Integer | Type::Number) && matches!(&*field.name, "created_at" | "updated_at")
}

/// Whole seconds, or seconds with milliseconds, by the field's type.
fn time(field: &Field, now: f64) -> Value {
    match field.ty {
        Type::Integer => Value::from(now as i64),
        _ => Value::from((now * 1000.0).floor() / 1000.0),
    }
}

fn key() -> String {
    rand::rng().sample_iter(Alphanumeric).take(KEY_LENGTH).map(char::from).collect()
}
