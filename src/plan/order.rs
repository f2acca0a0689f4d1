//! The graph of changes: what must come before what, unique values that change hands, and a fixed order.

use super::build::reference_id;
use super::keys;
use super::types::{Action, Change, Role};
use crate::diagnostics::{Diagnostic, codes};
use crate::schema::{Field, Kind, OnDelete, Schemas, Type};
use crate::value::Value;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use uuid::Uuid;

/// An entity that stays as it is, and may hold values that a change wants.
pub(super) struct Held {
    pub kind: Arc<Kind>,
    pub label: String,
    /// Why it stays: `belongs to the tags team2`.
    pub owner: String,
    pub body: Value,
}

/// Who holds a unique value at first.
#[derive(Clone, Copy)]
enum Holder {
    Change(usize),
    Held(usize),
}

/// One unique value that a change takes over from another.
struct HandOver {
    taker: usize,
    giver: usize,
    key: Vec<Box<str>>,
    /// The step between that frees the value before the giver's own change does.
    via: Option<usize>,
}

/// Changes (indices) by the ids of their entities.
type ById = HashMap<Uuid, Vec<usize>>;

struct Graph {
    changes: Vec<Change>,
    /// For each change the changes that come before it, hand-overs and cascades not yet considered.
    before: Vec<BTreeSet<usize>>,
    hand_overs: Vec<HandOver>,
    /// The change that puts the values of a change's entity aside.
    aside: HashMap<usize, usize>,
    /// The kinds that some kind references.
    parents: HashSet<Box<str>>,
    /// The updates that also write a list of the entity's children: by the children's kind and the entity's id.
    writers: HashMap<(Box<str>, Uuid), usize>,
}

/// Puts changes in order, adds the steps between that hand-overs need, and reports what cannot be done.
/// The changes come as creations and updates in order of kinds, then deletions in reverse order.
pub(super) fn arrange(
    changes: Vec<Change>,
    held: &[Held],
    schemas: &Schemas,
    conflicts: &mut Vec<Diagnostic>,
) -> Vec<Change> {
    if changes.is_empty() {
        return changes;
    }
    let parents = schemas
        .kinds()
        .iter()
        .flat_map(|kind| kind.record.foreign().map(|(_, reference)| Box::from(reference)))
        .collect();
    let before = vec![BTreeSet::new(); changes.len()];
    let mut graph = Graph {
        changes,
        before,
        hand_overs: Vec::new(),
        aside: HashMap::new(),
        parents,
        writers: HashMap::new(),
    };
    graph.replace_immutable();
    graph.follow_lists();
    graph.follow_references(conflicts);
    graph.spare_held(held, conflicts);
    graph.follow_unique_values(held, conflicts);
    graph.break_circles(conflicts);
    graph.finish()
}

impl Graph {
    fn change(&self, at: usize) -> Option<&Change> {
        self.changes.get(at)
    }

    fn precede(&mut self, first: usize, then: usize) {
        if first != then
            && let Some(before) = self.before.get_mut(then)
        {
            before.insert(first);
        }
    }

    /// The asked changes of a sort by the ids of their entities, which entities of several kinds may share.
    fn asked_by_id(&self, action: Action) -> ById {
        let mut out = ById::new();
        for (n, change) in self.changes.iter().enumerate() {
            if change.action == action && change.role == Role::Asked {
                out.entry(change.id).or_default().push(n);
            }
        }
        out
    }

