//! Declarative configurations: lists of entities by kind, nested or not, that reference each other by name, loaded as
//! a whole or refused with every fault at its place.
//!
//! What does not live here: the requests (`config`), and state files (`document`), which know more than Kong does.

use crate::gateway::entities::{Entities, Fault, pretty};
use crate::gateway::store::{StoreError, Tx};
use crate::schema::{Kind, Type, kong_error};
use crate::value::{Exposed, Value};
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use uuid::Uuid;

/// The formats that are read.
const FORMATS: [&str; 3] = ["1.1", "2.1", "3.0"];
/// What else may stand at the top.
const WORDS: [&str; 4] = ["_format_version", "_transform", "_comment", "_ignore"];
/// The namespace of the ids that follow from the names of entities.
const NAMESPACE: Uuid = Uuid::from_u128(0xfd02801f_0957_4a15_a55a_c8d9606f30b5);
/// How deep entities may be nested.
const MAX_DEPTH: usize = 8;

/// How a configuration is loaded.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    /// Faults are also told one entity after the other.
    pub flatten: bool,
}

/// Why a configuration is not loaded.
#[derive(Debug)]
pub(super) enum Failure {
    /// It is wrong: the body to answer.
    Invalid(Json),
    /// Something else.
    Fault(Fault),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Failure::Fault(error.into())
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Failure::Fault(fault)
    }
}

/// A place in the configuration: lists by name and index, from the top.
type Place = Vec<(Box<str>, usize)>;

/// An entity of the configuration.
struct Item {
    kind: Arc<Kind>,
    place: Place,
    /// As given, without what is nested in it.
    given: Value,
    /// On its way into the store.
    body: Value,
    /// The field that points to the entity in which it is nested, and that entity.
    parent: Option<(Box<str>, usize)>,
}

/// What is wrong, at its places.
#[derive(Default)]
struct Faults {
    tree: Map<String, Json>,
    flat: Vec<Json>,
}

impl Faults {
    fn at_top(&mut self, key: &str, message: impl Into<Json>) {
        self.tree.insert(key.to_owned(), message.into());
    }

    /// The fields of an entity's faults at its place.
    fn at(&mut self, place: &Place, fields: Json) {
        let mut members = &mut self.tree;
        let Some(((last_list, last), way)) = place.split_last() else { return };
        for (list, index) in way {
            members = match slot(members, list, *index) {
                Json::Object(inner) => inner,
                other => {
                    *other = json!({});
                    let Json::Object(inner) = other else { return };
                    inner
                }
            };
        }
        match (slot(members, last_list, *last), fields) {
            (Json::Object(held), Json::Object(more)) => held.extend(more),
            (place, fields) => *place = fields,
        }
    }

    fn none(&self) -> bool {
        self.tree.is_empty()
    }

    fn answer(mut self, options: Options) -> Json {
        let message = format!(
            "declarative config is invalid: {}",
            pretty(&Value::from(Json::Object(self.tree.clone())))
        );
        let mut body = json!({"code": 14, "name": "invalid declarative configuration", "message": message});
        if let Some(members) = body.as_object_mut() {
            if options.flatten {
                // What is told entity by entity is not told again.
                self.tree.retain(|_, section| !section.is_array());
                members.insert("flattened_errors".to_owned(), self.flat.into());
            }
            members.insert("fields".to_owned(), self.tree.into());
        }
        body
    }
}

/// The place of an index in a list of faults; those without faults are null.
fn slot<'a>(members: &'a mut Map<String, Json>, list: &str, index: usize) -> &'a mut Json {
    let items = members.entry(list.to_owned()).or_insert_with(|| json!([]));
    if !items.is_array() {
        *items = json!([]);
    }
    if let Json::Array(items) = items
        && items.len() <= index
    {
        items.resize(index + 1, Json::Null);
    }
    &mut items[index]
}

