//! Exchanges with upstreams that keep to the rules, and with those that do not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use super::*;
use crate::gateway::proxy::body::BodyError;
use http::HeaderMap;
use http_body_util::StreamBody;
use std::future::poll_fn;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

/// What came of an exchange.
#[derive(Debug, PartialEq)]
struct Outcome {
    status: u16,
    body: String,
    trailers: Vec<String>,
    reusable: bool,
}

/// An exchange whose answer comes in parts of this size, and then the end of the connection.
async fn exchange(method: Method, answer: &[u8], step: usize) -> Result<Outcome, String> {
    let (near, mut far) = duplex(1 << 20);
    let mut wire = Http1::new(near);
    let mut request = Request::new(Body::Empty);
    *request.method_mut() = method;
    wire.begin(&mut request);
    for part in answer.chunks(step) {
        far.write_all(part).await.unwrap();
    }
    far.shutdown().await.unwrap();
    let head = poll_fn(|cx| wire.poll_head(cx)).await.map_err(|fault| fault.to_string())?;
    let (mut body, mut trailers) = (Vec::new(), HeaderMap::new());
    while !wire.is_over() {
        match poll_fn(|cx| wire.poll_frame(cx)).await {
            None => break,
            Some(Err(fault)) => return Err(format!("{} then {fault}", String::from_utf8_lossy(&body))),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => body.extend_from_slice(&data),
                Err(frame) => trailers = frame.into_trailers().unwrap(),
            },
        }
    }
    Ok(Outcome {
        status: head.status().as_u16(),
        body: String::from_utf8(body).unwrap(),
        trailers: trailers
            .iter()
            .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
            .collect(),
        reusable: wire.is_reusable(),
    })
}

#[tokio::test]
async fn answers_end_where_they_say() {
    let get = Method::GET;
    for (method, answer, status, body, trailers, reusable) in [
        (get.clone(), "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", 200, "abc", "", true),
        (
            get.clone(),
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
            200,
            "abc",
            "",
            true,
        ),
        (get.clone(), "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd", 200, "abc", "", false),
        (get.clone(), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "", "", true),
        (
            get.clone(),
            "HTTP/1.1 200\r\nConnection: x, Close\r\nContent-Length: 1\r\n\r\na",
            200,
            "a",
            "",
            false,
        ),
        (get.clone(), "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", 200, "a", "", false),
        (
            get.clone(),
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na",
            200,
            "a",
            "",
            true,
        ),
        (get.clone(), "HTTP/1.1 200 OK\r\n\r\nas long as it lasts", 200, "as long as it lasts", "", false),
        (get.clone(), "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc", 200, "abc", "", false),
        (get.clone(), "HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\n", 204, "", "", true),
        (get.clone(), "HTTP/1.1 304 No\r\n\r\n", 304, "", "", true),
        (Method::HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", 200, "", "", true),
        (
            get.clone(),
            "HTTP/1.1 100 Go on\r\n\r\nHTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.1 201 Ok\r\nContent-Length: 1\r\n\r\na",
            201,
            "a",
            "",
            true,
        ),
        (
            get.clone(),
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n0\r\n\r\n",
            200,
            "abc0123456789",
            "",
            true,
        ),
        (
            get.clone(),
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\na\r\n0\r\nSum: 1\r\n\r\n",
            200,
            "a",
            "sum=1",
            true,
        ),
    ] {
        for step in [1, 2, 3, 7, 1000] {
            let outcome = exchange(method.clone(), answer.as_bytes(), step).await;
            let trailers = trailers.split_whitespace().map(str::to_owned).collect();
            let expected = Outcome { status, body: body.into(), trailers, reusable };
            assert_eq!(outcome, Ok(expected), "{answer:?} by {step}");
        }
    }
}

#[tokio::test]
async fn answers_that_break_the_rules_are_refused() {
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(300_000));
    for (answer, problem) in [
        ("", "closed before"),
        ("this is not HTTP\r\n\r\n", "head cannot be read"),
        ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "head cannot be read"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n", "closed before"),
        ("HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na", "its length"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\na", "its length"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "its length"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nab", "its length"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "a transfer coding",
        ),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "no transfer codings"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", "abc then the connection was closed"),
        (&format!("{chunks}3\r\nabc\r\n"), "abc then the connection was closed"),
        (&format!("{chunks}3\r\nabcd"), "abc then the message breaks"),
        (&format!("{chunks}3\r\nabc\r\n\r\n"), "abc then the message breaks"),
        (&format!("{chunks}3\r\nabc\r\n-1\r\n"), "abc then the message breaks"),
        (&format!("{chunks}3\r\nabc\r\nFFFFFFFFFFFFFFFFF\r\n"), "abc then the message breaks"),
        (&format!("{chunks}3\nabc\n0\n\n"), "size of a chunk"),
        (&format!("{chunks}0\r\nno trailer\r\n\r\n"), "trailers cannot be read"),
        (&format!("{chunks}1;{}", "x".repeat(5000)), "size of a chunk"),
        (&long, "head is too large"),
    ] {
        let outcome = exchange(Method::GET, answer.as_bytes(), 60_000).await;
        assert!(outcome.as_ref().is_err_and(|fault| fault.contains(problem)), "{answer:.90?}: {outcome:?}");
    }
}

