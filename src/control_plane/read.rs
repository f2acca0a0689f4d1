//! Reading a whole control plane: every list, page by page, as many at once as the connection allows.
//!
//! Entities are handed on as their pages arrive and are not kept here.

use super::client::id_of;
use super::{ControlPlane, Error, Info, LARGEST_PAGE, List, Page};
use crate::model::{Entity, Reference, Target};
use crate::schema::{Kind, SchemaError, Schemas, conceal};
use crate::value::{Origin, Value};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, FuturesUnordered, StreamExt};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use uuid::Uuid;

/// A list that is wanted: a kind and the tags that all of its entities carry.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The kind.
    pub kind: Arc<Kind>,
    /// Only entities with all of these tags; empty for all.
    pub tags: Vec<String>,
}

/// What a read hands on.
#[derive(Debug)]
pub enum Arrival {
    /// A page of entities of one kind: ids set, bodies without `id` and foreign fields, secrets concealed.
    Page(Vec<Entity>),
    /// All lists of the kind of this name have come to their end.
    Finished(Box<str>),
}

/// One request to make: which list, below which parent, from where.
struct Job {
    wanted: usize,
    parent: Option<(Arc<Kind>, Uuid)>,
    next: Option<String>,
}

struct Reader<'a> {
    plane: &'a dyn ControlPlane,
    wanted: &'a [Wanted],
    waiting: VecDeque<Job>,
    /// Requests made or waiting, by the name of the kind.
    open: BTreeMap<Box<str>, usize>,
    finished: BTreeSet<Box<str>>,
    /// Lists below a parent that were asked for already: the parent may stand in several lists.
    asked: BTreeSet<(usize, Uuid)>,
}

/// Reads every wanted list and hands on what arrives, at most `parallelism` requests at a time. A list below a parent
/// is read for each of the parents that arrive, so the parents' kind must be wanted too.
pub async fn read(
    plane: &dyn ControlPlane,
    schemas: &Schemas,
    wanted: &[Wanted],
    parallelism: usize,
    sink: &mut (dyn FnMut(Arrival) + Send),
) -> Result<(), Error> {
    let mut reader = Reader {
        plane,
        wanted,
        waiting: VecDeque::new(),
        open: wanted.iter().map(|list| (list.kind.name.clone(), 0)).collect(),
        finished: BTreeSet::new(),
        asked: BTreeSet::new(),
    };
    for (index, list) in wanted.iter().enumerate() {
        if plane.lists_flat(&list.kind) {
            reader.push(Job { wanted: index, parent: None, next: None });
        }
    }
    reader.finish(sink);
    let mut running = FuturesUnordered::new();
    loop {
        while running.len() < parallelism.max(1)
            && let Some(job) = reader.waiting.pop_front()
        {
            running.push(fetch(plane, wanted, job));
        }
        let Some((job, page)) = running.next().await else {
            return Ok(());
        };
        let page = page?;
        let Some(list) = wanted.get(job.wanted) else {
            continue;
        };
        let entities: Vec<Entity> =
            page.rows.into_iter().filter_map(|row| entity(schemas, &list.kind, row)).collect();
        reader.push_children(&list.kind, &entities);
        if !entities.is_empty() {
            sink(Arrival::Page(entities));
        }
        if let Some(next) = page.next {
            reader.push(Job { wanted: job.wanted, parent: job.parent, next: Some(next) });
        }
        if let Some(open) = reader.open.get_mut(&list.kind.name) {
            *open = open.saturating_sub(1);
        }
        reader.finish(sink);
    }
}

fn fetch<'a>(
    plane: &'a dyn ControlPlane,
    wanted: &'a [Wanted],
    job: Job,
) -> BoxFuture<'a, (Job, Result<Page, Error>)> {
    Box::pin(async move {
        let Some(list) = wanted.get(job.wanted) else {
            return (job, Ok(Page::default()));
        };
        let parent = job.parent.as_ref().map(|(kind, id)| (&**kind, *id));
        let list = List { kind: &list.kind, tags: &list.tags, parent, size: LARGEST_PAGE };
        let page = plane.page(&list, job.next.as_deref()).await;
        (job, page)
    })
}

