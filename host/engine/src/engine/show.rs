//! Runs, tasks and workflows as the engine's API shows them, with the engine's order of members.

use crate::catalogue::{Catalogue, Dependency, Trigger, Workflow, WorkflowTask};
use crate::engine::bodies::Labels;
use crate::json::{Json, Object, object};
use crate::params::Param;
use crate::reply::date;
use crate::run::{Record, Run, RunResult, TaskRun};

/// A run. `tasks` are shown if they are given; `workflow` gives its names, and then three annotations are left out.
pub(crate) fn run(run: &Run, workflow: Option<&Workflow>, tasks: Option<&[TaskRun]>) -> Json {
    object! {
        "id": &run.id,
        "creationDate": date(run.creation_date),
        "status": run.status.name(),
        "phase": run.phase.name(),
        "startTime": run.start_time.map(date),
        "duration": run.duration,
        "statusMessage": run.status_message.as_ref(),
        "timeout": run.timeout,
        "retries": run.retries,
        "workflowRef": &run.workflow_ref,
        "workflowRevisionRef": &run.workflow_revision_ref,
        "labels": labels(&run.labels),
        "annotations": &run.annotations,
        "params": params(&run.params),
        "tasks": tasks.map(|tasks| tasks.iter().map(task_run).collect::<Vec<_>>()),
        "debug": run.debug,
        "workflowName": workflow.map(|workflow| &workflow.name),
        "workflowDisplayName": workflow.map(display_name),
        "workflowVersion": run.workflow_version,
        "trigger": &run.trigger,
        "results": results(&run.results),
        "workspaces": run.workspaces.clone(),
        "awaitingApproval": false,
    }
    .without_nulls()
}

/// A run as a look and a look-up show it: with the names of its workflow, and without the layers of its params.
pub(crate) fn found(record: &Record, catalogue: &Catalogue, with_tasks: bool) -> Json {
    let mut shown = record.run.clone();
    for name in ["global-params", "context-params", "team-params"] {
        shown.annotations.shift_remove(&format!("boomerang.io/{name}"));
    }
    let workflow = catalogue.workflow(&shown.workflow_ref);
    run(&shown, workflow, with_tasks.then_some(&record.tasks))
}

fn task_run(task: &TaskRun) -> Json {
    object! {
        "id": &task.id,
        "type": task.kind.name(),
        "name": &task.name,
        "labels": labels(&task.labels),
        "annotations": &task.annotations,
        "creationDate": date(task.creation_date),
        "startTime": task.start_time.map(date),
        "duration": task.duration,
        "timeout": task.timeout,
        "params": params(&task.params),
        "results": results(&task.results),
        "workspaces": Vec::<Json>::new(),
        "spec": &task.spec,
        "status": task.status.name(),
        "phase": task.phase.name(),
        "statusMessage": task.status_message.as_ref(),
        "taskRef": task.task_ref.as_ref(),
        "taskVersion": task.task_version,
        "workflowRef": &task.workflow_ref,
        "workflowRevisionRef": &task.workflow_revision_ref,
        "workflowRunRef": &task.workflow_run_ref,
    }
    .without_nulls()
}

/// A workflow. `show_task` gives the reference of a task: its id at the engine, its name at Flow.
pub(crate) fn workflow(workflow: &Workflow, tasks: &Catalogue, with_tasks: bool, show_task: TaskReference) -> Json {
    let shown = workflow.tasks.iter().enumerate().filter(|_| with_tasks).map(|(index, task)| {
        let before = index.checked_sub(1).and_then(|before| workflow.tasks.get(before));
        workflow_task(task, before, tasks, show_task)
    });
    object! {
        "id": &workflow.id,
        "name": &workflow.name,
        "displayName": display_name(workflow),
        "status": match workflow.status {
            crate::catalogue::Activity::Active => "active",
            crate::catalogue::Activity::Inactive => "inactive",
        },
        "version": workflow.version,
        "creationDate": &workflow.creation_date,
        "timeout": workflow.timeout,
        "description": workflow.description.as_ref(),
        "labels": labels(&workflow.labels),
        "annotations": annotations("Workflow"),
        "params": workflow.params.iter().map(param_spec).collect::<Vec<_>>(),
        "tasks": shown.collect::<Vec<_>>(),
        "changelog": object! {
            "author": None::<String>, "reason": "Initial Workflow", "date": &workflow.creation_date,
        },
        "upgradesAvailable": false,
        "triggers": object! {
            "manual": trigger(workflow.triggers.manual),
            "schedule": trigger(workflow.triggers.schedule),
            "webhook": trigger(workflow.triggers.webhook),
            "event": trigger(workflow.triggers.event),
            "github": trigger(workflow.triggers.github),
        },
        "workspaces": Vec::<Json>::new(),
        "unknownFields": Object::new(),
    }
    .without_nulls()
}

