//! How fast the built-in gateway proxies: requests a second beside those of the bare upstream, the processor time and
//! the latency that it adds, and what idle streams cost in memory.
//!
//! `cargo bench --bench proxy [-- SECONDS]`. `wrk` makes the load; it, the upstream and the gateway share the cores,
//! so that only the ratio to the bare upstream and the processor time can be compared between machines.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, missing_docs)] // a benchmark prints its table

mod common;

use common::{Gateway, scratch};
use serde_json::{Value as Json, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Connections of the load.
const CONNECTIONS: usize = 32;
/// Requests by which latency at low load is measured.
const SINGLE: usize = 4_000;
/// Idle streams, unless the system allows fewer open files.
const STREAMS: usize = 10_000;

const PLAIN: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{\"ok\":true}";
const CHAT: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"gpt-4o","choices":[{"index":0,"message":{"role":"assistant","content":"Hello there."},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}}"#;
const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\nb\r\ndata: one\n\n\r\n";

fn main() {
    let seconds = std::env::args().skip(1).find_map(|argument| argument.parse::<u32>().ok()).unwrap_or(5);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let upstream = runtime.block_on(upstream());
    let gateways = [("", Gateway::start(&[])), (", one thread", Gateway::start(&["--proxy-threads", "1"]))];
    gateways.iter().for_each(|(_, gateway)| configure(gateway, upstream));

    let chat = scratch("chat.lua");
    let body = r#"{"messages":[{"role":"user","content":"Say hello."}]}"#;
    std::fs::write(
        &chat,
        format!(
            "wrk.method = 'POST'\nwrk.body = '{body}'\nwrk.headers['content-type'] = 'application/json'\n"
        ),
    )
    .unwrap();
    let chat = chat.to_string_lossy().into_owned();

    println!("| what | requests a second | of the bare upstream | p99 | processor time a request |");
    println!("|---|---|---|---|---|");
    let bare = format!("http://{upstream}");
    for (name, path, arguments) in [
        ("plain", "/plain", vec![]),
        ("key-auth and rate-limiting", "/limited", vec!["-H", "apikey: key-1"]),
        ("ai-proxy", "/chat", vec!["-s", chat.as_str()]),
    ] {
        // The bare upstream in the same minute, before and after.
        let before = load(&format!("{bare}{path}"), &arguments, seconds.div_ceil(2));
        let through = gateways.each_ref().map(|(threads, gateway)| {
            let busy = processor_time(gateway);
            let through = load(&format!("{}{path}", gateway.proxy), &arguments, seconds);
            (threads, through, processor_time(gateway) - busy)
        });
        let after = load(&format!("{bare}{path}"), &arguments, seconds.div_ceil(2));
        let base = (before.rate + after.rate) / 2.0;
        println!("| {name}, bare | {base:.0} | | {} | |", before.p99);
        for (threads, through, used) in through {
            println!(
                "| {name}{threads} | {:.0} | {:.2} | {} | {:.1} µs |",
                through.rate,
                through.rate / base,
                through.p99,
                used.as_secs_f64() * 1e6 / through.requests
            );
        }
    }

    let (_, gateway) = &gateways[0];
    let proxy: SocketAddr = gateway.proxy.trim_start_matches("http://").parse().unwrap();
    let (direct, through) = (latency(upstream), latency(proxy));
    println!("\n| one request at a time, median | |\n|---|---|");
    println!("| bare upstream | {direct:.0} µs |\n| through the gateway | {through:.0} µs |");
    println!("| added | {:.0} µs |", through - direct);

    let streams = STREAMS.min(open_files().saturating_sub(200) / 2);
    let empty = gateway.resident();
    let open: Vec<TcpStream> = (0..streams).map(|_| stream(proxy)).collect();
    let full = gateway.resident();
    println!("\n| idle streams | gateway's memory | a stream |\n|---|---|---|");
    println!(
        "| {} | {:.0} MB | {:.1} kB |",
        open.len(),
        full as f64 / 1e6,
        (full - empty) as f64 / 1e3 / open.len().max(1) as f64
    );
}

/// An upstream as thin as possible: answers by the path, and reads no more than the head says.
async fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let chat = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{CHAT}",
        CHAT.len()
    );
    let chat: &'static str = chat.leak();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                let mut filled = 0;
                while let Ok(read) = stream.read(&mut buffer[filled..]).await {
                    if read == 0 {
                        break;
                    }
                    filled += read;
                    let Some(end) = end(&buffer[..filled]) else { continue };
                    let answer = match &buffer[..end] {
                        head if head.starts_with(b"GET /stream") => STREAM,
                        head if head.starts_with(b"POST") => chat,
                        _ => PLAIN,
                    };
                    filled = 0;
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

/// Where a request ends, if it is whole.
fn end(data: &[u8]) -> Option<usize> {
    let head = data.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&data[..head]).unwrap();
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
    });
    let end = head + length.unwrap_or(0);
    (data.len() >= end).then_some(end)
}

