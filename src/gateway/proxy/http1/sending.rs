//! How a body goes onto the wire, part by part.

use super::Fault;
use super::pipe::Pipe;
use crate::gateway::proxy::body::{Body, BodyError};
use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HOST,
    HeaderMap, HeaderName, MAX_FORWARDS, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING,
};
use http_body::{Body as _, Frame};
use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

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

/// A body that is not yet sent to its end.
pub(super) struct Sending {
    body: Body,
    framing: Framing,
}

/// How the other side knows where a body ends.
pub(super) enum Framing {
    /// So many bytes are still to come.
    Length(u64),
    /// In chunks; at the end only those trailers may follow that the head names.
    Chunks { trailers: Vec<HeaderName> },
    /// With the connection.
    Everything,
}

impl Framing {
    /// In chunks, for a message with this head.
    pub(super) fn chunks(headers: &HeaderMap) -> Self {
        let named = headers.get_all(TRAILER).iter().filter_map(|names| names.to_str().ok());
        let names = named.flat_map(|names| names.split(','));
        let trailers = names.filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok());
        Framing::Chunks { trailers: trailers.collect() }
    }
}

impl Sending {
    pub(super) fn new(body: Body, framing: Framing) -> Self {
        Sending { body, framing }
    }

    /// The next part of the body, or its end, for [`Sending::encode`].
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame<Bytes>>, BodyError>> {
        Poll::Ready(ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose())
    }

    /// Puts a part of the body behind what is to be written. Whether it was the last one.
    pub(super) fn encode(&mut self, frame: Option<Frame<Bytes>>, pipe: &mut Pipe) -> Result<bool, Fault> {
        let wrong = |reason: &str| Err(Fault::Sent(BodyError::Broken(reason.to_owned())));
        match (&mut self.framing, frame.map(Frame::into_data)) {
            (Framing::Length(left), Some(Ok(data))) => {
                let Some(rest) = left.checked_sub(data.len() as u64) else {
                    return wrong("it is longer than its length says");
                };
                *left = rest;
                pipe.put(data);
                Ok(rest == 0)
            }
            (Framing::Length(0), _) => Ok(true),
            (Framing::Length(_), _) => wrong("it is shorter than its length says"),
            (Framing::Everything, Some(Ok(data))) => {
                pipe.put(data);
                Ok(false)
            }
            (Framing::Everything, _) => Ok(true),
            (Framing::Chunks { .. }, Some(Ok(data))) => {
                if !data.is_empty() {
                    // A vector takes whatever is written to it.
                    let _ = write!(pipe.tail(), "{:x}\r\n", data.len());
                    pipe.put(data);
                    pipe.tail().extend_from_slice(b"\r\n");
                }
                Ok(false)
            }
            (Framing::Chunks { trailers: named }, last) => {
                let end = pipe.tail();
                end.extend_from_slice(b"0\r\n");
                if let Some(Err(trailers)) = last
                    && let Ok(mut trailers) = trailers.into_trailers()
                {
                    let refused: Vec<HeaderName> = trailers
                        .keys()
                        .filter(|name| !named.contains(name) || BEFORE_BODY.contains(name))
                        .cloned()
                        .collect();
                    refused.iter().for_each(|name| drop(trailers.remove(name)));
                    write_headers(end, &trailers);
                }
                end.extend_from_slice(b"\r\n");
                Ok(true)
            }
        }
    }
}

/// Writes headers as lines.
pub(super) fn write_headers(out: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}
