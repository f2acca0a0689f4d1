//! The proxy itself: its options, what it keeps, and the configuration of the moment.

use super::snapshot::Configuration;
use crate::diagnostics::{Diagnostic, codes};
use crate::gateway::health::Board;
use crate::gateway::plugins::references::Variables;
use crate::gateway::plugins::{Environment, Shared};
use crate::gateway::store::{Store, StoreError, Tx};
use crate::schema::Flavor;
use arc_swap::ArcSwap;
use http::HeaderValue;
use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Takes problems that only the operator should see. They never hold secrets.
#[derive(Clone)]
pub struct Report(Arc<dyn Fn(&Diagnostic) + Send + Sync>);

impl Report {
    /// Hands problems to this function.
    pub fn new(take: impl Fn(&Diagnostic) + Send + Sync + 'static) -> Report {
        Report(Arc::new(take))
    }

    /// Tells of a problem.
    pub fn tell(&self, problem: &Diagnostic) {
        (self.0)(problem);
    }
}

impl Default for Report {
    /// Drops every problem.
    fn default() -> Self {
        Report::new(|_| {})
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Report")
    }
}

/// How a proxy behaves.
#[derive(Clone)]
pub struct Options {
    /// The Kong that is stood in for.
    pub flavor: Flavor,
    /// The built-in mock provider, to which goes whatever would go to an AI provider's own address.
    pub mock: Option<SocketAddr>,
    /// What references to the vault `env` stand for.
    pub variables: Variables,
    /// Takes problems: configurations that cannot be executed, failures of plugins.
    pub report: Report,
    /// How many threads serve requests; one a core by default.
    pub threads: Option<usize>,
    /// How long a client may take between two parts of a request, and between two requests.
    pub client_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            flavor: Flavor::Kong314,
            mock: None,
            variables: Variables::default(),
            report: Report::default(),
            threads: None,
            client_timeout: Duration::from_secs(60),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("flavor", &self.flavor)
            .field("mock", &self.mock)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

/// A proxy. It serves any number of listeners; see [`serve`](super::serve).
pub struct Proxy {
    store: Store,
    /// The health of upstreams' targets.
    pub(super) board: Arc<Board>,
    pub(super) options: Options,
    pub(super) environment: Environment,
    /// What plugins keep longer than a snapshot.
    pub(super) shared: Arc<Shared>,
    /// `1.1 kong/3.10.0`: for `Via` on both ways.
    pub(super) via: HeaderValue,
    /// `kong/3.10.0`.
    pub(super) server: HeaderValue,
    current: ArcSwap<Configuration>,
    building: tokio::sync::Mutex<()>,
}

impl Proxy {
    /// A proxy that executes what the store holds. It reads it when the first request asks.
    pub fn new(store: Store, board: Arc<Board>, options: Options) -> Self {
        let server = format!("kong/{}", options.flavor.reported_version());
        let header =
            |text: &str| HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("kong"));
        let environment = Environment {
            flavor: options.flavor,
            mock: options.mock,
            variables: options.variables.clone(),
            report: options.report.clone(),
        };
        let shared = Arc::new(Shared::default());
        Proxy {
            via: header(&format!("1.1 {server}")),
            server: header(&server),
            current: ArcSwap::from_pointee(Configuration::default()),
            building: tokio::sync::Mutex::new(()),
            store,
            board,
            options,
            environment,
            shared,
        }
    }

    /// What the plugins share, for instance the counters that the Admin API's `/metrics` shows.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The store's version, which grows with every change.
    pub(super) fn store_version(&self) -> u64 {
        self.store.version()
    }

    /// Looks something up in the store.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.store.run(move |tx| look(tx)).await
    }

    /// The configuration of the moment, if it need not be built first.
    pub(super) fn fresh_configuration(&self) -> Option<Arc<Configuration>> {
        let current = self.current.load();
        (current.version == self.store.version()).then(|| Arc::clone(&current))
    }

    /// The configuration of the moment: a change that was acknowledged before this call is in it. Many changes at
    /// once are built once; meanwhile the callers wait, and requests under way keep what they have.
    pub async fn configuration(&self) -> Arc<Configuration> {
        if let Some(current) = self.fresh_configuration() {
            return current;
        }
        let _building = self.building.lock().await;
        let current = self.current.load_full();
        let version = self.store.version();
        if current.version == version {
            return current;
        }
        let (shared, environment) = (Arc::clone(&self.shared), self.environment.clone());
        let previous = Arc::clone(&current);
        // What is written meanwhile waits: all of the configuration is of one moment.
        let built =
            self.look(move |tx| Configuration::build(version, tx, &previous, &shared, &environment)).await;
        match built {
            Ok(built) => self.publish(built),
            // The gateway stops: the last requests are served by what there is.
            Err(StoreError::Closed) => current,
            Err(error) => {
                let message = format!("the proxy goes on with what it knew, since {error}");
                self.options.report.tell(&Diagnostic::error(codes::NOT_SUPPORTED, message));
                current
            }
        }
    }

    /// What is executed right now, without a look at the source.
    pub(super) fn last_configuration(&self) -> Arc<Configuration> {
        self.current.load_full()
    }

    fn publish(&self, built: Configuration) -> Arc<Configuration> {
        let before = self.current.load();
        let known: HashSet<&str> = before.problems().map(|problem| &*problem.message).collect();
        for problem in built.problems().filter(|problem| !known.contains(&*problem.message)) {
            self.options.report.tell(problem);
        }
        let built = Arc::new(built);
        self.current.store(Arc::clone(&built));
        built
    }
}
