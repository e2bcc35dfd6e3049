//! Descriptions are read from the recorded answers; findings from descriptions that differ from them in one place.

use serde_json::{Value, json};

use super::finding::Level::{Error, Ok as Fine, Warning};
use super::*;
use crate::engine::form::TasksForm;
use crate::engine::{Constants, EngineUrl, Profile};

const QUERY: &str = include_str!("../../../host/engine/vectors/query.json");
const FLOW: &str = include_str!("../../../host/engine/vectors/flow-api.json");

/// The recorded answer of this name.
fn recorded(file: &str, name: &str) -> Vec<u8> {
    let exchanges: Vec<Value> = serde_json::from_str(file).unwrap();
    let exchange = exchanges.iter().find(|exchange| exchange["name"] == name).unwrap();
    serde_json::to_vec(&exchange["response"]["body"]).unwrap()
}

/// A built-in profile, whose form is read where it is needed.
#[derive(Clone, Copy)]
struct Named(&'static str);

impl Named {
    fn with<T>(self, read: impl FnOnce(&PreflightForm<'_>, &TasksForm<'_>) -> T) -> T {
        let profile = Profile::built_in(self.0).unwrap();
        let document = profile.document();
        let describe = document.describe().unwrap().unwrap();
        read(&describe.preflight().unwrap().unwrap(), &document.tasks().unwrap().unwrap())
    }

    fn workflow(self, body: &[u8]) -> Option<Description> {
        self.with(|form, tasks| form.workflow(tasks, body))
    }

    fn template(self, body: &[u8]) -> Option<Template> {
        self.with(|form, _| form.template(body))
    }
}

fn engine_profile() -> Named {
    Named("boomerang")
}

fn flow_profile() -> Named {
    Named("flow")
}

fn switch(trigger: Trigger, switch: &str, enabled: bool) -> TriggerSwitch {
    TriggerSwitch { trigger, switch: switch.to_owned(), enabled, has_conditions: false }
}

fn template(reference: &str) -> TemplateRef {
    TemplateRef { reference: reference.to_owned(), version: Some(2) }
}

fn known(image: Option<&str>) -> TemplateState {
    TemplateState::Known(Template { image: image.map(str::to_owned), active: Some(true) })
}

/// A workflow about which nothing has to be changed.
fn sound() -> Description {
    let param = |name: &str| DeclaredParam { name: name.to_owned(), kind: Some("json".to_owned()), is_json: true };
    Description {
        active: Some(true),
        triggers: vec![
            switch(Trigger::Webhook, "webhook", true),
            switch(Trigger::Event, "event", true),
            switch(Trigger::Github, "webhook", true),
        ],
        params: vec![param("data"), param("event")],
        container_tasks: vec![ContainerTask { name: "sh".to_owned(), template: template("5c39") }],
        waits: vec![TopicWait {
            task: "approve".to_owned(),
            topic: Some("approval".to_owned()),
            has_references: false,
        }],
    }
}

fn findings(profile: Named, description: &Description, state: Option<TemplateState>) -> Vec<Finding> {
    let templates = state.map(|state| (template("5c39"), state)).into_iter().collect();
    profile.with(|form, _| form.findings(description, &templates, false))
}

/// Changes the sound workflow, and returns the findings that ask for a change: level, name, text and remedy.
#[track_caller]
fn faults(profile: Named, change: impl FnOnce(&mut Description)) -> Vec<(Level, Option<String>, String, String)> {
    let mut description = sound();
    change(&mut description);
    let found = findings(profile, &description, Some(known(Some("alpine"))));
    let faulty = found.into_iter().filter(|finding| finding.level > Fine);
    faulty.map(|one| (one.level, one.name, one.text, one.remedy.expect("a remedy"))).collect()
}

fn fault(level: Level, name: &str, text: &str, remedy: &str) -> (Level, Option<String>, String, String) {
    (level, Some(name.to_owned()).filter(|name| !name.is_empty()), text.to_owned(), remedy.to_owned())
}

#[test]
fn recorded_workflow_is_described() {
    for (profile, body, reference) in [
        (engine_profile(), recorded(QUERY, "workflow by id"), "5c3907a1352b1b51412ed079"),
        (flow_profile(), recorded(FLOW, "workflow by name"), "execute-shell"),
    ] {
        let expected = Description {
            active: Some(true),
            triggers: sound().triggers,
            params: vec![],
            container_tasks: vec![ContainerTask { name: "sh".to_owned(), template: template(reference) }],
            waits: vec![],
        };
        assert_eq!(profile.workflow(&body), Some(expected));
    }
}

#[test]
fn recorded_template_has_no_image() {
    let body = recorded(QUERY, "task by id");
    let places = engine_profile();
    assert_eq!(places.template(&body), Some(Template { image: None, active: Some(true) }));
    let mut with_image: Value = serde_json::from_slice(&body).unwrap();
    with_image["spec"]["image"] = json!("alpine:3");
    with_image["status"] = json!("inactive");
    let expected = Template { image: Some("alpine:3".to_owned()), active: Some(false) };
    assert_eq!(places.template(with_image.to_string().as_bytes()), Some(expected));
}

#[test]
fn waits_params_and_conditions_are_described() {
    let mut workflow: Value = serde_json::from_slice(&recorded(QUERY, "workflow by id")).unwrap();
    workflow["status"] = json!("inactive");
    workflow["params"] = json!([{"name": "data", "type": "json"}, {"name": "event", "type": "text"}, {"name": "x"}]);
    workflow["triggers"]["event"] = json!({"enabled": true, "conditions": [{"operation": "equals"}]});
    workflow["triggers"]["webhook"]["enabled"] = json!(false);
    let wait =
        |name: &str, params: Value| json!({"name": name, "type": "eventwait", "taskRef": "5f7d", "params": params});
    workflow["tasks"] = json!([
        wait("a", json!([{"name": "x", "value": "$(y)"}, {"name": "topic", "value": "approval"}])),
        wait("b", json!([{"name": "topic", "value": "approval-$(params.order)"}])),
        wait("c", json!([{"name": "topic", "value": ""}])),
        wait("d", json!([])),
    ]);
    let described = engine_profile().workflow(workflow.to_string().as_bytes()).unwrap();
    assert_eq!(described.active, Some(false));
    let param = |name: &str, kind: Option<&str>, is_json| DeclaredParam {
        name: name.to_owned(),
        kind: kind.map(str::to_owned),
        is_json,
    };
    let params = [param("data", Some("json"), true), param("event", Some("text"), false), param("x", None, false)];
    assert_eq!(described.params, params);
    let event = TriggerSwitch { has_conditions: true, ..switch(Trigger::Event, "event", true) };
    let off = [Trigger::Webhook, Trigger::Github].map(|trigger| switch(trigger, "webhook", false));
    assert_eq!(described.triggers, [off[0].clone(), event, off[1].clone()]);
    assert!(described.container_tasks.is_empty());
    let waits: Vec<_> = described.waits.iter().map(|w| (&*w.task, w.topic.as_deref(), w.has_references)).collect();
    let expected = [
        ("a", Some("approval"), false),
        ("b", Some("approval-$(params.order)"), true),
        ("c", None, false),
        ("d", None, false),
    ];
    assert_eq!(waits, expected);
}

#[test]
fn other_json_is_not_a_description() {
    let places = engine_profile();
    for body in ["", "<html>", "[]", "{}", "null", r#"{"tasks":{}}"#, r#"{"id":"5f1","status":"active"}"#] {
        assert_eq!(places.workflow(body.as_bytes()), None, "{body}");
        assert_eq!(places.template(body.as_bytes()), None, "{body}");
    }
    // What the engine leaves out is not known.
    let bare = Description { active: None, triggers: vec![], params: vec![], container_tasks: vec![], waits: vec![] };
    assert_eq!(places.workflow(br#"{"tasks":[{},7,{"type":"start"}]}"#), Some(bare));
    assert_eq!(places.template(br#"{"spec":{"image":7}}"#), Some(Template { image: None, active: None }));
}

#[test]
fn sound_workflow_has_no_fault() {
    for profile in [engine_profile(), flow_profile()] {
        assert_eq!(faults(profile, |_| {}), []);
    }
    let texts: Vec<_> = findings(engine_profile(), &sound(), Some(known(Some("alpine"))))
        .into_iter()
        .map(|finding| (finding.level, finding.remedy, finding.text))
        .collect();
    let expected = [
        "The engine has this workflow, and it is active.",
        "All triggers of senders are on.",
        "The param `data` is declared as `json`: JSON stays JSON.",
        "The param `event` is declared as `json`: JSON stays JSON.",
        "The task `sh` has an image.",
        "The task `approve` waits for the topic `approval`.",
    ];
    assert_eq!(texts, expected.map(|text| (Fine, None, text.to_owned())));
}

#[test]
fn inactive_workflow_is_an_error() {
    let expected = fault(
        Error,
        "",
        "The workflow is not active: the engine rejects each run.",
        "Activate the workflow in the engine.",
    );
    assert_eq!(faults(engine_profile(), |workflow| workflow.active = Some(false)), [expected]);
    assert_eq!(faults(engine_profile(), |workflow| workflow.active = None), []);
}

/// The engine with a profile, without a token.
fn engine(profile: &str, constants: &str) -> Engine<'static> {
    let profile = Profile::built_in(profile).unwrap();
    let constants = Constants::parse(constants, &profile).unwrap();
    let url = EngineUrl::parse("http://engine:8080").unwrap();
    Engine { profile, url, token: None, start: false, constants }
}

fn response(status: u16, body: &str) -> Response<Vec<u8>> {
    Response::builder().status(status).body(body.as_bytes().to_vec()).unwrap()
}

#[test]
fn unknown_workflow_is_an_error_with_the_profiles_remedy() {
    let unknown = r#"{"code":1201,"reason":"WORKFLOW_INVALID_REFERENCE"}"#;
    let answered = "The engine has no workflow `shell`: it answered";
    for (name, constants, status, body, text, remedy) in [
        ("boomerang", "", 400, unknown, "400, WORKFLOW_INVALID_REFERENCE.", "Use the workflow's id"),
        ("flow", r#"{"team":"acme"}"#, 400, unknown, "400, WORKFLOW_INVALID_REFERENCE.", "Check the name or id"),
        ("flow-5", r#"{"workspace":"acme"}"#, 404, "", "404.", "Check the name or id"),
    ] {
        let (engine, workflow) = (engine(name, constants), WorkflowRef::parse("shell").unwrap());
        let described = engine.read_workflow(response(status, body), Timestamp(0)).unwrap();
        let found = engine.findings(&workflow, &described, &BTreeMap::new()).unwrap();
        assert_eq!(found.len(), 1, "{name}");
        assert_eq!((found[0].level, found[0].about), (Error, Subject::Workflow));
        assert_eq!(found[0].text, format!("{answered} {text}"));
        assert!(found[0].remedy.as_ref().unwrap().starts_with(remedy), "{name}: {found:?}");
    }
    // Any other answer says nothing of the workflow.
    let engine = engine("boomerang", "");
    for (status, body) in
        [(400, ""), (400, r#"{"reason":"WORKFLOW_NOT_ACTIVE"}"#), (401, ""), (404, "<html>"), (500, unknown)]
    {
        let read = engine.read_workflow(response(status, body), Timestamp(0));
        assert!(read.is_err(), "{status} {body}: {read:?}");
    }
}

#[test]
fn workflow_of_an_engine_without_a_form_is_not_checked() {
    let (engine, workflow) = (engine("flow-5", r#"{"workspace":"acme"}"#), WorkflowRef::parse("shell").unwrap());
    let described = engine.read_workflow(response(200, r#"{"tasks":[]}"#), Timestamp(0)).unwrap();
    assert_eq!(described, Described::Unread);
    assert!(engine.templates(&described).unwrap().is_empty());
    let found = engine.findings(&workflow, &described, &BTreeMap::new()).unwrap();
    assert_eq!((found.len(), found[0].level), (1, Warning));
}

#[test]
fn template_is_asked_for_in_its_version() {
    let workflow = WorkflowRef::parse("shell").unwrap();
    let uri = |engine: Engine, version| {
        let template = TemplateRef { version, ..template("execute-shell") };
        engine.describe_template(&workflow, &template).unwrap().uri().to_string()
    };
    let api = "http://engine:8080/flow/api/v1/task/execute-shell";
    let constants = r#"{"base_path":"/flow"}"#;
    assert_eq!(uri(engine("boomerang", constants), Some(2)), format!("{api}?version=2"));
    assert_eq!(uri(engine("boomerang", constants), None), api);
    assert_eq!(
        uri(engine("flow", r#"{"team":"acme"}"#), Some(2)),
        "http://engine:8080/api/v2/team/acme/task/execute-shell?version=2"
    );
}

#[test]
fn default_image_is_a_constant_of_the_operator() {
    let workflow = WorkflowRef::parse("shell").unwrap();
    let templates = BTreeMap::from([(template("5c39"), known(None))]);
    for (constants, level) in [("", Error), (r#"{"default_image":"alpine:3"}"#, Fine)] {
        let engine = engine("boomerang", constants);
        let found = engine.findings(&workflow, &Described::Known(sound()), &templates).unwrap();
        let task = found.into_iter().find(|finding| finding.about == Subject::Task).unwrap();
        assert_eq!(task.level, level, "{constants}");
    }
}

#[test]
fn trigger_that_is_off_matters_where_the_engine_checks_it() {
    let off = |name: &'static str| {
        move |workflow: &mut Description| {
            workflow.triggers.iter_mut().filter(|one| one.switch == name).for_each(|one| one.enabled = false);
        }
    };
    let event = fault(
        Warning,
        "event",
        "The trigger `event` is off: the engine rejects events for this workflow.",
        "Turn on the trigger `event` if senders start this workflow by events.",
    );
    assert_eq!(faults(flow_profile(), off("event")), [event]);
    let webhook = fault(
        Warning,
        "webhook",
        "The trigger `webhook` is off: the engine rejects webhooks for this workflow.",
        "Turn on the trigger `webhook` if senders start this workflow by webhooks.",
    );
    let github = fault(
        Warning,
        "github",
        "The trigger `webhook` is off: the engine rejects routed webhooks of GitHub for this workflow.",
        "Turn on the trigger `webhook` if senders start this workflow by routed webhooks of GitHub.",
    );
    assert_eq!(faults(flow_profile(), off("webhook")), [webhook, github]);
    let none = faults(flow_profile(), |workflow| {
        off("webhook")(workflow);
        off("event")(workflow);
    });
    assert_eq!(none.iter().map(|(level, ..)| *level).collect::<Vec<_>>(), [Error; 3]);

    // The engine that checks no trigger starts each run.
    for (name, text) in [("webhook", "The trigger `webhook` is off, but"), ("event", "The trigger `event` is off, but")]
    {
        assert_eq!(faults(engine_profile(), off(name)), []);
        let mut workflow = sound();
        off(name)(&mut workflow);
        let found = findings(engine_profile(), &workflow, None);
        assert!(found.iter().any(|finding| finding.text.starts_with(text)), "{found:?}");
    }
}

#[test]
fn conditions_of_a_trigger_matter_where_the_engine_checks_them() {
    let with_conditions =
        |workflow: &mut Description| workflow.triggers.iter_mut().for_each(|one| one.has_conditions = true);
    let remedy = "Remove the conditions, and put them into the `filter` of a route.";
    let expected = [
        fault(
            Warning,
            "event",
            "The trigger `event` has conditions: events that don't meet them start no run.",
            remedy,
        ),
        fault(
            Warning,
            "github",
            "The trigger `webhook` has conditions: routed webhooks of GitHub that don't meet them start no run.",
            remedy,
        ),
    ];
    assert_eq!(faults(flow_profile(), with_conditions), expected);
    assert_eq!(faults(engine_profile(), with_conditions), []);
}

#[test]
fn param_that_is_not_json_is_a_warning() {
    let text = |name, what: &str| {
        format!(
            "The param `{name}` {what}: an object arrives as a text such as `{{a=1}}`, and a text with `$(` in it wipes the whole param."
        )
    };
    let remedy = |name| format!("Declare the param `{name}` with the type `json` in the workflow.");
    let undeclared = |name| fault(Warning, name, &text(name, "is not declared"), &remedy(name));
    assert_eq!(faults(engine_profile(), |w| w.params.clear()), [undeclared("data"), undeclared("event")]);
    for (kind, what) in [(Some("text"), "is declared as `text`"), (None, "is declared without a type")] {
        let found = faults(flow_profile(), |workflow| {
            let name = "data".to_owned();
            workflow.params[0] = DeclaredParam { name, kind: kind.map(str::to_owned), is_json: false };
        });
        assert_eq!(found, [fault(Warning, "data", &text("data", what), &remedy("data"))]);
    }
    // A workflow whose events are off gets no `event`.
    let found = faults(engine_profile(), |workflow| {
        workflow.params.clear();
        workflow.triggers[1].enabled = false;
    });
    assert_eq!(found, [undeclared("data")]);
}

#[test]
fn task_without_an_image_depends_on_the_engine_and_its_default_image() {
    let starts = |level, text: &str, remedy: Option<&str>| (level, text.to_owned(), remedy.map(str::to_owned));
    for (state, expected) in [
        (
            Some(known(None)),
            starts(
                Error,
                "The task `sh` has no image: the engine answers 500, and no run of this workflow starts.",
                Some(
                    "Set `engine.default_image` in `settings`, or give the task's template an image, or use the engine `flow`, which gives one itself.",
                ),
            ),
        ),
        (Some(known(Some("alpine"))), starts(Fine, "The task `sh` has an image.", None)),
        (
            Some(TemplateState::Known(Template { image: Some("alpine".to_owned()), active: Some(false) })),
            starts(
                Error,
                "The template of the task `sh` is not active: no run of this workflow starts.",
                Some("Activate the template, or give the task another one."),
            ),
        ),
        (
            Some(TemplateState::Unknown),
            starts(
                Error,
                "The engine has no template for the task `sh`: no run of this workflow starts.",
                Some("Give the task a template that exists, in a version that exists."),
            ),
        ),
        (
            Some(TemplateState::NotRead("the engine answered 500".to_owned())),
            starts(
                Warning,
                "It is not known whether the task `sh` has an image: the engine answered 500.",
                Some("Ask again, or look at the task's template in the engine."),
            ),
        ),
        (
            None,
            starts(
                Warning,
                "It is not known whether the task `sh` has an image: the workflow has too many tasks.",
                Some("Look at the task's template in the engine."),
            ),
        ),
    ] {
        let found = findings(engine_profile(), &sound(), state);
        let task = found.into_iter().find(|finding| finding.about == Subject::Task).unwrap();
        assert_eq!(task.name.as_deref(), Some("sh"));
        assert_eq!((task.level, task.text, task.remedy), expected);
    }

    let templates = BTreeMap::from([(template("5c39"), known(None))]);
    let found = engine_profile().with(|form, _| form.findings(&sound(), &templates, true));
    let task = found.into_iter().find(|finding| finding.about == Subject::Task).unwrap();
    assert_eq!((task.level, &*task.text), (Fine, "The task `sh` has no image of its own, and gets `default_image`."));

    // An engine that gives an image isn't asked for templates.
    let found = findings(flow_profile(), &sound(), None);
    let task = found.into_iter().find(|finding| finding.about == Subject::Task).unwrap();
    assert_eq!((task.level, &*task.text), (Fine, "The engine gives an image to each task that has none."));
}

#[test]
fn topic_made_of_params_or_missing_is_a_fault() {
    let with = |topic: Option<&str>, has_references| {
        let topic = topic.map(str::to_owned);
        move |workflow: &mut Description| {
            workflow.waits[0] = TopicWait { task: "approve".to_owned(), topic, has_references }
        }
    };
    let expected = fault(
        Warning,
        "approval-$(params.order)",
        "The topic of the task `approve` is made of params: `approval-$(params.order)`. It is known only once the run has come to this task.",
        "Let callbacks name the topic with the params' values in it, or give the task a fixed topic.",
    );
    assert_eq!(faults(engine_profile(), with(Some("approval-$(params.order)"), true)), [expected]);
    let expected = fault(
        Error,
        "",
        "The task `approve` waits for a callback, but has no topic: no callback reaches it.",
        "Give the task a topic.",
    );
    assert_eq!(faults(engine_profile(), with(None, false)), [expected]);
}

#[test]
fn engine_that_does_not_answer_is_an_error_with_the_cause() {
    let reason = || "the reason".to_owned();
    let unclear = || Verdict::Unclear { reason: reason(), after: None, concluded: false };
    for (verdict, status, remedy) in [
        (Verdict::Misconfigured { reason: reason() }, Some(401), "Set `engine_token`"),
        (Verdict::Misconfigured { reason: reason() }, Some(403), "Set `engine_token`"),
        (Verdict::Misconfigured { reason: reason() }, Some(404), "Check `engine_url`, `engine`, and the path"),
        (Verdict::Misconfigured { reason: reason() }, Some(302), "Check `engine_url`, `engine`, and the path"),
        (unclear(), Some(200), "Check `engine_url`, `engine`, and the path"),
        (Verdict::Misconfigured { reason: reason() }, None, "Check `engine_url`: the host calls"),
        (Verdict::Unreachable { reason: reason() }, None, "Check `engine_url`, and that the engine runs"),
        (unclear(), None, "Ask again"),
        (unclear(), Some(500), "Ask again"),
        (Verdict::Retry { reason: reason(), after: None }, Some(503), "Ask again"),
    ] {
        let finding = unavailable(&verdict, status.map(|status| StatusCode::from_u16(status).unwrap()));
        assert_eq!((finding.level, finding.about, &*finding.text), (Error, Subject::Engine, "The reason."));
        assert!(finding.remedy.as_ref().unwrap().starts_with(remedy), "{verdict:?} {status:?}: {finding:?}");
    }
}
