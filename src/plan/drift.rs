//! Who changed what: the last applied state, the files and the control plane, compared three ways. Pure.
//!
//! The last applied state is a [`Record`] of digests; it holds no values. What differs between the files and the control
//! plane comes from a [`Plan`]. What does not live here: where records are kept (`cli`), and showing what was found
//! (`report`).

use super::build::reference_id;
use super::label::{self, Owner};
use super::types::{Action, Change, Plan, Role};
use crate::diagnostics::{Diagnostic, codes};
use crate::model::{Entity, State, Target};
use crate::schema::{self, Field, Kind, Schemas, Type};
use crate::value::{Exposed, Value};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use uuid::Uuid;

/// The value of a record's `format`.
const FORMAT: &str = "foredeck-applied/1";
/// The bytes of a digest that are kept.
const KEPT: usize = 8;

/// Digests of an entity's fields by their names; members of `config` and other records have two steps: `config.minute`.
/// A field that has its default is left out.
type Digests = BTreeMap<String, String>;

/// The first line of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    format: String,
    /// Random, in hexadecimal digits; every digest begins with it.
    salt: String,
}

/// An entity as it was applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Applied {
    kind: String,
    id: Uuid,
    label: String,
    fields: Digests,
}

/// The last applied state: which entities there were, and salted digests of their fields. JSON, a line at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    salt: String,
    entities: Vec<Applied>,
}

/// Who made a difference to the last applied state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// The files changed.
    File,
    /// The control plane was changed by somebody else.
    Gateway,
    /// Both changed, and do not contradict each other.
    Both,
    /// Both changed, to different things.
    Conflict,
}

/// A field that is not as it was applied.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldDrift {
    /// Its name, such as `host` or `config.minute`.
    pub name: String,
    /// Who changed it.
    pub by: By,
    /// Its value on the control plane; null without one.
    pub live: Value,
    /// Its value in the files; null without one.
    pub file: Value,
}

/// An entity that is not as it was applied.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drift {
    /// The word of its kind.
    pub kind: String,
    /// What names it after that word.
    pub label: String,
    /// Its id; that of the record where the control plane has it no more.
    pub id: Uuid,
    /// What happened to it since the last applied state.
    pub action: Action,
    /// Who did.
    pub by: By,
    /// Its fields, when it is in the files and on the control plane; sorted by name.
    pub fields: Vec<FieldDrift>,
}

/// What tells whose a line of a record is.
#[derive(Deserialize)]
struct Glance<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
    id: Uuid,
}

fn first_line(salt: &str) -> String {
    let head = Head { format: FORMAT.to_owned(), salt: salt.to_owned() };
    serde_json::to_string(&head).unwrap_or_default() + "\n"
}

fn push_line(out: &mut String, entity: &Applied) {
    out.push_str(&serde_json::to_string(entity).unwrap_or_default());
    out.push('\n');
}

impl Record {
    /// What is on a control plane once these files are applied. `ids` are those of the entities, as [`Plan::ids`] has
    /// them; entities without one are left out. `salt` is random, in a form of the caller's choice.
    pub fn new(state: &State, ids: &[Option<Uuid>], schemas: &Schemas, salt: &str) -> Self {
        let view = View { state, ids, schemas, salt };
        let entities = (0..state.entities.len()).filter_map(|n| view.applied(n, &HashMap::new())).collect();
        Record { salt: salt.to_owned(), entities }
    }

    /// The salt of a record, from its text.
    pub fn salt_of(text: &str) -> Option<String> {
        let head: Head = serde_json::from_str(text.lines().next()?).ok()?;
        (head.format == FORMAT).then_some(head.salt)
    }

