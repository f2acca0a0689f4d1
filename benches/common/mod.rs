//! What the benchmarks share: state files of any size, running the real program under measure, and tables.
//!
//! Figures are of the whole process: wall time, user and system CPU time, and the peak of resident memory.

#![allow(dead_code, clippy::expect_used)] // no benchmark uses all of it, and each fails loudly

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use wait4::Wait4;

/// How many entities of which sort a state file holds.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Services, each with a plugin and a route, which has a plugin too.
    pub services: usize,
    /// Consumers, each with three credentials.
    pub consumers: usize,
    /// Upstreams.
    pub upstreams: usize,
    /// Targets of each upstream.
    pub targets: usize,
}

impl Size {
    /// The usual mixture: as many consumers as services, and a tenth of upstreams with three targets each.
    /// 5,000 services make 42,000 entities.
    pub fn of(services: usize) -> Self {
        Size { services, consumers: services, upstreams: services / 10, targets: 3 }
    }

    /// How many entities that is.
    pub fn entities(self) -> usize {
        self.services * 4 + self.consumers * 4 + self.upstreams * (1 + self.targets)
    }

    /// The state file: nested, as people write them.
    pub fn state(self) -> String {
        let mut text = String::from("_format_version: \"3.0\"\n");
        // A list of nothing would be no list.
        let begin = |text: &mut String, list: &str, count: usize| {
            if count > 0 {
                text.push_str(list);
            }
        };
        begin(&mut text, "services:\n", self.services);
        for n in 0..self.services {
            let _infallible = write!(
                text,
                "  - name: service-{n}
    host: service-{n}.internal
    port: 8080
    protocol: http
    tags: [team-{team}]
    plugins:
      - name: correlation-id
        config:
          header_name: X-Request-{n}
    routes:
      - name: route-{n}
        paths: [/api/v{version}/service-{n}]
        methods: [GET, POST]
        plugins:
          - name: rate-limiting
            config:
              minute: {minute}
              policy: local
",
                team = n % 50,
                version = n % 3 + 1,
                minute = n % 900 + 10,
            );
        }
        begin(&mut text, "consumers:\n", self.consumers);
        for n in 0..self.consumers {
            let _infallible = write!(
                text,
                "  - username: consumer-{n}
    keyauth_credentials:
      - key: key-{n}-0123456789abcdef
    jwt_secrets:
      - {{key: issuer-{n}, secret: 0123456789abcdef0123456789abcdef}}
    hmacauth_credentials:
      - {{username: hmac-{n}, secret: fedcba9876543210}}
"
            );
        }
        begin(&mut text, "upstreams:\n", self.upstreams);
        for n in 0..self.upstreams {
            let _infallible = write!(text, "  - name: upstream-{n}\n    targets:\n");
            for target in 0..self.targets {
                let _infallible = writeln!(
                    text,
                    "      - target: 10.{}.{}.{}:{}",
                    n / 250,
                    n % 250,
                    target % 250,
                    8080 + target / 250
                );
            }
        }
        text
    }
}

/// What one run of a program took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    pub wall: Duration,
    pub cpu: Duration,
    /// Bytes.
    pub memory: u64,
}

impl Figures {
    /// `wall`, `CPU` and `memory` as cells of a table.
    pub fn cells(&self) -> String {
        let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
        format!("{} | {} | {} MB", seconds(self.wall), seconds(self.cpu), self.memory / 1_000_000)
    }
}

/// The release build of the program.
pub fn foredeck() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_foredeck"));
    command.env("HOME", "/nonexistent").env("NO_COLOR", "1");
    command
}

/// Runs a command to its end, its output into a file, and fails unless it ends with `code`.
pub fn measure(mut command: Command, code: i32) -> Figures {
    let output = scratch("output");
    let file = std::fs::File::create(&output).expect("a scratch file");
    command.stdin(Stdio::null()).stdout(file.try_clone().expect("a handle")).stderr(file);
    let begin = Instant::now();
    let mut child = command.spawn().expect("the program starts");
    let end = child.wait4().expect("the program ends");
    let wall = begin.elapsed();
    let said = || std::fs::read_to_string(&output).unwrap_or_default();
    assert_eq!(end.status.code(), Some(code), "{}", said().chars().take(4000).collect::<String>());
    Figures { wall, cpu: end.rusage.utime + end.rusage.stime, memory: end.rusage.maxrss }
}

