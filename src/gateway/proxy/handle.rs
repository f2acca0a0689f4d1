//! One request from its head to its answer: route, plugins, upstream.

use super::body::{Body, BodyError};
use super::client::Client;
use super::configured::Execution;
use super::connection::Connection;
use super::context::{Context, ForwardError, Inbound, Limits, Outbound};
use super::headers::{self, Forwarded};
use super::live::Proxy;
use super::paths::{self, Join};
use super::respond::respond;
use super::router::{Found, Question};
use super::snapshot::{Configuration, RoutePlan, Snapshot};
use super::{Plugins, errors, rules};
use crate::diagnostics::{Diagnostic, codes};
use crate::gateway::plugins::{Failure, Flow};
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};
use tokio::time::Sleep;

impl Proxy {
    /// Answers one request. Whatever goes wrong becomes an answer.
    pub(super) async fn handle(
        &self,
        connection: &Connection,
        client: &Client,
        request: Request<Body>,
    ) -> Response<Body> {
        let started = Instant::now();
        let configuration = match self.fresh_configuration() {
            Some(configuration) => configuration,
            // Rare and large: kept out of the future of every request.
            None => Box::pin(self.configuration()).await,
        };
        match self.receive(&configuration, connection, client, request, started) {
            Arrived::OnRoute(plan, context) => self.run(client, &plan, context).await,
            Arrived::Astray(context) => {
                let answer = context.error(StatusCode::NOT_FOUND, "no Route matched with those values");
                self.refuse(context, answer).await
            }
            Arrived::Refused(context, status) => {
                let mut answer = errors::server_error(&context.inbound.headers, status, &context.request_id);
                // What follows may belong to it.
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                self.refuse(context, answer).await
            }
        }
    }

    /// Finds the route of a request, and what will go to the upstream if no plugin changes it.
    fn receive(
        &self,
        configuration: &Configuration,
        connection: &Connection,
        client: &Client,
        request: Request<Body>,
        started: Instant,
    ) -> Arrived {
        let (head, body) = request.into_parts();
        let id = request_id();
        let host = rules::host(&head);
        let read = Arc::new(AtomicU64::new(0));
        let body = client_body(body, self.options.client_timeout, &read);
        let inbound = Inbound {
            host: super::router::split_port(host.as_deref().unwrap_or_default())
                .0
                .to_ascii_lowercase()
                .into(),
            method: head.method,
            uri: head.uri,
            version: head.version,
            headers: head.headers,
            scheme: connection.scheme,
            tls: connection.tls,
            peer: connection.peer,
            local: connection.local,
            client_ip: connection.ip(),
            started,
            wall: OnceLock::new(),
        };
        let astray = |inbound: Inbound, id| {
            let snapshot = configuration.planes.first().map(Arc::clone).unwrap_or_default();
            let outbound = nowhere(&inbound);
            Context::new(inbound, outbound, snapshot, id, client.clone(), Arc::clone(&read))
        };
        let host = match host {
            Ok(host) => host,
            Err(status) => return Arrived::Refused(astray(inbound, id), status),
        };
        let normal = paths::normalize(inbound.uri.path());
        let matched =
            normal.as_deref().and_then(|path| find(configuration, connection, &inbound, &host, path));
        let Some((snapshot, plan, found, path)) = matched else {
            drop(normal);
            return Arrived::Astray(astray(inbound, id));
        };
        let prefix = found.prefix.filter(|_| plan.route.strip_path);
        let forwarded = Forwarded {
            connection,
            host: &inbound.host,
            path: inbound.uri.path(),
            prefix: prefix.as_deref(),
            via: &self.via,
            request_id: &id,
        };
        let headers = headers::outbound(&inbound.headers, &forwarded);
        let outbound = outbound(plan, &inbound, &host, path, prefix.as_deref(), headers, body);
        let captures = found.captures;
        let mut context = Context::new(inbound, outbound, Arc::clone(snapshot), id, client.clone(), read);
        context.captures = captures;
        context.route = Some(Arc::clone(&plan.route));
        context.service = plan.service.clone();
        Arrived::OnRoute(Arc::clone(plan), context)
    }

