//! From matches to changes: bodies, labels and names. `order` puts them in order.

use super::compare::{Comparer, Kept, Known, OfKind, Slot, plain_text};
use super::equal;
use super::label::{self, Owner};
use super::links;
use super::order::{self, Held};
use super::types::{Action, Change, Name, Plan, Role};
use crate::diagnostics::{Diagnostic, codes};
use crate::model::{Entity, Reference, Target};
use crate::schema;
use crate::value::{Origin, Value};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use uuid::Uuid;

/// The plan that follows from a complete comparison.
pub(super) fn plan(mut comparer: Comparer<'_>, ids: &mut dyn FnMut() -> Uuid) -> Plan {
    report_missing(&mut comparer);
    let (held, wanted) = (comparer.held, comparer.slots.iter().filter(|s| **s != Slot::Skipped).count());
    let kept = std::mem::take(&mut comparer.kept);
    let mut conflicts = std::mem::take(&mut comparer.conflicts);
    let mut new_ids = HashMap::new();
    let final_ids: Vec<Option<Uuid>> = comparer
        .slots
        .iter()
        .enumerate()
        .map(|(n, slot)| match slot {
            Slot::Equal(id) | Slot::Foreign(id) => Some(*id),
            Slot::Differs(at) => kept.get(*at).map(|kept| kept.id),
            Slot::Open => {
                let entity = comparer.desired.entities.get(n)?;
                let id = entity.id.unwrap_or_else(&mut *ids);
                new_ids.insert(comparer.of_kind(&entity.kind.name, id), n);
                Some(id)
            }
            Slot::Skipped => None,
        })
        .collect();
    let parents = kept_parents(&comparer, &kept);
    let builder = Builder { comparer: &comparer, final_ids, new_ids, parents };

    let mut kept: Vec<Option<Kept>> = kept.into_iter().map(Some).collect();
    let order: HashMap<Box<str>, usize> =
        comparer.schemas.parents_first().iter().enumerate().map(|(n, kind)| (kind.name.clone(), n)).collect();
    let rank = |entity: &Entity| order.get(&entity.kind.name).copied().unwrap_or(usize::MAX);

    let mut asked: Vec<(usize, usize)> = comparer
        .slots
        .iter()
        .enumerate()
        .filter(|(_, slot)| matches!(slot, Slot::Open | Slot::Differs(_)))
        .filter_map(|(n, _)| Some((rank(comparer.desired.entities.get(n)?), n)))
        .collect();
    asked.sort_unstable();
    let mut changes = Vec::with_capacity(asked.len());
    for (_, n) in asked {
        let before = match comparer.slots.get(n) {
            Some(Slot::Differs(at)) => kept.get_mut(*at).and_then(Option::take),
            _ => None,
        };
        changes.extend(builder.asked(n, before));
    }

    let mut rest: Vec<(usize, Kept)> = kept
        .into_iter()
        .flatten()
        .filter(|kept| kept.wanted.is_none() && !kept.entity.body.is_null())
        .map(|kept| (rank(&kept.entity), kept))
        .collect();
    rest.sort_by(|(a, left), (b, right)| b.cmp(a).then_with(|| left.id.cmp(&right.id)));
    let mut outside = Vec::new();
    for (_, kept) in rest {
        if kept.owned && comparer.options.delete {
            changes.push(builder.deletion(kept.entity, kept.id));
        } else {
            let owner = if kept.owned {
                "is in no file, and is not deleted here".to_owned()
            } else {
                format!("belongs to {}", label::owner(&kept.entity))
            };
            let label = label::own(&kept.entity, kept.id);
            let kind = kept.entity.kind.clone();
            outside.push(Held { kind, label, owner, body: whole(kept.entity, kept.id) });
        }
    }
    let changes = order::arrange(changes, &outside, comparer.schemas, &mut conflicts);
    Plan { changes, conflicts, held, wanted, ids: builder.final_ids }
}

