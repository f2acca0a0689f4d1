//! Matching what a control plane holds with what the files ask for, page by page.
//!
//! An entity that is as it should be is dropped at once; only what differs is kept.

use super::equal;
use super::keys;
use super::links::{self, Link};
use super::types::{Options, Plan};
use crate::diagnostics::{Diagnostic, codes};
use crate::model::{Entity, Reference, State, Target};
use crate::schema::{Kind, Schemas};
use crate::value::{Exposed, Value};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use uuid::Uuid;

/// An entity: the place of its kind among the kinds, and its id, which entities of other kinds may have as well.
pub(super) type OfKind = (usize, Uuid);

/// What is known of an entity that the files ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// Nothing like it was found.
    Open,
    /// It exists and is as it should be.
    Equal(Uuid),
    /// It exists and differs: an index into [`Comparer::kept`].
    Differs(usize),
    /// It stands outside the scope, and is left alone: a conflict says so.
    Foreign(Uuid),
    /// It is left out of the comparison.
    Skipped,
}

/// What is known of an entity that the control plane holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Known {
    /// It is the one that the files ask for at this index.
    Wanted(usize),
    /// It is kept at this index of [`Comparer::kept`], matched by nothing (yet).
    Kept(usize),
    /// It is left out of the comparison.
    Skipped,
}

/// A held entity that is not simply equal.
#[derive(Debug)]
pub(super) struct Kept {
    pub entity: Entity,
    pub id: Uuid,
    /// Whether the plan may change or delete it.
    pub owned: bool,
    /// The desired entity that it becomes.
    pub wanted: Option<usize>,
}

/// The kinds' part of a comparison.
struct Shelf {
    kind: Arc<Kind>,
    /// The shelves of the kinds that this one references.
    after: Vec<usize>,
    /// All pages have come.
    finished: bool,
    /// All entities have been matched.
    settled: bool,
    /// Pages that came before the parents were settled.
    waiting: Vec<Entity>,
    /// The desired entities of the kind.
    desired: Vec<usize>,
    /// For each identity key: its text, and the desired entity that has it. Made when the parents are settled.
    index: Option<Vec<HashMap<String, usize>>>,
    /// Held entities that a key after the first matched: (index in `kept`, number of the key, desired entity).
    tentative: Vec<(usize, usize, usize)>,
}

/// A comparison under way. Give it the pages of the control plane's lists as they arrive ([`Comparer::page`]), in any
/// order, say when a kind is complete ([`Comparer::finish_kind`]), look up what it asks for
/// ([`Comparer::questions`], [`Comparer::answer`]) and take the plan ([`Comparer::finish`]).
pub struct Comparer<'a> {
    pub(super) desired: &'a State,
    pub(super) schemas: &'a Schemas,
    pub(super) options: &'a Options,
    shelves: Vec<Shelf>,
    shelf_of: HashMap<Box<str>, usize>,
    pub(super) slots: Vec<Slot>,
    desired_ids: HashMap<OfKind, usize>,
    /// What the files reference by id: it is never deleted, whoever owns it.
    referenced: HashSet<Uuid>,
    pub(super) known: HashMap<OfKind, Known>,
    pub(super) kept: Vec<Kept>,
    /// What was looked up outside the scope.
    pub(super) answers: Vec<Entity>,
    /// Names that references ask for, by kind and text, and the id once it is found.
    pub(super) names: HashMap<(Arc<str>, String), Option<Uuid>>,
    /// What lists name and the files hold: indices of the files' entities.
    pub(super) links: HashMap<Link, usize>,
    pub(super) conflicts: Vec<Diagnostic>,
    pub(super) held: usize,
}

