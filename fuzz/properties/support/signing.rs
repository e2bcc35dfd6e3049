//! Signatures as specified by the vendors, implemented independently of the code under test. A request is verified if,
//! and only if, it has the right signature over its own bytes.

mod oracle;

use std::borrow::Cow;

use data_encoding::{BASE64, HEXLOWER};
use ed25519_dalek::{Signer, SigningKey};
use hmac::{EagerHash, Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use sluice::secret::Secret;
use sluice::sender::{
    Algorithm, Descriptor, Encoding, HeaderFormat, Identity, KeyEncoding, Part, Preset, SignedRequest,
    TimestampLocation, TimestampSpec, Unit, ValueLocation, Verified, VerifyError, verify,
};
use sluice::time::Timestamp;

use super::{choose, lines};

/// The time of arrival of every request, in seconds.
const NOW: u64 = 1_700_000_000;

const FORM: &str = "application/x-www-form-urlencoded";

/// A signature scheme with its keys.
pub(crate) struct Scheme {
    descriptor: Descriptor,
    key: [u8; 32],
    /// The same key, as the private key of a scheme with public keys.
    private: SigningKey,
    /// Another secret, then the one that signs. Verification with public keys is slow, so these have only the latter.
    secrets: Vec<Secret>,
}

/// The presets whose schemes are checked. The seeds select a scheme by its index: a preset is added at the end.
const PRESETS: [&str; 15] = [
    "gitlab",
    "gitea",
    "github",
    "bitbucket",
    "slack",
    "stripe",
    "shopify",
    "svix",
    "twilio",
    "zoom",
    "twitch",
    "paddle",
    "linear",
    "vercel",
    "standard-webhooks",
];

/// The schemes of [`PRESETS`] that match, and others given as JSON.
pub(crate) fn schemes(fits: fn(&Descriptor) -> bool, others: &[&str]) -> Vec<Scheme> {
    let others = others.iter().map(|json| Descriptor::parse(json).expect("a descriptor"));
    let presets = PRESETS.iter().map(|name| Preset::by_name(name).expect("a preset"));
    // Of Twilio's schemes, the oracle knows the one for requests that name none.
    let is_known = |descriptor: &Descriptor| !descriptor.partial && descriptor.when.iter().all(|test| test.not);
    let all = presets.flat_map(Preset::descriptors).filter(is_known).chain(others);
    all.filter(fits).map(Scheme::new).collect()
}

impl Scheme {
    fn new(descriptor: Descriptor) -> Self {
        let key = *b"nobody guesses this: 32 bytes :)";
        let text = |key: [u8; 32]| {
            let public = SigningKey::from_bytes(&key).verifying_key().to_bytes();
            let key = if descriptor.algorithm == Algorithm::Ed25519 { public } else { key };
            let text = match descriptor.key_format.encoding {
                KeyEncoding::Raw => String::from_utf8(key.to_vec()).unwrap(),
                KeyEncoding::Hex => HEXLOWER.encode(&key),
                KeyEncoding::Base64 => BASE64.encode(&key),
            };
            Secret::new(&format!("{}{text}", descriptor.key_format.prefix))
        };
        let mut secrets = vec![text(key)];
        if descriptor.algorithm != Algorithm::Ed25519 {
            secrets.insert(0, text(*b"another one, to be tried before."));
        }
        Self { descriptor, key, private: SigningKey::from_bytes(&key), secrets }
    }

    /// The text of the signature, or the token.
    fn sign(&self, message: &[u8]) -> String {
        fn mac<D: EagerHash>(key: &[u8], message: &[u8]) -> Vec<u8> {
            let mut mac = <Hmac<D> as KeyInit>::new_from_slice(key).unwrap();
            mac.update(message);
            mac.finalize().into_bytes().to_vec()
        }
        let bytes = match self.descriptor.algorithm {
            Algorithm::HmacSha1 => mac::<Sha1>(&self.key, message),
            Algorithm::HmacSha256 => mac::<Sha256>(&self.key, message),
            Algorithm::HmacSha512 => mac::<Sha512>(&self.key, message),
            Algorithm::Ed25519 => self.private.sign(message).to_bytes().to_vec(),
            Algorithm::Token => return String::from_utf8(self.key.to_vec()).unwrap(),
            other => unreachable!("no scheme under test has {other:?}"),
        };
        match self.descriptor.encoding {
            Encoding::Hex => HEXLOWER.encode(&bytes),
            Encoding::Base64 => BASE64.encode(&bytes),
            Encoding::Base64Url => unreachable!("no scheme under test has base64url"),
        }
    }

    fn is_token(&self) -> bool {
        self.descriptor.algorithm == Algorithm::Token
    }
}

/// The parts of a request.
#[derive(Clone)]
struct Sent<'a> {
    /// The header of the signature; `$` stands for the right signature.
    value: Cow<'a, [u8]>,
    id: Cow<'a, [u8]>,
    timestamp: Cow<'a, [u8]>,
    url: String,
    content_type: &'static str,
    body: Cow<'a, [u8]>,
}

