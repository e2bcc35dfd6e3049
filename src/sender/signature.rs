//! The signature algorithms, and the keys in secrets.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use ed25519_dalek::{Signature, VerifyingKey};
use hmac::{EagerHash, Hmac, KeyInit, Mac};
use sha1::{Digest, Sha1};
use sha2::{Sha256, Sha384, Sha512};

use super::descriptor::{Algorithm, Descriptor, Encoding, KeyEncoding, KeyFormat};
use super::public_key::{PublicKey, PublicKeyError};
use crate::secret::{self, Secret};

/// The secrets and keys by which a request is verified.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    /// The secrets of the sender.
    pub secrets: &'a [Secret],
    /// The public keys that were fetched from the descriptor's [`keys`](Descriptor::keys).
    pub keys: &'a [PublicKey],
}

/// The reason why a secret has no key of the descriptor's form. Carries no part of the secret. Completes a sentence
/// that begins with "the secret".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The secret is empty, or has nothing after its prefix.
    #[error("is empty, or has nothing after its prefix")]
    Empty,
    /// The secret does not begin with the prefix.
    #[error("must begin with `{prefix}`, as the sender shows it")]
    Prefix {
        /// The prefix.
        prefix: String,
    },
    /// The secret begins with the prefix only if something before it is left out.
    #[error("must begin with `{prefix}`: leave out what is before it")]
    BeforePrefix {
        /// The prefix.
        prefix: String,
    },
    /// The secret has white space around it or within it, and none of its forms has any.
    #[error("contains white space")]
    WhiteSpace,
    /// The secret is not hexadecimal.
    #[error("must be hexadecimal")]
    Hex,
    /// The secret is not base64.
    #[error("must be base64{after}")]
    Base64 {
        /// Where the base64 begins, as a half-sentence; empty without a prefix.
        after: String,
    },
    /// The secret is not a public key for Ed25519, or a weak one.
    #[error("must be a public key for Ed25519, of 32 bytes")]
    Ed25519,
    /// The secret is not a public key.
    #[error("{0}")]
    PublicKey(#[from] PublicKeyError),
    /// The public key is for another algorithm than the descriptor's.
    #[error("is a public key for another algorithm than this sender's")]
    OtherAlgorithm,
    /// The text is not user and password.
    #[error("must be `user:password`")]
    Basic,
}

impl Descriptor {
    /// Returns whether a secret contains a usable key in the form of [`Descriptor::key_format`].
    pub fn accepts_secret(&self, secret: &Secret) -> bool {
        self.check_secret(secret).is_ok()
    }

    /// Checks that a secret contains a usable key in the form of [`Descriptor::key_format`].
    pub fn check_secret(&self, secret: &Secret) -> Result<(), SecretError> {
        keys(self, secret).map(|_| ())
    }
}

/// A key in the form that its algorithm takes.
#[derive(Debug)]
enum Key<'a> {
    Bytes(Vec<u8>),
    Public(Cow<'a, PublicKey>),
}

/// A piece of a signed message.
#[derive(Clone, Debug)]
pub(super) enum Piece<'a> {
    Bytes(Cow<'a, [u8]>),
    /// The bytes of the key.
    Secret,
}

/// Decodes the key in a secret, or the keys in a JSON Web Key Set.
fn keys<'a>(descriptor: &Descriptor, secret: &Secret) -> Result<Vec<Key<'a>>, SecretError> {
    if descriptor.algorithm.has_public_key() {
        let keys = PublicKey::parse(secret.expose())?;
        let keys: Vec<_> = keys.into_iter().filter(|key| suits(descriptor.algorithm, key)).collect();
        if keys.is_empty() {
            return Err(SecretError::OtherAlgorithm);
        }
        return Ok(keys.into_iter().map(|key| Key::Public(Cow::Owned(key))).collect());
    }
    let KeyFormat { encoding, prefix, alternatives } = &descriptor.key_format;
    let given = secret.expose();
    if given.is_empty() {
        return Err(SecretError::Empty);
    }
    let prefixes = || std::iter::once(prefix).chain(alternatives);
    let Some(text) = prefixes().find_map(|prefix| given.strip_prefix(prefix.as_str())) else {
        let prefix = prefix.clone();
        let is_within = given.contains(&prefix);
        return Err(if is_within { SecretError::BeforePrefix { prefix } } else { SecretError::Prefix { prefix } });
    };
    let key = match encoding {
        KeyEncoding::Raw => text.as_bytes().to_vec(),
        _ if text.contains(char::is_whitespace) => return Err(SecretError::WhiteSpace),
        KeyEncoding::Hex => base16ct::mixed::decode_vec(text).map_err(|_| SecretError::Hex)?,
        KeyEncoding::Base64 => BASE64_STANDARD_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| {
            let after = if prefix.is_empty() { String::new() } else { format!(" after `{prefix}`") };
            SecretError::Base64 { after }
        })?,
    };
    if key.is_empty() {
        return Err(SecretError::Empty);
    }
    match descriptor.algorithm {
        Algorithm::Ed25519 if verifying_key(&key).is_none() => Err(SecretError::Ed25519),
        Algorithm::Basic if !key.contains(&b':') => Err(SecretError::Basic),
        _ => Ok(vec![Key::Bytes(key)]),
    }
}

