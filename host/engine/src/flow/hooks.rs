//! Webhooks, events, callbacks and internal submits.
//!
//! On a fresh installation of Flow 4.0.0 no webhook and no event starts a run. Flow finds the id of the workflow's
//! team, passes that id to a look-up by name, and gets a null pointer. The special handling of GitHub and Slack isn't
//! modelled.

use http::StatusCode;

use super::auth::Identity;
use crate::Model;
use crate::engine::bodies::{Event, Submission};
use crate::fault::Fault;
use crate::incoming::Incoming;
use crate::json::Json;
use crate::reply::{self, Reply};
use crate::run::{RunResult, Status};

impl Model {
    /// `POST /api/v2/webhook`.
    pub(super) fn webhook(&self, identity: &Identity, request: &Incoming) -> Result<Reply, Fault> {
        request.body()?;
        let id = request.parameter("ref").ok_or(Fault::Empty(StatusCode::BAD_REQUEST))?;
        Err(self.fail(identity, id, "webhook"))
    }

    /// `POST /api/v2/event`, with the attributes in the body or in headers.
    pub(super) fn cloud_event(&self, identity: &Identity, request: &Incoming) -> Result<Reply, Fault> {
        let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let is_structured =
            header("content-type").is_some_and(|value| value.starts_with("application/cloudevents+json"));
        let subject = if is_structured {
            let body = request.body()?;
            if body.get("specversion").is_none() {
                return Err(Fault::Crash);
            }
            body.get("subject").and_then(Json::as_text).map(str::to_owned)
        } else {
            header("ce-specversion").ok_or(Fault::Crash)?;
            header("ce-subject")
        };
        // Without a subject there is a null pointer. In a subject only the slashes go.
        let named = request.parameter("ref").map(str::to_owned);
        let id = named.or_else(|| subject.map(|subject| subject.replace('/', ""))).ok_or(Fault::Crash)?;
        Err(self.fail(identity, &id, "event"))
    }

    /// The error of a submit by reference: a name is unknown, and an id leads to the null pointer.
    fn fail(&self, identity: &Identity, id: &str, trigger: &str) -> Fault {
        let team = self.catalogue.workflow(id).and_then(|workflow| workflow.team.as_deref());
        match team {
            Some(team) if identity.is_of(team) => self.check_trigger(id, Some(trigger)).err().unwrap_or(Fault::Crash),
            _ => Fault::unknown_workflow(),
        }
    }

    /// `POST /internal/workflow/{id}/submit`, without a token.
    pub(super) fn internal_submit(&self, id: &str, request: &Incoming) -> Result<Reply, Fault> {
        request.flag("start", false)?;
        let submission = Submission::read(&request.body()?)?;
        self.check_trigger(id, submission.trigger.as_deref())?;
        Err(Fault::Crash)
    }

    /// `/api/v2/callback`: an event for the engine, for runs of any team or none.
    ///
    /// Flow drops a status that it doesn't know, such as one with a capital letter. The engine takes no status as
    /// success.
    pub(super) fn callback(&mut self, request: &Incoming) -> Result<Reply, Fault> {
        let run = request.required("ref")?.to_owned();
        let topic = request.required("topic")?.to_owned();
        let status = request.parameter("status").filter(|status| !status.is_empty()).unwrap_or("succeeded");
        let data = if request.method == "GET" { None } else { Some(request.body()?) };
        let results = data.map(|value| RunResult { name: Some("data".to_owned()), description: None, value });
        let event = Event {
            topic: Some(topic),
            status: Status::from_name(status),
            results: Some(results.into_iter().collect()),
        };
        self.check_engine().and_then(|()| self.event(&run, &event)).map_err(Fault::behind_flow)?;
        Ok(reply::empty(StatusCode::OK))
    }
}
