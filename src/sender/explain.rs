//! Near misses: the changes that would have made a refused request fit. For the log and the operator, never for the
//! sender.

use std::borrow::Cow;

use super::descriptor::{Algorithm, Descriptor, Encoding, KeyEncoding, TimestampLocation};
use super::signature::Credentials;
use super::template::Part;
use super::verify::{SignedRequest, VerifyError, host_of, parse_timestamp, verify_with};
use crate::json;
use crate::secret::Secret;
use crate::time::Timestamp;

/// Maximum length of a body for which near misses are looked for, in bytes. Each look hashes the body.
pub const MAX_EXPLAINED_BODY: usize = 65_536;

/// Maximum number of looks for one request.
pub const MAX_LOOKS: usize = 48;

/// A change that would have made a request fit. Contains no secret, signature, query or part of the body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NearMiss {
    /// The sender signed another URL.
    #[error("it would match for {url}: set `public_url`, or the URL at the sender")]
    Url {
        /// The URL, without its query.
        url: String,
    },
    /// The body was changed on its way by white space at its end.
    #[error("it would match if the body {change}: something on the way changes the body")]
    Body {
        /// The change, such as "ended in a line break".
        change: &'static str,
    },
    /// The secret has white space around it.
    #[error("it would match without the white space around the secret")]
    WhiteSpace,
    /// The secret is right, but its form is another.
    #[error("it would match if the secret had the encoding `{encoding}`")]
    KeyEncoding {
        /// The name of the encoding in a descriptor.
        encoding: &'static str,
    },
    /// The secret is right, but the scheme is another.
    #[error("it would match by the algorithm `{algorithm}` and the encoding `{encoding}`")]
    Algorithm {
        /// The name of the algorithm in a descriptor.
        algorithm: &'static str,
        /// The name of the encoding in a descriptor.
        encoding: &'static str,
    },
    /// The request is signed with the secret of another source.
    #[error("it is signed with the secret of the source `{source_name}`")]
    Source {
        /// Name of the source.
        source_name: String,
    },
    /// The sender's clock differs from this one.
    #[error("its timestamp is {seconds} seconds {direction} this clock")]
    Clock {
        /// The difference.
        seconds: u64,
        /// "behind" or "ahead of".
        direction: &'static str,
    },
}

/// Looks for a change that would have made a refused request fit. `others` are the secrets of other sources by name.
/// `None` if nothing does, or the body is longer than [`MAX_EXPLAINED_BODY`]. Takes up to [`MAX_LOOKS`] verifications:
/// callers bound how often it is called.
pub fn near_miss<'o>(
    descriptor: &Descriptor,
    credentials: Credentials<'_>,
    request: SignedRequest<'_>,
    now: Timestamp,
    error: &VerifyError,
    others: impl IntoIterator<Item = (&'o str, &'o [Secret])>,
) -> Option<NearMiss> {
    match error {
        VerifyError::TooOld { .. } | VerifyError::TooNew { .. } => clock(descriptor, request, now),
        VerifyError::Mismatch | VerifyError::WrongClaim { .. } | VerifyError::NoUsableSecret
            if request.body.len() <= MAX_EXPLAINED_BODY =>
        {
            let mut looks = Looks { descriptor, credentials, request, now, left: MAX_LOOKS };
            looks
                .url()
                .or_else(|| looks.body())
                .or_else(|| looks.secret())
                .or_else(|| looks.scheme())
                .or_else(|| looks.source(others))
        }
        _ => None,
    }
}

/// The difference between the timestamp and this clock.
fn clock(descriptor: &Descriptor, request: SignedRequest<'_>, now: Timestamp) -> Option<NearMiss> {
    let spec = descriptor.timestamp.as_ref()?;
    let text = match &spec.location {
        TimestampLocation::Header(name) => request.headers.get(name)?.to_str().ok()?.to_owned(),
        TimestampLocation::Pointer(pointer) => super::payload::text_at(request.body, pointer)?,
        TimestampLocation::Field(name) => super::header::SignatureHeader::find_all(descriptor, request.headers)
            .ok()?
            .iter()
            .find_map(|header| header.pair(name).ok().flatten())?
            .to_owned(),
        TimestampLocation::Claim(_) => return None,
    };
    let sent = parse_timestamp(spec.unit, text.trim())?;
    let direction = if sent < now { "behind" } else { "ahead of" };
    let seconds = sent.0.abs_diff(now.0) / 1_000;
    Some(NearMiss::Clock { seconds, direction })
}

/// A refused request, and the number of looks that are left.
struct Looks<'a> {
    descriptor: &'a Descriptor,
    credentials: Credentials<'a>,
    request: SignedRequest<'a>,
    now: Timestamp,
    left: usize,
}

