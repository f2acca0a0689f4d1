//! TLS towards upstreams: what is checked of them, and what is shown to them. What does not live here: certificates of
//! the proxy's own listeners.

use super::certificates::certified;
use super::views::text;
use crate::gateway::plugins::ConfigError;
use crate::value::Value;
use hyper_rustls::ConfigBuilderExt;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How upstreams are spoken to. Equal settings share connections.
pub struct UpstreamTls {
    /// Tells settings apart.
    id: Box<str>,
    verify: bool,
    /// Who may have signed the upstream's certificate; empty stands for the usual authorities.
    roots: Vec<CertificateDer<'static>>,
    /// The certificate that is shown when the upstream asks for one.
    identity: Option<Arc<CertifiedKey>>,
    /// For HTTP/1.1 and HTTP/2, each made when it is first needed.
    configs: [OnceLock<Result<Arc<ClientConfig>, String>>; 2],
}

impl UpstreamTls {
    /// The usual authorities and no certificate.
    pub fn usual(verify: bool) -> Arc<Self> {
        static USUAL: [OnceLock<Arc<UpstreamTls>>; 2] = [OnceLock::new(), OnceLock::new()];
        let [unchecked, checked] = &USUAL;
        let slot = if verify { checked } else { unchecked };
        let new = || Arc::new(UpstreamTls::new(verify, "", Vec::new(), None));
        Arc::clone(slot.get_or_init(new))
    }

    /// Settings with authorities of their own, and a certificate to show, from the rows of both.
    ///
    /// # Errors
    /// [`ConfigError`] naming what cannot be read.
    pub fn read(verify: bool, authorities: &[&Value], identity: Option<&Value>) -> Result<Self, ConfigError> {
        let mut roots = Vec::new();
        let mut id = String::new();
        for row in authorities {
            let pem = text(row, "cert").unwrap_or_default();
            let certificate = CertificateDer::from_pem_slice(pem.as_bytes())
                .map_err(|e| ConfigError::new("ca_certificates", e.to_string()))?;
            roots.push(certificate);
            id.push_str(&format!("{:?} ", (text(row, "id"), text(row, "cert_digest"))));
        }
        let identity = match identity {
            Some(row) => {
                // A certificate that is replaced keeps its id.
                id.push_str(&format!(
                    "{:?}",
                    (text(row, "id"), row.get("updated_at").and_then(Value::as_i64))
                ));
                let read = certified(row).map_err(|error| ConfigError {
                    field: format!("client_certificate.{}", error.field),
                    ..error
                });
                Some(Arc::new(read?))
            }
            None => None,
        };
        Ok(UpstreamTls::new(verify, &id, roots, identity))
    }

    fn new(
        verify: bool,
        id: &str,
        roots: Vec<CertificateDer<'static>>,
        identity: Option<Arc<CertifiedKey>>,
    ) -> Self {
        UpstreamTls {
            id: format!("{verify} {id}").into(),
            verify,
            roots,
            identity,
            configs: Default::default(),
        }
    }

    /// Makes a TLS connection to the server of this name.
    ///
    /// # Errors
    /// The library's words when the name is no host name or the handshake fails.
    pub async fn connect(
        &self,
        name: &str,
        http2: bool,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, String> {
        let [http1, h2] = &self.configs;
        let config = if http2 { h2 } else { http1 }
            .get_or_init(|| self.config(http2).map(Arc::new).map_err(|e| e.to_string()))
            .clone()?;
        let name = ServerName::try_from(name.to_owned()).map_err(|e| e.to_string())?;
        TlsConnector::from(config).connect(name, stream).await.map_err(|e| e.to_string())
    }

    fn config(&self, http2: bool) -> Result<ClientConfig, Box<dyn std::error::Error>> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = if !self.verify {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unchecked(provider)))
        } else if self.roots.is_empty() {
            builder.with_webpki_roots()
        } else {
            let mut roots = RootCertStore::empty();
            for root in &self.roots {
                roots.add(root.clone())?;
            }
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
            builder.with_webpki_verifier(verifier)
        };
        let mut config = match &self.identity {
            Some(identity) => {
                let identity = SingleCertAndKey::from(Arc::clone(identity));
                builder.with_client_cert_resolver(Arc::new(identity))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        Ok(config)
    }
}

impl PartialEq for UpstreamTls {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for UpstreamTls {}

impl Hash for UpstreamTls {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UpstreamTls({})", self.id)
    }
}

/// Takes any certificate, as Kong does for services without `tls_verify`. Signatures of the handshake are checked.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
