//! The engine's own API, `/api/v1`. It asks for no token.

pub(crate) mod bodies;
mod control;
mod event;
mod query;
pub(crate) mod show;
mod submit;

use http::StatusCode;

use crate::Model;
use crate::fault::Fault;
use crate::incoming::Incoming;
use crate::json::Json;
use crate::reply::{self, Reply};
use bodies::{Event, Submission};
pub(crate) use query::Query;
use show::TaskReference;

/// Endpoints that the model doesn't have, at places where an id may stand too.
const NOT_MODELLED: [&str; 3] = ["query", "count", "insight"];

/// Answers a request.
pub(crate) fn answer(model: &mut Model, request: &Incoming) -> Result<Reply, Fault> {
    let segments: Vec<_> = request.segments.iter().map(String::as_str).collect();
    let ["api", "v1", ref rest @ ..] = segments[..] else { return Err(Fault::unknown_path(&request.path)) };
    let method = request.method.as_str();
    let found = match (rest, method) {
        (["workflow", id, "submit"], "POST") => {
            let start = request.flag("start", false)?;
            model.submit(id, &Submission::read(&request.body()?)?, start)?
        }
        (["workflow", id], "GET") if !NOT_MODELLED.contains(id) => {
            model.show_workflow(id, request, TaskReference::Id)?
        }
        (["workflowrun", "query"], "GET") => model.query(&Query::read(request)?)?,
        (["workflowrun", id], "GET") if !NOT_MODELLED.contains(id) => {
            let with_tasks = request.flag("withTasks", false)?;
            show::found(model.record(id)?, &model.catalogue, with_tasks)
        }
        (["workflowrun", id, "event"], "PUT") => {
            model.event(id, &Event::read(&request.body()?)?)?;
            return Ok(reply::empty(StatusCode::OK));
        }
        (["workflowrun", id, "start"], "PUT") => {
            let more = request.optional_body()?.map(|body| Submission::read(&body)).transpose()?;
            model.start(id, more.as_ref())?
        }
        (["workflowrun", id, "retry"], "PUT") => model.retry(id, request.flag("start", false)?, 1)?,
        (["workflowrun", id, "cancel"], "DELETE") => model.cancel(id)?,
        (["workflowrun", id, "finalize"], "PUT") => model.finalize(id)?,
        (["task", id], "GET") if !NOT_MODELLED.contains(id) => model.show_task(id, request)?,
        _ => return Err(no_such(rest, request)),
    };
    Ok(reply::json(StatusCode::OK, &found))
}

/// The error of a request that no endpoint takes.
fn no_such(rest: &[&str], request: &Incoming) -> Fault {
    let is_delete = request.method == "DELETE";
    let allow = match rest {
        ["workflow", _, "submit"] => "POST",
        ["workflowrun", _, "event" | "start" | "retry" | "finalize"] => "PUT",
        ["workflowrun", _, "cancel"] => "DELETE",
        ["workflowrun", "query"] if !is_delete => "GET,DELETE",
        ["workflow" | "workflowrun", id] if !is_delete && !NOT_MODELLED.contains(id) => "GET,DELETE",
        ["workflow" | "task"]
        | ["workflow" | "task" | "workflowrun", _]
        | ["workflow" | "task", _, "changelog"]
        | ["taskrun" | "agent" | "workflowtemplate", ..] => {
            return Fault::problem(StatusCode::NOT_IMPLEMENTED, "The model has no such endpoint.");
        }
        _ => return Fault::unknown_path(&request.path),
    };
    Fault::wrong_method(&request.method, allow)
}

impl Model {
    /// A workflow, of which there is one version.
    pub(crate) fn show_workflow(&self, id: &str, request: &Incoming, show: TaskReference) -> Result<Json, Fault> {
        let version = request.number("version")?;
        let with_tasks = request.flag("withTasks", true)?;
        let workflow = self.catalogue.workflow(id);
        if version.is_some() && version != workflow.map(|workflow| workflow.version) {
            return Err(no_revision());
        }
        let workflow = workflow.ok_or_else(Fault::unknown_workflow)?;
        Ok(show::workflow(workflow, &self.catalogue, with_tasks, show))
    }

    fn show_task(&self, id: &str, request: &Incoming) -> Result<Json, Fault> {
        let version = request.number("version")?;
        let task = self.catalogue.task(id).filter(|task| version.is_none_or(|version| version == task.version()));
        task.map(|task| task.members().into()).ok_or_else(|| unknown_task(id, version))
    }
}

fn no_revision() -> Fault {
    Fault::refused(StatusCode::CONFLICT, 1204, "WORKFLOW_REVISION_NOT_FOUND", "No valid Workflow Revisions found.")
}

fn unknown_task(id: &str, version: Option<i64>) -> Fault {
    let version = version.map_or_else(|| "latest".to_owned(), |version| version.to_string());
    let message = format!("Invalid Task reference provided: {id} @ {version}");
    Fault::refused(StatusCode::BAD_REQUEST, 1401, "TASK_INVALID_REFERENCE", message)
}
