//! Endpoints that are no entities: the node, its status, schemas and their validation, tags, what is enabled.

use super::{Admin, options};
use crate::gateway::entities::{Entities, Fault, Which};
use crate::gateway::http::{Reply, Request};
use crate::gateway::rest::{self, Call, escape, not_allowed, page_size, read_body};
use crate::gateway::store::{PlaneId, Tx};
use crate::schema::{Kind, Schemas};
use crate::value::Value;
use http::{Method, StatusCode};
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use uuid::Uuid;

/// The plane of what belongs to no plane: workspaces and control planes themselves.
pub(in crate::gateway) const ROOT: PlaneId = 0;
/// An endpoint that is no entity.
#[derive(Clone, Debug)]
pub(super) enum Endpoint {
    /// `/`, and `/kong` (enterprise)
    Node,
    /// `/status`
    Status,
    /// `/endpoints`
    Endpoints,
    /// `/schemas/{kind}`
    Schema(String),
    /// `/schemas/{plugins|vaults|partials}/{name}`
    Variant(&'static str, String),
    /// `/schemas/{kind}/validate`
    Validate(String),
    /// `/plugins/enabled`
    Enabled,
    /// `/plugins/schema/{name}`, deprecated by Kong
    ConfigSchema(String),
    /// `/workspaces/...` (enterprise)
    Workspaces(Vec<String>),
    /// `/rbac/users/...` (enterprise)
    RbacUsers(Vec<String>),
    /// `/tags`, `/tags/{tag}`
    Tags(Option<String>),
    /// `/config`
    Config,
    /// `/consumers?custom_id=`
    ByCustomId,
    /// `/upstreams/{upstream}/targets/all`
    AllTargets(String),
    /// `/upstreams/{upstream}/health`
    Health(String),
    /// `/upstreams/{upstream}/targets/{target}[/{address}]/{healthy|unhealthy}`
    SetHealth(String, String, bool),
}

/// The endpoint that a path means, unless it is one of entities.
pub(super) fn endpoint(schemas: &Schemas, path: &[String]) -> Option<Endpoint> {
    let words: Vec<&str> = path.iter().map(String::as_str).collect();
    let text = |word: &&str| (*word).to_owned();
    Some(match words.as_slice() {
        [] => Endpoint::Node,
        ["kong"] if schemas.flavor().is_enterprise() => Endpoint::Node,
        ["status"] => Endpoint::Status,
        ["endpoints"] => Endpoint::Endpoints,
        ["schemas", name, "validate"] => Endpoint::Validate(text(name)),
        ["schemas", "plugins", name] => Endpoint::Variant("plugin", text(name)),
        ["schemas", "vaults", name] => Endpoint::Variant("vault", text(name)),
        ["schemas", "partials", name] => Endpoint::Variant("partial", text(name)),
        ["schemas", name] => Endpoint::Schema(text(name)),
        ["plugins", "enabled"] => Endpoint::Enabled,
        ["plugins", "schema", name] => Endpoint::ConfigSchema(text(name)),
        ["workspaces", rest @ ..] if schemas.flavor().is_enterprise() => {
            Endpoint::Workspaces(rest.iter().map(text).collect())
        }
        ["rbac", "users", rest @ ..] if schemas.flavor().is_enterprise() => {
            Endpoint::RbacUsers(rest.iter().map(text).collect())
        }
        ["tags"] => Endpoint::Tags(None),
        ["tags", tag] => Endpoint::Tags(Some(text(tag))),
        ["config"] => Endpoint::Config,
        ["upstreams", upstream, "targets", "all"] => Endpoint::AllTargets(text(upstream)),
        ["upstreams", upstream, "health"] => Endpoint::Health(text(upstream)),
        ["upstreams", upstream, "targets", target, state]
        | ["upstreams", upstream, "targets", target, _, state]
            if matches!(*state, "healthy" | "unhealthy") =>
        {
            Endpoint::SetHealth(text(upstream), text(target), *state == "healthy")
        }
        [path] if schemas.kinds().iter().any(|kind| *kind.path == **path && has_custom_id(kind)) => {
            Endpoint::ByCustomId
        }
        _ => return None,
    })
}

/// Kinds that are also found by `?custom_id=`.
fn has_custom_id(kind: &Kind) -> bool {
    kind.record.field("custom_id").is_some_and(|field| field.unique)
}

impl Endpoint {
    fn methods(&self) -> &'static str {
        match self {
            Endpoint::Validate(_) => "OPTIONS, POST",
            Endpoint::Config => "GET, HEAD, OPTIONS, POST",
            Endpoint::SetHealth(..) => "OPTIONS, PUT",
            Endpoint::Workspaces(_) | Endpoint::RbacUsers(_) => {
                "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
            }
            _ => "GET, HEAD, OPTIONS",
        }
    }

