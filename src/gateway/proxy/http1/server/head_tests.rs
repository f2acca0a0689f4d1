//! Heads of clients that keep to the rules and of those that do not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use super::*;

fn found(bytes: &[u8]) -> (Finding, Bytes) {
    let mut input = Bytes::copy_from_slice(bytes);
    let finding = find(&mut input);
    (finding, input)
}

fn refused(bytes: &[u8]) -> Option<u16> {
    match found(bytes).0 {
        Finding::Request(head) => {
            head.request.extensions().get::<Refused>().map(|refused| refused.0.as_u16())
        }
        _ => None,
    }
}

#[test]
fn sound_heads_are_read_and_the_rest_is_left() {
    for (request, expected) in [
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\nrest", "GET / HTTP/1.1 Done keeps [host=h]"),
        ("\r\nGET / HTTP/1.0\n\nrest", "GET / HTTP/1.0 Done []"),
        (
            "GET /a?b HTTP/1.0\nConnection: x, Keep-Alive\n\nrest",
            "GET /a?b HTTP/1.0 Done keeps [connection=x, Keep-Alive]",
        ),
        (
            "POST / HTTP/1.1\r\nContent-Length: 4\r\nConnection: Close\r\n\r\nrest",
            "POST / HTTP/1.1 Length(4) [content-length=4 connection=Close]",
        ),
        (
            "PUT / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\nExpect: 100-continue\r\n\r\nrest",
            "PUT / HTTP/1.1 ChunkSize keeps waits [transfer-encoding=Chunked expect=100-continue]",
        ),
        ("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\nrest", "POST / HTTP/1.1 Done keeps [content-length=0]"),
        (
            "M-X_Y http://h.test/p HTTP/1.1\r\nX:\t a b \r\n\r\nrest",
            "M-X_Y http://h.test/p HTTP/1.1 Done keeps [x=a b]",
        ),
        ("GET /<a>?b=\"{c}\" HTTP/1.1\r\n\r\nrest", "GET /%3Ca%3E?b=%22%7Bc%7D%22 HTTP/1.1 Done keeps []"),
    ] {
        let (Finding::Request(head), rest) = found(request.as_bytes()) else { panic!("{request}") };
        let Head { request: found, reading, keeps, waits } = *head;
        let headers: Vec<String> = (found.headers().iter())
            .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
            .collect();
        let flags =
            [(keeps, " keeps"), (waits, " waits")].map(|(is, word)| if is { word } else { "" }).concat();
        let (method, uri, version) = (found.method(), found.uri(), found.version());
        let seen = format!("{method} {uri} {version:?} {reading:?}{flags} [{}]", headers.join(" "));
        assert_eq!((&*seen, &*rest), (expected, &b"rest"[..]), "{request}");
        for end in 0..request.len() - "rest".len() {
            let (finding, left) = found_partial(&request.as_bytes()[..end]);
            assert!(matches!(finding, Finding::Partial) && left == end, "{:?}", &request[..end]);
        }
    }
    assert!(matches!(found(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00").0, Finding::Http2));
}

fn found_partial(bytes: &[u8]) -> (Finding, usize) {
    let (finding, rest) = found(bytes);
    (finding, rest.len())
}

#[test]
fn heads_that_break_the_rules_are_refused() {
    let long = "x".repeat(9000);
    let many: String = (0..9).map(|n| format!("X{n}: {}\r\n", &long[..4000])).collect();
    for (head, status) in [
        ("Content-Length: 1\r\nContent-Length: 1".to_owned(), 400),
        ("Content-Length: 4\r\nTransfer-Encoding: chunked".to_owned(), 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4".to_owned(), 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked".to_owned(), 400),
        ("Transfer-Encoding: gzip, chunked".to_owned(), 501),
        ("Transfer-Encoding: identity".to_owned(), 501),
        ("Content-Length: +1".to_owned(), 400),
        ("Content-Length: 0x1".to_owned(), 400),
        ("Content-Length:".to_owned(), 400),
        ("Content-Length: 99999999999999999999".to_owned(), 400),
        ("X: a\r\n folded".to_owned(), 400),
        ("X : a".to_owned(), 400),
        ("X: a\rb".to_owned(), 400),
        ("X: a\0b".to_owned(), 400),
        ("no colon".to_owned(), 400),
        (": a".to_owned(), 400),
        (format!("X: {long}"), 431),
        (many, 431),
        ("X: a\r\n".repeat(101).trim_end().to_owned(), 431),
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: h\r\n{head}\r\n\r\n");
        assert_eq!(refused(request.as_bytes()), Some(status), "{head:.60}");
    }
    for (line, status) in [
        ("get / HTTP/1.1", 400),
        ("GET /", 400),
        ("GET  / HTTP/1.1", 400),
        ("GET /a b HTTP/1.1", 400),
        ("GET / HTTP/2.0", 505),
        ("GET / HTTP/x", 400),
        ("GET / http/1.1", 400),
        ("\u{16}\u{3}\u{1}", 400),
        (&*format!("GET /{long} HTTP/1.1"), 414),
    ] {
        assert_eq!(refused(format!("{line}\r\n\r\n").as_bytes()), Some(status), "{line:.60}");
    }
    // These need no end to be refused.
    for (start, status) in [
        ("\u{16}\u{3}", 400),
        (&*format!("GET /{long}"), 414),
        (&*format!("GET / HTTP/1.1\r\nX: {long}"), 431),
    ] {
        assert_eq!(refused(start.as_bytes()), Some(status), "{start:.60}");
    }
    let request = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(refused(request), Some(400));
}

#[test]
fn the_form_of_the_answer_is_taken_from_a_head_that_is_refused() {
    for (line, expected) in [("Accept: text/html", Some("text/html")), ("Accept: \u{1}", None)] {
        let (finding, _) = found(format!("GET / HTTP/1.1\r\n{line}\r\nnonsense\r\n\r\n").as_bytes());
        let Finding::Request(head) = finding else { panic!("not refused") };
        let accept = head.request.headers().get(ACCEPT).map(|accept| accept.to_str().unwrap());
        assert_eq!((accept, head.keeps), (expected, false));
    }
}

#[test]
fn what_comes_byte_by_byte_is_looked_at_line_by_line() {
    assert!(is_unchanged(b"GET / HT", 3) && !is_unchanged(b"GET / HTTP/1.1\r\n", 1));
    assert!(!is_unchanged("x".repeat(LONGEST_LINE + 1).as_bytes(), 1));
}
