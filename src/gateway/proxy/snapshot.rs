//! The configuration as the proxy executes it: typed and indexed, made once for each version of the source.
//!
//! What does not live here: when it is made (`live`), and what is done with it.

use super::balancer::Upstream;
use super::certificates::Certificates;
use super::router::Router;
use super::scopes::{Scopes, Slot};
use super::tls::UpstreamTls;
use super::views::{self, Consumer, ConsumerGroup, Credential, Route, Service};
use crate::diagnostics::{Diagnostic, codes};
use crate::gateway::Plane;
use crate::gateway::plugins::references::Vaults;
use crate::gateway::plugins::{self, ConfigError, Environment, Instance, Plugin, Shared};
use crate::schema::Schemas;
use crate::value::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// Credentials that a request can show, and the field that it shows.
const CREDENTIALS: &[(&str, &str)] = &[
    ("keyauth_credentials", "key"),
    ("basicauth_credentials", "username"),
    ("hmacauth_credentials", "username"),
    ("jwt_secrets", "key"),
];

/// Everything that the source holds, at one version.
#[derive(Default)]
pub struct Configuration {
    /// The source's version.
    pub version: u64,
    /// One snapshot a plane, in the source's order.
    pub planes: Vec<Arc<Snapshot>>,
}

/// The configuration that a request is served by, from beginning to end.
#[derive(Default)]
pub struct Snapshot {
    /// The plane's name.
    pub plane: Box<str>,
    pub(super) router: Router,
    pub(super) routes: Vec<Arc<RoutePlan>>,
    /// The plugins that have no scope; they see answers to requests without a route.
    pub(super) globals: Vec<Arc<Configured>>,
    pub(super) upstreams: HashMap<Box<str>, Arc<Upstream>>,
    pub(super) certificates: Certificates,
    consumers: HashMap<Box<str>, Arc<Consumer>>,
    usernames: HashMap<Box<str>, Arc<Consumer>>,
    credentials: HashMap<&'static str, HashMap<Box<str>, Arc<Credential>>>,
    configured: HashMap<Box<str>, Arc<Configured>>,
    /// What cannot be executed as it is configured.
    pub problems: Vec<Diagnostic>,
}

/// A route with its service and the plugins that can apply to it, in order.
pub struct RoutePlan {
    /// The route.
    pub route: Arc<Route>,
    /// Its service.
    pub service: Option<Arc<Service>>,
    pub(super) slots: Box<[Slot]>,
}

/// A plugin entity.
pub struct Configured {
    /// The entity's id.
    pub id: Box<str>,
    /// The plugin's name.
    pub name: Box<str>,
    /// The whole entity.
    pub row: Arc<Value>,
    pub(super) execution: Execution,
    /// What of it is not executed here.
    pub(super) skipped: Box<[String]>,
}

pub(super) enum Execution {
    /// It has a handler.
    Runs(Arc<dyn Plugin>),
    /// There is no handler for this plugin here.
    Skipped,
    /// Its configuration cannot be executed: requests end with a 500.
    Broken,
}

impl Configuration {
    /// Builds every plane anew. Plugins and upstreams whose rows have not changed are taken over from `previous`.
    pub fn build(
        version: u64,
        planes: &[Arc<Plane>],
        previous: &Configuration,
        shared: &Shared,
        environment: &Environment,
    ) -> Self {
        let planes = planes.iter().map(|plane| {
            let earlier = previous.planes.iter().find(|earlier| *earlier.plane == *plane.name);
            Arc::new(Snapshot::build(plane, earlier.map(|e| &**e), shared, environment))
        });
        Configuration { version, planes: planes.collect() }
    }
}

impl Snapshot {
    fn build(plane: &Plane, previous: Option<&Snapshot>, shared: &Shared, environment: &Environment) -> Self {
        let mut snapshot = Snapshot { plane: plane.name.as_str().into(), ..Snapshot::default() };
        snapshot.add_consumers(plane);
        snapshot.add_plugins(plane, previous, shared, environment);
        snapshot.add_upstreams(plane, previous);
        snapshot.add_routes(plane);
        let (certificates, unusable) = Certificates::new(rows(plane, "certificates"), rows(plane, "snis"));
        snapshot.certificates = certificates;
        for (id, error) in unusable {
            let message = format!("the certificate {id} cannot be used: {error}");
            snapshot.problems.push(Diagnostic::error(codes::INVALID_VALUE, message).path(&error.field));
        }
        snapshot
    }

