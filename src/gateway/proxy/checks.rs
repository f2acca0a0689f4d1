//! Health checks: what counts for and against a target, and the probes that find out.
//!
//! What does not live here: what requests of clients tell (`forward`), and who is told (`health::Board`).

use super::balancer::{Outcome, Upstream};
use super::body::Body;
use super::client::{Client, Peer};
use super::context::{ForwardError, Limits};
use super::live::Proxy;
use super::rows;
use super::views::{integer, text};
use crate::gateway::store::{StoreError, Tx};
use crate::value::Value;
use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Uri};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How often it is looked whether probes are due.
const TICK: Duration = Duration::from_millis(100);
/// How long changes of the configuration must have rested before targets are looked for anew.
const REST: Duration = Duration::from_millis(300);

/// When a target is taken for healthy or unhealthy; a count of 0 switches one off.
pub(super) struct Thresholds {
    pub healthy: Vec<u16>,
    pub successes: u32,
    pub unhealthy: Vec<u16>,
    pub http_failures: u32,
    pub tcp_failures: u32,
    pub timeouts: u32,
}

impl Thresholds {
    /// Reads `healthchecks.active` or `healthchecks.passive`.
    pub fn new(row: Option<&Value>) -> Self {
        let count = |path: &str| {
            at(row, path).and_then(Value::as_i64).and_then(|count| u32::try_from(count).ok()).unwrap_or(0)
        };
        let statuses = |path: &str| {
            let listed = at(row, path).and_then(Value::as_array).unwrap_or_default();
            listed.iter().filter_map(|status| status.as_i64().and_then(|s| u16::try_from(s).ok())).collect()
        };
        Thresholds {
            healthy: statuses("healthy.http_statuses"),
            successes: count("healthy.successes"),
            unhealthy: statuses("unhealthy.http_statuses"),
            http_failures: count("unhealthy.http_failures"),
            tcp_failures: count("unhealthy.tcp_failures"),
            timeouts: count("unhealthy.timeouts"),
        }
    }
}

fn at<'a>(row: Option<&'a Value>, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(row?, |value, key| value.get(key))
}

/// Active checks of an upstream.
pub(super) struct Active {
    thresholds: Thresholds,
    healthy_every: Option<Duration>,
    unhealthy_every: Option<Duration>,
    timeout: Duration,
    /// What is asked; `None` when a connection is enough.
    http: Option<Box<HttpProbe>>,
    /// How many probes may be under way.
    slots: Arc<Semaphore>,
}

struct HttpProbe {
    path: Uri,
    headers: HeaderMap,
    /// With TLS: whether the certificate must be valid, and the name to ask for.
    tls: Option<(bool, Option<Box<str>>)>,
}

impl Active {
    /// Reads `healthchecks.active`; `None` when nothing is probed.
    pub fn new(row: Option<&Value>) -> Option<Self> {
        let row = row?;
        let every = |path: &str| {
            let seconds = at(Some(row), path).and_then(Value::as_f64).filter(|seconds| *seconds > 0.0)?;
            Duration::try_from_secs_f64(seconds).ok()
        };
        let (healthy_every, unhealthy_every) = (every("healthy.interval"), every("unhealthy.interval"));
        if healthy_every.is_none() && unhealthy_every.is_none() {
            return None;
        }
        let kind = text(row, "type").unwrap_or_else(|| "http".into());
        let http = (&*kind != "tcp").then(|| {
            let tls = (&*kind == "https" || &*kind == "grpcs").then(|| {
                let verify = row.get("https_verify_certificate").and_then(Value::as_bool);
                (verify.unwrap_or(true), text(row, "https_sni"))
            });
            let path = text(row, "http_path").and_then(|path| path.parse().ok()).unwrap_or_default();
            Box::new(HttpProbe { path, headers: headers(row), tls })
        });
        let concurrency = integer(row, "concurrency").and_then(|count| usize::try_from(count).ok());
        Some(Active {
            thresholds: Thresholds::new(Some(row)),
            healthy_every,
            unhealthy_every,
            timeout: every("timeout").unwrap_or(Duration::from_secs(1)),
            http,
            slots: Arc::new(Semaphore::new(concurrency.unwrap_or(10).clamp(1, 1000))),
        })
    }
}

fn headers(row: &Value) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let configured = row.get("headers").and_then(Value::as_object);
    for (name, values) in configured.into_iter().flatten() {
        let values = values.as_array().unwrap_or_default().iter().filter_map(Value::exposed_str);
        for value in values.filter_map(|value| HeaderValue::from_str(value).ok()) {
            if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
                headers.append(name, value);
            }
        }
    }
    headers
}