    fn templates(schemas: &Schemas) -> Vec<String> {
        let fixed = [
            "/",
            "/status",
            "/endpoints",
            "/schemas/{name}",
            "/schemas/plugins/{name}",
            "/schemas/plugins/validate",
            "/schemas/vaults/{name}",
            "/schemas/vaults/validate",
            "/schemas/{db_entity_name}/validate",
            "/plugins/enabled",
            "/plugins/schema/{name}",
            "/tags",
            "/tags/{tags}",
            "/config",
            "/upstreams/{upstreams}/health",
            "/upstreams/{upstreams}/targets/all",
            "/upstreams/{upstreams}/targets/{targets}/healthy",
            "/upstreams/{upstreams}/targets/{targets}/unhealthy",
            "/upstreams/{upstreams}/targets/{targets}/{address}/healthy",
            "/upstreams/{upstreams}/targets/{targets}/{address}/unhealthy",
        ];
        let mut all: BTreeSet<String> = rest::templates(schemas).into_iter().collect();
        all.extend(fixed.map(str::to_owned));
        let mut all: Vec<String> = all.into_iter().collect();
        // Segment by segment: a slash sorts before everything else.
        all.sort_by_key(|path| path.replace('/', "\0"));
        all
    }
}

impl Admin {
    /// Answers a request to an endpoint that is no entity.
    pub(super) async fn special(
        &self,
        endpoint: Endpoint,
        all: Entities,
        call: Call,
        request: &Request,
    ) -> Result<Reply, Fault> {
        // The list of consumers is both: with an argument it is an endpoint of its own.
        if matches!(endpoint, Endpoint::ByCustomId) {
            let asked = call.query_value("custom_id").map(|value| value.map(str::to_owned));
            return match asked {
                Some(custom_id) if call.method == Method::GET => {
                    by_custom_id(&self.store, all, call.path, custom_id).await
                }
                _ => self.entities(all, call, request).await,
            };
        }
        if call.method == Method::OPTIONS {
            return Ok(options(endpoint.methods()));
        }
        if !endpoint.methods().split(", ").any(|method| method == call.method.as_str()) {
            return Err(not_allowed());
        }
        match endpoint {
            Endpoint::Node => {
                self.store.run(move |tx| distinct_plugins(&all, tx)).await.map(|used| self.node(&used))
            }
            Endpoint::Status => self.status().await,
            Endpoint::Endpoints => Ok(ok(&json!({ "data": Endpoint::templates(&self.schemas) }))),
            Endpoint::Enabled => Ok(ok(&json!({ "enabled_plugins": self.schemas.plugin_names() }))),
            Endpoint::Schema(name) => match self.schemas.kind(&name) {
                Some(kind) => Ok(ok(&kind.served)),
                None => Err(missing("entity", &name)),
            },
            Endpoint::Variant(word, name) => {
                let found = match word {
                    "plugin" => self.schemas.plugin(&name),
                    "vault" => self.schemas.vault(&name),
                    _ => self.schemas.partial(&name),
                };
                found.map(|schema| ok(&schema.served)).ok_or_else(|| missing(word, &name))
            }
            Endpoint::ConfigSchema(name) => {
                let schema = self.schemas.plugin(&name).ok_or_else(|| missing("plugin", &name))?;
                let fields = schema.served.get("fields").and_then(Json::as_array);
                let config = fields.and_then(|fields| fields.iter().find_map(|field| field.get("config")));
                Ok(ok(config.unwrap_or(&Json::Null)))
            }
            Endpoint::Validate(name) => {
                let kind = self.schemas.kind(&name).cloned().ok_or_else(|| missing("entity", &name))?;
                let body = read_body(request).await?.entity(&self.schemas, &kind);
                let body = body.ok_or_else(|| Fault::Internal("a body that is no object".to_owned()))?;
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                all.validate(now.map_or(0.0, |t| t.as_secs_f64()), &kind, body)?;
                Ok(Reply::message(StatusCode::OK, "schema validation successful"))
            }
            Endpoint::Workspaces(rest) => self.workspaces(rest, call, request).await,
            Endpoint::RbacUsers(rest) => self.rbac_users(rest, all, call, request).await,
            Endpoint::Tags(tag) => self.store.run(move |tx| tags(&all, tx, tag.as_deref(), &call)).await,
            Endpoint::Config => Err(Fault::Refused(
                StatusCode::BAD_REQUEST,
                "this endpoint is only available when Kong is configured to not use a database".to_owned(),
            )),
            Endpoint::AllTargets(_) | Endpoint::Health(_) | Endpoint::SetHealth(..) => {
                self.health(endpoint, all, call).await
            }
            Endpoint::ByCustomId => Err(Fault::Absent),
        }
    }

