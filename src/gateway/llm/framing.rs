//! Cutting the bytes of a stream into events, whichever way the network split them.
//!
//! Three framings: server-sent events, JSON values (one a line, one after the other, or inside one array) and
//! AWS's event stream. What does not live here: what an event means.

use super::TransformError;
use serde_json::Value as Json;

/// The most bytes of one event that are kept in memory.
pub const MAX_EVENT: usize = 4 * 1024 * 1024;

/// One event of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The event's name; empty when it has none.
    pub name: String,
    /// Its data, usually JSON.
    pub data: String,
}

/// Cuts a stream into events. Feeding the same bytes in any pieces gives the same events.
#[derive(Debug)]
pub struct Framer {
    framing: Framing,
    buffer: Vec<u8>,
    /// How many bytes of the buffer were looked at already.
    scanned: usize,
}

#[derive(Debug)]
enum Framing {
    /// Not known yet: the first byte tells.
    Unknown,
    Sse(Sse),
    Values(Values),
    Aws,
}

#[derive(Debug, Default)]
struct Sse {
    event: Event,
    has_data: bool,
    /// The last line ended in a carriage return, so that a line feed now belongs to it.
    after_cr: bool,
    size: usize,
}

/// A scanner for complete JSON objects; whatever stands between them (array brackets, commas, spaces) is skipped.
#[derive(Debug, Default)]
struct Values {
    depth: usize,
    in_text: bool,
    escaped: bool,
    start: usize,
}

/// The types of answers that are read as streams.
const STREAM_TYPES: [&str; 5] = [
    "text/event-stream",
    "application/vnd.amazon.eventstream",
    "application/json",
    "application/stream+json",
    "application/x-ndjson",
];

/// The media type of a `content-type`, without its parameters.
fn media_type(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// Whether an answer of this content type can be read as a stream; one without a type is taken for one.
pub fn is_stream_type(content_type: Option<&str>) -> bool {
    content_type
        .is_none_or(|kind| STREAM_TYPES.iter().any(|known| media_type(kind).eq_ignore_ascii_case(known)))
}

impl Framer {
    /// A framer for a stream of this content type. JSON by type or by its first byte, SSE otherwise.
    pub fn new(content_type: Option<&str>) -> Self {
        let kind = content_type.map(media_type).unwrap_or_default();
        let framing = match kind {
            "application/vnd.amazon.eventstream" => Framing::Aws,
            "application/json" | "application/stream+json" | "application/x-ndjson" => {
                Framing::Values(Values::default())
            }
            _ => Framing::Unknown,
        };
        Framer { framing, buffer: Vec::new(), scanned: 0 }
    }

    /// Takes the next bytes and gives the events that are complete now.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TransformError> {
        self.buffer.extend_from_slice(bytes);
        if matches!(self.framing, Framing::Unknown) {
            match self.buffer.iter().find(|byte| !byte.is_ascii_whitespace()) {
                None => return self.bounded(Vec::new()),
                Some(b'{' | b'[') => self.framing = Framing::Values(Values::default()),
                Some(_) => self.framing = Framing::Sse(Sse::default()),
            }
        }
        let events = match &mut self.framing {
            Framing::Unknown => Vec::new(),
            Framing::Sse(sse) => sse.take(&mut self.buffer, &mut self.scanned),
            Framing::Values(values) => values.take(&mut self.buffer, &mut self.scanned),
            Framing::Aws => aws_events(&mut self.buffer)?,
        };
        self.bounded(events)
    }

    /// The end of the stream: a whole event that the server forgot to end with an empty line still counts, half of
    /// one does not.
    pub fn finish(&mut self) -> Vec<Event> {
        let Framing::Sse(sse) = &mut self.framing else { return Vec::new() };
        let rest = std::mem::take(&mut self.buffer);
        self.scanned = 0;
        if !rest.is_empty() {
            sse.line(&rest);
        }
        let whole = |event: &Event| {
            event.data == "[DONE]" || serde_json::from_str::<serde::de::IgnoredAny>(&event.data).is_ok()
        };
        sse.dispatch().filter(whole).into_iter().collect()
    }

    fn bounded(&self, events: Vec<Event>) -> Result<Vec<Event>, TransformError> {
        let pending = match &self.framing {
            Framing::Sse(sse) => sse.size,
            _ => 0,
        };
        if self.buffer.len() + pending > MAX_EVENT {
            return Err(TransformError::TooLarge(MAX_EVENT));
        }
        Ok(events)
    }
}

