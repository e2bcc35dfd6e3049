//! Reads runs and their tasks from the engine's responses.

use http::Response;
use serde_json::value::RawValue;

use super::form::{RunForm, StartProof, StateRule, TasksForm, TopicForm, WaitStateName};
use super::profile::Document;
use super::response::{Members, Success, success};
use super::{Operation, malformed};
use crate::callback::Status;
use crate::delivery::{Delivery, FoundRun, RunState, RunView, RunWorkflow, Verdict, WaitState, WaitTask, Work};
use crate::json;
use crate::time::Timestamp;

/// Maximum length of a run's id in a reason.
const MAX_SHOWN_ID: usize = 64;

/// A run in a response.
struct Run {
    id: String,
    /// `None` if the profile doesn't know its status, or not in this phase: then it proves nothing.
    state: Option<RunState>,
}

impl Run {
    fn read(members: &Members<'_>, form: &RunForm<'_>) -> Option<Self> {
        let id = id_at(members, form.id)?;
        let state = members
            .text_at(form.status)
            .and_then(|status| state(&form.states, &status, members.text_at(form.phase).as_deref()));
        Some(Self { id, state })
    }
}

/// The state that a status means.
fn state<S: Copy>(rules: &[StateRule<'_, S>], status: &str, phase: Option<&str>) -> Option<S> {
    let rule = rules.iter().find(|rule| {
        rule.status.contains(&status)
            && (rule.phase.is_empty() || phase.is_some_and(|phase| rule.phase.contains(&phase)))
    });
    rule.map(|rule| rule.state)
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
fn id_at(members: &Members<'_>, place: &str) -> Option<String> {
    members.text_at(place).filter(|id| !id.is_empty())
}

/// Returns the id of the run in a body; `None` if the body isn't a run.
pub(super) fn run_id(body: &[u8], form: &RunForm<'_>) -> Option<String> {
    id_at(&Members::of_body(body)?, form.id)
}

/// Reads the 2xx to a start: the run. A run that is saved and not queued proves nothing: the engine may have failed in between,
/// and then it never runs.
pub(super) fn read_started(document: &Document<'_>, success: Success) -> Result<Vec<u8>, Verdict> {
    let StartProof::Run = document.start().map_err(malformed)?.proof;
    let form = document.run().map_err(malformed)?;
    let Some(run) = Members::of_body(&success.body).and_then(|members| Run::read(&members, &form)) else {
        return Err(success.unexpected());
    };
    match run.state {
        Some(RunState::Active | RunState::Ended | RunState::Cancelled) => Ok(success.body),
        Some(RunState::NotStarted) => {
            Err(success.unclear(&format!("and has saved {} without queuing it", named(&run.id)), true))
        }
        Some(RunState::Invalid) => Err(success.unclear(&format!("and has saved {} as invalid", named(&run.id)), true)),
        None => Err(success.unclear(&format!("and {} has no status that is known", named(&run.id)), false)),
    }
}

/// A run, for a reason. The id is shown only if it looks like one, because it is text of the engine.
fn named(id: &str) -> String {
    let is_plain = id.len() <= MAX_SHOWN_ID && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b));
    if is_plain { format!("the run {id}") } else { "a run".to_owned() }
}

