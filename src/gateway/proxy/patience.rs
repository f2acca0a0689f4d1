//! Waiting for the other side of a connection, and for how long.

use super::body::{Body, BodyError};
use bytes::Bytes;
use http::Request;
use http_body::{Frame, SizeHint};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// Waits for the other side as long as its limit, and from the beginning again while a body is still being sent to it.
/// It stays with its connection, so that the timer need not be set anew for each exchange: it goes off when an earlier
/// wait would have been over, and then goes on for the rest of this one.
#[derive(Default)]
pub(super) struct Patience {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    /// When the wait of the moment is over.
    until: Option<Instant>,
    progress: Option<Progress>,
}

impl Patience {
    pub(super) fn begin(&mut self, limit: Duration, progress: Option<Progress>) {
        (self.limit, self.until, self.progress) = (limit, None, progress);
    }

    /// What is waited for, or `None` when the wait is over before.
    pub(super) async fn wait<T>(
        &mut self,
        mut awaited: impl FnMut(&mut TaskContext<'_>) -> Poll<T>,
    ) -> Option<T> {
        poll_fn(|cx| match awaited(cx) {
            Poll::Ready(awaited) => Poll::Ready(Some(awaited)),
            Poll::Pending => self.poll(cx).map(|()| None),
        })
        .await
    }

    /// Ready when it is over.
    pub(super) fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        let mut until = *self.until.get_or_insert_with(|| Instant::now() + self.limit);
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if timer.deadline() > until {
            timer.as_mut().reset(until);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if timer.deadline() >= until {
                let sent = self.progress.as_ref();
                if sent.is_none_or(|Progress(count)| count.swap(0, Ordering::Relaxed) == 0) {
                    return Poll::Ready(());
                }
                until = Instant::now() + self.limit;
                self.until = Some(until);
            }
            timer.as_mut().reset(until);
        }
        Poll::Pending
    }

    /// Begins anew at the next wait.
    pub(super) fn stop(&mut self) {
        self.until = None;
    }
}

/// How far a request's streamed body has got.
#[derive(Clone)]
pub(super) struct Progress(Arc<AtomicU64>);

impl Progress {
    /// Watches the body of a request, if it is streamed.
    pub(super) fn of(request: &mut Request<Body>) -> Option<Self> {
        if !matches!(request.body(), Body::Stream(_)) {
            return None;
        }
        let progress = Progress(Arc::default());
        let body = std::mem::take(request.body_mut());
        *request.body_mut() = Body::stream(Watched { body, progress: progress.clone() });
        Some(progress)
    }
}

/// A body that tells of each part that was asked for.
struct Watched {
    body: Body,
    progress: Progress,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if frame.is_ready() {
            self.progress.0.fetch_add(1, Ordering::Relaxed);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
