//! Each scheme of each preset: a request that is verified (tests/vectors/senders.json), and changed requests that must
//! be rejected.

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::secret::Secret;
use crate::time::Timestamp;

/// A signed request, and what its verification returns.
#[derive(Clone, Debug, Deserialize)]
struct Case {
    preset: String,
    /// Index of the preset's scheme.
    scheme: usize,
    origin: String,
    secret: String,
    /// Another secret of the same form.
    #[serde(rename = "other")]
    other_secret: String,
    /// The time of arrival, in seconds since the Unix epoch.
    now: u64,
    url: String,
    headers: std::collections::BTreeMap<String, String>,
    body: String,
    id: Option<String>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    identity: String,
    tolerance: Option<u64>,
}

impl Case {
    fn all() -> Vec<Self> {
        serde_json::from_str(include_str!("../../tests/vectors/senders.json")).unwrap()
    }

    fn preset(&self) -> &'static Preset {
        Preset::by_name(&self.preset).unwrap()
    }

    fn descriptor(&self) -> Descriptor {
        self.preset().descriptors().nth(self.scheme).unwrap()
    }

    fn headers(&self) -> HeaderMap {
        let pair = |(n, v): (&String, &String)| (n.parse::<HeaderName>().unwrap(), HeaderValue::from_str(v).unwrap());
        self.headers.iter().map(pair).collect()
    }

    fn verify_at(&self, now: u64, secrets: &[&str], body: &[u8]) -> Result<Verified, VerifyError> {
        let secrets: Vec<Secret> = secrets.iter().map(|text| Secret::new(text)).collect();
        let request = SignedRequest { method: "POST", headers: &self.headers(), url: &self.url, body };
        let verified = verify_preset(self.preset(), &secrets, request, Timestamp(now));
        if let Err(error) = &verified {
            let text = error.to_string();
            for hidden in [&self.secret, &self.other_secret, &self.body].into_iter().chain(self.headers.values()) {
                assert!(hidden.is_empty() || !text.contains(hidden.as_str()), "{}: {text}", self.preset);
            }
        }
        verified
    }

    /// The time of arrival, in milliseconds.
    fn now_ms(&self) -> u64 {
        self.now.saturating_mul(1_000)
    }

    fn verify(&self) -> Result<Verified, VerifyError> {
        self.verify_at(self.now_ms(), &[&self.secret], self.body.as_bytes())
    }

    /// The same request with another value of one header.
    fn with_header(&self, header: &str, value: &str) -> Self {
        let mut case = self.clone();
        case.headers.insert(header.to_owned(), value.to_owned());
        case
    }

    fn signature_header(&self) -> String {
        let descriptor = self.descriptor();
        descriptor.headers.iter().find(|name| self.headers.contains_key(*name)).unwrap().clone()
    }

    fn is_token(&self) -> bool {
        self.descriptor().algorithm == Algorithm::Token
    }
}

/// Verifies a request by each scheme of a preset in turn.
pub(super) fn verify_preset(
    preset: &Preset,
    secrets: &[Secret],
    request: SignedRequest<'_>,
    now: Timestamp,
) -> Result<Verified, VerifyError> {
    verify_any(preset.descriptors(), Credentials { secrets, keys: &[] }, request, now)
}

/// All texts that differ from this one in the lowest bit of one byte.
pub(super) fn flipped(text: &str) -> impl Iterator<Item = String> {
    (0..text.len()).filter_map(|at| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] ^= 1;
        String::from_utf8(bytes).ok()
    })
}

#[test]
fn signed_request_is_verified() {
    for case in Case::all() {
        let verified = case.verify().unwrap_or_else(|e| panic!("{} ({}): {e}", case.preset, case.origin));
        assert_eq!((&verified.id, &verified.event_type), (&case.id, &case.event_type), "{}", case.preset);
        assert_eq!(verified.identity.signed_text(), case.identity, "{}", case.preset);
    }
}