impl Looks<'_> {
    /// Returns whether a request is signed right. Its time is not regarded.
    fn fits(&mut self, descriptor: &Descriptor, credentials: Credentials<'_>, request: SignedRequest<'_>) -> bool {
        let Some(left) = self.left.checked_sub(1) else { return false };
        self.left = left;
        match verify_with(descriptor, credentials, request, self.now) {
            Ok(_) => true,
            Err(error) => error.is_about_time(),
        }
    }

    fn url(&mut self) -> Option<NearMiss> {
        let Self { descriptor, credentials, request, .. } = *self;
        let signs_url = descriptor.signed.contains(&Part::Url) && !descriptor.algorithm.is_jwt();
        if !signs_url && descriptor.jwt.as_ref().is_none_or(|rules| rules.url.is_none()) {
            return None;
        }
        let url = spellings(request.url)
            .into_iter()
            .find(|url| self.fits(descriptor, credentials, SignedRequest { url, ..request }))?;
        Some(NearMiss::Url { url: url.split(['?', '#']).next().unwrap_or_default().to_owned() })
    }

    fn body(&mut self) -> Option<NearMiss> {
        let Self { descriptor, credentials, request, .. } = *self;
        let body = request.body;
        let trimmed = body.trim_ascii_end();
        let changes: [(&'static str, Cow<'_, [u8]>); 5] = [
            ("did not end in white space", Cow::Borrowed(trimmed)),
            ("ended in a line break", Cow::Owned([trimmed, b"\n"].concat())),
            ("ended in a line break of Windows", Cow::Owned([trimmed, b"\r\n"].concat())),
            ("had no byte order mark", Cow::Borrowed(json::bytes_without_mark(body))),
            ("began with a byte order mark", Cow::Owned([json::BYTE_ORDER_MARK, body].concat())),
        ];
        changes
            .into_iter()
            .filter(|(_, changed)| changed.as_ref() != body)
            .find(|(_, changed)| self.fits(descriptor, credentials, SignedRequest { body: changed, ..request }))
            .map(|(change, _)| NearMiss::Body { change })
    }

    fn secret(&mut self) -> Option<NearMiss> {
        let Self { descriptor, credentials, request, .. } = *self;
        let trimmed: Vec<Secret> = credentials
            .secrets
            .iter()
            .filter(|secret| secret.expose().trim() != secret.expose())
            .map(|secret| Secret::new(secret.expose().trim()))
            .collect();
        if !trimmed.is_empty() && self.fits(descriptor, Credentials { secrets: &trimmed, ..credentials }, request) {
            return Some(NearMiss::WhiteSpace);
        }
        if descriptor.algorithm.has_public_key() || descriptor.algorithm.is_bearer() {
            return None;
        }
        let encodings = [(KeyEncoding::Raw, "raw"), (KeyEncoding::Hex, "hex"), (KeyEncoding::Base64, "base64")];
        for (encoding, name) in encodings {
            let mut other = descriptor.clone();
            other.key_format.encoding = encoding;
            // With `raw`, the key is the whole text, as for Stripe.
            if encoding == KeyEncoding::Raw {
                other.key_format.prefix.clear();
            }
            if other.key_format != descriptor.key_format && self.fits(&other, credentials, request) {
                return Some(NearMiss::KeyEncoding { encoding: name });
            }
        }
        None
    }

    fn scheme(&mut self) -> Option<NearMiss> {
        let Self { descriptor, credentials, request, .. } = *self;
        let algorithms = [
            (Algorithm::HmacSha256, "hmac-sha256"),
            (Algorithm::HmacSha1, "hmac-sha1"),
            (Algorithm::HmacSha512, "hmac-sha512"),
        ];
        if !algorithms.iter().any(|(algorithm, _)| *algorithm == descriptor.algorithm) {
            return None;
        }
        let encodings = [(Encoding::Hex, "hex"), (Encoding::Base64, "base64"), (Encoding::Base64Url, "base64url")];
        for (algorithm, algorithm_name) in algorithms {
            for (encoding, encoding_name) in encodings {
                let other = Descriptor { algorithm, encoding, ..descriptor.clone() };
                if other != *descriptor && self.fits(&other, credentials, request) {
                    return Some(NearMiss::Algorithm { algorithm: algorithm_name, encoding: encoding_name });
                }
            }
        }
        None
    }

    fn source<'o>(&mut self, others: impl IntoIterator<Item = (&'o str, &'o [Secret])>) -> Option<NearMiss> {
        let Self { descriptor, request, left, .. } = *self;
        others
            .into_iter()
            .take(left)
            .find(|(_, secrets)| self.fits(descriptor, Credentials { secrets, keys: &[] }, request))
            .map(|(name, _)| NearMiss::Source { source_name: name.to_owned() })
    }
}

/// Other spellings of a URL that senders and proxies confuse: the scheme, the default port, and a slash at the end of
/// the path. Those without a port come first, since verification tries a URL without its port as well.
pub(super) fn spellings(url: &str) -> Vec<String> {
    let Some((scheme, rest)) = url.split_once("://") else { return Vec::new() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let Some((authority, rest)) = rest.split_at_checked(end) else { return Vec::new() };
    let (path, query) = rest.split_at_checked(rest.find(['?', '#']).unwrap_or(rest.len())).unwrap_or((rest, ""));
    let host = host_of(authority);
    let without = path.trim_end_matches('/');
    let mut spellings = Vec::new();
    for scheme in [scheme, if scheme == "https" { "http" } else { "https" }] {
        let port = if scheme == "https" { ":443" } else { ":80" };
        for authority in [host.to_owned(), authority.to_owned(), format!("{host}{port}")] {
            for path in [path.to_owned(), without.to_owned(), format!("{without}/")] {
                let spelling = format!("{scheme}://{authority}{path}{query}");
                if spelling != url && !spellings.contains(&spelling) {
                    spellings.push(spelling);
                }
            }
        }
    }
    spellings
}
