//! The members of a profile as types. `docs/engines/README.md` documents each.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use serde_json::value::RawValue;

use super::Operation;
use super::body::Node;
use super::preflight::PreflightForm;
use super::profile::{ProfileError, read};
use crate::callback::Status;
use crate::delivery::RunState;
use crate::json::{self, InvalidValue, JsonType, Part};

/// A text of a profile. It is copied only if it has escapes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Text<'a>(Cow<'a, str>);

impl<'a> Text<'a> {
    /// A text that the build has read.
    pub(super) const fn of_build(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// The text of a JSON string; `None` for a value of another type, or if it is no Unicode text.
    pub(super) fn of(value: &'a RawValue) -> Option<Self> {
        json::borrowed_text(value).map(Self)
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(text.into())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(text.into()))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(text.to_owned().into()))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// A part of a profile that is read when it is needed, or that the build has read.
#[derive(Debug)]
pub(super) enum Lazy<'a, T: ?Sized> {
    /// Read by the build.
    Read(&'a T),
    Json(Part<'a>),
}

impl<T: ?Sized> Clone for Lazy<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for Lazy<'_, T> {}

impl<'de: 'a, 'a, T: ?Sized> Deserialize<'de> for Lazy<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Part::deserialize(deserializer).map(Self::Json)
    }
}

impl<'a, T: Clone> Lazy<'a, T> {
    /// The part itself.
    pub(super) fn get<E>(self, read: impl FnOnce(Part<'a>) -> Result<T, E>) -> Result<T, E> {
        match self {
            Self::Read(part) => Ok(part.clone()),
            Self::Json(json) => read(json),
        }
    }
}

impl<T> Default for Lazy<'_, [T]> {
    fn default() -> Self {
        Self::Read(&[])
    }
}

impl<'a, T: Clone + Deserialize<'a>> Lazy<'a, [T]> {
    /// The elements, each read when it is reached. A malformed one is an error.
    pub(super) fn iter(self) -> impl Iterator<Item = Result<T, InvalidValue>> {
        let (read, json) = match self {
            Self::Read(list) => (list, None),
            Self::Json(json) => (&[][..], json::each_element(json.value())),
        };
        read.iter().cloned().map(Ok).chain(json.into_iter().flatten().map(json::form))
    }

    pub(super) fn is_empty(self) -> bool {
        match self {
            Self::Read(list) => list.is_empty(),
            Self::Json(json) => json::each_element(json.value()).is_none_or(|mut elements| elements.next().is_none()),
        }
    }

    /// Reads all elements. The error has the place in the list.
    pub(super) fn check(self) -> Result<Vec<T>, InvalidValue> {
        match self {
            Self::Read(list) => Ok(list.to_vec()),
            Self::Json(json) => json.form(),
        }
    }
}

/// A list in a form: read by the build, or from JSON.
#[derive(Clone)]
pub(super) enum List<'a, T> {
    /// Read by the build.
    Read(&'a [T]),
    Own(Vec<T>),
}

impl<T> Deref for List<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Read(list) => list,
            Self::Own(list) => list,
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T> Default for List<'_, T> {
    fn default() -> Self {
        Self::Read(&[])
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<'_, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::Own)
    }
}

/// An object of texts with holes.
pub(super) type Texts<'a> = Lazy<'a, [(Text<'a>, Text<'a>)]>;

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
    /// An HTTP or HTTPS URL, for people.
    Url,
    /// A whole number.
    Number,
}

/// A constant: its form, and its default.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Setting<'a> {
    pub(super) form: SettingForm,
    /// The value if none is set.
    #[serde(borrow, default)]
    pub(super) default: Option<Text<'a>>,
}

impl<'a> Setting<'a> {
    /// Reads a constant: its form alone, or an object.
    pub(super) fn read(raw: &'a RawValue) -> Result<Self, InvalidValue> {
        if json::type_of(raw) == JsonType::String {
            return Ok(Self { form: json::form(raw)?, default: None });
        }
        json::form(raw)
    }
}

/// The constants that have the scopes of references, such as teams.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scope<'a> {
    /// The constant with the scope of a reference that names none.
    #[serde(borrow)]
    pub(super) setting: Text<'a>,
    /// The constant with the other scopes that a reference may name.
    #[serde(borrow)]
    pub(super) more: Text<'a>,
}

/// The way in which `engine_token` is sent: one of `header`, `basic`, `query` and `login`.
///
/// A token without a colon is sent as `Authorization: Bearer` instead of by `basic` and `login`, which need a user and a
/// password.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuthForm<'a> {
    /// The name of a header.
    #[serde(borrow, default)]
    pub(super) header: Option<Text<'a>>,
    /// The text before the token in that header.
    #[serde(borrow, default)]
    pub(super) prefix: Option<Text<'a>>,
    /// Whether user and password are sent as `Authorization: Basic` (RFC 7617).
    #[serde(default)]
    pub(super) basic: bool,
    /// The name of a parameter of the query.
    #[serde(borrow, default)]
    pub(super) query: Option<Text<'a>>,
    /// The exchange of user and password for a token.
    #[serde(borrow, default)]
    pub(super) login: Option<Login<'a>>,
}

