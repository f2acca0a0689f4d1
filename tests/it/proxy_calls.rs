//! What the proxy does with requests. Each file of `tests/calls` holds a state and the requests that are sent one after
//! the other; the snapshot beside this file shows, for each, what the upstream got and what the client got.

use crate::support::{Folder, Gateway, listen};
use regex::Regex;
use serde::Deserialize;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// A state file. `UPSTREAM` in it is host and port of the upstream.
    state: Json,
    /// What the upstream answers to every request.
    #[serde(default)]
    answer: Answer,
    /// Headers that are shown here although they usually say nothing.
    #[serde(default)]
    shows: Vec<String>,
    calls: Vec<Call>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Default for Answer {
    fn default() -> Self {
        Answer { status: 200, headers: BTreeMap::new(), body: "hello".to_owned() }
    }
}

/// `GET /path` alone, or with more.
#[derive(Deserialize)]
#[serde(untagged)]
enum Call {
    Line(String),
    Whole(Request),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    send: String,
    #[serde(default)]
    host: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
}

/// Headers that say nothing of what a plugin did.
const USUAL: [&str; 14] = [
    "connection",
    "content-length",
    "date",
    "server",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-path",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-kong-proxy-latency",
    "x-kong-request-id",
    "x-kong-upstream-latency",
];

/// An upstream that keeps what it is sent and answers as it is told.
struct Upstream {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Upstream {
    fn start(answer: &Answer) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut text = format!(
            "HTTP/1.1 {} Told\r\nContent-Length: {}\r\nConnection: close\r\n",
            answer.status,
            answer.body.len()
        );
        for (name, value) in &answer.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("\r\n{}", answer.body));
        let kept = Arc::clone(&seen);
        let address = listen(move |mut stream| {
            let message = read(&mut stream, false);
            kept.lock().unwrap().push(message);
            let _ = stream.write_all(text.as_bytes());
        });
        Upstream { port: address.port(), seen }
    }

    fn take(&self) -> Option<String> {
        self.seen.lock().unwrap().pop()
    }
}

/// A message: to the end that its length or its chunks tell, or else to the end of the connection.
fn read(stream: &mut TcpStream, to_end: bool) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let (mut bytes, mut buffer) = (Vec::new(), [0; 65_536]);
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            let whole = match length {
                Some(length) => body.len() >= length,
                None if head.contains("transfer-encoding: chunked") => body.ends_with("0\r\n\r\n"),
                None => !to_end,
            };
            if whole {
                return text;
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return String::from_utf8_lossy(&bytes).into_owned(),
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

fn send(gateway: &Gateway, request: &Request) -> String {
    let (method, target) = request.send.split_once(' ').unwrap();
    let host = request.host.as_deref().unwrap_or("shop.test");
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in &request.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !request.body.is_empty() {
        text.push_str(&format!("Content-Length: {}\r\n", request.body.len()));
    }
    text.push_str(&format!("\r\n{}", request.body));
    let mut stream = TcpStream::connect(gateway.proxy.trim_start_matches("http://")).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    read(&mut stream, method != "HEAD")
}

/// The lines of a message that say something, its headers sorted.
fn told(message: &str, mark: &str, shows: &[String]) -> String {
    let (head, body) = message.split_once("\r\n\r\n").unwrap_or((message, ""));
    let mut lines = head.lines();
    let mut out = format!("{mark} {}\n", lines.next().unwrap_or_default());
    let mut headers: Vec<(String, &str)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
        .collect();
    let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && *value == "chunked");
    headers.retain(|(name, _)| !USUAL.contains(&name.as_str()) || shows.contains(name));
    headers.retain(|(name, _)| name != "transfer-encoding");
    headers.sort();
    for (name, value) in headers {
        let _ = writeln!(out, "{mark}   {name}: {value}");
    }
    let body = if chunked { dechunked(body) } else { body.to_owned() };
    for line in body.lines() {
        let _ = writeln!(out, "{mark} | {line}");
    }
    out
}

fn dechunked(mut body: &str) -> String {
    let mut out = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        let (chunk, rest) = rest.split_at(size);
        out.push_str(chunk);
        body = rest.trim_start_matches("\r\n");
    }
    out
}

/// A report without what differs from run to run.
fn scrubbed(text: &str, gateway: &Gateway, upstream: &Upstream) -> String {
    let port = gateway.proxy.rsplit(':').next().unwrap();
    let mut text = text.replace(&format!("127.0.0.1:{}", upstream.port), "UPSTREAM");
    for port in [port, &upstream.port.to_string()] {
        text = text.replace(&format!(":{port}"), ":PORT").replace(&format!(": {port}"), ": PORT");
    }
    for (pattern, word) in [
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID"),
        (r"\b[0-9a-f]{64}\b", "DIGEST"),
        (r"\b[0-9a-f]{32}\b", "ID"),
        (r"(response-latency|reset|retry-after|  age): \d+", "$1: N"),
        (r#"("(?:worker_pid|created_at|updated_at)"):\d+"#, "$1:N"),
    ] {
        text = Regex::new(pattern).unwrap().replace_all(&text, word).into_owned();
    }
    text
}

fn report(name: &str) -> String {
    let path = format!("{}/tests/calls/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let case: Case = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
    let upstream = Upstream::start(&case.answer);
    let gateway = Gateway::with(&["--flavor", "kong-3.10"]);
    let state = case.state.to_string().replace("UPSTREAM", &format!("127.0.0.1:{}", upstream.port));
    let folder = Folder::with("kong.json", &state);
    gateway.run(&folder, &["gateway", "sync", "kong.json"], &[]).expect(0);
    let mut out = String::new();
    for call in case.calls {
        let request = match call {
            Call::Whole(request) => request,
            Call::Line(send) => Request { send, host: None, headers: BTreeMap::new(), body: String::new() },
        };
        let answer = send(&gateway, &request);
        let _ = write!(out, "{}", request.send);
        if let Some(host) = &request.host {
            let _ = write!(out, " ({host})");
        }
        for (name, value) in &request.headers {
            let _ = write!(out, " {name}: {value}");
        }
        let body = if request.body.is_empty() { String::new() } else { format!("\n{}", request.body) };
        let _ = writeln!(out, "{body}");
        if let Some(seen) = upstream.take() {
            out.push_str(&told(&seen, "  >", &case.shows));
        }
        out.push_str(&told(&answer, "  <", &case.shows));
        out.push('\n');
    }
    scrubbed(&out, &gateway, &upstream)
}

macro_rules! calls {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            insta::assert_snapshot!(report(stringify!($name)));
        })*

        #[test]
        fn no_file_is_forgotten() {
            let named = [$(concat!(stringify!($name), ".yaml")),*];
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/calls");
            for entry in std::fs::read_dir(folder).unwrap() {
                let file = entry.unwrap().file_name().into_string().unwrap();
                assert!(named.contains(&file.as_str()), "no test reads {file}");
            }
        }
    };
}

calls! {
    anonymous,
    basic_auth_and_acl,
    bot_detection_and_ip_restriction,
    correlation_id,
    cors,
    errors,
    forwarded_headers,
    hmac_auth,
    jwt,
    key_auth,
    paths,
    proxy_cache,
    rate_limiting,
    request_transformer,
    response_transformer,
    routing,
    scopes,
    size_termination_and_redirect,
    upstreams,
}
