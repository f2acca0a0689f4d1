//! A client's bytes before HTTP is made of them. What Kong's server refuses of a head that our library would put right
//! (a length told twice, a length beside chunks) or answer without a word is found here, and so are heads that are too
//! large; where the next head begins is told by counting the body.
//!
//! What does not live here: the answer ([`fault`] tells its status), and what is wrong with a head that HTTP can be
//! made of (`rules`).

use bytes::BytesMut;
use http::{StatusCode, request};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// The longest line of a head, in bytes.
const LONGEST_LINE: usize = 8 * 1024;
/// The largest head, in bytes.
const LARGEST_HEAD: usize = 33 * 1024;
/// How many headers a head may have.
const MOST_HEADERS: usize = 100;
/// The method of the request that stands for one that was refused. No client's request with it comes so far.
const FAULT: &str = "!";
/// What begins a connection of HTTP/2.
const HTTP2: &[u8] = b"PRI * HTTP/2.0";
/// How long, and for how many bytes, a client is listened to that still sends what nobody wants.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 4 * 1024 * 1024;

/// The status that a request is refused with, if it stands for one that was.
pub(super) fn fault(head: &request::Parts) -> Option<StatusCode> {
    if head.method.as_str() != FAULT {
        return None;
    }
    let code = head.uri.path().trim_start_matches('/');
    Some(code.parse().unwrap_or(StatusCode::BAD_REQUEST))
}

/// A client's connection whose bytes are watched.
pub(super) struct Guarded<S> {
    stream: S,
    watch: Watch,
    /// A head whose end has not come.
    held: BytesMut,
    /// What may be read by now.
    ready: BytesMut,
    linger: Option<Pin<Box<Sleep>>>,
    lingered: usize,
}

/// Where in a connection's bytes the next one stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watch {
    Head,
    /// So many bytes of a body.
    Length(u64),
    /// In the line of a chunk's size: the size so far, whether there is any, and whether the rest does not count.
    ChunkSize {
        size: u64,
        known: bool,
        rest: bool,
    },
    /// So many bytes of a chunk.
    Chunk(u64),
    /// Behind a chunk.
    ChunkEnd,
    /// In the lines behind the last chunk: whether the line holds anything.
    Trailers {
        line: bool,
    },
    /// Whatever comes: another protocol, or what the library will refuse.
    Through,
    /// Nothing more: a head was refused.
    Spoilt,
}

/// What a head is found to be.
enum Finding {
    /// Its end has not come.
    Partial,
    /// So long, and this follows.
    Sound(usize, Watch),
    Fault(StatusCode),
}

const CHUNK: Watch = Watch::ChunkSize { size: 0, known: false, rest: false };

impl<S> Guarded<S> {
    pub fn new(stream: S) -> Self {
        Guarded {
            stream,
            watch: Watch::Head,
            held: BytesMut::new(),
            ready: BytesMut::new(),
            linger: None,
            lingered: 0,
        }
    }

    /// Puts a request into the place of a head that is refused.
    fn spoil(&mut self, status: StatusCode, head: &[u8]) {
        self.watch = Watch::Spoilt;
        let line = format!("{FAULT} /{} HTTP/1.1\r\nhost: -\r\nconnection: close\r\n", status.as_u16());
        self.ready.extend_from_slice(line.as_bytes());
        let accept = head.split(|byte| *byte == b'\n').find(|line| {
            line.get(..7).is_some_and(|name| name.eq_ignore_ascii_case(b"accept:"))
                && line.ends_with(b"\r")
                && line.iter().rev().skip(1).all(|byte| byte.is_ascii_graphic() || *byte == b' ')
        });
        if let Some(accept) = accept {
            self.ready.extend_from_slice(accept);
            self.ready.extend_from_slice(b"\n");
        }
        self.ready.extend_from_slice(b"\r\n");
        self.held = BytesMut::new();
    }
}