    /// The text of a new record, made without holding all of it at once. From the text of an earlier one with the same
    /// salt it takes over what `keep` holds for, by the name of its kind, and the state does not have.
    pub fn text_of(
        state: &State,
        ids: &[Option<Uuid>],
        schemas: &Schemas,
        salt: &str,
        earlier: Option<&str>,
        keep: &dyn Fn(&str) -> bool,
    ) -> String {
        let view = View { state, ids, schemas, salt };
        let mut out = first_line(salt);
        let mut own = HashSet::with_capacity(state.entities.len());
        for entity in (0..state.entities.len()).filter_map(|n| view.applied(n, &HashMap::new())) {
            own.insert(entity.id);
            push_line(&mut out, &entity);
        }
        for line in earlier.into_iter().flat_map(|text| text.lines().skip(1)) {
            if serde_json::from_str::<Glance<'_>>(line)
                .is_ok_and(|old| keep(&old.kind) && !own.contains(&old.id))
            {
                out.push_str(line);
                out.push('\n');
            }
        }
        out
    }

    /// A record from its text.
    pub fn read(text: &str) -> Result<Self, Diagnostic> {
        let fault = |number: usize, reason: String| {
            let message = format!("this is no record of an applied state: line {}: {reason}", number + 1);
            Diagnostic::error(codes::SYNTAX, message)
                .help("delete it; the next `gateway sync` makes a new one")
        };
        let mut lines = text.lines().enumerate();
        let (_, first) = lines.next().unwrap_or_default();
        let head: Head = serde_json::from_str(first).map_err(|error| fault(0, error.to_string()))?;
        if head.format != FORMAT {
            return Err(fault(0, format!("its format is '{}' and not '{FORMAT}'", head.format)));
        }
        let entities: Result<Vec<Applied>, Diagnostic> = lines
            .map(|(n, line)| serde_json::from_str(line).map_err(|error| fault(n, error.to_string())))
            .collect();
        Ok(Record { salt: head.salt, entities: entities? })
    }

    /// Everything that is not as it was applied, in the order of the files, then what only the control plane has, then
    /// what neither has. `plan` makes the control plane what `state` asks for; `skip` names the kinds it leaves alone.
    pub fn drift(
        &self,
        state: &State,
        plan: &Plan,
        schemas: &Schemas,
        skip: &BTreeSet<Box<str>>,
    ) -> Vec<Drift> {
        let view = View { state, ids: &plan.ids, schemas, salt: &self.salt };
        let matches = self.matches(&view);
        let changes: HashMap<Uuid, &Change> = plan.asked().map(|change| (change.id, change)).collect();
        // What is taken away and made again is there all the while, as far as users see.
        let between: HashMap<Uuid, &Change> = plan
            .changes
            .iter()
            .filter(|change| change.role == Role::Between)
            .map(|change| (change.id, change))
            .collect();
        let mut met: HashSet<Uuid> = HashSet::new();
        let mut out = Vec::new();
        for (n, entity) in state.entities.iter().enumerate() {
            let Some(id) = plan.ids.get(n).copied().flatten() else { continue };
            let Some(file) = view.applied(n, &matches.earlier) else { continue };
            let then = matches.of.get(&n).and_then(|at| self.entities.get(*at));
            met.extend(then.map(|then| then.id));
            let change = changes.get(&id).copied();
            let absent =
                change.is_some_and(|change| change.action == Action::Create) && !between.contains_key(&id);
            let (action, by, fields) = match (then, absent) {
                (None, true) => (Action::Create, By::File, Vec::new()),
                (Some(then), true) if then.fields == file.fields => (Action::Delete, By::Gateway, Vec::new()),
                (Some(_), true) => (Action::Delete, By::Conflict, Vec::new()),
                (then, false) => {
                    let before = between.get(&id).copied().and_then(|change| change.before.as_ref());
                    let before = before.or_else(|| change.and_then(|change| change.before.as_ref()));
                    let sides = Sides { view: &view, entity, file: &file, then, earlier: &matches.earlier };
                    let fields = match (change, before) {
                        (Some(change), Some(before)) => sides.differing(change, before),
                        _ => sides.agreeing(&BTreeSet::new()),
                    };
                    let action = if then.is_some() { Action::Update } else { Action::Create };
                    if fields.is_empty() && then.is_some() {
                        continue;
                    }
                    (action, together(&fields), fields)
                }
            };
            out.push(Drift {
                kind: entity.kind.report.word.to_string(),
                label: change.map_or(file.label, |change| change.label.clone()),
                id,
                action,
                by,
                fields,
            });
        }
        for change in plan.asked().filter(|change| change.action == Action::Delete) {
            let Some(before) = &change.before else { continue };
            let live = view.live(change, before, &matches.earlier);
            let by_key = || keys(&change.kind, &live.plain).iter().find_map(|key| matches.by_key.get(key));
            let at = matches.by_id.get(&change.id).or_else(by_key);
            let then = at.and_then(|at| self.entities.get(*at)).filter(|then| !met.contains(&then.id));
            met.extend(then.map(|then| then.id));
            let (action, by) = match then {
                None => (Action::Create, By::Gateway),
                Some(then) if live.holds(&change.kind, then) => (Action::Delete, By::File),
                Some(_) => (Action::Delete, By::Conflict),
            };
            out.push(Drift {
                kind: change.kind.report.word.to_string(),
                label: change.label.clone(),
                id: change.id,
                action,
                by,
                fields: Vec::new(),
            });
        }
        for then in self.entities.iter().filter(|then| !met.contains(&then.id)) {
            let Some(kind) = schemas.kind(&then.kind).filter(|kind| !skip.contains(&kind.name)) else {
                continue;
            };
            out.push(Drift {
                kind: kind.report.word.to_string(),
                label: then.label.clone(),
                id: then.id,
                action: Action::Delete,
                by: By::Both,
                fields: Vec::new(),
            });
        }
        out
    }

