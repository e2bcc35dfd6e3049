//! Signed webhooks through the API: verification by the test vectors, and the identity of a signed delivery.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde_json::json;
use sha2::Sha256;
use sluice::sender::{Algorithm, Descriptor, Preset, SuccessCriterion, ValueLocation};

use crate::fake::{CALLBACK_URI, EVENT, EVENT_URI, FORM, JSON, Reply, WEBHOOK_URI, World, request, row};

/// A signed request of tests/vectors.
#[derive(Clone, Deserialize)]
pub struct Case {
    pub preset: String,
    /// The index of the preset's scheme.
    #[serde(default)]
    scheme: usize,
    pub secret: String,
    /// A valid secret that did not sign.
    other: Option<String>,
    /// The time of arrival, in seconds.
    now: u64,
    #[serde(default)]
    url: String,
    headers: BTreeMap<String, String>,
    pub body: String,
    tolerance: Option<u64>,
}

impl Case {
    /// One case for each scheme of each preset.
    fn all() -> Vec<Self> {
        serde_json::from_str(include_str!("../vectors/senders.json")).unwrap()
    }

    /// The examples that senders publish.
    pub fn published() -> Vec<Self> {
        serde_json::from_str(include_str!("../vectors/signatures.json")).unwrap()
    }

    pub fn of(preset: &str) -> Self {
        Self::all().into_iter().find(|case| case.preset == preset).unwrap()
    }

    fn descriptor(&self) -> Descriptor {
        Preset::by_name(&self.preset).unwrap().descriptors().nth(self.scheme).unwrap()
    }

    /// A world at the time of arrival, with a source of the preset that has these secrets.
    pub fn world(&self, secrets: &[&str]) -> World {
        let world = World::new().healthy();
        world.clock.set(self.now * 1_000);
        world.source_of(&self.preset, secrets)
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
        self.post_to(world, WEBHOOK_URI)
    }

    /// The status that the sender accepts as success.
    fn accepted(&self) -> u16 {
        match Preset::by_name(&self.preset).unwrap().response_policy.success {
            SuccessCriterion::Only204 => 204,
            _ => 200,
        }
    }

    /// Asserts that the request is verified and, if its body is JSON, delivered.
    #[track_caller]
    fn assert_verified(&self, world: &World) {
        let reply = self.post(world);
        if self.body.starts_with("Hello") {
            reply.problem(400, "invalid-body");
        } else {
            assert_eq!(reply.outcome(), (self.accepted(), Some("delivered")), "{}", reply.text());
            assert_eq!(world.engine.take_calls(), ["submit w"]);
        }
    }

    /// Asserts that the request is refused without disclosing anything of it, and returns the problem's detail.
    #[track_caller]
    fn assert_refused(&self, world: &World) -> String {
        let reply = self.post(world);
        let problem = reply.problem(401, "invalid-signature");
        assert!(reply.header("www-authenticate").is_some());
        world.assert_untouched();
        for text in [reply.text(), &reply.log.to_string()] {
            assert!(!text.contains(&self.secret), "{text}");
            let mut values = self.headers.values().filter(|value| value.len() > 8);
            assert!(!values.any(|value| text.contains(value)), "{text}");
        }
        problem["detail"].as_str().unwrap().to_owned()
    }

