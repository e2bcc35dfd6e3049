//! Public keys of senders: fetched, stored, fetched again, and used while they can't be.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use sluice::gateway::keys::{KeyError, KeyLookup, public_keys};
use sluice::ports::{SendError, Timeouts};
use sluice::sender::{
    Credentials, Descriptor, KeyRequest, KeySource, MAX_ATTEMPTS, MAX_KEY_RESPONSE, PRESETS, PublicKey, Sender,
    SignedRequest, Verified, VerifyError, verify_any,
};
use sluice::time::Timestamp;

use crate::cost::{PUBLIC_KEY, documented};
use crate::fake::{Cost, HOUR, MINUTE, StoreFault, World, answer, row};

/// The key set of the Pub/Sub scheme.
pub const JWKS: &str = "https://www.googleapis.com/oauth2/v3/certs";

/// A signed request of tests/vectors/schemes.json.
#[derive(Deserialize)]
struct Case {
    name: String,
    sender: Value,
    keys: Vec<Published>,
    now: u64,
    method: String,
    url: String,
    headers: BTreeMap<String, String>,
    body: String,
}

#[derive(Deserialize)]
struct Published {
    id: Option<String>,
    text: String,
}

impl Case {
    fn named(name: &str) -> Self {
        let all: Vec<Self> = serde_json::from_str(include_str!("../vectors/schemes.json")).unwrap();
        all.into_iter().find(|case| case.name == name).unwrap()
    }

    fn schemes(&self) -> Vec<Descriptor> {
        Sender::from_value(self.sender.clone()).unwrap().schemes
    }

    /// The URL that the keys are published at.
    fn published_at(&self) -> &str {
        self.keys[0].id.as_deref().unwrap_or(JWKS)
    }

    fn verify(&self, keys: &[PublicKey]) -> Result<Verified, VerifyError> {
        let pair = |(n, v): (&String, &String)| (n.parse::<HeaderName>().unwrap(), HeaderValue::from_str(v).unwrap());
        let headers: HeaderMap = self.headers.iter().map(pair).collect();
        let request =
            SignedRequest { method: &self.method, headers: &headers, url: &self.url, body: self.body.as_bytes() };
        verify_any(self.schemes(), Credentials { secrets: &[], keys }, request, Timestamp(self.now * 1_000))
    }

    fn needed(&self) -> KeyRequest {
        match self.verify(&[]) {
            Err(VerifyError::KeyNeeded(request)) => request,
            other => panic!("{}: {other:?}", self.name),
        }
    }
}

/// The ids of the keys that are found, in a scheme of Pub/Sub.
pub fn look(world: &World, id: &str) -> Result<Option<Vec<String>>, KeyError> {
    look_with(world, &Case::named("google-pubsub").schemes(), JWKS, id)
}

fn look_with(world: &World, schemes: &[Descriptor], url: &str, id: &str) -> Result<Option<Vec<String>>, KeyError> {
    let request = KeyRequest { url: url.to_owned(), id: id.to_owned() };
    Ok(match world.run(public_keys(world, schemes, &request))? {
        KeyLookup::Found(keys) => Some(keys.iter().map(|key| key.id().unwrap().to_owned()).collect()),
        KeyLookup::Unknown => None,
    })
}

fn found(id: &str) -> Result<Option<Vec<String>>, KeyError> {
    Ok(Some(vec![id.to_owned()]))
}

