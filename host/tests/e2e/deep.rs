//! The deepest that is taken ends no stack, whatever reads it: `MEMORY` in xtask says how large that is.

use crate::setup::{Closed, JSON, Setup};

/// Levels of a payload, of which Sluice takes 128.
const LEVELS: usize = 128;
/// `me:op3rator`.
const BASIC: (&str, &str) = ("authorization", "Basic bWU6b3AzcmF0b3I=");

/// An object of so many levels, objects and arrays in turn.
fn deep(levels: usize) -> String {
    let pairs = (levels - 1) / 2;
    let odd = if levels.is_multiple_of(2) { "{}" } else { "1" };
    format!(r#"{}{{"a":{odd}}}{}"#, r#"{"a":["#.repeat(pairs), "]}".repeat(pairs))
}

/// A table in which all that can nest does.
fn routes() -> String {
    let filter = format!("{}{}{}", r#"{"not":"#.repeat(14), r#"{"exact":{"type":"none"}}"#, "}".repeat(14));
    let path = format!("$..a[?{}@.a == 1{}]", "(".repeat(10), ")".repeat(10));
    format!(
        r#"[{{"workflow":"w","from":"webhook","filter":{{"not":{filter}}},"params":{{"all":"$..*","some":"{path}","first":"$.a[0].a[0].a"}}}},
           {{"workflow":"e","from":"event","params":{{"all":"$..a"}}}}]"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deepest_payload_is_taken_and_shown() {
    let closed = Closed::new();
    let setup = Setup::with(&[("routes", &routes()), ("engine_url", &closed.url())]).await;
    let event = |id: &str, levels| {
        format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t","data":{}}}"#, deep(levels))
    };
    let structured = [("content-type", "application/cloudevents+json")];
    let batched = [("content-type", "application/cloudevents-batch+json")];
    let binary = [JSON, ("ce-specversion", "1.0"), ("ce-id", "4"), ("ce-source", "/s"), ("ce-type", "t")];
    for (path, headers, body) in [
        ("/api/v2/webhook", &[JSON][..], deep(LEVELS)),
        ("/api/v2/webhook?ref=w", &[JSON], deep(LEVELS)),
        ("/api/v2/callback?ref=r&topic=t", &[JSON], deep(LEVELS)),
        ("/api/v2/event", &structured, event("1", LEVELS - 1)),
        ("/api/v2/event", &batched, format!("[{},{}]", event("2", LEVELS - 2), event("3", 2))),
        ("/api/v2/event", &binary, deep(LEVELS - 1)),
    ] {
        let reply = setup.send("POST", path, headers, body).await;
        assert_eq!(reply.status, 202, "{path}, {headers:?}: {}", reply.text());
    }

    let all = setup.stored("pending").await;
    assert_eq!(all.len(), 7, "{all:?}");
    for delivery in all {
        let id = delivery["id"].as_str().unwrap();
        let page = setup.send("GET", &format!("/console/deliveries/{id}"), &[BASIC], "").await;
        assert!(page.status == 200 && page.text().contains(id), "{}", page.text());
        assert_eq!(setup.operate("GET", &format!("/api/v2/deliveries/{id}")).await.status, 200);
    }
}
