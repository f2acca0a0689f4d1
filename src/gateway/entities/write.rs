//! Creating and changing entities.

use super::fault::Unresolved;
use super::row::{body as body_of, id_in, target_of};
use super::{Entities, Fault, generate, hooks};
use crate::gateway::store::{Conflict, Entry, Row, Tx};
use crate::schema::{self, Field, Kind, Mode, Record, Type, Violation, ViolationKind};
use crate::value::{Map, Path, Value};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// The longest time to live, in seconds.
const MAX_TTL: f64 = 100_000_000.0;

/// How an address names an entity.
#[derive(Clone, Debug)]
pub(in crate::gateway) enum Mark {
    /// By its id.
    Id(Uuid),
    /// By the value of a field that is unique (or all but).
    Field(Box<str>, Value),
}

impl Mark {
    /// As a filter in messages.
    pub fn shown(&self) -> Value {
        let (name, value) = match self {
            Mark::Id(id) => ("id".into(), Value::from(id.to_string())),
            Mark::Field(name, value) => (name.clone(), value.clone()),
        };
        Value::Object([(name, value)].into_iter().collect())
    }
}

/// An entity on its way into the store.
pub(super) struct Draft {
    /// The whole body.
    pub body: Value,
    /// What the client changes, when it is a change.
    pub patch: Option<Value>,
    /// What the store holds now.
    pub held: Option<Row>,
    /// Fields of the request that are not stored.
    pub transient: Map,
    /// When it goes by itself.
    pub expires: Option<f64>,
}

impl Entities {
    /// Creates an entity (POST).
    pub fn insert(&self, tx: &mut Tx<'_>, kind: &Kind, mut body: Value) -> Result<Value, Fault> {
        let expires = take_ttl(kind, &mut body, tx.now())?.flatten();
        let draft = Draft { body, patch: None, held: None, transient: Map::new(), expires };
        self.write_whole(tx, kind, draft)
    }

    /// Creates an entity or writes over it (PUT). The address decides over the body.
    pub fn upsert(&self, tx: &mut Tx<'_>, kind: &Kind, mark: &Mark, mut body: Value) -> Result<Value, Fault> {
        let expires = take_ttl(kind, &mut body, tx.now())?.flatten();
        let held = self.find(tx, kind, mark)?;
        let id = match mark {
            Mark::Id(id) => Some(*id),
            Mark::Field(field, value) => {
                body.set(field, value.clone());
                held.as_ref().map(|held| held.id)
            }
        };
        // An id in the body is overruled, unless it is none: the check refuses that.
        let overruled = body.get("id").is_none_or(|given| given.is_null() || id_in(&body, "id").is_some());
        if let Some(id) = id.filter(|_| overruled) {
            body.set("id", id.to_string().into());
        }
        self.write_whole(tx, kind, Draft { body, patch: None, held, transient: Map::new(), expires })
    }

    /// The way of a whole body: shorthands, generated fields, hooks, references, defaults, checks.
    fn write_whole(&self, tx: &mut Tx<'_>, kind: &Kind, mut draft: Draft) -> Result<Value, Fault> {
        refuse(schema::expand_shorthands(&self.schemas, kind, &mut draft.body))?;
        if let Some(members) = draft.body.as_object_mut() {
            generate::for_insert(kind, members, tx.now());
        }
        self.write(tx, kind, draft, Mode::Insert)
    }

    /// Changes an entity (PATCH): records are merged member by member, everything else is replaced.
    pub fn update(
        &self,
        tx: &mut Tx<'_>,
        kind: &Kind,
        mark: &Mark,
        mut patch: Value,
    ) -> Result<Value, Fault> {
        let expires = take_ttl(kind, &mut patch, tx.now())?;
        let held = self.find(tx, kind, mark)?.ok_or_else(|| Fault::NotFound(mark.shown()))?;
        let mut before = body_of(&held)?;
        schema::hide_shorthands(&self.schemas, kind, &mut before);
        // Which further schema holds follows from what is there, unless the patch says otherwise.
        let key = kind.subschema.as_ref().map(|subschema| &subschema.key);
        if let Some(key) = key.filter(|key| patch.get(key).is_none()) {
            patch.set(key, before.get(key).cloned().unwrap_or_default());
        }
        refuse(schema::expand_shorthands(&self.schemas, kind, &mut patch))?;
        refuse(immutable(kind, &patch, &before))?;
        patch.remove("id");
        let fields = Fields(&kind.record, self.schemas.variant_of(kind, &patch));
        let mut body = merge(&fields, patch.clone(), &before);
        if let Some(members) = body.as_object_mut() {
            generate::for_update(kind, members, tx.now());
        }
        let expires = expires.unwrap_or(held.expires);
        let draft = Draft { body, patch: Some(patch), held: Some(held), transient: Map::new(), expires };
        self.write(tx, kind, draft, Mode::Update)
    }