/// Why a key can't be looked for.
#[track_caller]
fn failure(result: Result<Option<Vec<String>>, KeyError>) -> String {
    match result {
        Err(error @ KeyError::Unavailable { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

/// A key set with one key under each id.
pub fn key_set(ids: &[&str]) -> String {
    let vector: Value = serde_json::from_str(&Case::named("google-pubsub").keys[0].text).unwrap();
    let mut key = vector["keys"][1].clone();
    let keys: Vec<_> = ids
        .iter()
        .map(|id| {
            key["kid"] = json!(id);
            key.clone()
        })
        .collect();
    json!({ "keys": keys }).to_string()
}

/// Lets a fetch fail, whose answer is none that an operator should see.
pub fn failing_fetch(world: &World) {
    world.sites.publish(JWKS, &[], "<html>a captive portal</html>");
    failure(look(world, "a"));
}

/// The same while the old keys are used.
pub fn failing_fetch_of_stored(world: &World) {
    world.sites.set(JWKS, answer(500, ""));
    look(world, "a").unwrap();
}

/// A world in which this set is published.
fn publishing(ids: &[&str]) -> World {
    let world = World::new();
    world.sites.publish(JWKS, &[], &key_set(ids));
    world
}

fn fetches(world: &World) -> usize {
    world.sites.take_fetches().len()
}

#[on_each_store]
fn fetched_key_verifies_its_request_until_it_is_old() {
    for name in ["google-pubsub", "sns-2", "paypal"] {
        let _row = row(name);
        let case = Case::named(name);
        let world = World::new();
        let url = case.published_at();
        world.sites.publish(url, &[("content-type", "text/plain")], &case.keys[0].text);
        for expected in [vec![url.to_owned()], Vec::new(), Vec::new()] {
            let keys = world.run(public_keys(&world, &case.schemes(), &case.needed())).unwrap();
            let KeyLookup::Found(keys) = keys else { panic!("{keys:?}") };
            case.verify(&keys).unwrap();
            assert_eq!(world.sites.take_fetches(), expected);
            world.advance(20 * MINUTE - 1);
        }
        world.advance(3);
        assert!(matches!(world.run(public_keys(&world, &case.schemes(), &case.needed())), Ok(KeyLookup::Found(_))));
        assert_eq!(
            world.sites.last_timeouts(),
            Timeouts { connect: Duration::from_secs(2), total: Duration::from_secs(5) }
        );
    }
}

#[on_each_store]
fn max_age_of_the_response_is_honoured() {
    for (fields, minutes) in [
        (&[][..], 60),
        (&[("cache-control", "public, max-age=7200")][..], 120),
        (&[("cache-control", "max-age=1")], 5),
        (&[("cache-control", "no-store")], 5),
        (&[("cache-control", "public"), ("cache-control", "max-age=600")], 10),
        (&[("cache-control", "max-age=31536000")], 24 * 60),
    ] {
        let _row = row(format!("{fields:?}"));
        let world = World::new();
        world.sites.publish(JWKS, fields, &key_set(&["a"]));
        assert_eq!(look(&world, "a"), found("a"));
        world.advance(minutes * MINUTE - 1);
        assert_eq!((look(&world, "a"), fetches(&world)), (found("a"), 1));
        world.advance(1);
        assert_eq!((look(&world, "a"), fetches(&world)), (found("a"), 1));
    }
}

#[on_each_store]
fn unknown_id_refreshes_a_set_once_a_minute() {
    let world = publishing(&["a"]);
    assert_eq!((look(&world, "b"), fetches(&world)), (Ok(None), 1), "the set is new, so there is no such key");
    for n in 0..20 {
        world.advance(2_000);
        assert_eq!((look(&world, &format!("forged-{n}")), fetches(&world)), (Ok(None), 0));
    }
    world.advance(20_000);
    // The sender has changed its keys.
    world.sites.publish(JWKS, &[], &key_set(&["b", "c"]));
    assert_eq!((look(&world, "b"), fetches(&world)), (found("b"), 1));
    assert_eq!((look(&world, "c"), look(&world, "a"), fetches(&world)), (found("c"), Ok(None), 0));
}

/// An instance whose fetch takes long does not make the others fetch as well.
#[on_each_store]
fn fetch_that_is_under_way_counts() {
    let world = publishing(&["a"]);
    world.sites.latency.set(4_000);
    let (schemes, request) = (Case::named("google-pubsub").schemes(), KeyRequest { url: JWKS.into(), id: "a".into() });
    let late = async {
        sluice::ports::Clock::sleep(&world, Duration::from_secs(1)).await;
        public_keys(&world, &schemes, &request).await
    };
    let (first, second) = world.run(futures_util::future::join(public_keys(&world, &schemes, &request), late));
    assert!(matches!(first, Ok(KeyLookup::Found(_))), "{first:?}");
    assert!(second.unwrap_err().to_string().contains("less than a minute old"));
    assert_eq!(fetches(&world), 1);
}

/// Two that begin at once both fetch, and both find the key.
#[on_each_store]
fn two_fetches_at_once_are_harmless() {
    let world = publishing(&["a"]);
    world.set_lag(Some(crate::fake::Lag { operation: 20, stale: 0 }));
    let (schemes, request) = (Case::named("google-pubsub").schemes(), KeyRequest { url: JWKS.into(), id: "a".into() });
    let look = || public_keys(&world, &schemes, &request);
    let (first, second) = world.run(futures_util::future::join(look(), look()));
    for result in [first, second] {
        assert!(matches!(&result, Ok(KeyLookup::Found(keys)) if keys.len() == 1), "{result:?}");
    }
    world.sites.take_fetches();
    world.advance(MINUTE);
    assert_eq!((self::look(&world, "a"), fetches(&world)), (found("a"), 0));
}

#[on_each_store]
fn old_keys_are_used_for_a_day_while_they_cannot_be_fetched() {
    let failures: [(&str, _); 8] = [
        ("its name can't be resolved", Err(SendError::NotSent("its name can't be resolved"))),
        ("the attempt timed out", Err(SendError::NoResponse("the attempt timed out"))),
        ("if https://www.googleapis.com is missing in `allowed_outbound_hosts`", Err(SendError::Denied("no"))),
        ("the answer was 404", answer(404, &key_set(&["a"]))),
        ("the answer was 302", Ok(Response::builder().status(302).header("location", JWKS).body(Vec::new()).unwrap())),
        ("the answer was 204", answer(204, "")),
        ("is not a public key", answer(200, "<html>a captive portal</html>")),
        ("more than 131072 bytes", answer(200, &" ".repeat(MAX_KEY_RESPONSE + 1))),
    ];
    for (text, result) in failures {
        let _row = row(text);
        let world = publishing(&["a"]);
        assert_eq!(look(&world, "a"), found("a"));
        fetches(&world);
        world.sites.set(JWKS, result);
        world.advance(HOUR);
        assert_eq!((look(&world, "a"), fetches(&world)), (found("a"), 1));
        assert_eq!((look(&world, "a"), fetches(&world)), (found("a"), 0), "once a minute");
        let unknown = failure(look(&world, "b"));
        assert!(unknown.contains("less than a minute old"), "{unknown}");
        world.advance(24 * HOUR - 1);
        assert_eq!((look(&world, "a"), fetches(&world)), (found("a"), 1));
        world.advance(MINUTE);
        let failure = failure(look(&world, "a"));
        assert!(failure.contains(text) && failure.contains(JWKS) && !failure.contains("captive"), "{failure}");
        // And once they can be fetched again.
        world.sites.publish(JWKS, &[], &key_set(&["a"]));
        world.advance(MINUTE);
        assert_eq!(look(&world, "a"), found("a"));
    }
}

#[on_each_store]
fn key_set_without_a_usable_key_is_not_stored() {
    let vector: Value = serde_json::from_str(&key_set(&["a"])).unwrap();
    let key = &vector["keys"][0];
    let changed = |name: &str, value: Value| {
        let mut key = key.clone();
        key[name] = value;
        json!({ "keys": [key] }).to_string()
    };
    for body in [
        r#"{"keys":[]}"#.to_owned(),
        "{}".to_owned(),
        "[]".to_owned(),
        key.to_string(),
        changed("kid", Value::Null),
        changed("kid", json!("k".repeat(300))),
        changed("use", json!("enc")),
        changed("kty", json!("oct")),
        changed("d", json!("AQAB")),
        changed("n", json!("AQAB")),
        json!({ "keys": vec![key; 65] }).to_string(),
        Case::named("sns-2").keys[0].text.clone(),
    ] {
        let _row = row(&body[..body.len().min(200)]);
        let world = World::new();
        world.sites.publish(JWKS, &[], &body);
        failure(look(&world, "a"));
        let stored = world.source_notes();
        assert!(stored.iter().all(|(name, _)| !name.starts_with("keys:")), "{stored:?}");
    }
    // Unusable keys among usable ones are left out.
    let mixed = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "b", "x": "AA" }, key] }).to_string();
    let world = World::new();
    world.sites.publish(JWKS, &[], &mixed);
    assert_eq!((look(&world, "b"), look(&world, "a")), (Ok(None), found("a")));
}

