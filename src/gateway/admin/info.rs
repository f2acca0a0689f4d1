//! Endpoints that are no entities: schemas and their validation, tags, what is enabled; the others are led to where
//! they are answered.

use super::{Admin, Endpoint};
use crate::gateway::entities::{Entities, Fault, Mark, Which};
use crate::gateway::http::{Reply, Request};
use crate::gateway::rest::{Call, Given, escape, page_size, read_body};
use crate::gateway::store::{PlaneId, Tagged, Tx};
use crate::schema::Kind;
use crate::value::Value;
use http::{Method, StatusCode};
use serde_json::{Value as Json, json};
use std::sync::Arc;
use uuid::Uuid;

/// The plane of what belongs to no plane: workspaces and control planes themselves.
pub(in crate::gateway) const ROOT: PlaneId = 0;
impl Admin {
    /// Answers a request to an endpoint that is no entity.
    pub(super) async fn special(
        &self,
        endpoint: Endpoint,
        all: Entities,
        call: Call,
        request: &Request,
    ) -> Result<Reply, Fault> {
        let name = call.path.last().cloned().unwrap_or_default();
        match endpoint {
            Endpoint::Endpoints => Ok(ok(&json!({ "data": super::endpoint::all(&self.schemas) }))),
            Endpoint::Enabled => Ok(ok(&json!({ "enabled_plugins": self.schemas.plugin_names() }))),
            Endpoint::Schema => match self.schemas.kind(&name) {
                Some(kind) => Ok(ok(&kind.served)),
                None => Err(missing("entity", &name)),
            },
            Endpoint::Variant => {
                let (word, found) = match call.path.get(1).map(String::as_str) {
                    Some("plugins") => ("plugin", self.schemas.plugin(&name)),
                    Some("vaults") => ("vault", self.schemas.vault(&name)),
                    Some("partials") => ("partial", self.schemas.partial(&name)),
                    _ => {
                        let message = format!("Filter '{name}' not found");
                        return Err(Fault::Refused(StatusCode::NOT_FOUND, message));
                    }
                };
                found.map(|schema| ok(&schema.served)).ok_or_else(|| missing(word, &name))
            }
            Endpoint::ConfigSchema => {
                let schema = self.schemas.plugin(&name).ok_or_else(|| missing("plugin", &name))?;
                let fields = schema.served.get("fields").and_then(Json::as_array);
                let config = fields.and_then(|fields| fields.iter().find_map(|field| field.get("config")));
                Ok(ok(config.unwrap_or(&Json::Null)))
            }
            Endpoint::Validate => self.validate(&all, &call, request).await,
            Endpoint::Consumers => self.consumers(all, call, request).await,
            Endpoint::Tags => self.store.run(move |tx| tags(&all, tx, None, &call)).await,
            Endpoint::Tagged => self.store.run(move |tx| tags(&all, tx, Some(&name), &call)).await,
            Endpoint::Config => self.config(&all, &call, request).await,
            Endpoint::AllTargets | Endpoint::Health | Endpoint::SetHealth => {
                self.health(endpoint, all, call).await
            }
            Endpoint::Filters => self.filters(all, call).await,
            Endpoint::Workspaces => self.workspaces(call, request).await,
            Endpoint::RbacUsers => self.rbac_users(all, call, request).await,
            Endpoint::RolePermissions
            | Endpoint::Admins
            | Endpoint::GroupRoles
            | Endpoint::PartialLinks
            | Endpoint::Overrides
            | Endpoint::HookSources
            | Endpoint::HookTrial => self.enterprise(endpoint, all, call, request).await,
            _ => self.node(endpoint, all, &call).await,
        }
    }

    async fn validate(&self, all: &Entities, call: &Call, request: &Request) -> Result<Reply, Fault> {
        let name = call.path.get(1).map_or("", String::as_str);
        let kind = self.schemas.kind(name).cloned().ok_or_else(|| missing("entity", name))?;
        let body = read_body(request).await?.entity(&self.schemas, &kind);
        let body = body.ok_or_else(|| Fault::Internal("a body that is no object".to_owned()))?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        all.validate(now.map_or(0.0, |t| t.as_secs_f64()), &kind, body)?;
        Ok(Reply::message(StatusCode::OK, "schema validation successful"))
    }

    /// The list of consumers is one of entities, unless it is asked for the one with a custom id.
    async fn consumers(&self, all: Entities, call: Call, request: &Request) -> Result<Reply, Fault> {
        let asked = match call.given("custom_id") {
            _ if call.method != Method::GET => None,
            Given::Nothing => None,
            Given::Text(custom_id) => Some(custom_id.to_owned()),
            Given::Flag | Given::List(_) => Some(String::new()),
        };
        let Some(custom_id) = asked else { return self.entities(all, call, request).await };
        if custom_id.is_empty() {
            let message = "custom_id must be an unempty string".to_owned();
            return Err(Fault::Refused(StatusCode::BAD_REQUEST, message));
        }
        let found = move |tx: &mut Tx<'_>| {
            let mark = Mark::Field("custom_id".into(), Value::from(custom_id));
            all.select(tx, &*kind(&all, "consumers")?, &mark)
        };
        let row = self.store.run(found).await?.unwrap_or_default();
        Ok(Reply::text(StatusCode::OK, format!("{{\"data\":[{row}],\"next\":null}}")))
    }
}

pub(super) fn ok(body: &Json) -> Reply {
    Reply::json(StatusCode::OK, body)
}

fn missing(what: &str, name: &str) -> Fault {
    Fault::Refused(StatusCode::NOT_FOUND, format!("No {what} named '{name}'"))
}

fn tags(all: &Entities, tx: &Tx<'_>, tag: Option<&str>, call: &Call) -> Result<Reply, Fault> {
    let page = all.tags(tx, tag, page_size(call)?, call.argument("offset"))?;
    let row = |row: &Tagged| json!({"tag": row.tag, "entity_name": row.kind, "entity_id": row.id});
    Ok(ok(&listing(page.rows.iter().map(row).collect(), page.offset, &path_of(call))))
}

/// A page of records, which are few: where it starts is a number.
pub(super) fn paged(rows: Vec<Json>, call: &Call) -> Result<Reply, Fault> {
    let size = page_size(call)?;
    let from = call.argument("offset").and_then(|offset| offset.parse::<usize>().ok()).unwrap_or(0);
    let end = from.saturating_add(size);
    let offset = (rows.len() > end).then(|| end.to_string());
    let rows = rows.into_iter().skip(from).take(size).collect();
    Ok(ok(&listing(rows, offset, &path_of(call))))
}

/// The path of a call as it is written in an answer.
fn path_of(call: &Call) -> String {
    call.path.iter().map(|part| format!("/{}", escape(part))).collect()
}

/// A list as it is answered, with the place of its next page.
pub(super) fn listing(rows: Vec<Json>, offset: Option<String>, path: &str) -> Json {
    let next = offset.as_ref().map(|offset| format!("{path}?offset={}", escape(offset)));
    let mut body = json!({"data": rows, "next": next});
    if let (Some(offset), Some(members)) = (offset, body.as_object_mut()) {
        members.insert("offset".to_owned(), offset.into());
    }
    body
}

/// Every target of an upstream.
pub(super) fn targets_of(upstream: Uuid) -> Which {
    Which::Of("upstream".into(), upstream)
}

/// A kind by name, as a fault when the flavor lacks it.
pub(super) fn kind(all: &Entities, name: &str) -> Result<Arc<Kind>, Fault> {
    all.kind(name).cloned()
}
