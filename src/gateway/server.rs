//! Starting and stopping the built-in gateway: options, listeners, the port file, shutdown.
//!
//! What does not live here: what the listeners answer (`admin`, `konnect`, `proxy`, `mock`).

use super::admin::{self, Admin};
use super::entities::Fault;
use super::health::Board;
use super::http::{self, Api, FaultError, Faults, Front, Guard, Meter, RequestLog};
use super::konnect::Konnect;
use super::plugins::references::Variables;
use super::proxy::Report;
use super::store::{OpenError, Store};
use super::{mock, proxy};
use crate::schema::Flavor;
use crate::value::Secret;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long open requests may take to finish once the gateway stops.
const DRAIN: std::time::Duration = std::time::Duration::from_millis(800);

/// How often expired entities are looked for.
const SWEEP: std::time::Duration = std::time::Duration::from_secs(1);

/// What a gateway is started with. The default is a gateway for tests: every listener but the mock's on a free
/// loopback port, in memory, without authentication.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Which Kong it stands in for.
    pub flavor: Flavor,
    /// Where the Admin API listens; `None` for nowhere. Port 0 takes a free one.
    pub admin_listen: Option<SocketAddr>,
    /// Where the proxy listens.
    pub proxy_listen: Option<SocketAddr>,
    /// Where the proxy listens with TLS (certificates by SNI from the store).
    pub proxy_tls_listen: Option<SocketAddr>,
    /// How many threads the proxy has; one a core by default.
    pub proxy_threads: Option<usize>,
    /// Where the Konnect API listens.
    pub konnect_listen: Option<SocketAddr>,
    /// Where the mock AI provider listens.
    pub mock_listen: Option<SocketAddr>,
    /// Sends whatever would go to an AI provider's own address to the mock provider; starts it if `mock_listen` is `None`.
    pub mock_llm: bool,
    /// The environment variables that references to the vault `env` may name.
    pub variables: Variables,
    /// Takes what only the operator should see: configurations that cannot be executed, failures of plugins.
    pub report: Report,
    /// The file that keeps the entities; in memory without one.
    pub data: Option<PathBuf>,
    /// The token that the Admin API asks for (`Kong-Admin-Token`), without RBAC.
    pub admin_token: Option<Secret>,
    /// Takes entities from declarative configurations only (`POST /config`), as a Kong without a database does.
    pub dbless: bool,
    /// Asks the Admin API's clients for RBAC tokens (flavors with RBAC only).
    pub rbac: bool,
    /// Allows the Admin API to listen beyond loopback without authentication.
    pub allow_unauthenticated: bool,
    /// The tokens that the Konnect API accepts; any when empty.
    pub konnect_tokens: Vec<Secret>,
    /// Requests a second that the Konnect API answers before it says 429; no limit by default.
    pub konnect_rate_limit: Option<u32>,
    /// Faults to make, one rule an entry: `PUT /routes/*: 503 x3`.
    pub faults: Vec<String>,
    /// The seed of the faults' chances.
    pub fault_seed: u64,
    /// Where requests to the control-plane APIs are logged as JSON lines.
    pub log_requests: Option<PathBuf>,
    /// Where the bound addresses are written as JSON once every listener answers.
    pub port_file: Option<PathBuf>,
    /// An open file descriptor to which one line is written once every listener answers.
    pub ready_fd: Option<u32>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        let free = Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0));
        ServeOptions {
            flavor: Flavor::Kong314,
            admin_listen: free,
            proxy_listen: free,
            proxy_tls_listen: None,
            proxy_threads: None,
            konnect_listen: free,
            mock_listen: None,
            mock_llm: false,
            variables: Variables::default(),
            report: Report::default(),
            data: None,
            admin_token: None,
            dbless: false,
            rbac: false,
            allow_unauthenticated: false,
            konnect_tokens: Vec::new(),
            konnect_rate_limit: None,
            faults: Vec::new(),
            fault_seed: 0,
            log_requests: None,
            port_file: None,
            ready_fd: None,
        }
    }
}

