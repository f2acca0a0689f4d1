//! Whether an entity already is what a file asks for.
//!
//! The bodies are walked side by side with the schema: a field that the file does not write stands for the
//! gateway's default. Nothing is copied, because in most runs most entities are equal.

use super::links;
use crate::schema::{Field, Kind, Record, Schemas, Type, is_pbkdf2_of};
use crate::value::{Map, Value};
use uuid::Uuid;

/// Whether putting `want` (as written in a file, shorthands expanded) would leave `have` (as the gateway
/// shows it) as it is. Foreign fields are not looked at; `salt` gives the id that one of them leads to.
pub(super) fn same_body(
    schemas: &Schemas,
    kind: &Kind,
    want: &Value,
    have: &Value,
    salt: &dyn Fn(&str) -> Option<Uuid>,
) -> bool {
    let (Some(want_members), Some(have_members)) = (want.as_object(), have.as_object()) else {
        return want == have;
    };
    let variant = schemas.variant_of(kind, want);
    kind.record.fields.iter().all(|field| {
        let field = variant.and_then(|record| record.field(&field.name)).unwrap_or(field);
        same_member(field, want_members, have_members)
            || both_empty(field, want_members, have_members)
            || is_hash(field, want_members, have_members, salt)
    })
}

/// Puts what is written in place of the hashes of it that the gateway holds, so that reports show no change and
/// putting the entity back hashes it once.
pub(super) fn unhash(kind: &Kind, after: &Value, before: &mut Value, salt: &dyn Fn(&str) -> Option<Uuid>) {
    let (Some(after), Some(before)) = (after.as_object(), before.as_object_mut()) else { return };
    for field in &kind.record.fields {
        if let Some(written) = after.get(&*field.name)
            && is_hash(field, after, before, salt)
        {
            before.insert(field.name.clone(), written.clone());
        }
    }
}

/// Whether a list of the entity itself has no items on either side: `tags: []` says what no tags say, and decK sees no
/// difference either.
fn both_empty(field: &Field, want: &Map, have: &Map) -> bool {
    let nothing = |side: &Map| match side.get(&*field.name) {
        None | Some(Value::Null) => true,
        Some(Value::Array(items)) => items.is_empty(),
        Some(_) => false,
    };
    matches!(field.ty, Type::Array(_) | Type::Set(_))
        && field.default.is_none()
        && nothing(want)
        && nothing(have)
}

/// Whether the gateway holds the hash of what is written.
fn is_hash(field: &Field, want: &Map, have: &Map, salt: &dyn Fn(&str) -> Option<Uuid>) -> bool {
    let text = |side: &Map| side.get(&*field.name).and_then(Value::exposed_str).map(str::to_owned);
    if field.hashed_if.as_ref().is_some_and(|asks| want.get(&**asks) == Some(&Value::Bool(true))) {
        return text(want).zip(text(have)).is_some_and(|(want, have)| is_pbkdf2_of(&want, &have));
    }
    let Some(salt) = field.salted_by.as_deref().and_then(salt) else { return false };
    let hashed = text(want).and_then(|text| field.hashed(&text, salt));
    hashed.is_some() && hashed == text(have)
}

/// Whether a body uses a field that stands for others, anywhere.
pub(super) fn uses_shorthands(schemas: &Schemas, kind: &Kind, body: &Value) -> bool {
    let Some(members) = body.as_object() else { return false };
    let variant = schemas.variant_of(kind, body);
    holds_shorthand(&kind.record, members) || variant.is_some_and(|variant| holds_shorthand(variant, members))
}

fn holds_shorthand(record: &Record, members: &Map) -> bool {
    record.shorthands.iter().any(|shorthand| members.contains_key(&*shorthand.field.name))
        || members
            .iter()
            .any(|(name, value)| record.field(name).is_some_and(|field| value_holds_shorthand(field, value)))
}

fn value_holds_shorthand(field: &Field, value: &Value) -> bool {
    match (&field.ty, value) {
        (Type::Record(record), Value::Object(members)) => holds_shorthand(record, members),
        (Type::Array(element) | Type::Set(element), Value::Array(items)) => {
            items.iter().any(|item| value_holds_shorthand(element, item))
        }
        (Type::Map { values, .. }, Value::Object(members)) => {
            members.values().any(|member| value_holds_shorthand(values, member))
        }
        _ => false,
    }
}

fn same_members(record: &Record, want: &Map, have: &Map) -> bool {
    record.fields.iter().all(|field| same_member(field, want, have))
}

fn same_member(field: &Field, want: &Map, have: &Map) -> bool {
    if field.computed || field.transient || matches!(field.ty, Type::Foreign { .. }) {
        return true;
    }
    let have = have.get(&*field.name);
    match (want.get(&*field.name), have) {
        // Written: null and absent are the same on the gateway's side.
        (Some(want), Some(have)) => same_value(field, want, have),
        (Some(want), None) => is_nothing(field, want),
        // Not written: what the gateway makes stays, what it does not have cannot differ.
        (None, None) => true,
        (None, Some(_)) if field.auto => true,
        (None, Some(have)) => is_default(field, have),
    }
}

