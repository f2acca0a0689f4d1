//! Counters in this process: so many in the current second, minute, hour ... for each identifier.
//!
//! What does not live here: who is counted (`rate_limiting`, `response_ratelimiting`), and counters in Redis.

use super::Instance;
use super::periods::Period;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Beyond this many identifiers in one scope, those whose periods are over are forgotten.
const MANY: usize = 50_000;

/// Counters by scope (a plugin's name, route and service), then by identifier.
#[derive(Default)]
pub struct Scopes(Mutex<HashMap<String, Arc<Counters>>>);

/// The counters of one scope.
#[derive(Default)]
pub struct Counters(Mutex<HashMap<Box<str>, Windows>>);

/// The current window of each period.
#[derive(Default)]
struct Windows {
    /// The second for which they are current.
    at: u64,
    of: [Window; Period::ALL.len()],
}

#[derive(Clone, Copy, Default)]
struct Window {
    start: u64,
    count: u64,
}

/// What is left of one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The limit's period.
    pub period: Period,
    /// How many it allows.
    pub limit: u64,
    /// How many are left.
    pub remaining: u64,
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The ids of the route and the service that a plugin belongs to.
pub fn scope<'a>(instance: &Instance<'a>) -> (Option<&'a str>, Option<&'a str>) {
    let row = instance.row;
    let id = |field: &str| row.get(field).and_then(|r| r.get("id")).and_then(|id| id.exposed_str());
    (id("route"), id("service"))
}

impl Scopes {
    /// The counters of a plugin: all instances for one route and service count together.
    pub fn counters(&self, name: &str, instance: &Instance<'_>) -> Arc<Counters> {
        let (route, service) = scope(instance);
        let key = format!("{name}:{}:{}", route.unwrap_or_default(), service.unwrap_or_default());
        Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default())
    }
}

/// What is left of limits after so many, and the last limit of which nothing is.
pub fn usage(limits: &[(Period, u64)], used: impl IntoIterator<Item = u64>) -> (Vec<Usage>, Option<Period>) {
    let mut stop = None;
    let remains = |((period, limit), used): (&(Period, u64), u64)| {
        let remaining = limit.saturating_sub(used);
        if remaining == 0 {
            stop = Some(*period);
        }
        Usage { period: *period, limit: *limit, remaining }
    };
    let mut usage: Vec<Usage> = limits.iter().zip(used).map(remains).collect();
    if stop.is_none() {
        usage.iter_mut().for_each(|used| used.remaining -= 1);
    }
    (usage, stop)
}

impl Counters {
    /// Counts one in each period, unless a limit is reached: then the period is named and nothing counted.
    pub fn take(&self, identifier: &str, limits: &[(Period, u64)], now: u64) -> (Vec<Usage>, Option<Period>) {
        self.with(identifier, now, |windows| {
            let used =
                limits.iter().map(|(period, _)| windows.of.get(*period as usize).map_or(0, |w| w.count));
            let (usage, stop) = usage(limits, used);
            if stop.is_none() {
                for (period, _) in limits {
                    windows.of.get_mut(*period as usize).into_iter().for_each(|window| window.count += 1);
                }
            }
            (usage, stop)
        })
    }

    /// How many there were in the current window of a period.
    pub fn used(&self, identifier: &str, period: Period, now: u64) -> u64 {
        self.with(identifier, now, |windows| windows.of.get(period as usize).map_or(0, |window| window.count))
    }

    /// Counts so many in every period.
    pub fn add(&self, identifier: &str, count: u64, now: u64) {
        self.with(identifier, now, |windows| windows.of.iter_mut().for_each(|window| window.count += count));
    }

    fn with<T>(&self, identifier: &str, now: u64, act: impl FnOnce(&mut Windows) -> T) -> T {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(windows) = counters.get_mut(identifier) {
            windows.roll(now);
            return act(windows);
        }
        if counters.len() >= MANY {
            counters.retain(|_, windows| {
                windows.roll(now);
                windows.of.iter().any(|window| window.count > 0)
            });
        }
        let mut windows = Windows::default();
        windows.roll(now);
        let result = act(&mut windows);
        counters.insert(identifier.into(), windows);
        result
    }
}

impl Windows {
    /// Begins the windows whose period has passed anew.
    fn roll(&mut self, now: u64) {
        if std::mem::replace(&mut self.at, now) == now {
            return;
        }
        for (period, window) in Period::ALL.iter().zip(&mut self.of) {
            let start = period.start(now);
            if window.start != start {
                *window = Window { start, count: 0 };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_counts_for_its_period_and_identifier() {
        let counters = Counters::default();
        let limits = [(Period::Minute, 2), (Period::Hour, 9)];
        let take = |who, now| counters.take(who, &limits, now);
        assert_eq!(take("a", 3600).1, None);
        let (usage, stop) = take("a", 3601);
        assert_eq!((usage.first().map(|u| u.remaining), stop), (Some(0), None));
        assert_eq!(take("a", 3602).1, Some(Period::Minute));
        assert_eq!(take("b", 3602).1, None);
        let (usage, stop) = take("a", 3660);
        assert_eq!((usage.iter().map(|u| u.remaining).collect::<Vec<_>>(), stop), (vec![1, 6], None));
    }

    #[test]
    fn counts_can_be_added_and_asked_for() {
        let counters = Counters::default();
        counters.add("a", 5, 3600);
        counters.add("a", 1, 3661);
        let used = |period| counters.used("a", period, 3662);
        assert_eq!((used(Period::Second), used(Period::Minute), used(Period::Hour)), (0, 1, 6));
        assert_eq!(counters.used("b", Period::Hour, 3662), 0);
    }
}
