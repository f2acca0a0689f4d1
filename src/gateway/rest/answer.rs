//! Requests about entities: lists, creations, reads, changes, deletions, below other entities too.

use super::address::{Address, Below};
use super::body::{infer_value, lua_number};
use super::{Call, Dialect, Given, links};
use crate::gateway::entities::{Entities, Fault, Mark, Page, Which};
use crate::gateway::http::Reply;
use crate::gateway::plugins::{entry, has_skipped_fields, skipped};
use crate::gateway::store::{Row, Tx};
use crate::model::SKIPPED_HEADER;
use crate::schema::{Kind, Type, Variants};
use crate::value::{Exposed, Value};
use http::{HeaderName, Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use uuid::Uuid;

/// How many rows a page has unless the client says otherwise, and at most.
const PAGE: usize = 100;
const MAX_PAGE: usize = 1000;
/// Tags that one list can ask for.
const MAX_TAGS: usize = 5;
/// What stays as it is in a query's value.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Answers a request about entities. `body` is that of the kind which the address writes. Whoever writes or lists plugins
/// that are kept but not executed here is told so by a header.
pub(in crate::gateway) fn answer(
    all: &Entities,
    tx: &mut Tx<'_>,
    address: &Address,
    call: &Call,
    body: Value,
) -> Result<Reply, Fault> {
    let written = matches!(call.method, Method::POST | Method::PUT | Method::PATCH);
    let is_list = matches!(address, Address::Collection(_) | Address::Nested(_));
    let listed = is_list && call.method == Method::GET;
    let told = (written || listed) && written_kind(all, address).is_ok_and(|kind| of_plugins(&kind));
    let reply = dispatch(all, tx, address, call, body)?;
    if !told || !reply.status.is_success() {
        return Ok(reply);
    }
    let names = match listed {
        true => skipped_in_list(&reply.body),
        false => skipped_of(&serde_json::from_slice(&reply.body).unwrap_or_default()),
    };
    Ok(naming_skipped(reply, names))
}

/// The answer with the header that names what is not executed, if there is anything.
pub(in crate::gateway) fn naming_skipped(reply: Reply, names: BTreeSet<String>) -> Reply {
    if names.is_empty() {
        return reply;
    }
    let names: Vec<String> = names.into_iter().collect();
    reply.with(HeaderName::from_static(SKIPPED_HEADER), &names.join(", "))
}

/// What of a plugin is not executed here.
pub(in crate::gateway) fn skipped_of(row: &Value) -> BTreeSet<String> {
    let name = row.get("name").and_then(Value::as_str).unwrap_or_default();
    skipped(name, &row.get("config").cloned().unwrap_or_default()).into_iter().collect()
}

/// A list is read for the names only, unless one of them may have fields without effect.
fn skipped_in_list(text: &[u8]) -> BTreeSet<String> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        name: Cow<'a, str>,
    }
    #[derive(Deserialize)]
    struct List<T> {
        data: Vec<T>,
    }
    let names = serde_json::from_slice::<List<Named<'_>>>(text).map(|list| list.data).unwrap_or_default();
    if names.iter().any(|row| has_skipped_fields(&row.name)) {
        let rows = serde_json::from_slice::<List<Value>>(text).map(|list| list.data).unwrap_or_default();
        return rows.iter().flat_map(skipped_of).collect();
    }
    names.into_iter().filter(|row| entry(&row.name).is_none()).map(|row| row.name.into_owned()).collect()
}

fn of_plugins(kind: &Kind) -> bool {
    kind.subschema.as_ref().is_some_and(|subschema| matches!(subschema.variants, Variants::Plugins))
}

fn dispatch(
    all: &Entities,
    tx: &mut Tx<'_>,
    address: &Address,
    call: &Call,
    body: Value,
) -> Result<Reply, Fault> {
    let method = &call.method;
    match address {
        Address::Collection(kind) => match *method {
            Method::GET => list(all, tx, kind, call),
            Method::POST => created(all.insert(tx, kind, body)?),
            _ => Err(not_allowed()),
        },
        Address::Entity(kind, key) => entity(all, tx, kind, key, call, body),
        Address::Parent(kind, key, field) => parent(all, tx, kind, key, field, call, body),
        Address::Nested(below) => nested(all, tx, below, call, body),
        Address::NestedEntity(below, key) => nested_entity(all, tx, below, key, call, body),
        Address::Link(below, values) => links::answer(all, tx, below, values, call, body),
    }
}

