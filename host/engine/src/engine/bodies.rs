//! Bodies of requests, with Jackson's conversions to Java's types.

use indexmap::IndexMap;

use crate::fault::Fault;
use crate::json::{Json, Object};
use crate::params::Param;
use crate::run::{RunResult, Status};

/// Labels by name.
pub(crate) type Labels = IndexMap<String, Option<String>>;

const TRIGGERS: [&str; 7] = ["manual", "schedule", "webhook", "event", "github", "engine", "task"];

/// `WorkflowSubmitRequest`, and `WorkflowRunRequest`, which has fewer members. A member that is `null` is `None`; one
/// that is missing is empty.
#[derive(Clone, Debug)]
pub(crate) struct Submission {
    pub(crate) trigger: Option<String>,
    pub(crate) labels: Option<Labels>,
    pub(crate) annotations: Option<Object>,
    pub(crate) params: Option<Vec<Json>>,
    pub(crate) workspaces: Option<Vec<Json>>,
    pub(crate) timeout: Option<i64>,
    pub(crate) retries: Option<i64>,
    pub(crate) debug: Option<bool>,
    pub(crate) version: Option<i64>,
}

impl Submission {
    pub(crate) fn read(body: &Json) -> Result<Submission, Fault> {
        let body = body.as_object().ok_or_else(Fault::unreadable)?;
        Ok(Submission {
            trigger: match body.get("trigger") {
                None | Some(Json::Null) => None,
                Some(Json::Text(name)) if TRIGGERS.contains(&name.as_str()) => Some(name.clone()),
                Some(_) => return Err(Fault::unreadable()),
            },
            labels: labels(body.get("labels"))?,
            annotations: match body.get("annotations") {
                None => Some(Object::new()),
                Some(Json::Null) => None,
                Some(Json::Object(members)) => Some(members.clone()),
                Some(_) => return Err(Fault::unreadable()),
            },
            params: objects(body.get("params"))?,
            workspaces: objects(body.get("workspaces"))?,
            timeout: long(body.get("timeout"))?,
            retries: long(body.get("retries"))?,
            debug: boolean(body.get("debug"))?,
            version: long(body.get("workflowVersion"))?,
        })
    }

    /// The params. One without a name is a null pointer in the engine.
    pub(crate) fn named_params(&self) -> Result<Vec<Param>, Fault> {
        let params = self.params.iter().flatten().map(|param| {
            let name = scalar(param.get("name"))?.ok_or(Fault::Crash)?;
            Ok(Param::new(&name, param.get("value").cloned()))
        });
        params.collect()
    }
}

/// `WorkflowRunEventRequest`.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) topic: Option<String>,
    pub(crate) status: Option<Status>,
    pub(crate) results: Option<Vec<RunResult>>,
}

impl Event {
    pub(crate) fn read(body: &Json) -> Result<Event, Fault> {
        let members = body.as_object().ok_or_else(Fault::unreadable)?;
        labels(members.get("labels"))?;
        let results =
            objects(members.get("results"))?.map(|results| results.iter().map(result).collect::<Result<_, _>>());
        Ok(Event {
            topic: scalar(members.get("topic"))?,
            status: match members.get("status") {
                None => Some(Status::Succeeded),
                Some(Json::Null) => None,
                Some(Json::Text(name)) => Some(Status::from_name(name).ok_or_else(Fault::unreadable)?),
                Some(_) => return Err(Fault::unreadable()),
            },
            results: results.transpose()?,
        })
    }
}

fn result(result: &Json) -> Result<RunResult, Fault> {
    Ok(RunResult {
        name: scalar(result.get("name"))?,
        description: scalar(result.get("description"))?,
        value: result.get("value").cloned().unwrap_or_default(),
    })
}

/// A list of objects. An element that is `null` stays, and is a null pointer later.
fn objects(value: Option<&Json>) -> Result<Option<Vec<Json>>, Fault> {
    match value {
        None => Ok(Some(Vec::new())),
        Some(Json::Null) => Ok(None),
        Some(Json::Array(elements)) if elements.iter().all(|one| matches!(one, Json::Object(_) | Json::Null)) => {
            Ok(Some(elements.clone()))
        }
        Some(_) => Err(Fault::unreadable()),
    }
}

fn labels(value: Option<&Json>) -> Result<Option<Labels>, Fault> {
    match value {
        None => Ok(Some(Labels::new())),
        Some(Json::Null) => Ok(None),
        Some(Json::Object(members)) => members
            .iter()
            .map(|(name, value)| Ok((name.clone(), scalar(Some(value))?)))
            .collect::<Result<_, _>>()
            .map(Some),
        Some(_) => Err(Fault::unreadable()),
    }
}

/// A string, or a number or Boolean as one.
fn scalar(value: Option<&Json>) -> Result<Option<String>, Fault> {
    match value {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Array(_) | Json::Object(_)) => Err(Fault::unreadable()),
        Some(value) => Ok(Some(value.to_java())),
    }
}

/// A whole number, also in a string; a fraction is cut off.
fn long(value: Option<&Json>) -> Result<Option<i64>, Fault> {
    match value {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Int(value)) => Ok(Some(*value)),
        #[allow(clippy::cast_possible_truncation, reason = "Jackson cuts it off too")]
        Some(Json::Double(value)) if value.is_finite() => Ok(Some(*value as i64)),
        Some(Json::Text(text)) if text.trim().is_empty() => Ok(None),
        Some(Json::Text(text)) => text.trim().parse().map(Some).map_err(|_| Fault::unreadable()),
        Some(_) => Err(Fault::unreadable()),
    }
}

fn boolean(value: Option<&Json>) -> Result<Option<bool>, Fault> {
    match value {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Bool(value)) => Ok(Some(*value)),
        Some(Json::Int(value)) => Ok(Some(*value != 0)),
        Some(Json::Text(text)) => match text.trim() {
            "" => Ok(None),
            "true" | "True" | "TRUE" => Ok(Some(true)),
            "false" | "False" | "FALSE" => Ok(Some(false)),
            _ => Err(Fault::unreadable()),
        },
        Some(_) => Err(Fault::unreadable()),
    }
}
