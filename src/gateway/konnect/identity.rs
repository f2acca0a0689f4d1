//! The organization, its user, and system accounts with their roles and access tokens.

use super::Konnect;
use super::control_planes::{check, now, object, paged};
use super::words::Problem;
use crate::gateway::entities::{Fault, Records};
use crate::gateway::http::{Reply, Request};
use crate::gateway::rest::Call;
use crate::gateway::store::Tx;
use data_encoding::HEXLOWER;
use http::{Method, StatusCode};
use rand::Rng;
use rand::distr::Alphanumeric;
use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

const ACCOUNTS: Records = Records { kind: "system_accounts", plane: 0, unique: &["name"], owner: None };
const TOKENS: Records =
    Records { kind: "system_account_tokens", plane: 0, unique: &["name"], owner: Some("account") };
/// Tokens are also found by the digest of their text, whoever owns them; the text itself is not kept.
const DIGESTS: Records = Records { kind: "token_digests", plane: 0, unique: &["digest"], owner: None };
const ROLES: Records = Records { kind: "assigned_roles", plane: 0, unique: &[], owner: Some("account") };

/// The length of a token's random part.
const TOKEN_LENGTH: usize = 43;

pub(super) fn organization(id: Uuid) -> Reply {
    let time = "2024-01-01T00:00:00Z";
    let body = json!({
        "id": id, "name": "foredeck", "owner_id": id, "login_path": "foredeck", "state": "active",
        "retention_period_days": 1, "created_at": time, "updated_at": time,
    });
    Reply::json(StatusCode::OK, &body)
}

pub(super) fn user(organization: Uuid) -> Reply {
    let time = "2024-01-01T00:00:00Z";
    let id = Uuid::new_v5(&organization, b"user");
    let body = json!({
        "id": id, "email": "user@localhost", "full_name": "Local User", "preferred_name": "Local", "active": true,
        "created_at": time, "updated_at": time,
    });
    Reply::json(StatusCode::OK, &body)
}

/// What is kept of a token's text.
pub(super) fn digest(token: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(token.as_bytes()))
}

/// Whether a token of this digest was given to a system account and is still there.
pub(super) fn token_holds(tx: &Tx<'_>, digest: &str) -> Result<bool, Fault> {
    Ok(DIGESTS.find(tx, "digest", digest)?.is_some())
}

impl Konnect {
    /// `/v3/system-accounts/...`
    pub(super) async fn system_accounts(
        &self,
        rest: &[String],
        call: &Call,
        request: &Request,
    ) -> Result<Reply, Problem> {
        let id = |text: &String| Uuid::try_parse(text).map_err(|_| Problem::Absent);
        match rest {
            [] => self.collection(ACCOUNTS, None, call, request).await,
            [account] => self.member(ACCOUNTS, None, id(account)?, call, request).await,
            [account, list, rest @ ..] => {
                let owner = id(account)?;
                let records = match list.as_str() {
                    "access-tokens" => TOKENS,
                    "assigned-roles" => ROLES,
                    _ => return Err(Problem::Absent),
                };
                self.store
                    .run(move |tx| Ok::<_, Problem>(ACCOUNTS.get(tx, owner)?))
                    .await?
                    .ok_or(Problem::Absent)?;
                match rest {
                    [] => self.collection(records, Some(owner), call, request).await,
                    [one] => self.member(records, Some(owner), id(one)?, call, request).await,
                    _ => Err(Problem::Absent),
                }
            }
        }
    }

