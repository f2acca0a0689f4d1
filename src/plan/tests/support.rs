//! States from JSON, ids that count up.

use crate::model::{Entity, Reference, References, State, Target};
use crate::plan::{Options, Plan, plan};
use crate::schema::{Flavor, Schemas};
use crate::value::Value;
use serde_json::{Value as Json, json};
use std::sync::Arc;
use uuid::Uuid;

pub fn schemas() -> Arc<Schemas> {
    Schemas::bundled(Flavor::Kong310)
}

/// The id of a number.
pub fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

/// Ids that count up from 0xa000.
pub fn counting() -> impl FnMut() -> Uuid {
    let mut next = 0xa000;
    move || {
        next += 1;
        id(next)
    }
}

/// A state from a list of `[kind, body]`. In a body, a foreign field is the number of an entity before it, or a text
/// that names one; `id` is a number.
pub fn state(entities: Json) -> State {
    let schemas = schemas();
    let mut state = State::default();
    for entry in entities.as_array().unwrap() {
        let kind = schemas.kind(entry[0].as_str().unwrap()).unwrap().clone();
        let mut body = entry[1].clone();
        let members = body.as_object_mut().unwrap();
        let id = members.remove("id").map(|n| id(n.as_u64().unwrap().into()));
        let mut references = References::new();
        for (field, reference) in kind.record.foreign() {
            if let Some(target) = members.remove(&*field.name) {
                let target = match target {
                    Json::Number(n) => Target::Entity(usize::try_from(n.as_u64().unwrap()).unwrap()),
                    name => Target::Name(Value::from(name)),
                };
                references
                    .insert(field.name.clone(), Reference { kind: reference.into(), target, place: None });
            }
        }
        state.entities.push(Entity { kind, id, body: body.into(), references, place: None });
    }
    state
}

/// What a control plane holds: every default filled in, ids from 1 up where the list gives none.
pub fn held(entities: Json) -> State {
    let schemas = schemas();
    let mut state = state(entities);
    for (n, entity) in state.entities.iter_mut().enumerate() {
        entity.id.get_or_insert_with(|| id(n as u128 + 1));
        crate::schema::expand_shorthands(&schemas, &entity.kind, &mut entity.body);
        crate::schema::fill_defaults(&schemas, &entity.kind, &mut entity.body, true);
        entity.body.set("created_at", json!(1_700_000_000).into());
    }
    state
}

pub fn planned(current: &State, desired: &State) -> Plan {
    plan(current, desired, &schemas(), &Options::default(), &mut counting())
}

/// The plan as lines: `action word label`, what it waits for, and how it goes.
pub fn outline(plan: &Plan) -> Vec<String> {
    plan.changes
        .iter()
        .map(|change| {
            let mut line = format!("{} {} {}", change.action, change.kind.report.word, change.label);
            if !change.depends_on.is_empty() {
                line += &format!(" after {:?}", change.depends_on);
            }
            if let Some(parent) = change.cascades_from {
                line += &format!(" with {parent}");
            }
            if change.role == crate::plan::Role::Between {
                line += " (between)";
            }
            line
        })
        .chain(plan.conflicts.iter().map(|conflict| format!("! {conflict}")))
        .collect()
}
