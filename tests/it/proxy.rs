//! The proxy against clients and upstreams that break the rules, and what it does of the usual.

use crate::support::{Gateway, http, listen, redis_server};
use serde_json::{Value as Json, json};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// An upstream that answers every request with the same bytes and then closes, and keeps what it was sent.
pub struct Upstream {
    pub url: String,
    pub seen: Arc<Mutex<Vec<String>>>,
}

impl Upstream {
    pub fn answering(answer: &'static [u8]) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        let address = listen(move |mut stream| {
            let mut buffer = [0; 65_536];
            let read = stream.read(&mut buffer).unwrap_or(0);
            kept.lock().unwrap().push(String::from_utf8_lossy(&buffer[..read]).into_owned());
            let _ = stream.write_all(answer);
            if answer.is_empty() {
                std::thread::sleep(Duration::from_secs(5));
            }
        });
        Upstream { url: format!("http://{address}"), seen }
    }

    /// The last request.
    pub fn last(&self) -> String {
        self.seen.lock().unwrap().last().cloned().unwrap_or_default()
    }
}

pub const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

/// A gateway with the service `s` for this upstream and the route `r` for `/r`.
pub fn gateway(upstream: &Upstream, service: Json) -> Gateway {
    let gateway = Gateway::start();
    let mut body = json!({"url": upstream.url, "retries": 0});
    body.as_object_mut().unwrap().extend(service.as_object().cloned().unwrap_or_default());
    put(&gateway, "/services/s", &body);
    put(&gateway, "/routes/r", &json!({"paths": ["/r"], "service": {"name": "s"}}));
    gateway
}

pub fn put(gateway: &Gateway, path: &str, body: &Json) {
    let answer = http("PUT", &format!("{}{path}", gateway.admin), &[], body);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
}

pub fn plugin(gateway: &Gateway, body: &Json) {
    let answer = http("POST", &format!("{}/routes/r/plugins", gateway.admin), &[], body);
    assert_eq!(answer.status, 201, "{}", answer.text);
}

/// Sends bytes as they are, and gives everything that comes back until the end or a second of silence.
fn raw(gateway: &Gateway, request: &str) -> String {
    let address = gateway.proxy.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    // The gateway may answer and close before everything was written.
    let _ = stream.write_all(request.as_bytes());
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(read) = stream.read(&mut buffer) {
        if read == 0 {
            break;
        }
        answer.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[test]
fn requests_that_break_the_rules_never_reach_the_upstream() {
    let upstream = Upstream::answering(OK);
    let gateway = gateway(&upstream, json!({}));
    let long = "x".repeat(200_000);
    for (request, expected) in [
        ("POST /r HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab".to_owned(), "400"),
        ("POST /r HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n".to_owned(), "400"),
        ("GET /r HTTP/1.1\r\nHost: h\r\nX-Fold: a\r\n b\r\n\r\n".to_owned(), "400"),
        ("GET /r HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("GET /r HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(), "400"),
        (format!("GET /r HTTP/1.1\r\nHost: h\r\nX-Long: {long}\r\n\r\n"), "400"),
        (format!("GET /r?{long} HTTP/1.1\r\nHost: h\r\n\r\n"), "414"),
        ("NONSENSE\r\n\r\n".to_owned(), "400"),
    ] {
        let answer = raw(&gateway, &request);
        assert_eq!(status(&answer), expected, "{:.80} -> {answer:.200}", request);
    }
    assert_eq!(upstream.last(), "");
    assert_eq!(http("GET", &format!("{}/r", gateway.proxy), &[], &Json::Null).status, 200);
}

#[test]
fn a_length_beside_chunks_does_not_smuggle_a_second_request() {
    let upstream = Upstream::answering(OK);
    let gateway = gateway(&upstream, json!({}));
    let smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
    for lines in
        ["Content-Length: 4\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 4"]
    {
        raw(&gateway, &format!("POST /r HTTP/1.1\r\nHost: h\r\n{lines}\r\n\r\n{smuggled}"));
    }
    for seen in upstream.seen.lock().unwrap().iter() {
        assert!(!seen.contains("/smuggled"), "{seen}");
        let head = seen.to_lowercase();
        assert!(!(head.contains("content-length") && head.contains("transfer-encoding")), "{seen}");
    }
}

#[test]
fn an_upstream_that_breaks_the_rules_becomes_a_5xx_or_a_cut_answer() {
    let get = |gateway: &Gateway| raw(gateway, "GET /r HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let silent = Upstream::answering(b"");
    let hangs = gateway(&silent, json!({"read_timeout": 200}));
    assert_eq!(status(&get(&hangs)), "504");

    let nonsense = Upstream::answering(b"this is not HTTP\r\n\r\n");
    assert_eq!(status(&get(&gateway(&nonsense, json!({})))), "502");

    let short = Upstream::answering(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    let answer = get(&gateway(&short, json!({})));
    assert!(answer.ends_with("abc") && answer.to_lowercase().contains("content-length: 10"), "{answer}");

    let cut = Upstream::answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    let answer = get(&gateway(&cut, json!({})));
    assert!(answer.contains("abc") && !answer.contains("0\r\n\r\n"), "{answer}");

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = Upstream { url: format!("http://{closed}"), seen: Arc::default() };
    assert_eq!(status(&get(&gateway(&nobody, json!({})))), "502");
}

#[test]
fn what_an_upstream_says_beyond_its_answer_reaches_no_other_client() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        // The connection stays open, and holds the bytes of an answer that nobody asked for.
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret",
            );
            open.push(stream);
        }
    });
    let gateway = gateway(&Upstream { url, seen: Arc::default() }, json!({}));
    for _ in 0..6 {
        let answer = raw(&gateway, "GET /r HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        assert!(status(&answer) == "200" && answer.ends_with("\r\n\r\nok"), "{answer}");
    }
}

