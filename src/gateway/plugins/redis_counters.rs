//! Counters in Redis or Valkey, under the keys that Kong uses, so that both count together.

use super::periods::Period;
use super::{ConfigError, Instance};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, RedisError, Script};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::timeout;

/// Counts one, and lets a new counter expire with its period.
const COUNT: &str = "local n = redis.call('INCR', KEYS[1]) \
                     if n == 1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end \
                     return n - 1";
/// What stands in keys for a route or a service that a plugin does not have.
const NOTHING: &str = "00000000-0000-0000-0000-000000000000";

/// A server's counters.
pub struct RedisCounters {
    client: Client,
    connection: Mutex<Option<ConnectionManager>>,
    count: Script,
    limit: Duration,
    prefix: String,
}

impl RedisCounters {
    /// Counters at the server of the `redis` record. Connects at the first use.
    ///
    /// # Errors
    /// [`ConfigError`] when the record names no server.
    pub fn new(instance: &Instance<'_>) -> Result<Self, ConfigError> {
        let escape = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let host =
            instance.text("redis.host").ok_or_else(|| ConfigError::new("redis.host", "it is missing"))?;
        let text = |field: &str| instance.text(field).filter(|text| !text.is_empty()).map(escape);
        let user = match (text("redis.username"), text("redis.password")) {
            (user, Some(password)) => format!("{}:{password}@", user.unwrap_or_default()),
            _ => String::new(),
        };
        let scheme = if instance.flag("redis.ssl") { "rediss" } else { "redis" };
        let unchecked = instance.flag("redis.ssl") && !instance.flag("redis.ssl_verify");
        let url = format!(
            "{scheme}://{user}{host}:{}/{}{}",
            instance.integer("redis.port").unwrap_or(6379),
            instance.integer("redis.database").unwrap_or(0),
            if unchecked { "#insecure" } else { "" },
        );
        let scope = |field: &str| {
            let id = instance.row.get(field).and_then(|r| r.get("id")).and_then(|id| id.exposed_str());
            id.unwrap_or(NOTHING).to_owned()
        };
        let limit = instance.number("redis.timeout").unwrap_or(2000.0).max(1.0);
        Ok(RedisCounters {
            // The library's words may quote the URL, which holds a password.
            client: Client::open(url).map_err(|_| ConfigError::new("redis", "it names no server"))?,
            connection: Mutex::new(None),
            count: Script::new(COUNT),
            limit: Duration::from_millis(limit as u64),
            prefix: format!("ratelimit:{}:{}", scope("route"), scope("service")),
        })
    }

    /// Counts one request in each period, and gives how many there were before it.
    ///
    /// # Errors
    /// Why the server did not answer in time.
    pub async fn take(&self, identifier: &str, periods: &[Period], now: u64) -> Result<Vec<u64>, String> {
        let counting = async {
            let mut connection = self.connection().await?;
            let mut counts = Vec::with_capacity(periods.len());
            for period in periods {
                let start = period.start(now) * 1000;
                let key = format!("{}:{identifier}:{start}:{}", self.prefix, period.name());
                counts.push(self.count.key(key).arg(period.seconds()).invoke_async(&mut connection).await?);
            }
            Ok::<_, RedisError>(counts)
        };
        match timeout(self.limit, counting).await {
            Ok(Ok(counts)) => Ok(counts),
            // The sort only: the words may quote the URL.
            Ok(Err(error)) => Err(format!("Redis failed: {:?}", error.kind())),
            Err(_) => Err("Redis did not answer in time".to_owned()),
        }
    }

    async fn connection(&self) -> Result<ConnectionManager, RedisError> {
        let mut connection = self.connection.lock().await;
        if let Some(connection) = connection.as_ref() {
            return Ok(connection.clone());
        }
        let config = ConnectionManagerConfig::new().set_number_of_retries(1);
        let made = ConnectionManager::new_with_config(self.client.clone(), config).await?;
        Ok(connection.insert(made).clone())
    }
}
