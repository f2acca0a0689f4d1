//! What the authentication plugins have in common: anonymous consumers, refusals, and telling the upstream who it is.

use super::{Failure, Flow, Instance};
use crate::gateway::proxy::{Context, Credential};
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

/// A challenge such as `Key realm="..."`; without a realm only its scheme.
pub fn challenge(scheme: &str, realm: Option<&str>) -> Option<HeaderValue> {
    let text = match realm {
        Some(realm) => format!("{scheme} realm=\"{realm}\""),
        None => scheme.to_owned(),
    };
    HeaderValue::from_str(&text).ok()
}
