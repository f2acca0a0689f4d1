//! Properties over random states of every kind.

use super::plane::Plane;
use super::support::{counting, id, outline};
use crate::model::{Entity, Reference, References, State, Target};
use crate::plan::{Options, Plan, plan};
use crate::schema::{Flavor, Kind, Schemas, Type};
use crate::value::Value;
use proptest::prelude::*;
use std::sync::Arc;

/// Numbers that decide everything random about one entity.
type Dice = [u8; 10];

/// What names, keys and the like are taken from: few, so that they meet again.
const POOL: [&str; 4] = ["aa-1", "bb-2", "cc-3", "dd-4"];

/// A state that a control plane would take: dice decide on kinds, names, ids and references; what repeats a unique value
/// or an id is left out.
fn random_state(schemas: &Arc<Schemas>, all: &[Dice]) -> State {
    let kinds = schemas.parents_first();
    let mut rolls: Vec<(usize, &Dice)> =
        all.iter().map(|dice| (usize::from(dice[0]) % kinds.len(), dice)).collect();
    rolls.sort_by_key(|(kind, _)| *kind);
    let mut state = State::default();
    let mut plane = Plane::new(schemas.clone());
    let mut ids = Vec::new();
    for (kind, dice) in rolls {
        let Some(entity) = random_entity(schemas, &kinds[kind], dice, &state) else { continue };
        let id = entity.id.unwrap_or_else(|| id(0x1000 + state.entities.len() as u128));
        if ids.contains(&id) {
            continue;
        }
        let mut body = entity.body.clone();
        for (field, reference) in &entity.references {
            let Target::Entity(parent) = reference.target else { continue };
            let mut value = Value::object();
            value.set("id", Value::from(ids[parent].to_string()));
            body.set(field, value);
        }
        if plane.put(&entity.kind, id, &body).is_ok() {
            ids.push(id);
            state.entities.push(entity);
        }
    }
    state
}

fn random_entity(schemas: &Schemas, kind: &Arc<Kind>, dice: &Dice, state: &State) -> Option<Entity> {
    let mut body = Value::object();
    let mut references = References::new();
    // One in three has an id of a small range that only its kind uses.
    let base = kind.name.bytes().fold(0u128, |sum, byte| (sum * 31 + u128::from(byte)) % 0xffff) << 16;
    let explicit = dice[1].is_multiple_of(3).then(|| id(base + u128::from(dice[2] % 3) + 1));
    let pick = |n: usize| POOL[usize::from(dice[3 + n % 4]) % POOL.len()];
    for (n, field) in kind.record.fields.iter().enumerate() {
        let named = field.unique
            || kind.identity.iter().flatten().any(|name| *name == field.name)
            || kind.unique_together.iter().flatten().any(|name| *name == field.name);
        match &field.ty {
            Type::Foreign { reference, .. } => {
                let parents: Vec<usize> = (0..state.entities.len())
                    .filter(|at| *state.entities[*at].kind.name == **reference)
                    .collect();
                let roll = usize::from(dice[7].wrapping_add(u8::try_from(n).unwrap_or(0).wrapping_mul(7)));
                if parents.is_empty() || !field.required && roll.is_multiple_of(3) {
                    if field.required {
                        return None;
                    }
                    continue;
                }
                let target = Target::Entity(parents[roll % parents.len()]);
                references.insert(
                    field.name.clone(),
                    Reference { kind: Arc::from(&**reference), target, place: None },
                );
            }
            Type::String if kind.subschema.as_ref().is_some_and(|sub| sub.key == field.name) => {
                let names = schemas.variant_names(kind.subschema.as_ref()?);
                body.set(&field.name, Value::from(*names.get(usize::from(dice[8]) % names.len().min(3))?));
            }
            Type::String
                if named
                    && !field.computed
                    && &*field.name != "id"
                    && (field.required || field.auto || !dice[3 + n % 4].is_multiple_of(5)) =>
            {
                body.set(&field.name, Value::from(pick(n)));
            }
            Type::String if field.required && field.default.is_none() => {
                body.set(&field.name, Value::from("x"))
            }
            _ => {}
        }
    }
    let tags: &[&str] = [&[][..], &["t1"], &["t1", "t2"], &["t2", "t1"]][usize::from(dice[9] % 4)];
    if kind.record.field("tags").is_some() && !tags.is_empty() {
        body.set("tags", Value::Array(tags.iter().map(|tag| Value::from(*tag)).collect()));
    }
    // Twins without id and key could not be told apart.
    let canonical = |body: &Value| {
        let mut body = body.clone();
        crate::schema::canonical(schemas, kind, &mut body);
        body
    };
    let twin = |other: &Entity| other.kind.name == kind.name && canonical(&other.body) == canonical(&body);
    let nameless = kind.identity.iter().flatten().all(|field| body.get(field).is_none());
    if nameless && state.entities.iter().any(twin) {
        return None;
    }
    Some(Entity { kind: kind.clone(), id: explicit, body, references, place: None })
}

fn compared(
    schemas: &Schemas,
    current: &State,
    desired: &State,
    ids: &mut dyn FnMut() -> uuid::Uuid,
) -> Plan {
    plan(current, desired, schemas, &Options::default(), ids)
}

/// Brings the plane to a state, in an order that `seed` picks, and checks that nothing is left to do.
fn converge(
    schemas: &Schemas,
    plane: &mut Plane,
    desired: &State,
    ids: &mut dyn FnMut() -> uuid::Uuid,
    mut seed: u64,
) -> Result<(), TestCaseError> {
    let plan = compared(schemas, &plane.state(), desired, ids);
    prop_assert!(plan.conflicts.is_empty(), "{:#?}", outline(&plan));
    let applied = plane.apply(&plan, |ready| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % ready
    });
    prop_assert!(applied.is_ok(), "{applied:?}\n{:#?}", outline(&plan));
    let again = compared(schemas, &plane.state(), desired, ids);
    prop_assert!(again.is_empty(), "after\n{:#?}\nthere is still\n{:#?}", outline(&plan), outline(&again));
    prop_assert_eq!(plane.len(), desired.entities.len());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn applying_a_plan_in_any_order_gives_what_was_asked(
        first in prop::collection::vec(any::<Dice>(), 0..24),
        second in prop::collection::vec(any::<Dice>(), 0..24),
        seed in any::<u64>(),
        flavor in prop::sample::select(Flavor::ALL.to_vec()),
    ) {
        let schemas = Schemas::bundled(flavor);
        let (first, second) = (random_state(&schemas, &first), random_state(&schemas, &second));
        let mut plane = Plane::new(schemas.clone());
        let mut ids = counting();
        converge(&schemas, &mut plane, &first, &mut ids, seed)?;
        converge(&schemas, &mut plane, &second, &mut ids, seed ^ 1)?;
        converge(&schemas, &mut plane, &first, &mut ids, seed ^ 2)?;
        converge(&schemas, &mut plane, &State::default(), &mut ids, seed ^ 3)?;
    }
}
