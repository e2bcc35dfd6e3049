//! Verification of a signature and its timestamp, over the raw body before it is parsed.

use std::borrow::Cow;

use base16ct::lower::encode_string as hex;
use http::HeaderMap;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::descriptor::{
    Algorithm, Binding, Descriptor, KeySource, Repeat, TimestampLocation, TimestampSpec, Unit, ValueLocation,
};
use super::header::{MAX_SIGNATURES, SignatureHeader};
use super::jwt;
use super::locate::{self, Values};
use super::signature::{self, Credentials, Piece, UsableKey};
use super::template::{Condition, Part, Template};
use super::{form, header, payload};
use crate::json;
use crate::secret::{self, Secret};
use crate::time::Timestamp;

/// A request whose signature is to be verified.
#[derive(Clone, Copy, Debug)]
pub struct SignedRequest<'a> {
    /// The method, in upper case.
    pub method: &'a str,
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
    /// Index of the secret that made the signature, in the list that was given. For a fetched key, the number of
    /// secrets plus the key's index.
    pub secret_index: usize,
}

/// The identity of an event: two requests with the same one are the same event. Digests are SHA-256 in hex, of the
/// body, or of the signed message if that contains only a part of the body. Members that change with each attempt are
/// left out ([`Descriptor::unstable`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The event's id, which can't be changed without the secret ([`Descriptor::id_is_covered`]).
    Id(String),
    /// The event's id, which is not signed, and a digest. A replay under a changed id is another event: only a signed
    /// timestamp bounds replays.
    IdAndDigest {
        /// The id.
        id: String,
        /// The digest.
        digest: String,
    },
    /// The request's `Idempotency-Key`, for senders that have no id. Another digest under the same key is a conflict.
    Key {
        /// The key, as it was received.
        key: String,
        /// The digest.
        digest: String,
    },
    /// A digest, which can't be changed without the secret.
    Digest(String),
    /// Nothing tells two events apart: each request is an event. The digest is for a source with `"repeat":"body"`.
    Unknown {
        /// The digest.
        digest: String,
    },
}

impl Identity {
    /// The digest; for an [`Id`](Self::Id), the id itself: what can't be changed without the secret.
    pub fn signed_text(&self) -> &str {
        match self {
            Self::Id(id) => id,
            Self::IdAndDigest { digest, .. }
            | Self::Key { digest, .. }
            | Self::Digest(digest)
            | Self::Unknown { digest } => digest,
        }
    }
}

/// A public key that a verification needs, and that was not among the given ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRequest {
    /// The URL of the key set or certificate. It is one that [`KeySource::permits`].
    pub url: String,
    /// The id of the key: the token's `kid`, or the URL of the certificate.
    pub id: String,
}

/// The reason why a request is not verified. Carries no secret, payload or signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The sender does not sign its requests.
    #[error("this sender does not sign its requests")]
    Unsigned,
    /// The request is signed by another of the sender's schemes ([`Descriptor::when`]).
    #[error("the request says that it is signed in another way")]
    OtherScheme,
    /// The source does not give a rule for tokens that it has to give.
    #[error("the source has no `{member}`, which this sender's tokens need")]
    RuleNotSet {
        /// Path of the source's member.
        member: String,
    },
    /// A value is not the constant that the source gives: the request is another customer's.
    #[error("`{location}` is not the one that the source names")]
    OtherValue {
        /// The location, as in a [`Template`].
        location: String,
    },
    /// There is no secret, or none has the form of [`Descriptor::key_format`].
    #[error("no secret is set, or none has the form that this sender uses")]
    NoUsableSecret,
    /// A required header is missing.
    #[error("the header `{header}` is missing")]
    MissingHeader {
        /// Name of the header.
        header: String,
    },
    /// A value that is signed is missing elsewhere than in a header.
    #[error("`{location}` is missing, empty or repeated")]
    MissingValue {
        /// The location, as in a [`Template`].
        location: String,
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
    /// The public key has to be fetched first.
    #[error("the sender's public key is not known yet")]
    KeyNeeded(KeyRequest),
    /// The request names a certificate at a URL that the sender does not use.
    #[error("the certificate's URL is none of this sender's")]
    ForeignCertificate,
    /// None of the signatures was made with one of the secrets for this request.
    #[error("the signature does not match")]
    Mismatch,
    /// The token is signed, but a claim does not have the expected value, or is missing.
    #[error("the token's `{claim}` is missing or not the expected one")]
    WrongClaim {
        /// Name of the claim, or of the member of the token's header.
        claim: String,
    },
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
    /// The token is signed, but has expired.
    #[error("the token has expired")]
    Expired,
    /// The token is signed, but not valid yet.
    #[error("the token is not valid yet")]
    NotYetValid,
}

