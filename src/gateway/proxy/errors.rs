//! The proxy's own answers: errors in the form that the client accepts, as Kong words them.

use super::body::Body;
use super::body::BodyError;
use super::context::ForwardError;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Response, StatusCode};

/// The forms of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Html,
    Xml,
    Plain,
}

impl Form {
    fn content_type(self) -> &'static str {
        match self {
            Form::Json => "application/json; charset=utf-8",
            Form::Html => "text/html; charset=utf-8",
            Form::Xml => "application/xml; charset=utf-8",
            Form::Plain => "text/plain; charset=utf-8",
        }
    }

    fn write(self, message: &str, id: &str) -> String {
        match self {
            Form::Json => format!("{{\n  \"message\":{},\n  \"request_id\":\"{id}\"\n}}", quote(message)),
            Form::Html => format!(
                "<!doctype html>\n<html>\n  <head>\n    <meta charset=\"utf-8\">\n    <title>Error</title>\n  </head>\n  \
                 <body>\n    <h1>Error</h1>\n    <p>{}.</p>\n    <p>request_id: {id}</p>\n  </body>\n</html>\n",
                escape(message)
            ),
            Form::Xml => format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<error>\n  <message>{}</message>\n  \
                 <requestid>{id}</requestid>\n</error>\n",
                escape(message)
            ),
            Form::Plain => format!("{message}\nrequest_id: {id}\n"),
        }
    }

    /// The form of one media type; JSON for all that Kong does not know.
    fn of(kind: &str) -> Form {
        match kind {
            "text/html" => Form::Html,
            "text/plain" | "text/*" => Form::Plain,
            "application/xml" => Form::Xml,
            _ => Form::Json,
        }
    }

    /// The form that `Accept` headers prefer. What is no media range does not count.
    fn accepted<'a>(accept: impl Iterator<Item = &'a str>) -> Form {
        let mut best = (0.0, Form::Json);
        for range in accept.flat_map(|accept| accept.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let is_range = kind
                .split_once('/')
                .is_some_and(|(main, sub)| [main, sub].iter().all(|part| *part == "*" || part.len() > 1));
            let quality = parts.rev().find_map(|part| quality(part.strip_prefix("q=")?)).unwrap_or(1.0);
            if is_range && quality > best.0 {
                best = (quality, Form::of(kind));
            }
        }
        best.1
    }
}

/// A quality from 0 to 1.
fn quality(text: &str) -> Option<f32> {
    text.trim().parse().ok().filter(|quality| (0.0..=1.0).contains(quality))
}

