//! Control planes that fail: unreachable, busy, breaking off, half done.

use crate::support::{Folder, Gateway};
use serde_json::Value as Json;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const STATE: &str = "_format_version: \"3.0\"\nservices:\n- {name: one, host: h.test, routes: [{name: r, paths: [/r]}]}\n- {name: two, host: h.test}\n";

/// What a [`Relay`] does with a request in place of passing it on.
#[derive(Clone, Copy)]
pub enum Fault {
    /// Answers with this status.
    Status(u16),
    /// Answers 429 and asks to wait a second.
    Busy,
    /// Passes the request on and breaks off before the answer.
    LostAnswer,
}

/// A relay before a gateway that fails the requests that a test names.
pub struct Relay {
    pub address: String,
    writes: Arc<AtomicUsize>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Relay {
    /// `choose` gets the request line and how many writes came before.
    pub fn before(
        gateway: &str,
        choose: impl Fn(&str, usize) -> Option<Fault> + Send + Sync + 'static,
    ) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let target = gateway.trim_start_matches("http://").to_owned();
        let writes = Arc::new(AtomicUsize::new(0));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (count, log, choose) = (writes.clone(), lines.clone(), Arc::new(choose));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (target, count, log, choose) =
                    (target.clone(), count.clone(), log.clone(), choose.clone());
                std::thread::spawn(move || {
                    drop(Relay::serve(client, &target, &count, &log, &*choose));
                });
            }
        });
        Relay { address, writes, lines }
    }

    /// One request a connection, so that a fault concerns that request only.
    fn serve(
        mut client: TcpStream,
        target: &str,
        writes: &AtomicUsize,
        lines: &Mutex<Vec<String>>,
        choose: &dyn Fn(&str, usize) -> Option<Fault>,
    ) -> std::io::Result<()> {
        let request = read_message(&mut client)?;
        let text = String::from_utf8_lossy(&request);
        let line = text.lines().next().unwrap_or_default().to_owned();
        let before = if line.starts_with("GET") {
            writes.load(Ordering::SeqCst)
        } else {
            writes.fetch_add(1, Ordering::SeqCst)
        };
        lines.lock().unwrap().push(line.clone());
        let fault = choose(&line, before);
        let plain = |status: u16, more: &str| {
            format!("HTTP/1.1 {status} X\r\n{more}connection: close\r\ncontent-length: 0\r\n\r\n")
        };
        match fault {
            Some(Fault::Status(status)) => return client.write_all(plain(status, "").as_bytes()),
            Some(Fault::Busy) => return client.write_all(plain(429, "retry-after: 1\r\n").as_bytes()),
            Some(Fault::LostAnswer) | None => {}
        }
        let mut server = TcpStream::connect(target)?;
        let closing = text.replacen("\r\n", "\r\nconnection: close\r\n", 1);
        server.write_all(closing.as_bytes())?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer)?;
        if fault.is_none() {
            client.write_all(&answer)?;
        }
        Ok(())
    }

    pub fn run(&self, folder: &Folder, arguments: &[&str]) -> crate::support::Output {
        folder.run(arguments, &[("DECK_KONG_ADDR", &self.address)])
    }
}

/// A request with its body, by its content length.
fn read_message(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4);
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok())
                .unwrap_or(0);
            if bytes.len() >= end + length {
                return Ok(bytes);
            }
        }
        match stream.read(&mut buffer)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            n => bytes.extend_from_slice(&buffer[..n]),
        }
    }
}

#[test]
fn an_address_where_nobody_answers_is_told_in_one_line() {
    let folder = Folder::with("kong.yaml", STATE);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = folder.run(&["gateway", "sync", "kong.yaml", "--kong-addr", &format!("http://{free}")], &[]);
    assert_eq!(output.code, 1);
    assert!(
        output.stderr.contains("E0501") && output.stderr.contains(&free.to_string()),
        "{}",
        output.stderr
    );
}

