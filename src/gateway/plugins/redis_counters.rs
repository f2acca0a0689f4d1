//! Counters in Redis or Valkey, under the keys that Kong uses, so that both count together.

use super::counters::scope;
use super::periods::Period;
use super::redis_server::RedisServer;
use super::{ConfigError, Instance};
use redis::Script;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Counts one, and lets a new counter expire with its period.
const COUNT: &str = "local n = redis.call('INCR', KEYS[1]) \
                     if n == 1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end \
                     return n - 1";
/// Counts so many, and lets a new counter expire with its period.
const ADD: &str = "redis.call('INCRBY', KEYS[1], ARGV[1]) \
                   if redis.call('TTL', KEYS[1]) < 0 then redis.call('EXPIRE', KEYS[1], ARGV[2]) end";
/// What stands in keys for a route or a service that a plugin does not have.
const NOTHING: &str = "00000000-0000-0000-0000-000000000000";

/// A server's counters.
pub struct RedisCounters {
    server: RedisServer,
    prefix: String,
    deferred: Option<Deferred>,
}

/// Counts that go to the server now and then only (`sync_rate`).
struct Deferred {
    every: Duration,
    known: Mutex<HashMap<String, Known>>,
}

/// What this process knows of a counter.
#[derive(Clone, Copy)]
struct Known {
    /// With what it counted itself.
    used: u64,
    /// What it has still to tell the server.
    unsent: i64,
    /// The period's length in seconds.
    period: u64,
}

impl RedisCounters {
    /// Counters at the server of the `redis` record, their keys beginning with `word`. Connects at the first use.
    ///
    /// # Errors
    /// [`ConfigError`] when the record names no server.
    pub fn new(word: &str, instance: &Instance<'_>) -> Result<Arc<Self>, ConfigError> {
        let (route, service) = scope(instance);
        let every = instance.number("sync_rate").filter(|every| *every > 0.0);
        let deferred = |every| Deferred { every, known: Mutex::default() };
        Ok(Arc::new(RedisCounters {
            server: RedisServer::new(instance)?,
            prefix: format!("{word}:{}:{}", route.unwrap_or(NOTHING), service.unwrap_or(NOTHING)),
            deferred: every.and_then(|every| Duration::try_from_secs_f64(every).ok()).map(deferred),
        }))
    }

    /// Counts one request in the period of each limit, and gives how many there were before it. With a `sync_rate`
    /// the server is asked at the beginning of that time only, and refused requests are not counted.
    ///
    /// # Errors
    /// Why the server did not answer in time.
    pub async fn take(
        self: &Arc<Self>,
        identifier: &str,
        limits: &[(Period, u64)],
        now: u64,
    ) -> Result<Vec<u64>, String> {
        let keys: Vec<(String, Period)> =
            limits.iter().map(|(period, _)| (self.key(identifier, "", *period, now), *period)).collect();
        let Some(deferred) = &self.deferred else { return self.count(&keys).await };
        if !deferred.knows(&keys) {
            let counts = self.count(&keys).await?;
            deferred.learn(&keys, &counts);
            self.settle_later(deferred.every);
        }
        Ok(deferred.take(&keys, limits))
    }

    /// How many there are of something with this name, in each period.
    ///
    /// # Errors
    /// Why the server did not answer in time.
    pub async fn used(
        &self,
        identifier: &str,
        name: &str,
        periods: &[Period],
        now: u64,
    ) -> Result<Vec<u64>, String> {
        let keys: Vec<String> =
            periods.iter().map(|period| self.key(identifier, name, *period, now)).collect();
        self.server
            .ask(async |mut connection| {
                let counts: Vec<Option<u64>> =
                    redis::cmd("MGET").arg(&keys).query_async(&mut connection).await?;
                Ok(counts.into_iter().map(Option::unwrap_or_default).collect())
            })
            .await
    }

