//! Requests that stall after a write, and go on with what they had read.

use sluice_engine_model::{NoAnswer, Process, Settings, Step, Ticket};

use crate::support::{Answer, Site, WAITS, request};

const SUBMIT: &str = r#"{"trigger":"webhook","params":[{"name":"data","value":{"n":1}}],"labels":{"l":"v"}}"#;

/// Submits a run, which stalls after this write for a minute.
fn stalled_submit(site: &mut Site, path: &str, step: Step) -> Ticket {
    site.model.stall_at(step, 60_000);
    match site.try_send(request("POST", path, Some(SUBMIT))) {
        Err(NoAnswer::Stalled(ticket)) => ticket,
        other => panic!("{other:?}"),
    }
}

fn first_run(site: &Site) -> String {
    site.model.runs().next().unwrap().run.id.clone()
}

#[test]
fn stalled_submit_goes_on() {
    for path in [
        format!("/api/v1/workflow/{WAITS}/submit?start=true"),
        "/api/v2/team/acme/workflow/waits/submit?start=true".to_owned(),
    ] {
        for (step, state) in [
            (Step::RunSaved, "notstarted pending"),
            (Step::TasksSaved(2), "notstarted pending start:succeeded approve:notstarted"),
            (Step::RunQueued, "ready pending start:succeeded approve:notstarted end:notstarted"),
        ] {
            let mut site = Site::new(Settings::default());
            let ticket = stalled_submit(&mut site, &path, step);
            let run = first_run(&site);
            site.pass(59_999);
            assert!(site.model.late(ticket).is_none());
            assert_eq!(site.state(&run), state);
            site.pass(1);
            let answer = Answer(site.model.late(ticket).unwrap().unwrap());
            assert_eq!(answer.ok().get("id").unwrap().as_text(), Some(run.as_str()));
            assert!(site.model.late(ticket).is_none());
            site.pass(1_000);
            assert_eq!(site.approval(&run), "waiting", "{step:?} of {path}");
            let team = site.model.run(&run).unwrap().team.clone();
            assert_eq!(team.is_some(), path.contains("team"));
        }
    }
}

#[test]
fn submit_that_goes_on_overwrites_a_cancel() {
    let mut site = Site::new(Settings::default());
    stalled_submit(&mut site, &format!("/api/v1/workflow/{WAITS}/submit?start=true"), Step::RunSaved);
    let run = first_run(&site);
    site.send("DELETE", &format!("/api/v1/workflowrun/{run}/cancel"), None).ok();
    site.pass(59_000);
    assert!(site.state(&run).starts_with("cancelled completed"), "{}", site.state(&run));
    site.pass(60_000);
    assert!(site.state(&run).starts_with("running running"), "{}", site.state(&run));
}

#[test]
fn cancel_that_stalls_has_cancelled_the_run() {
    let mut site = Site::new(Settings::default());
    let run = site.submit(WAITS, true);
    site.pass(1_000);
    site.model.stall_at(Step::RunCancelled, 60_000);
    let stalled = site.try_send(request("DELETE", &format!("/api/v1/workflowrun/{run}/cancel"), None));
    let Err(NoAnswer::Stalled(ticket)) = stalled else { panic!("{stalled:?}") };
    assert_eq!(site.state(&run), "cancelled completed start:succeeded approve:waiting end:notstarted");
    site.pass(60_020);
    Answer(site.model.late(ticket).unwrap().unwrap()).ok();
    assert_eq!(site.state(&run), "cancelled completed start:succeeded approve:cancelled end:skipped");
}

#[test]
fn stalled_submit_ends_when_the_engine_dies() {
    let mut site = Site::new(Settings::default());
    let ticket = stalled_submit(&mut site, &format!("/api/v1/workflow/{WAITS}/submit?start=true"), Step::RunSaved);
    site.model.kill(Process::Engine);
    assert_eq!(site.model.late(ticket).unwrap().unwrap_err(), NoAnswer::Cut);
    site.model.restart();
    site.pass(3_600_000);
    assert_eq!(site.state(&first_run(&site)), "notstarted pending");
}
