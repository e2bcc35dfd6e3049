//! Every preset, as data: one request of each that is let in (tests/vectors/senders.json), and what must not be.

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::secret::Secret;
use crate::time::Timestamp;

/// One request of a sender.
#[derive(Clone, Debug, Deserialize)]
struct Case {
    preset: String,
    /// Which of the preset's schemes it is made by.
    scheme: usize,
    origin: String,
    secret: String,
    /// Another secret of that form.
    other: String,
    now: u64,
    url: String,
    headers: std::collections::BTreeMap<String, String>,
    body: String,
    id: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
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

    fn at(&self, now: u64, secrets: &[&str], body: &[u8]) -> Result<Verified, VerifyError> {
        let secrets: Vec<Secret> = secrets.iter().map(|text| Secret::new(text)).collect();
        let parts = SignedRequest { headers: &self.headers(), url: &self.url, body };
        let verified = by_preset(self.preset(), &secrets, parts, Timestamp(now));
        if let Err(error) = &verified {
            let text = error.to_string();
            for hidden in [&self.secret, &self.other, &self.body].into_iter().chain(self.headers.values()) {
                assert!(hidden.is_empty() || !text.contains(hidden.as_str()), "{text}");
            }
        }
        verified
    }

    /// The moment at which it came.
    fn millis(&self) -> u64 {
        self.now.saturating_mul(1_000)
    }

    fn verify(&self) -> Result<Verified, VerifyError> {
        self.at(self.millis(), &[&self.secret], self.body.as_bytes())
    }

    /// The same with one header's value changed.
    fn with(&self, header: &str, value: &str) -> Self {
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

/// Each text that differs from this one in the lowest bit of one byte.
fn flipped(text: &str) -> impl Iterator<Item = String> {
    (0..text.len()).filter_map(|at| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] ^= 1;
        String::from_utf8(bytes).ok()
    })
}

#[test]
fn every_scheme_of_every_preset_has_a_case() {
    let cases = Case::all();
    for preset in PRESETS {
        assert_eq!(preset.descriptors().count(), preset.schemes.len(), "{}", preset.name);
        for scheme in 0..preset.schemes.len() {
            let has = cases.iter().any(|case| case.preset().name == preset.name && case.scheme == scheme);
            assert!(has, "{} {scheme}", preset.name);
        }
        assert!(preset.page.starts_with("https://"));
        assert!(std::ptr::eq(Preset::by_name(preset.name).unwrap(), preset));
    }
    assert_eq!(Preset::by_name("forgejo").unwrap().name, "gitea");
    assert!(Preset::by_name("").is_none());
}

#[test]
fn what_a_sender_signs_is_let_in() {
    for case in Case::all() {
        let verified = case.verify().unwrap_or_else(|e| panic!("{} ({}): {e}", case.preset, case.origin));
        assert_eq!((&verified.id, &verified.kind), (&case.id, &case.kind), "{}", case.preset);
        let identity = match &verified.identity {
            Identity::Id(identity) | Identity::Digest(identity) => identity,
        };
        assert_eq!(*identity, case.identity, "{}", case.preset);
        assert_eq!(Preset::of_headers(&case.headers()).unwrap().name, case.preset);
    }
}

#[test]
fn a_flipped_bit_is_refused() {
    for case in Case::all() {
        let told = case.verify().unwrap();
        for body in flipped(&case.body).filter(|_| !case.is_token()) {
            match case.at(case.millis(), &[&case.secret], body.as_bytes()) {
                Err(_) => {}
                Ok(verified) => assert_eq!(verified.identity, told.identity, "{}: {body}", case.preset),
            }
        }
        let mut signed = vec![case.signature_header()];
        signed.extend(case.headers.keys().filter(|name| name.ends_with("timestamp")).cloned());
        if let (Identity::Id(_), Some(Source::Header(name)), false) =
            (&told.identity, case.descriptor().id, case.is_token())
        {
            signed.push(name);
        }
        for name in signed {
            for value in flipped(&case.headers[&name]) {
                assert!(case.with(&name, &value).verify().is_err(), "{} {name}: {value}", case.preset);
            }
        }
        if case.descriptor().signed.has(&Part::Url) {
            for url in flipped(&case.url) {
                assert!(Case { url, ..case.clone() }.verify().is_err());
            }
        }
    }
}