    /// Which entity of the files is which of the record: by id, then by what makes entities the same.
    fn matches(&self, view: &View<'_>) -> Matches {
        let by_id: HashMap<Uuid, usize> =
            self.entities.iter().enumerate().map(|(n, then)| (then.id, n)).collect();
        let mut by_key: HashMap<(usize, String), usize> = HashMap::new();
        for (n, then) in self.entities.iter().enumerate() {
            let Some(kind) = view.schemas.kind(&then.kind) else { continue };
            for (at, key) in keys(kind, &then.fields) {
                by_key.entry((at, key)).or_insert(n);
            }
        }
        let mut matches = Matches { by_id, by_key, ..Matches::default() };
        let mut taken: HashSet<usize> = HashSet::new();
        for (n, id) in view.ids.iter().enumerate() {
            if let Some(at) = id.and_then(|id| matches.by_id.get(&id).copied()) {
                matches.of.insert(n, at);
                taken.insert(at);
            }
        }
        // Parents come first: a parent that was made anew leads to its children.
        for kind in view.schemas.parents_first() {
            for (n, entity) in view.state.entities.iter().enumerate() {
                if entity.kind.name != kind.name || matches.of.contains_key(&n) {
                    continue;
                }
                let Some(file) = view.applied(n, &matches.earlier) else { continue };
                let found = keys(&kind, &file.fields)
                    .into_iter()
                    .filter_map(|key| matches.by_key.get(&key).copied())
                    .find(|at| !taken.contains(at));
                if let Some((at, then)) = found.and_then(|at| Some((at, self.entities.get(at)?))) {
                    matches.of.insert(n, at);
                    taken.insert(at);
                    matches.earlier.insert(file.id, then.id);
                }
            }
        }
        matches
    }
}

/// Which entities are the same.
#[derive(Default)]
struct Matches {
    /// By index in the files, the index in the record.
    of: HashMap<usize, usize>,
    /// Ids of entities that had another one when they were applied.
    earlier: HashMap<Uuid, Uuid>,
    /// Indices in the record, by id.
    by_id: HashMap<Uuid, usize>,
    /// Indices in the record, by [`keys`].
    by_key: HashMap<(usize, String), usize>,
}

