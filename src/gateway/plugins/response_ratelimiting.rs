//! `response-ratelimiting`: limits on what upstreams say that their answers cost, in a header such as
//! `X-Kong-Limit: videos=2, images=1`.

use super::counters::{self, Counters, Scopes};
use super::periods::Period;
use super::redis_counters::RedisCounters;
use super::{BodyFilter, ConfigError, Entry, Failure, Flow, Instance, Plugin};
use crate::gateway::proxy::{BodyError, Context};
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode, response};
use std::sync::Arc;

/// The plugin's line in the table.
pub const ENTRY: Entry = Entry { name: "response-ratelimiting", priority: 900, build };

struct ResponseRateLimiting {
    header: HeaderName,
    by: By,
    limits: Vec<Limited>,
    counters: Arc<Counters>,
    redis: Option<Arc<RedisCounters>>,
    fault_tolerant: bool,
    block_on_first: bool,
    hide_headers: bool,
}

enum By {
    Consumer,
    Credential,
    Ip,
}

/// What an upstream may charge for, and its limits.
struct Limited {
    name: Box<str>,
    periods: Vec<(Period, u64)>,
    /// What is left, for the upstream.
    remaining: HeaderName,
    /// For the client, by period: the limit, and what is left of it.
    headers: Vec<(HeaderName, HeaderName)>,
}

/// What was known when the request came.
#[derive(Clone)]
struct Before {
    identifier: Box<str>,
    now: u64,
    /// What is left, by limited thing and period; below 0 when more was charged than there was.
    remaining: Vec<Vec<i64>>,
}

/// What the answer charges, by limited thing.
#[derive(Clone)]
struct Charged(Vec<u64>);

/// More was charged than there is: the client gets no body.
#[derive(Clone)]
struct Exceeded;

fn build(instance: &Instance<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
    let header = |name: String| {
        HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| ConfigError::new("limits", format!("{name:?} is no header name")))
    };
    let mut limits = Vec::new();
    let configured = instance.get("limits").and_then(|limits| limits.as_object());
    for (name, record) in configured.into_iter().flatten() {
        let limit = |period: Period| {
            let limit = record.get(period.name())?.as_f64()?;
            (limit >= 0.0).then_some((period, limit as u64))
        };
        let periods: Vec<_> = Period::ALL.into_iter().filter_map(limit).collect();
        let headers = periods.iter().map(|(period, _)| {
            let of = |what: &str| header(format!("x-ratelimit-{what}-{name}-{}", period.name()));
            Ok((of("limit")?, of("remaining")?))
        });
        limits.push(Limited {
            headers: headers.collect::<Result<_, ConfigError>>()?,
            remaining: header(format!("x-ratelimit-remaining-{name}"))?,
            name: (**name).into(),
            periods,
        });
    }
    let redis = (instance.text("policy") == Some("redis"))
        .then(|| RedisCounters::new("response-ratelimit", instance))
        .transpose()?;
    Ok(Arc::new(ResponseRateLimiting {
        header: header(instance.text("header_name").unwrap_or("x-kong-limit").to_owned())?,
        by: match instance.text("limit_by") {
            Some("credential") => By::Credential,
            Some("ip") => By::Ip,
            _ => By::Consumer,
        },
        limits,
        counters: instance.shared.get::<Scopes>().counters(ENTRY.name, instance),
        redis,
        fault_tolerant: instance.flag("fault_tolerant"),
        block_on_first: instance.flag("block_on_first_violation"),
        hide_headers: instance.flag("hide_client_headers"),
    }))
}

#[async_trait]
impl Plugin for ResponseRateLimiting {
    async fn access(&self, context: &mut Context) -> Result<Flow, Failure> {
        if self.limits.is_empty() {
            return Ok(Flow::Continue);
        }
        let (identifier, now) = (self.identifier(context), counters::now());
        let mut before = Before { identifier, now, remaining: Vec::with_capacity(self.limits.len()) };
        for limited in &self.limits {
            let used = match self.used(limited, &before).await {
                Ok(used) => used,
                Err(_) if self.fault_tolerant => return Ok(Flow::Continue),
                Err(reason) => return Err(Failure::new(reason)),
            };
            let left = |((_, limit), used): (&(Period, u64), u64)| *limit as i64 - used as i64;
            before.remaining.push(limited.periods.iter().zip(used).map(left).collect());
        }
        for (limited, remaining) in self.limits.iter().zip(&before.remaining) {
            if self.block_on_first && remaining.contains(&0) {
                let message = format!("API rate limit exceeded for '{}'", limited.name);
                return Ok(Flow::Respond(context.error(StatusCode::TOO_MANY_REQUESTS, &message)));
            }
            if let Some(least) = remaining.iter().min() {
                context.outbound.headers.insert(limited.remaining.clone(), HeaderValue::from(*least));
            }
        }
        context.state.insert(before);
        Ok(Flow::Continue)
    }

