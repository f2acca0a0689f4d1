//! One connection to an upstream. Whoever uses it drives it: no task of its own has to be woken for each exchange.
//!
//! What does not live here: which connections are kept (`client`), and time-outs.

use super::body::Body;
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::{Request, Response};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::unconstrained;

/// An open connection.
pub(super) enum Wire {
    Http1 {
        sender: http1::SendRequest<Body>,
        driver: Driver,
    },
    /// Several exchanges may share it, so that it has a task.
    Http2(http2::SendRequest<Body>),
}

/// Reads and writes for whoever waits for a part of an exchange.
pub(super) struct Driver {
    /// Gone once the connection has ended.
    connection: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    gate: Arc<Gate>,
    waker: Waker,
}

/// Passes wake-ups on to the task that drives a connection. Those that it causes itself while it is at it only mean
/// that it goes on.
#[derive(Default)]
struct Gate {
    closed: AtomicBool,
    knocked: AtomicBool,
    task: AtomicWaker,
}

/// How often a connection is driven on at one turn of its task.
const TURNS: usize = 8;

impl Wire {
    /// Begins to speak HTTP on a stream.
    ///
    /// # Errors
    /// The library's words.
    pub async fn open<S>(stream: S, http2: bool) -> Result<Self, String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let io = TokioIo::new(stream);
        if http2 {
            let (sender, connection) =
                http2::handshake(TokioExecutor::new(), io).await.map_err(|e| e.to_string())?;
            tokio::spawn(connection);
            return Ok(Wire::Http2(sender));
        }
        let (sender, connection) = http1::handshake(io).await.map_err(|e| e.to_string())?;
        let connection = connection.with_upgrades();
        // What ends a connection is told to its exchange.
        let driver = Driver::new(async { drop(connection.await) });
        Ok(Wire::Http1 { sender, driver })
    }

    /// Waits until a request can be sent. Whether that is so: the other side may have closed the connection.
    pub async fn ready(&mut self) -> bool {
        poll_fn(|cx| match self {
            Wire::Http1 { sender, driver } => {
                driver.drive(cx);
                sender.poll_ready(cx).map(|ready| ready.is_ok())
            }
            Wire::Http2(sender) => sender.poll_ready(cx).map(|ready| ready.is_ok()),
        })
        .await
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    /// Why there is none; with the request if it was not sent.
    pub async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, (hyper::Error, Option<Request<Body>>)> {
        let sent = match self {
            Wire::Http1 { sender, driver } => {
                // Only the driver can make the answer ready, so that nobody has to be woken for it.
                let answer = driver.gate.quietly(|| sender.try_send_request(request));
                let mut answer = pin!(unconstrained(answer));
                poll_fn(|cx| {
                    driver.drive(cx);
                    answer.as_mut().poll(&mut Context::from_waker(Waker::noop()))
                })
                .await
            }
            Wire::Http2(sender) => sender.try_send_request(request).await,
        };
        sent.map_err(|mut failed| {
            let request = failed.take_message();
            (failed.into_error(), request)
        })
    }

    /// The next part of the answer's body.
    pub fn poll_body(
        &mut self,
        incoming: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Wire::Http1 { driver, .. } = self else { return Pin::new(incoming).poll_frame(cx) };
        let gate = Arc::clone(&driver.gate);
        // As with the head: what the driver brings is looked for after it was driven.
        let mut look =
            || gate.quietly(|| Pin::new(&mut *incoming).poll_frame(&mut Context::from_waker(Waker::noop())));
        let frame = look();
        if frame.is_ready() {
            return frame;
        }
        driver.drive(cx);
        look()
    }

    /// Brings an exchange to its end. Whether another one may follow.
    pub fn settle(&mut self, cx: &mut Context<'_>) -> bool {
        match self {
            Wire::Http1 { sender, driver } => {
                driver.drive(cx);
                driver.connection.is_some() && matches!(sender.poll_ready(cx), Poll::Ready(Ok(())))
            }
            Wire::Http2(sender) => !sender.is_closed(),
        }
    }

    /// Lets the connection go on by itself, for what follows an upgrade.
    pub fn detach(self) {
        if let Wire::Http1 { driver: Driver { connection: Some(connection), .. }, .. } = self {
            tokio::spawn(connection);
        }
    }
}

impl Driver {
    fn new(connection: impl Future<Output = ()> + Send + 'static) -> Self {
        let gate = Arc::new(Gate::default());
        Driver { connection: Some(Box::pin(connection)), waker: Waker::from(Arc::clone(&gate)), gate }
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        let Driver { connection, gate, waker } = self;
        gate.task.register(cx.waker());
        for _ in 0..TURNS {
            gate.knocked.store(false, Ordering::Release);
            let Some(running) = connection else { return };
            let mut inner = Context::from_waker(waker);
            if gate.quietly(|| running.as_mut().poll(&mut inner)).is_ready() {
                *connection = None;
                return;
            }
            if !gate.knocked.load(Ordering::Acquire) {
                return;
            }
        }
        cx.waker().wake_by_ref();
    }
}

impl Gate {
    /// Does something that wakes the driver, which goes on anyway.
    fn quietly<T>(&self, act: impl FnOnce() -> T) -> T {
        self.closed.store(true, Ordering::Release);
        let done = act();
        self.closed.store(false, Ordering::Release);
        done
    }
}

impl Wake for Gate {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.closed.load(Ordering::Acquire) {
            self.knocked.store(true, Ordering::Release);
        } else {
            self.task.wake();
        }
    }
}