/// Returns whether a public key is one for this algorithm.
fn suits(algorithm: Algorithm, key: &PublicKey) -> bool {
    key.is_rsa() != matches!(algorithm, Algorithm::EcdsaP256 | Algorithm::JwtEs256)
}

/// A usable key, with its index: that of its secret, or, for a fetched key, the number of secrets plus its own.
#[derive(Debug)]
pub(super) struct UsableKey<'a> {
    index: usize,
    is_fetched: bool,
    key: Key<'a>,
}

/// The usable keys: those in secrets, and fetched ones, if the descriptor says where to fetch them.
pub(super) fn usable_keys<'a>(descriptor: &Descriptor, credentials: Credentials<'a>) -> Vec<UsableKey<'a>> {
    let secrets = credentials.secrets.iter().enumerate();
    let given = secrets.flat_map(|(index, secret)| {
        let keys = keys(descriptor, secret).unwrap_or_default().into_iter();
        keys.map(move |key| UsableKey { index, is_fetched: false, key })
    });
    let first = credentials.secrets.len();
    let fetched = credentials.keys.iter().enumerate().map(|(index, key)| (first.saturating_add(index), key));
    let fetched = fetched
        .filter(|(_, key)| descriptor.keys.is_some() && suits(descriptor.algorithm, key))
        .map(|(index, key)| UsableKey { index, is_fetched: true, key: Key::Public(Cow::Borrowed(key)) });
    given.chain(fetched).collect()
}

impl UsableKey<'_> {
    /// Returns whether a request that names a key may mean this one: it has that id, or, if it is given as a secret,
    /// none. A request that names no key means only those.
    pub(super) fn is_meant(&self, id: Option<&str>) -> bool {
        match (&self.key, id) {
            (Key::Bytes(_), _) => true,
            (Key::Public(key), Some(id)) => key.id().map_or(!self.is_fetched, |own| own == id),
            (Key::Public(_), None) => !self.is_fetched,
        }
    }
}

/// Returns the index of the key that made one of the signatures. Tries each key with each signature, even after a
/// match: the time does not depend on which of them match.
pub(super) fn matching_key<'k>(
    descriptor: &Descriptor,
    keys: impl IntoIterator<Item = &'k UsableKey<'k>>,
    signatures: &[&str],
    message: &[Piece<'_>],
) -> Option<usize> {
    let mut matching = None;
    for UsableKey { index, key, .. } in keys {
        for signature in signatures {
            if matches(descriptor, key, signature, message) {
                matching = Some(*index);
            }
        }
    }
    matching
}

/// Returns whether this key made the signature of the message.
fn matches(descriptor: &Descriptor, key: &Key<'_>, signature: &str, message: &[Piece<'_>]) -> bool {
    match (descriptor.algorithm, key) {
        (Algorithm::Token, Key::Bytes(key)) => return secret::equal(key, signature.as_bytes()),
        (Algorithm::Basic, Key::Bytes(key)) => {
            let given = BASE64_STANDARD_NO_PAD.decode(signature.trim_end_matches('='));
            return given.is_ok_and(|given| secret::equal(key, &given));
        }
        _ => {}
    }
    let encoding = if descriptor.algorithm.is_jwt() { Encoding::Base64Url } else { descriptor.encoding };
    decode(encoding, signature).is_some_and(|given| is_signed(descriptor.algorithm, key, &given, message))
}

/// Decodes a signature.
pub(super) fn decode(encoding: Encoding, text: &str) -> Option<Vec<u8>> {
    match encoding {
        Encoding::Hex => base16ct::mixed::decode_vec(text).ok(),
        Encoding::Base64 => BASE64_STANDARD.decode(text).ok(),
        Encoding::Base64Url => BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok(),
    }
}

