//! Did who knows a secret send this, and lately? Verified are the bytes that came, before anything reads them.

use std::borrow::Cow;

use base16ct::lower::encode_string as hex;
use http::HeaderMap;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::descriptor::{Algorithm, Descriptor, Source, TimestampLocation, TimestampSpec, Unit};
use super::template::Part;
use super::{Preset, form, header, payload, signature};
use crate::secret::{self, Secret};
use crate::time::Timestamp;

/// What came.
#[derive(Clone, Copy, Debug)]
pub struct SignedRequest<'a> {
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The URL as the sender called it, with scheme, host and query.
    pub url: &'a str,
    /// The body's bytes.
    pub body: &'a [u8],
}

/// What a verified request says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The event's id, where there is one; [`Identity`] says whether it is to be trusted.
    pub id: Option<String>,
    /// The event's type, where there is one. Where it is in a header, it isn't signed.
    pub kind: Option<String>,
    /// What makes two deliveries one.
    pub identity: Identity,
    /// The place of the secret that was used among those that were given.
    pub secret: usize,
}

/// What makes two deliveries of one sender one: nothing that someone could change without the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The event's id: the signature covers it.
    Id(String),
    /// SHA-256 of what is signed, without id and timestamp, in hex.
    Digest(String),
}

/// Why a request isn't verified. Carries no secret, payload or signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The sender signs nothing.
    #[error("this sender signs nothing")]
    Unsigned,
    /// There is no secret, or none has the form that the sender's secrets have.
    #[error("no secret is set that this sender could have used")]
    NoSecret,
    /// A header isn't there.
    #[error("the header `{header}` is missing")]
    Missing {
        /// Its name.
        header: String,
    },
    /// A header is there twice, isn't text, or holds too much.
    #[error("the header `{header}` can't be read")]
    Malformed {
        /// Its name.
        header: String,
    },
    /// No signature was made with a secret over what came.
    #[error("the signature does not match")]
    Mismatch,
    /// There is no timestamp that can be read.
    #[error("the timestamp is missing or can't be read")]
    Undated,
    /// Signed, but sent too long ago: a replay, or a clock is wrong.
    #[error("the timestamp is more than {tolerance} seconds old")]
    TooOld {
        /// What is allowed.
        tolerance: u32,
    },
    /// Signed, but its clock is ahead of ours.
    #[error("the timestamp is more than {tolerance} seconds in the future")]
    TooNew {
        /// What is allowed.
        tolerance: u32,
    },
}

/// Verifies a request by the ways in which a sender signs. If none of them fits, what is said is what went furthest.
pub fn by_preset(
    preset: &Preset,
    secrets: &[Secret],
    parts: SignedRequest<'_>,
    now: Timestamp,
) -> Result<Verified, VerifyError> {
    let mut worst = VerifyError::Unsigned;
    for descriptor in preset.descriptors() {
        match verify(&descriptor, secrets, parts, now) {
            Ok(verified) => return Ok(verified),
            Err(error) if error.rank() > worst.rank() => worst = error,
            Err(_) => {}
        }
    }
    Err(worst)
}

/// Verifies a request by one descriptor.
pub fn verify(
    descriptor: &Descriptor,
    secrets: &[Secret],
    parts: SignedRequest<'_>,
    now: Timestamp,
) -> Result<Verified, VerifyError> {
    if !secrets.iter().any(|secret| fits(descriptor, secret)) {
        return Err(VerifyError::NoSecret);
    }
    let value = header::value(descriptor, parts.headers)?;
    let signatures = header::signatures(descriptor, value)?;
    let timestamp = match descriptor.timestamp.as_ref().map(|dated| &dated.from) {
        Some(TimestampLocation::Header(name)) => {
            Some(header::one(parts.headers, name)?.ok_or_else(|| VerifyError::Missing { header: name.clone() })?)
        }
        Some(TimestampLocation::Field(name)) => Some(header::field(descriptor, value, name)?),
        Some(TimestampLocation::Pointer(_)) | None => None,
    };
    let message = message(descriptor, parts, timestamp)?;
    let secret = signature::find(descriptor, secrets, &signatures, &message).ok_or(VerifyError::Mismatch)?;

    // From here on the bytes are the sender's.
    if let Some(dated) = &descriptor.timestamp {
        fresh(dated, timestamp, parts.body, now)?;
    }
    let id = find(descriptor.id.as_ref(), parts);
    let kind = find(descriptor.kind.as_ref(), parts);
    let identity = match &id {
        Some(id) if descriptor.id_is_covered() => Identity::Id(id.clone()),
        _ => digest(descriptor, &message, parts.body),
    };
    Ok(Verified { id, kind, identity, secret })
}

/// What type of event this is, by the first of these that says so. Where it is in a header it isn't signed, and in a
/// request that isn't verified nothing is.
pub fn kind(
    descriptors: impl IntoIterator<Item = Descriptor>,
    headers: &HeaderMap,
    payload: &RawValue,
) -> Option<String> {
    let parts = SignedRequest { headers, url: "", body: payload.get().as_bytes() };
    descriptors.into_iter().find_map(|descriptor| find(descriptor.kind.as_ref(), parts))
}

