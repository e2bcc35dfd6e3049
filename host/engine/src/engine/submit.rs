//! Submits: the run is saved, then its tasks, then it is queued, and started on request.
//!
//! A failure in between leaves the parts that were saved. A task without an image is such a failure: the response is
//! 500, and a run with the label is left that never runs.

use http::StatusCode;

use super::bodies::Submission;
use super::{no_revision, show, unknown_task};
use crate::Model;
use crate::catalogue::{Activity, TaskType, Workflow, WorkflowTask};
use crate::crash::Step;
use crate::fault::Fault;
use crate::json::{Json, Object, object};
use crate::params::{self, Kind, Layers, Param};
use crate::run::{Phase, Record, Run, RunResult, Status, TaskRun};
use crate::stall::Rest;
use crate::work::graph;

impl Model {
    /// Submits a workflow, and returns the run as the response shows it.
    pub(crate) fn submit(&mut self, id: &str, request: &Submission, start: bool) -> Result<Json, Fault> {
        let workflow = self.catalogue.workflow(id).ok_or_else(Fault::unknown_workflow)?;
        if workflow.status == Activity::Inactive {
            let message = "The Workflow specified is not currently active and cannot be run.";
            return Err(Fault::refused(StatusCode::BAD_REQUEST, 1202, "WORKFLOW_NOT_ACTIVE", message));
        }
        if request.version.is_some_and(|version| version != workflow.version) {
            return Err(no_revision());
        }
        let mut run = new_run(workflow, request, start, self.now)?;
        run.id = self.chance.id(self.now);
        self.create(run, start)
    }

    /// Saves, queues and starts a run that is new.
    pub(crate) fn create(&mut self, run: Run, start: bool) -> Result<Json, Fault> {
        self.save_run(&run)?;
        let saved = self.reach(Step::RunSaved);
        self.or_stall(saved, || Rest::Queue { run: Box::new(run.clone()), start })?;
        self.queue(run, start)
    }

    /// Queues and starts a run that is saved, from the engine's own copy of it.
    pub(crate) fn queue(&mut self, mut run: Run, start: bool) -> Result<Json, Fault> {
        let queued = self.queue_run(&mut run);
        let rest = || match run.status {
            Status::Ready => Rest::Start { run: Box::new(run.clone()), start },
            _ => Rest::Queue { run: Box::new(run.clone()), start },
        };
        self.or_stall(queued, rest)?;
        self.start_if(&run, start)
    }

    /// The end of a submit.
    pub(crate) fn start_if(&mut self, run: &Run, start: bool) -> Result<Json, Fault> {
        if start { self.start(&run.id, None) } else { Ok(show::run(run, None, None)) }
    }

    /// Resolves params, creates the tasks, and makes the run ready. Until the end, only tasks are saved.
    fn queue_run(&mut self, run: &mut Run) -> Result<(), Fault> {
        run.params = params::resolve(&run.params, &Layers::new(run, None, self.tasks(&run.id)))?;
        if let Some(Json::Object(context)) = run.annotations.get("boomerang.io/context-params") {
            let mut context = context.clone();
            context.extend(params::context(run, None));
            run.annotations.insert("boomerang.io/context-params".to_owned(), Json::Object(context));
        }
        self.create_tasks(run)?;
        let tasks = self.tasks(&run.id);
        if let Some(name) = graph::unknown_dependency(tasks) {
            let message = format!("Invalid WorkflowRun request. Task Dependency Reference not found: {name}.");
            return Err(Fault::refused(StatusCode::BAD_REQUEST, 1303, "WORKFLOWRUN_INVALID_DEPENDENCY", message));
        }
        if !graph::is_valid(tasks) {
            run.status = Status::Invalid;
            run.phase = Phase::Completed;
            run.status_message = Some("Failed to run workflow: incomplete, or invalid, workflow".to_owned());
            self.save_run(run)?;
            let message = "[{0}] Failed to run workflow: incomplete, or invalid, workflow";
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            return Err(Fault::refused(status, 1000, "WORKFLOW_RUNTIME_EXCEPTION", message));
        }
        run.status = Status::Ready;
        run.phase = Phase::Pending;
        self.save_run(run)?;
        self.schedule_run(&run.id);
        self.reach(Step::RunQueued)
    }

