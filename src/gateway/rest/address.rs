//! What a path of entities means, derived from the table of kinds: collections by their paths, nested ones by
//! foreign fields.

use super::{Dialect, is_uuid};
use crate::schema::{Kind, Schemas};
use std::sync::Arc;

/// An address of entities.
#[derive(Clone, Debug)]
pub(in crate::gateway) enum Address {
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
    /// `/consumer_groups/{key}/consumers[/{value}...]`: entities without an id of their own.
    Link(Below, Vec<String>),
}

/// The place below an entity where those stand that point to it.
#[derive(Clone, Debug)]
pub(in crate::gateway) struct Below {
    /// The kind above.
    pub parent: Arc<Kind>,
    /// Which entity above.
    pub key: String,
    /// The kind below.
    pub child: Arc<Kind>,
    /// The field that points up.
    pub field: Box<str>,
}

/// What follows a path in segments, if they start with it.
fn after<'a>(segments: &'a [String], path: &str) -> Option<&'a [String]> {
    path.split('/').try_fold(segments, |rest, word| {
        let (first, rest) = rest.split_first()?;
        (*first == word).then_some(rest)
    })
}

/// The address that a path (split and decoded) means.
pub(in crate::gateway) fn resolve(schemas: &Schemas, dialect: Dialect, path: &[String]) -> Option<Address> {
    let kinds = || schemas.kinds().iter().filter(|kind| kind.admin_api);
    let own = kinds().filter(|kind| kind.addressed_by.is_empty());
    let (kind, rest) = own
        .filter_map(|kind| Some((kind, after(path, dialect.path(kind))?)))
        .min_by_key(|(_, rest)| rest.len())?;
    // What stands below another kind only has no collection of its own, unless Konnect lists it.
    let alone = kind.only_under.is_none() || dialect == Dialect::Konnect;
    let (key, rest) = match rest {
        [] => return alone.then(|| Address::Collection(Arc::clone(kind))),
        [key] => return alone.then(|| Address::Entity(Arc::clone(kind), key.clone())),
        [key, rest @ ..] => (key, rest),
    };
    let below = |child: &Arc<Kind>, field: &str| Below {
        parent: Arc::clone(kind),
        key: key.clone(),
        child: Arc::clone(child),
        field: field.into(),
    };
    let mut nested: Option<(usize, Address)> = None;
    for child in kinds() {
        let pointing = child.record.foreign().find(|(_, reference)| **reference == *kind.name);
        let Some((field, _)) = pointing else { continue };
        let place = if child.only_under.as_ref().is_none_or(|up| *up == kind.name) {
            after(rest, &child.nested_path)
        } else if child.rows_of.as_deref() == Some(&*field.name) {
            // The other way round: the groups of a consumer.
            let other = child.only_under.as_ref().and_then(|name| schemas.kind(name));
            other.and_then(|other| after(rest, &other.path))
        } else {
            None
        };
        let address = match place {
            Some(values) if !child.addressed_by.is_empty() => {
                Address::Link(below(child, &field.name), values.to_vec())
            }
            Some([]) => Address::Nested(below(child, &field.name)),
            Some([child_key]) => Address::NestedEntity(below(child, &field.name), child_key.clone()),
            _ => continue,
        };
        let left = place.map_or(0, <[String]>::len);
        if nested.as_ref().is_none_or(|(other, _)| left < *other) {
            nested = Some((left, address));
        }
    }
    if let Some((_, address)) = nested {
        return Some(address);
    }
    let [name] = rest else { return None };
    let field = kind.record.foreign().map(|(field, _)| field).find(|field| *field.name == **name)?;
    let hidden = kind.only_under.is_some() || hidden_parent(kind, &field.name);
    (!hidden).then(|| Address::Parent(Arc::clone(kind), key.clone(), field.name.clone()))
}

/// Kinds that are themselves another way to name what they point to (an SNI its certificate) have no address for it.
fn hidden_parent(kind: &Kind, field: &str) -> bool {
    let unique_elsewhere = kind.endpoint_key.as_ref().and_then(|key| kind.record.field(key));
    unique_elsewhere.is_some_and(|key| key.unique_across_workspaces)
        && kind.record.field(field).is_some_and(|field| field.required)
}

impl Address {
    /// The kind of the entities at this address, or of those that lead there.
    pub fn kind(&self) -> &Kind {
        match self {
            Address::Collection(kind) | Address::Entity(kind, _) | Address::Parent(kind, ..) => kind,
            Address::Nested(below) | Address::NestedEntity(below, _) | Address::Link(below, _) => {
                &below.child
            }
        }
    }

    /// The field by whose value the address names an entity, when that is not its id.
    pub fn named_by(&self) -> Option<&str> {
        match self {
            Address::Entity(kind, key) if !is_uuid(key) => kind.endpoint_key.as_deref(),
            Address::NestedEntity(below, key) if !is_uuid(key) => below.child.endpoint_key.as_deref(),
            _ => None,
        }
    }

    /// The methods that it answers, as `Allow` lists them.
    pub fn methods(&self) -> &'static str {
        match self {
            Address::Collection(_) | Address::Nested(_) => "GET, HEAD, OPTIONS, POST",
            Address::Link(_, values) if values.is_empty() => "DELETE, GET, HEAD, OPTIONS, POST",
            Address::Link(..) => "DELETE, GET, HEAD, OPTIONS, PATCH",
            _ => "DELETE, GET, HEAD, OPTIONS, PATCH, PUT",
        }
    }
}

/// Every address of entities with its parameters in braces.
pub(in crate::gateway) fn templates(schemas: &Schemas) -> Vec<String> {
    let mut out = Vec::new();
    for kind in schemas.kinds().iter().filter(|kind| kind.admin_api) {
        if kind.only_under.is_none() {
            out.push(format!("/{}", kind.path));
            out.push(format!("/{}/{{{}}}", kind.path, kind.name));
        }
        for (field, reference) in kind.record.foreign() {
            if kind.only_under.is_none() && !hidden_parent(kind, &field.name) {
                out.push(format!("/{}/{{{}}}/{}", kind.path, kind.name, field.name));
            }
            let parent = schemas.kind(reference).filter(|parent| parent.admin_api);
            let parent = parent.filter(|parent| kind.only_under.as_ref().is_none_or(|up| *up == parent.name));
            if let Some(parent) = parent {
                let nested = format!("/{}/{{{}}}/{}", parent.path, parent.name, kind.nested_path);
                out.push(format!("{nested}/{{{}}}", kind.name));
                out.push(nested);
            }
        }
    }
    out
}
