//! Accepting connections and serving them on threads of their own, one runtime a thread: a client's connection and
//! the upstream's that serves it never change threads.

use super::body::{Body, BodyError};
use super::certificates;
use super::client::Client;
use super::connection::Connection;
use super::http1::server::{self, Http2};
use super::live::Proxy;
use crate::diagnostics::{Diagnostic, codes};
use http::Request;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::future::poll_fn;
use std::io::Cursor;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long requests may go on once the proxy stops.
const DRAIN: Duration = Duration::from_millis(700);
/// How many connections may wait for a thread.
const BACKLOG: usize = 1024;

/// Serves a listener until `shutdown`; then no connection is accepted any more, and open requests have a moment to
/// finish. Must be called inside a runtime, which only accepts.
pub async fn serve(listener: TcpListener, tls: bool, proxy: Arc<Proxy>, shutdown: CancellationToken) {
    let Ok(local) = listener.local_addr() else { return };
    let acceptor = match tls.then(|| certificates::server_config(&proxy)).transpose() {
        Ok(config) => config.map(|config| TlsAcceptor::from(Arc::new(config))),
        Err(problem) => {
            let message = format!("the proxy cannot listen with TLS: {problem}");
            return proxy.options.report.tell(&Diagnostic::error(codes::NOT_SUPPORTED, message));
        }
    };
    let workers = Workers::start(&proxy, acceptor.as_ref(), local, &shutdown);
    let mut next = 0usize;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        let Ok((stream, peer)) = accepted else {
            // Out of descriptors, most likely: let some connections end.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let Ok(stream) = stream.into_std() else { continue };
        next = next.wrapping_add(1);
        if let Some(worker) = workers.senders.get(next % workers.senders.len().max(1)) {
            let _ = worker.send((stream, peer)).await;
        }
    }
    drop(listener);
    let _ = tokio::task::spawn_blocking(move || workers.join()).await;
}

struct Workers {
    senders: Vec<mpsc::Sender<(std::net::TcpStream, SocketAddr)>>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    fn start(
        proxy: &Arc<Proxy>,
        tls: Option<&TlsAcceptor>,
        local: SocketAddr,
        shutdown: &CancellationToken,
    ) -> Self {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let count = proxy.options.threads.unwrap_or_else(cores);
        let mut workers = Workers { senders: Vec::new(), threads: Vec::new() };
        for number in 0..count {
            let (sender, receiver) = mpsc::channel(BACKLOG);
            let (proxy, shutdown, tls) = (Arc::clone(proxy), shutdown.clone(), tls.cloned());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { continue };
            let thread = std::thread::Builder::new()
                .name(format!("proxy-{number}"))
                .spawn(move || runtime.block_on(work(receiver, proxy, tls, local, shutdown)));
            if let Ok(thread) = thread {
                workers.senders.push(sender);
                workers.threads.push(thread);
            }
        }
        workers
    }

    fn join(self) {
        drop(self.senders);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

/// What the connections of one thread share.
struct Worker {
    proxy: Arc<Proxy>,
    client: Client,
    stop: Stop,
}

async fn work(
    mut connections: mpsc::Receiver<(std::net::TcpStream, SocketAddr)>,
    proxy: Arc<Proxy>,
    tls: Option<TlsAcceptor>,
    local: SocketAddr,
    shutdown: CancellationToken,
) {
    let worker = Arc::new(Worker { proxy, client: Client::default(), stop: Stop::default() });
    let open = TaskTracker::new();
    loop {
        let next = tokio::select! {
            next = connections.recv() => next,
            () = shutdown.cancelled() => None,
        };
        let Some((stream, peer)) = next else { break };
        let Ok(stream) = TcpStream::from_std(stream) else { continue };
        let local = stream.local_addr().unwrap_or(local);
        let worker = Arc::clone(&worker);
        match tls.clone() {
            None => {
                let connection = Connection::new(peer, local, None);
                open.spawn(converse(stream, connection, worker));
            }
            Some(tls) => {
                open.spawn(async move {
                    // A new certificate counts for the next handshake.
                    worker.proxy.configuration().await;
                    let shaking =
                        tokio::time::timeout(worker.proxy.options.client_timeout, tls.accept(stream));
                    let Ok(Ok(stream)) = shaking.await else { return };
                    let connection = Connection::new(peer, local, Some(stream.get_ref().1));
                    converse(stream, connection, worker).await;
                });
            }
        }
    }
    open.close();
    worker.stop.now();
    let _ = tokio::time::timeout(DRAIN, open.wait()).await;
}

/// Tells the connections of a thread to come to an end. Being asked at every turn costs them next to nothing.
#[derive(Default)]
struct Stop {
    stopped: AtomicBool,
    waiting: Notify,
}

impl Stop {
    fn now(&self) {
        self.stopped.store(true, Ordering::Release);
        self.waiting.notify_waiters();
    }

    fn is_now(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Goes on with something until it is over, or until the stop.
    async fn or<F: Future>(&self, mut going: Pin<&mut F>) -> Option<F::Output> {
        let mut told = std::pin::pin!(self.waiting.notified());
        let mut waits = false;
        poll_fn(|cx| {
            if let Poll::Ready(end) = going.as_mut().poll(cx) {
                return Poll::Ready(Some(end));
            }
            // Once is enough: this is the same task each time.
            if !waits {
                waits = true;
                let _ = told.as_mut().poll(cx);
            }
            if self.is_now() { Poll::Ready(None) } else { Poll::Pending }
        })
        .await
    }
}

async fn converse<S>(stream: S, connection: Connection, worker: Arc<Worker>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    // Shared by the requests of one connection, which is served by one thread.
    let shared = Arc::new((Arc::clone(&worker), connection));
    let handle = move |request| {
        let shared = Arc::clone(&shared);
        // In a box that is gone with the head of the answer: a stream may go on for long.
        Box::pin(async move {
            let (worker, connection) = &*shared;
            worker.proxy.handle(connection, &worker.client, request).await
        })
    };
    let idle = worker.proxy.options.client_timeout;
    let mut serving = std::pin::pin!(server::serve(stream, idle, || worker.stop.is_now(), &handle));
    let ended = match worker.stop.or(serving.as_mut()).await {
        Some(ended) => ended,
        // It looks for itself what that means.
        None => serving.await,
    };
    if let Some(http2) = ended {
        // Rare and large: kept out of the future of every connection.
        Box::pin(converse_http2(http2, &worker.stop, &handle)).await;
    }
}

async fn converse_http2<F>(connection: Http2, stop: &Stop, handle: &impl Fn(Request<Body>) -> F)
where
    F: Future<Output = http::Response<Body>> + Send + 'static,
{
    let Http2(stream, read) = connection;
    let (reading, writing) = tokio::io::split(stream);
    let stream = tokio::io::join(Cursor::new(read).chain(reading), writing);
    let service = service_fn(|request: Request<Incoming>| {
        let answering = handle(request.map(|body| match http_body::Body::is_end_stream(&body) {
            true => Body::Empty,
            false => Body::stream(body.map_err(BodyError::from)),
        }));
        async { Ok::<_, Infallible>(answering.await) }
    });
    let mut serving = std::pin::pin!(
        http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service)
    );
    // What breaks a connection concerns nobody else: the client sees it.
    if stop.or(serving.as_mut()).await.is_none() {
        serving.as_mut().graceful_shutdown();
        let _ = serving.await;
    }
}
