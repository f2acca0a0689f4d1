//! Config stores of control planes, and the secrets in them. A secret's value is kept and never answered.

use super::Konnect;
use super::control_planes::{check, now, object, taken};
use super::words::Problem;
use crate::gateway::entities::Records;
use crate::gateway::http::{Reply, Request};
use crate::gateway::rest::{Call, escape};
use crate::gateway::store::Tx;
use http::{Method, StatusCode};
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

const STORES: Records =
    Records { kind: "config_stores", plane: 0, unique: &["name"], owner: Some("control_plane") };
const SECRETS: Records =
    Records { kind: "config_store_secrets", plane: 0, unique: &["key"], owner: Some("config_store") };
/// How many rows a page has unless the client says otherwise, and at most.
const PAGE: usize = 10;
const MAX_PAGE: usize = 1000;

impl Konnect {
    /// `/v2/control-planes/{id}/config-stores/...`
    pub(super) async fn config_stores(
        &self,
        owner: Uuid,
        rest: &[String],
        call: &Call,
        request: &Request,
    ) -> Result<Reply, Problem> {
        let writes = matches!(call.method, Method::POST | Method::PUT);
        let members = if writes { object(request)? } else { Map::new() };
        let words: Vec<String> = rest.to_vec();
        let (method, forced) = (call.method.clone(), call.argument("force") == Some("true"));
        let page = Page::of(call)?;
        self.store
            .run(move |tx| {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                match (words.as_slice(), &method) {
                    ([], &Method::GET) => Ok(page.answer(STORES.all(tx, Some(owner))?, "id")),
                    ([], &Method::POST) => {
                        named(&members)?;
                        let row = stamped(members, json!({"id": Uuid::new_v4(), "control_plane": owner}));
                        STORES.put(tx, &row)?.map_err(taken)?;
                        Ok(Reply::json(StatusCode::CREATED, &shown(&row)))
                    }
                    ([id, rest @ ..], method) => {
                        let store = store(tx, owner, id)?;
                        match (rest, method) {
                            ([], &Method::GET) => Ok(Reply::json(StatusCode::OK, &shown(&store))),
                            ([], &Method::PUT) => {
                                named(&members)?;
                                let row = changed(store, members);
                                STORES.put(tx, &row)?.map_err(taken)?;
                                Ok(Reply::json(StatusCode::OK, &shown(&row)))
                            }
                            ([], &Method::DELETE) => remove(tx, &store, forced),
                            (["secrets", key @ ..], method) => {
                                secrets(tx, &store, key, method, members, &page)
                            }
                            ([], _) => Err(Problem::Method),
                            _ => Err(Problem::Absent),
                        }
                    }
                    _ => Err(Problem::Method),
                }
            })
            .await
    }
}

/// A page by cursor: `page[size]`, and `page[after]` with the key of the last row that was seen.
pub(super) struct Page {
    size: usize,
    after: Option<String>,
}

impl Page {
    /// What a request asks for.
    pub(super) fn of(call: &Call) -> Result<Page, Problem> {
        let invalid =
            || Problem::Invalid(vec![("page[size]".to_owned(), "must be a positive integer".to_owned())]);
        let size = match call.argument("page[size]") {
            None => PAGE,
            Some(text) => text.parse::<usize>().ok().filter(|size| *size > 0).ok_or_else(invalid)?,
        };
        Ok(Page { size: size.min(MAX_PAGE), after: call.argument("page[after]").map(str::to_owned) })
    }

    /// The rows of the page; `key` tells them apart.
    pub(super) fn answer(&self, rows: Vec<Json>, key: &str) -> Reply {
        let total = rows.len();
        let name = |row: &Json| row.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
        let start = self
            .after
            .as_ref()
            .map_or(0, |after| rows.iter().position(|row| name(row) == *after).map_or(total, |at| at + 1));
        let here: Vec<Json> = rows.iter().skip(start).take(self.size).map(shown).collect();
        let more = start + here.len() < total;
        let next = here
            .last()
            .filter(|_| more)
            .map(|last| format!("?page[size]={}&page[after]={}", self.size, escape(&name(last))));
        let meta = json!({"page": {"size": self.size, "next": next, "previous": null, "total": total}});
        Reply::json(StatusCode::OK, &json!({"data": here, "meta": meta}))
    }
}