    fn response_headers(&self, context: &mut Context, head: &mut response::Parts) {
        let Some(before) = context.state.get::<Before>() else { return };
        let charged = self.charged(&head.headers);
        let mut exceeded = false;
        for ((limited, remaining), charge) in self.limits.iter().zip(&before.remaining).zip(&charged) {
            for (number, left) in remaining.iter().enumerate() {
                exceeded |= *charge > 0 && *left <= 0;
                let (Some((_, limit)), Some((limit_name, left_name))) =
                    (limited.periods.get(number), limited.headers.get(number))
                else {
                    continue;
                };
                if !self.hide_headers {
                    let after = left.saturating_sub_unsigned(*charge).max(0);
                    head.headers.insert(limit_name, HeaderValue::from(*limit));
                    head.headers.insert(left_name, HeaderValue::from(after));
                }
            }
        }
        head.headers.remove(&self.header);
        if exceeded {
            head.status = StatusCode::TOO_MANY_REQUESTS;
            context.state.insert(Exceeded);
        } else {
            context.state.insert(Charged(charged));
        }
    }

    fn response_body(&self, context: &mut Context, _head: &response::Parts) -> Option<Box<dyn BodyFilter>> {
        context.state.get::<Exceeded>().map(|_| Box::new(Silence) as Box<dyn BodyFilter>)
    }

    fn log(&self, context: &Context) {
        let (Some(before), Some(Charged(charged))) =
            (context.state.get::<Before>(), context.state.get::<Charged>())
        else {
            return;
        };
        for (limited, charge) in self.limits.iter().zip(charged).filter(|(_, charge)| **charge > 0) {
            let Some(redis) = &self.redis else {
                self.counters.add(&key(&before.identifier, &limited.name), *charge, before.now);
                continue;
            };
            let (redis, before) = (Arc::clone(redis), before.clone());
            let (name, charge) = (limited.name.clone(), *charge);
            tokio::spawn(async move { redis.add(&before.identifier, &name, charge, before.now).await });
        }
    }
}

impl ResponseRateLimiting {
    async fn used(&self, limited: &Limited, before: &Before) -> Result<Vec<u64>, String> {
        let periods = limited.periods.iter().map(|(period, _)| *period);
        match &self.redis {
            Some(redis) => {
                let periods: Vec<Period> = periods.collect();
                redis.used(&before.identifier, &limited.name, &periods, before.now).await
            }
            None => {
                let key = key(&before.identifier, &limited.name);
                Ok(periods.map(|period| self.counters.used(&key, period, before.now)).collect())
            }
        }
    }

    fn identifier(&self, context: &Context) -> Box<str> {
        let identity = &context.identity;
        let credential = identity.credential.as_ref().map(|credential| &credential.id);
        let found = match self.by {
            By::Consumer => identity.consumer.as_ref().map(|consumer| &consumer.id).or(credential),
            By::Credential => credential,
            By::Ip => None,
        };
        found.cloned().unwrap_or_else(|| context.inbound.client_ip.to_string().into())
    }

    /// What an answer's header charges: `name=count` in a list.
    fn charged(&self, headers: &HeaderMap) -> Vec<u64> {
        let values = headers.get_all(&self.header).iter().filter_map(|value| value.to_str().ok());
        let charges: Vec<(&str, u64)> = values
            .flat_map(|value| value.split(','))
            .filter_map(|pair| {
                let (name, count) = pair.split_once('=')?;
                Some((name.trim(), count.trim().parse().ok()?))
            })
            .collect();
        let charge = |limited: &Limited| {
            charges.iter().rev().find(|(name, _)| *name == &*limited.name).map_or(0, |(_, count)| *count)
        };
        self.limits.iter().map(charge).collect()
    }
}

fn key(identifier: &str, name: &str) -> String {
    format!("{identifier}:{name}")
}

/// Lets nothing pass.
struct Silence;

impl BodyFilter for Silence {
    fn data(&mut self, _context: &mut Context, _chunk: Bytes) -> Result<Bytes, BodyError> {
        Ok(Bytes::new())
    }

    fn end(&mut self, _context: &mut Context) -> Result<Bytes, BodyError> {
        Ok(Bytes::new())
    }
}
