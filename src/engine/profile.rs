//! Profiles: everything that differs between engines, as data.
//!
//! A profile is a JSON document; the built-in ones are the files in `src/engine/profiles`, and an operator may give
//! one in the variable `engine`. `docs/engines/README.md` documents the form. A member that the form doesn't have is an
//! error that names it.
//!
//! Reading one costs little: a document is split into its members, which stay text, and an operation parses only the
//! members that it needs. Of a built-in profile, the build has read those that each start needs. Places in a response are
//! JSON Pointers; requests are templates (see [`super::request`]).

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::form::{
    AuthForm, DescribeForm, Doubt, EngineLimits, FindForm, Lazy, LookForm, Mark, Proof, RequestForm, ResumeForm, Rule,
    RunForm, Scope, Setting, StartForm, TasksForm, Text, Texts, WaitRule, WorkflowId,
};
use super::response::includes;
use crate::json::{self, InvalidValue, Part};

/// The name of the profile that is used if none is set.
pub const DEFAULT_PROFILE: &str = "boomerang";

/// The built-in profiles: the files in `src/engine/profiles`, which `build.rs` splits into their members.
const BUILT_IN: &[Document<'static>] = {
    use super::body::{BodyHole, Filter, Node};
    use super::form::{BodyForm, List, StateRule, Template};
    use crate::delivery::RunState;
    include!(concat!(env!("OUT_DIR"), "/profiles.rs"))
};

/// The error of a profile that doesn't follow the form. Completes the sentence "the profile …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("breaks the form of profiles{}: {rule}", if place.is_empty() { String::new() } else { format!(" at `{place}`") })]
pub struct ProfileError {
    /// The place: a JSON Pointer (RFC 6901), empty for the whole profile.
    pub place: String,
    /// The rule that is broken there.
    pub rule: String,
}

impl ProfileError {
    pub(super) fn new(place: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { place: place.into(), rule: rule.into() }
    }

    /// The error of a value that is at a place of the profile.
    pub(super) fn within(place: &str, InvalidValue { pointer, rule }: InvalidValue) -> Self {
        Self::new(format!("{place}{pointer}"), rule)
    }
}

/// The API of one engine, as data. A clone shares its document.
#[derive(Clone, Debug)]
pub struct Profile<'p>(Source<'p>);

#[derive(Clone, Debug)]
enum Source<'p> {
    BuiltIn(&'static Document<'static>),
    /// The operator's.
    Own(Rc<Document<'p>>),
}

impl Profile<'static> {
    /// The names of the built-in profiles.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|document| &*document.name)
    }

    /// Returns the built-in profile of this name.
    pub fn built_in(name: &str) -> Option<Self> {
        BUILT_IN.iter().find(|document| *document.name == *name).map(|document| Self(Source::BuiltIn(document)))
    }
}

impl<'p> Profile<'p> {
    /// Splits a profile into its members. [`check`](Self::check) reads them, too.
    pub fn parse(text: &'p str) -> Result<Self, ProfileError> {
        let raw = serde_json::from_str(text).map_err(|error| ProfileError::new("", format!("not JSON: {error}")))?;
        let document = json::form(raw).map_err(|error| ProfileError::within("", error))?;
        Ok(Self(Source::Own(Rc::new(document))))
    }

    /// The name, which senders are shown.
    pub fn name(&self) -> &str {
        &self.document().name
    }

    /// The engine in one line, for people.
    pub fn title(&self) -> &str {
        &self.document().title
    }

    /// The next step after a start whose effect is unknown.
    pub fn doubt(&self) -> Doubt {
        self.document().doubt
    }

    /// Returns the size in bytes of the largest payload that the engine takes, if it has such a limit.
    pub fn max_body_bytes(&self) -> Result<Option<usize>, ProfileError> {
        Ok(self.document().limits()?.max_body_bytes)
    }

    /// Returns the names of the params that a route must not set.
    pub fn reserved_params(&self) -> Result<Vec<String>, ProfileError> {
        Ok(self.document().reserved_params()?.iter().map(ToString::to_string).collect())
    }

    /// Whether no constant has to be set, and none has a default. An operator's profile may be malformed: its constants are
    /// always read.
    pub(super) fn needs_no_constants(&self) -> bool {
        let Source::BuiltIn(document) = &self.0 else { return false };
        document.required.is_none() && document.settings.is_none_or(|settings| !settings.get().contains("\"default\""))
    }

    /// The members.
    pub(super) fn document(&self) -> &Document<'p> {
        match &self.0 {
            Source::BuiltIn(document) => document,
            Source::Own(document) => document,
        }
    }
}

