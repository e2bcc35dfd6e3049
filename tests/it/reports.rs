//! Faults that users of other gateways have reported, each with inputs of its whole kind: damaged links, byte order
//! marks, `Content-Encoding`, content types, web pages, and what is not JSON although it says so.

use crate::fake::{
    BROWSER, CALLBACK_URI, EVENT, EVENT_URI, FORM, JSON, OPERATOR, RUN, Reply, WEBHOOK_URI, World, request, row,
};
use crate::senders::mac_sha256;

const MARK: &str = "\u{feff}";
const BATCH: (&str, &str) = ("content-type", "application/cloudevents-batch+json");
const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json");
const LINKS_URI: &str = "/api/v2/callback-links";

/// Asserts that a request was refused with 400 or 415, and returns the detail.
#[track_caller]
fn refused(reply: &Reply, status: u16, slug: &str) -> String {
    reply.problem(status, slug)["detail"].as_str().unwrap().to_owned()
}

/// The params of the only request to the engine, as they were sent.
#[track_caller]
fn params(world: &World) -> String {
    let body = world.engine.only_request().body;
    let (_, params) = body.split_once(r#""params":"#).unwrap();
    params.split(r#","labels""#).next().unwrap().to_owned()
}

// F2: a damaged link that rejects.

/// One spelling of each damage; the unit tests of `status` combine any two.
const DAMAGED: [&str; 20] = [
    "ref=r&topic=t&amp;status=Failed",
    "ref=r&topic=t&amp%3Bstatus=Failed",
    "ref=r&topic=t&%2338;status=Failed",
    "ref=r&topic=t&Status=Failed",
    "ref=r&topic=t&STATUS=FAILED",
    "ref=r&topic=t&statu=Failed",
    "ref=r&topic=t&state=Failed",
    "ref=r&topic=t&status[]=Failed",
    "ref=r&topic=t?status=Failed",
    "ref=r&topic=t%3Fstatus=Failed",
    "ref=r&topic=t;status=Failed",
    "ref=r&topic=t%26status%3DFailed",
    "ref=r&topic=t&status=3DFailed",
    "ref=r&topic=t&sta=%0D%0Atus=Failed",
    "ref=r&topic=t&%3E+status=Failed",
    "ref=r&topic=t&sta%C2%ADtus=Failed",
    "ref=r&topic=t&%EF%BD%93%EF%BD%94%EF%BD%81%EF%BD%94%EF%BD%95%EF%BD%93=Failed",
    "ref=r&topic=t&status=Failed.",
    "ref=r&topic=t&",
    "ref%3Dr%26topic%3Dt%26status%3DFailed",
];

#[on_each_store]
fn damaged_reject_link_is_refused_however_it_is_opened() {
    for query in DAMAGED {
        for (method, headers) in [
            ("GET", &[][..]),
            ("GET", &[BROWSER]),
            ("GET", &[("sec-purpose", "prefetch")]),
            ("HEAD", &[]),
            ("POST", &[JSON]),
            ("POST", &[]),
            ("POST", &[FORM]),
        ] {
            for get in ["complete", "confirm"] {
                let _row = row(format!("{method} {headers:?} {query} callback_get={get}"));
                let world = World::new().with("callback_get", get);
                let body = if headers.contains(&FORM) {
                    "confirm=yes"
                } else if headers.contains(&JSON) {
                    "{}"
                } else {
                    ""
                };
                let reply = world.send(request(method, &format!("/api/v2/callback?{query}"), headers, body));
                assert_eq!(reply.status(), 400, "{}", reply.text());
                world.assert_untouched();
            }
        }
    }
}

/// Only the query's `status` counts: that of a payload is data for the workflow, as in the contract.
#[on_each_store]
fn status_in_a_payload_is_data() {
    for payload in [r#"{"status":"Failed"}"#, r#"{"status":"failed","why":"no"}"#, r#"{"result":{"status":"failed"}}"#]
    {
        let _row = row(payload);
        for (query, status) in [("", "succeeded"), ("&status=Failed", "failed")] {
            let world = World::new().respond(200, "");
            let reply = world.post_json(&format!("{CALLBACK_URI}{query}"), payload);
            assert_eq!(reply.outcome(), (200, Some("delivered")), "{}", reply.text());
            let sent = world.engine.only_request().body;
            assert!(sent.contains(&format!(r#""status":"{status}""#)) && sent.contains(payload), "{sent}");
        }
    }
}

/// No damage by a mail program changes the answer of a signed link.
#[on_each_store]
fn damaged_signed_link_is_forged() {
    let world =
        World::with_operator().setting("link_secrets", ["s3cret"]).setting("public_url", "https://gate.example");
    let [_, failed] = crate::links::links(&world, r#"{"ref":"r","topic":"t"}"#);
    for (from, to) in [
        ("&status", "&amp;status"),
        ("&status", "&amp%3Bstatus"),
        ("&status", "?status"),
        ("&status", ";status"),
        ("&status=failed", ""),
        ("status", "Status"),
        ("status", "statu"),
        ("status", "status[]"),
        ("status=", "status=3D"),
        ("status=failed", "status=succeeded"),
        ("status=failed", "status=failed&status=succeeded"),
        ("failed", "failed."),
        ("failed", "%66ail"),
        ("&expires", "%26expires"),
        ("&", "&amp;"),
    ] {
        let damaged = failed.replace(from, to);
        assert_ne!(damaged, failed);
        for (method, body) in [("GET", ""), ("HEAD", ""), ("POST", "confirm=yes")] {
            let _row = row(format!("{method} {damaged}"));
            let reply = world.send(request(method, &damaged, &[BROWSER, FORM], body));
            assert_eq!(reply.status(), 403, "{}", reply.text());
            world.assert_untouched();
        }
    }
}

// F5: a byte order mark.

#[on_each_store]
fn byte_order_mark_is_not_passed_on() {
    let event = |rest: &str| format!(r#"{MARK}{{"specversion":"1.0","id":"1","source":"/s","type":"t"{rest}}}"#);
    let binary = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")];
    let with = |header| binary.iter().copied().chain([header]).collect::<Vec<_>>();
    for (name, uri, headers, body, expected) in [
        ("webhook", WEBHOOK_URI, vec![JSON], format!("{MARK}{{\"a\":1}}"), r#"[{"name":"data","value":{"a":1}}]"#),
        (
            "SharePoint's webhook",
            WEBHOOK_URI,
            vec![("content-type", "application/json; charset=utf-8")],
            format!("{MARK}{{\"value\":[]}}\r\n"),
            r#"[{"name":"data","value":{"value":[]}}]"#,
        ),
        (
            "a vendor's type",
            WEBHOOK_URI,
            vec![("content-type", "application/vnd.x+json")],
            format!("{MARK} {{}}"),
            r#"[{"name":"data","value":{}}]"#,
        ),
        ("structured event", EVENT_URI, vec![STRUCTURED], event(""), r#"[{"name":"event","value":{"specv"#),
        ("structured event as JSON", EVENT_URI, vec![JSON], event(""), r#"[{"name":"event","value":{"specv"#),
        (
            "binary event",
            EVENT_URI,
            with(JSON),
            format!("{MARK}[1]"),
            r#""datacontenttype":"application/json","data":[1]}},{"name":"data","value":[1]}"#,
        ),
        (
            "binary event with text",
            EVENT_URI,
            with(("content-type", "text/plain")),
            format!("{MARK}hi"),
            r#""data":"hi"}},{"name":"data","value":"hi"}"#,
        ),
    ] {
        let _row = row(name);
        let world = World::new().respond(200, RUN);
        let reply = world.post(uri, &headers, &body);
        assert_eq!(reply.outcome(), (200, Some("delivered")), "{}", reply.text());
        let sent = params(&world);
        assert!(sent.contains(expected) && !sent.contains(MARK), "{sent}");
    }
    for (name, headers) in [("batch", BATCH), ("batch as JSON", JSON)] {
        let _row = row(name);
        let world = World::new().respond(200, RUN);
        let reply = world.post(EVENT_URI, &[headers], format!("{MARK}[{EVENT}]"));
        assert_eq!(reply.status(), 200, "{}", reply.text());
        assert!(params(&world).starts_with(&format!(r#"[{{"name":"event","value":{EVENT}}}"#)));
    }
    let world = World::new().respond(200, "");
    assert_eq!(world.post_json(CALLBACK_URI, format!("{MARK}{{\"a\":1}}")).status(), 200);
    assert!(world.engine.only_request().body.contains(r#"[{"name":"data","value":{"a":1}}]"#));
    let world = World::with_operator().setting("link_secrets", ["s"]).setting("public_url", "https://gate.example");
    let reply = world.post(LINKS_URI, &[OPERATOR, JSON], format!("{MARK}{{\"ref\":\"r\",\"topic\":\"t\"}}"));
    assert_eq!(reply.status(), 200, "{}", reply.text());
}

#[on_each_store]
fn byte_order_mark_of_another_encoding_is_named() {
    for (bytes, name) in [
        (&b"\xff\xfe{\0}\0"[..], "UTF-16 (little-endian)"),
        (b"\xfe\xff\0{\0}", "UTF-16 (big-endian)"),
        (b"\xff\xfe\0\0{\0\0\0}\0\0\0", "UTF-32 (little-endian)"),
        (b"\0\0\xfe\xff\0\0\0{\0\0\0}", "UTF-32 (big-endian)"),
        (b"{\0}\0", "UTF-16 (little-endian), without a byte order mark"),
    ] {
        let links = World::with_operator().setting("link_secrets", ["s"]).setting("public_url", "https://gate.example");
        for (world, uri, headers) in [
            (World::new(), WEBHOOK_URI, vec![JSON]),
            (World::new(), EVENT_URI, vec![JSON]),
            (World::new(), EVENT_URI, vec![STRUCTURED]),
            (World::new(), EVENT_URI, vec![BATCH]),
            (World::new(), CALLBACK_URI, vec![JSON]),
            (links, LINKS_URI, vec![OPERATOR, JSON]),
        ] {
            let _row = row(format!("{name} at {uri} {headers:?}"));
            let detail = refused(&world.post(uri, &headers, bytes), 400, "invalid-body");
            assert!(detail.contains(&format!("it is in {name}, and must be in UTF-8")), "{detail}");
            world.assert_untouched();
        }
    }
}

#[on_each_store]
fn operators_texts_may_begin_with_a_byte_order_mark() {
    let routes = format!("{MARK}[{{\"workflow\":\"w\",\"from\":\"webhook\"}}]");
    let world = World::new().with("routes", &routes).respond(200, RUN);
    assert_eq!(world.post_json("/api/v2/webhook", "{}").status(), 200);
    let tokens = World::new().with("access_tokens", &format!("{MARK}t0ken\r\n")).respond(200, RUN);
    assert_eq!(tokens.post(WEBHOOK_URI, &[JSON, ("x-access-token", "t0ken")], "{}").status(), 200);
    tokens.post(WEBHOOK_URI, &[JSON], "{}").problem(401, "unauthorized");
    for (variable, value) in [("operator_token", "op3rator"), ("callback_get", "confirm"), ("max_body_bytes", "7")] {
        let _row = row(variable);
        let world = World::new().with(variable, &format!("{MARK}{value}"));
        assert_eq!(world.get("/readyz").json()["errors"], serde_json::Value::Null, "{}", world.get("/readyz").text());
    }
}

// F7: `Content-Encoding`.

#[on_each_store]
fn value_of_content_encoding_is_named() {
    for (value, detail) in [
        ("UTF-8", "`UTF-8` is no content coding, that belongs in Content-Type"),
        ("utf8", "`utf8` is no content coding, that belongs in Content-Type"),
        ("iso-8859-1", "`iso-8859-1` is no content coding"),
        ("application/json", "a media type belongs in Content-Type"),
        ("chunked", "that belongs in Transfer-Encoding"),
        ("none", "`none` is no content coding"),
        ("gzip", "the content coding `gzip` is not supported"),
        ("X-GZIP", "the content coding `X-GZIP` is not supported"),
        ("identity, br", "the content coding `br` is not supported"),
        ("zstd,", "the content coding `zstd` is not supported"),
    ] {
        for uri in [WEBHOOK_URI, EVENT_URI, CALLBACK_URI] {
            let _row = row(format!("{value} at {uri}"));
            let world = World::new();
            let reply = world.post(uri, &[JSON, ("content-encoding", value)], EVENT);
            let text = refused(&reply, 415, "unsupported-media-type");
            assert!(text.contains(detail) && !text.contains("compressed"), "{text}");
            assert_eq!(reply.json()["field"], "Content-Encoding");
            assert_eq!(reply.header("accept-encoding"), Some("identity"));
            world.assert_untouched();
        }
    }
    let twice = [JSON, ("content-encoding", "identity"), ("content-encoding", "gzip")];
    World::new().post(WEBHOOK_URI, &twice, "{}").problem(415, "unsupported-media-type");
    for values in [&["identity"][..], &["IDENTITY"], &[""], &["identity, identity"], &["identity", ""], &[" , "]] {
        let _row = row(format!("{values:?}"));
        let world = World::new().respond(200, RUN);
        let headers: Vec<_> =
            [JSON].into_iter().chain(values.iter().map(|value| ("content-encoding", *value))).collect();
        assert_eq!(world.post(WEBHOOK_URI, &headers, "{}").status(), 200);
    }
}

// Content types.

#[on_each_store]
fn content_type_is_read_by_its_grammar() {
    for values in [
        &["application/json;;charset=utf-8"][..],
        &["application/json;"],
        &["application/json ; ; charset=UTF-8"],
        &["application/json, application/json"],
        &["application/json", "application/json; charset=utf-8"],
        &["application/vnd.docker.distribution.events.v2+json"],
        &["application/vnd.api+json; charset=utf-8"],
        &["application/problem+json"],
        &["application/scim+JSON"],
        &["text/vnd.x+json"],
    ] {
        for uri in [WEBHOOK_URI, CALLBACK_URI] {
            let _row = row(format!("{values:?} at {uri}"));
            let world = World::new().respond(200, if uri == WEBHOOK_URI { RUN } else { "" });
            let headers: Vec<_> = values.iter().map(|value| ("content-type", *value)).collect();
            let reply = world.post(uri, &headers, "{}");
            assert_eq!(reply.outcome(), (200, Some("delivered")), "{}", reply.text());
        }
    }
    for (values, detail) in [
        (&["application/json; charset=iso-8859-1"][..], "the charset `iso-8859-1` is not supported"),
        (&["application/json; charset=UTF-16"], "the charset `UTF-16` is not supported"),
        (&["application/json; charset=\"windows-1252\""], "the charset `windows-1252` is not supported"),
        (&["application/x+json; charset=utf-8; charset=latin1"], "the charset `latin1` is not supported"),
        (&["application/json, text/plain"], "the Content-Type occurs twice, with different values"),
        (&["application/json", "application/x-www-form-urlencoded"], "the Content-Type occurs twice"),
        (&["application/cloudevents+json"], "the body is a CloudEvent by its Content-Type: send it to /api/v2/event"),
        (&["text/json"], "the Content-Type is \"text/json\""),
        (&["text/plain"], "the Content-Type is \"text/plain\""),
        (&["application/json;charset"], "the Content-Type is \"application/json;charset\""),
    ] {
        let _row = row(format!("{values:?}"));
        let world = World::new();
        let headers: Vec<_> = values.iter().map(|value| ("content-type", *value)).collect();
        let reply = world.post(WEBHOOK_URI, &headers, "{}");
        let text = refused(&reply, 415, "unsupported-media-type");
        assert!(text.starts_with(detail), "{text}");
        assert_eq!(
            (reply.json()["field"].as_str(), reply.header("accept-post")),
            (Some("Content-Type"), Some("application/json"))
        );
        world.assert_untouched();
    }
}

// Events.

#[on_each_store]
fn array_of_events_as_plain_json_is_a_batch() {
    let second = EVENT.replace(r#""id":"1""#, r#""id":"2""#);
    for (body, events) in [
        (format!("[{EVENT},{second}]"), 2),
        (format!(" \r\n[{EVENT}]"), 1),
        (format!("{MARK}[{EVENT},{second}]"), 2),
        (format!("[{EVENT},{EVENT}]"), 1),
        ("[]".to_owned(), 0),
    ] {
        let _row = row(&body);
        let [plain, batch] = [JSON, BATCH].map(|content_type| {
            let world = World::new().healthy();
            let reply = world.post(EVENT_URI, &[content_type], &body);
            (reply.status(), reply.header("sluice-outcome").map(str::to_owned), world.engine.take_calls())
        });
        assert_eq!(plain, batch);
        assert_eq!(plain.2.len(), events);
    }
    let world = World::new();
    for (content_type, body, detail) in [
        (STRUCTURED, "[]", "it is an array: send a batch as `application/cloudevents-batch+json`"),
        (BATCH, EVENT, "it is an object: send one event as `application/cloudevents+json`"),
        (JSON, "[1]", "its element 0 is a number"),
        (JSON, "\"a\"", "it is a string, and must be a JSON object"),
        (JSON, "[", "not valid JSON"),
    ] {
        let _row = row(body);
        let text = refused(&world.post(EVENT_URI, &[content_type], body), 400, "invalid-body");
        assert!(text.contains(detail), "{text}");
    }
    // With `ce-` headers the array is the data of a binary event.
    let world = World::new().respond(200, RUN);
    let binary = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t"), JSON];
    assert_eq!(world.post(EVENT_URI, &binary, "[1]").status(), 200);
    assert!(params(&world).contains(r#"{"name":"data","value":[1]}"#));
}

#[on_each_store]
fn time_without_a_zone_is_named() {
    for time in ["2026-11-26T09:30:00", "2026-11-26T09:30:00.123", "2026-11-26 09:30:00", "2026-11-26t09:30:00"] {
        let _row = row(time);
        let world = World::new();
        let event = EVENT.replace('}', &format!(r#","time":"{time}"}}"#));
        let problem = world.post_json(EVENT_URI, event).problem(400, "invalid-event");
        assert_eq!(problem["field"], "time");
        assert!(problem["detail"].as_str().unwrap().contains("has no time zone: append `Z`"), "{problem}");
        world.assert_untouched();
    }
    let world = World::new().respond(200, RUN);
    let event = EVENT.replace('}', r#","time":"2026-11-26T09:30:00+02:00"}"#);
    assert_eq!(world.post_json(EVENT_URI, event).status(), 200);
}

// Callbacks.

#[on_each_store]
fn post_without_a_body_completes_as_get_does() {
    let sent = |method: &str, headers: &[(&str, &str)], uri: &str| {
        let world = World::new().respond(200, "");
        let reply = world.send(request(method, uri, headers, ""));
        assert_eq!(reply.outcome(), (200, Some("delivered")), "{}", reply.text());
        world.engine.only_request().body
    };
    for uri in [CALLBACK_URI, &format!("{CALLBACK_URI}&status=Failed")] {
        let _row = row(uri);
        let by_get = sent("GET", &[], uri);
        assert_eq!(sent("POST", &[], uri), by_get);
        assert_eq!(sent("POST", &[("content-length", "0")], uri), by_get);
    }
    // The same callback, so a repeat.
    let world = World::new().respond(200, "");
    assert_eq!(world.get(CALLBACK_URI).outcome(), (200, Some("delivered")));
    assert_eq!(world.post(CALLBACK_URI, &[], "").outcome(), (200, Some("duplicate")));
    for (headers, body, status, slug) in [
        (&[][..], "{}", 415, "unsupported-media-type"),
        (&[], " ", 415, "unsupported-media-type"),
        (&[JSON], "", 400, "invalid-body"),
        (&[FORM], "", 415, "unsupported-media-type"),
        (&[("content-type", "text/plain")], "", 415, "unsupported-media-type"),
    ] {
        let _row = row(format!("{headers:?} {body:?}"));
        let world = World::new();
        world.post(CALLBACK_URI, headers, body).problem(status, slug);
        world.assert_untouched();
    }
}

/// A decision is final: whoever approved can't revoke it, since the workflow may have gone on.
#[on_each_store]
fn approval_can_not_be_revoked() {
    for (second, body, method) in [
        ("&status=Failed", "", "GET"),
        ("&status=failed", "{}", "POST"),
        ("&status=Failed", r#"{"reason":"revoked"}"#, "POST"),
        ("&status=Succeeded", r#"{"revoked":true}"#, "POST"),
        ("", r#"{"a":1}"#, "POST"),
    ] {
        let _row = row(format!("{method} {second} {body}"));
        let world = World::new().respond(200, "");
        assert_eq!(world.get(CALLBACK_URI).outcome(), (200, Some("delivered")));
        world.engine.take_calls();
        let headers: &[_] = if body.is_empty() { &[] } else { &[JSON] };
        let reply = world.send(request(method, &format!("{CALLBACK_URI}{second}"), headers, body));
        reply.problem(409, "callback-conflict");
        assert_eq!(reply.header("sluice-outcome"), Some("rejected"));
        assert!(world.engine.take_calls().iter().all(|call| !call.contains("event")), "nothing is sent");
    }
}

/// Payloads are compared byte for byte.
#[on_each_store]
fn payload_that_is_written_anew_is_another_one() {
    let first = r#"{"a":1,"b":"é"}"#;
    for again in [r#"{"b":"é","a":1}"#, r#"{"a": 1, "b": "é"}"#, r#"{"a":1,"b":"\u00e9"}"#, r#"{"a":1.0,"b":"é"}"#] {
        let _row = row(again);
        let world = World::new().healthy();
        let key = ("idempotency-key", "k-1");
        assert_eq!(world.post(WEBHOOK_URI, &[JSON, key], first).status(), 200);
        let detail = refused(&world.post(WEBHOOK_URI, &[JSON, key], again), 422, "idempotency-key-reused");
        assert!(detail.contains("byte for byte"), "{detail}");
        // White space and a byte order mark around the payload are no part of it.
        let same = world.post(WEBHOOK_URI, &[JSON, key], format!("{MARK} {first}\n"));
        assert_eq!(same.outcome(), (200, Some("duplicate")));
    }
    let world = World::new().respond(200, "");
    assert_eq!(world.post_json(CALLBACK_URI, first).status(), 200);
    let detail = refused(&world.post_json(CALLBACK_URI, r#"{"b":"é","a":1}"#), 409, "callback-conflict");
    assert!(detail.contains("byte for byte"), "{detail}");
}

// Web pages.

const PAGE: (&str, &str) = ("origin", "https://app.example");

fn shared(origins: &str) -> World {
    World::new().with("settings", &format!(r#"{{"cors_origins":{origins}}}"#)).with("access_tokens", "t0ken")
}

#[on_each_store]
fn page_of_an_allowed_origin_may_deliver() {
    for (uri, methods) in [
        (WEBHOOK_URI, "GET, HEAD, POST"),
        (EVENT_URI, "POST"),
        (CALLBACK_URI, "GET, HEAD, POST"),
        ("/api/v2/callback", "GET, HEAD, POST"),
        ("/api/v2/webhook", "GET, HEAD, POST"),
    ] {
        for origins in [r#"["https://app.example"]"#, r#"["http://x", "https://App.example:443/"]"#, r#"["*"]"#] {
            let _row = row(format!("{uri} {origins}"));
            let world = shared(origins);
            let asked = "content-type, idempotency-key, x-access-token";
            let preflight =
                [PAGE, ("access-control-request-method", "POST"), ("access-control-request-headers", asked)];
            let reply = world.send(request("OPTIONS", uri, &preflight, ""));
            assert_eq!((reply.status(), reply.text()), (204, ""));
            assert_eq!(reply.header("access-control-allow-origin"), Some(PAGE.1));
            assert_eq!(reply.header("access-control-allow-methods"), Some(methods));
            assert_eq!(reply.header("access-control-allow-headers"), Some(asked));
            assert_eq!(reply.header("access-control-max-age"), Some("600"));
            assert_eq!(reply.header("access-control-allow-credentials"), None);
            assert_eq!(reply.header("vary"), Some("origin"));
            world.assert_untouched();
        }
    }
    // The page may read the response, also that of a refusal.
    let world = shared(r#"["https://app.example"]"#).respond(200, RUN);
    let token = ("x-access-token", "t0ken");
    let accepted = world.post(WEBHOOK_URI, &[JSON, PAGE, token], "{}");
    let refused = world.post(WEBHOOK_URI, &[JSON, PAGE], "{}");
    refused.problem(401, "unauthorized");
    for reply in [accepted, refused] {
        assert_eq!(reply.header("access-control-allow-origin"), Some(PAGE.1));
        assert!(reply.header("access-control-expose-headers").unwrap().contains("sluice-outcome"));
        assert_eq!(reply.header("vary"), Some("origin"));
    }
}

#[on_each_store]
fn page_of_another_origin_may_not_deliver() {
    let method = ("access-control-request-method", "POST");
    for uri in [WEBHOOK_URI, EVENT_URI, CALLBACK_URI] {
        for origin in ["https://evil.example", "http://app.example", "https://app.example:8443", "null", "*"] {
            let _row = row(format!("{origin} at {uri}"));
            let world = shared(r#"["https://app.example"]"#);
            let reply = world.send(request("OPTIONS", uri, &[("origin", origin), method], ""));
            assert_eq!(reply.problem(403, "origin-not-allowed")["field"], "Origin");
            let answered = world.post(uri, &[JSON, ("origin", origin)], EVENT);
            for reply in [reply, answered] {
                assert_eq!(reply.header("access-control-allow-origin"), None);
                assert_eq!(reply.header("vary"), Some("origin"));
            }
            world.assert_untouched();
        }
        // By default there is no CORS.
        let _row = row(uri);
        let world = World::new();
        let reply = world.send(request("OPTIONS", uri, &[PAGE, method], ""));
        reply.problem(405, "method-not-allowed");
        let plain = world.respond(200, RUN).post(uri, &[JSON, PAGE], EVENT);
        for reply in [reply, plain] {
            assert_eq!((reply.header("access-control-allow-origin"), reply.header("vary")), (None, None));
        }
    }
    for path in [LINKS_URI, "/api/v2/callback/link", "/api/v2/deliveries", "/readyz", "/nowhere"] {
        let _row = row(path);
        let reply = shared(r#"["*"]"#).send(request("OPTIONS", path, &[PAGE, method], ""));
        assert!(matches!(reply.status(), 404 | 405), "{}", reply.status());
        assert_eq!(reply.header("access-control-allow-origin"), None);
    }
    let world = shared(r#"["app.example"]"#);
    let reply = world.send(request("OPTIONS", WEBHOOK_URI, &[PAGE, method], ""));
    assert_eq!(reply.problem(503, "configuration")["field"], "settings");
}

// Bodies of signed senders.

#[on_each_store]
fn signature_covers_the_byte_order_mark() {
    for body in
        ["\u{feff}{\"a\":1}", "\u{feff} {\"a\":1}\n", "\u{feff}{\"a\":\"é\"}", "\u{feff}{}", "\u{feff}{\"b\":[]}"]
    {
        let _row = row(body);
        let sign = |bytes: &str| format!("sha256={}", mac_sha256("s3cret", bytes.as_bytes()));
        let post = |signed: &str| {
            let world = World::new().source_of("github", ["s3cret"]).respond(200, RUN);
            let signature = sign(signed);
            let headers = [JSON, ("x-github-event", "push"), ("x-hub-signature-256", &signature)];
            let reply = world.post(WEBHOOK_URI, &headers, body);
            (reply, world)
        };
        let (reply, world) = post(body);
        assert_eq!(reply.outcome(), (200, Some("delivered")), "{}", reply.text());
        assert!(!world.engine.only_request().body.contains(MARK));
        let (reply, world) = post(body.trim_start_matches(MARK));
        reply.problem(401, "invalid-signature");
        world.assert_untouched();
    }
}