#[test]
fn request_with_flipped_bit_is_rejected() {
    for case in Case::all() {
        let verified = case.verify().unwrap();
        for body in flipped(&case.body).filter(|_| !case.is_token()) {
            match case.verify_at(case.now_ms(), &[&case.secret], body.as_bytes()) {
                Err(_) => {}
                Ok(other) => assert_eq!(other.identity, verified.identity, "{}: {body}", case.preset),
            }
        }
        let mut signed = vec![case.signature_header()];
        signed.extend(case.headers.keys().filter(|name| name.ends_with("timestamp")).cloned());
        if let (Identity::Id(_), Some(ValueLocation::Header(name)), false) =
            (&verified.identity, case.descriptor().id, case.is_token())
        {
            signed.push(name);
        }
        for name in signed {
            for value in flipped(&case.headers[&name]) {
                assert!(case.with_header(&name, &value).verify().is_err(), "{} {name}: {value}", case.preset);
            }
        }
        if case.descriptor().signed.contains(&Part::Url) {
            for url in flipped(&case.url) {
                let case = Case { url, ..case.clone() };
                assert!(case.verify().is_err(), "{}: {}", case.preset, case.url);
            }
        }
    }
}

/// During a rotation, a sender signs with two secrets. It may also add signatures of a scheme that is not known yet.
#[test]
fn other_signatures_in_the_header_are_ignored() {
    for case in Case::all() {
        let name = case.signature_header();
        let value = &case.headers[&name];
        let long = match &case.descriptor().header_format {
            HeaderFormat::Single => {
                assert!(case.with_header(&name, &format!("{value} {value}")).verify().is_err(), "{}", case.preset);
                continue;
            }
            HeaderFormat::List(separator) => {
                format!("v1,AAAA{separator}v1a,AAAA{separator}v9,?{separator}{value}{separator}")
            }
            HeaderFormat::Pairs { separator, signature } => {
                format!("{signature}={}{separator}v9=?{separator}{value}{separator}{signature}=x", "0".repeat(64))
            }
        };
        assert!(case.with_header(&name, &long).verify().is_ok(), "{}: {long}", case.preset);
    }
}

#[test]
fn timestamp_outside_the_tolerance_is_rejected() {
    for case in Case::all() {
        let at = |now| case.verify_at(now, &[&case.secret], case.body.as_bytes());
        let Some(tolerance) = case.tolerance else {
            assert!(at(0).is_ok() && at(u64::MAX).is_ok(), "{}", case.preset);
            continue;
        };
        let (now, limit) = (case.now_ms(), tolerance * 1_000);
        assert!(at(now + limit).is_ok() && at(now - limit).is_ok(), "{}", case.preset);
        let tolerance = u32::try_from(tolerance).unwrap();
        assert_eq!(at(now + limit + 1).unwrap_err(), VerifyError::TooOld { tolerance }, "{}", case.preset);
        assert_eq!(at(u64::MAX).unwrap_err(), VerifyError::TooOld { tolerance }, "{}", case.preset);
        assert_eq!(at(now - limit - 1).unwrap_err(), VerifyError::TooNew { tolerance }, "{}", case.preset);
        assert_eq!(at(0).unwrap_err(), VerifyError::TooNew { tolerance }, "{}", case.preset);
    }
}

#[test]
fn any_of_several_secrets_verifies() {
    for case in Case::all() {
        let verify = |secrets: &[&str]| case.verify_at(case.now_ms(), secrets, case.body.as_bytes());
        assert_eq!(verify(&[&case.other_secret, &case.secret]).unwrap().secret_index, 1, "{}", case.preset);
        assert_eq!(verify(&[&case.secret, &case.other_secret]).unwrap().secret_index, 0, "{}", case.preset);
        assert_eq!(verify(&["", "\u{0}", &case.secret]).unwrap().secret_index, 2, "{}", case.preset);
        assert_eq!(verify(&[&case.other_secret]).unwrap_err(), VerifyError::Mismatch, "{}", case.preset);
        assert_eq!(verify(&[]).unwrap_err(), VerifyError::NoUsableSecret, "{}", case.preset);
        assert_eq!(verify(&[""]).unwrap_err(), VerifyError::NoUsableSecret, "{}", case.preset);
    }
}