    /// The names of the signature's header and of those that it covers.
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

/// The text with the lowest bit of the byte at this position flipped.
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

/// The signature of GitHub.
fn github(body: &[u8]) -> String {
    format!("sha256={}", mac_sha256("s3cret", body))
}

#[on_each_store]
fn signed_webhooks_are_accepted() {
    let cases = [Case::all(), Case::published()].concat();
    for case in cases {
        let _row = row(&case.preset);
        case.assert_verified(&case.world(&[&case.secret]));
    }
}

#[on_each_store]
fn flipped_bit_is_refused() {
    for case in Case::all() {
        let _row = row(&case.preset);
        let world = case.world(&[&case.secret]);
        let is_token = case.descriptor().algorithm == Algorithm::Token;
        for at in [0, case.body.len() / 2, case.body.len() - 1].into_iter().filter(|_| !is_token) {
            Case { body: flipped(&case.body, at), ..case.clone() }.assert_refused(&world);
        }
        let names = case.signed_headers();
        assert!(!names.is_empty());
        for name in names {
            let value = &case.headers[&name];
            for at in [0, value.len() / 2, value.len() - 1] {
                let mut changed = case.clone();
                changed.headers.insert(name.clone(), flipped(value, at));
                changed.assert_refused(&world);
            }
            let mut without = case.clone();
            without.headers.remove(&name);
            let named = format!("{WEBHOOK_URI}&sender={}", case.preset);
            without.post_to(&world, &named).problem(401, "invalid-signature");
        }
        if case.preset == "twilio" {
            Case { url: flipped(&case.url, case.url.len() - 1), ..case.clone() }.assert_refused(&world);
        }
        world.assert_untouched();
    }
}

#[on_each_store]
fn rotated_secrets_are_accepted() {
    for case in Case::all() {
        let _row = row(&case.preset);
        let other = case.other.as_deref().unwrap();
        for secrets in [[other, &case.secret], [&case.secret, other]] {
            case.assert_verified(&case.world(&secrets));
        }
        case.assert_refused(&case.world(&[other]));
    }
}

#[on_each_store]
fn stale_or_future_timestamp_is_refused() {
    let dated: Vec<_> = Case::all().into_iter().filter(|case| case.tolerance.is_some()).collect();
    assert!(dated.len() > 8);
    for case in dated {
        let _row = row(&case.preset);
        let (seconds, signed_at) = (case.tolerance.unwrap(), case.now * 1_000);
        let at = |now| {
            let world = case.world(&[&case.secret]);
            world.clock.set(now);
            world
        };
        let limit = seconds * 1_000;
        case.assert_verified(&at(signed_at + limit));
        case.assert_verified(&at(signed_at - limit));
        let old = case.assert_refused(&at(signed_at + limit + 1));
        assert!(old.contains(&format!("the timestamp is more than {seconds} seconds old")), "{old}");
        let future = case.assert_refused(&at(signed_at - limit - 1));
        assert!(future.contains(&format!("more than {seconds} seconds in the future")), "{future}");
    }
}

#[on_each_store]
fn events_and_callbacks_may_be_signed() {
    let good = github(EVENT.as_bytes());
    let bad = flipped(&good, good.len() - 1);
    let callbacks = json!({"name": "github", "sender": "github", "secrets": ["s3cret"], "callbacks": true});
    for uri in [EVENT_URI, CALLBACK_URI] {
        let _row = row(uri);
        let world = World::new().healthy().source(callbacks.clone());
        let signed = |signature: &str| world.post(uri, &[JSON, ("x-hub-signature-256", signature)], EVENT);
        signed(&bad).problem(401, "invalid-signature");
        world.assert_untouched();
        assert_eq!(signed(&good).outcome(), (200, Some("delivered")));
    }
    // A GET or HEAD has to sign the empty body.
    for method in ["HEAD", "GET"] {
        let _row = row(method);
        let world = World::new().healthy().source(callbacks.clone());
        let signed =
            |signature: &str| world.send(request(method, CALLBACK_URI, &[("x-hub-signature-256", signature)], ""));
        assert_eq!(signed(&good).status(), 401);
        world.assert_untouched();
        assert_eq!(signed(&github(b"")).status(), 200);
    }
}

#[on_each_store]
fn signature_is_verified_before_parsing() {
    let world = World::new().source_of("github", ["s3cret"]);
    for body in [&b"\xff\xfe\x00"[..], b"not JSON", b"[]", b""] {
        let _row = row(body.escape_ascii());
        let signed = |signature: &str| world.post(WEBHOOK_URI, &[JSON, ("x-hub-signature-256", signature)], body);
        signed(&github(b"else")).problem(401, "invalid-signature");
        signed(&github(body)).problem(400, "invalid-body");
    }
    // An unverified sender doesn't learn whether the request names a workflow.
    let unnamed = |signature: &str| world.post("/api/v2/webhook", &[JSON, ("x-hub-signature-256", signature)], "{}");
    unnamed(&github(b"else")).problem(401, "invalid-signature");
    unnamed(&github(b"{}")).problem(400, "missing-parameter");
    world.assert_untouched();
}

/// A signed id alone tells events apart. An unsigned one does together with the body. Without an id, a repeat is another
/// event, unless the sender or the source says that the body tells them apart.
#[on_each_store]
fn event_is_recognized_by_what_its_sender_says() {
    let unsigned = ["x-github-delivery", "x-gitea-delivery", "x-shopify-webhook-id", "linear-delivery"];
    for case in Case::all().into_iter().filter(|case| !case.body.starts_with("Hello")) {
        let _row = row(format!("{} {}", case.preset, case.scheme));
        let descriptor = case.descriptor();
        let has_id = descriptor.id.is_some();
        let is_known = has_id || descriptor.repeat.is_some();
        let outcome = |is_repeat| (case.accepted(), Some(if is_repeat { "duplicate" } else { "delivered" }));
        let world = case.world(&[&case.secret]);
        let first = case.post(&world);
        assert_eq!(first.outcome(), outcome(false));
        // A header by which the sender doesn't name its event changes nothing: anyone could have added it.
        let mut again = case.clone();
        if has_id && !again.headers.contains_key("x-gitlab-token") {
            again.headers.insert("idempotency-key".to_owned(), "another".to_owned());
        }
        for name in ["x-event-key", "x-shopify-topic"] {
            if let Some(value) = again.headers.get_mut(name) {
                value.push_str("-again");
            }
        }
        for case in [&case, &again] {
            let reply = case.post(&world);
            assert_eq!(reply.outcome(), outcome(is_known), "{}", reply.text());
            assert!(!is_known || reply.delivery() == first.delivery());
        }
        // Without an id, a key that the request has comes before what the sender says of bodies.
        if !has_id {
            again.headers.insert("idempotency-key".to_owned(), "k".to_owned());
            assert_eq!(again.post(&world).outcome(), outcome(false));
            assert_eq!(again.post(&world).outcome(), outcome(true));
        }
        let is_signed = |value: &String| descriptor.id_is_covered() || !unsigned.contains(&value.as_str());
        for name in case.headers.keys().filter(|name| !is_signed(name) && unsigned.contains(&name.as_str())) {
            let mut other = case.clone();
            other.headers.get_mut(name).unwrap().push_str("-other");
            assert_eq!(other.post(&world).outcome(), outcome(false), "{name}");
        }
        for uri in [&format!("{WEBHOOK_URI}&dedup=off"), "/api/v2/webhook?ref=other"] {
            assert_eq!(case.post_to(&world, uri).outcome(), outcome(false), "{uri}");
        }
        // The digest of the body, if the source asks for it: it counts where nothing else tells events apart.
        let world = World::new().healthy();
        world.clock.set(case.now * 1_000);
        let source = json!({"name": case.preset, "sender": case.preset, "secrets": [case.secret], "repeat": "body"});
        let world = world.source(source);
        assert_eq!(case.post(&world).outcome(), outcome(false));
        assert_eq!(case.post(&world).outcome(), outcome(true));
        if !case.headers.contains_key("x-gitlab-token") {
            let mut keyed = case.clone();
            keyed.headers.insert("idempotency-key".to_owned(), "k".to_owned());
            assert_eq!(keyed.post(&world).outcome(), outcome(true), "anyone could have added the key");
        }
    }
}

#[on_each_store]
fn other_signed_body_is_another_delivery() {
    let world = World::new().healthy().source_of("github", ["s3cret"]);
    for body in [r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n": 1}"#] {
        let signature = github(body.as_bytes());
        let headers = [JSON, ("x-hub-signature-256", &signature), ("x-github-delivery", "d"), ("idempotency-key", "k")];
        assert_eq!(world.post(WEBHOOK_URI, &headers, body).outcome(), (200, Some("delivered")), "{body}");
    }
}