    /// Of these changes those that concern the entity of this id, and of this kind where that is known.
    fn among<'c>(
        &'c self,
        changes: &'c ById,
        kind: Option<&'c str>,
        id: Uuid,
    ) -> impl Iterator<Item = usize> + 'c {
        let found = changes.get(&id).into_iter().flatten().copied();
        found.filter(move |at| {
            let change = self.change(*at);
            change.is_some_and(|change| kind.is_none_or(|kind| kind == &*change.kind.name))
        })
    }

    /// The deletion that takes this deleted entity along.
    fn cascading_parent(&self, change: &Change, body: &Value, deleted: &ById) -> Option<usize> {
        change.kind.record.fields.iter().find_map(|field| match &field.ty {
            Type::Foreign { reference, on_delete: OnDelete::Cascade, .. } => {
                self.among(deleted, Some(reference), reference_id(body, &field.name)?).next()
            }
            _ => None,
        })
    }

    /// References: made before used, moved away or deleted before what they lead to goes.
    fn follow_references(&mut self, conflicts: &mut Vec<Diagnostic>) {
        let created = self.asked_by_id(Action::Create);
        let deleted = self.asked_by_id(Action::Delete);
        let mut edges = Vec::new();
        let mut cascades = Vec::new();
        for (n, change) in self.changes.iter().enumerate() {
            if change.role != Role::Asked {
                continue;
            }
            if let Some(after) = &change.after {
                keys::each_reference(&change.kind, after, &mut |kind, id| {
                    edges.extend(self.among(&created, kind, id).map(|parent| (parent, n)));
                    for gone in self.among(&deleted, kind, id).filter_map(|at| self.changes.get(at)) {
                        conflicts.push(
                            Diagnostic::error(
                                codes::DANGLING,
                                format!(
                                    "{} {} references {} {}, which no file holds and this run deletes",
                                    change.kind.report.word, change.label, gone.kind.report.word, gone.label
                                ),
                            )
                            .at(change.place.clone()),
                        );
                    }
                });
            }
            let Some(body) = &change.before else { continue };
            let cascading = match change.action {
                Action::Delete => self.cascading_parent(change, body, &deleted),
                _ => None,
            };
            if let Some(parent) = cascading {
                cascades.push((n, parent));
            }
            keys::each_reference(&change.kind, body, &mut |kind, id| {
                if change.action == Action::Delete && cascades_with(change, body, kind, id) {
                    return;
                }
                let parents = self.among(&deleted, kind, id).filter(|parent| Some(*parent) != cascading);
                edges.extend(parents.map(|parent| (n, parent)));
            });
        }
        edges.into_iter().for_each(|(first, then)| self.precede(first, then));
        for (child, parent) in cascades {
            if let Some(change) = self.changes.get_mut(child) {
                change.cascades_from = Some(parent);
            }
        }
    }

    /// What stays and references what goes would go with it, or would keep it from going.
    fn spare_held(&self, held: &[Held], conflicts: &mut Vec<Diagnostic>) {
        let deleted = self.asked_by_id(Action::Delete);
        for held in held {
            for field in &held.kind.record.fields {
                let Type::Foreign { reference, on_delete, .. } = &field.ty else { continue };
                if *on_delete == OnDelete::SetNull {
                    continue;
                }
                let Some(id) = reference_id(&held.body, &field.name) else { continue };
                let gone = self.among(&deleted, Some(reference), id).filter_map(|at| self.change(at));
                conflicts.extend(gone.map(|gone| in_the_way(gone, held, *on_delete)));
            }
        }
    }

    /// Children that their parent lists, too (`snis` of a certificate): an update of the parent writes the list as it
    /// was, so that the children's own changes come after it.
    fn follow_lists(&mut self) {
        for (n, change) in self.changes.iter().enumerate() {
            if change.action == Action::Update && change.role == Role::Asked {
                let lists = change.kind.record.fields.iter().filter(|field| field.transient);
                self.writers.extend(lists.map(|field| ((field.name.clone(), change.id), n)));
            }
        }
        for at in 0..self.changes.len() {
            self.follow_writers(at);
        }
    }

    fn follow_writers(&mut self, at: usize) {
        let Some(change) = self.change(at).filter(|_| !self.writers.is_empty()) else { return };
        let parents = change.kind.record.foreign().flat_map(|(field, _)| {
            [&change.before, &change.after].map(|body| reference_id(body.as_ref()?, &field.name))
        });
        let writer = |parent: Uuid| self.writers.get(&(change.kind.name.clone(), parent)).copied();
        let writers: Vec<usize> = parents.flatten().filter_map(writer).collect();
        writers.into_iter().for_each(|writer| self.precede(writer, at));
    }

    /// Unique values: given up before they are taken.
    fn follow_unique_values(&mut self, held: &[Held], conflicts: &mut Vec<Diagnostic>) {
        let mut keys_of: HashMap<Box<str>, Vec<Vec<Box<str>>>> = HashMap::new();
        for change in &self.changes {
            keys_of.entry(change.kind.name.clone()).or_insert_with(|| keys::unique(&change.kind));
        }
        let mut holders: HashMap<(Box<str>, usize, String), Holder> = HashMap::new();
        let bodies = self
            .changes
            .iter()
            .enumerate()
            .filter(|(_, change)| change.role == Role::Asked)
            .filter_map(|(n, change)| Some((&change.kind, change.before.as_ref()?, Holder::Change(n))))
            .chain(held.iter().enumerate().map(|(n, held)| (&held.kind, &held.body, Holder::Held(n))));
        for (kind, body, holder) in bodies {
            for (k, key) in keys_of.get(&kind.name).into_iter().flatten().enumerate() {
                if let Some(text) = self.key(kind, key, body) {
                    holders.insert((kind.name.clone(), k, text), holder);
                }
            }
        }
        let mut found = Vec::new();
        for (n, change) in self.changes.iter().enumerate() {
            let (Some(after), Role::Asked) = (&change.after, change.role) else { continue };
            let mut reported = false;
            for (k, key) in keys_of.get(&change.kind.name).into_iter().flatten().enumerate() {
                let Some(text) = self.key(&change.kind, key, after) else { continue };
                let lookup = (change.kind.name.clone(), k, text);
                match holders.get(&lookup) {
                    Some(Holder::Change(giver)) if *giver != n => {
                        if self.keeps(*giver, key, &lookup.2) {
                            continue; // The files contradict themselves; they are checked where they are read.
                        }
                        found.push(HandOver { taker: n, giver: *giver, key: key.clone(), via: None });
                    }
                    Some(Holder::Held(holder)) if !reported => {
                        reported = true;
                        conflicts.extend(held.get(*holder).map(|held| conflict(change, key, held)));
                    }
                    _ => {}
                }
            }
        }
        self.hand_overs = found;
    }

    fn key(&self, kind: &Kind, key: &[Box<str>], body: &Value) -> Option<String> {
        keys::text(kind, key, |name| body.get(name), |name| reference_id(body, name).map(|id| id.to_string()))
    }

    fn keeps(&self, at: usize, key: &[Box<str>], text: &str) -> bool {
        self.change(at).is_some_and(|change| {
            change.after.as_ref().and_then(|after| self.key(&change.kind, key, after)).as_deref()
                == Some(text)
        })
    }

    /// The change whose request takes the entity away: itself, or the deletion that it goes with.
    fn actor(&self, mut at: usize) -> usize {
        // Every step leads to a parent kind, so that there are at most as many steps as changes.
        for _ in 0..self.changes.len() {
            match self.change(at).and_then(|change| change.cascades_from) {
                Some(parent) => at = parent,
                None => break,
            }
        }
        at
    }

    /// For each change the changes that come before it. What concerns a deletion that needs no request concerns the
    /// request that does it.
    fn edges(&self) -> Vec<BTreeSet<usize>> {
        let actors: Vec<usize> = (0..self.changes.len()).map(|at| self.actor(at)).collect();
        let actor = |at: usize| actors.get(at).copied().unwrap_or(at);
        let mut edges = vec![BTreeSet::new(); self.changes.len()];
        let mut add = |first: usize, then: usize| {
            let (first, then) = (actor(first), actor(then));
            if first != then
                && let Some(before) = edges.get_mut(then)
            {
                before.insert(first);
            }
        };
        for (then, firsts) in self.before.iter().enumerate() {
            firsts.iter().for_each(|first| add(*first, then));
        }
        for hand_over in &self.hand_overs {
            add(hand_over.via.unwrap_or(hand_over.giver), hand_over.taker);
        }
        edges
    }

    /// An entity whose immutable field changes, or that moves to another of the parents below which alone its kind is
    /// found, is taken away and made again.
    fn replace_immutable(&mut self) {
        for at in 0..self.changes.len() {
            let replaced = self.change(at).is_some_and(|change| {
                let (Some(before), Some(after)) = (&change.before, &change.after) else { return false };
                let stays = |field: &Field| {
                    field.immutable
                        || matches!(&field.ty, Type::Foreign { reference, .. }
                            if change.kind.only_under.as_deref() == Some(&**reference))
                };
                change.kind.record.fields.iter().any(|field| {
                    stays(field)
                        && before.get(&field.name).is_some_and(|value| !value.is_null())
                        && before.get(&field.name) != after.get(&field.name)
                })
            });
            if replaced {
                self.take_away(at);
            }
        }
    }

    /// Adds a step that deletes a change's entity before the change makes it again.
    fn take_away(&mut self, at: usize) -> Option<usize> {
        let change = self.change(at).filter(|change| change.action == Action::Update)?;
        if self.parents.contains(&change.kind.name) {
            return None;
        }
        let step = Change {
            action: Action::Delete,
            after: None,
            role: Role::Between,
            depends_on: Vec::new(),
            ..change.clone()
        };
        Some(self.insert_aside(at, step))
    }

    /// Adds a step that gives the field of a key a value that nobody else has.
    fn put_aside(&mut self, at: usize, key: &[Box<str>]) -> Option<usize> {
        let change = self.change(at).filter(|change| change.action != Action::Create)?;
        let before = change.before.as_ref()?;
        let field = key.iter().find(|name| {
            change.kind.record.field(name).is_some_and(|field| {
                matches!(field.ty, Type::String)
                    && !field.immutable
                    && !field.checks.iter().any(|check| matches!(check, crate::schema::Check::OneOf(_)))
                    && before.get(name).is_some_and(|value| value.exposed_str().is_some())
            })
        })?;
        // A word that every such field takes: a name, a host, a prefix, a key.
        let value = Value::from(format!("foredeck-{}", change.id.simple()));
        if let Some(step) = self.aside.get(&at).copied() {
            let after = self.changes.get_mut(step).and_then(|step| step.after.as_mut())?;
            after.set(field, value);
            return Some(step);
        }
        let mut after = before.clone();
        after.set(field, value);
        let step = Change {
            action: Action::Update,
            after: Some(after),
            role: Role::Between,
            depends_on: Vec::new(),
            ..change.clone()
        };
        Some(self.insert_aside(at, step))
    }

    fn insert_aside(&mut self, at: usize, step: Change) -> usize {
        let added = self.changes.len();
        self.changes.push(step);
        self.before.push(BTreeSet::new());
        self.aside.insert(at, added);
        self.precede(added, at);
        self.follow_writers(added);
        added
    }

    /// While changes wait for each other in a circle, lets one of each circle give its value up first.
    fn break_circles(&mut self, conflicts: &mut Vec<Diagnostic>) {
        loop {
            let circle_of = circles(&self.edges());
            let mut open: BTreeSet<usize> = circle_of.iter().flatten().copied().collect();
            if open.is_empty() {
                return;
            }
            for n in 0..self.hand_overs.len() {
                let Some(HandOver { taker, giver, via: None, .. }) = self.hand_overs.get(n) else { continue };
                let circle = |at: usize| circle_of.get(self.actor(at)).copied().flatten();
                let Some(circle) = circle(*taker).filter(|found| circle(*giver) == Some(*found)) else {
                    continue;
                };
                if open.contains(&circle) && self.give_up_first(n) {
                    open.remove(&circle);
                }
            }
            if !open.is_empty() {
                self.report_circles(&circle_of, &open, conflicts);
                return;
            }
        }
    }

    /// Frees the value of a hand-over before the giver's own change does.
    fn give_up_first(&mut self, n: usize) -> bool {
        let Some(HandOver { giver, key, .. }) = self.hand_overs.get(n) else { return false };
        let (giver, key) = (*giver, key.clone());
        if let Some(change) = self.changes.get_mut(giver)
            && change.cascades_from.take().is_some()
        {
            return true; // A request of its own is all it takes.
        }
        if let Some(step) = self.put_aside(giver, &key) {
            if let Some(hand_over) = self.hand_overs.get_mut(n) {
                hand_over.via = Some(step);
            }
            return true;
        }
        let Some(step) = self.take_away(giver) else { return false };
        for hand_over in self.hand_overs.iter_mut().filter(|other| other.giver == giver) {
            hand_over.via = Some(step);
        }
        true
    }

    fn report_circles(
        &mut self,
        circle_of: &[Option<usize>],
        open: &BTreeSet<usize>,
        conflicts: &mut Vec<Diagnostic>,
    ) {
        for circle in open {
            let members: Vec<usize> =
                (0..circle_of.len()).filter(|at| circle_of.get(*at) == Some(&Some(*circle))).collect();
            let names: Vec<String> = members
                .iter()
                .filter_map(|at| self.change(*at))
                .take(10)
                .map(|change| format!("{} {}", change.kind.report.word, change.label))
                .collect();
            conflicts.push(
                Diagnostic::error(
                    codes::CONFLICT,
                    format!("these changes wait for each other: {}", names.join(", ")),
                )
                .help("reach this state in two runs, the first without one of these changes"),
            );
            // Forget what binds them, so that the plan can still be shown.
            let members: HashSet<usize> = members.into_iter().collect();
            self.hand_overs.retain(|hand_over| !members.contains(&hand_over.taker));
            for at in members {
                if let Some(before) = self.before.get_mut(at) {
                    before.clear();
                }
            }
        }
    }

    fn finish(self) -> Vec<Change> {
        let edges = self.edges();
        let sorted = sorted(&edges);
        let mut new_place = vec![0; self.changes.len()];
        for (to, from) in sorted.iter().enumerate() {
            if let Some(place) = new_place.get_mut(*from) {
                *place = to;
            }
        }
        let moved = |at: usize| new_place.get(at).copied().unwrap_or(at);
        let mut slots: Vec<Option<(Change, BTreeSet<usize>)>> =
            self.changes.into_iter().zip(edges).map(Some).collect();
        sorted
            .iter()
            .filter_map(|at| slots.get_mut(*at).and_then(Option::take))
            .map(|(change, before)| {
                let mut depends_on: Vec<usize> = before.into_iter().map(moved).collect();
                depends_on.sort_unstable();
                Change { depends_on, cascades_from: change.cascades_from.map(moved), ..change }
            })
            .collect()
    }
}

