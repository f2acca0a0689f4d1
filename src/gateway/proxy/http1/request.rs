//! How a request goes onto the wire.

use super::Fault;
use crate::gateway::proxy::body::{Body, BodyError};
use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HOST,
    HeaderMap, HeaderName, MAX_FORWARDS, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING,
};
use http::{HeaderValue, Request};
use http_body::{Body as _, Frame};
use std::collections::VecDeque;

/// A whole body up to this size is written together with the head.
const SMALL: usize = 8 * 1024;
/// What a header takes, roughly.
const HEADER: usize = 40;
/// Headers that may not stand behind a body (RFC 9110, 6.5.1).
const BEFORE_BODY: [HeaderName; 12] = [
    AUTHORIZATION,
    CACHE_CONTROL,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    HOST,
    MAX_FORWARDS,
    SET_COOKIE,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
];

/// A request's body that is not yet sent to its end.
pub(super) struct Sending {
    pub(super) body: Body,
    framing: Framing,
}

enum Framing {
    /// So many bytes are still to come.
    Length(u64),
    /// In chunks; at the end only those trailers may follow that the head names.
    Chunks { trailers: Vec<HeaderName> },
}

/// The head, and how its body is to follow. The headers are set to say so.
pub(super) fn encode(
    request: &mut Request<Body>,
    body: Body,
) -> (impl Iterator<Item = Bytes> + use<>, Option<Sending>) {
    request.headers_mut().remove(TRANSFER_ENCODING);
    let framing = framing(request.headers_mut(), &body);
    let mut head = Vec::with_capacity(64 + request.headers().len() * HEADER);
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    for part in [request.method().as_str(), " ", path, " HTTP/1.1\r\n"] {
        head.extend_from_slice(part.as_bytes());
    }
    write_headers(&mut head, request.headers());
    head.extend_from_slice(b"\r\n");
    let (whole, sending) = match (body, framing) {
        (_, None) => (Bytes::new(), None),
        (Body::Full(data), _) if data.len() <= SMALL => {
            head.extend_from_slice(&data);
            (Bytes::new(), None)
        }
        (Body::Full(data), _) => (data, None),
        (body, Some(framing)) => (Bytes::new(), Some(Sending { body, framing })),
    };
    let parts = [Bytes::from(head), whole].into_iter();
    (parts.filter(|part| !part.is_empty()), sending)
}

/// The length of a body is what it says itself; `None` stands for no body at all.
fn framing(headers: &mut HeaderMap, body: &Body) -> Option<Framing> {
    if matches!(body, Body::Empty) || body.is_end_stream() {
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
    let named = headers.get_all(TRAILER).iter().filter_map(|names| names.to_str().ok());
    let names = named.flat_map(|names| names.split(','));
    let trailers = names.filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok()).collect();
    Some(Framing::Chunks { trailers })
}

impl Sending {
    /// Puts the next part of the body behind what is to be written. Whether it was the last one.
    pub(super) fn encode(
        &mut self,
        frame: Option<Frame<Bytes>>,
        output: &mut VecDeque<Bytes>,
    ) -> Result<bool, Fault> {
        let wrong = |reason: &str| Err(Fault::Request(BodyError::Broken(reason.to_owned())));
        match (&mut self.framing, frame.map(Frame::into_data)) {
            (Framing::Length(left), Some(Ok(data))) => {
                let Some(rest) = left.checked_sub(data.len() as u64) else {
                    return wrong("it is longer than its length says");
                };
                *left = rest;
                output.extend((!data.is_empty()).then_some(data));
                Ok(rest == 0)
            }
            (Framing::Length(0), _) => Ok(true),
            (Framing::Length(_), _) => wrong("it is shorter than its length says"),
            (Framing::Chunks { .. }, Some(Ok(data))) => {
                if !data.is_empty() {
                    let size = format!("{:x}\r\n", data.len());
                    output.extend([Bytes::from(size), data, Bytes::from_static(b"\r\n")]);
                }
                Ok(false)
            }
            (Framing::Chunks { trailers: named }, last) => {
                let mut end = b"0\r\n".to_vec();
                if let Some(Err(trailers)) = last
                    && let Ok(mut trailers) = trailers.into_trailers()
                {
                    let refused: Vec<HeaderName> = trailers
                        .keys()
                        .filter(|name| !named.contains(name) || BEFORE_BODY.contains(name))
                        .cloned()
                        .collect();
                    refused.iter().for_each(|name| drop(trailers.remove(name)));
                    write_headers(&mut end, &trailers);
                }
                end.extend_from_slice(b"\r\n");
                output.push_back(end.into());
                Ok(true)
            }
        }
    }
}

fn write_headers(out: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}
