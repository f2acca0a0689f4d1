//! What a body takes from elsewhere: entities that the items of a list name (`partials: [{name}]`), and the fields that
//! a plugin's partials fill in.

use super::compare::{Comparer, plain_text};
use crate::model::{Entity, Target};
use crate::schema::{self, Field, Kind, Record, Schemas, Type};
use crate::value::{Path, Step, Value};
use std::sync::Arc;
use uuid::Uuid;

/// An entity that an item of a list names: its kind and its name.
pub(super) type Link = (Arc<str>, String);

/// Calls `found` with every link of a body that is by name alone.
pub(super) fn each(kind: &Kind, body: &Value, found: &mut dyn FnMut(Link)) {
    for (field, naming, to) in kind.record.links() {
        for item in body.get(&field.name).and_then(Value::as_array).into_iter().flatten() {
            if let Some(name) = name_alone(item, naming) {
                found((Arc::from(to), plain_text(name)));
            }
        }
    }
}

/// The name in an item that says no id.
fn name_alone<'v>(item: &'v Value, naming: &Field) -> Option<&'v Value> {
    let has_id = item.get("id").is_some_and(|id| !id.is_null());
    item.get(&naming.name).filter(|name| !has_id && !name.is_null())
}

/// Writes ids beside the names of a body's links, as far as `id` knows them.
pub(super) fn complete(kind: &Kind, body: &mut Value, id: &dyn Fn(&Link) -> Option<Uuid>) {
    for (field, naming, to) in kind.record.links() {
        let Some(Value::Array(items)) = body.as_object_mut().and_then(|body| body.get_mut(&*field.name))
        else {
            continue;
        };
        for item in items {
            let named = name_alone(item, naming).map(|name| (Arc::from(to), plain_text(name)));
            if let Some(found) = named.and_then(|link| id(&link)) {
                item.set("id", Value::from(found.to_string()));
            }
        }
    }
}

/// Whether two items mean the same: the same entity, and nothing else said differently. The gateway fills in what an
/// item leaves out.
pub(super) fn same_item(item: &Record, want: &Value, have: &Value) -> bool {
    let both = |name: &str| {
        let said = |side: &Value| side.get(name).filter(|value| !value.is_null()).cloned();
        said(want).zip(said(have))
    };
    let by_id = both("id");
    by_id.as_ref().is_none_or(|(want, have)| want == have)
        && item
            .fields
            .iter()
            .filter(|field| by_id.is_none() || field.names.is_none())
            .all(|field| both(&field.name).is_none_or(|(want, have)| want == have))
}

/// Gives a body the values that the gateway took from elsewhere, where the body says nothing.
pub(super) fn supply(schemas: &Schemas, kind: &Kind, body: &mut Value, held: &Value) {
    for path in schema::supplied_by_partials(schemas, kind, body) {
        if let (None, Some(value)) = (body.at(&path), held.at(&path)) {
            set_at(body, &path, value.clone());
        }
    }
}

/// Takes out of a body what [`supply`] gave it.
pub(super) fn leave_supplied(schemas: &Schemas, kind: &Kind, body: &mut Value, held: &Value) {
    for path in schema::supplied_by_partials(schemas, kind, body) {
        if let Some((Step::Key(last), way)) = path.steps().split_last()
            && body.at(&path) == held.at(&path)
            && let Some(owner) = object_at(body, way)
        {
            owner.remove(last);
        }
    }
}

fn set_at(body: &mut Value, path: &Path, value: Value) {
    if let Some((Step::Key(last), way)) = path.steps().split_last()
        && let Some(owner) = object_at(body, way)
    {
        owner.set(last, value);
    }
}

fn object_at<'v>(body: &'v mut Value, way: &[Step]) -> Option<&'v mut Value> {
    way.iter().try_fold(body, |value, step| match step {
        Step::Key(key) => value.as_object_mut()?.get_mut(&**key),
        Step::Index(_) => None,
    })
}

/// The item's record, when a field is a list of links.
pub(super) fn item_of(field: &Field) -> Option<&Record> {
    field.item_naming()?;
    match &field.ty {
        Type::Array(element) | Type::Set(element) => match &element.ty {
            Type::Record(item) => Some(item),
            _ => None,
        },
        _ => None,
    }
}

impl Comparer<'_> {
    /// The entity of the files that a link names.
    pub(super) fn linked(&self, link: &Link) -> Option<usize> {
        self.links.get(link).copied()
    }

    /// The id of what a link names, if that exists already.
    pub(super) fn link_id(&self, link: &Link) -> Option<Uuid> {
        match self.linked(link) {
            Some(at) => self.wanted_target(&Target::Entity(at), &link.0),
            None => self.names.get(link).copied().flatten(),
        }
    }

    /// A wanted body as it is compared with the one that the gateway holds.
    pub(super) fn comparable(&self, want: &Entity, held: &Value) -> Option<Value> {
        let (schemas, kind) = (self.schemas, &*want.kind);
        let shorthands = super::equal::uses_shorthands(schemas, kind, &want.body);
        let linked =
            kind.record.links().any(|(field, ..)| want.body.get(&field.name).is_some_and(|v| !v.is_null()));
        if !shorthands && !linked {
            return None;
        }
        let mut body = want.body.clone();
        if shorthands {
            schema::expand_shorthands(schemas, kind, &mut body);
        }
        if linked {
            complete(kind, &mut body, &|link| self.link_id(link));
            supply(schemas, kind, &mut body, held);
        }
        Some(body)
    }
}