/// Six bytes select the scheme, the action, the age in seconds (two bytes) and the position of a flipped bit (two bytes).
/// Lines with the header's value, id, timestamp and URL follow; the rest is the body.
pub(crate) fn check(schemes: &[Scheme], data: &[u8]) {
    let Some((&[scheme, action, seconds @ .., high, low], rest)) = data.split_first_chunk::<6>() else { return };
    let scheme = choose(schemes, scheme);
    let [value, id, timestamp, url, body] = lines(rest).map(Cow::Borrowed);
    // `$` in the URL stands for the digest of the body (Twilio).
    let url = String::from_utf8_lossy(&url).replace('$', &HEXLOWER.encode(&Sha256::digest(&body)));
    let age = i16::from_be_bytes(seconds);
    let mut sent = Sent { value, id, timestamp, url, content_type: FORM, body };
    match choose(b"gdbsti", action) {
        b'g' => {
            sent.content_type = ["application/json", FORM][usize::from(age % 2 == 0)];
            check_given(scheme, sent, false);
        }
        b'd' => check_given(scheme, sent, true),
        part => check_signed(scheme, sent, age.into(), *part, u16::from_be_bytes([high, low])),
    }
}

/// A given request is verified if, and only if, the right signature is where the header format requires it.
fn check_given(scheme: &Scheme, mut sent: Sent<'_>, doubled: bool) {
    let right = |sent: &Sent<'_>| scheme.sign(&message(scheme, sent, sent.timestamp.trim_ascii()));
    let mut signature = None;
    if sent.value.contains(&b'$') {
        let right = signature.insert(right(&sent));
        sent.value = sent.value.split(|byte| *byte == b'$').collect::<Vec<_>>().join(right.as_bytes()).into();
    }
    let Some(mut headers) = headers(scheme, &sent) else { return };
    if doubled {
        let name = scheme.descriptor.headers[0].as_str();
        headers.append(HeaderName::try_from(name).unwrap(), headers[name].clone());
    }
    let verified = verify_sent(scheme, &sent, &headers);
    if signature.is_none() && verified.is_err() {
        return;
    }
    // Even without `$` the right signature may be present: the fuzzer observes comparisons.
    let right = signature.unwrap_or_else(|| right(&sent));
    let expected = if doubled { Some(false) } else { oracle::is_right(scheme, &sent, &right) };
    match verified {
        Ok(verified) => {
            assert_ne!(expected, Some(false), "verified without the right signature");
            assert_eq!(verified.secret_index + 1, scheme.secrets.len());
            match verified.identity {
                Identity::Id(id) => assert!(scheme.descriptor.id_is_covered() && verified.id == Some(id)),
                Identity::IdAndDigest { id, digest } => {
                    assert!(!scheme.descriptor.id_is_covered() && verified.id == Some(id));
                    check_digest(scheme, &sent, &digest);
                }
                Identity::Digest(digest) | Identity::Unknown { digest } => check_digest(scheme, &sent, &digest),
                Identity::Key { .. } => unreachable!("the request has no Idempotency-Key"),
            }
        }
        Err(error) => assert_ne!(expected, Some(true), "refused with the right signature: {error}"),
    }
}

