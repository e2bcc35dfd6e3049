//! JSON Web Tokens (RFC 7519) as signatures: in the compact form (RFC 7515, section 7.1), with one algorithm for each
//! descriptor, which the token cannot choose.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::descriptor::{Algorithm, Descriptor, DigestClaim, Encoding, KeySource, TokenRules, UrlClaim};
use super::header::SignatureHeader;
use super::payload;
use super::signature::{self, Piece, UsableKey};
use super::verify::{KeyRequest, SignedRequest, VerifyError};
use crate::json::{self, JsonType};
use crate::secret;
use crate::time::Timestamp;

/// Accepted difference between the clocks of issuer and receiver, for `exp` and `nbf`, in seconds.
pub const LEEWAY: u64 = 60;

/// Maximum length of a token, in bytes. Entra ID's tokens have up to about 2 KB.
const MAX_TOKEN: usize = 8_192;

/// The header of a token (RFC 7515, section 4.1).
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde::de::IgnoredAny>,
}

/// A token whose signature and claims are verified.
#[derive(Debug)]
pub(super) struct Token {
    /// The claims: a JSON object.
    pub(super) claims: Box<RawValue>,
    /// The index of the key ([`signature::usable_keys`]).
    pub(super) key: usize,
}

/// Verifies the token in a value of the request: its signature, and then the claims.
pub(super) fn verify(
    descriptor: &Descriptor,
    keys: &[UsableKey<'_>],
    value: SignatureHeader<'_>,
    request: SignedRequest<'_>,
    now: Timestamp,
) -> Result<Token, VerifyError> {
    let malformed = || value.malformed();
    let text = value.credentials("Bearer").or_else(|| value.bare_token()).ok_or_else(malformed)?;
    let text = text.strip_prefix(descriptor.prefix.as_str()).filter(|text| text.len() <= MAX_TOKEN);
    let (signed, signature) = text.and_then(|text| text.rsplit_once('.')).ok_or_else(malformed)?;
    let (header, claims) = signed.split_once('.').ok_or_else(malformed)?;
    let part = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| malformed());
    let header: Header = json::read(&part(header)?).map_err(|_| malformed())?;
    if Some(header.alg.as_str()) != name(descriptor.algorithm) {
        return Err(VerifyError::WrongClaim { claim: "alg".to_owned() });
    }
    // An extension that must be understood (RFC 7515, section 4.1.11); none is.
    if header.crit.is_some() {
        return Err(VerifyError::WrongClaim { claim: "crit".to_owned() });
    }
    let meant: Vec<_> = keys.iter().filter(|key| key.is_meant(header.kid.as_deref())).collect();
    if meant.is_empty() {
        return Err(match (&descriptor.keys, header.kid) {
            (Some(KeySource::Jwks(url)), Some(id)) if id.len() <= MAX_KEY_ID => {
                VerifyError::KeyNeeded(KeyRequest { url: url.clone(), id })
            }
            (Some(KeySource::Jwks(_)), _) => malformed(),
            _ => VerifyError::Mismatch,
        });
    }
    let message = [Piece::Bytes(signed.as_bytes().into())];
    let key = signature::matching_key(descriptor, meant, &[signature], &message).ok_or(VerifyError::Mismatch)?;
    let claims = part(claims)?;
    let claims = json::object(&claims).map_err(|_| malformed())?;
    let default = TokenRules::default();
    Rules { rules: descriptor.jwt.as_ref().unwrap_or(&default), claims }.check(descriptor, request, now)?;
    Ok(Token { claims: claims.to_owned(), key })
}

/// Maximum length of a key's id, in bytes.
const MAX_KEY_ID: usize = 256;

/// The name of an algorithm in a token's header (RFC 7518, section 3.1).
fn name(algorithm: Algorithm) -> Option<&'static str> {
    match algorithm {
        Algorithm::JwtHs256 => Some("HS256"),
        Algorithm::JwtHs384 => Some("HS384"),
        Algorithm::JwtHs512 => Some("HS512"),
        Algorithm::JwtRs256 => Some("RS256"),
        Algorithm::JwtEs256 => Some("ES256"),
        _ => None,
    }
}

