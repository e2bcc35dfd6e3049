//! The four endpoints as the contract has them, and what the engine gets for each.

use serde_json::Value;

use crate::fake::{RUN, World};

const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"/wf/topic","data":{"a":1}}"#;

/// 20-digit integers, exponents, doubles, odd keys, astral Unicode, white space.
const ODD: &str = "{ \"n\":12345678901234567890 ,\"f\":1.417566161e9,\"d\":1,\"d\":2,\"\":0,\"a\\u0000b\":\"\u{1F600}\\ud83d\\ude00\",\n\"z\":-0.0}";

fn delivered() -> World {
    World::new().answers(200, RUN)
}

#[test]
fn webhook_starts_a_run() {
    let world = delivered();
    let reply = world.json("/api/v2/webhook?ref=build", r#"{"a":1}"#);
    assert_eq!((reply.status(), reply.text()), (200, RUN));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("sluice-outcome"), Some("delivered"));
    let id = reply.header("sluice-delivery").unwrap().to_owned();
    let (method, url, body) = world.only_sent();
    assert_eq!(
        (method.as_str(), url.as_str()),
        ("POST", "http://127.0.0.1:7701/api/v1/workflow/build/submit?start=false")
    );
    let expected = format!(
        r#"{{"trigger":"webhook","params":[{{"name":"data","value":{{"a":1}}}}],"labels":{{"sluice.dev/delivery":"{id}"}}}}"#
    );
    assert_eq!(body, expected);
    assert!(world.operations.borrow().is_empty(), "a plain webhook costs no store");
}

