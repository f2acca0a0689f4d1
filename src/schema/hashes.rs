//! What a gateway stores in place of a secret that it only has to recognise.
//!
//! Salted by an id (passwords of basic-auth): [`Field::hashed`](super::Field::hashed). With a salt of its own (client
//! secrets of OAuth 2): here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use pbkdf2::{pbkdf2_hmac, pbkdf2_hmac_array};
use sha2::Sha512;

/// How Kong makes them.
const ROUNDS: u32 = 10_000;
const LENGTH: usize = 32;
/// What the text of such a hash begins with.
const MARK: &str = "$pbkdf2-sha512$";
/// More than a gateway would ask for: a stored text must not keep a comparison busy.
const MOST: u32 = 1_000_000;

/// The PBKDF2 hash of a secret as Kong stores it: `$pbkdf2-sha512$i=10000,l=32$SALT$HASH`, both in base64 without padding.
pub fn pbkdf2_text(secret: &str, salt: &[u8]) -> String {
    let hash = pbkdf2_hmac_array::<Sha512, LENGTH>(secret.as_bytes(), salt, ROUNDS);
    let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
    format!("{MARK}i={ROUNDS},l={LENGTH}${salt}${hash}")
}

/// Whether a stored text is the PBKDF2 hash of a secret.
pub fn is_pbkdf2_of(secret: &str, stored: &str) -> bool {
    let verified = || {
        let mut parts = stored.strip_prefix(MARK)?.split('$');
        let (rounds, _) = parts.next()?.strip_prefix("i=")?.split_once(',')?;
        let rounds: u32 = rounds.parse().ok().filter(|rounds| (1..=MOST).contains(rounds))?;
        let (salt, hash) = (parts.next()?, parts.next()?);
        let (salt, hash) = (STANDARD_NO_PAD.decode(salt).ok()?, STANDARD_NO_PAD.decode(hash).ok()?);
        let mut own = vec![0; hash.len().min(64)];
        pbkdf2_hmac::<Sha512>(secret.as_bytes(), &salt, rounds, &mut own);
        Some(!hash.is_empty() && own == hash)
    };
    verified().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_known_again_and_no_other_text_is_one() {
        let stored = pbkdf2_text("hush", b"0123456789abcdef");
        assert!(is_pbkdf2_of("hush", &stored));
        assert!(!is_pbkdf2_of("hush ", &stored));
        assert!(!is_pbkdf2_of("hush", "hush"));
        for broken in
            ["$pbkdf2-sha512$i=0,l=32$MDE$", "$pbkdf2-sha512$i=4000000000,l=32$MDE$MDE", "$pbkdf2-sha512$"]
        {
            assert!(!is_pbkdf2_of("hush", broken), "{broken}");
        }
    }
}