/// Why a gateway could not start.
#[derive(Debug, Error)]
pub enum ServeError {
    /// An address is taken or not this machine's.
    #[error("the {what} cannot listen on {address}: {source}")]
    Listen {
        /// Which listener.
        what: &'static str,
        /// Where it should listen.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The Admin API would listen beyond loopback for everybody.
    #[error("the Admin API would listen on {0} without authentication")]
    Unauthenticated(SocketAddr),
    /// RBAC without anybody who could give the first permissions.
    #[error("RBAC needs an admin token: whoever has it gives the first permissions")]
    RbacWithoutToken,
    /// RBAC where there is none.
    #[error("{0} has no RBAC")]
    NoRbac(Flavor),
    /// The store could not be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The store could not be read.
    #[error("the store cannot be used: {0}")]
    Unreadable(String),
    /// A fault on demand that cannot be read.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// A file could not be written or opened.
    #[error("cannot write {path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Where a gateway listens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// The Admin API.
    pub admin: Option<SocketAddr>,
    /// The proxy.
    pub proxy: Option<SocketAddr>,
    /// The proxy with TLS.
    pub proxy_tls: Option<SocketAddr>,
    /// The Konnect API.
    pub konnect: Option<SocketAddr>,
    /// The mock AI provider.
    pub mock: Option<SocketAddr>,
}

/// A running gateway. Dropping it stops it without waiting; [`Gateway::stop`] lets open requests finish.
#[derive(Debug)]
pub struct Gateway {
    addresses: Addresses,
    shutdown: CancellationToken,
    kill: CancellationToken,
    tasks: TaskTracker,
}

/// Starts a gateway: the same as [`Gateway::start`].
pub async fn serve(options: ServeOptions) -> Result<Gateway, ServeError> {
    Gateway::start(options).await
}

impl Gateway {
    /// Binds every listener and starts to answer. Needs a Tokio runtime with time and I/O.
    pub async fn start(options: ServeOptions) -> Result<Gateway, ServeError> {
        guard(&options)?;
        let faults = Arc::new(Faults::parse(&options.faults, options.fault_seed)?);
        let log = options.log_requests.as_ref().map(|path| {
            let opened = RequestLog::open(path).map(Arc::new);
            opened.map_err(|source| ServeError::File { path: path.clone(), source })
        });
        let log = log.transpose()?;
        let admin_listener = bind("Admin API", options.admin_listen).await?;
        let konnect = bind("Konnect API", options.konnect_listen).await?;
        let plain = bind("proxy", options.proxy_listen).await?;
        let tls = bind("proxy (TLS)", options.proxy_tls_listen).await?;
        let free = options.mock_llm.then_some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0));
        let mock = bind("mock AI provider", options.mock_listen.or(free)).await?;
        let address = |listener: &Option<TcpListener>| listener.as_ref().and_then(|l| l.local_addr().ok());
        let addresses = Addresses {
            admin: address(&admin_listener),
            proxy: address(&plain),
            proxy_tls: address(&tls),
            konnect: address(&konnect),
            mock: address(&mock),
        };
        // The listeners hold their addresses from here on; clients wait until the store is open.
        let store = Store::open(options.data.as_deref())?;
        let board = Arc::new(Board::default());
        let running = Gateway {
            addresses,
            shutdown: CancellationToken::new(),
            kill: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let (shutdown, kill, tasks) = (&running.shutdown, &running.kill, &running.tasks);
        let meter = Arc::new(Meter::default());
        let front = |address: SocketAddr| {
            Arc::new(Front {
                meter: Arc::clone(&meter),
                guard: Guard::of(address),
                faults: Arc::clone(&faults),
                log: log.clone(),
                shutdown: shutdown.clone(),
                kill: kill.clone(),
            })
        };
        let spawn = |listener: Option<TcpListener>, at: Option<SocketAddr>, api: Arc<dyn Api>| {
            if let (Some(listener), Some(at)) = (listener, at) {
                tasks.spawn(http::serve(listener, api, front(at), tasks.clone()));
            }
        };
        let proxy = (plain.is_some() || tls.is_some()).then(|| {
            let mock = addresses.mock.filter(|_| options.mock_llm);
            let proxy_options = proxy::Options {
                flavor: options.flavor,
                mock,
                variables: options.variables.clone(),
                report: options.report.clone(),
                threads: options.proxy_threads,
                ..proxy::Options::default()
            };
            Arc::new(proxy::Proxy::new(store.clone(), Arc::clone(&board), proxy_options))
        });
        let settings = admin::Settings {
            flavor: options.flavor,
            token: options.admin_token.clone(),
            rbac: options.rbac,
            board,
            meter: Arc::clone(&meter),
            shared: proxy.as_ref().map(|proxy| Arc::clone(proxy.shared())),
            dbless: options.dbless,
        };
        let api = Admin::new(store.clone(), settings).await.map_err(unreadable)?;
        spawn(admin_listener, addresses.admin, Arc::new(api));
        let (tokens, rate) = (options.konnect_tokens.clone(), options.konnect_rate_limit);
        let api = Konnect::new(options.flavor, store.clone(), tokens, rate);
        spawn(konnect, addresses.konnect, Arc::new(api));
        if let Some(proxy) = &proxy {
            tasks.spawn(proxy::watch(Arc::clone(proxy), shutdown.clone()));
        }
        for (listener, secure) in [(plain, false), (tls, true)] {
            if let (Some(listener), Some(proxy)) = (listener, &proxy) {
                tasks.spawn(proxy::serve(listener, secure, Arc::clone(proxy), shutdown.clone()));
            }
        }
        if let Some(listener) = mock {
            tasks.spawn(mock::serve(listener, shutdown.clone()));
        }
        tasks.spawn(sweep(store, shutdown.clone()));
        announce(&options, &addresses)?;
        Ok(running)
    }