    fn add_consumers(&mut self, plane: &Plane) {
        let groups: HashMap<Box<str>, ConsumerGroup> = rows(plane, "consumer_groups")
            .filter_map(|row| {
                let id = views::text(row, "id")?;
                Some((id.clone(), ConsumerGroup { id, name: views::text(row, "name").unwrap_or_default() }))
            })
            .collect();
        let mut memberships: HashMap<&str, Vec<ConsumerGroup>> = HashMap::new();
        for row in rows(plane, "consumer_group_consumers") {
            if let (Some(consumer), Some(group)) =
                (views::reference(row, "consumer"), views::reference(row, "consumer_group"))
                && let Some(group) = groups.get(group)
            {
                memberships.entry(consumer).or_default().push(group.clone());
            }
        }
        let mut acls: HashMap<&str, Vec<Box<str>>> = HashMap::new();
        for row in rows(plane, "acls") {
            if let (Some(consumer), Some(group)) =
                (views::reference(row, "consumer"), views::text(row, "group"))
            {
                acls.entry(consumer).or_default().push(group);
            }
        }
        for row in rows(plane, "consumers") {
            let Some(id) = views::text(row, "id") else { continue };
            let mut groups = memberships.remove(&*id).unwrap_or_default();
            groups.sort_by(|a, b| a.name.cmp(&b.name));
            let consumer = Arc::new(Consumer {
                username: views::text(row, "username"),
                custom_id: views::text(row, "custom_id"),
                groups,
                acl_groups: acls.remove(&*id).unwrap_or_default(),
                row: Arc::clone(row),
                id: id.clone(),
            });
            if let Some(username) = &consumer.username {
                self.usernames.insert(username.clone(), Arc::clone(&consumer));
            }
            self.consumers.insert(id, consumer);
        }
        for (kind, field) in CREDENTIALS {
            let mut known = HashMap::new();
            for row in rows(plane, kind) {
                let consumer = views::reference(row, "consumer").and_then(|id| self.consumers.get(id));
                let (Some(consumer), Some(id), Some(shown)) =
                    (consumer, views::text(row, "id"), views::text(row, field))
                else {
                    continue;
                };
                // An API key is a secret; names and the keys of tokens are not.
                let identifier = if *kind == "keyauth_credentials" { id.clone() } else { shown.clone() };
                let credential =
                    Credential { id, identifier, consumer: Arc::clone(consumer), row: Arc::clone(row) };
                known.insert(shown, Arc::new(credential));
            }
            self.credentials.insert(kind, known);
        }
    }

    fn add_plugins(
        &mut self,
        plane: &Plane,
        previous: Option<&Snapshot>,
        shared: &Shared,
        environment: &Environment,
    ) {
        let vaults = Vaults::new(&environment.variables, rows(plane, "vaults").map(|row| &**row));
        for row in rows(plane, "plugins") {
            if row.get("enabled").and_then(Value::as_bool) == Some(false) {
                continue;
            }
            let (Some(id), Some(name)) = (views::text(row, "id"), views::text(row, "name")) else { continue };
            let earlier = previous
                .and_then(|previous| previous.configured.get(&id))
                .filter(|earlier| Arc::ptr_eq(&earlier.row, row));
            let configured = match earlier {
                Some(earlier) if !matches!(earlier.execution, Execution::Broken) => Arc::clone(earlier),
                _ => {
                    let execution = match execution(&id, &name, row, shared, environment, &vaults) {
                        Ok(execution) => execution,
                        Err(error) => {
                            self.problems.push(
                                Diagnostic::error(
                                    codes::INVALID_VALUE,
                                    format!("the plugin {name} ({id}) cannot be executed: {error}"),
                                )
                                .path(format!("config.{}", error.field)),
                            );
                            Execution::Broken
                        }
                    };
                    let config = row.get("config").unwrap_or(&Value::Null);
                    let skipped = plugins::skipped(&name, config).into();
                    Arc::new(Configured { id: id.clone(), name, row: Arc::clone(row), execution, skipped })
                }
            };
            self.configured.insert(id, configured);
        }
    }

    fn add_upstreams(&mut self, plane: &Plane, previous: Option<&Snapshot>) {
        let mut targets: HashMap<&str, Vec<&Arc<Value>>> = HashMap::new();
        for row in rows(plane, "targets") {
            if let Some(upstream) = views::reference(row, "upstream") {
                targets.entry(upstream).or_default().push(row);
            }
        }
        for row in rows(plane, "upstreams") {
            let (Some(id), Some(name)) = (views::text(row, "id"), views::text(row, "name")) else { continue };
            let targets = targets.remove(&*id).unwrap_or_default();
            let earlier = previous
                .and_then(|previous| previous.upstreams.get(&name))
                .filter(|earlier| earlier.is_made_of(row, &targets));
            let upstream = match earlier {
                Some(earlier) => Arc::clone(earlier),
                None => Arc::new(Upstream::new(row, &targets)),
            };
            self.upstreams.insert(name, upstream);
        }
    }