/// Verifies a request by each of several schemes in turn. If none succeeds, returns the error of the scheme that got
/// furthest.
pub fn verify_any(
    descriptors: impl IntoIterator<Item = Descriptor>,
    credentials: Credentials<'_>,
    request: SignedRequest<'_>,
    now: Timestamp,
) -> Result<Verified, VerifyError> {
    let mut furthest = VerifyError::Unsigned;
    for descriptor in descriptors {
        match verify_with(&descriptor, credentials, request, now) {
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
    verify_with(descriptor, Credentials { secrets, keys: &[] }, request, now)
}

/// Verifies a request by one scheme: its signature with each of the secrets and keys, and then its timestamp.
pub fn verify_with(
    descriptor: &Descriptor,
    credentials: Credentials<'_>,
    request: SignedRequest<'_>,
    now: Timestamp,
) -> Result<Verified, VerifyError> {
    if !descriptor.when.iter().all(|test| test.holds(request)) {
        return Err(VerifyError::OtherScheme);
    }
    if let Some(member) = descriptor.missing() {
        return Err(VerifyError::RuleNotSet { member });
    }
    for Binding { at, constant } in &descriptor.bound {
        let value = required(&Values::of(request), at)?;
        if value.as_bytes() != self::constant(Some(descriptor), constant)? {
            return Err(VerifyError::OtherValue { location: at.to_string() });
        }
    }
    let keys = signature::usable_keys(descriptor, credentials);
    if keys.is_empty() && descriptor.keys.is_none() {
        return Err(VerifyError::NoUsableSecret);
    }
    let located = descriptor.location.as_ref().map(|location| (location, location.to_string()));
    let found;
    let values = match &located {
        None => SignatureHeader::find_all(descriptor, request.headers)?,
        Some((location, name)) => {
            found = required(&Values::of(request), location)?;
            vec![SignatureHeader::new(descriptor, name, &found)]
        }
    };
    let urls = if descriptor.signed.contains(&Part::Url) { ports(request.url) } else { vec![request.url.into()] };
    let mut outcome: Option<Result<Verified, VerifyError>> = None;
    // All values are tried, even after a match: the time does not depend on which of them match.
    for value in values {
        for url in &urls {
            let attempt = verify_value(descriptor, &keys, value, SignedRequest { url, ..request }, now);
            outcome = Some(match (outcome, attempt) {
                (Some(Err(before)), Err(error)) if before.progress() >= error.progress() => Err(before),
                (Some(Ok(verified)), _) => Ok(verified),
                (_, attempt) => attempt,
            });
        }
    }
    outcome.unwrap_or(Err(VerifyError::Mismatch))
}

/// A URL as it is, without its port, and with the scheme's port. Twilio signs one or the other, and its libraries try
/// both.
fn ports(url: &str) -> Vec<Cow<'_, str>> {
    let mut urls = vec![Cow::Borrowed(url)];
    let Some((scheme, rest)) = url.split_once("://") else { return urls };
    let Some((authority, path)) = rest.split_at_checked(rest.find(['/', '?', '#']).unwrap_or(rest.len())) else {
        return urls;
    };
    let host = host_of(authority);
    let port = if scheme == "https" { 443 } else { 80 };
    for spelling in [format!("{scheme}://{host}{path}"), format!("{scheme}://{host}:{port}{path}")] {
        if spelling != url {
            urls.push(Cow::Owned(spelling));
        }
    }
    urls
}

/// The host in the authority of a URL: what is before the port, if there is one.
pub(super) fn host_of(authority: &str) -> &str {
    // An IPv6 address contains colons, in brackets.
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// Verifies a request by the signatures in one of its values.
fn verify_value(
    descriptor: &Descriptor,
    keys: &[UsableKey<'_>],
    value: SignatureHeader<'_>,
    request: SignedRequest<'_>,
    now: Timestamp,
) -> Result<Verified, VerifyError> {
    if descriptor.algorithm.is_jwt() {
        let token = jwt::verify(descriptor, keys, value, request, now)?;
        let values = Values { request, signature: None, claims: Some(&token.claims) };
        if let Some(spec) = &descriptor.timestamp {
            let TimestampLocation::Claim(name) = &spec.location else { return Err(VerifyError::InvalidTimestamp) };
            check_timestamp(spec, payload::claim(&token.claims, name).as_deref(), request.body, now)?;
        }
        return Ok(verified(descriptor, values, &[], token.key));
    }
    let signatures = match descriptor.algorithm {
        Algorithm::Basic => vec![value.credentials("Basic").ok_or_else(|| value.malformed())?],
        _ => value.signatures()?,
    };
    let values = Values { request, signature: Some(value), claims: None };
    let timestamp = signed_timestamp(descriptor.timestamp.as_ref(), &values)?;
    let message = message(descriptor, &values, timestamp)?;
    let pieces: Vec<Piece<'_>> = message.iter().map(|(_, piece)| piece.clone()).collect();
    let certificate = certificate_url(descriptor, &values)?;
    let meant: Vec<_> = keys.iter().filter(|key| key.is_meant(certificate.as_deref())).collect();
    if let (Some(id), true) = (certificate, meant.is_empty()) {
        return Err(VerifyError::KeyNeeded(KeyRequest { url: id.clone(), id }));
    }
    let key = signature::matching_key(descriptor, meant, &signatures, &pieces).ok_or(VerifyError::Mismatch)?;

    // The signature is valid. Only now is a timestamp in the body read.
    if let Some(spec) = descriptor.timestamp.as_ref().filter(|spec| !(spec.optional && timestamp.is_none())) {
        check_timestamp(spec, timestamp, request.body, now)?;
    }
    Ok(verified(descriptor, values, &message, key))
}

/// The text of a timestamp in a header or a pair. `None` for one in the body, and for one that is optional and missing.
fn signed_timestamp<'a>(spec: Option<&TimestampSpec>, values: &Values<'a>) -> Result<Option<&'a str>, VerifyError> {
    let Some(spec) = spec else { return Ok(None) };
    match &spec.location {
        TimestampLocation::Header(name) if spec.optional => header::single(values.request.headers, name),
        TimestampLocation::Header(name) => header::required(values.request.headers, name).map(Some),
        TimestampLocation::Field(name) => {
            let found = values.signature.map_or(Ok(None), |signature| signature.pair(name))?;
            if found.is_none() && !spec.optional { Err(VerifyError::InvalidTimestamp) } else { Ok(found) }
        }
        TimestampLocation::Pointer(_) | TimestampLocation::Claim(_) => Ok(None),
    }
}

/// The URL of the certificate that the request names, if the sender signs by one.
fn certificate_url(descriptor: &Descriptor, values: &Values<'_>) -> Result<Option<String>, VerifyError> {
    let Some(source @ KeySource::Certificate { from, .. }) = &descriptor.keys else { return Ok(None) };
    let url = required(values, from)?.into_owned();
    if source.permits(&url) { Ok(Some(url)) } else { Err(VerifyError::ForeignCertificate) }
}

/// The result for a request whose signature is valid.
fn verified(
    descriptor: &Descriptor,
    values: Values<'_>,
    message: &[(bool, Piece<'_>)],
    secret_index: usize,
) -> Verified {
    let id = values.text(descriptor.id.as_ref());
    let event_type = values.text(descriptor.event_type.as_ref());
    let digest = digest(descriptor, message, values.request.body);
    let identity = match &id {
        Some(id) if descriptor.id_is_covered() => Identity::Id(id.clone()),
        Some(id) => Identity::IdAndDigest { id: id.clone(), digest },
        None => match (idempotency_key(descriptor, values.request.headers), descriptor.repeat) {
            (Some(key), _) => Identity::Key { key, digest },
            (None, Some(Repeat::Body)) => Identity::Digest(digest),
            (None, None) => Identity::Unknown { digest },
        },
    };
    Verified { id, event_type, identity, secret_index }
}

/// The request's `Idempotency-Key`, if the sender has no id of its own.
fn idempotency_key(descriptor: &Descriptor, headers: &HeaderMap) -> Option<String> {
    if descriptor.id.is_some() {
        return None;
    }
    header::single(headers, "idempotency-key").ok()?.map(str::to_owned)
}

/// Returns the event's type, by the first of the schemes that finds one. It can be trusted only if it is in the payload
/// and the request was verified.
pub fn event_type(
    descriptors: impl IntoIterator<Item = Descriptor>,
    headers: &HeaderMap,
    payload: &RawValue,
) -> Option<String> {
    let request = SignedRequest { method: "POST", headers, url: "", body: payload.get().as_bytes() };
    descriptors.into_iter().find_map(|descriptor| Values::of(request).text(descriptor.event_type.as_ref()))
}

/// A value that must be present.
fn required<'a>(values: &Values<'a>, location: &ValueLocation) -> Result<Cow<'a, str>, VerifyError> {
    values.find(location)?.ok_or_else(|| match location {
        ValueLocation::Header(header) => VerifyError::MissingHeader { header: header.clone() },
        other => VerifyError::MissingValue { location: other.to_string() },
    })
}

/// The signed message, in pieces; empty for a token. Each piece comes with whether it is the same in each attempt.
fn message<'a>(
    descriptor: &'a Descriptor,
    values: &Values<'a>,
    timestamp: Option<&'a str>,
) -> Result<Vec<(bool, Piece<'a>)>, VerifyError> {
    if descriptor.algorithm.is_bearer() {
        return Ok(Vec::new());
    }
    pieces(&descriptor.signed, Some(descriptor), values, timestamp)
}

