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

use super::form::{
    DescribeForm, Doubt, EngineLimits, FindForm, RequestForm, ResumeForm, Rule, RunForm, Scope, SettingForm, StartForm,
    TasksForm,
};

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

/// Parses a member of a profile.
pub(super) fn read<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Result<T, ProfileError> {
    Ok(serde_json::from_str(raw.get())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::form::RuleVerdict;
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
