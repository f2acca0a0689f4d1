//! Conversations with clients that keep to the rules and with those that do not.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use http::header::{CONNECTION, CONTENT_LENGTH, TRAILER};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use proptest::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

const IDLE: Duration = Duration::from_millis(200);

type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// Tells what was asked: the method, the path, and the body unless the path is `/unread`. The path also tells how.
fn tell(request: Request<Body>) -> Answering {
    Box::pin(async move {
        let (head, body) = request.into_parts();
        if let Some(Refused(status)) = head.extensions.get() {
            let mut answer = Response::new(Body::full("refused"));
            *answer.status_mut() = *status;
            return answer;
        }
        let read = match head.uri.path() {
            "/unread" => "unread".to_owned(),
            _ => match body.read(1 << 20).await {
                Ok(data) => String::from_utf8_lossy(&data).into_owned(),
                Err(error) => error.to_string(),
            },
        };
        let text = format!("{} {} {read}", head.method, head.uri.path());
        let part = |text: &str| Ok(Frame::data(Bytes::copy_from_slice(text.as_bytes())));
        let streamed = |parts: Vec<Result<Frame<Bytes>, BodyError>>| {
            Response::new(Body::stream(StreamBody::new(futures_util::stream::iter(parts))))
        };
        match head.uri.path() {
            "/stream" => streamed(vec![part(&text), part(""), part("more")]),
            "/told" => {
                let mut answer = streamed(vec![part("123"), part("45")]);
                answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("5"));
                answer
            }
            "/trailers" => {
                let trailers = HeaderMap::from_iter([("sum", "other")].map(|(name, value)| {
                    (http::HeaderName::from_static(name), HeaderValue::from_static(value))
                }));
                let mut answer = streamed(vec![part("a"), Ok(Frame::trailers(trailers))]);
                answer.headers_mut().insert(TRAILER, HeaderValue::from_static("sum"));
                answer
            }
            "/broken" => streamed(vec![part("begun"), Err(BodyError::TimedOut)]),
            "/empty" => Response::new(Body::Empty),
            "/none" => Response::builder().status(StatusCode::NO_CONTENT).body(Body::Empty).unwrap(),
            "/close" => Response::builder().header(CONNECTION, "close").body(Body::full(text)).unwrap(),
            "/never" => std::future::pending().await,
            _ => Response::new(Body::full(text)),
        }
    })
}

async fn answered(bytes: &[u8], step: usize) -> String {
    answered_in_parts(bytes.chunks(step)).await
}