/// The pieces of a message. Without a descriptor, it has no id, no timestamp and no constants.
pub(super) fn pieces<'a>(
    template: &'a Template,
    descriptor: Option<&'a Descriptor>,
    values: &Values<'a>,
    timestamp: Option<&'a str>,
) -> Result<Vec<(bool, Piece<'a>)>, VerifyError> {
    let mut pieces = Vec::new();
    for part in template.parts() {
        let Part::If(condition, within) = part else {
            pieces.push(piece(part, descriptor, values, timestamp)?);
            continue;
        };
        let holds = match condition {
            Condition::Timestamp => timestamp.is_some(),
            Condition::Value(location) => values.find(location)?.is_some(),
        };
        for part in within.iter().filter(|_| holds) {
            pieces.push(piece(part, descriptor, values, timestamp)?);
        }
    }
    Ok(pieces)
}

/// One piece of a message.
fn piece<'a>(
    part: &'a Part,
    descriptor: Option<&'a Descriptor>,
    values: &Values<'a>,
    timestamp: Option<&'a str>,
) -> Result<(bool, Piece<'a>), VerifyError> {
    let SignedRequest { method, headers, url, body } = values.request;
    let bytes = match part {
        Part::Secret => return Ok((true, Piece::Secret)),
        Part::Body => Cow::Borrowed(body),
        Part::BodySha256 => Cow::Owned(hex(&Sha256::digest(body)).into_bytes()),
        Part::BodyCrc32 => Cow::Owned(crc32(body).to_string().into_bytes()),
        Part::Timestamp => Cow::Borrowed(timestamp.ok_or(VerifyError::InvalidTimestamp)?.as_bytes()),
        Part::Id => {
            let id = descriptor.and_then(|descriptor| descriptor.id.as_ref());
            let Some(ValueLocation::Header(name)) = id else { return Err(VerifyError::Mismatch) };
            Cow::Borrowed(header::required(headers, name)?.as_bytes())
        }
        Part::Method => Cow::Borrowed(method.as_bytes()),
        Part::Url => Cow::Borrowed(url.as_bytes()),
        Part::Params => Cow::Owned(params(values.request)?.into_bytes()),
        Part::Constant(name) => Cow::Borrowed(constant(descriptor, name)?),
        Part::Value(location) => match required(values, location)? {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        },
        Part::Text(text) => Cow::Borrowed(text.as_bytes()),
        // A check rejects both in `signed`.
        Part::Signature | Part::If(..) => return Err(VerifyError::Mismatch),
    };
    Ok((!matches!(part, Part::Timestamp), Piece::Bytes(bytes)))
}

