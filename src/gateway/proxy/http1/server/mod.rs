//! A client's connection: its requests, one after another, and the answers to them.
//!
//! What does not live here: what is answered, and accepting connections (`serve`).

mod answer;
mod head;

use super::pipe::Pipe;
use super::reading::Reading;
use super::sending::Sending;
use super::{Fault, Stream};
use crate::gateway::proxy::body::{Body, BodyError};
use crate::gateway::proxy::patience::Patience;
use crate::gateway::proxy::upgrade::{self, Switched};
use answer::Asked;
use bytes::Bytes;
pub(in crate::gateway::proxy) use head::Refused;
use head::{Finding, Head};
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::timeout;

/// How much of a body is held that the client does not take fast enough, in bytes.
const AHEAD: usize = 64 * 1024;
/// How much of a request's body that nobody read is read for the sake of the next request.
const UNREAD: usize = 256 * 1024;
/// How long, and for how many bytes, a client is listened to that still sends what nobody wants.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 4 * 1024 * 1024;

/// A connection of HTTP/2, and what was read of it already.
pub(in crate::gateway::proxy) struct Http2(pub Box<dyn Stream>, pub Bytes);

/// Serves a connection until it ends. A request whose head cannot be read is handled as one with [`Refused`]; after it,
/// and once `is_stopping`, no other follows: whoever turns that on wakes this. `idle` is how long a client may take for
/// a head, or for taking any part of an answer. A connection of HTTP/2 is given back.
pub(in crate::gateway::proxy) async fn serve<F>(
    stream: impl Stream + 'static,
    idle: Duration,
    is_stopping: impl Fn() -> bool,
    handle: impl Fn(Request<Body>) -> F,
) -> Option<Http2>
where
    F: Future<Output = Response<Body>> + Unpin,
{
    let line = Arc::new(Mutex::new(Line::new(stream)));
    let mut patience = Patience::default();
    let closing = loop {
        patience.begin(idle, None);
        let asked = patience.wait(|cx| {
            let mut line = lock(&line);
            match line.input_is_empty() && is_stopping() {
                true => Poll::Ready(Ok(Next::Nothing)),
                false => line.poll_next(cx),
            }
        });
        let (request, keeps) = match asked.await {
            Some(Ok(Next::Request(head))) => accept(&line, *head),
            Some(Ok(Next::Http2)) => {
                let (stream, read) = Arc::into_inner(line)?.into_inner().ok()?.pipe.into_parts();
                return Some(Http2(stream, read));
            }
            // Whether the client has nothing more to say, or takes too long to say it.
            Some(Ok(Next::Nothing)) | None => break Closing::Shut,
            Some(Err(_)) => return None,
        };
        let spoilt = request.extensions().get::<Refused>().is_some();
        let mut asked = Asked::new(request.method(), request.version(), keeps);
        let mut answering = handle(request);
        let answered = poll_fn(|cx| match Pin::new(&mut answering).poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending => lock(&line).poll_gone(cx).map(|()| None),
        });
        let answer = answered.await;
        drop(answering);
        // Nobody is there any more who could be answered.
        let answer = answer?;
        asked.keeps &= !is_stopping();
        patience.begin(idle, None);
        match send(&line, answer, &asked, &mut patience).await {
            Ok(Sent { switched: Some(upstream), .. }) => {
                let line = Arc::into_inner(line)?.into_inner().ok()?;
                tokio::spawn(upgrade::join(line.pipe.into_parts(), upstream));
                return None;
            }
            Ok(Sent { keeps: true, .. }) if poll_fn(|cx| Poll::Ready(lock(&line).skip(cx))).await => {}
            Ok(_) if spoilt || !lock(&line).is_read() => break Closing::Linger,
            Ok(_) => break Closing::Shut,
            // An answer that breaks off ends with its connection.
            Err(_) => return None,
        }
    };
    close(&line, &closing).await;
    None
}

/// How a connection is closed.
#[derive(PartialEq)]
enum Closing {
    Shut,
    /// A client that is still sending is listened to for a moment: were its connection closed under its hands, it would
    /// lose the answer.
    Linger,
}

