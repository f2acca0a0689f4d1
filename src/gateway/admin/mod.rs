//! The Admin API of the built-in gateway: the addresses, methods, bodies and words of Kong's.
//!
//! What does not live here: what happens to entities (`entities`) and HTTP itself (`http`).

mod config;
mod declarative;
mod endpoint;
mod enterprise;
mod filters;
mod health;
mod info;
mod node;
mod people;
mod rbac;
mod workspaces;

use crate::gateway::entities::{Entities, Fault};
use crate::gateway::health::Board;
use crate::gateway::http::{Api, Meter, Reply, Request};
use crate::gateway::plugins::Shared;
use crate::gateway::rest::{self, Address, Call, Dialect};
use crate::gateway::store::{PlaneId, Store, Tx};
use crate::schema::{Flavor, Schemas};
use crate::value::Secret;
pub(in crate::gateway) use enterprise::partial_links;

use async_trait::async_trait;
use endpoint::Endpoint;
use http::header::{ALLOW, HeaderName, SERVER};
use http::{Method, StatusCode};
use node::LogLevel;
use rbac::Verdict;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use uuid::Uuid;

/// Bodies of entities, in bytes.
const MAX_BODY: usize = 10 * 1024 * 1024;
/// Whole configurations, in bytes.
const MAX_CONFIG: usize = 128 * 1024 * 1024;

/// How an Admin API behaves.
pub(in crate::gateway) struct Settings {
    /// Which Kong it stands in for.
    pub flavor: Flavor,
    /// The token that may do everything; without RBAC every request must carry it.
    pub token: Option<Secret>,
    /// Other tokens are those of users.
    pub rbac: bool,
    /// The health of targets.
    pub board: Arc<Board>,
    /// What its listener has seen.
    pub meter: Arc<Meter>,
    /// What the proxy's plugins count; without a proxy there is nothing to count.
    pub shared: Option<Arc<Shared>>,
    /// Entities come from declarative configurations alone, as in a Kong without a database.
    pub dbless: bool,
}

/// The Admin API over a store.
pub(in crate::gateway) struct Admin {
    schemas: Arc<Schemas>,
    store: Store,
    settings: Settings,
    /// The default workspace.
    home: PlaneId,
    node: Uuid,
    log_level: Mutex<LogLevel>,
    /// Of the declarative configuration that was loaded last.
    config_hash: Mutex<String>,
}

impl Admin {
    /// An Admin API over a store; makes the default workspace if there is none.
    pub async fn new(store: Store, settings: Settings) -> Result<Self, Fault> {
        let home = store.run(workspaces::default_workspace).await?;
        let schemas = Schemas::serving(settings.flavor);
        Ok(Admin {
            schemas,
            store,
            settings,
            home,
            node: Uuid::new_v4(),
            log_level: Mutex::default(),
            config_hash: Mutex::new(config::NO_HASH.to_owned()),
        })
    }

    async fn route(&self, request: Request) -> Result<Reply, Fault> {
        let mut call = Call::of(&request, Dialect::Admin)?;
        let (workspace, plane) = self.workspace(&mut call).await?;
        self.allow(&workspace, &call, &request).await?;
        let all = Entities::of(&self.schemas, plane, self.home, &call);
        let Some((endpoint, methods)) = endpoint::find(self.schemas.flavor(), &call.path) else {
            return self.entities(all, call, &request).await;
        };
        if call.method == Method::OPTIONS {
            return Ok(options(methods));
        }
        if !methods.split(", ").any(|method| method == call.method.as_str()) {
            return Err(rest::not_allowed());
        }
        self.special(endpoint, all, call, &request).await
    }

    /// The workspace that a path starts with, taken off the path; the default one otherwise.
    async fn workspace(&self, call: &mut Call) -> Result<(String, PlaneId), Fault> {
        let known = |path: &[String]| {
            endpoint::find(self.schemas.flavor(), path).is_some()
                || rest::resolve(&self.schemas, Dialect::Admin, path).is_some()
        };
        let home = ("default".to_owned(), self.home);
        let Some((first, rest)) = call.path.split_first() else { return Ok(home) };
        if !self.schemas.flavor().is_enterprise() || known(&call.path) {
            return Ok(home);
        }
        let name = first.clone();
        match self.store.run(move |tx| workspaces::plane(tx, &name)).await? {
            Some(plane) => {
                let name = call.path.remove(0);
                Ok((name, plane))
            }
            None if !rest.is_empty() && known(rest) => {
                let message = format!("Workspace '{first}' not found");
                Err(Fault::Refused(StatusCode::NOT_FOUND, message))
            }
            None => Ok(home),
        }
    }