    /// The way of a request whose route is known.
    async fn run(&self, client: &Client, plan: &RoutePlan, mut context: Box<Context>) -> Response<Body> {
        if let Some(refusal) = refusal(plan, &context) {
            return respond(self, context, Plugins::new(), refusal).await;
        }
        let (plugins, ended) = self.access(plan, &mut context).await;
        let answer = match ended {
            Some(answer) => answer,
            None => match self.send(&mut context, client).await {
                Ok(mut answer) => {
                    // Each side has its own version.
                    *answer.version_mut() = Version::HTTP_11;
                    context.record.proxied = true;
                    context.record.upstream_status = Some(answer.status());
                    let upgraded = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
                    let trailers = headers::takes_trailers(&context.inbound.headers);
                    headers::inbound(answer.headers_mut(), upgraded, trailers);
                    match upgraded && !takes_upgrade(&context.inbound) {
                        true => bad_gateway(&context),
                        false => answer,
                    }
                }
                Err(failure) => errors::forward_error(&context.inbound.headers, failure, &context.request_id),
            },
        };
        respond(self, context, plugins, answer).await
    }

    async fn send(&self, context: &mut Context, client: &Client) -> Result<Response<Body>, ForwardError> {
        if let Some(forwarder) = context.forwarder.take() {
            let sent = Instant::now();
            let answer = forwarder.forward(context, client).await?;
            context.record.sent.get_or_insert(sent);
            context.record.answered.get_or_insert_with(Instant::now);
            return Ok(answer);
        }
        if context.service.is_none() {
            let message = "no Service found with those values";
            return Err(ForwardError::Answer(Box::new(
                context.error(StatusCode::SERVICE_UNAVAILABLE, message),
            )));
        }
        super::forward::forward(context, &self.board, client).await
    }

    /// Runs the access phases. All plugins that apply are given back, also those after one that answered: their
    /// response phases run in any case.
    async fn access(&self, plan: &RoutePlan, context: &mut Context) -> (Plugins, Option<Response<Body>>) {
        let mut plugins = Plugins::new();
        let mut ended = None;
        for slot in &plan.slots {
            let Some(configured) = slot.pick(context.identity.consumer.as_deref()).map(Arc::clone) else {
                continue;
            };
            if ended.is_none() {
                ended = match &configured.execution {
                    Execution::Runs(plugin) => match plugin.access(context).await {
                        Ok(Flow::Continue) => None,
                        Ok(Flow::Respond(answer)) => Some(answer),
                        Err(failure) => {
                            self.report_failure(&failure);
                            Some(unexpected())
                        }
                    },
                    Execution::Skipped => None,
                    Execution::Broken => Some(unexpected()),
                };
            }
            plugins.push(configured);
        }
        (plugins, ended)
    }

    /// Answers a request that has no route: the response phases of plugins without a scope run.
    async fn refuse(&self, context: Box<Context>, answer: Response<Body>) -> Response<Body> {
        let plugins = context.snapshot.globals();
        respond(self, context, plugins, answer).await
    }

    pub(super) fn report_failure(&self, failure: &Failure) {
        self.options.report.tell(&Diagnostic::error(codes::REFUSED_REQUEST, failure.to_string()));
    }
}

/// A request that has arrived.
enum Arrived {
    OnRoute(Arc<RoutePlan>, Box<Context>),
    /// No route takes it.
    Astray(Box<Context>),
    /// It breaks a rule.
    Refused(Box<Context>, StatusCode),
}

/// What goes on of a request without a route.
fn nowhere(inbound: &Inbound) -> Outbound {
    Outbound {
        method: inbound.method.clone(),
        scheme: inbound.scheme.into(),
        host: Box::default(),
        port: 0,
        path: inbound.uri.path().to_owned(),
        query: None,
        headers: HeaderMap::new(),
        host_header: None,
        limits: Limits::default(),
        body: Body::Empty,
    }
}

fn unexpected() -> Response<Body> {
    errors::exit(StatusCode::INTERNAL_SERVER_ERROR, "An unexpected error occurred")
}

fn bad_gateway(context: &Context) -> Response<Body> {
    errors::server_error(&context.inbound.headers, StatusCode::BAD_GATEWAY, &context.request_id)
}

fn find<'c, 'r>(
    configuration: &'c Configuration,
    connection: &'r Connection,
    inbound: &'r Inbound,
    host: &'r str,
    path: &'r str,
) -> Option<(&'c Arc<Snapshot>, &'c Arc<RoutePlan>, Found<'r>, &'r str)> {
    let question = Question {
        method: &inbound.method,
        path,
        query: inbound.uri.query(),
        host,
        scheme: connection.scheme,
        sni: connection.sni.as_deref(),
        headers: &inbound.headers,
        source: connection.peer,
        destination: connection.local,
    };
    configuration.planes.iter().find_map(|snapshot| {
        let found = snapshot.routing.router.find(&question)?;
        let plan = snapshot.routing.routes.get(found.route)?;
        Some((snapshot, plan, found, path))
    })
}

