//! Refused requests: each gets a precise problem, and neither the engine nor the store is touched.

use std::collections::VecDeque;

use http::Request;
use serde_json::json;

use crate::fake::{CALLBACK_URI, Chunks, DRAIN_URI, EVENT, EVENT_URI, JSON, RUN, WEBHOOK_URI, World, request, row};

/// The routes with a body, each with a valid query.
const POSTS: [&str; 3] = [WEBHOOK_URI, EVENT_URI, CALLBACK_URI];

#[on_each_store]
fn unknown_paths_are_404() {
    for path in [
        "/",
        "/api/v2",
        "/api/v2/event/",
        "/api/v1/event",
        "/api/v2/callbacks/",
        "/api/v2/callbacks/a/b",
        "/EVENT",
        "/api/v2/deliveries/",
        "/api/v2/deliveries/a/b",
        "/api/v2/deliveries//redeliver",
        "/api/v2/deliveries/a/redeliver/b",
        "/api/v2/delivery",
    ] {
        let _row = row(path);
        let world = World::with_operator();
        world.get(path).problem(404, "not-found");
        world.assert_untouched();
    }
}

#[on_each_store]
fn wrong_methods_are_405_with_allow() {
    for (path, allow) in [
        (WEBHOOK_URI, "GET, HEAD, POST"),
        (EVENT_URI, "POST"),
        (CALLBACK_URI, "GET, HEAD, POST"),
        ("/api/v2/callbacks/r?topic=t", "GET, HEAD"),
        ("/api/v2/callback-links", "POST"),
        ("/api/v2/callback/link", "GET, HEAD, POST"),
        ("/api/v2/deliveries", "GET, HEAD"),
        ("/api/v2/deliveries/01M85MNVRRNF3YKJSMZYXYD1X7", "DELETE, GET, HEAD"),
        ("/api/v2/deliveries/01M85MNVRRNF3YKJSMZYXYD1X7/redeliver", "POST"),
        (DRAIN_URI, "POST"),
        ("/healthz", "GET, HEAD"),
        ("/openapi.json", "GET, HEAD"),
        ("/readyz", "GET, HEAD"),
    ] {
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW", "get"] {
            if allow.split(", ").any(|allowed| allowed == method) {
                continue;
            }
            let _row = row(format!("{method} {path}"));
            let world = World::new();
            let reply = world.send(request(method, path, &[JSON], "{}"));
            if method == "HEAD" {
                assert_eq!((reply.status(), reply.text()), (405, ""));
            } else {
                reply.problem(405, "method-not-allowed");
            }
            assert_eq!(reply.header("allow"), Some(allow));
            world.assert_untouched();
        }
    }
}

#[on_each_store]
fn wrong_content_types_are_415_with_accept_post() {
    for uri in POSTS {
        for content_type in [
            "",
            "text/plain",
            "application/x-www-form-urlencoded",
            "json",
            "application/json; charset=utf-16",
            "application/cloudevents-batch+json; charset=utf-16",
            "application/cloudevents+avro",
            "application/jsonx",
        ] {
            let _row = row(format!("{content_type} at {uri}"));
            let world = World::new();
            let headers: &[_] = if content_type.is_empty() { &[] } else { &[("content-type", content_type)] };
            let reply = world.post(uri, headers, EVENT);
            let problem = reply.problem(415, "unsupported-media-type");
            assert_eq!(problem["field"], "Content-Type");
            let accepted = if uri.contains("event") {
                "application/cloudevents+json, application/cloudevents-batch+json, application/json"
            } else {
                "application/json"
            };
            assert_eq!(reply.header("accept-post"), Some(accepted));
            world.assert_untouched();
        }
    }
}

#[on_each_store]
fn compressed_body_is_415_with_accept_encoding() {
    for uri in POSTS {
        let _row = row(uri);
        let world = World::new().respond(200, RUN);
        let reply = world.post(uri, &[JSON, ("content-encoding", "gzip")], b"\x1f\x8b");
        assert_eq!(reply.problem(415, "unsupported-media-type")["field"], "Content-Encoding");
        assert_eq!(reply.header("accept-encoding"), Some("identity"));
        world.assert_untouched();
        assert_eq!(world.post(uri, &[JSON, ("content-encoding", "Identity")], EVENT).status(), 200);
    }
}