#[test]
fn lines_that_end_without_a_carriage_return_end_where_kong_ends_them() {
    let upstream = Upstream::answering(OK);
    let gateway = gateway(&upstream, json!({}));
    let answer = raw(&gateway, "GET /r HTTP/1.1\nHost: h\nX-A: 1\nConnection: close\n\n");
    assert_eq!(status(&answer), "200", "{answer}");
    assert!(upstream.last().to_lowercase().contains("\r\nx-a: 1\r\n"), "{}", upstream.last());
    // A body behind them is one request's, and no other request.
    let hidden = "GET /hidden HTTP/1.1\nHost: h\n\n";
    let length = hidden.len();
    raw(
        &gateway,
        &format!("POST /r HTTP/1.1\nHost: h\nContent-Length: {length}\nConnection: close\n\n{hidden}"),
    );
    assert!(upstream.seen.lock().unwrap().iter().all(|seen| !seen.starts_with("GET /hidden")));
}

#[test]
fn clients_that_break_off_or_do_not_read_harm_nobody_else() {
    let upstream = Upstream::answering(OK);
    let gateway = gateway(&upstream, json!({}));
    let connect = || TcpStream::connect(gateway.proxy.trim_start_matches("http://")).unwrap();
    for begun in [
        "GET /r HTTP/1.1\r\nHo",
        "POST /r HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc",
        "POST /r HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        "POST /r HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        connect().write_all(begun.as_bytes()).unwrap();
    }
    // One that writes byte by byte is served like the others, and meanwhile these are, too.
    let mut slow = connect();
    slow.set_nodelay(true).unwrap();
    for byte in "POST /r HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc".bytes() {
        slow.write_all(&[byte]).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    let deaf: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut deaf = connect();
            deaf.write_all("GET /r HTTP/1.1\r\nHost: h\r\n\r\n".repeat(50).as_bytes()).unwrap();
            deaf
        })
        .collect();
    for _ in 0..10 {
        assert_eq!(http("GET", &format!("{}/r", gateway.proxy), &[], &Json::Null).text, "ok");
    }
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert_eq!(status(&answer), "200", "{answer}");
    drop(deaf);
}

