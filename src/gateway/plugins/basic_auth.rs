//! `basic-auth`: clients show a user name and a password.

use super::auth::{Common, Refusal, after_scheme, challenge, decode_base64};
use super::{ConfigError, Entry, Failure, Flow, Instance, Plugin};
use crate::gateway::proxy::{Context, Credential};
use crate::value::Secret;
use async_trait::async_trait;
use data_encoding::HEXLOWER;
use http::HeaderValue;
use http::header::{AUTHORIZATION, HeaderName, PROXY_AUTHORIZATION};
use sha1::{Digest, Sha1};
use std::sync::Arc;

/// The plugin's line in the table.
pub const ENTRY: Entry = Entry { name: "basic-auth", priority: 1100, build };

struct BasicAuth {
    common: Common,
    hide: bool,
    challenge: Option<HeaderValue>,
}

fn build(instance: &Instance<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
    Ok(Arc::new(BasicAuth {
        common: Common::new(instance),
        hide: instance.flag("hide_credentials"),
        challenge: challenge("Basic", Some(instance.text("realm").unwrap_or("service"))),
    }))
}

#[async_trait]
impl Plugin for BasicAuth {
    async fn access(&self, context: &mut Context) -> Result<Flow, Failure> {
        if self.common.is_done(context) {
            return Ok(Flow::Continue);
        }
        let found =
            self.authenticate(context).ok_or_else(|| Refusal::unauthorized("Unauthorized", &self.challenge));
        self.common.conclude(context, found)
    }
}

impl BasicAuth {
    fn authenticate(&self, context: &mut Context) -> Option<Arc<Credential>> {
        let mut given = None;
        for header in [PROXY_AUTHORIZATION, AUTHORIZATION] {
            given = self.given(context, header);
            if given.as_ref().is_some_and(|(credential, _)| credential.is_some()) {
                break;
            }
        }
        let (credential, password) = given?;
        let credential = credential?;
        let expected = credential.field("password").map(Secret::expose_text)?;
        (digest(&password, &credential.consumer.id) == expected).then_some(credential)
    }

    /// The credential of the user that a header names, and the password that it gives.
    fn given(&self, context: &mut Context, header: HeaderName) -> Option<(Option<Arc<Credential>>, String)> {
        let shown = context.inbound.headers.get(&header)?;
        if self.hide {
            context.outbound.headers.remove(&header);
        }
        let encoded = after_scheme(shown.to_str().ok()?, ['B', 'b'], "asic")?.trim();
        let decoded = String::from_utf8(decode_base64(encoded)?).ok()?;
        let (user, password) = decoded.split_once(':')?;
        if user.is_empty() {
            return None;
        }
        let credential = context.snapshot.credential("basicauth_credentials", user).map(Arc::clone);
        Some((credential, password.to_owned()))
    }
}

/// How the store keeps passwords.
fn digest(password: &str, consumer: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(password);
    hash.update(consumer);
    HEXLOWER.encode(&hash.finalize())
}
