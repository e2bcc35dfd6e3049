//! Whatever comes, it gets an answer: a 2xx, or a whole problem; what reaches the engine is valid JSON; and what is
//! answered 2xx is with the engine or in the store.

use http::Request;
use proptest::prelude::*;
use sluice::ports::SendError;

use crate::fake::{Chunks, RUN, Reply, World, request};

const GOOD: &str = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"/w","data":{"a":[1,"é"]}}"#;
const PREFER: [&str; 5] =
    ["", "respond-async", "return=minimal", "wait=0, return=minimal", "reply, respond-async;x=\","];

fn mostly(valid: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let broken = (any::<prop::sample::Index>(), any::<u8>()).prop_map(move |(at, byte)| {
        let mut bytes = valid.as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes
    });
    prop_oneof![Just(valid.as_bytes().to_vec()), broken, prop::collection::vec(any::<u8>(), 0..200)]
}

fn is_whole(reply: &Reply, method: &str) {
    if reply.status() >= 300 && method != "HEAD" {
        let slug = reply.log["problem"].as_str().unwrap().to_owned();
        reply.problem(reply.status(), &slug);
    }
}

/// One that is right but for its id, its payload and its key, which are of few values.
fn sender() -> impl Strategy<Value = (usize, u8, u8, &'static str)> {
    (0..4_usize, 0..3_u8, 0..2_u8, prop::sample::select(PREFER.to_vec()))
}

fn sent((way, id, payload, prefer): (usize, u8, u8, &str)) -> Request<Chunks> {
    let body = format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t","data":{{"n":{payload}}}}}"#);
    let uri = [
        "/api/v2/event?ref=w".to_owned(),
        "/api/v2/webhook?ref=w".to_owned(),
        format!("/api/v2/callback?ref=r{id}&topic=t"),
        "/api/v2/webhook?ref=w".to_owned(),
    ];
    let key = format!("key-{id}");
    let headers = [("content-type", "application/json"), ("prefer", prefer), ("idempotency-key", key.as_str())];
    request("POST", &uri[way], if way == 3 { &headers[..2] } else { &headers }, body)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
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
        body in mostly(GOOD),
    ) {
        let query: String = query.chars().filter(|c| !" \"<>`{}|\\^#".contains(*c)).collect();
        let world = World::operated().answers(200, RUN);
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
        is_whole(&reply, method);

        let takes = matches!(path, "/api/v2/event" | "/api/v2/webhook" | "/api/v2/callback") && method != "HEAD";
        let sent = world.sent.borrow();
        prop_assert_eq!(sent.len(), usize::from(takes && status < 300));
        prop_assert_eq!(reply.header("sluice-outcome").is_some(), takes && status < 300);
        prop_assert!(takes || status != 202, "{}", path);
        if let Some(sent) = sent.first() {
            let text = std::str::from_utf8(sent.request.body()).unwrap();
            let parsed: Result<&serde_json::value::RawValue, _> = serde_json::from_str(text);
            prop_assert!(parsed.is_ok(), "{}", text);
            let path = sent.request.uri().path();
            prop_assert_eq!(path.split('/').count(), 6, "{}", path);
        } else {
            prop_assert!(world.store.borrow().keys().all(|key| key.starts_with("sluice/lease")), "{:?}", world.store);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn each_delivery_runs_once_whatever_the_engine_does(
        senders in prop::collection::vec((sender(), 0_u64..4_000), 1..12),
        engine in prop::collection::vec((prop::sample::select(vec![200_u16, 422, 429, 500, 503, 0, 1]), 0_u64..4_000), 0..12),
    ) {
        let world = World::operated().well();
        for (status, takes) in engine {
            let answer = http::Response::builder().status(status.max(100)).body(Vec::new()).unwrap();
            world.answers.borrow_mut().push_back((takes, match status {
                0 => Err(SendError::NotSent("the connection was refused")),
                1 => Err(SendError::NoAnswer("the connection was cut")),
                // A run, for a 200.
                200 => continue,
                _ => Ok(answer),
            }));
        }
        // What is to be with the engine in the end, or listed as dead: the id of each that was taken.
        let mut taken = std::collections::BTreeMap::new();
        for (sender, pause) in senders {
            world.pass(pause);
            let reply = world.send(sent(sender));
            is_whole(&reply, "POST");
            let (status, outcome) = reply.outcome();
            prop_assert!(matches!(status, 200 | 202 | 204 | 409 | 422), "{}", reply.text());
            match outcome.unwrap() {
                "delivered" | "pending" => {
                    let id = reply.header("sluice-delivery").unwrap().to_owned();
                    taken.insert(id, sender.0);
                }
                "duplicate" => prop_assert!(taken.contains_key(reply.header("sluice-delivery").unwrap())),
                _ => {}
            }
        }
        world.heal();
        for _ in 0..20 {
            world.pass(20 * 60_000);
            if world.drain()["pending"] == 0 {
                break;
            }
        }
        prop_assert!(world.keys("sluice/pending/").is_empty() && world.keys("sluice/hint").is_empty());
        let dead = world.keys("sluice/dead/");
        // None is a copy here, for they come one after the other: each has its own run, or is kept.
        prop_assert_eq!(world.acted().len() + dead.len(), taken.len(), "{:?} {:?}", dead, taken);
        let mut labels: Vec<_> = world.runs.borrow().iter().filter(|run| run.get("labels").is_some())
            .map(|run| run["labels"]["sluice.dev/delivery"].to_string()).collect();
        labels.sort_unstable();
        prop_assert!(labels.windows(2).all(|two| two[0] != two[1]), "{:?}", labels);
    }
}
