//! Verification of a signature and its timestamp, over the raw body before it is parsed.

use std::borrow::Cow;

use base16ct::lower::encode_string as hex;
use http::HeaderMap;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::descriptor::{Algorithm, Descriptor, TimestampLocation, TimestampSpec, Unit, ValueLocation};
use super::header::{MAX_SIGNATURES, SignatureHeader};
use super::template::Part;
use super::{Preset, form, header, payload, signature};
use crate::secret::{self, Secret};
use crate::time::Timestamp;

/// A request whose signature is to be verified.
#[derive(Clone, Copy, Debug)]
pub struct SignedRequest<'a> {
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The URL that the sender called, including scheme, host and query.
    pub url: &'a str,
    /// The raw body.
    pub body: &'a [u8],
}

/// The result of a successful verification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The event's id, if there is one. It can be trusted only if it is also the [`identity`](Self::identity).
    pub id: Option<String>,
    /// The event's type, if there is one. A type from a header is not signed.
    pub event_type: Option<String>,
    /// The identity of the event, by which duplicates are detected.
    pub identity: Identity,
    /// Index of the secret that made the signature, in the list that was given.
    pub secret_index: usize,
}

/// The identity of an event, which can't be changed without the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The event's id, if [`Descriptor::id_is_covered`].
    Id(String),
    /// SHA-256 in hex: of the signed message if that contains [`Part::Params`], otherwise of the body.
    Digest(String),
}

/// The reason why a request is not verified. Carries no secret, payload or signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The sender does not sign its requests.
    #[error("this sender does not sign its requests")]
    Unsigned,
    /// There is no secret, or none has the form of [`Descriptor::key_format`].
    #[error("no secret is set, or none has the form that this sender uses")]
    NoUsableSecret,
    /// A required header is missing.
    #[error("the header `{header}` is missing")]
    MissingHeader {
        /// Name of the header.
        header: String,
    },
    /// A header occurs twice, is not visible ASCII, repeats a field, or has more than [`MAX_SIGNATURES`] signatures.
    #[error(
        "the header `{header}` is malformed: it occurs twice, is not visible ASCII, repeats a field, or has more than \
         {MAX_SIGNATURES} signatures"
    )]
    MalformedHeader {
        /// Name of the header.
        header: String,
    },
    /// None of the signatures was made with one of the secrets for this request.
    #[error("the signature does not match")]
    Mismatch,
    /// The timestamp is missing or malformed.
    #[error("the timestamp is missing or malformed")]
    InvalidTimestamp,
    /// The request is signed, but was sent too long ago: it is a replay, or one of the clocks is wrong.
    #[error("the timestamp is more than {tolerance} seconds old")]
    TooOld {
        /// The tolerance, in seconds.
        tolerance: u32,
    },
    /// The request is signed, but the sender's clock is ahead of Sluice's.
    #[error("the timestamp is more than {tolerance} seconds in the future")]
    TooNew {
        /// The tolerance, in seconds.
        tolerance: u32,
    },
}

/// Verifies a request by each scheme of a preset in turn. If none succeeds, returns the error of the scheme that got
/// furthest.
pub fn verify_preset(
    preset: &Preset,
    secrets: &[Secret],
    request: SignedRequest<'_>,
    now: Timestamp,
) -> Result<Verified, VerifyError> {
    let mut furthest = VerifyError::Unsigned;
    for descriptor in preset.descriptors() {
        match verify(&descriptor, secrets, request, now) {
            Ok(verified) => return Ok(verified),
            Err(error) if error.progress() > furthest.progress() => furthest = error,
            Err(_) => {}
        }
    }
    Err(furthest)
}

/// Verifies a request by one scheme: its signature with each of the secrets, and then its timestamp.
pub fn verify(
    descriptor: &Descriptor,
    secrets: &[Secret],
    request: SignedRequest<'_>,
    now: Timestamp,
) -> Result<Verified, VerifyError> {
    if !secrets.iter().any(|secret| descriptor.accepts_secret(secret)) {
        return Err(VerifyError::NoUsableSecret);
    }
    let signature_header = SignatureHeader::find(descriptor, request.headers)?;
    let signatures = signature_header.signatures()?;
    let timestamp = match descriptor.timestamp.as_ref().map(|spec| &spec.location) {
        Some(TimestampLocation::Header(name)) => Some(header::required(request.headers, name)?),
        Some(TimestampLocation::Field(name)) => Some(signature_header.field(name)?),
        Some(TimestampLocation::Pointer(_)) | None => None,
    };
    let message = message(descriptor, request, timestamp)?;
    let secret_index =
        signature::matching_secret(descriptor, secrets, &signatures, &message).ok_or(VerifyError::Mismatch)?;

    // The signature is valid. Only now is the body parsed.
    if let Some(spec) = &descriptor.timestamp {
        check_timestamp(spec, timestamp, request.body, now)?;
    }
    let id = value_at(descriptor.id.as_ref(), request);
    let event_type = value_at(descriptor.event_type.as_ref(), request);
    let identity = match &id {
        Some(id) if descriptor.id_is_covered() => Identity::Id(id.clone()),
        _ => digest(descriptor, &message, request.body),
    };
    Ok(Verified { id, event_type, identity, secret_index })
}

