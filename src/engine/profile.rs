//! Profiles: everything that differs between engines, as data.
//!
//! A profile is a JSON document; the built-in ones are the files in `src/engine/profiles`. `docs/engines/README.md`
//! documents the form. A member that the form doesn't have is an error that names it.
//!
//! Reading one costs little: a document is split into its members, which stay text, and an operation parses only the
//! members that it needs. Places in a response are JSON Pointers; requests are templates (see [`super::request`]).

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Operation;
use super::preflight::PreflightForm;

/// The name of the profile that is used if none is set.
pub const DEFAULT_PROFILE: &str = "boomerang";

/// The built-in profiles by name.
const BUILT_IN: [(&str, &str); 3] = [
    ("boomerang", include_str!("profiles/boomerang.json")),
    ("flow", include_str!("profiles/flow.json")),
    ("flow-5", include_str!("profiles/flow-5.json")),
];

/// The error of a profile that doesn't follow the form.
#[derive(Debug, thiserror::Error)]
#[error("the engine's profile is malformed: {0}")]
pub struct ProfileError(#[from] serde_json::Error);

/// The API of one engine, as data.
///
/// Its document is split once; a clone shares that.
#[derive(Clone, Debug)]
pub struct Profile {
    text: &'static str,
    document: Rc<OnceCell<Document<'static>>>,
}

impl Profile {
    /// The names of the built-in profiles.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// Returns the built-in profile of this name.
    pub fn built_in(name: &str) -> Option<Self> {
        BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| Self::new(text))
    }

    /// Returns the size in bytes of the largest payload that the engine takes, if it has such a limit.
    pub fn max_body_bytes(&self) -> Result<Option<usize>, ProfileError> {
        Ok(self.document()?.limits()?.max_body_bytes)
    }

    /// Returns the names of the params that a route must not set.
    pub fn reserved_params(&self) -> Result<Vec<&str>, ProfileError> {
        self.document()?.reserved_params()
    }

    fn new(text: &'static str) -> Self {
        Self { text, document: Rc::default() }
    }

    /// Returns the document, split into its members.
    pub(super) fn document(&self) -> Result<&Document<'static>, ProfileError> {
        if let Some(document) = self.document.get() {
            return Ok(document);
        }
        let document = serde_json::from_str(self.text)?;
        Ok(self.document.get_or_init(|| document))
    }
}

/// The members of a profile. Those that an operation needs are parsed when it needs them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document<'a> {
    pub(super) name: &'a str,
    #[serde(rename = "title")]
    _title: &'a str,
    #[serde(borrow, default)]
    settings: Option<&'a RawValue>,
    #[serde(borrow, default)]
    required: Option<&'a RawValue>,
    #[serde(borrow, default)]
    scope: Option<&'a RawValue>,
    #[serde(borrow, default)]
    limits: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reserved_params: Option<&'a RawValue>,
    #[serde(rename = "doubt")]
    _doubt: Doubt,
    #[serde(borrow)]
    start: &'a RawValue,
    #[serde(borrow)]
    find: &'a RawValue,
    #[serde(borrow)]
    look: &'a RawValue,
    #[serde(borrow)]
    resume: &'a RawValue,
    #[serde(borrow)]
    cancel: &'a RawValue,
    #[serde(borrow)]
    describe: &'a RawValue,
    #[serde(borrow)]
    run: &'a RawValue,
    #[serde(borrow)]
    tasks: &'a RawValue,
    #[serde(borrow)]
    answers: &'a RawValue,
    pub(super) error_code: &'a str,
}

