//! Public keys: their text forms, and the verification of signatures by them.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use p256::ecdsa;
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use p256::pkcs8::DecodePublicKey;
use rsa::traits::PublicKeyParts;
use rsa::{BoxedUint, Pkcs1v15Sign, PublicKey as RsaPublicKey};
use serde::Deserialize;
use sha1::Sha1;
use sha2::Sha256;

/// Minimum length of an RSA modulus, in bits (NIST SP 800-131A). The longest is 4,096.
pub const MIN_RSA_BITS: u32 = 2_048;

/// Maximum number of keys in a JSON Web Key Set. Google and Microsoft publish two to ten.
pub const MAX_KEYS: usize = 64;

/// A public key for ECDSA with P-256, or for RSA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    id: Option<String>,
    numbers: Numbers,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Numbers {
    P256(ecdsa::VerifyingKey),
    Rsa(RsaPublicKey),
}

/// The reason why a text is not a usable public key. Carries no part of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// The text has none of the forms.
    #[error("is not a public key: it must be PEM (PUBLIC KEY or CERTIFICATE), SPKI in base64, a JWK or a JWK Set")]
    Form,
    /// The text is a private key, which a receiver must not have.
    #[error("is a private key: set the public key, and replace the pair")]
    Private,
    /// The key is for another algorithm than RSA and ECDSA with P-256.
    #[error("is a key for another algorithm than RSA or ECDSA with P-256")]
    Algorithm,
    /// The key is of RSA and shorter than [`MIN_RSA_BITS`], or longer than 4,096 bits.
    #[error("is an RSA key of another length than 2048 to 4096 bits")]
    Length,
    /// A JSON Web Key Set without a usable key, or with more than [`MAX_KEYS`].
    #[error("is a JWK Set with no usable key, or with more than {MAX_KEYS} keys")]
    Set,
}

/// A JSON Web Key (RFC 7517). Members for other uses are ignored.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    d: Option<serde::de::IgnoredAny>,
}

/// A JSON Web Key Set (RFC 7517, section 5).
#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<serde_json::Value>,
}

impl PublicKey {
    /// Parses public keys: PEM (`PUBLIC KEY` or `CERTIFICATE`, with or without line breaks), SPKI in base64, a JSON Web
    /// Key, or a JSON Web Key Set, of which keys for other algorithms are skipped.
    pub fn parse(text: &str) -> Result<Vec<Self>, PublicKeyError> {
        let text = text.trim();
        if text.starts_with('{') {
            return Self::parse_json(text);
        }
        let der = match text.strip_prefix("-----BEGIN ") {
            None => decode(text),
            Some(rest) => {
                let (label, rest) = rest.split_once("-----").ok_or(PublicKeyError::Form)?;
                let base64 = rest.split("-----").next().and_then(decode).ok_or(PublicKeyError::Form)?;
                match label {
                    "PUBLIC KEY" => Some(base64),
                    "CERTIFICATE" => return Self::from_certificate(&base64).map(|key| vec![key]),
                    label if label.ends_with("PRIVATE KEY") => return Err(PublicKeyError::Private),
                    _ => None,
                }
            }
        };
        Self::from_spki(&der.ok_or(PublicKeyError::Form)?).map(|key| vec![key])
    }

    fn parse_json(text: &str) -> Result<Vec<Self>, PublicKeyError> {
        if let Ok(set) = serde_json::from_str::<JwkSet>(text) {
            let keys: Vec<_> = set.keys.iter().filter_map(|key| Self::from_jwk(&key.to_string()).ok()).collect();
            return if keys.is_empty() || set.keys.len() > MAX_KEYS { Err(PublicKeyError::Set) } else { Ok(keys) };
        }
        Self::from_jwk(text).map(|key| vec![key])
    }

