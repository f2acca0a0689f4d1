//! From trees to entities: nesting undone, references resolved, settings merged, every entity checked.
//!
//! [`build`] goes over the documents once to collect drafts, makes each draft's body with its schema in hand,
//! resolves references, and then checks each body and the set as a whole. All of it comes from the table of kinds:
//! nothing here knows a kind by its name.

mod body;
mod check;
mod collect;
mod defaults;
mod layers;
mod lint;
mod references;
mod unique;

pub(super) use layers::CONFIG_NAME;

use super::{Documents, Loaded};
use crate::diagnostics::Diagnostic;
use crate::model::{Entity, Info, State, Target};
use crate::schema::{Schemas, Violation};
use crate::value::Path;
use std::collections::BTreeMap;

/// An entity in the making, beside the draft of the same index.
struct Made {
    entity: Entity,
    /// Its references as they are written.
    pending: Vec<body::Pending>,
    /// Paths in the body whose values are unknown because a variable is not set.
    unknown: Vec<Path>,
    /// What is wrong with its shorthands.
    faults: Vec<Violation>,
}

/// Builds the state that the documents ask for, with all their problems in file order.
pub(super) fn build(documents: &Documents, schemas: &Schemas) -> Loaded {
    let mut problems = documents.problems.clone();
    let mut sources = documents.sources.clone();
    let collected = collect::collect(documents, schemas, &mut problems, &mut sources);
    let mut bodies = body::Bodies::new(documents, schemas, &collected);
    let mut made: Vec<Made> = collected.drafts.iter().map(|draft| bodies.make(draft, &mut sources)).collect();
    bodies.unused(&mut sources);
    problems.append(&mut bodies.problems);
    references::resolve(documents, schemas, &collected, &mut made, &mut problems);
    let repeated = unique::check(documents, &collected, &made, &mut problems);
    check::check(documents, schemas, &collected, &made, &mut problems, &mut sources);
    defaults::check(documents, schemas, &collected, &mut problems, &mut sources);
    lint::lint(documents, schemas, &collected, &made, &mut problems);
    sort(documents, &mut problems);
    let settings = &documents.settings;
    let info =
        Info { scopes: settings.scopes.clone(), lookup_tags: lookup_tags(schemas, &settings.lookup_tags) };
    let state = State {
        entities: without(made, &repeated),
        info,
        workspace: settings.workspace.clone(),
        control_plane: settings.control_plane.clone(),
    };
    Loaded { state, diagnostics: problems, sources }
}

/// Lookup tags by kind in place of by list key.
fn lookup_tags(
    schemas: &Schemas,
    by_key: &BTreeMap<Box<str>, Vec<String>>,
) -> BTreeMap<Box<str>, Vec<String>> {
    let of = |kind: &crate::schema::Kind| Some((kind.name.clone(), by_key.get(&kind.file.key)?.clone()));
    schemas.kinds().iter().filter_map(|kind| of(kind)).collect()
}

/// The entities without those that only say again what another says; references move with them.
fn without(made: Vec<Made>, repeated: &BTreeMap<usize, usize>) -> Vec<Entity> {
    let mut places = Vec::with_capacity(made.len());
    let mut kept = 0;
    for index in 0..made.len() {
        places.push(kept);
        if !repeated.contains_key(&index) {
            kept += 1;
        }
    }
    let moved = |index: usize| {
        let index = repeated.get(&index).copied().unwrap_or(index);
        places.get(index).copied().unwrap_or(index)
    };
    let kept = made.into_iter().enumerate().filter(|(index, _)| !repeated.contains_key(index));
    kept.map(|(_, made)| {
        let mut entity = made.entity;
        for (_, reference) in entity.references.iter_mut() {
            if let Target::Entity(index) = &mut reference.target {
                *index = moved(*index);
            }
        }
        entity
    })
    .collect()
}

/// Sorts problems in the order of the files and of the places in them, and drops repeats: a shared setting is
/// looked at once for each plugin that uses it.
fn sort(documents: &Documents, problems: &mut Vec<Diagnostic>) {
    let order: BTreeMap<&str, usize> =
        documents.documents.iter().enumerate().map(|(n, document)| (&**document.text.name(), n)).collect();
    problems.sort_by_cached_key(|problem| {
        let place = problem.place.as_ref();
        let file = place.map(|place| order.get(&*place.file).copied().unwrap_or(usize::MAX));
        (file, place.map(|place| place.start.offset), problem.code)
    });
    let mut seen = std::collections::HashSet::new();
    problems.retain(|problem| {
        let place = problem.place.as_ref().map(|place| (place.file.clone(), place.start.offset));
        seen.insert((problem.code, place, problem.message.clone()))
    });
}

#[cfg(test)]
mod tests;
