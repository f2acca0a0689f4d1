//! `hmac-auth`: clients sign parts of the request.

use super::auth::{Common, Refusal, challenge, decode_base64};
use super::{ConfigError, Entry, Failure, Flow, Instance, Plugin};
use crate::gateway::proxy::{BodyError, Context, Credential};
use crate::value::Secret;
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use http::HeaderValue;
use http::header::{AUTHORIZATION, PROXY_AUTHORIZATION};
use regex::Regex;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

/// The plugin's line in the table.
pub const ENTRY: Entry = Entry { name: "hmac-auth", priority: 1030, build };

const NOT_VERIFIED: &str = "HMAC signature cannot be verified";
const NO_MATCH: &str = "HMAC signature does not match";
const NO_DATE: &str =
    "HMAC signature cannot be verified, a valid date or x-date header is required for HMAC Authentication";
/// What a client writes.
const FORM: &str = r#"[Hh]mac\s*username="(.+)",\s*algorithm="(.+)",\s*headers="(.+)",\s*signature="(.+)""#;
/// The largest body whose digest is checked, in bytes.
const LARGEST_BODY: usize = 32 * 1024 * 1024;

struct HmacAuth {
    common: Common,
    hide: bool,
    clock_skew: Duration,
    validate_body: bool,
    enforced: Vec<Box<str>>,
    algorithms: Vec<Box<str>>,
    challenge: Option<HeaderValue>,
}

/// What an `Authorization` header says.
struct Signature {
    username: String,
    algorithm: String,
    headers: Vec<String>,
    signature: String,
}

fn build(instance: &Instance<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
    let skew = instance.number("clock_skew").unwrap_or(300.0);
    Ok(Arc::new(HmacAuth {
        common: Common::new(instance),
        hide: instance.flag("hide_credentials"),
        clock_skew: Duration::try_from_secs_f64(skew)
            .map_err(|_| ConfigError::new("clock_skew", "it is no duration"))?,
        validate_body: instance.flag("validate_request_body"),
        enforced: instance.texts("enforce_headers"),
        algorithms: instance.texts("algorithms"),
        challenge: challenge("hmac", instance.text("realm")),
    }))
}

#[async_trait]
impl Plugin for HmacAuth {
    async fn access(&self, context: &mut Context) -> Result<Flow, Failure> {
        if self.common.is_done(context) {
            return Ok(Flow::Continue);
        }
        let mut found = self.authenticate(context);
        if found.is_ok() && self.validate_body && !is_body_whole(context).await? {
            found = Err(NO_MATCH);
        }
        let found = found.map_err(|message| Refusal::unauthorized(message, &self.challenge));
        self.common.conclude(context, found)
    }
}

impl HmacAuth {
    fn authenticate(&self, context: &mut Context) -> Result<Arc<Credential>, &'static str> {
        let headers = &context.inbound.headers;
        if !headers.contains_key(AUTHORIZATION) && !headers.contains_key(PROXY_AUTHORIZATION) {
            return Err("Unauthorized");
        }
        if !["x-date", "date"].iter().any(|name| self.is_recent(headers.get(*name))) {
            return Err(NO_DATE);
        }
        let read = |name| headers.get(name).and_then(|value| value.to_str().ok()).and_then(Signature::parse);
        let (signature, shown) = match read(PROXY_AUTHORIZATION) {
            Some(signature) => (Some(signature), PROXY_AUTHORIZATION),
            None => (read(AUTHORIZATION), AUTHORIZATION),
        };
        if self.hide {
            context.outbound.headers.remove(shown);
        }
        let signature = signature.ok_or(NOT_VERIFIED)?;
        let signed = |name: &str| signature.headers.iter().any(|header| header == name);
        if !self.enforced.iter().all(|name| signed(name))
            || !self.algorithms.iter().any(|known| **known == *signature.algorithm)
        {
            return Err(NOT_VERIFIED);
        }
        let credential =
            context.snapshot.credential("hmacauth_credentials", &signature.username).ok_or(NOT_VERIFIED)?;
        let secret = credential.field("secret").map(Secret::expose_text).unwrap_or_default();
        let given = decode_base64(&signature.signature).unwrap_or_default();
        let text = signature.signed_text(context);
        if !is_signed(&signature.algorithm, secret.as_bytes(), text.as_bytes(), &given) {
            return Err(NO_MATCH);
        }
        Ok(Arc::clone(credential))
    }

    fn is_recent(&self, date: Option<&HeaderValue>) -> bool {
        let Some(date) =
            date.and_then(|date| date.to_str().ok()).and_then(|date| httpdate::parse_http_date(date).ok())
        else {
            return false;
        };
        let now = SystemTime::now();
        let apart = now.duration_since(date).or_else(|_| date.duration_since(now)).unwrap_or_default();
        apart <= self.clock_skew
    }
}

