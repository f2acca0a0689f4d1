//! What the integration tests share: running `foredeck`, starting its gateway, talking to it over HTTP.

#![allow(dead_code)] // a helper may be there before its first user

use serde_json::Value as Json;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long anything may take that a test waits for.
const PATIENCE: Duration = Duration::from_secs(20);

/// A command with an environment of its own: nothing of the developer's settings gets in.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_foredeck"));
    command.env_clear().env("HOME", "/nonexistent").env("NO_COLOR", "1").env("PATH", "/usr/bin:/bin");
    // Windows cannot open sockets without it.
    if let Some(root) = std::env::var_os("SystemRoot") {
        command.env("SystemRoot", root);
    }
    command
}

/// What a finished command left behind.
#[derive(Debug)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Standard output and standard error, for searching both.
    pub fn all(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }

    /// Standard output as JSON.
    pub fn json(&self) -> Json {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:#?}"))
    }

    /// Fails the test unless the command ended with this exit code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Output {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }
}

/// Runs a command to its end, with `stdin` as its standard input.
pub fn finish(mut command: Command, stdin: &str) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let text = stdin.to_owned();
    // A command that does not read its input closes the pipe early; that is its right.
    let writer = std::thread::spawn(move || drop(pipe.write_all(text.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs `foredeck` with arguments.
pub fn run(arguments: &[&str]) -> Output {
    let mut command = command();
    command.args(arguments);
    finish(command, "")
}

/// A folder that is gone when the test ends, with files in it.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Folder(TempDir::new().unwrap())
    }

    /// A folder with one file.
    pub fn with(name: &str, text: &str) -> Self {
        let folder = Folder::new();
        folder.write(name, text);
        folder
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Runs `foredeck` in this folder.
    pub fn run(&self, arguments: &[&str], env: &[(&str, &str)]) -> Output {
        let mut command = command();
        command.current_dir(self.path()).args(arguments).envs(env.iter().copied());
        finish(command, "")
    }
}

/// A running `foredeck serve` on free ports. Dropping it ends it.
pub struct Gateway {
    child: Child,
    folder: Folder,
    /// `http://127.0.0.1:PORT` of the Admin API.
    pub admin: String,
    /// The same of the proxy.
    pub proxy: String,
    /// The same of the Konnect API.
    pub konnect: String,
}

impl Gateway {
    /// Starts one in memory.
    pub fn start() -> Self {
        Gateway::with(&[])
    }

    /// One of the enterprise edition, which has every kind.
    pub fn enterprise() -> Self {
        Gateway::with(&["--flavor", "kong-3.14"])
    }

    /// Starts one with more arguments, and waits until `GET /status` answers.
    pub fn with(arguments: &[&str]) -> Self {
        Gateway::with_env(arguments, &[])
    }

    /// Starts one with more arguments and environment variables.
    pub fn with_env(arguments: &[&str], env: &[(&str, &str)]) -> Self {
        let mut command = command();
        command.arg("serve").args(arguments).envs(env.iter().copied());
        let folder = Folder::new();
        let ports = folder.path().join("ports.json");
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        command.args(["--admin-listen", "127.0.0.1:0", "--proxy-listen", "127.0.0.1:0"]);
        command.args(["--konnect-listen", "127.0.0.1:0", "--port-file"]).arg(&ports);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap();
        let mut gateway =
            Gateway { child, folder, admin: String::new(), proxy: String::new(), konnect: String::new() };
        let addresses = gateway.wait(|| serde_json::from_slice::<Json>(&std::fs::read(&ports).ok()?).ok());
        let address = |name: &str| addresses[name].as_str().unwrap().to_owned();
        gateway.admin = address("admin");
        gateway.proxy = address("proxy");
        gateway.konnect = address("konnect");
        let status = format!("{}/status", gateway.admin);
        gateway.wait(|| {
            agent().get(&status).call().ok().filter(|answer| [200, 401].contains(&answer.status().as_u16()))
        });
        gateway
    }

    /// What the gateway has printed so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Asks a question until it has an answer.
    fn wait<T>(&mut self, mut question: impl FnMut() -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = question() {
                return answer;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("foredeck serve ended with {status}:\n{}", self.log());
            }
            assert!(Instant::now() < end, "foredeck serve is not ready:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Runs `foredeck` in a folder against this gateway's Admin API.
    pub fn run(&self, folder: &Folder, arguments: &[&str], env: &[(&str, &str)]) -> Output {
        let mut env = env.to_vec();
        env.push(("DECK_KONG_ADDR", &self.admin));
        folder.run(arguments, &env)
    }

    /// The same with the arguments of a line.
    pub fn line(&self, folder: &Folder, line: &str) -> Output {
        self.run(folder, &line.split_whitespace().collect::<Vec<_>>(), &[])
    }

    /// What the Admin API answers.
    pub fn get(&self, path: &str) -> Json {
        http("GET", &format!("{}{path}", self.admin), &[], &Json::Null).json()
    }

    /// How many entities a page of the Admin API has.
    pub fn count(&self, list: &str) -> usize {
        self.get(list)["data"].as_array().unwrap().len()
    }

    /// The number of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the process to end; `None` when a signal ended it.
    pub fn end(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Kills the process at once, as `kill -9` does.
    pub fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An HTTP client that takes every status as an answer.
pub fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE))
        .proxy(None)
        .build()
        .new_agent()
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub text: String,
}

impl Answer {
    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Json {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Sends a request with a JSON body, or without one when `body` is null.
pub fn http(method: &str, url: &str, headers: &[(&str, &str)], body: &Json) -> Answer {
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let sent = if body.is_null() {
        agent().run(request.body(()).unwrap())
    } else {
        agent().run(request.header("content-type", "application/json").body(body.to_string()).unwrap())
    };
    let mut answer = sent.unwrap_or_else(|error| panic!("{method} {url}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Answer {
        status: answer.status().as_u16(),
        headers: answer.headers().iter().map(|(n, v)| (n.to_string(), text(v.as_bytes()))).collect(),
        text: text(&answer.body_mut().read_to_vec().unwrap()),
    }
}

/// A Redis or Valkey server of the test's own; `None` where neither is installed.
pub fn redis_server() -> Option<(std::process::Child, u16)> {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = ["valkey-server", "redis-server"].iter().find_map(|program| {
        std::process::Command::new(program)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .stdout(std::process::Stdio::null())
            .spawn()
            .ok()
    })?;
    for _ in 0..100 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Some((server, port))
}

/// Serves every connection to a free port on a thread of its own, until the tests end.
pub fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}
