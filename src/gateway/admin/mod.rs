//! The Admin API of the built-in gateway: the addresses, methods, bodies and words of Kong's.
//!
//! What does not live here: what happens to entities (`entities`) and HTTP itself (`http`).

mod address;
mod body;
mod entities;
mod health;
mod info;

use crate::gateway::entities::{Entities, Fault};
use crate::gateway::health::Board;
use crate::gateway::http::{Api, Reply, Request};
use crate::gateway::store::{PlaneId, Store};
use crate::schema::{Flavor, Schemas};
use crate::value::{Secret, Value};
use address::Address;
use async_trait::async_trait;
use body::{Body, Unreadable};
use http::header::{ALLOW, HeaderName, SERVER};
use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use std::sync::Arc;
use std::time::Instant;
use uuid::Uuid;

/// Bodies of entities, in bytes.
const MAX_BODY: usize = 10 * 1024 * 1024;
/// Whole configurations, in bytes.
const MAX_CONFIG: usize = 128 * 1024 * 1024;

/// The Admin API over a store.
pub(in crate::gateway) struct Admin {
    schemas: Arc<Schemas>,
    store: Store,
    /// The default workspace.
    home: PlaneId,
    /// The token that every request must carry, without RBAC.
    token: Option<Secret>,
    rbac: bool,
    board: Arc<Board>,
    node: Uuid,
}

/// A request, its path and query taken apart.
#[derive(Debug)]
pub(super) struct Call {
    /// The method; HEAD counts as GET.
    pub method: Method,
    /// The path's segments, decoded.
    pub path: Vec<String>,
    query: Vec<(String, Option<String>)>,
}

impl Call {
    /// The value of the first argument of this name: `Some(None)` for one without `=`.
    pub fn query_value(&self, name: &str) -> Option<Option<&str>> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_deref())
    }

    /// The text of an argument.
    pub fn argument(&self, name: &str) -> Option<&str> {
        self.query_value(name).flatten()
    }
}

impl Admin {
    /// An Admin API over a store; makes the default workspace if there is none.
    pub async fn new(
        flavor: Flavor,
        store: Store,
        token: Option<Secret>,
        rbac: bool,
        board: Arc<Board>,
    ) -> Result<Self, Fault> {
        let home = store.run(info::default_workspace).await?;
        Ok(Admin { schemas: Schemas::bundled(flavor), store, home, token, rbac, board, node: Uuid::new_v4() })
    }

    async fn route(&self, request: Request) -> Result<Reply, Fault> {
        let segments = |path: &str| -> Vec<String> {
            let path = path.strip_prefix('/').unwrap_or(path);
            let path = path.strip_suffix('/').unwrap_or(path);
            if path.is_empty() {
                return Vec::new();
            }
            path.split('/').map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned()).collect()
        };
        let path = segments(&request.path);
        let query = body::arguments(request.query.as_deref().unwrap_or_default().as_bytes());
        let query =
            query.ok_or_else(|| Fault::Refused(StatusCode::BAD_REQUEST, "Too many arguments".to_owned()))?;
        let method = if request.method == Method::HEAD { Method::GET } else { request.method.clone() };
        let call = Call { method, path, query };
        let entities = Entities { schemas: Arc::clone(&self.schemas), plane: self.home, shared: self.home };
        if let Some(endpoint) = info::endpoint(&self.schemas, &call.path) {
            return self.special(endpoint, entities, call, &request).await;
        }
        self.entities(entities, call, &request).await
    }

    /// Answers a request about entities.
    async fn entities(&self, entities: Entities, call: Call, request: &Request) -> Result<Reply, Fault> {
        let address = address::resolve(&self.schemas, &call.path).ok_or(Fault::Absent)?;
        if request.method == Method::OPTIONS {
            return Ok(options(address.methods()));
        }
        if !address.methods().split(", ").any(|method| method == request.method.as_str()) {
            return Err(entities::not_allowed());
        }
        let body = self.body(&entities, &address, &call, request).await?;
        self.store.run(move |tx| entities::answer(&entities, tx, &address, &call, body)).await
    }

    /// The body of a request that writes an entity.
    async fn body(
        &self,
        all: &Entities,
        address: &Address,
        call: &Call,
        request: &Request,
    ) -> Result<Value, Fault> {
        if !matches!(call.method, Method::POST | Method::PUT | Method::PATCH) {
            return Ok(Value::object());
        }
        let kind = entities::written_kind(all, address)?;
        let mut read = read_body(request).await?;
        // A form's texts mean what the plugin says; a change need not name it again.
        if let (Body::Form(pairs), Some(subschema), &Method::PATCH) =
            (&mut read, &kind.subschema, &call.method)
            && !pairs.iter().any(|(name, _)| **name == *subschema.key)
        {
            let (all, address, key) = (all.clone(), address.clone(), subschema.key.clone());
            let named = self.store.run(move |tx| entities::held_text(&all, tx, &address, &key)).await?;
            pairs.extend(named.map(|text| (subschema.key.to_string(), Some(text))));
        }
        // Kong stumbles over bodies that are no objects.
        read.entity(&self.schemas, &kind)
            .ok_or_else(|| Fault::Internal("a body that is no object".to_owned()))
    }

    fn authorized(&self, request: &Request) -> bool {
        let Some(token) = &self.token else { return true };
        request.header("kong-admin-token").is_some_and(|given| equal(given, token.expose_text()))
    }
}

/// Compares in a time that does not tell how much is alike.
fn equal(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |all, (x, y)| all | (x ^ y)) == 0
}

async fn read_body(request: &Request) -> Result<Body, Fault> {
    body::read(request)
        .await
        .map_err(|Unreadable(status, message)| Fault::Refused(status, message.unwrap_or_default().to_owned()))
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
        info::shown_path(&self.schemas, path)
    }

    async fn answer(&self, request: Request) -> Reply {
        let started = Instant::now();
        let reply = if self.authorized(&request) {
            self.route(request).await.unwrap_or_else(|fault| refusal(&fault))
        } else {
            Reply::message(
                StatusCode::UNAUTHORIZED,
                "Invalid credentials. Token or User credentials required",
            )
        };
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
