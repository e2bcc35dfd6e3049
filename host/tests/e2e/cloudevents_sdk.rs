//! Events of the official Rust SDK arrive at the engine with every field intact.

use cloudevents::event::{EventBuilderV03, EventBuilderV10};
use cloudevents::{Event, EventBuilder};
use serde_json::{Value, json};

use crate::setup::Setup;

const JSON: &str = "application/json";

#[derive(Clone, Copy, Debug)]
enum Mode {
    Structured,
    Binary,
    /// The SDK doesn't write batches; the test puts its structured events into an array.
    Batch,
}

/// An event with all context attributes.
fn event(id: &str, data: Option<(&str, cloudevents::Data)>) -> Event {
    let builder = EventBuilderV10::new()
        .id(id)
        .source("https://example.com/pull/é")
        .ty("com.example.pull.create")
        .subject("/nightly/tick")
        .time("2018-04-05T17:31:00Z")
        .extension("text", "value € 😀 100%")
        .extension("flag", true)
        .extension("count", 7_i64);
    match data {
        Some((content_type, data)) => builder.data(content_type, data).build(),
        None => builder.build(),
    }
    .unwrap()
}

async fn send(setup: &Setup, mode: Mode, event: &Event) -> Value {
    let (headers, body) = match mode {
        Mode::Structured => (Vec::new(), serde_json::to_vec(event).unwrap()),
        Mode::Batch => (Vec::new(), serde_json::to_vec(&[event]).unwrap()),
        Mode::Binary => {
            let request: http::Request<Option<Vec<u8>>> = event.clone().try_into().unwrap();
            let (parts, body) = request.into_parts();
            let headers = parts.headers.iter().map(|(name, value)| {
                (name.as_str().to_owned(), std::str::from_utf8(value.as_bytes()).unwrap().to_owned())
            });
            (headers.collect(), body.unwrap_or_default())
        }
    };
    let mut headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    match mode {
        Mode::Structured => headers.push(("content-type", "application/cloudevents+json")),
        Mode::Batch => headers.push(("content-type", "application/cloudevents-batch+json")),
        Mode::Binary => {}
    }
    let before = setup.engine.requests().len();
    let reply = setup.send("POST", "/api/v2/event", &headers, body).await;
    reply.assert_ok("delivered");
    let sent = setup.engine.requests();
    assert_eq!(sent.len(), before + 1, "{reply}");
    let body: Value = serde_json::from_slice(&sent[before].body).unwrap();
    body["params"].clone()
}

fn param<'a>(params: &'a Value, name: &str) -> Option<&'a Value> {
    params.as_array().unwrap().iter().find(|param| param["name"] == name).map(|param| &param["value"])
}

/// The event that the engine should receive. In binary mode, booleans and integers are text, because headers are
/// untyped.
fn expected(mode: Mode, id: &str, data: Value) -> Value {
    let mut event = json!({
        "specversion": "1.0", "id": id, "source": "https://example.com/pull/é", "type": "com.example.pull.create",
        "subject": "/nightly/tick", "text": "value € 😀 100%", "flag": true, "count": 7,
    });
    if let Mode::Binary = mode {
        (event["flag"], event["count"]) = ("true".into(), "7".into());
    }
    event.as_object_mut().unwrap().extend(data.as_object().unwrap().clone());
    event
}

/// Checks the time and removes it, because the SDK may write the same instant in another format.
fn without_time(event: &Value) -> Value {
    let mut event = event.clone();
    let time = event.as_object_mut().unwrap().remove("time").unwrap();
    let time = chrono::DateTime::parse_from_rfc3339(time.as_str().unwrap()).unwrap();
    assert_eq!(time, chrono::DateTime::parse_from_rfc3339("2018-04-05T17:31:00Z").unwrap());
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_the_rust_sdk_arrive_intact() {
    let setup = Setup::new().await;
    let bytes: Vec<u8> = (0..=255).collect();
    let base64 = data_encoding::BASE64.encode(&bytes);
    for mode in [Mode::Structured, Mode::Binary, Mode::Batch] {
        let data = json!({"number": 7, "text": "€😀", "list": [1, null, true]});
        let id = format!("€ {mode:?} json");
        let params = send(&setup, mode, &event(&id, Some((JSON, data.clone().into())))).await;
        let expected_data = json!({"datacontenttype": JSON, "data": data});
        assert_eq!(without_time(param(&params, "event").unwrap()), expected(mode, &id, expected_data), "{id}");
        assert_eq!((param(&params, "data"), param(&params, "number")), (Some(&data), Some(&json!(7))), "{id}");

        let id = format!("{mode:?} text");
        let params = send(&setup, mode, &event(&id, Some(("text/plain", "<a>€</a>".to_owned().into())))).await;
        let expected_data = json!({"datacontenttype": "text/plain", "data": "<a>€</a>"});
        assert_eq!(without_time(param(&params, "event").unwrap()), expected(mode, &id, expected_data), "{id}");

        let id = format!("{mode:?} bytes");
        let octets = "application/octet-stream";
        let params = send(&setup, mode, &event(&id, Some((octets, bytes.clone().into())))).await;
        let expected_data = json!({"datacontenttype": octets, "data_base64": base64});
        assert_eq!(without_time(param(&params, "event").unwrap()), expected(mode, &id, expected_data), "{id}");
        assert_eq!(param(&params, "data"), Some(&json!(base64)), "{id}");
    }
    // The SDK sends no content type without data, so only a structured event can have none.
    let params = send(&setup, Mode::Structured, &event("none", None)).await;
    assert_eq!(without_time(param(&params, "event").unwrap()), expected(Mode::Structured, "none", json!({})));
    assert_eq!(param(&params, "data"), Some(&Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn event_of_version_0_3_keeps_its_version() {
    let setup = Setup::new().await;
    for mode in [Mode::Structured, Mode::Binary, Mode::Batch] {
        let event = EventBuilderV03::new()
            .id(format!("{mode:?}"))
            .source("/s")
            .ty("t")
            .subject("/nightly/tick")
            .data_with_schema(JSON, "https://example.com/schema", json!({"n": 1}))
            .build()
            .unwrap();
        let params = send(&setup, mode, &event).await;
        let mut received = param(&params, "event").unwrap().clone();
        // The SDK adds the current time.
        received.as_object_mut().unwrap().remove("time");
        let expected = json!({
            "specversion": "0.3", "id": format!("{mode:?}"), "source": "/s", "type": "t", "subject": "/nightly/tick",
            "datacontenttype": JSON, "schemaurl": "https://example.com/schema", "data": {"n": 1},
        });
        assert_eq!(received, expected, "{mode:?}");
        assert_eq!(param(&params, "data"), Some(&json!({"n": 1})), "{mode:?}");
    }
}
