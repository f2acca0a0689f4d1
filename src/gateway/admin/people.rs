//! Admins (enterprise): people who may administer the gateway. They are invited, register, and have roles.
//!
//! The gateway sends no mail: whoever invites asks for the registration's token (`?generate_register_url=true`).

use super::info::{ROOT, ok, paged};
use super::workspaces::WORKSPACES;
use super::{Admin, Call, rbac};
use crate::gateway::entities::{Entities, Fault, Records};
use crate::gateway::http::Reply;
use crate::gateway::rest::{is_uuid, not_allowed};
use crate::gateway::store::Tx;
use crate::value::Path;
use http::{Method, StatusCode};
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

const ADMINS: Records =
    Records { kind: "admins", plane: ROOT, unique: &["username", "email", "custom_id"], owner: None };
/// How far an admin has come: registered, or invited only.
const APPROVED: u8 = 0;
const INVITED: u8 = 4;
/// What a request may say of an admin.
const SETTABLE: [&str; 4] = ["username", "email", "custom_id", "rbac_token_enabled"];

impl Admin {
    /// Answers a request below `/admins`.
    pub(super) async fn admins(
        &self,
        all: Entities,
        call: Call,
        members: Map<String, Json>,
    ) -> Result<Reply, Fault> {
        self.store
            .run(move |tx| {
                let words: Vec<&str> = call.path.iter().skip(1).map(String::as_str).collect();
                match (words.as_slice(), &call.method) {
                    ([], &Method::GET) => paged(ADMINS.all(tx, None)?.iter().map(shown).collect(), &call),
                    ([], _) => Ok(ok(&json!({ "admin": shown(&create(tx, None, &members)?) }))),
                    (["register"], _) => register(tx, &members),
                    (["password_resets"], _) => {
                        let message = "the built-in gateway sends no mail".to_owned();
                        Err(Fault::Refused(StatusCode::NOT_IMPLEMENTED, message))
                    }
                    ([key], &Method::PUT) if find(tx, key)?.is_none() => {
                        Ok(ok(&shown(&create(tx, Some(key), &members)?)))
                    }
                    ([key], &Method::DELETE) => {
                        if let Some(id) = find(tx, key)?.as_ref().and_then(rbac::id_of) {
                            ADMINS.delete(tx, id)?;
                        }
                        Ok(Reply::empty(StatusCode::NO_CONTENT))
                    }
                    ([key, rest @ ..], method) => {
                        let admin = find(tx, key)?.ok_or(Fault::Absent)?;
                        one(&all, tx, admin, rest, method, &call, &members)
                    }
                }
            })
            .await
    }
}

fn one(
    all: &Entities,
    tx: &mut Tx<'_>,
    mut admin: Json,
    rest: &[&str],
    method: &Method,
    call: &Call,
    members: &Map<String, Json>,
) -> Result<Reply, Fault> {
    match (rest, method) {
        ([], &Method::GET) => {
            let mut answer = shown(&admin);
            if let (Some("true"), Some(members)) =
                (call.argument("generate_register_url"), answer.as_object_mut())
            {
                let token = admin.get("token").cloned().unwrap_or_default();
                let url = format!("/register?token={}", token.as_str().unwrap_or_default());
                members.insert("token".to_owned(), token);
                members.insert("register_url".to_owned(), url.into());
            }
            Ok(ok(&answer))
        }
        ([], _) => {
            change(tx, &mut admin, members)?;
            Ok(ok(&shown(&admin)))
        }
        (["roles"], _) => {
            let rows = rbac::change_roles(all, tx, &mut admin, method, members)?;
            put(tx, &admin)?;
            Ok(match *method {
                Method::DELETE => Reply::empty(StatusCode::NO_CONTENT),
                Method::POST => Reply::json(StatusCode::CREATED, &json!({ "roles": rows })),
                _ => ok(&json!({ "roles": rows })),
            })
        }
        (["workspaces"], _) => {
            let name = |row: &Json| row.get("name") == Some(&json!("default"));
            let rows: Vec<Json> = WORKSPACES.all(tx, None)?.into_iter().filter(name).collect();
            Ok(ok(&Json::Array(rows)))
        }
        (["consumer"], _) => {
            let consumer = json!({
                "id": admin.pointer("/consumer/id"), "username": admin.get("username"),
                "custom_id": admin.get("custom_id"), "created_at": admin.get("created_at"),
                "updated_at": admin.get("updated_at"), "tags": null,
            });
            Ok(ok(&consumer))
        }
        _ => Err(not_allowed()),
    }
}