impl Watch {
    /// How many of these bytes may be read, and whether the head that follows them is refused. What is left otherwise
    /// is a head whose end has not come.
    fn pass(&mut self, bytes: &[u8]) -> (usize, Option<StatusCode>) {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            at += match *self {
                Watch::Head => match inspect(rest) {
                    Finding::Partial => return (at, None),
                    Finding::Fault(status) => return (at, Some(status)),
                    Finding::Sound(length, next) => {
                        *self = next;
                        length
                    }
                },
                Watch::Length(left) => {
                    let (taken, left) = take(rest, left);
                    *self = if left == 0 { Watch::Head } else { Watch::Length(left) };
                    taken
                }
                Watch::Chunk(left) => {
                    let (taken, left) = take(rest, left);
                    *self = if left == 0 { Watch::ChunkEnd } else { Watch::Chunk(left) };
                    taken
                }
                Watch::ChunkSize { .. } | Watch::ChunkEnd | Watch::Trailers { .. } => {
                    *self = rest.first().map_or(*self, |byte| self.step(*byte));
                    1
                }
                Watch::Through | Watch::Spoilt => return (bytes.len(), None),
            };
        }
        (at, None)
    }

    /// What follows a byte of what frames chunks.
    fn step(self, byte: u8) -> Watch {
        match (self, byte) {
            (Watch::ChunkSize { known: true, size: 0, .. }, b'\n') => Watch::Trailers { line: false },
            (Watch::ChunkSize { known: true, size, .. }, b'\n') => Watch::Chunk(size),
            (Watch::ChunkSize { size, known: true, rest: true }, _) => {
                Watch::ChunkSize { size, known: true, rest: true }
            }
            (Watch::ChunkSize { size, known: true, .. }, b';' | b' ' | b'\t' | b'\r') => {
                Watch::ChunkSize { size, known: true, rest: true }
            }
            (Watch::ChunkSize { size, .. }, digit) => {
                let digit = char::from(digit).to_digit(16).map(u64::from);
                match digit.and_then(|digit| size.checked_mul(16)?.checked_add(digit)) {
                    Some(size) => Watch::ChunkSize { size, known: true, rest: false },
                    None => Watch::Through,
                }
            }
            (Watch::ChunkEnd, b'\r') => Watch::ChunkEnd,
            (Watch::ChunkEnd, b'\n') => CHUNK,
            (Watch::Trailers { line: false }, b'\n') => Watch::Head,
            (Watch::Trailers { line: true }, b'\n') => Watch::Trailers { line: false },
            (Watch::Trailers { line }, b'\r') => Watch::Trailers { line },
            (Watch::Trailers { .. }, _) => Watch::Trailers { line: true },
            _ => Watch::Through,
        }
    }
}

fn take(bytes: &[u8], wanted: u64) -> (usize, u64) {
    let taken = usize::try_from(wanted).unwrap_or(usize::MAX).min(bytes.len());
    (taken, wanted - taken as u64)
}

/// Looks at the lines of a head.
fn inspect(bytes: &[u8]) -> Finding {
    let mut lines = Lines { bytes, at: 0 };
    let mut request = None;
    let (mut length, mut chunked, mut upgrade, mut headers) = (None, false, false, 0);
    while let Some(line) = lines.next() {
        if line.len() > LONGEST_LINE || lines.at > LARGEST_HEAD {
            return Finding::Fault(too_large(request.is_some()));
        }
        let Some(version) = request else {
            // Empty lines may stand before a request.
            match request_line(line) {
                Ok(_) if line.is_empty() => {}
                Ok(Line::Http1(minor)) => request = Some(minor),
                Ok(Line::Http2) => return Finding::Sound(bytes.len(), Watch::Through),
                Err(status) => return Finding::Fault(status),
            }
            continue;
        };
        if line.is_empty() {
            let next = match (length, chunked) {
                (Some(_), true) => return Finding::Fault(StatusCode::BAD_REQUEST),
                (None, true) if version == b'0' => return Finding::Fault(StatusCode::BAD_REQUEST),
                (None, true) => CHUNK,
                (Some(0) | None, false) if upgrade => Watch::Through,
                (Some(0) | None, false) => Watch::Head,
                (Some(length), false) => Watch::Length(length),
            };
            return Finding::Sound(lines.at, next);
        }
        let Some((name, value)) = field(line) else { return Finding::Fault(StatusCode::BAD_REQUEST) };
        headers += 1;
        if headers > MOST_HEADERS {
            return Finding::Fault(too_large(true));
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            match number(value) {
                Some(number) if length.is_none() => length = Some(number),
                _ => return Finding::Fault(StatusCode::BAD_REQUEST),
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if chunked {
                return Finding::Fault(StatusCode::BAD_REQUEST);
            }
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Finding::Fault(StatusCode::NOT_IMPLEMENTED);
            }
            chunked = true;
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            upgrade = true;
        }
    }
    if bytes.len() - lines.at > LONGEST_LINE || bytes.len() > LARGEST_HEAD {
        return Finding::Fault(too_large(request.is_some()));
    }
    // What begins like this, another protocol most likely, may never come to the end of a line.
    let is_odd = |byte: &u8| !byte.is_ascii_uppercase() && !b"_-\r\n".contains(byte);
    if request.is_none() && bytes.get(lines.at..).and_then(<[u8]>::first).is_some_and(is_odd) {
        return Finding::Fault(StatusCode::BAD_REQUEST);
    }
    Finding::Partial
}

