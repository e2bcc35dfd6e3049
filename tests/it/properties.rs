//! Properties over arbitrary requests and engine failures.
//!
//! Every request gets a 2xx or a complete problem, requests to the engine are valid JSON, and every delivery that was
//! answered with a 2xx is either with the engine or in the store.

use std::collections::BTreeMap;

use http::Request;
use proptest::prelude::*;
use sluice::ports::SendError;

use crate::fake::{Chunks, EVENT_URI, MINUTE, NOTIFICATION, RUN, Reply, WEBHOOK_URI, World, answer, label, request};

const VALID: &str = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"/w","data":{"a":[1,"é"]}}"#;
const PREFER: [&str; 5] =
    ["", "respond-async", "return=minimal", "wait=0, return=minimal", "reply, respond-async;x=\","];

/// The valid body, the same with one byte changed, or arbitrary bytes.
fn mostly_valid(valid: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let broken = (any::<prop::sample::Index>(), any::<u8>()).prop_map(move |(at, byte)| {
        let mut bytes = valid.as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes
    });
    prop_oneof![Just(valid.as_bytes().to_vec()), broken, prop::collection::vec(any::<u8>(), 0..200)]
}

/// Asserts a complete problem for every status from 300 on.
fn assert_complete(reply: &Reply, method: &str) {
    if reply.status() >= 300 && method != "HEAD" {
        let slug = reply.log["problem"].as_str().unwrap().to_owned();
        reply.problem(reply.status(), &slug);
    }
}

/// A valid delivery. Ids, payloads and keys have few values, which makes duplicates and conflicts frequent.
#[derive(Clone, Copy, Debug)]
struct Delivery {
    kind: Kind,
    id: u8,
    payload: u8,
    prefer: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Event,
    KeyedWebhook,
    Callback,
    Webhook,
}

impl Delivery {
    fn any() -> impl Strategy<Value = Self> {
        let kinds = [Kind::Event, Kind::KeyedWebhook, Kind::Callback, Kind::Webhook];
        (prop::sample::select(kinds.to_vec()), 0..3_u8, 0..2_u8, prop::sample::select(PREFER.to_vec()))
            .prop_map(|(kind, id, payload, prefer)| Self { kind, id, payload, prefer })
    }