/// The digest is that of the body, unless only its fields are signed, or it contains a timestamp.
fn check_digest(scheme: &Scheme, sent: &Sent<'_>, digest: &str) {
    let timestamp = scheme.descriptor.timestamp.as_ref().map(|spec| &spec.location);
    let is_changed = matches!(timestamp, Some(TimestampLocation::Pointer(_)));
    if scheme.descriptor.signed.contains(&Part::Params) || is_changed {
        assert_eq!(digest.len(), 64);
    } else {
        assert_eq!(digest, HEXLOWER.encode(&Sha256::digest(&sent.body)));
    }
}

/// A signed request is verified while it is fresh, and refused with any signed bit flipped.
fn check_signed(scheme: &Scheme, sent: Sent<'_>, age: i64, part: u8, at: u16) {
    let descriptor = &scheme.descriptor;
    let id = oracle::text(&sent.id).unwrap_or("id").as_bytes().to_vec();
    let mut sent = Sent { id: id.into(), ..sent };
    if let Some(TimestampSpec { location, unit, .. }) = &descriptor.timestamp {
        let then = NOW.saturating_add_signed(age);
        let timestamp = match unit {
            Unit::Seconds => then.to_string(),
            Unit::Milliseconds => (then * 1_000).to_string(),
            Unit::Rfc3339 => Timestamp(then * 1_000).rfc3339(),
            Unit::Iso8601Utc | Unit::HttpDate => unreachable!("no scheme under test has such a time"),
        };
        if let TimestampLocation::Pointer(pointer) = location {
            let rest = serde_json::to_string(&String::from_utf8_lossy(&sent.body)).unwrap();
            let name = pointer.trim_start_matches('/');
            sent.body = format!(r#"{{"{name}":{timestamp},"rest":{rest}}}"#).into_bytes().into();
        }
        sent.timestamp = timestamp.into_bytes().into();
    }
    if descriptor.signed.contains(&Part::Params) && !oracle::is_covered(&sent) {
        (sent.url, sent.body) = ("https://gate.example/?a=b".to_owned(), b"a=b&c"[..].into());
    }
    let signature = scheme.sign(&message(scheme, &sent, &sent.timestamp));
    sent.value = header_value(scheme, &sent, &signature).into();

    let verified = verify_sent(scheme, &sent, &headers(scheme, &sent).expect("headers"));
    match descriptor.timestamp.as_ref().map(|timestamp| timestamp.tolerance) {
        Some(tolerance) if age.unsigned_abs() > tolerance.into() => {
            let error = if age < 0 { VerifyError::TooOld { tolerance } } else { VerifyError::TooNew { tolerance } };
            assert_eq!(verified, Err(error));
            return;
        }
        _ => assert_eq!(verified.expect("the right signature").secret_index + 1, scheme.secrets.len()),
    }

    let Some(flipped) = flipped(scheme, &sent, &signature, part, at) else { return };
    if let Some(headers) = headers(scheme, &flipped) {
        assert!(verify_sent(scheme, &flipped, &headers).is_err(), "verified with a flipped bit");
    }
}

/// The request with one bit of a part flipped; `None` if the message stays the same, or the part isn't signed.
fn flipped<'a>(scheme: &Scheme, sent: &Sent<'a>, signature: &str, part: u8, at: u16) -> Option<Sent<'a>> {
    let signs = |part| scheme.descriptor.signed.contains(&part) && !scheme.is_token();
    let flip = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let nth = usize::from(at) % (bytes.len().max(1) * 8);
        *bytes.get_mut(nth / 8)? ^= 1 << (nth % 8);
        Some(bytes)
    };
    let mut flipped = sent.clone();
    match part {
        b's' => {
            let other = String::from_utf8(flip(signature.as_bytes())?).ok()?;
            let is_hex = !scheme.is_token() && scheme.descriptor.encoding == Encoding::Hex;
            if is_hex && other.eq_ignore_ascii_case(signature) {
                return None;
            }
            flipped.value = header_value(scheme, sent, &other).into();
        }
        b't' if signs(Part::Timestamp) => {
            flipped.timestamp = flip(&sent.timestamp)?.into();
            flipped.value = header_value(scheme, &flipped, signature).into();
        }
        b'i' if signs(Part::Id) => flipped.id = flip(&sent.id)?.into(),
        b'b' if signs(Part::Body) || signs(Part::Params) => {
            flipped.body = flip(&sent.body)?.into();
            // The fields of a form are signed, whatever their encoding.
            if signs(Part::Params) && oracle::is_covered(&flipped) && form(&flipped) == form(sent) {
                return None;
            }
        }
        _ => return None,
    }
    Some(flipped)
}

