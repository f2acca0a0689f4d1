//! A control plane in memory, by the rules of the table of kinds: it fills defaults in, generates what is `auto`,
//! refuses repeated unique values and references that lead nowhere, and deletes in cascades.

use crate::model::{Entity, Reference, References, State, Target};
use crate::plan::{Action, Change, Plan};
use crate::schema::{self, Kind, OnDelete, Schemas, Type};
use crate::value::{Exposed, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

pub struct Plane {
    schemas: Arc<Schemas>,
    rows: BTreeMap<Uuid, (Arc<Kind>, Value)>,
    generated: u64,
}

impl Plane {
    pub fn new(schemas: Arc<Schemas>) -> Self {
        Plane { schemas, rows: BTreeMap::new(), generated: 0 }
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// What a client reads.
    pub fn state(&self) -> State {
        let entities = self.rows.iter().map(|(id, (kind, row))| {
            let mut body = row.clone();
            body.remove("id");
            let mut references = References::new();
            for (field, reference) in kind.record.foreign() {
                if let Some(value) = body.remove(&field.name).filter(|value| !value.is_null()) {
                    let target = Target::Id(foreign_id(&value));
                    references.insert(
                        field.name.clone(),
                        Reference { kind: reference.into(), target, place: None },
                    );
                }
            }
            Entity { kind: kind.clone(), id: Some(*id), body, references, place: None }
        });
        State { entities: entities.collect(), ..State::default() }
    }

    pub fn put(&mut self, kind: &Arc<Kind>, id: Uuid, body: &Value) -> Result<(), String> {
        let mut row = body.clone();
        schema::expand_shorthands(&self.schemas, kind, &mut row);
        schema::fill_defaults(&self.schemas, kind, &mut row, true);
        for field in &kind.record.fields {
            let missing = row.get(&field.name).is_none_or(Value::is_null);
            if missing && field.auto && matches!(field.ty, Type::String) && &*field.name != "id" {
                self.generated += 1;
                row.set(&field.name, Value::from(format!("generated-{}", self.generated)));
            }
            if missing && field.auto && !matches!(field.ty, Type::String) {
                row.set(&field.name, Value::from(1_700_000_000));
            }
        }
        row.set("id", Value::from(id.to_string()));
        if self.rows.get(&id).is_some_and(|(other, _)| other.name != kind.name) {
            return Err(format!("{id} is of another kind"));
        }
        for (field, reference) in kind.record.foreign() {
            match row.get(&field.name).filter(|value| !value.is_null()).map(foreign_id) {
                Some(target) if self.rows.get(&target).is_none_or(|(kind, _)| &*kind.name != reference) => {
                    return Err(format!("{}.{} leads nowhere", kind.name, field.name));
                }
                None if field.required => return Err(format!("{}.{} is required", kind.name, field.name)),
                _ => {}
            }
        }
        let single =
            kind.record.fields.iter().filter(|field| field.unique).map(|field| vec![field.name.clone()]);
        // What makes entities the same repeats nowhere either: two of one identity are one.
        let other = kind.unique_together.iter().chain(&kind.identity).chain([&kind.cache_key]).cloned();
        for key in single.chain(other) {
            let Some(text) = self.key(kind, &row, &key) else { continue };
            let taken = self.rows.iter().any(|(other, (other_kind, held))| {
                *other != id
                    && other_kind.name == kind.name
                    && self.key(kind, held, &key).as_ref() == Some(&text)
            });
            if taken {
                return Err(format!("UNIQUE {} {text}", kind.name));
            }
        }
        self.rows.insert(id, (kind.clone(), row));
        Ok(())
    }

    fn key(&self, kind: &Kind, row: &Value, key: &[Box<str>]) -> Option<String> {
        let mut part = Value::object();
        for name in key {
            part.set(name, row.get(name).cloned().unwrap_or_default());
        }
        schema::canonical(&self.schemas, kind, &mut part);
        let text = serde_json::to_string(&Exposed(&part)).unwrap();
        (text != "{}").then_some(text)
    }

    pub fn delete(&mut self, id: Uuid) -> Result<(), String> {
        let Some((kind, _)) = self.rows.get(&id).cloned() else { return Err(format!("{id} does not exist")) };
        let mut gone = Vec::new();
        let mut emptied = Vec::new();
        for (other, (other_kind, row)) in &self.rows {
            for field in &other_kind.record.fields {
                let Type::Foreign { reference, on_delete } = &field.ty else { continue };
                let held = row.get(&field.name).filter(|value| !value.is_null()).map(foreign_id);
                if **reference != *kind.name || held != Some(id) {
                    continue;
                }
                match on_delete {
                    OnDelete::Restrict => {
                        return Err(format!("{} is referenced by {}", kind.name, other_kind.name));
                    }
                    OnDelete::Cascade => gone.push(*other),
                    OnDelete::SetNull => emptied.push((*other, field.name.clone())),
                }
            }
        }
        self.rows.remove(&id);
        for (other, field) in emptied {
            self.rows.get_mut(&other).unwrap().1.set(&field, Value::Null);
        }
        for other in gone {
            if self.rows.contains_key(&other) {
                self.delete(other)?;
            }
        }
        Ok(())
    }

    fn run(&mut self, change: &Change) -> Result<(), String> {
        let subject = format!("{} {} {}", change.action, change.kind.report.word, change.label);
        match change.action {
            Action::Delete => self.delete(change.id),
            Action::Create | Action::Update => {
                self.put(&change.kind, change.id, &change.request(&self.schemas.clone()).unwrap())
            }
        }
        .map_err(|fault| format!("{subject}: {fault}"))
    }

    /// Runs a plan in one of the orders that its graph allows; `choose` picks among so many that are ready.
    pub fn apply(&mut self, plan: &Plan, mut choose: impl FnMut(usize) -> usize) -> Result<(), String> {
        let mut waiting: Vec<usize> = (0..plan.changes.len()).collect();
        let mut done = vec![false; plan.changes.len()];
        while !waiting.is_empty() {
            let ready: Vec<usize> = waiting
                .iter()
                .copied()
                .filter(|at| {
                    let change = &plan.changes[*at];
                    change.depends_on.iter().chain(&change.cascades_from).all(|before| done[*before])
                })
                .collect();
            if ready.is_empty() {
                return Err("the graph has a circle".to_owned());
            }
            let at = ready[choose(ready.len())];
            let change = &plan.changes[at];
            if change.cascades_from.is_some() {
                if self.rows.contains_key(&change.id) {
                    return Err(format!("{} {} did not go with its parent", change.kind.name, change.label));
                }
            } else {
                self.run(change)?;
            }
            done[at] = true;
            waiting.retain(|other| *other != at);
        }
        Ok(())
    }
}

fn foreign_id(value: &Value) -> Uuid {
    Uuid::parse_str(value.get("id").unwrap().as_str().unwrap()).unwrap()
}