/// The kind whose fields tell what the texts of a form mean.
pub(super) fn written_kind(all: &Entities, address: &Address) -> Result<Arc<Kind>, Fault> {
    Ok(match address {
        Address::Collection(kind) | Address::Entity(kind, _) => Arc::clone(kind),
        Address::Nested(below) | Address::NestedEntity(below, _) | Address::Link(below, _) => {
            Arc::clone(&below.child)
        }
        Address::Parent(kind, _, field) => match kind.record.field(field).map(|field| &field.ty) {
            Some(Type::Foreign { reference, .. }) => Arc::clone(all.kind(reference)?),
            _ => return Err(Fault::Absent),
        },
    })
}

/// What a field of the entity at an address holds now, if it is a text.
pub(super) fn held_text(
    all: &Entities,
    tx: &Tx<'_>,
    address: &Address,
    field: &str,
) -> Result<Option<String>, Fault> {
    let (kind, key) = match address {
        Address::Entity(kind, key) => (kind, key),
        Address::NestedEntity(below, key) => (&below.child, key),
        _ => return Ok(None),
    };
    let mark = all.mark_of(tx, kind, key, None)?;
    let Some(row) = all.find(tx, kind, &mark)? else { return Ok(None) };
    let body: Value = serde_json::from_str(&row.body).map_err(|error| Fault::Internal(error.to_string()))?;
    Ok(body.get(field).and_then(Value::as_str).map(str::to_owned))
}

fn entity(
    all: &Entities,
    tx: &mut Tx<'_>,
    kind: &Kind,
    key: &str,
    call: &Call,
    mut body: Value,
) -> Result<Reply, Fault> {
    let mark = all.mark_of(tx, kind, key, (call.method == Method::PUT).then_some(&mut body))?;
    match call.method {
        Method::GET => {
            let row = all.find(tx, kind, &mark)?.ok_or(Fault::Absent)?;
            let id = row.id;
            let text = all.shown(tx, kind, row)?;
            Ok(ok_text(with_members(all, tx, kind, id, text, call)?))
        }
        Method::PUT => ok(all.upsert(tx, kind, &mark, body)?),
        Method::PATCH => {
            // Which plugin a change means must be known before it can be read.
            if of_plugins(kind) && body.get("name").is_none() && all.find(tx, kind, &mark)?.is_none() {
                return Err(Fault::Absent);
            }
            ok(all.update(tx, kind, &mark, body)?)
        }
        Method::DELETE => {
            all.delete(tx, kind, &mark)?;
            Ok(Reply::empty(StatusCode::NO_CONTENT))
        }
        _ => Err(not_allowed()),
    }
}

/// A group is read together with its members, unless the client wants none, and with what only exists below it:
/// `{"consumer_group": {...}, "consumers": [...], "plugins": [...]}`.
fn with_members(
    all: &Entities,
    tx: &Tx<'_>,
    kind: &Kind,
    id: Uuid,
    text: Box<str>,
    call: &Call,
) -> Result<Box<str>, Fault> {
    let below = || all.schemas.kinds().iter().filter(|link| link.only_under.as_deref() == Some(&*kind.name));
    let Some((link, member)) = below().find_map(|link| Some((link, link.rows_of.as_ref()?))) else {
        return Ok(text);
    };
    let Some((own, _)) = link.record.foreign().find(|(_, reference)| **reference == *kind.name) else {
        return Ok(text);
    };
    let mut answer = format!("{{\"{}\":{text}", own.name);
    if call.argument(&format!("list_{member}s")) != Some("false") {
        let mut rows = Vec::new();
        for row in tx.page_referencing(all.plane, &link.name, &own.name, id, None, MAX_PAGE)? {
            if let (Some(target), Some((_, reference))) =
                (target(&row, member)?, link.record.foreign().find(|(field, _)| field.name == *member))
            {
                rows.extend(all.select(tx, all.kind(reference)?, &Mark::Id(target))?);
            }
        }
        answer.push_str(&format!(",\"{member}s\":[{}]", rows.join(",")));
    }
    for (hidden, member) in below().filter_map(|hidden| Some((hidden, hidden.listed_in.as_ref()?))) {
        let rows = tx.page_referencing(all.plane, &hidden.name, &own.name, id, None, MAX_PAGE)?;
        if !rows.is_empty() {
            let rows: Vec<&str> = rows.iter().map(|row| &*row.body).collect();
            answer.push_str(&format!(",\"{member}\":[{}]", rows.join(",")));
        }
    }
    answer.push('}');
    Ok(answer.into())
}

