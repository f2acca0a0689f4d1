//! `rate-limiting`: so many requests a second, minute, hour ... for each consumer, address, path ...
//!
//! Counters of the policies `local` and `cluster` are this process's own: there is one node here.

use super::counters::{self, Counters, Scopes, Usage};
use super::periods::Period;
use super::redis_counters::RedisCounters;
use super::{ConfigError, Entry, Failure, Flow, Instance, Plugin, status};
use crate::gateway::proxy::{Context, normalize_path};
use async_trait::async_trait;
use http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use std::sync::Arc;

/// The plugin's line in the table.
pub const ENTRY: Entry = Entry { name: "rate-limiting", priority: 910, build };

const NAMES: [(&str, &str); 6] = [
    ("x-ratelimit-limit-second", "x-ratelimit-remaining-second"),
    ("x-ratelimit-limit-minute", "x-ratelimit-remaining-minute"),
    ("x-ratelimit-limit-hour", "x-ratelimit-remaining-hour"),
    ("x-ratelimit-limit-day", "x-ratelimit-remaining-day"),
    ("x-ratelimit-limit-month", "x-ratelimit-remaining-month"),
    ("x-ratelimit-limit-year", "x-ratelimit-remaining-year"),
];
const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

struct RateLimiting {
    limits: Vec<(Period, u64)>,
    by: By,
    hide_headers: bool,
    error_code: StatusCode,
    error_message: Box<str>,
    counters: Arc<Counters>,
    redis: Option<Arc<RedisCounters>>,
    fault_tolerant: bool,
}

enum By {
    Consumer,
    Credential,
    Ip,
    Service,
    Header(HeaderName),
    Path(Box<str>),
}

fn build(instance: &Instance<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
    let by = match instance.text("limit_by") {
        Some("credential") => By::Credential,
        Some("ip") => By::Ip,
        Some("service") => By::Service,
        Some("header") => {
            let name = instance.text("header_name").unwrap_or_default();
            By::Header(
                HeaderName::from_bytes(name.as_bytes())
                    .map_err(|_| ConfigError::new("header_name", format!("{name:?} is no header name")))?,
            )
        }
        Some("path") => By::Path(instance.text("path").unwrap_or_default().into()),
        _ => By::Consumer,
    };
    let redis = (instance.text("policy") == Some("redis"))
        .then(|| RedisCounters::new("ratelimit", instance))
        .transpose()?;
    let limit = |period: Period| {
        instance.number(period.name()).filter(|limit| *limit >= 0.0).map(|limit| (period, limit as u64))
    };
    Ok(Arc::new(RateLimiting {
        limits: Period::ALL.into_iter().filter_map(limit).collect(),
        by,
        hide_headers: instance.flag("hide_client_headers"),
        error_code: status("error_code", instance.integer("error_code").unwrap_or(429))?,
        error_message: instance.text("error_message").unwrap_or("API rate limit exceeded").into(),
        counters: instance.shared.get::<Scopes>().counters(ENTRY.name, instance),
        redis,
        fault_tolerant: instance.flag("fault_tolerant"),
    }))
}

#[async_trait]
impl Plugin for RateLimiting {
    async fn access(&self, context: &mut Context) -> Result<Flow, Failure> {
        let now = counters::now();
        let identifier =
            self.identifier(context).unwrap_or_else(|| context.inbound.client_ip.to_string().into());
        let (usage, stop) = match &self.redis {
            None => self.counters.take(&identifier, &self.limits, now),
            Some(redis) => match redis.take(&identifier, &self.limits, now).await {
                Ok(used) => counters::usage(&self.limits, used),
                Err(_) if self.fault_tolerant => return Ok(Flow::Continue),
                Err(reason) => return Err(Failure::new(reason)),
            },
        };
        if stop.is_none() {
            if !self.hide_headers {
                write_headers(&mut context.response_headers, &usage, false, now);
            }
            return Ok(Flow::Continue);
        }
        let mut answer = context.error(self.error_code, &self.error_message);
        if !self.hide_headers {
            write_headers(answer.headers_mut(), &usage, true, now);
        }
        Ok(Flow::Respond(answer))
    }
}

impl RateLimiting {
    /// Whom the request is counted for; `None` stands for the client's address.
    fn identifier(&self, context: &Context) -> Option<Box<str>> {
        let identity = &context.identity;
        let credential = || identity.credential.as_ref().map(|credential| credential.id.clone());
        match &self.by {
            By::Consumer => {
                identity.consumer.as_ref().map(|consumer| consumer.id.clone()).or_else(credential)
            }
            By::Credential => credential(),
            By::Ip => None,
            By::Service => context.service.as_ref().map(|service| service.id.clone()),
            By::Header(name) => {
                context.header(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into())
            }
            By::Path(path) => {
                let asked = normalize_path(context.inbound.uri.path());
                (asked.as_deref() == Some(&**path)).then(|| path.clone())
            }
        }
    }
}

fn write_headers(headers: &mut HeaderMap, usage: &[Usage], stopped: bool, now: u64) {
    for used in usage {
        if let Some((limit, remaining)) = NAMES.get(used.period as usize) {
            headers.insert(*limit, HeaderValue::from(used.limit));
            headers.insert(*remaining, HeaderValue::from(used.remaining));
        }
    }
    // The limit that is reached first; of two, that of the longer period.
    let Some(first) = usage.iter().min_by_key(|used| (used.remaining, std::cmp::Reverse(used.period))) else {
        return;
    };
    let passed = now.saturating_sub(first.period.start(now));
    let reset = HeaderValue::from(first.period.seconds().saturating_sub(passed).max(1));
    headers.insert(LIMIT, HeaderValue::from(first.limit));
    headers.insert(REMAINING, HeaderValue::from(first.remaining));
    headers.insert(RESET, reset.clone());
    if stopped {
        headers.insert(RETRY_AFTER, reset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_tell_of_the_limit_that_is_reached_first() {
        let mut headers = HeaderMap::new();
        let used = |period, limit, remaining| Usage { period, limit, remaining };
        let usage = [used(Period::Hour, 2, 0), used(Period::Day, 9, 0)];
        write_headers(&mut headers, &usage, true, 90_000);
        assert_eq!(headers.get(LIMIT), Some(&HeaderValue::from(9)));
        assert_eq!(headers.get(RESET), Some(&HeaderValue::from(82_800)));
        assert_eq!(headers.get("x-ratelimit-limit-hour"), Some(&HeaderValue::from(2)));
    }
}