/// The length of the last line, which has no end.
fn unfinished(bytes: &[u8]) -> usize {
    bytes.len() - memchr::memrchr(b'\n', bytes).map_or(0, |end| end + 1)
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

enum Line {
    /// HTTP/1.0 or 1.1: the last digit.
    Http1(u8),
    Http2,
}

/// Reads the first line; an empty one is let through.
fn request_line(line: &[u8]) -> Result<Line, StatusCode> {
    if line.is_empty() {
        return Ok(Line::Http1(b'1'));
    }
    if line == HTTP2 {
        return Ok(Line::Http2);
    }
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
        || target.iter().any(is_control)
    {
        return Err(StatusCode::BAD_REQUEST);
    }
    match version.strip_prefix(b"HTTP/") {
        Some([b'1', b'.', minor @ (b'0' | b'1')]) => Ok(Line::Http1(*minor)),
        Some([b'2'..=b'9', b'.', b'0'..=b'9']) => Err(StatusCode::HTTP_VERSION_NOT_SUPPORTED),
        _ => Err(StatusCode::BAD_REQUEST),
    }
}

/// The name and the value of a line, if it holds such.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', line)?;
    let (name, value) = (line.get(..colon)?, line.get(colon + 1..)?);
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_!#$%&'*+.^`|~".contains(byte);
    if name.is_empty()
        || !name.iter().all(is_token)
        || value.iter().any(|byte| *byte != b'\t' && is_control(byte))
    {
        return None;
    }
    Some((name, value.trim_ascii()))
}

fn is_control(byte: &u8) -> bool {
    byte.is_ascii_control()
}

fn number(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if !this.ready.is_empty() {
                let count = this.ready.len().min(buf.remaining());
                buf.put_slice(&this.ready.split_to(count));
                return Poll::Ready(Ok(()));
            }
            match this.watch {
                Watch::Through => return Pin::new(&mut this.stream).poll_read(cx, buf),
                Watch::Spoilt => return Poll::Pending,
                _ => {}
            }
            if this.held.is_empty() {
                let before = buf.filled().len();
                ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
                let new = buf.filled().get(before..).unwrap_or_default();
                if new.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                let (passed, fault) = this.watch.pass(new);
                let rest = new.get(passed..).unwrap_or_default();
                match fault {
                    Some(status) => {
                        let rest = rest.to_vec();
                        this.spoil(status, &rest);
                    }
                    None => this.held.extend_from_slice(rest),
                }
                buf.set_filled(before + passed);
                if passed > 0 {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            let mut space = [0; 4096];
            let mut more = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut more))?;
            if more.filled().is_empty() {
                // The library ends what has no end.
                this.watch = Watch::Through;
                this.ready = std::mem::take(&mut this.held);
                continue;
            }
            this.held.extend_from_slice(more.filled());
            // A head that comes byte by byte is not looked at byte by byte.
            if memchr::memchr(b'\n', more.filled()).is_none() && unfinished(&this.held) <= LONGEST_LINE {
                continue;
            }
            let (passed, fault) = this.watch.pass(&this.held);
            this.ready = this.held.split_to(passed);
            if let Some(status) = fault {
                let head = std::mem::take(&mut this.held);
                this.spoil(status, &head);
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    /// A client that is still sending is listened to for a moment: were its connection closed under its hands, it would
    /// lose the answer.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        if matches!(this.watch, Watch::Head | Watch::Through) {
            return Poll::Ready(Ok(()));
        }
        let timer = this.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let mut space = [0; 4096];
        while this.lingered < LINGER_BYTES && timer.as_mut().poll(cx).is_pending() {
            let mut unwanted = ReadBuf::new(&mut space);
            match ready!(Pin::new(&mut this.stream).poll_read(cx, &mut unwanted)) {
                Ok(()) if unwanted.filled().is_empty() => break,
                Ok(()) => this.lingered += unwanted.filled().len(),
                Err(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
