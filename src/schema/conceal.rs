//! Which parts of a body are secret, as their schema says.

use super::bundled::Schemas;
use super::check::is_vault_reference;
use super::types::{Field, Kind, Type};
use super::view::View;
use crate::value::{Map, Origin, Path, Step, Value};

/// Makes credential and `encrypted` fields secret. `origin` says where the value at a path came from.
pub fn conceal(schemas: &Schemas, kind: &Kind, body: &mut Value, origin: &dyn Fn(&Path) -> Origin) {
    let view = View::of(schemas, kind, body);
    if let Some(members) = body.as_object_mut() {
        conceal_members(view, members, &mut Vec::new(), origin);
    }
}

type Steps = Vec<Step>;

fn conceal_members(view: View<'_>, members: &mut Map, at: &mut Steps, origin: &dyn Fn(&Path) -> Origin) {
    for field in view.fields() {
        if let Some(value) = members.get_mut(&*field.name)
            && may_hold_secrets(field)
        {
            at.push(Step::Key(field.name.clone()));
            conceal_value(field, value, at, origin);
            at.pop();
        }
    }
    for shorthand in view.base.shorthands.iter() {
        let secret = shorthand.field.secret || replaces_secret(view, &shorthand.field);
        if let Some(value) = members.get_mut(&*shorthand.field.name)
            && secret
        {
            at.push(Step::Key(shorthand.field.name.clone()));
            value.conceal(&origin(&at.iter().cloned().collect()));
            at.pop();
        }
    }
}

/// Whether a deprecated field's successor is a secret.
fn replaces_secret(view: View<'_>, field: &Field) -> bool {
    field.deprecation.iter().flat_map(|deprecation| &deprecation.replaced_with).any(|path| {
        let mut record = view.base;
        let mut secret = false;
        for step in path.steps() {
            let Step::Key(key) = step else { return false };
            let Some(field) = record.field(key) else { return false };
            secret = field.secret;
            if let Type::Record(inner) = &field.ty {
                record = inner;
            }
        }
        secret
    })
}

fn may_hold_secrets(field: &Field) -> bool {
    field.secret || matches!(field.ty, Type::Record(_) | Type::Array(_) | Type::Set(_) | Type::Map { .. })
}

fn conceal_value(field: &Field, value: &mut Value, at: &mut Steps, origin: &dyn Fn(&Path) -> Origin) {
    if field.secret {
        // A reference to a vault says where the secret is and is none itself.
        if !(value.is_null() || field.referenceable && is_vault_reference(value)) {
            value.conceal(&origin(&at.iter().cloned().collect()));
        }
        return;
    }
    match (&field.ty, value) {
        (Type::Record(record), Value::Object(members)) => {
            conceal_members(View::plain(record), members, at, origin);
        }
        (Type::Array(element) | Type::Set(element), Value::Array(items)) if may_hold_secrets(element) => {
            for (n, item) in items.iter_mut().enumerate() {
                at.push(Step::Index(n));
                conceal_value(element, item, at, origin);
                at.pop();
            }
        }
        (Type::Map { values, .. }, Value::Object(members)) if may_hold_secrets(values) => {
            for (key, member) in members.iter_mut() {
                at.push(Step::Key(key.clone()));
                conceal_value(values, member, at, origin);
                at.pop();
            }
        }
        _ => {}
    }
}