/// While a sender rotates, it signs with two secrets; and it may sign by a scheme that isn't known yet.
#[test]
fn others_in_a_list_are_passed_over() {
    for case in Case::all() {
        let name = case.signature_header();
        let value = &case.headers[&name];
        let long = match &case.descriptor().grammar {
            HeaderFormat::Single => {
                assert!(case.with(&name, &format!("{value} {value}")).verify().is_err(), "{}", case.preset);
                continue;
            }
            HeaderFormat::List(separator) => {
                format!("v1,AAAA{separator}v1a,AAAA{separator}v9,?{separator}{value}{separator}")
            }
            HeaderFormat::Pairs { separator, signature } => {
                format!("{signature}={}{separator}v9=?{separator}{value}{separator}{signature}=x", "0".repeat(64))
            }
        };
        assert!(case.with(&name, &long).verify().is_ok(), "{}: {long}", case.preset);
    }
}

#[test]
fn what_is_old_or_ahead_is_refused_and_said_so() {
    for case in Case::all() {
        let at = |now| case.at(now, &[&case.secret], case.body.as_bytes());
        let Some(tolerance) = case.tolerance else {
            assert!(at(0).is_ok() && at(u64::MAX).is_ok(), "{}", case.preset);
            continue;
        };
        let (now, limit) = (case.millis(), tolerance * 1_000);
        assert!(at(now + limit).is_ok() && at(now - limit).is_ok(), "{}", case.preset);
        let tolerance = u32::try_from(tolerance).unwrap();
        assert_eq!(at(now + limit + 1).unwrap_err(), VerifyError::TooOld { tolerance });
        assert_eq!(at(u64::MAX).unwrap_err(), VerifyError::TooOld { tolerance });
        assert_eq!(at(now - limit - 1).unwrap_err(), VerifyError::TooNew { tolerance });
        assert_eq!(at(0).unwrap_err(), VerifyError::TooNew { tolerance });
    }
}

#[test]
fn secrets_rotate() {
    for case in Case::all() {
        let by = |secrets: &[&str]| case.at(case.millis(), secrets, case.body.as_bytes());
        assert_eq!(by(&[&case.other, &case.secret]).unwrap().secret, 1, "{}", case.preset);
        assert_eq!(by(&[&case.secret, &case.other]).unwrap().secret, 0, "{}", case.preset);
        assert_eq!(by(&["", "\u{0}", &case.secret]).unwrap().secret, 2, "{}", case.preset);
        assert_eq!(by(&[&case.other]).unwrap_err(), VerifyError::Mismatch, "{}", case.preset);
        assert_eq!(by(&[]).unwrap_err(), VerifyError::NoSecret, "{}", case.preset);
        assert_eq!(by(&[""]).unwrap_err(), VerifyError::NoSecret, "{}", case.preset);
    }
}

#[test]
fn a_missing_or_doubled_header_is_named() {
    for case in Case::all() {
        let name = case.signature_header();
        let mut without = case.clone();
        without.headers.remove(&name);
        let header = case.descriptor().headers[0].clone();
        assert_eq!(without.verify().unwrap_err(), VerifyError::Missing { header: header.clone() }, "{}", case.preset);
        assert_eq!(case.with(&name, "").verify().unwrap_err(), VerifyError::Missing { header }, "{}", case.preset);

        let mut headers = case.headers();
        headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(&case.headers[&name]).unwrap());
        let parts = SignedRequest { headers: &headers, url: &case.url, body: case.body.as_bytes() };
        let doubled = verify(&case.descriptor(), &[Secret::new(&case.secret)], parts, Timestamp(case.millis()));
        assert_eq!(doubled.unwrap_err(), VerifyError::Malformed { header: name });
    }
}

#[test]
fn the_published_examples_hold() {
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
    for p in published {
        let headers = p.headers.iter().map(|(n, v)| (n.parse::<HeaderName>().unwrap(), v.parse().unwrap())).collect();
        let preset = Preset::of_headers(&headers).unwrap();
        assert_eq!(preset.name, p.preset);
        let parts = SignedRequest { headers: &headers, url: "", body: p.body.as_bytes() };
        let verified = by_preset(preset, &[Secret::new(&p.secret)], parts, Timestamp(p.now * 1_000));
        assert_eq!(verified.is_ok(), p.verified, "{}", p.preset);
    }
}