/// How a workflow's task refers to its template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskReference {
    Id,
    Name,
}

fn workflow_task(
    task: &WorkflowTask,
    before: Option<&WorkflowTask>,
    catalogue: &Catalogue,
    show: TaskReference,
) -> Json {
    let template = task.task_ref.as_deref().and_then(|id| catalogue.task(id));
    let reference = match show {
        TaskReference::Id => task.task_ref.as_deref(),
        TaskReference::Name => task.task_ref.as_ref().map(|_| template.map_or("", |template| template.name())),
    };
    object! {
        "name": &task.name,
        "type": task.kind.name(),
        "timeout": task.timeout,
        "dependencies": dependencies(task, before).iter().map(dependency).collect::<Vec<_>>(),
        "taskRef": reference,
        "taskVersion": template.map(|template| template.version()),
        "upgradesAvailable": false,
        "labels": Object::new(),
        "annotations": Object::new(),
        "params": params(&task.params),
        "results": Vec::<Json>::new(),
        "unknownFields": Object::new(),
    }
    .without_nulls()
}

/// The dependencies of a task: those that are given, else the task before it.
pub(crate) fn dependencies(task: &WorkflowTask, before: Option<&WorkflowTask>) -> Vec<Dependency> {
    let implied = || {
        let task_ref = before.map(|before| before.name.clone());
        task_ref.map(|task_ref| Dependency { task_ref, execution_condition: Default::default() }).into_iter().collect()
    };
    task.dependencies.clone().unwrap_or_else(implied)
}

fn dependency(dependency: &Dependency) -> Json {
    let condition = match dependency.execution_condition {
        crate::catalogue::Condition::Always => "always",
        crate::catalogue::Condition::Success => "success",
        crate::catalogue::Condition::Failure => "failure",
    };
    object! { "taskRef": &dependency.task_ref, "executionCondition": condition }
}

fn trigger(trigger: Trigger) -> Json {
    object! { "enabled": trigger.enabled, "conditions": Vec::<Json>::new() }
}

/// A declared param always shows whether it is read-only.
fn param_spec(spec: &Object) -> Json {
    let mut shown = spec.clone();
    shown.entry("readOnly".to_owned()).or_insert(Json::Bool(false));
    Json::Object(shown).without_nulls()
}

/// The annotations that the engine gives each object.
pub(crate) fn annotations(kind: &str) -> Object {
    let pairs = [("boomerang.io/generation", "4"), ("boomerang.io/kind", kind)];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), Json::from(value))).collect()
}

fn display_name(workflow: &Workflow) -> &String {
    workflow.display_name.as_ref().unwrap_or(&workflow.name)
}

fn labels(labels: &Labels) -> Json {
    Json::Object(labels.iter().map(|(name, value)| (name.clone(), Json::from(value.as_ref()))).collect())
}

fn params(params: &[Param]) -> Json {
    Json::Array(params.iter().map(|param| object! { "name": &param.name, "value": param.value.clone() }).collect())
}

fn results(results: &[RunResult]) -> Json {
    let show = |result: &RunResult| {
        object! {
            "name": result.name.as_ref(), "description": result.description.as_ref(), "value": result.value.clone(),
        }
    };
    Json::Array(results.iter().map(show).collect())
}
