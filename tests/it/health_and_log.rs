//! Health and readiness routes, invalid configuration, and the log.

use serde_json::json;

use crate::fake::{
    BROWSER, Cost, HOUR, NOW, PROVIDER_FAILS, RUN, StoreFault, UNKNOWN_ID, WEBHOOK_URI, World, request, row,
};

#[on_each_store]
fn healthz_calls_neither_store_nor_engine() {
    let world = World::new().with("engine_url", "nonsense");
    world.fail_store(StoreFault::Once(0));
    let reply = world.get("/healthz");
    assert_eq!((reply.status(), reply.text()), (200, r#"{"status":"alive"}"#));
    assert!(world.is_store_unused());
    world.assert_untouched();
    assert_eq!(reply.header("content-length"), Some("18"));
    let head = world.send(request("HEAD", "/healthz", &[], ""));
    assert_eq!((head.status(), head.text(), head.header("content-length")), (200, "", None));
}

#[on_each_store]
fn readyz_checks_store_and_configuration() {
    let world = World::new().setting("open", true);
    assert_eq!(world.get("/readyz").text(), r#"{"status":"ready"}"#);
    world.assert_cost(Cost { reads: 5, writes: 0, scans: 0 }, &["settings", "ready", "notes", "probe", "notes"]);
    assert!(world.engine.received.borrow().is_empty(), "the engine was called");

    let world = World::new();
    world.fail_store(StoreFault::Once(0));
    let reply = world.get("/readyz");
    reply.problem(503, "store-unavailable");
    let error = if world.database.is_some() { "there is no connection to the server" } else { "disk full" };
    // The fault of the database is for an operator, and no secret.
    assert!((world.database.is_some() || !reply.text().contains(error)) && reply.warning().contains(error));
}

#[test]
fn readyz_checks_database_if_there_is_one() {
    let reply = World::key_value().with("database_url", "postgres://u:s3cret@db/sluice").get("/readyz");
    assert_eq!(reply.problem(503, "store-unavailable")["field"], "database_url");
    assert!(reply.warning().contains("no connection to the server"), "{}", reply.warning());
    for text in [reply.text(), reply.warning()] {
        assert!(!text.contains("s3cret"), "{text}");
    }
    for invalid in ["host=db user=u password=s3cret", "mysql://u:s3cret@db/sluice", "postgres://u:s3 cret@db/sluice"] {
        let reply = World::key_value().with("database_url", invalid).get("/readyz");
        assert_eq!(reply.problem(503, "configuration")["field"], "database_url", "{invalid}");
        assert!(!reply.text().contains("s3"), "{}", reply.text());
    }
}

#[on_each_store]
fn delivery_with_two_runs_is_shown_for_a_day() {
    let world = World::with_operator().setting("open", true);
    let twice = format!(r#"{{"at":{NOW},"delivery":"{UNKNOWN_ID}","runs":["5f1c","5f1d"]}}"#);
    world.put_note("twice", &twice);
    let expected = format!(
        r#"{{"status":"degraded","twice":{{"delivery":"{UNKNOWN_ID}","runs":["5f1c","5f1d"],"at":"2026-11-24T08:30:00.000Z"}}}}"#
    );
    for (at, body) in [(0, &*expected), (24 * HOUR - 1, &expected), (24 * HOUR, r#"{"status":"ready"}"#)] {
        world.clock.set(NOW + at);
        let reply = world.get("/readyz");
        assert_eq!((reply.status(), reply.text()), (200, body), "after {at} ms");
        let page = world.send(request("GET", "/console", &[("authorization", "Basic bWU6b3AzcmF0b3I="), BROWSER], ""));
        for run in ["5f1c", "5f1d"] {
            assert_eq!(page.text().contains(run), at < 24 * HOUR, "after {at} ms");
        }
    }
}

#[on_each_store]
fn invalid_variable_is_named() {
    for (variable, values) in [
        ("engine_url", &["", "nonsense", "http://user:s3cret@engine", "http://engine/path"][..]),
        ("engine_token", &["s3cret\ns3cret", "s3crét"]),
        ("engine", &["argo", "Flow"]),
        ("settings", &["[]", "s3cret", "{", r#"{"open":true,"open":"s3cret"}"#]),
        ("database_url", &["mysql://u:s3cret@db/sluice", "s3cret"]),
        ("operator_token", &["two s3crets"]),
        ("engine_url", &[PROVIDER_FAILS]),
        ("settings", &[PROVIDER_FAILS]),
    ] {
        for value in values {
            let _row = row(format!("{variable} = {value:?}"));
            let ready = World::key_value().with(variable, value).get("/readyz");
            let problem = ready.problem(503, "configuration");
            assert_eq!(problem["field"], variable);
            assert!(!ready.text().contains("s3cr"), "{}", ready.text());

            let world = World::key_value().with(variable, value).respond(200, RUN);
            let webhook = world.post_json(WEBHOOK_URI, "{}");
            if variable == "operator_token" {
                assert_eq!(webhook.status(), 200, "a webhook doesn't use the variable");
            } else {
                assert_eq!(webhook.problem(503, "configuration")["field"], variable);
                world.assert_untouched();
            }
        }
    }
    let world = World::new().setting("engine_wait_ms", "soon").setting("doors", 15);
    world.variables.borrow_mut().remove("engine_url");
    world.variables.borrow_mut().remove("routes");
    let problem = world.get("/readyz").problem(503, "configuration");
    let missing = "is not in the manifest: use spin.toml as it is shipped";
    let expected = json!([
        { "field": "engine_url", "detail": missing },
        { "field": "routes", "detail": missing },
        { "field": "settings", "detail": "has an error: `/doors` must be a whole number from 16 to 65536" },
        {
            "field": "settings",
            "detail": "has an error: `/engine_wait_ms` must be a whole number from 1 to 600000, but is a string"
        },
    ]);
    assert_eq!(problem["errors"], expected, "every error is listed");
    assert!(problem["detail"].as_str().unwrap().contains("`routes` is not"), "{problem}");
}

#[on_each_store]
fn invalid_setting_is_named() {
    for (name, values) in [
        ("engine", json!(["s3cret", [], {"team": "acme"}, {"base_path": "s3cret"}])),
        ("engine_start", json!(["yes", 1])),
        ("callback_wait_hours", json!([0, 8_785, "s3cret"])),
        ("orphan_after_ms", json!([0, 86_400_001])),
        ("engine_connect_ms", json!([0, -1, 1.5, 600_001, 1e20])),
        ("engine_timeout_ms", json!([0, "s3cret"])),
        ("engine_wait_ms", json!([0, 600_001])),
        ("max_body_bytes", json!([0, 10_485_761, "512k"])),
        ("retention_hours", json!([0, 8_785])),
        ("retry_max_hours", json!([0, 8_785, "1d"])),
        ("retry_max_attempts", json!([0, 1_000_001])),
        ("drain_width_max", json!([0, 1_025])),
        ("move_from", json!(["file", "mysql://u:s3cret@db/sluice"])),
        ("doors", json!([15, 65_537])),
        ("max_keys", json!([499, 10_000_001])),
        ("callback_early_ms", json!([-1, 86_400_001])),
    ] {
        for value in values.as_array().unwrap() {
            let _row = row(format!("{name} = {value}"));
            let ready = World::new().setting(name, value.clone()).get("/readyz");
            ready.wrong_setting(name);
            assert!(!ready.text().contains("s3cr"), "{}", ready.text());

            let world = World::new().setting(name, value.clone()).respond(200, RUN);
            world.post_json(WEBHOOK_URI, "{}").wrong_setting(name);
            world.assert_untouched();
        }
    }
}

#[on_each_store]
fn readyz_says_how_long_the_backlog_will_take() {
    let world = World::with_operator().setting("drain_width_max", 1).unreachable();
    for _ in 0..40 {
        world.post_json(WEBHOOK_URI, "{}");
    }
    world.engine.recover();
    world.engine.latency.set(1_000);
    world.advance(60_000);
    let left = world.drain()["pending"].as_u64().unwrap();
    assert!((1..40).contains(&left), "{left}");
    let backlog = &world.get("/readyz").json()["backlog"];
    assert_eq!(backlog["pending"], left);
    // One a second.
    let seconds = backlog["seconds"].as_u64().unwrap();
    assert!((left - 5..left + 20).contains(&seconds), "{backlog}");
}

#[on_each_store]
fn engine_fault_degrades_readiness_until_the_next_success() {
    let world = World::with_operator().setting("open", true).respond(401, "").respond(403, "");
    let reply = world.post_json(WEBHOOK_URI, "{}");
    assert_eq!(reply.outcome(), (202, Some("pending")));
    let warning = reply.warning();
    assert!(warning.contains("401") && warning.contains("engine_url and engine_token"), "{warning}");
    let assert_degraded = |fault: &str, since: &str, drained: Option<&str>| {
        let ready = world.get("/readyz");
        assert_eq!(ready.status(), 200, "a degraded instance still accepts and stores deliveries");
        let mut expected = json!({
            "status": "degraded",
            "engine": { "fault": fault, "since": since, "check": ["engine_url", "engine_token"] },
        });
        // Nothing was concluded, so there is no pace yet.
        if let Some(at) = drained {
            expected["backlog"] = json!({ "pending": 1, "seconds": null, "at": at });
        }
        assert_eq!(ready.json(), expected);
    };
    assert_degraded("the engine answered 401", "2026-11-24T08:30:00.000Z", None);
    world.advance(60_000);
    assert_eq!(world.drain()["pending"], 1);
    assert_degraded("the engine answered 403", "2026-11-24T08:30:00.000Z", Some("2026-11-24T08:31:01.000Z"));
    world.engine.recover();
    world.advance(60_000);
    assert_eq!(world.drain()["delivered"], 1);
    assert_eq!(world.get("/readyz").text(), r#"{"status":"ready"}"#);
}

#[on_each_store]
fn fault_after_the_response_degrades_readiness() {
    let world = World::with_operator().setting("open", true).respond(200, "<html>").respond(401, "").after(3_000);
    // An ambiguous response is no misconfiguration.
    assert_eq!(world.post_json(WEBHOOK_URI, "{}").status(), 202);
    assert_eq!(world.get("/readyz").text(), r#"{"status":"ready"}"#);
    assert_eq!(world.post_json(WEBHOOK_URI, "{}").status(), 202);
    let ready = world.get("/readyz").json();
    assert_eq!((&ready["status"], &ready["engine"]["since"]), (&"degraded".into(), &"2026-11-24T08:30:03.000Z".into()));
}

#[on_each_store]
fn log_line_has_the_outcome_and_no_secret() {
    let world = World::new().respond(200, RUN).with("engine_token", "t0ken-of-ours");
    let headers = [("content-type", "application/json"), ("authorization", "Bearer s3cret-of-theirs")];
    let reply = world.post("/api/v2/webhook?ref=w&access_token=s3cret", &headers, r#"{"pay":"load"}"#);
    let delivery = reply.header("sluice-delivery").unwrap();
    let expected = json!({
        "time": "2026-11-24T08:30:00.000Z", "method": "POST", "route": "/api/v2/webhook", "status": 200,
        "duration_ms": 1.5, "delivery": delivery, "outcome": "delivered", "engine_status": 200,
    });
    assert_eq!(reply.log, expected);

    let world = World::new().respond(503, "").after(3_000);
    let reply = world.post_json(WEBHOOK_URI, r#"{"pay":"load"}"#);
    let delivery = reply.header("sluice-delivery").unwrap();
    let expected = json!({
        "time": "2026-11-24T08:30:00.000Z", "method": "POST", "route": "/api/v2/webhook", "status": 202,
        "duration_ms": 1.5, "delivery": delivery, "outcome": "pending",
    });
    assert_eq!(reply.log, expected);
    let expected = json!({
        "time": "2026-11-24T08:30:03.000Z", "delivery": delivery, "outcome": "pending",
        "failure": "the engine answered 503",
    });
    assert_eq!(*world.log.borrow(), [expected], "the outcome after the response");

    let refused = World::new().get("/api/v2/callbacks/run-1?topic=s3cret");
    assert_eq!(refused.log["route"], "/api/v2/callbacks/{run}");
    for (method, logged) in [("PATCH", "PATCH"), ("PROPFIND", "(other)"), ("S3CRET", "(other)")] {
        assert_eq!(World::new().send(request(method, "/healthz", &[], "")).log["method"], logged);
    }
    let unknown = World::new().get("/s3cret?s3cret");
    assert!(!unknown.log.to_string().contains("s3cret"), "{}", unknown.log);
}
