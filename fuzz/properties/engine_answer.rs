//! The answers of an engine, whatever it sends: a verdict counts only with what it promises in the body.

use std::borrow::Cow;

use http::{HeaderMap, Response};
use serde_json::Value;
use serde_json::value::RawValue;
use sluice::delivery::{Delivery, DeliveryId, Payload, Start, Verdict, Work};
use sluice::engine::{Constants, Engine, EngineUrl, Operation, Profile};
use sluice::reference::WorkflowRef;
use sluice::time::Timestamp;

use super::support::lines;

const NOW: Timestamp = Timestamp(1_700_000_000_000);
/// The run that is looked at.
const RUN: &str = "5f1";
/// The longest error code that is passed on.
const MAX_CODE: usize = 64;

/// The data is a status, and a line with the body. In the body, `@` stands for the delivery's label.
pub fn check(data: &[u8]) {
    let [status, body] = lines(data);
    let status = std::str::from_utf8(status).ok().and_then(|status| status.parse::<u16>().ok());
    let Some(status) = status.filter(|status| (200..600).contains(status)) else { return };
    let delivery = delivery();
    let body = String::from_utf8_lossy(body).replace('@', &delivery.label());
    let value: Value = serde_json::from_str(&body).unwrap_or_default();
    let success = (200..300).contains(&status);
    for profile in Profile::names() {
        let engine = engine(profile);
        let is_flow = matches!(profile, "boomerang" | "flow" | "flow-5");
        let Ok(names) = engine.names(&delivery) else { continue };
        let answer = || Response::builder().status(status).body(body.clone().into_bytes()).expect("a response");
        for operation in [Operation::Start, Operation::Resume, Operation::Cancel] {
            match engine.read(operation, &names, answer(), NOW) {
                Verdict::Accepted { body: run } => {
                    assert!(success, "{profile} {operation:?}");
                    assert!(operation != Operation::Start || engine.run_id(&run).is_some(), "{profile}");
                }
                Verdict::Rejected { code, .. } | Verdict::UnknownRun { code, .. } => {
                    assert!(code.is_none_or(|code| code.len() <= MAX_CODE), "{profile} {operation:?}");
                    assert!(!success || !is_flow, "{profile} {operation:?}");
                }
                Verdict::Existing { .. } => assert!(!is_flow, "{profile}: no such rule"),
                _ => {}
            }
        }
        if is_flow && let Ok(runs) = engine.read_found(&names, answer(), NOW) {
            assert!(success, "{profile}");
            let known = value["content"].as_array().expect("a list of runs");
            let is_known = |id: &str| {
                let is_it = |run: &&Value| run["id"] == id;
                let labels = known.iter().filter(is_it).map(|run| &run["labels"]["sluice.dev/delivery"]);
                labels.into_iter().any(|label| *label == delivery.label())
            };
            assert!(runs.iter().all(|run| is_known(&run.id)), "{profile}: {runs:?}");
        }
        if let Ok(view) = engine.read_look(RUN, Some("t"), answer(), NOW) {
            assert!(!is_flow || (success && value["id"] == RUN), "{profile}: {view:?}");
        }
        if engine.read_description(answer(), NOW).is_ok() {
            assert!(success && value.is_object(), "{profile}");
        }
    }
}

fn delivery() -> Delivery<'static> {
    let payload = Payload::Webhook(Cow::Borrowed(RawValue::NULL));
    let start = Start::new(WorkflowRef::parse("w").expect("a reference"), payload);
    Delivery::new(DeliveryId::new(NOW.into(), 7), Work::Start(start), HeaderMap::new(), NOW)
}

fn engine(profile: &str) -> Engine<'static> {
    let profile = Profile::built_in(profile).expect("a profile");
    let url = EngineUrl::parse("http://engine:8080").expect("a URL");
    let constants = Constants::parse("", &profile).unwrap_or_default();
    Engine { profile, url, token: None, start: true, constants }
}
