//! Entities without an id of their own: memberships of groups, endpoint permissions of roles. They are addressed by
//! values below one of the entities that they join.

use super::answer::{above, not_allowed, page_size, shown};
use super::{Below, Call, escape, listed};
use crate::gateway::entities::{Entities, Fault, Mark, Page, Which};
use crate::gateway::http::Reply;
use crate::gateway::store::{Row, Tx};
use crate::schema::{Kind, Type};
use crate::value::Value;
use http::{Method, StatusCode};
use serde_json::{Value as Json, json};
use std::sync::Arc;
use uuid::Uuid;

/// Answers a request about entities without an id.
pub(super) fn answer(
    all: &Entities,
    tx: &mut Tx<'_>,
    below: &Below,
    values: &[String],
    call: &Call,
    mut body: Value,
) -> Result<Reply, Fault> {
    split_lists(&below.child, &mut body);
    let above = above(all, tx, below)?;
    match (&call.method, values.is_empty()) {
        (&Method::GET, true) => list(all, tx, below, above, call),
        (&Method::POST, true) => match joined(all, below)? {
            Some((field, kind)) => join(all, tx, below, above, &field, &kind, &body),
            None => {
                body.set(&below.field, json!({ "id": above }).into());
                shown(StatusCode::CREATED, &all.insert(tx, &below.child, body)?)
            }
        },
        (&Method::DELETE, true) => {
            for row in rows(all, tx, below, above)? {
                all.delete(tx, &below.child, &Mark::Id(row.id))?;
            }
            Ok(Reply::empty(StatusCode::NO_CONTENT))
        }
        (method, false) => {
            let row = find(all, tx, below, above, values)?.ok_or(Fault::Absent)?;
            let mark = Mark::Id(row.id);
            match *method {
                Method::GET => Ok(Reply::text(StatusCode::OK, String::from(row.body))),
                Method::PATCH => shown(StatusCode::OK, &all.update(tx, &below.child, &mark, body)?),
                Method::DELETE => {
                    all.delete(tx, &below.child, &mark)?;
                    Ok(Reply::empty(StatusCode::NO_CONTENT))
                }
                _ => Err(not_allowed()),
            }
        }
        _ => Err(not_allowed()),
    }
}

/// Sets may be written as one text, joined by commas (the actions of a permission); a star in it stands for all that
/// the default has.
fn split_lists(kind: &Kind, body: &mut Value) {
    for field in kind.record.fields.iter().filter(|field| matches!(field.ty, Type::Set(_))) {
        if let Some(text) = body.get(&field.name).and_then(Value::as_str) {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            body.set(&field.name, Value::Array(items.map(Value::from).collect()));
        }
        let star = Value::from("*");
        let has_star =
            body.get(&field.name).and_then(Value::as_array).is_some_and(|items| items.contains(&star));
        if let Some(default) = field.default.clone().filter(|_| has_star) {
            body.set(&field.name, default);
        }
    }
}

/// A field that points to the other side of a membership, and the kind there.
type OtherSide = (Box<str>, Arc<Kind>);

/// The field that points to the other side of a membership, and the kind there. Permissions have no other side.
fn joined(all: &Entities, below: &Below) -> Result<Option<OtherSide>, Fault> {
    if below.child.rows_of.is_none() {
        return Ok(None);
    }
    let mut others = below.child.record.foreign().filter(|(field, _)| field.name != below.field);
    others
        .next()
        .map(|(field, reference)| Ok((field.name.clone(), Arc::clone(all.kind(reference)?))))
        .transpose()
}

fn rows(all: &Entities, tx: &Tx<'_>, below: &Below, above: Uuid) -> Result<Vec<Row>, Fault> {
    let plane = all.plane_of(&below.child);
    Ok(tx.page_referencing(plane, &below.child.name, &below.field, above, None, usize::MAX)?)
}

fn list(all: &Entities, tx: &Tx<'_>, below: &Below, above: Uuid, call: &Call) -> Result<Reply, Fault> {
    let size = page_size(call)?;
    let which = Which::Of(below.field.clone(), above);
    let page = all.page(tx, &below.child, &which, size, call.argument("offset"))?;
    let page = match joined(all, below)? {
        None => page,
        Some((field, kind)) => {
            let mut others = Vec::with_capacity(page.rows.len());
            for row in &page.rows {
                others.extend(other(all, tx, row, &field, &kind)?);
            }
            Page { rows: others, offset: page.offset }
        }
    };
    let next = page.offset.as_ref().map(|offset| {
        let path: Vec<_> = call.path.iter().map(|part| escape(part)).collect();
        format!("/{}?offset={}", path.join("/"), escape(offset))
    });
    Ok(listed(&page, next))
}