/// Reads the response to a lookup by label: the delivery's runs, oldest first.
///
/// Each run in the response has to carry the label, because an engine that ignores the filter answers with any runs.
/// Left out are children, which carry the label of the run that started them, and runs of another workflow. If nothing
/// is left of a response that isn't empty, the delivery's own run is missing, not absent: the verdict is
/// [`Verdict::Unclear`].
pub(super) fn read_found(
    document: &Document<'_>,
    delivery: &Delivery<'_>,
    response: Response<Vec<u8>>,
    now: Timestamp,
) -> Result<Vec<FoundRun>, Verdict> {
    let (find, form) = (document.find().map_err(malformed)?, document.run().map_err(malformed)?);
    let success = success(document, Operation::Find, response, now)?;
    let page = Members::of_body(&success.body).ok_or_else(|| success.unexpected())?;
    let runs = page.at(find.list).and_then(json::elements).ok_or_else(|| success.unexpected())?;
    let label = delivery.label();
    let mut found = Vec::new();
    for run in &runs {
        let members = Members::of(run).ok_or_else(|| success.unexpected())?;
        if members.text_at(find.label).as_deref() != Some(label.as_str()) {
            return Err(success.unclear("but not with the run that was looked up", false));
        }
        let is_child = members.text_at(form.trigger).is_some_and(|it| form.child_triggers.contains(&it.as_str()));
        if is_child || is_of_another_workflow(&members, &form, delivery) {
            continue;
        }
        let Run { id, state } = Run::read(&members, &form).ok_or_else(|| success.unexpected())?;
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

/// Whether a run is certainly of another workflow than the delivery's. A reference that is no id is a name: it can't be
/// compared with the id of the run's workflow, and names can change, so its runs all count.
fn is_of_another_workflow(members: &Members<'_>, form: &RunForm<'_>, delivery: &Delivery<'_>) -> bool {
    let Work::Start(start) = &delivery.work else { return false };
    let is_id = |text: &str| form.workflow_id.is_id(text);
    let reference = start.workflow.workflow();
    is_id(reference)
        && members
            .text_at(form.workflow_id.at)
            .is_some_and(|other| is_id(&other) && !other.eq_ignore_ascii_case(reference))
}

/// Reads the response to a look at a run. Another run in the response proves nothing: a reference such as `query` can be
/// a route of the engine.
pub(super) fn read_look(
    document: &Document<'_>,
    reference: &str,
    response: Response<Vec<u8>>,
    now: Timestamp,
) -> Result<RunView, Verdict> {
    let success = success(document, Operation::Look, response, now)?;
    let (form, tasks_form) = (document.run().map_err(malformed)?, document.tasks().map_err(malformed)?);
    let members = Members::of_body(&success.body).ok_or_else(|| success.unexpected())?;
    let run = Run::read(&members, &form).filter(|run| run.id == reference);
    let Run { id, state } = run.ok_or_else(|| success.unexpected())?;
    let Some(state) = state else {
        return Err(success.unclear(&format!("and {} has no status that is known", named(&id)), false));
    };
    // Without tasks the engine leaves the list out.
    let tasks = match members.at(tasks_form.list) {
        None => Vec::new(),
        Some(list) if json::type_of(list) == json::JsonType::Null => Vec::new(),
        Some(list) => json::elements(list).ok_or_else(|| success.unexpected())?,
    };
    let mut waits = Vec::new();
    for task in &tasks {
        let members = Members::of(task).ok_or_else(|| success.unexpected())?;
        if members.text_at(tasks_form.kind).as_deref() == Some(tasks_form.waits) {
            let task = wait_task(&members, &tasks_form);
            waits
                .push(task.ok_or_else(|| success.unclear("and a task that waits has no status that is known", false))?);
        }
    }
    let workflow = RunWorkflow {
        id: members.text_at(form.workflow_id.at),
        name: form.workflow_name.and_then(|at| members.text_at(at)),
    };
    Ok(RunView { state, has_tasks: !tasks.is_empty(), waits, workflow })
}

fn wait_task(members: &Members<'_>, form: &TasksForm<'_>) -> Option<WaitTask> {
    let state = WaitState::from(state(&form.states, &members.text_at(form.status)?, None)?);
    let topic = topic(members, &form.topic);
    // A topic is resolved when the run reaches the task; from then on its text is what the engine compares.
    let is_made_of_params = state == WaitState::Ahead && topic.contains(form.topic.unresolved);
    Some(WaitTask { id: id_at(members, form.id)?, topic: Some(topic).filter(|_| !is_made_of_params), state })
}

/// The topic of a task. Without one it is empty, which no callback's topic is.
fn topic(task: &Members<'_>, form: &TopicForm<'_>) -> String {
    let element = task.at(form.list).and_then(json::elements).into_iter().flatten().find_map(|element| {
        let members = Members::of(element)?;
        (members.text_at(form.name)? == form.equals).then_some(members)
    });
    let value = element.and_then(|members| members.at(form.value));
    // The engine compares the value's text, also of a number.
    value.map(|value: &RawValue| json::text(value).unwrap_or_else(|| value.get().to_owned())).unwrap_or_default()
}