/// What a client says next.
enum Next {
    Request(Box<Head>),
    Http2,
    Nothing,
}

/// A connection, and what of it the bodies of requests read.
struct Line {
    pipe: Pipe,
    /// How much of the input was looked at for the end of a head.
    looked: usize,
    /// How the body of the moment is read.
    reading: Reading,
    /// Whose body it is: requests are counted.
    turn: u64,
    /// Whether the client waits for a word before it sends the body.
    waits: bool,
}

type Shared = Arc<Mutex<Line>>;

fn lock(line: &Shared) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Line {
    fn new(stream: impl Stream + 'static) -> Self {
        Line { pipe: Pipe::new(stream), looked: 0, reading: Reading::Done, turn: 0, waits: false }
    }

    fn input_is_empty(&self) -> bool {
        self.pipe.input.is_empty()
    }

    fn is_read(&self) -> bool {
        matches!(self.reading, Reading::Done)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Next>> {
        loop {
            let new = self.pipe.input.len().saturating_sub(self.looked);
            if new > 0 && !head::is_unchanged(&self.pipe.input, new) {
                match head::find(&mut self.pipe.input) {
                    Finding::Partial => self.looked = self.pipe.input.len(),
                    Finding::Request(head) => return Poll::Ready(Ok(Next::Request(head))),
                    Finding::Http2 if self.turn == 0 => return Poll::Ready(Ok(Next::Http2)),
                    Finding::Http2 => return Poll::Ready(Ok(Next::Nothing)),
                }
            }
            if ready!(self.pipe.poll_read(cx))? == 0 {
                return Poll::Ready(Ok(Next::Nothing));
            }
        }
    }

    /// The next part of the body of the moment.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if std::mem::take(&mut self.waits) {
            self.pipe.put(Bytes::from_static(b"HTTP/1.1 100 Continue\r\n\r\n"));
        }
        if let Poll::Ready(Err(error)) = self.pipe.poll_write(cx) {
            return Poll::Ready(Some(Err(error.into())));
        }
        loop {
            match self.reading.next(&mut self.pipe.input) {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(None) if self.is_read() => return Poll::Ready(None),
                Ok(None) => {}
                Err(fault) => return Poll::Ready(Some(Err(fault))),
            }
            match ready!(self.pipe.poll_read(cx)) {
                Ok(0) => return Poll::Ready(Some(Err(Fault::Cut))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }

    /// Ready when the client went away while it was waiting for an answer.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Poll::Ready(Err(_)) = self.pipe.poll_write(cx) {
            return Poll::Ready(());
        }
        // What it still sends is read by whoever wants it; the next request waits.
        if !self.is_read() || !self.input_is_empty() {
            return Poll::Pending;
        }
        match self.pipe.poll_read(cx) {
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(()),
            Poll::Ready(Ok(_)) | Poll::Pending => Poll::Pending,
        }
    }

    /// Reads what is left of a body that nobody read, if it is here and not much. Whether it was read to its end.
    fn skip(&mut self, cx: &mut Context<'_>) -> bool {
        let mut read = 0;
        while !self.is_read() && !self.waits && read < UNREAD {
            match self.reading.next(&mut self.pipe.input) {
                Ok(Some(_)) => continue,
                Ok(None) if self.is_read() => break,
                Ok(None) => {}
                Err(_) => return false,
            }
            match self.pipe.poll_read(cx) {
                Poll::Ready(Ok(more)) if more > 0 => read += more,
                _ => return false,
            }
        }
        self.is_read()
    }
}

/// Begins with a request: its body is what is here already, if that is all of it.
fn accept(line: &Shared, head: Head) -> (Request<Body>, bool) {
    let Head { request, reading, keeps, waits } = head;
    let mut locked = lock(line);
    let input = &mut locked.pipe.input;
    let here = match reading {
        Reading::Length(length) => usize::try_from(length).ok().filter(|length| *length <= input.len()),
        _ => None,
    };
    let here = here.map(|length| input.split_to(length));
    locked.turn += 1;
    locked.looked = 0;
    locked.waits = waits && here.is_none();
    locked.reading = if here.is_some() { Reading::Done } else { reading };
    let body = match here {
        Some(data) => Body::full(data),
        None if locked.is_read() => Body::Empty,
        None => Body::stream(Received { line: Arc::clone(line), turn: locked.turn }),
    };
    (request.map(|()| body), keeps)
}

