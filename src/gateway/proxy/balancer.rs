//! Upstreams: which of their targets takes a request.
//!
//! What does not live here: sending the request (`forward`), and finding out whether a target is healthy (`checks`).

use super::checks::{Active, Thresholds};
use super::context::Context;
use super::views::{self, integer, text};
use crate::gateway::health::Board;
use crate::value::Value;
use http::header::{HeaderValue, SET_COOKIE};
use sha1::{Digest, Sha1};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use uuid::Uuid;

/// The longest exact round; beyond it targets are drawn by weight.
const LONGEST_ROUND: u64 = 10_000;

/// An upstream with its targets.
pub struct Upstream {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: Box<str>,
    /// The `Host` header to send instead of the target's name.
    pub host_header: Option<Box<str>>,
    /// The targets, in order of creation.
    pub targets: Vec<Target>,
    /// The certificate that is shown to its targets.
    pub client_certificate: Option<Uuid>,
    /// Where the cookie that is hashed by is valid.
    cookie_path: Box<str>,
    algorithm: Algorithm,
    hash_on: HashOn,
    hash_fallback: HashOn,
    passive: Thresholds,
    /// The share of the targets' weight, in percent, that must be healthy for any to be used.
    threshold: f64,
    /// Probes, if there are any.
    pub(super) active: Option<Active>,
    /// Of the rows that it was made from.
    pub digest: u64,
}

/// What became of a request to a target.
#[derive(Clone, Copy, Debug)]
pub enum Outcome {
    /// An answer with this status.
    Answered(u16),
    /// A connection, where nothing more is asked for.
    Connected,
    /// No connection, or one that broke.
    Failed,
    /// No answer in time.
    TimedOut,
}

/// One target.
pub struct Target {
    /// `host:port` as stored.
    pub name: Box<str>,
    /// A host name or an address.
    pub host: Box<str>,
    /// The port.
    pub port: u16,
    /// Its share; 0 means none.
    pub weight: u32,
    in_flight: AtomicU32,
    /// Since the last change of mind: good answers, bad answers, failed connections, time-outs.
    counts: [AtomicU32; 4],
    /// Microseconds, moving average; 0 until the first answer.
    latency: AtomicU64,
}

enum Algorithm {
    RoundRobin {
        round: Vec<usize>,
        next: AtomicUsize,
    },
    LeastConnections,
    Latency,
    /// Points on a ring, ascending.
    ConsistentHashing(Vec<(u64, usize)>),
}

/// What a request is hashed by.
enum HashOn {
    Nothing,
    Consumer,
    Ip,
    Path,
    Header(Box<str>),
    Cookie(Box<str>),
    QueryArg(Box<str>),
    UriCapture(Box<str>),
}

/// The cookie that this client is hashed by from now on.
#[derive(Clone)]
struct MadeCookie(Uuid);

/// A target that was chosen, counted as busy until this is dropped.
pub struct Chosen {
    upstream: Arc<Upstream>,
    /// Its position in [`Upstream::targets`].
    pub position: usize,
}

impl Upstream {
    /// Reads an upstream, which has these targets.
    pub fn new(row: &Value, targets: Vec<Target>, digest: u64) -> Self {
        let checks = |kind: &str| row.get("healthchecks").and_then(|checks| checks.get(kind));
        let algorithm = match row.get("algorithm").and_then(Value::exposed_str) {
            Some("consistent-hashing") => Algorithm::ConsistentHashing(ring(&targets, row)),
            Some("least-connections") => Algorithm::LeastConnections,
            Some("latency") => Algorithm::Latency,
            _ => Algorithm::RoundRobin { round: round(&targets), next: AtomicUsize::new(0) },
        };
        Upstream {
            id: text(row, "id").and_then(|id| id.parse().ok()).unwrap_or_default(),
            name: text(row, "name").unwrap_or_default(),
            host_header: text(row, "host_header"),
            targets,
            client_certificate: views::target(row, "client_certificate"),
            cookie_path: text(row, "hash_on_cookie_path").unwrap_or_else(|| "/".into()),
            algorithm,
            hash_on: hash_on(row, "hash_on"),
            hash_fallback: hash_on(row, "hash_fallback"),
            passive: Thresholds::new(checks("passive")),
            threshold: row
                .get("healthchecks")
                .and_then(|checks| checks.get("threshold")?.as_f64())
                .unwrap_or(0.0),
            active: Active::new(checks("active")),
            digest,
        }
    }

