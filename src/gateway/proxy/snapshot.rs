//! The configuration as the proxy executes it: typed and indexed, made from the store row by row. What did not change
//! since the last one is shared with it.
//!
//! What does not live here: when it is made (`live`), and what is done with it.

use super::certificates::{self, Certificates};
use super::configured::{self, Plugins};
use super::people::{self, People};
use super::router::{Compiled, Router};
use super::rows::{self, Part, Rows, digest, parse};
use super::scopes::Slot;
use super::services::{SERVICE_KINDS, Services, UPSTREAM_KINDS, Upstreams};
use super::views::{Consumer, Credential, Route, Service};
use crate::diagnostics::{Diagnostic, codes};
use crate::gateway::plugins::{ConfigError, Environment, Shared};
use crate::gateway::store::{PlaneId, StoreError, Tx};
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// Everything that the store holds, at one version.
#[derive(Default)]
pub struct Configuration {
    /// The store's version.
    pub version: u64,
    /// One snapshot a plane: the workspaces first, then control planes. A request is served by the first in which a
    /// route matches.
    pub planes: Vec<Arc<Snapshot>>,
}

/// The configuration that a request is served by, from beginning to end.
#[derive(Default)]
pub struct Snapshot {
    /// The plane's name.
    pub plane: Box<str>,
    id: PlaneId,
    people: Part<People>,
    plugins: Part<Plugins>,
    pub(super) upstreams: Part<Upstreams>,
    services: Part<Services>,
    routes: Part<Vec<Arc<Compiled>>>,
    pub(super) routing: Part<Routing>,
    pub(super) certificates: Part<Certificates>,
}

/// What a request is matched with.
#[derive(Default)]
pub(super) struct Routing {
    pub router: Router,
    /// In the order of the router's positions.
    pub routes: Vec<Arc<RoutePlan>>,
    problems: Vec<Diagnostic>,
}

/// A route with its service and the plugins that can apply to it, in order.
pub struct RoutePlan {
    /// The route.
    pub route: Arc<Route>,
    /// Its service.
    pub service: Option<Arc<Service>>,
    pub(super) slots: Box<[Slot]>,
}

impl Configuration {
    /// Builds what has changed since `previous`, within one look at the store.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) fn build(
        version: u64,
        tx: &Tx<'_>,
        previous: &Configuration,
        shared: &Shared,
        environment: &Environment,
    ) -> Result<Self, StoreError> {
        let mut planes = Vec::new();
        for (id, name, rows) in rows::planes(tx)? {
            let earlier = previous.planes.iter().find(|earlier| earlier.id == id).map(|earlier| &**earlier);
            planes.push(Arc::new(Snapshot::build(id, name, rows, earlier, shared, environment)?));
        }
        Ok(Configuration { version, planes })
    }

    /// What cannot be executed as it is configured.
    pub fn problems(&self) -> impl Iterator<Item = &Diagnostic> {
        self.planes.iter().flat_map(|plane| {
            let plugins = plane.plugins.problems.iter().chain(&plane.services.problems);
            plugins.chain(&plane.routing.problems).chain(&plane.certificates.problems)
        })
    }
}

impl Snapshot {
    fn build(
        id: PlaneId,
        plane: Box<str>,
        rows: Rows<'_>,
        earlier: Option<&Snapshot>,
        shared: &Shared,
        environment: &Environment,
    ) -> Result<Self, StoreError> {
        let people =
            Part::renew(earlier.map(|e| &e.people), rows.stamp(people::KINDS), |_| People::read(rows))?;
        let plugins = Part::renew(earlier.map(|e| &e.plugins), rows.stamp(configured::KINDS), |earlier| {
            Plugins::read(rows, earlier, shared, environment)
        })?;
        let upstreams = Part::renew(earlier.map(|e| &e.upstreams), rows.stamp(UPSTREAM_KINDS), |earlier| {
            Upstreams::read(rows, earlier)
        })?;
        let stamp = rows.stamp(SERVICE_KINDS).max(upstreams.stamp);
        let services =
            Part::renew(earlier.map(|e| &e.services), stamp, |_| Services::read(rows, &upstreams))?;
        let routes = Part::renew(earlier.map(|e| &e.routes), rows.stamp(&["routes"]), |earlier| {
            compile(rows, earlier)
        })?;
        let stamp = routes.stamp.max(services.stamp).max(plugins.stamp);
        let routing = Part::renew(earlier.map(|e| &e.routing), stamp, |_| {
            Ok(Routing::new(&routes, &services, &plugins))
        })?;
        let certificates =
            Part::renew(earlier.map(|e| &e.certificates), rows.stamp(certificates::KINDS), |_| {
                Certificates::read(rows)
            })?;
        Ok(Snapshot { plane, id, people, plugins, upstreams, services, routes, routing, certificates })
    }

    /// The plugins that have no scope, in order; they see answers to requests without a route.
    pub(super) fn globals(&self) -> super::Plugins {
        self.plugins.scopes.globals()
    }

    /// A consumer by its id, or else by its user name.
    pub fn consumer(&self, id_or_name: &str) -> Option<&Arc<Consumer>> {
        self.people.consumer(id_or_name)
    }

    /// The credential of a kind (`keyauth_credentials` ...) by what a client shows: its key or user name.
    pub fn credential(&self, kind: &str, shown: &str) -> Option<&Arc<Credential>> {
        self.people.credential(kind, shown)
    }
}

/// Reads routes; those whose rows have not changed are taken over.
fn compile(rows: Rows<'_>, earlier: Option<&Vec<Arc<Compiled>>>) -> Result<Vec<Arc<Compiled>>, StoreError> {
    let known: HashMap<Uuid, &Arc<Compiled>> =
        earlier.into_iter().flatten().map(|compiled| (compiled.id, compiled)).collect();
    let mut routes = Vec::new();
    rows.texts("routes", |id, text| {
        let digest = digest(text);
        let route = match known.get(&id).filter(|earlier| earlier.digest == digest) {
            Some(earlier) => Arc::clone(earlier),
            None => Arc::new(Compiled::new(id, &parse(text)?, text, digest)),
        };
        routes.push(route);
        Ok(())
    })?;
    routes.shrink_to_fit();
    Ok(routes)
}

impl Routing {
    fn new(routes: &[Arc<Compiled>], services: &Services, plugins: &Plugins) -> Self {
        let (mut plans, mut matched) = (Vec::new(), Vec::new());
        for compiled in routes {
            let service = match compiled.service.and_then(|id| services.by_id.get(&id)) {
                // A disabled service takes its routes with it.
                Some(None) => continue,
                Some(Some(service)) => Some(Arc::clone(service)),
                None => None,
            };
            let slots = plugins.scopes.slots(compiled.id, compiled.service.filter(|_| service.is_some()));
            plans.push(Arc::new(RoutePlan { route: Arc::clone(&compiled.route), service, slots }));
            matched.push(&**compiled);
        }
        let (router, unmatched) = Router::new(&matched);
        let problem = |(route, error): (&Route, ConfigError)| {
            let name = route.name.as_ref().unwrap_or(&route.id);
            let message = format!("the route {name} cannot be matched: {error}");
            Diagnostic::error(codes::INVALID_VALUE, message).path(&error.field)
        };
        let problems = unmatched.into_iter().map(problem).collect();
        Routing { router, routes: plans, problems }
    }
}
