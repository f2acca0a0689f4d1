//! The certificates of the proxy's own TLS listeners, by server name.

use super::live::Proxy;
use super::rows::Rows;
use super::views::{target, text};
use crate::diagnostics::{Diagnostic, codes};
use crate::gateway::plugins::ConfigError;
use crate::gateway::store::StoreError;
use crate::value::Value;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// The kinds that this is made from.
pub(super) const KINDS: &[&str] = &["certificates", "snis"];

/// The certificates of a plane by server name, wildcards included.
#[derive(Default)]
pub(super) struct Certificates {
    by_name: HashMap<Box<str>, Arc<CertifiedKey>>,
    /// Certificates that cannot be used.
    pub problems: Vec<Diagnostic>,
}

impl Certificates {
    /// Reads certificates and the names they are for.
    pub fn read(rows: Rows<'_>) -> Result<Self, StoreError> {
        let (mut usable, mut certificates) = (HashMap::new(), Certificates::default());
        rows.values("certificates", |id, row, _| match certified(row) {
            Ok(certificate) => drop(usable.insert(id, Arc::new(certificate))),
            Err(error) => {
                let message = format!("the certificate {id} cannot be used: {error}");
                certificates
                    .problems
                    .push(Diagnostic::error(codes::INVALID_VALUE, message).path(&error.field));
            }
        })?;
        rows.values("snis", |_, row, _| {
            let certificate = target(row, "certificate").and_then(|id| usable.get(&id));
            if let (Some(certificate), Some(name)) = (certificate, text(row, "name")) {
                certificates.by_name.insert(name, Arc::clone(certificate));
            }
        })?;
        Ok(certificates)
    }

    /// The certificate for a name: the name's own, that of a wildcard, or that of `*`.
    fn find(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let wildcards = || {
            let ((_, rest), (front, _)) = (name.split_once('.')?, name.rsplit_once('.')?);
            self.by_name.get(&*format!("*.{rest}")).or_else(|| self.by_name.get(&*format!("{front}.*")))
        };
        self.by_name.get(name).or_else(wildcards).or_else(|| self.by_name.get("*")).map(Arc::clone)
    }
}

/// Reads a certificate with its chain and key.
///
/// # Errors
/// [`ConfigError`] naming the field that cannot be read.
pub fn certified(row: &Value) -> Result<CertifiedKey, ConfigError> {
    let pem = |field| text(row, field).unwrap_or_default();
    let chain = CertificateDer::pem_slice_iter(pem("cert").as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| ConfigError::new("cert", e.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(pem("key").as_bytes())
        .map_err(|_| ConfigError::new("key", "it is no private key"))?;
    let key = ring::sign::any_supported_type(&key)
        .map_err(|_| ConfigError::new("key", "keys of this sort are not used here"))?;
    Ok(CertifiedKey::new(chain, key))
}

/// Chooses by the configuration of the moment; unknown names get a certificate that nobody signed.
struct Resolver {
    proxy: Arc<Proxy>,
    fallback: Arc<CertifiedKey>,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().unwrap_or_default();
        let configuration = self.proxy.last_configuration();
        let found = configuration.planes.iter().find_map(|plane| plane.certificates.find(name));
        Some(found.unwrap_or_else(|| Arc::clone(&self.fallback)))
    }
}

/// The settings of a TLS listener: HTTP/2 and 1.1, certificates from the configuration.
///
/// # Errors
/// When no certificate can be made for unknown names.
pub fn server_config(proxy: &Arc<Proxy>) -> Result<ServerConfig, String> {
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).map_err(|e| e.to_string())?;
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).map_err(str::to_owned)?;
    let key = ring::sign::any_supported_type(&key).map_err(|e| e.to_string())?;
    let fallback = Arc::new(CertifiedKey::new(vec![own.cert.der().clone()], key));
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?;
    let resolver = Arc::new(Resolver { proxy: Arc::clone(proxy), fallback });
    let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