/// Reads a configuration: JSON, or YAML. The error is the body to answer.
pub(super) fn parse(text: &str) -> Result<Value, Json> {
    let json = serde_json::from_str::<Value>(text).ok();
    let read = match json {
        Some(json) => Ok(json),
        None => serde_saphyr::from_str::<Value>(text).map_err(|error| error.to_string()),
    };
    let fault = match read {
        Ok(config) if config.as_object().is_some() => return Ok(config),
        Ok(_) => "expected an object".to_owned(),
        Err(fault) => fault,
    };
    let mut faults = Faults::default();
    faults.at_top("error", format!("failed parsing declarative configuration: {fault}"));
    Err(faults.answer(Options::default()))
}

/// Puts a configuration in the place of everything that is there. Answers the entities by kind and id.
pub(super) fn load(
    all: &Entities,
    tx: &mut Tx<'_>,
    config: Value,
    options: Options,
) -> Result<Json, Failure> {
    let mut faults = Faults::default();
    let transform = top(&config, &mut faults);
    let all = Entities { hashed: !transform, ..all.clone() };
    let mut items = Vec::new();
    if let Value::Object(members) = config {
        for (key, list) in members {
            if WORDS.contains(&&*key) {
                continue;
            }
            match all.schemas.kind(&key).cloned() {
                Some(kind) => collect(&all, &kind, list, &mut Place::new(), None, &mut items, &mut faults),
                None => faults.at_top(&key, "unknown field"),
            }
        }
    }
    let known = identify(&mut items);
    let lost = link(&all, &mut items, &known);
    let now = tx.now();
    for item in &items {
        if let Err(Fault::Schema(violations)) = all.validate(now, &item.kind, item.body.clone()) {
            refuse(&mut faults, item, &items, kong_error(&violations).1);
        }
    }
    if faults.none() {
        repeated(&items, &mut faults);
        for (kind, at, message) in lost {
            let section = faults.tree.entry(kind.to_string()).or_insert_with(|| json!({}));
            if let Some(section) = section.as_object_mut() {
                section.insert(at, json!([message]));
            }
        }
    }
    if !faults.none() {
        return Err(Failure::Invalid(faults.answer(options)));
    }
    tx.clear(all.plane)?;
    let mut order: Vec<usize> = (0..items.len()).collect();
    let ranks: HashMap<Box<str>, usize> = all
        .schemas
        .parents_first()
        .iter()
        .enumerate()
        .map(|(rank, kind)| (kind.name.clone(), rank))
        .collect();
    order.sort_by_key(|index| items.get(*index).and_then(|item| ranks.get(&item.kind.name).copied()));
    let mut stored: BTreeMap<String, Map<String, Json>> = BTreeMap::new();
    for index in order {
        let Some(item) = items.get(index) else { continue };
        match all.insert(tx, &item.kind, item.body.clone()) {
            Ok(body) => {
                let id = body
                    .get("id")
                    .and_then(Value::exposed_str)
                    .map_or_else(|| index.to_string(), str::to_owned);
                let mut json = serde_json::to_value(Exposed(&body)).unwrap_or_default();
                if let Some(members) = json.as_object_mut() {
                    members.retain(|_, member| !member.is_null());
                }
                stored.entry(item.kind.name.to_string()).or_default().insert(id, json);
            }
            Err(Fault::Schema(violations)) => refuse(&mut faults, item, &items, kong_error(&violations).1),
            Err(Fault::Taken(values)) => {
                let (name, value) = first(&values);
                refuse(&mut faults, item, &items, uniqueness(&item.kind, &name, &value).into());
            }
            Err(fault) => return Err(fault.into()),
        }
    }
    if faults.none() { Ok(json!(stored)) } else { Err(Failure::Invalid(faults.answer(options))) }
}

