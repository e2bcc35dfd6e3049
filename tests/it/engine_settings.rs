//! The variable `engine`, the setting of the same name, and what depends on the engine's profile.

use std::time::Duration;

use serde_json::{Value, json};
use sluice::config::Config;

use crate::fake::{RUN, World, answer, row};

/// The constants of the engine `flow`.
fn teams() -> Value {
    json!({"team": "acme", "teams": ["ops"]})
}

fn flow() -> World {
    World::new().with("engine", "flow").setting("engine", teams())
}

/// The only error at `/readyz`: the variable and its problem.
#[track_caller]
fn error(world: &World) -> (String, String) {
    let problem = world.get("/readyz").problem(503, "configuration");
    assert_eq!(problem["errors"].as_array().unwrap().len(), 1, "{problem}");
    let text = |member: &str| problem["errors"][0][member].as_str().unwrap().to_owned();
    (text("field"), text("detail"))
}

#[on_each_store]
fn reference_may_name_a_team_if_the_engine_has_teams() {
    for (reference, path) in [("deploy", "acme/workflow/deploy"), ("ops/deploy", "ops/workflow/deploy")] {
        let _row = row(reference);
        let world = flow().respond(200, RUN);
        assert_eq!(world.post_json(&format!("/api/v2/webhook?ref={reference}"), "{}").status(), 200);
        let url = world.engine.only_request().url;
        assert_eq!(url, format!("http://127.0.0.1:7701/api/v2/team/{path}/submit?start=false"));
    }
    let event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"/x/y"}"#;
    for (world, reference, detail) in [
        (World::new(), "acme/deploy", "`ref` must not contain '/': the workflows of this engine have no team"),
        (flow(), "other/deploy", "`ref` names a team that `engine` in `settings` doesn't list"),
    ] {
        for uri in ["/api/v2/webhook?ref=", "/api/v2/event?ref="] {
            let _row = row(format!("{uri}{reference}"));
            let problem = world.post_json(&format!("{uri}{reference}"), event).problem(400, "invalid-parameter");
            assert_eq!((&problem["field"], &problem["detail"]), (&"ref".into(), &detail.into()));
            world.assert_untouched();
        }
    }
}

#[on_each_store]
fn subject_names_no_team() {
    let event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"/ops/deploy"}"#;
    let world = flow().respond(200, RUN);
    assert_eq!(world.post_json("/api/v2/event", event).status(), 200);
    assert!(world.engine.only_request().url.contains("/team/acme/workflow/ops/submit"));
}

#[on_each_store]
fn constants_are_checked_with_the_profile() {
    assert_eq!(flow().get("/readyz").status(), 200);
    let (field, detail) = error(&World::new().with("engine", "flow"));
    assert_eq!(
        (field.as_str(), detail.as_str()),
        ("settings", "has an error: `/engine` must have a member `team`, which the engine profile `flow` needs")
    );
    let (field, detail) = error(&World::new().setting("engine", teams()));
    let expected = "has an error: `/engine` has a member `team`, which the engine profile `boomerang` doesn't know: it takes base_path, default_image, task_deletion, task_timeout, team_name";
    assert_eq!((field.as_str(), detail.as_str()), ("settings", expected));
    let (field, detail) = error(&World::new().with("engine", "argo"));
    assert_eq!(field, "engine");
    assert!(detail.starts_with("must be one of airflow, airflow-2, argo-workflows, boomerang, "), "{detail}");
    assert!(detail.ends_with(", or a profile in JSON"), "{detail}");
}

#[on_each_store]
fn orphan_after_ms_is_at_least_ten_times_the_timeout() {
    for (timeout, after, effective) in [(10_000, 300_000, 300_000), (10_000, 1, 100_000), (40_000, 300_000, 400_000)] {
        let world = World::new().setting("engine_timeout_ms", timeout).setting("orphan_after_ms", after);
        let limits = Config::new(&world).settings().unwrap().limits;
        assert_eq!(limits.orphan_after, Duration::from_millis(effective), "{timeout} {after}");
    }
}

#[on_each_store]
fn body_limit_of_the_engine_is_checked() {
    assert_eq!(World::new().setting("max_body_bytes", 5_000_000).get("/readyz").status(), 200);
    let (field, detail) = error(&World::new().setting("max_body_bytes", 5_000_001));
    assert_eq!(
        (field.as_str(), detail.as_str()),
        ("settings", "has an error: `/max_body_bytes` must be at most 5000000: the engine takes no larger payload")
    );
}

#[on_each_store]
fn routes_are_checked_with_the_profile() {
    let routes = |more: &str| format!(r#"[{{"workflow":"w","from":"webhook"}},{{{more},"from":"webhook"}}]"#);
    for (world, more, expected) in [
        (
            World::new(),
            r#""workflow":"acme/w""#,
            "`/1/workflow` must not contain '/': the workflows of this engine have no team",
        ),
        (flow(), r#""workflow":"other/w""#, "`/1/workflow` names a team that `engine` in `settings` doesn't list"),
        (World::new(), r#""workflow":"w","params":{"a":1,"data":1}"#, "`/1/params/data` is reserved: use another name"),
        (World::new(), r#""workflow":"w","params":{"event":1}"#, "`/1/params/event` is reserved: use another name"),
    ] {
        let _row = row(more);
        let world = world.with("routes", &routes(more));
        assert_eq!(error(&world), ("routes".to_owned(), format!("is no table of routes: {expected}")));
        assert_eq!(world.post_json("/api/v2/webhook", "{}").problem(503, "configuration")["field"], "routes");
        world.assert_untouched();
    }
    let world = flow().with("routes", r#"[{"workflow":"ops/w","from":"webhook"}]"#).result(answer(200, RUN));
    assert_eq!(world.post_json("/api/v2/webhook", "{}").status(), 200);
    assert!(world.engine.only_request().url.contains("/team/ops/workflow/w/submit"));
}