/// The value of the signature's header as the sender writes it.
fn header_value(scheme: &Scheme, sent: &Sent<'_>, signature: &str) -> Vec<u8> {
    let Descriptor { prefix, header_format, timestamp, .. } = &scheme.descriptor;
    let mut value = Vec::new();
    if let HeaderFormat::Pairs { separator, signature: name } = header_format {
        if let Some(TimestampSpec { location: TimestampLocation::Field(field), .. }) = timestamp {
            value.extend([field.as_bytes(), b"=", &sent.timestamp, separator.to_string().as_bytes()].concat());
        }
        value.extend([name.as_bytes(), b"="].concat());
    }
    value.extend([prefix, signature].map(str::as_bytes).concat());
    value
}

fn headers(scheme: &Scheme, sent: &Sent<'_>) -> Option<HeaderMap> {
    let Descriptor { headers: names, timestamp, id, .. } = &scheme.descriptor;
    let mut headers = HeaderMap::new();
    let mut set = |name: &str, value: &[u8]| {
        headers.insert(HeaderName::try_from(name).unwrap(), HeaderValue::from_bytes(value).ok()?);
        Some(())
    };
    set("content-type", sent.content_type.as_bytes())?;
    set(&names[0], &sent.value)?;
    if let Some(TimestampSpec { location: TimestampLocation::Header(name), .. }) = timestamp {
        set(name, &sent.timestamp)?;
    }
    if let Some(ValueLocation::Header(name)) = id {
        set(name, &sent.id)?;
    }
    Some(headers)
}

/// Runs the code under test.
fn verify_sent(scheme: &Scheme, sent: &Sent<'_>, headers: &HeaderMap) -> Result<Verified, VerifyError> {
    let request = SignedRequest { method: "POST", headers, url: &sent.url, body: &sent.body };
    verify(&scheme.descriptor, &scheme.secrets, request, Timestamp(NOW * 1_000))
}

/// The signed message.
fn message(scheme: &Scheme, sent: &Sent<'_>, timestamp: &[u8]) -> Vec<u8> {
    let part = |part: &Part| match part {
        Part::Body => sent.body.to_vec(),
        Part::Timestamp => timestamp.to_vec(),
        Part::Id => sent.id.trim_ascii().to_vec(),
        Part::Url => sent.url.as_bytes().to_vec(),
        Part::Params if oracle::digest(&sent.url).is_some() => Vec::new(),
        Part::Params => form(sent).into_bytes(),
        Part::Text(text) => text.as_bytes().to_vec(),
        other => unreachable!("no scheme under test signs {other}"),
    };
    scheme.descriptor.signed.parts().iter().flat_map(part).collect()
}

/// The fields of a form in the order in which Twilio signs them.
fn form(sent: &Sent<'_>) -> String {
    let fields: std::collections::BTreeSet<_> = form_urlencoded::parse(&sent.body).into_owned().collect();
    fields.into_iter().flat_map(|(name, value)| [name, value]).collect()
}
