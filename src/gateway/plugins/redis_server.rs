//! The Redis or Valkey server of a plugin's `redis` record: its address, its connection, and how long it may take.

use super::{ConfigError, Instance};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, RedisError};
use std::time::Duration;
use tokio::time::timeout;

/// A server. It is connected to at the first use.
pub struct RedisServer {
    client: Client,
    connection: tokio::sync::Mutex<Option<ConnectionManager>>,
    limit: Duration,
}

impl RedisServer {
    /// The server of the `redis` record.
    ///
    /// # Errors
    /// [`ConfigError`] when the record names no server, or asks for what is not executed here.
    pub fn new(instance: &Instance<'_>) -> Result<Self, ConfigError> {
        for field in ["redis.sentinel_master", "redis.sentinel_nodes", "redis.cluster_nodes"] {
            if instance.get(field).is_some() {
                return Err(ConfigError::new(
                    field,
                    "is not executed by this gateway, only single servers are",
                ));
            }
        }
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
        let limit = instance.number("redis.timeout").or_else(|| instance.number("redis.read_timeout"));
        Ok(RedisServer {
            // The library's words may quote the URL, which holds a password.
            client: Client::open(url).map_err(|_| ConfigError::new("redis", "it names no server"))?,
            connection: tokio::sync::Mutex::new(None),
            limit: Duration::from_millis(limit.unwrap_or(2000.0).max(1.0) as u64),
        })
    }

    /// Asks the server for something.
    ///
    /// # Errors
    /// Why it did not answer in time.
    pub async fn ask<T>(
        &self,
        act: impl AsyncFnOnce(ConnectionManager) -> Result<T, RedisError>,
    ) -> Result<T, String> {
        let asking = async { act(self.connection().await?).await };
        match timeout(self.limit, asking).await {
            Ok(Ok(answer)) => Ok(answer),
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
