//! Requests at the engine that aren't recorded: malformed ones, and pages.

use sluice_engine_model::{Database, Json, Settings};

use crate::support::{Answer, Site, WAITS, request};

fn site() -> Site {
    Site::new(Settings::default())
}

#[test]
fn malformed_requests_are_refused_as_by_spring() {
    let mut site = site();
    let run = site.submit(WAITS, true);
    site.pass(1_000);
    let submit = format!("/api/v1/workflow/{WAITS}/submit");
    let event = format!("/api/v1/workflowrun/{run}/event");
    for (method, uri, body, expected) in [
        ("GET", submit.as_str(), None, "405 Method 'GET' is not supported."),
        ("POST", &event, Some("{}"), "405 Method 'POST' is not supported."),
        ("POST", "/api/v1/workflowrun/query", Some("{}"), "405 Method 'POST' is not supported."),
        ("PUT", &submit.replace("/submit", ""), Some("{}"), "405 Method 'PUT' is not supported."),
        ("DELETE", &submit.replace("/submit", ""), None, "501 The model has no such endpoint."),
        ("GET", "/api/v1/workflowrun/insight", None, "501 The model has no such endpoint."),
        ("GET", "/api/v1/taskrun/x", None, "501 The model has no such endpoint."),
        ("GET", "/api/v2/webhook", None, "405 Method 'GET' is not supported."),
        ("GET", "/api/v1", None, "404 No static resource api/v1."),
        ("GET", "/api/v1/workflow/a%2Fb/x", None, "404 No static resource api/v1/workflow/a%2Fb/x."),
        ("POST", &submit, None, "400 Failed to read request"),
        ("POST", &submit, Some(""), "400 Failed to read request"),
        ("POST", &submit, Some("null"), "400 Failed to read request"),
        ("POST", &submit, Some("[]"), "400 Failed to read request"),
        ("POST", &submit, Some(r#"{"params":{}}"#), "400 Failed to read request"),
        ("POST", &submit, Some(r#"{"labels":{"a":{}}}"#), "400 Failed to read request"),
        ("POST", &submit, Some(r#"{"timeout":"soon"}"#), "400 Failed to read request"),
        ("POST", &submit, Some(r#"{"params":[{"value":1}]}"#), "500"),
        ("POST", &submit, Some(r#"{"workflowVersion":2}"#), "409 1204"),
        ("POST", &format!("{submit}?start=maybe"), Some("{}"), "400 Failed to convert 'start' with value: 'maybe'"),
        ("PUT", &event, Some(r#"{"status":"succeeded"}"#), "500"),
        ("PUT", &event, Some(r#"{"topic":"approval","results":null}"#), "500"),
        ("PUT", &event, Some(r#"{"topic":"approval","status":"ready"}"#), "400 1505"),
        ("PUT", &format!("/api/v1/workflowrun/{run}/start"), None, "400 1304"),
        ("PUT", "/api/v1/workflowrun/x/start", Some("{}"), "400 1301"),
        ("DELETE", "/api/v1/workflowrun/x/cancel", None, "400 1301"),
        ("PUT", "/api/v1/workflowrun/x/retry", None, "400 1301"),
        ("GET", "/api/v1/workflow/x", None, "400 1201"),
        ("GET", "/api/v1/workflow/x?version=1", None, "409 1204"),
        ("GET", "/api/v1/task/x", None, "400 1401"),
        ("GET", "/api/v1/workflowrun/query?limit=-1", None, "500"),
        ("GET", "/api/v1/workflowrun/query?limit=1&page=-1", None, "500"),
        ("GET", "/api/v1/workflowrun/query?limit=x", None, "400 Failed to convert 'limit' with value: 'x'"),
        ("GET", "/api/v1/workflowrun/query?sort=up", None, "400 Failed to convert 'sort' with value: 'up'"),
        ("GET", "/api/v1/workflowrun/query?labels=a", None, "500"),
        ("GET", "/api/v1/workflowrun/query?labels=a%3D", None, "500"),
        ("GET", "/api/v1/workflowrun/query?labels=a%3D%25", None, "500"),
        ("GET", "/api/v1/workflowrun/query?status=ended", None, "400 1001"),
        ("GET", "/api/v1/workflowrun/query?phase=over", None, "400 1001"),
    ] {
        assert_eq!(site.send(method, uri, body).error(), expected, "{method} {uri} {body:?}");
    }
    assert_eq!(site.approval(&run), "waiting");
    assert_eq!(site.send("GET", &submit, None).0.headers()["allow"], "POST");
}

#[test]
fn body_has_to_be_declared_as_json() {
    let mut site = site();
    for (content_type, expected) in [
        (None, "415 Content-Type 'application/octet-stream' is not supported."),
        (Some("text/plain"), "415 Content-Type 'text/plain' is not supported."),
        (Some("application/json;charset=UTF-8"), "200"),
        (Some("application/vnd.x+json"), "200"),
    ] {
        let mut request = request("POST", &format!("/api/v1/workflow/{WAITS}/submit"), None);
        *request.body_mut() = b"{}".to_vec();
        if let Some(content_type) = content_type {
            request.headers_mut().insert("content-type", content_type.parse().unwrap());
        }
        let answer = Answer(site.try_send(request).unwrap());
        assert_eq!(answer.error(), expected, "{content_type:?}");
    }
}

#[test]
fn values_are_converted_to_java_types() {
    let mut site = site();
    let body = r#"{"labels":{"n":1,"b":true,"z":null},"timeout":"5","retries":2.9,"debug":"true",
        "annotations":{"n":1.50},"params":[{"name":"a","value":1},{"name":"a","value":2},{"name":7,"value":true,"type":"object"}],"unknown":1}"#;
    let run = site.send("POST", &format!("/api/v1/workflow/{WAITS}/submit"), Some(body)).ok();
    assert_eq!(run.get("labels").unwrap().to_string(), r#"{"n":"1","b":"true","z":null}"#);
    assert_eq!(run.get("params").unwrap().to_string(), r#"[{"name":"a","value":"2"},{"name":"7","value":"true"}]"#);
    assert_eq!(run.get("annotations").unwrap().get("n").unwrap().to_string(), "1.5");
    let shown = ["timeout", "retries", "debug", "trigger"].map(|name| run.get(name).unwrap().to_string());
    assert_eq!(shown, ["5", "2", "true", "\"engine\""]);
}

#[test]
fn long_integer_is_a_string_once_it_was_stored() {
    let mut site = site();
    let workflow = "6b08ce3b2bb126dc8dc5a8aa";
    let body = r#"{"params":[{"name":"data","value":{"n":12345678901234567890}}]}"#;
    let run = site.send("POST", &format!("/api/v1/workflow/{workflow}/submit"), Some(body)).ok();
    assert!(run.to_string().contains(r#""value":{"n":12345678901234567890}"#), "{run}");
    let id = run.get("id").unwrap().as_text().unwrap();
    let run = site.send("GET", &format!("/api/v1/workflowrun/{id}"), None).ok();
    assert!(run.to_string().contains(r#""value":{"n":"12345678901234567890"}"#), "{run}");
}

#[test]
fn database_has_its_own_limits() {
    let nested = |levels: usize| r#"{"a":"#.repeat(levels) + "1" + &"}".repeat(levels);
    for (database, value, expected) in [
        (Database::MongoDb, nested(97), 200),
        (Database::MongoDb, nested(98), 500),
        (Database::FerretDb, nested(120), 200),
        (Database::MongoDb, r#"{"$a":1,"":2}"#.to_owned(), 200),
        (Database::FerretDb, r#"[{"b":{"$a":1}}]"#.to_owned(), 500),
        (Database::MongoDb, format!("\"{}\"", "x".repeat(16 << 20)), 500),
    ] {
        let mut site = Site::new(Settings { database, ..Settings::default() });
        let body = format!(r#"{{"params":[{{"name":"data","value":{value}}}]}}"#);
        let answer = site.send("POST", &format!("/api/v1/workflow/{WAITS}/submit"), Some(&body));
        assert_eq!(answer.status(), expected, "{database:?} {:.40}", value);
        assert_eq!(site.model.runs().count(), usize::from(expected == 200));
    }
}

/// The engine counts what a page shows, so it knows of no page that follows.
#[test]
fn pages_never_announce_the_next() {
    let mut site = site();
    for _ in 0..5 {
        site.submit(WAITS, false);
        site.pass(10);
    }
    let ids: Vec<_> = site.model.runs().map(|record| record.run.id.clone()).collect();
    for (query, content, total, pages) in [
        ("limit=2", &ids[0..2], 2, 1),
        ("limit=2&page=1", &ids[2..4], 4, 2),
        ("limit=2&page=2", &ids[4..5], 5, 3),
        ("limit=2&page=3", &[][..], 0, 0),
        ("limit=9", &ids[..], 5, 1),
        ("", &ids[..], 5, 1),
        ("labels=l%3Dw", &[][..], 0, 1),
    ] {
        let page = site.send("GET", &format!("/api/v1/workflowrun/query?{query}"), None).ok();
        let shown: Vec<_> = page.get("content").unwrap().as_array().unwrap().iter().collect();
        let shown: Vec<_> = shown.into_iter().map(|run| run.get("id").unwrap().to_java()).collect();
        assert_eq!(shown, content, "{query}");
        assert_eq!(page.get("totalElements"), Some(&Json::Int(total)), "{query}");
        assert_eq!(page.get("totalPages"), Some(&Json::Int(pages)), "{query}");
        assert_eq!(page.get("last"), Some(&Json::Bool(true)), "{query}");
    }
}

#[test]
fn filters_are_combined() {
    let mut site = site();
    let run = site.submit(WAITS, true);
    site.pass(1_000);
    let other = site.submit(WAITS, false);
    let mut found = |query: &str| {
        let page = site.send("GET", &format!("/api/v1/workflowrun/query?{query}"), None).ok();
        page.get("content").unwrap().as_array().unwrap().iter().map(|run| run.get("id").unwrap().to_java()).collect()
    };
    let check = |found: Vec<String>, expected: &[&String]| assert_eq!(found.iter().collect::<Vec<_>>(), expected);
    check(found("status=ready,running"), &[&run, &other]);
    check(found("status=RUNNING"), &[]);
    check(found("phase=pending"), &[&other]);
    check(found("sort=DESC&triggers=webhook"), &[&other, &run]);
    check(found(&format!("workflowruns={run}&labels=l%3Dv")), &[&run]);
    check(found("workflows=x"), &[]);
    check(found("labels=l=v&labels=m=w"), &[]);
    check(found(&format!("fromDate={}", crate::support::START + 1)), &[&other]);
    check(found(&format!("toDate={}", crate::support::START + 1)), &[&run]);
}