/// The members of a profile. Those that an operation needs are parsed when it needs them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document<'a> {
    #[serde(rename = "$schema", borrow, default)]
    _schema: Option<Part<'a>>,
    #[serde(borrow)]
    pub(super) name: Text<'a>,
    #[serde(borrow)]
    pub(super) title: Text<'a>,
    #[serde(borrow, default)]
    settings: Option<Part<'a>>,
    #[serde(borrow, default)]
    required: Option<Part<'a>>,
    #[serde(borrow, default)]
    scope: Option<Part<'a>>,
    #[serde(borrow, default)]
    auth: Option<Part<'a>>,
    #[serde(borrow, default)]
    pub(super) headers: Option<Texts<'a>>,
    #[serde(borrow, default)]
    workflow: Option<Part<'a>>,
    #[serde(borrow, default)]
    run_names: Option<Part<'a>>,
    #[serde(borrow, default)]
    mark: Option<Part<'a>>,
    #[serde(borrow, default)]
    limits: Option<Lazy<'a, EngineLimits>>,
    #[serde(borrow, default)]
    reserved_params: Option<Part<'a>>,
    pub(super) doubt: Doubt,
    #[serde(borrow)]
    start: Lazy<'a, StartForm<'a>>,
    #[serde(borrow, default)]
    find: Option<Part<'a>>,
    #[serde(borrow, default)]
    look: Option<Part<'a>>,
    #[serde(borrow, default)]
    resume: Option<Part<'a>>,
    #[serde(borrow, default)]
    cancel: Option<Part<'a>>,
    #[serde(borrow, default)]
    describe: Option<Part<'a>>,
    #[serde(borrow, default)]
    run: Option<Lazy<'a, RunForm<'a>>>,
    #[serde(borrow, default)]
    tasks: Option<Part<'a>>,
    #[serde(borrow, default)]
    wait: Option<Part<'a>>,
    #[serde(borrow)]
    answers: Part<'a>,
    /// The first and last of the statuses for which [`answers`](Self::answers) has rules; `None` if the build has not
    /// listed them.
    #[serde(skip)]
    answered: Option<&'static [(u16, u16)]>,
    #[serde(borrow, default)]
    pub(super) error_code: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) page: Option<Text<'a>>,
    #[serde(default)]
    answer: Option<AnswerForm>,
}

/// The response to a sender whose run was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum AnswerForm {
    /// The engine's response.
    Own,
}