    fn from_jwk(text: &str) -> Result<Self, PublicKeyError> {
        let jwk: Jwk = serde_json::from_str(text).map_err(|_| PublicKeyError::Form)?;
        if jwk.d.is_some() {
            return Err(PublicKeyError::Private);
        }
        if jwk.usage.is_some_and(|usage| usage != "sig") {
            return Err(PublicKeyError::Algorithm);
        }
        let number = |text: Option<String>| BASE64_URL_SAFE_NO_PAD.decode(text?).ok();
        let numbers = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("EC", Some("P-256")) => {
                let (x, y) = number(jwk.x).zip(number(jwk.y)).ok_or(PublicKeyError::Form)?;
                let point = [&[4], x.as_slice(), &y].concat();
                Numbers::P256(ecdsa::VerifyingKey::from_sec1_bytes(&point).map_err(|_| PublicKeyError::Form)?)
            }
            ("RSA", _) => {
                let (n, e) = number(jwk.n).zip(number(jwk.e)).ok_or(PublicKeyError::Form)?;
                if n.len() > 1_024 || e.len() > 8 {
                    return Err(PublicKeyError::Length);
                }
                let uint = BoxedUint::from_be_slice_vartime;
                rsa(RsaPublicKey::new(uint(&n), uint(&e)).map_err(|_| PublicKeyError::Length)?)?
            }
            _ => return Err(PublicKeyError::Algorithm),
        };
        Ok(Self { id: jwk.kid, numbers })
    }

    /// Parses a `SubjectPublicKeyInfo` (RFC 5280, section 4.1) in DER.
    fn from_spki(der: &[u8]) -> Result<Self, PublicKeyError> {
        let numbers = if let Ok(key) = ecdsa::VerifyingKey::from_public_key_der(der) {
            Numbers::P256(key)
        } else if let Ok(key) = RsaPublicKey::from_public_key_der(der) {
            rsa(key)?
        } else {
            let is_sequence = element(der).is_some_and(|(tag, _, rest)| tag == SEQUENCE && rest.is_empty());
            return Err(if is_sequence { PublicKeyError::Algorithm } else { PublicKeyError::Form });
        };
        Ok(Self { id: None, numbers })
    }

    /// Parses the key in an X.509 certificate (RFC 5280) in DER. The certificate's issuer and validity are not checked:
    /// it is authentic because it was fetched from its vendor's host.
    pub fn from_certificate(der: &[u8]) -> Result<Self, PublicKeyError> {
        Self::from_spki(spki_of(der).ok_or(PublicKeyError::Form)?)
    }

    /// The key's id: the `kid` of a JSON Web Key, or the one that it was given.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The same key with another id: the URL of the certificate that contains it.
    #[must_use]
    pub fn with_id(self, id: &str) -> Self {
        Self { id: Some(id.to_owned()), ..self }
    }

    /// Returns whether this key is for RSA, not for ECDSA.
    pub fn is_rsa(&self) -> bool {
        matches!(self.numbers, Numbers::Rsa(_))
    }

    /// Verifies an ECDSA signature with SHA-256, in DER.
    pub(super) fn verify_es256_der(&self, digest: &[u8], signature: &[u8]) -> bool {
        ecdsa::Signature::from_der(signature).is_ok_and(|signature| self.verify_es256(digest, &signature))
    }

    /// Verifies an ECDSA signature with SHA-256, as the two numbers of 32 bytes each (RFC 7518, section 3.4).
    pub(super) fn verify_es256_fixed(&self, digest: &[u8], signature: &[u8]) -> bool {
        ecdsa::Signature::from_slice(signature).is_ok_and(|signature| self.verify_es256(digest, &signature))
    }

    fn verify_es256(&self, digest: &[u8], signature: &ecdsa::Signature) -> bool {
        let Numbers::P256(key) = &self.numbers else { return false };
        key.verify_prehash(digest, signature).is_ok()
    }

    /// Verifies a signature by RSASSA-PKCS1-v1_5 with SHA-256.
    pub(super) fn verify_rs256(&self, digest: &[u8], signature: &[u8]) -> bool {
        let Numbers::Rsa(key) = &self.numbers else { return false };
        key.verify(Pkcs1v15Sign::new::<Sha256>(), digest, signature).is_ok()
    }

    /// Verifies a signature by RSASSA-PKCS1-v1_5 with SHA-1.
    pub(super) fn verify_rs1(&self, digest: &[u8], signature: &[u8]) -> bool {
        let Numbers::Rsa(key) = &self.numbers else { return false };
        key.verify(Pkcs1v15Sign::new::<Sha1>(), digest, signature).is_ok()
    }
}

fn rsa(key: RsaPublicKey) -> Result<Numbers, PublicKeyError> {
    let bits = key.n().bit_width();
    if (MIN_RSA_BITS..=4_096).contains(&bits) { Ok(Numbers::Rsa(key)) } else { Err(PublicKeyError::Length) }
}

/// Decodes base64 with or without padding and white space.
fn decode(text: &str) -> Option<Vec<u8>> {
    let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    BASE64_STANDARD_NO_PAD.decode(text.trim_end_matches('=')).ok().filter(|bytes| !bytes.is_empty())
}

/// The tag of a `SEQUENCE` (X.690, section 8.9).
const SEQUENCE: u8 = 0x30;
/// The tag of a certificate's version, which version 1 lacks.
const VERSION: u8 = 0xa0;

/// The `SubjectPublicKeyInfo` in a certificate: the sixth element after the version.
fn spki_of(certificate: &[u8]) -> Option<&[u8]> {
    let (SEQUENCE, content, _) = element(certificate)? else { return None };
    let (SEQUENCE, mut rest, _) = element(content)? else { return None };
    if let (VERSION, _, after) = element(rest)? {
        rest = after;
    }
    // Serial number, signature algorithm, issuer, validity, subject.
    for _ in 0..5 {
        rest = element(rest)?.2;
    }
    let (_, _, after) = element(rest)?;
    rest.get(..rest.len().checked_sub(after.len())?)
}

/// The tag and content of the first element in DER (X.690, section 8.1), and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0_usize, |length, byte| (length << 8) | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}