/// What makes an entity the same, as texts of digests: the number of the key goes with it.
fn keys(kind: &Kind, fields: &Digests) -> Vec<(usize, String)> {
    let text = |key: &Vec<Box<str>>| {
        let parts: Vec<&str> =
            key.iter().map(|name| fields.get(&**name).map_or("-", String::as_str)).collect();
        parts.iter().any(|part| *part != "-").then(|| format!("{} {}", kind.name, parts.join(" ")))
    };
    kind.identity.iter().enumerate().filter_map(|(n, key)| Some((n, text(key)?))).collect()
}

/// Who changed an entity, from who changed its fields.
fn together(fields: &[FieldDrift]) -> By {
    let all = |by: By| fields.iter().all(|field| field.by == by);
    match fields {
        [] => By::Both,
        _ if fields.iter().any(|field| field.by == By::Conflict) => By::Conflict,
        _ if all(By::File) => By::File,
        _ if all(By::Gateway) => By::Gateway,
        _ => By::Both,
    }
}

/// The files with the ids of their entities.
struct View<'a> {
    state: &'a State,
    ids: &'a [Option<Uuid>],
    schemas: &'a Schemas,
    salt: &'a str,
}

impl View<'_> {
    /// An entity of the files as it is applied; `earlier` gives ids that others stand for.
    fn applied(&self, n: usize, earlier: &HashMap<Uuid, Uuid>) -> Option<Applied> {
        let entity = self.state.entities.get(n)?;
        let id = self.ids.get(n).copied().flatten()?;
        let target = |field: &str| -> Option<Uuid> {
            match entity.references.get(field)?.target {
                Target::Entity(at) => self.ids.get(at).copied().flatten(),
                Target::Id(id) => Some(id),
                Target::Name(_) => None,
            }
            .map(|id| earlier.get(&id).copied().unwrap_or(id))
        };
        let mut fields = self.body(&entity.kind, entity.body.clone(), &target);
        for (field, reference) in &entity.references {
            let text = match (&reference.target, target(field)) {
                (_, Some(id)) => id.to_string(),
                (Target::Name(name), None) => serde_json::to_string(&Exposed(name)).unwrap_or_default(),
                _ => continue,
            };
            fields.insert(field.to_string(), self.digest(&text));
        }
        Some(Applied { kind: entity.kind.name.to_string(), id, label: self.label(entity, id), fields })
    }

    /// Digests of a body without its references. `salted` gives the ids that salt what the gateway hashes.
    fn body(&self, kind: &Kind, mut body: Value, salted: &dyn Fn(&str) -> Option<Uuid>) -> Digests {
        schema::expand_shorthands(self.schemas, kind, &mut body);
        schema::strip_defaults(self.schemas, kind, &mut body);
        let variant = self.schemas.variant_of(kind, &body);
        let mut out = Digests::new();
        for field in &kind.record.fields {
            let Some(value) = body.get(&field.name).filter(|value| !value.is_null()) else { continue };
            if field.computed || field.transient || matches!(field.ty, Type::Foreign { .. }) {
                continue;
            }
            let field = variant.and_then(|record| record.field(&field.name)).unwrap_or(field);
            let hashed = field.salted_by.as_deref().and_then(salted).zip(value.exposed_str());
            if let Some(hash) = hashed.and_then(|(salt, text)| field.hashed(text, salt)) {
                out.insert(field.name.to_string(), self.digest(&format!("\"{hash}\"")));
                continue;
            }
            for (name, member, value) in parts(field, value) {
                out.insert(name, self.digest(&plain(member, value)));
            }
        }
        out
    }

    /// What the control plane holds: `before`, which `change` is to change.
    fn live(&self, change: &Change, before: &Value, earlier: &HashMap<Uuid, Uuid>) -> Live {
        let target =
            |field: &str| reference_id(before, field).map(|id| earlier.get(&id).copied().unwrap_or(id));
        let mut plain = self.body(&change.kind, before.clone(), &|_| None);
        let mut other = Digests::new();
        for (field, _) in change.kind.record.foreign() {
            let Some(id) = target(&field.name) else { continue };
            plain.insert(field.name.to_string(), self.digest(&id.to_string()));
            // A file may have named it without holding it.
            if let Some(name) = reference_id(before, &field.name).and_then(|id| change.names.get(&id)) {
                let text = serde_json::to_string(&Exposed(&name.value)).unwrap_or_default();
                other.insert(field.name.to_string(), self.digest(&text));
            }
        }
        if change.kind.record.fields.iter().any(|field| field.salted_by.is_some()) {
            // Stored as it was written, when nobody hashes it.
            other.extend(self.body(&change.kind, before.clone(), &target));
        }
        Live { plain, other }
    }

    fn digest(&self, text: &str) -> String {
        let digest = Sha256::new().chain_update(self.salt).chain_update(text).finalize();
        HEXLOWER.encode(digest.get(..KEPT).unwrap_or_default())
    }

    fn label(&self, entity: &Entity, id: Uuid) -> String {
        label::full(&entity.kind, &entity.body, id, |field| {
            let reference = entity.references.get(field)?;
            let word = self.schemas.kind(&reference.kind).map(|kind| kind.report.word.clone());
            let word = word.unwrap_or_default();
            let (name, id) = match &reference.target {
                Target::Entity(at) => {
                    let parent = self.state.entities.get(*at)?;
                    let named = label::naming(&parent.kind, &parent.body);
                    (named.map(|(_, value)| label::word(value)), self.ids.get(*at).copied().flatten()?)
                }
                Target::Id(id) => (None, *id),
                Target::Name(name) => (Some(label::word(name)), Uuid::nil()),
            };
            Some(Owner { word, name, id })
        })
    }
}