    /// Creates those tasks of a run that it doesn't have yet.
    pub(crate) fn create_tasks(&mut self, run: &Run) -> Result<(), Fault> {
        let workflow = self.catalogue.workflow(&run.workflow_ref).cloned().ok_or(Fault::Crash)?;
        let mut before = None;
        for (index, task) in workflow.tasks.iter().enumerate() {
            if self.record(&run.id)?.task(&task.name).is_none() {
                let mut task_run = new_task(&workflow, task, before, run, self.now);
                if !task.kind.is_marker() {
                    self.fill(&mut task_run, task, run)?;
                }
                task_run.id = self.chance.id(self.now);
                self.save_task(task_run)?;
                self.reach(Step::TasksSaved(index + 1))?;
            }
            before = Some(task);
        }
        Ok(())
    }

    /// Fills a task with the values of its template and of the run's annotations.
    fn fill(&self, task: &mut TaskRun, of: &WorkflowTask, run: &Run) -> Result<(), Fault> {
        let id = of.task_ref.as_deref().unwrap_or_default();
        let template = self.catalogue.task(id).ok_or_else(|| unknown_task(id, None))?;
        if template.is_inactive() {
            let message = format!(
                "Task reference has inactive status. Tasks must be enabled (active status). Supplied: {id} @ {}.",
                template.version()
            );
            return Err(Fault::refused(StatusCode::BAD_REQUEST, 1404, "TASK_INACTIVE_STATUS", message));
        }
        let annotation = |name: &str| run.annotations.get(name).filter(|value| !value.is_null()).map(Json::to_java);
        task.task_ref = Some(id.to_owned());
        task.task_version = Some(template.version());
        task.labels = run.labels.clone();
        task.annotations = show::annotations("TaskRun");
        if let Some(team) = run.annotations.get("boomerang.io/team-name") {
            task.annotations.insert("boomerang.io/team-name".to_owned(), team.clone());
        }
        if matches!(of.kind, TaskType::Template | TaskType::EventWait | TaskType::Sleep | TaskType::SetWfProperty) {
            task.results =
                template.spec("results").as_array().unwrap_or_default().iter().map(declared_result).collect();
        }
        task.params = declared(template.spec("params").as_array().unwrap_or_default())?;
        params::merge(&mut task.params, of.params.iter().cloned());

        let timeout = annotation("boomerang.io/task-timeout").map_or(Ok(0), |text| text.parse());
        let timeout = timeout.map_err(|_| Fault::Crash)?;
        task.timeout = Some(of.timeout.filter(|own| *own < timeout).unwrap_or(timeout));
        for name in ["arguments", "command", "envs", "script", "workingDir"] {
            task.spec.insert(name.to_owned(), template.spec(name));
        }
        let image = match template.spec("image") {
            Json::Text(image) if !image.is_empty() => Json::Text(image),
            // A null pointer, as with most stock tasks.
            _ if of.kind.needs_image() => {
                Json::Text(annotation("boomerang.io/task-default-image").ok_or(Fault::Crash)?)
            }
            _ => Json::Null,
        };
        task.spec.insert("image".to_owned(), image);
        let deletion = annotation("boomerang.io/task-deletion").unwrap_or_else(|| "Never".to_owned());
        let is_known = ["Never", "OnSuccess", "Always"].contains(&deletion.as_str());
        task.spec.insert("deletion".to_owned(), is_known.then_some(deletion).into());
        task.spec.insert("debug".to_owned(), run.debug.unwrap_or(false).into());
        Ok(())
    }

