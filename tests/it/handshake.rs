//! The OPTIONS handshake (HTTP 1.1 Web Hooks for Event Delivery 1.0.2, section 4), and the size limits of a request's
//! URI and headers.

use crate::fake::{EVENT, EVENT_URI, JSON, RUN, Reply, WEBHOOK_URI, World, request, row};

const ROUTES: [&str; 2] = [EVENT_URI, WEBHOOK_URI];

fn world() -> World {
    World::new()
        .setting("allowed_origins", ["eventgrid.azure.net", "events.example.com"])
        .with("access_tokens", "t0ken")
}

/// Sends the validation request, which may touch neither store nor engine.
#[track_caller]
fn preflight(world: &World, uri: &str, headers: &[(&str, &str)]) -> Reply {
    world.restart_count();
    let reply = world.send_unused(request("OPTIONS", uri, headers, ""));
    world.assert_untouched();
    reply
}

/// The methods of a path, with OPTIONS.
fn allow(uri: &str) -> &'static str {
    if uri.starts_with("/api/v2/webhook") { "OPTIONS, GET, HEAD, POST" } else { "OPTIONS, POST" }
}

#[on_each_store]
fn allowed_origin_gets_consent() {
    let rate = ("webhook-request-rate", "120");
    let callback = ("webhook-request-callback", "https://example.com/confirm?id=12345&key=s3cret");
    for uri in ROUTES {
        for (origin, more) in [
            ("eventgrid.azure.net", &[rate][..]),
            ("Events.Example.com", &[rate, callback]),
            ("eventgrid.azure.net", &[]),
        ] {
            let _row = row(format!("{origin} with {more:?} at {uri}"));
            let headers: Vec<_> = [("webhook-request-origin", origin)].iter().chain(more).copied().collect();
            let reply = preflight(&world(), uri, &headers);
            assert_eq!((reply.status(), reply.text()), (200, ""));
            assert_eq!(reply.header("webhook-allowed-origin"), Some(origin));
            assert_eq!(reply.header("webhook-allowed-rate"), Some("*"));
            assert_eq!(reply.header("allow"), Some(allow(uri)));
            assert!(!reply.log.to_string().contains("s3cret"));
        }
        let all = World::new().setting("allowed_origins", ["*"]);
        let reply = preflight(&all, uri, &[("webhook-request-origin", "any.example")]);
        assert_eq!(reply.header("webhook-allowed-origin"), Some("any.example"));
    }
}

/// Consent is the header `WebHook-Allowed-Origin`, whatever the status.
#[on_each_store]
fn other_origins_get_no_consent() {
    for uri in ROUTES {
        let _row = row(uri);
        for origin in ["evil.example", "azure.net", "x.eventgrid.azure.net", "", "*", "https://eventgrid.azure.net"] {
            let _row = row(origin);
            let reply = preflight(&world(), uri, &[("webhook-request-origin", origin)]);
            let problem = reply.problem(403, "origin-not-allowed");
            assert_eq!(problem["field"], "WebHook-Request-Origin");
            assert_eq!((reply.header("webhook-allowed-origin"), reply.header("allow")), (None, Some(allow(uri))));
        }
        let plain = preflight(&world(), uri, &[]);
        assert_eq!((plain.status(), plain.header("webhook-allowed-origin")), (204, None));
        // Without `allowed_origins` the routes have no OPTIONS.
        let reply = preflight(&World::new(), uri, &[("webhook-request-origin", "eventgrid.azure.net")]);
        reply.problem(405, "method-not-allowed");
        let methods = if uri == WEBHOOK_URI { "GET, HEAD, POST" } else { "POST" };
        assert_eq!((reply.header("webhook-allowed-origin"), reply.header("allow")), (None, Some(methods)));
        let wrong = World::new().setting("allowed_origins", ["https://eventgrid.azure.net"]);
        preflight(&wrong, uri, &[]).wrong_setting("allowed_origins");
    }
}

#[on_each_store]
fn delivery_from_another_origin_is_refused() {
    for uri in ROUTES {
        let _row = row(uri);
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
            assert_eq!(post(&self::world().respond(200, RUN), origin).status(), 200);
        }
        // An allowed origin doesn't replace the token.
        let reply = world.post(uri, &[JSON, ("webhook-request-origin", "eventgrid.azure.net")], EVENT);
        reply.problem(401, "unauthorized");
        assert_eq!(post(&World::new().respond(200, RUN), Some("any.example")).status(), 200);
    }
}

#[on_each_store]
fn oversized_request_head_is_refused() {
    for uri in ROUTES {
        let many: Vec<_> = (0..128).map(|n| (format!("x-{n}"), "v".to_owned())).collect();
        let long = vec![("x-long".to_owned(), "v".repeat(65_536))];
        for (name, headers) in [("many headers", many), ("long header", long)] {
            let _row = row(format!("{name} at {uri}"));
            let world = World::new();
            let mut headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            headers.push(JSON);
            world.post(uri, &headers, EVENT).problem(431, "headers-too-large");
            headers.truncate(1);
            headers[0].1 = "short";
            headers.push(JSON);
            assert_eq!(world.respond(200, RUN).post(uri, &headers, EVENT).status(), 200);
        }
        let world = World::new();
        world.post_json(&format!("{uri}&x={}", "y".repeat(16_384)), EVENT).problem(414, "uri-too-long");
        world.assert_untouched();
    }
}