impl<'a> Document<'a> {
    pub(super) fn settings(&self) -> Result<BTreeMap<String, Setting<'a>>, ProfileError> {
        let Some(raw) = self.settings else { return Ok(BTreeMap::new()) };
        let settings: BTreeMap<String, &'a RawValue> = read("settings", raw)?;
        let setting = |(name, raw): (String, &'a RawValue)| {
            let place = format!("/settings/{name}");
            let setting = Setting::read(raw).map_err(|error| ProfileError::within(&place, error))?;
            Ok((name, setting))
        };
        settings.into_iter().map(setting).collect()
    }

    pub(super) fn required(&self) -> Result<Vec<Text<'a>>, ProfileError> {
        self.required.map_or_else(|| Ok(Vec::new()), |raw| read("required", raw))
    }

    pub(super) fn scope(&self) -> Result<Option<Scope<'a>>, ProfileError> {
        self.scope.map(|raw| read("scope", raw)).transpose()
    }

    /// How `engine_token` is sent; `None` for `Authorization: Bearer`.
    pub(super) fn auth(&self) -> Result<Option<AuthForm<'a>>, ProfileError> {
        self.auth.map(|raw| read("auth", raw)).transpose()
    }

    /// The names in a workflow's reference; `None` for `workflow` alone.
    pub(super) fn workflow_names(&self) -> Result<Option<Vec<Text<'a>>>, ProfileError> {
        self.workflow.map(|raw| read("workflow", raw)).transpose()
    }

    /// The names in a run's reference; `None` for `run` alone.
    pub(super) fn run_names(&self) -> Result<Option<Vec<Text<'a>>>, ProfileError> {
        self.run_names.map(|raw| read("run_names", raw)).transpose()
    }

    pub(super) fn mark(&self) -> Result<Mark<'a>, ProfileError> {
        self.mark.map_or_else(|| Ok(Mark::default()), |raw| read("mark", raw))
    }

    pub(super) fn limits(&self) -> Result<EngineLimits, ProfileError> {
        self.limits.map_or_else(|| Ok(EngineLimits::default()), |limits| limits.get(|part| read("limits", part)))
    }

    pub(super) fn reserved_params(&self) -> Result<Vec<Text<'a>>, ProfileError> {
        self.reserved_params.map_or_else(|| Ok(Vec::new()), |raw| read("reserved_params", raw))
    }

    pub(super) fn start(&self) -> Result<StartForm<'a>, ProfileError> {
        self.start.get(|part| read("start", part))
    }

    /// The lookup by the mark; `None` if the profile has none.
    pub(super) fn find(&self) -> Result<Option<FindForm<'a>>, ProfileError> {
        self.find.map(|raw| read("find", raw)).transpose()
    }

    /// The look at a run or topic; `None` if the profile has none.
    pub(super) fn look(&self) -> Result<Option<LookForm<'a>>, ProfileError> {
        self.look.map(|raw| read("look", raw)).transpose()
    }

    /// The resumption of a run; `None` if the engine can't resume runs.
    pub(super) fn resume(&self) -> Result<Option<ResumeForm<'a>>, ProfileError> {
        self.resume.map(|raw| read("resume", raw)).transpose()
    }

    /// The cancellation of a run; `None` if the profile has none.
    pub(super) fn cancel(&self) -> Result<Option<RequestForm<'a>>, ProfileError> {
        self.cancel.map(|raw| read("cancel", raw)).transpose()
    }

    /// The definition of a workflow; `None` if the engine shows none.
    pub(super) fn describe(&self) -> Result<Option<DescribeForm<'a>>, ProfileError> {
        self.describe.map(|raw| read("describe", raw)).transpose()
    }

    pub(super) fn run(&self) -> Result<RunForm<'a>, ProfileError> {
        self.run.map_or_else(|| Ok(RunForm::default()), |run| run.get(|part| read("run", part)))
    }

    /// The id of a run's workflow, without the rest of [`run`](Self::run).
    pub(super) fn workflow_id(&self) -> Result<Option<WorkflowId<'a>>, ProfileError> {
        let part = match self.run {
            None => return Ok(None),
            Some(Lazy::Read(run)) => return Ok(run.workflow_id.clone()),
            Some(Lazy::Json(run)) => json::member(run.value(), "workflow_id"),
        };
        part.map(json::form).transpose().map_err(|error| ProfileError::within("/run/workflow_id", error))
    }

    /// The tasks of a run; `None` if the profile has `wait`, or needs no looks.
    pub(super) fn tasks(&self) -> Result<Option<TasksForm<'a>>, ProfileError> {
        self.tasks.map(|raw| read("tasks", raw)).transpose()
    }

    /// The rules for the state of a callback's topic; `None` if the profile has `tasks`, or needs no looks.
    pub(super) fn wait(&self) -> Result<Option<Vec<WaitRule<'a>>>, ProfileError> {
        self.wait.map(|raw| read("wait", raw)).transpose()
    }

    pub(super) fn answers(&self) -> Result<Vec<Rule<'a>>, ProfileError> {
        read("answers", self.answers)
    }

    /// The rules for a status. The others are not read.
    pub(super) fn answers_to(&self, status: u16) -> Result<Vec<Rule<'a>>, ProfileError> {
        let concerns = |rule: &RawValue| {
            let list = json::member(rule, "status").and_then(json::borrowed_text);
            // A malformed rule is an error of each response.
            list.is_none_or(|list| includes(&list, status))
        };
        let mut rules = Vec::new();
        if self.answered.is_some_and(|ranges| !ranges.iter().any(|(first, last)| (*first..=*last).contains(&status))) {
            return Ok(rules);
        }
        for (at, rule) in json::each_element(self.answers.value()).into_iter().flatten().enumerate() {
            if concerns(rule) {
                let place = format!("/answers/{at}");
                rules.push(json::form(rule).map_err(|error| ProfileError::within(&place, error))?);
            }
        }
        Ok(rules)
    }

    /// Whether a sender gets the engine's own response.
    pub(super) fn answers_as_the_engine(&self) -> bool {
        self.answer == Some(AnswerForm::Own)
    }
}

/// Parses a member of a profile.
pub(super) fn read<'a, T: Deserialize<'a>>(member: &'static str, part: Part<'a>) -> Result<T, ProfileError> {
    part.form().map_err(|error| ProfileError::within(&format!("/{member}"), error))
}

/// Reads the proof in a member of a profile.
pub(super) fn proof<'a>(member: &'static str, proof: Lazy<'a, Proof<'a>>) -> Result<Proof<'a>, ProfileError> {
    let within = |error| ProfileError::within(&format!("/{member}/proof"), error);
    proof.get(|part| Proof::read(part.value()).map_err(within))
}

#[cfg(test)]
mod tests {
    use super::super::EngineUrl;
    use super::super::request::{self, Hole};
    use super::*;

    #[test]
    fn built_in_profiles_follow_the_form() {
        for name in Profile::names() {
            let profile = Profile::built_in(name).unwrap();
            profile.check().unwrap_or_else(|error| panic!("{name} {error}"));
            assert_eq!(profile.name(), name);
        }
        assert!(Profile::built_in(DEFAULT_PROFILE).is_some() && Profile::built_in("no-such-engine").is_none());
    }

