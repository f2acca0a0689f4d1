//! Endpoints of the enterprise edition that are no entities: what roles allow, the roles of groups, who uses a partial,
//! the overrides of consumer groups, what event hooks can wait for.
//!
//! What does not live here: users (`rbac`), admins (`people`), workspaces.

use super::info::{kind, ok};
use super::rbac;
use super::{Admin, Call, Endpoint};
use crate::gateway::entities::{Entities, Fault, Mark};
use crate::gateway::http::{Reply, Request};
use crate::gateway::rest::{is_uuid, read_body};
use crate::gateway::store::{Row, Tx};
use crate::schema::Kind;
use crate::value::{Exposed, Value};
use http::{Method, StatusCode};
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

/// The plugin whose limits a consumer group can override.
const OVERRIDDEN: &str = "rate-limiting-advanced";

impl Admin {
    /// Answers a request to an endpoint of the enterprise edition.
    pub(super) async fn enterprise(
        &self,
        endpoint: Endpoint,
        all: Entities,
        call: Call,
        request: &Request,
    ) -> Result<Reply, Fault> {
        let members = if request.body.is_empty() { Map::new() } else { object(request).await? };
        let home = self.home;
        match endpoint {
            Endpoint::Admins => self.admins(all, call, members).await,
            Endpoint::HookSources => sources(&all, call.path.get(2).map(String::as_str)),
            Endpoint::HookTrial => {
                let message = "the built-in gateway keeps event hooks and does not run them".to_owned();
                Err(Fault::Refused(StatusCode::NOT_IMPLEMENTED, message))
            }
            _ => {
                self.store
                    .run(move |tx| {
                        let key = call.path.get(if endpoint == Endpoint::RolePermissions { 2 } else { 1 });
                        let key = key.map_or("", String::as_str);
                        match endpoint {
                            Endpoint::RolePermissions => {
                                let role = named(&all, tx, "rbac_roles", key)?.ok_or(Fault::Absent)?;
                                rbac::permissions(&all, tx, &[role.id])
                            }
                            Endpoint::GroupRoles => {
                                let group = named(&all, tx, "groups", key)?.ok_or(Fault::Absent)?;
                                let all = Entities { plane: home, ..all };
                                group_roles(&all, tx, &group, &call, &members)
                            }
                            Endpoint::PartialLinks => partial_links(&all, tx, key),
                            _ => overrides(&all, tx, key, &call.method, &members),
                        }
                    })
                    .await
            }
        }
    }
}

/// The members of a body, of a form too.
pub(super) async fn object(request: &Request) -> Result<Map<String, Json>, Fault> {
    let body = read_body(request).await?.plain().unwrap_or_else(Value::object);
    match serde_json::to_value(Exposed(&body)) {
        Ok(Json::Object(members)) => Ok(members),
        _ => Err(Fault::Internal("a body that is no object".to_owned())),
    }
}

/// An entity by id or name.
pub(super) fn named(all: &Entities, tx: &Tx<'_>, name: &str, key: &str) -> Result<Option<Row>, Fault> {
    let kind = kind(all, name)?;
    let mark = all.mark_of(tx, &kind, key, None)?;
    all.find(tx, &kind, &mark)
}

/// A row's body.
pub(super) fn parse(text: &str) -> Result<Json, Fault> {
    serde_json::from_str(text).map_err(|error| Fault::Internal(error.to_string()))
}

fn group_roles(
    all: &Entities,
    tx: &mut Tx<'_>,
    group: &Row,
    call: &Call,
    members: &Map<String, Json>,
) -> Result<Reply, Fault> {
    let links = kind(all, "group_rbac_roles")?;
    let asked = |name: &str| {
        let text = members.get(name).and_then(Json::as_str).or_else(|| call.argument(name));
        text.filter(|text| is_uuid(text)).map(str::to_owned)
    };
    let shown = |tx: &Tx<'_>, link: &Json| -> Result<Json, Fault> {
        let id = link.pointer("/rbac_role/id").and_then(Json::as_str).unwrap_or_default();
        let role = named(all, tx, "rbac_roles", id)?.map(|row| parse(&row.body)).transpose()?;
        let name = role.as_ref().and_then(|role| role.get("name"));
        Ok(json!({
            "group": parse(&group.body)?,
            "rbac_role": {"id": id, "name": name},
            "workspace": {"id": link.get("workspace")},
        }))
    };
    if call.method == Method::GET {
        let rows = joined(all, tx, &links, group.id)?;
        let rows = rows.iter().map(|row| shown(tx, &parse(&row.body)?)).collect::<Result<Vec<_>, _>>()?;
        return Ok(ok(&json!({"data": rows, "next": null})));
    }
    let missing = |name: &str| Fault::Refused(StatusCode::BAD_REQUEST, format!("must provide {name}"));
    let role = asked("rbac_role_id").ok_or_else(|| missing("rbac_role_id"))?;
    let workspace = asked("workspace_id").ok_or_else(|| missing("workspace_id"))?;
    let link = json!({"group": {"id": group.id}, "rbac_role": {"id": role}, "workspace": workspace});
    if call.method == Method::POST {
        all.insert(tx, &links, link.clone().into())?;
        return Ok(Reply::json(StatusCode::CREATED, &shown(tx, &link)?));
    }
    for row in joined(all, tx, &links, group.id)? {
        let body = parse(&row.body)?;
        if ["rbac_role", "workspace"].iter().all(|field| body.get(*field) == link.get(*field)) {
            all.delete(tx, &links, &Mark::Id(row.id))?;
        }
    }
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// The rows that join a group with its roles.
fn joined(all: &Entities, tx: &Tx<'_>, links: &Kind, group: Uuid) -> Result<Vec<Row>, Fault> {
    Ok(tx.page_referencing(all.plane_of(links), &links.name, "group", group, None, usize::MAX)?)
}

