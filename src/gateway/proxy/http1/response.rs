//! How an answer comes from the wire: its head, and the parts of its body.

use super::Fault;
use bytes::{Buf, Bytes};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{Method, Response, StatusCode, Version};
use http_body::Frame;
use httparse::{ParserConfig, Status};
use hyper::ext::ReasonPhrase;
use std::mem::MaybeUninit;

/// The largest head, in bytes, and the largest trailers.
const LARGEST_HEAD: usize = 256 * 1024;
/// How many headers an answer may have, and how many trailers.
const MOST_HEADERS: usize = 128;
/// The longest line that tells a chunk's size, in bytes.
const LONGEST_LINE: usize = 4 * 1024;

/// The head of an answer.
pub(super) struct Head {
    pub(super) response: Response<()>,
    /// How its body is read.
    pub(super) reading: Reading,
    /// Whether the connection may be used again.
    pub(super) keeps: bool,
}

/// What of an answer is read next.
#[derive(Debug)]
pub(super) enum Reading {
    Head,
    /// So many bytes of a body; more than none.
    Length(u64),
    /// A body as long as the connection.
    Everything,
    /// The line with a chunk's size.
    ChunkSize,
    /// So many bytes of a chunk; more than none.
    Chunk(u64),
    /// The end of a chunk's line.
    ChunkEnd,
    Trailers,
    Done,
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
        let keeps = keeps(&response, version) && !matches!(reading, Reading::Everything);
        return Ok(Some(Head { response, reading, keeps }));
    }
}

/// Headers whose values are parts of the input.
fn copy(input: &Bytes, parsed: &[httparse::Header<'_>]) -> Result<HeaderMap, Fault> {
    let wrong = || Fault::Malformed("a header cannot be read");
    // Room for what the gateway adds.
    let mut headers = HeaderMap::with_capacity(parsed.len() + 6);
    for header in parsed {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| wrong())?;
        let value = HeaderValue::from_maybe_shared(input.slice_ref(header.value)).map_err(|_| wrong())?;
        headers.append(name, value);
    }
    Ok(headers)
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
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        let given = value.to_str().ok().filter(|text| text.bytes().all(|digit| digit.is_ascii_digit()));
        let given = given.and_then(|text| text.parse::<u64>().ok());
        if given.is_none() || length.is_some_and(|earlier| Some(earlier) != given) {
            return Err(Fault::Malformed("its length is no number, or two"));
        }
        length = given;
    }
    Ok(match length {
        None => Reading::Everything,
        Some(0) => Reading::Done,
        Some(length) => Reading::Length(length),
    })
}

/// Whether the other side keeps the connection open.
fn keeps(response: &Response<()>, version: Version) -> bool {
    let (mut closes, mut keeps) = (false, version == Version::HTTP_11);
    let values = response.headers().get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    for word in values.flat_map(|value| value.split(',')).map(str::trim) {
        closes |= word.eq_ignore_ascii_case("close");
        keeps |= word.eq_ignore_ascii_case("keep-alive");
    }
    keeps && !closes
}

impl Reading {
    /// Whether the end of the connection is the end of the body.
    pub(super) fn ends_with_connection(&self) -> bool {
        matches!(self, Reading::Everything)
    }

    /// What is left of the body, in bytes, where it is known.
    pub(super) fn left(&self) -> Option<u64> {
        match self {
            Reading::Length(left) => Some(*left),
            Reading::Done => Some(0),
            _ => None,
        }
    }

    /// The next part of the body that is in the input. What follows it and is no body is skipped, so that the end
    /// is known with the last part.
    pub(super) fn next(&mut self, input: &mut Bytes) -> Result<Option<Frame<Bytes>>, Fault> {
        self.skip(input)?;
        let data = match self {
            Reading::Everything => std::mem::take(input),
            Reading::Length(left) | Reading::Chunk(left) => {
                let here = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                *left -= here as u64;
                input.split_to(here)
            }
            Reading::Trailers => return self.trailers(input),
            _ => return Ok(None),
        };
        match self {
            Reading::Length(0) => *self = Reading::Done,
            Reading::Chunk(0) => {
                *self = Reading::ChunkEnd;
                // What is wrong here is told when more is asked for: this part came whole.
                let _ = self.skip(input);
            }
            _ => {}
        }
        Ok((!data.is_empty()).then(|| Frame::data(data)))
    }

    /// Goes on to the next bytes of the body, to trailers, or to the end.
    fn skip(&mut self, input: &mut Bytes) -> Result<(), Fault> {
        loop {
            match self {
                Reading::ChunkSize => {
                    let digits = input.first().is_none_or(u8::is_ascii_hexdigit);
                    match httparse::parse_chunk_size(input) {
                        Ok(Status::Complete((length, size))) if digits => {
                            input.advance(length);
                            *self = if size == 0 { Reading::Trailers } else { Reading::Chunk(size) };
                        }
                        Ok(Status::Partial) if digits && input.len() < LONGEST_LINE => return Ok(()),
                        _ => return Err(Fault::Malformed("the size of a chunk cannot be read")),
                    }
                }
                Reading::ChunkEnd => {
                    match (input.first(), input.get(1)) {
                        (Some(b'\r'), Some(b'\n')) => input.advance(2),
                        (None, _) | (Some(b'\r'), None) => return Ok(()),
                        _ => return Err(Fault::Malformed("a chunk is longer than its size says")),
                    }
                    *self = Reading::ChunkSize;
                }
                Reading::Trailers if input.starts_with(b"\r\n") => {
                    input.advance(2);
                    *self = Reading::Done;
                }
                _ => return Ok(()),
            }
        }
    }

    fn trailers(&mut self, input: &mut Bytes) -> Result<Option<Frame<Bytes>>, Fault> {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        match httparse::parse_headers(input, &mut headers) {
            Ok(Status::Complete((length, parsed))) => {
                let trailers = copy(input, parsed)?;
                input.advance(length);
                *self = Reading::Done;
                Ok((!trailers.is_empty()).then(|| Frame::trailers(trailers)))
            }
            Ok(Status::Partial) if input.len() <= LARGEST_HEAD => Ok(None),
            _ => Err(Fault::Malformed("its trailers cannot be read")),
        }
    }
}
