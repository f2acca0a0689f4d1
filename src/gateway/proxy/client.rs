//! How the proxy and its plugins reach upstreams: pooled connections, TLS, time-outs.

use super::body::Body;
use super::context::{ForwardError, Limits};
use http::{Request, Response};

/// Sends requests to upstreams over pooled connections. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Client(());

impl Client {
    /// Sends one request to the origin of its (absolute) URI and gives the answer's head with a streamed body.
    ///
    /// # Errors
    /// [`ForwardError`] when there is no valid answer in time. Nothing is retried here.
    pub async fn send(
        &self,
        request: Request<Body>,
        limits: &Limits,
    ) -> Result<Response<Body>, ForwardError> {
        let _ = limits;
        let host = request.uri().host().unwrap_or_default().to_owned();
        Err(ForwardError::Resolve { host })
    }
}
