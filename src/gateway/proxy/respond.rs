//! The way back: the response phases of plugins, the gateway's own headers, and the body that streams by.

use super::balancer::Chosen;
use super::body::{Body, BodyError};
use super::configured::Execution;
use super::context::Context;
use super::headers;
use super::live::Proxy;
use super::{Plugins, errors};
use crate::gateway::plugins::{BodyFilter, Plugin};
use crate::model::SKIPPED_HEADER;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, SERVER, VIA};
use http::{Method, Response, StatusCode, response};
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Instant;

const UPSTREAM_LATENCY: HeaderName = HeaderName::from_static("x-kong-upstream-latency");
const PROXY_LATENCY: HeaderName = HeaderName::from_static("x-kong-proxy-latency");
const RESPONSE_LATENCY: HeaderName = HeaderName::from_static("x-kong-response-latency");

/// How many headers of its own the gateway adds to an answer.
const OWN: usize = 5;

/// Keeps a target counted as busy while its answer streams by.
#[derive(Clone)]
pub(super) struct Busy {
    _chosen: Arc<Chosen>,
}

impl Busy {
    pub(super) fn new(chosen: Chosen) -> Self {
        Busy { _chosen: Arc::new(chosen) }
    }
}

/// Runs the response phases and sets the gateway's own headers.
pub(super) async fn respond(
    proxy: &Proxy,
    mut context: Box<Context>,
    plugins: Plugins,
    answer: Response<Body>,
) -> Response<Body> {
    let (mut head, mut body) = answer.into_parts();
    let busy = head.extensions.remove::<Busy>();
    head.headers.reserve(context.response_headers.len() + OWN);
    let mut last = None;
    for (name, value) in std::mem::take(&mut context.response_headers) {
        last = name.or(last);
        // Beside what the upstream itself says of its limits.
        if let Some(name) = &last {
            head.headers.append(name, value);
        }
    }
    match whole(proxy, &mut context, &plugins, head, body).await {
        Ok((changed, passed)) => (head, body) = (changed, passed),
        Err(failed) => (head, body) = failed.into_parts(),
    }
    for plugin in running(&plugins) {
        plugin.response_headers(&mut context, &mut head);
    }
    let mut filters = Vec::new();
    if has_body(&context, head.status) {
        filters.extend(running(&plugins).filter_map(|plugin| plugin.response_body(&mut context, &head)));
        if !filters.is_empty() {
            head.headers.remove(CONTENT_LENGTH);
        }
    }
    finish_head(proxy, &context, &plugins, &mut head);
    context.record.status = Some(head.status);
    if plugins.is_empty() && busy.is_none() {
        return Response::from_parts(head, body);
    }
    context.record.response_head = headers::lines(&head.headers);
    if running(&plugins).any(|plugin| plugin.reads_response_headers()) {
        context.record.response_headers = head.headers.clone();
    }
    let body = Outgoing { body, filters, plugins, context: Some(context), ended: false, _busy: busy };
    Response::from_parts(head, Body::stream(body))
}

fn running(plugins: &Plugins) -> impl Iterator<Item = &Arc<dyn Plugin>> {
    plugins.iter().filter_map(|configured| match &configured.execution {
        Execution::Runs(plugin) => Some(plugin),
        Execution::Skipped | Execution::Broken => None,
    })
}

fn has_body(context: &Context, status: StatusCode) -> bool {
    context.inbound.method != Method::HEAD
        && !status.is_informational()
        && status != StatusCode::NO_CONTENT
        && status != StatusCode::NOT_MODIFIED
}

/// The phase in which plugins see the whole answer, if any wants to.
async fn whole(
    proxy: &Proxy,
    context: &mut Context,
    plugins: &Plugins,
    head: response::Parts,
    body: Body,
) -> Result<(response::Parts, Body), Response<Body>> {
    if !has_body(context, head.status) {
        return Ok((head, body));
    }
    let wanted: Vec<(&Arc<dyn Plugin>, usize)> = running(plugins)
        .filter_map(|plugin| plugin.whole_response(context, &head).map(|limit| (plugin, limit)))
        .collect();
    let Some(limit) = wanted.iter().map(|(_, limit)| *limit).max() else { return Ok((head, body)) };
    let broken = |context: &Context| {
        errors::server_error(&context.inbound.headers, StatusCode::BAD_GATEWAY, &context.request_id)
    };
    let data = match body.read_or_pass(limit).await {
        Ok(Ok(data)) => data,
        Ok(Err(passed)) => return Ok((head, passed)),
        Err(_) => return Err(broken(context)),
    };
    let mut answer = Response::from_parts(head, data);
    for (plugin, limit) in wanted {
        if answer.body().len() > limit {
            continue;
        }
        if let Err(failure) = plugin.response(context, &mut answer).await {
            proxy.report_failure(&failure);
            return Err(errors::exit(StatusCode::INTERNAL_SERVER_ERROR, "An unexpected error occurred"));
        }
    }
    let (mut head, data) = answer.into_parts();
    head.headers.remove(CONTENT_LENGTH);
    Ok((head, Body::full(data)))
}

