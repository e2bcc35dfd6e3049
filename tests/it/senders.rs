//! Senders that sign, through the API: the vectors, and what names a delivery.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;
use sluice::sender::{Algorithm, Descriptor, PRESETS, Preset, SuccessCriterion, ValueLocation};

use crate::fake::{EVENT, JSON, Reply, World, request};

pub const HOOK: &str = "/api/v2/webhook?ref=w";
pub const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

#[derive(Clone, Deserialize)]
pub struct Case {
    pub preset: String,
    #[serde(default)]
    scheme: usize,
    pub secret: String,
    other: Option<String>,
    now: u64,
    #[serde(default)]
    url: String,
    headers: BTreeMap<String, String>,
    pub body: String,
    tolerance: Option<u64>,
}

impl Case {
    fn all() -> Vec<Self> {
        serde_json::from_str(include_str!("../vectors/senders.json")).unwrap()
    }

    pub fn published() -> Vec<Self> {
        serde_json::from_str(include_str!("../vectors/signatures.json")).unwrap()
    }

    pub fn of(preset: &str) -> Self {
        Self::all().into_iter().find(|case| case.preset == preset).unwrap()
    }

    fn descriptor(&self) -> Descriptor {
        Preset::by_name(&self.preset).unwrap().descriptors().nth(self.scheme).unwrap()
    }

    /// At the moment at which it came.
    pub fn world(&self, secrets: &str) -> World {
        let world = World::new().well();
        world.now.set(self.now * 1_000);
        world.with(Preset::by_name(&self.preset).unwrap().secret_variable.unwrap().name, secrets)
    }

    fn post_to(&self, world: &World, uri: &str) -> Reply {
        let content_type = if self.body.contains("token=") { FORM } else { JSON };
        let mut headers = vec![("spin-full-url", &*self.url)];
        headers.extend(self.headers.iter().map(|(name, value)| (&**name, &**value)));
        if !self.headers.contains_key("content-type") {
            headers.push(content_type);
        }
        world.post(uri, &headers, &self.body)
    }

    pub fn post(&self, world: &World) -> Reply {
        self.post_to(world, HOOK)
    }

    /// The status by which its sender takes it for accepted.
    fn accepted(&self) -> u16 {
        match Preset::by_name(&self.preset).unwrap().response_policy.success {
            SuccessCriterion::Only204 => 204,
            _ => 200,
        }
    }

    /// It is let in: what is then said of a body that is no JSON is another matter.
    #[track_caller]
    fn is_verified(&self, world: &World) {
        let reply = self.post(world);
        if self.body.starts_with("Hello") {
            reply.problem(400, "invalid-body");
        } else {
            assert_eq!(reply.outcome(), (self.accepted(), Some("delivered")), "{}: {}", self.preset, reply.text());
            assert_eq!(world.calls(), ["submit w"]);
        }
    }

    /// It isn't; gives what is said.
    #[track_caller]
    fn is_refused(&self, world: &World) -> String {
        let reply = self.post(world);
        let problem = reply.problem(401, "invalid-signature");
        assert!(reply.header("www-authenticate").is_some());
        world.assert_untouched();
        for told in [reply.text(), &reply.log.to_string()] {
            assert!(
                !told.contains(&self.secret) && self.headers.values().all(|v| v.len() < 9 || !told.contains(v)),
                "{told}"
            );
        }
        problem["detail"].as_str().unwrap().to_owned()
    }

    /// The header that has the signature, then those that are signed.
    fn signed_headers(&self) -> Vec<String> {
        let descriptor = self.descriptor();
        let mut names = vec![descriptor.headers.iter().find(|name| self.headers.contains_key(*name)).unwrap().clone()];
        names.extend(self.headers.keys().filter(|name| name.ends_with("timestamp")).cloned());
        if let (Some(ValueLocation::Header(id)), true) = (&descriptor.id, descriptor.id_is_covered()) {
            names.extend((descriptor.algorithm != Algorithm::Token).then(|| id.clone()));
        }
        names
    }
}

/// The text with the lowest bit of a byte flipped.
pub fn flipped(text: &str, at: usize) -> String {
    let mut bytes = text.as_bytes().to_vec();
    bytes[at] ^= 1;
    String::from_utf8(bytes).unwrap()
}

pub fn mac_sha256(secret: &str, message: &[u8]) -> String {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(message);
    HEXLOWER.encode(&mac.finalize().into_bytes())
}

/// As GitHub signs.
fn github(body: &[u8]) -> String {
    format!("sha256={}", mac_sha256("s3cret", body))
}

#[test]
fn signed_webhooks_are_accepted() {
    let cases = [Case::all(), Case::published()].concat();
    for preset in PRESETS.iter().filter(|preset| !preset.schemes.is_empty()) {
        assert!(cases.iter().any(|case| case.preset == preset.name), "{}", preset.name);
    }
    for case in cases {
        case.is_verified(&case.world(&case.secret));
    }
}

#[test]
fn flipped_bit_is_refused() {
    for case in Case::all() {
        let world = case.world(&case.secret);
        let is_token = case.descriptor().algorithm == Algorithm::Token;
        for at in [0, case.body.len() / 2, case.body.len() - 1].into_iter().filter(|_| !is_token) {
            Case { body: flipped(&case.body, at), ..case.clone() }.is_refused(&world);
        }
        let names = case.signed_headers();
        assert!(!names.is_empty());
        for name in names {
            let value = &case.headers[&name];
            for at in [0, value.len() / 2, value.len() - 1] {
                let mut changed = case.clone();
                changed.headers.insert(name.clone(), flipped(value, at));
                changed.is_refused(&world);
            }
            let mut without = case.clone();
            without.headers.remove(&name);
            let named = format!("{HOOK}&sender={}", case.preset);
            without.post_to(&world, &named).problem(401, "invalid-signature");
        }
        if case.preset == "twilio" {
            Case { url: flipped(&case.url, case.url.len() - 1), ..case.clone() }.is_refused(&world);
        }
        world.assert_untouched();
    }
}