/// Checks what stands at the top. Answers whether passwords are to be hashed.
fn top(config: &Value, faults: &mut Faults) -> bool {
    match config.get("_format_version") {
        None | Some(Value::Null) => faults.at_top("_format_version", "required field missing"),
        Some(version) => match version.exposed_str() {
            Some(version) if FORMATS.contains(&version) => {}
            Some(_) => faults.at_top("_format_version", format!("expected one of: {}", FORMATS.join(", "))),
            None => faults.at_top("_format_version", "expected a string"),
        },
    }
    match config.get("_transform") {
        None | Some(Value::Null) => true,
        Some(Value::Bool(transform)) => *transform,
        Some(_) => {
            faults.at_top("_transform", "expected a boolean");
            true
        }
    }
}

/// The kinds whose entities may be nested in one of a kind, and the field that points up.
fn nested(all: &Entities, kind: &Kind) -> Vec<(Arc<Kind>, Box<str>)> {
    let pointing = |child: &Arc<Kind>| {
        let (field, _) = child.record.foreign().find(|(_, reference)| **reference == *kind.name)?;
        // A field of the same name is a list of entities only where it stands for them.
        let own = kind.record.field(&child.name).is_some_and(|own| !own.transient);
        (!own).then(|| (Arc::clone(child), field.name.clone()))
    };
    all.schemas.kinds().iter().filter_map(pointing).collect()
}

/// Takes a list apart, and the lists nested in it.
fn collect(
    all: &Entities,
    kind: &Arc<Kind>,
    list: Value,
    place: &mut Place,
    parent: Option<(Box<str>, usize)>,
    items: &mut Vec<Item>,
    faults: &mut Faults,
) {
    let wrong = |faults: &mut Faults, message: &str| match place.last().cloned() {
        None => faults.at_top(&kind.name, message),
        Some(_) => faults.at(place, json!({ &*kind.name: message })),
    };
    let entities = match list {
        Value::Array(entities) if place.len() < MAX_DEPTH => entities,
        Value::Null => return,
        _ => return wrong(faults, "expected an array"),
    };
    let below = nested(all, kind);
    for (index, entity) in entities.into_iter().enumerate() {
        place.push((kind.name.clone(), index));
        match entity {
            Value::Object(mut members) => {
                members.remove("_comment");
                members.remove("_ignore");
                let mut children = Vec::new();
                for (child, field) in &below {
                    let is_list = |value: &Value| {
                        value
                            .as_array()
                            .is_none_or(|items| items.iter().all(|item| item.as_object().is_some()))
                    };
                    if members.get(&*child.name).is_some_and(is_list)
                        && let Some(list) = members.remove(&*child.name)
                    {
                        children.push((child, field, list));
                    }
                }
                let own = items.len();
                let given = Value::Object(members);
                items.push(Item {
                    kind: Arc::clone(kind),
                    place: place.clone(),
                    body: given.clone(),
                    given,
                    parent: parent.clone(),
                });
                for (child, field, list) in children {
                    collect(all, child, list, place, Some((field.clone(), own)), items, faults);
                }
            }
            _ => faults.at(place, "expected a record".into()),
        }
        place.pop();
    }
}

/// Entities by kind and id, or by kind and name.
type Known = HashMap<(Box<str>, String), Uuid>;

/// Gives every entity an id that follows from its name, and tells where each can be found.
fn identify(items: &mut [Item]) -> Known {
    let mut known = Known::new();
    for index in 0..items.len() {
        let parent = items.get(index).and_then(|item| item.parent.clone());
        let above = parent.and_then(|(field, above)| Some((field, id_of(&items.get(above)?.body)?)));
        let Some(item) = items.get_mut(index) else { continue };
        if let Some((field, id)) = &above {
            item.body.set(field, json!({ "id": id }).into());
        }
        if item.kind.record.field("id").is_none() {
            continue;
        }
        if item.body.get("id").is_none_or(Value::is_null) {
            let text = |field: &str| item.body.get(field).and_then(Value::exposed_str).map(str::to_owned);
            let name = item.kind.endpoint_key.as_deref().and_then(text);
            let id = name.map_or_else(Uuid::new_v4, |name| {
                let scope = above.as_ref().filter(|_| item.kind.only_under.is_some());
                let name = scope.map_or_else(|| name.clone(), |(_, above)| format!("{above}:{name}"));
                Uuid::new_v5(&Uuid::new_v5(&NAMESPACE, item.kind.name.as_bytes()), name.as_bytes())
            });
            item.body.set("id", id.to_string().into());
        }
        let Some(id) = id_of(&item.body) else { continue };
        known.entry((item.kind.name.clone(), id.to_string())).or_insert(id);
        if let Some((_, name)) = key_of(item) {
            known.entry((item.kind.name.clone(), name)).or_insert(id);
        }
    }
    known
}

