//! How a body comes from the wire, part by part.

use super::Fault;
use bytes::{Buf, Bytes};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;
use httparse::Status;

/// The largest trailers, in bytes.
const LARGEST_TRAILERS: usize = 256 * 1024;
/// How many trailers a body may have.
const MOST_TRAILERS: usize = 128;
/// The longest line that tells a chunk's size, in bytes.
const LONGEST_LINE: usize = 4 * 1024;

/// What of a message is read next.
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
        let mut headers = [httparse::EMPTY_HEADER; MOST_TRAILERS];
        match httparse::parse_headers(input, &mut headers) {
            Ok(Status::Complete((length, parsed))) => {
                let trailers = copy(input, parsed)?;
                input.advance(length);
                *self = Reading::Done;
                Ok((!trailers.is_empty()).then(|| Frame::trailers(trailers)))
            }
            Ok(Status::Partial) if input.len() <= LARGEST_TRAILERS => Ok(None),
            _ => Err(Fault::Malformed("its trailers cannot be read")),
        }
    }
}

/// Headers whose values are parts of the input.
pub(super) fn copy(input: &Bytes, parsed: &[httparse::Header<'_>]) -> Result<HeaderMap, Fault> {
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