/// Encodes a signature.
pub(super) fn encode(encoding: Encoding, bytes: &[u8]) -> String {
    match encoding {
        Encoding::Hex => base16ct::lower::encode_string(bytes),
        Encoding::Base64 => BASE64_STANDARD.encode(bytes),
        Encoding::Base64Url => BASE64_URL_SAFE_NO_PAD.encode(bytes),
    }
}

/// Returns whether this key made the signature, whose encoding is removed.
fn is_signed(algorithm: Algorithm, key: &Key<'_>, given: &[u8], message: &[Piece<'_>]) -> bool {
    match (algorithm, key) {
        (Algorithm::Ed25519, Key::Bytes(key)) => ed25519(key, given, message),
        (_, Key::Bytes(key)) => {
            compute(algorithm, key, message).is_some_and(|expected| secret::equal(&expected, given))
        }
        (Algorithm::EcdsaP256, Key::Public(key)) => key.verify_es256_der(&hash::<Sha256>(&[], message), given),
        (Algorithm::JwtEs256, Key::Public(key)) => key.verify_es256_fixed(&hash::<Sha256>(&[], message), given),
        (Algorithm::RsaSha256 | Algorithm::JwtRs256, Key::Public(key)) => {
            key.verify_rs256(&hash::<Sha256>(&[], message), given)
        }
        (Algorithm::RsaSha1, Key::Public(key)) => key.verify_rs1(&hash::<Sha1>(&[], message), given),
        (_, Key::Public(_)) => false,
    }
}

/// Computes the signature of a message by an algorithm with a shared secret. `None` for other algorithms.
pub(super) fn compute(algorithm: Algorithm, key: &[u8], message: &[Piece<'_>]) -> Option<Vec<u8>> {
    Some(match algorithm {
        Algorithm::HmacSha1 => mac::<Sha1>(key, message),
        Algorithm::HmacSha256 | Algorithm::JwtHs256 => mac::<Sha256>(key, message),
        Algorithm::HmacSha384 | Algorithm::JwtHs384 => mac::<Sha384>(key, message),
        Algorithm::HmacSha512 | Algorithm::JwtHs512 => mac::<Sha512>(key, message),
        Algorithm::Sha1 => hash::<Sha1>(key, message),
        Algorithm::Sha256 => hash::<Sha256>(key, message),
        Algorithm::Sha384 => hash::<Sha384>(key, message),
        Algorithm::Sha512 => hash::<Sha512>(key, message),
        Algorithm::Ed25519
        | Algorithm::EcdsaP256
        | Algorithm::RsaSha1
        | Algorithm::RsaSha256
        | Algorithm::JwtRs256
        | Algorithm::JwtEs256
        | Algorithm::Token
        | Algorithm::Basic => return None,
    })
}

/// Computes the HMAC of a message in parts, without copying a large body.
fn mac<D: EagerHash>(key: &[u8], message: &[Piece<'_>]) -> Vec<u8> {
    // Never fails: a key may have any length (RFC 2104, section 3).
    let Ok(mut mac) = <Hmac<D> as KeyInit>::new_from_slice(key) else { return Vec::new() };
    message.iter().for_each(|piece| mac.update(piece.bytes(key)));
    mac.finalize().into_bytes().to_vec()
}

/// Computes the hash of a message in parts.
fn hash<D: Digest>(key: &[u8], message: &[Piece<'_>]) -> Vec<u8> {
    let mut hash = D::new();
    message.iter().for_each(|piece| hash.update(piece.bytes(key)));
    hash.finalize().to_vec()
}

impl Piece<'_> {
    /// The bytes of the piece, given those of the secret.
    pub(super) fn bytes<'b>(&'b self, secret: &'b [u8]) -> &'b [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Secret => secret,
        }
    }
}

/// Verifies an Ed25519 signature. All inputs are public, so this need not run in constant time.
fn ed25519(key: &[u8], given: &[u8], message: &[Piece<'_>]) -> bool {
    let (Some(key), Ok(signature)) = (verifying_key(key), Signature::from_slice(given)) else { return false };
    let message: Vec<u8> = message.iter().flat_map(|piece| piece.bytes(&[])).copied().collect();
    key.verify_strict(&message, &signature).is_ok()
}

/// Parses a public key. `None` also for a key of small order, since one signature under it is valid for many messages.
fn verifying_key(key: &[u8]) -> Option<VerifyingKey> {
    let key = VerifyingKey::from_bytes(key.try_into().ok()?).ok()?;
    (!key.is_weak()).then_some(key)
}
