//! The requests that take the most of the component's stack don't overflow it: those with the most deeply nested payload
//! and expression, and with the longest public key. `MEMORY` in `xtask/src/component.rs` sets its size.

use crate::setup::{JSON, ReservedPort, Setup};

/// Maximum nesting of a payload, in levels.
const LEVELS: usize = 128;
/// Basic authentication as `me:op3rator`.
const BASIC: (&str, &str) = ("authorization", "Basic bWU6b3AzcmF0b3I=");

/// A JSON object with this many levels of alternating objects and arrays.
fn nested(levels: usize) -> String {
    let pairs = (levels - 1) / 2;
    let odd = if levels.is_multiple_of(2) { "{}" } else { "1" };
    format!(r#"{}{{"a":{odd}}}{}"#, r#"{"a":["#.repeat(pairs), "]}".repeat(pairs))
}

/// A table of routes with the deepest filter and the deepest JSONPath.
fn routes() -> String {
    let filter = format!("{}{}{}", r#"{"not":"#.repeat(14), r#"{"exact":{"type":"none"}}"#, "}".repeat(14));
    let path = format!("$..a[?{}@.a == 1{}]", "(".repeat(10), ")".repeat(10));
    format!(
        r#"[{{"workflow":"w","from":"webhook","filter":{{"not":{filter}}},
             "params":{{"all":"$..*","some":"{path}","first":"$.a[0].a[0].a"}}}},
            {{"workflow":"e","from":"event","params":{{"all":"$..a"}}}}]"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn deepest_payload_is_stored_and_shown() {
    let engine_port = ReservedPort::new();
    let setup = Setup::with_variables(&[("routes", &routes()), ("engine_url", &engine_port.url())]).await;
    let event = |id: &str, levels| {
        format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t","data":{}}}"#, nested(levels))
    };
    let structured = [("content-type", "application/cloudevents+json")];
    let batched = [("content-type", "application/cloudevents-batch+json")];
    let binary = [JSON, ("ce-specversion", "1.0"), ("ce-id", "4"), ("ce-source", "/s"), ("ce-type", "t")];
    for (path, headers, body) in [
        ("/api/v2/webhook", &[JSON][..], nested(LEVELS)),
        ("/api/v2/webhook?ref=w", &[JSON], nested(LEVELS)),
        ("/api/v2/callback?ref=r&topic=t", &[JSON], nested(LEVELS)),
        ("/api/v2/event", &structured, event("1", LEVELS - 1)),
        ("/api/v2/event", &batched, format!("[{},{}]", event("2", LEVELS - 2), event("3", 2))),
        ("/api/v2/event", &binary, nested(LEVELS - 1)),
    ] {
        setup.send("POST", path, headers, body).await.assert_status(202);
    }

    let pending = setup.deliveries("pending").await;
    assert_eq!(pending.len(), 7, "five requests with one delivery each, and a batch of two: {pending:?}");
    for delivery in pending {
        let id = delivery["id"].as_str().unwrap();
        let page = setup.send("GET", &format!("/console/deliveries/{id}"), &[BASIC], "").await;
        assert!(page.status == 200 && page.text().contains(id), "{page}");
        setup.operator("GET", &format!("/api/v2/deliveries/{id}")).await.assert_status(200);
    }
}

/// The operations of an expression can nest as deeply as there are operations in it.
#[tokio::test(flavor = "multi_thread")]
async fn deepest_expression_is_evaluated() {
    const OPERATIONS: usize = 128;
    for (open, text, close) in
        [("(", "DATA('/a') = 'x'", ")"), ("NOT ", "DATA('/a') = 'x'", ""), ("LENGTH(", "DATA('/a')", ")")]
    {
        // One for the comparison, and one for DATA.
        let levels = OPERATIONS - 2;
        let sql = format!("{}{text}{}", open.repeat(levels), close.repeat(levels));
        let sql = if text.contains('=') { sql } else { format!("{sql} = 1") };
        let routes = format!(r#"[{{"workflow":"w","from":"webhook","filter":{{"sql":"{sql}"}}}}]"#);
        let setup = Setup::with_variables(&[("routes", &routes)]).await;
        let reply = setup.send("POST", "/api/v2/webhook", &[JSON], r#"{"a":"x"}"#).await;
        assert!(matches!(reply.status.as_u16(), 200 | 204), "{sql}: {reply}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signature_of_the_longest_key_is_verified() {
    let key = serde_json::Value::from(include_str!("deep/rsa-4096.pem"));
    let sender = r#"{"algorithm":"rsa-sha256","headers":["x-sig"],"encoding":"base64"}"#;
    let sources = format!(r#"[{{"name":"acme","sender":{sender},"secrets":[{key}]}}]"#);
    let setup = Setup::with_variables(&[("sources", &sources)]).await;
    // RSASSA-PKCS1-v1_5 with SHA-256, by `openssl dgst -sha256 -sign`.
    let signature = ("x-sig", include_str!("deep/rsa-4096.signature"));
    for (body, status) in [(r#"{"a":1}"#, 200), (r#"{"a":2}"#, 401)] {
        setup.send("POST", "/api/v2/webhook?ref=w", &[JSON, signature], body).await.assert_status(status);
    }
}
