//! Workspaces (enterprise): the planes of the Admin API, and the prefix of a path that chooses one.

use super::info::{ROOT, paged};
use super::{Admin, Call};
use crate::gateway::entities::{Entities, Fault, Records};
use crate::gateway::http::{Reply, Request};
use crate::gateway::rest::{is_uuid, not_allowed, read_body};
use crate::gateway::store::{PlaneId, Tx};
use crate::value::{Exposed, Value};
use http::{Method, StatusCode};
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

/// Workspaces; each stands for a plane.
pub(super) const WORKSPACES: Records =
    Records { kind: "workspaces", plane: ROOT, unique: &["name"], owner: None };
/// The workspace that is always there.
const DEFAULT: &str = "default";

/// The default workspace's plane; makes it on first use.
pub(super) fn default_workspace(tx: &mut Tx<'_>) -> Result<PlaneId, Fault> {
    if let Some((_, plane)) = WORKSPACES.find(tx, "name", DEFAULT)? {
        return Ok(plane);
    }
    put(tx, &fresh(Uuid::new_v4(), DEFAULT, tx.now()))?;
    WORKSPACES.find(tx, "name", DEFAULT)?.map(|(_, plane)| plane).ok_or(Fault::Absent)
}

/// The plane of a workspace by its name.
pub(super) fn plane(tx: &Tx<'_>, name: &str) -> Result<Option<PlaneId>, Fault> {
    Ok(WORKSPACES.find(tx, "name", name)?.map(|(_, plane)| plane))
}

fn fresh(id: Uuid, name: &str, now: f64) -> Json {
    json!({
        "id": id, "name": name, "comment": null, "config": {"meta": null, "portal": false},
        "meta": {"color": null, "thumbnail": null}, "created_at": now as i64, "updated_at": now as i64,
    })
}

fn put(tx: &mut Tx<'_>, row: &Json) -> Result<(), Fault> {
    WORKSPACES.put(tx, row)?.map_err(|field| {
        let value = row.get(field).cloned().unwrap_or_default();
        Fault::Taken(Value::from(json!({ field: value })))
    })
}

fn find(tx: &Tx<'_>, key: &str) -> Result<Option<Json>, Fault> {
    if is_uuid(key) {
        return WORKSPACES.get(tx, Uuid::try_parse(key).unwrap_or_default());
    }
    Ok(WORKSPACES.find(tx, "name", key)?.map(|(row, _)| row))
}

/// What a request may say of a workspace.
fn checked(body: Value) -> Result<Map<String, Json>, Fault> {
    let json = serde_json::to_value(Exposed(&body)).unwrap_or_default();
    let Json::Object(members) = json else {
        return Err(Fault::Internal("a body that is no object".to_owned()));
    };
    let bad = |field: &str, message: &str| Fault::field(crate::value::Path::root().key(field), message);
    for (name, value) in &members {
        match (name.as_str(), value) {
            ("name", Json::String(text)) => {
                let plain = |c: char| c.is_alphanumeric() || "._~-".contains(c);
                if text.is_empty() || !text.chars().all(plain) {
                    let message = format!(
                        "invalid value '{text}': the only accepted ascii characters are alphanumerics or ., -, _, and ~"
                    );
                    return Err(bad("name", &message));
                }
            }
            ("name" | "comment", value) if !value.is_string() && !value.is_null() => {
                return Err(bad(name, "expected a string"));
            }
            ("config" | "meta", value) if !value.is_object() && !value.is_null() => {
                return Err(bad(name, "expected a record"));
            }
            ("id" | "name" | "comment" | "config" | "meta" | "created_at" | "updated_at", _) => {}
            _ => return Err(bad(name, "unknown field")),
        }
    }
    Ok(members)
}

impl Admin {
    /// Answers a request below `/workspaces`.
    pub(super) async fn workspaces(&self, call: Call, request: &Request) -> Result<Reply, Fault> {
        let rest = call.path.get(1..).unwrap_or_default().to_vec();
        let writes = matches!(call.method, Method::POST | Method::PUT | Method::PATCH);
        let body = if writes { read_body(request).await?.plain() } else { Some(Value::object()) };
        let members = checked(body.unwrap_or_default())?;
        let all = Entities::of(&self.schemas, self.home, self.home, &call);
        self.store
            .run(move |tx| match (rest.as_slice(), &call.method) {
                ([], &Method::GET) => paged(WORKSPACES.all(tx, None)?, &call),
                ([], &Method::POST) => create(tx, None, members),
                ([key], &Method::GET) => {
                    find(tx, key)?.map(|row| Reply::json(StatusCode::OK, &row)).ok_or(Fault::Absent)
                }
                ([key], &Method::PUT) => create(tx, Some(key), members),
                ([key], &Method::PATCH) => change(tx, key, members),
                ([key], &Method::DELETE) => delete(&all, tx, key, call.argument("cascade") == Some("true")),
                ([key, meta], &Method::GET) if meta == "meta" => counts(tx, key),
                ([] | [_], _) => Err(not_allowed()),
                _ => Err(Fault::Absent),
            })
            .await
    }
}