    async fn collection(
        &self,
        records: Records,
        owner: Option<Uuid>,
        call: &Call,
        request: &Request,
    ) -> Result<Reply, Problem> {
        match call.method {
            Method::GET => {
                let rows = self.store.run(move |tx| Ok::<_, Problem>(records.all(tx, owner)?)).await?;
                let named = |row: &Json| {
                    let asked = call.argument("filter[name][eq]").or_else(|| call.argument("filter[name]"));
                    asked.is_none_or(|name| row.get("name").and_then(Json::as_str) == Some(name))
                };
                paged(rows.into_iter().filter(named).map(shown).collect(), call)
            }
            Method::POST => {
                let mut members = object(request)?;
                check_members(records, &members, true)?;
                members.insert("id".to_owned(), json!(Uuid::new_v4()));
                let now = now();
                members.insert("created_at".to_owned(), json!(now));
                members.insert("updated_at".to_owned(), json!(now));
                let mut token = None;
                if let Some(owner) = owner {
                    members.insert("account".to_owned(), json!(owner));
                }
                if records.kind == ACCOUNTS.kind {
                    members.insert("konnect_managed".to_owned(), json!(false));
                }
                if records.kind == TOKENS.kind {
                    let random: String =
                        rand::rng().sample_iter(Alphanumeric).take(TOKEN_LENGTH).map(char::from).collect();
                    token = Some(format!("spat_{random}"));
                }
                let row = Json::Object(members);
                let (kept, hash) = (row.clone(), token.as_deref().map(digest));
                self.store.run(move |tx| create(tx, records, &kept, hash)).await?;
                let mut answer = shown(row);
                if let (Some(token), Some(members)) = (token, answer.as_object_mut()) {
                    members.insert("token".to_owned(), token.into());
                }
                Ok(Reply::json(StatusCode::CREATED, &answer))
            }
            _ => Err(Problem::Method),
        }
    }

    async fn member(
        &self,
        records: Records,
        owner: Option<Uuid>,
        id: Uuid,
        call: &Call,
        request: &Request,
    ) -> Result<Reply, Problem> {
        let changes = match call.method {
            Method::PATCH => Some(object(request)?),
            _ => None,
        };
        if let Some(changes) = &changes {
            check_members(records, changes, false)?;
        }
        let delete = match call.method {
            Method::GET | Method::PATCH => false,
            Method::DELETE => true,
            _ => return Err(Problem::Method),
        };
        let row = self.store.run(move |tx| {
            let mut row = records.get(tx, id)?.ok_or(Problem::Absent)?;
            if owner.is_some_and(|owner| row.get("account") != Some(&json!(owner))) {
                return Err(Problem::Absent);
            }
            if delete {
                remove(tx, records, id)?;
            }
            if let (Some(changes), Some(members)) = (changes, row.as_object_mut()) {
                members.extend(changes);
                members.insert("updated_at".to_owned(), now().into());
                records.put(tx, &row)?.map_err(taken)?;
            }
            Ok(row)
        });
        let row = row.await?;
        if delete {
            Ok(Reply::empty(StatusCode::NO_CONTENT))
        } else {
            Ok(Reply::json(StatusCode::OK, &shown(row)))
        }
    }
}

fn taken(field: &str) -> Problem {
    Problem::Conflict(format!("{field} must be unique"))
}

/// What a request may say of a record.
fn check_members(records: Records, members: &Map<String, Json>, create: bool) -> Result<(), Problem> {
    let least = usize::from(create);
    if records.kind == ROLES.kind {
        let known = ["role_name", "entity_id", "entity_type_name", "entity_region"];
        return check(members, &known, &known.map(|name| (name, least, 256)));
    }
    let known = ["name", "description", "expires_at", "konnect_managed"];
    check(members, &known, &[("name", least, 256), ("description", 0, 2048), ("expires_at", 0, 64)])
}

/// Writes a new record, and for a token its digest.
fn create(tx: &mut Tx<'_>, records: Records, row: &Json, hash: Option<String>) -> Result<(), Problem> {
    records.put(tx, row)?.map_err(taken)?;
    if let Some(hash) = hash {
        let digest = json!({"id": row.get("id"), "digest": hash});
        DIGESTS.put(tx, &digest)?.map_err(taken)?;
    }
    Ok(())
}

/// Deletes a record with what it owns; a token stops to hold.
fn remove(tx: &mut Tx<'_>, records: Records, id: Uuid) -> Result<(), Problem> {
    if records.kind == ACCOUNTS.kind {
        for owned in [TOKENS, ROLES] {
            for row in owned.all(tx, Some(id))? {
                let row = row.get("id").and_then(Json::as_str).and_then(|id| Uuid::try_parse(id).ok());
                remove(tx, owned, row.ok_or(Problem::Absent)?)?;
            }
        }
    }
    DIGESTS.delete(tx, id)?;
    records.delete(tx, id)?;
    Ok(())
}

/// A record as it is answered: without its owner.
fn shown(mut row: Json) -> Json {
    if let Some(members) = row.as_object_mut() {
        members.remove("account");
    }
    row
}