/// A request that exchanges user and password for a token.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Login<'a> {
    /// The request, with the holes `user` and `password`.
    #[serde(borrow)]
    pub(super) request: Template<'a>,
    /// The place of the token in the response.
    #[serde(borrow)]
    pub(super) token: Text<'a>,
    /// The place of the token's lifetime in seconds.
    #[serde(borrow, default)]
    pub(super) expires_in: Option<Text<'a>>,
    /// The token's lifetime in seconds, if the response doesn't have it.
    pub(super) lifetime_seconds: u64,
}

/// The spelling of a delivery's mark.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark<'a> {
    /// The text before the mark.
    #[serde(borrow, default)]
    pub(super) prefix: Option<Text<'a>>,
    #[serde(default)]
    pub(super) form: MarkForm,
}

/// The letters of a mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum MarkForm {
    /// 52 or 26 capital letters and digits.
    #[default]
    AsIs,
    /// The same in lower case.
    Lower,
    /// A UUID of version 8 (RFC 9562, section 5.8), made of the SHA-256 of the mark.
    Uuid,
}

/// The limits of the engine.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EngineLimits {
    /// The largest payload in bytes.
    #[serde(default)]
    pub(super) max_body_bytes: Option<usize>,
    /// The time in hours for which the engine knows the mark of a start.
    #[serde(default)]
    pub(super) retention_hours: Option<u64>,
    /// Whether the engine takes JSON with an unpaired surrogate, such as `"\ud83d"`.
    #[serde(default)]
    pub(super) unpaired_surrogates: Option<bool>,
}

/// The next step after a start whose effect is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Doubt {
    /// Its run is looked up by the mark before it is sent again.
    Find,
    /// It is sent again: the engine knows the mark, and starts no second run.
    Resend,
    /// It becomes a dead letter, because nothing tells whether it has started a run.
    Hold,
    /// It is sent again, and may start a second run.
    ResendAnyway,
}

/// The request that starts a run.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StartForm<'a> {
    #[serde(borrow)]
    pub(super) request: Template<'a>,
    #[serde(borrow)]
    pub(super) proof: Lazy<'a, Proof<'a>>,
    /// The run's reference: a text with holes. By default the text that proves the start.
    #[serde(borrow, default)]
    pub(super) reference: Option<Text<'a>>,
}

/// The proof that a response is the engine's, and what it says. In a profile it is a name, or an object with `at` or
/// `header`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Proof<'a> {
    /// `run`: a run that the engine runs, has run, or that somebody has cancelled.
    Run,
    /// `any`: any 2xx.
    Any,
    /// `json-or-empty`: an empty body, or any JSON.
    JsonOrEmpty,
    /// `object`: a JSON object.
    Object,
    /// `text`: a body of one word, the run's id.
    Text,
    /// A text at a place in the body. It must equal another one, which may have holes, if that is given.
    At(Text<'a>, Option<Text<'a>>),
    /// A header of the response.
    Header(Text<'a>),
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ProofName {
    Run,
    Any,
    JsonOrEmpty,
    Object,
    Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProofObject<'a> {
    #[serde(borrow, default)]
    at: Option<Text<'a>>,
    #[serde(borrow, default)]
    equals: Option<Text<'a>>,
    #[serde(borrow, default)]
    header: Option<Text<'a>>,
}

impl<'a> Proof<'a> {
    /// Reads a proof.
    pub(super) fn read(raw: &'a RawValue) -> Result<Self, InvalidValue> {
        if json::type_of(raw) == JsonType::String {
            return Ok(match json::form(raw)? {
                ProofName::Run => Self::Run,
                ProofName::Any => Self::Any,
                ProofName::JsonOrEmpty => Self::JsonOrEmpty,
                ProofName::Object => Self::Object,
                ProofName::Text => Self::Text,
            });
        }
        match json::form(raw)? {
            ProofObject { at: Some(at), equals, header: None } => Ok(Self::At(at, equals)),
            ProofObject { at: None, equals: None, header: Some(name) } => Ok(Self::Header(name)),
            _ => Err(InvalidValue::custom("a proof has either `at`, perhaps with `equals`, or `header`")),
        }
    }
}

/// The lookup of a delivery's runs by its mark.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FindForm<'a> {
    #[serde(borrow)]
    pub(super) request: Template<'a>,
    /// The place of the runs, if the response is a list of them.
    #[serde(borrow, default)]
    pub(super) list: Option<Text<'a>>,
    /// The place of the label in a run of that list.
    #[serde(borrow, default)]
    pub(super) label: Option<Text<'a>>,
    /// The proof that the response is the run, if it is no list.
    #[serde(borrow, default)]
    pub(super) proof: Option<Lazy<'a, Proof<'a>>>,
    /// The run's reference, as in [`StartForm::reference`].
    #[serde(borrow, default)]
    pub(super) reference: Option<Text<'a>>,
}

