//! Reads runs and their tasks from the engine's responses.

use http::Response;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::form::{FindForm, Lazy, Proof, RunForm, StateRule, TasksForm, Text, TopicForm, WaitStateName};
use super::malformed;
use super::profile::{ProfileError, proof};
use super::response::{Reader, Refused, Success, Value};
use crate::callback::Status;
use crate::delivery::{FoundRun, RunState, RunView, RunWorkflow, Verdict, WaitState, WaitTask};
use crate::json;

/// Maximum length of a run's id in a reason.
const MAX_SHOWN_ID: usize = 64;

/// A run in a response.
struct Run {
    id: String,
    /// `None` if the profile doesn't know its status, or not in this phase: then it proves nothing.
    state: Option<RunState>,
}

impl Run {
    /// Reads a run; `None` without an id.
    fn read(value: &Value<'_>, form: &RunForm<'_>) -> Result<Option<Self>, Verdict> {
        let Some(id) = form.id.as_ref().and_then(|place| id_at(value, place)) else { return Ok(None) };
        Ok(Some(Self { id, state: run_state(value, form)? }))
    }
}

/// The state of a run. Without rules for it, each run is active; `None` if no rule knows its status.
fn run_state(value: &Value<'_>, form: &RunForm<'_>) -> Result<Option<RunState>, Verdict> {
    if form.states.is_empty() {
        return Ok(Some(RunState::Active));
    }
    let text_at = |place: &Option<Text<'_>>| place.as_ref().and_then(|place| value.text_at(place));
    // A run of Argo Workflows has no status until its controller has seen it.
    state("run", form.states, &text_at(&form.status).unwrap_or_default(), text_at(&form.phase).as_deref())
}

/// The state that a status means, by the rules in `states` of a member of the profile. `None` if no rule names the
/// status.
fn state<'a, S: Clone + Deserialize<'a>>(
    member: &str,
    rules: Lazy<'a, [StateRule<'a, S>]>,
    status: &str,
    phase: Option<&str>,
) -> Result<Option<S>, Verdict> {
    let is_listed = |list: &[Text<'_>], text: &str| list.iter().any(|listed| **listed == *text);
    for (at, rule) in rules.iter().enumerate() {
        let place = || format!("/{member}/states/{at}");
        let rule = rule.map_err(|error| malformed(ProfileError::within(&place(), error)))?;
        if is_listed(&rule.status, status)
            && (rule.phase.is_empty() || phase.is_some_and(|phase| is_listed(&rule.phase, phase)))
        {
            return Ok(Some(rule.state));
        }
    }
    Ok(None)
}

impl From<WaitStateName> for WaitState {
    fn from(name: WaitStateName) -> Self {
        match name {
            WaitStateName::Ahead => Self::Ahead,
            WaitStateName::Waiting => Self::Waiting,
            WaitStateName::Succeeded => Self::Ended(Some(Status::Succeeded)),
            WaitStateName::Failed => Self::Ended(Some(Status::Failed)),
            WaitStateName::EndedOtherwise => Self::Ended(None),
        }
    }
}

/// The id of a run or task: a text that isn't empty.
fn id_at(value: &Value<'_>, place: &str) -> Option<String> {
    value.text_at(place).filter(|id| !id.is_empty())
}

/// The place of a run's id in the response to a sender.
const ID: &str = "/id";

/// Returns the id of the run in the response to a sender. `own` is the place of it in the engine's own response, if that is
/// what the sender gets.
pub(super) fn run_id(body: &[u8], own: Option<&str>) -> Option<String> {
    id_at(&Value::of_body(body), own.unwrap_or(ID))
}

/// The response to a sender, in one form for all engines.
#[derive(Serialize)]
struct Answer<'a> {
    id: &'a str,
    #[serde(rename = "workflowRef", skip_serializing_if = "Option::is_none")]
    workflow: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    engine: &'a str,
}

