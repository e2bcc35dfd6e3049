//! Workflows of other shapes than the recorded ones.

use sluice_engine_model::{Settings, Workflow};

use crate::support::Site;

const EVENT_WAIT: &str = "5f7dcf1ce1d3ce8d52ea45d4";

/// A site with one more workflow, whose tasks between start and end are given in JSON.
fn site(tasks: &str) -> Site {
    let mut site = Site::new(Settings::default());
    let workflow = format!(r#"{{"id":"{}","name":"graph","tasks":{tasks}}}"#, "a".repeat(24));
    let workflow: Workflow = serde_json::from_str(&workflow).unwrap();
    site.model.catalogue().workflows.push(workflow);
    site
}

fn wait(name: &str, dependencies: &str) -> String {
    format!(
        r#"{{"name":"{name}","type":"eventwait","taskRef":"{EVENT_WAIT}","dependencies":{dependencies},
            "params":[{{"name":"topic","value":"{name}"}}]}}"#
    )
}

fn event(topic: &str, status: &str) -> String {
    format!(r#"{{"topic":"{topic}","status":"{status}","results":[{{"name":"data","value":{{"by":"Ada"}}}}]}}"#)
}

#[test]
fn conditions_choose_the_way() {
    let tasks = format!(
        r#"[{{"name":"start","type":"start"}},{},{},{},{{"name":"end","type":"end","dependencies":[
            {{"taskRef":"yes"}},{{"taskRef":"no"}}]}}]"#,
        wait("ask", r#"[{"taskRef":"start"}]"#),
        wait("yes", r#"[{"taskRef":"ask","executionCondition":"success"}]"#),
        wait("no", r#"[{"taskRef":"ask","executionCondition":"failure"}]"#),
    );
    for (status, way, skipped) in [("succeeded", "yes", "no"), ("failed", "no", "yes")] {
        let mut site = site(&tasks);
        let run = site.submit(&"a".repeat(24), true);
        site.pass(1_000);
        site.event(&run, &event("ask", status));
        site.pass(1_000);
        let task = |site: &Site, name: &str| site.model.run(&run).unwrap().task(name).unwrap().status.name();
        assert_eq!((task(&site, way), task(&site, skipped)), ("waiting", "skipped"), "{status}");
        site.event(&run, &event(way, "failed"));
        site.pass(1_000);
        assert!(site.state(&run).starts_with("succeeded completed"), "{}", site.state(&run));
    }
}

#[test]
fn join_waits_for_all() {
    let tasks = format!(
        r#"[{{"name":"start","type":"start"}},{},{},{{"name":"end","type":"end","dependencies":[
            {{"taskRef":"one"}},{{"taskRef":"two"}}]}}]"#,
        wait("one", r#"[{"taskRef":"start"}]"#),
        wait("two", r#"[{"taskRef":"start"}]"#),
    );
    let mut site = site(&tasks);
    let run = site.submit(&"a".repeat(24), true);
    site.pass(1_000);
    site.event(&run, &event("one", "succeeded"));
    site.pass(1_000);
    assert_eq!(site.state(&run), "running running start:succeeded one:succeeded two:waiting end:notstarted");
    site.event(&run, &event("two", "succeeded"));
    site.pass(1_000);
    assert_eq!(site.state(&run), "succeeded completed start:succeeded one:succeeded two:succeeded end:succeeded");
}

#[test]
fn failure_without_a_way_out_fails_the_run() {
    let tasks = format!(
        r#"[{{"name":"start","type":"start"}},{},{},{{"name":"end","type":"end"}}]"#,
        wait("ask", r#"[{"taskRef":"start"}]"#),
        wait("next", r#"[{"taskRef":"ask","executionCondition":"success"}]"#),
    );
    let mut site = site(&tasks);
    let run = site.submit(&"a".repeat(24), true);
    site.pass(1_000);
    site.event(&run, &event("ask", "failed"));
    site.pass(1_000);
    assert_eq!(site.state(&run), "failed completed start:succeeded ask:failed next:skipped end:succeeded");
}

/// Under Flow every task has a time-out, and the engine meets a null pointer when it compares it with the start of a
/// task that was skipped. Read in `TaskExecutionService`, not recorded.
#[test]
fn skipped_task_stops_a_run_of_flow() {
    let tasks = format!(
        r#"[{{"name":"start","type":"start"}},{},{},{{"name":"end","type":"end"}}]"#,
        wait("ask", r#"[{"taskRef":"start"}]"#),
        wait("next", r#"[{"taskRef":"ask","executionCondition":"success"}]"#),
    );
    let mut site = site(&tasks);
    site.model.catalogue().workflows.last_mut().unwrap().team = Some("acme".to_owned());
    let run = site.send("POST", "/api/v2/team/acme/workflow/graph/submit?start=true", Some("{}")).ok();
    let run = run.get("id").unwrap().to_java();
    site.pass(1_000);
    site.event(&run, &event("ask", "failed"));
    site.pass(1_000);
    assert_eq!(site.state(&run), "running running start:succeeded ask:failed next:skipped end:notstarted");
}

#[test]
fn results_of_tasks_are_params_of_later_ones() {
    let tasks = format!(
        r#"[{{"name":"start","type":"start"}},{},
            {{"name":"set","type":"setwfproperty","taskRef":"5f6379c974f51934044cbbd4","params":[
                {{"name":"output","value":"by"}},
                {{"name":"value","value":"$(tasks.ask.results.data.by), $(params.n)"}}]}},
            {{"name":"end","type":"end"}}]"#,
        wait("ask", r#"[{"taskRef":"start"}]"#),
    );
    let mut site = site(&tasks);
    let run = site.submit(&"a".repeat(24), true);
    site.pass(1_000);
    site.event(&run, &event("ask", "succeeded"));
    site.pass(1_000);
    let results = &site.model.run(&run).unwrap().run.results;
    assert_eq!(results[0].name.as_deref(), Some("by"));
    assert_eq!(results[0].value.as_text(), Some("Ada, $(params.n)"));
}

/// Each leaves a run with its label that never runs.
#[test]
fn invalid_workflow_is_an_error_after_the_run_is_saved() {
    let end = r#"{"name":"end","type":"end"}"#;
    let start = r#"{"name":"start","type":"start"}"#;
    let known = wait("ask", r#"[{"taskRef":"nothing"}]"#);
    for (tasks, error, state) in [
        (format!("[{start},{end}]"), "500 1000", "invalid completed start:succeeded end:notstarted"),
        (
            format!("[{start},{known},{end}]"),
            "400 1303",
            "notstarted pending start:succeeded ask:notstarted end:notstarted",
        ),
        (
            format!(r#"[{start},{{"name":"s","type":"sleep","taskRef":"{}"}},{end}]"#, "b".repeat(24)),
            "400 1401",
            "notstarted pending start:succeeded",
        ),
        (
            format!("[{start},{},{end}]", wait("ask", "[]")),
            "500 1000",
            "invalid completed start:succeeded ask:notstarted end:notstarted",
        ),
    ] {
        let mut site = site(&tasks);
        let answer = site.send("POST", &format!("/api/v1/workflow/{}/submit", "a".repeat(24)), Some("{}"));
        assert_eq!(answer.error(), error, "{tasks}");
        let run = site.model.runs().next().unwrap().run.id.clone();
        assert_eq!(site.state(&run), state, "{tasks}");
    }
}
