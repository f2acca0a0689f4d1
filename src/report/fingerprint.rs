//! Telling two secrets apart without showing them.

use crate::value::{Exposed, Secret, Value};
use data_encoding::HEXLOWER;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Gives secrets short fingerprints. The salt is made anew for every run and never shown, so that a fingerprint tells
/// that a secret changed and nothing else.
#[derive(Clone)]
pub struct Fingerprints {
    salt: [u8; 16],
}

impl Fingerprints {
    /// Fingerprints under a salt, which must be random.
    pub fn new(salt: [u8; 16]) -> Self {
        Fingerprints { salt }
    }

    /// Eight hexadecimal digits that differ when the secrets differ.
    pub fn of(&self, secret: &Secret) -> String {
        let text = serde_json::to_vec(&Exposed(&Value::Secret(secret.clone()))).unwrap_or_default();
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.salt) else { return String::new() };
        mac.update(&text);
        HEXLOWER.encode(mac.finalize().into_bytes().get(..4).unwrap_or_default())
    }

    /// A changed secret as reports show it: its origin and its fingerprint.
    pub fn show(&self, secret: &Secret) -> String {
        format!("{secret} #{}", self.of(secret))
    }
}
