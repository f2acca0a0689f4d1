//! HTTP/1.1 over connections that are driven by whoever waits for them: there is no task, no channel and no buffer that
//! an exchange would have to pay for, and an idle stream holds next to nothing. Both sides speak it: `server` to a
//! client, `upstream` to an upstream; they share the bytes (`pipe`) and how bodies are framed (`reading`, `sending`).
//!
//! What does not live here: HTTP/2 (`serve` and `wire` leave it to the library), which connections are kept (`client`),
//! and what is answered (`handle`).

mod pipe;
mod reading;
mod sending;
pub(super) mod server;
mod upstream;

use super::body::BodyError;
use http::Version;
use http::header::{CONNECTION, HeaderMap, HeaderValue};
use std::io;
use tokio::io::{AsyncRead, AsyncWrite};
pub(super) use upstream::Http1;

/// Bytes both ways: a socket, with or without TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Why an exchange ends before its time.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The body that is sent.
    #[error(transparent)]
    Sent(BodyError),
    /// The connection.
    #[error(transparent)]
    Connection(#[from] io::Error),
    /// What is received ends too early.
    #[error("the connection was closed before the message was complete")]
    Cut,
    /// What is received breaks the rules of HTTP.
    #[error("the message breaks the rules of HTTP: {0}")]
    Malformed(&'static str),
}

impl From<Fault> for BodyError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Sent(error) => error,
            other => BodyError::Broken(other.to_string()),
        }
    }
}

/// Whether the other side keeps the connection open after its message, as its version and its headers say.
fn keeps(headers: &HeaderMap, version: Version) -> bool {
    let (mut closes, mut keeps) = (false, version == Version::HTTP_11);
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    for word in values.flat_map(|value| value.split(',')).map(str::trim) {
        closes |= word.eq_ignore_ascii_case("close");
        keeps |= word.eq_ignore_ascii_case("keep-alive");
    }
    keeps && !closes
}

/// The length that a header tells: digits, and nothing else.
fn length(value: &HeaderValue) -> Option<u64> {
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|digit| digit.is_ascii_digit()))?;
    digits.parse().ok()
}
