//! Flow's API beyond the recordings.

use http::Request;
use sluice_engine_model::catalogue::Activity;
use sluice_engine_model::{Catalogue, Model, Services, Settings};

use crate::support::{Answer, START, Site, WAITS};

const SUBMIT: &str = "/api/v2/team/acme/workflow/waits/submit";

fn site() -> Site {
    Site::new(Settings::default())
}

/// The status of a request with these headers and no body.
fn status(site: &mut Site, uri: &str, headers: &[(&str, &str)]) -> u16 {
    let request = headers.iter().fold(Request::get(uri), |request, (name, value)| request.header(*name, *value));
    site.try_send(request.body(Vec::new()).unwrap()).unwrap().status().as_u16()
}

#[test]
fn token_or_password_is_asked_for() {
    let mut site = site();
    let uri = "/api/v2/team/acme/workflow/waits";
    let with_token = format!("{uri}?access_token=bft_ACME");
    for (uri, header, expected) in [
        (uri, "", 401),
        (uri, "Bearer bft_ACME", 200),
        (uri, "Bearer bft_READER", 200),
        (uri, "Bearer bft_acme", 401),
        (uri, "bearer bft_ACME", 401),
        (uri, "Bearer e30.e30.", 401),
        // ada@example.com:boomerang, :wrong, and no Base64.
        (uri, "Basic YWRhQGV4YW1wbGUuY29tOmJvb21lcmFuZw==", 200),
        (uri, "Basic YWRhQGV4YW1wbGUuY29tOndyb25n", 401),
        (uri, "Basic ?", 401),
        (&with_token, "", 200),
        // A header hides the parameter.
        (&with_token, "Bearer bft_acme", 401),
        ("/api/v2/nothing", "", 401),
        ("/api/v2/nothing", "Bearer bft_ACME", 404),
        ("/internal/nothing", "", 404),
        ("/api/v2/team/other/workflow/waits", "Bearer bft_ACME", 400),
    ] {
        let headers: &[_] = if header.is_empty() { &[] } else { &[("authorization", header)] };
        assert_eq!(status(&mut site, uri, headers), expected, "{uri} {header}");
    }
}