#[on_each_store]
fn invalid_body_names_the_fault() {
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(1_000), "]".repeat(1_000));
    let arrays = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
    let bodies: [(&str, &[u8], &str); 9] = [
        ("no body", b"", "empty"),
        ("white space", b" \n", "empty"),
        ("invalid UTF-8", b"{\"a\":\"\xff\xfe\"}", "not UTF-8 (byte 6)"),
        ("unfinished object", b"{\"a\":1", "EOF"),
        ("two objects", b"{\"a\":1}{}", "trailing"),
        ("deep object", deep.as_bytes(), "deeper than 128"),
        ("deep array", arrays.as_bytes(), "deeper than 128"),
        ("array", b"[1]", "an array"),
        ("string", b"\"a\"", "a string"),
    ];
    for uri in POSTS {
        for (name, body, detail) in bodies {
            let _row = row(format!("{name} at {uri}"));
            // An array of events is a batch.
            let detail = if (name, uri) == ("array", EVENT_URI) { "its element 0 is a number" } else { detail };
            let world = World::new();
            let problem = world.post(uri, &[JSON], body).problem(400, "invalid-body");
            assert_eq!(problem["field"], "body");
            // An array of events is a batch.
            let detail = if (name, uri) == ("array", EVENT_URI) { "its element 0 is a number" } else { detail };
            assert!(problem["detail"].as_str().unwrap().contains(detail), "{problem}");
            world.assert_untouched();
        }
    }
}

/// A GET or HEAD that asks no sender's question.
#[on_each_store]
fn webhook_answers_get_only_to_questions() {
    let github = json!({"name": "github", "sender": "github", "secrets": ["s3cret"]});
    for world in [World::new, || World::new().with("access_tokens", "t0ken")] {
        for query in ["?ref=w", "", "?ref=w&hub.mode=subscribe&hub.challenge=1", "?source=github"] {
            for method in ["GET", "HEAD"] {
                let _row = row(format!("{method} {query}"));
                let world = world().source(github.clone());
                let reply = world.send(request(method, &format!("/api/v2/webhook{query}"), &[], ""));
                assert_eq!((reply.status(), reply.header("allow")), (405, Some("GET, HEAD, POST")));
                world.assert_untouched();
            }
        }
    }
}

#[on_each_store]
fn body_limit_counts_received_bytes() {
    for uri in POSTS {
        for length in [None, Some("3"), Some("10000000"), Some("-1"), Some("x")] {
            let _row = row(format!("Content-Length {length:?} at {uri}"));
            let world = World::new();
            let mut headers = vec![JSON];
            headers.extend(length.map(|length| ("content-length", length)));
            let problem = world.post(uri, &headers, vec![b' '; 10_000_000]).problem(413, "body-too-large");
            assert!(problem["detail"].as_str().unwrap().contains("524288"), "{problem}");
            world.assert_untouched();
        }
        let _row = row(uri);
        // The limit is exact.
        let world = World::new().setting("max_body_bytes", 100).respond(200, RUN);
        let padded = |length: usize| format!("{EVENT}{}", " ".repeat(length - EVENT.len()));
        world.post_json(uri, padded(101)).problem(413, "body-too-large");
        world.assert_untouched();
        assert_eq!(world.post_json(uri, padded(100)).status(), 200);
    }
}

#[on_each_store]
fn oversized_body_is_refused_before_100_continue() {
    let world = World::new();
    let headers = [JSON, ("content-length", "10000000"), ("expect", "100-continue")];
    let mut unread = request("POST", POSTS[0], &headers, "");
    // Reading the body would fail.
    *unread.body_mut() = Chunks(VecDeque::from([None]));
    world.send(unread).problem(413, "body-too-large");
}

#[on_each_store]
fn truncated_body_is_reported() {
    for uri in POSTS {
        let _row = row(uri);
        let world = World::new();
        let broken = Chunks(VecDeque::from([Some(b"{\"a\":1}".to_vec()), None]));
        let request: Request<Chunks> =
            Request::builder().method("POST").uri(uri).header(JSON.0, JSON.1).body(broken).unwrap();
        assert_eq!(world.send(request).problem(400, "body-incomplete")["retry"], "safe");
        world.assert_untouched();
    }
}