    /// The build reads `start`, `run` and `limits` by itself, so it must read in them what a profile of an operator means.
    #[test]
    fn forms_that_the_build_has_read_are_those_of_the_files() {
        let optional = ["source", "replay_of", "params_object", "attributes", "service_account", "default_image"];
        for name in Profile::names() {
            let file = format!("{}/src/engine/profiles/{name}.json", env!("CARGO_MANIFEST_DIR"));
            let file = std::fs::read_to_string(file).unwrap();
            let (built, own) = (Profile::built_in(name).unwrap(), Profile::parse(&file).unwrap());
            let (built, own) = (built.document(), own.document());
            let run = |document: &Document<'_>| {
                let run = document.run().unwrap();
                let (states, rest) = (run.states.check().unwrap(), RunForm { states: Lazy::default(), ..run });
                format!("{rest:?} {states:?} {:?}", document.limits().unwrap())
            };
            assert_eq!(run(built), run(own), "{name}");
            let start = |document: &Document<'_>| {
                let StartForm { request, proof: raw, reference } = document.start().unwrap();
                let request = |has: &dyn Fn(&str) -> bool| {
                    let hole = |name: &str| has(name).then(|| Hole::Text(name.to_owned().into()));
                    let url = EngineUrl::parse("http://engine").unwrap();
                    request::build(&url, &request, &hole, 0, None).map(|request| format!("{request:?}"))
                };
                let requests = (request(&|_| true), request(&|name| !optional.contains(&name)));
                format!("{:?} {reference:?} {requests:?}", proof("start", raw).unwrap())
            };
            assert_eq!(start(built), start(own), "{name}");
        }
    }

    /// `RunStatus` of the engine: each status that a run can have is listed once, and so is each of a task.
    #[test]
    fn each_status_of_the_engine_has_a_meaning() {
        const STATUSES: [&str; 10] = [
            "notstarted",
            "ready",
            "running",
            "waiting",
            "succeeded",
            "failed",
            "invalid",
            "skipped",
            "cancelled",
            "timedout",
        ];
        for name in ["boomerang", "flow", "flow-5"] {
            let profile = Profile::built_in(name).unwrap();
            let (run, tasks) = (profile.document().run().unwrap(), profile.document().tasks().unwrap().unwrap());
            let (of_runs, of_tasks) = (run.states.check().unwrap(), tasks.states.check().unwrap());
            let mut of_runs: Vec<_> = of_runs.iter().flat_map(|rule| rule.status.iter().map(|it| &**it)).collect();
            of_runs.push("skipped"); // A task's only.
            let mut of_tasks: Vec<_> = of_tasks.iter().flat_map(|rule| rule.status.iter().map(|it| &**it)).collect();
            let mut expected = STATUSES;
            for list in [&mut expected[..], &mut of_runs, &mut of_tasks] {
                list.sort_unstable();
            }
            assert_eq!((of_runs.as_slice(), of_tasks.as_slice()), (&expected[..], &expected[..]), "{name}");
        }
    }

    /// The error of a profile in which a text is replaced.
    fn error(from: &str, to: &str) -> String {
        let text = include_str!("profiles/boomerang.json");
        assert!(text.contains(from), "{from}");
        let text = text.replacen(from, to, 1);
        let error = Profile::parse(&text).and_then(|profile| profile.check()).unwrap_err();
        error.to_string()
    }

    #[test]
    fn error_names_the_place() {
        for (from, to, expected) in [
            ("\"doubt\"", "\"dout\": 1, \"doubt\"", "at `/dout`: unknown field `dout`"),
            ("\"proof\": \"run\"", "\"prof\": 1, \"proof\": \"run\"", "at `/start/prof`: unknown field `prof`"),
            ("\"verdict\": \"retry\"", "\"verdict\": \"again\"", "`: unknown variant `again`"),
            ("\"method\": \"PUT\"", "\"method\": 7", "at `/resume/request/method`: invalid type: integer `7`"),
            ("\"method\": \"PUT\",", "", "at `/resume/request`: missing field `method`"),
            (
                "/workflow/{workflow}/submit",
                "/workflow/{workflo}/submit",
                "at `/start/request/path`: has an unknown hole `workflo`",
            ),
            ("\"doubt\": \"find\",", "", ": missing field `doubt`"),
            ("\"status\": \"400,409", "\"status\": \"4000,409", "/status`: must be statuses and ranges"),
            ("\"at\": \"/reason\"", "\"at\": \"reason\"", "/at`: must be a JSON Pointer"),
            ("\"name\": \"boomerang\"", "\"name\": \"Boomerang\"", "at `/name`: must be lower-case words"),
        ] {
            let error = error(from, to);
            assert!(error.starts_with("breaks the form of profiles") && error.contains(expected), "{to}: {error}");
        }
        let error = Profile::parse("{").unwrap_err().to_string();
        assert_eq!(error, "breaks the form of profiles: not JSON: EOF while parsing an object at line 1 column 1");
    }
}