/// The plugins that use a partial.
pub(in crate::gateway) fn partial_links(all: &Entities, tx: &Tx<'_>, key: &str) -> Result<Reply, Fault> {
    let partial = named(all, tx, "partials", key)?.ok_or(Fault::Absent)?.id;
    let mut rows = Vec::new();
    for row in tx.all(all.plane, "plugins")? {
        let plugin = parse(&row.body)?;
        let partials = plugin.get("partials").and_then(Json::as_array);
        if partials.into_iter().flatten().any(|used| used.get("id") == Some(&json!(partial))) {
            let name = |field: &str| plugin.get(field).cloned().unwrap_or_default();
            rows.push(json!({"id": row.id, "name": name("name"), "instance_name": name("instance_name")}));
        }
    }
    Ok(ok(&json!({"count": rows.len(), "data": rows, "next": null})))
}

/// Sets or takes away what a consumer group has instead of a plugin's own limits.
fn overrides(
    all: &Entities,
    tx: &mut Tx<'_>,
    key: &str,
    method: &Method,
    members: &Map<String, Json>,
) -> Result<Reply, Fault> {
    let groups = kind(all, "consumer_groups")?;
    let mark = all.mark_of(tx, &groups, key, None)?;
    let group = all.find(tx, &groups, &mark)?.ok_or_else(|| Fault::NotFound(mark.shown()))?;
    let overrides = kind(all, "consumer_group_plugins")?;
    let name = Value::from(OVERRIDDEN);
    let held = all.find_below(tx, &overrides, "consumer_group", group.id, "name", &name)?;
    if *method == Method::DELETE {
        let held = held.ok_or(Fault::Absent)?;
        all.delete(tx, &overrides, &Mark::Id(held.id))?;
        return Ok(Reply::empty(StatusCode::NO_CONTENT));
    }
    let id = held.map_or_else(Uuid::new_v4, |row| row.id);
    let config = members.get("config").cloned().unwrap_or_default();
    let body = json!({"name": OVERRIDDEN, "consumer_group": {"id": group.id}, "config": config});
    let body = all.upsert(tx, &overrides, &Mark::Id(id), body.into())?;
    let config = body.get("config").and_then(|config| serde_json::to_value(Exposed(config)).ok());
    let group = parse(&group.body)?.get("name").cloned().unwrap_or_default();
    let answer = json!({"config": config, "consumer_group": group, "group": group, "plugin": OVERRIDDEN});
    Ok(Reply::json(StatusCode::CREATED, &answer))
}

/// The sources of events and what each event tells.
fn sources(all: &Entities, source: Option<&str>) -> Result<Reply, Fault> {
    let event = |fields: &[&str]| json!({ "fields": fields });
    let change = event(&["operation", "entity", "old_entity", "schema"]);
    let mut crud = Map::new();
    for kind in all.schemas.kinds().iter().filter(|kind| kind.admin_api) {
        for name in [kind.name.to_string()]
            .into_iter()
            .chain(["create", "update", "delete"].map(|operation| format!("{}:{operation}", kind.name)))
        {
            crud.insert(name, change.clone());
        }
    }
    let all = json!({
        "balancer": {"health": event(&["upstream_id", "ip", "port", "hostname", "health"])},
        "crud": crud,
        "dao:crud": {"create": change, "update": change, "delete": change},
    });
    match source {
        None => Ok(ok(&json!({ "data": all }))),
        Some(name) => all.get(name).map(|events| ok(&json!({ "data": events }))).ok_or(Fault::Absent),
    }
}
