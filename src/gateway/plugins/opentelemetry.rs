//! `opentelemetry`: a trace of each request goes to a collector (OTLP over HTTP, protobuf), and on to the upstream.
//!
//! Kong records spans only if its server configuration says so; here they are recorded whenever the plugin is
//! configured, all of them unless there is a `sampling_rate`. Logs and metrics are not sent.

use super::http_log::deliver;
use super::queue::{Queue, Sink};
use super::traces::{Format, Trace};
use super::{ConfigError, Entry, Failure, Flow, Instance, Plugin};
use crate::gateway::proxy::{Body, Client, Context, Limits};
use async_trait::async_trait;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri, response};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, status::StatusCode};
use prost::Message;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The plugin's line in the table.
pub const ENTRY: Entry = Entry { name: "opentelemetry", priority: 14, build };

struct OpenTelemetry {
    queue: Option<Queue<Span>>,
    response_header: Option<HeaderName>,
    sampling_rate: f64,
    extract: Vec<Format>,
    clear: Vec<HeaderName>,
    /// Also the form that the client used, if `preserve`.
    inject: Vec<Format>,
    preserve: bool,
    default_format: Format,
}

/// The spans of one request.
#[derive(Clone, Copy)]
struct Begun {
    /// The gateway's own span.
    own: Trace,
    /// The client's span; 0 if there is none.
    parent: u64,
    /// The span of the exchange with the upstream.
    upstream: u64,
}

fn build(instance: &Instance<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
    let formats = |field: &str| -> Vec<Format> {
        instance.texts(field).iter().filter_map(|name| Format::named(name)).collect()
    };
    let header_type = instance.text("header_type").unwrap_or("preserve");
    let own = Format::named(header_type);
    let extract = formats("propagation.extract");
    let inject = formats("propagation.inject");
    let names = instance.texts("propagation.inject");
    let clear = instance.texts("propagation.clear");
    Ok(Arc::new(OpenTelemetry {
        queue: instance.text("traces_endpoint").map(|url| collector(instance, url)).transpose()?,
        response_header: instance
            .text("http_response_header_for_traceid")
            .and_then(|name| HeaderName::from_bytes(name.as_bytes()).ok()),
        sampling_rate: instance.number("sampling_rate").unwrap_or(1.0),
        extract: match (extract.is_empty(), header_type) {
            (true, "ignore") => Vec::new(),
            (true, _) => Format::ALL.to_vec(),
            (false, _) => extract,
        },
        clear: clear.iter().filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok()).collect(),
        preserve: names.iter().any(|name| &**name == "preserve")
            || (names.is_empty() && header_type != "ignore"),
        inject: if inject.is_empty() { own.into_iter().collect() } else { inject },
        default_format: instance
            .text("propagation.default_format")
            .and_then(Format::named)
            .unwrap_or(Format::W3c),
    }))
}

#[async_trait]
impl Plugin for OpenTelemetry {
    async fn access(&self, context: &mut Context) -> Result<Flow, Failure> {
        let headers = &context.inbound.headers;
        let found = self.extract.iter().find_map(|format| Some((*format, format.read(headers)?)));
        let parent = found.map(|(_, trace)| trace);
        let sampled = match parent.and_then(|trace| trace.sampled) {
            Some(false) => false,
            _ => rand::random::<f64>() < self.sampling_rate,
        };
        let begun = Begun {
            own: Trace {
                id: parent.map_or_else(rand::random, |trace| trace.id),
                span: rand::random(),
                sampled: Some(sampled),
            },
            parent: parent.map_or(0, |trace| trace.span),
            upstream: rand::random(),
        };
        let outbound = &mut context.outbound.headers;
        self.clear.iter().for_each(|name| drop(outbound.remove(name)));
        let told = Trace { span: begun.upstream, ..begun.own };
        let kept = found.map(|(format, _)| format).filter(|_| self.preserve);
        let mut formats: Vec<Format> = self.inject.iter().copied().chain(kept).collect();
        if formats.is_empty() {
            formats.push(self.default_format);
        }
        formats.iter().for_each(|format| format.write(&told, outbound));
        context.log.insert("trace_id".into(), serde_json::json!({ "w3c": format!("{:032x}", begun.own.id) }));
        context.state.insert(begun);
        Ok(Flow::Continue)
    }

    fn response_headers(&self, context: &mut Context, head: &mut response::Parts) {
        if let (Some(name), Some(begun)) = (&self.response_header, context.state.get::<Begun>())
            && let Ok(value) = HeaderValue::from_str(&format!("{:032x}", begun.own.id))
        {
            head.headers.append(name, value);
        }
    }

    fn log(&self, context: &Context) {
        let (Some(queue), Some(begun)) = (&self.queue, context.state.get::<Begun>()) else { return };
        if begun.own.sampled == Some(true) {
            queue.push(own_span(context, begun));
            if let Some(span) = upstream_span(context, begun) {
                queue.push(span);
            }
        }
    }
}

