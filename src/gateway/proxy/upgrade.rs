//! WebSockets: two upgraded connections, joined.

use super::body::Body;
use super::headers;
use super::http1::Stream;
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::AsyncWriteExt;

/// A client's connection that will be upgraded if the upstream agrees.
pub struct Upgrade(OnUpgrade);

/// An upstream's connection that speaks another protocol from now on, and what was read of it already. It travels
/// with the answer that says so.
#[derive(Clone)]
pub(super) struct Switched(Arc<Mutex<Option<Parts>>>);

type Parts = (Box<dyn Stream>, Bytes);

impl Switched {
    pub(super) fn new(parts: Parts) -> Self {
        Switched(Arc::new(Mutex::new(Some(parts))))
    }

    fn take(&self) -> Option<Parts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Upgrade {
    /// Takes the upgrade of a request that asks for a WebSocket.
    pub fn asked(request: &mut Request<Incoming>) -> Option<Self> {
        headers::is_websocket(request.headers()).then(|| Upgrade(hyper::upgrade::on(request)))
    }

    /// Joins the client with the upstream that answered 101, until one of them ends.
    pub fn connect(self, answer: &mut Response<Body>) {
        let Some((mut upstream, first)) =
            answer.extensions_mut().remove().and_then(|switched: Switched| switched.take())
        else {
            return;
        };
        tokio::spawn(async move {
            // The client may have gone meanwhile; then there is nothing to join.
            let Ok(client) = self.0.await else { return };
            let mut client = TokioIo::new(client);
            if client.write_all(&first).await.is_ok() {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
            }
        });
    }
}
