//! An agent, which starts runs and executes tasks.

use sluice_engine_model::{Agent, NoAnswer, Settings, Step};

use crate::support::{SHELL, Site, WAITS, request};

const IMAGE: &str = r#"{"annotations":{"boomerang.io/task-default-image":"i","boomerang.io/task-timeout":"30"}}"#;

fn site() -> Site {
    Site::new(Settings { agent: Some(Agent { poll_ms: 1_000 }), ..Settings::default() })
}

#[test]
fn runs_are_started() {
    let mut site = site();
    let run = site.submit(WAITS, false);
    site.pass(999);
    assert_eq!(site.state(&run), "ready pending start:succeeded approve:notstarted end:notstarted");
    site.pass(1);
    assert_eq!(site.state(&run), "ready queued start:succeeded approve:notstarted end:notstarted");
    site.pass(300);
    assert_eq!(site.state(&run), "running running start:succeeded approve:waiting end:notstarted");
}

#[test]
fn tasks_are_executed() {
    for (fails, expected) in [(false, "succeeded"), (true, "failed")] {
        let mut site = site();
        let workflow = site.model.catalogue().workflows.iter_mut().find(|workflow| workflow.id == SHELL).unwrap();
        let task = workflow.tasks.iter_mut().find(|task| task.name == "sh").unwrap();
        task.duration_ms = 5_000;
        task.fails = fails;
        let uri = format!("/api/v1/workflow/{SHELL}/submit?start=true");
        let run = site.send("POST", &uri, Some(IMAGE)).ok().get("id").unwrap().to_java();
        site.pass(2_000);
        assert_eq!(site.state(&run), "running running start:succeeded sh:running end:notstarted");
        site.pass(5_000);
        assert_eq!(site.state(&run), format!("succeeded completed start:succeeded sh:{expected} end:succeeded"));
        assert_eq!(site.model.run(&run).unwrap().task("sh").unwrap().duration, 5_000);
    }
}

#[test]
fn cancelled_run_cancels_its_task() {
    let mut site = site();
    let uri = format!("/api/v1/workflow/{SHELL}/submit?start=true");
    let run = site.send("POST", &uri, Some(IMAGE)).ok().get("id").unwrap().to_java();
    site.pass(1_100);
    site.send("DELETE", &format!("/api/v1/workflowrun/{run}/cancel"), None).ok();
    site.pass(5_000);
    assert_eq!(site.state(&run), "cancelled completed start:succeeded sh:skipped end:skipped");
}

#[test]
fn restart_finds_what_is_ready() {
    let mut site = site();
    site.model.die_at(Step::RunQueued);
    let submit = request("POST", &format!("/api/v1/workflow/{WAITS}/submit"), Some("{}"));
    assert_eq!(site.try_send(submit).unwrap_err(), NoAnswer::Cut);
    site.pass(10_000);
    site.model.restart();
    site.pass(10_000);
    let run = site.model.runs().next().unwrap().run.id.clone();
    assert_eq!(site.approval(&run), "waiting");
}
