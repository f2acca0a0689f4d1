//! Undoing a run that is over, from its journal: what the control plane holds is compared with what it held before.
//!
//! Whatever became of each request of the run, only what is not as it was is changed. A journal holds no secrets, so
//! that an entity comes back only if the run left its secrets alone. What does not live here: reading the control plane.

use super::journal::{KEPT, Part, Recorded, SECRET};
use crate::control_plane;
use crate::diagnostics::{Diagnostic, codes};
use crate::model::{Entity, State, Target};
use crate::plan::{self, Plan};
use crate::schema::{Kind, Schemas};
use crate::value::Value;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use uuid::Uuid;

impl Part {
    /// The names of the kinds of which the run may have changed entities.
    pub fn kinds(&self) -> BTreeSet<&str> {
        self.touched().values().map(|change| &*change.kind).collect()
    }

    /// The changes that bring back what the run found, and what cannot be brought back. `now` is everything that the
    /// control plane holds, references as ids.
    pub fn undoing(&self, now: &State, schemas: &Schemas) -> (Plan, Vec<Diagnostic>) {
        let touched = self.touched();
        let held: HashMap<Uuid, &Entity> =
            now.entities.iter().filter_map(|entity| Some((entity.id?, entity))).collect();
        let mut lost = Vec::new();
        let is_touched = |entity: &&Entity| entity.id.is_some_and(|id| touched.contains_key(&id));
        let mut entities: Vec<Entity> =
            now.entities.iter().filter(|entity| !is_touched(entity)).cloned().collect();
        for (id, change) in touched.iter().filter(|(_, change)| !change.before.is_null()) {
            let held = held.get(id).copied();
            match schemas.kind(&change.kind).and_then(|kind| restored(change, kind, held, schemas)) {
                Some(entity) => entities.push(entity),
                None => {
                    lost.push(left(&change.subject, "the journal does not hold its secrets"));
                    entities.extend(held.cloned());
                }
            }
        }
        drop_dangling(&mut entities, &touched, &mut lost);
        let before = State { entities, ..State::default() };
        let plan = plan::plan(now, &before, schemas, &plan::Options::default(), &mut Uuid::new_v4);
        (plan, lost)
    }

    /// The first change of each entity for which a request was sent, also by the deletion of a parent.
    fn touched(&self) -> BTreeMap<Uuid, &Recorded> {
        let mut touched = BTreeMap::new();
        for change in &self.changes {
            let mut at = Some(change);
            let mut steps = 0..self.changes.len();
            while let Some(one) = at.filter(|one| !one.started)
                && steps.next().is_some()
            {
                at = one.cascades_from.and_then(|parent| self.changes.get(parent));
            }
            if at.is_some_and(|one| one.started) {
                touched.entry(change.id).or_insert(change);
            }
        }
        touched
    }
}

/// An entity as it was before its change; `None` when a secret of it is lost.
fn restored(change: &Recorded, kind: &Arc<Kind>, now: Option<&Entity>, schemas: &Schemas) -> Option<Entity> {
    // Gateways give only hashes of such secrets, and would hash a hash again.
    if kind.record.fields.iter().any(|field| field.salted_by.is_some()) {
        return None;
    }
    control_plane::entity(schemas, kind, filled(&change.before, now.map(|entity| &entity.body))?)
}

/// A body with the secrets that its change left as they were.
fn filled(before: &Json, now: Option<&Value>) -> Option<Value> {
    Some(match before {
        Json::Object(members) => match members.get(SECRET).and_then(Json::as_str) {
            Some(KEPT) => now?.clone(),
            Some(_) => return None,
            None => {
                let filled = |(name, member): (&String, &Json)| {
                    Some((name.as_str().into(), filled(member, now.and_then(|now| now.get(name)))?))
                };
                Value::Object(members.iter().map(filled).collect::<Option<_>>()?)
            }
        },
        Json::Array(items) => {
            let other = |n: usize| now?.as_array()?.get(n);
            let items = items.iter().enumerate().map(|(n, item)| filled(item, other(n)));
            Value::Array(items.collect::<Option<_>>()?)
        }
        scalar => Value::from(scalar.clone()),
    })
}

/// Leaves out what belongs to an entity that does not come back.
fn drop_dangling(
    entities: &mut Vec<Entity>,
    touched: &BTreeMap<Uuid, &Recorded>,
    lost: &mut Vec<Diagnostic>,
) {
    loop {
        let there: HashSet<Uuid> = entities.iter().filter_map(|entity| entity.id).collect();
        let dangling = |entity: &Entity| {
            entity
                .references
                .values()
                .any(|reference| matches!(reference.target, Target::Id(id) if !there.contains(&id)))
        };
        let before = entities.len();
        entities.retain(|entity| {
            let change = entity.id.and_then(|id| touched.get(&id)).filter(|_| dangling(entity));
            if let Some(change) = change {
                lost.push(left(&change.subject, "what it belongs to is gone"));
            }
            change.is_none()
        });
        if entities.len() == before {
            return;
        }
    }
}

fn left(subject: &str, reason: &str) -> Diagnostic {
    Diagnostic::error(codes::REFUSED_REQUEST, format!("{subject} cannot be put back as it was: {reason}"))
        .help("sync the state files of before")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_secret_comes_back_only_where_it_still_is() {
        let now = Value::from(json!({"key": "hush", "keys": ["a", "b"]}));
        let before = json!({"key": {SECRET: KEPT}, "keys": ["z", {SECRET: KEPT}], "tags": null});
        let expected = json!({"key": "hush", "keys": ["z", "b"], "tags": null});
        assert_eq!(filled(&before, Some(&now)), Some(Value::from(expected)));
        assert_eq!(filled(&before, None), None);
        assert_eq!(filled(&json!({"key": {SECRET: "lost"}}), Some(&now)), None);
    }
}
