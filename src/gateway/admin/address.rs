//! What a path of the Admin API means, derived from the table of kinds: collections by their paths, nested ones by
//! foreign fields.

use crate::schema::{Field, Kind, Schemas};
use std::sync::Arc;

/// An address of entities.
#[derive(Clone, Debug)]
pub(super) enum Address {
    /// `/routes`
    Collection(Arc<Kind>),
    /// `/routes/{key}`
    Entity(Arc<Kind>, String),
    /// `/routes/{key}/service`: what a foreign field points to.
    Parent(Arc<Kind>, String, Box<str>),
    /// `/services/{key}/routes`: what points here.
    Nested(Below),
    /// `/services/{key}/routes/{key}`
    NestedEntity(Below, String),
}

/// The place below an entity where those stand that point to it.
#[derive(Clone, Debug)]
pub(super) struct Below {
    /// The kind above.
    pub parent: Arc<Kind>,
    /// Which entity above.
    pub key: String,
    /// The kind below.
    pub child: Arc<Kind>,
    /// The field that points up.
    pub field: Box<str>,
}

/// Kinds that have a collection of their own or below another.
fn listed(schemas: &Schemas) -> impl Iterator<Item = &Arc<Kind>> {
    schemas.kinds().iter().filter(|kind| kind.admin_api && kind.addressed_by.is_empty())
}

/// The address that a path (split and decoded) means.
pub(super) fn resolve(schemas: &Schemas, path: &[String]) -> Option<Address> {
    let (first, rest) = path.split_first()?;
    let kind = listed(schemas).find(|kind| *kind.path == **first)?;
    if let [key, second, rest @ ..] = rest {
        let below = |child: &Arc<Kind>, field: &Field| Below {
            parent: Arc::clone(kind),
            key: key.clone(),
            child: Arc::clone(child),
            field: field.name.clone(),
        };
        let children = listed(schemas).filter(|child| *child.nested_path == **second);
        let pointing = |child: &Arc<Kind>| {
            child
                .record
                .foreign()
                .find(|(_, reference)| **reference == *kind.name)
                .map(|(f, _)| below(child, f))
        };
        let nested = children.filter(|child| child.only_under.as_ref().is_none_or(|up| *up == kind.name));
        match (nested.filter_map(pointing).next(), rest) {
            (Some(below), []) => return Some(Address::Nested(below)),
            (Some(below), [child_key]) => return Some(Address::NestedEntity(below, child_key.clone())),
            (Some(_), _) => return None,
            (None, _) => {}
        }
        let field = kind.record.foreign().map(|(field, _)| field).find(|field| *field.name == **second)?;
        let whole = rest.is_empty() && kind.only_under.is_none();
        return whole.then(|| Address::Parent(Arc::clone(kind), key.clone(), field.name.clone()));
    }
    // What stands below another kind only has no collection of its own.
    if kind.only_under.is_some() {
        return None;
    }
    match rest {
        [] => Some(Address::Collection(Arc::clone(kind))),
        [key] => Some(Address::Entity(Arc::clone(kind), key.clone())),
        _ => None,
    }
}

impl Address {
    /// The methods that it answers, as `Allow` lists them.
    pub fn methods(&self) -> &'static str {
        match self {
            Address::Collection(_) | Address::Nested(_) => "GET, HEAD, OPTIONS, POST",
            _ => "DELETE, GET, HEAD, OPTIONS, PATCH, PUT",
        }
    }
}

/// Every address of entities with its parameters in braces.
pub(super) fn templates(schemas: &Schemas) -> Vec<String> {
    let mut out = Vec::new();
    for kind in listed(schemas) {
        if kind.only_under.is_none() {
            out.push(format!("/{}", kind.path));
            out.push(format!("/{}/{{{}}}", kind.path, kind.name));
        }
        for (field, reference) in kind.record.foreign() {
            if kind.only_under.is_none() {
                out.push(format!("/{}/{{{}}}/{}", kind.path, kind.name, field.name));
            }
            if let Some(parent) = schemas.kind(reference).filter(|parent| parent.admin_api) {
                let nested = format!("/{}/{{{}}}/{}", parent.path, parent.name, kind.nested_path);
                out.push(format!("{nested}/{{{}}}", kind.name));
                out.push(nested);
            }
        }
    }
    out
}
