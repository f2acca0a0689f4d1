//! What the proxy reads of services, routes and consumers: typed, made once when a snapshot is built.
//! What does not live here: which route wins (`router`), and which target of an upstream is taken (`balancer`).

use super::rows::Text;
use super::tls::UpstreamTls;
use crate::value::{Origin, Secret, Value};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Reads a service. What a row lacks is as Kong's schema has it by default.
pub(super) fn service(row: &Value, whole: Text) -> Service {
    let time = |field| {
        Duration::from_millis(integer(row, field).and_then(|ms| u64::try_from(ms).ok()).unwrap_or(60_000))
    };
    Service {
        id: text(row, "id").unwrap_or_default(),
        name: text(row, "name"),
        protocol: text(row, "protocol").unwrap_or_else(|| "http".into()),
        host: text(row, "host").unwrap_or_default(),
        port: integer(row, "port").and_then(|port| u16::try_from(port).ok()).unwrap_or(80),
        path: text(row, "path").unwrap_or_default(),
        retries: integer(row, "retries").and_then(|n| u32::try_from(n).ok()).unwrap_or(5),
        connect_timeout: time("connect_timeout"),
        write_timeout: time("write_timeout"),
        read_timeout: time("read_timeout"),
        tls_verify: row.get("tls_verify").and_then(Value::as_bool),
        tls: None,
        row: whole,
    }
}

/// Reads a route.
pub(super) fn route(row: &Value, whole: Text) -> Route {
    let flag = |field, default| row.get(field).and_then(Value::as_bool).unwrap_or(default);
    let protocols = texts(row, "protocols");
    Route {
        id: text(row, "id").unwrap_or_default(),
        name: text(row, "name"),
        strip_path: flag("strip_path", true),
        preserve_host: flag("preserve_host", false),
        https_redirect: integer(row, "https_redirect_status_code")
            .and_then(|code| u16::try_from(code).ok())
            .unwrap_or(426),
        request_buffering: flag("request_buffering", true),
        response_buffering: flag("response_buffering", true),
        protocols: if protocols.is_empty() { vec!["http".into(), "https".into()] } else { protocols },
        row: whole,
    }
}

/// A text field, secret or not; `None` when absent or null.
pub fn text(row: &Value, field: &str) -> Option<Box<str>> {
    row.get(field).and_then(Value::exposed_str).map(Into::into)
}

/// A list of texts; absent is empty.
pub fn texts(row: &Value, field: &str) -> Vec<Box<str>> {
    let items = row.get(field).and_then(Value::as_array).unwrap_or_default();
    items.iter().filter_map(|item| item.exposed_str().map(Into::into)).collect()
}

/// A whole number.
pub fn integer(row: &Value, field: &str) -> Option<i64> {
    row.get(field).and_then(Value::as_i64)
}

/// The id that a foreign field refers to.
pub fn target(row: &Value, field: &str) -> Option<Uuid> {
    Uuid::try_parse(row.get(field)?.get("id")?.exposed_str()?).ok()
}

/// A text field that nobody may see.
pub fn secret(row: &Value, field: &str) -> Option<Secret> {
    text(row, field).map(|text| Secret::text(text, Origin::ControlPlane))
}

/// A service: where requests are sent.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its id.
    pub id: Box<str>,
    /// Its name, if it has one.
    pub name: Option<Box<str>>,
    /// `http`, `https`, `grpc`, `grpcs`, `ws`, `wss`, `tcp` ...
    pub protocol: Box<str>,
    /// A host name, an address, or the name of an upstream.
    pub host: Box<str>,
    /// The port.
    pub port: u16,
    /// What is put before the path; empty or beginning with `/`.
    pub path: Box<str>,
    /// How often another attempt follows a failed connection.
    pub retries: u32,
    /// The time for a connection, TLS included.
    pub connect_timeout: Duration,
    /// The time between two writes to the upstream.
    pub write_timeout: Duration,
    /// The time between two reads from the upstream.
    pub read_timeout: Duration,
    /// Whether its certificate is checked; `None` is Kong's default (no).
    pub tls_verify: Option<bool>,
    /// TLS settings of its own: authorities, and a certificate to show.
    pub tls: Option<Arc<UpstreamTls>>,
    /// The whole entity, for log entries.
    pub row: Text,
}

/// A route, without its matching rules (these are the router's).
#[derive(Clone, Debug)]
pub struct Route {
    /// Its id.
    pub id: Box<str>,
    /// Its name, if it has one.
    pub name: Option<Box<str>>,
    /// Whether the matched part of the path is taken away.
    pub strip_path: bool,
    /// Whether the client's `Host` goes on to the upstream.
    pub preserve_host: bool,
    /// 426, 301, 302, 307 or 308: the answer to plain HTTP on a route for HTTPS only.
    pub https_redirect: u16,
    /// Whether a plugin may hold the whole request body.
    pub request_buffering: bool,
    /// Whether a plugin may hold the whole response body.
    pub response_buffering: bool,
    /// The protocols, as configured.
    pub protocols: Vec<Box<str>>,
    /// The whole entity, for log entries.
    pub row: Text,
}

/// A consumer.
#[derive(Clone, Debug)]
pub struct Consumer {
    /// Its id.
    pub id: Box<str>,
    /// Its user name.
    pub username: Option<Box<str>>,
    /// Its id elsewhere.
    pub custom_id: Option<Box<str>>,
    /// Its id in binary, by which plugins are found.
    pub uuid: Uuid,
    /// The consumer groups it belongs to: ids, and names, sorted by name.
    pub groups: Box<[ConsumerGroup]>,
    /// The ACL groups it belongs to.
    pub acl_groups: Box<[Box<str>]>,
    /// The whole entity, for log entries.
    pub row: Text,
}

/// A consumer group.
#[derive(Clone, Debug)]
pub struct ConsumerGroup {
    /// Its id.
    pub id: Box<str>,
    /// Its id in binary.
    pub uuid: Uuid,
    /// Its name.
    pub name: Box<str>,
}

/// A credential of a consumer: an API key, a user name with a password, a signing key ...
#[derive(Clone, Debug)]
pub struct Credential {
    /// Its id.
    pub id: Box<str>,
    /// What the upstream is told of it: the user name or key, or for secret keys the id.
    pub identifier: Box<str>,
    /// Whose it is.
    pub consumer: Arc<Consumer>,
    /// The fields that it is checked by (`password`, `secret` ...), those that are set.
    pub(super) checked: Box<[(&'static str, Secret)]>,
}

impl Credential {
    /// A field that the credential is checked by: `password`, `secret` ...
    pub fn field(&self, name: &str) -> Option<&Secret> {
        self.checked.iter().find(|(field, _)| *field == name).map(|(_, value)| value)
    }
}
