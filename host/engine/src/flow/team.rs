//! The API of a team: `/api/v2/team/{team}/…`.

use http::StatusCode;

use super::auth::Identity;
use crate::Model;
use crate::catalogue::Triggers;
use crate::crash::Step;
use crate::engine::Query;
use crate::engine::bodies::Submission;
use crate::engine::show::{self, TaskReference};
use crate::fault::Fault;
use crate::incoming::Incoming;
use crate::json::{Json, Object, object};
use crate::reply::{self, Reply};

impl Model {
    pub(super) fn team(
        &mut self,
        identity: &Identity,
        team: &str,
        rest: &[&str],
        request: &Incoming,
    ) -> Result<Reply, Fault> {
        let method = request.method.as_str();
        let found = match (rest, method) {
            (["workflow", name, "submit"], "POST") => {
                let start = request.flag("start", false)?;
                let submission = Submission::read(&request.body()?)?;
                let workflow = identity.workflow(&self.catalogue, team, name).ok_or_else(Fault::unknown_workflow)?;
                let id = workflow.id.clone();
                self.team_submit(team, &id, submission, start)?
            }
            (["workflow", name], "GET") => self.team_workflow(identity, team, name, request)?,
            (["workflowrun", "query"], "GET") => self.team_query(identity, team, request)?,
            (["workflowrun", id], "GET") => {
                let with_tasks = request.flag("withTasks", false)?;
                self.check_team(identity, team, id)?;
                let record = self.record(id).map_err(Fault::behind_flow)?;
                show::found(record, &self.catalogue, with_tasks)
            }
            (["workflowrun", id, "start"], "PUT") => {
                let more = request.optional_body()?.map(|body| Submission::read(&body)).transpose()?;
                self.check_team(identity, team, id)?;
                self.start(id, more.as_ref()).map_err(Fault::behind_flow)?
            }
            (["workflowrun", id, "cancel"], "DELETE") => {
                self.check_team(identity, team, id)?;
                self.cancel(id).map_err(Fault::behind_flow)?
            }
            (["workflowrun", id, "retry"], "PUT") => {
                self.check_team(identity, team, id)?;
                let run = self.retry(id, false, 1).map_err(Fault::behind_flow)?;
                self.tie(&run, team)?;
                run
            }
            (["workflow", _, "submit"], _) => return Err(Fault::wrong_method(method, "POST")),
            (["workflowrun", _, "start" | "retry"], _) => return Err(Fault::wrong_method(method, "PUT")),
            (["workflowrun", _, "cancel"], _) => return Err(Fault::wrong_method(method, "DELETE")),
            (["workflowrun", _], _) => return Err(Fault::wrong_method(method, "GET")),
            _ => return Err(Fault::unknown_path(&request.path)),
        };
        Ok(reply::json(StatusCode::OK, &found))
    }

    /// Checks the trigger, adds what the engine needs, submits, and ties the run to the team.
    pub(crate) fn team_submit(
        &mut self,
        team: &str,
        id: &str,
        mut request: Submission,
        start: bool,
    ) -> Result<Json, Fault> {
        self.check_trigger(id, request.trigger.as_deref())?;
        let flow = &self.settings.flow;
        let max = flow.max_duration;
        request.debug = request.debug.or(Some(flow.debug));
        request.timeout = Some(request.timeout.filter(|own| *own < max).unwrap_or(max));
        let context = self.context(id)?;
        let flow = &self.settings.flow;
        let annotations = request.annotations.as_mut().ok_or(Fault::Crash)?;
        for (name, value) in [
            ("task-deletion", Json::from(&flow.task_deletion)),
            ("task-default-image", Json::from(&flow.default_image)),
            ("task-timeout", Json::from(&flow.task_timeout)),
            ("global-params", Json::from(Object::new())),
            ("context-params", context),
            ("team-params", Json::from(Object::new())),
            ("team-name", Json::from(team)),
        ] {
            annotations.insert(format!("boomerang.io/{name}"), value);
        }
        let run = self.submit(id, &request, start).map_err(Fault::behind_flow);
        self.stalls.tie(run.as_ref().err(), team);
        self.end_submit(team, run?)
    }