impl<'a> Document<'a> {
    pub(super) fn settings(&self) -> Result<BTreeMap<&'a str, SettingForm>, ProfileError> {
        self.settings.map_or_else(|| Ok(BTreeMap::new()), read)
    }

    pub(super) fn required(&self) -> Result<Vec<&'a str>, ProfileError> {
        self.required.map_or_else(|| Ok(Vec::new()), read)
    }

    pub(super) fn scope(&self) -> Result<Option<Scope<'a>>, ProfileError> {
        self.scope.map(read).transpose()
    }

    fn limits(&self) -> Result<EngineLimits, ProfileError> {
        self.limits.map_or_else(|| Ok(EngineLimits::default()), read)
    }

    fn reserved_params(&self) -> Result<Vec<&'a str>, ProfileError> {
        self.reserved_params.map_or_else(|| Ok(Vec::new()), read)
    }

    pub(super) fn start(&self) -> Result<StartForm<'a>, ProfileError> {
        read(self.start)
    }

    pub(super) fn find(&self) -> Result<FindForm<'a>, ProfileError> {
        read(self.find)
    }

    pub(super) fn look(&self) -> Result<RequestForm<'a>, ProfileError> {
        read(self.look)
    }

    pub(super) fn resume(&self) -> Result<ResumeForm<'a>, ProfileError> {
        read(self.resume)
    }

    pub(super) fn cancel(&self) -> Result<RequestForm<'a>, ProfileError> {
        read(self.cancel)
    }

    pub(super) fn describe(&self) -> Result<DescribeForm<'a>, ProfileError> {
        read(self.describe)
    }

    pub(super) fn run(&self) -> Result<RunForm<'a>, ProfileError> {
        read(self.run)
    }

    pub(super) fn tasks(&self) -> Result<TasksForm<'a>, ProfileError> {
        read(self.tasks)
    }

    pub(super) fn answers(&self) -> Result<Vec<Rule<'a>>, ProfileError> {
        read(self.answers)
    }
}

fn read<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Result<T, ProfileError> {
    Ok(serde_json::from_str(raw.get())?)
}

/// The form of a constant's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum SettingForm {
    /// A path that precedes each path of the profile, such as `/flow`.
    Path,
    /// One path segment.
    Segment,
    /// An array of path segments.
    Segments,
    /// Any text that isn't empty.
    Text,
}

/// The constants that have the scopes of references, such as teams.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scope<'a> {
    /// The constant with the scope of a reference that names none.
    pub(super) setting: &'a str,
    /// The constant with the other scopes that a reference may name.
    pub(super) more: &'a str,
}

/// The limits of the engine.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct EngineLimits {
    /// The largest payload in bytes.
    #[serde(default)]
    max_body_bytes: Option<usize>,
}

/// What follows a start whose effect is unknown.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Doubt {
    /// The run is looked up by its label.
    Find,
}

/// The request that starts a run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StartForm<'a> {
    #[serde(borrow)]
    pub(super) request: Template<'a>,
    pub(super) proof: StartProof,
}

/// The body that proves a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum StartProof {
    /// A run that the engine runs, has run, or that somebody has cancelled.
    Run,
}

/// The lookup of a delivery's runs by their label.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FindForm<'a> {
    #[serde(borrow)]
    pub(super) request: Template<'a>,
    /// The place of the list of runs.
    pub(super) list: &'a str,
    /// The place of the label in a run.
    pub(super) label: &'a str,
}

/// An operation that is no more than its request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RequestForm<'a> {
    #[serde(borrow)]
    pub(super) request: Template<'a>,
}

/// The request that resumes a run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResumeForm<'a> {
    #[serde(borrow)]
    pub(super) request: Template<'a>,
    /// The request for a callback without a payload, if it differs.
    #[serde(borrow, default)]
    pub(super) without_payload: Option<Template<'a>>,
    pub(super) proof: ResumeProof,
}

/// The body that proves a resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ResumeProof {
    /// Empty, or any JSON.
    JsonOrEmpty,
}

/// The requests for the definitions of a workflow and of a task, and what a preflight reads in the responses.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DescribeForm<'a> {
    #[serde(borrow)]
    pub(super) workflow: Template<'a>,
    #[serde(borrow)]
    pub(super) task: Template<'a>,
    /// `None` if it isn't known how the engine treats a workflow.
    #[serde(borrow, default)]
    preflight: Option<&'a RawValue>,
}

