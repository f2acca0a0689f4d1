//! What log plugins tell of a request: Kong's log entry.

use crate::gateway::proxy::{Context, Text, Try};
use http::HeaderMap;
use http::header::{AUTHORIZATION, PROXY_AUTHORIZATION};
use serde_json::{Map, Value as Json, json};
use std::time::{Duration, Instant};

/// The entry of a request that is over. Credentials in headers are left out, and secrets in entities are masked.
pub fn entry(context: &Context) -> Json {
    let (inbound, record) = (&context.inbound, &context.record);
    let port = inbound.local.port();
    let target = inbound.uri.path_and_query().map_or("/", |target| target.as_str());
    let query = url::form_urlencoded::parse(inbound.uri.query().unwrap_or_default().as_bytes());
    let started = inbound.started_at().as_millis() as u64;
    let latencies = Latencies::of(context);
    let mut entry = json!({
        "request": {
            "id": context.request_id,
            "method": inbound.method.as_str(),
            "uri": target,
            "url": format!("{}://{}:{port}{target}", inbound.scheme, inbound.host),
            "querystring": query.map(|(name, value)| (name.into_owned(), Json::from(value))).collect::<Map<_, _>>(),
            "headers": headers(&inbound.headers),
            "size": record.request_bytes,
        },
        "response": {
            "status": record.status.map(|status| status.as_u16()),
            "headers": headers(&record.response_headers),
            "size": record.response_bytes,
        },
        "latencies": {
            "request": latencies.request,
            "kong": latencies.kong,
            "proxy": latencies.upstream,
            "receive": latencies.receive,
        },
        "tries": record.tries.iter().map(attempt).collect::<Vec<_>>(),
        "upstream_uri": context.outbound.target(),
        "upstream_status": record.upstream_status.map(|status| status.as_str().to_owned()),
        "client_ip": inbound.client_ip,
        "started_at": started,
        "source": if record.proxied { "upstream" } else { "exit" },
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

fn attempt(attempt: &Try) -> Json {
    json!({
        "ip": attempt.ip,
        "port": attempt.port,
        "state": attempt.failure.as_ref().map(|_| "failed"),
    })
}

fn headers(headers: &HeaderMap) -> Map<String, Json> {
    let mut out = Map::new();
    for name in headers.keys() {
        let values =
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let text = match *name == AUTHORIZATION || *name == PROXY_AUTHORIZATION {
            true => "REDACTED".to_owned(),
            false => values.collect::<Vec<_>>().join(", "),
        };
        out.insert(name.to_string(), text.into());
    }
    out
}
