//! One entity, its references, and the state that a set of files asks for.

use crate::diagnostics::Place;
use crate::schema::Kind;
use crate::value::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// What a reference points to.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// An entity of the same set, by its index.
    Entity(usize),
    /// An entity known by its id only.
    Id(Uuid),
    /// An entity known by its name (or username, or key) only; still to be looked up.
    Name(Value),
}

/// A reference from an entity to another, held by a `foreign` field.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    /// The kind of the referenced entity.
    pub kind: Arc<str>,
    /// Which one.
    pub target: Target,
    /// Where the reference is written; `None` when it follows from nesting or from the gateway.
    pub place: Option<Place>,
}

/// The foreign fields of an entity that have a value, by field name. Flat, because most hold one.
pub type References = litemap::LiteMap<Box<str>, Reference>;

/// One entity: a kind, an id if it is known, a body and references.
#[derive(Clone, Debug)]
pub struct Entity {
    /// What it is.
    pub kind: Arc<Kind>,
    /// The id that the file gives or that the gateway gave.
    pub id: Option<Uuid>,
    /// The fields, without `id` and without those of type `foreign`; an object.
    pub body: Value,
    /// The foreign fields that have a value, by field name.
    pub references: References,
    /// Where it is written.
    pub place: Option<Place>,
}

/// `_info` of the state files of a run, as far as it concerns the run as a whole.
/// Its `defaults` and the `_plugin_configs` are already in the bodies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Info {
    /// The sets of select tags of the files: an entity belongs to the state when it has all tags of one of the
    /// sets. Empty when there are none, and then everything belongs to it. The bodies have their file's tags already.
    pub scopes: Vec<Vec<String>>,
    /// By kind, the tags under which references to entities outside the files are looked up.
    pub lookup_tags: BTreeMap<Box<str>, Vec<String>>,
}

/// What the state files of a run ask for.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Every entity, parents before the children nested in them, in the order of the files.
    pub entities: Vec<Entity>,
    /// The files' `_info`.
    pub info: Info,
    /// `_workspace`
    pub workspace: Option<String>,
    /// `_konnect.control_plane_name`
    pub control_plane: Option<String>,
}

impl Entity {
    /// The text that names it: its label field, else its id, else an empty text. `None` when the label is a secret.
    pub fn label(&self) -> Option<&str> {
        let field =
            self.kind.report.label.iter().find_map(|name| self.body.get(name).filter(|v| !v.is_null()));
        field.map_or(Some(""), Value::as_str)
    }
}