    fn request(self) -> Request<Chunks> {
        let Self { kind, id, payload, prefer } = self;
        let body = format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t","data":{{"n":{payload}}}}}"#);
        let callback = format!("/api/v2/callback?ref=r{id}&topic=t");
        let uri = match kind {
            Kind::Event => EVENT_URI,
            Kind::KeyedWebhook | Kind::Webhook => WEBHOOK_URI,
            Kind::Callback => &callback,
        };
        let key = format!("key-{id}");
        let headers = [("content-type", "application/json"), ("prefer", prefer), ("idempotency-key", key.as_str())];
        request("POST", uri, if kind == Kind::Webhook { &headers[..2] } else { &headers }, body)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[on_each_store]
    fn every_request_gets_a_response(
        method in prop::sample::select(vec!["POST", "POST", "POST", "GET", "HEAD", "PUT", "DELETE", "OPTIONS"]),
        path in prop::sample::select(vec![
            "/api/v2/event", "/api/v2/webhook", "/api/v2/callback", "/api/v2/callbacks/r", "/api/v2/deliveries",
            "/api/v2/deliveries/drain", "/api/v2/deliveries/x/redeliver", "/x",
        ]),
        query in prop_oneof![
            2 => Just("ref=r&topic=t".to_owned()),
            1 => Just("ref=r,topic=t,status=FAILED".to_owned()),
            1 => "(ref|topic|status|dedup|limit|x|%)?[=,&]?[ -~]{0,12}([&,](ref|topic|status)=[ -~]{0,8}){0,3}",
        ],
        content_type in prop_oneof![
            Just("application/json".to_owned()),
            Just("application/cloudevents+json".to_owned()),
            "(application/(cloudevents\\+)?json(; ?charset=(utf-8|x))?|text/plain|[ -~]{0,12})",
        ],
        prefer in prop_oneof![prop::sample::select(PREFER.to_vec()).prop_map(str::to_owned), "[ -~]{0,16}"],
        attribute in "[ -~]{0,12}",
        body in mostly_valid(VALID),
    ) {
        let query: String = query.chars().filter(|c| !" \"<>`{}|\\^#".contains(*c)).collect();
        let world = World::with_operator().respond(200, RUN);
        let headers = [
            ("content-type", content_type.as_str()),
            ("authorization", "Bearer op3rator"),
            ("prefer", prefer.as_str()),
            ("ce-specversion", "1.0"),
            ("ce-id", attribute.as_str()),
            ("ce-source", "/s"),
            ("ce-type", "t"),
            ("idempotency-key", attribute.as_str()),
        ];
        let headers = if attribute.len() % 2 == 0 { &headers[..3] } else { &headers[..] };
        let reply = world.send(request(method, &format!("{path}?{query}"), headers, &body));
        let status = reply.status();
        prop_assert!(matches!(status, 200 | 202 | 204 | 400 | 404 | 405 | 415), "{status}");
        assert_complete(&reply, method);

        let is_ingress = matches!(path, "/api/v2/event" | "/api/v2/webhook" | "/api/v2/callback") && method != "HEAD";
        let received = world.engine.received.borrow();
        // A callback that was stored first, and then found to wait for a topic that no task has, is a dead letter.
        let is_dead = status == 202 && !world.dead().is_empty();
        if is_dead {
            prop_assert_eq!((path, world.dead().len(), world.pending().len()), ("/api/v2/callback", 1, 0));
        }
        prop_assert_eq!(received.len(), usize::from(is_ingress && status < 300 && !is_dead));
        // A look has shown that no task has the topic.
        let is_rejected = reply.log["problem"] == "unknown-topic";
        prop_assert_eq!(reply.header("sluice-outcome").is_some(), is_ingress && (status < 300 || is_rejected));
        prop_assert!(is_ingress || status != 202, "{path}");
        if let Some(received) = received.first() {
            let text = std::str::from_utf8(received.request.body()).unwrap();
            let parsed: Result<&serde_json::value::RawValue, _> = serde_json::from_str(text);
            prop_assert!(parsed.is_ok(), "{text}");
            let path = received.request.uri().path();
            prop_assert_eq!(path.split('/').count(), 6, "{}", path);
        } else if !is_dead {
            prop_assert!(world.is_empty(), "{:?}", world.everything());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[on_each_store]
    fn each_delivery_runs_once_whatever_the_engine_does(
        deliveries in prop::collection::vec((Delivery::any(), 0_u64..4_000), 1..12),
        script in prop::collection::vec((prop::sample::select(vec![200_u16, 422, 429, 500, 503, 0, 1]), 0_u64..4_000), 0..12),
    ) {
        let world = World::with_operator().healthy();
        for (status, delay) in script {
            let result = match status {
                0 => Err(SendError::NotSent("the connection was refused")),
                1 => Err(SendError::NoResponse("the connection was cut")),
                // Left to the healthy engine, which starts a run.
                200 => continue,
                _ => answer(status, ""),
            };
            world.engine.script.borrow_mut().push_back((delay, result));
        }
        // Accepted deliveries: each has to end with a run, or as a dead letter.
        let mut accepted = BTreeMap::new();
        for (delivery, pause) in deliveries {
            world.advance(pause);
            let reply = world.send(delivery.request());
            assert_complete(&reply, "POST");
            let (status, outcome) = reply.outcome();
            prop_assert!(matches!(status, 200 | 202 | 204 | 409 | 422), "{}", reply.text());
            match outcome.unwrap() {
                "delivered" | "pending" => _ = accepted.insert(reply.delivery(), delivery),
                "duplicate" => prop_assert!(accepted.contains_key(&reply.delivery())),
                _ => {}
            }
        }
        world.engine.recover();
        // A callback whose sender doesn't wait is answered before its claim: a drain drops it if it is a repeat.
        let drained = world.log.borrow();
        let mut dropped: u64 = drained.iter().filter_map(|line| line["drained"]["dropped"].as_u64()).sum();
        drop(drained);
        for _ in 0..20 {
            world.advance(20 * MINUTE);
            let drained = world.drain();
            dropped += drained["dropped"].as_u64().unwrap();
            if drained["pending"] == 0 {
                break;
            }
        }
        prop_assert!(world.pending().is_empty() && world.store.keys(NOTIFICATION).is_empty());
        let dead = world.dead();
        // Requests are sequential, so no delivery is contended.
        let concluded = world.engine.targets().len() + dead.len() + usize::try_from(dropped).unwrap();
        prop_assert_eq!(concluded, accepted.len(), "{:?} {:?} {:?} {:?}", dead, accepted, world.engine.effects.borrow(), world.log.borrow());
        let is_repeat = |delivery: &&Delivery| {
            let Delivery { kind, prefer, .. } = delivery;
            *kind == Kind::Callback && (prefer.contains("respond-async") || prefer.contains("wait=0"))
        };
        let repeats = accepted.values().filter(is_repeat).count() as u64;
        prop_assert!(dropped <= repeats, "{dropped} dropped, {accepted:?}");
        let effects = world.engine.effects.borrow();
        let mut labels: Vec<_> = effects.iter().filter(|run| run.get("labels").is_some()).map(label).collect();
        labels.sort_unstable();
        prop_assert!(labels.windows(2).all(|pair| pair[0] != pair[1]), "{labels:?}");
    }
}
