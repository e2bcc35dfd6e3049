//! The four endpoints of the contract, and the request that the engine gets for each.

use crate::fake::{CALLBACK_URI, EVENT_URI, HOUR, JSON, RUN, Received, WEBHOOK_URI, World, label, row};

const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"/wf/topic","data":{"a":1}}"#;

/// JSON that a parser would change: 20-digit integers, exponents, doubles, repeated and odd keys, astral Unicode, white
/// space.
const ODD: &str = "{ \"n\":12345678901234567890 ,\"f\":1.417566161e9,\"d\":1,\"d\":2,\"\":0,\"a\\u0000b\":\"\u{1F600}\\ud83d\\ude00\",\n\"z\":-0.0}";

fn delivered() -> World {
    World::new().respond(200, RUN)
}

#[on_each_store]
fn webhook_starts_a_run() {
    let world = delivered();
    let reply = world.post_json("/api/v2/webhook?ref=build", r#"{"a":1}"#);
    assert_eq!((reply.status(), reply.text()), (200, RUN));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("sluice-outcome"), Some("delivered"));
    let id = reply.delivery();
    let sent = world.engine.only_request();
    assert_eq!(
        (sent.method.as_str(), sent.url.as_str()),
        ("POST", "http://127.0.0.1:7701/api/v1/workflow/build/submit?start=false")
    );
    let expected = format!(
        r#"{{"trigger":"webhook","params":[{{"name":"data","value":{{"a":1}}}}],"labels":{{"sluice.dev/delivery":"{id}"}}}}"#
    );
    assert_eq!(sent.body, expected);
    assert!(world.is_store_unused(), "a webhook without a key used the store");
}