impl<'a> Comparer<'a> {
    /// Begins a comparison with what the files ask for.
    pub fn new(desired: &'a State, schemas: &'a Schemas, options: &'a Options) -> Self {
        let kinds = schemas.parents_first();
        let shelf_of: HashMap<Box<str>, usize> =
            kinds.iter().enumerate().map(|(n, kind)| (kind.name.clone(), n)).collect();
        let mut shelves: Vec<Shelf> = kinds
            .into_iter()
            .enumerate()
            .map(|(n, kind)| Shelf {
                // A kind can only wait for those before it, whatever circle the kinds may form.
                after: kind
                    .record
                    .parents()
                    .filter_map(|reference| shelf_of.get(reference).copied())
                    .filter(|other| *other < n)
                    .collect(),
                kind,
                finished: false,
                settled: false,
                waiting: Vec::new(),
                desired: Vec::new(),
                index: None,
                tentative: Vec::new(),
            })
            .collect();
        let mut slots = Vec::with_capacity(desired.entities.len());
        let mut desired_ids = HashMap::new();
        let mut names = HashMap::new();
        let mut referenced = HashSet::new();
        for (n, entity) in desired.entities.iter().enumerate() {
            let skipped = options.skip.contains(&entity.kind.name)
                || entity.references.values().any(|reference| {
                    options.skip.contains(&*reference.kind)
                        || matches!(reference.target, Target::Entity(parent)
                            if slots.get(parent) == Some(&Slot::Skipped))
                });
            slots.push(if skipped { Slot::Skipped } else { Slot::Open });
            if skipped {
                continue;
            }
            let Some(at) = shelf_of.get(&entity.kind.name).copied() else { continue };
            if let Some(shelf) = shelves.get_mut(at) {
                shelf.desired.push(n);
            }
            if let Some(id) = entity.id {
                desired_ids.insert((at, id), n);
            }
            for reference in entity.references.values() {
                match &reference.target {
                    Target::Entity(_) => {}
                    Target::Id(id) => {
                        referenced.insert(*id);
                    }
                    Target::Name(name) => {
                        names.insert((reference.kind.clone(), plain_text(name)), None);
                    }
                }
            }
            keys::each_id(&entity.body, &mut |id| {
                referenced.insert(id);
            });
            links::each(&entity.kind, &entity.body, &mut |link| {
                names.insert(link, None);
            });
        }
        let links = named_in_files(desired, &names);
        Comparer {
            desired,
            schemas,
            options,
            shelves,
            shelf_of,
            slots,
            desired_ids,
            referenced,
            known: HashMap::new(),
            kept: Vec::new(),
            answers: Vec::new(),
            names,
            links,
            conflicts: Vec::new(),
            held: 0,
        }
    }

    /// Takes entities that the control plane holds: of any kinds, each with its id, references as ids.
    /// An entity that came before is passed over.
    pub fn page(&mut self, entities: Vec<Entity>) {
        for entity in entities {
            let Some(at) = self.shelf_of.get(&entity.kind.name).copied() else { continue };
            if self.is_ready(at) {
                self.take(at, entity);
            } else if let Some(shelf) = self.shelves.get_mut(at) {
                shelf.waiting.push(entity);
            }
        }
    }

    /// Says that every page of a kind has come.
    pub fn finish_kind(&mut self, kind: &str) {
        let Some(at) = self.shelf_of.get(kind).copied() else { return };
        if let Some(shelf) = self.shelves.get_mut(at) {
            shelf.finished = true;
        }
        self.advance();
    }

    /// Says that every page has come.
    pub fn finish_kinds(&mut self) {
        self.shelves.iter_mut().for_each(|shelf| shelf.finished = true);
        self.advance();
    }

    /// The plan. `ids` makes the ids of new entities; they are asked for in the order of the files.
    pub fn finish(mut self, ids: &mut dyn FnMut() -> Uuid) -> Plan {
        self.finish_kinds();
        let mut answers = std::mem::take(&mut self.answers);
        answers.sort_by_key(|entity| self.shelf_of.get(&entity.kind.name).copied());
        self.page(answers);
        super::build::plan(self, ids)
    }

    /// Whether an entity of this kind and id is on the control plane or in the files.
    pub(super) fn exists(&self, kind: &str, id: Uuid) -> bool {
        let entity = self.of_kind(kind, id);
        self.known.contains_key(&entity) || self.desired_ids.contains_key(&entity)
    }