#[test]
fn global_token_opens_every_team() {
    let mut site = site();
    let token = serde_json::from_str(r#"{"token":"bfg_ALL"}"#).unwrap();
    site.model.catalogue().tokens.push(token);
    let header = [("authorization", "Bearer bfg_ALL")];
    assert_eq!(status(&mut site, "/api/v2/team/acme/workflow/waits", &header), 200);
    let run = site.submit(WAITS, false);
    assert_eq!(status(&mut site, &format!("/api/v2/team/acme/workflowrun/{run}"), &header), 200);
}

#[test]
fn errors_of_the_engine_become_500() {
    let mut site = site();
    let reason = |answer: Answer| {
        assert_eq!(answer.status(), 500);
        answer.json().get("reason").unwrap().to_java()
    };
    assert_eq!(reason(site.send("GET", "/api/v2/team/acme/workflowrun/query?limit=0", None)), "InternalServerError");
    assert_eq!(reason(site.send("GET", "/api/v2/team/acme/workflow/waits?version=2", None)), "Conflict");
    let status = r#"{"topic":"approval","status":"running"}"#;
    let run = site.submit(WAITS, true);
    site.pass(1_000);
    assert_eq!(site.event(&run, status).error(), "400 1505");
    let callback = format!("/api/v2/callback?ref={run}&topic=approval&status=running");
    assert_eq!(reason(site.send("GET", &callback, None)), "BadRequest");
    site.model.catalogue().workflows[0].status = Activity::Inactive;
    assert_eq!(site.send("POST", &format!("/api/v1/workflow/{WAITS}/submit"), Some("{}")).error(), "400 1202");
    assert_eq!(reason(site.send("POST", SUBMIT, Some("{}"))), "BadRequest");
}

/// Flow hands on no status that it doesn't know, and the engine takes none for success.
#[test]
fn unknown_status_of_a_callback_is_success() {
    for (status, expected) in [
        ("", "succeeded"),
        ("&status=", "succeeded"),
        ("&status=Succeeded", "succeeded"),
        ("&status=Failed", "succeeded"),
        ("&status=no", "succeeded"),
        ("&status=failed", "failed"),
    ] {
        let mut site = site();
        let run = site.submit(WAITS, true);
        site.pass(1_000);
        let uri = format!("/api/v2/callback?ref={run}&topic=approval{status}");
        assert_eq!(site.send("POST", &uri, Some("[1]")).status(), 200);
        site.pass(1_000);
        assert_eq!(site.approval(&run), expected, "{status}");
    }
}

#[test]
fn callback_asks_for_its_parameters() {
    let mut site = site();
    for (uri, expected) in [
        ("/api/v2/callback?topic=t", "400 Required parameter 'ref' is not present."),
        ("/api/v2/callback?ref=r", "400 Required parameter 'topic' is not present."),
    ] {
        assert_eq!(site.send("GET", uri, None).error(), expected);
    }
    assert_eq!(site.send("POST", "/api/v2/callback?ref=r&topic=t", Some("{")).error(), "400 Failed to read request");
    assert_eq!(site.send("PUT", "/api/v2/callback", None).status(), 405);
}

#[test]
fn team_can_cancel_start_and_retry_its_runs() {
    let mut site = site();
    let run = site.send("POST", SUBMIT, Some("{}")).ok().get("id").unwrap().to_java();
    let of_run = |run: &str, verb: &str| format!("/api/v2/team/acme/workflowrun/{run}/{verb}");
    site.send("PUT", &of_run(&run, "start"), None).ok();
    site.pass(1_000);
    assert_eq!(site.send("PUT", &of_run(&run, "start"), None).error(), "500 500");
    site.send("DELETE", &of_run(&run, "cancel"), None).ok();
    site.pass(1_000);
    assert_eq!(site.state(&run), "cancelled completed start:succeeded approve:cancelled end:skipped");
    let again = site.send("PUT", &of_run(&run, "retry"), None).ok().get("id").unwrap().to_java();
    site.send("GET", &format!("/api/v2/team/acme/workflowrun/{again}"), None).ok();
    let untied = site.submit(WAITS, true);
    assert_eq!(site.send("DELETE", &of_run(&untied, "cancel"), None).error(), "400 1301");
}

#[test]
fn event_by_headers_fails_as_one_in_a_body() {
    let mut site = site();
    let send = |site: &mut Site, subject: Option<&str>, version: bool| {
        let mut request = Request::post("/api/v2/event").header("authorization", "Bearer bft_ACME");
        if let Some(subject) = subject {
            request = request.header("ce-subject", subject);
        }
        if version {
            request = request.header("ce-specversion", "1.0");
        }
        site.try_send(request.body(b"{}".to_vec()).unwrap()).unwrap().status().as_u16()
    };
    assert_eq!(send(&mut site, Some("/waits"), true), 400);
    assert_eq!(send(&mut site, Some(&format!("/{WAITS}")), true), 500);
    assert_eq!(send(&mut site, None, true), 500);
    assert_eq!(send(&mut site, Some("/waits"), false), 500);
}

#[test]
fn services_have_prefixes() {
    let both = |engine: &str, flow: &str| Services::Both { engine: engine.to_owned(), flow: flow.to_owned() };
    for (services, uri, expected) in [
        (Services::Engine, "/api/v1/workflowrun/query", 200),
        (Services::Engine, "/api/v2/webhook", 404),
        (Services::Flow, "/api/v1/workflowrun/query", 401),
        (both("", ""), "/api/v1/workflowrun/query", 200),
        (both("", ""), "/api/v2/callback", 401),
        (both("/engine", "/flow"), "/engine/api/v1/workflowrun/query", 200),
        (both("/engine", "/flow"), "/flow/api/v2/callback", 401),
        (both("/engine", "/flow"), "/api/v1/workflowrun/query", 404),
        (both("/flow/engine", "/flow"), "/flow/engine/api/v1/workflowrun/query", 200),
        (both("", "/flow"), "/flow/api/v2/callback", 401),
        (both("", "/flow"), "/api/v1/workflowrun/query", 200),
    ] {
        let mut model = Model::new(services.clone(), Catalogue::recorded(), Settings::default());
        let request = Request::get(uri).body(Vec::new()).unwrap();
        assert_eq!(model.handle(START, request).status(), expected, "{services:?} {uri}");
    }
}
