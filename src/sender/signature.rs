//! The algorithms: is one of these signatures made by one of these secrets?

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use ed25519_dalek::{Signature, VerifyingKey};
use hmac::{EagerHash, Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use super::descriptor::{Algorithm, Descriptor, Encoding, KeyEncoding, KeyFormat};
use crate::secret::{self, Secret};

/// The place of the secret that made one of the signatures. Each secret is tried against each signature, whatever the
/// others gave.
pub(super) fn find(
    descriptor: &Descriptor,
    secrets: &[Secret],
    signatures: &[&str],
    message: &[Cow<'_, [u8]>],
) -> Option<usize> {
    let mut found = None;
    for (place, secret) in secrets.iter().enumerate() {
        let Some(key) = key(descriptor, secret) else { continue };
        for signature in signatures {
            if matches(descriptor, &key, signature, message) {
                found = Some(place);
            }
        }
    }
    found
}

/// The key that a secret's text stands for; `None` if it hasn't the form that is asked for, or is empty.
pub(super) fn key(descriptor: &Descriptor, secret: &Secret) -> Option<Vec<u8>> {
    let KeyFormat { encoding, prefix } = &descriptor.secret;
    let text = secret.expose().strip_prefix(prefix.as_str())?;
    let key = match encoding {
        KeyEncoding::Raw => text.as_bytes().to_vec(),
        KeyEncoding::Hex => base16ct::mixed::decode_vec(text).ok()?,
        KeyEncoding::Base64 => BASE64_STANDARD_NO_PAD.decode(text.trim_end_matches('=')).ok()?,
    };
    let fits = match descriptor.algorithm {
        Algorithm::Ed25519 => verifying_key(&key).is_some(),
        _ => !key.is_empty(),
    };
    fits.then_some(key)
}

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

/// HMAC of a message in parts, so that a large body isn't copied.
fn mac<D: EagerHash>(key: &[u8], message: &[Cow<'_, [u8]>]) -> Vec<u8> {
    // A key of any length will do (RFC 2104, section 3).
    let Ok(mut mac) = <Hmac<D> as KeyInit>::new_from_slice(key) else { return Vec::new() };
    message.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

/// All of it is public, so its time may tell what it will.
fn ed25519(key: &[u8], given: &[u8], message: &[Cow<'_, [u8]>]) -> bool {
    let (Some(key), Ok(signature)) = (verifying_key(key), Signature::from_slice(given)) else { return false };
    key.verify_strict(&message.concat(), &signature).is_ok()
}

/// Not a key of small order, for which one signature fits many messages.
fn verifying_key(key: &[u8]) -> Option<VerifyingKey> {
    let key = VerifyingKey::from_bytes(key.try_into().ok()?).ok()?;
    (!key.is_weak()).then_some(key)
}
