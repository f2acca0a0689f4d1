//! Where `ai-rate-limiting-advanced` keeps its counters: in this process, which outlives configurations, or in Redis.
//!
//! There is one node here, so the strategy `cluster` is as `local`.

use super::redis_server::RedisServer;
use super::{ConfigError, Instance};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Beyond this many counters of one plugin, those whose windows are over are forgotten.
const MANY: usize = 50_000;

/// A counter: which limit of which rule, and whose.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The rule's place.
    pub rule: usize,
    /// The limit's place among the rule's.
    pub limit: usize,
    /// Whose counter it is.
    pub owner: String,
    /// The window's length in seconds.
    pub window: u64,
}

/// The counters of one plugin.
pub enum Counters {
    /// In this process.
    Local(Arc<Local>),
    /// In a Redis server.
    Redis(Arc<Redis>),
}

/// Counters by plugin id.
#[derive(Default)]
struct Everyone(Mutex<HashMap<Box<str>, Arc<Local>>>);

/// Counters of this process.
#[derive(Default)]
pub struct Local(Mutex<HashMap<Key, Window>>);

/// Counters in Redis. What this process counted itself is kept too, for times when the server is away.
pub struct Redis {
    server: RedisServer,
    own: Local,
    plugin: Box<str>,
}

#[derive(Clone, Copy, Default)]
struct Window {
    /// Which window since 1970.
    number: u64,
    used: f64,
    before: f64,
}

impl Counters {
    /// The counters that a plugin's `strategy` asks for.
    ///
    /// # Errors
    /// [`ConfigError`] when they would be in a Redis that cannot be used.
    pub fn new(instance: &Instance<'_>) -> Result<Counters, ConfigError> {
        if instance.text("strategy") == Some("redis") {
            let server = RedisServer::new(instance)?;
            return Ok(Counters::Redis(Arc::new(Redis {
                server,
                own: Local::default(),
                plugin: instance.id.into(),
            })));
        }
        let everyone = instance.shared.get::<Everyone>();
        let mut everyone = everyone.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Counters::Local(Arc::clone(everyone.entry(instance.id.into()).or_default())))
    }

    /// What was used in the window of `now` (seconds since 1970); sliding windows add the share of the last one that
    /// they still cover.
    pub async fn used(&self, key: Key, sliding: bool, now: u64) -> f64 {
        let (length, number) = (key.window, now / key.window);
        let window = match self {
            Counters::Local(local) => local.window(&key).at(number),
            Counters::Redis(redis) => {
                redis.window(&key, number).await.unwrap_or_else(|_| redis.own.window(&key).at(number))
            }
        };
        let rest = 1.0 - (now % length) as f64 / length as f64;
        if sliding { window.used + window.before * rest } else { window.used }
    }

    /// Adds to what was used. Redis is told by a task of its own; when it is away, only this process counts.
    pub fn add(&self, key: Key, used: f64, now: u64) {
        match self {
            Counters::Local(local) => local.add(key, used, now),
            Counters::Redis(redis) => {
                redis.own.add(key.clone(), used, now);
                let redis = Arc::clone(redis);
                tokio::spawn(async move { redis.add(&key, used, now / key.window).await });
            }
        }
    }
}

impl Local {
    fn window(&self, key: &Key) -> Window {
        let counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counters.get(key).copied().unwrap_or_default()
    }

    fn add(&self, key: Key, used: f64, now: u64) {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counters.len() >= MANY && !counters.contains_key(&key) {
            counters.retain(|key, counter| counter.number + 1 >= now / key.window);
        }
        let number = now / key.window;
        let counter = counters.entry(key).or_default();
        *counter = counter.at(number);
        counter.used += used;
    }
}

impl Redis {
    fn name(&self, key: &Key, number: u64) -> String {
        let Key { rule, limit, owner, window } = key;
        format!("ai-rate-limiting-advanced:{}:{rule}:{limit}:{window}:{number}:{owner}", self.plugin)
    }

    async fn window(&self, key: &Key, number: u64) -> Result<Window, String> {
        let names = [self.name(key, number), self.name(key, number.saturating_sub(1))];
        self.server
            .ask(async |mut connection| {
                let found: (Option<f64>, Option<f64>) =
                    redis::cmd("MGET").arg(&names).query_async(&mut connection).await?;
                Ok(Window { number, used: found.0.unwrap_or(0.0), before: found.1.unwrap_or(0.0) })
            })
            .await
    }

    async fn add(&self, key: &Key, used: f64, number: u64) {
        let name = self.name(key, number);
        let added = self.server.ask(async |mut connection| {
            let mut both = redis::pipe();
            both.atomic().cmd("INCRBYFLOAT").arg(&name).arg(used).ignore();
            // a sliding window looks at the last one too
            both.cmd("EXPIRE").arg(&name).arg(key.window.saturating_mul(2)).ignore();
            both.query_async::<()>(&mut connection).await
        });
        // a server that is away lacks this count
        let _ = added.await;
    }
}

impl Window {
    /// The counter in the window of this number.
    fn at(self, number: u64) -> Window {
        match number.checked_sub(self.number) {
            Some(0) | None => self,
            Some(1) => Window { number, used: 0.0, before: self.used },
            Some(_) => Window { number, used: 0.0, before: 0.0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn windows_slide_or_start_anew() {
        let local = Arc::new(Local::default());
        let counters = Counters::Local(local);
        let key = || Key { rule: 0, limit: 0, owner: String::new(), window: 60 };
        let used = async |sliding, now| counters.used(key(), sliding, now).await;
        counters.add(key(), 30.0, 59);
        assert_eq!(used(true, 59).await, 30.0);
        assert_eq!(used(false, 60).await, 0.0);
        assert_eq!(used(true, 60).await, 30.0);
        assert_eq!(used(true, 90).await, 15.0);
        counters.add(key(), 10.0, 90);
        assert_eq!(used(true, 90).await, 25.0);
        assert_eq!(used(true, 500).await, 0.0);
    }
}