    /// Checks a body as if it were to be created, and writes nothing.
    pub fn validate(&self, now: f64, kind: &Kind, mut body: Value) -> Result<(), Fault> {
        refuse(schema::expand_shorthands(&self.schemas, kind, &mut body))?;
        if let Some(members) = body.as_object_mut() {
            generate::for_insert(kind, members, now);
        }
        schema::fill_defaults(&self.schemas, kind, &mut body, true);
        generate::inside(&self.schemas, kind, &mut body);
        refuse(schema::check(&self.schemas, kind, &body))
    }

    /// What creations and changes share: hooks, references, defaults, checks, the row, the answer.
    fn write(&self, tx: &mut Tx<'_>, kind: &Kind, mut draft: Draft, mode: Mode) -> Result<Value, Fault> {
        hooks::before(self, tx, kind, &mut draft)?;
        self.resolve(tx, kind, &mut draft.body)?;
        schema::fill_defaults(&self.schemas, kind, &mut draft.body, true);
        generate::inside(&self.schemas, kind, &mut draft.body);
        refuse(schema::check_as(&self.schemas, kind, &draft.body, mode))?;
        for field in kind.record.fields.iter().filter(|field| field.transient) {
            if let Some(value) = draft.body.remove(&field.name) {
                draft.transient.insert(field.name.clone(), value);
            }
        }
        hooks::transform(self, kind, &mut draft)?;
        schema::show_shorthands(&self.schemas, kind, &mut draft.body);
        if kind.ttl {
            draft.body.set("ttl", Value::Null);
        }
        let new = self.entry(kind, &draft.body, draft.expires)?;
        let held = draft.held.as_ref();
        let old = held.map(|row| self.entry(kind, &body_of(row)?, row.expires)).transpose()?;
        self.put(tx, kind, &draft.body, &new, old.as_ref())?;
        hooks::after(self, tx, kind, &draft)?;
        let mut body = draft.body;
        if let Some(expires) = draft.expires {
            show_ttl(expires, &mut body);
        }
        hooks::show(self, tx, kind, &mut body)?;
        Ok(body)
    }

    /// Turns references by name into references by id.
    fn resolve(&self, tx: &Tx<'_>, kind: &Kind, body: &mut Value) -> Result<(), Fault> {
        let mut unresolved = Vec::new();
        for (field, reference) in kind.record.foreign() {
            let Some(target) = body.get(&field.name).filter(|target| target.as_object().is_some()) else {
                continue;
            };
            if id_in(target, "id").is_some() {
                continue;
            }
            let parent = self.kind(reference)?;
            let endpoint = parent.endpoint_key.as_deref();
            let keys = parent.record.fields.iter().filter(|f| f.unique || Some(&*f.name) == endpoint);
            let mut found = None;
            for key in keys {
                let Some(value) = target.get(&key.name).filter(|value| value.exposed_str().is_some()) else {
                    continue;
                };
                let mark = Mark::Field(key.name.clone(), value.clone());
                match self.find(tx, parent, &mark)? {
                    Some(row) => {
                        found = Some(row.id);
                        break;
                    }
                    None => unresolved.push(Unresolved {
                        field: field.name.clone(),
                        unique: key.name.clone(),
                        value: value.clone(),
                        parent: parent.name.clone(),
                    }),
                }
            }
            if let Some(id) = found {
                unresolved.retain(|it: &Unresolved| it.field != field.name);
                body.set(&field.name, reference_to(id));
            }
        }
        if unresolved.is_empty() { Ok(()) } else { Err(Fault::Unresolved(unresolved)) }
    }

