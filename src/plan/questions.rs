//! What must be looked up outside a run's scope before its plan is a promise.

use super::compare::{Comparer, Slot};
use super::keys;
use crate::model::Entity;
use crate::schema::Kind;
use crate::value::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use uuid::Uuid;

/// One thing to look up on the control plane.
#[derive(Clone, Debug)]
pub struct Question {
    /// The kind to look among.
    pub kind: Arc<Kind>,
    /// What to look for.
    pub lookup: Lookup,
}

/// How to look something up.
#[derive(Clone, Debug, PartialEq)]
pub enum Lookup {
    /// The entity of this id.
    Id(Uuid),
    /// The entity whose endpoint key ([`Kind::endpoint_key`]) has this value, which may be a secret.
    Key(Value),
    /// Every entity of the kind, whatever its tags: many are asked for, or the kind has no key to ask by.
    All,
}

/// From this many lookups of a kind on, reading the whole list costs fewer requests.
const MANY: usize = 20;

impl Comparer<'_> {
    /// What to look up, once every page has come ([`Comparer::finish_kinds`] is called here). Whatever is found goes to
    /// [`Comparer::answer`]. Without select tags everything has been read, and there are no questions.
    pub fn questions(&mut self) -> Vec<Question> {
        self.finish_kinds();
        if self.desired.info.scopes.is_empty() {
            return Vec::new();
        }
        let mut asked: BTreeMap<Box<str>, (Arc<Kind>, Vec<Lookup>)> = BTreeMap::new();
        let mut whole: BTreeSet<Box<str>> = BTreeSet::new();
        for (entity, slot) in self.desired.entities.iter().zip(&self.slots) {
            if matches!(slot, Slot::Open | Slot::Differs(_)) {
                let held = match slot {
                    Slot::Differs(at) => self.kept.get(*at).map(|kept| &kept.entity),
                    _ => None,
                };
                let (_, lookups) = asked
                    .entry(entity.kind.name.clone())
                    .or_insert_with(|| (entity.kind.clone(), Vec::new()));
                for key in keys::unique(&entity.kind) {
                    match lookup_by(entity, held, &key) {
                        None => {}
                        Some(Lookup::All) => {
                            whole.insert(entity.kind.name.clone());
                        }
                        Some(lookup) => lookups.push(lookup),
                    }
                }
                // An id that a file gives may be taken as well.
                if let (Some(id), Slot::Open) = (entity.id, slot) {
                    lookups.push(Lookup::Id(id));
                }
            }
            for reference in entity.references.values() {
                if let crate::model::Target::Id(id) = reference.target
                    && !self.exists(&reference.kind, id)
                    && let Some(kind) = self.schemas.kind(&reference.kind)
                {
                    let (_, lookups) =
                        asked.entry(kind.name.clone()).or_insert_with(|| (kind.clone(), Vec::new()));
                    if !lookups.contains(&Lookup::Id(id)) {
                        lookups.push(Lookup::Id(id));
                    }
                }
            }
        }
        for kind in self.kinds_below_deletions() {
            whole.insert(kind.name.clone());
            asked.entry(kind.name.clone()).or_insert_with(|| (kind, Vec::new()));
        }
        let mut out = Vec::new();
        for (name, (kind, lookups)) in asked {
            if whole.contains(&name) || lookups.len() >= MANY {
                out.push(Question { kind, lookup: Lookup::All });
            } else {
                out.extend(lookups.into_iter().map(|lookup| Question { kind: kind.clone(), lookup }));
            }
        }
        out
    }

    /// The kinds whose entities may go with what is deleted, or keep it from going: those of others count, too.
    fn kinds_below_deletions(&self) -> Vec<Arc<Kind>> {
        if !self.options.delete {
            return Vec::new();
        }
        let deleted: BTreeSet<&str> = self
            .kept
            .iter()
            .filter(|kept| kept.owned && kept.wanted.is_none() && !kept.entity.body.is_null())
            .map(|kept| &*kept.entity.kind.name)
            .collect();
        let below = |kind: &&Arc<Kind>| {
            // Kinds without tags are read as a whole anyway.
            kind.record.field("tags").is_some()
                && !self.options.skip.contains(&kind.name)
                && kind.record.foreign().any(|(_, parent)| deleted.contains(parent))
        };
        self.schemas.kinds().iter().filter(below).cloned().collect()
    }

    /// Takes an entity that was found for a question, in the same shape as for [`Comparer::page`]. Entities that are
    /// known already are passed over.
    pub fn answer(&mut self, entity: Entity) {
        self.answers.push(entity);
    }
}

/// How to find out whether the value that an entity wants for a key is taken. `None` when it wants none, or has it.
fn lookup_by(want: &Entity, held: Option<&Entity>, key: &[Box<str>]) -> Option<Lookup> {
    match key {
        [field] => {
            let value = want.body.get(field).filter(|value| !value.is_null())?;
            if held.is_some_and(|held| held.body.get(field) == Some(value)) {
                return None;
            }
            Some(if want.kind.endpoint_key.as_ref() == Some(field) {
                Lookup::Key(value.clone())
            } else {
                Lookup::All
            })
        }
        // An entity that keeps its place keeps its key; what else is in the way is found among all.
        _ => held.is_none().then_some(Lookup::All),
    }
}
