//! HTTP/1.1 to an upstream, over one connection that is driven by whoever waits for the answer: there is no task, no
//! channel and no buffer that an exchange would have to pay for, and an idle stream holds next to nothing.
//!
//! What does not live here: which connections are kept (`client`), and time-outs.

mod request;
mod response;

use super::body::{Body, BodyError};
use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response};
use http_body::{Body as _, Frame};
use request::Sending;
use response::{Head, Reading};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is read at once.
const AT_ONCE: usize = 16 * 1024;
/// How many parts are written at once.
const PARTS: usize = 4;

/// Bytes both ways: a socket, with or without TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Why an exchange ends before its time.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The request's own body.
    #[error(transparent)]
    Request(BodyError),
    /// The connection.
    #[error(transparent)]
    Connection(#[from] io::Error),
    /// The answer ends too early.
    #[error("the connection was closed before the answer was complete")]
    Cut,
    /// The answer breaks the rules of HTTP.
    #[error("the answer breaks the rules of HTTP: {0}")]
    Malformed(&'static str),
}

impl From<Fault> for BodyError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Request(error) => error,
            other => BodyError::Broken(other.to_string()),
        }
    }
}

/// One connection, and its exchange of the moment.
pub(super) struct Http1 {
    stream: Box<dyn Stream>,
    /// Read and not yet taken.
    input: Bytes,
    /// Not yet written.
    output: VecDeque<Bytes>,
    /// Written, and perhaps kept by TLS.
    unflushed: bool,
    /// What is left of the request's body.
    sending: Option<Sending>,
    /// Writing is no use any more, but the upstream may have answered before it closed.
    deaf: Option<io::Error>,
    method: Method,
    reading: Reading,
    keeps: bool,
}

impl Http1 {
    pub fn new(stream: impl Stream + 'static) -> Self {
        Http1 {
            stream: Box::new(stream),
            input: Bytes::new(),
            output: VecDeque::new(),
            unflushed: false,
            sending: None,
            deaf: None,
            method: Method::GET,
            reading: Reading::Done,
            keeps: true,
        }
    }

    /// Whether an idle connection is still fit for a request: nothing came, and the other side did not close it.
    pub fn is_idle(&mut self, cx: &mut Context<'_>) -> bool {
        self.poll_read(cx).is_pending()
    }

    /// Begins an exchange with a request, whose `host` is set. Its body is taken. Nothing is written yet.
    pub fn begin(&mut self, request: &mut Request<Body>) {
        let body = std::mem::take(request.body_mut());
        self.method.clone_from(request.method());
        let (head, sending) = request::encode(request, body);
        self.output.extend(head);
        self.sending = sending;
        self.reading = Reading::Head;
    }

    /// The head of the answer. Only for a connection that has begun an exchange.
    pub fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<()>, Fault>> {
        loop {
            self.send(cx)?;
            if !self.input.is_empty()
                && let Some(Head { response, reading, keeps }) =
                    response::head(&mut self.input, &self.method)?
            {
                self.reading = reading;
                self.keeps = keeps;
                return Poll::Ready(Ok(response));
            }
            match ready!(self.poll_read(cx)) {
                Ok(0) => {
                    let written = self.deaf.take().map_or(Fault::Cut, Fault::Connection);
                    return Poll::Ready(Err(written));
                }
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// The next part of the answer's body.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        loop {
            if let Err(fault) = self.send(cx) {
                return Poll::Ready(Some(Err(fault)));
            }
            match self.reading.next(&mut self.input) {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(None) if self.is_over() => return Poll::Ready(None),
                Ok(None) => {}
                Err(fault) => return Poll::Ready(Some(Err(fault))),
            }
            match ready!(self.poll_read(cx)) {
                Ok(0) if self.reading.ends_with_connection() => {
                    self.reading = Reading::Done;
                    return Poll::Ready(None);
                }
                Ok(0) => return Poll::Ready(Some(Err(Fault::Cut))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }

    /// Whether the answer is complete.
    pub fn is_over(&self) -> bool {
        matches!(self.reading, Reading::Done)
    }

    /// What is left of the answer's body, in bytes, where it is known.
    pub fn left(&self) -> Option<u64> {
        self.reading.left()
    }

    /// Whether another exchange may follow this one, which is over.
    pub fn is_reusable(&self) -> bool {
        let sent = self.sending.is_none() && self.output.is_empty() && self.deaf.is_none();
        self.keeps && sent && self.is_over() && self.input.is_empty()
    }

    /// The stream, and what was read of it already, for what follows an upgrade.
    pub fn into_parts(self) -> (Box<dyn Stream>, Bytes) {
        (self.stream, self.input)
    }

    /// Sends as much of the request as goes.
    fn send(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        loop {
            match self.poll_write(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    self.deaf = Some(error);
                    self.sending = None;
                    self.output.clear();
                    self.unflushed = false;
                    return Ok(());
                }
            }
            let Some(sending) = &mut self.sending else { return Ok(()) };
            let frame = match Pin::new(&mut sending.body).poll_frame(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(frame) => frame.transpose().map_err(Fault::Request)?,
            };
            if sending.encode(frame, &mut self.output)? {
                self.sending = None;
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(first) = self.output.front() {
            let written = if self.output.len() == 1 {
                ready!(Pin::new(&mut *self.stream).poll_write(cx, first))?
            } else {
                let mut parts = [IoSlice::new(&[]); PARTS];
                parts.iter_mut().zip(&self.output).for_each(|(part, bytes)| *part = IoSlice::new(bytes));
                ready!(Pin::new(&mut *self.stream).poll_write_vectored(cx, &parts))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
            self.take_written(written);
        }
        if self.unflushed {
            ready!(Pin::new(&mut *self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn take_written(&mut self, mut written: usize) {
        while let Some(first) = self.output.front_mut() {
            if written < first.len() {
                drop(first.split_to(written));
                return;
            }
            written -= first.len();
            self.output.pop_front();
        }
    }

    /// Reads more, by way of the stack: what is kept is as large as what came.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut space = [const { MaybeUninit::uninit() }; AT_ONCE];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut *self.stream).poll_read(cx, &mut buffer))?;
        let read = buffer.filled();
        if self.input.is_empty() {
            self.input = Bytes::copy_from_slice(read);
        } else {
            let earlier = std::mem::take(&mut self.input);
            let mut input = earlier.try_into_mut().unwrap_or_else(|earlier| BytesMut::from(&*earlier));
            input.extend_from_slice(read);
            self.input = input.freeze();
        }
        Poll::Ready(Ok(read.len()))
    }
}

#[cfg(test)]
mod tests;