/// Says which references lead nowhere.
fn report_missing(comparer: &mut Comparer<'_>) {
    let everything_was_read = comparer.desired.info.scopes.is_empty();
    let mut found = Vec::new();
    for (entity, slot) in comparer.desired.entities.iter().zip(&comparer.slots) {
        if *slot == Slot::Skipped {
            continue;
        }
        for (field, reference) in &entity.references {
            let missing = match &reference.target {
                Target::Entity(_) => None,
                Target::Id(id) => {
                    (everything_was_read && !comparer.exists(&reference.kind, *id)).then(|| id.to_string())
                }
                Target::Name(name) => comparer
                    .names
                    .get(&(reference.kind.clone(), plain_text(name)))
                    .copied()
                    .flatten()
                    .is_none()
                    .then(|| label::word(name)),
            };
            if let Some(missing) = missing {
                let place = reference.place.clone().or_else(|| entity.place.clone());
                found.push(nowhere(comparer, &reference.kind, &missing).at(place).path(field));
            }
        }
    }
    for (entity, slot) in comparer.desired.entities.iter().zip(&comparer.slots) {
        if *slot == Slot::Skipped {
            continue;
        }
        links::each(&entity.kind, &entity.body, &mut |link| {
            if comparer.linked(&link).is_none() && comparer.link_id(&link).is_none() {
                found.push(nowhere(comparer, &link.0, &link.1).at(entity.place.clone()));
            }
        });
    }
    comparer.conflicts.extend(found);
}

fn nowhere(comparer: &Comparer<'_>, kind: &str, name: &str) -> Diagnostic {
    let word = comparer.schemas.kind(kind).map_or(kind, |kind| &*kind.report.word);
    Diagnostic::error(
        codes::DANGLING,
        format!("{word} {name} exists neither in the files nor on the gateway"),
    )
    .help(format!("write the {word} into a file of this run, or correct the reference"))
}

/// What kept entities are called, for labels of what references them.
fn kept_parents(comparer: &Comparer<'_>, kept: &[Kept]) -> HashMap<OfKind, Parent> {
    let referenced: std::collections::HashSet<&str> = comparer
        .schemas
        .kinds()
        .iter()
        .flat_map(|kind| kind.record.foreign().map(|(_, reference)| reference))
        .collect();
    kept.iter()
        .filter(|kept| referenced.contains(&*kept.entity.kind.name))
        .map(|kept| (comparer.of_kind(&kept.entity.kind.name, kept.id), Parent::of(&kept.entity)))
        .collect()
}

/// How a referenced entity is called.
struct Parent {
    word: Box<str>,
    name: Option<Name>,
}

impl Parent {
    fn of(entity: &Entity) -> Self {
        Parent {
            word: entity.kind.report.word.clone(),
            name: label::naming(&entity.kind, &entity.body)
                .map(|(field, value)| Name { field: field.into(), value: value.clone() }),
        }
    }
}

/// A held entity as the control plane shows it: with its id, foreign fields as `{"id": ...}` or null.
fn whole(entity: Entity, id: Uuid) -> Value {
    let Entity { kind, mut body, references, .. } = entity;
    for (field, _) in kind.record.foreign() {
        let target = references.get(&field.name).and_then(|reference| match reference.target {
            Target::Id(id) => Some(id),
            _ => None,
        });
        body.set(&field.name, target.map_or(Value::Null, by_id));
    }
    body.set("id", Value::from(id.to_string()));
    body
}

fn by_id(id: Uuid) -> Value {
    let mut value = Value::object();
    value.set("id", Value::from(id.to_string()));
    value
}

/// The id in a foreign field of a whole entity.
pub(super) fn reference_id(body: &Value, field: &str) -> Option<Uuid> {
    Uuid::parse_str(body.get(field)?.get("id")?.exposed_str()?).ok()
}

struct Builder<'a, 'c> {
    comparer: &'c Comparer<'a>,
    final_ids: Vec<Option<Uuid>>,
    new_ids: HashMap<OfKind, usize>,
    parents: HashMap<OfKind, Parent>,
}

impl Builder<'_, '_> {
    /// The creation or update of a wanted entity.
    fn asked(&self, wanted: usize, held: Option<Kept>) -> Option<Change> {
        let want = self.comparer.desired.entities.get(wanted)?;
        let id = self.final_ids.get(wanted).copied().flatten()?;
        let mut before = held.map(|kept| whole(kept.entity, kept.id));
        let after = self.after(want, id, before.as_ref());
        if let Some(before) = &mut before {
            // What is on its way out is shown beside its successors, and goes with them.
            schema::hide_shorthands(self.comparer.schemas, &want.kind, before);
            let held = before.clone();
            equal::unhash(&want.kind, &after, before, &|field| reference_id(&held, field));
            before.conceal_like(&after, &Origin::ControlPlane);
        }
        let mut names = BTreeMap::new();
        for (body, new) in [(before.as_ref(), false), (Some(&after), true)] {
            if let Some(body) = body {
                self.collect_names(want, body, new, &mut names);
            }
        }
        Some(Change {
            action: if before.is_some() { Action::Update } else { Action::Create },
            kind: want.kind.clone(),
            id,
            label: self.label(&want.kind, &want.body, &after, id, true),
            before,
            after: Some(after),
            names,
            depends_on: Vec::new(),
            cascades_from: None,
            role: Role::Asked,
            place: want.place.clone(),
        })
    }

