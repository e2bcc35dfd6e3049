//! The OPTIONS handshake (HTTP 1.1 Web Hooks for Event Delivery 1.0.2, section 4), and the limits of a request's head.

use crate::fake::{EVENT, JSON, RUN, Reply, World, request};

const ROUTES: [&str; 2] = ["/api/v2/event?ref=w", "/api/v2/webhook?ref=w"];

fn world() -> World {
    World::new().with("allowed_origins", "eventgrid.azure.net, events.example.com").with("access_tokens", "t0ken")
}

fn ask(world: &World, uri: &str, headers: &[(&str, &str)]) -> Reply {
    let reply = world.send(request("OPTIONS", uri, headers, ""));
    world.assert_untouched();
    assert!(world.operations.borrow().is_empty());
    reply
}

#[test]
fn allowed_origin_gets_consent() {
    let rate = ("webhook-request-rate", "120");
    let callback = ("webhook-request-callback", "https://example.com/confirm?id=12345&key=s3cret");
    for uri in ROUTES {
        for (origin, more) in [
            ("eventgrid.azure.net", &[rate][..]),
            ("Events.Example.com", &[rate, callback]),
            ("eventgrid.azure.net", &[]),
        ] {
            let headers: Vec<_> = [("webhook-request-origin", origin)].iter().chain(more).copied().collect();
            let reply = ask(&world(), uri, &headers);
            assert_eq!((reply.status(), reply.text()), (200, ""));
            assert_eq!(reply.header("webhook-allowed-origin"), Some(origin));
            assert_eq!(reply.header("webhook-allowed-rate"), Some("*"));
            assert_eq!(reply.header("allow"), Some("OPTIONS, POST"));
            assert!(!reply.log.to_string().contains("s3cret"));
        }
        let all = World::new().with("allowed_origins", "*");
        let reply = ask(&all, uri, &[("webhook-request-origin", "any.example")]);
        assert_eq!(reply.header("webhook-allowed-origin"), Some("any.example"));
    }
}

/// A status is no consent: without the header there is none.
#[test]
fn other_origins_get_no_consent() {
    for uri in ROUTES {
        for origin in ["evil.example", "azure.net", "x.eventgrid.azure.net", "", "*", "https://eventgrid.azure.net"] {
            let reply = ask(&world(), uri, &[("webhook-request-origin", origin)]);
            let problem = reply.problem(403, "origin-not-allowed");
            assert_eq!(problem["field"], "WebHook-Request-Origin");
            assert_eq!((reply.header("webhook-allowed-origin"), reply.header("allow")), (None, Some("OPTIONS, POST")));
        }
        let plain = ask(&world(), uri, &[]);
        assert_eq!((plain.status(), plain.header("webhook-allowed-origin")), (204, None));
        // Not set: as if OPTIONS were not there.
        let reply = ask(&World::new(), uri, &[("webhook-request-origin", "eventgrid.azure.net")]);
        reply.problem(405, "method-not-allowed");
        assert_eq!((reply.header("webhook-allowed-origin"), reply.header("allow")), (None, Some("POST")));
        let wrong = World::new().with("allowed_origins", "https://eventgrid.azure.net");
        assert_eq!(ask(&wrong, uri, &[]).problem(503, "configuration")["field"], "allowed_origins");
    }
}

#[test]
fn delivery_from_another_origin_is_refused() {
    for uri in ROUTES {
        let post = |world: &World, origin: Option<&str>| {
            let token = ("x-access-token", "t0ken");
            let origin = origin.map(|origin| ("webhook-request-origin", origin));
            let headers: Vec<_> = [JSON, token].into_iter().chain(origin).collect();
            world.post(uri, &headers, EVENT)
        };
        let world = world();
        post(&world, Some("evil.example")).problem(403, "origin-not-allowed");
        world.assert_untouched();
        for origin in [Some("eventgrid.azure.net"), None] {
            assert_eq!(post(&self::world().answers(200, RUN), origin).status(), 200);
        }
        // The handshake gives no right: a token is asked for as ever.
        let reply = world.post(uri, &[JSON, ("webhook-request-origin", "eventgrid.azure.net")], EVENT);
        reply.problem(401, "unauthorized");
        assert_eq!(post(&World::new().answers(200, RUN), Some("any.example")).status(), 200);
    }
}

#[test]
fn oversized_request_head_is_refused() {
    for uri in ROUTES {
        let many: Vec<_> = (0..128).map(|n| (format!("x-{n}"), "v".to_owned())).collect();
        let long = vec![("x-long".to_owned(), "v".repeat(65_536))];
        for headers in [many, long] {
            let world = World::new();
            let mut headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            headers.push(JSON);
            world.post(uri, &headers, EVENT).problem(431, "headers-too-large");
            headers.truncate(1);
            headers[0].1 = "short";
            headers.push(JSON);
            assert_eq!(world.answers(200, RUN).post(uri, &headers, EVENT).status(), 200);
        }
        let world = World::new();
        world.json(&format!("{uri}&x={}", "y".repeat(16_384)), EVENT).problem(414, "uri-too-long");
        world.assert_untouched();
    }
}
