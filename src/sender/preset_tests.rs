//! The presets, by the requests in tests/vectors/senders: those of a vendor are accepted, changed ones are refused, a
//! redelivery is the same event and another event is another one, and no sender is taken for another one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::Value;

use super::*;
use crate::secret::Secret;
use crate::time::Timestamp;

/// A signed request, a redelivery of it, and another event.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(skip)]
    preset: String,
    origin: String,
    method: String,
    secrets: Vec<String>,
    /// Another secret, or key, of the same form.
    #[serde(default)]
    other: Option<String>,
    /// The public keys that were fetched.
    #[serde(default)]
    keys: Vec<FetchedKey>,
    #[serde(default)]
    audience: Vec<String>,
    #[serde(default)]
    issuer: Vec<String>,
    #[serde(default)]
    constants: BTreeMap<String, String>,
    /// The claims that the source requires.
    #[serde(default)]
    claims: BTreeMap<String, String>,
    /// The parts that the signature covers: `body`, `url`, headers, and members of the body by JSON Pointer.
    covers: Vec<String>,
    /// The tolerance of the signed time, in seconds.
    #[serde(default)]
    tolerance: Option<u64>,
    /// The time after which the token expires, in seconds.
    #[serde(default)]
    expires: Option<u64>,
    id: Option<String>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    identity: Kind,
    #[serde(default)]
    again: Option<Sent>,
    #[serde(default)]
    another: Option<Sent>,
    now: u64,
    url: String,
    headers: BTreeMap<String, String>,
    body: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FetchedKey {
    id: Option<String>,
    text: String,
}

/// A request.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    /// The time of arrival, in seconds since the Unix epoch.
    now: u64,
    #[serde(default)]
    url: Option<String>,
    headers: BTreeMap<String, String>,
    body: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Kind {
    #[serde(rename = "id")]
    Id,
    #[serde(rename = "id+digest")]
    IdAndDigest,
    #[serde(rename = "digest")]
    Digest,
    #[serde(rename = "none")]
    None,
}

impl Kind {
    fn of(identity: &Identity) -> Self {
        match identity {
            Identity::Id(_) => Self::Id,
            Identity::IdAndDigest { .. } => Self::IdAndDigest,
            Identity::Digest(_) => Self::Digest,
            Identity::Key { .. } | Identity::Unknown { .. } => Self::None,
        }
    }
}

impl FetchedKey {
    fn parse(&self) -> Vec<PublicKey> {
        let keys = PublicKey::parse(&self.text).unwrap();
        match &self.id {
            Some(id) => keys.into_iter().map(|key| key.with_id(id)).collect(),
            None => keys,
        }
    }
}

fn folder(path: &str) -> impl Iterator<Item = (String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, fs::read_to_string(path).unwrap())
    })
}

impl Case {
    fn all() -> Vec<Self> {
        let read = |(preset, text): (String, String)| {
            let cases: Vec<Self> = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{preset}: {error}"));
            cases.into_iter().map(move |case| Self { preset: preset.clone(), ..case })
        };
        folder("tests/vectors/senders").flat_map(read).collect()
    }