#[on_each_store]
fn references_are_one_path_segment() {
    for (value, detail) in [
        ("..%2F..%2Fadmin", "'/'"),
        ("../../admin", "'/'"),
        ("a/b/c?x#y", "'/'"),
        ("..", "dot segment"),
        ("%2e", "dot segment"),
        ("a%00b", "\\0"),
        ("a%252fb", "'%'"),
        ("", "empty"),
    ] {
        for uri in ["/api/v2/webhook?ref=", "/api/v2/event?ref=", "/api/v2/callback?topic=t&ref="] {
            let _row = row(format!("{uri}{value}"));
            let world = World::new();
            let problem = world.post_json(&format!("{uri}{value}"), EVENT).problem(400, "invalid-parameter");
            assert_eq!(problem["field"], "ref");
            assert!(problem["detail"].as_str().unwrap().contains(detail), "{problem}");
            world.assert_untouched();
        }
    }
    let world = World::new();
    world.post_json(&format!("/api/v2/webhook?ref={}", "a".repeat(257)), "{}").problem(400, "invalid-parameter");
    world
        .post_json(&format!("/api/v2/callback?ref=r&topic={}", "a".repeat(1_025)), "{}")
        .problem(400, "invalid-parameter");
    world.post_json("/api/v2/webhook?ref=%ff", "{}").problem(400, "invalid-parameter");
    world.assert_untouched();
}

#[on_each_store]
fn repeated_parameter_is_refused() {
    for (uri, field) in [
        ("/api/v2/webhook?ref=a&ref=b", "ref"),
        ("/api/v2/event?ref=a&ref=a", "ref"),
        ("/api/v2/callback?ref=a&topic=t&ref=b", "ref"),
        ("/api/v2/callback?ref=a&topic=t&topic=u", "topic"),
        ("/api/v2/callback?ref=a&topic=t&status=failed&status=succeeded", "status"),
        ("/api/v2/callback?ref=a,topic=t,ref=b", "ref"),
        ("/api/v2/webhook?workflow=a&workflow=a", "workflow"),
        ("/api/v2/callback?workflowrun=a&topic=t&workflowrun=b", "workflowrun"),
        ("/api/v2/webhook?ref=a&dedup=off&dedup=off", "dedup"),
        ("/api/v2/event?ref=a&dedup=on&dedup=off", "dedup"),
    ] {
        let _row = row(uri);
        let world = World::new();
        assert_eq!(world.post_json(uri, EVENT).problem(400, "invalid-parameter")["field"], field);
        world.assert_untouched();
    }
}

#[on_each_store]
fn two_names_with_different_values_are_refused() {
    for (uri, field) in [
        ("/api/v2/webhook?ref=a&workflow=b", "workflow"),
        ("/api/v2/event?workflow=b&ref=a", "workflow"),
        ("/api/v2/callback?ref=a&workflowrun=b&topic=t", "workflowrun"),
        ("/api/v2/callback?workflowrun=b,topic=t,ref=a", "workflowrun"),
    ] {
        let _row = row(uri);
        let world = World::new();
        let problem = world.post_json(uri, EVENT).problem(400, "invalid-parameter");
        assert_eq!(problem["field"], field);
        assert!(problem["detail"].as_str().unwrap().contains("`ref` and `workflow"), "{problem}");
        world.assert_untouched();
    }
    // The name that was sent is the field.
    for (uri, field) in
        [("/api/v2/webhook?workflow=a/b", "workflow"), ("/api/v2/callback?workflowrun=&topic=t", "workflowrun")]
    {
        assert_eq!(World::new().post_json(uri, "{}").problem(400, "invalid-parameter")["field"], field);
    }
}

#[on_each_store]
fn missing_parameter_is_named() {
    for (uri, field) in [
        ("/api/v2/webhook", "ref"),
        ("/api/v2/webhook?reference=a", "ref"),
        ("/api/v2/event", "ref"),
        ("/api/v2/callback", "ref"),
        ("/api/v2/callback?topic=t", "ref"),
        ("/api/v2/callback?ref=r", "topic"),
        ("/api/v2/callback?ref=r,x=y&z=1", "topic"),
    ] {
        let _row = row(uri);
        let world = World::new();
        assert_eq!(world.post_json(uri, EVENT).problem(400, "missing-parameter")["field"], field);
        world.assert_untouched();
    }
}

