//! What Knative and Event Grid make of each answer, by their own rules: what may be taken later is tried again, and what was
//! taken is not. `docs/cloudevents.md` has the same table.

use crate::fake::{EVENT, JSON, RUN, Reply, World};

const ON: &str = "/api/v2/event?ref=w";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Done,
    TriesAgain,
    Drops,
}
use Then::{Done, Drops, TriesAgain};

/// Knative Eventing, data plane contract: "Event Acknowledgement and Delivery Retry"; and what its broker's filter does
/// with a body: one that is no CloudEvent makes a 502 of a 2xx.
fn knative(reply: &Reply) -> Then {
    match reply.status() {
        200..=299 if reply.text().is_empty() => Done,
        200..=299 | 404 | 408 | 409 | 429 | 500..=599 => TriesAgain,
        _ => Drops,
    }
}

/// Azure Event Grid, "Message delivery and retry": "Message delivery status".
fn event_grid(reply: &Reply) -> Then {
    match reply.status() {
        200..=204 => Done,
        400 | 401 | 403 | 413 => Drops,
        _ => TriesAgain,
    }
}

fn failing(world: World) -> World {
    world.failing_operation.set(Some(0));
    world.outage.set(true);
    world
}

#[test]
fn brokers_retry_only_what_may_succeed_later() {
    let routes = r#"[{"workflow":"w","from":"event","filter":{"exact":{"type":"other"}}}]"#;
    let unset = ("x-none", "");
    let large =
        format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t","data":"{}"}}"#, "x".repeat(600_000));
    // The world, a header, where, what; then what Knative does with it, and Event Grid.
    for (name, world, header, uri, body, expected) in [
        ("delivered", World::new().well(), unset, ON, EVENT, [Done, Done]),
        ("unmatched", World::new().with("routes", routes), unset, "/api/v2/event", EVENT, [Done, Done]),
        ("down", World::new().down(), unset, ON, EVENT, [Done, Done]),
        ("later", World::new().answers(429, ""), unset, ON, EVENT, [Done, Done]),
        ("unclear", World::new().answers(500, ""), unset, ON, EVENT, [Done, Done]),
        ("redirect", World::new().answers(302, ""), unset, ON, EVENT, [Done, Done]),
        ("no event", World::new(), unset, ON, "{}", [Drops, Drops]),
        ("no workflow", World::new(), unset, "/api/v2/event", EVENT, [Drops, Drops]),
        ("no token", World::new().with("access_tokens", "t"), unset, ON, EVENT, [Drops, Drops]),
        (
            "origin",
            World::new().with("allowed_origins", "a"),
            ("webhook-request-origin", "b"),
            ON,
            EVENT,
            [Drops, Drops],
        ),
        ("large", World::new(), unset, ON, &large, [Drops, Drops]),
        ("format", World::new(), ("content-type", "application/cloudevents+avro"), ON, EVENT, [Drops, TriesAgain]),
        ("unknown 400", World::new().answers(400, ""), unset, ON, EVENT, [Drops, Drops]),
        ("unknown 404", World::new().answers(404, ""), unset, ON, EVENT, [TriesAgain, TriesAgain]),
        ("conflict", World::new().answers(409, ""), unset, ON, EVENT, [TriesAgain, TriesAgain]),
        ("gone", World::new().answers(410, ""), unset, ON, EVENT, [Drops, TriesAgain]),
        ("parameters", World::new().answers(422, ""), unset, ON, EVENT, [Drops, TriesAgain]),
        ("store", failing(World::new().down()), unset, ON, EVENT, [TriesAgain, TriesAgain]),
        ("setting", World::new().with("engine_url", "x"), unset, ON, EVENT, [TriesAgain, TriesAgain]),
    ] {
        // Knative's broker says that it takes replies; Event Grid says nothing of the kind.
        let content_type = if header.0 == "content-type" { header } else { JSON };
        let others = [content_type, header];
        let others = if header == unset || header.0 == "content-type" { &others[..1] } else { &others[..] };
        let by_knative = world.post(uri, &[others, &[("prefer", "reply")]].concat(), body);
        assert_eq!(knative(&by_knative), expected[0], "{name}: {}", by_knative.text());
        let answers = world.answers.borrow().len();
        assert_eq!(answers, 0, "{name}: each world is asked once");
        // What was taken is done also when it comes again; what wasn't left nothing behind.
        let stored = world.keys("sluice/pending/").len() + world.keys("sluice/done/").len();
        let taken =
            by_knative.header("sluice-outcome").is_some_and(|outcome| matches!(outcome, "delivered" | "pending"));
        assert_eq!(stored > 0, taken, "{name}");
        let status = by_knative.status();
        let by_event_grid = Reply { response: by_knative.response, log: by_knative.log };
        assert_eq!(event_grid(&by_event_grid), expected[1], "{name}: {status}");
        if by_event_grid.status() >= 300 && by_event_grid.json()["retry"] == "safe" {
            assert_eq!(expected, [TriesAgain, TriesAgain], "{name}");
            assert!(by_event_grid.header("retry-after").is_some(), "{name}");
        }
    }
}

/// HTTP 1.1 Web Hooks for Event Delivery 1.0.2, section 2.2.
#[test]
fn response_follows_the_http_webhook_specification() {
    let minimal = ("prefer", "return=minimal");
    for (world, headers, status, has_body) in [
        (World::new().answers(200, RUN), &[JSON][..], 200, true),
        (World::new().answers(200, RUN), &[JSON, minimal], 204, false),
        (World::new().answers(429, ""), &[JSON], 202, true),
        (World::new().answers(429, ""), &[JSON, minimal], 202, false),
        (World::new().answers(302, ""), &[JSON], 202, true),
        (World::new().down(), &[JSON, ("prefer", "respond-async")], 202, true),
    ] {
        let reply = world.post(ON, headers, EVENT);
        assert_eq!((reply.status(), !reply.text().is_empty()), (status, has_body));
        assert_eq!(reply.header("content-type"), has_body.then_some("application/json"));
        assert_eq!(reply.header("location").is_some(), status == 202);
    }
}
