//! The proxy's own answers: errors in the form that the client accepts, as Kong words them.

use super::body::Body;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};

/// A JSON text with this status.
pub fn json(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    response
}

/// What a plugin answers instead of an upstream: `{"message": ...}`.
pub fn plugin_error(status: StatusCode, message: &str) -> Response<Body> {
    json(status, serde_json::json!({ "message": message }).to_string())
}
