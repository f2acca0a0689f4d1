//! Entities put where state files have them, and written one after the other.

use super::secrets::{Replacer, Secrets, Variable};
use super::text::{Format, Pieces};
use crate::model::{Entity, Reference, Target};
use crate::schema::{self, Kind, Record, Schemas, Type, conceal, hide_shorthands, strip_defaults};
use crate::value::{Exposed, Map, Origin, Value};
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use uuid::Uuid;

/// The format version of the files that are written.
const FORMAT_VERSION: &str = "3.0";

/// The list of entities that have no list of their own: `{type, fields}`.
const CUSTOM: &str = "custom_entities";

/// How to dump.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Write every id, not only those by which entities are found.
    pub with_id: bool,
    /// Leave out what the gateway fills in by itself.
    pub skip_defaults: bool,
    /// What stands in place of secrets.
    pub secrets: Secrets,
    /// For `_info.select_tags`.
    pub select_tags: Vec<String>,
    /// Settings of `_info` without which the file could not be synced as it was dumped.
    pub settings: Vec<&'static str>,
    /// For `_workspace`.
    pub workspace: Option<String>,
    /// For `_konnect`.
    pub control_plane: Option<String>,
}

/// What was written.
pub struct Dumped {
    /// The variables that stand for secrets.
    pub variables: Vec<Variable>,
    /// How many secrets stand in the file in clear.
    pub plain_secrets: usize,
}

/// Where an entity stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Home {
    Top,
    In(usize),
}

/// A dump under way: give it the entities as they arrive, in any order, and have them written.
///
/// Until then each is held as the JSON text of what the file will say of it, which takes a tenth of the room of the
/// tree; the trees of one top-level entity and of what is nested in it are all that is there at once.
pub struct Dump<'a> {
    schemas: &'a Schemas,
    options: &'a Options,
    /// With only those fields by which they are named and sorted.
    entities: Vec<Entity>,
    /// The whole bodies of the entities, as JSON.
    bodies: Vec<Box<[u8]>>,
    by_id: HashMap<Uuid, usize>,
    /// The entities whose ids entities of other kinds have as well.
    twins: Vec<usize>,
    children: HashMap<Home, Vec<usize>>,
    replacer: Replacer<'a>,
}

fn object(members: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::Object(members.into_iter().map(|(key, value)| (key.into(), value)).collect())
}

/// The members that stand before the lists.
fn head(options: &Options) -> Vec<(&'static str, Value)> {
    let mut head = vec![("_format_version", Value::from(FORMAT_VERSION))];
    let mut info: Vec<_> = options.settings.iter().map(|name| (*name, Value::Bool(true))).collect();
    if !options.select_tags.is_empty() {
        let tags = options.select_tags.iter().map(|tag| Value::from(tag.as_str())).collect();
        info.push(("select_tags", Value::Array(tags)));
    }
    if !info.is_empty() {
        info.push(("defaults", Value::object()));
        info.sort_by_key(|(name, _)| *name);
        head.push(("_info", object(info)));
    }
    if let Some(name) = &options.control_plane {
        head.push(("_konnect", object([("control_plane_name", Value::from(name.as_str()))])));
    }
    if let Some(name) = &options.workspace {
        head.push(("_workspace", Value::from(name.as_str())));
    }
    head
}

impl<'a> Dump<'a> {
    /// An empty dump.
    pub fn new(schemas: &'a Schemas, options: &'a Options) -> Self {
        Dump {
            schemas,
            options,
            entities: Vec::new(),
            bodies: Vec::new(),
            by_id: HashMap::new(),
            twins: Vec::new(),
            children: HashMap::new(),
            replacer: Replacer::new(&options.secrets),
        }
    }