    /// Counts so many of something with this name, in every period.
    ///
    /// # Errors
    /// Why the server did not answer in time.
    pub async fn add(&self, identifier: &str, name: &str, count: u64, now: u64) -> Result<(), String> {
        let counts = Period::ALL.iter().map(|period| {
            (
                self.key(identifier, name, *period, now),
                i64::try_from(count).unwrap_or(i64::MAX),
                period.seconds(),
            )
        });
        self.send(counts.collect()).await
    }

    fn key(&self, identifier: &str, name: &str, period: Period, now: u64) -> String {
        let (start, word) = (period.start(now) * 1000, period.name());
        let name = if name.is_empty() { String::new() } else { format!("{name}:") };
        format!("{}:{identifier}:{start}:{name}{word}", self.prefix)
    }

    async fn count(&self, keys: &[(String, Period)]) -> Result<Vec<u64>, String> {
        self.server
            .ask(async |mut connection| {
                let script = Script::new(COUNT);
                let mut counts = Vec::with_capacity(keys.len());
                for (key, period) in keys {
                    counts.push(script.key(key).arg(period.seconds()).invoke_async(&mut connection).await?);
                }
                Ok(counts)
            })
            .await
    }

    async fn send(&self, counts: Vec<(String, i64, u64)>) -> Result<(), String> {
        self.server
            .ask(async |mut connection| {
                let script = Script::new(ADD);
                for (key, count, seconds) in &counts {
                    let _: () =
                        script.key(key).arg(*count).arg(*seconds).invoke_async(&mut connection).await?;
                }
                Ok(())
            })
            .await
    }

    /// Tells the server after a while what was counted, and forgets it.
    fn settle_later(self: &Arc<Self>, after: Duration) {
        let counters = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let Some(deferred) = &counters.deferred else { return };
            // A server that is away costs the counts of this time, as it does with Kong.
            let _ = counters.send(deferred.settle()).await;
        });
    }
}

impl Deferred {
    fn knows(&self, keys: &[(String, Period)]) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        keys.iter().all(|(key, _)| known.contains_key(key))
    }

    /// Keeps what the server said: it has counted this request already.
    fn learn(&self, keys: &[(String, Period)], counts: &[u64]) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for ((key, period), used) in keys.iter().zip(counts) {
            let fresh = Known { used: *used, unsent: -1, period: period.seconds() };
            known.entry(key.clone()).or_insert(fresh);
        }
    }

    /// Counts one, unless a limit is reached, and gives what there was before.
    fn take(&self, keys: &[(String, Period)], limits: &[(Period, u64)]) -> Vec<u64> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let used: Vec<u64> =
            keys.iter().map(|(key, _)| known.get(key).map_or(0, |known| known.used)).collect();
        if used.iter().zip(limits).all(|(used, (_, limit))| used < limit) {
            for (key, _) in keys {
                if let Some(known) = known.get_mut(key) {
                    known.used += 1;
                    known.unsent += 1;
                }
            }
        }
        used
    }

    fn settle(&self) -> Vec<(String, i64, u64)> {
        let known = std::mem::take(&mut *self.known.lock().unwrap_or_else(PoisonError::into_inner));
        let unsent = known.into_iter().filter(|(_, known)| known.unsent != 0);
        unsent.map(|(key, known)| (key, known.unsent, known.period)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deferred_counts_are_told_once_and_refused_ones_never() {
        let deferred = Deferred { every: Duration::from_secs(1), known: Mutex::default() };
        let (keys, limits) = ([("k".to_owned(), Period::Minute)], [(Period::Minute, 7)]);
        assert!(!deferred.knows(&keys));
        deferred.learn(&keys, &[4]);
        let before: Vec<Vec<u64>> = (0..5).map(|_| deferred.take(&keys, &limits)).collect();
        assert_eq!(before, [[4], [5], [6], [7], [7]]);
        assert_eq!(deferred.settle(), [("k".to_owned(), 2, 60)]);
        assert!(deferred.settle().is_empty());
    }
}