#[test]
fn rotated_secrets_are_accepted() {
    for case in Case::all() {
        let other = case.other.as_deref().unwrap();
        for secrets in [format!("{other}, {}", case.secret), format!("{},{other}", case.secret)] {
            case.is_verified(&case.world(&secrets));
        }
        case.is_refused(&case.world(other));
    }
}

#[test]
fn stale_or_future_timestamp_is_refused() {
    let dated: Vec<_> = Case::all().into_iter().filter(|case| case.tolerance.is_some()).collect();
    assert!(dated.len() > 8);
    for case in dated {
        let (seconds, came) = (case.tolerance.unwrap(), case.now * 1_000);
        let at = |now| {
            let world = case.world(&case.secret);
            world.now.set(now);
            world
        };
        let limit = seconds * 1_000;
        case.is_verified(&at(came + limit));
        case.is_verified(&at(came - limit));
        let old = case.is_refused(&at(came + limit + 1));
        assert!(old.contains(&format!("the timestamp is more than {seconds} seconds old")), "{old}");
        let ahead = case.is_refused(&at(came - limit - 1));
        assert!(ahead.contains(&format!("more than {seconds} seconds in the future")), "{ahead}");
    }
}

#[test]
fn events_and_callbacks_may_be_signed() {
    let good = github(EVENT.as_bytes());
    let bad = flipped(&good, good.len() - 1);
    for uri in ["/api/v2/event?ref=w", "/api/v2/callback?ref=r&topic=t"] {
        let world = World::new().well().with("secret_github", "s3cret");
        let signed = |signature: &str| world.post(uri, &[JSON, ("x-hub-signature-256", signature)], EVENT);
        signed(&bad).problem(401, "invalid-signature");
        world.assert_untouched();
        assert_eq!(signed(&good).outcome(), (200, Some("delivered")), "{uri}");
    }
    // A link has no body: signed is nothing, and that as well has to be right.
    let uri = "/api/v2/callback?ref=r&topic=t";
    for method in ["HEAD", "GET"] {
        let world = World::new().well().with("secret_github", "s3cret");
        let signed = |signature: &str| world.send(request(method, uri, &[("x-hub-signature-256", signature)], ""));
        assert_eq!(signed(&good).status(), 401, "{method}");
        world.assert_untouched();
        assert_eq!(signed(&github(b"")).status(), 200, "{method}");
    }
}

#[test]
fn signature_is_verified_before_parsing() {
    let world = World::new().with("secret_github", "s3cret");
    for body in [&b"\xff\xfe\x00"[..], b"not JSON", b"[]", b""] {
        let signed = |signature: &str| world.post(HOOK, &[JSON, ("x-hub-signature-256", signature)], body);
        signed(&github(b"else")).problem(401, "invalid-signature");
        signed(&github(body)).problem(400, "invalid-body");
    }
    // Not even whether a workflow is named is said to who isn't known.
    let unnamed = |signature: &str| world.post("/api/v2/webhook", &[JSON, ("x-hub-signature-256", signature)], "{}");
    unnamed(&github(b"else")).problem(401, "invalid-signature");
    unnamed(&github(b"{}")).problem(400, "missing-parameter");
    world.assert_untouched();
}

#[test]
fn signed_content_identifies_the_delivery() {
    for case in Case::all().into_iter().filter(|case| !case.body.starts_with("Hello")) {
        let world = case.world(&case.secret);
        let first = case.post(&world);
        assert_eq!(first.outcome(), (case.accepted(), Some("delivered")));
        // What no signature covers may be written by anyone.
        let mut again = case.clone();
        let unsigned = ["x-github-delivery", "x-gitea-delivery", "x-shopify-webhook-id", "linear-delivery"];
        for name in unsigned.into_iter().chain(["x-event-key", "x-shopify-topic"]) {
            if let Some(value) = again.headers.get_mut(name) {
                value.push_str("-again");
            }
        }
        if !again.headers.contains_key("x-gitlab-token") {
            again.headers.insert("idempotency-key".to_owned(), "another".to_owned());
        }
        for case in [&case, &again] {
            let reply = case.post(&world);
            assert_eq!(reply.outcome(), (case.accepted(), Some("duplicate")), "{}: {}", case.preset, reply.text());
            assert_eq!(reply.header("sluice-delivery"), first.header("sluice-delivery"));
        }
        assert_eq!(world.acted(), ["w"], "{}", case.preset);
        assert_eq!(case.post_to(&world, &format!("{HOOK}&dedup=off")).outcome(), (case.accepted(), Some("delivered")));
        assert_eq!(case.post_to(&world, "/api/v2/webhook?ref=other").outcome(), (case.accepted(), Some("delivered")));
        assert_eq!(world.acted(), ["w", "w", "other"], "{}", case.preset);
    }
}

#[test]
fn other_signed_body_is_another_delivery() {
    let world = World::new().well().with("secret_github", "s3cret");
    for body in [r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n": 1}"#] {
        let signature = github(body.as_bytes());
        let headers = [JSON, ("x-hub-signature-256", &signature), ("x-github-delivery", "d"), ("idempotency-key", "k")];
        assert_eq!(world.post(HOOK, &headers, body).outcome(), (200, Some("delivered")), "{body}");
    }
}
