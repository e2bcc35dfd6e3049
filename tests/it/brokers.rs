//! How Knative and Event Grid act on each response, by their own rules: they retry what may succeed later, and nothing
//! that was accepted. `docs/cloudevents.md` has the same table.

use crate::fake::{ASYNC, EVENT, EVENT_URI, JSON, RUN, Reply, StoreFault, World, row};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Done,
    Retry,
    Drop,
}
use Action::{Done, Drop, Retry};

/// Knative Eventing, data plane contract, "Event Acknowledgement and Delivery Retry"; and the filter of its broker,
/// which turns a 2xx whose body is no CloudEvent into a 502.
fn knative(reply: &Reply) -> Action {
    match reply.status() {
        200..=299 if reply.text().is_empty() => Done,
        200..=299 | 404 | 408 | 409 | 429 | 500..=599 => Retry,
        _ => Drop,
    }
}

/// Azure Event Grid, "Message delivery and retry", "Message delivery status".
fn event_grid(reply: &Reply) -> Action {
    match reply.status() {
        200..=204 => Done,
        400 | 401 | 403 | 413 => Drop,
        _ => Retry,
    }
}

fn failing_store(world: World) -> World {
    world.fail_store(StoreFault::From(0));
    world
}

/// One event, and what the brokers have to do after the response.
struct Case<'a> {
    name: &'a str,
    world: World,
    uri: &'a str,
    headers: Vec<(&'a str, &'a str)>,
    body: &'a str,
    knative: Action,
    event_grid: Action,
}

impl<'a> Case<'a> {
    fn new(name: &'a str, world: World, [knative, event_grid]: [Action; 2]) -> Self {
        Self { name, world, uri: EVENT_URI, headers: vec![JSON], body: EVENT, knative, event_grid }
    }
}

#[on_each_store]
fn brokers_retry_only_what_may_succeed_later() {
    let routes = r#"[{"workflow":"w","from":"event","filter":{"exact":{"type":"other"}}}]"#;
    let large =
        format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t","data":"{}"}}"#, "x".repeat(600_000));
    let new = World::new;
    let avro = vec![("content-type", "application/cloudevents+avro")];
    let other_origin = vec![JSON, ("webhook-request-origin", "b")];
    for case in [
        Case::new("delivered", new().healthy(), [Done, Done]),
        Case { uri: "/api/v2/event", ..Case::new("unmatched", new().with("routes", routes), [Done, Done]) },
        Case::new("engine unreachable", new().unreachable(), [Done, Done]),
        Case::new("engine busy", new().respond(429, ""), [Done, Done]),
        Case::new("engine ambiguous", new().respond(500, ""), [Done, Done]),
        Case::new("engine redirects", new().respond(302, ""), [Done, Done]),
        Case { body: "{}", ..Case::new("no event", new(), [Drop, Drop]) },
        Case { uri: "/api/v2/event", ..Case::new("no workflow", new(), [Drop, Drop]) },
        Case::new("no token", new().with("access_tokens", "t"), [Drop, Drop]),
        Case {
            headers: other_origin,
            ..Case::new("other origin", new().setting("allowed_origins", ["a"]), [Drop, Drop])
        },
        Case { body: &large, ..Case::new("body too large", new(), [Drop, Drop]) },
        Case { headers: avro, ..Case::new("unknown format", new(), [Drop, Retry]) },
        Case::new("workflow unknown, 400", new().respond(400, ""), [Drop, Drop]),
        Case::new("workflow unknown, 404", new().respond(404, ""), [Retry, Retry]),
        Case::new("conflict", new().respond(409, ""), [Retry, Retry]),
        Case::new("gone", new().respond(410, ""), [Drop, Retry]),
        Case::new("invalid params", new().respond(422, ""), [Drop, Retry]),
        Case::new("store fails", failing_store(new().unreachable()), [Retry, Retry]),
        Case::new("configuration invalid", new().with("engine_url", "x"), [Retry, Retry]),
    ] {
        let _row = row(case.name);
        let world = case.world;
        // Knative's broker accepts a reply; Event Grid sends no such header, which changes only the body.
        let reply = world.post(case.uri, &[&case.headers[..], &[("prefer", "reply")]].concat(), case.body);
        assert_eq!(knative(&reply), case.knative, "{}", reply.text());
        assert_eq!(event_grid(&reply), case.event_grid, "{}", reply.status());
        assert!(world.engine.script.borrow().is_empty(), "the engine was not called");
        let stored = world.pending().len() + world.remembered();
        let is_accepted = matches!(reply.header("sluice-outcome"), Some("delivered" | "pending"));
        assert_eq!(stored > 0, is_accepted, "only an accepted event leaves records");
        if reply.status() >= 300 && reply.json()["retry"] == "safe" {
            assert_eq!([case.knative, case.event_grid], [Retry, Retry]);
            assert!(reply.header("retry-after").is_some());
        }
    }
}

/// HTTP 1.1 Web Hooks for Event Delivery 1.0.2, section 2.2.
#[on_each_store]
fn response_follows_the_http_webhook_specification() {
    let minimal = ("prefer", "return=minimal");
    for (name, world, headers, status, has_body) in [
        ("delivered", World::new().respond(200, RUN), &[JSON][..], 200, true),
        ("delivered, minimal", World::new().respond(200, RUN), &[JSON, minimal], 204, false),
        ("busy", World::new().respond(429, ""), &[JSON], 202, true),
        ("busy, minimal", World::new().respond(429, ""), &[JSON, minimal], 202, false),
        ("redirect", World::new().respond(302, ""), &[JSON], 202, true),
        ("unreachable, async", World::new().unreachable(), &[JSON, ASYNC], 202, true),
    ] {
        let _row = row(name);
        let reply = world.post(EVENT_URI, headers, EVENT);
        assert_eq!((reply.status(), !reply.text().is_empty()), (status, has_body));
        assert_eq!(reply.header("content-type"), has_body.then_some("application/json"));
        assert_eq!(reply.header("location").is_some(), status == 202);
    }
}
