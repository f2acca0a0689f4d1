//! Checks on certificates and keys.

use super::{Outcome, demand};
use crate::schema::check::is_vault_reference;
use crate::value::{Map, Value};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};

const BEGIN_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

/// A text that is read as DER, told as OpenSSL tells it.
fn der_fault(text: &str) -> &'static str {
    let bytes = text.as_bytes();
    match bytes {
        [] | [_] => {
            "error:680007B:asn1 encoding routines:ASN1_get_object:header too long:crypto/asn1/asn1_lib.c:105:"
        }
        [_, length, rest @ ..] if usize::from(*length) > rest.len() => {
            "error:680008E:asn1 encoding routines:asn1_d2i_read_bio:not enough data:crypto/asn1/a_d2i_fp.c:218:"
        }
        _ => "error:68000A8:asn1 encoding routines:asn1_check_tlen:wrong tag:crypto/asn1/tasn_dec.c:1194:",
    }
}

fn certificate_der(text: &str) -> Option<CertificateDer<'static>> {
    let der = CertificateDer::from_pem_slice(text.as_bytes()).ok()?;
    X509Certificate::from_der(&der).is_ok().then_some(der)
}

/// A certificate in PEM.
pub fn certificate(text: &str) -> Outcome {
    demand(certificate_der(text).is_some(), || format!("invalid certificate: x509.new: {}", der_fault(text)))
}

/// What a key's text holds.
enum Key {
    /// A private key, with its public key where it can be told.
    Private(Option<Vec<u8>>),
    /// A public key (SubjectPublicKeyInfo).
    Public(Vec<u8>),
}

fn pem_key(text: &str) -> Option<Key> {
    if let Ok(public) = SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes()) {
        return Some(Key::Public(public.as_ref().to_vec()));
    }
    let private = PrivateKeyDer::from_pem_slice(text.as_bytes()).ok()?;
    // Kinds of keys that cannot be computed with are taken as they are.
    let key = any_supported_type(&private).ok();
    Some(Key::Private(key.and_then(|key| key.public_key().map(|public| public.as_ref().to_vec()))))
}

const BAD_KEY: &str = "invalid key: pkey.new:load_key: error:1E08010C:DECODER routines:\
                       OSSL_DECODER_from_bio:unsupported:crypto/encode_decode/decoder_lib.c:103:";

/// A key in PEM.
pub fn private_key(text: &str) -> Outcome {
    demand(pem_key(text).is_some(), || BAD_KEY.to_owned())
}

/// A public or private key, in PEM or as a JWK.
pub fn key_of_any_format(text: &str) -> Outcome {
    let json = || serde_json::from_str(text).is_ok_and(|jwk| is_asymmetric_jwk(&jwk));
    demand(pem_key(text).is_some() || json(), || "invalid key")
}

fn public_key_of(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(parsed.public_key().raw.to_vec())
}

fn text<'a>(members: &'a Map, field: &str) -> Option<&'a str> {
    members.get(field).and_then(Value::exposed_str)
}

fn matches(members: &Map, certificate: &str, key: &str) -> bool {
    let certificate = text(members, certificate).and_then(certificate_der);
    let key = text(members, key).and_then(pem_key);
    match (certificate.as_ref().and_then(public_key_of), key) {
        (Some(public), Some(Key::Private(Some(own)) | Key::Public(own))) => public == own,
        _ => true,
    }
}

pub fn certificate_matches_key(members: &Map) -> Outcome {
    demand(matches(members, "cert", "key"), || "certificate does not match key")
}

pub fn alternative_certificate_matches_key(members: &Map) -> Outcome {
    demand(matches(members, "cert_alt", "key_alt"), || "alternative certificate does not match key")
}

/// The two certificates serve clients of different abilities.
pub fn certificates_differ_in_type(members: &Map) -> Outcome {
    let algorithm = |field: &str| {
        let der = text(members, field).and_then(certificate_der)?;
        let (_, parsed) = X509Certificate::from_der(&der).ok()?;
        Some(parsed.public_key().algorithm.algorithm.to_id_string())
    };
    let same = match (algorithm("cert"), algorithm("cert_alt")) {
        (Some(a), Some(b)) => a == b,
        _ => false,
    };
    demand(!same, || {
        "certificate and alternative certificate need to have different type (e.g. RSA and ECDSA), \
         the provided certificates were both of the same type"
            .to_owned()
    })
}