impl Reader<'_, '_> {
    /// Reads the 2xx to a start. Returns the response for the sender.
    ///
    /// A run that is saved and not queued proves nothing: the engine may have failed in between, and then it never runs.
    pub(super) fn started(&self, success: Success) -> Result<Vec<u8>, Verdict> {
        let form = self.document.start().map_err(malformed)?;
        match proof("start", form.proof).map_err(malformed)? {
            Proof::Run => self.started_run(success),
            proof => {
                let proven = self.prove(&proof, &success).ok_or_else(|| success.unexpected())?;
                self.answer(&proven, form.reference.as_ref(), success)
            }
        }
    }

    fn started_run(&self, success: Success) -> Result<Vec<u8>, Verdict> {
        let form = self.document.run().map_err(malformed)?;
        let Some(run) = Run::read(&Value::of_body(&success.body), &form)? else { return Err(success.unexpected()) };
        match run.state {
            Some(RunState::Active | RunState::Ended | RunState::Cancelled) => self.answer(&run.id, None, success),
            Some(RunState::NotStarted) => {
                Err(success.unclear(&format!("and has saved {} without queuing it", named(&run.id)), true))
            }
            Some(RunState::Invalid) => {
                Err(success.unclear(&format!("and has saved {} as invalid", named(&run.id)), true))
            }
            None => Err(success.unclear(&format!("and {} has no status that is known", named(&run.id)), false)),
        }
    }

    /// The response for the sender whose run was started: the engine's own, or its parts that all engines have.
    /// `reference` is the run's reference, with holes; the proof stands for it if there is none.
    fn answer(&self, proven: &str, reference: Option<&Text<'_>>, success: Success) -> Result<Vec<u8>, Verdict> {
        if self.document.answers_as_the_engine() {
            return Ok(success.body);
        }
        let id = match reference {
            Some(reference) => self.expand_with(reference, Some(proven)),
            None => Some(proven.to_owned()),
        };
        let id = id.filter(|id| !id.is_empty()).ok_or_else(|| success.unexpected())?;
        let form = self.document.run().map_err(malformed)?;
        let status = form.status.and_then(|place| Value::of_body(&success.body).text_at(&place));
        let answer = Answer { id: &id, workflow: self.names.reference(), status, engine: &self.document.name };
        serde_json::to_vec(&answer).map_err(|_| success.unexpected())
    }

    /// Reads the response to a lookup: the delivery's runs, oldest first.
    pub(super) fn found(&self, form: &FindForm<'_>, response: Response<Vec<u8>>) -> Result<Vec<FoundRun>, Verdict> {
        let success = match self.success(response) {
            Ok(success) => success,
            Err(Refused::Absent) => return Ok(Vec::new()),
            Err(Refused::Verdict(verdict)) => return Err(verdict),
        };
        if let (Some(list), Some(label)) = (&form.list, &form.label) {
            return self.found_in_list(list, label, &success);
        }
        let proof = form.proof.map(|raw| proof("find", raw)).transpose().map_err(malformed)?;
        let proven = proof.and_then(|proof| self.prove(&proof, &success));
        let Some(proven) = proven else {
            return Err(success.unclear("but not with the run that was looked up", false));
        };
        let run_form = self.document.run().map_err(malformed)?;
        let Some(state) = run_state(&Value::of_body(&success.body), &run_form)? else {
            return Err(success.unclear("and the run has no status that is known", false));
        };
        let body = self.answer(&proven, form.reference.as_ref(), success)?;
        let own = run_form.id.filter(|_| self.document.answers_as_the_engine());
        Ok(run_id(&body, own.as_deref()).map(|id| FoundRun { id, state, body }).into_iter().collect())
    }

