//! How many requests a second are answered.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A limit that starts anew every second.
#[derive(Debug)]
pub(super) struct Limit {
    rate: u32,
    window: Mutex<(Instant, u32)>,
}

impl Limit {
    /// At most `rate` requests in each second.
    pub fn new(rate: u32) -> Self {
        Limit { rate, window: Mutex::new((Instant::now(), 0)) }
    }

    /// Counts a request. `Some(seconds)` when it is one too many: when to come back.
    pub fn take(&self) -> Option<u64> {
        self.take_at(Instant::now())
    }

    fn take_at(&self, now: Instant) -> Option<u64> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(window.0) >= Duration::from_secs(1) {
            *window = (now, 0);
        }
        if window.1 >= self.rate {
            return Some(1);
        }
        window.1 += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_room_for_as_many_as_the_rate() {
        let limit = Limit::new(2);
        let start = Instant::now();
        let taken = |after: u64| limit.take_at(start + Duration::from_millis(after));
        assert_eq!([taken(100), taken(200), taken(300)], [None, None, Some(1)]);
        assert_eq!(taken(1500), None);
    }
}