/// Probes the targets of all upstreams with active checks, until `shutdown`.
pub async fn watch(proxy: Arc<Proxy>, shutdown: CancellationToken) {
    let client = Client::default();
    let mut due: HashMap<(Uuid, Box<str>), Instant> = HashMap::new();
    let mut seen = (proxy.store_version(), Instant::now());
    let mut wanted = Wanted::default();
    loop {
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            () = shutdown.cancelled() => return,
        }
        let version = proxy.store_version();
        if version != seen.0 {
            seen = (version, Instant::now());
        }
        // Whoever writes a lot is not slowed down by looking on.
        let rested = seen.1.elapsed() >= REST;
        let configuration = match rested && wanted.at(version, &proxy).await {
            true => proxy.configuration().await,
            false => proxy.last_configuration(),
        };
        let now = Instant::now();
        let mut known = HashMap::with_capacity(due.len());
        for upstream in configuration.planes.iter().flat_map(|plane| plane.upstreams.all()) {
            let Some(active) = &upstream.active else { continue };
            for (position, target) in upstream.targets.iter().enumerate().filter(|(_, t)| t.weight > 0) {
                let healthy = proxy.board.is_healthy(upstream.id, &target.name);
                let every = if healthy { active.healthy_every } else { active.unhealthy_every };
                let Some(every) = every else { continue };
                let key = (upstream.id, target.name.clone());
                let mut next = due.get(&key).copied().unwrap_or(now + every).min(now + every);
                if next <= now {
                    next = now + every;
                    let (upstream, proxy, client) =
                        (Arc::clone(upstream), Arc::clone(&proxy), client.clone());
                    tokio::spawn(async move { probe(&upstream, position, &proxy, &client).await });
                }
                known.insert(key, next);
            }
        }
        due = known;
    }
}

/// Whether any upstream has active checks. As long as none has, nothing is built for them.
#[derive(Default)]
struct Wanted {
    /// The store's version for which this was found out.
    version: Option<u64>,
    any: bool,
}

impl Wanted {
    async fn at(&mut self, version: u64, proxy: &Proxy) -> bool {
        if self.version != Some(version)
            && let Ok(any) = proxy.look(any_active).await
        {
            *self = Wanted { version: Some(version), any };
        }
        self.any
    }
}

fn any_active(tx: &Tx<'_>) -> Result<bool, StoreError> {
    let mut any = false;
    for (_, _, rows) in rows::planes(tx)? {
        rows.values("upstreams", |_, row, _| {
            let checks = row.get("healthchecks").and_then(|checks| checks.get("active"));
            any |= Active::new(checks).is_some();
        })?;
    }
    Ok(any)
}

async fn probe(upstream: &Upstream, position: usize, proxy: &Proxy, client: &Client) {
    let Some(active) = &upstream.active else { return };
    let Ok(_slot) = active.slots.acquire().await else { return };
    let outcome = ask(upstream, active, position, client).await;
    upstream.note(position, &active.thresholds, outcome, &proxy.board);
}

async fn ask(upstream: &Upstream, active: &Active, position: usize, client: &Client) -> Outcome {
    let Some(target) = upstream.targets.get(position) else { return Outcome::Failed };
    let Ok(address) = client.resolve(&target.host, target.port, 0).await else { return Outcome::Failed };
    let Some(http) = &active.http else {
        return match tokio::time::timeout(active.timeout, TcpStream::connect(address)).await {
            Ok(Ok(_)) => Outcome::Connected,
            Ok(Err(_)) => Outcome::Failed,
            Err(_) => Outcome::TimedOut,
        };
    };
    let name = upstream.host_header.as_ref().unwrap_or(&target.host);
    let peer = match &http.tls {
        Some((verify, sni)) => Peer::tls(address, sni.as_ref().unwrap_or(name).clone(), *verify),
        None => Peer::plain(address),
    };
    let limits = Limits { connect: active.timeout, read: active.timeout, retries: 0, ..Limits::default() };
    let mut request = Request::new(Body::Empty);
    *request.uri_mut() = http.path.clone();
    *request.headers_mut() = http.headers.clone();
    if let Ok(host) = HeaderValue::from_str(name) {
        request.headers_mut().entry(HOST).or_insert(host);
    }
    match client.send_to(&peer, Box::new(request), &limits).await {
        Ok(answer) => Outcome::Answered(answer.status().as_u16()),
        Err(unsent) => match unsent.reason {
            ForwardError::TimedOut { .. } => Outcome::TimedOut,
            _ => Outcome::Failed,
        },
    }
}