    fn deletion(&self, entity: Entity, id: Uuid) -> Change {
        let kind = entity.kind.clone();
        let mut names = BTreeMap::new();
        let shell = Entity { body: Value::Null, references: Default::default(), ..entity.clone() };
        let before = whole(entity, id);
        self.collect_names(&shell, &before, false, &mut names);
        Change {
            action: Action::Delete,
            label: self.label(&kind, &before, &before, id, false),
            kind,
            id,
            before: Some(before),
            after: None,
            names,
            depends_on: Vec::new(),
            cascades_from: None,
            role: Role::Asked,
            place: None,
        }
    }

    /// The whole entity as it should be.
    fn after(&self, want: &Entity, id: Uuid, before: Option<&Value>) -> Value {
        let (schemas, kind) = (self.comparer.schemas, &*want.kind);
        let mut body = self
            .comparer
            .comparable(want, before.unwrap_or(&Value::Null))
            .unwrap_or_else(|| want.body.clone());
        links::complete(kind, &mut body, &|link| match self.comparer.linked(link) {
            Some(at) => self.final_ids.get(at).copied().flatten(),
            None => self.comparer.link_id(link),
        });
        schema::fill_defaults(schemas, kind, &mut body, true);
        if let Some(before) = before {
            equal::settle(schemas, kind, &mut body, before);
            // What is equal was taken over as the gateway shows it, deprecated fields and all.
            schema::hide_shorthands(schemas, kind, &mut body);
        }
        for (field, _) in kind.record.foreign() {
            let target = want.references.get(&field.name).and_then(|reference| self.final_id(reference));
            body.set(&field.name, target.map_or(Value::Null, by_id));
        }
        body.set("id", Value::from(id.to_string()));
        body
    }

    fn final_id(&self, reference: &Reference) -> Option<Uuid> {
        match reference.target {
            Target::Entity(at) => self.final_ids.get(at).copied().flatten(),
            _ => self.comparer.wanted_id(reference),
        }
    }

    /// What a referenced entity is called: in the files (`new`), or on the control plane.
    fn parent(&self, kind: &str, id: Uuid, new: bool) -> Option<Parent> {
        let entity = self.comparer.of_kind(kind, id);
        let wanted = match self.comparer.known.get(&entity) {
            Some(Known::Wanted(at)) => Some(*at),
            _ => self.new_ids.get(&entity).copied(),
        };
        let held = self.parents.get(&entity);
        match (wanted.and_then(|at| self.comparer.desired.entities.get(at)), held) {
            (Some(entity), held) if new || held.is_none() => Some(Parent::of(entity)),
            (_, Some(held)) => Some(Parent { word: held.word.clone(), name: held.name.clone() }),
            (Some(entity), None) => Some(Parent::of(entity)),
            // It is outside the scope.
            (None, None) => {
                let word = self.comparer.schemas.kind(kind)?.report.word.clone();
                Some(Parent { word, name: None })
            }
        }
    }

    fn collect_names(&self, entity: &Entity, body: &Value, new: bool, names: &mut BTreeMap<Uuid, Name>) {
        for (field, kind) in entity.kind.record.foreign() {
            if let Some(id) = reference_id(body, &field.name)
                && let Some(name) = self.parent(kind, id, new).and_then(|parent| parent.name)
            {
                names.entry(id).or_insert(name);
            }
        }
    }

    /// `named` is the body that names the entity, as its file writes it; `body` the whole one, for its owners.
    fn label(&self, kind: &Arc<schema::Kind>, named: &Value, body: &Value, id: Uuid, new: bool) -> String {
        label::full(kind, named, id, |field| {
            let (_, reference) = kind.record.foreign().find(|(foreign, _)| *foreign.name == *field)?;
            let id = reference_id(body, field)?;
            let Parent { word, name } = self.parent(reference, id, new)?;
            Some(Owner { word, name: name.map(|name| label::word(&name.value)), id })
        })
    }
}
