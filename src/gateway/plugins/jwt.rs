//! `jwt`: clients show a signed token that names a key of a consumer.

use super::auth::{Common, Refusal, after_scheme, challenge, decode_base64url};
use super::{ConfigError, Entry, Failure, Flow, Instance, Plugin, arguments};
use crate::gateway::proxy::{self, Context, Credential};
use crate::value::Secret;
use async_trait::async_trait;
use http::HeaderValue;
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use p521::pkcs8::DecodePublicKey;
use serde_json::{Map, Value as Json, json};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The plugin's line in the table.
pub const ENTRY: Entry = Entry { name: "jwt", priority: 1450, build };

struct Jwt {
    common: Common,
    uri_params: Vec<Box<str>>,
    cookies: Vec<Box<str>>,
    headers: Vec<Box<str>>,
    key_claim: Box<str>,
    secret_is_base64: bool,
    claims: Vec<Box<str>>,
    maximum_expiration: f64,
    missing: Option<HeaderValue>,
    invalid: Option<HeaderValue>,
}

struct Token<'a> {
    header: Map<String, Json>,
    claims: Map<String, Json>,
    signed: &'a str,
    signature: &'a str,
}

fn build(instance: &Instance<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
    let realm = instance.text("realm");
    let invalid = match realm {
        Some(realm) => format!("Bearer realm=\"{realm}\", error=\"invalid_token\""),
        None => "Bearer error=\"invalid_token\"".to_owned(),
    };
    Ok(Arc::new(Jwt {
        common: Common::new(instance),
        uri_params: instance.texts("uri_param_names"),
        cookies: instance.texts("cookie_names"),
        headers: instance.texts("header_names"),
        key_claim: instance.text("key_claim_name").unwrap_or("iss").into(),
        secret_is_base64: instance.flag("secret_is_base64"),
        claims: instance.texts("claims_to_verify"),
        maximum_expiration: instance.number("maximum_expiration").unwrap_or(0.0),
        missing: challenge("Bearer", realm),
        invalid: HeaderValue::from_str(&invalid).ok(),
    }))
}

#[async_trait]
impl Plugin for Jwt {
    async fn access(&self, context: &mut Context) -> Result<Flow, Failure> {
        if self.common.is_done(context) {
            return Ok(Flow::Continue);
        }
        let found = self.authenticate(context)?;
        self.common.conclude(context, found)
    }
}

impl Jwt {
    fn refuse(&self, message: impl Into<Cow<'static, str>>) -> Refusal {
        self.refuse_with(json!({ "message": message.into() }))
    }

    fn refuse_with(&self, body: Json) -> Refusal {
        Refusal { body: Some(body), ..Refusal::unauthorized("", &self.invalid) }
    }

    fn authenticate(&self, context: &Context) -> Result<Result<Arc<Credential>, Refusal>, Failure> {
        let tokens = self.tokens(context);
        let token = match tokens.as_slice() {
            [] => {
                let body = Some(json!({"message": "Unauthorized"}));
                return Ok(Err(Refusal { body, ..Refusal::unauthorized("", &self.missing) }));
            }
            [None] => return Ok(Err(self.refuse("Unrecognizable token"))),
            [Some(token)] => token,
            _ => return Ok(Err(self.refuse("Multiple tokens provided"))),
        };
        let token = match Token::parse(token) {
            Ok(token) => token,
            Err(problem) => return Ok(Err(self.refuse(format!("Bad token; {problem}")))),
        };
        let claim = &*self.key_claim;
        let key = token.claims.get(claim).or_else(|| token.header.get(claim)).filter(|key| !key.is_null());
        let key = match key {
            None => return Ok(Err(self.refuse(format!("No mandatory '{claim}' in claims")))),
            Some(Json::String(key)) => key.clone(),
            Some(other) => other.to_string(),
        };
        if key.is_empty() {
            return Ok(Err(self.refuse(format!("Invalid '{claim}' in claims"))));
        }
        let Some(credential) = context.snapshot.credential("jwt_secrets", &key) else {
            return Ok(Err(self.refuse(format!("No credentials found for given '{claim}'"))));
        };
        if let Some(refusal) = self.verify(&token, credential)? {
            return Ok(Err(refusal));
        }
        Ok(match self.check_claims(&token.claims) {
            Some(problems) => Err(self.refuse_with(Json::Object(problems))),
            None => Ok(Arc::clone(credential)),
        })
    }