/// An admin as it is answered: without what registers it, its roles and its password's digest.
fn shown(admin: &Json) -> Json {
    let mut admin = admin.clone();
    if let Some(members) = admin.as_object_mut() {
        members.retain(|name, _| !matches!(name.as_str(), "token" | "roles" | "password"));
    }
    admin
}

fn find(tx: &Tx<'_>, key: &str) -> Result<Option<Json>, Fault> {
    if is_uuid(key) {
        return ADMINS.get(tx, Uuid::try_parse(key).unwrap_or_default());
    }
    for field in ["username", "email"] {
        if let Some((row, _)) = ADMINS.find(tx, field, key)? {
            return Ok(Some(row));
        }
    }
    Ok(None)
}

fn put(tx: &mut Tx<'_>, admin: &Json) -> Result<(), Fault> {
    ADMINS.put(tx, admin)?.map_err(|_| {
        let message = "user already exists with same username, email, or custom_id".to_owned();
        Fault::Refused(StatusCode::CONFLICT, message)
    })
}

fn create(tx: &mut Tx<'_>, id: Option<&str>, members: &Map<String, Json>) -> Result<Json, Fault> {
    let now = tx.now() as i64;
    let id = id.and_then(|id| Uuid::try_parse(id).ok()).unwrap_or_else(Uuid::new_v4);
    let mut admin = json!({
        "id": id, "username": null, "username_lower": null, "email": null, "custom_id": null,
        "rbac_token_enabled": true, "status": INVITED, "created_at": now, "updated_at": now,
        "consumer": {"id": Uuid::new_v4()}, "rbac_user": {"id": Uuid::new_v4()},
        "token": Uuid::new_v4().simple().to_string(), "roles": [],
    });
    change(tx, &mut admin, members)?;
    Ok(admin)
}

fn change(tx: &mut Tx<'_>, admin: &mut Json, members: &Map<String, Json>) -> Result<(), Fault> {
    let bad = |field: &str, message: &str| Fault::field(Path::root().key(field), message);
    let now = tx.now() as i64;
    let Some(row) = admin.as_object_mut() else { return Err(Fault::Absent) };
    for (name, value) in members {
        match (name.as_str(), value) {
            (
                "id" | "created_at" | "updated_at" | "status" | "username_lower" | "consumer" | "rbac_user",
                _,
            ) => {}
            ("rbac_token_enabled", Json::Bool(_)) => drop(row.insert(name.clone(), value.clone())),
            ("rbac_token_enabled", _) => return Err(bad(name, "expected a boolean")),
            (known, Json::String(_) | Json::Null) if SETTABLE.contains(&known) => {
                row.insert(name.clone(), value.clone());
            }
            (known, _) if SETTABLE.contains(&known) => return Err(bad(name, "expected a string")),
            _ => return Err(bad(name, "unknown field")),
        }
    }
    let Some(username) = row.get("username").and_then(Json::as_str).filter(|name| !name.is_empty()) else {
        return Err(bad("username", "required field missing"));
    };
    let lower = username.to_lowercase();
    row.insert("username_lower".to_owned(), lower.into());
    row.insert("updated_at".to_owned(), now.into());
    put(tx, admin)
}

/// Registers an invited admin with the token of the invitation, which holds once.
fn register(tx: &mut Tx<'_>, members: &Map<String, Json>) -> Result<Reply, Fault> {
    let text = |name: &str| members.get(name).and_then(Json::as_str).unwrap_or_default();
    let refuse = |status: StatusCode, message: &str| Err(Fault::Refused(status, message.to_owned()));
    if text("password").is_empty() {
        return refuse(StatusCode::BAD_REQUEST, "password is required");
    }
    let mut admin = find(tx, text("username"))?.ok_or(Fault::Absent)?;
    if text("token").is_empty() || admin.get("token") != Some(&json!(text("token"))) {
        return refuse(StatusCode::UNAUTHORIZED, "Unauthorized");
    }
    if let Some(row) = admin.as_object_mut() {
        row.remove("token");
        row.insert("status".to_owned(), APPROVED.into());
        row.insert("password".to_owned(), rbac::digest(text("password")).into());
    }
    put(tx, &admin)?;
    Ok(Reply::empty(StatusCode::CREATED))
}