/// An error in the form that the client accepts; JSON unless it asks for another.
pub fn error(request: &HeaderMap, status: StatusCode, message: &str, request_id: &str) -> Response<Body> {
    if is_grpc(request) {
        return grpc(status, None);
    }
    let accept = request.get_all(ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    form(Form::accepted(accept), status, message, request_id)
}

/// An error that the server rather than a plugin finds: text unless the client accepts or sends something else. Of some
/// the server tells in a page of its own.
pub fn server_error(request: &HeaderMap, mut status: StatusCode, request_id: &str) -> Response<Body> {
    let message = match status.as_u16() {
        400 => "Bad request",
        404 => "Not found",
        405 => "Method not allowed",
        408 => "Request timeout",
        411 => "Length required",
        412 => "Precondition failed",
        413 => "Payload too large",
        414 => "URI too long",
        417 => "Expectation failed",
        431 => {
            status = StatusCode::BAD_REQUEST;
            "Request header or cookie too large"
        }
        500 => "An unexpected error occurred",
        502 => "An invalid response was received from the upstream server",
        503 => "The upstream server is currently unavailable",
        504 => "The upstream server is timing out",
        _ => return page(status),
    };
    if is_grpc(request) {
        return grpc(status, Some(message));
    }
    let asked =
        request.get(ACCEPT).or_else(|| request.get(CONTENT_TYPE)).and_then(|value| value.to_str().ok());
    let form_asked = asked.map_or(Form::Plain, |asked| Form::accepted([asked].into_iter()));
    form(form_asked, status, message, request_id)
}

fn form(form: Form, status: StatusCode, message: &str, request_id: &str) -> Response<Body> {
    answer(status, form.content_type(), form.write(message, request_id))
}

/// Whether a request speaks gRPC.
pub fn is_grpc(request: &HeaderMap) -> bool {
    request.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// An error for a gRPC client: in headers, with an empty body.
fn grpc(status: StatusCode, message: Option<&str>) -> Response<Body> {
    let (code, name) = match status.as_u16() {
        200..=299 => (0, "OK"),
        401 => (16, "Unauthenticated"),
        403 => (7, "PermissionDenied"),
        404 => (5, "NotFound"),
        409 => (6, "AlreadyExists"),
        429 => (8, "ResourceExhausted"),
        499 => (1, "Canceled"),
        501 => (12, "Unimplemented"),
        503 => (14, "Unavailable"),
        504 => (4, "DeadlineExceeded"),
        400..=498 => (3, "InvalidArgument"),
        500..=599 => (13, "Internal"),
        _ => (2, "Unknown"),
    };
    grpc_status(status, code, message.unwrap_or(name))
}

/// The end of a gRPC call without any message.
pub fn grpc_status(status: StatusCode, code: u16, message: &str) -> Response<Body> {
    let mut response = answer(status, "application/grpc", "");
    response.headers_mut().insert("grpc-status", HeaderValue::from(code));
    if let Ok(message) = HeaderValue::from_str(message) {
        response.headers_mut().insert("grpc-message", message);
    }
    response
}

/// The answer when no upstream answered.
pub fn forward_error(request: &HeaderMap, failure: ForwardError, request_id: &str) -> Response<Body> {
    let status = match failure {
        ForwardError::Answer(answer) => return *answer,
        ForwardError::Resolve { .. } => {
            return error(request, StatusCode::SERVICE_UNAVAILABLE, "name resolution failed", request_id);
        }
        ForwardError::NoTarget { .. } => {
            let message = "failure to get a peer from the ring-balancer";
            return error(request, StatusCode::SERVICE_UNAVAILABLE, message, request_id);
        }
        ForwardError::Connect { .. } | ForwardError::Invalid { .. } => StatusCode::BAD_GATEWAY,
        ForwardError::TimedOut { .. } => StatusCode::GATEWAY_TIMEOUT,
        ForwardError::Body(BodyError::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
        ForwardError::Body(BodyError::TimedOut) => StatusCode::REQUEST_TIMEOUT,
        ForwardError::Body(_) => StatusCode::BAD_REQUEST,
    };
    server_error(request, status, request_id)
}

/// `{"message": ...}` with this status.
pub fn exit(status: StatusCode, message: &str) -> Response<Body> {
    json(status, format!("{{\"message\":{}}}", quote(message)))
}

/// A JSON text with this status.
pub fn json(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    answer(status, Form::Json.content_type(), text)
}

/// The page that a web server shows beside a redirection.
pub fn redirection(status: StatusCode, location: &str) -> Response<Body> {
    let mut response = page(status);
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(http::header::LOCATION, location);
    }
    response
}

/// A web server's page that tells a status and nothing else.
fn page(status: StatusCode) -> Response<Body> {
    let title = format!("{} {}", status.as_str(), status.canonical_reason().unwrap_or_default());
    let page = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n\
         </body>\r\n</html>\r\n"
    );
    answer(status, "text/html", page)
}

fn answer(status: StatusCode, content_type: &'static str, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_follows_what_is_accepted() {
        for (accept, form) in [
            ("text/html,application/json;q=0.5", Form::Html),
            ("text/plain;q=0.2, application/xml;q=0.9", Form::Xml),
            ("image/png", Form::Json),
            ("text/*", Form::Plain),
            ("text/xml", Form::Json),
            ("text/html;q=0.5, image/png", Form::Json),
            ("*/*", Form::Json),
            ("", Form::Json),
            ("text/plain", Form::Plain),
            ("html, text/plain;q=0.1", Form::Plain),
            ("text/html;q=2, text/plain", Form::Html),
            ("text/html;q=0, application/xml;level=1;q=0.3", Form::Xml),
        ] {
            assert_eq!(Form::accepted([accept].into_iter()), form, "{accept}");
        }
    }

    #[tokio::test]
    async fn messages_cannot_break_out_of_their_form() {
        let read = |response: Response<Body>| response.into_body().read(1000);
        let text = read(exit(StatusCode::BAD_REQUEST, "say \"<b>\"")).await.unwrap_or_default();
        assert_eq!(text, "{\"message\":\"say \\\"<b>\\\"\"}");
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("text/html"));
        let page = read(error(&headers, StatusCode::BAD_REQUEST, "<b>", "id")).await.unwrap_or_default();
        assert!(String::from_utf8_lossy(&page).contains("<p>&lt;b&gt;.</p>"));
    }
}