#[on_each_store]
fn unknown_status_is_refused() {
    for status in ["", "success", "done", "null", "Succeeded%20"] {
        for method in ["POST", "GET", "HEAD"] {
            let _row = row(format!("{method} with status={status}"));
            let world = World::new();
            let uri = format!("/api/v2/callback?ref=r&topic=t&status={status}");
            let reply = world.send(request(method, &uri, &[JSON], "{}"));
            assert_eq!(reply.status(), 400);
            assert_eq!(reply.log["problem"], "invalid-parameter");
            world.assert_untouched();
        }
    }
}

#[on_each_store]
fn damaged_status_completes_nothing() {
    for (query, field) in [
        ("ref=r&topic=t&amp;status=failed", "amp;status"),
        ("ref=r&topic=t&Status=Failed", "Status"),
        ("ref=r&topic=t&state=failed", "state"),
        ("ref=r&topic=t?status=failed", "topic"),
        ("ref=r,topic=t, status=failed", "topic"),
        ("status=succeeded&ref=r&topic=t&result=failed", "result"),
        ("ref=r&topic=t&", "query"),
    ] {
        for method in ["POST", "GET", "HEAD"] {
            for get in ["complete", "confirm"] {
                let _row = row(format!("{method} with {query}, callback_get={get}"));
                let world = World::new().setting("callback_get", get);
                let headers = [JSON, ("accept", "application/json")];
                let uri = format!("/api/v2/callback?{}", query.replace(' ', "%20"));
                let reply = world.send(request(method, &uri, &headers, "{}"));
                assert_eq!(reply.status(), 400);
                assert_eq!(reply.log["problem"], "invalid-parameter");
                if method != "HEAD" {
                    assert_eq!(reply.problem(400, "invalid-parameter")["field"], field);
                }
                world.assert_untouched();
            }
        }
    }
}

#[on_each_store]
fn body_of_a_webhook_that_is_no_object_names_the_setting() {
    for (body, detail) in [("[1]", "an array"), ("null", "null"), ("7", "a number")] {
        let world = World::new();
        let problem = world.post_json(WEBHOOK_URI, body).problem(400, "invalid-body");
        let text = problem["detail"].as_str().unwrap();
        assert!(text.contains(detail) && text.contains("`webhook_any_json`"), "{problem}");
        world.assert_untouched();
    }
    let world = World::new().setting("webhook_any_json", "yes");
    world.post_json(WEBHOOK_URI, "[]").wrong_setting("webhook_any_json");
    // Any JSON value is not any text, and no other endpoint takes it.
    let on = || World::new().setting("webhook_any_json", true);
    let deep = format!("{}{}", "[".repeat(129), "]".repeat(129));
    for (uri, body, detail) in [
        (WEBHOOK_URI, "", "must be JSON, but it is empty"),
        (WEBHOOK_URI, "[1", "EOF"),
        (WEBHOOK_URI, "1 2", "trailing"),
        (WEBHOOK_URI, &*deep, "deeper than 128"),
        (EVENT_URI, "[1]", "its element 0 is a number"),
        (CALLBACK_URI, "[1]", "an array"),
    ] {
        let _row = row(format!("{body} at {uri}"));
        let world = on();
        let problem = world.post_json(uri, body).problem(400, "invalid-body");
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{problem}");
        world.assert_untouched();
    }
}

#[on_each_store]
fn dedup_is_on_or_off() {
    for uri in [WEBHOOK_URI, EVENT_URI] {
        for value in ["", "false", "0", "OFF", "off%20", "no"] {
            let _row = row(format!("{uri}&dedup={value}"));
            let world = World::new();
            let problem = world.post_json(&format!("{uri}&dedup={value}"), EVENT).problem(400, "invalid-parameter");
            assert_eq!(problem["field"], "dedup");
            world.assert_untouched();
        }
        for value in ["on", "off"] {
            let world = World::new().respond(200, RUN);
            assert_eq!(world.post_json(&format!("{uri}&dedup={value}"), EVENT).status(), 200, "{uri} {value}");
        }
    }
}

