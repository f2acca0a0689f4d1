//! What the proxy reads of services, routes and consumers: typed, made once when a snapshot is built.
//! What does not live here: which route wins (`router`), and which target of an upstream is taken (`balancer`).

use crate::value::Value;
use std::sync::Arc;
use std::time::Duration;

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
    /// The whole entity, for log entries.
    pub row: Arc<Value>,
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
    /// How the service's path and the request's are joined: `v1` instead of `v0`.
    pub path_handling_v1: bool,
    /// 426, 301, 302, 307 or 308: the answer to plain HTTP on a route for HTTPS only.
    pub https_redirect: u16,
    /// Whether a plugin may hold the whole request body.
    pub request_buffering: bool,
    /// Whether a plugin may hold the whole response body.
    pub response_buffering: bool,
    /// The protocols, as configured.
    pub protocols: Vec<Box<str>>,
    /// The whole entity, for log entries.
    pub row: Arc<Value>,
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
    /// The consumer groups it belongs to: ids, and names, sorted by name.
    pub groups: Vec<ConsumerGroup>,
    /// The ACL groups it belongs to.
    pub acl_groups: Vec<Box<str>>,
    /// The whole entity, for log entries.
    pub row: Arc<Value>,
}

/// A consumer group.
#[derive(Clone, Debug)]
pub struct ConsumerGroup {
    /// Its id.
    pub id: Box<str>,
    /// Its name.
    pub name: Box<str>,
}

/// A credential of a consumer: an API key, a user name with a password, a signing key ...
#[derive(Clone, Debug)]
pub struct Credential {
    /// Its id.
    pub id: Box<str>,
    /// Whose it is.
    pub consumer: Arc<Consumer>,
    /// The whole entity. It holds secrets; it is never logged.
    pub row: Arc<Value>,
}
