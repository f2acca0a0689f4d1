//! How the head of an answer comes from the wire.

use crate::gateway::proxy::http1::reading::{Reading, copy};
use crate::gateway::proxy::http1::{Fault, keeps, length};
use bytes::{Buf, Bytes};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Method, Response, StatusCode, Version};
use httparse::{ParserConfig, Status};
use hyper::ext::ReasonPhrase;
use std::mem::MaybeUninit;

/// The largest head, in bytes.
const LARGEST_HEAD: usize = 256 * 1024;
/// How many headers an answer may have.
const MOST_HEADERS: usize = 128;

/// The head of an answer.
pub(super) struct Head {
    pub(super) response: Response<()>,
    /// How its body is read.
    pub(super) reading: Reading,
    /// Whether the connection may be used again.
    pub(super) keeps: bool,
}

/// The head of the final answer, once it is there; it is taken out of the input.
pub(super) fn head(input: &mut Bytes, method: &Method) -> Result<Option<Head>, Fault> {
    loop {
        let mut headers = [const { MaybeUninit::uninit() }; MOST_HEADERS];
        let mut parsed = httparse::Response::new(&mut []);
        let config = ParserConfig::default();
        let length = match config.parse_response_with_uninit_headers(&mut parsed, input, &mut headers) {
            Ok(Status::Complete(length)) => length,
            Ok(Status::Partial) if input.len() > LARGEST_HEAD => {
                return Err(Fault::Malformed("its head is too large"));
            }
            Ok(Status::Partial) => return Ok(None),
            Err(_) => return Err(Fault::Malformed("its head cannot be read")),
        };
        let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
        let status = status.ok_or(Fault::Malformed("it has no status"))?;
        let version = if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
        // The version is the connection's own: the client's may be another one.
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = copy(input, parsed.headers)?;
        if let Some(reason) = parsed.reason.filter(|reason| Some(*reason) != status.canonical_reason())
            && let Ok(reason) = ReasonPhrase::try_from(reason.as_bytes())
        {
            response.extensions_mut().insert(reason);
        }
        input.advance(length);
        if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
            if input.is_empty() {
                return Ok(None);
            }
            continue;
        }
        let reading = body(&response, version, method)?;
        let keeps = keeps(response.headers(), version) && !matches!(reading, Reading::Everything);
        return Ok(Some(Head { response, reading, keeps }));
    }
}

/// How long the body of an answer is, by RFC 9112, section 6.3.
fn body(response: &Response<()>, version: Version, method: &Method) -> Result<Reading, Fault> {
    let (status, headers) = (response.status(), response.headers());
    let tunnel = *method == Method::CONNECT && status.is_success();
    if *method == Method::HEAD
        || tunnel
        || status.is_informational()
        || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status)
    {
        return Ok(Reading::Done);
    }
    if let Some(coding) = headers.get_all(TRANSFER_ENCODING).iter().next_back() {
        if version == Version::HTTP_10 {
            return Err(Fault::Malformed("HTTP/1.0 has no transfer codings"));
        }
        if headers.contains_key(CONTENT_LENGTH) {
            return Err(Fault::Malformed("it has a length and a transfer coding"));
        }
        let last = coding.to_str().ok().and_then(|codings| codings.rsplit(',').next());
        let chunked = last.is_some_and(|last| last.trim().eq_ignore_ascii_case("chunked"));
        return Ok(if chunked { Reading::ChunkSize } else { Reading::Everything });
    }
    let mut told = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        let given = length(value);
        if given.is_none() || told.is_some_and(|earlier| Some(earlier) != given) {
            return Err(Fault::Malformed("its length is no number, or two"));
        }
        told = given;
    }
    Ok(match told {
        None => Reading::Everything,
        Some(0) => Reading::Done,
        Some(length) => Reading::Length(length),
    })
}