/// One of the descriptor's constants. A preset has it empty: only the operator knows it.
fn constant<'a>(descriptor: Option<&'a Descriptor>, name: &str) -> Result<&'a [u8], VerifyError> {
    let found = descriptor.and_then(|descriptor| descriptor.constants.get(name)).filter(|text| !text.is_empty());
    let missing = || VerifyError::RuleNotSet { member: format!("sender.constants.{name}") };
    found.map(String::as_bytes).ok_or_else(missing)
}

/// The CRC-32 of some bytes (ISO 3309), as in zlib and PNG.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    let next = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc));
    !bytes.iter().fold(u32::MAX, next)
}

/// The text of [`Part::Params`]: the fields of a form, or an empty text for a body whose SHA-256 is in the URL, which
/// is signed too.
fn params(request: SignedRequest<'_>) -> Result<String, VerifyError> {
    let body_digest =
        form_urlencoded::parse(locate::query(request.url).as_bytes()).find(|(name, _)| name == "bodySHA256");
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

/// Parses a timestamp.
pub(super) fn parse_timestamp(unit: Unit, text: &str) -> Option<Timestamp> {
    let number = || Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?.parse::<u64>().ok();
    match unit {
        Unit::Seconds => Some(Timestamp(number()?.saturating_mul(1_000))),
        Unit::Milliseconds => Some(Timestamp(number()?)),
        Unit::Rfc3339 => {
            let time = chrono::DateTime::parse_from_rfc3339(text).ok()?;
            Some(Timestamp(u64::try_from(time.timestamp_millis()).ok()?))
        }
        Unit::Iso8601Utc => {
            parse_timestamp(Unit::Rfc3339, text).or_else(|| parse_timestamp(Unit::Rfc3339, &format!("{text}Z")))
        }
        Unit::HttpDate => {
            let since = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
            Some(Timestamp(0).plus(since))
        }
    }
}

/// The digest of what is signed. If the message contains the fields of a form or only a part of the body, its stable
/// pieces are hashed, since two encodings of the same fields are the same event.
fn digest(descriptor: &Descriptor, message: &[(bool, Piece<'_>)], body: &[u8]) -> String {
    let mut hash = Sha256::new();
    let has_body = descriptor.signed.contains(&Part::Body) || descriptor.signed.contains(&Part::BodySha256);
    if !message.is_empty() && !has_body {
        for (_, piece) in message.iter().filter(|(is_stable, _)| *is_stable) {
            hash.update(piece.bytes(&[]));
        }
    } else {
        stable_body(descriptor, body).for_each(|part| hash.update(part));
    }
    hex(&hash.finalize())
}

/// The body without the values that change with each attempt.
fn stable_body<'a>(descriptor: &Descriptor, body: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let timestamp = match descriptor.timestamp.as_ref().map(|spec| &spec.location) {
        Some(TimestampLocation::Pointer(pointer)) => Some(pointer),
        _ => None,
    };
    let mut spans: Vec<_> = timestamp
        .into_iter()
        .chain(&descriptor.unstable)
        .filter_map(|pointer| {
            let value = payload::value_at(json::value(body).ok()?, pointer)?.get();
            let start = value.as_ptr().addr().checked_sub(body.as_ptr().addr())?;
            Some((start, start.checked_add(value.len())?))
        })
        .collect();
    spans.sort_unstable();
    let starts = std::iter::once(0).chain(spans.clone().into_iter().map(|(_, end)| end));
    let ends = spans.into_iter().map(|(start, _)| start).chain(std::iter::once(body.len()));
    // A value within another one leaves a range that is reversed, and so yields nothing.
    starts.zip(ends).collect::<Vec<_>>().into_iter().filter_map(|(start, end)| body.get(start..end))
}

impl VerifyError {
    /// Returns whether the signature is valid, and only the time is not.
    pub(super) fn is_about_time(&self) -> bool {
        matches!(self, Self::TooOld { .. } | Self::TooNew { .. } | Self::Expired | Self::NotYetValid)
    }

    /// The rank of the step at which the verification failed.
    pub fn progress(&self) -> u8 {
        match self {
            Self::Unsigned | Self::OtherScheme => 0,
            Self::NoUsableSecret | Self::RuleNotSet { .. } => 1,
            Self::MissingHeader { .. } => 2,
            Self::MalformedHeader { .. } | Self::MissingValue { .. } | Self::InvalidTimestamp => 3,
            // Of several schemes with a token, the one that the token names gets further.
            Self::WrongClaim { claim } if claim == "alg" => 3,
            Self::ForeignCertificate | Self::Mismatch | Self::OtherValue { .. } => 4,
            Self::KeyNeeded(_) => 5,
            Self::WrongClaim { .. } => 6,
            Self::TooOld { .. } | Self::TooNew { .. } | Self::Expired | Self::NotYetValid => 7,
        }
    }
}
