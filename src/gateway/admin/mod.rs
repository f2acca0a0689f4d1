//! The Admin API of the built-in gateway: the addresses, methods, bodies and words of Kong's.
//!
//! What does not live here: what happens to entities (`entities`) and HTTP itself (`http`).

mod health;
mod info;

use crate::gateway::entities::{Entities, Fault};
use crate::gateway::health::Board;
use crate::gateway::http::{Api, Reply, Request};
use crate::gateway::rest::{self, Call, Dialect};
use crate::gateway::store::{PlaneId, Store};
use crate::schema::{Flavor, Schemas};
use crate::value::Secret;
use async_trait::async_trait;
use http::header::{ALLOW, HeaderName, SERVER};
use http::{Method, StatusCode};
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
        let call = Call::of(&request, Dialect::Admin)?;
        let all = Entities { schemas: Arc::clone(&self.schemas), plane: self.home, shared: self.home };
        match info::endpoint(&self.schemas, &call.path) {
            Some(endpoint) => self.special(endpoint, all, call, &request).await,
            None => self.entities(all, call, &request).await,
        }
    }

    /// Answers a request about entities.
    async fn entities(&self, all: Entities, call: Call, request: &Request) -> Result<Reply, Fault> {
        let address = rest::resolve(&self.schemas, call.dialect, &call.path).ok_or(Fault::Absent)?;
        if call.method == Method::OPTIONS {
            return Ok(options(address.methods()));
        }
        if !address.methods().split(", ").any(|method| method == call.method.as_str()) {
            return Err(rest::not_allowed());
        }
        let body = rest::entity_body(&self.store, &all, &address, &call, request).await?;
        self.store.run(move |tx| rest::answer(&all, tx, &address, &call, body)).await
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