#[test]
fn missing_or_repeated_header_is_named() {
    for case in Case::all() {
        let name = case.signature_header();
        let mut without = case.clone();
        without.headers.remove(&name);
        let header = case.descriptor().headers[0].clone();
        assert_eq!(
            without.verify().unwrap_err(),
            VerifyError::MissingHeader { header: header.clone() },
            "{}",
            case.preset
        );
        assert_eq!(
            case.with_header(&name, "").verify().unwrap_err(),
            VerifyError::MissingHeader { header },
            "{}",
            case.preset
        );

        let mut headers = case.headers();
        headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(&case.headers[&name]).unwrap());
        let request = SignedRequest { method: "POST", headers: &headers, url: &case.url, body: case.body.as_bytes() };
        let repeated = verify(&case.descriptor(), &[Secret::new(&case.secret)], request, Timestamp(case.now_ms()));
        assert_eq!(repeated.unwrap_err(), VerifyError::MalformedHeader { header: name }, "{}", case.preset);
    }
}

#[test]
fn published_examples_are_verified() {
    #[derive(Deserialize)]
    struct Published {
        preset: String,
        secret: String,
        headers: std::collections::BTreeMap<String, String>,
        body: String,
        now: u64,
        verified: bool,
    }
    let published: Vec<Published> = serde_json::from_str(include_str!("../../tests/vectors/signatures.json")).unwrap();
    assert!(!published.is_empty());
    for example in published {
        let header = |(n, v): (&String, &String)| (n.parse::<HeaderName>().unwrap(), v.parse().unwrap());
        let headers = example.headers.iter().map(header).collect();
        let preset = Preset::by_name(&example.preset).unwrap();
        let request = SignedRequest { method: "POST", headers: &headers, url: "", body: example.body.as_bytes() };
        let secrets = [Secret::new(&example.secret)];
        let verified = verify_preset(preset, &secrets, request, Timestamp(example.now * 1_000));
        assert_eq!(verified.is_ok(), example.verified, "{}", example.preset);
    }
}

#[test]
fn body_that_is_not_utf8_is_verified() {
    // printf '\xff\xfe\x00' | openssl dgst -sha256 -hmac s3cret
    let signature = "sha256=9624f5451aeaf316a3021a2b0496d093045299bfa58b075e082f974c44ded3ad";
    let headers =
        [("x-hub-signature-256", signature)].into_iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()));
    let headers: HeaderMap = headers.collect();
    let verify = |body| {
        let request = SignedRequest { method: "POST", headers: &headers, url: "", body };
        verify_preset(Preset::by_name("github").unwrap(), &[Secret::new("s3cret")], request, Timestamp(0))
    };
    assert_eq!(verify(b"\xff\xfe\x00").unwrap().id, None);
    assert_eq!(verify(b"\xff\xfe\x01").unwrap_err(), VerifyError::Mismatch);
}

/// A public key is not secret: if it were accepted as a key for HMAC, anyone could sign.
#[test]
fn public_key_is_not_accepted_for_hmac() {
    let case = Case::all().into_iter().find(|case| case.secret.starts_with("whpk_")).unwrap();
    let [symmetric, asymmetric] = case.preset().descriptors().collect::<Vec<_>>().try_into().unwrap();
    let accepts = |descriptor: &Descriptor, secret: &str| descriptor.accepts_secret(&Secret::new(secret));
    assert!(!accepts(&symmetric, &case.secret) && accepts(&asymmetric, &case.secret));
    let without_prefix = case.secret.trim_start_matches("whpk_");
    assert!(!accepts(&symmetric, without_prefix) && !accepts(&asymmetric, without_prefix));
    // The identity point: one signature under this key is valid for any message.
    let weak = format!("whpk_{}", data_encoding::BASE64.encode(&[&[1_u8][..], &[0; 31]].concat()));
    assert!(!accepts(&asymmetric, &weak));
}

