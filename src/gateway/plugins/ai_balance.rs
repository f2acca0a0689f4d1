//! Which target of `ai-proxy-advanced` is next: the algorithms, and what they remember of each target.
//!
//! What does not live here: sending, and what counts as a failure (`ai_proxy_advanced`).

use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// `config.balancer.algorithm`, as far as it is executed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// By weight, in turn.
    RoundRobin,
    /// By a header, so that the same value goes to the same target.
    ConsistentHashing,
    /// The target with the fewest requests under way, by weight.
    LeastConnections,
    /// The target that answers fastest.
    LowestLatency,
    /// The target that has used the least, by weight.
    LowestUsage,
    /// The targets of the greatest weight in turn; those of the next one when all of them failed.
    Priority,
}

impl Algorithm {
    /// The algorithm of this name; `None` for one that is not executed here.
    pub fn from_name(name: &str) -> Option<Algorithm> {
        Some(match name {
            "round-robin" => Algorithm::RoundRobin,
            "consistent-hashing" => Algorithm::ConsistentHashing,
            "least-connections" => Algorithm::LeastConnections,
            "lowest-latency" => Algorithm::LowestLatency,
            "lowest-usage" => Algorithm::LowestUsage,
            "priority" => Algorithm::Priority,
            _ => return None,
        })
    }
}

/// When a target that fails is left alone.
#[derive(Clone, Copy, Debug)]
pub struct Breaker {
    /// After so many failures; 0 for never.
    pub max_fails: u32,
    /// How long they count, and how long it is left alone.
    pub fail_timeout: Duration,
}

/// What is remembered of the targets of one plugin, as long as the gateway runs.
#[derive(Debug, Default)]
pub struct Board(Mutex<Vec<Remembered>>);

/// The boards by plugin id.
#[derive(Debug, Default)]
pub struct Boards(Mutex<HashMap<Box<str>, Arc<Board>>>);

#[derive(Clone, Debug, Default)]
struct Remembered {
    /// For the smooth turn by weight.
    credit: i64,
    under_way: u32,
    /// Milliseconds, a moving average; nothing before the first answer.
    latency: Option<f64>,
    used: f64,
    fails: u32,
    last_fail: Option<Instant>,
}

impl Boards {
    /// The board of a plugin with so many targets.
    pub fn board(&self, plugin: &str, targets: usize) -> Arc<Board> {
        let mut boards = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let board = Arc::clone(boards.entry(plugin.into()).or_default());
        board.lock().resize(targets, Remembered::default());
        board
    }
}

impl Board {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Remembered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next target among `candidates` (their places), `weights` being those of all targets. Targets that fail
    /// too often are left out, unless all do.
    pub fn choose(
        &self,
        algorithm: Algorithm,
        candidates: &[usize],
        weights: &[u32],
        breaker: Breaker,
        hash: &str,
    ) -> Option<usize> {
        let mut board = self.lock();
        let now = Instant::now();
        let alone = |place: usize| board.get(place).is_some_and(|target| target.is_alone(breaker, now));
        let healthy: Vec<usize> = candidates.iter().copied().filter(|place| !alone(*place)).collect();
        let candidates = if healthy.is_empty() { candidates } else { &healthy };
        let weight = |place: usize| f64::from(weights.get(place).copied().unwrap_or(1).max(1));
        let least = |measure: &dyn Fn(usize) -> f64| {
            candidates.iter().copied().min_by(|a, b| measure(*a).total_cmp(&measure(*b)))
        };
        match algorithm {
            Algorithm::RoundRobin => turn(&mut board, candidates, weights),
            Algorithm::Priority => {
                let top = candidates.iter().map(|place| weights.get(*place).copied().unwrap_or(1)).max()?;
                let group: Vec<usize> =
                    candidates.iter().copied().filter(|place| weights.get(*place) == Some(&top)).collect();
                turn(&mut board, &group, weights)
            }
            Algorithm::ConsistentHashing => least(&|place| -score(hash, place, weight(place))),
            Algorithm::LeastConnections => {
                let least = least(&|place| {
                    board.get(place).map_or(0.0, |target| f64::from(target.under_way)) / weight(place)
                })?;
                // those that are equally free take turns
                let busy = |place: usize| {
                    board.get(place).map_or(0.0, |target| f64::from(target.under_way)) / weight(place)
                };
                let equal: Vec<usize> =
                    candidates.iter().copied().filter(|place| busy(*place) <= busy(least)).collect();
                turn(&mut board, &equal, weights)
            }
            // one without an answer yet is tried first
            Algorithm::LowestLatency => {
                least(&|place| board.get(place).and_then(|target| target.latency).unwrap_or(0.0))
            }
            Algorithm::LowestUsage => {
                least(&|place| board.get(place).map_or(0.0, |target| target.used) / weight(place))
            }
        }
    }

    /// A request goes to a target: it counts as under way until the guard is dropped.
    pub fn begin(self: &Arc<Self>, place: usize) -> UnderWay {
        if let Some(target) = self.lock().get_mut(place) {
            target.under_way += 1;
        }
        UnderWay { board: Arc::clone(self), place }
    }

