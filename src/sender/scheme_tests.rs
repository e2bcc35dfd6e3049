//! The schemes beyond those of today's presets: requests that are verified (tests/vectors/schemes.json), and changed
//! requests that must be rejected.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};

use super::tests::{flipped, verify_preset};
use super::*;
use crate::secret::Secret;
use crate::time::Timestamp;

/// A signed request, and the identity of its event.
#[derive(Clone, Debug, Deserialize)]
struct Case {
    name: String,
    sender: Value,
    secrets: Vec<String>,
    /// Another secret or key of the same form.
    other: String,
    keys: Vec<FetchedKey>,
    /// The time of arrival, in seconds since the Unix epoch.
    now: u64,
    method: String,
    url: String,
    headers: BTreeMap<String, String>,
    body: String,
    identity: BTreeMap<String, String>,
    /// Whether the scheme breaks a rule: the examples of RFC 7515 have no audience.
    unchecked: bool,
    /// Whether the signature covers the whole body.
    covers_body: bool,
}

#[derive(Clone, Debug, Deserialize)]
struct FetchedKey {
    id: Option<String>,
    text: String,
}

impl Case {
    fn all() -> Vec<Self> {
        serde_json::from_str(include_str!("../../tests/vectors/schemes.json")).unwrap()
    }

    fn named(name: &str) -> Self {
        Self::all().into_iter().find(|case| case.name == name).unwrap()
    }

    fn schemes(&self) -> Vec<Descriptor> {
        if self.unchecked {
            return vec![serde_json::from_value(self.sender.clone()).unwrap()];
        }
        Sender::from_value(self.sender.clone()).unwrap_or_else(|e| panic!("{}: {e}", self.name)).schemes
    }

    fn headers(&self) -> HeaderMap {
        let pair = |(n, v): (&String, &String)| (n.parse::<HeaderName>().unwrap(), HeaderValue::from_str(v).unwrap());
        self.headers.iter().map(pair).collect()
    }

    fn verify_with(&self, secrets: &[String], keys: &[FetchedKey], now: u64) -> Result<Verified, VerifyError> {
        let secrets: Vec<Secret> = secrets.iter().map(|text| Secret::new(text)).collect();
        let keys: Vec<PublicKey> = keys
            .iter()
            .flat_map(|FetchedKey { id, text }| {
                PublicKey::parse(text).unwrap().into_iter().map(|key| match id {
                    Some(id) => key.with_id(id),
                    None => key,
                })
            })
            .collect();
        let headers = self.headers();
        let request =
            SignedRequest { method: &self.method, headers: &headers, url: &self.url, body: self.body.as_bytes() };
        let credentials = Credentials { secrets: &secrets, keys: &keys };
        let verified = verify_any(self.schemes(), credentials, request, Timestamp(now.saturating_mul(1_000)));
        if let Err(error) = &verified {
            let text = error.to_string();
            assert!(!self.secrets.iter().any(|secret| text.contains(secret.as_str())), "{}: {text}", self.name);
            assert!(!self.headers.values().any(|value| text.contains(value.as_str())), "{}: {text}", self.name);
        }
        verified
    }

    fn verify(&self) -> Result<Verified, VerifyError> {
        self.verify_with(&self.secrets, &self.keys, self.now)
    }
}

#[test]
fn signed_request_is_verified() {
    for case in Case::all() {
        let verified = case.verify().unwrap_or_else(|e| panic!("{}: {e}", case.name));
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let identity: BTreeMap<_, _> = match &verified.identity {
            Identity::Id(id) => [pair("id", id)].into(),
            Identity::IdAndDigest { id, digest } => [pair("id", id), pair("digest", digest)].into(),
            Identity::Key { key, digest } => [pair("key", key), pair("digest", digest)].into(),
            Identity::Digest(digest) => [pair("digest", digest)].into(),
            Identity::Unknown { digest } => [pair("unknown", digest)].into(),
        };
        assert_eq!(identity, case.identity, "{}", case.name);
    }
}

#[test]
fn changed_request_is_rejected() {
    for case in Case::all() {
        for body in flipped(&case.body).filter(|_| case.covers_body) {
            let changed = Case { body, ..case.clone() };
            // The body of PayPal is covered by its CRC-32, which differs for each bit.
            assert!(changed.verify().is_err(), "{}: {}", case.name, changed.body);
        }
        let signed = case.schemes().into_iter().flat_map(|scheme| scheme.headers).collect::<Vec<_>>();
        let by_old_key = ["box-signature-primary", "x-docusign-signature-1"];
        for (name, value) in case.headers.iter().filter(|(name, _)| !by_old_key.contains(&name.as_str())) {
            let is_signature = signed.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(prefix) => name.starts_with(prefix),
                None => name == pattern,
            });
            for value in flipped(value).filter(|_| is_signature) {
                let mut changed = case.clone();
                // A control character can't be in a header.
                if HeaderValue::from_str(&value).is_ok() {
                    changed.headers.insert(name.clone(), value.clone());
                    assert!(changed.verify().is_err(), "{}: {value}", case.name);
                }
            }
        }
    }
}

#[test]
fn other_secret_or_key_is_rejected() {
    for case in Case::all() {
        let secrets = if case.secrets.is_empty() { vec![] } else { vec![case.other.clone()] };
        let keys: Vec<_> = case
            .keys
            .iter()
            .map(|FetchedKey { id, .. }| FetchedKey { id: id.clone(), text: case.other.clone() })
            .collect();
        assert_eq!(case.verify_with(&secrets, &keys, case.now), Err(VerifyError::Mismatch), "{}", case.name);
    }
}

