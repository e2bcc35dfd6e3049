//! The signature algorithms, and the keys in secrets.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use ed25519_dalek::{Signature, VerifyingKey};
use hmac::{EagerHash, Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use super::descriptor::{Algorithm, Descriptor, Encoding, KeyEncoding, KeyFormat};
use crate::secret::{self, Secret};

impl Descriptor {
    /// Returns whether a secret contains a usable key in the form of [`Descriptor::key_format`].
    pub fn accepts_secret(&self, secret: &Secret) -> bool {
        key(self, secret).is_some()
    }
}

/// Returns the index of the secret that made one of the signatures. Tries each secret with each signature, even after a
/// match: the time does not depend on which of them match.
pub(super) fn matching_secret(
    descriptor: &Descriptor,
    secrets: &[Secret],
    signatures: &[&str],
    message: &[Cow<'_, [u8]>],
) -> Option<usize> {
    let mut matching = None;
    for (index, secret) in secrets.iter().enumerate() {
        let Some(key) = key(descriptor, secret) else { continue };
        for signature in signatures {
            if matches(descriptor, &key, signature, message) {
                matching = Some(index);
            }
        }
    }
    matching
}

/// Decodes the key in a secret. `None` if the secret does not have the descriptor's form, or the key is empty or weak.
fn key(descriptor: &Descriptor, secret: &Secret) -> Option<Vec<u8>> {
    let KeyFormat { encoding, prefix } = &descriptor.key_format;
    let text = secret.expose().strip_prefix(prefix.as_str())?;
    let key = match encoding {
        KeyEncoding::Raw => text.as_bytes().to_vec(),
        KeyEncoding::Hex => base16ct::mixed::decode_vec(text).ok()?,
        KeyEncoding::Base64 => BASE64_STANDARD_NO_PAD.decode(text.trim_end_matches('=')).ok()?,
    };
    let is_usable = match descriptor.algorithm {
        Algorithm::Ed25519 => verifying_key(&key).is_some(),
        _ => !key.is_empty(),
    };
    is_usable.then_some(key)
}

/// Returns whether this key made the signature of the message.
fn matches(descriptor: &Descriptor, key: &[u8], signature: &str, message: &[Cow<'_, [u8]>]) -> bool {
    if descriptor.algorithm == Algorithm::Token {
        return secret::equal(key, signature.as_bytes());
    }
    let given = match descriptor.encoding {
        Encoding::Hex => base16ct::mixed::decode_vec(signature).ok(),
        Encoding::Base64 => BASE64_STANDARD.decode(signature).ok(),
    };
    let Some(given) = given else { return false };
    match descriptor.algorithm {
        Algorithm::HmacSha1 => secret::equal(&mac::<Sha1>(key, message), &given),
        Algorithm::HmacSha256 => secret::equal(&mac::<Sha256>(key, message), &given),
        Algorithm::HmacSha512 => secret::equal(&mac::<Sha512>(key, message), &given),
        Algorithm::Ed25519 => ed25519(key, &given, message),
        Algorithm::Token => false,
    }
}

/// Computes the HMAC of a message in parts, without copying a large body.
fn mac<D: EagerHash>(key: &[u8], message: &[Cow<'_, [u8]>]) -> Vec<u8> {
    // Never fails: a key may have any length (RFC 2104, section 3).
    let Ok(mut mac) = <Hmac<D> as KeyInit>::new_from_slice(key) else { return Vec::new() };
    message.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

/// Verifies an Ed25519 signature. All inputs are public, so this need not run in constant time.
fn ed25519(key: &[u8], given: &[u8], message: &[Cow<'_, [u8]>]) -> bool {
    let (Some(key), Ok(signature)) = (verifying_key(key), Signature::from_slice(given)) else { return false };
    key.verify_strict(&message.concat(), &signature).is_ok()
}

/// Parses a public key. `None` also for a key of small order, since one signature under it is valid for many messages.
fn verifying_key(key: &[u8]) -> Option<VerifyingKey> {
    let key = VerifyingKey::from_bytes(key.try_into().ok()?).ok()?;
    (!key.is_weak()).then_some(key)
}
