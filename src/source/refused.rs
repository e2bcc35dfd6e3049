//! The last refused requests of a source, and the last verified one, as they are stored for the operator.

use std::time::Duration;

use http::HeaderMap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::json;
use crate::secret::Secret;
use crate::sender::{Credentials, Descriptor, PublicKey, SignedRequest, VerifyError, near_miss};
use crate::time::{MAX_CLOCK_SKEW, Timestamp};

/// Maximum number of entries of a list.
pub const MAX_REFUSED: usize = 8;

/// The shortest time between two writes about a source. Requests that are refused meanwhile are not remembered.
pub const NOTE_INTERVAL: Duration = Duration::from_secs(60);

/// Maximum length of a sentence, in bytes.
const MAX_SENTENCE: usize = 512;
/// Maximum number of header names.
const MAX_HEADERS: usize = 32;
/// Maximum length of a header name, in bytes. A longer one is left out.
const MAX_HEADER_NAME: usize = 64;
/// Length of a body's digest, in hexadecimal digits. Too short to tell a body by it, long enough to find one that is
/// known.
const DIGEST_DIGITS: usize = 16;

/// The version of [`LastRefused`].
const VERSION: u32 = 1;
/// The version of [`LastVerified`].
const VERIFIED_VERSION: u32 = 2;

/// A request that was refused. Contains no secret, no signature, no header's value, no query, and no part of the body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// When it was refused last.
    pub at: Timestamp,
    /// The number of minutes in which a request was refused for this reason.
    pub count: u32,
    /// The last part of the problem's type, such as `invalid-signature`.
    pub reason: String,
    /// The part of the request that failed.
    pub detail: String,
    /// The change that would have made it fit, if one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub near_miss: Option<String>,
    /// The names of its headers, sorted.
    #[serde(default)]
    pub headers: Vec<String>,
    /// The number of bytes of its body; `None` if the body was not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The first 16 hexadecimal digits of the body's SHA-256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

impl Refused {
    /// A request that was refused before its body was read, or whose body does not matter. `detail` is a sentence
    /// without a final period, and must contain nothing that is secret.
    pub fn new(reason: &str, detail: &str, headers: &HeaderMap, now: Timestamp) -> Self {
        let mut names: Vec<_> = headers
            .keys()
            .map(|name| name.as_str())
            .filter(|name| name.len() <= MAX_HEADER_NAME && !name.starts_with("spin-"))
            .map(str::to_owned)
            .collect();
        names.sort_unstable();
        names.truncate(MAX_HEADERS);
        Self {
            at: now,
            count: 1,
            reason: cut(reason),
            detail: cut(detail),
            near_miss: None,
            headers: names,
            size: None,
            digest: None,
        }
    }

    /// Adds the size and the digest of the body.
    #[must_use]
    pub fn with_body(self, body: &[u8]) -> Self {
        let mut digest = base16ct::lower::encode_string(&Sha256::digest(body));
        digest.truncate(DIGEST_DIGITS);
        Self { size: u64::try_from(body.len()).ok(), digest: Some(digest), ..self }
    }

    /// Whether another request was refused for the same reason.
    fn is_like(&self, other: &Self) -> bool {
        (&self.reason, &self.detail, &self.near_miss) == (&other.reason, &other.detail, &other.near_miss)
    }
}

/// The beginning of a sentence.
fn cut(text: &str) -> String {
    text.get(..text.floor_char_boundary(MAX_SENTENCE)).unwrap_or_default().to_owned()
}

/// A request whose signature is not valid, with all that explains why: it owns its parts, so it outlives the response.
#[derive(Clone, Debug)]
pub struct FailedVerification {
    /// The error.
    pub error: VerifyError,
    /// The scheme by which it was verified.
    pub descriptor: Descriptor,
    /// The secrets of the source.
    pub secrets: Vec<Secret>,
    /// The public keys that were fetched for it.
    pub keys: Vec<PublicKey>,
    /// The method.
    pub method: String,
    /// The URL, as it was verified.
    pub url: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
    /// The secrets of other sources, by their names.
    pub others: Vec<(String, Vec<Secret>)>,
}

