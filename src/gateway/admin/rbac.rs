//! RBAC (enterprise): users with tokens and roles, and what the endpoint permissions of roles allow.

use super::enterprise::parse;
use super::info::paged;
use super::{Admin, Call};
use crate::gateway::entities::{Entities, Fault, Records};
use crate::gateway::http::{Reply, Request};
use crate::gateway::rest::{is_uuid, not_allowed, read_body};
use crate::gateway::store::{PlaneId, Tx};
use crate::value::{Exposed, Value};
use data_encoding::HEXLOWER;
use http::{Method, StatusCode};
use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The users of a workspace. Tokens are kept as their digests; a token is good in all workspaces.
fn users(plane: PlaneId) -> Records {
    Records { kind: "rbac_users", plane, unique: &["name"], owner: None }
}

/// Which user a token's digest means, whatever the workspace.
const TOKENS: Records = Records { kind: "rbac_tokens", plane: 0, unique: &["digest"], owner: None };

pub(super) fn digest(token: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(token.as_bytes()))
}

/// A user with a role in a workspace that allows, or does not allow, what a request does.
pub(super) enum Verdict {
    /// Go on.
    Allowed,
    /// No such token, or its user is disabled.
    Unknown,
    /// This user may not do this.
    Forbidden(String, &'static str),
}

/// What the endpoint permissions of a token's user say of a request.
pub(super) fn judge(
    tx: &Tx<'_>,
    token: &str,
    workspace: &str,
    method: &Method,
    path: &[String],
) -> Result<Verdict, Fault> {
    let Some((token, _)) = TOKENS.find(tx, "digest", &digest(token))? else { return Ok(Verdict::Unknown) };
    let id = token.get("id").and_then(Json::as_str).and_then(|id| Uuid::try_parse(id).ok());
    let plane = token.get("plane").and_then(Json::as_i64).unwrap_or_default();
    let user = id.map(|id| users(plane).get(tx, id)).transpose()?.flatten();
    let Some(user) = user.filter(|user| user.get("enabled") != Some(&json!(false))) else {
        return Ok(Verdict::Unknown);
    };
    let action = match *method {
        Method::GET | Method::OPTIONS => "read",
        Method::POST => "create",
        Method::DELETE => "delete",
        _ => "update",
    };
    let path = path.join("/");
    let mut allowed = false;
    for role in role_ids(&user) {
        for row in tx.page_referencing(plane, "rbac_role_endpoints", "role", role, None, usize::MAX)? {
            let rule: Json =
                serde_json::from_str(&row.body).map_err(|error| Fault::Internal(error.to_string()))?;
            let text = |name: &str| rule.get(name).and_then(Json::as_str).unwrap_or_default();
            let actions = rule.get("actions").and_then(Json::as_array);
            let acts = actions.is_some_and(|all| all.iter().any(|a| a == action || a == "*"));
            let here = matches!(text("workspace"), "*") || text("workspace") == workspace;
            if !acts || !here || !fits(text("endpoint"), &path) {
                continue;
            }
            // One "no" counts more than any "yes".
            if rule.get("negative") == Some(&json!(true)) {
                return Ok(forbidden(&user, action));
            }
            allowed = true;
        }
    }
    Ok(if allowed { Verdict::Allowed } else { forbidden(&user, action) })
}

fn forbidden(user: &Json, action: &'static str) -> Verdict {
    Verdict::Forbidden(user.get("name").and_then(Json::as_str).unwrap_or_default().to_owned(), action)
}

/// Whether an endpoint with `*` for a segment, or at the end for all that follows, fits a path.
fn fits(endpoint: &str, path: &str) -> bool {
    let mut path = path.trim_matches('/').split('/');
    let mut words = endpoint.trim_matches('/').split('/').peekable();
    while let Some(word) = words.next() {
        let Some(segment) = path.next() else { return false };
        if word == "*" && words.peek().is_none() {
            return true;
        }
        if word != "*" && word != segment {
            return false;
        }
    }
    path.next().is_none()
}

fn role_ids(user: &Json) -> Vec<Uuid> {
    let roles = user.get("roles").and_then(Json::as_array);
    roles.into_iter().flatten().filter_map(|id| Uuid::try_parse(id.as_str()?).ok()).collect()
}

impl Admin {
    /// Answers a request below `/rbac/users`.
    pub(super) async fn rbac_users(
        &self,
        all: Entities,
        call: Call,
        request: &Request,
    ) -> Result<Reply, Fault> {
        let rest = call.path.get(2..).unwrap_or_default().to_vec();
        let has_body = !request.body.is_empty();
        let body = if has_body { read_body(request).await?.plain() } else { None };
        let body = serde_json::to_value(Exposed(&body.unwrap_or_else(Value::object))).unwrap_or_default();
        let members = body.as_object().cloned().unwrap_or_default();
        self.store
            .run(move |tx| match (rest.as_slice(), &call.method) {
                ([], &Method::GET) => {
                    paged(users(all.plane).all(tx, None)?.into_iter().map(shown).collect(), &call)
                }
                ([], &Method::POST) => write(&all, tx, None, members, StatusCode::CREATED),
                ([key], &Method::GET) => {
                    Ok(Reply::json(StatusCode::OK, &shown(find(&all, tx, key)?.ok_or(Fault::Absent)?)))
                }
                ([key], &Method::PATCH) => {
                    let held = find(&all, tx, key)?.ok_or(Fault::Absent)?;
                    write(&all, tx, Some(held), members, StatusCode::OK)
                }
                ([key], &Method::PUT) => {
                    let held = find(&all, tx, key)?;
                    let mut members = members;
                    if is_uuid(key) {
                        members.insert("id".to_owned(), json!(key));
                    } else {
                        members.insert("name".to_owned(), json!(key));
                    }
                    write(&all, tx, held, members, StatusCode::OK)
                }
                ([key], &Method::DELETE) => {
                    if let Some(user) = find(&all, tx, key)?.as_ref().and_then(id_of) {
                        users(all.plane).delete(tx, user)?;
                        TOKENS.delete(tx, user)?;
                    }
                    Ok(Reply::empty(StatusCode::NO_CONTENT))
                }
                ([key, what], method) if what == "roles" => {
                    let user = find(&all, tx, key)?.ok_or(Fault::Absent)?;
                    roles(&all, tx, user, method, &members)
                }
                ([key, what], &Method::GET) if what == "permissions" => {
                    let user = find(&all, tx, key)?.ok_or(Fault::Absent)?;
                    permissions(&all, tx, &role_ids(&user))
                }
                ([] | [_], _) => Err(not_allowed()),
                _ => Err(Fault::Absent),
            })
            .await
    }
}

/// A record's id.
pub(super) fn id_of(row: &Json) -> Option<Uuid> {
    row.get("id").and_then(Json::as_str).and_then(|id| Uuid::try_parse(id).ok())
}

fn find(all: &Entities, tx: &Tx<'_>, key: &str) -> Result<Option<Json>, Fault> {
    if is_uuid(key) {
        return users(all.plane).get(tx, Uuid::try_parse(key).unwrap_or_default());
    }
    Ok(users(all.plane).find(tx, "name", key)?.map(|(row, _)| row))
}

/// A user as it is answered: without roles, and with a token's digest only.
fn shown(mut user: Json) -> Json {
    if let Some(members) = user.as_object_mut() {
        members.remove("roles");
    }
    user
}

fn write(
    all: &Entities,
    tx: &mut Tx<'_>,
    held: Option<Json>,
    members: Map<String, Json>,
    status: StatusCode,
) -> Result<Reply, Fault> {
    let now = tx.now() as i64;
    let given = members.get("id").and_then(Json::as_str).and_then(|id| Uuid::try_parse(id).ok());
    let id = held.as_ref().and_then(id_of).or(given).unwrap_or_else(Uuid::new_v4);
    let created = held.is_none();
    let mut user = held.unwrap_or_else(
        || json!({"id": id, "comment": null, "enabled": true, "created_at": now, "roles": []}),
    );
    let bad = |field: &str, message: &str| Fault::field(crate::value::Path::root().key(field), message);
    let Some(row) = user.as_object_mut() else { return Err(Fault::Absent) };
    for (name, value) in &members {
        match name.as_str() {
            "user_token" => {
                let token = value.as_str().ok_or_else(|| bad(name, "expected a string"))?;
                let digest = digest(token);
                row.insert("user_token_ident".to_owned(), digest.get(..5).unwrap_or_default().into());
                row.insert("user_token".to_owned(), digest.clone().into());
                let taken =
                    TOKENS.put(tx, &json!({"id": id, "digest": digest, "plane": all.plane}))?.is_err();
                if taken {
                    return Err(Fault::Taken(Value::from(json!({ "user_token": digest }))));
                }
            }
            "name" | "comment" | "enabled" => {
                row.insert(name.clone(), value.clone());
            }
            "id" | "created_at" | "updated_at" | "user_token_ident" => {}
            _ => return Err(bad(name, "unknown field")),
        }
    }
    row.insert("updated_at".to_owned(), now.into());
    for field in ["name", "user_token"] {
        if created && row.get(field).and_then(Json::as_str).is_none_or(str::is_empty) {
            return Err(bad(field, "required field missing"));
        }
    }
    if let Err(field) = users(all.plane).put(tx, &user)? {
        let value = user.get(field).cloned().unwrap_or_default();
        return Err(Fault::Taken(Value::from(json!({ field: value }))));
    }
    Ok(Reply::json(status, &shown(user)))
}

/// The roles of a user.
fn roles(
    all: &Entities,
    tx: &mut Tx<'_>,
    mut user: Json,
    method: &Method,
    members: &Map<String, Json>,
) -> Result<Reply, Fault> {
    let rows = change_roles(all, tx, &mut user, method, members)?;
    if *method != Method::GET {
        let _ = users(all.plane).put(tx, &user)?;
    }
    if *method == Method::DELETE {
        return Ok(Reply::empty(StatusCode::NO_CONTENT));
    }
    let status = if *method == Method::POST { StatusCode::CREATED } else { StatusCode::OK };
    Ok(Reply::json(status, &json!({"roles": rows, "user": shown(user)})))
}

/// The roles that a record has after a request: read, added (POST) or taken away (DELETE) by name, several joined by
/// commas. The caller keeps the record.
pub(super) fn change_roles(
    all: &Entities,
    tx: &Tx<'_>,
    holder: &mut Json,
    method: &Method,
    members: &Map<String, Json>,
) -> Result<Vec<Json>, Fault> {
    let kind = all.kind("rbac_roles")?.clone();
    let mut held = role_ids(holder);
    if *method != Method::GET {
        let names = members.get("roles").and_then(Json::as_str).unwrap_or_default();
        for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let mark = all.mark_of(tx, &kind, name, None)?;
            let missing =
                || Fault::Refused(StatusCode::BAD_REQUEST, format!("role not found with name '{name}'"));
            let role = all.find(tx, &kind, &mark)?.ok_or_else(missing)?.id;
            held.retain(|id| *id != role);
            if *method == Method::POST {
                held.push(role);
            }
        }
        if let Some(row) = holder.as_object_mut() {
            row.insert("roles".to_owned(), json!(held));
        }
    }
    let mut rows: Vec<Json> = Vec::new();
    for id in held {
        let mark = crate::gateway::entities::Mark::Id(id);
        rows.extend(all.select(tx, &kind, &mark)?.and_then(|text| serde_json::from_str(&text).ok()));
    }
    Ok(rows)
}