    /// Writes a row, and tells a conflict in the words of the kind.
    pub(super) fn put(
        &self,
        tx: &mut Tx<'_>,
        kind: &Kind,
        body: &Value,
        new: &Entry,
        old: Option<&Entry>,
    ) -> Result<(), Fault> {
        match tx.put(self.plane_of(kind), &kind.name, new, old)? {
            Ok(()) => {}
            // What has no id of its own is the same when its unique values are.
            Err(Conflict(None)) if kind.record.field("id").is_none() => {
                return Err(Fault::Taken(self.shown_key(kind, body, 0)));
            }
            Err(Conflict(None)) => return Err(Fault::IdTaken(new.id)),
            Err(Conflict(Some(index))) => return Err(Fault::Taken(self.shown_key(kind, body, index))),
        }
        for (field, reference) in kind.record.foreign() {
            let Some(id) = target_of(body, &field.name) else { continue };
            let known = old
                .is_some_and(|old| old.references.iter().any(|(name, to)| *name == field.name && *to == id));
            if !known && tx.get(self.plane_of(self.kind(reference)?), reference, id)?.is_none() {
                return Err(Fault::NoSuchReference {
                    field: field.name.clone(),
                    id,
                    parent: reference.into(),
                });
            }
        }
        Ok(())
    }
}

/// `{"id": ...}`
pub(super) fn reference_to(id: Uuid) -> Value {
    Value::Object([("id".into(), Value::from(id.to_string()))].into_iter().collect())
}

/// Writes the seconds that an entity has left into its body.
pub(super) fn show_ttl(expires: f64, body: &mut Value) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |t| t.as_secs_f64());
    body.set("ttl", Value::from((expires - now).floor() as i64));
}

fn refuse(violations: Vec<Violation>) -> Result<(), Fault> {
    if violations.is_empty() { Ok(()) } else { Err(Fault::Schema(violations)) }
}

/// Takes `ttl` out of a body: when the entity goes, `Some(None)` for never, `None` when nothing is said.
fn take_ttl(kind: &Kind, body: &mut Value, now: f64) -> Result<Option<Option<f64>>, Fault> {
    if !kind.ttl {
        return Ok(None);
    }
    let Some(ttl) = body.remove("ttl").filter(|ttl| !ttl.is_null()) else { return Ok(None) };
    match ttl.as_f64().filter(|ttl| ttl.fract() == 0.0 && (0.0..=MAX_TTL).contains(ttl)) {
        Some(0.0) => Ok(Some(None)),
        // Kong counts from the whole second in which it writes.
        Some(ttl) => Ok(Some(Some(now.floor() + ttl))),
        None => {
            let message = format!("must be an integer between 0 and {MAX_TTL}");
            Err(Fault::InvalidOptions(vec![("ttl", message)]))
        }
    }
}

/// Fields that a patch changes although they cannot change.
fn immutable(kind: &Kind, patch: &Value, before: &Value) -> Vec<Violation> {
    let changed = kind.record.fields.iter().filter(|field| {
        let (new, old) = (patch.get(&field.name), before.get(&field.name));
        field.immutable && new.is_some() && old.is_some_and(|old| Some(old) != new)
    });
    changed
        .map(|field| Violation {
            path: Path::root().key(&field.name),
            kind: ViolationKind::InvalidValue,
            message: "immutable field cannot be updated".to_owned(),
            help: None,
        })
        .collect()
}

/// The fields of a record, some replaced by those of a further schema.
struct Fields<'a>(&'a Record, Option<&'a Record>);

impl<'a> Fields<'a> {
    fn get(&self, name: &str) -> Option<&'a Field> {
        let base = self.0.field(name);
        self.1.and_then(|variant| variant.field(name)).or(base)
    }
}

/// A patch over what was there: records are merged, everything else is replaced.
fn merge(fields: &Fields<'_>, patch: Value, before: &Value) -> Value {
    let (Value::Object(patch), Value::Object(before)) = (patch, before) else { return before.clone() };
    let mut out = before.clone();
    for (name, value) in patch {
        let record: Option<Arc<Record>> = match fields.get(&name).map(|field| &field.ty) {
            Some(Type::Record(record)) => Some(Arc::clone(record)),
            _ => None,
        };
        let value = match (record, before.get(&name)) {
            (Some(record), Some(old @ Value::Object(_))) if value.as_object().is_some() => {
                merge(&Fields(&record, None), value, old)
            }
            _ => value,
        };
        out.insert(name, value);
    }
    Value::Object(out)
}
