//! How the head of a client's request comes from the wire: what it says, and what Kong's server refuses of it.
//!
//! What does not live here: what is wrong with a head that can be read (`rules`), and the answer to one that cannot
//! ([`Refused`] tells its status).

use crate::gateway::proxy::http1::reading::Reading;
use crate::gateway::proxy::http1::{keeps, length};
use bytes::{Buf, Bytes};
use http::header::{ACCEPT, EXPECT, HOST, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, StatusCode, Uri, Version};
use smallvec::SmallVec;

/// The longest line of a head, in bytes.
const LONGEST_LINE: usize = 8 * 1024;
/// The largest head, in bytes.
const LARGEST_HEAD: usize = 33 * 1024;
/// How many headers a head may have.
const MOST_HEADERS: usize = 100;
/// What begins a connection of HTTP/2.
const HTTP2: &[u8] = b"PRI * HTTP/2.0";

/// Why a request cannot be read: it travels with the request that stands for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway::proxy) struct Refused(pub StatusCode);

/// What a head is found to be.
pub(super) enum Finding {
    /// Its end has not come.
    Partial,
    /// What begins a connection of HTTP/2.
    Http2,
    /// A request, or what stands for one that is [`Refused`].
    Request(Box<Head>),
}

/// The head of a request.
pub(super) struct Head {
    pub(super) request: Request<()>,
    /// How its body is read.
    pub(super) reading: Reading,
    /// Whether the client keeps the connection open.
    pub(super) keeps: bool,
    /// Whether the client waits for a word before it sends the body.
    pub(super) waits: bool,
}

/// Looks for the head of a request, and takes it out of the input.
pub(super) fn find(input: &mut Bytes) -> Finding {
    match inspect(input) {
        Ok((length, finding)) => {
            input.advance(length);
            finding
        }
        Err(status) => Finding::Request(Box::new(stand_in(status, input))),
    }
}

/// Whether it is of no use yet to look at the head again, though more has come: a head that comes byte by byte is not
/// looked at byte by byte.
pub(super) fn is_unchanged(input: &[u8], new: usize) -> bool {
    let new = input.get(input.len().saturating_sub(new)..).unwrap_or_default();
    memchr::memchr(b'\n', new).is_none() && unfinished(input) <= LONGEST_LINE
}

/// The length of the last line, which has no end.
fn unfinished(bytes: &[u8]) -> usize {
    bytes.len() - memchr::memrchr(b'\n', bytes).map_or(0, |end| end + 1)
}

/// A request in the place of a head that is refused: of that, it has what tells the form of the answer.
fn stand_in(status: StatusCode, head: &[u8]) -> Head {
    let mut request = Request::new(());
    request.extensions_mut().insert(Refused(status));
    request.headers_mut().insert(HOST, HeaderValue::from_static("-"));
    let accept = head.split(|byte| *byte == b'\n').find_map(|line| {
        let name = line.get(..7).filter(|name| name.eq_ignore_ascii_case(b"accept:"))?;
        let value = line.get(name.len()..)?.strip_suffix(b"\r")?.trim_ascii();
        let is_plain = value.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
        HeaderValue::from_bytes(value).ok().filter(|_| is_plain)
    });
    if let Some(accept) = accept {
        request.headers_mut().insert(ACCEPT, accept);
    }
    Head { request, reading: Reading::Done, keeps: false, waits: false }
}

/// Looks at the lines of a head. Gives how many bytes were made sense of, and of what.
///
/// # Errors
/// The status of the answer to a head that breaks the rules.
fn inspect(bytes: &Bytes) -> Result<(usize, Finding), StatusCode> {
    let mut lines = Lines { bytes, at: 0 };
    let mut request = None;
    let mut fields: SmallVec<[(&[u8], &[u8]); 32]> = SmallVec::new();
    while let Some(line) = lines.next() {
        if line.len() > LONGEST_LINE || lines.at > LARGEST_HEAD {
            return Err(too_large(request.is_some()));
        }
        let Some(first) = &request else {
            // Empty lines may stand before a request.
            if line == HTTP2 {
                return Ok((0, Finding::Http2));
            }
            if !line.is_empty() {
                request = Some(request_line(line)?);
            }
            continue;
        };
        if line.is_empty() {
            return Ok((lines.at, Finding::Request(Box::new(head(bytes, first, &fields)?))));
        }
        fields.push(field(line).ok_or(StatusCode::BAD_REQUEST)?);
        if fields.len() > MOST_HEADERS {
            return Err(too_large(true));
        }
    }
    if bytes.len() - lines.at > LONGEST_LINE || bytes.len() > LARGEST_HEAD {
        return Err(too_large(request.is_some()));
    }
    // What begins like this, another protocol most likely, may never come to the end of a line.
    let is_odd = |byte: &u8| !byte.is_ascii_uppercase() && !b"_-\r\n".contains(byte);
    if request.is_none() && bytes.get(lines.at..).and_then(<[u8]>::first).is_some_and(is_odd) {
        return Err(StatusCode::BAD_REQUEST);
    }
    Ok((0, Finding::Partial))
}

