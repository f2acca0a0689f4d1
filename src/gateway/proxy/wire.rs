//! An open connection to an upstream, of either version of HTTP.

use super::body::Body;
use super::http1::{Http1, Stream};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::future::poll_fn;
use std::task::Poll;

/// An open connection.
pub(super) enum Wire {
    /// Whoever uses it drives it.
    Http1(Box<Http1>),
    /// Has a task of its own; several exchanges may share it.
    Http2(http2::SendRequest<Body>),
}

impl Wire {
    /// Begins to speak HTTP on a stream.
    ///
    /// # Errors
    /// The library's words.
    pub async fn open(stream: impl Stream + 'static, http2: bool) -> Result<Self, String> {
        if !http2 {
            return Ok(Wire::Http1(Box::new(Http1::new(stream))));
        }
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(|e| e.to_string())?;
        tokio::spawn(connection);
        Ok(Wire::Http2(sender))
    }

    /// Waits until a request can be sent. Whether that is so: the other side may have closed the connection.
    pub async fn ready(&mut self) -> bool {
        match self {
            Wire::Http1(http1) => poll_fn(|cx| Poll::Ready(http1.is_idle(cx))).await,
            Wire::Http2(sender) => poll_fn(|cx| sender.poll_ready(cx)).await.is_ok(),
        }
    }
}