    fn add_routes(&mut self, plane: &Plane) {
        let mut services: HashMap<Box<str>, Option<Arc<Service>>> = HashMap::new();
        let (authorities, identities) = (by_id(plane, "ca_certificates"), by_id(plane, "certificates"));
        for row in rows(plane, "services") {
            let Some(id) = views::text(row, "id") else { continue };
            if row.get("enabled").and_then(Value::as_bool) == Some(false) {
                services.insert(id, None);
                continue;
            }
            let mut service = views::service(row);
            match self.upstream_tls(&service, &authorities, &identities) {
                Ok(tls) => service.tls = tls.map(Arc::new),
                Err(error) => {
                    let name = service.name.as_ref().unwrap_or(&id);
                    let message =
                        format!("the service {name} cannot be reached by TLS as configured: {error}");
                    self.problems.push(Diagnostic::error(codes::INVALID_VALUE, message).path(&error.field));
                }
            }
            services.insert(id, Some(Arc::new(service)));
        }
        let scopes = Scopes::new(rows(plane, "plugins").filter_map(|row| {
            let id = views::text(row, "id")?;
            self.configured.get(&id).map(Arc::clone)
        }));
        self.globals = scopes.globals();
        let mut routes = Vec::new();
        for row in rows(plane, "routes") {
            let service = match views::reference(row, "service").and_then(|id| services.get(id)) {
                // A disabled service takes its routes with it.
                Some(None) => continue,
                Some(Some(service)) => Some(Arc::clone(service)),
                None => None,
            };
            let route = Arc::new(views::route(row));
            let slots = scopes.slots(&route.id, service.as_ref().map(|service| &*service.id));
            routes.push(Arc::clone(&route));
            self.routes.push(Arc::new(RoutePlan { route, service, slots }));
        }
        let (router, problems) = Router::new(&routes);
        self.router = router;
        for (position, error) in problems {
            let name = routes.get(position).map(|route| route.name.as_ref().unwrap_or(&route.id));
            let name = name.map(|name| &**name).unwrap_or_default();
            self.problems.push(
                Diagnostic::error(
                    codes::INVALID_VALUE,
                    format!("the route {name} cannot be matched: {error}"),
                )
                .path(&error.field),
            );
        }
    }

    /// The TLS settings of a service, if it has some of its own; its upstream's certificate stands in for its own.
    fn upstream_tls(
        &self,
        service: &Service,
        authorities: &HashMap<Box<str>, &Arc<Value>>,
        identities: &HashMap<Box<str>, &Arc<Value>>,
    ) -> Result<Option<UpstreamTls>, ConfigError> {
        let upstream = self.upstreams.get(&service.host).map(|upstream| &upstream.row);
        let identity = [Some(&service.row), upstream]
            .into_iter()
            .flatten()
            .find_map(|row| identities.get(views::reference(row, "client_certificate")?));
        let listed = views::texts(&service.row, "ca_certificates");
        let roots: Vec<&Value> =
            listed.iter().filter_map(|id| authorities.get(id)).map(|row| &***row).collect();
        if identity.is_none() && roots.is_empty() {
            return Ok(None);
        }
        let verify = service.tls_verify.unwrap_or(false);
        UpstreamTls::read(verify, &roots, identity.map(|row| &***row)).map(Some)
    }

    /// A consumer by its id, or else by its user name.
    pub fn consumer(&self, id_or_name: &str) -> Option<&Arc<Consumer>> {
        self.consumers.get(id_or_name).or_else(|| self.usernames.get(id_or_name))
    }

    /// The credential of a kind (`keyauth_credentials` ...) by what a client shows: its key or user name.
    pub fn credential(&self, kind: &str, shown: &str) -> Option<&Arc<Credential>> {
        self.credentials.get(kind)?.get(shown)
    }

    /// The names of plugins that are configured and not executed here, sorted.
    pub fn skipped(&self) -> Vec<&str> {
        let skipped = self.configured.values().filter(|c| matches!(c.execution, Execution::Skipped));
        let mut names: Vec<&str> = skipped.map(|configured| &*configured.name).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

fn by_id<'a>(plane: &'a Plane, kind: &str) -> HashMap<Box<str>, &'a Arc<Value>> {
    rows(plane, kind).filter_map(|row| Some((views::text(row, "id")?, row))).collect()
}

fn rows<'a>(plane: &'a Plane, kind: &str) -> impl Iterator<Item = &'a Arc<Value>> {
    plane.rows.get(kind).into_iter().flatten()
}

fn execution(
    id: &str,
    name: &str,
    row: &Value,
    shared: &Shared,
    environment: &Environment,
    vaults: &Vaults<'_>,
) -> Result<Execution, ConfigError> {
    let Some(entry) = plugins::entry(name) else { return Ok(Execution::Skipped) };
    let config = row.get("config").unwrap_or(&Value::Null);
    let config = vaults.resolve(config, || Schemas::bundled(environment.flavor).plugin(name))?;
    (entry.build)(&Instance { id, config: &config, row, shared, environment }).map(Execution::Runs)
}
