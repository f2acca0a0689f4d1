//! What the authentication plugins have in common: anonymous consumers, refusals, and telling the upstream who it is.

use super::{Failure, Flow, Instance};
use crate::gateway::proxy::{Context, Credential};
use base64::Engine;
use base64::alphabet::{Alphabet, STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, StatusCode};
use serde_json::Value as Json;
use std::sync::Arc;

/// Why a request is not authenticated.
#[derive(Debug)]
pub struct Refusal {
    /// 401, as a rule.
    pub status: StatusCode,
    /// Kong's words.
    pub message: &'static str,
    /// The `WWW-Authenticate` header.
    pub challenge: Option<HeaderValue>,
    /// A JSON body in place of the message.
    pub body: Option<Json>,
}

impl Refusal {
    /// A 401 with these words.
    pub fn unauthorized(message: &'static str, challenge: &Option<HeaderValue>) -> Self {
        Refusal { status: StatusCode::UNAUTHORIZED, message, challenge: challenge.clone(), body: None }
    }
}

/// The fields that all authentication plugins have.
pub struct Common {
    anonymous: Option<Box<str>>,
    run_on_preflight: bool,
}

impl Common {
    /// Reads `anonymous` and `run_on_preflight`.
    pub fn new(instance: &Instance<'_>) -> Self {
        Common {
            anonymous: instance.text("anonymous").map(Into::into),
            run_on_preflight: instance.get("run_on_preflight").is_none_or(|v| v.as_bool() != Some(false)),
        }
    }

    /// Whether there is nothing to do: a preflight request, or another plugin that already knows the client.
    pub fn is_done(&self, context: &Context) -> bool {
        (!self.run_on_preflight && context.inbound.method == http::Method::OPTIONS)
            || (self.anonymous.is_some() && context.identity.credential.is_some())
    }

    /// Goes on as the consumer that was found, as the anonymous one, or not at all.
    ///
    /// # Errors
    /// When the refusal cannot be written.
    pub fn conclude(
        &self,
        context: &mut Context,
        found: Result<Arc<Credential>, Refusal>,
    ) -> Result<Flow, Failure> {
        let refusal = match found {
            Ok(credential) => {
                context.authenticate(Some(Arc::clone(&credential.consumer)), Some(credential));
                return Ok(Flow::Continue);
            }
            Err(refusal) => refusal,
        };
        let Some(anonymous) = &self.anonymous else {
            let mut answer = match &refusal.body {
                Some(body) => context.json(refusal.status, body)?,
                None => context.error(refusal.status, refusal.message),
            };
            if let Some(challenge) = refusal.challenge {
                answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            }
            return Ok(Flow::Respond(answer));
        };
        match context.snapshot.consumer(anonymous).map(Arc::clone) {
            Some(consumer) => {
                context.authenticate(Some(consumer), None);
                Ok(Flow::Continue)
            }
            None => {
                let message = format!("anonymous consumer {anonymous} is configured but doesn't exist");
                Ok(Flow::Respond(context.error(StatusCode::INTERNAL_SERVER_ERROR, &message)))
            }
        }
    }
}

/// What follows a scheme's name (given without its first letter, which may be large or small) anywhere in a header.
pub fn after_scheme<'a>(text: &'a str, initials: [char; 2], rest: &str) -> Option<&'a str> {
    text.match_indices(rest).find_map(|(at, name)| {
        let before = text.get(..at)?;
        initials
            .iter()
            .any(|initial| before.ends_with(*initial))
            .then(|| text.get(at + name.len()..))
            .flatten()
    })
}

/// Decodes Base64 as leniently as Kong's server: padding may be missing, and whatever follows it does not count.
pub fn decode_base64(text: &str) -> Option<Vec<u8>> {
    decode(&STANDARD, text)
}

/// The same for Base64 that is fit for URLs.
pub fn decode_base64url(text: &str) -> Option<Vec<u8>> {
    decode(&URL_SAFE, text)
}

fn decode(alphabet: &Alphabet, text: &str) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone);
    GeneralPurpose::new(alphabet, config).decode(text.split('=').next().unwrap_or_default()).ok()
}

/// A challenge such as `Key realm="..."`; without a realm only its scheme.
pub fn challenge(scheme: &str, realm: Option<&str>) -> Option<HeaderValue> {
    let text = match realm {
        Some(realm) => format!("{scheme} realm=\"{realm}\""),
        None => scheme.to_owned(),
    };
    HeaderValue::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_found_as_kong_finds_them() {
        let basic = |text| after_scheme(text, ['B', 'b'], "asic");
        assert_eq!(basic("Basic YTpi"), Some(" YTpi"));
        assert_eq!(basic("x basicYTpi"), Some("YTpi"));
        assert_eq!(basic("BASIC YTpi"), None);
        for text in ["YTpi", "YWE6Yg==", "YWE6Yg", "YWE6Yh", "YTpi=and more"] {
            assert!(decode_base64(text).is_some(), "{text}");
        }
        assert_eq!(decode_base64("!!!"), None);
    }
}