impl Sse {
    fn take(&mut self, buffer: &mut Vec<u8>, scanned: &mut usize) -> Vec<Event> {
        let mut events = Vec::new();
        let mut start = 0;
        while let Some(found) =
            buffer.get(*scanned..).and_then(|rest| rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')))
        {
            let end = *scanned + found;
            let is_cr = buffer.get(end) == Some(&b'\r');
            let line = buffer.get(start..end).unwrap_or_default();
            if self.after_cr && !is_cr && line.is_empty() {
                // the line feed of a CRLF
                self.after_cr = false;
            } else {
                self.after_cr = is_cr;
                if line.is_empty() {
                    events.extend(self.dispatch());
                } else {
                    self.line(line);
                }
            }
            start = end + 1;
            *scanned = start;
        }
        buffer.drain(..start.min(buffer.len()));
        *scanned = buffer.len();
        events
    }

    fn line(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let line = line.strip_prefix('\u{feff}').unwrap_or(&line);
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.has_data = true;
                self.size += value.len();
            }
            _ => {}
        }
    }

    fn dispatch(&mut self) -> Option<Event> {
        let event = std::mem::take(&mut self.event);
        self.size = 0;
        std::mem::take(&mut self.has_data).then_some(event)
    }
}

impl Values {
    fn take(&mut self, buffer: &mut Vec<u8>, scanned: &mut usize) -> Vec<Event> {
        let mut events = Vec::new();
        let mut consumed = 0;
        for (at, byte) in buffer.iter().enumerate().skip(*scanned) {
            if self.in_text {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_text = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' if self.depth > 0 => self.in_text = true,
                b'{' => {
                    if self.depth == 0 {
                        self.start = at;
                    }
                    self.depth += 1;
                }
                b'}' if self.depth > 0 => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        let data =
                            buffer.get(self.start..=at).map(String::from_utf8_lossy).unwrap_or_default();
                        events.push(Event { name: String::new(), data: data.into_owned() });
                        consumed = at + 1;
                    }
                }
                _ => {}
            }
        }
        if self.depth == 0 {
            buffer.clear();
            self.start = 0;
        } else {
            // everything before the object that is still open is done with
            let keep = self.start.max(consumed).min(buffer.len());
            buffer.drain(..keep);
            self.start = 0;
        }
        *scanned = buffer.len();
        events
    }
}

/// Complete messages of an AWS event stream. An event's name is its `:event-type`, or `exception` with the
/// exception's type in the data.
fn aws_events(buffer: &mut Vec<u8>) -> Result<Vec<Event>, TransformError> {
    let mut events = Vec::new();
    let mut at = 0;
    while let Some(total) = u32_at(buffer, at) {
        if !(16..=MAX_EVENT).contains(&total) {
            return Err(broken("a message of the event stream has an impossible length"));
        }
        let Some(message) = buffer.get(at..at + total) else { break };
        events.push(aws_event(message)?);
        at += total;
    }
    buffer.drain(..at.min(buffer.len()));
    Ok(events)
}

fn aws_event(message: &[u8]) -> Result<Event, TransformError> {
    let short = || broken("a message of the event stream is cut off");
    let headers_length = u32_at(message, 4).ok_or_else(short)?;
    let checksum = |bytes: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum() as usize
    };
    let body_end = message.len() - 4;
    if u32_at(message, 8) != message.get(..8).map(checksum)
        || u32_at(message, body_end) != message.get(..body_end).map(checksum)
    {
        return Err(broken("a message of the event stream has a wrong checksum"));
    }
    let headers = message.get(12..12 + headers_length).ok_or_else(short)?;
    let payload = message.get(12 + headers_length..body_end).ok_or_else(short)?;
    let mut name = String::new();
    let mut exception = None;
    let mut rest = headers;
    while let Some((key, value, tail)) = aws_header(rest) {
        match key {
            b":event-type" => name = String::from_utf8_lossy(value).into_owned(),
            b":exception-type" | b":error-code" => {
                exception = Some(String::from_utf8_lossy(value).into_owned());
            }
            _ => {}
        }
        rest = tail;
    }
    let data = String::from_utf8_lossy(payload).into_owned();
    Ok(match exception {
        None => Event { name, data },
        Some(kind) => {
            let message = serde_json::from_str::<Json>(&data)
                .ok()
                .and_then(|body| body.get("message").and_then(Json::as_str).map(str::to_owned))
                .unwrap_or(data);
            let data = serde_json::json!({"type": kind, "message": message}).to_string();
            Event { name: "exception".to_owned(), data }
        }
    })
}

/// The first header of a block: name, value and what follows.
fn aws_header(block: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (&length, rest) = block.split_first()?;
    let (name, rest) = rest.split_at_checked(length.into())?;
    let (&kind, rest) = rest.split_first()?;
    let (size, rest) = match kind {
        0 | 1 => (0, rest),
        2 => (1, rest),
        3 => (2, rest),
        4 => (4, rest),
        5 | 8 => (8, rest),
        9 => (16, rest),
        6 | 7 => {
            let (size, rest) = rest.split_at_checked(2)?;
            (usize::from(u16::from_be_bytes(size.try_into().ok()?)), rest)
        }
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(size)?;
    Some((name, value, rest))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    let four = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes(four.try_into().ok()?) as usize)
}