/// Everything that a connection answers to bytes that come in these parts, after which the client only listens. Without
/// the lines that tell the time.
async fn answered_in_parts<'a>(parts: impl Iterator<Item = &'a [u8]>) -> String {
    let (near, mut far) = duplex(1 << 20);
    let serving = tokio::spawn(async move { serve(near, IDLE, || false, tell).await.is_none() });
    for part in parts {
        if far.write_all(part).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let _ = far.shutdown().await;
    let mut seen = Vec::new();
    far.read_to_end(&mut seen).await.unwrap();
    drop(far);
    assert!(serving.await.unwrap());
    let seen = String::from_utf8(seen).unwrap();
    seen.split_inclusive("\r\n").filter(|line| !line.starts_with("date: ")).collect()
}

const OK: &str = "HTTP/1.1 200 OK\r\n";

fn told(text: &str) -> String {
    format!("{OK}content-length: {}\r\n\r\n{text}", text.len())
}

#[tokio::test]
async fn requests_are_answered_one_after_another_whatever_their_parts() {
    for (requests, expected) in [
        ("GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n".to_owned(), told("GET /a ") + &told("GET /b ")),
        (
            "POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcPOST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nde\r\n1\r\nf\r\n0\r\nT: 1\r\n\r\nGET /c HTTP/1.1\r\n\r\n".to_owned(),
            told("POST /a abc") + &told("POST /b def") + &told("GET /c "),
        ),
        (
            "GET /stream HTTP/1.1\r\n\r\nHEAD /stream HTTP/1.1\r\n\r\nGET /a HTTP/1.1\r\n\r\n".to_owned(),
            format!(
                "{OK}transfer-encoding: chunked\r\n\r\nc\r\nGET /stream \r\n4\r\nmore\r\n0\r\n\r\n{OK}\r\n{}",
                told("GET /a ")
            ),
        ),
        ("GET /told HTTP/1.1\r\n\r\n".to_owned(), told("12345")),
        (
            "GET /trailers HTTP/1.1\r\n\r\n".to_owned(),
            format!("{OK}transfer-encoding: chunked\r\ntrailer: sum\r\n\r\n1\r\na\r\n0\r\nsum: other\r\n\r\n"),
        ),
        (
            "HEAD /a HTTP/1.1\r\n\r\nGET /empty HTTP/1.1\r\n\r\nHEAD /empty HTTP/1.1\r\n\r\nGET /none HTTP/1.1\r\n\r\n".to_owned(),
            format!("{OK}content-length: 8\r\n\r\n{OK}content-length: 0\r\n\r\n{OK}\r\nHTTP/1.1 204 No Content\r\n\r\n"),
        ),
        // Nothing follows these.
        (
            "GET /close HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n".to_owned(),
            format!("{OK}content-length: 11\r\nconnection: close\r\n\r\nGET /close "),
        ),
        (
            "GET /a HTTP/1.1\r\nConnection: close\r\n\r\nGET /b HTTP/1.1\r\n\r\n".to_owned(),
            format!("{OK}content-length: 7\r\nconnection: close\r\n\r\nGET /a "),
        ),
        (
            "GET /a HTTP/1.1\r\n\r\nnonsense\r\n\r\nGET /b HTTP/1.1\r\n\r\n".to_owned(),
            told("GET /a ") + "HTTP/1.1 400 Bad Request\r\ncontent-length: 7\r\nconnection: close\r\n\r\nrefused",
        ),
        ("GET /stream HTTP/1.0\r\n\r\n".to_owned(), format!("{OK}connection: close\r\n\r\nGET /stream more")),
        (
            "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /b HTTP/1.0\r\n\r\n".to_owned(),
            format!(
                "{OK}content-length: 7\r\nconnection: keep-alive\r\n\r\nGET /a {OK}content-length: 7\r\nconnection: close\r\n\r\nGET /b "
            ),
        ),
        // An answer that breaks off has no end.
        (
            "GET /broken HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n".to_owned(),
            format!("{OK}transfer-encoding: chunked\r\n\r\n5\r\nbegun\r\n"),
        ),
    ] {
        for step in [1, 7, requests.len()] {
            assert_eq!(answered(requests.as_bytes(), step).await, expected, "{requests} by {step}");
        }
    }
}

#[tokio::test]
async fn a_body_that_nobody_read_does_not_become_a_request() {
    let inner = "GET /smuggled HTTP/1.1\r\n\r\n";
    let unread = "POST /unread HTTP/1.1\r\n";
    let whole = format!("{unread}Content-Length: {}\r\n\r\n{inner}GET /b HTTP/1.1\r\n\r\n", inner.len());
    assert_eq!(answered(whole.as_bytes(), 1000).await, told("POST /unread unread") + &told("GET /b "));
    let chunked = format!(
        "{unread}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{inner}\r\n0\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
        inner.len()
    );
    assert_eq!(answered(chunked.as_bytes(), 1000).await, told("POST /unread unread") + &told("GET /b "));
    // What is not here yet ends the connection, and so does what cannot be read.
    let half = format!("{unread}Content-Length: 100\r\n\r\n{inner}");
    assert_eq!(answered(half.as_bytes(), 1000).await, told("POST /unread unread"));
    let spoilt = format!("{unread}Transfer-Encoding: chunked\r\n\r\nzz\r\n{inner}");
    assert_eq!(answered(spoilt.as_bytes(), 1000).await, told("POST /unread unread"));
    let spoilt = format!("POST /read HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{inner}");
    assert!(answered(spoilt.as_bytes(), 1000).await.contains("the size of a chunk cannot be read"));
}

/// A request, and what is answered to it.
fn exchanges() -> impl Strategy<Value = (String, String)> {
    let body = proptest::collection::vec("[a-zGET /\r\n]{1,20}", 0..4);
    ("(read|unread)", 0..3, body).prop_map(|(path, framing, parts): (String, i32, Vec<String>)| {
        let whole = parts.concat();
        let (head, body) = match framing {
            0 => (String::new(), String::new()),
            1 => (format!("Content-Length: {}\r\n", whole.len()), whole),
            _ => {
                let chunks: String =
                    parts.iter().map(|part| format!("{:X}\r\n{part}\r\n", part.len())).collect();
                ("Transfer-Encoding: chunked\r\n".to_owned(), chunks + "0\r\n\r\n")
            }
        };
        let seen = match (&*path, framing) {
            ("unread", _) => "unread".to_owned(),
            (_, 0) => String::new(),
            _ => parts.concat(),
        };
        (format!("POST /{path} HTTP/1.1\r\n{head}\r\n{body}"), told(&format!("POST /{path} {seen}")))
    })
}

/// Bytes in parts that are cut at these places.
fn cut<'a>(bytes: &'a [u8], places: &[proptest::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = places.iter().map(|place| place.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { timeout(Duration::from_secs(20), future).await.unwrap() })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn however_requests_are_cut_each_has_its_own_answer(
        exchanges in proptest::collection::vec(exchanges(), 1..6),
        places in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
    ) {
        let requests: String = exchanges.iter().map(|(request, _)| request.as_str()).collect();
        let seen = run(answered_in_parts(cut(requests.as_bytes(), &places).into_iter()));
        let expected: String = exchanges.iter().map(|(_, answer)| answer.as_str()).collect();
        // A body that nobody reads, and that is not here yet, ends the connection.
        let waits = !places.is_empty() && requests.contains("/unread");
        prop_assert!(seen == expected || (waits && expected.starts_with(&seen)), "{requests:?}: {seen:?}");
    }

    #[test]
    fn whatever_comes_the_connection_ends(
        sound in exchanges(),
        noise in proptest::collection::vec(any::<u8>(), 0..200),
        places in proptest::collection::vec(any::<proptest::sample::Index>(), 0..4),
        at in any::<proptest::sample::Index>(),
    ) {
        let mut bytes = sound.0.into_bytes();
        let at = at.index(bytes.len() + 1);
        bytes.splice(at..at, noise);
        run(async {
            let (near, mut far) = duplex(1 << 20);
            let serving = tokio::spawn(async move { serve(near, IDLE, || false, tell).await.is_none() });
            for part in cut(&bytes, &places) {
                if far.write_all(part).await.is_err() {
                    break;
                }
            }
            let _ = far.shutdown().await;
            let mut seen = Vec::new();
            far.read_to_end(&mut seen).await.unwrap();
            drop(far);
            serving.await.unwrap();
        });
    }
}

/// Reads until there is this text.
async fn until(far: &mut DuplexStream, text: &str) -> String {
    let (mut seen, mut buffer) = (String::new(), [0; 1024]);
    while !seen.ends_with(text) {
        let read = far.read(&mut buffer).await.unwrap();
        assert!(read > 0, "{seen}");
        seen += std::str::from_utf8(&buffer[..read]).unwrap();
    }
    seen
}

#[tokio::test]
async fn a_client_that_waits_for_a_word_gets_one_when_its_body_is_wanted() {
    let (near, mut far) = duplex(1 << 20);
    tokio::spawn(async move { serve(near, IDLE, || false, tell).await.is_none() });
    far.write_all(b"POST /a HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n").await.unwrap();
    assert_eq!(until(&mut far, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    far.write_all(b"ab").await.unwrap();
    assert!(until(&mut far, "POST /a ab").await.starts_with(OK));
    // One whose body is not wanted gets the answer at once.
    far.write_all(b"POST /unread HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n")
        .await
        .unwrap();
    assert!(until(&mut far, "POST /unread unread").await.starts_with(OK));
    assert_eq!(far.read(&mut [0; 16]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_client_that_goes_away_or_is_silent_is_given_up() {
    let (near, mut far) = duplex(1 << 20);
    let serving = tokio::spawn(async move { serve(near, IDLE, || false, tell).await.is_none() });
    far.write_all(b"GET /never HTTP/1.1\r\n\r\n").await.unwrap();
    drop(far);
    assert!(serving.await.unwrap());
    // The head of a request does not come to its end.
    let (near, mut far) = duplex(1 << 20);
    far.write_all(b"GET / HTTP/1.1\r\nHost: h").await.unwrap();
    assert!(serve(near, IDLE, || false, tell).await.is_none());
    assert_eq!(far.read(&mut [0; 16]).await.unwrap(), 0);
    // The answer is not taken.
    let (near, mut far) = duplex(16);
    let serving = tokio::spawn(async move { serve(near, IDLE, || false, tell).await.is_none() });
    far.write_all(b"GET /stream HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(serving.await.unwrap());
}

#[tokio::test]
async fn a_connection_ends_between_two_requests_once_it_should() {
    let stopping = Arc::new(AtomicBool::new(false));
    let (near, mut far) = duplex(1 << 20);
    let (told, wakes) = (Arc::clone(&stopping), Arc::new(tokio::sync::Notify::new()));
    let woken = Arc::clone(&wakes);
    let serving = tokio::spawn(async move {
        let mut serving = std::pin::pin!(serve(near, IDLE * 100, || told.load(Ordering::SeqCst), tell));
        tokio::select! {
            ended = &mut serving => ended.is_none(),
            () = woken.notified() => serving.await.is_none(),
        }
    });
    far.write_all(b"GET /a HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(!until(&mut far, "GET /a ").await.contains("connection: close"));
    stopping.store(true, Ordering::SeqCst);
    wakes.notify_one();
    assert!(serving.await.unwrap());
    assert_eq!(far.read(&mut [0; 16]).await.unwrap(), 0);
}

#[tokio::test]
async fn another_protocol_takes_the_connection_over() {
    let (near, mut far) = duplex(1 << 20);
    let (upstream, mut behind) = duplex(1 << 20);
    let switched = Switched::new((Box::new(upstream), Bytes::from_static(b"first")));
    let switch = move |request: Request<Body>| -> Answering {
        let switched = switched.clone();
        Box::pin(async move {
            drop(request);
            let mut answer = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
            answer.extensions_mut().unwrap().insert(switched);
            answer.body(Body::Empty).unwrap()
        })
    };
    assert!(
        tokio::spawn(async move {
            let serving = tokio::spawn(async move { serve(near, IDLE, || false, switch).await.is_none() });
            far.write_all(b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\nasked").await.unwrap();
            let seen = until(&mut far, "first").await;
            assert!(
                seen.starts_with("HTTP/1.1 101 Switching Protocols\r\n") && !seen.contains("close"),
                "{seen}"
            );
            assert_eq!(until(&mut behind, "asked").await, "asked");
            behind.write_all(b"on").await.unwrap();
            assert_eq!(until(&mut far, "on").await, "on");
            serving.await.unwrap()
        })
        .await
        .unwrap()
    );
    // HTTP/2 is for somebody else, if it is spoken from the beginning.
    let (near, mut far) = duplex(1 << 20);
    far.write_all(b"PRI * HTTP/2.0\r\n\r\nSM").await.unwrap();
    let given = serve(near, IDLE, || false, tell).await;
    assert!(given.is_some_and(|Http2(_, read)| read == "PRI * HTTP/2.0\r\n\r\nSM"));
}

#[tokio::test]
async fn the_body_of_an_earlier_request_has_nothing_of_a_later_one() {
    let kept: Arc<Mutex<Vec<Body>>> = Arc::default();
    let keep = {
        let kept = Arc::clone(&kept);
        move |request: Request<Body>| -> Answering {
            kept.lock().unwrap().push(request.into_body());
            Box::pin(async { Response::new(Body::full("ok")) })
        }
    };
    let (near, mut far) = duplex(1 << 20);
    let serving = tokio::spawn(async move { serve(near, IDLE, || false, keep).await.is_none() });
    let request = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    far.write_all(request.as_bytes()).await.unwrap();
    until(&mut far, "ok").await;
    far.write_all(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nd").await.unwrap();
    until(&mut far, "ok").await;
    let mut first = kept.lock().unwrap().remove(0);
    assert!(first.frame().await.is_none());
    drop(far);
    assert!(serving.await.unwrap());
}