/// A body that the signature does not cover is rejected, whatever its content type.
#[test]
fn twilio_signature_covers_the_body() {
    let cases: Vec<Case> = Case::all().into_iter().filter(|case| case.preset == "twilio").collect();
    let form = &cases[0];
    for content_type in ["application/json", "text/plain"] {
        let error = form.with_header("content-type", content_type).verify().unwrap_err();
        assert_eq!(error, VerifyError::Mismatch, "{content_type}");
    }
    let json = cases.iter().find(|case| case.url.contains("bodySHA256")).unwrap();
    let form_typed = json.with_header("content-type", "application/x-www-form-urlencoded");
    assert!(form_typed.verify().is_ok());
    for body in ["", "{}", "a=b"] {
        assert!(Case { body: body.to_owned(), ..json.clone() }.verify().is_err(), "{body}");
        assert!(Case { body: body.to_owned(), ..form_typed.clone() }.verify().is_err(), "{body}");
    }
}

/// Twilio signs the decoded fields of a form, sorted.
#[test]
fn another_spelling_of_a_signed_form_is_the_same_event() {
    let form = Case::all().into_iter().find(|case| case.preset == "twilio").unwrap();
    let body = form.body.replace("Digits=1234", "Digits=%31234");
    let body = body.split('&').rev().collect::<Vec<_>>().join("&");
    assert_ne!(body, form.body);
    assert_eq!(Case { body, ..form.clone() }.verify().unwrap().identity, form.verify().unwrap().identity);
}

#[test]
fn docker_hub_request_is_unsigned() {
    let request = SignedRequest { method: "POST", headers: &HeaderMap::new(), url: "", body: b"{}" };
    let preset = Preset::by_name("docker-hub").unwrap();
    assert_eq!(verify_preset(preset, &[Secret::new("x")], request, Timestamp(0)).unwrap_err(), VerifyError::Unsigned);
}

