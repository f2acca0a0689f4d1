//! Which targets of upstreams are healthy: set by the proxy's checks and through the Admin API, read by both.
//!
//! What does not live here: the checks themselves, and choosing a target (`proxy`).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use uuid::Uuid;

/// The health of every target that somebody has said something about. A target that is not on the board is healthy.
#[derive(Debug, Default)]
pub struct Board(Mutex<HashMap<Uuid, HashMap<Box<str>, bool>>>);

impl Board {
    /// Marks a target (`host:port`, as stored) of an upstream. Answers whether that changed anything.
    pub fn set(&self, upstream: Uuid, target: &str, healthy: bool) -> bool {
        let mut board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        board.entry(upstream).or_default().insert(target.into(), healthy) != Some(healthy)
    }

    /// Whether a target may be used.
    pub fn is_healthy(&self, upstream: Uuid, target: &str) -> bool {
        let board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        board.get(&upstream).and_then(|targets| targets.get(target)).copied().unwrap_or(true)
    }

    /// Forgets an upstream, when it is deleted.
    pub fn forget(&self, upstream: Uuid) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&upstream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_healthy_until_told_otherwise() {
        let (board, upstream) = (Board::default(), Uuid::from_u128(1));
        assert!(board.is_healthy(upstream, "a:80"));
        assert!(board.set(upstream, "a:80", false));
        assert!(!board.set(upstream, "a:80", false));
        assert!(!board.is_healthy(upstream, "a:80"));
        assert!(board.is_healthy(Uuid::from_u128(2), "a:80"));
        board.forget(upstream);
        assert!(board.is_healthy(upstream, "a:80"));
    }
}
