//! What log plugins tell of a request: Kong's log entry.

use super::arguments;
use crate::gateway::proxy::{Context, Text, Try, header_lines};
use http::header::{AUTHORIZATION, HeaderMap, PROXY_AUTHORIZATION};
use serde_json::map::Entry;
use serde_json::{Map, Value as Json, json};
use std::time::{Duration, Instant};

/// The entry of a request that is over. Credentials in headers are left out, and secrets in entities are masked.
pub fn entry(context: &Context) -> Json {
    let (inbound, record) = (&context.inbound, &context.record);
    let port = inbound.local.port();
    let target = inbound.uri.path_and_query().map_or("/", |target| target.as_str());
    let started = inbound.started_at();
    let latencies = Latencies::of(context);
    let mut entry = json!({
        "request": {
            "id": context.request_id,
            "method": inbound.method.as_str(),
            "uri": target,
            "url": format!("{}://{}:{port}{target}", inbound.scheme, inbound.host),
            "querystring": query(inbound.uri.query()),
            "headers": headers(&inbound.headers),
            "size": request_size(context),
        },
        "response": {
            "status": record.status.map(|status| status.as_u16()),
            "headers": headers(&record.response_headers),
            "size": response_size(context),
        },
        "latencies": {
            "request": latencies.request,
            "kong": latencies.kong,
            "proxy": latencies.upstream.map_or(json!(-1), Json::from),
            "receive": latencies.receive.unwrap_or(0),
        },
        "tries": record.tries.iter().map(|attempt| tried(context, attempt)).collect::<Vec<_>>(),
        "upstream_uri": if context.route.is_some() { context.outbound.target() } else { String::new() },
        "upstream_status": record.upstream_status.as_ref().map_or("", |status| status.as_str()),
        "client_ip": inbound.client_ip,
        "started_at": started.as_millis() as u64,
        "source": if record.proxied { "upstream" } else { "kong" },
        "workspace_name": context.snapshot.plane,
    });
    if let Json::Object(members) = &mut entry {
        let mut add = |name: &str, row: Option<&Text>| {
            if let Some(row) = row.and_then(|row| serde_json::to_value(row.value()).ok()) {
                members.insert(name.into(), row);
            }
        };
        add("route", context.route.as_ref().map(|route| &route.row));
        add("service", context.service.as_ref().map(|service| &service.row));
        add("consumer", context.identity.consumer.as_ref().map(|consumer| &consumer.row));
        if let Some(credential) = &context.identity.credential {
            members.insert("authenticated_entity".into(), json!({ "id": credential.id }));
        }
        if let (Some(tls), Some(Json::Object(request))) = (inbound.tls, members.get_mut("request")) {
            let told = json!({"version": tls.version, "cipher": tls.cipher, "client_verify": "NONE"});
            request.insert("tls".into(), told);
        }
        members.extend(context.log.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    entry
}

/// Times in milliseconds.
pub struct Latencies {
    /// From the first byte to the last.
    pub request: u64,
    /// The gateway's own part.
    pub kong: u64,
    /// Until the upstream's head had come; `None` without an upstream.
    pub upstream: Option<u64>,
    /// From the upstream's head to the last byte.
    pub receive: Option<u64>,
}

impl Latencies {
    /// The times of a request that is over.
    pub fn of(context: &Context) -> Self {
        let record = &context.record;
        let started = context.inbound.started;
        let finished = record.finished.unwrap_or_else(Instant::now);
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let request = millis(finished.saturating_duration_since(started));
        let upstream = record
            .sent
            .zip(record.answered)
            .map(|(sent, answered)| millis(answered.saturating_duration_since(sent)));
        let receive = record.answered.map(|answered| millis(finished.saturating_duration_since(answered)));
        let kong = match (record.sent, upstream) {
            (Some(sent), Some(_)) => millis(sent.saturating_duration_since(started)),
            _ => request,
        };
        Latencies { request, kong, upstream, receive }
    }
}

fn tried(context: &Context, attempt: &Try) -> Json {
    let inbound = &context.inbound;
    let started = inbound.started_at() + attempt.started.saturating_duration_since(inbound.started);
    let mut entry = json!({
        "ip": attempt.ip,
        "port": attempt.port,
        "balancer_start": started.as_millis() as u64,
    });
    if let (Some(_), Json::Object(members)) = (&attempt.failure, &mut entry) {
        members.insert("state".into(), "failed".into());
    }
    entry
}

/// The arguments of a query: a name without `=` is true, one that is repeated has a list.
fn query(query: Option<&str>) -> Json {
    let pairs = arguments::parse(query.unwrap_or_default()).into_iter();
    gather(pairs.map(|(name, value)| (name, value.map_or(Json::Bool(true), Json::from))))
}

fn headers(headers: &HeaderMap) -> Json {
    gather(headers.iter().map(|(name, value)| {
        let text = match *name == AUTHORIZATION || *name == PROXY_AUTHORIZATION {
            true => "REDACTED".into(),
            false => String::from_utf8_lossy(value.as_bytes()),
        };
        (name.to_string(), text.into())
    }))
}

/// An object of pairs; what is repeated has a list.
fn gather(pairs: impl Iterator<Item = (String, Json)>) -> Json {
    let mut members = Map::new();
    for (name, value) in pairs {
        match members.entry(name) {
            Entry::Vacant(entry) => drop(entry.insert(value)),
            Entry::Occupied(mut entry) => match entry.get_mut() {
                Json::Array(values) => values.push(value),
                first => *first = Json::from([first.take(), value].to_vec()),
            },
        }
    }
    Json::Object(members)
}

/// How many bytes a request has, with its head.
pub fn request_size(context: &Context) -> u64 {
    let inbound = &context.inbound;
    let target = inbound.uri.path_and_query().map_or(1, |target| target.as_str().len());
    let line = inbound.method.as_str().len() + target + "  HTTP/1.1\r\n".len();
    (line + header_lines(&inbound.headers)) as u64 + context.record.request_bytes
}

/// How many bytes the answer to a request has, with its head.
pub fn response_size(context: &Context) -> u64 {
    let record = &context.record;
    let reason = record.status.and_then(|status| status.canonical_reason()).unwrap_or_default();
    ("HTTP/1.1 200 \r\n".len() + reason.len() + record.response_head) as u64 + record.response_bytes
}