/// What a control plane holds: digests, and those of other ways in which files may have said the same.
struct Live {
    plain: Digests,
    other: Digests,
}

impl Live {
    /// Whether the entity is as it was applied. What the gateway generated does not count.
    fn holds(&self, kind: &Kind, then: &Applied) -> bool {
        then.fields.iter().all(|(name, digest)| self.is(name, Some(digest)))
            && self.plain.keys().all(|name| then.fields.contains_key(name) || generated(kind, name))
    }

    fn is(&self, name: &str, then: Option<&String>) -> bool {
        self.plain.get(name) == then || then.is_some() && self.other.get(name) == then
    }
}

/// One entity that the files and the control plane have.
struct Sides<'a> {
    view: &'a View<'a>,
    entity: &'a Entity,
    file: &'a Applied,
    then: Option<&'a Applied>,
    earlier: &'a HashMap<Uuid, Uuid>,
}

impl Sides<'_> {
    /// Who changed each field; `before` is the entity on the control plane, and `change` makes it the file's.
    fn differing(&self, change: &Change, before: &Value) -> Vec<FieldDrift> {
        let live = self.view.live(change, before, self.earlier);
        let nothing = Value::object();
        let after = change.after.as_ref().unwrap_or(&nothing);
        let (held, wanted) = (self.values(before), self.values(after));
        let names: BTreeSet<&String> = held.keys().chain(wanted.keys()).collect();
        let mut differing = BTreeSet::new();
        let mut out = Vec::new();
        for name in names {
            let value = |side: &BTreeMap<String, Value>| side.get(name).cloned().unwrap_or(Value::Null);
            let (held, wanted) = (value(&held), value(&wanted));
            if held == wanted {
                continue;
            }
            differing.insert(name.as_str());
            let then = self.then.map(|then| then.fields.get(name));
            let by = match then {
                Some(then) if self.file.fields.get(name) == then => By::Gateway,
                Some(then) if live.is(name, then) => By::File,
                _ => By::Conflict,
            };
            out.push(FieldDrift { name: name.clone(), by, live: held, file: wanted });
        }
        out.extend(self.agreeing(&differing));
        out.sort_by(|a, b| a.name.cmp(&b.name));
        out
    }

    /// The fields that changed to the same on both sides: all that are not as they were applied, but these.
    fn agreeing(&self, differing: &BTreeSet<&str>) -> Vec<FieldDrift> {
        let Some(then) = self.then else { return Vec::new() };
        let names: BTreeSet<&String> = self.file.fields.keys().chain(then.fields.keys()).collect();
        let changed = names.into_iter().filter(|name| {
            !differing.contains(name.as_str()) && self.file.fields.get(*name) != then.fields.get(*name)
        });
        let values = self.values(&self.entity.body);
        changed
            // What the files leave to the gateway does not change by being left out.
            .filter(|name| self.file.fields.contains_key(*name) || !generated(&self.entity.kind, name))
            .map(|name| {
                let value = values.get(name).cloned().unwrap_or(Value::Null);
                FieldDrift { name: name.clone(), by: By::Both, live: value.clone(), file: value }
            })
            .collect()
    }

    /// The values of the fields by their names, as digests have them.
    fn values(&self, body: &Value) -> BTreeMap<String, Value> {
        let kind = &self.entity.kind;
        let variant = self.view.schemas.variant_of(kind, body);
        let said = kind.record.fields.iter().filter(|field| !field.computed && !field.transient);
        said.filter_map(|field| {
            let value = body.get(&field.name).filter(|value| !value.is_null())?;
            Some((variant.and_then(|record| record.field(&field.name)).unwrap_or(field), value))
        })
        .flat_map(|(field, value)| parts(field, value))
        .map(|(name, _, value)| (name, value.clone()))
        .collect()
    }
}