/// The changes in an order that keeps to the edges; of those that could be next, the earliest comes first.
/// What is in a circle is left out.
fn sorted(edges: &[BTreeSet<usize>]) -> Vec<usize> {
    let then = turned(edges);
    let mut waiting: Vec<usize> = edges.iter().map(BTreeSet::len).collect();
    let mut ready: BinaryHeap<Reverse<usize>> =
        waiting.iter().enumerate().filter(|(_, n)| **n == 0).map(|(at, _)| Reverse(at)).collect();
    let mut out = Vec::with_capacity(edges.len());
    while let Some(Reverse(at)) = ready.pop() {
        out.push(at);
        for next in then.get(at).into_iter().flatten() {
            if let Some(left) = waiting.get_mut(*next) {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    ready.push(Reverse(*next));
                }
            }
        }
    }
    out
}

/// The edges the other way round: for each change the changes that come after it.
fn turned(edges: &[BTreeSet<usize>]) -> Vec<Vec<usize>> {
    let mut then = vec![Vec::new(); edges.len()];
    for (at, firsts) in edges.iter().enumerate() {
        for first in firsts {
            if let Some(list) = then.get_mut(*first) {
                list.push(at);
            }
        }
    }
    then
}

/// For each change the circle that it is part of (Kosaraju's strongly connected components of two or more).
fn circles(edges: &[BTreeSet<usize>]) -> Vec<Option<usize>> {
    let mut circle_of = vec![None; edges.len()];
    let sorted: HashSet<usize> = sorted(edges).into_iter().collect();
    let stuck: Vec<usize> = (0..edges.len()).filter(|at| !sorted.contains(at)).collect();
    if stuck.is_empty() {
        return circle_of;
    }
    let forward: Vec<Vec<usize>> = edges.iter().map(|firsts| firsts.iter().copied().collect()).collect();
    let backward = turned(edges);
    let mut seen = sorted.clone();
    let mut finished = Vec::new();
    for start in &stuck {
        walk(&forward, *start, &mut seen, &mut finished);
    }
    let mut seen = sorted;
    for start in finished.into_iter().rev() {
        let mut members = Vec::new();
        walk(&backward, start, &mut seen, &mut members);
        if members.len() > 1 {
            for member in members {
                if let Some(circle) = circle_of.get_mut(member) {
                    *circle = Some(start);
                }
            }
        }
    }
    circle_of
}