#[test]
fn inconsistent_descriptor_is_rejected() {
    for (members, expected) in [
        (r#""sign":1"#, "unknown field `sign`"),
        (r#""encoding":"base32""#, "unknown variant `base32`, expected one of `hex`, `base64`, `base64url`"),
        (r#""signed":"{ts}""#, "contains {ts}, but only"),
        (r#""signed":"{url}""#, "`signed` must contain {body}"),
        (r#""signed":"{id}{body}""#, "`id` must name a header, because `signed` contains {id}"),
        (r#""signed":"{id}{body}","id":{"pointer":"/id"}"#, "`id` must name a header, because `signed` contains {id}"),
        (r#""signed":"{timestamp}{body}""#, "`timestamp` is required"),
        (r#""timestamp":{"from":{"header":"t"}}"#, "`timestamp` must be covered by the signature: add {timestamp}"),
        (r#""signed":"{timestamp}{body}","timestamp":{"from":{"field":"t"}}"#, "must not be in a field"),
        (r#""signed":"{timestamp}{body}","timestamp":{"from":{"pointer":"/t"}}"#, "must be in a header or a field"),
        (
            r#""signed":"{params}","timestamp":{"from":{"pointer":"/t"}}"#,
            "must be covered by the signature: add {body}",
        ),
        (r#""timestamp":{"from":{"pointer":"t"}}"#, "`timestamp` must be a JSON Pointer that starts with `/`"),
        (r#""timestamp":{"from":{"pointer":"/t"},"tolerance":0}"#, "a tolerance from 1 to 259200 seconds"),
        (r#""timestamp":{"from":{"pointer":"/t"},"tolerance":259201}"#, "a tolerance from 1 to 259200 seconds"),
        (r#""grammar":{"list":" "}"#, "`prefix` must not be empty"),
        (r#""grammar":{"pairs":{"separator":"=","signature":"v1"}}"#, "an ASCII separator other than `=`"),
        (r#""grammar":{"pairs":{"separator":",","signature":""}}"#, "must have the name of the signature's pair"),
        (r#""id":{"header":"a b"}"#, "`id` must name a valid header"),
        (r#""id":{"pointer":"/a~2"}"#, "`id` must be a JSON Pointer"),
        (r#""type":{"pointer":"a"}"#, "`type` must be a JSON Pointer"),
    ] {
        let json = format!(r#"{{"algorithm":"hmac-sha256","headers":["x"],{members}}}"#);
        let error = Descriptor::parse(&json).unwrap_err().to_string();
        assert!(error.contains(expected), "{members}: {error}");
    }
    for (json, expected) in [
        (r#"{"algorithm":"token","headers":[]}"#, "`headers` must list at least one header"),
        (
            r#"{"algorithm":"token","headers":["x"],"signed":"{url}{body}"}"#,
            "`algorithm` is `token`, which signs nothing",
        ),
        (r#"{"algorithm":"token","headers":["x"],"secret":{"encoding":"hex"}}"#, "must have the encoding `raw`"),
        (r#"{"algorithm":"ed25519","headers":["x"]}"#, "must have the encoding `hex` or `base64`"),
        (r#"{"headers":["x"]}"#, "missing field `algorithm`"),
        ("", "EOF"),
    ] {
        let error = Descriptor::parse(json).unwrap_err().to_string();
        assert!(error.contains(expected), "{json}: {error}");
    }
}

fn any_descriptor() -> impl Strategy<Value = Descriptor> {
    let schemes: Vec<Descriptor> = PRESETS.iter().flat_map(Preset::descriptors).collect();
    let preset = prop::sample::select(schemes);
    let templates = ["{body}", "{timestamp}.{body}", "{id}{timestamp}{body}", "{url}{params}", "{{v0}}:{body}"];
    let changes = (any::<bool>(), prop::sample::select(templates.to_vec()), 0..100_000_u32);
    (preset.clone(), preset, changes).prop_map(|(mut descriptor, other, (only_header, signed, tolerance))| {
        descriptor.header_format = other.header_format;
        descriptor.prefix = other.prefix;
        if !only_header {
            descriptor.key_format = other.key_format;
            descriptor.signed = Template::try_from(signed.to_owned()).unwrap();
            descriptor.timestamp = other.timestamp.map(|spec| TimestampSpec { tolerance, ..spec });
        }
        descriptor
    })
}

proptest! {
    #[test]
    fn descriptor_round_trips(descriptor in any_descriptor()) {
        let json = serde_json::to_string(&descriptor).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Descriptor>(&json).unwrap(), &descriptor);
        if let Ok(parsed) = Descriptor::parse(&json) {
            prop_assert_eq!(parsed, descriptor);
        }
    }

    /// No request is verified unless a secret made its signature.
    #[test]
    fn request_without_the_secret_is_rejected(
        descriptor in any_descriptor(),
        value in prop_oneof!["[ -~]{1,90}", "(v1,|v0=|sha256=|t=1,v1=|ts=1;h1=)?([0-9a-f]{40}|[0-9a-f]{64}|[A-Za-z0-9+/]{43}=|[A-Za-z0-9+/]{86}==)"],
        time in prop_oneof![Just("1"), Just("1970-01-01T00:00:01Z")],
        body in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut headers = HeaderMap::new();
        for name in &descriptor.headers {
            headers.insert(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(&value).unwrap());
        }
        if let Some(TimestampSpec { location: TimestampLocation::Header(name), .. }) = &descriptor.timestamp {
            headers.insert(name.parse::<HeaderName>().unwrap(), HeaderValue::from_static(time));
        }
        if let Some(ValueLocation::Header(name)) = &descriptor.id {
            headers.insert(name.parse::<HeaderName>().unwrap(), HeaderValue::from_static("id"));
        }
        let secrets = ["a secret that can't be guessed", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "",
            "whpk_iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w="].map(Secret::new);
        let request = SignedRequest { method: "POST", headers: &headers, url: "https://a/b?c", body: &body };
        prop_assert!(verify(&descriptor, &secrets, request, Timestamp(1_000)).is_err());
    }
}