/// An entity through one that points to it.
fn parent(
    all: &Entities,
    tx: &mut Tx<'_>,
    kind: &Kind,
    key: &str,
    field: &str,
    call: &Call,
    body: Value,
) -> Result<Reply, Fault> {
    let mark = all.mark_of(tx, kind, key, None)?;
    let row = all.find(tx, kind, &mark)?.ok_or(Fault::Absent)?;
    let above = match kind.record.field(field).map(|field| &field.ty) {
        Some(Type::Foreign { reference, .. }) => Arc::clone(all.kind(reference)?),
        _ => return Err(Fault::Absent),
    };
    match (&call.method, target(&row, field)?) {
        (&Method::PUT, None) => {
            let id = Uuid::new_v4();
            let answer = all.upsert(tx, &above, &Mark::Id(id), body)?;
            let mut patch = Value::object();
            patch.set(field, Value::from(serde_json::json!({ "id": id })));
            all.update(tx, kind, &Mark::Id(row.id), patch)?;
            ok(answer)
        }
        (_, None) => Err(Fault::Absent),
        (&Method::GET, Some(id)) => all.select(tx, &above, &Mark::Id(id))?.map(ok_text).ok_or(Fault::Absent),
        (&Method::PUT, Some(id)) => ok(all.upsert(tx, &above, &Mark::Id(id), body)?),
        (&Method::PATCH, Some(id)) => ok(all.update(tx, &above, &Mark::Id(id), body)?),
        _ => Err(not_allowed()),
    }
}

fn nested(
    all: &Entities,
    tx: &mut Tx<'_>,
    below: &Below,
    call: &Call,
    mut body: Value,
) -> Result<Reply, Fault> {
    let above = above(all, tx, below)?;
    match call.method {
        Method::GET => {
            let size = page_size(call)?;
            let page = all.page(
                tx,
                &below.child,
                &Which::Of(below.field.clone(), above),
                size,
                call.argument("offset"),
            )?;
            let next = page.offset.as_ref().map(|offset| {
                let path =
                    format!("/{}/{above}/{}", call.dialect.path(&below.parent), below.child.nested_path);
                format!("{path}?offset={}", escape(offset))
            });
            Ok(listed(&page, next))
        }
        Method::POST => {
            body.set(&below.field, reference(above));
            created(all.insert(tx, &below.child, body)?)
        }
        _ => Err(not_allowed()),
    }
}

