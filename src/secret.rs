//! Tokens and signing secrets. They are compared here and nowhere else, and never shown.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A token or a signing secret.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Takes a secret's text.
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Is `given` this secret?
    pub fn matches(&self, given: &str) -> bool {
        equal(self.0.as_bytes(), given.as_bytes())
    }

    /// HMAC-SHA256 (RFC 2104) of a message, with the text as key.
    pub fn mac(&self, message: &[u8]) -> Vec<u8> {
        // A key of any length will do (RFC 2104, section 3).
        let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(self.0.as_bytes()) else { return Vec::new() };
        mac.update(message);
        mac.finalize().into_bytes().to_vec()
    }

    /// The text, for the header that carries it or the key that is made of it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// The one comparison of what an attacker may guess at: tokens, MACs, digests. Both sides are hashed first, so neither a
/// byte nor a length is told by the time it takes.
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    Sha256::digest(a).ct_eq(&Sha256::digest(b)).into()
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_text_matches() {
        let secret = Secret::new("s3cret");
        assert!(secret.matches("s3cret"));
        for other in ["", "s3cre", "s3cret ", "S3cret", "s3crets"] {
            assert!(!secret.matches(other), "{other}");
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        assert_eq!(format!("{:?}", Some(Secret::new("s3cret"))), "Some(Secret(…))");
    }
}
