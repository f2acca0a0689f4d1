//! Services with their TLS settings, and upstreams with their targets, as requests are sent to them.
//!
//! What does not live here: which target takes a request (`balancer`), and TLS itself (`tls`).

use super::balancer::Upstream;
use super::rows::{Rows, Text, digest, parse};
use super::tls::UpstreamTls;
use super::views::{self, Service};
use crate::diagnostics::{Diagnostic, codes};
use crate::gateway::plugins::ConfigError;
use crate::gateway::store::StoreError;
use crate::value::Value;
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// The kinds that services are made from, besides upstreams.
pub(super) const SERVICE_KINDS: &[&str] = &["services", "certificates", "ca_certificates"];
/// The kinds that upstreams are made from.
pub(super) const UPSTREAM_KINDS: &[&str] = &["upstreams", "targets"];

/// The services of a plane by their ids; disabled ones are `None`.
#[derive(Default)]
pub(super) struct Services {
    pub by_id: HashMap<Uuid, Option<Arc<Service>>>,
    /// Services that cannot be reached as they are configured.
    pub problems: Vec<Diagnostic>,
}

impl Services {
    pub fn read(rows: Rows<'_>, upstreams: &Upstreams) -> Result<Self, StoreError> {
        let mut services = Services::default();
        let (authorities, identities) = (by_id(rows, "ca_certificates")?, by_id(rows, "certificates")?);
        rows.values("services", |id, row, text| {
            if row.get("enabled").and_then(Value::as_bool) == Some(false) {
                services.by_id.insert(id, None);
                return;
            }
            let mut service = views::service(row, Text::new(text));
            match tls(row, &service, upstreams, &authorities, &identities) {
                Ok(tls) => service.tls = tls.map(Arc::new),
                Err(error) => {
                    let name = service.name.as_ref().unwrap_or(&service.id);
                    let message =
                        format!("the service {name} cannot be reached by TLS as configured: {error}");
                    services
                        .problems
                        .push(Diagnostic::error(codes::INVALID_VALUE, message).path(&error.field));
                }
            }
            services.by_id.insert(id, Some(Arc::new(service)));
        })?;
        services.by_id.shrink_to_fit();
        Ok(services)
    }
}

/// The TLS settings of a service, if it has some of its own; its upstream's certificate stands in for its own.
fn tls(
    row: &Value,
    service: &Service,
    upstreams: &Upstreams,
    authorities: &HashMap<Uuid, Value>,
    identities: &HashMap<Uuid, Value>,
) -> Result<Option<UpstreamTls>, ConfigError> {
    let upstream = upstreams.get(&service.host).and_then(|upstream| upstream.client_certificate);
    let identity = [views::target(row, "client_certificate"), upstream]
        .into_iter()
        .flatten()
        .find_map(|id| identities.get(&id));
    let listed = views::texts(row, "ca_certificates");
    let roots: Vec<&Value> =
        listed.iter().filter_map(|id| authorities.get(&Uuid::try_parse(id).ok()?)).collect();
    if identity.is_none() && roots.is_empty() {
        return Ok(None);
    }
    UpstreamTls::read(service.tls_verify.unwrap_or(false), &roots, identity).map(Some)
}

fn by_id(rows: Rows<'_>, kind: &str) -> Result<HashMap<Uuid, Value>, StoreError> {
    let mut known = HashMap::new();
    rows.values(kind, |id, row, _| drop(known.insert(id, row.clone())))?;
    Ok(known)
}

/// The upstreams of a plane by their names.
#[derive(Default)]
pub(super) struct Upstreams(HashMap<Box<str>, Arc<Upstream>>);

impl Upstreams {
    /// Reads upstreams; those of which no row has changed are taken over from `earlier`, with what is known of their
    /// targets.
    pub fn read(rows: Rows<'_>, earlier: Option<&Upstreams>) -> Result<Self, StoreError> {
        let mut targets: HashMap<Uuid, (Vec<_>, String)> = HashMap::new();
        rows.values("targets", |_, row, text| {
            if let Some(upstream) = views::target(row, "upstream") {
                let (made, texts) = targets.entry(upstream).or_default();
                made.extend(super::balancer::Target::new(row));
                texts.push_str(text);
            }
        })?;
        let known: HashMap<Uuid, &Arc<Upstream>> =
            earlier.into_iter().flat_map(Upstreams::all).map(|upstream| (upstream.id, upstream)).collect();
        let mut upstreams = HashMap::new();
        rows.texts("upstreams", |id, text| {
            let (targets, mut texts) = targets.remove(&id).unwrap_or_default();
            texts.push_str(text);
            let digest = digest(&texts);
            let upstream = match known.get(&id).filter(|earlier| earlier.digest == digest) {
                Some(earlier) => Arc::clone(earlier),
                None => Arc::new(Upstream::new(&parse(text)?, targets, digest)),
            };
            upstreams.insert(upstream.name.clone(), upstream);
            Ok(())
        })?;
        Ok(Upstreams(upstreams))
    }

    /// The upstream of a name.
    pub fn get(&self, name: &str) -> Option<&Arc<Upstream>> {
        self.0.get(name)
    }

    /// Every upstream.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.0.values()
    }
}