/// One certificate of an authority that is still valid.
pub fn ca_certificate(members: &Map) -> Outcome {
    let cert = text(members, "cert").unwrap_or_default();
    demand(cert.matches(BEGIN_CERTIFICATE).count() <= 1, || "please submit only one certificate at a time")?;
    let Some(der) = certificate_der(cert) else { return Ok(()) };
    let Ok((_, parsed)) = X509Certificate::from_der(&der) else { return Ok(()) };
    demand(
        parsed.validity().time_to_expiration().is_some() || parsed.validity().is_valid(),
        || "certificate expired, \"Not After\" time is in the past",
    )?;
    demand(
        parsed.is_ca(),
        || "certificate does not appear to be a CA because it is missing the \"CA\" basic constraint",
    )
}

/// Whether a JWK is a key pair or a public key with all of its numbers.
fn is_asymmetric_jwk(jwk: &serde_json::Value) -> bool {
    let member = |name: &str| jwk.get(name).and_then(serde_json::Value::as_str);
    let number = |name: &&str| member(name).is_some_and(|text| URL_SAFE_NO_PAD.decode(text).is_ok());
    let numbers: &[&str] = match member("kty") {
        Some("RSA") => &["n", "e"],
        Some("EC") if member("crv").is_some() => &["x", "y"],
        Some("OKP") if member("crv").is_some() => &["x"],
        _ => return false,
    };
    numbers.iter().all(number)
}

/// A key's JWK: JSON, of the same key id, and an asymmetric key.
pub fn jwk(members: &Map) -> Outcome {
    let Some(value) = members.get("jwk").filter(|jwk| !is_vault_reference(jwk)) else { return Ok(()) };
    let Some(jwk) = value.exposed_str() else { return Ok(()) };
    let json: serde_json::Value =
        serde_json::from_str(jwk).map_err(|_| "could not json decode jwk string".to_owned())?;
    let kid = json.get("kid").and_then(serde_json::Value::as_str);
    demand(kid == text(members, "kid"), || "kid in jwk.kid must be equal to keys.kid")?;
    demand(is_asymmetric_jwk(&json), || "could not load JWK, likely not a valid key")
}

/// A key pair in PEM, either half of which may be left out.
pub fn pem_keys(pem: &Value) -> Outcome {
    let half = |name: &str| pem.get(name).filter(|half| !half.is_null());
    if [half("public_key"), half("private_key")].into_iter().flatten().any(is_vault_reference) {
        return Ok(());
    }
    let read = |name: &str| half(name).map(|half| half.exposed_str().and_then(pem_key));
    let public = match read("public_key") {
        Some(Some(Key::Public(public))) => Some(public),
        Some(_) => return Err("could not load public key".into()),
        None => None,
    };
    let private = match read("private_key") {
        Some(Some(Key::Private(public))) => public,
        Some(_) => return Err("could not load private key".into()),
        None => None,
    };
    match (public, private) {
        (Some(public), Some(own)) => demand(public == own, || "public key does not match private key"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pair() -> (String, String) {
        let key = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).unwrap();
        (key.cert.pem(), key.signing_key.serialize_pem())
    }

    fn members(json: serde_json::Value) -> Map {
        Value::from(json).as_object().cloned().unwrap()
    }

    #[test]
    fn a_certificate_belongs_to_its_key() {
        let ((cert, key), (_, other)) = (pair(), pair());
        assert!(certificate(&cert).is_ok() && private_key(&key).is_ok());
        assert!(certificate_matches_key(&members(json!({"cert": cert, "key": key}))).is_ok());
        let fault = certificate_matches_key(&members(json!({"cert": cert, "key": other}))).unwrap_err();
        assert_eq!(fault, "certificate does not match key");
        assert!(certificate("x").is_err() && private_key("y").is_err());
    }

    #[test]
    fn an_authority_says_that_it_is_one() {
        let (cert, _) = pair();
        let fault = ca_certificate(&members(json!({"cert": cert}))).unwrap_err();
        assert!(fault.contains("does not appear to be a CA"), "{fault}");
    }

    #[test]
    fn a_jwk_has_the_key_id_of_its_entity() {
        let jwk_of = |jwk: serde_json::Value| members(json!({"kid": "k1", "jwk": jwk.to_string()}));
        assert!(jwk(&jwk_of(json!({"kid": "k1", "kty": "RSA", "n": "AQAB", "e": "AQAB"}))).is_ok());
        assert!(
            jwk(&jwk_of(json!({"kid": "k1", "kty": "oct", "k": "AQAB"}))).unwrap_err().contains("load JWK")
        );
        assert!(jwk(&jwk_of(json!({"kid": "k2", "kty": "RSA"}))).unwrap_err().contains("must be equal"));
    }
}