    /// A target failed.
    pub fn failed(&self, place: usize, breaker: Breaker) {
        if let Some(target) = self.lock().get_mut(place) {
            let now = Instant::now();
            let counts = target.last_fail.is_some_and(|at| now.duration_since(at) < breaker.fail_timeout);
            target.fails = if counts { target.fails.saturating_add(1) } else { 1 };
            target.last_fail = Some(now);
        }
    }

    /// A target answered: how long it took, in milliseconds, and what it used.
    pub fn answered(&self, place: usize, latency: f64, used: f64) {
        if let Some(target) = self.lock().get_mut(place) {
            target.fails = 0;
            target.latency = Some(target.latency.map_or(latency, |before| before * 0.7 + latency * 0.3));
            target.used += used;
        }
    }
}

impl Remembered {
    fn is_alone(&self, breaker: Breaker, now: Instant) -> bool {
        breaker.max_fails > 0
            && self.fails >= breaker.max_fails
            && self.last_fail.is_some_and(|at| now.duration_since(at) < breaker.fail_timeout)
    }
}

/// The next in turn by weight: spread evenly, not in runs.
fn turn(board: &mut [Remembered], candidates: &[usize], weights: &[u32]) -> Option<usize> {
    let weight = |place: usize| i64::from(weights.get(place).copied().unwrap_or(1).max(1));
    let total: i64 = candidates.iter().map(|place| weight(*place)).sum();
    let mut best: Option<(usize, i64)> = None;
    for place in candidates {
        if let Some(target) = board.get_mut(*place) {
            target.credit += weight(*place);
            if best.is_none_or(|(_, credit)| target.credit > credit) {
                best = Some((*place, target.credit));
            }
        }
    }
    let (place, _) = best?;
    if let Some(target) = board.get_mut(place) {
        target.credit -= total;
    }
    Some(place)
}

/// Rendezvous hashing: the target with the greatest score has the value; weights give shares, and a target that
/// goes away moves its own values only.
fn score(hash: &str, place: usize, weight: f64) -> f64 {
    let digest = Sha256::digest(format!("{place}:{hash}"));
    let number = digest.iter().take(8).fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    let uniform = (number as f64 + 1.0) / (u64::MAX as f64 + 2.0);
    -weight / uniform.ln()
}

/// A request under way.
#[derive(Debug)]
pub struct UnderWay {
    board: Arc<Board>,
    /// The target's place.
    pub place: usize,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(target) = self.board.lock().get_mut(self.place) {
            target.under_way = target.under_way.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Breaker = Breaker { max_fails: 0, fail_timeout: Duration::from_secs(10) };

    fn board(targets: usize) -> Arc<Board> {
        Boards::default().board("p", targets)
    }

    fn counts(board: &Board, algorithm: Algorithm, weights: &[u32], times: usize) -> Vec<usize> {
        let all: Vec<usize> = (0..weights.len()).collect();
        let mut counts = vec![0; weights.len()];
        for n in 0..times {
            if let Some(count) =
                board.choose(algorithm, &all, weights, NEVER, &n.to_string()).and_then(|p| counts.get_mut(p))
            {
                *count += 1;
            }
        }
        counts
    }

    #[test]
    fn turns_follow_the_weights() {
        assert_eq!(counts(&board(3), Algorithm::RoundRobin, &[70, 25, 5], 100), [70, 25, 5]);
        assert_eq!(counts(&board(3), Algorithm::Priority, &[70, 70, 5], 10), [5, 5, 0]);
    }

    #[test]
    fn hashes_follow_the_weights_and_stay() {
        let board = board(2);
        let counts = counts(&board, Algorithm::ConsistentHashing, &[3, 1], 4000);
        assert!(counts[0] > 2800 && counts[0] < 3200, "{counts:?}");
        let choose = |candidates: &[usize]| {
            board.choose(Algorithm::ConsistentHashing, candidates, &[1, 1], NEVER, "me")
        };
        assert_eq!(choose(&[0, 1]), choose(&[1, 0]));
    }

    #[test]
    fn the_least_busy_fastest_and_least_used_are_taken() {
        let all = [0, 1];
        let board = board(2);
        let choose = |algorithm| board.choose(algorithm, &all, &[1, 1], NEVER, "");
        let under_way = board.begin(0);
        assert_eq!(choose(Algorithm::LeastConnections), Some(1));
        drop(under_way);
        board.answered(0, 10.0, 500.0);
        assert_eq!(choose(Algorithm::LowestLatency), Some(1), "not measured yet");
        board.answered(1, 90.0, 100.0);
        assert_eq!(choose(Algorithm::LowestLatency), Some(0));
        assert_eq!(choose(Algorithm::LowestUsage), Some(1));
    }

    #[test]
    fn a_target_that_fails_is_left_alone() {
        let breaker = Breaker { max_fails: 2, fail_timeout: Duration::from_millis(40) };
        let board = board(2);
        let choose = || board.choose(Algorithm::Priority, &[0, 1], &[9, 1], breaker, "");
        board.failed(0, breaker);
        assert_eq!(choose(), Some(0));
        board.failed(0, breaker);
        assert_eq!(choose(), Some(1));
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(choose(), Some(0));
    }
}