/// The claims of a token, and the rules for them.
struct Rules<'a> {
    rules: &'a TokenRules,
    claims: &'a RawValue,
}

impl Rules<'_> {
    fn check(&self, descriptor: &Descriptor, request: SignedRequest<'_>, now: Timestamp) -> Result<(), VerifyError> {
        let TokenRules { issuers, audiences, claims, body, url, required: _ } = self.rules;
        let wrong = |claim: &str| VerifyError::WrongClaim { claim: claim.to_owned() };
        if !issuers.is_empty() && !self.text("iss").is_some_and(|issuer| issuers.contains(&issuer)) {
            return Err(wrong("iss"));
        }
        if !audiences.is_empty() && !self.audiences().iter().any(|audience| audiences.contains(audience)) {
            return Err(wrong("aud"));
        }
        for (claim, expected) in claims {
            if self.text(claim).as_ref() != Some(expected) {
                return Err(wrong(claim));
            }
        }
        if let Some(DigestClaim { claim, encoding }) = body {
            let digest = Sha256::digest(request.body);
            let given = self.text(claim).and_then(|text| decode(*encoding, &text));
            if !given.is_some_and(|given| secret::equal(&given, &digest)) {
                return Err(wrong(claim));
            }
        }
        if let Some(UrlClaim { claim, hashed }) = url {
            let expected = if *hashed {
                base16ct::lower::encode_string(&Sha256::digest(request.url.as_bytes()))
            } else {
                request.url.to_owned()
            };
            if self.text(claim) != Some(expected) {
                return Err(wrong(claim));
            }
        }
        self.check_times(descriptor, now)
    }

    /// Checks `exp` and `nbf` (RFC 7519, section 4.1). Without a digest of the body, the token opens the gateway to
    /// its holder, so it must expire.
    fn check_times(&self, descriptor: &Descriptor, now: Timestamp) -> Result<(), VerifyError> {
        let now = now.0 / 1_000;
        match self.seconds("exp")? {
            Some(expiry) if now >= expiry.saturating_add(LEEWAY) => return Err(VerifyError::Expired),
            None if self.rules.body.is_none() && descriptor.timestamp.is_none() => {
                return Err(VerifyError::WrongClaim { claim: "exp".to_owned() });
            }
            _ => {}
        }
        match self.seconds("nbf")? {
            Some(start) if start > now.saturating_add(LEEWAY) => Err(VerifyError::NotYetValid),
            _ => Ok(()),
        }
    }

    fn text(&self, claim: &str) -> Option<String> {
        payload::claim(self.claims, claim)
    }

    /// The audiences: one text, or an array of them (RFC 7519, section 4.1.3).
    fn audiences(&self) -> Vec<String> {
        let Some(audience) = json::member(self.claims, "aud") else { return Vec::new() };
        match json::elements(audience) {
            Some(elements) => elements.into_iter().filter_map(json::text).collect(),
            None => json::text(audience).into_iter().collect(),
        }
    }

    /// A time in seconds since the Unix epoch, which may have a fraction (RFC 7519, section 2). `None` without the
    /// claim; an error for any other value.
    fn seconds(&self, claim: &str) -> Result<Option<u64>, VerifyError> {
        let Some(value) = json::member(self.claims, claim) else { return Ok(None) };
        let whole = value.get().split('.').next().unwrap_or_default().parse().ok();
        match whole.filter(|_| json::type_of(value) == JsonType::Number) {
            Some(seconds) => Ok(Some(seconds)),
            None => Err(VerifyError::WrongClaim { claim: claim.to_owned() }),
        }
    }
}

/// Decodes a digest. Senders differ in whether they pad base64.
fn decode(encoding: Encoding, text: &str) -> Option<Vec<u8>> {
    match encoding {
        Encoding::Base64 => BASE64_STANDARD_NO_PAD.decode(text.trim_end_matches('=')).ok(),
        _ => signature::decode(encoding, text),
    }
}
