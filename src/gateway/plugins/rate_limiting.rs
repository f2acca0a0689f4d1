//! `rate-limiting`: so many requests a second, minute, hour ... for each consumer, address, path ...
//!
//! Counters of the policies `local` and `cluster` are this process's own: there is one node here. Those of `redis`
//! are counted at once, whatever `sync_rate` says.

use super::periods::Period;
use super::redis_counters::RedisCounters;
use super::{ConfigError, Entry, Failure, Flow, Instance, Plugin, status};
use crate::gateway::proxy::Context;
use async_trait::async_trait;
use http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// The plugin's line in the table.
pub const ENTRY: Entry = Entry { name: "rate-limiting", priority: 910, build };

/// Beyond this many identifiers in one scope, those whose periods are over are forgotten.
const MANY: usize = 50_000;

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
    redis: Option<RedisCounters>,
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

/// Counters by scope (the plugin's route and service), then by identifier.
#[derive(Default)]
struct Scopes(Mutex<HashMap<String, Arc<Counters>>>);

#[derive(Default)]
struct Counters(Mutex<HashMap<Box<str>, [Window; 6]>>);

#[derive(Clone, Copy, Default)]
struct Window {
    start: u64,
    count: u64,
}

/// What is left of one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Usage {
    period: Period,
    limit: u64,
    remaining: u64,
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
    let redis =
        (instance.text("policy") == Some("redis")).then(|| RedisCounters::new(instance)).transpose()?;
    let limit = |period: Period| {
        instance.number(period.name()).filter(|limit| *limit >= 0.0).map(|limit| (period, limit as u64))
    };
    let reference =
        |field: &str| instance.row.get(field).and_then(|r| r.get("id")).and_then(|id| id.exposed_str());
    let scope =
        format!("{}:{}", reference("route").unwrap_or_default(), reference("service").unwrap_or_default());
    Ok(Arc::new(RateLimiting {
        limits: Period::ALL.into_iter().filter_map(limit).collect(),
        by,
        hide_headers: instance.flag("hide_client_headers"),
        error_code: status("error_code", instance.integer("error_code").unwrap_or(429))?,
        error_message: instance.text("error_message").unwrap_or("API rate limit exceeded").into(),
        counters: instance.shared.get::<Scopes>().counters(scope),
        redis,
        fault_tolerant: instance.flag("fault_tolerant"),
    }))
}

#[async_trait]
impl Plugin for RateLimiting {
    async fn access(&self, context: &mut Context) -> Result<Flow, Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let identifier =
            self.identifier(context).unwrap_or_else(|| context.inbound.client_ip.to_string().into());
        let (usage, stop) = match &self.redis {
            None => self.counters.take(&identifier, &self.limits, now),
            Some(redis) => match self.take_from(redis, &identifier, now).await {
                Ok(taken) => taken,
                Err(_) if self.fault_tolerant => return Ok(Flow::Continue),
                Err(reason) => return Err(Failure::new(reason)),
            },
        };
        let mut headers = HeaderMap::new();
        if !self.hide_headers {
            write_headers(&mut headers, &usage, stop.is_some(), now);
        }
        if stop.is_none() {
            context.response_headers.extend(headers);
            return Ok(Flow::Continue);
        }
        let mut answer = context.error(self.error_code, &self.error_message);
        answer.headers_mut().extend(headers);
        Ok(Flow::Respond(answer))
    }
}

impl RateLimiting {
    /// Counts one request in Redis, which counts refused ones too.
    async fn take_from(
        &self,
        redis: &RedisCounters,
        identifier: &str,
        now: u64,
    ) -> Result<(Vec<Usage>, Option<Period>), String> {
        let periods: Vec<Period> = self.limits.iter().map(|(period, _)| *period).collect();
        let counts = redis.take(identifier, &periods, now).await?;
        let mut stop = None;
        let mut usage: Vec<Usage> = Vec::with_capacity(counts.len());
        for ((period, limit), count) in self.limits.iter().zip(counts) {
            let remaining = limit.saturating_sub(count);
            if remaining == 0 {
                stop = Some(*period);
            }
            usage.push(Usage { period: *period, limit: *limit, remaining });
        }
        if stop.is_none() {
            usage.iter_mut().for_each(|used| used.remaining -= 1);
        }
        Ok((usage, stop))
    }

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
            By::Header(name) => context
                .inbound
                .headers
                .get(name)
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into()),
            By::Path(path) => (context.inbound.uri.path() == &**path).then(|| path.clone()),
        }
    }
}

impl Scopes {
    fn counters(&self, scope: String) -> Arc<Counters> {
        Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(scope).or_default())
    }
}

impl Counters {
    /// Counts one request unless a limit is reached. Gives what is left afterwards, and the limit that stopped it.
    fn take(&self, identifier: &str, limits: &[(Period, u64)], now: u64) -> (Vec<Usage>, Option<Period>) {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counters.len() >= MANY && !counters.contains_key(identifier) {
            counters.retain(|_, windows| {
                Period::ALL
                    .iter()
                    .zip(windows.iter())
                    .any(|(period, w)| w.count > 0 && w.start == period.start(now))
            });
        }
        let mut fresh = None;
        let windows = match counters.get_mut(identifier) {
            Some(windows) => windows,
            None => fresh.insert([Window::default(); 6]),
        };
        let mut usage = Vec::with_capacity(limits.len());
        let mut stop = None;
        for &(period, limit) in limits {
            let Some(window) = windows.get_mut(period as usize) else { continue };
            let start = period.start(now);
            if window.start != start {
                *window = Window { start, count: 0 };
            }
            let remaining = limit.saturating_sub(window.count);
            if remaining == 0 {
                stop = Some(period);
            }
            usage.push(Usage { period, limit, remaining });
        }
        if stop.is_none() {
            for used in &mut usage {
                used.remaining -= 1;
                if let Some(window) = windows.get_mut(used.period as usize) {
                    window.count += 1;
                }
            }
        }
        if let Some(windows) = fresh {
            counters.insert(identifier.into(), windows);
        }
        (usage, stop)
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