    pub(super) fn of_kind(&self, kind: &str, id: Uuid) -> OfKind {
        (self.shelf_of.get(kind).copied().unwrap_or(usize::MAX), id)
    }

    fn parent_known(&self, reference: &Reference) -> Option<Known> {
        self.known.get(&self.of_kind(&reference.kind, self.held_id(reference)?)).copied()
    }

    fn is_ready(&self, at: usize) -> bool {
        self.shelves.get(at).is_some_and(|shelf| {
            shelf.after.iter().all(|parent| self.shelves.get(*parent).is_some_and(|parent| parent.settled))
        })
    }

    /// Matches what has waited, and settles the kinds that are complete. Parents come first in `shelves`.
    fn advance(&mut self) {
        for at in 0..self.shelves.len() {
            if !self.is_ready(at) {
                continue;
            }
            let Some(shelf) = self.shelves.get_mut(at) else { continue };
            for entity in std::mem::take(&mut shelf.waiting) {
                self.take(at, entity);
            }
            if self.shelves.get(at).is_some_and(|shelf| shelf.finished && !shelf.settled) {
                self.settle_kind(at);
            }
        }
    }

    /// Matches one held entity whose kind's parents are settled.
    fn take(&mut self, at: usize, entity: Entity) {
        let Some(id) = entity.id else { return };
        if self.known.contains_key(&(at, id)) {
            return;
        }
        self.find_names(&entity, id);
        if self.is_skipped(&entity) {
            self.known.insert((at, id), Known::Skipped);
            return;
        }
        let owned = self.owns(&entity);
        if owned {
            self.held += 1;
        }
        self.make_index(at);
        let found = match self.desired_ids.get(&(at, id)).copied() {
            Some(wanted) => Some((0, wanted)),
            None => self.find_by_key(at, &entity),
        };
        match found {
            Some((0, wanted)) if self.slots.get(wanted) == Some(&Slot::Open) => {
                self.meet(wanted, entity, id, owned);
            }
            Some((key, wanted)) if self.slots.get(wanted) == Some(&Slot::Open) => {
                let kept = self.keep(entity, id, owned);
                match self.shelves.get_mut(at) {
                    Some(shelf) if !shelf.settled => shelf.tentative.push((kept, key, wanted)),
                    _ => self.meet_kept(wanted, kept),
                }
            }
            _ => {
                self.keep(entity, id, owned);
            }
        }
    }

    /// Keeps what nothing matches (yet). What lookup tags find, or a file
    /// references by its id, is left alone then, whatever its tags.
    fn keep(&mut self, entity: Entity, id: Uuid, owned: bool) -> usize {
        let at = self.kept.len();
        let owned = owned && !self.is_looked_up(&entity) && !self.referenced.contains(&id);
        self.known.insert(self.of_kind(&entity.kind.name, id), Known::Kept(at));
        self.kept.push(Kept { entity, id, owned, wanted: None });
        at
    }

    /// A held entity is the one that is wanted: drops it when it is equal, otherwise keeps it.
    fn meet(&mut self, wanted: usize, entity: Entity, id: Uuid, owned: bool) {
        self.known.insert(self.of_kind(&entity.kind.name, id), Known::Wanted(wanted));
        // What has no tags belongs to whoever's file holds it.
        if !owned && !self.options.adopt && entity.kind.record.field("tags").is_some() {
            self.report_foreign(wanted, &entity, id);
            self.fill(wanted, Slot::Foreign(id));
            return;
        }
        let same = self
            .desired
            .entities
            .get(wanted)
            .is_some_and(|want| self.same_references(want, &entity) && self.same_body(want, &entity));
        let slot = if same {
            Slot::Equal(id)
        } else {
            let at = self.kept.len();
            self.kept.push(Kept { entity, id, owned: true, wanted: Some(wanted) });
            Slot::Differs(at)
        };
        self.fill(wanted, slot);
    }

