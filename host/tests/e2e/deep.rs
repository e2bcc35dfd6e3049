//! The deepest that is taken ends no stack, whatever reads it: `MEMORY` in xtask says how large that is.

use crate::setup::{JSON, Setup};

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
    let setup = Setup::with(&[("routes", &routes()), ("engine_url", "http://127.0.0.1:1")]).await;
    let stored = |path: &str, body: String| {
        let (path, setup) = (path.to_owned(), &setup);
        async move {
            let reply = setup.post(&path, body).await;
            assert_eq!(reply.status, 202, "{path}: {}", reply.text());
        }
    };
    stored("/api/v2/webhook", deep(LEVELS)).await;
    stored("/api/v2/webhook?ref=w", deep(LEVELS)).await;
    stored("/api/v2/callback?ref=r&topic=t", deep(LEVELS)).await;
    let event = |id: &str, levels| {
        format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t","data":{}}}"#, deep(levels))
    };
    let cloudevents = ("content-type", "application/cloudevents+json");
    let batch = ("content-type", "application/cloudevents-batch+json");
    let events = format!("[{},{}]", event("2", LEVELS - 2), event("3", 2));
    let binary = [JSON, ("ce-specversion", "1.0"), ("ce-id", "4"), ("ce-source", "/s"), ("ce-type", "t")];
    for (headers, body) in
        [(&[cloudevents][..], event("1", LEVELS - 1)), (&[batch][..], events), (&binary[..], deep(LEVELS - 1))]
    {
        let reply = setup.send("POST", "/api/v2/event", headers, body).await;
        assert_eq!(reply.status, 202, "{headers:?}: {}", reply.text());
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