fn id_of(body: &Value) -> Option<Uuid> {
    body.get("id").and_then(Value::exposed_str).and_then(|id| Uuid::try_parse(id).ok())
}

/// The unique field by which an entity is named, and its value.
fn key_of(item: &Item) -> Option<(Box<str>, String)> {
    let key = item.kind.endpoint_key.as_deref()?;
    let unique = item.kind.record.field(key).is_some_and(|field| field.unique);
    let value = item.body.get(key).and_then(Value::exposed_str).filter(|_| unique)?;
    Some((key.into(), value.to_owned()))
}

/// A reference that leads nowhere: the kind, the entity by name, id or index, and what is to be said.
type Lost = (Box<str>, String, String);

/// Turns references by name into references by id.
fn link(all: &Entities, items: &mut [Item], known: &Known) -> Vec<Lost> {
    let mut lost = Vec::new();
    for (index, item) in items.iter_mut().enumerate() {
        let kind = Arc::clone(&item.kind);
        for field in &kind.record.fields {
            let Type::Foreign { reference, .. } = &field.ty else { continue };
            let Some(value) = item.body.get(&field.name).filter(|value| !value.is_null()) else { continue };
            let parent = all.schemas.kind(reference);
            let named = |target: &Value| {
                let key = parent.and_then(|parent| parent.endpoint_key.as_deref());
                let value = target.get("id").or_else(|| target.get(key?));
                value.and_then(Value::exposed_str).map(str::to_owned)
            };
            let Some(key) = value.exposed_str().map(str::to_owned).or_else(|| named(value)) else { continue };
            let id = match known.get(&(reference.clone(), key)) {
                Some(id) => *id,
                None => {
                    let at = key_of(item)
                        .map(|(_, name)| name)
                        .or_else(|| id_of(&item.body).map(|id| id.to_string()));
                    let shown = value.exposed_str().map(str::to_owned);
                    let shown =
                        shown.unwrap_or_else(|| serde_json::to_string(&Exposed(value)).unwrap_or_default());
                    lost.push((
                        kind.name.clone(),
                        at.unwrap_or_else(|| (index + 1).to_string()),
                        format!(
                            "invalid reference '{}: {shown}' (no such entry in '{reference}')",
                            field.name
                        ),
                    ));
                    Uuid::nil()
                }
            };
            item.body.set(&field.name, json!({ "id": id }).into());
        }
    }
    lost
}

fn uniqueness(kind: &Kind, field: &str, value: &str) -> String {
    format!("uniqueness violation: '{}' entity with {field} set to '{value}' already declared", kind.name)
}

/// Tells of names and ids that stand twice.
fn repeated(items: &[Item], faults: &mut Faults) {
    let mut seen = HashMap::new();
    for item in items {
        let id = id_of(&item.body).map(|id| (Box::from("primary key"), id.to_string()));
        for (field, value) in key_of(item).into_iter().chain(id) {
            if seen.insert((item.kind.name.clone(), field.clone(), value.clone()), ()).is_some() {
                refuse(faults, item, items, uniqueness(&item.kind, &field, &value).into());
                break;
            }
        }
    }
}

