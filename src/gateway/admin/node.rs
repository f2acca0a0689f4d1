//! What the Admin API tells of the node: its configuration, its state, its counters, and the parts of a Kong node
//! that this gateway does not have.

use super::info::{ROOT, ok};
use super::{Admin, Endpoint, health};
use crate::gateway::entities::{Entities, Fault};
use crate::gateway::http::Reply;
use crate::gateway::plugins::{prometheus, proxy_cache};
use crate::gateway::rest::Call;
use crate::gateway::store::Tx;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// What a log level can be.
const LOG_LEVELS: [&str; 8] = ["debug", "info", "notice", "warn", "error", "crit", "alert", "emerg"];
/// The level at the start, and after a change has run out.
const LOG_LEVEL: &str = "notice";
/// How long a change of the level holds unless the client says otherwise, in seconds.
const LEVEL_TIME: f64 = 60.0;

/// A log level that was asked for, and until when. The gateway keeps it for its clients; it logs nothing by level.
pub(super) type LogLevel = Option<(&'static str, Instant)>;

impl Admin {
    /// Answers a request about the node.
    pub(super) async fn node(&self, endpoint: Endpoint, all: Entities, call: &Call) -> Result<Reply, Fault> {
        let refuse = |status: StatusCode, message: &str| Err(Fault::Refused(status, message.to_owned()));
        match endpoint {
            Endpoint::Status => self.status().await,
            Endpoint::DnsStatus => {
                refuse(StatusCode::NOT_IMPLEMENTED, "not implemented with the legacy DNS client")
            }
            Endpoint::Timers => Ok(ok(&json!({
                "worker": {"id": 0, "count": 1},
                "stats": {
                    "sys": {"running": 0, "pending": 0, "waiting": 0, "total": 0, "runs": 0},
                    "timers": {}, "flamegraph": {"running": "", "pending": "", "elapsed_time": ""},
                },
            }))),
            Endpoint::Metrics => self.metrics(all).await,
            Endpoint::Fips => Ok(ok(&json!({"active": false}))),
            // There are no caches, so that there is nothing to find and nothing left after a purge.
            Endpoint::Caches | Endpoint::Cache if call.method == Method::DELETE => {
                Ok(Reply::empty(StatusCode::NO_CONTENT))
            }
            Endpoint::Cache => Err(Fault::Absent),
            Endpoint::ProxyCaches | Endpoint::ProxyCache => self.proxy_cache(endpoint, call),
            Endpoint::Acme => {
                let used = self.store.run(move |tx| distinct_plugins(&all, tx)).await?;
                if used.contains("acme") {
                    return refuse(StatusCode::NOT_IMPLEMENTED, "the built-in gateway makes no certificates");
                }
                refuse(StatusCode::NOT_FOUND, "")
            }
            Endpoint::DataPlanes => refuse(
                StatusCode::BAD_REQUEST,
                "this endpoint is only available when Kong is configured to run as Control Plane for the cluster",
            ),
            Endpoint::LogLevel => Ok(ok(&json!({"message": format!("log level: {}", self.log_level())}))),
            Endpoint::SetLogLevel => self.set_log_level(call),
            Endpoint::Keyring => refuse(StatusCode::NOT_IMPLEMENTED, "the built-in gateway has no keyring"),
            Endpoint::Audit => Ok(ok(&json!({"data": [], "next": null}))),
            Endpoint::LicenseReport => self.store.run(move |tx| license_report(&all, tx)).await,
            _ => {
                let used = self.store.run(move |tx| distinct_plugins(&all, tx)).await?;
                Ok(self.root(&used))
            }
        }
    }

    fn root(&self, used: &BTreeSet<String>) -> Reply {
        let flavor = self.schemas.flavor();
        let available = self.schemas.plugin_names().into_iter().filter_map(|name| {
            let priority = self.schemas.plugin(name)?.priority;
            Some((name.to_owned(), json!({"version": flavor.reported_version(), "priority": priority})))
        });
        let available: Map<String, Json> = available.collect();
        ok(&json!({
            "tagline": "Welcome to kong",
            "version": flavor.reported_version(),
            "edition": if flavor.is_enterprise() { "enterprise" } else { "community" },
            "hostname": hostname(),
            "node_id": self.node,
            "pids": {"master": std::process::id(), "workers": [std::process::id()]},
            "timers": {"running": 0, "pending": 0},
            "plugins": {"available_on_server": available, "enabled_in_cluster": used},
            "configuration": self.configuration(),
        }))
    }

    /// What clients decide on: the storage, the router, RBAC, which plugins can be used.
    fn configuration(&self) -> Json {
        let flavor = self.schemas.flavor();
        let wasm = self.schemas.kind("filter_chains").is_some_and(|kind| kind.switched_off.is_none());
        let loaded = |names: Vec<&str>| -> Map<String, Json> {
            names.into_iter().map(|name| (name.to_owned(), json!(true))).collect()
        };
        let mut configuration = json!({
            "database": if self.settings.dbless { "off" } else { "postgres" },
            "role": "traditional",
            "router_flavor": "traditional_compatible",
            "plugins": ["bundled"],
            "loaded_plugins": loaded(self.schemas.plugin_names()),
            "vaults": ["bundled"],
            "loaded_vaults": loaded(self.schemas.vault_names()),
            "wasm": wasm,
            "log_level": self.log_level(),
            "anonymous_reports": false,
            "cluster_control_plane": "127.0.0.1:8005",
            "nginx_worker_processes": "1",
            "untrusted_lua": "sandbox",
        });
        if let (true, Some(members)) = (flavor.is_enterprise(), configuration.as_object_mut()) {
            let rbac = if self.settings.rbac { "on" } else { "off" };
            for (name, value) in [
                ("rbac", json!(rbac)),
                ("enforce_rbac", json!(rbac)),
                ("portal", json!(false)),
                ("custom_plugins_enabled", json!(true)),
                ("audit_log", json!(false)),
                ("keyring_enabled", json!(false)),
            ] {
                members.insert(name.to_owned(), value);
            }
        }
        configuration
    }

    async fn status(&self) -> Result<Reply, Fault> {
        let reachable = self.store.run(|tx| tx.count(ROOT, "workspaces").map_err(Fault::from)).await.is_ok();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let meter = &self.settings.meter;
        let active = count(&meter.active);
        let mut body = json!({
            "memory": {"workers_lua_vms": [], "lua_shared_dicts": {}},
            "server": {
                "connections_active": active, "connections_reading": 0, "connections_writing": 1,
                "connections_waiting": active.saturating_sub(1), "connections_accepted": count(&meter.accepted),
                "connections_handled": count(&meter.accepted), "total_requests": count(&meter.requests),
            },
        });
        if let Some(members) = body.as_object_mut() {
            if self.settings.dbless {
                members.insert("configuration_hash".to_owned(), self.config_hash().into());
            } else {
                members.insert("database".to_owned(), json!({ "reachable": reachable }));
            }
        }
        Ok(ok(&body))
    }

    async fn metrics(&self, all: Entities) -> Result<Reply, Fault> {
        let mut text = self.settings.shared.as_deref().map(prometheus::exposition).unwrap_or_default();
        let board = Arc::clone(&self.settings.board);
        text += &self.store.run(move |tx| health::exposition(&all, tx, &board)).await?;
        let version = self.schemas.flavor().reported_version();
        let meter = &self.settings.meter;
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "# HELP kong_datastore_reachable Datastore reachable from Kong, 0 is unreachable\n\
             # TYPE kong_datastore_reachable gauge\nkong_datastore_reachable 1\n\
             # HELP kong_nginx_requests_total Total number of requests\n\
             # TYPE kong_nginx_requests_total gauge\n\
             kong_nginx_requests_total{{node_id=\"{node}\",subsystem=\"http\"}} {requests}\n\
             # HELP kong_node_info Kong Node metadata information\n\
             # TYPE kong_node_info gauge\nkong_node_info{{node_id=\"{node}\",version=\"{version}\"}} 1\n",
            node = self.node,
            requests = meter.requests.load(Ordering::Relaxed),
        );
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"));
        Ok(Reply { status: StatusCode::OK, headers, body: text.into() })
    }

    /// What the proxy-cache plugins keep; they share one cache.
    fn proxy_cache(&self, endpoint: Endpoint, call: &Call) -> Result<Reply, Fault> {
        let missing = || Fault::Refused(StatusCode::NOT_FOUND, String::new());
        let key = call.path.last().filter(|_| endpoint == Endpoint::ProxyCache).map(String::as_str);
        let shared = self.settings.shared.as_deref();
        if call.method == Method::DELETE {
            let purged = shared.is_some_and(|shared| proxy_cache::purge(shared, key));
            return if purged || key.is_none() {
                Ok(Reply::empty(StatusCode::NO_CONTENT))
            } else {
                Err(missing())
            };
        }
        shared.and_then(|shared| proxy_cache::kept(shared, key?)).map(|kept| ok(&kept)).ok_or_else(missing)
    }

    fn log_level(&self) -> &'static str {
        let held = self.log_level.lock().unwrap_or_else(PoisonError::into_inner);
        held.filter(|(_, until)| *until > Instant::now()).map_or(LOG_LEVEL, |(level, _)| level)
    }

    fn set_log_level(&self, call: &Call) -> Result<Reply, Fault> {
        let bad = |message: String| Err(Fault::Refused(StatusCode::BAD_REQUEST, message));
        if self.settings.dbless {
            let message = "cannot change log level when not using a database".to_owned();
            return Err(Fault::Refused(StatusCode::METHOD_NOT_ALLOWED, message));
        }
        let asked = call.path.last().map_or("", String::as_str);
        let Some(level) = LOG_LEVELS.into_iter().find(|level| *level == asked) else {
            return bad(format!("unknown log level: {asked}"));
        };
        let timeout =
            call.argument("timeout").and_then(|text| text.parse::<f64>().ok()).unwrap_or(LEVEL_TIME).ceil();
        if timeout < 0.0 {
            return bad("timeout must be greater than or equal to 0".to_owned());
        }
        if self.log_level() == level {
            return Ok(ok(&json!({"message": format!("log level is already {level}")})));
        }
        let time = Duration::try_from_secs_f64(timeout).unwrap_or(Duration::MAX);
        let until = Instant::now().checked_add(time);
        *self.log_level.lock().unwrap_or_else(PoisonError::into_inner) = until.map(|until| (level, until));
        Ok(ok(&json!({"message": "log level changed"})))
    }
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

/// What the gateway holds, as a license's report counts it.
fn license_report(all: &Entities, tx: &Tx<'_>) -> Result<Reply, Fault> {
    let mut body = Map::new();
    for kind in ["services", "routes", "consumers", "plugins", "rbac_users"] {
        body.insert(format!("{kind}_count"), tx.count(all.plane, kind)?.into());
    }
    body.insert("workspaces_count".to_owned(), tx.count(ROOT, "workspaces")?.into());
    body.insert("kong_version".to_owned(), all.schemas.flavor().reported_version().into());
    body.insert("db_version".to_owned(), "sqlite".into());
    body.insert("timestamp".to_owned(), (tx.now() as i64).into());
    Ok(ok(&Json::Object(body)))
}