    fn preset(&self) -> &'static Preset {
        Preset::by_name(&self.preset).unwrap_or_else(|| panic!("no preset {}", self.preset))
    }

    fn sender(&self) -> Sender {
        let mut sender = Sender::of(self.preset()).with_token_rules(&self.audience, &self.issuer, None);
        self.fill(&mut sender);
        sender
    }

    /// Sets what only a source knows.
    fn fill(&self, sender: &mut Sender) {
        for scheme in &mut sender.schemes {
            scheme.constants.extend(self.constants.clone());
            if !self.claims.is_empty() {
                scheme.jwt.get_or_insert_default().claims.extend(self.claims.clone());
            }
        }
    }

    fn sent(&self) -> Sent {
        let Self { now, headers, body, .. } = self.clone();
        Sent { now, url: None, headers, body }
    }

    fn verify_by(
        &self,
        schemes: Vec<Descriptor>,
        secrets: &[String],
        keys: &[FetchedKey],
        sent: &Sent,
        body: &[u8],
    ) -> Result<Verified, VerifyError> {
        let secrets: Vec<Secret> = secrets.iter().map(|text| Secret::new(text)).collect();
        let keys: Vec<_> = keys.iter().flat_map(FetchedKey::parse).collect();
        let headers = header_map(&sent.headers);
        let url = sent.url.as_ref().unwrap_or(&self.url);
        let request = SignedRequest { method: &self.method, headers: &headers, url, body };
        let credentials = Credentials { secrets: &secrets, keys: &keys };
        verify_any(schemes, credentials, request, Timestamp(sent.now.saturating_mul(1_000)))
    }

    fn verify(&self, sent: &Sent) -> Result<Verified, VerifyError> {
        self.verify_by(self.sender().schemes, &self.secrets, &self.keys, sent, sent.body.as_bytes())
    }

    /// The identity of each event in a request.
    fn identities(&self, sent: &Sent) -> Vec<Identity> {
        let verified = self.verify(sent).unwrap_or_else(|error| panic!("{}: {error}", self.preset));
        let sender = self.sender();
        let content_type = sent.headers.get("content-type").map_or("application/json", String::as_str);
        match sender.body.events(content_type, sent.body.as_bytes()) {
            Ok(Events::Batch(events)) => {
                let identity = |(index, event): (usize, &std::borrow::Cow<'_, serde_json::value::RawValue>)| {
                    Sender::item_identity(&sender.schemes[0], &verified, index, event.get().as_bytes())
                };
                events.iter().enumerate().map(identity).collect()
            }
            Ok(Events::One(_)) => vec![verified.identity],
            // GitHub's and Bitbucket's published examples.
            Err(_) if sent.body.starts_with("Hello") => vec![verified.identity],
            Err(error) => panic!("{}: {error}", self.preset),
        }
    }

    /// The requests with one bit flipped in each byte of a part.
    fn flipped(&self, part: &str) -> Vec<(Sent, Vec<u8>)> {
        let sent = self.sent();
        let bytes = |text: &str| -> Vec<Vec<u8>> {
            let flip = |at: usize| {
                let mut bytes = text.as_bytes().to_vec();
                bytes[at] ^= 1;
                bytes
            };
            (0..text.len()).map(flip).collect()
        };
        let texts = |text: &str| bytes(text).into_iter().filter_map(|bytes| String::from_utf8(bytes).ok());
        let body = sent.body.clone().into_bytes();
        match part {
            "body" => bytes(&sent.body).into_iter().map(|body| (sent.clone(), body)).collect(),
            "url" => {
                let url = sent.url.clone().unwrap_or_else(|| self.url.clone());
                texts(&url).map(|url| (Sent { url: Some(url), ..sent.clone() }, body.clone())).collect()
            }
            pointer if pointer.starts_with('/') => {
                let mut document: Value = serde_json::from_str(&sent.body).unwrap();
                let text = document.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
                let mut with = |text: String| {
                    *document.pointer_mut(pointer).unwrap() = text.into();
                    document.to_string().into_bytes()
                };
                texts(&text).map(|text| (sent.clone(), with(text))).collect()
            }
            header => texts(&sent.headers[header])
                .filter(|value| HeaderValue::from_str(value).is_ok())
                .map(|value| {
                    let mut changed = sent.clone();
                    changed.headers.insert(header.to_owned(), value);
                    (changed, body.clone())
                })
                .collect(),
        }
    }
}

fn header_map(headers: &BTreeMap<String, String>) -> HeaderMap {
    let pair = |(n, v): (&String, &String)| (n.parse::<HeaderName>().unwrap(), HeaderValue::from_str(v).unwrap());
    headers.iter().map(pair).collect()
}