impl FailedVerification {
    /// Looks for a change that would have made it fit. Takes up to [`MAX_LOOKS`](crate::sender::MAX_LOOKS) verifications.
    pub fn explain(&self, reason: &str, now: Timestamp) -> Refused {
        let request = SignedRequest { method: &self.method, headers: &self.headers, url: &self.url, body: &self.body };
        let credentials = Credentials { secrets: &self.secrets, keys: &self.keys };
        let others = self.others.iter().map(|(name, secrets)| (&**name, &**secrets));
        let miss = near_miss(&self.descriptor, credentials, request, now, &self.error, others);
        Refused {
            near_miss: miss.map(|miss| cut(&miss.to_string())),
            ..Refused::new(reason, &self.error.to_string(), &self.headers, now).with_body(&self.body)
        }
    }
}

/// The last refused requests of a source, or of those that belong to none, as they are stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRefused {
    v: u32,
    /// The name of the source; `None` for requests that belong to none.
    pub source: Option<String>,
    /// The requests, the last one first: at most [`MAX_REFUSED`].
    pub refused: Vec<Refused>,
}

impl LastRefused {
    /// An empty list.
    pub fn new(source: Option<&str>) -> Self {
        Self { v: VERSION, source: source.map(str::to_owned), refused: Vec::new() }
    }

    /// Reads the stored form; `None` for a text of another version.
    pub fn read(text: &str) -> Option<Self> {
        json::read(text.as_bytes()).ok().filter(|list: &Self| list.v == VERSION)
    }

    /// The stored form: JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Whether a request that is refused now is added: the last one that was added is [`NOTE_INTERVAL`] old.
    pub fn is_open(&self, now: Timestamp) -> bool {
        is_past(self.refused.first().map(|refused| refused.at), now)
    }

    /// Adds a request. One for the same reason takes the place of the earlier one, so that a sender which repeats its
    /// request leaves the others in the list.
    pub fn add(&mut self, mut refused: Refused) {
        if let Some(at) = self.refused.iter().position(|earlier| earlier.is_like(&refused)) {
            refused.count = self.refused.remove(at).count.saturating_add(1);
        }
        self.refused.insert(0, refused);
        self.refused.truncate(MAX_REFUSED);
    }
}

/// When a request of a source was last verified, by a signature or by a token of the source, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LastVerified {
    v: u32,
    /// The name of the source.
    pub source: String,
    /// When. Up to [`NOTE_INTERVAL`] before the last request.
    pub at: Timestamp,
    /// The last use of an old secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<OldSecret>,
}

/// The last use of a secret that is not the first one of its source. A source whose secret was replaced lists the new
/// one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OldSecret {
    /// The index of the secret in the source's `secrets`.
    pub index: usize,
    /// When. Up to [`NOTE_INTERVAL`] before the last request.
    pub at: Timestamp,
}

impl OldSecret {
    /// The index of the secret that has verified a request, if it is an old one: a secret, and not the first one. After
    /// the secrets come the keys that were fetched.
    pub fn index_of(secret_index: usize, secrets: usize) -> Option<usize> {
        Some(secret_index).filter(|index| (1..secrets).contains(index))
    }
}

impl LastVerified {
    /// The note of a request that is verified now: by an old secret, by its index, or otherwise.
    pub fn new(source: &str, old_secret: Option<usize>, now: Timestamp) -> Self {
        let old = old_secret.map(|index| OldSecret { index, at: now });
        Self { v: VERIFIED_VERSION, source: source.to_owned(), at: now, old }
    }

    /// Reads the stored form; `None` for a text of another version. Version 1 was written only for an old secret.
    pub fn read(text: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Stored {
            v: u32,
            source: String,
            at: Timestamp,
            #[serde(default)]
            old: Option<OldSecret>,
            /// The index of the old secret, in version 1.
            #[serde(default)]
            secret: Option<usize>,
        }
        let Stored { v, source, at, old, secret } = json::read(text.as_bytes()).ok()?;
        let old = match v {
            1 => Some(OldSecret { index: secret?, at }),
            VERIFIED_VERSION => old,
            _ => return None,
        };
        Some(Self { v: VERIFIED_VERSION, source, at, old })
    }

