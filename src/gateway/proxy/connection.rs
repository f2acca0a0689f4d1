//! What is the same for all requests of one client connection.

use http::HeaderValue;
use std::net::{IpAddr, SocketAddr};

/// A client's connection.
#[derive(Debug)]
pub struct Connection {
    /// Where it comes from.
    pub peer: SocketAddr,
    /// The listener's address.
    pub local: SocketAddr,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The server name of the TLS handshake.
    pub sni: Option<Box<str>>,
    /// The peer's address as a header.
    pub client_ip: HeaderValue,
    /// The listener's port as a header.
    pub port: HeaderValue,
}

impl Connection {
    /// A connection between these addresses; with TLS if there is a scheme `https`.
    pub fn new(peer: SocketAddr, local: SocketAddr, scheme: &'static str, sni: Option<Box<str>>) -> Self {
        let ip = peer.ip().to_canonical();
        Connection {
            peer,
            local,
            scheme,
            sni,
            client_ip: HeaderValue::from_str(&ip.to_string())
                .unwrap_or_else(|_| HeaderValue::from_static("")),
            port: HeaderValue::from(local.port()),
        }
    }

    /// The client's address.
    pub fn ip(&self) -> IpAddr {
        self.peer.ip().to_canonical()
    }
}
