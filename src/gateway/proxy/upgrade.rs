//! WebSockets: two upgraded connections, joined.

use super::body::Body;
use super::headers;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

/// A client's connection that will be upgraded if the upstream agrees.
pub struct Upgrade(OnUpgrade);

impl Upgrade {
    /// Takes the upgrade of a request that asks for a WebSocket.
    pub fn asked(request: &mut Request<Incoming>) -> Option<Self> {
        headers::is_websocket(request.headers()).then(|| Upgrade(hyper::upgrade::on(request)))
    }

    /// Joins the client with the upstream that answered 101, until one of them ends.
    pub fn connect(self, answer: &mut Response<Body>) {
        let upstream = hyper::upgrade::on(answer);
        tokio::spawn(async move {
            // Neither side is upgraded when the client has gone meanwhile; then there is nothing to join.
            if let (Ok(client), Ok(upstream)) = tokio::join!(self.0, upstream) {
                let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
                let _ = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
            }
        });
    }
}