#[test]
fn payloads_pass_through_byte_for_byte() {
    let world = delivered();
    world.json("/api/v2/webhook?ref=build", format!("  {ODD}\r\n"));
    assert!(world.only_sent().2.contains(&format!(r#"[{{"name":"data","value":{ODD}}}]"#)));

    let world = delivered();
    let event = format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t","x": -12 ,"data":{ODD}}}"#);
    world.post("/api/v2/event?ref=build", &[("content-type", "application/cloudevents+json")], &event);
    let body = world.only_sent().2;
    assert!(
        body.contains(&format!(r#"{{"name":"event","value":{event}}},{{"name":"data","value":{ODD}}},"#)),
        "{body}"
    );

    let world = World::new().answers(200, "");
    world.json("/api/v2/callback?ref=r&topic=t", ODD);
    assert!(world.only_sent().2.contains(&format!(r#"[{{"name":"data","value":{ODD}}}]"#)));
}

#[test]
fn event_becomes_params_event_data_and_members_of_data() {
    let world = delivered();
    let event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"b":[1],"event":9,"\u0064ata":9,"b":{"c":2},"a":"x"}}"#;
    let reply = world.post("/api/v2/event?ref=build", &[("content-type", "application/cloudevents+json")], event);
    assert_eq!((reply.status(), reply.text()), (200, RUN));
    let body: Value = serde_json::from_str(&world.only_sent().2).unwrap();
    assert_eq!(body["trigger"], "event");
    let names: Vec<_> =
        body["params"].as_array().unwrap().iter().map(|param| param["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["event", "data", "b", "a"]);
    assert_eq!(body["params"][2]["value"], serde_json::json!({"c": 2}), "of two, the later");
}

#[test]
fn label_of_an_event_is_the_hash_of_the_key() {
    let label = |uri: &str, event: &str| {
        let world = delivered();
        let reply = world.json(uri, event);
        assert_eq!(reply.outcome(), (200, Some("delivered")));
        let body: Value = serde_json::from_str(&world.only_sent().2).unwrap();
        assert_eq!(body["labels"].as_object().unwrap().len(), 1);
        let label = body["labels"]["sluice.dev/delivery"].as_str().unwrap().to_owned();
        (label, reply.header("sluice-delivery").unwrap().to_owned())
    };
    let (first, id) = label("/api/v2/event", EVENT);
    assert!(first.len() == 52 && first.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{first}");
    assert_ne!(first, id);
    assert_eq!(label("/api/v2/event?ref=wf", &EVENT.replace("\"t\"", "\"u\"")).0, first, "the same event");
    assert_ne!(label("/api/v2/event?ref=other", EVENT).0, first);
    let (unkeyed, id) = label("/api/v2/event?dedup=off", EVENT);
    assert_eq!(unkeyed, id);
}

#[test]
fn content_types_of_the_contract_are_accepted() {
    for content_type in [
        "application/json",
        "application/json;charset=utf-8",
        "application/json; charset=utf-8",
        "application/cloudevents+json",
        "application/cloudevents+json;charset=utf-8",
        "application/cloudevents+json; charset=UTF-8",
    ] {
        let world = delivered();
        let reply = world.post("/api/v2/event", &[("content-type", content_type)], EVENT);
        assert_eq!(reply.status(), 200, "{content_type}: {}", reply.text());
        assert!(world.only_sent().1.ends_with("/workflow/wf/submit?start=false"));
    }
    for content_type in ["application/json", "application/json;charset=utf-8", "application/json; charset=utf-8"] {
        let world = World::new().answers(200, "").answers(200, RUN);
        assert_eq!(world.post("/api/v2/callback?ref=r&topic=t", &[("content-type", content_type)], "{}").status(), 200);
        assert_eq!(world.post("/api/v2/webhook?ref=w", &[("content-type", content_type)], "{}").status(), 200);
    }
}

#[test]
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
        let world = delivered();
        let event = EVENT.replace("/wf/topic", subject);
        let reply = world.json(&format!("/api/v2/event{query}"), event);
        assert_eq!(reply.status(), 200, "{subject}: {}", reply.text());
        assert!(world.only_sent().1.contains(&format!("/workflow/{workflow}/submit")), "{subject}");
    }
}

#[test]
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
        let world = delivered();
        let mut headers = headers.to_vec();
        headers.push(("content-type", content_type));
        let reply = world.post("/api/v2/event", &headers, body);
        assert_eq!(reply.status(), 200, "{content_type}: {}", reply.text());
        let expected = format!(
            r#"{{"name":"event","value":{{{attributes},"datacontenttype":"{content_type}",{members}}}}},{{"name":"data","value":{data}}}"#
        );
        let sent = world.only_sent().2;
        assert!(sent.contains(&expected), "{sent}\n{expected}");
    }
}

#[test]
fn binary_event_may_have_no_data_or_untyped_bytes() {
    let headers = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")];
    let world = delivered();
    assert_eq!(world.post("/api/v2/event?ref=w", &headers, "").status(), 200);
    assert!(world.only_sent().2.contains(r#""type":"t"}},{"name":"data","value":null}]"#));
    let world = delivered();
    assert_eq!(world.post("/api/v2/event?ref=w", &headers, b"\xff\x00").status(), 200);
    assert!(world.only_sent().2.contains(r#""data_base64":"/wA="}},{"name":"data","value":"/wA="}]"#));
}

#[test]
fn data_base64_is_preserved() {
    let world = delivered();
    let event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"/wA=","data":null}"#;
    let reply = world.json("/api/v2/event?ref=w", event.replace(r#","data":null"#, ""));
    assert_eq!(reply.status(), 200, "{}", reply.text());
    assert!(world.only_sent().2.contains(r#""data_base64":"/wA="}},{"name":"data","value":"/wA="}]"#));
}

#[test]
fn callback_resolves_a_waiting_task() {
    for (query, status) in [
        ("ref=run1&topic=ok&status=Succeeded", "succeeded"),
        ("ref=run1&topic=ok&status=FAILED", "failed"),
        ("ref=run1&topic=ok", "succeeded"),
        ("ref=run1,topic=ok,status=failed", "failed"),
        ("ref=run1,topic=ok", "succeeded"),
    ] {
        let world = World::new().answers(200, "");
        let reply = world.json(&format!("/api/v2/callback?{query}"), r#"{"by":"me"}"#);
        assert_eq!((reply.status(), reply.text()), (200, ""), "{query}");
        let (method, url, body) = world.only_sent();
        assert_eq!((method.as_str(), url.as_str()), ("PUT", "http://127.0.0.1:7701/api/v1/workflowrun/run1/event"));
        let expected =
            format!(r#"{{"topic":"ok","status":"{status}","results":[{{"name":"data","value":{{"by":"me"}}}}]}}"#);
        assert_eq!(body, expected, "{query}");
    }
}

#[test]
fn get_callback_has_no_results() {
    let world = World::new().answers(200, "{}");
    let reply = world.get("/api/v2/callback?ref=run1,topic=a%20b,status=Failed");
    assert_eq!((reply.status(), reply.text(), reply.header("cache-control")), (200, "", Some("no-store")));
    assert_eq!(world.only_sent().2, r#"{"topic":"a b","status":"failed","results":[]}"#);
}

#[test]
fn engine_settings_and_trace_headers_reach_the_engine() {
    let world = delivered()
        .with("engine_url", "https://engine.example:8443/")
        .with("engine_token", "t0ken")
        .with("engine_start", "true")
        .with("engine_connect_ms", "11")
        .with("engine_timeout_ms", "22");
    let trace = [
        ("content-type", "application/json"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "a=1"),
        ("tracestate", "b=2"),
        ("authorization", "Bearer of-the-sender"),
        ("x-forwarded-for", "10.0.0.1"),
    ];
    assert_eq!(world.post("/api/v2/webhook?ref=w", &trace, "{}").status(), 200);
    let sent = world.sent.borrow();
    let crate::fake::Sent { request, timeouts, .. } = &sent[0];
    assert_eq!(request.uri(), "https://engine.example:8443/api/v1/workflow/w/submit?start=true");
    assert_eq!((timeouts.connect.as_millis(), timeouts.total.as_millis()), (11, 22));
    let headers: Vec<_> = request.headers().iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
    let mut expected = [
        ("authorization", "Bearer t0ken"),
        ("content-type", "application/json"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "a=1"),
        ("tracestate", "b=2"),
    ];
    let mut headers = headers;
    headers.sort_unstable();
    expected.sort_unstable();
    assert_eq!(headers, expected, "nothing else of the sender's");
}