fn nested_entity(
    all: &Entities,
    tx: &mut Tx<'_>,
    below: &Below,
    key: &str,
    call: &Call,
    mut body: Value,
) -> Result<Reply, Fault> {
    let above = above(all, tx, below)?;
    let kind = &*below.child;
    let own = pair_field(kind, &below.field);
    // What is named by its place below another kind is looked up there.
    let mark = match own.filter(|_| !is_uuid(key)) {
        Some(field) => {
            let value = Value::from(key);
            match all.find_below(tx, kind, &below.field, above, &field, &value)? {
                Some(row) => Mark::Id(row.id),
                None if call.method == Method::PUT && kind.only_under.is_none() => {
                    if body.get(&field).is_none_or(Value::is_null) {
                        body.set(&field, value);
                    }
                    Mark::Id(Uuid::new_v4())
                }
                None => return Err(Fault::Absent),
            }
        }
        None => all.mark_of(tx, kind, key, None)?,
    };
    if call.method == Method::PUT && kind.only_under.is_none() {
        body.set(&below.field, reference(above));
        return ok(all.upsert(tx, kind, &mark, body)?);
    }
    let row = all.find(tx, kind, &mark)?.ok_or(Fault::Absent)?;
    if target(&row, &below.field)? != Some(above) {
        return Err(Fault::Absent);
    }
    let mark = Mark::Id(row.id);
    match call.method {
        Method::GET => Ok(ok_text(all.shown(tx, kind, row)?)),
        Method::PATCH | Method::PUT => {
            if body.get(&below.field).is_none() {
                body.set(&below.field, reference(above));
            }
            ok(all.update(tx, kind, &mark, body)?)
        }
        Method::DELETE => {
            all.delete(tx, kind, &mark)?;
            Ok(Reply::empty(StatusCode::NO_CONTENT))
        }
        _ => Err(not_allowed()),
    }
}

/// The id of the entity above.
pub(super) fn above(all: &Entities, tx: &Tx<'_>, below: &Below) -> Result<Uuid, Fault> {
    let mark = all.mark_of(tx, &below.parent, &below.key, None)?;
    all.find(tx, &below.parent, &mark)?.map(|row| row.id).ok_or(Fault::Absent)
}

/// The field that names an entity below another one when the two are unique together.
fn pair_field(kind: &Kind, parent_field: &str) -> Option<Box<str>> {
    let sets = std::iter::once(&kind.cache_key).chain(&kind.unique_together);
    let named = kind.endpoint_key.as_ref().is_none_or(|_| kind.only_under.is_some());
    let mut pairs =
        sets.filter(|fields| named && fields.len() == 2 && fields.iter().any(|f| **f == *parent_field));
    pairs.next()?.iter().find(|field| ***field != *parent_field).cloned()
}

fn list(all: &Entities, tx: &Tx<'_>, kind: &Kind, call: &Call) -> Result<Reply, Fault> {
    let which = which(kind, call)?;
    let size = page_size(call)?;
    let which = which.unwrap_or(Which::All);
    if let Which::Tagged(tags, _) = &which
        && tags.len() > MAX_TAGS
    {
        return Err(bad_tags(&format!("cannot query more than {MAX_TAGS} tags")));
    }
    let page = all.page(tx, kind, &which, size, call.argument("offset"))?;
    let next = page.offset.as_ref().map(|offset| {
        let mut next = format!("/{}?offset={}", call.dialect.path(kind), escape(offset));
        for name in ["tags", "size"] {
            if let Some(value) = call.argument(name) {
                next.push_str(&format!("&{name}={}", escape(value)));
            }
        }
        next
    });
    Ok(listed(&page, next))
}

/// What a list's arguments narrow it down to.
fn which(kind: &Kind, call: &Call) -> Result<Option<Which>, Fault> {
    let tags = match call.given("tags") {
        _ if kind.record.field("tags").is_none() => return Ok(None),
        Given::Nothing => return Ok(None),
        Given::Text(tags) | Given::List(tags) if !tags.is_empty() => tags,
        _ => return Err(bad_tags("cannot be null")),
    };
    // Either mark may end the list; every other place between two of them needs a tag.
    let allowed = |c: char| !c.is_ascii_control() && c != char::REPLACEMENT_CHARACTER;
    let split = |mark: char| {
        let listed = tags.strip_suffix(mark).unwrap_or(tags);
        let other = if mark == ',' { '/' } else { ',' };
        let whole = listed.chars().all(allowed) && listed.split(mark).all(|tag| !tag.is_empty());
        (whole && !listed.contains(other)).then(|| tags.split(mark).map(Into::into).collect())
    };
    match (split(','), split('/')) {
        (Some(all), _) => Ok(Some(Which::Tagged(all, true))),
        (None, Some(any)) => Ok(Some(Which::Tagged(any, false))),
        (None, None) => Err(bad_tags("invalid filter syntax")),
    }
}

fn bad_tags(message: &str) -> Fault {
    Fault::InvalidOptions(vec![("tags", message.to_owned())])
}

