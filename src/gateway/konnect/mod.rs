//! Konnect's APIs of the built-in gateway: control planes and their entities, the organization, system accounts.
//!
//! Control planes are planes of the same store. What does not live here: what happens to entities (`entities`,
//! `rest`) and HTTP itself (`http`).

mod control_planes;
mod core;
mod identity;
mod limit;
mod members;
mod plugin_schemas;
mod schemas;
mod stores;
mod words;

use crate::gateway::entities::{Fault, Records};
use crate::gateway::http::{Api, Reply, Request};
use crate::gateway::rest::{self, Call, Dialect};
use crate::gateway::store::Store;
use crate::schema::{Flavor, Schemas};
use crate::value::Secret;
use async_trait::async_trait;
use http::StatusCode;
use http::header::RETRY_AFTER;
use limit::Limit;
use std::sync::Arc;
use uuid::Uuid;
use words::Problem;

/// Bodies, in bytes.
const MAX_BODY: usize = 10 * 1024 * 1024;

/// Control planes; each stands for a plane of entities.
pub(super) const CONTROL_PLANES: Records =
    Records { kind: "control_planes", plane: 0, unique: &["name"], owner: None };

/// Konnect over a store.
pub(in crate::gateway) struct Konnect {
    schemas: Arc<Schemas>,
    store: Store,
    tokens: Vec<Secret>,
    limit: Option<Limit>,
    organization: Uuid,
}

impl Konnect {
    /// Konnect over a store. Without tokens any is accepted; `rate` is in requests a second.
    pub fn new(flavor: Flavor, store: Store, tokens: Vec<Secret>, rate: Option<u32>) -> Self {
        let organization = Uuid::new_v5(&Uuid::NAMESPACE_DNS, b"organization");
        let limit = rate.map(Limit::new);
        Konnect { schemas: Schemas::bundled(flavor), store, tokens, limit, organization }
    }

    async fn route(&self, request: Request) -> Result<Reply, Problem> {
        let mut call = Call::of(&request, Dialect::Konnect)?;
        if !self.authorized(&request).await? {
            return Err(Problem::Unauthorized);
        }
        let words: Vec<&str> = call.path.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["konnect-api", "api", "runtime_groups" | "control_planes"] => self.runtime_groups(&call).await,
            ["v2" | "v3", "organizations", "me"] => Ok(identity::organization(self.organization)),
            ["v2" | "v3", "users", "me"] => Ok(identity::user(self.organization)),
            ["v2" | "v3", "control-planes"] => self.control_planes(&call, &request).await,
            ["v2" | "v3", "control-planes", id] => {
                let id = (*id).to_owned();
                self.control_plane(&id, &call, &request).await
            }
            ["v2" | "v3", "control-planes", id, "core-entities", ..] => {
                let id = (*id).to_owned();
                call.path.drain(..4);
                self.core_entities(&id, call, &request).await
            }
            ["v2" | "v3", "control-planes", id, what, rest @ ..] => {
                let (id, what) = ((*id).to_owned(), (*what).to_owned());
                let rest: Vec<String> = rest.iter().map(|part| (*part).to_owned()).collect();
                self.below_control_plane(&id, &what, &rest, &call, &request).await
            }
            ["v3", "system-accounts", rest @ ..] => {
                let rest: Vec<String> = rest.iter().map(|part| (*part).to_owned()).collect();
                self.system_accounts(&rest, &call, &request).await
            }
            _ => Err(Problem::Absent),
        }
    }

    /// A token that the gateway was started with, or one that it gave to a system account.
    async fn authorized(&self, request: &Request) -> Result<bool, Problem> {
        let given = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let Some(given) = given.map(str::trim).filter(|token| !token.is_empty()) else { return Ok(false) };
        let known = |token: &Secret| token.expose_text() == given;
        if self.tokens.is_empty() || self.tokens.iter().any(known) {
            return Ok(true);
        }
        let digest = identity::digest(given);
        Ok(self.store.run(move |tx| identity::token_holds(tx, &digest)).await?)
    }
}

#[async_trait]
impl Api for Konnect {
    fn name(&self) -> &'static str {
        "konnect"
    }

    fn body_limit(&self, _path: &str) -> usize {
        MAX_BODY
    }

    fn shown_path(&self, path: &str) -> String {
        rest::shown_path(&self.schemas, path)
    }

    async fn answer(&self, request: Request) -> Reply {
        if let Some(wait) = self.limit.as_ref().and_then(Limit::take) {
            let reply = Problem::TooMany.reply(&request.path);
            return reply.with(RETRY_AFTER, &wait.to_string());
        }
        let path = request.path.clone();
        self.route(request).await.unwrap_or_else(|problem| problem.reply(&path))
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Absent => Problem::Absent,
            Fault::Refused(StatusCode::METHOD_NOT_ALLOWED, _) => Problem::Method,
            fault => Problem::Entity(fault),
        }
    }
}
