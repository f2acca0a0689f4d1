//! How a request goes onto the wire.

use crate::gateway::proxy::body::Body;
use crate::gateway::proxy::http1::pipe::Pipe;
use crate::gateway::proxy::http1::sending::{Framing, Sending, write_headers};
use http::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use http::{HeaderValue, Request};
use http_body::Body as _;

/// What a header takes, roughly.
const HEADER: usize = 40;

/// Puts the head, and a body that is at hand, behind what is to be written. The headers are set to say how the body
/// follows. What is left of it is given back.
pub(super) fn encode(request: &mut Request<Body>, body: Body, pipe: &mut Pipe) -> Option<Sending> {
    request.headers_mut().remove(TRANSFER_ENCODING);
    let framing = framing(request.headers_mut(), &body);
    let head = pipe.tail();
    head.reserve(64 + request.headers().len() * HEADER);
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    for part in [request.method().as_str(), " ", path, " HTTP/1.1\r\n"] {
        head.extend_from_slice(part.as_bytes());
    }
    write_headers(head, request.headers());
    head.extend_from_slice(b"\r\n");
    match (body, framing?) {
        (Body::Full(data), _) => {
            pipe.put(data);
            None
        }
        (body, framing) => Some(Sending::new(body, framing)),
    }
}

/// The length of a body is what it says itself; `None` stands for no body at all.
fn framing(headers: &mut HeaderMap, body: &Body) -> Option<Framing> {
    if body.is_end_stream() {
        // A length that the client gave can only be 0, and tells that there is nothing.
        if headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0") {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        return None;
    }
    if let Some(length) = body.size_hint().exact() {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        return Some(Framing::Length(length));
    }
    headers.remove(CONTENT_LENGTH);
    headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    Some(Framing::chunks(headers))
}