impl Signature {
    /// Reads `hmac username="...", algorithm="...", headers="...", signature="..."`, in this order.
    fn parse(text: &str) -> Option<Self> {
        static PATTERN: OnceLock<Option<Regex>> = OnceLock::new();
        let pattern = PATTERN.get_or_init(|| Regex::new(FORM).ok()).as_ref()?;
        let (_, [username, algorithm, headers, signature]) = pattern.captures(text)?.extract();
        Some(Signature {
            username: username.to_owned(),
            algorithm: algorithm.to_owned(),
            headers: headers.split(' ').map(str::to_owned).collect(),
            signature: signature.to_owned(),
        })
    }

    /// The text that the client signed: a line for each of the headers it lists.
    fn signed_text(&self, context: &Context) -> String {
        let inbound = &context.inbound;
        let target = inbound.uri.path_and_query().map_or("/", |target| target.as_str());
        let line = |name: &String| match (inbound.headers.get(name), name.as_str()) {
            (Some(value), _) => format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())),
            (None, "@request-target") => {
                format!("{name}: {} {target}", inbound.method.as_str().to_lowercase())
            }
            (None, "request-line") => format!("{} {target} {:?}", inbound.method, inbound.version),
            (None, _) => format!("{name}:"),
        };
        self.headers.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

fn is_signed(algorithm: &str, secret: &[u8], text: &[u8], signature: &[u8]) -> bool {
    fn check<M: Mac + KeyInit>(secret: &[u8], text: &[u8], signature: &[u8]) -> bool {
        match <M as KeyInit>::new_from_slice(secret) {
            Ok(mac) => mac.chain_update(text).verify_slice(signature).is_ok(),
            Err(_) => false,
        }
    }
    match algorithm {
        "hmac-sha1" => check::<Hmac<Sha1>>(secret, text, signature),
        "hmac-sha224" => check::<Hmac<sha2::Sha224>>(secret, text, signature),
        "hmac-sha256" => check::<Hmac<Sha256>>(secret, text, signature),
        "hmac-sha384" => check::<Hmac<Sha384>>(secret, text, signature),
        "hmac-sha512" => check::<Hmac<Sha512>>(secret, text, signature),
        _ => false,
    }
}

/// Whether the body is the one that the `Digest` header tells of.
async fn is_body_whole(context: &mut Context) -> Result<bool, Failure> {
    let data = match context.request_body(LARGEST_BODY).await {
        Ok(data) => data,
        Err(BodyError::TooLarge { .. }) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    Ok(match context.inbound.headers.get("digest") {
        Some(digest) => {
            digest.as_bytes() == format!("SHA-256={}", STANDARD.encode(Sha256::digest(&data))).as_bytes()
        }
        None => data.is_empty(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_read_in_one_order_only() {
        let text = r#"Hmac username="amy", algorithm="hmac-sha1",headers="date x-b", signature="c2ln""#;
        let read = Signature::parse(text);
        assert_eq!(read.map(|s| (s.username, s.headers.len())), Some(("amy".to_owned(), 2)));
        let turned = r#"hmac algorithm="hmac-sha1", username="amy", headers="date", signature="c2ln""#;
        assert!(Signature::parse(turned).is_none());
    }
}