/// What a head is refused with that is too large, before or behind its first line.
fn too_large(behind: bool) -> StatusCode {
    if behind { StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE } else { StatusCode::URI_TOO_LONG }
}

/// Lines with their ends taken off; at last [`Lines::at`] stands where one has no end.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.bytes.get(self.at..)?;
        let end = memchr::memchr(b'\n', rest)?;
        self.at += end + 1;
        let line = rest.get(..end)?;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

/// The first line of a request.
struct RequestLine<'a> {
    method: &'a [u8],
    target: &'a [u8],
    version: Version,
}

fn request_line(line: &[u8]) -> Result<RequestLine<'_>, StatusCode> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(StatusCode::BAD_REQUEST);
    };
    let is_method = |byte: &u8| byte.is_ascii_uppercase() || *byte == b'_' || *byte == b'-';
    if method.is_empty()
        || !method.iter().all(is_method)
        || target.is_empty()
        || target.iter().any(u8::is_ascii_control)
    {
        return Err(StatusCode::BAD_REQUEST);
    }
    let version = match version {
        b"HTTP/1.1" => Version::HTTP_11,
        b"HTTP/1.0" => Version::HTTP_10,
        [b'H', b'T', b'T', b'P', b'/', b'2'..=b'9', b'.', b'0'..=b'9'] => {
            return Err(StatusCode::HTTP_VERSION_NOT_SUPPORTED);
        }
        _ => return Err(StatusCode::BAD_REQUEST),
    };
    Ok(RequestLine { method, target, version })
}

/// The name and the value of a line, if it holds such.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', line)?;
    let (name, value) = (line.get(..colon)?, line.get(colon + 1..)?);
    (!name.is_empty()).then(|| (name, value.trim_ascii()))
}

/// Makes a head of its lines. Values are parts of the input.
fn head(bytes: &Bytes, line: &RequestLine<'_>, fields: &[(&[u8], &[u8])]) -> Result<Head, StatusCode> {
    let bad = StatusCode::BAD_REQUEST;
    let mut headers = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields {
        // Both refuse what may not stand in them.
        let name = HeaderName::from_bytes(name).map_err(|_| bad)?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(value)).map_err(|_| bad)?;
        headers.append(name, value);
    }
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(line.method).map_err(|_| bad)?;
    *request.uri_mut() = target(bytes, line.target).ok_or(bad)?;
    *request.version_mut() = line.version;
    let reading = reading(&headers, line.version)?;
    let is_over = matches!(reading, Reading::Done);
    let waits = !is_over
        && line.version == Version::HTTP_11
        && headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let keeps = keeps(&headers, line.version);
    *request.headers_mut() = headers;
    Ok(Head { request, reading, keeps, waits })
}

/// The target of a request. Characters that may not stand in one, and that clients send and Kong takes all the same,
/// are escaped.
fn target(bytes: &Bytes, target: &[u8]) -> Option<Uri> {
    if let Ok(uri) = Uri::from_maybe_shared(bytes.slice_ref(target)) {
        return Some(uri);
    }
    let mut escaped = Vec::with_capacity(target.len() + 16);
    for byte in target {
        match byte {
            b'"' | b'<' | b'>' | b'`' | b'^' | b'{' | b'|' | b'}' | b'\\' => {
                escaped.extend_from_slice(format!("%{byte:02X}").as_bytes());
            }
            _ => escaped.push(*byte),
        }
    }
    Uri::try_from(escaped).ok()
}

/// How long the body of a request is, as Kong's server has it: with no doubt left.
fn reading(headers: &HeaderMap, version: Version) -> Result<Reading, StatusCode> {
    use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
    let one = |name: HeaderName| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            _ => Err(StatusCode::BAD_REQUEST),
        }
    };
    match (one(CONTENT_LENGTH)?, one(TRANSFER_ENCODING)?) {
        (None, None) => Ok(Reading::Done),
        (Some(told), None) => match length(told) {
            Some(0) => Ok(Reading::Done),
            Some(length) => Ok(Reading::Length(length)),
            None => Err(StatusCode::BAD_REQUEST),
        },
        (told, Some(coding)) => {
            if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err(StatusCode::NOT_IMPLEMENTED);
            }
            if told.is_some() || version == Version::HTTP_10 {
                return Err(StatusCode::BAD_REQUEST);
            }
            Ok(Reading::ChunkSize)
        }
    }
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
