//! Workflows that are made up on request, and the workflow of a path.

use percent_encoding::percent_decode_str;

use super::NoWait;
use super::model::catalogue::{Activity, Trigger, Triggers, WorkflowTask};
use super::model::{Catalogue, Json, Param, TaskType, Workflow};

/// The description of a workflow that was made up.
const MADE_UP: &str = "Made up by the stand-in";
const CREATION_DATE: &str = "2026-01-01T00:00:00.000+00:00";

/// The workflow that a path names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// The team, in a path of Flow's.
    team: Option<String>,
    /// The id, or the name in a path of Flow's.
    pub(super) reference: String,
}

impl Named {
    /// The workflow of a path such as `/api/v1/workflow/{ref}/submit` or `/api/v2/team/{team}/workflow/{ref}`, below any
    /// prefix.
    pub(super) fn of(path: &str) -> Option<Named> {
        let decode = |segment: &str| percent_decode_str(segment).decode_utf8_lossy().into_owned();
        let segments: Vec<_> = path.split('/').collect();
        let api = segments.iter().position(|segment| *segment == "api")?;
        let (team, reference) = match segments.get(api.saturating_add(1)..)? {
            ["v1", "workflow", reference] | ["v1", "workflow", reference, "submit"] => (None, reference),
            ["v2", "team", team, "workflow", reference] | ["v2", "team", team, "workflow", reference, "submit"] => {
                (Some(decode(team)), reference)
            }
            _ => return None,
        };
        let is_workflow = !["", "query", "count"].contains(reference);
        is_workflow.then(|| Named { team, reference: decode(reference) })
    }

    pub(super) fn is(&self, workflow: &Workflow) -> bool {
        let is_of_team = self.team.is_none() || self.team == workflow.team;
        let has_name = self.team.is_some() && workflow.name == self.reference;
        is_of_team && (has_name || workflow.id == self.reference)
    }
}

/// Creates a workflow that the catalogue doesn't have, and returns it.
pub(super) fn create<'c>(catalogue: &'c mut Catalogue, named: &Named) -> Option<&'c Workflow> {
    // An id belongs to one workflow only.
    let is_known = |workflow: &Workflow| named.is(workflow) || workflow.id == named.reference;
    if catalogue.workflows.iter().any(is_known) {
        return None;
    }
    let task = task(catalogue, "work", TaskType::Sleep, "duration", "0")?;
    let team = named.team.clone().or_else(|| default_team(catalogue));
    catalogue.workflows.push(made_up(&named.reference, team, task));
    catalogue.workflows.last()
}

/// The id of a workflow that waits for a topic, and the workflow itself if it was created or changed for that.
pub(super) fn waiting(
    catalogue: &mut Catalogue,
    reference: &str,
    topic: &str,
    may_create: bool,
) -> Result<(String, Option<Workflow>), NoWait> {
    let is_named = |workflow: &Workflow| workflow.id == reference || workflow.name == reference;
    let known = catalogue.workflows.iter().position(is_named);
    if let Some(workflow) = known.and_then(|at| catalogue.workflows.get(at)) {
        let has_topic = |task: &WorkflowTask| {
            let is_topic = |param: &Param| param.name == "topic" && param.value.as_text() == Some(topic);
            task.kind == TaskType::EventWait && task.params.iter().any(is_topic)
        };
        if workflow.tasks.iter().any(has_topic) {
            return Ok((workflow.id.clone(), None));
        }
        if workflow.description.as_deref() != Some(MADE_UP) {
            return Err(NoWait::UnknownTopic);
        }
    } else if !may_create {
        return Err(NoWait::UnknownWorkflow);
    }
    let task = task(catalogue, "wait", TaskType::EventWait, "topic", topic).ok_or(NoWait::UnknownTopic)?;
    let team = default_team(catalogue);
    let workflow = match known.and_then(|at| catalogue.workflows.get_mut(at)) {
        // Runs keep the tasks that they have.
        Some(workflow) => {
            *workflow = made_up(&workflow.id, workflow.team.clone(), task);
            workflow.clone()
        }
        None => {
            let workflow = made_up(reference, team, task);
            catalogue.workflows.push(workflow.clone());
            workflow
        }
    };
    Ok((workflow.id.clone(), Some(workflow)))
}

/// The team of the first token that has one.
fn default_team(catalogue: &Catalogue) -> Option<String> {
    catalogue.tokens.iter().find_map(|token| token.team.clone())
}

/// A workflow with one task between start and end.
fn made_up(id: &str, team: Option<String>, task: WorkflowTask) -> Workflow {
    let on = Trigger { enabled: true };
    let json = |name: &str| {
        let members = [("name", name), ("type", "json")];
        members.map(|(name, value)| (name.to_owned(), Json::from(value))).into_iter().collect()
    };
    let marker = |name: &str, kind| WorkflowTask { name: name.to_owned(), kind, task_ref: None, ..bare(&task) };
    Workflow {
        id: id.to_owned(),
        name: id.to_owned(),
        display_name: None,
        team,
        status: Activity::Active,
        version: 1,
        revision: None,
        creation_date: CREATION_DATE.to_owned(),
        description: Some(MADE_UP.to_owned()),
        labels: Default::default(),
        timeout: None,
        triggers: Triggers { manual: on, schedule: on, webhook: on, event: on, github: on },
        params: vec![json("data"), json("event")],
        tasks: vec![marker("start", TaskType::Start), task.clone(), marker("end", TaskType::End)],
    }
}

/// A task without params.
fn bare(task: &WorkflowTask) -> WorkflowTask {
    WorkflowTask { params: Vec::new(), ..task.clone() }
}

/// A task with one param. Its template is added to the catalogue if there is none of this type.
fn task(catalogue: &mut Catalogue, name: &str, kind: TaskType, param: &str, value: &str) -> Option<WorkflowTask> {
    let is_kind = |task: &&super::model::Task| task.kind() == kind.name();
    if !catalogue.tasks.iter().any(|task| is_kind(&task)) {
        catalogue.tasks.extend(Catalogue::recorded().tasks.iter().find(is_kind).cloned());
    }
    let template = catalogue.tasks.iter().find(is_kind)?;
    Some(WorkflowTask {
        name: name.to_owned(),
        kind,
        task_ref: Some(template.id().to_owned()),
        dependencies: None,
        params: vec![Param { name: param.to_owned(), value: value.into(), kind: None }],
        timeout: None,
        duration_ms: 0,
        fails: false,
    })
}