#[test]
fn failures_that_pass_are_met_with_repetition() {
    for fault in [Fault::Status(502), Fault::Status(503), Fault::Status(504), Fault::Busy, Fault::LostAnswer]
    {
        let gateway = Gateway::start();
        let relay = Relay::before(&gateway.admin, move |line, writes| {
            (writes == 1 && !line.starts_with("GET")).then_some(fault)
        });
        let folder = Folder::with("kong.yaml", STATE);
        let sync = relay.run(&folder, &["gateway", "sync", "kong.yaml"]);
        assert_eq!(sync.code, 0, "{}{}", sync.stdout, sync.stderr);
        let diff = gateway.run(&folder, &["gateway", "diff", "kong.yaml", "--non-zero-exit-code"], &[]);
        assert_eq!(diff.code, 0, "{}{}", diff.stdout, diff.stderr);
        // Three entities; a lost answer is looked up and not written again.
        let expected = if matches!(fault, Fault::LostAnswer) { 3 } else { 4 };
        assert_eq!(relay.writes.load(Ordering::SeqCst), expected, "{:?}", relay.lines.lock().unwrap());
    }
}

#[test]
fn an_exhausted_budget_stops_only_what_depends_on_it() {
    let gateway = Gateway::start();
    let relay = Relay::before(&gateway.admin, |line, _| {
        (line.starts_with("PUT /services") && line.contains("1111")).then_some(Fault::Status(503))
    });
    let state = STATE.replacen("name: one", "id: 11111111-1111-4111-8111-111111111111, name: one", 1);
    let folder = Folder::with("kong.yaml", &state);
    let arguments = ["gateway", "sync", "kong.yaml", "--retry-budget", "1", "--json-output"];
    let sync = relay.run(&folder, &arguments);
    assert_eq!(sync.code, 3, "{}{}", sync.stdout, sync.stderr);
    let report: Json = serde_json::from_str(&sync.stdout).unwrap();
    assert_eq!(report["summary"]["creating"], 1, "{report}");
    assert_eq!(report["changes"]["dropped_creations"][0]["name"], "r", "{report}");
    assert!(report["errors"][0].as_str().unwrap().contains("503"), "{report}");
}

#[test]
fn a_failure_is_undone_when_that_is_asked_for() {
    let gateway = Gateway::start();
    let relay = Relay::before(&gateway.admin, |line, _| {
        line.starts_with("PUT /routes").then_some(Fault::Status(503))
    });
    let folder = Folder::with("kong.yaml", STATE);
    let arguments = ["gateway", "sync", "kong.yaml", "--retry-budget", "1", "--rollback-on-error"];
    let sync = relay.run(&folder, &arguments);
    assert_eq!(sync.code, 1, "{}{}", sync.stdout, sync.stderr);
    folder.write("empty.yaml", "_format_version: \"3.0\"\n");
    let diff = gateway.run(&folder, &["gateway", "diff", "empty.yaml", "--non-zero-exit-code"], &[]);
    assert_eq!(diff.code, 0, "{}{}", diff.stdout, diff.stderr);
}

#[test]
fn a_run_that_ends_at_any_request_is_made_good_by_the_next() {
    for last in 0..3 {
        let gateway = Gateway::start();
        let relay = Relay::before(&gateway.admin, move |line, writes| {
            (!line.starts_with("GET") && writes >= last).then_some(Fault::Status(400))
        });
        let folder = Folder::with("kong.yaml", STATE);
        let broken = relay.run(&folder, &["gateway", "sync", "kong.yaml"]);
        assert_eq!(broken.code, if last == 0 { 1 } else { 3 }, "{}{}", broken.stdout, broken.stderr);
        let sync = gateway.run(&folder, &["gateway", "sync", "kong.yaml"], &[]);
        assert_eq!(sync.code, 0, "{}{}", sync.stdout, sync.stderr);
        let diff = gateway.run(&folder, &["gateway", "diff", "kong.yaml", "--non-zero-exit-code"], &[]);
        assert_eq!(diff.code, 0, "{}{}", diff.stdout, diff.stderr);
    }
}

#[test]
fn a_json_report_is_complete_when_nothing_could_be_done() {
    let folder = Folder::with(
        "kong.yaml",
        "_format_version: \"3.0\"\nservices: [{name: s, host: h, port: 99999999}]\n",
    );
    let gateway = Gateway::start();
    let output = gateway.run(&folder, &["gateway", "sync", "kong.yaml", "--json-output"], &[]);
    assert_eq!(output.code, 1);
    let report: Json = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(report["summary"]["total"], 0);
    assert!(report["errors"][0].as_str().unwrap().contains("E0102"), "{report}");
}
