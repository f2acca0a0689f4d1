//! One connection to an upstream, and its exchange of the moment.

mod request;
mod response;

use super::Fault;
use super::Stream;
use super::pipe::Pipe;
use super::reading::Reading;
use super::sending::Sending;
use crate::gateway::proxy::body::Body;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Frame;
use response::Head;
use std::io;
use std::task::{Context, Poll, ready};

/// One connection, and its exchange of the moment.
pub(in crate::gateway::proxy) struct Http1 {
    pipe: Pipe,
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
            pipe: Pipe::new(stream),
            sending: None,
            deaf: None,
            method: Method::GET,
            reading: Reading::Done,
            keeps: true,
        }
    }

    /// Whether an idle connection is still fit for a request: nothing came, and the other side did not close it.
    pub fn is_idle(&mut self, cx: &mut Context<'_>) -> bool {
        self.pipe.poll_read(cx).is_pending()
    }

    /// Begins an exchange with a request, whose `host` is set. Its body is taken. Nothing is written yet.
    pub fn begin(&mut self, request: &mut Request<Body>) {
        let body = std::mem::take(request.body_mut());
        self.method.clone_from(request.method());
        self.sending = request::encode(request, body, &mut self.pipe);
        self.reading = Reading::Head;
    }

    /// The head of the answer. Only for a connection that has begun an exchange.
    pub fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<()>, Fault>> {
        loop {
            self.send(cx)?;
            if !self.pipe.input.is_empty()
                && let Some(Head { response, reading, keeps }) =
                    response::head(&mut self.pipe.input, &self.method)?
            {
                self.reading = reading;
                self.keeps = keeps;
                return Poll::Ready(Ok(response));
            }
            match ready!(self.pipe.poll_read(cx)) {
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
            match self.reading.next(&mut self.pipe.input) {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(None) if self.is_over() => return Poll::Ready(None),
                Ok(None) => {}
                Err(fault) => return Poll::Ready(Some(Err(fault))),
            }
            match ready!(self.pipe.poll_read(cx)) {
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
        let sent = self.sending.is_none() && self.pipe.is_flushed() && self.deaf.is_none();
        self.keeps && sent && self.is_over() && self.pipe.input.is_empty()
    }

    /// The stream, and what was read of it already, for what follows an upgrade.
    pub fn into_parts(self) -> (Box<dyn Stream>, Bytes) {
        self.pipe.into_parts()
    }

    /// Sends as much of the request as goes.
    fn send(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        loop {
            match self.pipe.poll_write(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    self.deaf = Some(error);
                    self.sending = None;
                    self.pipe.forget_output();
                    return Ok(());
                }
            }
            let Some(sending) = &mut self.sending else { return Ok(()) };
            let frame = match sending.poll_frame(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(frame) => frame.map_err(Fault::Sent)?,
            };
            if sending.encode(frame, &mut self.pipe)? {
                self.sending = None;
            }
        }
    }
}

#[cfg(test)]
mod tests;
