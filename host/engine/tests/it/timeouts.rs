//! Time-outs of tasks and runs.

use sluice_engine_model::{Process, Settings};

use crate::support::{Site, WAITS};

const MINUTE: u64 = 60_000;

/// Submits at Flow, where a task has 90 minutes and a run 300.
fn submit(site: &mut Site, workflow: &str, body: &str) -> String {
    let uri = format!("/api/v2/team/acme/workflow/{workflow}/submit?start=true");
    site.send("POST", &uri, Some(body)).ok().get("id").unwrap().to_java()
}

#[test]
fn task_times_out_and_takes_its_run_along() {
    let mut site = Site::new(Settings::default());
    let run = submit(&mut site, "waits", "{}");
    site.pass(90 * MINUTE);
    assert_eq!(site.approval(&run), "waiting");
    site.pass(MINUTE);
    assert_eq!(site.state(&run), "timedout completed start:succeeded approve:timedout end:skipped");
    let message = site.model.run(&run).unwrap().run.status_message.clone();
    assert_eq!(message.as_deref(), Some("A TaskRun exceeded it's timeout."));
}

#[test]
fn run_times_out_and_is_retried() {
    let mut site = Site::new(Settings::default());
    let run = submit(&mut site, "waits", r#"{"timeout":1,"retries":1}"#);
    site.pass(MINUTE + 10_000);
    assert_eq!(site.state(&run), "timedout completed start:succeeded approve:cancelled end:skipped");
    let again = site.model.runs().next_back().unwrap().run.id.clone();
    assert_eq!(site.state(&again), "running running start:succeeded approve:waiting end:notstarted");
    site.pass(MINUTE + 10_000);
    assert_eq!(site.state(&again), "timedout completed start:succeeded approve:cancelled end:skipped");
    assert_eq!(site.model.runs().count(), 2);
}

#[test]
fn event_after_the_time_of_a_run_ends_it() {
    let mut site = Site::new(Settings::default());
    let run = submit(&mut site, "waits", r#"{"timeout":1}"#);
    site.pass(MINUTE + 1_000);
    assert_eq!(site.event(&run, r#"{"topic":"approval"}"#).status(), 200);
    site.pass(1_000);
    assert_eq!(site.state(&run), "timedout completed start:succeeded approve:succeeded end:skipped");
}

#[test]
fn time_of_a_run_survives_a_crash_and_that_of_a_task_does_not() {
    let mut site = Site::new(Settings::default());
    let run = submit(&mut site, "waits", "{}");
    site.pass(MINUTE);
    site.model.kill(Process::Engine);
    site.pass(MINUTE);
    site.model.restart();
    site.pass(200 * MINUTE);
    assert_eq!(site.approval(&run), "waiting");
    site.pass(100 * MINUTE);
    assert!(site.state(&run).starts_with("timedout completed"));
}

#[test]
fn engine_by_itself_has_no_time_outs() {
    let mut site = Site::new(Settings::default());
    let run = site.submit(WAITS, true);
    site.pass(100 * 24 * 60 * MINUTE);
    assert_eq!(site.approval(&run), "waiting");
}