#[on_each_store]
fn payloads_pass_through_byte_for_byte() {
    let world = delivered();
    world.post_json("/api/v2/webhook?ref=build", format!("  {ODD}\r\n"));
    assert!(world.engine.only_request().body.contains(&format!(r#"[{{"name":"data","value":{ODD}}}]"#)));

    let world = delivered();
    let event = format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t","x": -12 ,"data":{ODD}}}"#);
    world.post("/api/v2/event?ref=build", &[("content-type", "application/cloudevents+json")], &event);
    let body = world.engine.only_request().body;
    assert!(
        body.contains(&format!(r#"{{"name":"event","value":{event}}},{{"name":"data","value":{ODD}}},"#)),
        "{body}"
    );

    let world = World::new().respond(200, "");
    world.post_json(CALLBACK_URI, ODD);
    assert!(world.engine.only_request().body.contains(&format!(r#"[{{"name":"data","value":{ODD}}}]"#)));
}

#[on_each_store]
fn workflow_and_run_are_also_known_by_the_names_of_flow() {
    for uri in [WEBHOOK_URI, EVENT_URI] {
        for names in ["workflow=wf", "workflow=wf&ref=wf"] {
            let world = World::new().healthy();
            let uri = uri.replace("ref=w", names);
            assert_eq!(world.post_json(&uri, EVENT).status(), 200, "{uri}");
            assert_eq!(world.engine.targets(), ["wf"], "{uri}");
        }
    }
    for query in ["workflowrun=run1&topic=t", "ref=run1&workflowrun=run1&topic=t", "workflowrun=run1,topic=t"] {
        let world = World::new().healthy();
        assert_eq!(world.get(&format!("/api/v2/callback?{query}")).status(), 200, "{query}");
        assert_eq!(world.engine.targets(), ["run1"], "{query}");
    }
}

#[on_each_store]
fn webhook_takes_any_json_if_a_setting_asks_for_it() {
    for json in
        [r#"[ {"email":"a@b","n":12345678901234567890}, {} ]"#, "null", "false", "-1E400", r#""\ud83d\ude00""#, ODD]
    {
        let _row = row(json);
        let world = delivered().setting("webhook_any_json", true);
        assert_eq!(world.post_json(WEBHOOK_URI, format!(" {json}\n")).status(), 200);
        let body = world.engine.only_request().body;
        assert!(body.contains(&format!(r#"[{{"name":"data","value":{json}}}]"#)), "{body}");
        // The same after a stay in the store.
        let world = World::with_operator().setting("webhook_any_json", true).respond(503, "").respond(200, RUN);
        assert_eq!(world.post_json(WEBHOOK_URI, json).status(), 202);
        world.advance(HOUR);
        assert_eq!(world.drain()["delivered"], 1);
        let received = world.engine.received.borrow();
        let bodies: Vec<_> = received.iter().map(|received| received.request.body().clone()).collect();
        assert_eq!(bodies.len(), 2);
        assert_eq!(bodies[0], bodies[1]);
    }
    let world = World::new().healthy().setting("webhook_any_json", true);
    let send = |body: &str| world.post(WEBHOOK_URI, &[JSON, ("idempotency-key", "k")], body);
    assert_eq!(send("[1]").outcome(), (200, Some("delivered")));
    assert_eq!(send("[1]").outcome(), (200, Some("duplicate")));
    send("[2]").problem(422, "idempotency-key-reused");
}

#[on_each_store]
fn event_becomes_params_event_data_and_members_of_data() {
    let world = delivered();
    let event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"b":[1],"event":9,"\u0064ata":9,"b":{"c":2},"a":"x"}}"#;
    let reply = world.post("/api/v2/event?ref=build", &[("content-type", "application/cloudevents+json")], event);
    assert_eq!((reply.status(), reply.text()), (200, RUN));
    let body = world.engine.only_request().json();
    assert_eq!(body["trigger"], "event");
    let names: Vec<_> =
        body["params"].as_array().unwrap().iter().map(|param| param["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["event", "data", "b", "a"]);
    assert_eq!(body["params"][2]["value"], serde_json::json!({"c": 2}), "the last of two equal members");
}

#[on_each_store]
fn label_of_an_event_is_the_hash_of_the_key() {
    let label_and_id = |uri: &str, event: &str| {
        let world = delivered();
        let reply = world.post_json(uri, event);
        assert_eq!(reply.outcome(), (200, Some("delivered")));
        let body = world.engine.only_request().json();
        assert_eq!(body["labels"].as_object().unwrap().len(), 1);
        (label(&body).to_owned(), reply.delivery())
    };
    let (first, id) = label_and_id("/api/v2/event", EVENT);
    assert!(first.len() == 52 && first.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{first}");
    assert_ne!(first, id);
    assert_eq!(label_and_id("/api/v2/event?ref=wf", &EVENT.replace("\"t\"", "\"u\"")).0, first, "the same event");
    assert_ne!(label_and_id("/api/v2/event?ref=other", EVENT).0, first, "another workflow");
    let (unkeyed, id) = label_and_id("/api/v2/event?dedup=off", EVENT);
    assert_eq!(unkeyed, id);
}

#[on_each_store]
fn content_types_of_the_contract_are_accepted() {
    for content_type in [
        "application/json",
        "application/json;charset=utf-8",
        "application/json; charset=utf-8",
        "application/cloudevents+json",
        "application/cloudevents+json;charset=utf-8",
        "application/cloudevents+json; charset=UTF-8",
    ] {
        let _row = row(content_type);
        let world = delivered();
        let reply = world.post("/api/v2/event", &[("content-type", content_type)], EVENT);
        assert_eq!(reply.status(), 200, "{}", reply.text());
        assert!(world.engine.only_request().url.ends_with("/workflow/wf/submit?start=false"));
    }
    for content_type in ["application/json", "application/json;charset=utf-8", "application/json; charset=utf-8"] {
        let _row = row(content_type);
        let world = World::new().respond(200, "").respond(200, RUN);
        assert_eq!(world.post(CALLBACK_URI, &[("content-type", content_type)], "{}").status(), 200);
        assert_eq!(world.post(WEBHOOK_URI, &[("content-type", content_type)], "{}").status(), 200);
    }
}

#[on_each_store]
fn subject_names_the_workflow_unless_ref_does() {
    for (query, subject, workflow) in [
        ("", "/wf/topic", "wf"),
        ("", "wf/topic/more", "wf"),
        ("", "wf", "wf"),
        ("", "//wf//", "wf"),
        ("", "/my flow/t", "my%20flow"),
        ("?ref=other", "/wf/topic", "other"),
        ("?ref=other", "../..", "other"),
    ] {
        let _row = row(format!("{subject} with {query:?}"));
        let world = delivered();
        let event = EVENT.replace("/wf/topic", subject);
        let reply = world.post_json(&format!("/api/v2/event{query}"), event);
        assert_eq!(reply.status(), 200, "{}", reply.text());
        assert!(world.engine.only_request().url.contains(&format!("/workflow/{workflow}/submit")));
    }
}

#[on_each_store]
fn binary_event_becomes_json_format() {
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "A%20%E2%82%AC"),
        ("ce-source", "/s"),
        ("ce-type", "\"com \\\"x\\\"\""),
        ("ce-subject", "/wf/t"),
        ("ce-zeta", "9"),
        ("ce-alpha", "x"),
    ];
    let attributes =
        r#""specversion":"1.0","id":"A €","source":"/s","type":"com \"x\"","subject":"/wf/t","alpha":"x","zeta":"9""#;
    for (content_type, body, members, data) in [
        ("application/json; charset=utf-8", "{\"n\": 1e3}", r#""data":{"n": 1e3}"#, "{\"n\": 1e3}"),
        ("application/vnd.x+json", "[1]", r#""data":[1]"#, "[1]"),
        ("text/plain", "a\"b", r#""data":"a\"b""#, r#""a\"b""#),
        ("application/xml", "<a/>", r#""data":"<a/>""#, r#""<a/>""#),
        ("application/octet-stream", "abc", r#""data_base64":"YWJj""#, r#""YWJj""#),
        ("text/plain; charset=iso-8859-1", "abc", r#""data_base64":"YWJj""#, r#""YWJj""#),
    ] {
        let _row = row(content_type);
        let world = delivered();
        let mut headers = headers.to_vec();
        headers.push(("content-type", content_type));
        let reply = world.post("/api/v2/event", &headers, body);
        assert_eq!(reply.status(), 200, "{}", reply.text());
        let expected = format!(
            r#"{{"name":"event","value":{{{attributes},"datacontenttype":"{content_type}",{members}}}}},{{"name":"data","value":{data}}}"#
        );
        let sent = world.engine.only_request().body;
        assert!(sent.contains(&expected), "{sent}\n{expected}");
    }
}

#[on_each_store]
fn binary_event_may_have_no_data_or_untyped_bytes() {
    let headers = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")];
    let world = delivered();
    assert_eq!(world.post(EVENT_URI, &headers, "").status(), 200);
    assert!(world.engine.only_request().body.contains(r#""type":"t"}},{"name":"data","value":null}]"#));
    let world = delivered();
    assert_eq!(world.post(EVENT_URI, &headers, b"\xff\x00").status(), 200);
    assert!(world.engine.only_request().body.contains(r#""data_base64":"/wA="}},{"name":"data","value":"/wA="}]"#));
}

#[on_each_store]
fn data_base64_is_preserved() {
    let world = delivered();
    let event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"/wA=","data":null}"#;
    let reply = world.post_json(EVENT_URI, event.replace(r#","data":null"#, ""));
    assert_eq!(reply.status(), 200, "{}", reply.text());
    assert!(world.engine.only_request().body.contains(r#""data_base64":"/wA="}},{"name":"data","value":"/wA="}]"#));
}

#[on_each_store]
fn callback_resolves_a_waiting_task() {
    for (query, status) in [
        ("ref=run1&topic=ok&status=Succeeded", "succeeded"),
        ("ref=run1&topic=ok&status=FAILED", "failed"),
        ("ref=run1&topic=ok", "succeeded"),
        ("ref=run1,topic=ok,status=failed", "failed"),
        ("ref=run1,topic=ok", "succeeded"),
    ] {
        let _row = row(query);
        let world = World::new().respond(200, "");
        let reply = world.post_json(&format!("/api/v2/callback?{query}"), r#"{"by":"me"}"#);
        assert_eq!((reply.status(), reply.text()), (200, ""));
        let sent = world.engine.only_request();
        assert_eq!(
            (sent.method.as_str(), sent.url.as_str()),
            ("PUT", "http://127.0.0.1:7701/api/v1/workflowrun/run1/event")
        );
        let expected =
            format!(r#"{{"topic":"ok","status":"{status}","results":[{{"name":"data","value":{{"by":"me"}}}}]}}"#);
        assert_eq!(sent.body, expected);
    }
}

#[on_each_store]
fn get_callback_has_no_results() {
    let world = World::new().respond(200, "{}");
    let reply = world.get("/api/v2/callback?ref=run1,topic=a%20b,status=Failed");
    assert_eq!((reply.status(), reply.text(), reply.header("cache-control")), (200, "", Some("no-store")));
    assert_eq!(world.engine.only_request().body, r#"{"topic":"a b","status":"failed","results":[]}"#);
}

#[on_each_store]
fn engine_settings_and_trace_headers_reach_the_engine() {
    let world = delivered()
        .with("engine_url", "https://engine.example:8443/")
        .with("engine_token", "t0ken")
        .setting("engine_start", true)
        .setting("engine_connect_ms", 11)
        .setting("engine_timeout_ms", 22);
    let trace = [
        ("content-type", "application/json"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "a=1"),
        ("tracestate", "b=2"),
        ("authorization", "Bearer of-the-sender"),
        ("x-forwarded-for", "10.0.0.1"),
    ];
    assert_eq!(world.post(WEBHOOK_URI, &trace, "{}").status(), 200);
    let received = world.engine.received.borrow();
    let Received { request, timeouts, .. } = &received[0];
    assert_eq!(request.uri(), "https://engine.example:8443/api/v1/workflow/w/submit?start=true");
    assert_eq!((timeouts.connect.as_millis(), timeouts.total.as_millis()), (11, 22));
    let mut headers: Vec<_> =
        request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    let mut expected = [
        ("authorization", "Bearer t0ken"),
        ("content-type", "application/json"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "a=1"),
        ("tracestate", "b=2"),
    ];
    headers.sort_unstable();
    expected.sort_unstable();
    assert_eq!(headers, expected, "no other header of the sender is passed on");
}