    /// Takes an entity, of which only what the file will say is kept.
    pub fn add(&mut self, mut entity: Entity) {
        if self.options.skip_defaults {
            hide_shorthands(self.schemas, &entity.kind, &mut entity.body);
            strip_defaults(self.schemas, &entity.kind, &mut entity.body);
        }
        tidy(&entity.kind.record, &mut entity.body);
        if let Some(id) = entity.id {
            self.twins.extend(self.by_id.insert(id, self.entities.len()));
        }
        // A text that could not be made is missed when it is written.
        let body = serde_json::to_vec(&Exposed(&entity.body)).unwrap_or_default();
        self.bodies.push(body.into_boxed_slice());
        let kind = entity.kind.clone();
        if let Some(members) = entity.body.as_object_mut() {
            let names =
                kind.endpoint_key.iter().chain(&kind.report.label).chain(kind.identity.iter().flatten());
            let left = names.filter_map(|name| Some((name.clone(), members.remove(name)?)));
            *members = left.collect();
        }
        self.entities.push(entity);
    }

    /// Writes the whole file.
    pub fn write(mut self, format: Format, out: &mut dyn Write) -> io::Result<Dumped> {
        for (index, entity) in self.entities.iter().enumerate() {
            let home = self.home(entity);
            self.children.entry(home).or_default().push(index);
        }
        let mut pieces = Pieces::new(out, format);
        for (key, value) in head(self.options) {
            pieces.member(key, value)?;
        }
        for (key, members) in self.lists(Home::Top) {
            pieces.open(&key)?;
            for index in members {
                if let Some(item) = self.item(index, Home::Top)? {
                    pieces.item(item)?;
                }
            }
            pieces.close()?;
        }
        pieces.end()?;
        Ok(Dumped { variables: self.replacer.variables, plain_secrets: self.replacer.plain })
    }

    fn entity(&self, index: usize) -> Option<&Entity> {
        self.entities.get(index)
    }

    /// The body of an entity, which is not asked for again.
    fn take_body(&mut self, index: usize) -> io::Result<Value> {
        let text = self.bodies.get_mut(index).map(std::mem::take).unwrap_or_default();
        let mut body = serde_json::from_slice(&text)?;
        if let Some(entity) = self.entity(index) {
            conceal(self.schemas, &entity.kind, &mut body, &|_| Origin::ControlPlane);
        }
        Ok(body)
    }

    fn target(&self, reference: &Reference) -> Option<usize> {
        match reference.target {
            Target::Entity(index) => Some(index),
            Target::Id(id) => self.of_kind(&reference.kind, id),
            Target::Name(_) => None,
        }
    }

    fn of_kind(&self, kind: &str, id: Uuid) -> Option<usize> {
        let mut same = self.by_id.get(&id).into_iter().chain(&self.twins).copied();
        same.find(|index| {
            self.entity(*index).is_some_and(|entity| entity.id == Some(id) && *entity.kind.name == *kind)
        })
    }

    /// In the one entity that it references, if its kind may stand there; at the top when it references several.
    fn home(&self, entity: &Entity) -> Home {
        let file = &entity.kind.file;
        if let Some(also) = file.also.first() {
            let mut references = entity.references.values();
            let parent = references.find(|reference| *also.nested_in == *reference.kind);
            return parent.and_then(|parent| self.target(parent)).map_or(Home::Top, Home::In);
        }
        let mut parents = entity
            .references
            .values()
            .filter(|reference| file.nested_in.iter().any(|kind| **kind == *reference.kind));
        let (Some(parent), others) = (parents.next(), parents.count()) else {
            return Home::Top;
        };
        if file.top_level && others > 0 {
            return Home::Top;
        }
        self.target(parent).map_or(Home::Top, Home::In)
    }

    /// The entities of a home by the keys of their lists, in the order in which they are written.
    fn lists(&mut self, home: Home) -> BTreeMap<Box<str>, Vec<usize>> {
        let mut lists: BTreeMap<Box<str>, Vec<usize>> = BTreeMap::new();
        for index in self.children.remove(&home).unwrap_or_default() {
            if let Some(entity) = self.entity(index) {
                lists.entry(list_key(&entity.kind).into()).or_default().push(index);
            }
        }
        for members in lists.values_mut() {
            members.sort_by_cached_key(|index| self.order(*index));
        }
        lists
    }