/// The files of the presets, by name.
fn files() -> BTreeMap<String, Value> {
    folder("src/sender/presets").map(|(name, text)| (name, serde_json::from_str(&text).unwrap())).collect()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[test]
fn index_says_what_the_files_say() {
    let files = files();
    let names: BTreeSet<_> = PRESETS.iter().map(|preset| preset.name).collect();
    assert_eq!(names, files.keys().map(String::as_str).collect());
    assert!(PRESETS.len() >= 60, "{}", PRESETS.len());
    let mut all = BTreeSet::new();
    for preset in PRESETS {
        let file = &files[preset.name];
        assert!(preset.names().all(|name| all.insert(name)), "two presets have a name of {}", preset.name);
        for name in preset.names() {
            assert!(std::ptr::eq(Preset::by_name(name).unwrap(), preset), "{name}");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{name}");
        }
        assert_eq!(preset.title, file["title"].as_str().unwrap());
        assert_eq!(preset.pages, texts(&file["pages"]));
        assert!(!preset.pages.is_empty() && preset.pages.iter().all(|page| page.starts_with("https://")), "{preset:?}");
        let setup = texts(&file["setup"]);
        assert!((1..=3).contains(&setup.len()), "{}: set-up in {} lines", preset.name, setup.len());

        let sender = Sender::parse(preset.sender).unwrap_or_else(|error| panic!("{}: {error}", preset.name));
        assert_eq!(sender, Sender::of(preset));
        assert_eq!(sender, Sender::from_value(file["sender"].clone()).unwrap(), "{}", preset.name);
        let of_schemes: Vec<_> = sender.schemes.iter().flat_map(|scheme| scheme.headers.clone()).collect();
        let marks = if sender.marks.is_empty() { of_schemes } else { sender.marks.clone() };
        assert_eq!(preset.marks, marks, "{}", preset.name);
        assert_eq!(preset.response_policy.deadline, sender.deadline);
        assert_eq!(preset.response_policy.success, sender.success);
        assert_eq!(preset.signs, !sender.schemes.is_empty());
        let needs_secret = sender.schemes.iter().any(|scheme| scheme.keys.is_none());
        assert_eq!(preset.secret.is_some(), needs_secret, "{}", preset.name);
    }
    assert!(Preset::by_name("").is_none());
    assert_eq!(Preset::by_name("forgejo").unwrap().name, "gitea");
}

#[test]
fn request_of_each_sender_is_verified() {
    for case in Case::all() {
        let verified = case.verify(&case.sent()).unwrap_or_else(|e| panic!("{} ({}): {e}", case.preset, case.origin));
        assert_eq!((&verified.id, &verified.event_type), (&case.id, &case.event_type), "{}", case.preset);
        assert_eq!(Kind::of(&verified.identity), case.identity, "{}", case.preset);
    }
}

#[test]
fn each_scheme_has_a_case() {
    let cases = Case::all();
    for preset in PRESETS {
        let of_preset: Vec<_> = cases.iter().filter(|case| case.preset == preset.name).collect();
        assert_eq!(of_preset.is_empty(), !preset.signs, "{}", preset.name);
        // The other preset has cases for all of them.
        if preset.sender.contains("\"like\"") && !preset.sender.contains("\"schemes\"") {
            continue;
        }
        for index in 0..Sender::of(preset).schemes.len() {
            let verifies = |case: &&Case| {
                let scheme = case.sender().schemes.swap_remove(index);
                case.verify_by(vec![scheme], &case.secrets, &case.keys, &case.sent(), case.body.as_bytes()).is_ok()
            };
            assert!(of_preset.iter().any(verifies), "{} has no case for scheme {index}", preset.name);
        }
    }
}

#[test]
fn flipped_bit_in_a_covered_part_is_refused() {
    for case in Case::all() {
        let original = case.verify(&case.sent()).unwrap();
        assert!(!case.covers.is_empty(), "{}", case.preset);
        let schemes = case.sender().schemes;
        for part in &case.covers {
            let flipped = case.flipped(part);
            assert!(!flipped.is_empty(), "{} {part}", case.preset);
            for (sent, body) in flipped {
                // Otherwise it is another spelling of the same form.
                if let Ok(verified) = case.verify_by(schemes.clone(), &case.secrets, &case.keys, &sent, &body) {
                    assert_eq!(verified.identity, original.identity, "{} {part}", case.preset);
                }
            }
        }
    }
}

#[test]
fn other_secret_is_refused() {
    for case in Case::all() {
        let Some(other) = &case.other else { continue };
        let secrets: Vec<_> = case.secrets.iter().map(|_| other.clone()).collect();
        let keys: Vec<_> = case.keys.iter().map(|key| FetchedKey { text: other.clone(), ..key.clone() }).collect();
        let verify = |secrets: &[String], keys: &[FetchedKey]| {
            case.verify_by(case.sender().schemes, secrets, keys, &case.sent(), case.body.as_bytes())
        };
        assert_eq!(verify(&secrets, &keys), Err(VerifyError::Mismatch), "{}", case.preset);
        if !case.secrets.is_empty() {
            let both = [secrets.as_slice(), case.secrets.as_slice()].concat();
            assert_eq!(verify(&both, &keys).unwrap().secret_index, secrets.len(), "{}", case.preset);
        }
    }
}

#[test]
fn signed_time_outside_the_tolerance_is_refused() {
    for case in Case::all() {
        let at = |now: u64| case.verify(&Sent { now, ..case.sent() });
        let far = case.now + 4 * 86_400;
        match (case.tolerance, case.expires) {
            (Some(seconds), _) => {
                assert!(at(case.now + seconds).is_ok() && at(case.now - seconds).is_ok(), "{}", case.preset);
                for now in [case.now + seconds + 1, case.now - seconds - 1, far] {
                    assert!(at(now).unwrap_err().is_about_time(), "{}", case.preset);
                }
            }
            (None, Some(seconds)) => {
                assert!(at(case.now + seconds).is_ok(), "{}", case.preset);
                assert_eq!(at(case.now + seconds + LEEWAY), Err(VerifyError::Expired), "{}", case.preset);
            }
            (None, None) => assert!(at(far).is_ok(), "{}: the time is signed", case.preset),
        }
    }
}

#[test]
fn redelivery_is_the_same_event_and_another_event_is_not() {
    for case in Case::all() {
        let (Some(again), Some(another)) = (&case.again, &case.another) else { continue };
        let first = case.identities(&case.sent());
        let is_known = |identity: &Identity| !matches!(identity, Identity::Unknown { .. } | Identity::Key { .. });
        // Nothing tells two events apart: the source may say `"repeat":"body"`.
        if !first.iter().all(is_known) {
            assert_eq!(case.identity, Kind::None, "{}", case.preset);
            continue;
        }
        assert_eq!(case.identities(again), first, "{}: a redelivery is another event", case.preset);
        let another = case.identities(another);
        assert!(another.iter().all(|other| !first.contains(other)), "{}: two events are one", case.preset);
    }
}

#[test]
fn token_rules_of_the_source_are_required() {
    let mut required = 0;
    for case in Case::all() {
        let rules = Sender::of(case.preset()).schemes.swap_remove(0).jwt.unwrap_or_default();
        let verify = |audience: &[String], issuer: &[String]| {
            let mut sender = Sender::of(case.preset()).with_token_rules(audience, issuer, None);
            case.fill(&mut sender);
            case.verify_by(sender.schemes, &case.secrets, &case.keys, &case.sent(), case.body.as_bytes())
        };
        let wrong = ["https://other.example".to_owned()];
        for rule in rules.required {
            required += 1;
            let (member, claim, unset, other) = match rule {
                RequiredRule::Audience => ("audience", "aud", verify(&[], &case.issuer), verify(&wrong, &case.issuer)),
                RequiredRule::Issuer => ("issuer", "iss", verify(&case.audience, &[]), verify(&case.audience, &wrong)),
            };
            assert_eq!(unset, Err(VerifyError::RuleNotSet { member: member.to_owned() }), "{}", case.preset);
            assert_eq!(other, Err(VerifyError::WrongClaim { claim: claim.to_owned() }), "{}", case.preset);
        }
    }
    assert!(required >= 7, "{required}");
    let url = "https://issuer.example/jwks";
    let knative = Sender::of(Preset::by_name("knative-oidc").unwrap()).with_token_rules(&[], &[], Some(url));
    assert_eq!(knative.schemes[0].keys, Some(KeySource::Jwks(url.to_owned())));
}

/// A key that a vendor uses for all its customers proves nothing of whose a request is: that is for the source to say.
#[test]
fn request_of_another_customer_is_refused() {
    let mut bound = 0;
    for case in Case::all().iter().filter(|case| !case.constants.is_empty() || !case.claims.is_empty()) {
        let verify = |value: Option<&str>| {
            let mut case = case.clone();
            let values = case.constants.values_mut().chain(case.claims.values_mut());
            values.for_each(|own| *own = value.unwrap_or_default().to_owned());
            case.verify(&case.sent())
        };
        assert!(matches!(verify(None), Err(VerifyError::RuleNotSet { .. })), "{}: {:?}", case.preset, verify(None));
        let other = verify(Some("another")).unwrap_err();
        let is_refused =
            matches!(other, VerifyError::OtherValue { .. } | VerifyError::WrongClaim { .. } | VerifyError::Mismatch);
        assert!(is_refused, "{}: {other}", case.preset);
        bound += 1;
    }
    assert!(bound >= 8, "{bound}");
}

/// For each pair of presets: the headers of one are those of the other only if its file says so.
#[test]
fn no_sender_is_taken_for_another_one() {
    let files = files();
    for case in Case::all() {
        let preset = case.preset();
        let headers = header_map(&case.headers);
        for other in PRESETS {
            let fits = other.detect.iter().any(|set| set.iter().all(|name| headers.contains_key(*name)));
            let is_said = other.name == preset.name
                || preset.like == Some(other.name)
                || texts(&files[preset.name]["before"]).contains(&other.name);
            assert!(!fits || is_said, "{} is taken for {}", preset.name, other.name);
        }
        // One that can't be recognized is taken for a sender with the same headers.
        let alike = || preset.like.or_else(|| texts(&files[preset.name]["before"]).first().copied());
        let is_detected = preset.detect.iter().any(|set| set.iter().all(|name| headers.contains_key(*name)));
        let expected = if is_detected { Some(preset.name) } else { alike() };
        assert_eq!(Preset::by_headers(&headers).map(|found| found.name), expected, "{}", preset.name);
        // A source with this sender is found by the headers of its requests.
        let is_marked = preset.marks.iter().any(|mark| headers.contains_key(*mark));
        assert_eq!(is_marked, !preset.marks.is_empty(), "{}", preset.name);
    }
}

/// A preset is recognized only if all the headers of a set are there.
#[test]
fn part_of_a_set_of_headers_identifies_no_sender() {
    for preset in PRESETS {
        for set in preset.detect.iter().filter(|set| set.len() > 1) {
            for missing in *set {
                let headers = set.iter().filter(|name| *name != missing);
                let headers: HeaderMap =
                    headers.map(|name| (HeaderName::from_static(name), HeaderValue::from_static("x"))).collect();
                assert_eq!(Preset::by_headers(&headers).map(|found| found.name), None, "{}: {missing}", preset.name);
            }
        }
    }
    // Meta signs in a header of GitHub's, and GoCardless in one of Standard Webhooks'.
    for name in ["x-hub-signature-256", "x-hub-signature", "webhook-signature", "authorization"] {
        let headers = [(HeaderName::from_static(name), HeaderValue::from_static("x"))].into_iter().collect();
        assert!(Preset::by_headers(&headers).is_none(), "{name}");
    }
}

/// A request that is a question, and the answer to it.
struct Asked {
    preset: &'static str,
    method: &'static str,
    query: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    answer: (u16, Option<&'static str>, &'static str),
}

const JSON: Option<&str> = Some("application/json");
const TEXT: Option<&str> = Some("text/plain; charset=utf-8");
const GRID: &str = r#"[{"id":"1","data":{"validationCode":"512d38b6"},"eventType":"Microsoft.EventGrid.SubscriptionValidationEvent"}]"#;

/// One request for each question of each preset.
const ASKED: &[Asked] = &[
    Asked {
        preset: "slack",
        method: "POST",
        query: "",
        headers: &[],
        body: r#"{"token":"x","challenge":"3eZbrw1a\"","type":"url_verification"}"#,
        answer: (200, JSON, r#"{"challenge":"3eZbrw1a\""}"#),
    },
    Asked {
        preset: "slack",
        method: "POST",
        query: "",
        headers: &[("content-type", "application/x-www-form-urlencoded")],
        body: "ssl_check=1&token=x",
        answer: (200, None, ""),
    },
    Asked {
        preset: "zoom",
        method: "POST",
        query: "",
        headers: &[],
        body: r#"{"event":"endpoint.url_validation","payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"}}"#,
        // printf qgg8vlvZRS6UYooatFL8Aw | openssl dgst -sha256 -hmac s3cret
        answer: (
            200,
            JSON,
            r#"{"encryptedToken":"f54f2d5fee8f181aab8371bada7fed9bb675eae464f18ed4fb91715244b58ef4","plainToken":"qgg8vlvZRS6UYooatFL8Aw"}"#,
        ),
    },
    Asked {
        preset: "twitch",
        method: "POST",
        query: "",
        headers: &[("twitch-eventsub-message-type", "webhook_callback_verification")],
        body: r#"{"challenge":"pogchamp-kappa","subscription":{"type":"a"}}"#,
        answer: (200, TEXT, "pogchamp-kappa"),
    },
    Asked {
        preset: "event-grid",
        method: "POST",
        query: "",
        headers: &[("aeg-event-type", "SubscriptionValidation")],
        body: GRID,
        answer: (200, JSON, r#"{"validationResponse":"512d38b6"}"#),
    },
    Asked {
        preset: "event-grid-entra",
        method: "POST",
        query: "",
        headers: &[("aeg-event-type", "SubscriptionValidation")],
        body: GRID,
        answer: (200, JSON, r#"{"validationResponse":"512d38b6"}"#),
    },
    Asked {
        preset: "meta",
        method: "GET",
        query: "hub.mode=subscribe&hub.verify_token=t0ken&hub.challenge=1158201444",
        headers: &[],
        body: "",
        answer: (200, TEXT, "1158201444"),
    },
    Asked {
        preset: "strava",
        method: "GET",
        query: "hub.mode=subscribe&hub.verify_token=t0ken&hub.challenge=15f7d1a9",
        headers: &[],
        body: "",
        answer: (200, JSON, r#"{"hub.challenge":"15f7d1a9"}"#),
    },
    Asked {
        preset: "discord",
        method: "POST",
        query: "",
        headers: &[],
        body: r#"{"id":"1","type":1}"#,
        answer: (200, JSON, r#"{"type":1}"#),
    },
    Asked {
        preset: "discord-events",
        method: "POST",
        query: "",
        headers: &[],
        body: r#"{"version":1,"type":0}"#,
        answer: (204, None, ""),
    },
    Asked {
        preset: "notion",
        method: "POST",
        query: "",
        headers: &[],
        body: r#"{"verification_token":"secret_x"}"#,
        answer: (200, None, ""),
    },
    Asked { preset: "trello", method: "HEAD", query: "", headers: &[], body: "", answer: (200, None, "") },
    Asked {
        preset: "asana",
        method: "POST",
        query: "",
        headers: &[("x-hook-secret", "b537207f20cbfa02")],
        body: "",
        answer: (200, None, ""),
    },
    Asked {
        preset: "dropbox",
        method: "GET",
        query: "challenge=d3adb33f",
        headers: &[],
        body: "",
        answer: (200, TEXT, "d3adb33f"),
    },
    Asked {
        preset: "nylas",
        method: "GET",
        query: "challenge=d3adb33f",
        headers: &[],
        body: "",
        answer: (200, TEXT, "d3adb33f"),
    },
    Asked {
        preset: "okta",
        method: "GET",
        query: "",
        headers: &[("x-okta-verification-challenge", "my-verification-challenge")],
        body: "",
        answer: (200, JSON, r#"{"verification":"my-verification-challenge"}"#),
    },
    Asked {
        preset: "twitter",
        method: "GET",
        query: "crc_token=foo",
        headers: &[],
        body: "",
        // printf foo | openssl dgst -sha256 -hmac s3cret -binary | base64
        answer: (200, JSON, r#"{"response_token":"sha256=0NyVSA0JF88H5e0ONbcUFiGsDxbYo4AzXn7QbUyOYb4="}"#),
    },
    Asked {
        preset: "linkedin",
        method: "GET",
        query: "challengeCode=890e4665-4dfe-4ab1-b689-ed553bceeed0",
        headers: &[],
        body: "",
        // printf 890e4665-4dfe-4ab1-b689-ed553bceeed0 | openssl dgst -sha256 -hmac s3cret
        answer: (
            200,
            JSON,
            r#"{"challengeCode":"890e4665-4dfe-4ab1-b689-ed553bceeed0","challengeResponse":"282e84d6c3fe9e152bf838a2c9ac5fabeace9e4bcc5a62d3eb0925f22f514d62"}"#,
        ),
    },
    Asked {
        preset: "front",
        method: "POST",
        query: "",
        headers: &[("x-front-challenge", "random")],
        body: r#"{"type":"sync"}"#,
        answer: (200, JSON, r#"{"challenge":"random"}"#),
    },
];

impl Asked {
    fn with_request<T>(&self, check: impl FnOnce(SignedRequest<'_>) -> T) -> T {
        let headers = self.headers.iter();
        let headers: HeaderMap =
            headers.map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect();
        let url = format!("https://gate.example/api/v2/webhook?{}", self.query);
        check(SignedRequest { method: self.method, headers: &headers, url: &url, body: self.body.as_bytes() })
    }
}

#[test]
fn question_gets_the_answer_that_its_sender_documents() {
    for asked in ASKED {
        let sender = Sender::of(Preset::by_name(asked.preset).unwrap());
        asked.with_request(|request| {
            let question = sender.question(request).unwrap_or_else(|| panic!("{}: no question", asked.preset));
            let reply = question.answer(request, &[Secret::new("s3cret")], &[Secret::new("t0ken")]).unwrap();
            assert_eq!((reply.status, reply.content_type, &*reply.body), asked.answer, "{}", asked.preset);
            if question.token.is_some() {
                let other = question.answer(request, &[], &[Secret::new("another")]);
                assert!(matches!(other, Err(QuestionError::Token { .. })), "{}", asked.preset);
            }
        });
    }
    let asana = Sender::of(Preset::by_name("asana").unwrap());
    let handshake = ASKED.iter().find(|asked| asked.preset == "asana").unwrap();
    handshake.with_request(|request| {
        let question = asana.question(request).unwrap();
        let reply = question.answer(request, &[], &[]).unwrap();
        assert_eq!(reply.headers[0].1, "b537207f20cbfa02");
        assert_eq!(question.secret(request).unwrap().expose(), "b537207f20cbfa02");
    });
}

#[test]
fn each_question_has_a_request() {
    for preset in PRESETS {
        let sender = Sender::of(preset);
        for (index, question) in sender.questions.iter().enumerate() {
            let asks =
                |asked: &&Asked| asked.preset == preset.name && asked.with_request(|it| question.is_asked_by(it));
            assert!(ASKED.iter().any(|asked| asks(&asked)), "{} has no request for question {index}", preset.name);
        }
    }
}

#[test]
fn event_is_no_question() {
    for case in Case::all() {
        let headers = header_map(&case.headers);
        let request = SignedRequest { method: "POST", headers: &headers, url: &case.url, body: case.body.as_bytes() };
        assert_eq!(case.sender().question(request), None, "{}", case.preset);
    }
    // A user's text in a JSON event of Slack is no field of a form.
    let slack = Sender::of(Preset::by_name("slack").unwrap());
    let headers = [("content-type".to_owned(), "application/json".to_owned())].into_iter().collect();
    let body = br#"{"type":"event_callback","text":"&ssl_check=1&"}"#;
    let request = SignedRequest { method: "POST", headers: &header_map(&headers), url: "", body };
    assert_eq!(slack.question(request), None);
}

/// The values by which the schemes of a preset differ choose among them: Twilio's settings, the version of SNS.
#[test]
fn request_chooses_its_scheme() {
    let case = Case::all().into_iter().find(|case| case.preset == "twilio").unwrap();
    let mut sent = case.sent();
    sent.headers.insert("x-twilio-webhooks-signature-settings".to_owned(), "key=,algorithm=HMAC_SHA256".to_owned());
    assert_eq!(case.verify(&sent), Err(VerifyError::Mismatch));
    sent.headers.insert("x-twilio-webhooks-signature-settings".to_owned(), "key=,algorithm=HMAC_SHA1".to_owned());
    assert!(case.verify(&sent).is_ok());

    let scheme = |when: &str| format!(r#"{{"algorithm":"token","headers":["x"],"when":[{when}]}}"#);
    let error = Descriptor::parse(&scheme(r#"{"at":{"header":"y"},"is":"a","has":"b"}"#)).unwrap_err();
    assert_eq!(error.to_string(), "`when` must not have both `is` and `has`");
    let other = Descriptor::parse(&scheme(r#"{"at":{"header":"y"}}"#)).unwrap();
    let headers = [("x".to_owned(), "s3cret".to_owned())].into_iter().collect();
    let request = SignedRequest { method: "POST", headers: &header_map(&headers), url: "", body: b"" };
    assert_eq!(verify(&other, &[Secret::new("s3cret")], request, Timestamp(0)), Err(VerifyError::OtherScheme));
}

/// The time to parse a preset, and the size of all of them: `cargo test -p sluice --lib -- --ignored --nocapture size`.
#[test]
#[ignore = "measures, and checks nothing"]
#[allow(clippy::print_stderr, clippy::disallowed_methods, reason = "the result is for a reader")]
fn size_and_time_of_parsing() {
    let largest = PRESETS.iter().max_by_key(|preset| preset.sender.len()).unwrap();
    let start = std::time::Instant::now();
    for _ in 0..1_000 {
        std::hint::black_box(Sender::of(largest));
    }
    let each = start.elapsed() / 1_000;
    let of_definitions: usize = PRESETS.iter().map(|preset| preset.sender.len()).sum();
    let texts = |preset: &Preset| {
        let lists = preset
            .pages
            .iter()
            .chain(preset.marks)
            .chain(preset.aliases)
            .chain(preset.detect.iter().copied().flatten());
        preset.title.len() + preset.secret.map_or(0, str::len) + lists.map(|text| text.len()).sum::<usize>()
    };
    let of_index: usize = PRESETS.iter().map(texts).sum();
    eprintln!(
        "{} presets; {}: {} bytes, {each:?}; definitions {of_definitions} bytes, index {of_index} bytes",
        PRESETS.len(),
        largest.name,
        largest.sender.len()
    );
}
