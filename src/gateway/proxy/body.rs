//! Bodies as the proxy passes them on: empty, whole, or streamed. What is in them is no matter here.

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use std::fmt;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

/// A body of a request or a response.
#[derive(Default)]
pub enum Body {
    /// Nothing.
    #[default]
    Empty,
    /// Everything at once; taken when it was sent.
    Full(Bytes),
    /// Anything that yields frames.
    Stream(Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError> + Send>>),
}

/// Why a body could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// More bytes than the reader allows.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// No byte came for too long.
    #[error("the body did not arrive in time")]
    TimedOut,
    /// The other side broke off, or broke the rules of HTTP.
    #[error("the body broke off: {0}")]
    Broken(String),
    /// A filter cannot go on.
    #[error("{0}")]
    Filter(String),
}

impl From<hyper::Error> for BodyError {
    fn from(error: hyper::Error) -> Self {
        BodyError::Broken(error.to_string())
    }
}

impl fmt::Debug for Body {
    /// The form and the length only: bodies may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Body::Empty => f.write_str("Empty"),
            Body::Full(data) => write!(f, "Full({} bytes)", data.len()),
            Body::Stream(_) => f.write_str("Stream"),
        }
    }
}

impl Body {
    /// A body of all these bytes.
    pub fn full(data: impl Into<Bytes>) -> Self {
        let data = data.into();
        if data.is_empty() { Body::Empty } else { Body::Full(data) }
    }

    /// A body that yields what another one yields.
    pub fn stream(body: impl http_body::Body<Data = Bytes, Error = BodyError> + Send + 'static) -> Self {
        Body::Stream(Box::pin(body))
    }

    /// The same body once more, if it need not be read first.
    pub fn at_hand(&self) -> Option<Body> {
        match self {
            Body::Empty => Some(Body::Empty),
            Body::Full(data) => Some(Body::Full(data.clone())),
            Body::Stream(_) => None,
        }
    }

    /// Reads everything, at most `limit` bytes.
    ///
    /// # Errors
    /// [`BodyError::TooLarge`] as soon as the limit is passed, and whatever breaks the body.
    pub async fn read(self, limit: usize) -> Result<Bytes, BodyError> {
        match self.read_or_pass(limit).await? {
            Ok(data) => Ok(data),
            Err(_) => Err(BodyError::TooLarge { limit }),
        }
    }

    /// Reads everything, or gives a body back that yields the same as this one, when it has more than `limit` bytes.
    ///
    /// # Errors
    /// Whatever breaks the body.
    pub async fn read_or_pass(mut self, limit: usize) -> Result<Result<Bytes, Body>, BodyError> {
        if let Body::Full(data) = self {
            return Ok(if data.len() > limit { Err(Body::Full(data)) } else { Ok(data) });
        }
        if http_body::Body::size_hint(&self).lower() > limit as u64 {
            return Ok(Err(self));
        }
        let mut first: Option<Bytes> = None;
        let mut rest = BytesMut::new();
        let mut total = 0usize;
        while let Some(frame) = self.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            total += data.len();
            match first.take() {
                None if rest.is_empty() => first = Some(data),
                None => rest.extend_from_slice(&data),
                Some(earlier) => {
                    rest.extend_from_slice(&earlier);
                    rest.extend_from_slice(&data);
                }
            }
            if total > limit {
                let read = first.unwrap_or_else(|| rest.freeze());
                return Ok(Err(Body::stream(Resumed { read: Some(read), rest: self })));
            }
        }
        Ok(Ok(first.unwrap_or_else(|| rest.freeze())))
    }
}

/// What was read of a body, and then the rest of it.
struct Resumed {
    read: Option<Bytes>,
    rest: Body,
}

impl http_body::Body for Resumed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.read.take() {
            Some(read) => Poll::Ready(Some(Ok(Frame::data(read)))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_none() && self.rest.is_end_stream()
    }
}

impl From<Bytes> for Body {
    fn from(data: Bytes) -> Self {
        Body::full(data)
    }
}
impl From<String> for Body {
    fn from(text: String) -> Self {
        Body::full(text)
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match this {
            Body::Empty => Poll::Ready(None),
            Body::Full(data) => {
                let data = std::mem::take(data);
                *this = Body::Empty;
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Body::Stream(stream) => stream.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Empty => true,
            Body::Full(_) => false,
            Body::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Empty => SizeHint::with_exact(0),
            Body::Full(data) => SizeHint::with_exact(data.len() as u64),
            Body::Stream(stream) => stream.size_hint(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        assert_eq!(Body::full("abc").read(3).await.unwrap(), "abc");
        assert!(matches!(Body::full("abcd").read(3).await, Err(BodyError::TooLarge { limit: 3 })));
        let parts = futures_util::stream::iter(["ab", "cd", "e"].map(|p| Ok(Frame::data(Bytes::from(p)))));
        let streamed = Body::stream(http_body_util::StreamBody::new(parts));
        assert_eq!(streamed.read(5).await.unwrap(), "abcde");
    }

    #[tokio::test]
    async fn a_body_that_is_too_long_is_given_back_whole() {
        let parts = futures_util::stream::iter(["ab", "cd", "e"].map(|p| Ok(Frame::data(Bytes::from(p)))));
        let streamed = Body::stream(http_body_util::StreamBody::new(parts));
        let passed = streamed.read_or_pass(3).await.unwrap().unwrap_err();
        assert_eq!(passed.read(100).await.unwrap(), "abcde");
    }
}
