//! The order of kinds that follows from their foreign fields, and the lists that make up the current side.

use super::links;
use super::types::Options;
use crate::model::State;
use crate::schema::{Kind, Schemas};
use std::collections::BTreeSet;
use std::sync::Arc;

/// One list to read: the entities of a kind that have all of these tags, or all of the kind's.
#[derive(Clone, Debug)]
pub struct Read {
    /// The kind.
    pub kind: Arc<Kind>,
    /// The tags that an entity must have; empty for all entities.
    pub tags: Vec<String>,
}

/// The lists that make up the current side of a comparison, parents before their children: one for each scope of
/// the files, one for each set of lookup tags, none for kinds that are left alone. An entity can be in several.
pub fn reads(desired: &State, schemas: &Schemas, options: &Options) -> Vec<Read> {
    let mut named: BTreeSet<Arc<str>> = BTreeSet::new();
    for entity in &desired.entities {
        for reference in entity.references.values() {
            if matches!(reference.target, crate::model::Target::Name(_)) {
                named.insert(reference.kind.clone());
            }
        }
        links::each(&entity.kind, &entity.body, &mut |(kind, _)| {
            named.insert(kind);
        });
    }
    let mut out: Vec<Read> = Vec::new();
    for kind in schemas.parents_first() {
        if options.skip.contains(&kind.name) {
            continue;
        }
        let scopes = &desired.info.scopes;
        let lookup = desired.info.lookup_tags.get(&kind.name);
        // A name that no tag says where to look up may belong to anyone.
        let everything = scopes.is_empty()
            || scopes.iter().any(Vec::is_empty)
            || kind.record.field("tags").is_none()
            || lookup.is_none() && named.contains(&*kind.name);
        if everything {
            out.push(Read { kind, tags: Vec::new() });
            continue;
        }
        for tags in scopes.iter().chain(lookup) {
            if !out.iter().any(|read| read.kind.name == kind.name && read.tags == *tags) {
                out.push(Read { kind: kind.clone(), tags: tags.clone() });
            }
        }
    }
    out
}