    fn node(&self, used: &BTreeSet<String>) -> Reply {
        let flavor = self.schemas.flavor();
        let available = self.schemas.plugin_names().into_iter().filter_map(|name| {
            let priority = self.schemas.plugin(name)?.priority;
            Some((name.to_owned(), json!({"version": flavor.reported_version(), "priority": priority})))
        });
        let available: serde_json::Map<String, Json> = available.collect();
        ok(&json!({
            "tagline": "Welcome to kong",
            "version": flavor.reported_version(),
            "edition": if flavor.is_enterprise() { "enterprise" } else { "community" },
            "hostname": hostname(),
            "node_id": self.node,
            "pids": {"master": std::process::id(), "workers": [std::process::id()]},
            "timers": {"running": 0, "pending": 0},
            "plugins": {"available_on_server": available, "enabled_in_cluster": used},
            "configuration": {
                "database": "postgres",
                "role": "traditional",
                "router_flavor": "traditional_compatible",
                "rbac": if self.settings.rbac { "on" } else { "off" },
                "enforce_rbac": if self.settings.rbac { "on" } else { "off" },
                "plugins": ["bundled"],
                "vaults": ["bundled"],
                "log_level": "notice",
            },
        }))
    }

    async fn status(&self) -> Result<Reply, Fault> {
        let reachable = self.store.run(|tx| tx.count(ROOT, "workspaces").map_err(Fault::from)).await.is_ok();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let meter = &self.settings.meter;
        let active = count(&meter.active);
        Ok(ok(&json!({
            "database": {"reachable": reachable},
            "memory": {"workers_lua_vms": [], "lua_shared_dicts": {}},
            "server": {
                "connections_active": active, "connections_reading": 0, "connections_writing": 1,
                "connections_waiting": active.saturating_sub(1), "connections_accepted": count(&meter.accepted),
                "connections_handled": count(&meter.accepted), "total_requests": count(&meter.requests),
            },
        })))
    }
}

fn ok(body: &Json) -> Reply {
    Reply::json(StatusCode::OK, body)
}

fn missing(what: &str, name: &str) -> Fault {
    Fault::Refused(StatusCode::NOT_FOUND, format!("No {what} named '{name}'"))
}

/// The machine's name, where the system tells it.
fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "localhost".to_owned() } else { name.trim().to_owned() }
}

fn distinct_plugins(all: &Entities, tx: &Tx<'_>) -> Result<BTreeSet<String>, Fault> {
    let mut names = BTreeSet::new();
    for row in tx.all(all.plane, "plugins")? {
        let body: Json =
            serde_json::from_str(&row.body).map_err(|error| Fault::Internal(error.to_string()))?;
        names.extend(body.get("name").and_then(Json::as_str).map(str::to_owned));
    }
    Ok(names)
}

fn tags(all: &Entities, tx: &Tx<'_>, tag: Option<&str>, call: &Call) -> Result<Reply, Fault> {
    let page = all.tags(tx, tag, page_size(call)?, call.argument("offset"))?;
    let rows =
        page.rows.iter().map(|row| json!({"tag": row.tag, "entity_name": row.kind, "entity_id": row.id}));
    let path = tag.map_or_else(|| "/tags".to_owned(), |tag| format!("/tags/{}", escape(tag)));
    let next = page.offset.as_ref().map(|offset| format!("{path}?offset={}", escape(offset)));
    let mut body = json!({"data": rows.collect::<Vec<_>>(), "next": next});
    if let (Some(offset), Some(members)) = (page.offset, body.as_object_mut()) {
        members.insert("offset".to_owned(), offset.into());
    }
    Ok(ok(&body))
}

async fn by_custom_id(
    store: &crate::gateway::store::Store,
    all: Entities,
    path: Vec<String>,
    custom_id: Option<String>,
) -> Result<Reply, Fault> {
    let Some(custom_id) = custom_id.filter(|text| !text.is_empty()) else {
        let message = "custom_id must be an unempty string".to_owned();
        return Err(Fault::Refused(StatusCode::BAD_REQUEST, message));
    };
    store
        .run(move |tx| {
            let path = path.first().map_or("", String::as_str);
            let kind = all.schemas.kinds().iter().find(|kind| *kind.path == *path).ok_or(Fault::Absent)?;
            let mark = crate::gateway::entities::Mark::Field("custom_id".into(), Value::from(custom_id));
            let row = all.select(tx, kind, &mark)?;
            Ok(Reply::text(
                StatusCode::OK,
                format!("{{\"data\":[{}],\"next\":null}}", row.unwrap_or_default()),
            ))
        })
        .await
}

/// Every target of an upstream.
pub(super) fn targets_of(upstream: Uuid) -> Which {
    Which::Of("upstream".into(), upstream)
}

/// A kind by name, as a fault when the flavor lacks it.
pub(super) fn kind(all: &Entities, name: &str) -> Result<Arc<Kind>, Fault> {
    all.kind(name).cloned()
}