/// Whether the gateway makes a value for a field that is left out.
fn generated(kind: &Kind, name: &str) -> bool {
    kind.record.field(name).is_some_and(|field| field.auto || field.computed)
}

/// A field by its name, or the members of one that is a record.
fn parts<'v>(field: &'v Field, value: &'v Value) -> Vec<(String, Option<&'v Field>, &'v Value)> {
    match (&field.ty, value) {
        (Type::Record(record), Value::Object(members)) => members
            .iter()
            .filter(|(_, member)| !member.is_null())
            .map(|(name, member)| (format!("{}.{name}", field.name), record.field(name), member))
            .collect(),
        _ => vec![(field.name.to_string(), Some(field), value)],
    }
}

/// The text of a value that is the same for all that mean the same: sets in one order, records without nulls. It holds
/// secrets in clear and is only digested.
fn plain(field: Option<&Field>, value: &Value) -> String {
    match (field.map(|field| &field.ty), value.exposed()) {
        (Some(Type::Set(element)), Value::Array(items)) => {
            let mut texts: Vec<String> = items.iter().map(|item| plain(Some(element), item)).collect();
            texts.sort_unstable();
            format!("[{}]", texts.join(","))
        }
        (Some(Type::Array(element)), Value::Array(items)) => {
            let texts: Vec<String> = items.iter().map(|item| plain(Some(element), item)).collect();
            format!("[{}]", texts.join(","))
        }
        (Some(Type::Record(record)), Value::Object(members)) => {
            let said = members.iter().filter(|(_, member)| !member.is_null());
            let texts: Vec<String> =
                said.map(|(name, member)| format!("{name}={}", plain(record.field(name), member))).collect();
            format!("{{{}}}", texts.join(","))
        }
        (Some(Type::Number), Value::Number(number)) => {
            number.as_f64().map_or_else(|| number.to_string(), |number| number.to_string())
        }
        (_, Value::String(text)) => {
            let normal = field.and_then(|field| field.normal_form(text));
            serde_json::to_string(normal.as_deref().unwrap_or(text)).unwrap_or_default()
        }
        (_, value) => serde_json::to_string(&Exposed(value)).unwrap_or_default(),
    }
}