#[test]
fn bodies_that_are_not_what_a_plugin_reads_are_refused() {
    let upstream = Upstream::answering(OK);
    let gateway = gateway(&upstream, json!({}));
    let model = json!({"provider": "openai", "name": "m", "options": {"upstream_url": upstream.url}});
    plugin(&gateway, &json!({"name": "ai-proxy", "config": {"route_type": "llm/v1/chat", "model": model}}));
    let deep = format!("{{\"messages\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    for body in ["{broken", "[]", "\"text\"", "{\"messages\":[]}", "\u{0}\u{1}", &deep] {
        let head = format!(
            "POST /r HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: {}",
            body.len()
        );
        let answer = raw(&gateway, &format!("{head}\r\nConnection: close\r\n\r\n{body}"));
        assert_eq!(status(&answer), "400", "{body:.40}: {answer}");
    }
    assert_eq!(upstream.last(), "");
}

#[test]
fn a_change_counts_for_the_next_request() {
    let upstream = Upstream::answering(OK);
    let gateway = gateway(&upstream, json!({}));
    let url = format!("{}/r", gateway.proxy);
    for code in [418, 200, 503] {
        plugin(
            &gateway,
            &json!({"name": "request-termination", "config": {"status_code": code, "body": "x"}}),
        );
        assert_eq!(http("GET", &url, &[], &Json::Null).status, code);
        let plugins = http("GET", &format!("{}/plugins", gateway.admin), &[], &Json::Null).json();
        let id = plugins["data"][0]["id"].as_str().unwrap().to_owned();
        http("DELETE", &format!("{}/plugins/{id}", gateway.admin), &[], &Json::Null);
        assert_eq!(http("GET", &url, &[], &Json::Null).text, "ok");
    }
}

#[test]
fn a_plugin_that_is_not_executed_is_named() {
    let upstream = Upstream::answering(OK);
    let gateway = gateway(&upstream, json!({}));
    plugin(&gateway, &json!({"name": "datadog"}));
    let answer = http("GET", &format!("{}/r", gateway.proxy), &[], &Json::Null);
    assert_eq!((answer.status, answer.header("x-foredeck-skipped-plugins")), (200, Some("datadog")));
}

#[test]
fn requests_are_logged_without_their_credentials() {
    let upstream = Upstream::answering(OK);
    let gateway = gateway(&upstream, json!({}));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log.jsonl");
    plugin(&gateway, &json!({"name": "file-log", "config": {"path": file}}));
    let headers = [("authorization", "Bearer hush-hush"), ("x-app", "one")];
    http("GET", &format!("{}/r?q=1&q=2&flag", gateway.proxy), &headers, &Json::Null);
    let started = std::time::Instant::now();
    let text = loop {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        if text.ends_with('\n') || started.elapsed() > Duration::from_secs(10) {
            break text;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(!text.contains("hush"), "{text}");
    let entry: Json = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(entry["request"]["uri"], "/r?q=1&q=2&flag");
    assert_eq!(entry["request"]["querystring"], json!({"q": ["1", "2"], "flag": true}));
    assert!(entry["request"]["size"].as_u64().unwrap() > 60, "{entry}");
    assert_eq!((&entry["source"], &entry["upstream_status"]), (&json!("upstream"), &json!("200")));
    assert!(entry["tries"][0]["balancer_start"].as_u64() >= entry["started_at"].as_u64());
    assert_eq!(entry["request"]["headers"]["x-app"], "one");
    assert_eq!(entry["response"]["status"], 200);
    assert_eq!(entry["route"]["name"], "r");
}

#[test]
fn web_sockets_pass_both_ways() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).unwrap();
        assert!(String::from_utf8_lossy(&buffer[..read]).to_lowercase().contains("upgrade: websocket"));
        stream
            .write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            )
            .unwrap();
        let read = stream.read(&mut buffer).unwrap();
        stream.write_all(&buffer[..read]).unwrap();
    });
    let gateway = gateway(&Upstream { url, seen: Arc::default() }, json!({}));
    let mut stream = TcpStream::connect(gateway.proxy.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream
        .write_all(b"GET /r HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        .unwrap();
    let mut buffer = [0; 4096];
    let read = stream.read(&mut buffer).unwrap();
    assert_eq!(status(&String::from_utf8_lossy(&buffer[..read])), "101");
    stream.write_all(b"ping").unwrap();
    let read = stream.read(&mut buffer).unwrap();
    assert_eq!(&buffer[..read], b"ping");
    serving.join().unwrap();
}

#[test]
fn limits_are_counted_in_redis() {
    let Some((mut server, port)) = redis_server() else {
        eprintln!("skipped: there is no redis-server or valkey-server here");
        return;
    };
    let upstream = Upstream::answering(OK);
    let gateway = gateway(&upstream, json!({}));
    let limits = json!({"hour": 2, "policy": "redis", "redis": {"host": "127.0.0.1", "port": port}});
    plugin(&gateway, &json!({"name": "rate-limiting", "config": limits}));
    let get = || http("GET", &format!("{}/r", gateway.proxy), &[], &Json::Null);
    let answer = get();
    assert_eq!((answer.status, answer.header("ratelimit-remaining")), (200, Some("1")));
    assert_eq!((get().status, get().status), (200, 429));
    server.kill().unwrap();
    server.wait().unwrap();
    // Fault tolerance is on by default: without the server nobody is limited.
    assert_eq!(get().status, 200);
}