    /// Gives a client a cookie to be hashed by, if it needs one and has none.
    pub fn prepare(&self, context: &mut Context) {
        let by = [&self.hash_on, &self.hash_fallback].into_iter().find_map(|by| match by {
            HashOn::Cookie(name) => Some(name),
            _ => None,
        });
        let Some(name) = by.filter(|_| matches!(self.algorithm, Algorithm::ConsistentHashing(_))) else {
            return;
        };
        let wanted = matches!(self.hash_on, HashOn::Cookie(_)) || self.hash_on.value(context).is_none();
        if !wanted || super::headers::cookie(&context.inbound.headers, name).is_some() {
            return;
        }
        let value = Uuid::new_v4();
        if let Ok(cookie) = HeaderValue::from_str(&format!("{name}={value}; Path={}", self.cookie_path)) {
            context.response_headers.append(SET_COOKIE, cookie);
        }
        context.state.insert(MadeCookie(value));
    }

    /// Chooses a target that is healthy, has a weight, and is not among `tried`. `None` when there is none.
    pub fn choose(self: &Arc<Self>, context: &Context, board: &Board, tried: &[usize]) -> Option<Chosen> {
        if self.threshold > 0.0 && self.healthy_share(board) < self.threshold {
            return None;
        }
        let usable = |position: usize| {
            self.targets.get(position).is_some_and(|target| {
                target.weight > 0 && board.is_healthy(self.id, &target.name) && !tried.contains(&position)
            })
        };
        let position = match &self.algorithm {
            Algorithm::RoundRobin { round, next } => {
                let start = next.fetch_add(1, Ordering::Relaxed);
                (0..round.len())
                    .filter_map(|n| round.get((start.wrapping_add(n)) % round.len().max(1)).copied())
                    .find(|&position| usable(position))
                    .or_else(|| (0..self.targets.len()).find(|&position| usable(position)))
            }
            Algorithm::LeastConnections => self.least(usable, |target| {
                f64::from(target.in_flight.load(Ordering::Relaxed) + 1) / f64::from(target.weight.max(1))
            }),
            Algorithm::Latency => self.least(usable, |target| {
                let waiting = f64::from(target.in_flight.load(Ordering::Relaxed) + 1);
                target.latency.load(Ordering::Relaxed) as f64 * waiting / f64::from(target.weight.max(1))
            }),
            Algorithm::ConsistentHashing(ring) => {
                let key = self.hash_on.value(context).or_else(|| self.hash_fallback.value(context));
                let hash = match key {
                    Some(key) => hash(key.as_bytes()),
                    None => rand::random(),
                };
                let start = ring.partition_point(|(point, _)| *point < hash);
                let around = ring.iter().skip(start).chain(ring.iter().take(start));
                around.map(|(_, position)| *position).find(|&position| usable(position))
            }
        }?;
        let target = self.targets.get(position)?;
        target.in_flight.fetch_add(1, Ordering::Relaxed);
        Some(Chosen { upstream: Arc::clone(self), position })
    }

    /// How much of the targets' weight is healthy, in percent.
    fn healthy_share(&self, board: &Board) -> f64 {
        let weight = |healthy_only: bool| -> u64 {
            let counted = self.targets.iter().filter(|t| !healthy_only || board.is_healthy(self.id, &t.name));
            counted.map(|target| u64::from(target.weight)).sum()
        };
        weight(true) as f64 * 100.0 / weight(false).max(1) as f64
    }

    /// Counts what became of a request or a probe, and marks the target when a threshold is reached.
    pub(super) fn note(&self, position: usize, thresholds: &Thresholds, outcome: Outcome, board: &Board) {
        let Some(target) = self.targets.get(position) else { return };
        let (kind, threshold, healthy) = match outcome {
            Outcome::Answered(status) if thresholds.unhealthy.contains(&status) => {
                (1, thresholds.http_failures, false)
            }
            Outcome::Answered(status) if thresholds.healthy.contains(&status) => {
                (0, thresholds.successes, true)
            }
            Outcome::Answered(_) => return,
            Outcome::Connected => (0, thresholds.successes, true),
            Outcome::Failed => (2, thresholds.tcp_failures, false),
            Outcome::TimedOut => (3, thresholds.timeouts, false),
        };
        // A good answer wipes out the failures before it, and the other way round.
        for (other, count) in target.counts.iter().enumerate() {
            if (other == 0) != healthy && count.load(Ordering::Relaxed) != 0 {
                count.store(0, Ordering::Relaxed);
            }
        }
        let Some(count) = target.counts.get(kind).filter(|_| threshold > 0) else { return };
        if count.fetch_add(1, Ordering::Relaxed) + 1 >= threshold {
            count.store(0, Ordering::Relaxed);
            board.set(self.id, &target.name, healthy);
        }
    }

