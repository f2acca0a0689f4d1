//! WebSockets: two connections that speak another protocol from now on, joined.

use super::http1::Stream;
use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::AsyncWriteExt;

/// An upstream's connection that speaks another protocol from now on. It travels with the answer that says so.
#[derive(Clone)]
pub(super) struct Switched(Arc<Mutex<Option<Parts>>>);

/// A connection, and what was read of it already.
pub(super) type Parts = (Box<dyn Stream>, Bytes);

impl Switched {
    pub(super) fn new(parts: Parts) -> Self {
        Switched(Arc::new(Mutex::new(Some(parts))))
    }

    pub(super) fn take(&self) -> Option<Parts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Joins a client with an upstream until one of them ends.
pub(super) async fn join((mut client, asked): Parts, (mut upstream, answered): Parts) {
    if upstream.write_all(&asked).await.is_ok() && client.write_all(&answered).await.is_ok() {
        let _ = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
    }
}