/// An operation that is no more than its request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RequestForm<'a> {
    #[serde(borrow)]
    pub(super) request: Template<'a>,
}

/// The look at a run, or at the topic of a callback.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LookForm<'a> {
    /// The request before and after a callback is sent. It may be left out where the engine's answer to a callback shows
    /// its effect.
    #[serde(borrow, default)]
    pub(super) request: Option<Template<'a>>,
    /// The request for the run, if `request` asks for the topic of a callback, or is left out.
    #[serde(borrow, default)]
    pub(super) run: Option<Template<'a>>,
}

/// The request that resumes a run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResumeForm<'a> {
    #[serde(borrow)]
    pub(super) request: Template<'a>,
    /// The request for a callback with the status `failed`, if it differs.
    #[serde(borrow, default)]
    pub(super) failed: Option<Template<'a>>,
    /// The request for a callback without a payload, if it differs.
    #[serde(borrow, default)]
    pub(super) without_payload: Option<Template<'a>>,
    /// The statuses that the engine can be told; all of them if this is left out.
    #[serde(default)]
    pub(super) statuses: Option<Vec<Status>>,
    #[serde(borrow)]
    pub(super) proof: Lazy<'a, Proof<'a>>,
    #[serde(default)]
    pub(super) confirm: Confirm,
}

/// The source of the knowledge that a callback has had its effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confirm {
    /// Looks: it is sent while a look shows a task that waits, and delivered once a look shows that this task has ended.
    #[default]
    Look,
    /// The engine's answer: it keeps a callback that is early, and knows a repeated one.
    Answer,
}

/// The requests for the definitions of a workflow and of a task, and what a preflight reads in the responses.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DescribeForm<'a> {
    #[serde(borrow)]
    pub(super) workflow: Template<'a>,
    #[serde(borrow, default)]
    pub(super) task: Option<Template<'a>>,
    /// `None` if it isn't known how the engine treats a workflow.
    #[serde(borrow, default)]
    preflight: Option<Part<'a>>,
}

impl<'a> DescribeForm<'a> {
    pub(super) fn preflight(&self) -> Result<Option<PreflightForm<'a>>, ProfileError> {
        self.preflight.map(|raw| read("describe/preflight", raw)).transpose()
    }
}

/// A request with holes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Template<'a> {
    #[serde(borrow)]
    pub(super) method: Text<'a>,
    #[serde(borrow)]
    pub(super) path: Text<'a>,
    #[serde(borrow, default)]
    pub(super) query: Option<Texts<'a>>,
    #[serde(borrow, default)]
    pub(super) headers: Option<Texts<'a>>,
    #[serde(default)]
    pub(super) form: BodyForm,
    #[serde(borrow, default)]
    pub(super) body: Option<Lazy<'a, Node<'a>>>,
}

/// The form in which a body is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum BodyForm {
    /// JSON with holes.
    #[default]
    Json,
    /// The bytes of one hole.
    Raw,
    /// `application/x-www-form-urlencoded`, of an object of texts and holes.
    Urlencoded,
    /// A CloudEvent in the binary content mode of its HTTP binding; without a body of the profile.
    CloudEvent,
}

/// The places of a run's parts, and the meaning of its status. A profile names those that its engine has.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RunForm<'a> {
    #[serde(borrow, default)]
    pub(super) id: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) status: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) phase: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) trigger: Option<Text<'a>>,
    /// The triggers of runs that another run has started. They carry the label of that run.
    #[serde(borrow, default)]
    pub(super) child_triggers: List<'a, Text<'a>>,
    #[serde(borrow, default)]
    pub(super) workflow_id: Option<WorkflowId<'a>>,
    /// The place of the workflow's name, if a run has it.
    #[serde(borrow, default)]
    pub(super) workflow_name: Option<Text<'a>>,
    /// The states that the statuses mean. Without any, each run is active.
    #[serde(borrow, default)]
    pub(super) states: Lazy<'a, [StateRule<'a, RunState>]>,
}

/// The id of a run's workflow.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WorkflowId<'a> {
    /// Its place in a run.
    #[serde(borrow)]
    pub(super) at: Text<'a>,
    /// Number of hexadecimal digits of each id. A reference of this form is an id and no name. Without it, each
    /// reference is an id.
    #[serde(default)]
    pub(super) hex: Option<usize>,
}

