//! Deaths after each write, and what a restart finds.

use sluice_engine_model::{NoAnswer, Process, Settings, Step};

use crate::support::{SHELL, Site, WAITS, request};

const EVENT: &str = r#"{"topic":"approval","status":"succeeded"}"#;
const SUBMIT: &str = r#"{"trigger":"webhook","params":[{"name":"data","value":{"n":1}}],"labels":{"l":"v"}}"#;

fn submit(start: bool) -> http::Request<Vec<u8>> {
    request("POST", &format!("/api/v1/workflow/{WAITS}/submit?start={start}"), Some(SUBMIT))
}

/// The state of the only run, once the model is up again and an hour has gone by.
fn state_after_restart(site: &mut Site) -> String {
    assert!(site.model.is_dead(Process::Engine));
    site.model.restart();
    site.pass(3_600_000);
    let run = site.model.runs().next().unwrap().run.id.clone();
    site.state(&run)
}

#[test]
fn death_during_a_submit_leaves_what_was_saved() {
    for (step, expected) in [
        (Step::RunSaved, "notstarted pending"),
        (Step::TasksSaved(1), "notstarted pending start:succeeded"),
        (Step::TasksSaved(3), "notstarted pending start:succeeded approve:notstarted end:notstarted"),
        (Step::RunQueued, "ready pending start:succeeded approve:notstarted end:notstarted"),
    ] {
        let mut site = Site::new(Settings::default());
        site.model.die_at(step);
        assert_eq!(site.try_send(submit(true)).unwrap_err(), NoAnswer::Cut, "{step:?}");
        assert_eq!(site.try_send(submit(true)).unwrap_err(), NoAnswer::Refused, "{step:?}");
        assert_eq!(site.model.handle(site.now, submit(true)).status(), 502, "{step:?}");
        assert_eq!(state_after_restart(&mut site), expected, "{step:?}");
        let found = site.send("GET", "/api/v1/workflowrun/query?labels=l%3Dv", None).ok();
        assert_eq!(found.get("totalElements").unwrap().to_java(), "1", "{step:?}");
    }
}

#[test]
fn death_while_a_run_proceeds_stops_it() {
    for (step, expected) in [
        (Step::RunStarted, "running running start:succeeded approve:notstarted end:notstarted"),
        (Step::TaskReady, "running running start:succeeded approve:ready end:notstarted"),
        (Step::TaskRunning, "running running start:succeeded approve:running end:notstarted"),
        (Step::TaskWaiting, "running running start:succeeded approve:waiting end:notstarted"),
    ] {
        let mut site = Site::new(Settings::default());
        site.model.die_at(step);
        site.submit(WAITS, true);
        site.pass(1_000);
        assert_eq!(state_after_restart(&mut site), expected, "{step:?}");
    }
}

#[test]
fn death_after_an_event_stops_the_run() {
    for (step, expected) in [
        (Step::TaskEnded, "running running start:succeeded approve:succeeded end:notstarted"),
        (Step::EndSaved, "running running start:succeeded approve:succeeded end:succeeded"),
    ] {
        let mut site = Site::new(Settings::default());
        let run = site.submit(WAITS, true);
        site.pass(1_000);
        site.model.die_at(step);
        assert_eq!(site.event(&run, EVENT).status(), 200, "{step:?}");
        site.pass(1_000);
        assert_eq!(state_after_restart(&mut site), expected, "{step:?}");
    }
}

/// The answer to an event comes before the task is saved as ended.
#[test]
fn death_after_the_answer_to_an_event_loses_it() {
    let mut site = Site::new(Settings::default());
    let run = site.submit(WAITS, true);
    site.pass(1_000);
    assert_eq!(site.event(&run, EVENT).status(), 200);
    site.model.kill(Process::Engine);
    assert_eq!(state_after_restart(&mut site), "running running start:succeeded approve:waiting end:notstarted");
    site.event(&run, EVENT);
    site.pass(1_000);
    assert_eq!(site.approval(&run), "succeeded");
}

