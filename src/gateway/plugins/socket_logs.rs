//! `file-log`, `tcp-log`, `udp-log` and `syslog`: log entries, a line each, to a file or a socket.

use super::queue::{Queue, Sink};
use super::{ConfigError, Entry, Instance, Plugin, log_entry};
use crate::gateway::proxy::{Context, UpstreamTls};
use async_trait::async_trait;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// `file-log`'s line in the table.
pub const FILE: Entry = Entry { name: "file-log", priority: 9, build: build_file };
/// `tcp-log`'s line in the table.
pub const TCP: Entry = Entry { name: "tcp-log", priority: 7, build: build_tcp };
/// `udp-log`'s line in the table.
pub const UDP: Entry = Entry { name: "udp-log", priority: 8, build: build_udp };
/// `syslog`'s line in the table.
pub const SYSLOG: Entry = Entry { name: "syslog", priority: 4, build: build_syslog };

/// Where the system's log listens.
const SYSLOG_SOCKET: &str = "/dev/log";
/// The names of severities, by number.
const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
/// The names of facilities, by number.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];

struct Lines {
    queue: Queue,
}

impl Plugin for Lines {
    fn reads_response_headers(&self) -> bool {
        true
    }

    fn log(&self, context: &Context) {
        self.queue.push(log_entry::entry(context).to_string());
    }
}

fn lines(instance: &Instance<'_>, sink: impl Sink) -> Result<Arc<dyn Plugin>, ConfigError> {
    Ok(Arc::new(Lines { queue: Queue::new(instance, sink) }))
}

struct File {
    path: PathBuf,
}

fn build_file(instance: &Instance<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
    lines(instance, File { path: instance.text("path").unwrap_or_default().into() })
}

#[async_trait]
impl Sink for File {
    async fn send(&self, entries: &[String]) -> Result<(), String> {
        // Opened for each batch: a file that was moved away is made anew.
        let file = tokio::fs::OpenOptions::new().create(true).append(true).open(&self.path).await;
        let mut file = file.map_err(|e| e.to_string())?;
        let text = entries.iter().flat_map(|entry| [entry.as_str(), "\n"]).collect::<String>();
        file.write_all(text.as_bytes()).await.map_err(|e| e.to_string())?;
        file.flush().await.map_err(|e| e.to_string())
    }
}

struct Peer {
    host: String,
    port: u16,
    timeout: Duration,
}

fn peer(instance: &Instance<'_>) -> Result<Peer, ConfigError> {
    let port = instance.integer("port").and_then(|port| u16::try_from(port).ok());
    Ok(Peer {
        host: instance.text("host").unwrap_or_default().to_owned(),
        port: port.ok_or_else(|| ConfigError::new("port", "it is no port"))?,
        timeout: Duration::from_millis(instance.number("timeout").unwrap_or(10_000.0).max(1.0) as u64),
    })
}

struct Tcp {
    peer: Peer,
    /// The name of the server that is spoken to by TLS. Its certificate is not checked, as Kong does not.
    tls: Option<String>,
}

fn build_tcp(instance: &Instance<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
    let peer = peer(instance)?;
    let name = instance.text("tls_sni").unwrap_or(&peer.host).to_owned();
    let tls = instance.flag("tls").then_some(name);
    lines(instance, Tcp { peer, tls })
}

#[async_trait]
impl Sink for Tcp {
    async fn send(&self, entries: &[String]) -> Result<(), String> {
        let Peer { host, port, timeout: limit } = &self.peer;
        let text = entries.iter().flat_map(|entry| [entry.as_str(), "\n"]).collect::<String>();
        let sending = async {
            let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(|e| e.to_string())?;
            match &self.tls {
                Some(name) => {
                    write(UpstreamTls::usual(false).connect(name, false, stream).await?, &text).await
                }
                None => write(stream, &text).await,
            }
        };
        timeout(*limit, sending).await.map_err(|e| e.to_string())?
    }
}

async fn write(mut stream: impl AsyncWrite + Unpin, text: &str) -> Result<(), String> {
    stream.write_all(text.as_bytes()).await.map_err(|e| e.to_string())?;
    stream.shutdown().await.map_err(|e| e.to_string())
}

struct Udp(Peer);

fn build_udp(instance: &Instance<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
    lines(instance, Udp(peer(instance)?))
}

#[async_trait]
impl Sink for Udp {
    async fn send(&self, entries: &[String]) -> Result<(), String> {
        let Peer { host, port, timeout: limit } = &self.0;
        let sending = async {
            let to = tokio::net::lookup_host((host.as_str(), *port)).await?.next();
            let to = to.ok_or_else(|| std::io::Error::other("the name has no address"))?;
            let from: SocketAddr = match to {
                SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
                SocketAddr::V6(_) => ([0u16; 8], 0).into(),
            };
            let socket = UdpSocket::bind(from).await?;
            for entry in entries {
                socket.send_to(entry.as_bytes(), to).await?;
            }
            Ok::<_, std::io::Error>(())
        };
        timeout(*limit, sending).await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
    }
}

/// Writes by severity, which depends on the status.
struct Syslog {
    queue: Queue,
    threshold: usize,
    success: usize,
    client_error: usize,
    server_error: usize,
    facility: usize,
}

struct SyslogSocket;

fn build_syslog(instance: &Instance<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
    let severity = |field: &str| {
        let name = instance.text(field).unwrap_or("info");
        SEVERITIES
            .iter()
            .position(|known| *known == name)
            .ok_or_else(|| ConfigError::new(field, format!("{name:?} is no severity")))
    };
    let facility = instance.text("facility").unwrap_or("user");
    Ok(Arc::new(Syslog {
        queue: Queue::new(instance, SyslogSocket),
        threshold: severity("log_level")?,
        success: severity("successful_severity")?,
        client_error: severity("client_errors_severity")?,
        server_error: severity("server_errors_severity")?,
        facility: FACILITIES.iter().position(|known| *known == facility).unwrap_or(1),
    }))
}

impl Plugin for Syslog {
    fn reads_response_headers(&self) -> bool {
        true
    }

    fn log(&self, context: &Context) {
        let severity = match context.record.status {
            Some(status) if status.is_server_error() => self.server_error,
            Some(status) if status.is_client_error() => self.client_error,
            _ => self.success,
        };
        if severity <= self.threshold {
            let priority = self.facility * 8 + severity;
            self.queue.push(format!("<{priority}>kong: {}", log_entry::entry(context)));
        }
    }
}

#[async_trait]
impl Sink for SyslogSocket {
    #[cfg(unix)]
    async fn send(&self, entries: &[String]) -> Result<(), String> {
        let socket = tokio::net::UnixDatagram::unbound().map_err(|e| e.to_string())?;
        socket.connect(SYSLOG_SOCKET).map_err(|e| e.to_string())?;
        for entry in entries {
            socket.send(entry.as_bytes()).await.map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    #[cfg(not(unix))]
    async fn send(&self, _entries: &[String]) -> Result<(), String> {
        Err(format!("there is no {SYSLOG_SOCKET} on this system"))
    }
}