    fn least(&self, usable: impl Fn(usize) -> bool, cost: impl Fn(&Target) -> f64) -> Option<usize> {
        let usable = self.targets.iter().enumerate().filter(|(position, _)| usable(*position));
        usable
            .map(|(position, target)| (position, cost(target)))
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .map(|(p, _)| p)
    }
}

impl Chosen {
    /// The target.
    pub fn target(&self) -> Option<&Target> {
        self.upstream.targets.get(self.position)
    }

    /// Tells how long the target took to answer.
    pub fn answered(&self, after: Duration) {
        let Some(target) = self.target() else { return };
        let new = u64::try_from(after.as_micros()).unwrap_or(u64::MAX).max(1);
        let old = target.latency.load(Ordering::Relaxed);
        let average = if old == 0 { new } else { old - old / 8 + new / 8 };
        target.latency.store(average, Ordering::Relaxed);
    }
}

impl Chosen {
    /// Counts what became of the request.
    pub fn report(&self, board: &Board, outcome: Outcome) {
        self.upstream.note(self.position, &self.upstream.passive, outcome, board);
    }
}

impl Drop for Chosen {
    fn drop(&mut self) {
        if let Some(target) = self.target() {
            target.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl HashOn {
    fn value(&self, context: &Context) -> Option<String> {
        match self {
            HashOn::Nothing => None,
            HashOn::Consumer => {
                context.identity.consumer.as_ref().map(|consumer| consumer.id.to_string()).or_else(|| {
                    context.identity.credential.as_ref().map(|credential| credential.id.to_string())
                })
            }
            HashOn::Ip => Some(context.inbound.client_ip.to_string()),
            HashOn::Path => Some(context.inbound.uri.path().to_owned()),
            HashOn::Header(name) => {
                let values: Vec<_> = context.inbound.headers.get_all(&**name).iter().collect();
                let texts = values.iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
                (!values.is_empty()).then(|| texts.collect::<Vec<_>>().join(", "))
            }
            HashOn::Cookie(name) => {
                let made = || context.state.get::<MadeCookie>().map(|made| made.0.to_string());
                super::headers::cookie(&context.inbound.headers, name).map(str::to_owned).or_else(made)
            }
            HashOn::QueryArg(name) => context.query_arg(name),
            HashOn::UriCapture(name) => {
                context.captures.iter().find(|(n, _)| n == name).map(|(_, value)| value.to_string())
            }
        }
    }
}

fn hash_on(row: &Value, field: &str) -> HashOn {
    let named = |suffix: &str| text(row, &format!("{field}_{suffix}")).unwrap_or_default();
    match row.get(field).and_then(Value::exposed_str) {
        Some("consumer") => HashOn::Consumer,
        Some("ip") => HashOn::Ip,
        Some("path") => HashOn::Path,
        Some("header") => HashOn::Header(named("header").to_lowercase().into()),
        Some("cookie") => HashOn::Cookie(text(row, "hash_on_cookie").unwrap_or_default()),
        Some("query_arg") => HashOn::QueryArg(named("query_arg")),
        Some("uri_capture") => HashOn::UriCapture(named("uri_capture")),
        _ => HashOn::Nothing,
    }
}

impl Target {
    /// Reads a target; `None` if it has no address.
    pub fn new(row: &Value) -> Option<Self> {
        let name = text(row, "target")?;
        let (host, port) = match name.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().ok()?),
            _ => (&*name, 8000),
        };
        Some(Target {
            host: host.trim_matches(['[', ']']).into(),
            port,
            weight: integer(row, "weight").and_then(|weight| u32::try_from(weight).ok()).unwrap_or(100),
            in_flight: AtomicU32::new(0),
            counts: Default::default(),
            latency: AtomicU64::new(0),
            name,
        })
    }
}

/// A round in which every target comes as often as its weight says, evenly spread.
fn round(targets: &[Target]) -> Vec<usize> {
    let divisor = targets.iter().fold(0, |divisor, target| gcd(divisor, u64::from(target.weight))).max(1);
    let mut shares: Vec<u64> = targets.iter().map(|target| u64::from(target.weight) / divisor).collect();
    let total: u64 = shares.iter().sum();
    if total > LONGEST_ROUND {
        for share in shares.iter_mut().filter(|share| **share > 0) {
            *share = (*share * LONGEST_ROUND / total).max(1);
        }
    }
    let total: u64 = shares.iter().sum();
    let mut credit = vec![0i64; targets.len()];
    let mut round = Vec::new();
    for _ in 0..total {
        for (credit, share) in credit.iter_mut().zip(&shares) {
            *credit += *share as i64;
        }
        let richest = credit.iter_mut().enumerate().max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(&a.0)));
        if let Some((position, credit)) = richest {
            *credit -= total as i64;
            round.push(position);
        }
    }
    round
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Points on a ring, as many for each target as its weight's share of the upstream's slots.
fn ring(targets: &[Target], row: &Value) -> Vec<(u64, usize)> {
    let slots =
        integer(row, "slots").and_then(|slots| u64::try_from(slots).ok()).unwrap_or(10_000).min(65_536);
    let total: u64 = targets.iter().map(|target| u64::from(target.weight)).sum();
    let mut ring = Vec::new();
    for (position, target) in targets.iter().enumerate().filter(|(_, target)| target.weight > 0) {
        let points = (u64::from(target.weight) * slots / total.max(1)).max(1);
        ring.extend((0..points).map(|n| (hash(format!("{}#{n}", target.name).as_bytes()), position)));
    }
    ring.sort_unstable();
    ring
}

