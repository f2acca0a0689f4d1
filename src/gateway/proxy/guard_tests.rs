//! Bytes of clients that keep to the rules and of those that do not, in parts of every size.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

/// What can be read of these bytes, when they come in parts of this size.
async fn read(bytes: &[u8], step: usize) -> String {
    let (near, mut far) = duplex(64 * 1024);
    let mut guarded = Guarded::new(near);
    let mut out = Vec::new();
    let mut buffer = [0; 1024];
    for part in bytes.chunks(step) {
        far.write_all(part).await.unwrap();
        // As far as it goes: a part of a head yields nothing.
        while let Ok(Ok(count)) = tokio::time::timeout(Duration::ZERO, guarded.read(&mut buffer)).await {
            out.extend_from_slice(&buffer[..count]);
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

async fn refused(bytes: &[u8]) -> Option<u16> {
    let mut found = None;
    let small = if bytes.len() < 1000 { 1 } else { 999 };
    for step in [small, 7 * small, bytes.len()] {
        let out = read(bytes, step).await;
        let status = out.strip_prefix("! /").map(|rest| rest[..3].parse().unwrap());
        assert!(status.is_some() || out.as_bytes() == bytes, "{out:?}");
        assert!(step == small || status == found, "{step}: {status:?} {found:?}");
        found = status;
    }
    found
}

#[tokio::test]
async fn sound_requests_pass_as_they_are() {
    for request in [
        "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "\r\nGET / HTTP/1.0\n\nGET / HTTP/1.1\nHost: h\n\n",
        "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n\n\n\n\nGET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n3;a=b\r\nG G\r\n00\r\nT: 1\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n\x01\x02 anything",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nfor the library to refuse",
    ] {
        assert_eq!(refused(request.as_bytes()).await, None, "{request}");
    }
}

#[tokio::test]
async fn heads_that_break_the_rules_are_refused_whatever_their_parts() {
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
        assert_eq!(refused(request.as_bytes()).await, Some(status), "{head:.60}");
    }
    for (line, status) in [
        ("get / HTTP/1.1", 400),
        ("GET /", 400),
        ("GET  / HTTP/1.1", 400),
        ("GET /a b HTTP/1.1", 400),
        ("GET / HTTP/2.0", 505),
        ("GET / HTTP/x", 400),
        ("\u{16}\u{3}\u{1}", 400),
        (&*format!("GET /{long} HTTP/1.1"), 414),
    ] {
        assert_eq!(refused(format!("{line}\r\n\r\n").as_bytes()).await, Some(status), "{line:.60}");
    }
}

#[tokio::test]
async fn a_fault_behind_a_sound_request_waits_its_turn() {
    let sound = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
    let out = read(format!("{sound}Accept: x\r\nnonsense\r\n\r\n{sound}").as_bytes(), 1000).await;
    assert_eq!(out, format!("{sound}! /400 HTTP/1.1\r\nhost: -\r\nconnection: close\r\nAccept: x\r\n\r\n"));
    let request = http::Request::builder().method("!").uri("/414").body(()).unwrap();
    assert_eq!(fault(&request.into_parts().0), Some(StatusCode::URI_TOO_LONG));
}
