//! How many entities a second the built-in gateway creates through HTTP, and what they cost in memory.
//!
//! `cargo bench --bench gateway`

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)] // a benchmark prints its table

mod common;

use common::{Gateway, scratch};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

/// Connections that create at the same time.
const CONNECTIONS: usize = 32;
/// Entities that each of them creates.
const EACH: usize = 1_600;

fn main() {
    println!(
        "| store | entities | connections | creations a second | gateway's memory |\n|---|---|---|---|---|"
    );
    let file = scratch("gateway.db");
    drop(std::fs::remove_file(&file));
    let data = file.to_string_lossy().into_owned();
    for (name, arguments) in [("memory", vec![]), ("file", vec!["--data", &data])] {
        let gateway = Gateway::start(&arguments);
        let address = gateway.admin.trim_start_matches("http://").to_owned();
        let start = Instant::now();
        std::thread::scope(|scope| {
            for connection in 0..CONNECTIONS {
                let address = &address;
                scope.spawn(move || create(address, connection));
            }
        });
        let (entities, seconds) = (CONNECTIONS * EACH, start.elapsed().as_secs_f64());
        let memory = gateway.memory() as f64 / 1e6;
        println!(
            "| {name} | {entities} | {CONNECTIONS} | {:.0} | {memory:.0} MB |",
            entities as f64 / seconds
        );
    }
}

/// Creates services one after the other over one connection. A client as thin as possible: both share the cores.
fn create(address: &str, connection: usize) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut body = Vec::new();
    for n in 0..EACH {
        let service = format!(r#"{{"name":"s-{connection}-{n}","host":"up.example"}}"#);
        let request = format!(
            "POST /services HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{service}",
            service.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let (mut line, mut length) = (String::new(), 0);
        reader.read_line(&mut line).unwrap();
        assert!(line.starts_with("HTTP/1.1 201"), "{line}");
        loop {
            line.clear();
            reader.read_line(&mut line).unwrap();
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.parse().unwrap();
                }
                Some(_) => {}
                None => break,
            }
        }
        body.resize(length, 0);
        reader.read_exact(&mut body).unwrap();
    }
}
