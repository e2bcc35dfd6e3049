//! The model as a value.

use sluice_engine_model::{Agent, Catalogue, Json, Model, Settings, Step};

use crate::support::{NAPLIT, Site, WAITS};

fn restored(model: &Model) -> Model {
    serde_json::from_str(&serde_json::to_string(model).unwrap()).unwrap()
}

#[test]
fn model_goes_on_after_it_was_serialised() {
    let mut site = Site::new(Settings::default());
    let runs = [site.submit(WAITS, true), site.submit(NAPLIT, true)];
    site.model.die_at(Step::EndSaved);
    for ms in [0, 50, 100, 100, 500, 4_000, 1_000] {
        site.pass(ms);
        let mut copy = Site { model: restored(&site.model), now: site.now };
        assert_eq!(copy.model, site.model);
        for site in [&mut site, &mut copy] {
            let body = r#"{"topic":"approval","results":[{"name":"d","value":{"b":[1.5,null],"a":"x"}}]}"#;
            runs.iter().for_each(|run| {
                let _ = site.try_send(crate::support::request(
                    "PUT",
                    &format!("/api/v1/workflowrun/{run}/event"),
                    Some(body),
                ));
            });
            site.pass(10);
        }
        assert_eq!(copy.model, site.model);
    }
}

#[test]
fn seed_decides_everything() {
    let play = |seed| {
        let mut site = Site::new(Settings { seed, ..Settings::default() });
        let run = site.submit(WAITS, true);
        site.pass(100).event(&run, r#"{"topic":"approval"}"#);
        site.pass(1_000);
        (run, site.model)
    };
    assert_eq!(play(1), play(1));
    assert_ne!(play(1).0, play(2).0);
}

#[test]
fn time_never_goes_back() {
    let mut site = Site::new(Settings::default());
    let run = site.submit(WAITS, true);
    site.pass(1_000);
    let model = site.model.clone();
    site.model.advance(0);
    assert_eq!(site.model, model);
    site.now = 0;
    assert_eq!(site.event(&run, r#"{"topic":"approval"}"#).status(), 200);
    assert_eq!(site.model.now(), model.now());
}

#[test]
fn last_time_of_all_is_a_time() {
    let mut site = Site::new(Settings { agent: Some(Agent { poll_ms: 1 }), ..Settings::default() });
    site.now = u64::MAX;
    let run = site.submit(WAITS, true);
    site.pass(0);
    site.event(&run, r#"{"topic":"approval"}"#);
    site.send("GET", &format!("/api/v1/workflowrun/{run}?withTasks=true"), None).ok();
}

#[test]
fn runs_that_are_over_can_be_forgotten() {
    let mut site = Site::new(Settings::default());
    let runs: Vec<_> = (0..4).map(|_| site.submit(WAITS, false)).collect();
    for run in &runs[..3] {
        site.send("DELETE", &format!("/api/v1/workflowrun/{run}/cancel"), None).ok();
    }
    site.model.forget(2);
    let left = |site: &Site| site.model.runs().map(|record| record.run.id.clone()).collect::<Vec<_>>();
    assert_eq!(left(&site), runs[2..]);
    site.pass(1_000);
    site.model.forget(0);
    assert_eq!(left(&site), runs[3..]);
}

#[test]
fn catalogue_is_checked() {
    assert_eq!(Catalogue::recorded().workflows.len(), 6);
    assert_eq!(
        Catalogue::recorded(),
        Catalogue::from_json(&serde_json::to_string(&Catalogue::recorded()).unwrap()).unwrap()
    );
    for text in [
        r#"{"workflow":[]}"#,
        r#"{"tasks":[{"id":"x"}]}"#,
        r#"{"workflows":[{"id":"x","name":"x","tasks":[{"name":"t","type":"decision"}]}]}"#,
        r#"{"workflows":[{"id":"x","name":"x","tasks":[],"teams":[]}]}"#,
    ] {
        Catalogue::from_json(text).unwrap_err();
    }
    let settings: Settings = serde_json::from_str(r#"{"seed":7,"timing":{"window":[0,10]}}"#).unwrap();
    assert_eq!((settings.seed, settings.timing.window.1, settings.timing.end), (7, 10, 20));
}

#[test]
fn params_of_unknown_types_are_null_pointers() {
    let mut site = Site::new(Settings::default());
    let spec = Json::parse(br#"{"name":"data","type":"map"}"#).unwrap();
    site.model.catalogue().workflows[0].params = vec![spec.as_object().unwrap().clone()];
    let answer = site.send("POST", &format!("/api/v1/workflow/{WAITS}/submit"), Some("{}"));
    assert_eq!((answer.status(), site.model.runs().count()), (500, 0));
}