#[test]
fn bytes_that_are_not_utf8_are_verified() {
    // printf '\xff\xfe\x00' | openssl dgst -sha256 -hmac s3cret
    let signature = "sha256=9624f5451aeaf316a3021a2b0496d093045299bfa58b075e082f974c44ded3ad";
    let headers =
        [("x-hub-signature-256", signature)].into_iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()));
    let headers: HeaderMap = headers.collect();
    let of = |body| {
        let parts = SignedRequest { headers: &headers, url: "", body };
        by_preset(Preset::by_name("github").unwrap(), &[Secret::new("s3cret")], parts, Timestamp(0))
    };
    assert_eq!(of(b"\xff\xfe\x00").unwrap().id, None);
    assert_eq!(of(b"\xff\xfe\x01").unwrap_err(), VerifyError::Mismatch);
}

/// Who has the public key, which is no secret, could else sign by HMAC with it.
#[test]
fn a_public_key_is_no_shared_secret() {
    let case = Case::all().into_iter().find(|case| case.secret.starts_with("whpk_")).unwrap();
    let [symmetric, asymmetric] = case.preset().descriptors().collect::<Vec<_>>().try_into().unwrap();
    assert!(!fits(&symmetric, &Secret::new(&case.secret)) && fits(&asymmetric, &Secret::new(&case.secret)));
    let bare = case.secret.trim_start_matches("whpk_");
    assert!(!fits(&symmetric, &Secret::new(bare)) && !fits(&asymmetric, &Secret::new(bare)));
    // The identity point: one signature under it fits any message.
    let weak = format!("whpk_{}", data_encoding::BASE64.encode(&[&[1_u8][..], &[0; 31]].concat()));
    assert!(!fits(&asymmetric, &Secret::new(&weak)));
}

/// A body that the signature doesn't cover is refused, whatever its type is said to be.
#[test]
fn twilio_covers_the_body() {
    let cases: Vec<Case> = Case::all().into_iter().filter(|case| case.preset == "twilio").collect();
    let form = &cases[0];
    for content_type in ["application/json", "text/plain"] {
        assert_eq!(form.with("content-type", content_type).verify().unwrap_err(), VerifyError::Mismatch);
    }
    let json = cases.iter().find(|case| case.url.contains("bodySHA256")).unwrap();
    let form_typed = json.with("content-type", "application/x-www-form-urlencoded");
    assert!(form_typed.verify().is_ok());
    for body in ["", "{}", "a=b"] {
        assert!(Case { body: body.to_owned(), ..json.clone() }.verify().is_err(), "{body}");
        assert!(Case { body: body.to_owned(), ..form_typed.clone() }.verify().is_err(), "{body}");
    }
    // The same fields, spelled otherwise and in another order, are the same delivery.
    let other = form.body.replace("Digits=1234", "Digits=%31234");
    let other = other.split('&').rev().collect::<Vec<_>>().join("&");
    assert_ne!(other, form.body);
    assert_eq!(Case { body: other, ..form.clone() }.verify().unwrap().identity, form.verify().unwrap().identity);
}

#[test]
fn docker_hub_signs_nothing() {
    let parts = SignedRequest { headers: &HeaderMap::new(), url: "", body: b"{}" };
    let preset = Preset::by_name("docker-hub").unwrap();
    assert_eq!(by_preset(preset, &[Secret::new("x")], parts, Timestamp(0)).unwrap_err(), VerifyError::Unsigned);
}