fn named(members: &Map<String, Json>) -> Result<(), Problem> {
    check(members, &["name"], &[("name", 1, 256)])
}

/// A record as it is answered: without its owner and without a secret's value.
fn shown(row: &Json) -> Json {
    let mut row = row.clone();
    if let Some(members) = row.as_object_mut() {
        members.retain(|name, _| !matches!(name.as_str(), "control_plane" | "config_store" | "value"));
        if members.contains_key("key") {
            members.remove("id");
        }
    }
    row
}

fn stamped(mut members: Map<String, Json>, own: Json) -> Json {
    if let Json::Object(own) = own {
        members.extend(own);
    }
    let now = now();
    members.insert("created_at".to_owned(), now.clone().into());
    members.insert("updated_at".to_owned(), now.into());
    Json::Object(members)
}

fn changed(mut row: Json, members: Map<String, Json>) -> Json {
    if let Some(held) = row.as_object_mut() {
        held.extend(members);
        held.insert("updated_at".to_owned(), now().into());
    }
    row
}

fn id_of(row: &Json) -> Uuid {
    row.get("id").and_then(Json::as_str).and_then(|id| Uuid::try_parse(id).ok()).unwrap_or_default()
}

/// A store by its id.
fn store(tx: &Tx<'_>, owner: Uuid, id: &str) -> Result<Json, Problem> {
    let id = Uuid::try_parse(id).map_err(|_| Problem::Absent)?;
    let row = STORES.get(tx, id)?.filter(|row| row.get("control_plane") == Some(&json!(owner)));
    row.ok_or(Problem::Absent)
}

/// A store that holds secrets goes by force only.
fn remove(tx: &mut Tx<'_>, store: &Json, forced: bool) -> Result<Reply, Problem> {
    let held = SECRETS.all(tx, Some(id_of(store)))?;
    if !held.is_empty() && !forced {
        return Err(Problem::Conflict("the config store still holds secrets".to_owned()));
    }
    for secret in &held {
        SECRETS.delete(tx, id_of(secret))?;
    }
    STORES.delete(tx, id_of(store))?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// Takes away what belongs to a control plane.
pub(super) fn remove_all(tx: &mut Tx<'_>, owner: Uuid) -> Result<(), Problem> {
    for store in STORES.all(tx, Some(owner))? {
        remove(tx, &store, true)?;
    }
    Ok(())
}

fn secrets(
    tx: &mut Tx<'_>,
    store: &Json,
    key: &[&str],
    method: &Method,
    mut members: Map<String, Json>,
    page: &Page,
) -> Result<Reply, Problem> {
    let owner = id_of(store);
    let all = SECRETS.all(tx, Some(owner))?;
    let found =
        |key: &str| all.iter().find(|row| row.get("key").and_then(Json::as_str) == Some(key)).cloned();
    match (key, method) {
        ([], &Method::GET) => Ok(page.answer(all, "key")),
        ([], &Method::POST) => {
            check(&members, &["key", "value"], &[("key", 1, 512), ("value", 1, 64 * 1024)])?;
            let row = stamped(members, json!({"id": Uuid::new_v4(), "config_store": owner}));
            SECRETS.put(tx, &row)?.map_err(taken)?;
            Ok(Reply::json(StatusCode::CREATED, &shown(&row)))
        }
        ([key], &Method::GET) => {
            found(key).map(|row| Reply::json(StatusCode::OK, &shown(&row))).ok_or(Problem::Absent)
        }
        ([key], &Method::PUT) => {
            check(&members, &["value"], &[("value", 1, 64 * 1024)])?;
            members.insert("key".to_owned(), (*key).into());
            let (status, row) = match found(key) {
                Some(row) => (StatusCode::OK, changed(row, members)),
                None => (
                    StatusCode::CREATED,
                    stamped(members, json!({"id": Uuid::new_v4(), "config_store": owner})),
                ),
            };
            SECRETS.put(tx, &row)?.map_err(taken)?;
            Ok(Reply::json(status, &shown(&row)))
        }
        ([key], &Method::DELETE) => {
            SECRETS.delete(tx, id_of(&found(key).ok_or(Problem::Absent)?))?;
            Ok(Reply::empty(StatusCode::NO_CONTENT))
        }
        _ => Err(Problem::Method),
    }
}