/// `size`, as a list's argument.
pub(in crate::gateway) fn page_size(call: &Call) -> Result<usize, Fault> {
    let asked = match (call.given("size"), call.dialect) {
        (Given::Nothing, Dialect::Konnect) => call.given("page[size]"),
        (asked, _) => asked,
    };
    let number = match asked {
        Given::Nothing => return Ok(PAGE),
        Given::Text(text) => lua_number(text).and_then(|number| number.as_f64()),
        Given::Flag | Given::List(_) => None,
    };
    let size = number.ok_or_else(|| Fault::InvalidSize("size must be a number".to_owned()))?;
    if size.fract() == 0.0 && (1.0..=MAX_PAGE as f64).contains(&size) {
        return Ok(size as usize);
    }
    Err(Fault::InvalidSize(format!("size must be an integer between 1 and {MAX_PAGE}")))
}

impl Entities {
    /// The mark that the key in an address makes. For a PUT by a name that names through another kind, the body gets
    /// what the name means.
    pub(in crate::gateway) fn mark_of(
        &self,
        tx: &Tx<'_>,
        kind: &Kind,
        key: &str,
        body: Option<&mut Value>,
    ) -> Result<Mark, Fault> {
        if is_uuid(key)
            && let Ok(id) = Uuid::try_parse(key)
        {
            return Ok(Mark::Id(id));
        }
        if let Some(mark) = self.alias(tx, kind, key, body)? {
            return Ok(mark);
        }
        let field = kind.endpoint_key.as_ref().and_then(|name| kind.record.field(name));
        let Some(field) = field else { return Err(Fault::InvalidId("expected a valid UUID".to_owned())) };
        let mut value = Value::from(key);
        infer_value(&self.schemas, field, &mut value);
        Ok(Mark::Field(field.name.clone(), value))
    }
}

/// Kong knows the form with hyphens only.
pub(in crate::gateway) fn is_uuid(text: &str) -> bool {
    text.len() == 36 && Uuid::try_parse(text).is_ok()
}

fn target(row: &Row, field: &str) -> Result<Option<Uuid>, Fault> {
    let body: serde_json::Value =
        serde_json::from_str(&row.body).map_err(|error| Fault::Internal(error.to_string()))?;
    let id = body.get(field).and_then(|target| target.get("id")).and_then(serde_json::Value::as_str);
    Ok(id.and_then(|id| Uuid::try_parse(id).ok()))
}

fn reference(id: Uuid) -> Value {
    Value::from(serde_json::json!({ "id": id }))
}

/// A page as it is answered.
pub(in crate::gateway) fn listed(page: &Page, next: Option<String>) -> Reply {
    let length: usize = page.rows.iter().map(|row| row.len() + 1).sum();
    let mut text = String::with_capacity(length + 200);
    text.push_str("{\"data\":[");
    for (n, row) in page.rows.iter().enumerate() {
        if n > 0 {
            text.push(',');
        }
        text.push_str(row);
    }
    text.push_str("],\"next\":");
    text.push_str(&serde_json::Value::from(next).to_string());
    if let Some(offset) = &page.offset {
        text.push_str(",\"offset\":");
        text.push_str(&serde_json::Value::from(offset.as_str()).to_string());
    }
    text.push('}');
    Reply::text(StatusCode::OK, text)
}

/// A text as a query's value.
pub(in crate::gateway) fn escape(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

pub(in crate::gateway) fn not_allowed() -> Fault {
    Fault::Refused(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed".to_owned())
}

fn ok_text(text: Box<str>) -> Reply {
    Reply::text(StatusCode::OK, String::from(text))
}

fn ok(body: Value) -> Result<Reply, Fault> {
    shown(StatusCode::OK, &body)
}

fn created(body: Value) -> Result<Reply, Fault> {
    shown(StatusCode::CREATED, &body)
}

pub(super) fn shown(status: StatusCode, body: &Value) -> Result<Reply, Fault> {
    let text = serde_json::to_string(&Exposed(body)).map_err(|error| Fault::Internal(error.to_string()))?;
    Ok(Reply::text(status, text))
}
