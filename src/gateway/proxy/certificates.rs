//! The certificates of the proxy's own TLS listeners, by server name.

use super::live::Proxy;
use super::views::{reference, text};
use crate::gateway::plugins::ConfigError;
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

/// The certificates of a plane by server name, wildcards included.
#[derive(Default)]
pub struct Certificates(HashMap<Box<str>, Arc<CertifiedKey>>);

impl Certificates {
    /// Reads certificates and the names they are for. Those that cannot be used are given back with their ids.
    pub fn new<'a>(
        certificates: impl Iterator<Item = &'a Arc<Value>>,
        names: impl Iterator<Item = &'a Arc<Value>>,
    ) -> (Self, Vec<(Box<str>, ConfigError)>) {
        let (mut usable, mut problems) = (HashMap::new(), Vec::new());
        for row in certificates {
            let Some(id) = text(row, "id") else { continue };
            match certified(row) {
                Ok(certificate) => drop(usable.insert(id, Arc::new(certificate))),
                Err(error) => problems.push((id, error)),
            }
        }
        let known = names.filter_map(|row| {
            let certificate = usable.get(reference(row, "certificate")?)?;
            Some((text(row, "name")?, Arc::clone(certificate)))
        });
        (Certificates(known.collect()), problems)
    }

    /// The certificate for a name: the name's own, that of a wildcard, or that of `*`.
    fn find(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let wildcards = || {
            let ((_, rest), (front, _)) = (name.split_once('.')?, name.rsplit_once('.')?);
            self.0.get(&*format!("*.{rest}")).or_else(|| self.0.get(&*format!("{front}.*")))
        };
        self.0.get(name).or_else(wildcards).or_else(|| self.0.get("*")).map(Arc::clone)
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