impl<'a> DescribeForm<'a> {
    pub(super) fn preflight(&self) -> Result<Option<PreflightForm<'a>>, ProfileError> {
        self.preflight.map(read).transpose()
    }
}

/// A request with holes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Template<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    /// An object of texts.
    #[serde(borrow, default)]
    pub(super) query: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) body: Option<&'a RawValue>,
}

/// The places of a run's parts, and the meaning of its status.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RunForm<'a> {
    pub(super) id: &'a str,
    pub(super) status: &'a str,
    pub(super) phase: &'a str,
    pub(super) trigger: &'a str,
    /// The triggers of runs that another run has started. They carry the label of that run.
    #[serde(borrow)]
    pub(super) child_triggers: Vec<&'a str>,
    #[serde(borrow)]
    pub(super) workflow_id: WorkflowId<'a>,
    #[serde(borrow)]
    pub(super) states: Vec<StateRule<'a, RunStateName>>,
}

/// The id of a run's workflow.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WorkflowId<'a> {
    /// Its place in a run.
    pub(super) at: &'a str,
    /// Number of hexadecimal digits of each id. A reference of this form is an id and no name.
    pub(super) hex: usize,
}

/// The places of a task's parts, and the meaning of its status.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TasksForm<'a> {
    /// The place of the list of tasks in a run.
    pub(super) list: &'a str,
    pub(super) id: &'a str,
    #[serde(rename = "type")]
    pub(super) kind: &'a str,
    /// The type of a task that waits for a topic.
    pub(super) waits: &'a str,
    #[serde(borrow)]
    pub(super) topic: TopicForm<'a>,
    pub(super) status: &'a str,
    #[serde(borrow)]
    pub(super) states: Vec<StateRule<'a, WaitStateName>>,
}

/// The topic of a task: the value of a named element of a list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TopicForm<'a> {
    /// The place of the list in a task.
    pub(super) list: &'a str,
    /// The place of the name in an element.
    pub(super) name: &'a str,
    /// The name of the element with the topic.
    pub(super) equals: &'a str,
    /// The place of the topic in that element.
    pub(super) value: &'a str,
    /// A text that only a topic contains which is still made of params.
    pub(super) unresolved: &'a str,
}

/// The state that a status means, in any phase or in one of these.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StateRule<'a, S> {
    #[serde(borrow)]
    pub(super) status: Vec<&'a str>,
    #[serde(borrow, default)]
    pub(super) phase: Vec<&'a str>,
    pub(super) state: S,
}

/// The name of a [`RunState`](crate::delivery::RunState).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RunStateName {
    NotStarted,
    Active,
    Ended,
    Cancelled,
    Invalid,
}

/// The name of a [`WaitState`](crate::delivery::WaitState).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum WaitStateName {
    Ahead,
    Waiting,
    Succeeded,
    Failed,
    EndedOtherwise,
}

/// One rule for responses that aren't a 2xx. All its conditions have to hold.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule<'a> {
    /// The operations that it applies to; all of them if there are none.
    #[serde(default)]
    pub(super) operations: Vec<Operation>,
    /// Statuses and ranges, separated by commas: `404`, `400-499,500`.
    pub(super) status: &'a str,
    /// The place where the body has the text `equals`.
    #[serde(default)]
    pub(super) at: Option<&'a str>,
    #[serde(default)]
    pub(super) equals: Option<&'a str>,
    /// The body is an object that has something at each of these places.
    #[serde(borrow, default)]
    pub(super) has: Vec<&'a str>,
    /// The body is empty, or an object that has nothing at these places.
    #[serde(borrow, default)]
    pub(super) lacks: Vec<&'a str>,
    pub(super) verdict: RuleVerdict,
    /// For `unclear`: whether the engine itself has answered, and no longer acts on the request.
    #[serde(default)]
    pub(super) concluded: bool,
    /// A remark for the history of the delivery. Completes the sentence "the engine answered 500, …".
    #[serde(default)]
    pub(super) note: Option<&'a str>,
}