impl Reader<'_> {
    fn push(&mut self, job: Job) {
        if let Some(list) = self.wanted.get(job.wanted) {
            *self.open.entry(list.kind.name.clone()).or_default() += 1;
        }
        // The next page of a list goes first, so that lists end and their entities can be let go.
        if job.next.is_some() { self.waiting.push_front(job) } else { self.waiting.push_back(job) }
    }

    fn push_children(&mut self, parent: &Arc<Kind>, parents: &[Entity]) {
        for (index, list) in self.wanted.iter().enumerate() {
            if list.kind.only_under.as_deref() != Some(&*parent.name) || self.plane.lists_flat(&list.kind) {
                continue;
            }
            for id in parents.iter().filter_map(|entity| entity.id) {
                if self.asked.insert((index, id)) {
                    self.push(Job { wanted: index, parent: Some((parent.clone(), id)), next: None });
                }
            }
        }
    }

    /// Tells of every kind that has no request left and whose parents' kind has come to its end.
    fn finish(&mut self, sink: &mut (dyn FnMut(Arrival) + Send)) {
        loop {
            let next = self.wanted.iter().map(|list| &list.kind).find(|kind| {
                let parents_done = self.plane.lists_flat(kind)
                    || kind.only_under.as_ref().is_none_or(|parent| {
                        self.finished.contains(parent) || !self.open.contains_key(parent)
                    });
                parents_done && self.open.get(&kind.name) == Some(&0) && !self.finished.contains(&kind.name)
            });
            let Some(name) = next.map(|kind| kind.name.clone()) else {
                return;
            };
            self.finished.insert(name.clone());
            sink(Arrival::Finished(name));
        }
    }
}

/// An entity from a row as the API answers it: secrets concealed, the id and the foreign fields taken out of the
/// body. `None` for a row without an id, which no gateway gives.
pub fn entity(schemas: &Schemas, kind: &Arc<Kind>, mut row: Value) -> Option<Entity> {
    conceal(schemas, kind, &mut row, &|_| Origin::ControlPlane);
    let id = id_of(row.remove("id").as_ref())?;
    let references = kind.record.foreign().filter_map(|(field, reference)| {
        let id = id_of(row.remove(&field.name)?.get("id"))?;
        let reference = Reference { kind: Arc::from(reference), target: Target::Id(id), place: None };
        Some((field.name.clone(), reference))
    });
    // Counted first, so that the map takes no more room than it needs: whole control planes are held this way.
    let references: Vec<_> = references.collect();
    let references = references.into_iter().collect();
    Some(Entity { kind: kind.clone(), id: Some(id), body: row, references, place: None })
}

/// The schemas that the gateway itself serves for these kinds and plugins, laid over bundled ones. Plugins that are
/// configured on the gateway and not bundled are added, so that what is secret in them is known.
pub async fn live_schemas(
    plane: &dyn ControlPlane,
    bundled: &Schemas,
    info: &Info,
    kinds: &[Arc<Kind>],
    plugins: &BTreeSet<String>,
    parallelism: usize,
) -> Result<Result<Schemas, SchemaError>, Error> {
    let unknown = info.plugins.iter().filter(|name| bundled.plugin(name).is_none());
    let names: BTreeSet<&String> = plugins.iter().chain(unknown).collect();
    let kinds = kinds.iter().map(|kind| {
        let request: BoxFuture<'_, _> = Box::pin(async move {
            plane.kind_schema(kind).await.map(|found| (true, kind.name.to_string(), found))
        });
        request
    });
    let plugins = names.into_iter().map(|name| {
        let request: BoxFuture<'_, _> =
            Box::pin(
                async move { plane.plugin_schema(name).await.map(|found| (false, name.clone(), found)) },
            );
        request
    });
    let mut answers = stream::iter(kinds.chain(plugins)).buffer_unordered(parallelism.max(1));
    let (mut live_kinds, mut live_plugins) = (BTreeMap::new(), BTreeMap::new());
    while let Some(answer) = answers.next().await {
        match answer? {
            (true, name, Some(schema)) => live_kinds.insert(name, schema),
            (false, name, Some(schema)) => live_plugins.insert(name, schema),
            (_, _, None) => None,
        };
    }
    Ok(bundled.with_live(&live_kinds, &live_plugins))
}