    /// What entities of one list are sorted by: their names, then what they belong to, then their ids.
    fn order(&self, index: usize) -> (Vec<String>, Vec<String>, Option<Uuid>) {
        let Some(entity) = self.entity(index) else {
            return (Vec::new(), Vec::new(), None);
        };
        let labels = entity.kind.report.label.iter().chain(entity.kind.identity.iter().flatten());
        let labels =
            labels.filter_map(|name| entity.body.get(name)?.exposed_str().map(str::to_owned)).collect();
        let owners = entity.references.values().filter_map(|reference| {
            let owner = self.entity(self.target(reference)?)?;
            Some(name_of(owner)?.exposed_str()?.to_owned())
        });
        (labels, owners.collect(), entity.id)
    }

    fn item(&mut self, index: usize, home: Home) -> io::Result<Option<Value>> {
        let Some(entity) = self.entity(index) else { return Ok(None) };
        if let Some(also) = entity.kind.file.also.first() {
            return Ok(self.member(entity, &also.item));
        }
        let kind = entity.kind.clone();
        let owner = self.owner(entity);
        let id = entity.id.filter(|_| self.options.with_id || found_by_id(entity));
        let id = id.map(|id| Value::from(id.to_string()));
        let references: Vec<(Box<str>, Value)> = entity
            .references
            .iter()
            .filter(|(_, reference)| self.target(reference).is_none_or(|at| home != Home::In(at)))
            .filter_map(|(field, reference)| Some((field.clone(), self.reference(&kind, reference)?)))
            .collect();
        let mut body = self.take_body(index)?;
        if let Home::In(parent) = home
            && let Some(parent) = self.entity(parent)
            && let Some((_, names)) = kind.file.brief_in.iter().find(|(brief, _)| *brief == parent.kind.name)
        {
            schema::strip_default_fields(self.schemas, &kind, &mut body, names);
        }
        self.replacer.replace(&mut body, &owner);
        self.name_links(&kind, &mut body);
        if let Some(id) = id.clone().filter(|_| !kind.file.custom_entity) {
            body.set("id", id);
        }
        for (field, value) in references {
            body.set(&field, value);
        }
        for (key, members) in self.lists(Home::In(index)) {
            let mut list = Vec::with_capacity(members.len());
            for member in members {
                list.extend(self.item(member, Home::In(index))?);
            }
            body.set(&key, Value::Array(list));
        }
        Ok(Some(if kind.file.custom_entity {
            let id = id.map(|id| ("id", id));
            object([("type", Value::from(&*kind.name)), ("fields", body)].into_iter().chain(id))
        } else {
            body
        }))
    }

    /// An item of a list whose items say no more than which other entity belongs there: `groups: [{name: gold}]`.
    fn member(&self, entity: &Entity, field: &str) -> Option<Value> {
        let reference = entity.references.get(field)?;
        let other = self.target(reference).and_then(|index| self.entity(index));
        let named = other.and_then(|other| Some((other.kind.endpoint_key.clone()?, name_of(other)?.clone())));
        let (key, value) = match (named, &reference.target) {
            (Some(named), _) => named,
            (None, Target::Id(id)) => ("id".into(), Value::from(id.to_string())),
            _ => return None,
        };
        Some(Value::Object([(key, value)].into_iter().collect::<Map>()))
    }

