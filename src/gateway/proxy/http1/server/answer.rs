//! How the head of an answer goes to a client, and how its body follows.

use crate::gateway::proxy::body::Body;
use crate::gateway::proxy::http1::sending::{Framing, write_headers};
use crate::gateway::proxy::http1::{keeps, length};
use http::header::{CONTENT_LENGTH, DATE, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::{Method, StatusCode, Version, response};
use http_body::Body as _;
use hyper::ext::ReasonPhrase;
use std::cell::RefCell;
use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a header takes, roughly.
const HEADER: usize = 40;

/// What of a request counts for its answer.
pub(super) struct Asked {
    pub(super) is_head: bool,
    pub(super) version: Version,
    /// Whether another request may follow.
    pub(super) keeps: bool,
}

impl Asked {
    pub(super) fn new(method: &Method, version: Version, keeps: bool) -> Self {
        Asked { is_head: *method == Method::HEAD, version, keeps }
    }
}

/// Writes a head, and tells how the body follows, if there is one to follow, and whether another request may.
pub(super) fn encode(
    head: &mut response::Parts,
    body: &Body,
    asked: &Asked,
    out: &mut Vec<u8>,
) -> (Option<Framing>, bool) {
    let closes = !keeps(&head.headers, Version::HTTP_11);
    let mut stays = asked.keeps && !closes;
    out.reserve(64 + head.headers.len() * HEADER);
    let reason = head.extensions.get::<ReasonPhrase>().map(ReasonPhrase::as_bytes);
    let reason = reason.or(head.status.canonical_reason().map(str::as_bytes)).unwrap_or_default();
    for part in [b"HTTP/1.1 ", head.status.as_str().as_bytes(), b" ", reason, b"\r\n"] {
        out.extend_from_slice(part);
    }
    head.headers.remove(TRANSFER_ENCODING);
    let framing = framing(head, body, asked, out);
    stays &= !matches!(framing, Some(Framing::Everything));
    write_headers(out, &head.headers);
    if !head.headers.contains_key(DATE) {
        write_date(out);
    }
    out.extend_from_slice(match (stays, asked.version) {
        (false, _) if !closes && head.status != StatusCode::SWITCHING_PROTOCOLS => {
            b"connection: close\r\n\r\n"
        }
        (true, Version::HTTP_10) => b"connection: keep-alive\r\n\r\n",
        _ => b"\r\n",
    });
    (framing, stays)
}

/// How a body is framed, by RFC 9112, section 6; what its length is, is said.
fn framing(head: &mut response::Parts, body: &Body, asked: &Asked, out: &mut Vec<u8>) -> Option<Framing> {
    let headers = &mut head.headers;
    if head.status.is_informational() || head.status == StatusCode::NO_CONTENT {
        headers.remove(CONTENT_LENGTH);
        return None;
    }
    let told = headers.get(CONTENT_LENGTH).and_then(length);
    if head.status == StatusCode::NOT_MODIFIED || (asked.is_head && told.is_some()) {
        return None;
    }
    let exact = if body.is_end_stream() { Some(0) } else { body.size_hint().exact() };
    if let Some(length) = exact {
        if !(asked.is_head && length == 0) {
            tell_length(headers, told, length, out);
        }
        return (length > 0 && !asked.is_head).then_some(Framing::Length(length));
    }
    if asked.is_head {
        return None;
    }
    if let Some(told) = told {
        return Some(Framing::Length(told));
    }
    headers.remove(CONTENT_LENGTH);
    if asked.version == Version::HTTP_10 {
        return Some(Framing::Everything);
    }
    out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    Some(Framing::chunks(headers))
}

fn tell_length(headers: &mut HeaderMap, told: Option<u64>, length: u64, out: &mut Vec<u8>) {
    if told == Some(length) {
        return;
    }
    if headers.contains_key(CONTENT_LENGTH) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    } else {
        // A vector takes whatever is written to it.
        let _ = write!(out, "content-length: {length}\r\n");
    }
}

/// Writes the time, which is made once a second for each thread.
fn write_date(out: &mut Vec<u8>) {
    thread_local! {
        static LINE: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    LINE.with_borrow_mut(|(made, line)| {
        if *made != now {
            let time = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(now));
            (*made, *line) = (now, format!("date: {time}\r\n"));
        }
        out.extend_from_slice(line.as_bytes());
    });
}