fn create(tx: &mut Tx<'_>, key: Option<&str>, members: Map<String, Json>) -> Result<Reply, Fault> {
    let held = key.map(|key| find(tx, key)).transpose()?.flatten();
    let by_name = key.filter(|key| !is_uuid(key));
    let name = by_name.or_else(|| members.get("name").and_then(Json::as_str));
    let Some(name) = name.map(str::to_owned) else {
        let path = crate::value::Path::root().key("name");
        return Err(Fault::field(path, "required field missing"));
    };
    let given = members.get("id").and_then(Json::as_str).or(key).filter(|id| is_uuid(id));
    let held_id = held.as_ref().and_then(|row| row.get("id")).and_then(Json::as_str);
    let id = held_id.or(given).and_then(|id| Uuid::try_parse(id).ok()).unwrap_or_else(Uuid::new_v4);
    let mut row = fresh(id, &name, tx.now());
    lay_over(&mut row, members, &["comment", "config", "meta"]);
    if key.is_none() && WORKSPACES.get(tx, id)?.is_some() {
        return Err(Fault::IdTaken(id));
    }
    put(tx, &row)?;
    Ok(Reply::json(if key.is_some() { StatusCode::OK } else { StatusCode::CREATED }, &row))
}

fn lay_over(row: &mut Json, members: Map<String, Json>, names: &[&str]) {
    for (name, value) in members.into_iter().filter(|(name, _)| names.contains(&name.as_str())) {
        match (row.get_mut(&name).and_then(Json::as_object_mut), value) {
            (Some(held), Json::Object(value)) => held.extend(value),
            (_, value) => {
                if let Some(row) = row.as_object_mut() {
                    row.insert(name, value);
                }
            }
        }
    }
}

fn change(tx: &mut Tx<'_>, key: &str, members: Map<String, Json>) -> Result<Reply, Fault> {
    let mut row = find(tx, key)?.ok_or(Fault::Absent)?;
    if members.get("name").is_some_and(|name| Some(name) != row.get("name")) {
        return Err(Fault::Refused(StatusCode::BAD_REQUEST, "Cannot rename a workspace".to_owned()));
    }
    lay_over(&mut row, members, &["comment", "config", "meta"]);
    let now = tx.now() as i64;
    if let Some(row) = row.as_object_mut() {
        row.insert("updated_at".to_owned(), now.into());
    }
    put(tx, &row)?;
    Ok(Reply::json(StatusCode::OK, &row))
}

fn delete(all: &Entities, tx: &mut Tx<'_>, key: &str, cascade: bool) -> Result<Reply, Fault> {
    let Some(row) = find(tx, key)? else { return Ok(Reply::empty(StatusCode::NO_CONTENT)) };
    let refuse = |message: &str| Err(Fault::Refused(StatusCode::BAD_REQUEST, message.to_owned()));
    let id =
        row.get("id").and_then(Json::as_str).and_then(|id| Uuid::try_parse(id).ok()).ok_or(Fault::Absent)?;
    let plane = WORKSPACES.plane_of(tx, id)?.ok_or(Fault::Absent)?;
    if plane == all.shared {
        return refuse("Cannot delete default workspace");
    }
    if !cascade && !tx.kinds(plane)?.is_empty() {
        return refuse("Workspace is not empty");
    }
    tx.clear(plane)?;
    WORKSPACES.delete(tx, id)?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

fn counts(tx: &Tx<'_>, key: &str) -> Result<Reply, Fault> {
    let row = find(tx, key)?.ok_or(Fault::Absent)?;
    let id =
        row.get("id").and_then(Json::as_str).and_then(|id| Uuid::try_parse(id).ok()).ok_or(Fault::Absent)?;
    let plane = WORKSPACES.plane_of(tx, id)?.ok_or(Fault::Absent)?;
    let mut counts = Map::new();
    for kind in tx.kinds(plane)? {
        counts.insert(kind.to_string(), tx.count(plane, &kind)?.into());
    }
    Ok(Reply::json(StatusCode::OK, &json!({ "counts": counts })))
}