/// Whether `have` is what the gateway fills in for a field without a value.
fn is_default(field: &Field, have: &Value) -> bool {
    match (&field.default, &field.ty) {
        (Some(default), _) => same_value(field, default, have),
        (None, Type::Record(record)) if field.required => {
            have.as_object().is_some_and(|have| same_members(record, &Map::new(), have))
        }
        (None, _) => have.is_null(),
    }
}

fn is_nothing(field: &Field, want: &Value) -> bool {
    match &field.ty {
        Type::Record(_) => want.is_null() || want.as_object().is_some_and(Map::is_empty),
        _ => want.is_null(),
    }
}

/// Whether two values of a field mean the same: sets without order, records with their defaults.
pub(super) fn same_value(field: &Field, want: &Value, have: &Value) -> bool {
    if let (Some(item), Value::Array(want), Value::Array(have)) = (links::item_of(field), want, have) {
        return want.len() == have.len()
            && want.iter().all(|want| have.iter().any(|have| links::same_item(item, want, have)));
    }
    match (&field.ty, want, have) {
        (Type::Record(record), Value::Object(want), Value::Object(have)) => same_members(record, want, have),
        (Type::Array(element), Value::Array(want), Value::Array(have)) => {
            want.len() == have.len()
                && want.iter().zip(have).all(|(want, have)| same_value(element, want, have))
        }
        (Type::Set(element), Value::Array(want), Value::Array(have)) => same_set(element, want, have),
        (Type::Map { values, .. }, Value::Object(want), Value::Object(have)) => {
            want.len() == have.len()
                && want
                    .iter()
                    .all(|(key, want)| have.get(key).is_some_and(|have| same_value(values, want, have)))
        }
        // An empty list and an empty object are the same to the gateway.
        (Type::Record(record), Value::Array(want), Value::Object(have)) if want.is_empty() => {
            same_members(record, &Map::new(), have)
        }
        (Type::Map { .. }, Value::Array(want), Value::Object(have)) => want.is_empty() && have.is_empty(),
        (Type::Map { .. }, Value::Object(want), Value::Array(have)) => want.is_empty() && have.is_empty(),
        (Type::Array(_) | Type::Set(_), Value::Object(want), Value::Array(have)) => {
            want.is_empty() && have.is_empty()
        }
        (Type::Array(_) | Type::Set(_), Value::Array(want), Value::Object(have)) => {
            want.is_empty() && have.is_empty()
        }
        (Type::String, _, _) if want != have && field.normal.is_some() => {
            let stored = want.exposed_str().and_then(|text| field.normal_form(text));
            stored.is_some() && stored.as_deref() == have.exposed_str()
        }
        _ => want == have,
    }
}

/// Up to this many items sets are compared pair by pair; longer ones, which lists of consumers' tags or paths
/// do not reach, are sorted first.
const SMALL_SET: usize = 64;

fn same_set(element: &Field, want: &[Value], have: &[Value]) -> bool {
    if want == have {
        return true;
    }
    if want.len().max(have.len()) > SMALL_SET {
        return sorted(want) == sorted(have);
    }
    let within = |item: &Value, others: &[Value]| others.iter().any(|other| same_value(element, item, other));
    want.iter().all(|item| within(item, have))
        && have.iter().all(|item| want.iter().any(|other| same_value(element, other, item)))
}

/// The items' texts, for comparing only: they hold secrets in clear.
fn sorted(items: &[Value]) -> Vec<String> {
    let mut texts: Vec<String> = items
        .iter()
        .map(|item| serde_json::to_string(&crate::value::Exposed(item)).unwrap_or_default())
        .collect();
    texts.sort_unstable();
    texts.dedup();
    texts
}

/// Gives the parts of `after` that mean the same as in `before` the spelling that they have there, so that a report
/// shows only what changes: the order of sets, numbers, generated fields that the file leaves alone.
pub(super) fn settle(schemas: &Schemas, kind: &Kind, after: &mut Value, before: &Value) {
    let variant = schemas.variant_of(kind, after).map(|record| (record, &kind.record));
    let (Some(after), Some(before)) = (after.as_object_mut(), before.as_object()) else { return };
    for field in &kind.record.fields {
        let field = variant.and_then(|(record, _)| record.field(&field.name)).unwrap_or(field);
        settle_member(field, after, before);
    }
}

fn settle_member(field: &Field, after: &mut Map, before: &Map) {
    if matches!(field.ty, Type::Foreign { .. }) {
        return;
    }
    let Some(old) = before.get(&*field.name) else { return };
    match after.get_mut(&*field.name) {
        Some(new) => settle_value(field, new, old),
        None if field.auto || field.computed || field.transient => {
            after.insert(field.name.clone(), old.clone());
        }
        None => {}
    }
}

fn settle_value(field: &Field, new: &mut Value, old: &Value) {
    if same_value(field, new, old) {
        // A secret keeps saying where the files have it from.
        if !new.has_secret() {
            new.clone_from(old);
        }
        return;
    }
    match (&field.ty, &mut *new, old) {
        (Type::Record(record), Value::Object(new), Value::Object(old)) => {
            for field in &record.fields {
                settle_member(field, new, old);
            }
        }
        (Type::Set(element), Value::Array(items), Value::Array(held)) => {
            // What stays keeps its order, what is new follows.
            items.sort_by_cached_key(|item| {
                held.iter().position(|old| same_value(element, item, old)).unwrap_or(held.len())
            });
        }
        _ => {}
    }
}