    /// Reads a list of runs.
    ///
    /// Each run in the response has to carry the label, because an engine that ignores the filter answers with any runs.
    /// Left out are children, which carry the label of the run that started them, and runs of another workflow. If
    /// nothing is left of a response that isn't empty, the delivery's own run is missing, not absent: the verdict is
    /// [`Verdict::Unclear`].
    fn found_in_list(
        &self,
        list: &Text<'_>,
        label_place: &Text<'_>,
        success: &Success,
    ) -> Result<Vec<FoundRun>, Verdict> {
        let form = self.document.run().map_err(malformed)?;
        let page = Value::of_body(&success.body);
        let runs = page.at(list).and_then(json::elements).ok_or_else(|| success.unexpected())?;
        let mut found = Vec::new();
        for run in &runs {
            let value = Value::of(run);
            if !value.is_object() {
                return Err(success.unexpected());
            }
            if value.text_at(label_place).as_deref() != self.names.get("label") {
                return Err(success.unclear("but not with the run that was looked up", false));
            }
            let trigger = form.trigger.as_ref().and_then(|place| value.text_at(place));
            let is_child = trigger.is_some_and(|trigger| form.child_triggers.iter().any(|child| **child == *trigger));
            if is_child || self.is_of_another_workflow(&value, &form) {
                continue;
            }
            let Run { id, state } = Run::read(&value, &form)?.ok_or_else(|| success.unexpected())?;
            let Some(state) = state else {
                return Err(success.unclear(&format!("and {} has no status that is known", named(&id)), false));
            };
            found.push(FoundRun { id, state, body: run.get().as_bytes().to_vec() });
        }
        if found.is_empty() && !runs.is_empty() {
            return Err(success.unclear("but only with runs that other runs or workflows have started", false));
        }
        Ok(found)
    }

    /// Whether a run is certainly of another workflow than the one that was started. A reference that is no id is a name:
    /// it can't be compared with the id of the run's workflow, and names can change, so its runs all count.
    fn is_of_another_workflow(&self, value: &Value<'_>, form: &RunForm<'_>) -> bool {
        let (Some(reference), Some(id)) = (self.names.get("workflow"), &form.workflow_id) else { return false };
        id.is_id(reference)
            && value.text_at(&id.at).is_some_and(|other| id.is_id(&other) && !other.eq_ignore_ascii_case(reference))
    }

    /// Reads the response to a look at a run, or at the topic of a callback in it. Another run in the response proves
    /// nothing: a reference such as `query` can be a route of the engine.
    pub(super) fn looked(&self, topic: Option<&str>, response: Response<Vec<u8>>) -> Result<RunView, Verdict> {
        let success = match self.success(response).map_err(Verdict::from) {
            Err(Verdict::NotWaiting) => return Ok(self.view(topic, RunState::Active, WaitState::Ahead)),
            success => success?,
        };
        let form = self.document.run().map_err(malformed)?;
        let value = Value::of_body(&success.body);
        if !value.is_object() {
            return Err(success.unexpected());
        }
        // A topic has a response of its own, in which there is no run.
        let has_own = self.document.look().map_err(malformed)?.is_some_and(|look| look.run.is_some());
        let is_of_run = topic.is_none() || !has_own;
        if let Some(place) = form.id.as_ref().filter(|_| is_of_run)
            && id_at(&value, place).as_deref() != self.names.get("run")
        {
            return Err(success.unexpected());
        }
        let state = if is_of_run { run_state(&value, &form)? } else { Some(RunState::Active) };
        let Some(state) = state else {
            let id = self.names.get("run").unwrap_or_default();
            return Err(success.unclear(&format!("and {} has no status that is known", named(id)), false));
        };
        let mut view = match self.document.wait().map_err(malformed)? {
            Some(rules) => {
                let holds = |rule: &&super::form::WaitRule<'_>| rule.when.iter().all(|it| self.meets(it, &value));
                let wait = rules.iter().find(holds).map_or(WaitState::Ahead, |rule| rule.state.into());
                self.view(topic, state, wait)
            }
            None => self.view_of_tasks(state, &value, &success)?,
        };
        view.workflow = RunWorkflow {
            id: form.workflow_id.and_then(|id| value.text_at(&id.at)),
            name: form.workflow_name.and_then(|at| value.text_at(&at)).or_else(|| self.workflow_in_reference()),
        };
        Ok(view)
    }