    /// Flow's part of a submit once it has the engine's response.
    pub(crate) fn end_submit(&mut self, team: &str, run: Json) -> Result<Json, Fault> {
        self.reach(Step::RunSubmitted)?;
        self.tie(&run, team)?;
        Ok(run)
    }

    /// An error if the workflow's trigger is off. GitHub's is that of webhooks.
    pub(super) fn check_trigger(&self, id: &str, trigger: Option<&str>) -> Result<(), Fault> {
        self.check_engine().map_err(Fault::behind_flow)?;
        let workflow = self.catalogue.workflow(id).ok_or_else(|| Fault::unknown_workflow().behind_flow())?;
        let Triggers { manual, schedule, webhook, event, .. } = workflow.triggers;
        let is_enabled = match trigger {
            None => true,
            Some("manual") => manual.enabled,
            Some("schedule") => schedule.enabled,
            Some("webhook" | "github") => webhook.enabled,
            Some("event") => event.enabled,
            Some(_) => false,
        };
        let message = "The Trigger provided is not enabled for this Workflow.";
        let refused = || Fault::refused(StatusCode::BAD_REQUEST, 1305, "WORKFLOWRUN_TRIGGER_DISABLED", message);
        if is_enabled { Ok(()) } else { Err(refused()) }
    }

    /// The params of the context that Flow knows.
    fn context(&self, id: &str) -> Result<Json, Fault> {
        let workflow = self.catalogue.workflow(id).ok_or(Fault::Crash)?;
        let host = &self.settings.flow.host;
        Ok(object! {
            "workflowrun-trigger": "",
            "workflowrun-initiator": "",
            "workflowrun-ref": "",
            "workflow-name": &workflow.name,
            "workflow-displayname": workflow.display_name.as_ref().unwrap_or(&workflow.name),
            "workflow-ref": &workflow.id,
            "workflow-version": workflow.version,
            "taskrun-ref": "",
            "taskrun-name": "",
            "taskrun-type": "",
            "webhook-url": format!("{host}/api/v2/webhook"),
            "wfe-url": format!("{host}/api/v2/wfe"),
            "event-url": format!("{host}/api/v2/event"),
        })
    }

    fn tie(&mut self, run: &Json, team: &str) -> Result<(), Fault> {
        let id = run.get("id").and_then(Json::as_text).unwrap_or_default();
        self.record_mut(id)?.team = Some(team.to_owned());
        self.reach(Step::RunTied)
    }

    /// A look works for runs that are tied to the team only.
    fn check_team(&self, identity: &Identity, team: &str, id: &str) -> Result<(), Fault> {
        let is_tied = self.run(id).is_some_and(|record| record.team.as_deref() == Some(team));
        if *identity != Identity::Global && !(is_tied && identity.is_of(team)) {
            return Err(Fault::unknown_run());
        }
        self.check_engine().map_err(Fault::behind_flow)
    }

    /// A look-up goes by the team's workflows, whether runs are tied to the team or not.
    fn team_query(&self, identity: &Identity, team: &str, request: &Incoming) -> Result<Json, Fault> {
        let mut query = Query::read(request)?.behind_flow();
        let asked = query.workflows.take();
        let of_team = self.catalogue.workflows.iter().filter(|workflow| {
            let is_asked = |asked: &Vec<String>| asked.contains(&workflow.id) || asked.contains(&workflow.name);
            identity.workflow(&self.catalogue, team, &workflow.id).is_some() && asked.as_ref().is_none_or(is_asked)
        });
        let ids: Vec<_> = of_team.map(|workflow| workflow.id.clone()).collect();
        if ids.is_empty() {
            return Err(Fault::unknown_run());
        }
        query.workflows = Some(ids);
        self.check_engine().and_then(|()| self.query_behind_flow(&query)).map_err(Fault::behind_flow)
    }

    /// A workflow without its id, whose tasks go by name.
    fn team_workflow(&self, identity: &Identity, team: &str, name: &str, request: &Incoming) -> Result<Json, Fault> {
        let workflow = identity.workflow(&self.catalogue, team, name).ok_or_else(Fault::unknown_workflow)?;
        self.check_engine().map_err(Fault::behind_flow)?;
        let mut shown = self.show_workflow(&workflow.id, request, TaskReference::Name).map_err(Fault::behind_flow)?;
        if let Json::Object(members) = &mut shown {
            members.shift_remove("id");
        }
        Ok(shown)
    }
}