fn hash(data: &[u8]) -> u64 {
    let digest = Sha1::digest(data);
    digest.iter().take(8).fold(0, |hash, byte| (hash << 8) | u64::from(*byte))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use serde_json::json;

    fn upstream(row: serde_json::Value, targets: &[(&str, u32)]) -> Arc<Upstream> {
        let rows = targets.iter().map(|(name, weight)| json!({"target": name, "weight": weight}).into());
        let targets = rows.filter_map(|row: Value| Target::new(&row)).collect();
        Arc::new(Upstream::new(&Value::from(row), targets, 0))
    }

    #[test]
    fn a_round_holds_targets_by_weight_and_evenly() {
        let upstream = upstream(json!({}), &[("a:1", 200), ("b:1", 100), ("c:1", 0)]);
        assert_eq!(round(&upstream.targets), [0, 1, 0]);
    }

    #[test]
    fn addresses_are_read_with_their_ports() {
        let upstream = upstream(json!({}), &[("[::1]:80", 1), ("h.test", 1), ("10.0.0.1:9", 1)]);
        let read: Vec<(&str, u16)> = upstream.targets.iter().map(|t| (&*t.host, t.port)).collect();
        assert_eq!(read, [("::1", 80), ("h.test", 8000), ("10.0.0.1", 9)]);
    }

    #[test]
    fn too_few_healthy_targets_make_none_usable() {
        let id = Uuid::from_u128(9);
        let row = json!({"id": id.to_string(), "healthchecks": {"threshold": 50}});
        let upstream = upstream(row, &[("a:1", 100), ("b:1", 100), ("c:1", 100)]);
        let board = Board::default();
        board.set(id, "a:1", false);
        assert!(upstream.healthy_share(&board) > 50.0);
        board.set(id, "b:1", false);
        assert!(upstream.healthy_share(&board) < 50.0);
    }

    #[test]
    fn passive_checks_mark_targets_at_their_thresholds() {
        let checks = json!({"passive": {
            "unhealthy": {"http_statuses": [500], "http_failures": 2, "tcp_failures": 1},
            "healthy": {"http_statuses": [200], "successes": 1},
        }});
        let id = Uuid::from_u128(7);
        let upstream = upstream(json!({"id": id.to_string(), "healthchecks": checks}), &[("a:1", 1)]);
        let board = Board::default();
        let chosen = Chosen { upstream: Arc::clone(&upstream), position: 0 };
        upstream.targets.first().unwrap().in_flight.fetch_add(1, Ordering::Relaxed);
        let after = |outcome| {
            chosen.report(&board, outcome);
            board.is_healthy(id, "a:1")
        };
        assert!(after(Outcome::Answered(500)));
        assert!(after(Outcome::Answered(200)));
        assert!(after(Outcome::Answered(500)));
        assert!(!after(Outcome::Answered(500)));
        assert!(after(Outcome::Answered(200)));
        assert!(after(Outcome::TimedOut));
        assert!(!after(Outcome::Failed));
    }
}
