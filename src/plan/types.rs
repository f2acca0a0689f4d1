//! A plan as plain data: changes, what they depend on, and what stands in their way.

use crate::diagnostics::{Diagnostic, Place};
use crate::schema::Kind;
use crate::value::Value;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use uuid::Uuid;

/// What a change does to an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The entity is new.
    Create,
    /// The entity is put with other fields.
    Update,
    /// The entity goes.
    Delete,
}

impl Action {
    /// The word in plan files: `create`, `update`, `delete`.
    pub fn name(self) -> &'static str {
        match self {
            Action::Create => "create",
            Action::Update => "update",
            Action::Delete => "delete",
        }
    }

    /// What reports say while it happens: `creating`, `updating`, `deleting`.
    pub fn doing(self) -> &'static str {
        match self {
            Action::Create => "creating",
            Action::Update => "updating",
            Action::Delete => "deleting",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a change is part of a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The files ask for it. Reports show and count it.
    #[default]
    Asked,
    /// A step between, so that unique values can change hands: a value is put aside, or an entity is taken away
    /// and made again by an asked change. Reports do not count it.
    Between,
}

/// The name by which a foreign field's entity is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Name {
    /// The field that names it: `name`, `username`, `key`.
    pub field: Box<str>,
    /// Its value, which may be a secret.
    pub value: Value,
}

/// One change of one entity.
#[derive(Clone, Debug)]
pub struct Change {
    /// What is done.
    pub action: Action,
    /// The entity's kind.
    pub kind: Arc<Kind>,
    /// The entity's id.
    pub id: Uuid,
    /// What names it after the kind's word, secrets as their origins: `k1 for consumer u1`.
    pub label: String,
    /// The whole entity as the control plane holds it: `id`, every field, foreign fields as `{"id": ...}`.
    /// `None` for a creation.
    pub before: Option<Value>,
    /// The whole entity as it should be, in the same shape, defaults filled in and absent fields null.
    /// `None` for a deletion. [`Change::request`] gives what to send.
    pub after: Option<Value>,
    /// The names of the entities that `before` and `after` reference, by their ids.
    pub names: BTreeMap<Uuid, Name>,
    /// The changes that come before it: indices into [`Plan::changes`], ascending.
    pub depends_on: Vec<usize>,
    /// Set on a deletion that the gateway does by itself when it deletes the entity of this change (an index,
    /// which need not be in `depends_on`): reports show it, and it needs no request.
    pub cascades_from: Option<usize>,
    /// Why it is there.
    pub role: Role,
    /// Where the entity is written; `None` for deletions.
    pub place: Option<Place>,
}

/// How many changes of each sort a plan holds; steps between do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entities created.
    pub created: usize,
    /// Entities updated.
    pub updated: usize,
    /// Entities deleted.
    pub deleted: usize,
}

impl Counts {
    /// All changes.
    pub fn total(&self) -> usize {
        self.created + self.updated + self.deleted
    }

    /// Counts one more of this sort.
    pub fn add(&mut self, action: Action) {
        match action {
            Action::Create => self.created += 1,
            Action::Update => self.updated += 1,
            Action::Delete => self.deleted += 1,
        }
    }
}

/// Everything that has to happen so that a control plane holds what the files ask for.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The changes, each after those it depends on.
    pub changes: Vec<Change>,
    /// What stands in the way; with an error among them nothing may be written.
    pub conflicts: Vec<Diagnostic>,
    /// How many entities the control plane held within the plan's scope, for `--max-deletes N%`.
    pub held: usize,
    /// How many entities the files ask for.
    pub wanted: usize,
    /// The ids that the files' entities have once the plan is carried out, in their order; `None` for those left alone.
    pub ids: Vec<Option<Uuid>>,
}

impl Plan {
    /// Takes in the plan for another control plane; its changes come after.
    pub fn append(&mut self, other: Plan) {
        let offset = self.changes.len();
        self.changes.extend(other.changes.into_iter().map(|mut change| {
            change.depends_on.iter_mut().chain(&mut change.cascades_from).for_each(|on| *on += offset);
            change
        }));
        self.conflicts.extend(other.conflicts);
        self.held += other.held;
        self.wanted += other.wanted;
        self.ids.extend(other.ids);
    }

    /// Whether nothing has to change.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// How many changes of each sort.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for change in self.asked() {
            counts.add(change.action);
        }
        counts
    }

    /// The changes that the files ask for, without the steps between.
    pub fn asked(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.role == Role::Asked)
    }
}

/// How to plan.
#[derive(Clone, Debug)]
pub struct Options {
    /// Delete what the control plane holds and the files do not (`sync`); otherwise only create and update (`apply`).
    pub delete: bool,
    /// Take over entities that stand in the way and belong to nobody's file here, rather than report a conflict.
    pub adopt: bool,
    /// Kinds that are left alone, by name, and with them every entity that references one of their entities.
    pub skip: BTreeSet<Box<str>>,
}

impl Default for Options {
    fn default() -> Self {
        Options { delete: true, adopt: false, skip: BTreeSet::new() }
    }
}
