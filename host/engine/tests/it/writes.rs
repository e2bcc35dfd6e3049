//! The log of writes, from which a database can be restored after a crash at any time.

use sluice_engine_model::{Catalogue, Model, Record, Services, Settings, Step};

use crate::support::{Site, WAITS};

/// Submits a run that is started, and ends its wait. Returns the writes.
fn play(site: &mut Site) -> Vec<Record> {
    site.model.log_writes();
    let body = r#"{"trigger":"webhook","params":[],"labels":{"l":"v"}}"#;
    let path = format!("/api/v1/workflow/{WAITS}/submit?start=true");
    let _ = site.try_send(crate::support::request("POST", &path, Some(body)));
    site.pass(1_000);
    let run = site.model.runs().next().unwrap().run.id.clone();
    let event = crate::support::request(
        "PUT",
        &format!("/api/v1/workflowrun/{run}/event"),
        Some(r#"{"topic":"approval","status":"succeeded"}"#),
    );
    let _ = site.try_send(event);
    site.pass(1_000);
    site.model.take_writes()
}

/// `status phase`, then the status of each task.
fn state(record: &Record) -> String {
    let tasks = record.tasks.iter().map(|task| task.status.name());
    let tasks = tasks.collect::<Vec<_>>().join(", ");
    format!("{} {}: {tasks}", record.run.status.name(), record.run.phase.name())
}

#[test]
fn each_write_is_logged() {
    let mut site = Site::new(Settings::default());
    let states: Vec<_> = play(&mut site).iter().map(state).collect();
    assert_eq!(
        states,
        [
            "notstarted pending: ",
            "notstarted pending: succeeded",
            "notstarted pending: succeeded, notstarted",
            "notstarted pending: succeeded, notstarted, notstarted",
            "ready pending: succeeded, notstarted, notstarted",
            "running running: succeeded, notstarted, notstarted",
            "running running: succeeded, ready, notstarted",
            "running running: succeeded, running, notstarted",
            "running running: succeeded, waiting, notstarted",
            "running running: succeeded, succeeded, notstarted",
            "running running: succeeded, succeeded, succeeded",
            "succeeded completed: succeeded, succeeded, succeeded",
        ]
    );
    assert!(site.model.take_writes().is_empty());
}

#[test]
fn writes_end_where_the_process_dies() {
    let whole: Vec<_> = play(&mut Site::new(Settings::default())).iter().map(state).collect();
    for (step, writes) in [
        (Step::RunSaved, 1),
        (Step::TasksSaved(2), 3),
        (Step::RunQueued, 5),
        (Step::RunStarted, 6),
        (Step::TaskWaiting, 9),
        (Step::TaskEnded, 10),
        (Step::EndSaved, 11),
    ] {
        let mut site = Site::new(Settings::default());
        site.model.die_at(step);
        let states: Vec<_> = play(&mut site).iter().map(state).collect();
        assert_eq!(states, whole[..writes], "{step:?}");
    }
}

#[test]
fn restored_installation_is_one_that_restarted() {
    let mut site = Site::new(Settings::default());
    site.model.die_at(Step::TaskWaiting);
    let last = play(&mut site).pop().unwrap();
    let mut restored = Model::new(Services::Engine, Catalogue::recorded(), Settings::default());
    restored.restore(site.now, [last.clone()]);
    assert_eq!(restored.run(&last.run.id), Some(&last));
    let id = last.run.id.clone();
    let mut restored = Site { model: restored, now: site.now };
    restored.event(&id, r#"{"topic":"approval"}"#);
    restored.pass(1_000);
    assert!(restored.state(&id).starts_with("succeeded completed"), "{}", restored.state(&id));
}

#[test]
fn run_by_hand_belongs_to_the_team() {
    let mut site = Site::new(Settings::default());
    let id = site.model.start_by_hand(site.now, WAITS).unwrap();
    assert_eq!(site.model.run(&id).unwrap().team.as_deref(), Some("acme"));
    assert_eq!(site.model.look(&id).unwrap().get("trigger").unwrap().as_text(), Some("manual"));
    assert_eq!(site.model.start_by_hand(site.now, "gone"), None);
}
