//! What is the same for all requests of one client connection.

use http::HeaderValue;
use rustls::{CipherSuite, ProtocolVersion, ServerConnection};
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
    /// What the TLS handshake agreed on.
    pub tls: Option<Tls>,
    /// The peer's address as a header.
    pub client_ip: HeaderValue,
    /// The listener's port as a header.
    pub port: HeaderValue,
}

impl Connection {
    /// A connection between these addresses, and what is known of its TLS.
    pub fn new(peer: SocketAddr, local: SocketAddr, tls: Option<&ServerConnection>) -> Self {
        let ip = peer.ip().to_canonical();
        Connection {
            peer,
            local,
            scheme: if tls.is_some() { "https" } else { "http" },
            sni: tls.and_then(|tls| tls.server_name()).map(Into::into),
            tls: tls.map(Tls::of),
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

/// What a TLS handshake agreed on, by OpenSSL's names.
#[derive(Clone, Copy, Debug)]
pub struct Tls {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite.
    pub cipher: &'static str,
}

impl Tls {
    fn of(tls: &ServerConnection) -> Self {
        let version = match tls.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "",
        };
        let cipher = match tls.negotiated_cipher_suite().map(|suite| suite.suite()) {
            Some(CipherSuite::TLS13_AES_256_GCM_SHA384) => "TLS_AES_256_GCM_SHA384",
            Some(CipherSuite::TLS13_AES_128_GCM_SHA256) => "TLS_AES_128_GCM_SHA256",
            Some(CipherSuite::TLS13_CHACHA20_POLY1305_SHA256) => "TLS_CHACHA20_POLY1305_SHA256",
            Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384) => "ECDHE-ECDSA-AES256-GCM-SHA384",
            Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256) => "ECDHE-ECDSA-AES128-GCM-SHA256",
            Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256) => {
                "ECDHE-ECDSA-CHACHA20-POLY1305"
            }
            Some(CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384) => "ECDHE-RSA-AES256-GCM-SHA384",
            Some(CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256) => "ECDHE-RSA-AES128-GCM-SHA256",
            Some(CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256) => "ECDHE-RSA-CHACHA20-POLY1305",
            _ => "",
        };
        Tls { version, cipher }
    }
}