    /// Writes a run over what the database has of it.
    pub(crate) fn save_run(&mut self, run: &Run) -> Result<(), Fault> {
        if !run.params.iter().all(|param| self.settings.database.accepts(&param.value)) {
            return Err(Fault::Crash);
        }
        let mut run = run.clone();
        for param in &mut run.params {
            param.value = std::mem::take(&mut param.value).stored();
        }
        self.begin_write(&run.id);
        match self.runs.get_mut(&run.id) {
            Some(record) => record.run = run,
            None => {
                self.runs.insert(run.id.clone(), Record { run, tasks: Vec::new(), team: None });
            }
        }
        Ok(())
    }
}

fn new_run(workflow: &Workflow, request: &Submission, start: bool, now: u64) -> Result<Run, Fault> {
    let specs: Vec<_> = workflow.params.iter().map(Json::from).collect();
    let mut params = declared(&specs)?;
    params::merge(&mut params, request.named_params()?);
    let mut labels = workflow.labels.clone();
    labels.extend(request.labels.iter().flatten().map(|(name, value)| (name.clone(), value.clone())));
    let mut annotations = request.annotations.clone().unwrap_or_default();
    if start {
        annotations.insert("boomerang.io/submit-with-start".to_owned(), Json::from("true"));
    }
    annotations.extend(show::annotations("WorkflowRun"));
    let not_zero = |number: &i64| *number != 0;
    Ok(Run {
        labels,
        annotations,
        creation_date: now,
        timeout: request.timeout.filter(not_zero).or(workflow.timeout.filter(not_zero)),
        retries: request.retries.filter(not_zero),
        debug: request.debug,
        workflow_ref: workflow.id.clone(),
        workflow_version: workflow.version,
        workflow_revision_ref: workflow.revision().to_owned(),
        trigger: request.trigger.clone().unwrap_or_else(|| "engine".to_owned()),
        params,
        workspaces: request.workspaces.clone().unwrap_or_default(),
        ..Run::default()
    })
}

/// A task of a run, without the values of its template.
fn new_task(workflow: &Workflow, task: &WorkflowTask, before: Option<&WorkflowTask>, run: &Run, now: u64) -> TaskRun {
    let is_start = task.kind == TaskType::Start;
    let spec = object! {
        "arguments": None::<String>, "command": None::<String>, "envs": None::<String>, "image": None::<String>,
        "script": None::<String>, "workingDir": None::<String>, "debug": false, "timeout": 0_i64,
        "deletion": None::<String>,
    };
    TaskRun {
        id: String::new(),
        kind: task.kind,
        name: task.name.clone(),
        labels: Default::default(),
        annotations: Object::new(),
        creation_date: now,
        start_time: None,
        duration: 0,
        timeout: None,
        params: Vec::new(),
        results: Vec::new(),
        spec: spec.as_object().cloned().unwrap_or_default(),
        status: if is_start { Status::Succeeded } else { Status::NotStarted },
        phase: if is_start { Phase::Completed } else { Phase::Pending },
        status_message: None,
        pre_approved: false,
        dependencies: show::dependencies(task, before),
        task_ref: None,
        task_version: None,
        workflow_ref: workflow.id.clone(),
        workflow_revision_ref: workflow.revision().to_owned(),
        workflow_run_ref: run.id.clone(),
    }
}

/// The params that a list of specifications declares. A type that the engine doesn't know is a null pointer.
fn declared(specs: &[Json]) -> Result<Vec<Param>, Fault> {
    let param = |spec: &Json| {
        let text = |name: &str| spec.get(name).and_then(Json::as_text).ok_or(Fault::Crash);
        let kind = Kind::of_declared(text("type")?).ok_or(Fault::Crash)?;
        Ok(Param { kind: Some(kind), ..Param::new(text("name")?, spec.get("default").cloned()) })
    };
    specs.iter().map(param).collect()
}

fn declared_result(spec: &Json) -> RunResult {
    let text = |name: &str| spec.get(name).and_then(Json::as_text).map(str::to_owned);
    RunResult { name: text("name"), description: text("description"), value: Json::Null }
}
