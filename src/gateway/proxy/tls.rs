//! TLS towards upstreams. What does not live here: certificates of the proxy's own listeners.

use hyper_rustls::ConfigBuilderExt;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use std::sync::{Arc, OnceLock};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// TLS settings for upstreams, each made when it is first needed.
#[derive(Default)]
pub struct ClientTls {
    configs: [OnceLock<Result<Arc<ClientConfig>, rustls::Error>>; 4],
}

impl ClientTls {
    /// Makes a TLS connection to the server of this name.
    ///
    /// # Errors
    /// The library's words when the name is no host name or the handshake fails.
    pub async fn connect(
        &self,
        name: &str,
        verify: bool,
        http2: bool,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, String> {
        let slot = usize::from(verify) + 2 * usize::from(http2);
        let config = match self.configs.get(slot).map(|c| c.get_or_init(|| config(verify, http2))) {
            Some(Ok(config)) => Arc::clone(config),
            Some(Err(error)) => return Err(error.to_string()),
            None => return Err("no TLS settings".to_owned()),
        };
        let name = ServerName::try_from(name.to_owned()).map_err(|e| e.to_string())?;
        TlsConnector::from(config).connect(name, stream).await.map_err(|e| e.to_string())
    }
}

fn config(verify: bool, http2: bool) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let mut config = if verify {
        builder.with_webpki_roots().with_no_client_auth()
    } else {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Unchecked(provider)))
            .with_no_client_auth()
    };
    config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    Ok(Arc::new(config))
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