/// The gateway's own headers. They come last: plugins cannot take them away.
fn finish_head(proxy: &Proxy, context: &Context, plugins: &Plugins, head: &mut response::Parts) {
    let millis =
        |from: Instant, to: Instant| HeaderValue::from(to.saturating_duration_since(from).as_millis() as u64);
    let record = &context.record;
    let started = context.inbound.started;
    // A page beside a redirection of the gateway's own has none.
    if record.proxied || !head.status.is_redirection() {
        headers::name_charset(&mut head.headers);
    }
    if record.proxied {
        if let (Some(sent), Some(answered)) = (record.sent, record.answered) {
            head.headers.insert(UPSTREAM_LATENCY, millis(sent, answered));
            head.headers.insert(PROXY_LATENCY, millis(started, sent));
        }
        headers::append_to_list(&mut head.headers, VIA, &proxy.via);
        if !head.headers.contains_key(SERVER) {
            head.headers.insert(SERVER, proxy.server.clone());
        }
    } else {
        head.headers.insert(RESPONSE_LATENCY, millis(started, Instant::now()));
        head.headers.insert(SERVER, proxy.server.clone());
    }
    if let Ok(id) = HeaderValue::from_str(&context.request_id) {
        head.headers.insert(headers::REQUEST_ID, id);
    }
    let skipped: Vec<&str> =
        plugins.iter().flat_map(|plugin| plugin.skipped.iter()).map(String::as_str).collect();
    if !skipped.is_empty()
        && let Ok(names) = HeaderValue::from_str(&skipped.join(", "))
    {
        head.headers.insert(SKIPPED_HEADER, names);
    }
}

/// A body on its way to the client: passes the filters, counts, and runs the log phase at its end.
struct Outgoing {
    body: Body,
    filters: Vec<Box<dyn BodyFilter>>,
    plugins: Plugins,
    context: Option<Box<Context>>,
    ended: bool,
    _busy: Option<Busy>,
}

impl Outgoing {
    fn filter(&mut self, mut chunk: Bytes) -> Result<Bytes, BodyError> {
        let Some(context) = &mut self.context else { return Ok(chunk) };
        for filter in &mut self.filters {
            if chunk.is_empty() {
                break;
            }
            chunk = filter.data(context, chunk)?;
        }
        Ok(chunk)
    }

    /// What the filters still hold: each one's rest passes those after it.
    fn rest(&mut self) -> Result<Bytes, BodyError> {
        let Some(context) = &mut self.context else { return Ok(Bytes::new()) };
        let mut carried = Bytes::new();
        for filter in &mut self.filters {
            let through = if carried.is_empty() { Bytes::new() } else { filter.data(context, carried)? };
            let rest = filter.end(context)?;
            carried = match (through.is_empty(), rest.is_empty()) {
                (true, _) => rest,
                (false, true) => through,
                (false, false) => [through, rest].concat().into(),
            };
        }
        Ok(carried)
    }

    fn count(&mut self, data: &Bytes) {
        if let Some(context) = &mut self.context {
            context.record.response_bytes += data.len() as u64;
        }
    }

    fn log(&mut self, cut: bool) {
        let Some(mut context) = self.context.take() else { return };
        context.record.finished = Some(Instant::now());
        context.record.cut = cut;
        context.record.request_bytes = context.read.load(std::sync::atomic::Ordering::Relaxed);
        for plugin in running(&self.plugins) {
            plugin.log(&context);
        }
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        loop {
            let data = match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => this.filter(data),
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                Poll::Ready(Some(Err(error))) => Err(error),
                Poll::Ready(None) => {
                    this.ended = true;
                    this.rest()
                }
            };
            match data {
                Ok(data) if data.is_empty() && this.ended => {
                    this.log(false);
                    return Poll::Ready(None);
                }
                Ok(data) if data.is_empty() => {}
                Ok(data) => {
                    this.count(&data);
                    if this.ended || this.is_end_stream() {
                        this.ended = true;
                        this.log(false);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Err(error) => {
                    this.ended = true;
                    this.log(true);
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || (self.filters.is_empty() && self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        if self.filters.is_empty() { self.body.size_hint() } else { SizeHint::default() }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        // A body that is empty is never polled.
        let whole = self.ended || http_body::Body::is_end_stream(&self.body);
        self.log(!whole);
    }
}