    /// Whether the token of a request allows it.
    async fn allow(&self, workspace: &str, call: &Call, request: &Request) -> Result<(), Fault> {
        let given = request.header("kong-admin-token");
        let first = self.settings.token.as_ref().map(Secret::expose_text);
        // The token that the gateway was started with may do everything; a probe needs none.
        let probe = matches!(call.path.as_slice(), [path] if path == "status");
        let open = probe || first.is_none() && !self.settings.rbac;
        if open || first.is_some_and(|token| given.is_some_and(|given| equal(given, token))) {
            return Ok(());
        }
        let unknown = || {
            let message = "Invalid credentials. Token or User credentials required".to_owned();
            Fault::Refused(StatusCode::UNAUTHORIZED, message)
        };
        let Some(token) = given.filter(|_| self.settings.rbac).map(str::to_owned) else {
            return Err(unknown());
        };
        let (workspace, method, path) = (workspace.to_owned(), call.method.clone(), call.path.clone());
        let judged = self.store.run(move |tx| rbac::judge(tx, &token, &workspace, &method, &path)).await?;
        match judged {
            Verdict::Allowed => Ok(()),
            Verdict::Unknown => Err(unknown()),
            Verdict::Forbidden(user, action) => {
                let message = format!("{user}, you do not have permissions to {action} this resource");
                Err(Fault::Refused(StatusCode::FORBIDDEN, message))
            }
        }
    }

    /// Answers a request about entities.
    async fn entities(&self, all: Entities, call: Call, request: &Request) -> Result<Reply, Fault> {
        let address = rest::resolve(&self.schemas, call.dialect, &call.path).ok_or(Fault::Absent)?;
        if let Some(message) = address.kind().switched_off.as_deref() {
            return Err(Fault::Refused(StatusCode::BAD_REQUEST, message.to_owned()));
        }
        if call.method == Method::OPTIONS {
            return Ok(options(address.methods()));
        }
        if !address.methods().split(", ").any(|method| method == call.method.as_str()) {
            return Err(rest::not_allowed());
        }
        let body = rest::entity_body(&self.store, &all, &address, &call, request).await?;
        let dbless = self.settings.dbless;
        self.store
            .run(move |tx| {
                let reply = rest::answer(&all, tx, &address, &call, body);
                if dbless { unchanged(tx, &address, &call.method, reply) } else { reply }
            })
            .await
    }
}

/// Without a database nothing is written: what would have been, or would have met what is there, is refused.
fn unchanged(
    tx: &Tx<'_>,
    address: &Address,
    method: &Method,
    reply: Result<Reply, Fault>,
) -> Result<Reply, Fault> {
    let met = matches!(
        reply,
        Err(Fault::Taken(_) | Fault::IdTaken(_) | Fault::NoSuchReference { .. } | Fault::Restricted { .. })
    );
    if !met && !tx.wrote() {
        return reply;
    }
    let operation = match *method {
        Method::POST => "create",
        Method::PUT => "create or update",
        Method::PATCH => "update",
        _ => "remove",
    };
    let kind = &address.kind().name;
    let by = match address.named_by() {
        Some(field) if *method != Method::POST => format!(" by '{field}'"),
        _ => String::new(),
    };
    Err(Fault::Unsupported(format!("cannot {operation} '{kind}' entities{by} when not using a database")))
}

/// Compares in a time that does not tell how much is alike.
fn equal(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |all, (x, y)| all | (x ^ y)) == 0
}

fn options(methods: &str) -> Reply {
    Reply::empty(StatusCode::NO_CONTENT)
        .with(ALLOW, methods)
        .with(HeaderName::from_static("access-control-allow-methods"), methods)
        .with(HeaderName::from_static("access-control-allow-headers"), "Content-Type")
}

#[async_trait]
impl Api for Admin {
    fn name(&self) -> &'static str {
        "admin"
    }

    fn body_limit(&self, path: &str) -> usize {
        if path == "/config" { MAX_CONFIG } else { MAX_BODY }
    }

    fn shown_path(&self, path: &str) -> String {
        rest::shown_path(&self.schemas, path)
    }

    async fn answer(&self, request: Request) -> Reply {
        let started = Instant::now();
        let reply = self.route(request).await.unwrap_or_else(|fault| refusal(&fault));
        let server = format!("kong/{}", self.schemas.flavor().reported_version());
        reply
            .with(SERVER, &server)
            .with(HeaderName::from_static("x-kong-admin-latency"), &started.elapsed().as_millis().to_string())
    }
}

fn refusal(fault: &Fault) -> Reply {
    match fault {
        Fault::Refused(status, message) if message.is_empty() => Reply::empty(*status),
        fault => {
            let (status, body) = fault.answer();
            Reply::json(status, &body)
        }
    }
}
