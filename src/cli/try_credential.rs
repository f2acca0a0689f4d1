//! What `foredeck try` shows to a route that lets only known clients in: a consumer's key, or a token that is signed
//! with a consumer's secret.

use super::try_file::text_at;
use crate::value::{Origin, Secret};
use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value as Json};
use std::time::{SystemTime, UNIX_EPOCH};

/// How long a token is valid, in seconds.
const VALID: u64 = 600;

/// A credential of a chat.
pub(super) struct Shown {
    /// The header that carries it.
    pub(super) header: String,
    /// The header's value.
    pub(super) value: Secret,
    /// The value with a word in the place of the credential.
    pattern: &'static str,
    /// What the user is told about it.
    pub(super) told: Option<&'static str>,
}

impl Shown {
    /// The option of `curl` for it, without the credential itself.
    pub(super) fn on_a_command_line(&self) -> String {
        format!(" -H '{}: {}'", self.header, self.pattern)
    }
}

/// Credentials that can be shown.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Key,
    Token,
}

/// The kind that a plugin asks for, if it is one that can be shown.
pub(super) fn kind(gate: &Json) -> Option<Kind> {
    match text_at(gate, "/name")? {
        "key-auth" => Some(Kind::Key),
        "jwt" => Some(Kind::Token),
        _ => None,
    }
}

impl Kind {
    /// Where the control plane lists them.
    pub(super) fn collection(self) -> &'static str {
        match self {
            Kind::Key => "key-auths",
            Kind::Token => "jwts",
        }
    }

    /// The first of these rows that can be shown to this plugin, as it asks for it.
    pub(super) fn show(self, gate: &Json, rows: &[Json]) -> Option<Shown> {
        match self {
            Kind::Key => Some(Shown {
                header: text_at(gate, "/config/key_names/0")?.to_owned(),
                value: secret(rows.iter().find_map(|row| text_at(row, "/key"))?.to_owned()),
                pattern: "KEY",
                told: None,
            }),
            Kind::Token => Some(Shown {
                header: text_at(gate, "/config/header_names/0").unwrap_or("authorization").to_owned(),
                value: secret(format!("Bearer {}", rows.iter().find_map(|row| token(gate, row))?)),
                pattern: "Bearer TOKEN",
                told: Some(
                    "It shows a token of ten minutes, signed with the secret of a consumer's jwt credential.",
                ),
            }),
        }
    }
}

fn secret(text: String) -> Secret {
    Secret::text(text, Origin::ControlPlane)
}

/// A token that `jwt` takes for this credential. `None` where only the other side has the key to sign it with.
fn token(gate: &Json, row: &Json) -> Option<String> {
    let algorithm: Algorithm = text_at(row, "/algorithm").unwrap_or("HS256").parse().ok()?;
    if !matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512) {
        return None;
    }
    let written = text_at(row, "/secret")?;
    let key = match gate.pointer("/config/secret_is_base64") {
        Some(Json::Bool(true)) => EncodingKey::from_secret(&decode(written)?),
        _ => EncodingKey::from_secret(written.as_bytes()),
    };
    let most = gate.pointer("/config/maximum_expiration").and_then(Json::as_f64).unwrap_or_default();
    let valid = if most >= 1.0 { VALID.min(most as u64) } else { VALID };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    let mut claims = Map::new();
    claims.insert("nbf".into(), now.into());
    claims.insert("exp".into(), now.saturating_add(valid).into());
    let names_key = text_at(gate, "/config/key_claim_name").unwrap_or("iss");
    claims.insert(names_key.into(), text_at(row, "/key")?.into());
    jsonwebtoken::encode(&Header::new(algorithm), &claims, &key).ok()
}

/// Base64 in either alphabet, padded or not.
fn decode(text: &str) -> Option<Vec<u8>> {
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabets = [URL_SAFE, STANDARD];
    alphabets.iter().find_map(|alphabet| GeneralPurpose::new(alphabet, lenient).decode(text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claims(gate: &Json, row: &Json) -> Option<Json> {
        let token = token(gate, row)?;
        let body = token.split('.').nth(1).and_then(decode)?;
        serde_json::from_slice(&body).ok()
    }

    #[test]
    fn a_token_names_the_key_in_the_plugins_claim_and_ends_in_time() {
        let gate = json!({"config": {"key_claim_name": "kid", "maximum_expiration": 60}});
        let claims = claims(&gate, &json!({"key": "app", "secret": "hush"})).unwrap_or_default();
        assert_eq!(claims["kid"], "app");
        assert_eq!(
            claims["exp"].as_u64().zip(claims["nbf"].as_u64()).map(|(end, start)| end - start),
            Some(60)
        );
    }

    #[test]
    fn no_token_is_signed_without_a_key_to_sign_with() {
        let gate = json!({"config": {}});
        assert!(token(&gate, &json!({"key": "app", "algorithm": "RS256", "secret": "x"})).is_none());
        assert!(token(&gate, &json!({"key": "app", "algorithm": "HS256"})).is_none());
        let encoded = json!({"config": {"secret_is_base64": true}});
        assert!(token(&encoded, &json!({"key": "app", "secret": "*"})).is_none());
        assert!(token(&encoded, &json!({"key": "app", "secret": "aHVzaA"})).is_some());
    }
}