/// What roles allow: endpoints by workspace, and entities.
pub(super) fn permissions(all: &Entities, tx: &Tx<'_>, roles: &[Uuid]) -> Result<Reply, Fault> {
    let (mut endpoints, mut entities) = (Map::new(), Map::new());
    for role in roles {
        let rules = |kind: &str| -> Result<Vec<Json>, Fault> {
            let rows = tx.page_referencing(all.plane, kind, "role", *role, None, usize::MAX)?;
            rows.iter().map(|row| parse(&row.body)).collect()
        };
        let text =
            |rule: &Json, name: &str| rule.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
        let shown = |rule: &Json| json!({"actions": rule.get("actions"), "negative": rule.get("negative")});
        for rule in rules("rbac_role_endpoints")? {
            let place = endpoints.entry(text(&rule, "workspace")).or_insert_with(|| json!({}));
            if let Some(place) = place.as_object_mut() {
                place.insert(text(&rule, "endpoint"), shown(&rule));
            }
        }
        for rule in rules("rbac_role_entities")? {
            entities.insert(text(&rule, "entity_id"), shown(&rule));
        }
    }
    Ok(Reply::json(StatusCode::OK, &json!({"endpoints": endpoints, "entities": entities})))
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn stars_stand_for_segments() {
        for (endpoint, path, expected) in [
            ("*", "services/a", true),
            ("/services", "services", true),
            ("/services", "services/a", false),
            ("/services/*", "services/a/plugins", true),
            ("/services/*/plugins", "services/a/plugins", true),
            ("/services/*/plugins", "services/a/routes", false),
            ("/services/*", "services", false),
        ] {
            assert_eq!(fits(endpoint, path), expected, "{endpoint} {path}");
        }
    }
}