/// The body of a request, as it is read.
struct Received {
    line: Shared,
    /// Whose body it is: at another turn there is nothing more of it.
    turn: u64,
}

impl Received {
    fn with<T>(&self, otherwise: T, look: impl FnOnce(&mut Line) -> T) -> T {
        let mut line = lock(&self.line);
        if line.turn == self.turn { look(&mut line) } else { otherwise }
    }
}

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.with(Poll::Ready(None), |line| line.poll_frame(cx).map_err(BodyError::from))
    }

    fn is_end_stream(&self) -> bool {
        self.with(true, |line| line.is_read())
    }

    fn size_hint(&self) -> SizeHint {
        self.with(SizeHint::with_exact(0), |line| {
            line.reading.left().map(SizeHint::with_exact).unwrap_or_default()
        })
    }
}

/// What follows an answer that was sent.
struct Sent {
    /// Whether another request may follow.
    keeps: bool,
    /// The upstream, when the connection belongs to another protocol from now on.
    switched: Option<upgrade::Parts>,
}

/// Sends an answer to its end.
///
/// # Errors
/// What broke it off; as much of it as there was has been sent, if the client took it before the patience was over.
async fn send(
    line: &Shared,
    answer: Response<Body>,
    asked: &Asked,
    patience: &mut Patience,
) -> Result<Sent, Fault> {
    let (mut head, body) = answer.into_parts();
    let switched = head.extensions.remove::<Switched>().and_then(|switched| switched.take());
    let (framing, keeps) = answer::encode(&mut head, &body, asked, lock(line).pipe.tail());
    drop(head);
    let mut sending = framing.map(|framing| Sending::new(body, framing));
    let (mut broken, mut stuck) = (None, 0);
    poll_fn(|cx| {
        let mut waits = false;
        loop {
            while let Some(body) = &mut sending
                && lock(line).pipe.unwritten() < AHEAD
            {
                // The body may read from this connection, which is not held meanwhile.
                let frame = match body.poll_frame(cx) {
                    Poll::Pending => {
                        waits = true;
                        break;
                    }
                    Poll::Ready(frame) => frame.map_err(Fault::Sent),
                };
                match frame.and_then(|frame| body.encode(frame, &mut lock(line).pipe)) {
                    Ok(false) => {}
                    Ok(true) => sending = None,
                    Err(fault) => (sending, broken) = (None, Some(fault)),
                }
            }
            let mut locked = lock(line);
            if locked.pipe.poll_write(cx)?.is_pending() {
                let left = locked.pipe.unwritten();
                if left != std::mem::replace(&mut stuck, left) {
                    patience.stop();
                }
                return patience.poll(cx).map(|()| Err(Fault::Cut));
            }
            drop(locked);
            if sending.is_none() {
                return Poll::Ready(broken.take().map_or(Ok(()), Err));
            }
            if waits {
                return lock(line).poll_gone(cx).map(|()| Err(Fault::Cut));
            }
        }
    })
    .await?;
    Ok(Sent { keeps, switched })
}

async fn close(line: &Shared, closing: &Closing) {
    if poll_fn(|cx| lock(line).pipe.poll_shutdown(cx)).await.is_err() || *closing == Closing::Shut {
        return;
    }
    let mut heard = 0;
    let listening = poll_fn(|cx| {
        loop {
            let mut line = lock(line);
            line.pipe.input = Bytes::new();
            match ready!(line.pipe.poll_read(cx)) {
                Ok(more) if more > 0 && heard < LINGER_BYTES => heard += more,
                _ => return Poll::Ready(()),
            }
        }
    });
    // Whether it came to an end makes no difference.
    let _ = timeout(LINGER, listening).await;
}

#[cfg(test)]
mod tests;