/// The span of the whole request.
fn own_span(context: &Context, begun: &Begun) -> Span {
    let (inbound, record) = (&context.inbound, &context.record);
    let target = inbound.uri.path_and_query().map_or("/", |target| target.as_str());
    let port = inbound.local.port();
    let mut attributes = vec![
        text("http.method", inbound.method.as_str()),
        text("http.url", &format!("{}://{}:{port}{target}", inbound.scheme, inbound.host)),
        text("http.host", &inbound.host),
        text("http.scheme", inbound.scheme),
        text("http.flavor", format!("{:?}", inbound.version).trim_start_matches("HTTP/")),
        text("http.client_ip", &inbound.client_ip.to_string()),
        text("net.peer.ip", &inbound.peer.ip().to_string()),
        text("kong.request.id", &context.request_id),
    ];
    let route = context.route.as_ref().map(|route| route.name.as_ref().unwrap_or(&route.id));
    attributes.extend(route.map(|route| text("http.route", route)));
    attributes.extend(record.status.map(|status| number("http.status_code", status.as_u16())));
    let failed = record.status.is_some_and(|status| status.is_server_error());
    let code = if failed { StatusCode::Error } else { StatusCode::Unset };
    Span {
        span_id: begun.own.span.to_be_bytes().to_vec(),
        parent_span_id: if begun.parent == 0 { Vec::new() } else { begun.parent.to_be_bytes().to_vec() },
        name: "kong".to_owned(),
        kind: SpanKind::Server.into(),
        status: Some(Status { code: code.into(), ..Status::default() }),
        attributes,
        ..span(context, begun, inbound.started, record.finished)
    }
}

/// The span of the exchange with the upstream, if there was one.
fn upstream_span(context: &Context, begun: &Begun) -> Option<Span> {
    let record = &context.record;
    let sent = record.sent?;
    let mut attributes = vec![number("try_count", record.tries.len())];
    if let Some(last) = record.tries.last() {
        attributes.push(text("net.peer.ip", &last.ip.to_string()));
        attributes.push(number("net.peer.port", last.port));
    }
    attributes.extend(record.upstream_status.map(|status| number("http.status_code", status.as_u16())));
    Some(Span {
        span_id: begun.upstream.to_be_bytes().to_vec(),
        parent_span_id: begun.own.span.to_be_bytes().to_vec(),
        name: "kong.balancer".to_owned(),
        kind: SpanKind::Client.into(),
        attributes,
        ..span(context, begun, sent, record.answered)
    })
}

/// What all spans have: the trace and the times.
fn span(context: &Context, begun: &Begun, from: Instant, until: Option<Instant>) -> Span {
    let inbound = &context.inbound;
    let start = inbound.started_at();
    let nanos = |at: Instant| {
        u64::try_from((start + at.saturating_duration_since(inbound.started)).as_nanos()).unwrap_or(u64::MAX)
    };
    Span {
        trace_id: begun.own.id.to_be_bytes().to_vec(),
        start_time_unix_nano: nanos(from),
        end_time_unix_nano: nanos(until.unwrap_or_else(Instant::now)),
        ..Span::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Any::StringValue(value.to_owned()))
}

fn number(key: &str, value: impl TryInto<i64>) -> KeyValue {
    attribute(key, Any::IntValue(value.try_into().unwrap_or(i64::MAX)))
}

fn attribute(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// Where spans are sent.
struct Collector {
    client: Client,
    uri: Uri,
    headers: HeaderMap,
    limits: Limits,
    resource: Vec<KeyValue>,
}

fn collector(instance: &Instance<'_>, url: &str) -> Result<Queue<Span>, ConfigError> {
    let uri = url.parse().map_err(|_| ConfigError::new("traces_endpoint", "it is no URL"))?;
    let mut headers = instance.headers("headers");
    headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/x-protobuf"));
    let time = |field: &str, usual: f64| {
        Duration::from_millis(instance.number(field).unwrap_or(usual).max(1.0) as u64)
    };
    let mut resource = vec![
        text("service.name", "kong"),
        text("service.version", instance.environment.flavor.reported_version()),
    ];
    let configured = instance.get("resource_attributes").and_then(|attributes| attributes.as_object());
    for (key, value) in configured.into_iter().flatten() {
        resource.retain(|known| known.key != **key);
        resource.extend(value.exposed_str().map(|value| text(key, value)));
    }
    let limits = Limits {
        connect: time("connect_timeout", 1000.0),
        write: time("send_timeout", 5000.0),
        read: time("read_timeout", 5000.0),
        retries: 0,
        verify: false,
    };
    Ok(Queue::new(instance, Collector { client: Client::default(), uri, headers, limits, resource }))
}

#[async_trait]
impl Sink<Span> for Collector {
    async fn send(&self, spans: &[Span]) -> Result<(), String> {
        let scope = InstrumentationScope { name: "kong-internal".to_owned(), ..Default::default() };
        let spans = ScopeSpans { scope: Some(scope), spans: spans.to_vec(), ..ScopeSpans::default() };
        let resource = Resource { attributes: self.resource.clone(), ..Resource::default() };
        let spans =
            ResourceSpans { resource: Some(resource), scope_spans: vec![spans], ..ResourceSpans::default() };
        let message = ExportTraceServiceRequest { resource_spans: vec![spans] };
        let mut request = Request::new(Body::full(message.encode_to_vec()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        deliver(&self.client, request, &self.limits).await
    }
}
