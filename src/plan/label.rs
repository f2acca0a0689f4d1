//! What entities are called in reports. Secrets are called by their origins.

use super::keys::is_foreign;
use crate::model::Entity;
use crate::schema::Kind;
use crate::value::Value;
use uuid::Uuid;

/// A value as a word of a label.
pub(super) fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Secret(secret) => secret.to_string(),
        other => other.to_string(),
    }
}

/// The value of a field as a word of a label: addresses of IPv6 in full, as the gateway stores them.
fn named(kind: &Kind, (field, value): (&str, &Value)) -> String {
    let field = kind.record.field(field);
    let address = value.as_str().filter(|text| text.matches(':').count() > 1);
    let stored = address.and_then(|text| field?.normal_form(text));
    stored.unwrap_or_else(|| word(value))
}

/// The field that names an entity, and its value.
pub(super) fn naming<'v>(kind: &'v Kind, body: &'v Value) -> Option<(&'v str, &'v Value)> {
    kind.report.label.iter().filter(|field| !is_foreign(kind, field)).find_map(|field| {
        body.get(field)
            .filter(|value| !value.is_null() && value.exposed_str() != Some(""))
            .map(|v| (&**field, v))
    })
}

/// What an entity is called by itself: its naming field, or its id.
pub(super) fn own(entity: &Entity, id: Uuid) -> String {
    naming(&entity.kind, &entity.body).map_or_else(|| id.to_string(), |found| named(&entity.kind, found))
}

/// An owner in a label: the word of its kind, its name if it has one, and its id.
pub(super) struct Owner {
    pub word: Box<str>,
    pub name: Option<String>,
    pub id: Uuid,
}

/// What an entity is called with its owners: `k1 for consumer u1`, `cors (global)`.
/// `owner` gives the owner that a foreign field names.
pub(super) fn full(kind: &Kind, body: &Value, id: Uuid, owner: impl Fn(&str) -> Option<Owner>) -> String {
    let words = &kind.report;
    let called = |owner: Owner| owner.name.unwrap_or_else(|| owner.id.to_string());
    // What only joins two others is called by one of them.
    let joined = || words.label.iter().find_map(|field| owner(field)).map(called);
    let own = naming(kind, body).map(|found| named(kind, found)).or_else(joined);
    let mut out = own.unwrap_or_else(|| id.to_string());
    let owners: Vec<String> = words
        .owners
        .iter()
        .filter_map(|field| owner(field))
        .map(|owner| {
            let name = owner.name.filter(|_| !words.owner_by_id).unwrap_or_else(|| owner.id.to_string());
            format!("{} {name}", owner.word)
        })
        .collect();
    if owners.is_empty() {
        if let Some(unowned) = &words.unowned {
            out.push_str(&format!(" ({unowned})"));
        }
    } else {
        out.push_str(" for ");
        out.push_str(&owners.join(" and "));
    }
    out
}

/// Whom a held entity belongs to, as far as its tags say.
pub(super) fn owner(entity: &Entity) -> String {
    let tags: Vec<String> =
        entity.body.get("tags").and_then(Value::as_array).unwrap_or_default().iter().map(word).collect();
    if tags.is_empty() {
        "nobody by its tags (it has none)".to_owned()
    } else {
        format!("the tags {}", tags.join(", "))
    }
}