    /// The stored form: JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The note to be written in place of this one, given the note of a request that is verified now; `None` if this one
    /// is recent enough: no time in it that the request would renew is [`NOTE_INTERVAL`] old.
    pub fn renewed(&self, by: Self) -> Option<Self> {
        let is_due = is_past(Some(self.at), by.at);
        let is_old_due = by.old.is_some_and(|old| is_past(self.old.map(|noted| noted.at), old.at));
        (is_due || is_old_due).then(|| Self { old: by.old.or(self.old), ..by })
    }
}

/// Whether a note of this time is [`NOTE_INTERVAL`] old. One from the future was written by a clock that was wrong.
fn is_past(noted: Option<Timestamp>, now: Timestamp) -> bool {
    noted.is_none_or(|at| at > now.plus(MAX_CLOCK_SKEW) || now.since(at) >= NOTE_INTERVAL)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::sender::{MAX_EXPLAINED_BODY, verify};

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn refused(detail: &str, at: Timestamp) -> Refused {
        Refused::new("invalid-signature", detail, &HeaderMap::new(), at)
    }

    #[test]
    fn list_takes_one_request_a_minute() {
        let mut list = LastRefused::new(Some("acme"));
        assert!(list.is_open(NOW));
        list.add(refused("the header `x` is missing", NOW));
        for (ms, is_open) in [(0, false), (1, false), (59_999, false), (60_000, true), (u64::MAX / 2, true)] {
            assert_eq!(list.is_open(Timestamp(NOW.0 + ms)), is_open, "{ms}");
        }
        // A clock that is a little behind, and one that was a day ahead.
        assert!(!list.is_open(NOW.minus(MAX_CLOCK_SKEW)));
        assert!(list.is_open(NOW.minus(Duration::from_secs(86_400))));
    }

    #[test]
    fn repeated_refusal_does_not_push_out_the_others() {
        let mut list = LastRefused::new(None);
        list.add(refused("once", NOW));
        for n in 1..=30 {
            list.add(refused("again", Timestamp(NOW.0 + n)));
        }
        assert_eq!(list.refused.len(), 2);
        assert_eq!((list.refused[0].count, list.refused[0].at, list.refused[1].count), (30, Timestamp(NOW.0 + 30), 1));
        list.add(refused("once", Timestamp(NOW.0 + 31)));
        assert_eq!((&*list.refused[0].detail, list.refused[0].count), ("once", 2));
        for n in 0..20 {
            list.add(refused(&n.to_string(), NOW));
        }
        let details: Vec<_> = list.refused.iter().map(|refused| &*refused.detail).collect();
        assert_eq!(details, ["19", "18", "17", "16", "15", "14", "13", "12"]);
        list.refused[0].count = u32::MAX;
        list.add(refused("19", NOW));
        assert_eq!(list.refused[0].count, u32::MAX);
    }

    #[test]
    fn list_has_a_bounded_length() {
        let mut headers = HeaderMap::new();
        for n in 0..300 {
            let name = http::HeaderName::try_from(format!("x-{n}-{}", "h".repeat(n))).unwrap();
            headers.insert(name, HeaderValue::from_static("v"));
        }
        let mut list = LastRefused::new(Some(&"s".repeat(63)));
        for n in 0..MAX_REFUSED {
            let detail = format!("{n}{}", "\u{1}é".repeat(1_000));
            list.add(FailedVerification { headers: headers.clone(), ..failed(b"") }.explain(&detail, NOW));
        }
        assert_eq!(list.refused[0].headers.len(), MAX_HEADERS);
        assert!(list.to_json().len() < 64_000, "{}", list.to_json().len());
        assert_eq!(LastRefused::read(&list.to_json()), Some(list));
    }

    /// A request that is signed with another secret than that of its source.
    fn failed(body: &[u8]) -> FailedVerification {
        let descriptor =
            Descriptor::parse(r#"{"algorithm":"hmac-sha256","headers":["x-sig"],"signed":"{body}"}"#).unwrap();
        let mut headers = HeaderMap::new();
        let signature = base16ct::lower::encode_string(&Secret::new("f0reign-s3cret").mac(body));
        headers.insert("x-sig", HeaderValue::try_from(signature).unwrap());
        headers.insert("authorization", HeaderValue::from_static("Bearer t0ken"));
        headers.insert("spin-full-url", HeaderValue::from_static("http://h/?access_token=t0ken"));
        let url = "https://hooks.example/api/v2/webhook?access_token=t0ken".to_owned();
        let secrets = vec![Secret::new("own-s3cret")];
        let request = SignedRequest { method: "POST", headers: &headers, url: &url, body };
        let error = verify(&descriptor, &secrets, request, NOW).unwrap_err();
        let others = vec![("partner".to_owned(), vec![Secret::new("f0reign-s3cret")])];
        let (keys, method, body) = (Vec::new(), "POST".to_owned(), body.to_vec());
        FailedVerification { error, descriptor, secrets, keys, method, url, headers, body, others }
    }

    #[test]
    fn refused_request_says_what_would_have_fitted() {
        let failed = failed(br#"{"card":"4711"}"#);
        let refused = failed.explain("invalid-signature", NOW);
        assert_eq!(refused.detail, "the signature does not match");
        assert_eq!(refused.near_miss.as_deref(), Some("it is signed with the secret of the source `partner`"));
        assert_eq!(refused.headers, ["authorization", "x-sig"]);
        let digest = base16ct::lower::encode_string(&Sha256::digest(&failed.body));
        assert_eq!((refused.size, refused.digest.as_deref()), (Some(15), digest.get(..16)));
        // Without that source, nothing is known.
        let alone = FailedVerification { others: Vec::new(), ..failed };
        assert_eq!(alone.explain("invalid-signature", NOW).near_miss, None);
    }

    #[test]
    fn stored_form_has_nothing_secret() {
        for body in [br#"{"card":"4711"}"#.to_vec(), vec![b'4'; MAX_EXPLAINED_BODY + 1]] {
            let failed = failed(&body);
            let mut list = LastRefused::new(Some("acme"));
            list.add(failed.explain("invalid-signature", NOW));
            let text = list.to_json();
            let signature = failed.headers["x-sig"].to_str().unwrap();
            for hidden in ["s3cret", "t0ken", signature, "4711", "access_token", "444"] {
                assert!(!text.contains(hidden), "{hidden} in {text}");
            }
        }
    }

    #[test]
    fn old_secret_is_one_after_the_first() {
        for (index, secrets, is_old) in
            [(0, 1, false), (0, 2, false), (1, 2, true), (2, 3, true), (1, 1, false), (2, 2, false), (0, 0, false)]
        {
            assert_eq!(OldSecret::index_of(index, secrets), is_old.then_some(index), "{index} of {secrets}");
        }
    }

    #[test]
    fn verified_request_renews_the_note_once_a_minute() {
        let note = |old_secret, ms| LastVerified::new("acme", old_secret, Timestamp(NOW.0 + ms));
        for stored in [note(None, 0), note(Some(1), 0)] {
            for (ms, is_written) in [(0, false), (59_999, false), (60_000, true), (u64::MAX / 2, true)] {
                let renewed = stored.renewed(note(None, ms));
                let expected = LastVerified { old: stored.old, ..note(None, ms) };
                assert_eq!(renewed, is_written.then_some(expected), "after {ms} ms");
            }
        }
        // The use of an old secret is noted although another request was noted just before, and renews both times.
        assert_eq!(note(None, 0).renewed(note(Some(1), 1)), Some(note(Some(1), 1)));
        assert_eq!(note(Some(1), 0).renewed(note(Some(2), 59_999)), None);
        assert_eq!(note(Some(1), 0).renewed(note(Some(2), 60_000)), Some(note(Some(2), 60_000)));
        // A clock that was a day ahead.
        assert!(note(None, 86_400_000).renewed(note(None, 0)).is_some());
        for stored in [note(None, 5), note(Some(1), 5)] {
            assert_eq!(LastVerified::read(&stored.to_json()), Some(stored));
        }
    }

    #[test]
    fn note_of_version_1_is_the_use_of_an_old_secret() {
        let stored = format!(r#"{{"v":1,"source":"acme","secret":1,"at":{}}}"#, NOW.0);
        assert_eq!(LastVerified::read(&stored), Some(LastVerified::new("acme", Some(1), NOW)));
    }

    #[test]
    fn text_of_another_version_counts_as_none() {
        for text in ["", "{}", r#"{"v":3,"source":"a","refused":[],"secret":1,"at":1}"#, "null"] {
            assert_eq!((LastRefused::read(text), LastVerified::read(text)), (None, None), "{text}");
        }
    }
}