    fn fill(&mut self, wanted: usize, slot: Slot) {
        if let Some(place) = self.slots.get_mut(wanted) {
            *place = slot;
        }
    }

    /// Decides on the tentative matches of a complete kind, the stronger keys first, and pairs what has no identity.
    fn settle_kind(&mut self, at: usize) {
        self.make_index(at);
        let Some(shelf) = self.shelves.get_mut(at) else { return };
        shelf.settled = true;
        let mut tentative = std::mem::take(&mut shelf.tentative);
        tentative.sort_by_key(|(kept, key, _)| (*key, *kept));
        for (kept, _, wanted) in tentative {
            if self.slots.get(wanted) == Some(&Slot::Open) {
                self.meet_kept(wanted, kept);
            }
        }
        self.pair_nameless(at);
    }

    fn meet_kept(&mut self, wanted: usize, kept: usize) {
        let Some(held) = self.kept.get_mut(kept) else { return };
        let id = held.id;
        let hollow = Entity {
            kind: held.entity.kind.clone(),
            id: None,
            body: Value::Null,
            references: Default::default(),
            place: None,
        };
        // What is left in its place is marked as nobody's.
        held.owned = false;
        let entity = std::mem::replace(&mut held.entity, hollow);
        let owned = self.owns(&entity);
        self.meet(wanted, entity, id, owned);
    }

    /// Pairs wanted entities that have neither id nor key with held ones of the same content.
    fn pair_nameless(&mut self, at: usize) {
        let Some(shelf) = self.shelves.get(at) else { return };
        let kind = shelf.kind.clone();
        let nameless: Vec<usize> = shelf
            .desired
            .iter()
            .copied()
            .filter(|wanted| {
                self.slots.get(*wanted) == Some(&Slot::Open)
                    && self.desired.entities.get(*wanted).is_some_and(|entity| {
                        entity.id.is_none()
                            && kind.identity.iter().all(|key| self.wanted_key(entity, key).is_none())
                    })
            })
            .collect();
        if nameless.is_empty() {
            return;
        }
        let mut candidates: Vec<usize> = self
            .kept
            .iter()
            .enumerate()
            .filter(|(_, kept)| kept.owned && kept.wanted.is_none() && kept.entity.kind.name == kind.name)
            .map(|(n, _)| n)
            .collect();
        for wanted in nameless {
            let Some(want) = self.desired.entities.get(wanted) else { continue };
            let equal = candidates.iter().position(|kept| {
                self.kept.get(*kept).is_some_and(|kept| {
                    self.same_references(want, &kept.entity) && self.same_body(want, &kept.entity)
                })
            });
            if let Some(equal) = equal {
                let kept = candidates.remove(equal);
                self.meet_kept(wanted, kept);
            }
        }
    }

    fn same_body(&self, want: &Entity, held: &Entity) -> bool {
        let body = self.comparable(want, &held.body).map_or(Cow::Borrowed(&want.body), Cow::Owned);
        equal::same_body(self.schemas, &want.kind, &body, &held.body, &|field| {
            want.references.get(field).and_then(|reference| self.wanted_id(reference))
        })
    }

    fn same_references(&self, want: &Entity, held: &Entity) -> bool {
        want.kind.record.foreign().all(|(field, _)| {
            let target = want.references.get(&field.name);
            let have = held.references.get(&field.name).and_then(|reference| self.held_id(reference));
            match target {
                None => have.is_none() || field.auto,
                Some(reference) => self.wanted_id(reference).is_some_and(|id| Some(id) == have),
            }
        })
    }

    /// The id that a held entity's reference leads to.
    pub(super) fn held_id(&self, reference: &Reference) -> Option<Uuid> {
        match &reference.target {
            Target::Id(id) => Some(*id),
            Target::Entity(_) | Target::Name(_) => None,
        }
    }

    /// The id that a wanted entity's reference leads to, if what it leads to exists already.
    pub(super) fn wanted_id(&self, reference: &Reference) -> Option<Uuid> {
        self.wanted_target(&reference.target, &reference.kind)
    }