/// Depth first from `start`, past what is `seen`: adds each change to `out` when all that follows it is there.
fn walk(next: &[Vec<usize>], start: usize, seen: &mut HashSet<usize>, out: &mut Vec<usize>) {
    if !seen.insert(start) {
        return;
    }
    let mut stack = vec![(start, 0)];
    while let Some((at, tried)) = stack.pop() {
        match next.get(at).and_then(|list| list.get(tried)) {
            Some(following) => {
                stack.push((at, tried + 1));
                if seen.insert(*following) {
                    stack.push((*following, 0));
                }
            }
            None => out.push(at),
        }
    }
}

/// Whether an entity goes when the one of this kind and id goes.
fn cascades_with(change: &Change, body: &Value, kind: Option<&str>, id: Uuid) -> bool {
    change.kind.record.fields.iter().any(|field| {
        matches!(&field.ty, Type::Foreign { reference, on_delete: OnDelete::Cascade, .. }
            if kind.is_none_or(|kind| kind == &**reference))
            && reference_id(body, &field.name) == Some(id)
    })
}

fn in_the_way(gone: &Change, held: &Held, on_delete: OnDelete) -> Diagnostic {
    let parent = format!("{} {}", gone.kind.report.word, gone.label);
    let child = format!("{} {}, which {}", held.kind.report.word, held.label, held.owner);
    let message = match on_delete {
        OnDelete::Cascade => format!("deleting {parent} would delete {child}"),
        OnDelete::Restrict | OnDelete::SetNull => {
            format!("{parent} cannot be deleted: it is referenced by {child}")
        }
    };
    Diagnostic::error(codes::CONFLICT, message).help(format!(
        "keep the {} in its file, or delete the other entity where it belongs first",
        gone.kind.report.word
    ))
}

fn conflict(change: &Change, key: &[Box<str>], held: &Held) -> Diagnostic {
    let word = &change.kind.report.word;
    Diagnostic::error(
        codes::CONFLICT,
        format!(
            "{} of {word} {} is taken by {} {}, which {}",
            key.join(" + "),
            change.label,
            held.kind.report.word,
            held.label,
            held.owner
        ),
    )
    .at(change.place.clone())
    .path(key.first().map(|field| &**field).unwrap_or_default())
    .help("choose another value, or change or delete the other entity where it belongs")
}
