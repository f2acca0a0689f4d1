//! TLS: who is trusted, which certificate the client shows, which name the server's must carry.

use super::Error;
use crate::value::Secret;
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::header::HeaderValue;
use reqwest::{ClientBuilder, Url};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::sync::Arc;
use std::time::Duration;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::{ASN1Time, FromDer};

/// TLS settings. Certificates and keys are PEM texts.
#[derive(Clone, Default)]
pub struct Tls {
    /// Authorities trusted in place of the system's.
    pub authorities: Option<Vec<u8>>,
    /// The client's certificate chain.
    pub certificate: Option<Vec<u8>>,
    /// The client's key.
    pub key: Option<Secret>,
    /// The name that the server's certificate must carry, in place of the address's host.
    pub server_name: Option<String>,
    /// Accept any certificate.
    pub skip_verify: bool,
}

fn unusable(what: &str, error: &dyn std::fmt::Display) -> Error {
    Error::Settings(format!("{what}: {error}"))
}

/// Applies the settings. A server name of one's own takes the host's place in the address, with the host's addresses
/// behind it, because both SNI and verification follow the address; the `Host` header to send is given back then.
pub(super) async fn apply(
    mut builder: ClientBuilder,
    base: &mut Url,
    tls: &Tls,
) -> Result<(ClientBuilder, Option<HeaderValue>), Error> {
    if base.scheme() == "http" {
        // Loading the system's authorities takes longer than a whole diff and none is needed.
        return Ok((builder.tls_certs_only([]), None));
    }
    let own = own_certificate(tls)?;
    let trusted = tls.authorities.as_deref().map(authorities).transpose()?;
    match trusted.filter(|_| !tls.skip_verify) {
        Some(trusted) => builder = builder.tls_backend_preconfigured(config(trusted, own)?),
        None => {
            builder = builder.tls_danger_accept_invalid_certs(tls.skip_verify);
            if let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key) {
                let pem = [key.expose_text().as_bytes(), b"\n", certificate].concat();
                let identity = reqwest::Identity::from_pem(&pem).map_err(|_| unreadable_own())?;
                builder = builder.identity(identity);
            }
        }
    }
    let mut host_header = None;
    if let Some(name) = tls.server_name.as_deref().filter(|name| Some(*name) != base.host_str()) {
        // A proxy would look the server's name up in place of the address's host.
        if base.as_str().parse().is_ok_and(|uri| Matcher::from_system().intercept(&uri).is_some()) {
            let proxied = "a TLS server name of its own cannot be asked for through a proxy";
            return Err(Error::Settings(format!(
                "{proxied}: name {base}'s host in NO_PROXY, or leave it out"
            )));
        }
        let port = base.port_or_known_default().unwrap_or(443);
        let host = base.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let addresses: Vec<_> = tokio::net::lookup_host((host.as_str(), port))
            .await
            .map_err(|error| Error::Unreachable { address: base.to_string(), reason: error.to_string() })?
            .collect();
        let authority = base.port().map_or(host.clone(), |port| format!("{host}:{port}"));
        host_header = HeaderValue::from_str(&authority).ok();
        base.set_host(Some(name)).map_err(|error| unusable("the TLS server name cannot be used", &error))?;
        builder = builder.resolve_to_addrs(name, &addresses).no_proxy();
    }
    Ok((builder, host_header))
}

type Own = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn unreadable_own() -> Error {
    Error::Settings("the TLS client certificate and key cannot be read".into())
}

/// The client's certificate and key.
fn own_certificate(tls: &Tls) -> Result<Option<Own>, Error> {
    match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
            let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(unreadable_own)?;
            let key = PrivateKeyDer::from_pem_slice(key.expose_text().as_bytes());
            Ok(Some((chain, key.map_err(|_| unreadable_own())?)))
        }
        (None, None) => Ok(None),
        _ => Err(Error::Settings("a TLS client certificate and its key must be given together".into())),
    }
}

fn authorities(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.map_err(|error| unusable("the CA certificate cannot be read", &error))?;
    if certificates.is_empty() {
        return Err(Error::Settings("the CA certificate holds no PEM certificate".into()));
    }
    Ok(certificates)
}

/// The settings of a client that trusts these certificates only.
fn config(trusted: Vec<CertificateDer<'static>>, own: Option<Own>) -> Result<ClientConfig, Error> {
    let unusable =
        |error: rustls::Error| Error::Settings(reason(&error).unwrap_or_else(|| error.to_string()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let trust = Arc::new(Trust::new(trusted, provider.clone())?);
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(trust);
    let mut config = match own {
        Some((chain, key)) => config.with_client_auth_cert(chain, key).map_err(unusable)?,
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// A fault of the client's own settings in words; `None` for any other.
pub(super) fn reason(fault: &rustls::Error) -> Option<String> {
    matches!(fault, rustls::Error::InconsistentKeys(_))
        .then(|| "the TLS client certificate and key do not belong together".into())
}

/// Trusts what authorities have signed, and a certificate that is named itself, whether or not it may sign others: people
/// name a self-signed certificate as its own authority.
#[derive(Debug)]
struct Trust {
    named: Vec<CertificateDer<'static>>,
    authorities: Arc<WebPkiServerVerifier>,
}

impl Trust {
    fn new(named: Vec<CertificateDer<'static>>, provider: Arc<CryptoProvider>) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in &named {
            let added = roots.add(certificate.clone());
            added.map_err(|error| unusable("the CA certificate cannot be used", &error))?;
        }
        let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let authorities =
            authorities.map_err(|error| unusable("the CA certificate cannot be used", &error))?;
        Ok(Trust { named, authorities })
    }
}

/// Fails when a certificate is not valid at this time.
fn check_times(certificate: &CertificateDer<'_>, time: UnixTime) -> Result<(), CertificateError> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let seconds = |at: ASN1Time| Duration::from_secs(u64::try_from(at.timestamp()).unwrap_or_default());
    let not_before = UnixTime::since_unix_epoch(seconds(parsed.validity().not_before));
    let not_after = UnixTime::since_unix_epoch(seconds(parsed.validity().not_after));
    if time.as_secs() < not_before.as_secs() {
        return Err(CertificateError::NotValidYetContext { time, not_before });
    }
    if time.as_secs() > not_after.as_secs() {
        return Err(CertificateError::ExpiredContext { time, not_after });
    }
    Ok(())
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.named.iter().any(|named| named == end_entity) {
            check_times(end_entity, now)?;
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        self.authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}