    /// Where it listens, with the ports that were taken.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Stops: no new connections, open requests finish, all within a second.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.tasks.close();
        let _ = tokio::time::timeout(DRAIN, self.tasks.wait()).await;
        self.kill.cancel();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.kill.cancel();
    }
}

fn unreadable(fault: Fault) -> ServeError {
    ServeError::Unreadable(fault.to_string())
}

/// Deletes expired entities, so that the proxy notices.
async fn sweep(store: Store, shutdown: CancellationToken) {
    let mut beat = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = beat.tick() => {}
        }
        // A store that fails tells its clients; there is nobody to tell here.
        let _ = store.run(|tx| tx.sweep()).await;
    }
}

async fn bind(what: &'static str, address: Option<SocketAddr>) -> Result<Option<TcpListener>, ServeError> {
    let Some(address) = address else { return Ok(None) };
    TcpListener::bind(address).await.map(Some).map_err(|source| ServeError::Listen { what, address, source })
}

/// Refuses an Admin API that strangers could reach and drive.
fn guard(options: &ServeOptions) -> Result<(), ServeError> {
    if options.rbac && !options.flavor.is_enterprise() {
        return Err(ServeError::NoRbac(options.flavor));
    }
    if options.rbac && options.admin_token.is_none() {
        return Err(ServeError::RbacWithoutToken);
    }
    match options.admin_listen {
        Some(address)
            if !address.ip().is_loopback()
                && options.admin_token.is_none()
                && !options.rbac
                && !options.allow_unauthenticated =>
        {
            Err(ServeError::Unauthenticated(address))
        }
        _ => Ok(()),
    }
}

/// Tells scripts that every listener answers.
fn announce(options: &ServeOptions, addresses: &Addresses) -> Result<(), ServeError> {
    let url = |scheme: &str, address: Option<SocketAddr>| address.map(|at| format!("{scheme}://{at}"));
    let mut urls = std::collections::BTreeMap::new();
    for (name, url) in [
        ("admin", url("http", addresses.admin)),
        ("proxy", url("http", addresses.proxy)),
        ("proxy_tls", url("https", addresses.proxy_tls)),
        ("konnect", url("http", addresses.konnect)),
        ("mock_llm", url("http", addresses.mock)),
    ] {
        urls.extend(url.map(|url| (name, url)));
    }
    let text = serde_json::to_string(&urls).unwrap_or_default() + "\n";
    if let Some(path) = &options.port_file {
        // Written beside and renamed: a reader never sees half of it.
        let draft = path.with_extension("tmp");
        std::fs::write(&draft, &text)
            .and_then(|()| std::fs::rename(&draft, path))
            .map_err(|source| ServeError::File { path: path.clone(), source })?;
    }
    if let Some(fd) = options.ready_fd {
        let path = PathBuf::from(format!("/dev/fd/{fd}"));
        std::fs::write(&path, "ready\n").map_err(|source| ServeError::File { path, source })?;
    }
    Ok(())
}
