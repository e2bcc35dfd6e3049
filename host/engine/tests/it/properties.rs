//! Laws for any request.

use std::collections::BTreeSet;

use http::Request;
use proptest::collection::vec;
use proptest::prelude::*;
use sluice_engine_model::{Agent, Json, Process, Settings, Step};

use crate::support::{NAPLIT, SHELL, Site, TOKEN, WAITS};

/// A path, with `RUN` for the id of the latest run.
fn path() -> impl Strategy<Value = String> {
    let known: Vec<String> = [
        format!("/api/v1/workflow/{WAITS}/submit?start=true"),
        format!("/api/v1/workflow/{NAPLIT}/submit?start=true"),
        format!("/api/v1/workflow/{SHELL}/submit?start=false"),
        "/api/v1/workflowrun/RUN/event".to_owned(),
        "/api/v1/workflowrun/RUN/start".to_owned(),
        "/api/v1/workflowrun/RUN/retry?start=true".to_owned(),
        "/api/v1/workflowrun/RUN/cancel".to_owned(),
        "/api/v1/workflowrun/RUN/finalize".to_owned(),
        "/api/v1/workflowrun/RUN?withTasks=true".to_owned(),
        format!("/api/v1/workflow/{WAITS}?withTasks=false"),
        "/api/v2/team/acme/workflow/waits/submit?start=true".to_owned(),
        "/api/v2/team/acme/workflowrun/RUN/retry".to_owned(),
        "/api/v2/callback?ref=RUN&topic=approval".to_owned(),
        format!("/api/v2/event?ref={WAITS}"),
        "/api/v2/webhook?ref=waits".to_owned(),
        format!("/internal/workflow/{WAITS}/submit"),
    ]
    .into();
    let query = "(labels|limit|page|sort|status|phase|workflows|fromDate)=[0-9a-zA-Z%=,+.-]{0,8}";
    prop_oneof![
        6 => prop::sample::select(known),
        2 => vec(query, 0..4).prop_map(|query| format!("/api/v1/workflowrun/query?{}", query.join("&"))),
        1 => vec(query, 0..4).prop_map(|query| format!("/api/v2/team/acme/workflowrun/query?{}", query.join("&"))),
        1 => "/(api/v[12]/)?[a-z0-9%/?&=.+~-]{0,30}",
    ]
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let value = prop::sample::select(vec![
        "null",
        "1",
        "-0.0",
        "1e999",
        "12345678901234567890123",
        "\"$(params.data)\"",
        "\"$(params.a)$(params.a)\"",
        "\"\\u0000\\\"\"",
        "[]",
        "{\"$(\":[{}]}",
        "{\"a\":{\"$(context.params.workflowrun-ref)\":\"$$(x:-$(y))\"}}",
    ]);
    let members = (value.clone(), value.clone(), value).prop_map(|(a, b, c)| {
        let params =
            format!(r#"[{{"name":"data","value":{a}}},{{"name":"a","value":{b}}},{{"name":"b","value":{c}}}]"#);
        format!(
            r#"{{"trigger":"webhook","topic":"approval","params":{params},"results":{params},"labels":{{"l":"v"}}}}"#
        )
        .into_bytes()
    });
    prop_oneof![
        5 => members,
        2 => Just(br#"{"topic":"approval","status":"failed","results":[]}"#.to_vec()),
        1 => r#"[\[\]{}":,a0-9. $()\\-]{0,40}"#.prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..40),
    ]
}

fn requests() -> impl Strategy<Value = Vec<(&'static str, String, Vec<u8>, u64)>> {
    let method = prop::sample::select(vec!["GET", "POST", "POST", "PUT", "PUT", "DELETE", "PATCH"]);
    vec((method, path(), body(), prop_oneof![Just(0), 0..400_u64, Just(10_000)]), 1..24)
}

fn step() -> impl Strategy<Value = Option<Step>> {
    prop::sample::select(vec![
        None,
        None,
        Some(Step::RunSaved),
        Some(Step::TasksSaved(2)),
        Some(Step::RunQueued),
        Some(Step::TaskReady),
        Some(Step::TaskWaiting),
        Some(Step::TaskEnded),
        Some(Step::RunSubmitted),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// No request panics, each has an answer of the right form unless the process is dead, and the state survives being
    /// serialised.
    #[test]
    fn any_requests_are_answered(requests in requests(), step in step(), seed: u64, has_agent: bool) {
        let agent = has_agent.then_some(Agent { poll_ms: 100 });
        let mut site = Site::new(Settings { seed, agent, ..Settings::default() });
        if let Some(step) = step {
            site.model.die_at(step);
        }
        for (method, path, body, ms) in requests {
            site.pass(ms);
            let run = site.model.runs().next_back().map_or("none", |record| &record.run.id).to_owned();
            let uri = path.replace("RUN", &run);
            let request = Request::builder().method(method).uri(&uri).header("authorization", TOKEN);
            let Ok(request) = request.header("content-type", "application/json").body(body) else { continue };
            match site.try_send(request) {
                Ok(answer) => {
                    let is_json = answer.headers().get("content-type").is_some();
                    prop_assert_eq!(is_json, !answer.body().is_empty());
                    prop_assert!(!is_json || Json::parse(answer.body()).is_ok());
                }
                Err(_) => {
                    prop_assert!(site.model.is_dead(Process::Engine) || site.model.is_dead(Process::Flow));
                    site.model.restart();
                }
            }
        }
        site.pass(100_000);
        let ids: BTreeSet<_> = site.model.runs().map(|record| &record.run.id).collect();
        prop_assert_eq!(ids.len(), site.model.runs().count());
        let text = serde_json::to_string(&site.model).unwrap();
        let back: sluice_engine_model::Model = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(serde_json::to_string(&back).unwrap(), text);
    }

    #[test]
    fn json_round_trips(text in r#"[\[\]{}":,a0-9. \\ue+-]{0,30}"#) {
        if let Ok(value) = Json::parse(text.as_bytes()) {
            let written = value.to_string();
            prop_assert_eq!(Json::parse(written.as_bytes()).unwrap().to_string(), written);
        }
    }
}