/// The entity on the other side of a membership.
fn other(
    all: &Entities,
    tx: &Tx<'_>,
    row: &str,
    field: &str,
    kind: &Kind,
) -> Result<Option<Box<str>>, Fault> {
    let body: Json = serde_json::from_str(row).map_err(|error| Fault::Internal(error.to_string()))?;
    let id = body.get(field).and_then(|target| target.get("id")).and_then(Json::as_str);
    match id.and_then(|id| Uuid::try_parse(id).ok()) {
        Some(id) => all.select(tx, kind, &Mark::Id(id)),
        None => Ok(None),
    }
}

/// Adds members: `{"consumer": "name or id"}` to a group, `{"group": ...}` to a consumer; several in a list.
fn join(
    all: &Entities,
    tx: &mut Tx<'_>,
    below: &Below,
    above: Uuid,
    field: &str,
    kind: &Kind,
    body: &Value,
) -> Result<Reply, Fault> {
    let short = field.rsplit('_').next().unwrap_or(field);
    let names =
        [field.to_owned(), format!("{field}s"), short.to_owned(), format!("{short}s"), "id".to_owned()];
    let given = names.iter().find_map(|name| body.get(name)).cloned().unwrap_or_default();
    let items = match given {
        Value::Array(items) => items,
        one => vec![one],
    };
    let mut added = Vec::new();
    for item in &items {
        let key = item.get("id").unwrap_or(item).exposed_str().unwrap_or_default().to_owned();
        if key.is_empty() {
            let message = format!("must provide {field}");
            return Err(Fault::Refused(StatusCode::BAD_REQUEST, message));
        }
        let mark = all.mark_of(tx, kind, &key, None)?;
        let Some(member) = all.find(tx, kind, &mark)? else {
            let message = format!("{} '{key}' not found", short[..1].to_uppercase() + &short[1..]);
            return Err(Fault::Refused(StatusCode::NOT_FOUND, message));
        };
        let mut link = Value::object();
        link.set(&below.field, json!({ "id": above }).into());
        link.set(field, json!({ "id": member.id }).into());
        all.insert(tx, &below.child, link)?;
        added.push(all.shown(tx, kind, member)?);
    }
    let parent = all.select(tx, &below.parent, &Mark::Id(above))?.ok_or(Fault::Absent)?;
    let text = format!("{{\"{}\":{parent},\"{field}s\":[{}]}}", below.field, added.join(","));
    Ok(Reply::text(StatusCode::CREATED, text))
}

/// The row that the values in an address name.
fn find(
    all: &Entities,
    tx: &Tx<'_>,
    below: &Below,
    above: Uuid,
    values: &[String],
) -> Result<Option<Row>, Fault> {
    let fields: Vec<&str> = match joined(all, below)? {
        Some(_) => {
            below.child.record.foreign().map(|(f, _)| &*f.name).filter(|f| *f != &*below.field).collect()
        }
        None => below.child.addressed_by.iter().map(|name| &**name).collect(),
    };
    let Some((last, before)) = fields.split_last() else { return Ok(None) };
    if values.len() < fields.len() {
        return Ok(None);
    }
    // The last value may itself hold slashes.
    let (head, tail) = values.split_at(before.len());
    let wanted: Vec<(&str, String)> = before
        .iter()
        .copied()
        .zip(head.iter().cloned())
        .chain(std::iter::once((*last, tail.join("/"))))
        .collect();
    let mut targets = Vec::new();
    for (field, value) in &wanted {
        targets.push(match below.child.record.field(field).map(|field| &field.ty) {
            Some(Type::Foreign { reference, .. }) => {
                let kind = Arc::clone(all.kind(reference)?);
                let mark = all.mark_of(tx, &kind, value, None)?;
                match all.find(tx, &kind, &mark)? {
                    Some(row) => row.id.to_string(),
                    None => return Ok(None),
                }
            }
            _ => value.trim_matches('/').to_owned(),
        });
    }
    for row in rows(all, tx, below, above)? {
        let body: Json =
            serde_json::from_str(&row.body).map_err(|error| Fault::Internal(error.to_string()))?;
        let same = wanted.iter().zip(&targets).all(|((field, _), target)| {
            let held = body.get(*field);
            let text = held.and_then(|held| held.get("id").unwrap_or(held).as_str());
            text.is_some_and(|text| text.trim_matches('/') == target)
        });
        if same {
            return Ok(Some(row));
        }
    }
    Ok(None)
}