#[test]
fn death_after_an_early_event_keeps_it() {
    let mut site = Site::new(Settings::default());
    let run = site.submit(WAITS, false);
    site.model.die_at(Step::EventSaved);
    let event = request("PUT", &format!("/api/v1/workflowrun/{run}/event"), Some(EVENT));
    assert_eq!(site.try_send(event).unwrap_err(), NoAnswer::Cut);
    site.model.restart();
    site.send("PUT", &format!("/api/v1/workflowrun/{run}/start"), None).ok();
    site.pass(1_000);
    assert_eq!(site.approval(&run), "succeeded");
}

#[test]
fn death_during_a_cancel_leaves_the_tasks() {
    let mut site = Site::new(Settings::default());
    let run = site.submit(WAITS, true);
    site.pass(1_000);
    site.model.die_at(Step::RunCancelled);
    let cancel = request("DELETE", &format!("/api/v1/workflowrun/{run}/cancel"), None);
    assert_eq!(site.try_send(cancel).unwrap_err(), NoAnswer::Cut);
    assert_eq!(state_after_restart(&mut site), "cancelled completed start:succeeded approve:waiting end:notstarted");
}

#[test]
fn orphan_is_cancelled_or_retried_but_never_runs() {
    let mut site = Site::new(Settings::default());
    site.model.die_at(Step::RunSaved);
    site.try_send(submit(true)).unwrap_err();
    site.model.restart();
    let run = site.model.runs().next().unwrap().run.id.clone();
    let again = site.send("PUT", &format!("/api/v1/workflowrun/{run}/retry?start=true"), None).ok();
    let again = again.get("id").unwrap().as_text().unwrap().to_owned();
    site.send("PUT", &format!("/api/v1/workflowrun/{run}/start"), None).ok();
    site.pass(1_000);
    assert_eq!(site.state(&run), "running running");
    assert_eq!(site.state(&again), "running running start:succeeded approve:waiting end:notstarted");
    site.send("DELETE", &format!("/api/v1/workflowrun/{run}/cancel"), None).ok();
    site.pass(1_000);
    assert_eq!(site.state(&run), "cancelled completed start:succeeded approve:skipped end:skipped");
}

#[test]
fn death_of_flow_leaves_a_run_without_a_team() {
    let uri = "/api/v2/team/acme/workflow/shell/submit?start=true";
    for (step, looks) in [(Step::RunSubmitted, "400 1301"), (Step::RunTied, "200")] {
        let mut site = Site::new(Settings::default());
        site.model.die_at(step);
        assert_eq!(site.try_send(request("POST", uri, Some(SUBMIT))).unwrap_err(), NoAnswer::Cut);
        assert!(site.model.is_dead(Process::Flow) && !site.model.is_dead(Process::Engine));
        // The engine goes on by itself.
        site.pass(1_000);
        let run = site.model.runs().next().unwrap().run.id.clone();
        assert_eq!(site.state(&run), "running running start:succeeded sh:ready end:notstarted");
        site.model.restart();
        let found = site.send("GET", "/api/v2/team/acme/workflowrun/query?labels=l%3Dv&limit=9", None).ok();
        assert_eq!(found.get("totalElements").unwrap().to_java(), "1");
        assert_eq!(site.send("GET", &format!("/api/v2/team/acme/workflowrun/{run}"), None).error(), looks);
    }
}

#[test]
fn death_of_the_engine_is_a_500_of_flow() {
    let mut site = Site::new(Settings::default());
    site.model.die_at(Step::RunSaved);
    for _ in 0..2 {
        let answer = site.send("POST", &format!("/api/v2/team/acme/workflow/{SHELL}/submit"), Some(SUBMIT));
        assert_eq!(answer.error(), "500 500");
        assert_eq!(answer.json().get("reason").unwrap().to_java(), "ResourceAccessException");
    }
    for (method, uri) in [
        ("GET", "/api/v2/team/acme/workflow/shell"),
        ("GET", "/api/v2/team/acme/workflowrun/query?limit=1"),
        ("GET", "/api/v2/callback?ref=x&topic=t"),
    ] {
        assert_eq!(site.send(method, uri, None).error(), "500 500", "{uri}");
    }
    assert_eq!(site.model.runs().count(), 1);
}
