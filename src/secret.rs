//! Tokens and signing secrets. They are redacted in `Debug`, and compared in constant time, by this module only.
//!
//! The `secrecy` crate would replace only the `Debug` impl: the wrapper with its methods would remain, and zeroing on
//! drop adds little in an instance whose memory the host discards after each request.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// A token or a signing secret.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Wraps the text of a secret.
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Whether `given` is this secret. Compares in constant time.
    pub fn matches(&self, given: &str) -> bool {
        equal(self.0.as_bytes(), given.as_bytes())
    }

    /// HMAC-SHA256 (RFC 2104) of a message, with the text as the key: 32 bytes.
    pub fn mac(&self, message: &[u8]) -> Vec<u8> {
        // Keys of any length are valid (RFC 2104, section 3), so this never fails.
        let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(self.0.as_bytes()) else { return Vec::new() };
        mac.update(message);
        mac.finalize().into_bytes().to_vec()
    }

    /// The text, for a header that contains it or a key that is derived from it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Compares values that an attacker may guess, such as tokens, MACs and digests, in time that depends on their lengths
/// only. Timing may reveal that the lengths differ, as with most such functions: the length of a MAC is public, and that
/// of a token that can't be guessed helps nobody. To hide it, each request would hash each token of each source.
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
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
    fn secret_matches_only_its_text() {
        let secret = Secret::new("s3cret");
        assert!(secret.matches("s3cret"));
        for other in ["", "s3cre", "s3cret ", "S3cret", "s3crets"] {
            assert!(!secret.matches(other), "{other:?}");
        }
    }

    #[test]
    fn debug_is_redacted() {
        assert_eq!(format!("{:?}", Some(Secret::new("s3cret"))), "Some(Secret(…))");
    }
}