    pub(super) fn wanted_target(&self, target: &Target, kind: &Arc<str>) -> Option<Uuid> {
        match target {
            Target::Id(id) => Some(*id),
            Target::Entity(at) => match self.slots.get(*at)? {
                Slot::Equal(id) | Slot::Foreign(id) => Some(*id),
                Slot::Differs(kept) => self.kept.get(*kept).map(|kept| kept.id),
                Slot::Open | Slot::Skipped => None,
            },
            Target::Name(name) => self.names.get(&(kind.clone(), plain_text(name))).copied().flatten(),
        }
    }

    /// The text of a key of a wanted entity. Parents that are wanted are told by their place in the files, others by id.
    fn wanted_key(&self, entity: &Entity, key: &[Box<str>]) -> Option<String> {
        keys::text(
            &entity.kind,
            key,
            |name| entity.body.get(name),
            |name| {
                let reference = entity.references.get(name)?;
                if let Target::Entity(at) = reference.target {
                    return Some(format!("#{at}"));
                }
                self.wanted_id(reference).map(|id| self.parent_text(&reference.kind, id))
            },
        )
    }

    fn held_key(&self, entity: &Entity, key: &[Box<str>]) -> Option<String> {
        keys::text(
            &entity.kind,
            key,
            |name| entity.body.get(name),
            |name| {
                let reference = entity.references.get(name)?;
                self.held_id(reference).map(|id| self.parent_text(&reference.kind, id))
            },
        )
    }

    fn parent_text(&self, kind: &str, id: Uuid) -> String {
        let entity = self.of_kind(kind, id);
        match (self.known.get(&entity), self.desired_ids.get(&entity)) {
            (Some(Known::Wanted(at)), _) | (None, Some(at)) => format!("#{at}"),
            _ => id.to_string(),
        }
    }

    fn make_index(&mut self, at: usize) {
        let Some(shelf) = self.shelves.get(at).filter(|shelf| shelf.index.is_none()) else { return };
        let mut index = Vec::with_capacity(shelf.kind.identity.len());
        for key in &shelf.kind.identity {
            let mut texts = HashMap::with_capacity(shelf.desired.len());
            for wanted in &shelf.desired {
                // An explicit id decides alone.
                let entity = self.desired.entities.get(*wanted).filter(|entity| entity.id.is_none());
                if let Some(text) = entity.and_then(|entity| self.wanted_key(entity, key)) {
                    texts.entry(text).or_insert(*wanted);
                }
            }
            index.push(texts);
        }
        if let Some(shelf) = self.shelves.get_mut(at) {
            shelf.index = Some(index);
        }
    }

    /// The wanted entity that a held one is by one of its keys: the key's number and the entity.
    fn find_by_key(&self, at: usize, entity: &Entity) -> Option<(usize, usize)> {
        let shelf = self.shelves.get(at)?;
        let index = shelf.index.as_ref()?;
        shelf.kind.identity.iter().zip(index).enumerate().find_map(|(n, (key, texts))| {
            if texts.is_empty() {
                return None;
            }
            texts.get(&self.held_key(entity, key)?).map(|wanted| (n, *wanted))
        })
    }

    fn is_skipped(&self, entity: &Entity) -> bool {
        let skip = &self.options.skip;
        !skip.is_empty()
            && (skip.contains(&entity.kind.name)
                || entity.references.values().any(|reference| {
                    skip.contains(&*reference.kind)
                        || matches!(self.parent_known(reference), Some(Known::Skipped))
                }))
    }