    /// The workflow that a run's reference names.
    fn workflow_in_reference(&self) -> Option<String> {
        self.names.get("workflow").map(str::to_owned)
    }

    /// A run in which the topic is the only task that waits.
    fn view(&self, topic: Option<&str>, state: RunState, wait: WaitState) -> RunView {
        let wait = topic.map(|topic| WaitTask { id: topic.to_owned(), topic: Some(topic.to_owned()), state: wait });
        let workflow = RunWorkflow { id: None, name: self.workflow_in_reference() };
        RunView { state, has_tasks: true, waits: wait.into_iter().collect(), workflow }
    }

    fn view_of_tasks(&self, state: RunState, run: &Value<'_>, success: &Success) -> Result<RunView, Verdict> {
        let Some(form) = self.document.tasks().map_err(malformed)? else {
            return Ok(self.view(None, state, WaitState::Ahead));
        };
        // Without tasks the engine leaves the list out.
        let tasks = match run.at(&form.list) {
            None => Vec::new(),
            Some(list) => elements_or_values(list).ok_or_else(|| success.unexpected())?,
        };
        let mut waits = Vec::new();
        for task in &tasks {
            let value = Value::of(task);
            if !value.is_object() {
                return Err(success.unexpected());
            }
            if value.text_at(&form.kind).as_deref() == Some(&*form.waits) {
                let task = wait_task(&value, &form)?;
                let unclear = || success.unclear("and a task that waits has no status that is known", false);
                waits.push(task.ok_or_else(unclear)?);
            }
        }
        Ok(RunView { state, has_tasks: !tasks.is_empty() && !form.later, waits, workflow: RunWorkflow::default() })
    }
}

/// The elements of an array, or the values of an object.
fn elements_or_values(list: &RawValue) -> Option<Vec<&RawValue>> {
    json::elements(list).or_else(|| Some(json::members(list)?.into_iter().map(|(_, value)| value).collect()))
}

/// A run, for a reason. The id is shown only if it looks like one, because it is text of the engine.
fn named(id: &str) -> String {
    let is_plain = id.len() <= MAX_SHOWN_ID && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b));
    if is_plain { format!("the run {id}") } else { "a run".to_owned() }
}

/// Reads a task that waits; `None` without an id, or without a status that the profile knows.
fn wait_task(value: &Value<'_>, form: &TasksForm<'_>) -> Result<Option<WaitTask>, Verdict> {
    let (Some(id), Some(status)) = (id_at(value, &form.id), value.text_at(&form.status)) else { return Ok(None) };
    let Some(state) = state("tasks", form.states, &status, None)? else { return Ok(None) };
    let state = WaitState::from(state);
    let topic = topic(value, &form.topic);
    // A topic is resolved when the run reaches the task; from then on its text is what the engine compares.
    let is_unresolved = form.topic.unresolved.as_deref().is_some_and(|mark| topic.contains(mark));
    let topic = Some(topic).filter(|_| state != WaitState::Ahead || !is_unresolved);
    Ok(Some(WaitTask { id, topic, state }))
}

/// The topic of a task. Without one it is empty, which no callback's topic is.
fn topic(task: &Value<'_>, form: &TopicForm<'_>) -> String {
    topic_value(task, form)
        // The engine compares the value's text, also of a number.
        .map(|value| json::text(value).unwrap_or_else(|| value.get().to_owned()))
        .unwrap_or_default()
}

fn topic_value<'v>(task: &Value<'v>, form: &TopicForm<'_>) -> Option<&'v RawValue> {
    if let Some(place) = &form.at {
        return task.at(place);
    }
    let (list, name, value) = (form.list.as_ref()?, form.name.as_ref()?, form.value.as_ref()?);
    let elements = task.at(list).and_then(json::elements)?;
    let is_topic = |element: &Value<'_>| element.text_at(name).as_deref() == form.equals.as_deref();
    elements.into_iter().map(Value::of).find(is_topic)?.at(value)
}