#[test]
fn signed_time_outside_the_tolerance_is_rejected() {
    let mut timed = 0;
    for case in Case::all().iter().filter(|case| case.name != "grafana-without-time") {
        let schemes = case.schemes();
        let has_time = schemes.iter().any(|scheme| scheme.timestamp.is_some() || scheme.algorithm.is_jwt());
        let verified = case.verify_with(&case.secrets, &case.keys, case.now + 10 * 86_400);
        if has_time {
            timed += 1;
            assert!(verified.unwrap_err().is_about_time(), "{}", case.name);
        } else {
            assert!(verified.is_ok(), "{}", case.name);
        }
    }
    assert!(timed > 15);
}

#[test]
fn key_that_is_not_known_is_named() {
    for (name, url, id) in [
        ("google-pubsub", "https://www.googleapis.com/oauth2/v3/certs", Some("7d680d8c")),
        (
            "sns-2",
            "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-01d088a6f77103d0fe307c0069e40ed6.pem",
            None,
        ),
        ("paypal", "https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-a5cafa77", None),
    ] {
        let case = Case::named(name);
        let request = KeyRequest { url: url.to_owned(), id: id.unwrap_or(url).to_owned() };
        assert_eq!(case.verify_with(&[], &[], case.now), Err(VerifyError::KeyNeeded(request)), "{name}");
    }
}

#[test]
fn certificate_from_a_foreign_host_is_never_asked_for() {
    let case = Case::named("sns-2");
    let own = "https://sns.us-east-1.amazonaws.com/";
    for foreign in [
        "https://sns.s3.amazonaws.com/",
        "https://sns.s3-us-west-2.amazonaws.com/",
        "https://sns.elb-us-east-1.amazonaws.com/",
        "https://sns.us--1.amazonaws.com/",
        "https://sns.us-east-1.amazonaws.com.example.com/",
        "https://sns.us-east-1.amazonaws.com@example.com/",
        "https://sns.us-east-1.amazonaws.com:8443/",
        "https://example.com/sns.us-east-1.amazonaws.com/",
        "http://sns.us-east-1.amazonaws.com/",
        "https://sns.us-east-1.amazonaws.com//",
        "https://sns.us-east-1.amazonaws.com/../",
        "https://SNS.us-east-1.amazonaws.com/",
    ] {
        let changed = Case { body: case.body.replace(own, foreign), ..case.clone() };
        assert_ne!(changed.body, case.body);
        assert_eq!(changed.verify(), Err(VerifyError::ForeignCertificate), "{foreign}");
    }
    for region in ["us-gov-west-1", "cn-north-1", "ap-southeast-2"] {
        let url = format!("https://sns.{region}.amazonaws.com/");
        let changed = Case { body: case.body.replace(own, &url), ..case.clone() };
        assert!(matches!(changed.verify(), Err(VerifyError::KeyNeeded(request)) if request.url.starts_with(&url)));
    }
}