/// The best of several runs: the one with the least of something, such as CPU time.
pub fn best<T, K: Ord>(runs: usize, mut run: impl FnMut() -> T, key: impl Fn(&T) -> K) -> T {
    (0..runs).map(|_| run()).min_by_key(key).expect("at least one run")
}

/// A path in a folder of this process.
pub fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("foredeck-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a scratch folder");
    folder.join(name)
}

/// A file with a state of this size.
pub fn state_file(size: Size) -> PathBuf {
    let path = scratch(&format!("state-{}-{}.yaml", size.services, size.upstreams));
    std::fs::write(&path, size.state()).expect("a state file");
    path
}

/// A running `foredeck serve`. Dropping it ends it.
pub struct Gateway {
    child: Child,
    pub admin: String,
    pub proxy: String,
    pub konnect: String,
}

impl Gateway {
    /// Starts one in memory on free ports.
    pub fn start(arguments: &[&str]) -> Gateway {
        let ports = scratch("ports.json");
        drop(std::fs::remove_file(&ports));
        let mut command = foredeck();
        command.args([
            "serve",
            "--admin-listen",
            "0",
            "--proxy-listen",
            "0",
            "--konnect-listen",
            "0",
            "--port-file",
        ]);
        command.arg(&ports).args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().expect("the gateway starts");
        let read = |path: &Path| std::fs::read(path).ok();
        let text = (0..1000)
            .find_map(|_| {
                let text = read(&ports);
                if text.is_none() {
                    std::thread::sleep(Duration::from_millis(10));
                }
                text
            })
            .expect("the gateway is ready");
        let addresses: serde_json::Value = serde_json::from_slice(&text).expect("addresses");
        let address = |name: &str| addresses[name].as_str().unwrap_or_default().to_owned();
        Gateway { admin: address("admin"), proxy: address("proxy"), konnect: address("konnect"), child }
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Peak of resident memory so far, in bytes. Linux only.
    pub fn memory(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// Resident memory, in bytes. Linux only.
    pub fn resident(&self) -> u64 {
        self.status("VmRSS:")
    }

    fn status(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap_or_default() * 1024
    }

    /// A command of the program against this gateway's Admin API.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = foredeck();
        command.args(arguments).env("DECK_KONG_ADDR", &self.admin);
        command
    }
}

/// Stands between clients and a gateway, and counts what passes. It runs in the benchmark's own process, so that it is in
/// no figure but the wall time.
pub struct Counter {
    /// `http://127.0.0.1:PORT`
    pub address: String,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

impl Counter {
    /// Starts one in front of an address of the same form.
    pub fn before(address: &str) -> Counter {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let own = listener.local_addr().expect("an address");
        let to = address.trim_start_matches("http://").to_owned();
        let (connections, requests) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counter = Counter {
            address: format!("http://{own}"),
            connections: connections.clone(),
            requests: requests.clone(),
        };
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                connections.fetch_add(1, Ordering::Relaxed);
                let server = TcpStream::connect(&to).expect("the gateway accepts");
                let halves = (client.try_clone().expect("a handle"), server.try_clone().expect("a handle"));
                let requests = requests.clone();
                std::thread::spawn(move || pass(client, server, Some(&requests)));
                std::thread::spawn(move || pass(halves.1, halves.0, None));
            }
        });
        counter
    }

    /// Requests and connections since the last call.
    pub fn take(&self) -> (usize, usize) {
        (self.requests.swap(0, Ordering::Relaxed), self.connections.swap(0, Ordering::Relaxed))
    }
}

/// Copies until the end, and counts the request lines; no JSON body holds one.
fn pass(mut from: TcpStream, mut to: TcpStream, count: Option<&AtomicUsize>) {
    const MARK: &[u8] = b" HTTP/1.1\r\n";
    drop(to.set_nodelay(true));
    let mut buffer = vec![0; 1 << 16];
    let mut kept = 0; // the end of the last piece, in which a mark may begin
    while let Ok(read @ 1..) = from.read(buffer.get_mut(kept..).expect("room")) {
        let piece = buffer.get(kept..kept + read).expect("what was read");
        if to.write_all(piece).is_err() {
            break;
        }
        let Some(count) = count else { continue };
        let seen = buffer.get(..kept + read).expect("what was read");
        let marks = seen.windows(MARK.len()).filter(|window| *window == MARK).count();
        count.fetch_add(marks, Ordering::Relaxed);
        let end = kept + read;
        kept = (MARK.len() - 1).min(end);
        buffer.copy_within(end - kept..end, 0);
    }
    drop(to.shutdown(Shutdown::Write));
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