/// Has a secret's text the form that this descriptor's secrets have?
pub fn fits(descriptor: &Descriptor, secret: &Secret) -> bool {
    signature::key(descriptor, secret).is_some()
}

/// What is signed, in parts.
fn message<'a>(
    descriptor: &'a Descriptor,
    parts: SignedRequest<'a>,
    timestamp: Option<&'a str>,
) -> Result<Vec<Cow<'a, [u8]>>, VerifyError> {
    if descriptor.algorithm == Algorithm::Token {
        return Ok(Vec::new());
    }
    let part = |part: &'a Part| {
        Ok(match part {
            Part::Body => Cow::Borrowed(parts.body),
            Part::Timestamp => Cow::Borrowed(timestamp.ok_or(VerifyError::Undated)?.as_bytes()),
            Part::Id => {
                let Some(Source::Header(name)) = &descriptor.id else { return Err(VerifyError::Mismatch) };
                let id = header::one(parts.headers, name)?;
                Cow::Borrowed(id.ok_or_else(|| VerifyError::Missing { header: name.clone() })?.as_bytes())
            }
            Part::Url => Cow::Borrowed(parts.url.as_bytes()),
            Part::Params => Cow::Owned(params(parts)?.into_bytes()),
            Part::Text(text) => Cow::Borrowed(text.as_bytes()),
        })
    };
    descriptor.signed.parts().iter().map(part).collect()
}

/// Twilio: the fields of a form, or nothing for a body whose SHA-256 is in the URL, which is signed.
fn params(parts: SignedRequest<'_>) -> Result<String, VerifyError> {
    let query = parts.url.split_once('?').map_or("", |(_, query)| query);
    let query = query.split('#').next().unwrap_or_default();
    let covers = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "bodySHA256");
    if let Some((_, digest)) = covers {
        let body = hex(&Sha256::digest(parts.body));
        return match secret::equal(body.as_bytes(), digest.to_ascii_lowercase().as_bytes()) {
            true => Ok(String::new()),
            false => Err(VerifyError::Mismatch),
        };
    }
    if parts.body.is_empty() {
        return Ok(String::new());
    }
    let content_type = header::one(parts.headers, "content-type")?.unwrap_or_default();
    if !form::is_form(content_type) {
        return Err(VerifyError::Mismatch);
    }
    let mut fields = form::fields(parts.body).map_err(|_| VerifyError::Mismatch)?;
    fields.sort_unstable();
    fields.dedup();
    Ok(fields.into_iter().flat_map(|(name, value)| [name, value]).collect())
}

fn fresh(dated: &TimestampSpec, timestamp: Option<&str>, body: &[u8], now: Timestamp) -> Result<(), VerifyError> {
    let found = match &dated.from {
        TimestampLocation::Pointer(at) => payload::text_at(body, at).map(Cow::Owned),
        _ => timestamp.map(Cow::Borrowed),
    };
    let sent = found.and_then(|text| read(dated.unit, &text)).ok_or(VerifyError::Undated)?;
    let tolerance = dated.tolerance;
    let limit = u64::from(tolerance).saturating_mul(1_000);
    if now.0.saturating_sub(sent.0) > limit {
        return Err(VerifyError::TooOld { tolerance });
    }
    if sent.0.saturating_sub(now.0) > limit {
        return Err(VerifyError::TooNew { tolerance });
    }
    Ok(())
}

fn read(unit: Unit, text: &str) -> Option<Timestamp> {
    let number = || Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?.parse::<u64>().ok();
    match unit {
        Unit::Seconds => Some(Timestamp(number()?.saturating_mul(1_000))),
        Unit::Milliseconds => Some(Timestamp(number()?)),
        Unit::Rfc3339 => {
            let at = chrono::DateTime::parse_from_rfc3339(text).ok()?;
            Some(Timestamp(u64::try_from(at.timestamp_millis()).ok()?))
        }
    }
}

fn find(source: Option<&Source>, parts: SignedRequest<'_>) -> Option<String> {
    match source? {
        Source::Header(name) => header::one(parts.headers, name).ok()?.map(str::to_owned),
        Source::Pointer(at) => payload::text_at(parts.body, at),
    }
}

/// Where the body is signed field by field, two spellings of it are one.
fn digest(descriptor: &Descriptor, message: &[Cow<'_, [u8]>], body: &[u8]) -> Identity {
    let mut hash = Sha256::new();
    match descriptor.signed.has(&Part::Params) {
        true => message.iter().for_each(|part| hash.update(part)),
        false => hash.update(body),
    }
    Identity::Digest(hex(&hash.finalize()))
}

impl VerifyError {
    /// How far a request came.
    fn rank(&self) -> u8 {
        match self {
            Self::Unsigned => 0,
            Self::NoSecret => 1,
            Self::Missing { .. } => 2,
            Self::Malformed { .. } | Self::Undated => 3,
            Self::Mismatch => 4,
            Self::TooOld { .. } | Self::TooNew { .. } => 5,
        }
    }
}