    /// Whether an entity belongs to one of the files' scopes. Kinds without tags belong where their parents do; parents
    /// that lookup tags find count for nobody.
    fn owns(&self, entity: &Entity) -> bool {
        let scopes = &self.desired.info.scopes;
        if scopes.is_empty() {
            return true;
        }
        if entity.kind.record.field("tags").is_none() {
            let parents: Vec<Option<Known>> = entity
                .references
                .values()
                .filter(|reference| self.held_id(reference).is_some())
                .map(|reference| self.parent_known(reference))
                .collect();
            let looked_up = |parent: &Option<Known>| {
                let kept = |at: usize| self.kept.get(at).is_some_and(|kept| self.is_looked_up(&kept.entity));
                matches!(parent, Some(Known::Kept(at)) if kept(*at))
            };
            let mut others = parents.iter().filter(|parent| !looked_up(parent)).peekable();
            return (others.peek().is_some() || parents.is_empty())
                && others.all(|parent| match parent {
                    Some(Known::Wanted(at)) => !matches!(self.slots.get(*at), Some(Slot::Foreign(_))),
                    Some(Known::Kept(at)) => self.kept.get(*at).is_some_and(|kept| kept.owned),
                    Some(Known::Skipped) | None => false,
                });
        }
        let has = |tag: &String| has_tag(entity, tag);
        scopes.iter().any(|tags| tags.iter().all(has))
    }

    /// Whether lookup tags find an entity that does not belong to a file of this run by the same tags.
    fn is_looked_up(&self, entity: &Entity) -> bool {
        let Some(tags) = self.desired.info.lookup_tags.get(&entity.kind.name) else { return false };
        let scoped = self.desired.info.scopes.iter().any(|scope| tags.iter().all(|tag| scope.contains(tag)));
        !scoped && tags.iter().all(|tag| has_tag(entity, tag))
    }

    /// Remembers the id of an entity that a reference names.
    fn find_names(&mut self, entity: &Entity, id: Uuid) {
        if self.names.is_empty() {
            return;
        }
        let tags = self.desired.info.lookup_tags.get(&entity.kind.name);
        if tags.is_some_and(|tags| !tags.iter().all(|tag| has_tag(entity, tag))) && !self.owns(entity) {
            return;
        }
        let kind: Arc<str> = Arc::from(&*entity.kind.name);
        for key in &entity.kind.identity {
            let [field] = key.as_slice() else { continue };
            let Some(name) = entity.body.get(field).filter(|value| !value.is_null()) else { continue };
            if let Some(found) = self.names.get_mut(&(kind.clone(), plain_text(name))) {
                found.get_or_insert(id);
            }
        }
    }

    fn report_foreign(&mut self, wanted: usize, held: &Entity, id: Uuid) {
        let Some(want) = self.desired.entities.get(wanted) else { return };
        let word = &want.kind.report.word;
        let owner = super::label::owner(held);
        self.conflicts.push(
            Diagnostic::error(
                codes::CONFLICT,
                format!("{word} {} exists already, and belongs to {owner}", super::label::own(held, id)),
            )
            .at(want.place.clone())
            .help("give it the tags of this file's `select_tags` on the gateway, or take it over with `--adopt`"),
        );
    }
}

/// Whether an entity has a tag.
pub(super) fn has_tag(entity: &Entity, tag: &str) -> bool {
    entity
        .body
        .get("tags")
        .and_then(Value::as_array)
        .is_some_and(|tags| tags.iter().any(|each| each.exposed_str() == Some(tag)))
}

/// Of names that references ask for, those of entities in the files.
fn named_in_files(desired: &State, names: &HashMap<Link, Option<Uuid>>) -> HashMap<Link, usize> {
    let mut out = HashMap::new();
    if names.is_empty() {
        return out;
    }
    for (n, entity) in desired.entities.iter().enumerate() {
        for key in &entity.kind.identity {
            let [field] = key.as_slice() else { continue };
            let Some(name) = entity.body.get(field).filter(|value| !value.is_null()) else { continue };
            let link = (Arc::from(&*entity.kind.name), plain_text(name));
            if names.contains_key(&link) {
                out.entry(link).or_insert(n);
            }
        }
    }
    out
}

/// The text of a name, for looking it up.
pub(super) fn plain_text(name: &Value) -> String {
    match name.exposed_str() {
        Some(text) => text.to_owned(),
        None => serde_json::to_string(&Exposed(name)).unwrap_or_default(),
    }
}