    fn verify(&self, token: &Token<'_>, credential: &Credential) -> Result<Option<Refusal>, Failure> {
        let text = |field: &str| credential.field(field).map(Secret::expose_text);
        let algorithm = text("algorithm").unwrap_or("HS256");
        if token.header.get("alg").and_then(Json::as_str) != Some(algorithm) {
            return Ok(Some(self.refuse("Invalid algorithm")));
        }
        let key = if algorithm.starts_with("HS") {
            match text("secret") {
                Some(secret) if self.secret_is_base64 => {
                    decode_base64url(secret).map(|secret| DecodingKey::from_secret(&secret))
                }
                Some(secret) => Some(DecodingKey::from_secret(secret.as_bytes())),
                None => None,
            }
        } else if algorithm == "ES512" {
            let valid = text("rsa_public_key").and_then(|pem| verify_es512(token, pem));
            return Ok(match valid {
                None => Some(self.refuse("Invalid key/secret")),
                Some(valid) => (!valid).then(|| self.refuse("Invalid signature")),
            });
        } else {
            text("rsa_public_key").and_then(|pem| public_key(algorithm, pem))
        };
        let Some(key) = key else { return Ok(Some(self.refuse("Invalid key/secret"))) };
        let algorithm: Algorithm = algorithm
            .parse()
            .map_err(|_| Failure::new(format!("tokens signed by {algorithm} cannot be verified here")))?;
        let valid =
            crypto::verify(token.signature, token.signed.as_bytes(), &key, algorithm).unwrap_or(false);
        Ok((!valid).then(|| self.refuse("Invalid signature")))
    }

    fn check_claims(&self, claims: &Map<String, Json>) -> Option<Map<String, Json>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        let mut problems = Map::new();
        for name in &self.claims {
            let problem = match claims.get(&**name).and_then(Json::as_f64) {
                None => Some("must be a number"),
                Some(time) if &**name == "exp" && time <= now => Some("token expired"),
                Some(time) if &**name == "nbf" && time > now => Some("token not valid yet"),
                Some(_) => None,
            };
            if let Some(problem) = problem {
                problems.insert(name.to_string(), problem.into());
            }
        }
        if problems.is_empty() && self.maximum_expiration > 0.0 {
            let expires = claims.get("exp").and_then(Json::as_f64);
            if expires.is_none_or(|expires| expires - now > self.maximum_expiration) {
                problems.insert("exp".into(), "exceeds maximum allowed expiration".into());
            }
        }
        (!problems.is_empty()).then_some(problems)
    }

    /// Every different token that the request shows; an argument of the query without a value is one without a text.
    fn tokens(&self, context: &Context) -> Vec<Option<String>> {
        let mut tokens: Vec<Option<String>> = Vec::new();
        let mut add = |token: Option<&str>| {
            if token != Some("") && !tokens.iter().any(|known| known.as_deref() == token) {
                tokens.push(token.map(str::to_owned));
            }
        };
        let arguments = arguments::parse(context.inbound.uri.query().unwrap_or_default());
        for name in &self.uri_params {
            let named = arguments.iter().filter(|(known, _)| **known == **name);
            named.for_each(|(_, token)| add(token.as_deref()));
        }
        for name in &self.cookies {
            proxy::cookie(&context.inbound.headers, name).iter().for_each(|token| add(Some(token)));
        }
        for name in &self.headers {
            let value = context.inbound.headers.get(&**name).and_then(|value| value.to_str().ok());
            let bearer = value.and_then(|value| after_scheme(value, ['B', 'b'], "earer"));
            if let Some(token) = bearer.filter(|token| token.starts_with(char::is_whitespace)) {
                add(Some(token.trim_start()));
            }
        }
        tokens
    }
}