/// A member that is signed if it is there can't be added to a message that was signed without it, nor taken away.
#[test]
fn optional_part_is_signed_if_it_is_there() {
    let without = Case::named("sns-1");
    let body = without.body.replacen('{', r#"{"Subject":"x","#, 1);
    assert_eq!(Case { body, ..without }.verify(), Err(VerifyError::Mismatch));
    let with = Case::named("sns-2");
    let body = with.body.replace(r#""Subject": "#, r#""Other": "#);
    assert_ne!(body, with.body);
    assert_eq!(Case { body, ..with }.verify(), Err(VerifyError::Mismatch));
    let timed = Case::named("grafana-with-time");
    let mut stripped = timed.clone();
    stripped.headers.remove("x-grafana-alerting-timestamp");
    assert_eq!(stripped.verify(), Err(VerifyError::Mismatch));
}

#[test]
fn claim_other_than_expected_is_named() {
    let with = |name: &str, path: &str, value: Value| {
        let mut case = Case::named(name);
        *case.sender.pointer_mut(path).unwrap() = value;
        case.verify().unwrap_err()
    };
    let wrong = |claim: &str| VerifyError::WrongClaim { claim: claim.to_owned() };
    assert_eq!(with("google-pubsub", "/jwt/audiences", json!(["https://other.example"])), wrong("aud"));
    assert_eq!(with("google-pubsub", "/jwt/issuers", json!(["https://other.example"])), wrong("iss"));
    assert_eq!(with("google-pubsub", "/jwt/claims/email", json!("a@b")), wrong("email"));
    assert_eq!(with("google-pubsub", "/jwt/claims/email_verified", json!("false")), wrong("email_verified"));
    assert_eq!(with("google-pubsub", "/algorithm", json!("jwt-es256")), wrong("alg"));
    assert_eq!(with("qstash", "/algorithm", json!("jwt-hs512")), wrong("alg"));
    assert_eq!(with("qstash", "/jwt/body/claim", json!("iss")), wrong("iss"));
    let qstash = Case::named("qstash");
    assert_eq!(Case { url: format!("{}x", qstash.url), ..qstash.clone() }.verify().unwrap_err(), wrong("sub"));
    assert_eq!(Case { body: "{}".to_owned(), ..qstash }.verify().unwrap_err(), wrong("body"));
    let bird = Case::named("messagebird");
    assert_eq!(Case { url: format!("{}x", bird.url), ..bird }.verify().unwrap_err(), wrong("url_hash"));
    let basic = Case::named("google-pubsub");
    let at = |now| basic.verify_with(&basic.secrets, &basic.keys, now).map(|_| ());
    assert_eq!(at(basic.now + 3_600 + LEEWAY - 1), Ok(()));
    assert_eq!(at(basic.now + 3_600 + LEEWAY), Err(VerifyError::Expired));
    let early = Case::named("livekit");
    let at = |now| early.verify_with(&early.secrets, &[], now).map(|_| ());
    assert_eq!(at(early.now - LEEWAY), Ok(()));
    assert_eq!(at(early.now - LEEWAY - 1), Err(VerifyError::NotYetValid));
}

/// `alg: none`, a public key as an HMAC's secret, and unknown extensions.
#[test]
fn token_does_not_choose_its_algorithm() {
    use base64::Engine;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
    let case = Case::named("google-pubsub");
    let token = case.headers["authorization"].clone();
    let claims = token.split('.').nth(1).unwrap();
    for (header, claim) in [
        (r#"{"alg":"none"}"#, "alg"),
        (r#"{"alg":"HS256","kid":"7d680d8c"}"#, "alg"),
        (r#"{"alg":"RS256","kid":"7d680d8c","crit":["x"]}"#, "crit"),
    ] {
        let mut forged = case.clone();
        forged.headers.insert("authorization".to_owned(), format!("Bearer {}.{claims}.", BASE64.encode(header)));
        assert_eq!(forged.verify(), Err(VerifyError::WrongClaim { claim: claim.to_owned() }), "{header}");
    }
    for text in ["Bearer", "Bearer a", "Bearer a.b", "Bearer a.b.c.d", "Basic a.b.c", "Bearer ..", "a.b.c"] {
        let mut malformed = case.clone();
        malformed.headers.insert("authorization".to_owned(), text.to_owned());
        let expected = VerifyError::MalformedHeader { header: "authorization".to_owned() };
        assert_eq!(malformed.verify(), Err(expected), "{text}");
    }
    let hmac = Descriptor::parse(r#"{"algorithm":"jwt-rs256","jwt":{"body":{"claim":"b"}}}"#).unwrap();
    assert!(!hmac.accepts_secret(&Secret::new("s3cret")));
}

#[test]
fn signed_url_is_tried_with_and_without_its_port() {
    let twilio = Preset::by_name("twilio").unwrap();
    let secret = [Secret::new("tw-s3cret")];
    let signed = |url: &str| {
        // printf '%sBodyhiMessageSidSM1' "$url" | openssl dgst -sha1 -hmac tw-s3cret -binary | base64
        let sign = super::signature::compute(
            Algorithm::HmacSha1,
            b"tw-s3cret",
            &[super::signature::Piece::Bytes(format!("{url}BodyhiMessageSidSM1").into_bytes().into())],
        );
        super::signature::encode(Encoding::Base64, &sign.unwrap())
    };
    let verify = |signed_url: &str, called: &str| {
        let headers = [
            ("x-twilio-signature", signed(signed_url)),
            ("content-type", "application/x-www-form-urlencoded".to_owned()),
        ];
        let headers: HeaderMap = headers.iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).collect();
        let request = SignedRequest { method: "POST", headers: &headers, url: called, body: b"Body=hi&MessageSid=SM1" };
        verify_preset(twilio, &secret, request, Timestamp(0)).map(|_| ())
    };
    for (signed_url, called, matches) in [
        ("https://h.example:8443/a?b", "https://h.example:8443/a?b", true),
        ("https://h.example/a?b", "https://h.example:8443/a?b", true),
        ("https://h.example:443/a?b", "https://h.example/a?b", true),
        ("http://h.example:80/a?b", "http://h.example/a?b", true),
        ("https://[::1]/a", "https://[::1]:8443/a", true),
        ("https://[::1]:8443/a", "https://[::1]:8443/a", true),
        ("https://[2001:db8::443]/a", "https://[2001:db8::443]/a", true),
        ("https://[2001:db8::1]:443/a", "https://[2001:db8::1]/a", true),
        ("https://h.example/a", "https://h.example:443/a", true),
        ("https://h.example:443/a", "https://h.example:8443/a", true),
        ("http://h.example/a", "http://h.example:8080/a", true),
        ("http://h.example:80", "http://h.example", true),
        ("https://h.example:443?b=:8", "https://h.example?b=:8", true),
        ("https://h.example/a:8443/b", "https://h.example:1/a:8443/b", true),
        ("https://h.example:80/a", "https://h.example/a", false),
        ("http://h.example:443/a", "http://h.example/a", false),
        ("https://h.example:8444/a", "https://h.example:8443/a", false),
        ("https://[2001:db8::]/a", "https://[2001:db8::443]/a", false),
        ("https://h.example:8443/a?b", "https://h.example/a?b", false),
        ("http://h.example/a?b", "https://h.example/a?b", false),
        ("https://h.example/a?c", "https://h.example/a?b", false),
        ("https://other.example/a?b", "https://h.example:8443/a?b", false),
    ] {
        assert_eq!(verify(signed_url, called).is_ok(), matches, "{signed_url} {called}");
    }
}

#[test]
fn retry_with_another_timestamp_in_the_body_is_the_same_event() {
    let linear = Preset::by_name("linear").unwrap().descriptors().next().unwrap();
    let identity = |body: &str, delivery: &str, now: u64| {
        let mac = Secret::new("s3cret").mac(body.as_bytes());
        let headers =
            [("linear-signature", base16ct::lower::encode_string(&mac)), ("linear-delivery", delivery.to_owned())];
        let headers: HeaderMap = headers.iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).collect();
        let request = SignedRequest { method: "POST", headers: &headers, url: "", body: body.as_bytes() };
        verify(&linear, &[Secret::new("s3cret")], request, Timestamp(now)).unwrap().identity
    };
    let first = identity(r#"{"a":1,"webhookTimestamp":1000}"#, "d-1", 1_000);
    assert_eq!(first, identity(r#"{"a":1,"webhookTimestamp":61000}"#, "d-1", 61_000));
    assert_ne!(first, identity(r#"{"a":1,"webhookTimestamp":1000}"#, "d-2", 1_000));
    assert_ne!(first, identity(r#"{"a":2,"webhookTimestamp":1000}"#, "d-1", 1_000));
}

#[test]
fn event_of_a_batch_has_an_identity_of_its_own() {
    let case = Case::named("sendgrid");
    let verified = case.verify().unwrap();
    let scheme = case.schemes().remove(0);
    let of = |index, item: &str| Sender::item_identity(&scheme, &verified, index, item.as_bytes());
    assert_eq!(of(0, r#"{"sg_event_id":"a"}"#), Identity::Id("a".to_owned()));
    assert_eq!(of(0, r#"{"sg_event_id":"a"}"#), of(1, r#"{"sg_event_id":"a"}"#));
    let Identity::Digest(digest) = &verified.identity else { panic!() };
    assert_eq!(of(1, "{}"), Identity::Digest(format!("{digest}#1")));
}

#[test]
fn secret_of_another_form_is_explained() {
    let whsec = r#"{"algorithm":"hmac-sha256","headers":["x"],"secret":{"encoding":"base64","prefix":"whsec_"}}"#;
    let base64 = r#"{"algorithm":"hmac-sha256","headers":["x"],"secret":{"encoding":"base64"}}"#;
    let hex = r#"{"algorithm":"hmac-sha256","headers":["x"],"secret":{"encoding":"hex"}}"#;
    let ecdsa = r#"{"algorithm":"ecdsa-p256","headers":["x"]}"#;
    let rsa = r#"{"algorithm":"rsa-sha256","headers":["x"]}"#;
    let basic = r#"{"algorithm":"basic"}"#;
    let p256 = Case::named("sendgrid").secrets.remove(0);
    let private = "-----BEGIN PRIVATE KEY-----\nMIGHAg==\n-----END PRIVATE KEY-----";
    for (scheme, secret, expected) in [
        (whsec, "", "is empty"),
        (whsec, "whsec_", "is empty"),
        (whsec, "c2VjcmV0", "must begin with `whsec_`, as"),
        (whsec, "v1,whsec_c2VjcmV0", "must begin with `whsec_`: leave out what is before it"),
        (whsec, "whsec_c2Vj cmV0", "contains white space"),
        (whsec, "whsec_c2VjcmV0!", "must be base64 after `whsec_`"),
        (base64, "c2VjcmV0-", "must be base64"),
        (hex, "0g", "must be hexadecimal"),
        (ecdsa, "s3cret", "is not a public key"),
        (ecdsa, private, "is a private key"),
        (rsa, p256.as_str(), "another algorithm than this sender's"),
        (rsa, r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#, "another length"),
        (rsa, r#"{"keys":[]}"#, "no usable key"),
        (rsa, r#"{"kty":"RSA","n":"AQAB","e":"AQAB","d":"AQAB"}"#, "is a private key"),
        (basic, "user", "must be `user:password`"),
    ] {
        let error = Descriptor::parse(scheme).unwrap().check_secret(&Secret::new(secret)).unwrap_err().to_string();
        assert!(error.contains(expected), "{secret}: {error}");
    }
}

#[test]
fn public_key_is_accepted_in_each_form() {
    let pem = Case::named("travis").secrets.remove(0);
    let one_line = pem.replace('\n', " ");
    let spki: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    for text in [&pem, &one_line, &spki] {
        assert_eq!(PublicKey::parse(text), PublicKey::parse(&pem));
        assert!(PublicKey::parse(text).unwrap()[0].is_rsa());
    }
    let certificate = &Case::named("sns-1").keys[0].text;
    assert_eq!(PublicKey::parse(certificate), PublicKey::parse(&pem));
    let set = &Case::named("google-pubsub").keys[0].text;
    let ids: Vec<_> = PublicKey::parse(set).unwrap().iter().map(|key| key.id().map(str::to_owned)).collect();
    assert_eq!(ids, [Some("another".to_owned()), Some("7d680d8c".to_owned())]);
    // A certificate that is cut, at each byte, is none.
    let lines: String = certificate.lines().filter(|line| !line.starts_with('-')).collect();
    let der = data_encoding::BASE64.decode(lines.as_bytes()).unwrap();
    for end in 0..der.len() {
        let _ = PublicKey::from_certificate(&der[..end]);
    }
    assert!(PublicKey::from_certificate(&der).is_ok() && PublicKey::from_certificate(&der[..200]).is_err());
}

#[test]
fn inconsistent_sender_is_rejected() {
    for (json, expected) in [
        ("", "not valid JSON"),
        ("[]", "must be an object"),
        (r#""githb""#, "there is no preset `githb`; `github` is near"),
        (r#"{"like":"stripee"}"#, "`stripe` is near"),
        (r#"{"like":1}"#, "`like` must be the name"),
        (r#"{"algoritm":"token","headers":["x"]}"#, "unknown field `algoritm`"),
        (r#"{"algoritm":"token","headers":["x"]}"#, "; `algorithm` is near"),
        (r#"{"algorithm":"hmac-sha265","headers":["x"]}"#, "`hmac-sha256` is near"),
        (r#"{"algorithm":"token","headers":["x"],"question":[]}"#, "; `questions` is near"),
        (
            r#"{"algorithm":"hmac-sha256","headers":["x"],"timestamp":{"from":{"pointer":"/t"},"unit":"second"}}"#,
            "`timestamp`: unknown variant `second`, expected one of `seconds`",
        ),
        (
            r#"{"algorithm":"hmac-sha256","headers":["x"],"timestamp":{"from":{"pointer":"/t"},"unit":"second"}}"#,
            "`seconds` is near",
        ),
        (
            r#"{"schemes":[{"algorithm":"token","headers":["x"]},{"algorithm":"token"}]}"#,
            "schemes[1]: `headers` must list",
        ),
        (r#"{"schemes":[],"prefix":"x"}"#, "unknown field `prefix` beside `schemes`"),
        (r#"{"schemes":[],"answr":{}}"#, "`answer` is near"),
        (r#"{"schemes":1}"#, "`schemes` must be an array"),
        (r#"{"marks":["a b"]}"#, "marks: `a b` is not a valid header name"),
        (r#"{"body":{"array":"bach"}}"#, "`body`: unknown variant `bach`"),
        (r#"{"success":"any"}"#, "`success`: unknown variant `any`, expected one of `2xx`"),
        (r#"{"questions":[{"answer":{}}]}"#, "questions[0]: `when` must tell"),
        (r#"{"questions":[{"method":"PUT"}]}"#, "unknown variant `PUT`, expected one of `GET`, `HEAD`, `POST`"),
        (r#"{"questions":[{"method":"GET","signed":true}]}"#, "`signed` must not be true unless"),
        (r#"{"questions":[{"when":[{"at":{"pointer":"/a"}}],"signed":true}]}"#, "the sender has no scheme"),
        (r#"{"questions":[{"method":"GET","answer":{"status":302}}]}"#, "a `status` from 200 to 299"),
        (r#"{"questions":[{"method":"GET","answer":{"text":"","json":1}}]}"#, "both `text` and `json`"),
        (r#"{"questions":[{"method":"GET","answer":{"headers":{"Location":"x"}}}]}"#, "valid `headers`, and none"),
        (r#"{"questions":[{"method":"GET","answer":{"text":"{secret}"}}]}"#, "only texts, values"),
        (r#"{"questions":[{"method":"GET","answer":{"text":"{signature}"}}]}"#, "only texts, values"),
        (r#"{"questions":[{"method":"GET","answer":{"json":{"a":"{"}}}]}"#, "valid templates in `json`"),
        (r#"{"questions":[{"method":"GET","sign":{"algorithm":"token","text":"a"}}]}"#, "an HMAC or a plain hash"),
        (r#"{"questions":[{"method":"GET","sign":{"algorithm":"sha256","text":"a"}}]}"#, "{secret} in `text` if"),
        (
            r#"{"questions":[{"method":"GET","sign":{"algorithm":"hmac-sha256","text":"{body}"}}]}"#,
            "only texts, values, {url}",
        ),
        (r#"{"answer":{"text":"{query:a}"}}"#, "see `questions`"),
        (r#"{"algorithm":"sha256","headers":["x"]}"#, "must contain {secret}"),
        (r#"{"algorithm":"hmac-sha256","headers":["x"],"signed":"{secret}{body}"}"#, "must not contain {secret}"),
        (r#"{"algorithm":"hmac-sha256","headers":["x"],"signed":"{json:/a}"}"#, r#"say so by `"partial":true`"#),
        (r#"{"algorithm":"hmac-sha256","headers":["x"],"partial":true}"#, "`partial` must not be true"),
        (r#"{"algorithm":"hmac-sha256","headers":["x"],"signature":{"form":"s"}}"#, "one location"),
        (r#"{"algorithm":"hmac-sha256","signature":{"claim":"s"}}"#, "must be a `header`, a `pointer`"),
        (r#"{"algorithm":"hmac-sha256","signature":{"form":""}}"#, "empty name"),
        (r#"{"algorithm":"hmac-sha256","headers":["x"],"signed":"{body}{constant:a}"}"#, "`constants` must have"),
        (r#"{"algorithm":"hmac-sha256","headers":["x"],"signed":"{body}{field:a}"}"#, "{field:…}"),
        (r#"{"algorithm":"hmac-sha256","headers":["x"],"id":{"claim":"jti"}}"#, "`id` must not be a claim"),
        (r#"{"algorithm":"hmac-sha256","headers":["x"],"jwt":{}}"#, "`jwt` must not be set"),
        (r#"{"algorithm":"hmac-sha256","headers":["x"],"keys":{"jwks":"https://a"}}"#, "`keys` must not be set"),
        (r#"{"algorithm":"hmac-sha256","headers":["x"],"unstable":["a"]}"#, "`unstable` must list"),
        (
            r#"{"algorithm":"hmac-sha256","headers":["x"],"signed":"{if timestamp}{timestamp}{end}{body}",
            "timestamp":{"from":{"header":"t"}}}"#,
            "if it is `optional`",
        ),
        (
            r#"{"algorithm":"hmac-sha256","headers":["x"],"signed":"{timestamp}{body}",
            "timestamp":{"from":{"header":"t"},"optional":true}}"#,
            "if it is `optional`",
        ),
        (r#"{"algorithm":"jwt-rs256"}"#, "`jwt` is required"),
        (r#"{"algorithm":"jwt-rs256","jwt":{"issuers":["a"]}}"#, "must name `issuers` and `audiences`"),
        (r#"{"algorithm":"jwt-rs256","jwt":{"body":{"claim":"a"}},"keys":{"jwks":"http://a"}}"#, "https://"),
        (r#"{"algorithm":"jwt-hs256","signed":"{url}{body}"}"#, "is a JSON Web Token"),
        (r#"{"algorithm":"jwt-hs256","timestamp":{"from":{"header":"t"}}}"#, "`timestamp` must be a claim"),
        (r#"{"algorithm":"rsa-sha256","headers":["x"],"keys":{"jwks":"https://a"}}"#, "must be a `certificate`"),
        (r#"{"algorithm":"rsa-sha256","headers":["x"],"secret":{"encoding":"hex"}}"#, "`secret` must not be set"),
        (
            r#"{"algorithm":"rsa-sha256","headers":["x"],"keys":{"certificate":{"from":{"header":"u"},"urls":[]}}}"#,
            "must list `urls`",
        ),
        (
            r#"{"algorithm":"rsa-sha256","headers":["x"],"keys":{"certificate":{"from":{"header":"u"},"urls":["https://*.com/*"]}}}"#,
            "last two labels",
        ),
        (r#"{"algorithm":"basic","grammar":{"list":","},"prefix":"a"}"#, "`grammar` must be `single`"),
    ] {
        let error = Sender::parse(json).map(|_| ()).expect_err(json).to_string();
        assert!(error.contains(expected), "{json}: {error}");
    }
}

#[test]
fn sender_like_a_preset_has_its_members_unless_it_has_its_own() {
    let like = Sender::parse(r#"{"like":"stripe","timestamp":{"tolerance":60},"deadline":7}"#).unwrap();
    let stripe = Sender::parse(r#""stripe""#).unwrap();
    let mut expected = stripe.clone();
    expected.deadline = Some(7);
    expected.schemes[0].timestamp.as_mut().unwrap().tolerance = 60;
    assert_eq!(like, expected);
    assert_eq!(Sender::parse(r#"{"like":"slack"}"#).unwrap().marks, ["x-slack-signature", "x-slack-request-timestamp"]);
    assert_eq!(Sender::parse("{}").unwrap(), Sender::default());
}

#[test]
fn sender_without_marks_is_known_by_its_signature() {
    let marked = |json: &str, name: &str, value: &str| {
        let headers: HeaderMap = [(name.parse::<HeaderName>().unwrap(), value.parse().unwrap())].into_iter().collect();
        Sender::parse(json).unwrap().is_marked(&headers)
    };
    let basic = r#"{"algorithm":"basic"}"#;
    assert!(marked(basic, "authorization", "Basic dTpw"));
    assert!(!marked(basic, "authorization", "Bearer dTpw"));
    let teams = r#"{"algorithm":"hmac-sha256","headers":["authorization"],"prefix":"HMAC "}"#;
    assert!(marked(teams, "authorization", "HMAC abc="));
    assert!(!marked(teams, "authorization", "Bearer abc="));
    assert!(marked(r#"{"algorithm":"token","headers":["x-a"],"marks":["x-b"]}"#, "x-b", "1"));
    assert!(!marked(r#"{"algorithm":"token","headers":["x-a"],"marks":["x-b"]}"#, "x-a", "1"));
}

/// Finds the question that a request asks, and its answer.
fn ask(
    sender: Value,
    method: &str,
    url: &str,
    headers: &[(&'static str, &str)],
    body: &str,
) -> Option<Result<(u16, String, String), QuestionError>> {
    let sender = Sender::from_value(sender).unwrap();
    let headers: HeaderMap = headers.iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).collect();
    let request = SignedRequest { method, headers: &headers, url, body: body.as_bytes() };
    let question = sender.question(request)?;
    Some(question.answer(request, &[Secret::new("s3cret")], &[Secret::new("t0ken")]).map(|reply| {
        let headers = reply.headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect::<Vec<_>>();
        (reply.status, headers.join("\n"), reply.body)
    }))
}

#[test]
fn question_gets_the_answer_that_its_sender_documents() {
    let get =
        |at: Value, answer: Value| json!({"questions": [{"method": "GET", "when": [{"at": at}], "answer": answer}]});
    let answered = |status, body: &str| Some(Ok((status, String::new(), body.to_owned())));
    // Meta for Developers, Webhooks: verification requests.
    let meta = json!({"questions": [{"method": "GET", "when": [{"at": {"query": "hub.mode"}, "is": "subscribe"}],
        "token": {"query": "hub.verify_token"}, "answer": {"text": "{query:hub.challenge}"}}]});
    let url = "https://h/p?ref=w&hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=";
    assert_eq!(ask(meta.clone(), "GET", &format!("{url}t0ken"), &[], ""), answered(200, "1158201444"));
    let refused = Err(QuestionError::Token { location: "query:hub.verify_token".to_owned() });
    assert_eq!(ask(meta.clone(), "GET", &format!("{url}other"), &[], ""), Some(refused.clone()));
    assert_eq!(ask(meta.clone(), "GET", url, &[], ""), Some(refused));
    assert_eq!(ask(meta.clone(), "POST", &format!("{url}t0ken"), &[], "{}"), None);
    assert_eq!(ask(meta, "GET", "https://h/p?hub.mode=unsubscribe", &[], ""), None);
    // Okta, Event hooks: one-time verification request.
    let okta = get(
        json!({"header": "x-okta-verification-challenge"}),
        json!({"json": {"verification": "{header:x-okta-verification-challenge}"}}),
    );
    let header = [("x-okta-verification-challenge", "a\"b")];
    assert_eq!(ask(okta, "GET", "https://h/p", &header, ""), answered(200, r#"{"verification":"a\"b"}"#));
    // X, Account Activity API: challenge-response check.
    let x = json!({"questions": [{"method": "GET", "when": [{"at": {"query": "crc_token"}}],
        "sign": {"algorithm": "hmac-sha256", "encoding": "base64", "text": "{query:crc_token}"},
        "answer": {"json": {"response_token": "sha256={signature}"}}}]});
    // printf abc | openssl dgst -sha256 -hmac s3cret -binary | base64
    let mac = super::signature::encode(Encoding::Base64, &Secret::new("s3cret").mac(b"abc"));
    let expected = format!(r#"{{"response_token":"sha256={mac}"}}"#);
    assert_eq!(ask(x.clone(), "GET", "https://h/p?crc_token=abc", &[], ""), answered(200, &expected));
    // The answer to an event's body would be the signature of a forged event.
    for forged in ["%7B%7D", "a%3Db", "a%26b", "a:b", "%5B%5D", "a%20b"] {
        let url = format!("https://h/p?crc_token={forged}");
        assert_eq!(ask(x.clone(), "GET", &url, &[], ""), Some(Err(QuestionError::UnsafeToSign)), "{forged}");
    }
    // eBay, Marketplace account deletion: SHA-256 of challenge code, token and endpoint.
    let ebay = json!({"questions": [{"method": "GET", "when": [{"at": {"query": "challenge_code"}}],
        "sign": {"algorithm": "sha256", "text": "{query:challenge_code}{secret}{url}"},
        "answer": {"json": {"challengeResponse": "{signature}"}}}]});
    let Some(Ok((200, _, body))) = ask(ebay, "GET", "https://h/p?challenge_code=a1", &[], "") else { panic!() };
    use sha2::Digest;
    let digest = base16ct::lower::encode_string(&sha2::Sha256::digest(b"a1s3crethttps://h/p?challenge_code=a1"));
    assert_eq!(body, format!(r#"{{"challengeResponse":"{digest}"}}"#));
    // Asana, Webhooks: the handshake.
    let asana = json!({"questions": [{"when": [{"at": {"header": "x-hook-secret"}}], "keep": {"header": "x-hook-secret"},
        "answer": {"status": 204, "headers": {"x-hook-secret": "{header:x-hook-secret}"}}}]});
    let reply = ask(asana, "POST", "https://h/p", &[("x-hook-secret", "b537207f")], "");
    assert_eq!(reply, Some(Ok((204, "x-hook-secret: b537207f".to_owned(), String::new()))));
    // Discord, Interactions: PING and PONG.
    let discord = json!({"algorithm": "ed25519", "headers": ["x-signature-ed25519"], "secret": {"encoding": "hex"},
        "signed": "{timestamp}{body}", "timestamp": {"from": {"header": "x-signature-timestamp"}}, "id": {"pointer": "/id"},
        "questions": [{"when": [{"at": {"pointer": "/type"}, "is": "1"}], "signed": true, "answer": {"json": {"type": 1}}}],
        "answer": {"json": {"type": 5}}});
    assert_eq!(ask(discord.clone(), "POST", "https://h/p", &[], r#"{"type":1}"#), answered(200, r#"{"type":1}"#));
    assert_eq!(ask(discord.clone(), "POST", "https://h/p", &[], r#"{"type":2}"#), None);
    let fixed = Sender::from_value(discord).unwrap().answer.unwrap().fixed();
    assert_eq!(
        (fixed.status, fixed.content_type, fixed.body.as_str()),
        (200, Some("application/json"), r#"{"type":5}"#)
    );
    // Microsoft Graph, change notifications: endpoint validation.
    let graph = json!({"questions": [{"when": [{"at": {"query": "validationToken"}}],
        "answer": {"text": "{query:validationToken}"}}]});
    let url = "https://h/p?validationToken=Validation%3a+Testing+client+%3C%3E";
    assert_eq!(ask(graph, "POST", url, &[], ""), answered(200, "Validation: Testing client <>"));
    // Trello asks by HEAD, with nothing in it.
    let trello = json!({"questions": [{"method": "HEAD"}]});
    assert_eq!(ask(trello.clone(), "HEAD", "https://h/p", &[], ""), answered(200, ""));
    assert_eq!(ask(trello, "GET", "https://h/p", &[], ""), None);
    // Zoom's, as a question.
    let zoom = json!({"like": "zoom", "questions": [{"when": [{"at": {"pointer": "/event"}, "is": "endpoint.url_validation"}],
        "signed": true, "sign": {"algorithm": "hmac-sha256", "text": "{json:/payload/plainToken}"},
        "answer": {"json": {"plainToken": "{json:/payload/plainToken}", "encryptedToken": "{signature}"}}}]});
    let body = r#"{"payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"},"event":"endpoint.url_validation"}"#;
    let Some(Ok((200, _, body))) = ask(zoom, "POST", "https://h/p", &[], body) else { panic!() };
    let body: Value = serde_json::from_str(&body).unwrap();
    // printf qgg8vlvZRS6UYooatFL8Aw | openssl dgst -sha256 -hmac s3cret
    let encrypted = "f54f2d5fee8f181aab8371bada7fed9bb675eae464f18ed4fb91715244b58ef4";
    assert_eq!(body, json!({"plainToken": "qgg8vlvZRS6UYooatFL8Aw", "encryptedToken": encrypted}));
}

#[test]
fn value_of_a_question_is_bounded() {
    let echo =
        json!({"questions": [{"method": "GET", "when": [{"at": {"query": "c"}}], "answer": {"text": "{query:c}"}}]});
    let url = |length| format!("https://h/p?c={}", "a".repeat(length));
    assert!(ask(echo.clone(), "GET", &url(MAX_VALUE), &[], "").unwrap().is_ok());
    assert_eq!(ask(echo.clone(), "GET", &url(MAX_VALUE + 1), &[], ""), Some(Err(QuestionError::TooLong)));
    assert_eq!(ask(echo, "GET", "https://h/p?c=1&c=2", &[], ""), None);
    let header = json!({"questions": [{"method": "GET", "answer": {"headers": {"x-a": "{query:c}"}}}]});
    assert_eq!(ask(header.clone(), "GET", "https://h/p?c=a%0d%0ab", &[], ""), Some(Err(QuestionError::Header)));
    let missing = VerifyError::MissingValue { location: "query:c".to_owned() };
    assert_eq!(ask(header, "GET", "https://h/p", &[], ""), Some(Err(QuestionError::Value(missing))));
}

#[test]
fn near_miss_says_what_would_have_fitted() {
    let look = |case: &Case, now: u64, others: &[(&str, &[Secret])]| {
        let secrets: Vec<Secret> = case.secrets.iter().map(|text| Secret::new(text)).collect();
        let headers = case.headers();
        let request =
            SignedRequest { method: &case.method, headers: &headers, url: &case.url, body: case.body.as_bytes() };
        let (scheme, now) = (case.schemes().remove(0), Timestamp(now * 1_000));
        let credentials = Credentials { secrets: &secrets, keys: &[] };
        let error = verify_with(&scheme, credentials, request, now).unwrap_err();
        let miss = near_miss(&scheme, credentials, request, now, &error, others.iter().copied());
        if let Some(text) = miss.as_ref().map(ToString::to_string) {
            assert!(!text.contains("s3cret") && !text.contains("ref=w") && !text.contains(&case.body), "{text}");
        }
        miss
    };
    let v3 = Case::named("hubspot-v3");
    for (called, fits) in [
        ("http://gate.example/api/v2/webhook?ref=w", true),
        ("https://gate.example/api/v2/webhook/?ref=w", true),
        ("http://gate.example:8080/api/v2/webhook/?ref=w", true),
        ("https://other.example/api/v2/webhook?ref=w", false),
        ("https://gate.example/api/v2/webhook?ref=x", false),
    ] {
        let url = "https://gate.example/api/v2/webhook".to_owned();
        let miss = look(&Case { url: called.to_owned(), ..v3.clone() }, v3.now, &[]);
        assert_eq!(miss, fits.then_some(NearMiss::Url { url }), "{called}");
    }
    let body = |body: &str| look(&Case { body: body.to_owned(), ..v3.clone() }, v3.now, &[]);
    for changed in ["{\"id\":\"1\"}\n", "{\"id\":\"1\"} \r\n"] {
        assert_eq!(body(changed), Some(NearMiss::Body { change: "did not end in white space" }));
    }
    assert_eq!(body("\u{feff}{\"id\":\"1\"}"), Some(NearMiss::Body { change: "had no byte order mark" }));
    assert_eq!(body("{\"id\": \"1\"}"), None);
    assert_eq!(body(&"a".repeat(MAX_EXPLAINED_BODY + 1)), None);
    let secret = |secret: &str| look(&Case { secrets: vec![secret.to_owned()], ..v3.clone() }, v3.now, &[]);
    assert_eq!(secret("s3cret\n"), Some(NearMiss::WhiteSpace));
    assert_eq!(secret("czNjcmV0"), Some(NearMiss::KeyEncoding { encoding: "base64" }));
    assert_eq!(secret("733363726574"), Some(NearMiss::KeyEncoding { encoding: "hex" }));
    assert_eq!(secret("other"), None);
    let mut hex = v3.clone();
    hex.sender["encoding"] = json!("hex");
    assert_eq!(look(&hex, v3.now, &[]), Some(NearMiss::Algorithm { algorithm: "hmac-sha256", encoding: "base64" }));
    let (own, none) = ([Secret::new("s3cret")], [Secret::new("x")]);
    let wrong = Case { secrets: vec!["other".to_owned()], ..v3.clone() };
    let others: [(&str, &[Secret]); 2] = [("b", &none), ("acme", &own)];
    assert_eq!(look(&wrong, v3.now, &others), Some(NearMiss::Source { source_name: "acme".to_owned() }));
    let clock = look(&v3, v3.now + 7_200, &[]);
    assert_eq!(clock, Some(NearMiss::Clock { seconds: 7_200, direction: "behind" }));
    let clock = look(&v3, v3.now - 7_200, &[]);
    assert_eq!(clock, Some(NearMiss::Clock { seconds: 7_200, direction: "ahead of" }));
}

#[test]
fn number_of_looks_is_bounded() {
    let case = Case::named("hubspot-v3");
    let headers = case.headers();
    let url = "https://other.example:8443/a/";
    let request = SignedRequest { method: "POST", headers: &headers, url, body: b"{}\n" };
    let none = [Secret::new("x")];
    let mut asked = 0;
    let others = (0..1_000).map(|_| {
        asked += 1;
        ("many", none.as_slice())
    });
    let credentials = Credentials { secrets: &none, keys: &[] };
    let scheme = case.schemes().remove(0);
    let miss = near_miss(&scheme, credentials, request, Timestamp(case.now * 1_000), &VerifyError::Mismatch, others);
    assert!(miss.is_none() && asked > 0 && asked <= MAX_LOOKS, "{asked}");
}