    fn reference(&self, kind: &Kind, reference: &Reference) -> Option<Value> {
        let found = self.target(reference).and_then(|index| self.entity(index));
        let (key, value) = match (found, &reference.target) {
            (Some(entity), _) => match name_of(entity) {
                Some(name) => (entity.kind.endpoint_key.clone()?, name.clone()),
                None => ("id".into(), Value::from(entity.id?.to_string())),
            },
            (None, Target::Id(id)) => ("id".into(), Value::from(id.to_string())),
            (None, Target::Name(name)) => ("name".into(), name.clone()),
            (None, Target::Entity(_)) => return None,
        };
        Some(if kind.file.bare_references {
            value
        } else {
            Value::Object([(key, value)].into_iter().collect::<Map>())
        })
    }

    /// Lets the items of a body's lists name their entities, beside the id where dumps give the entity's id.
    fn name_links(&self, kind: &Kind, body: &mut Value) {
        for (field, naming, to) in kind.record.links() {
            let list = body.as_object_mut().and_then(|body| body.get_mut(&*field.name));
            let Some(Value::Array(items)) = list else { continue };
            for item in items {
                let id = item.get("id").and_then(Value::exposed_str).and_then(|id| Uuid::parse_str(id).ok());
                let named = id.and_then(|id| self.entity(self.of_kind(to, id)?)).and_then(name_of).cloned();
                if let Some(name) = named {
                    item.set(&naming.name, name);
                    if !self.schemas.kind(to).is_some_and(|kind| kind.file.keeps_id) {
                        item.remove("id");
                    }
                }
            }
        }
    }

    /// The words that begin the names of an entity's variables.
    fn owner(&self, entity: &Entity) -> String {
        let label = entity.label().unwrap_or_default();
        let mut words = vec![entity.kind.report.word.to_string()];
        if !label.is_empty() && Some(label) != entity.id.map(|id| id.to_string()).as_deref() {
            words.push(label.to_owned());
        }
        for reference in entity.references.values() {
            let owner = self.target(reference).and_then(|index| self.entity(index));
            words.extend(owner.and_then(Entity::label).map(str::to_owned));
        }
        words.join("_")
    }
}

/// The key of the list in which entities of a kind stand.
fn list_key(kind: &Kind) -> &str {
    match kind.file.also.first() {
        Some(also) => &also.key,
        None if kind.file.custom_entity => CUSTOM,
        None => &kind.file.key,
    }
}

/// The value by which others refer to an entity; `None` when only its id does.
fn name_of(entity: &Entity) -> Option<&Value> {
    let key = entity.kind.endpoint_key.as_ref()?;
    entity.body.get(key).filter(|value| !value.is_null())
}

/// Whether an entity's id belongs into a dump: its kind keeps it, it is found again by nothing else, or it has no value
/// in the field that names its kind's entities.
fn found_by_id(entity: &Entity) -> bool {
    let kind = &entity.kind;
    if kind.file.keeps_id {
        return true;
    }
    match kind.identity.first().map(Vec::as_slice) {
        None => true,
        Some([field]) => {
            let nameless = entity.body.get(field).is_none_or(Value::is_null);
            nameless || kind.endpoint_key.is_none() && kind.record.foreign().next().is_none()
        }
        Some(_) => false,
    }
}

/// Leaves out what files do not say: nulls outside of free configuration, and the times that the gateway keeps.
fn tidy(record: &Record, body: &mut Value) {
    let Some(members) = body.as_object_mut() else { return };
    let names: Vec<Box<str>> = members.keys().cloned().collect();
    for name in names {
        let field = record.field(&name);
        let Some(value) = members.get_mut(&name) else { continue };
        let kept_by_gateway = field.is_some_and(|field| {
            field.transient || field.auto && matches!(field.ty, Type::Integer | Type::Number)
        });
        if value.is_null() || kept_by_gateway {
            members.remove(&name);
            continue;
        }
        match field.map(|field| &field.ty) {
            Some(Type::Record(inner)) => tidy(inner, value),
            Some(Type::Array(element) | Type::Set(element)) => {
                if let (Type::Record(inner), Value::Array(items)) = (&element.ty, value) {
                    items.iter_mut().for_each(|item| tidy(inner, item));
                }
            }
            _ => {}
        }
    }
}