/// Returns the event's type, by the first of the schemes that finds one. It can be trusted only if it is in the payload
/// and the request was verified.
pub fn event_type(
    descriptors: impl IntoIterator<Item = Descriptor>,
    headers: &HeaderMap,
    payload: &RawValue,
) -> Option<String> {
    let request = SignedRequest { headers, url: "", body: payload.get().as_bytes() };
    descriptors.into_iter().find_map(|descriptor| value_at(descriptor.event_type.as_ref(), request))
}

/// The signed message, in parts; empty for a token.
fn message<'a>(
    descriptor: &'a Descriptor,
    request: SignedRequest<'a>,
    timestamp: Option<&'a str>,
) -> Result<Vec<Cow<'a, [u8]>>, VerifyError> {
    if descriptor.algorithm == Algorithm::Token {
        return Ok(Vec::new());
    }
    let part = |part: &'a Part| {
        Ok(match part {
            Part::Body => Cow::Borrowed(request.body),
            Part::Timestamp => Cow::Borrowed(timestamp.ok_or(VerifyError::InvalidTimestamp)?.as_bytes()),
            Part::Id => {
                let Some(ValueLocation::Header(name)) = &descriptor.id else { return Err(VerifyError::Mismatch) };
                Cow::Borrowed(header::required(request.headers, name)?.as_bytes())
            }
            Part::Url => Cow::Borrowed(request.url.as_bytes()),
            Part::Params => Cow::Owned(params(request)?.into_bytes()),
            Part::Text(text) => Cow::Borrowed(text.as_bytes()),
        })
    };
    descriptor.signed.parts().iter().map(part).collect()
}

/// The text of [`Part::Params`]: the fields of a form, or an empty text for a body whose SHA-256 is in the URL, which
/// is signed too.
fn params(request: SignedRequest<'_>) -> Result<String, VerifyError> {
    let query = request.url.split_once('?').map_or("", |(_, query)| query);
    let query = query.split('#').next().unwrap_or_default();
    let body_digest = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "bodySHA256");
    if let Some((_, expected)) = body_digest {
        let digest = hex(&Sha256::digest(request.body));
        if !secret::equal(digest.as_bytes(), expected.to_ascii_lowercase().as_bytes()) {
            return Err(VerifyError::Mismatch);
        }
        return Ok(String::new());
    }
    if request.body.is_empty() {
        return Ok(String::new());
    }
    let content_type = header::single(request.headers, "content-type")?.unwrap_or_default();
    if !form::is_form(content_type) {
        return Err(VerifyError::Mismatch);
    }
    let mut fields = form::fields(request.body).map_err(|_| VerifyError::Mismatch)?;
    fields.sort_unstable();
    fields.dedup();
    Ok(fields.into_iter().flat_map(|(name, value)| [name, value]).collect())
}

/// Checks that the timestamp is within the tolerance. `timestamp` is its text, unless it is in the body.
fn check_timestamp(
    spec: &TimestampSpec,
    timestamp: Option<&str>,
    body: &[u8],
    now: Timestamp,
) -> Result<(), VerifyError> {
    let text = match &spec.location {
        TimestampLocation::Pointer(pointer) => payload::text_at(body, pointer).map(Cow::Owned),
        _ => timestamp.map(Cow::Borrowed),
    };
    let sent = text.and_then(|text| parse_timestamp(spec.unit, &text)).ok_or(VerifyError::InvalidTimestamp)?;
    let tolerance = spec.tolerance;
    let limit = u64::from(tolerance).saturating_mul(1_000);
    if now.0.saturating_sub(sent.0) > limit {
        return Err(VerifyError::TooOld { tolerance });
    }
    if sent.0.saturating_sub(now.0) > limit {
        return Err(VerifyError::TooNew { tolerance });
    }
    Ok(())
}

fn parse_timestamp(unit: Unit, text: &str) -> Option<Timestamp> {
    let number = || Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?.parse::<u64>().ok();
    match unit {
        Unit::Seconds => Some(Timestamp(number()?.saturating_mul(1_000))),
        Unit::Milliseconds => Some(Timestamp(number()?)),
        Unit::Rfc3339 => {
            let time = chrono::DateTime::parse_from_rfc3339(text).ok()?;
            Some(Timestamp(u64::try_from(time.timestamp_millis()).ok()?))
        }
    }
}

/// The id or type at a location, if there is one.
fn value_at(location: Option<&ValueLocation>, request: SignedRequest<'_>) -> Option<String> {
    match location? {
        ValueLocation::Header(name) => header::single(request.headers, name).ok()?.map(str::to_owned),
        ValueLocation::Pointer(pointer) => payload::text_at(request.body, pointer),
    }
}

/// The identity of an event without a signed id. If the fields of a form are signed, the message is hashed instead of
/// the body, since two encodings of the same fields are the same event.
fn digest(descriptor: &Descriptor, message: &[Cow<'_, [u8]>], body: &[u8]) -> Identity {
    let mut hash = Sha256::new();
    if descriptor.signed.contains(&Part::Params) {
        message.iter().for_each(|part| hash.update(part));
    } else {
        hash.update(body);
    }
    Identity::Digest(hex(&hash.finalize()))
}

impl VerifyError {
    /// The rank of the step at which the verification failed.
    fn progress(&self) -> u8 {
        match self {
            Self::Unsigned => 0,
            Self::NoUsableSecret => 1,
            Self::MissingHeader { .. } => 2,
            Self::MalformedHeader { .. } | Self::InvalidTimestamp => 3,
            Self::Mismatch => 4,
            Self::TooOld { .. } | Self::TooNew { .. } => 5,
        }
    }
}