fn configure(gateway: &Gateway, upstream: SocketAddr) {
    let put = |path: &str, body: Json| {
        ureq::put(format!("{}{path}", gateway.admin)).send_json(body).unwrap();
    };
    let post = |path: &str, body: Json| {
        ureq::post(format!("{}{path}", gateway.admin)).send_json(body).unwrap();
    };
    put("/services/s", json!({"url": format!("http://{upstream}")}));
    for name in ["plain", "limited", "chat", "stream"] {
        let route = json!({"paths": [format!("/{name}")], "service": {"name": "s"}, "strip_path": false});
        put(&format!("/routes/{name}"), route);
    }
    put("/consumers/amy", json!({}));
    post("/consumers/amy/key-auth", json!({"key": "key-1"}));
    post("/routes/limited/plugins", json!({"name": "key-auth"}));
    let limits = json!({"minute": 100_000_000, "policy": "local"});
    post("/routes/limited/plugins", json!({"name": "rate-limiting", "config": limits}));
    let model = json!({
        "provider": "openai",
        "name": "gpt-4o",
        "options": {"upstream_url": format!("http://{upstream}/v1/chat/completions")},
    });
    let auth = json!({"header_name": "Authorization", "header_value": "Bearer secret"});
    let config = json!({"route_type": "llm/v1/chat", "model": model, "auth": auth});
    post("/routes/chat/plugins", json!({"name": "ai-proxy", "config": config}));
}

/// What `wrk` measured.
struct Load {
    rate: f64,
    requests: f64,
    p99: String,
}

fn load(url: &str, arguments: &[&str], seconds: u32) -> Load {
    let mut wrk = Command::new("wrk");
    wrk.args(["-t2", "--latency", &format!("-c{CONNECTIONS}"), &format!("-d{seconds}s")]);
    let output = wrk.args(arguments).arg(url).output().expect("wrk is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && !text.contains("Non-2xx") && !text.contains("Socket errors"),
        "{text}"
    );
    let after = |word: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(word)).expect(word);
        line.trim_start().trim_start_matches(word).trim().to_owned()
    };
    let requests = text.lines().find(|line| line.contains(" requests in ")).expect("a count");
    Load {
        rate: after("Requests/sec:").parse().unwrap(),
        requests: requests.split_whitespace().next().unwrap().parse().unwrap(),
        p99: after("99%"),
    }
}

/// User and system time so far. The kernel counts in hundredths of a second.
fn processor_time(gateway: &Gateway) -> Duration {
    let status = std::fs::read_to_string(format!("/proc/{}/stat", gateway.pid())).unwrap();
    let fields: Vec<&str> = status.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// The median time of one request over one connection, in microseconds.
fn latency(address: SocketAddr) -> f64 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = [0; 4096];
    let mut times: Vec<Duration> = (0..SINGLE)
        .map(|_| {
            let start = Instant::now();
            stream.write_all(b"GET /plain HTTP/1.1\r\nhost: bench\r\n\r\n").unwrap();
            let mut filled = 0;
            while !buffer[..filled].ends_with(b"{\"ok\":true}") {
                filled += stream.read(&mut buffer[filled..]).unwrap();
            }
            start.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e6
}

/// A stream whose first event has come, and no other will.
fn stream(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /stream HTTP/1.1\r\nhost: bench\r\n\r\n").unwrap();
    let (mut answer, mut buffer) = (Vec::new(), [0; 1024]);
    while !answer.windows(9).any(|nine| nine == b"data: one") {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&buffer[..read]);
    }
    stream
}

/// How many files a process may have open.
fn open_files() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap_or(STREAMS * 3)
}