/// The verdict of a rule; [`Verdict`](crate::delivery::Verdict) has the meanings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RuleVerdict {
    Rejected,
    UnknownRun,
    Retry,
    Unclear,
    Misconfigured,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Pointer;

    #[test]
    fn built_in_profiles_follow_the_form() {
        for name in Profile::names() {
            let profile = Profile::built_in(name).unwrap();
            let document = profile.document().unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(document.name, name);
            let (find, run, tasks) = (document.find().unwrap(), document.run().unwrap(), document.tasks().unwrap());
            let rules = document.answers().unwrap();
            let topic = &tasks.topic;
            let places = [
                [run.id, run.status, run.phase, run.trigger, run.workflow_id.at, find.list, find.label],
                [tasks.list, tasks.id, tasks.kind, tasks.status, topic.list, topic.name, topic.value],
            ];
            let of_rules = rules.iter().flat_map(|rule| rule.lacks.iter().chain(&rule.has).copied().chain(rule.at));
            for place in places.into_iter().flatten().chain([document.error_code]).chain(of_rules) {
                assert!(Pointer::parse(place).is_some(), "{name}: {place}");
            }
            for rule in &rules {
                assert_eq!(rule.at.is_some(), rule.equals.is_some(), "{name}: {rule:?}");
                assert!(!rule.concluded || rule.verdict == RuleVerdict::Unclear, "{name}: {rule:?}");
            }
            let settings = document.settings().unwrap();
            let scope = document.scope().unwrap();
            let of_scope = scope.iter().flat_map(|scope| [scope.setting, scope.more]);
            for setting in document.required().unwrap().into_iter().chain(of_scope) {
                assert!(settings.contains_key(setting), "{name}: {setting}");
            }
            assert!(profile.max_body_bytes().unwrap().is_some_and(|max| max > 524_288), "{name}");
            assert_eq!(profile.reserved_params().unwrap(), ["event", "data"], "{name}");
        }
        assert!(Profile::built_in(DEFAULT_PROFILE).is_some() && Profile::built_in("no-such-engine").is_none());
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
        for name in Profile::names() {
            let profile = Profile::built_in(name).unwrap();
            let document = profile.document().unwrap();
            let (run, tasks) = (document.run().unwrap(), document.tasks().unwrap());
            let mut of_runs: Vec<_> = run.states.iter().flat_map(|rule| rule.status.clone()).collect();
            of_runs.push("skipped"); // A task's only.
            let mut of_tasks: Vec<_> = tasks.states.iter().flat_map(|rule| rule.status.clone()).collect();
            let mut expected = STATUSES;
            for list in [&mut expected[..], &mut of_runs, &mut of_tasks] {
                list.sort_unstable();
            }
            assert_eq!((of_runs.as_slice(), of_tasks.as_slice()), (&expected[..], &expected[..]), "{name}");
        }
    }

    #[test]
    fn unknown_member_is_an_error_that_names_it() {
        let (_, text) = BUILT_IN[0];
        let profile = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            Profile::new(String::leak(text.replacen(from, to, 1)))
        };
        let unknown = profile("\"doubt\"", "\"dout\": 1, \"doubt\"");
        assert!(unknown.document().unwrap_err().to_string().contains("unknown field `dout`"));
        let unknown = profile("\"proof\": \"run\"", "\"prof\": 1, \"proof\": \"run\"");
        assert!(unknown.document().unwrap().start().unwrap_err().to_string().contains("unknown field `prof`"));
        let unknown = profile("\"verdict\": \"retry\"", "\"verdict\": \"again\"");
        assert!(unknown.document().unwrap().answers().unwrap_err().to_string().contains("unknown variant `again`"));
    }
}