impl WorkflowId<'_> {
    /// Returns whether a text has the form of an id.
    pub(super) fn is_id(&self, text: &str) -> bool {
        self.hex.is_none_or(|digits| text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit()))
    }
}

/// The places of a task's parts, and the meaning of its status.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TasksForm<'a> {
    /// The place of the tasks in a run: an array, or an object whose values are the tasks.
    #[serde(borrow)]
    pub(super) list: Text<'a>,
    #[serde(borrow)]
    pub(super) id: Text<'a>,
    #[serde(borrow, rename = "type")]
    pub(super) kind: Text<'a>,
    /// The type of a task that waits for a topic.
    #[serde(borrow)]
    pub(super) waits: Text<'a>,
    #[serde(borrow)]
    pub(super) topic: TopicForm<'a>,
    #[serde(borrow)]
    pub(super) status: Text<'a>,
    #[serde(borrow)]
    pub(super) states: Lazy<'a, [StateRule<'a, WaitStateName>]>,
    /// Whether a task shows only once the run has reached it.
    #[serde(default)]
    pub(super) later: bool,
}

/// The topic of a task: a text in the task, or the value of a named element of a list in it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TopicForm<'a> {
    /// The place of the topic in a task, without a list.
    #[serde(borrow, default)]
    pub(super) at: Option<Text<'a>>,
    /// The place of the list in a task.
    #[serde(borrow, default)]
    pub(super) list: Option<Text<'a>>,
    /// The place of the name in an element.
    #[serde(borrow, default)]
    pub(super) name: Option<Text<'a>>,
    /// The name of the element with the topic.
    #[serde(borrow, default)]
    pub(super) equals: Option<Text<'a>>,
    /// The place of the topic in that element.
    #[serde(borrow, default)]
    pub(super) value: Option<Text<'a>>,
    /// A text that only a topic contains which is still made of params.
    #[serde(borrow, default)]
    pub(super) unresolved: Option<Text<'a>>,
}

/// The state that a status means, in any phase or in one of these.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StateRule<'a, S> {
    #[serde(borrow)]
    pub(super) status: List<'a, Text<'a>>,
    #[serde(borrow, default)]
    pub(super) phase: List<'a, Text<'a>>,
    pub(super) state: S,
}

/// The state of a callback's topic, under these conditions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WaitRule<'a> {
    #[serde(borrow)]
    pub(super) when: Vec<Condition<'a>>,
    pub(super) state: WaitStateName,
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

/// A condition on a value in a body. A value that is no text is compared by its JSON. Each part that is given has to
/// hold; a text may have holes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Condition<'a> {
    /// The place of the value.
    #[serde(borrow)]
    pub(super) at: Text<'a>,
    #[serde(borrow, default)]
    pub(super) equals: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) prefix: Option<Text<'a>>,
    /// A part of a text, or an element of an array.
    #[serde(borrow, default)]
    pub(super) contains: Option<Text<'a>>,
    /// The value is a time (RFC 3339) that is at least this number of milliseconds before now.
    #[serde(borrow, default)]
    pub(super) older_ms: Option<Text<'a>>,
    #[serde(default)]
    pub(super) absent: Option<bool>,
    #[serde(default)]
    pub(super) present: Option<bool>,
}

/// One rule for responses. All its conditions have to hold.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule<'a> {
    /// The operations that it applies to; all of them if there are none.
    #[serde(default)]
    pub(super) operations: Vec<Operation>,
    /// Statuses and ranges, separated by commas: `404`, `400-499,500`.
    #[serde(borrow)]
    pub(super) status: Text<'a>,
    /// Conditions on the body.
    #[serde(borrow, default)]
    pub(super) when: Vec<Condition<'a>>,
    /// The place where the body has the text `equals`.
    #[serde(borrow, default)]
    pub(super) at: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) equals: Option<Text<'a>>,
    /// The body is an object that has something at each of these places.
    #[serde(borrow, default)]
    pub(super) has: Vec<Text<'a>>,
    /// The body is empty, or an object that has nothing at these places.
    #[serde(borrow, default)]
    pub(super) lacks: Vec<Text<'a>>,
    pub(super) verdict: RuleVerdict,
    /// For `unclear`: whether the engine itself has answered, and no longer acts on the request.
    #[serde(default)]
    pub(super) concluded: bool,
    /// A remark for the history of the delivery. Completes the sentence "the engine answered 500, …".
    #[serde(borrow, default)]
    pub(super) note: Option<Text<'a>>,
}

/// The verdict of a rule; [`Verdict`](crate::delivery::Verdict) has the meanings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RuleVerdict {
    /// It was started before. The lookup confirms it.
    Existing,
    /// The lookup has found no run.
    Absent,
    Rejected,
    UnknownRun,
    NotWaiting,
    AlreadyResolved,
    Retry,
    Unclear,
    Misconfigured,
}