#[on_each_store]
fn only_a_certificate_is_taken_from_the_url_of_one() {
    let case = Case::named("sns-2");
    let url = case.published_at();
    let private = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----";
    for body in ["", private, &key_set(&["a"]), "-----BEGIN CERTIFICATE-----\nMIIB", "\u{0}"] {
        let _row = row(body);
        let world = World::new();
        world.sites.publish(url, &[], body);
        failure(look_with(&world, &case.schemes(), url, url));
    }
    // A chain begins with the certificate that signs.
    let world = World::new();
    let other = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----";
    world.sites.publish(url, &[], &format!("\n{}\n{other}\n", case.keys[0].text));
    let keys = world.run(public_keys(&world, &case.schemes(), &case.needed())).unwrap();
    assert!(matches!(keys, KeyLookup::Found(keys) if case.verify(&keys).is_ok()));
}

#[on_each_store]
fn url_that_the_sender_does_not_use_is_never_fetched() {
    let schemes = Case::named("sns-2").schemes();
    for url in [
        "https://sns.s3.amazonaws.com/SimpleNotificationService-a.pem",
        "https://sns.s3-us-west-2.amazonaws.com/SimpleNotificationService-a.pem",
        "https://bucket.s3.us-east-1.amazonaws.com/SimpleNotificationService-a.pem",
        "https://sns.us-east-1.amazonaws.com.evil.example/SimpleNotificationService-a.pem",
        "https://sns.us-east-1.amazonaws.com@evil.example/SimpleNotificationService-a.pem",
        "https://sns.us-east-1.amazonaws.com:8443/SimpleNotificationService-a.pem",
        "https://sns.us-east-1.amazonaws.com/bucket/SimpleNotificationService-a.pem",
        "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-a.pem?x=1",
        "http://sns.us-east-1.amazonaws.com/SimpleNotificationService-a.pem",
        "http://169.254.169.254/latest/meta-data",
        "",
    ] {
        let _row = row(url);
        let world = World::new();
        assert_eq!(look_with(&world, &schemes, url, url), Err(KeyError::NotPermitted));
        assert!(world.is_store_unused() && fetches(&world) == 0);
    }
    // Nor without a scheme that has keys, or by a wildcard that makes the URL too long.
    let world = World::new();
    let hmac = Descriptor::parse(r#"{"algorithm":"hmac-sha256","headers":["x"],"signed":"{body}"}"#).unwrap();
    assert_eq!(look_with(&world, &[hmac], JWKS, "a"), Err(KeyError::NotPermitted));
    let long = format!("https://sns.us-east-1.amazonaws.com/SimpleNotificationService-{}.pem", "a".repeat(1_000));
    assert_eq!(look_with(&world, &schemes, &long, &long), Err(KeyError::NotPermitted));
    assert!(world.is_store_unused());
}

/// Anyone can name certificates that don't exist: the calls and the notes that this causes are bounded.
#[on_each_store]
fn made_up_certificates_cost_a_bounded_number_of_fetches_and_one_note() {
    let case = Case::named("sns-2");
    let world = World::new();
    world.sites.publish(case.published_at(), &[], &case.keys[0].text);
    let look = |url: &str| look_with(&world, &case.schemes(), url, url);
    assert!(look(case.published_at()).is_ok());
    let size = world.source_notes().len();
    for n in 0..50 {
        let url = format!("https://sns.us-east-1.amazonaws.com/SimpleNotificationService-{n}.pem");
        failure(look(&url));
        world.advance(1);
    }
    assert_eq!((fetches(&world), world.source_notes().len()), (MAX_ATTEMPTS, size));
    assert!(look(case.published_at()).is_ok(), "a certificate that is known is used meanwhile");
    world.advance(MINUTE);
    failure(look("https://sns.us-east-1.amazonaws.com/SimpleNotificationService-x.pem"));
    assert_eq!((fetches(&world), world.source_notes().len()), (1, size));
}

#[on_each_store]
fn store_failure_is_an_error_before_anything_is_fetched() {
    for (fault, fetched) in [(StoreFault::From(0), 0), (StoreFault::Once(0), 0), (StoreFault::Once(1), 0)] {
        let _row = row(format!("{fault:?}"));
        let world = publishing(&["a"]);
        world.fail_store(fault);
        assert!(matches!(look(&world, "a"), Err(KeyError::Store(_))));
        assert_eq!(fetches(&world), fetched);
    }
    // A key that was fetched is used even if it can't be stored.
    let world = World::key_value();
    world.sites.publish(JWKS, &[], &key_set(&["a"]));
    world.fail_store(StoreFault::From(3));
    assert_eq!((look(&world, "a"), fetches(&world)), (found("a"), 1));
    world.recover_store();
    assert!(failure(look(&world, "a")).contains("less than a minute old"));
    world.advance(MINUTE);
    assert_eq!((look(&world, "a"), fetches(&world)), (found("a"), 1));
}

/// Each host that a shipped sender, or one of the vectors, has its keys on may be called.
#[test]
fn hosts_of_keys_are_in_the_manifest() {
    let manifest: toml::Table = include_str!("../../spin.toml").parse().unwrap();
    let allowed = manifest["component"]["sluice"]["allowed_outbound_hosts"].as_array().unwrap();
    let allowed: Vec<_> = allowed.iter().map(|host| host.as_str().unwrap()).collect();
    let is_allowed = |url: &str| {
        let (host, _) = url.strip_prefix("https://").and_then(|rest| rest.split_once('/')).unwrap();
        allowed.iter().any(|entry| match entry.strip_prefix("https://") {
            Some(entry) if entry.starts_with("*.") => host.ends_with(&entry[1..]),
            entry => entry == Some(host),
        })
    };
    let vectors: Vec<Case> = serde_json::from_str(include_str!("../vectors/schemes.json")).unwrap();
    let vectors = vectors.iter().filter(|case| case.sender["keys"].is_object()).flat_map(Case::schemes);
    let mut seen = 0;
    for descriptor in vectors.chain(PRESETS.iter().flat_map(|preset| preset.descriptors())) {
        let urls = match descriptor.keys {
            Some(KeySource::Jwks(url)) => vec![url],
            Some(KeySource::Certificate { urls, .. }) => urls,
            None => continue,
        };
        for url in urls {
            seen += 1;
            assert!(is_allowed(&url), "{url} is not among {allowed:?}");
        }
    }
    assert!(seen >= 5, "{seen}");
}

#[test]
fn key_costs_one_read_while_it_is_fresh() {
    let world = World::key_value();
    world.sites.publish(JWKS, &[], &key_set(&["a"]));
    let cost = |reads, writes| Cost { reads, writes, scans: 0 };
    let spent = |id: &str| {
        world.store.take_cost();
        drop(look(&world, id));
        world.store.take_cost()
    };
    // The keys, and the attempts; the attempt, and the keys.
    assert_eq!([spent("a"), spent("a")], documented(PUBLIC_KEY));
    assert_eq!(spent("b"), cost(1, 0));
    world.sites.set(JWKS, answer(503, ""));
    world.advance(HOUR);
    assert_eq!([spent("a"), spent("a")], [cost(2, 2), cost(2, 0)], "a failed attempt, and none");
}