fn outbound(
    plan: &RoutePlan,
    inbound: &Inbound,
    host: &str,
    path: &str,
    prefix: Option<&str>,
    headers: HeaderMap,
    body: Body,
) -> Outbound {
    let service = plan.service.as_deref();
    let join =
        Join { base: service.map_or("", |service| &service.path), prefix, strip: plan.route.strip_path };
    let limits = service.map(|service| Limits {
        connect: service.connect_timeout,
        write: service.write_timeout,
        read: service.read_timeout,
        retries: service.retries,
        verify: service.tls_verify.unwrap_or(false),
    });
    Outbound {
        method: inbound.method.clone(),
        scheme: service.map_or_else(|| "http".into(), |service| service.protocol.clone()),
        host: service.map(|service| service.host.clone()).unwrap_or_default(),
        port: service.map_or(80, |service| service.port),
        path: paths::escape(join.apply(path)),
        query: inbound.uri.query().map(str::to_owned),
        headers,
        host_header: plan.route.preserve_host.then(|| host.into()),
        limits: limits.unwrap_or_default(),
        body,
    }
}

/// The answer to a request that takes a route by the wrong protocol.
fn refusal(plan: &RoutePlan, context: &Context) -> Option<Response<Body>> {
    let speaks = |protocol: &str| plan.route.protocols.iter().any(|p| &**p == protocol);
    let inbound = &context.inbound;
    if speaks("https") && !speaks("http") && inbound.scheme != "https" {
        return Some(match StatusCode::from_u16(plan.route.https_redirect) {
            Ok(status) if status.is_redirection() => {
                let target = inbound.uri.path_and_query().map_or("/", |target| target.as_str());
                errors::redirection(status, &format!("https://{}{target}", inbound.host))
            }
            _ => upgrade_required(context, "Please use HTTPS protocol", "TLS/1.2, HTTP/1.1"),
        });
    }
    if !speaks("grpc") && !speaks("grpcs") {
        return None;
    }
    if !errors::is_grpc(&inbound.headers) {
        let message = "Non-gRPC request matched gRPC route";
        return Some(context.error(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    if inbound.version != Version::HTTP_2 {
        return Some(upgrade_required(context, "Please use HTTP2 protocol", "HTTP/2"));
    }
    if !speaks("grpc") && inbound.scheme != "https" {
        return Some(errors::grpc_status(StatusCode::OK, 1, "gRPC request matched gRPCs route"));
    }
    None
}

fn upgrade_required(context: &Context, message: &str, protocols: &'static str) -> Response<Body> {
    let mut answer = context.error(StatusCode::UPGRADE_REQUIRED, message);
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.headers_mut().insert(UPGRADE, HeaderValue::from_static(protocols));
    answer
}

/// 32 hexadecimal digits that nobody can guess.
fn request_id() -> Box<str> {
    let mut digits = uuid::Uuid::encode_buffer();
    Box::from(&*uuid::Uuid::from_u128(rand::random()).as_simple().encode_lower(&mut digits))
}

/// Whether a client may be answered that its connection belongs to another protocol from now on.
fn takes_upgrade(inbound: &Inbound) -> bool {
    inbound.version == Version::HTTP_11 && headers::is_websocket(&inbound.headers)
}

/// Counts a client's body.
fn client_body(body: Body, idle: Duration, read: &Arc<AtomicU64>) -> Body {
    match body {
        Body::Stream(_) => Body::stream(ClientBody { body, idle, timer: None, read: Arc::clone(read) }),
        Body::Full(data) => {
            read.store(data.len() as u64, Ordering::Relaxed);
            Body::Full(data)
        }
        Body::Empty => Body::Empty,
    }
}

/// A client's body: counts, and fails when nothing comes for too long.
struct ClientBody {
    body: Body,
    idle: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    read: Arc<AtomicU64>,
}

impl http_body::Body for ClientBody {
    type Data = bytes::Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, BodyError>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.timer = None;
                if let Some(Ok(frame)) = &frame
                    && let Some(data) = frame.data_ref()
                {
                    self.read.fetch_add(data.len() as u64, Ordering::Relaxed);
                }
                Poll::Ready(frame)
            }
            Poll::Pending => {
                let idle = self.idle;
                let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
                timer.as_mut().poll(cx).map(|()| Some(Err(BodyError::TimedOut)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