/// What is written for a request.
async fn written(method: Method, headers: &[(&'static str, &'static str)], body: Body) -> String {
    let (near, mut far) = duplex(1 << 20);
    let mut wire = Http1::new(near);
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = "/a?b=1".parse().unwrap();
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    wire.begin(&mut request);
    let answered =
        async { poll_fn(|cx| wire.poll_head(cx)).await.map(drop).map_err(|fault| fault.to_string()) };
    let seen = async {
        let mut seen = vec![0; 256 * 1024];
        let mut filled = 0;
        // Everything is written at once here, but for what has to wait for a body.
        while let Ok(Ok(read)) =
            tokio::time::timeout(std::time::Duration::from_millis(20), far.read(&mut seen[filled..])).await
        {
            filled += read;
        }
        seen.truncate(filled);
        drop(far);
        seen
    };
    let (answered, seen) = tokio::join!(answered, seen);
    String::from_utf8(seen).unwrap()
        + &answered.err().filter(|fault| !fault.contains("closed")).unwrap_or_default()
}

fn streamed(parts: Vec<Result<Frame<Bytes>, BodyError>>) -> Body {
    Body::stream(StreamBody::new(futures_util::stream::iter(parts)))
}

#[tokio::test]
async fn requests_are_framed_by_their_bodies() {
    let data = |text: &'static str| Ok(Frame::data(Bytes::from_static(text.as_bytes())));
    let (get, post) = (Method::GET, Method::POST);
    let head = |method: &str, rest: &str| format!("{method} /a?b=1 HTTP/1.1\r\nhost: h\r\n{rest}");
    let host = ("host", "h");
    assert_eq!(written(get.clone(), &[host], Body::Empty).await, head("GET", "\r\n"));
    assert_eq!(
        written(post.clone(), &[host, ("content-length", "0")], Body::Empty).await,
        head("POST", "content-length: 0\r\n\r\n")
    );
    assert_eq!(
        written(post.clone(), &[host], Body::full("abc")).await,
        head("POST", "content-length: 3\r\n\r\nabc")
    );
    let large = "x".repeat(100_000);
    assert_eq!(
        written(post.clone(), &[host, ("content-length", "7")], Body::full(large.clone())).await,
        head("POST", &format!("content-length: 100000\r\n\r\n{large}"))
    );
    assert_eq!(
        written(
            get,
            &[host, ("transfer-encoding", "x")],
            streamed(vec![data("abc"), data(""), data("0123456789")])
        )
        .await,
        head("GET", "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n")
    );
    let mut trailers = HeaderMap::new();
    for name in ["sum", "other", "content-length"] {
        trailers.insert(name, "1".parse().unwrap());
    }
    assert_eq!(
        written(
            post.clone(),
            &[host, ("trailer", "Sum, content-length")],
            streamed(vec![data("a"), Ok(Frame::trailers(trailers))])
        )
        .await,
        head(
            "POST",
            "trailer: Sum, content-length\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nsum: 1\r\n\r\n"
        )
    );
    let broken = streamed(vec![data("a"), Err(BodyError::TimedOut)]);
    assert_eq!(
        written(post, &[host], broken).await,
        head("POST", "transfer-encoding: chunked\r\n\r\n1\r\na\r\nthe body did not arrive in time")
    );
}

#[tokio::test]
async fn an_early_answer_ends_the_use_of_a_connection() {
    let (near, mut far) = duplex(1024);
    let mut wire = Http1::new(near);
    let mut request = Request::new(streamed(vec![Ok(Frame::data(vec![b'x'; 10_000].into()))]));
    *request.method_mut() = Method::POST;
    wire.begin(&mut request);
    far.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno").await.unwrap();
    let head = poll_fn(|cx| wire.poll_head(cx)).await.unwrap();
    assert_eq!(head.status(), 413);
    let frame = poll_fn(|cx| wire.poll_frame(cx)).await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "no");
    assert!(wire.is_over() && !wire.is_reusable());
}

#[tokio::test]
async fn an_answer_is_read_though_the_upstream_listens_no_more() {
    let (near, mut far) = duplex(1024);
    far.write_all(b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    drop(far);
    let mut wire = Http1::new(near);
    wire.begin(&mut Request::new(Body::Empty));
    assert_eq!(poll_fn(|cx| wire.poll_head(cx)).await.unwrap().status(), 400);
    assert!(!wire.is_reusable());
}
