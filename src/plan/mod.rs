//! Comparing what is with what should be, and putting the changes in order. Pure.
//!
//! A [`Plan`] is plain data, the same for the same input. What does not live here: requests (`control_plane`),
//! running a plan (`apply`), and showing it (`report`).

mod build;
mod compare;
mod drift;
mod equal;
mod file;
mod guard;
mod keys;
mod kinds;
mod label;
mod links;
mod order;
mod questions;
mod shown;
mod types;
mod whole;

pub use compare::Comparer;
pub use drift::{By, Drift, FieldDrift, Record};
pub use file::{FORMAT, MadeFor, SavedChange, SavedPlan};
pub use guard::{Guard, Limit, PROTECT_TAG};
pub use kinds::{Read, reads};
pub use questions::{Lookup, Question};
pub use shown::Detail;
pub use types::{Action, Change, Counts, Name, Options, Plan, Role};
pub use whole::declarative;

use crate::model::{Entity, State, Target};
use crate::schema::Schemas;
use uuid::Uuid;

/// Compares two states at once. `ids` makes the ids of new entities; they are asked for in the order of the files.
pub fn plan(
    current: &State,
    desired: &State,
    schemas: &Schemas,
    options: &Options,
    ids: &mut dyn FnMut() -> Uuid,
) -> Plan {
    let mut comparer = Comparer::new(desired, schemas, options);
    comparer.page(current.entities.iter().map(|entity| by_id(entity, current)).collect());
    comparer.finish(ids)
}

/// An entity whose references to entities of its state are ids.
fn by_id(entity: &Entity, state: &State) -> Entity {
    let mut entity = entity.clone();
    for (_, reference) in entity.references.iter_mut() {
        if let Target::Entity(at) = reference.target
            && let Some(id) = state.entities.get(at).and_then(|parent| parent.id)
        {
            reference.target = Target::Id(id);
        }
    }
    entity
}

#[cfg(test)]
mod tests;
