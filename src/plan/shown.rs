//! Bodies as they are sent, and as reports show them.

use super::build::reference_id;
use super::links;
use super::types::{Action, Change};
use crate::schema::{self, Check, Field, Kind, Schemas, Type};
use crate::value::{Map, Value};

/// Which fields of an entity a report shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// What a file could say: no times.
    Planned,
    /// With the times at which the entity was made and changed, as for what has been deleted.
    Held,
}

impl Change {
    /// The body to put: what differs from the gateway's defaults, foreign fields as `{"id": ...}`, and the values that
    /// the gateway generated and the file leaves alone. `None` for a deletion.
    pub fn request(&self, schemas: &Schemas) -> Option<Value> {
        let mut after = self.after.clone()?;
        if let Some(before) = &self.before {
            links::leave_supplied(schemas, &self.kind, &mut after, before);
            if keeps_the_unsaid(&self.kind) {
                return Some(without_own(&self.kind, after));
            }
        }
        Some(sendable(schemas, &self.kind, after))
    }

    /// The body that puts the entity back as it was. `None` for a creation.
    pub fn undo_request(&self, schemas: &Schemas) -> Option<Value> {
        self.before.as_ref().map(|before| {
            let mut body = before.clone();
            schema::expand_shorthands(schemas, &self.kind, &mut body);
            if let Some(members) = body.as_object_mut() {
                members.retain(|name, _| &**name == "id" || self.kind.record.field(name).is_some());
            }
            if keeps_the_unsaid(&self.kind) {
                return without_own(&self.kind, body);
            }
            sendable(schemas, &self.kind, body)
        })
    }

    /// The entity before the change as reports show it. `None` for a creation.
    pub fn shown_before(&self, detail: Detail) -> Option<Value> {
        self.before.as_ref().map(|body| self.shown(body, detail))
    }

    /// The entity after the change as reports show it. `None` for a deletion.
    pub fn shown_after(&self, detail: Detail) -> Option<Value> {
        self.after.as_ref().map(|body| self.shown(body, detail))
    }

    /// What JSON reports call the new body: of a deletion, what is deleted.
    pub fn shown_subject(&self, detail: Detail) -> Option<Value> {
        match self.action {
            Action::Delete => self.shown_before(detail),
            Action::Create | Action::Update => self.shown_after(detail),
        }
    }

    /// The fields that the schema knows and that have a value; references by id and name. Nulls stay where a
    /// plugin's or vault's own schema speaks.
    fn shown(&self, body: &Value, detail: Detail) -> Value {
        let mut out = Map::new();
        if let Some(id) = body.get("id").filter(|_| self.kind.addressed_by.is_empty()) {
            out.insert("id".into(), id.clone());
        }
        for field in &self.kind.record.fields {
            let hidden = self.kind.report.hidden.contains(&field.name)
                || detail == Detail::Planned && is_time(field)
                || field.transient;
            let Some(value) = body.get(&field.name).filter(|value| !hidden && !value.is_null()) else {
                continue;
            };
            let value = match &field.ty {
                Type::Foreign { .. } if self.shows_id_only(field, detail) => value.clone(),
                Type::Foreign { .. } => self.named_reference(body, field, value),
                Type::Abstract => value.clone(),
                _ => without_nulls(value),
            };
            out.insert(field.name.clone(), value);
        }
        Value::Object(out)
    }

    fn shows_id_only(&self, field: &Field, detail: Detail) -> bool {
        let words = &self.kind.report;
        words.ids_only.contains(&field.name) || detail == Detail::Held && words.unnamed.contains(&field.name)
    }

    fn named_reference(&self, body: &Value, field: &Field, value: &Value) -> Value {
        let mut value = value.clone();
        if let Some(name) = reference_id(body, &field.name).and_then(|id| self.names.get(&id)) {
            value.set(&name.field, name.value.clone());
        }
        value
    }
}

/// Whether gateways keep what a write does not name, so that what an entity is to lose must be said, defaults too:
/// those that are found below a parent alone.
fn keeps_the_unsaid(kind: &Kind) -> bool {
    kind.only_under.is_some() || !kind.addressed_by.is_empty()
}

fn sendable(schemas: &Schemas, kind: &Kind, mut body: Value) -> Value {
    schema::strip_defaults(schemas, kind, &mut body);
    without_own(kind, body)
}

/// A body without what the gateway makes by itself.
fn without_own(kind: &Kind, mut body: Value) -> Value {
    if let Some(members) = body.as_object_mut() {
        members
            .retain(|name, _| !kind.record.field(name).is_some_and(|field| field.computed || is_time(field)));
    }
    body
}

/// A field that holds when the gateway made or changed the entity.
fn is_time(field: &Field) -> bool {
    field.auto && field.checks.iter().any(|check| matches!(check, Check::Timestamp))
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .iter()
                .filter(|(_, member)| !member.is_null())
                .map(|(name, member)| (name.clone(), without_nulls(member)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}