#[on_each_store]
fn idempotency_key_is_one_visible_text() {
    let (longest, long) = ("k".repeat(255), "k".repeat(256));
    for (keys, detail) in [
        (&[""][..], "is empty"),
        (&["  "], "is empty"),
        (&["\"\""], "is empty"),
        (&["a", "a"], "more than once"),
        (&[&long], "too long"),
        (&["k\u{e9}y"], "a character that is not visible ASCII"),
        (&["a\tb"], "a character that is not visible ASCII"),
    ] {
        let _row = row(format!("{keys:?}"));
        let world = World::new();
        let headers: Vec<_> = std::iter::once(JSON).chain(keys.iter().map(|key| ("idempotency-key", *key))).collect();
        let problem = world.post(WEBHOOK_URI, &headers, "{}").problem(400, "invalid-parameter");
        assert_eq!(problem["field"], "Idempotency-Key");
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{problem}");
        world.assert_untouched();
    }
    for key in ["k", "\"a b\"", "8e03978e-40d5-43dd-bc93-6894a57f9324", &longest] {
        let world = World::new().respond(200, RUN);
        assert_eq!(world.post(WEBHOOK_URI, &[JSON, ("idempotency-key", key)], "{}").status(), 200, "{key}");
    }
}

#[on_each_store]
fn invalid_event_names_the_attribute() {
    for (event, kind, field) in [
        (r#"{"id":"1","source":"/s","type":"t"}"#, "invalid-event", "specversion"),
        (r#"{"specversion":"1.0","source":"/s","type":"t"}"#, "invalid-event", "id"),
        (r#"{"specversion":"1.0","id":"","source":"/s","type":"t"}"#, "invalid-event", "id"),
        (r#"{"specversion":"1.0","id":null,"source":"/s","type":"t"}"#, "invalid-event", "id"),
        (r#"{"specversion":"1.0","id":7,"source":"/s","type":"t"}"#, "invalid-event", "id"),
        (r#"{"specversion":"1.0","id":"\ud800","source":"/s","type":"t"}"#, "invalid-event", "id"),
        (r#"{"specversion":"1.0","id":"1","type":"t"}"#, "invalid-event", "source"),
        (r#"{"specversion":"1.0","id":"1","source":"/s"}"#, "invalid-event", "type"),
        (r#"{"specversion":"2.0","id":"1","source":"/s","type":"t"}"#, "invalid-event", "specversion"),
        (r#"{"specversion":"1.0","id":"1","i\u0064":"2","source":"/s","type":"t"}"#, "invalid-event", "id"),
        (r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":{}}"#, "invalid-event", "subject"),
        (r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"/../x"}"#, "invalid-event", "subject"),
        (r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"//"}"#, "invalid-event", "subject"),
        (r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":1,"data":2}"#, "invalid-event", "data"),
        (
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":1,"data_base64":"YQ=="}"#,
            "invalid-event",
            "data_base64",
        ),
        (
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"?"}"#,
            "invalid-event",
            "data_base64",
        ),
        (r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#, "missing-parameter", "ref"),
    ] {
        let _row = row(event);
        let world = World::new();
        assert_eq!(world.post_json("/api/v2/event", event).problem(400, kind)["field"], field);
        world.assert_untouched();
    }
}

#[on_each_store]
fn invalid_binary_event_names_the_attribute() {
    let good = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t"), JSON];
    let without = |name: &str| good.iter().copied().filter(|(had, _)| *had != name).collect::<Vec<_>>();
    let with = |name: &'static str, value: &'static str| {
        let mut headers = without(name);
        headers.push((name, value));
        headers
    };
    let mut doubled = good.to_vec();
    doubled.push(("ce-id", "2"));
    for (headers, field) in [
        (without("ce-specversion"), "specversion"),
        (without("ce-id"), "id"),
        (without("ce-source"), "source"),
        (without("ce-type"), "type"),
        (with("ce-specversion", "0.1"), "specversion"),
        (with("ce-id", "%C0%A0"), "id"),
        (with("ce-subject", "a%0Ab"), "subject"),
        (with("ce-datacontenttype", "text/plain"), "datacontenttype"),
        (with("ce-data", "x"), "data"),
        (with("ce-data_base64", "eA=="), "data_base64"),
        (doubled, "id"),
    ] {
        let _row = row(format!("{headers:?}"));
        let world = World::new();
        assert_eq!(world.post(EVENT_URI, &headers, "{}").problem(400, "invalid-event")["field"], field);
        world.assert_untouched();
    }
    let world = World::new();
    assert_eq!(world.post(EVENT_URI, &good, "{").problem(400, "invalid-body")["field"], "body");
    world.assert_untouched();
}