fn broken(reason: &str) -> TransformError {
    TransformError::Answer { provider: "bedrock", route: "stream".to_owned(), reason: reason.to_owned() }
}

/// One message of an AWS event stream, for tests and the mock provider: an exception if its type says so, an event
/// otherwise.
pub fn aws_message(kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut headers = Vec::new();
    let (name, class) = match kind.ends_with("Exception") {
        true => (":exception-type", "exception"),
        false => (":event-type", "event"),
    };
    for (name, value) in [(name, kind), (":content-type", "application/json"), (":message-type", class)] {
        headers.push(name.len() as u8);
        headers.extend_from_slice(name.as_bytes());
        headers.push(7);
        headers.extend_from_slice(&(value.len() as u16).to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    let total = 16 + headers.len() + payload.len();
    let mut message = Vec::with_capacity(total);
    let seal = |message: &mut Vec<u8>| {
        let mut crc = flate2::Crc::new();
        crc.update(message);
        message.extend_from_slice(&crc.sum().to_be_bytes());
    };
    message.extend_from_slice(&(total as u32).to_be_bytes());
    message.extend_from_slice(&(headers.len() as u32).to_be_bytes());
    seal(&mut message);
    message.extend_from_slice(&headers);
    message.extend_from_slice(payload);
    seal(&mut message);
    message
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn all(content_type: Option<&str>, pieces: &[&[u8]]) -> Vec<Event> {
        let mut framer = Framer::new(content_type);
        let mut events = Vec::new();
        for piece in pieces {
            events.extend(framer.feed(piece).unwrap());
        }
        events.extend(framer.finish());
        events
    }

    fn event(name: &str, data: &str) -> Event {
        Event { name: name.into(), data: data.into() }
    }

    #[test]
    fn server_sent_events_of_every_spelling() {
        let bytes =
            b"\xef\xbb\xbfevent: a\r\ndata: 1\r\n\r\n: a comment\n\ndata:2\ndata: 3\nid: 9\n\ndata: [DONE]";
        assert_eq!(
            all(Some("text/event-stream; charset=utf-8"), &[bytes]),
            [event("a", "1"), event("", "2\n3"), event("", "[DONE]")]
        );
    }

    #[test]
    fn json_values_in_an_array_or_in_lines() {
        let want = [event("", r#"{"a":"}],{"}"#), event("", r#"{"b":{"c":[1]}}"#)];
        assert_eq!(all(Some("application/json"), &[br#"[{"a":"}],{"} , {"b":{"c":[1]}}]"#]), want);
        assert_eq!(all(None, &[b"{\"a\":\"}],{\"}\n{\"b\":{\"c\":[1]}}\n"]), want);
    }

    #[test]
    fn a_damaged_aws_message_is_refused() {
        let mut message = aws_message("messageStart", b"{}");
        assert_eq!(
            all(Some("application/vnd.amazon.eventstream"), &[&message]),
            [event("messageStart", "{}")]
        );
        if let Some(last) = message.last_mut() {
            *last ^= 1;
        }
        assert!(Framer::new(Some("application/vnd.amazon.eventstream")).feed(&message).is_err());
        assert!(Framer::new(Some("application/vnd.amazon.eventstream")).feed(&[0; 16]).is_err());
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut framer = Framer::new(Some("text/event-stream"));
        let line = [b"data: ".as_slice(), &vec![b'x'; MAX_EVENT / 2], b"\n"].concat();
        framer.feed(&line).unwrap();
        framer.feed(&line).unwrap();
        assert_eq!(framer.feed(b"data: x\n"), Err(TransformError::TooLarge(MAX_EVENT)));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_events(
            cuts in proptest::collection::vec(0usize..400, 0..12),
            kind in 0usize..3,
        ) {
            let (content_type, bytes): (_, Vec<u8>) = match kind {
                0 => ("text/event-stream",
                    "event: x\r\ndata: {\"t\":\"é\"}\r\n\r\ndata: a\ndata: b\n\n\rdata: c\r\r: z\ndata: [DONE]".into()),
                1 => ("application/json", "[{\"a\":\"\\\"}{ü\"},\r\n{\"b\":[{},{\"c\":null}]}\n]".into()),
                _ => ("application/vnd.amazon.eventstream",
                    [aws_message("a", b"{\"x\":1}"), aws_message("b", b""), aws_message("c", b"{}")].concat()),
            };
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            prop_assert_eq!(all(Some(content_type), &pieces), all(Some(content_type), &[&bytes]));
        }
    }
}