impl<'a> Token<'a> {
    fn parse(text: &'a str) -> Result<Self, &'static str> {
        let object = |part: &str| -> Option<Map<String, Json>> {
            serde_json::from_slice(&decode_base64url(part)?).ok()
        };
        let (header, rest) = text.split_once('.').ok_or("invalid JSON")?;
        let (claims, signature) = rest.split_once('.').ok_or("invalid JSON")?;
        let signed = text.get(..header.len() + 1 + claims.len()).unwrap_or_default();
        let header = object(header).ok_or("invalid JSON")?;
        let claims = object(claims).ok_or("invalid JSON")?;
        match header.get("alg").and_then(Json::as_str) {
            Some(alg) if is_known(alg) => {}
            _ => return Err("invalid alg"),
        }
        decode_base64url(signature).ok_or("invalid signature")?;
        Ok(Token { header, claims, signed, signature: signature.trim_end_matches('=') })
    }
}

fn is_known(algorithm: &str) -> bool {
    let family = algorithm.get(..2).unwrap_or_default();
    let size = algorithm.get(2..).unwrap_or_default();
    algorithm == "EdDSA"
        || (["HS", "RS", "ES", "PS"].contains(&family) && ["256", "384", "512"].contains(&size))
}

fn public_key(algorithm: &str, pem: &str) -> Option<DecodingKey> {
    let pem = pem.as_bytes();
    match algorithm.get(..2)? {
        "RS" | "PS" => DecodingKey::from_rsa_pem(pem).ok(),
        "ES" => DecodingKey::from_ec_pem(pem).ok(),
        _ => DecodingKey::from_ed_pem(pem).ok(),
    }
}

/// ECDSA on the curve P-521, which the library for tokens does not know. `None` when the key is none for it.
fn verify_es512(token: &Token<'_>, pem: &str) -> Option<bool> {
    use p521::ecdsa::signature::Verifier;
    let key = p521::PublicKey::from_public_key_pem(pem).ok()?;
    let point = p521::elliptic_curve::sec1::ToEncodedPoint::to_encoded_point(&key, false);
    let key = p521::ecdsa::VerifyingKey::from_sec1_bytes(point.as_bytes()).ok()?;
    let signature = decode_base64url(token.signature)?;
    let valid = p521::ecdsa::Signature::from_slice(&signature)
        .is_ok_and(|signature| key.verify(token.signed.as_bytes(), &signature).is_ok());
    Some(valid)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use p521::ecdsa::signature::Signer;
    use p521::pkcs8::{EncodePublicKey, LineEnding};

    #[test]
    fn tokens_have_three_parts() {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let (header, claims) = (part(r#"{"alg":"HS256"}"#), part(r#"{"iss":"a"}"#));
        for (token, problem) in [
            (format!("{header}.{claims}.c2ln"), None),
            (format!("{header}.{claims}."), None),
            (format!("{header}.{claims}"), Some("invalid JSON")),
            (format!("{header}.{claims}.c2ln.more"), Some("invalid signature")),
            (format!("{}.{claims}.c2ln", part(r#"{"alg":"none"}"#)), Some("invalid alg")),
        ] {
            assert_eq!(Token::parse(&token).err(), problem, "{token}");
        }
    }

    #[test]
    fn es512_tokens_are_verified() {
        let mut secret = [7; 66];
        secret[0] = 0;
        let secret = p521::SecretKey::from_slice(&secret).unwrap();
        let pem = secret.public_key().to_public_key_pem(LineEnding::LF).unwrap();
        let key = p521::ecdsa::SigningKey::from_slice(&secret.to_bytes()).unwrap();
        let signed = "eyJhbGciOiJFUzUxMiJ9.eyJpc3MiOiJhIn0";
        let signature: p521::ecdsa::Signature = key.sign(signed.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(signature.to_bytes());
        let verify = |signed: &str| {
            let token = Token { header: Map::new(), claims: Map::new(), signed, signature: &signature };
            verify_es512(&token, &pem)
        };
        assert_eq!((verify(signed), verify("changed")), (Some(true), Some(false)));
    }
}
