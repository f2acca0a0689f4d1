//! Sending a request on: finding the address, trying again, and what counts as a failure of the target.

use super::balancer::{Chosen, Outcome};
use super::body::Body;
use super::client::{Client, Peer, Unsent};
use super::context::{Context, ForwardError, Outbound, Try};
use super::tls::UpstreamTls;
use crate::gateway::health::Board;
use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Response, Uri, Version};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// Where one attempt goes.
struct Destination {
    name: Box<str>,
    port: u16,
    host_header: Option<Box<str>>,
    chosen: Option<Chosen>,
}

/// Sends the request on; another attempt follows a failed one as often as the limits allow.
pub(super) async fn forward(
    context: &mut Context,
    board: &Board,
    client: &Client,
) -> Result<Response<Body>, ForwardError> {
    let limits = context.outbound.limits;
    if let Some(upstream) = context.snapshot.upstreams.get(&context.outbound.host).map(Arc::clone) {
        upstream.prepare(context);
    }
    let mut request = Some(Box::new(request(&mut context.outbound)?));
    let mut tried = Vec::new();
    let mut attempt = 0;
    let mut started = Instant::now();
    context.record.sent = Some(started);
    loop {
        let destination = destination(context, board, &mut tried)?;
        let address = client.resolve(&destination.name, destination.port, attempt as usize).await?;
        let Some(mut sending) = request.take() else {
            return Err(ForwardError::NoTarget { upstream: context.outbound.host.to_string() });
        };
        set_address(&mut sending, &context.outbound, &destination);
        let peer = peer(context, &destination, address);
        let answer = client.send_to(&peer, sending, &limits).await;
        let failure = answer.as_ref().err().map(|unsent| unsent.reason.to_string());
        let (ip, port) = (peer.address.ip(), peer.address.port());
        context.record.tries.push(Try { ip, port, started, failure });
        if let (Err(unsent), Some(chosen)) = (&answer, &destination.chosen) {
            match unsent.reason {
                ForwardError::TimedOut { .. } => chosen.report(board, Outcome::TimedOut),
                ForwardError::Body(_) => {}
                _ => chosen.report(board, Outcome::Failed),
            }
        }
        match answer {
            Ok(mut response) => {
                let answered = Instant::now();
                context.record.answered = Some(answered);
                if let Some(chosen) = destination.chosen {
                    chosen.answered(answered.duration_since(started));
                    chosen.report(board, Outcome::Answered(response.status().as_u16()));
                    // The target stays busy until the answer's body has gone by.
                    response.extensions_mut().insert(super::respond::Busy::new(chosen));
                }
                return Ok(response);
            }
            Err(Unsent { reason, request: unsent, untouched }) => {
                // What may have been processed is only repeated where that changes nothing.
                let repeatable = |request: &Request<Body>| {
                    untouched || (request.method().is_idempotent() && *request.method() != Method::CONNECT)
                };
                match unsent.filter(|unsent| repeatable(unsent)) {
                    Some(next) if attempt < limits.retries && !matches!(reason, ForwardError::Body(_)) => {
                        request = Some(next);
                    }
                    _ => return Err(reason),
                }
            }
        }
        attempt += 1;
        started = Instant::now();
    }
}

/// The request for the wire, without its address.
fn request(outbound: &mut Outbound) -> Result<Request<Body>, ForwardError> {
    let invalid = |reason: String| ForwardError::Invalid { target: outbound_target(outbound), reason };
    let path = PathAndQuery::from_maybe_shared(outbound.target()).map_err(|e| invalid(e.to_string()))?;
    let mut request = Request::new(std::mem::take(&mut outbound.body));
    *request.method_mut() = outbound.method.clone();
    *request.uri_mut() = Uri::from(path);
    *request.headers_mut() = std::mem::take(&mut outbound.headers);
    Ok(request)
}

fn outbound_target(outbound: &Outbound) -> String {
    format!("{}:{}", outbound.host, outbound.port)
}

/// The host itself, or the target of the upstream of this name whose turn it is.
fn destination(
    context: &Context,
    board: &Board,
    tried: &mut Vec<usize>,
) -> Result<Destination, ForwardError> {
    let outbound = &context.outbound;
    let Some(upstream) = context.snapshot.upstreams.get(&outbound.host) else {
        let (name, port) = (outbound.host.clone(), outbound.port);
        return Ok(Destination { name, port, host_header: None, chosen: None });
    };
    let chosen = upstream.choose(context, board, tried).or_else(|| {
        // Every target was tried: a second round is better than none.
        let again = !tried.is_empty();
        tried.clear();
        again.then(|| upstream.choose(context, board, tried)).flatten()
    });
    let no_target = || ForwardError::NoTarget { upstream: upstream.name.to_string() };
    let chosen = chosen.ok_or_else(no_target)?;
    tried.push(chosen.position);
    let target = chosen.target().ok_or_else(no_target)?;
    let (name, port) = (target.host.clone(), target.port);
    Ok(Destination { name, port, host_header: upstream.host_header.clone(), chosen: Some(chosen) })
}

/// Sets `host`, and for HTTP/2 the whole address.
fn set_address(request: &mut Request<Body>, outbound: &Outbound, destination: &Destination) {
    let usual = match &*outbound.scheme {
        "https" | "grpcs" | "wss" => 443,
        _ => 80,
    };
    let host = match (&outbound.host_header, &destination.host_header) {
        (Some(kept), _) => kept.to_string(),
        (None, given) => {
            let name = given.as_deref().unwrap_or(&destination.name);
            let (open, close) =
                if name.contains(':') && !name.starts_with('[') { ("[", "]") } else { ("", "") };
            match destination.port == usual {
                true => [open, name, close].concat(),
                false => [open, name, close, ":", &destination.port.to_string()].concat(),
            }
        }
    };
    if is_http2(outbound) {
        *request.version_mut() = Version::HTTP_2;
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(if usual == 443 { Scheme::HTTPS } else { Scheme::HTTP });
        parts.authority = Authority::try_from(host.as_str()).ok();
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    } else if let Ok(value) = HeaderValue::try_from(host) {
        request.headers_mut().insert(HOST, value);
    }
}

fn peer(context: &Context, destination: &Destination, address: SocketAddr) -> Peer {
    let outbound = &context.outbound;
    let name = || match &outbound.host_header {
        Some(kept) => super::router::split_port(kept).0.into(),
        None => destination.host_header.as_ref().unwrap_or(&destination.name).clone(),
    };
    let tls = matches!(&*outbound.scheme, "https" | "grpcs" | "wss").then(|| {
        let own = context.service.as_ref().and_then(|service| service.tls.as_ref()).map(Arc::clone);
        (name(), own.unwrap_or_else(|| UpstreamTls::usual(outbound.limits.verify)))
    });
    Peer { address, tls, http2: is_http2(outbound) }
}

fn is_http2(outbound: &Outbound) -> bool {
    matches!(&*outbound.scheme, "grpc" | "grpcs")
}