#[test]
fn a_descriptor_that_makes_no_sense_is_refused() {
    let error = |rest: &str| {
        let json = format!(r#"{{"algorithm":"hmac-sha256","headers":["x"],{rest}}}"#);
        Descriptor::parse(&json).unwrap_err().to_string()
    };
    for (rest, text) in [
        (r#""sign":1"#, "unknown field `sign`"),
        (r#""encoding":"base32""#, "unknown variant `base32`, expected `hex` or `base64`"),
        (r#""signed":"{ts}""#, "must not have {ts}: known are"),
        (r#""signed":"{url}""#, "`signed` must have {body}"),
        (r#""signed":"{id}{body}""#, "`id` must be in a header"),
        (r#""signed":"{id}{body}","id":{"pointer":"/id"}"#, "`id` must be in a header"),
        (r#""signed":"{timestamp}{body}""#, "`timestamp` must be there"),
        (r#""timestamp":{"from":{"header":"t"}}"#, "`timestamp` means nothing where {timestamp} isn't signed"),
        (r#""signed":"{timestamp}{body}","timestamp":{"from":{"field":"t"}}"#, "must not be in a field"),
        (r#""signed":"{timestamp}{body}","timestamp":{"from":{"pointer":"/t"}}"#, "must not be in the body"),
        (r#""signed":"{params}","timestamp":{"from":{"pointer":"/t"}}"#, "means nothing where {body} isn't signed"),
        (r#""timestamp":{"from":{"pointer":"t"}}"#, "must point by a leading `/`"),
        (r#""timestamp":{"from":{"pointer":"/t"},"tolerance":0}"#, "a tolerance from 1 to 86400 seconds"),
        (r#""timestamp":{"from":{"pointer":"/t"},"tolerance":86401}"#, "a tolerance from 1 to 86400 seconds"),
        (r#""grammar":{"list":" "}"#, "`prefix` must not be empty"),
        (r#""grammar":{"pairs":{"separator":"=","signature":"v1"}}"#, "another separator than `=`"),
        (r#""grammar":{"pairs":{"separator":",","signature":""}}"#, "must name the signature"),
        (r#""id":{"header":"a b"}"#, "`id` must name a header"),
        (r#""type":{"pointer":"a"}"#, "`type` must point"),
    ] {
        assert!(error(rest).contains(text), "{rest}: {}", error(rest));
    }
    for (json, text) in [
        (r#"{"algorithm":"token","headers":[]}"#, "`headers` must name at least one header"),
        (r#"{"algorithm":"token","headers":["x"],"signed":"{url}{body}"}"#, "signs nothing if it is `token`"),
        (r#"{"algorithm":"token","headers":["x"],"secret":{"encoding":"hex"}}"#, "must be raw"),
        (r#"{"algorithm":"ed25519","headers":["x"]}"#, "a key in hex or base64"),
        (r#"{"headers":["x"]}"#, "missing field `algorithm`"),
        ("", "EOF"),
    ] {
        let error = Descriptor::parse(json).unwrap_err().to_string();
        assert!(error.contains(text), "{json}: {error}");
    }
}

fn any_descriptor() -> impl Strategy<Value = Descriptor> {
    let schemes: Vec<&str> = PRESETS.iter().flat_map(|preset| preset.schemes).copied().collect();
    let all = prop::sample::select(schemes).prop_map(|json| Descriptor::parse(json).unwrap());
    let templates = ["{body}", "{timestamp}.{body}", "{id}{timestamp}{body}", "{url}{params}", "{{v0}}:{body}"];
    let changed = (all.clone(), all, any::<bool>(), prop::sample::select(templates.to_vec()), 0..100_000_u32);
    changed.prop_map(|(mut one, two, whole, signed, tolerance)| {
        one.grammar = two.grammar;
        one.prefix = two.prefix;
        if !whole {
            one.secret = two.secret;
            one.signed = Template::try_from(signed.to_owned()).unwrap();
            one.timestamp = two.timestamp.map(|dated| TimestampSpec { tolerance, ..dated });
        }
        one
    })
}

proptest! {
    #[test]
    fn a_descriptor_comes_back(descriptor in any_descriptor()) {
        let json = serde_json::to_string(&descriptor).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Descriptor>(&json).unwrap(), &descriptor);
        if let Ok(parsed) = Descriptor::parse(&json) {
            prop_assert_eq!(parsed, descriptor);
        }
    }

    /// Whatever is sent, without the secret it isn't let in.
    #[test]
    fn no_accept_without_the_secret(
        descriptor in any_descriptor(),
        value in prop_oneof!["[ -~]{1,90}", "(v1,|v0=|sha256=|t=1,v1=|ts=1;h1=)?([0-9a-f]{40}|[0-9a-f]{64}|[A-Za-z0-9+/]{43}=|[A-Za-z0-9+/]{86}==)"],
        time in prop_oneof![Just("1"), Just("1970-01-01T00:00:01Z")],
        body in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut headers = HeaderMap::new();
        for name in &descriptor.headers {
            headers.insert(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(&value).unwrap());
        }
        if let Some(TimestampSpec { from: TimestampLocation::Header(name), .. }) = &descriptor.timestamp {
            headers.insert(name.parse::<HeaderName>().unwrap(), HeaderValue::from_static(time));
        }
        if let Some(Source::Header(name)) = &descriptor.id {
            headers.insert(name.parse::<HeaderName>().unwrap(), HeaderValue::from_static("id"));
        }
        let secrets = ["a secret that nobody guesses", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "",
            "whpk_iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w="].map(Secret::new);
        let parts = SignedRequest { headers: &headers, url: "https://a/b?c", body: &body };
        prop_assert!(verify(&descriptor, &secrets, parts, Timestamp(1_000)).is_err());
    }
}
