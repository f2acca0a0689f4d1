//! Headers that the proxy itself sets, takes away or passes on.

use super::context::Identity;
use http::header::{HeaderMap, HeaderName, HeaderValue};

const CONSUMER_ID: HeaderName = HeaderName::from_static("x-consumer-id");
const CONSUMER_CUSTOM_ID: HeaderName = HeaderName::from_static("x-consumer-custom-id");
const CONSUMER_USERNAME: HeaderName = HeaderName::from_static("x-consumer-username");
const CREDENTIAL_IDENTIFIER: HeaderName = HeaderName::from_static("x-credential-identifier");
const ANONYMOUS: HeaderName = HeaderName::from_static("x-anonymous-consumer");

/// Tells the upstream who the client is, and takes away what the client itself may have claimed.
pub fn set_identity(headers: &mut HeaderMap, identity: &Identity) {
    let consumer = identity.consumer.as_deref();
    let mut set = |name: HeaderName, text: Option<&str>| match text.map(HeaderValue::from_str) {
        Some(Ok(value)) => drop(headers.insert(name, value)),
        _ => drop(headers.remove(name)),
    };
    set(CONSUMER_ID, consumer.map(|c| &*c.id));
    set(CONSUMER_CUSTOM_ID, consumer.and_then(|c| c.custom_id.as_deref()));
    set(CONSUMER_USERNAME, consumer.and_then(|c| c.username.as_deref()));
    set(CREDENTIAL_IDENTIFIER, identity.credential.as_deref().map(|c| &*c.id));
    set(ANONYMOUS, identity.credential.is_none().then_some("true"));
}