/// The first field of a conflict and its value.
fn first(values: &Value) -> (String, String) {
    let pair = values.as_object().and_then(|members| members.iter().next());
    pair.map_or_else(Default::default, |(name, value)| {
        let text = value.exposed_str().map(str::to_owned);
        (name.to_string(), text.unwrap_or_else(|| serde_json::to_string(&Exposed(value)).unwrap_or_default()))
    })
}

/// Notes an entity's faults at its place, and in the list of entities.
fn refuse(faults: &mut Faults, item: &Item, items: &[Item], fields: Json) {
    let mut entity = serde_json::to_value(Exposed(&item.given)).unwrap_or_default();
    if let (Some((field, above)), Some(members)) = (&item.parent, entity.as_object_mut())
        && let Some(id) = items.get(*above).and_then(|above| id_of(&above.given))
    {
        members.insert(field.to_string(), json!({ "id": id }));
    }
    let text = |name: &str| item.given.get(name).and_then(Value::exposed_str);
    let tags = item.given.get("tags").filter(|tags| {
        tags.as_array().is_some_and(|tags| tags.iter().all(|tag| tag.exposed_str().is_some()))
    });
    let mut flat = json!({
        "entity_type": item.kind.name.strip_suffix('s').unwrap_or(&item.kind.name),
        "entity": entity,
        "errors": told(&fields),
    });
    if let Some(members) = flat.as_object_mut() {
        for (name, value) in [
            ("entity_name", text("name").map(Json::from)),
            ("entity_id", id_of(&item.given).map(|id| json!(id))),
            ("entity_tags", tags.and_then(|tags| serde_json::to_value(Exposed(tags)).ok())),
        ] {
            members.extend(value.map(|value| (name.to_owned(), value)));
        }
    }
    faults.flat.push(flat);
    faults.at(&item.place, fields);
}

/// The faults of one entity as a list: rules, and fields with their paths.
fn told(fields: &Json) -> Vec<Json> {
    fn walk(value: &Json, path: &str, out: &mut Vec<Json>) {
        let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        match value {
            Json::String(message) if path.is_empty() => {
                out.push(json!({"type": "entity", "message": message}));
            }
            Json::String(message) => out.push(json!({"type": "field", "field": path, "message": message})),
            Json::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    walk(item, &below(&(index + 1).to_string()), out);
                }
            }
            Json::Object(members) => {
                for (key, member) in members {
                    match (key.as_str(), member) {
                        ("@entity", Json::Array(rules)) => {
                            out.extend(rules.iter().map(|rule| json!({"type": "entity", "message": rule})));
                        }
                        _ => walk(member, &below(key), out),
                    }
                }
            }
            _ => {}
        }
    }
    let mut out = Vec::new();
    walk(fields, "", &mut out);
    out
}

/// Everything that is there, as a declarative configuration in YAML.
pub(super) fn export(all: &Entities, tx: &Tx<'_>) -> Result<String, Fault> {
    let mut lists =
        vec![("_format_version".to_owned(), json!("3.0")), ("_transform".to_owned(), json!(false))];
    for kind in all.schemas.parents_first() {
        let mut rows = Vec::new();
        for row in tx.all(all.plane_of(&kind), &kind.name)? {
            let mut body: Json =
                serde_json::from_str(&row.body).map_err(|error| Fault::Internal(error.to_string()))?;
            if let Some(members) = body.as_object_mut() {
                for (field, _) in kind.record.foreign() {
                    if let Some(id) = members.get(&*field.name).and_then(|target| target.get("id")).cloned() {
                        members.insert(field.name.to_string(), id);
                    }
                }
                members.retain(|_, member| !member.is_null());
            }
            rows.push(body);
        }
        if !rows.is_empty() {
            lists.push((kind.name.to_string(), rows.into()));
        }
    }
    let mut text = String::new();
    for (key, value) in lists {
        let part = serde_saphyr::to_string(&BTreeMap::from([(key, value)]));
        text.push_str(&part.map_err(|error| Fault::Internal(error.to_string()))?);
    }
    Ok(text)
}
