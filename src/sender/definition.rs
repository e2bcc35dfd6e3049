//! A sender as data: its signature schemes, questions, bodies and answers. A source names a preset, or contains such a
//! definition.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::body::BodyRules;
use super::descriptor::{Descriptor, DescriptorError, KeySource};
use super::hint;
use super::preset::{Preset, SuccessCriterion};
use super::question::{Answer, Question};
use super::verify::{Identity, SignedRequest, Verified};
use super::{PRESETS, ValueLocation, payload};
use crate::json::nearest;

/// A sender: how it signs, what it asks, what it posts, and which response it expects.
///
/// In JSON, the members of the only scheme stand beside those of the sender, or `schemes` is an array. `like` names a
/// preset whose members count where there are none; members of a scheme then replace those of each of its schemes.
///
/// ```json
/// { "algorithm": "hmac-sha256", "headers": ["x-hub-signature-256"], "prefix": "sha256=", "repeat": "body",
///   "questions": [{ "method": "GET", "when": [{ "at": { "query": "hub.mode" }, "is": "subscribe" }],
///                   "token": { "query": "hub.verify_token" }, "answer": { "text": "{query:hub.challenge}" } }] }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sender {
    /// Headers by which the sender is known. Those of the first scheme, if none are named.
    pub marks: Vec<String>,
    /// The signature schemes: one of them must verify a request. Empty if the sender signs nothing.
    pub schemes: Vec<Descriptor>,
    /// The questions.
    pub questions: Vec<Question>,
    /// The forms of the body.
    pub body: BodyRules,
    /// The response to an event, if the sender prescribes one.
    pub answer: Option<Answer>,
    /// How long the sender waits for a response, in seconds.
    pub deadline: Option<u8>,
    /// The responses that the sender takes for success.
    pub success: SuccessCriterion,
}

/// The reason why a text is not a sender.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SenderError {
    /// The text is not JSON. The parser's message names the position.
    #[error("it is not valid JSON: {0}")]
    Json(String),
    /// The value is not an object.
    #[error("it must be an object, or the name of a preset")]
    Form,
    /// No preset has the name.
    #[error("there is no preset `{name}`{hint}")]
    UnknownPreset {
        /// The name.
        name: String,
        /// The nearest preset, as a half-sentence; empty if none is near.
        hint: String,
    },
    /// A member is not valid.
    #[error("{}{error}", if at.is_empty() { String::new() } else { format!("{at}: ") })]
    Member {
        /// The path of the member, such as `schemes[1]`; empty for a member of the only scheme.
        at: String,
        /// The error.
        error: DescriptorError,
    },
}

impl SenderError {
    /// The message without values of the text, one of which might be a secret in the wrong place. Names of members stay.
    pub fn redacted(&self) -> String {
        let redact = |message: &str| match message.split_once(", expected") {
            Some(_) if message.starts_with("unknown field") => message.to_owned(),
            Some((before, expected)) if before.starts_with("unknown variant") => {
                format!("it has an unknown value, expected{expected}")
            }
            _ if message.starts_with("missing field") => message.to_owned(),
            _ => "its JSON is malformed, or a member has another type".to_owned(),
        };
        match self {
            Self::Json(message) => redact(message),
            Self::Member { at, error: DescriptorError::Json(message) } if at.is_empty() => redact(message),
            Self::Member { at, error: DescriptorError::Json(message) } => format!("{at}: {}", redact(message)),
            other => other.to_string(),
        }
    }
}

/// The members of a sender beside those of its only scheme.
const MEMBERS: [&str; 8] = ["like", "schemes", "marks", "questions", "body", "answer", "deadline", "success"];

impl Sender {
    /// The sender that a preset describes. Each call parses it again.
    pub fn of(preset: &Preset) -> Self {
        // A test parses all of them. An invalid one would have no scheme, and verify nothing.
        Self::parse(preset.sender).unwrap_or_default()
    }

    /// The sender with the rules for JSON Web Tokens that a source gives: the accepted audiences and issuers, and the URL
    /// of a key set. Those that it doesn't give stay as they are.
    #[must_use]
    pub fn with_token_rules(mut self, audiences: &[String], issuers: &[String], keys: Option<&str>) -> Self {
        for scheme in self.schemes.iter_mut().filter(|scheme| scheme.algorithm.is_jwt()) {
            if let Some(url) = keys {
                scheme.keys = Some(KeySource::Jwks(url.to_owned()));
            }
            let rules = scheme.jwt.get_or_insert_default();
            for (own, given) in [(&mut rules.audiences, audiences), (&mut rules.issuers, issuers)] {
                if !given.is_empty() {
                    *own = given.to_vec();
                }
            }
        }
        self
    }

    /// Parses a sender in JSON, and checks that its members are valid and consistent.
    pub fn parse(json: &str) -> Result<Self, SenderError> {
        Self::from_value(serde_json::from_str(json).map_err(|e| SenderError::Json(e.to_string()))?)
    }

    /// Reads a sender from a JSON value: a preset's name, or an object.
    pub fn from_value(value: Value) -> Result<Self, SenderError> {
        let mut members = match value {
            Value::String(name) => return preset(&name).map(Self::of),
            Value::Object(members) => members,
            _ => return Err(SenderError::Form),
        };
        let like = match members.remove("like") {
            Some(Value::String(name)) => Some(preset(&name)?),
            Some(_) => return Err(rule("", "like", "must be the name of a preset")),
            None => None,
        };
        let base = like.map(Self::of).unwrap_or_default();
        let sender = Self {
            marks: taken(&mut members, "marks")?.unwrap_or(base.marks),
            questions: taken(&mut members, "questions")?.unwrap_or(base.questions),
            body: taken(&mut members, "body")?.unwrap_or(base.body),
            answer: taken(&mut members, "answer")?.or(base.answer),
            deadline: taken(&mut members, "deadline")?.or(base.deadline),
            success: taken(&mut members, "success")?.unwrap_or(base.success),
            schemes: schemes(members, like)?,
        };
        sender.check()?;
        Ok(sender)
    }

    fn check(&self) -> Result<(), SenderError> {
        for (index, question) in self.questions.iter().enumerate() {
            question.check().map_err(|error| SenderError::Member { at: format!("questions[{index}]"), error })?;
            if question.signed && self.schemes.is_empty() {
                return Err(rule(
                    &format!("questions[{index}]"),
                    "signed",
                    "must not be true: the sender has no scheme",
                ));
            }
        }
        if let Some(answer) = &self.answer {
            answer.check(false).map_err(|error| SenderError::Member { at: String::new(), error })?;
            if !answer.is_fixed() {
                return Err(rule("", "answer", "must not contain a value of the request: see `questions`"));
            }
        }
        if let Some(mark) = self.marks.iter().find(|mark| http::HeaderName::try_from(mark.as_str()).is_err()) {
            let error = DescriptorError::Json(format!("`{mark}` is not a valid header name"));
            return Err(SenderError::Member { at: "marks".to_owned(), error });
        }
        Ok(())
    }

    /// The question that a request asks, if it asks one.
    pub fn question(&self, request: SignedRequest<'_>) -> Option<&Question> {
        self.questions.iter().find(|question| question.is_asked_by(request))
    }

    /// Returns whether a request has a header by which this sender is known. For a sender without marks, one of the
    /// headers of its schemes, with the prefix: `Authorization: Bearer` is no mark of a sender that uses
    /// `Authorization: Basic`.
    pub fn is_marked(&self, headers: &http::HeaderMap) -> bool {
        if !self.marks.is_empty() {
            return self.marks.iter().any(|mark| headers.contains_key(mark.as_str()));
        }
        self.schemes.iter().any(|scheme| scheme.is_carried_by(headers))
    }

    /// The identity of one event of a batch. An id in the event counts as that of a body does; without one, the
    /// identity of the request and the event's index.
    pub fn item_identity(descriptor: &Descriptor, verified: &Verified, index: usize, item: &[u8]) -> Identity {
        let id = match &descriptor.id {
            Some(ValueLocation::Pointer(pointer)) => payload::text_at(item, pointer),
            _ => None,
        };
        let numbered = |text: &str| format!("{text}#{index}");
        match (id, &verified.identity) {
            (Some(id), _) if descriptor.id_is_covered() => Identity::Id(id),
            (Some(id), whole) => Identity::IdAndDigest { id, digest: numbered(whole.signed_text()) },
            (None, Identity::Id(whole)) => Identity::Id(numbered(whole)),
            (None, Identity::Digest(digest)) => Identity::Digest(numbered(digest)),
            (None, Identity::IdAndDigest { id, digest }) => {
                Identity::IdAndDigest { id: id.clone(), digest: numbered(digest) }
            }
            (None, Identity::Key { key, digest }) => Identity::Key { key: numbered(key), digest: numbered(digest) },
            (None, Identity::Unknown { digest }) => Identity::Unknown { digest: numbered(digest) },
        }
    }
}

/// The preset with a name or alias.
fn preset(name: &str) -> Result<&'static Preset, SenderError> {
    Preset::by_name(name).ok_or_else(|| {
        let near = nearest(name, PRESETS.iter().map(|preset| preset.name));
        let hint = near.map(|near| format!("; `{near}` is near")).unwrap_or_default();
        SenderError::UnknownPreset { name: name.to_owned(), hint }
    })
}

/// The schemes: `schemes`, or the remaining members as the only one, or over those of a preset.
fn schemes(mut members: Map<String, Value>, like: Option<&Preset>) -> Result<Vec<Descriptor>, SenderError> {
    let listed = match (members.remove("schemes"), like) {
        (Some(Value::Array(schemes)), _) => {
            if let Some(name) = members.keys().next() {
                let near = nearest(name, MEMBERS);
                let hint = near.map(|near| format!("; `{near}` is near")).unwrap_or_default();
                let message = format!("unknown field `{name}` beside `schemes`{hint}");
                return Err(SenderError::Member { at: String::new(), error: DescriptorError::Json(message) });
            }
            schemes
        }
        (Some(_), _) => return Err(rule("", "schemes", "must be an array of objects")),
        (None, Some(preset)) => {
            let over = Value::Object(members);
            return listed_schemes(scheme_values(preset).into_iter().map(|base| merged(base, &over)));
        }
        // A sender that signs nothing.
        (None, None) if members.is_empty() => Vec::new(),
        (None, None) => {
            let error = |error| {
                let mut error = error;
                if let DescriptorError::Json(message) = &mut error {
                    *message = with_sender_members(message, &members);
                }
                SenderError::Member { at: String::new(), error }
            };
            return Descriptor::from_value(Value::Object(members.clone())).map(|one| vec![one]).map_err(error);
        }
    };
    listed_schemes(listed.into_iter())
}

fn listed_schemes(listed: impl Iterator<Item = Value>) -> Result<Vec<Descriptor>, SenderError> {
    let scheme = |(index, value)| {
        Descriptor::from_value(value).map_err(|error| SenderError::Member { at: format!("schemes[{index}]"), error })
    };
    listed.enumerate().map(scheme).collect()
}

/// The schemes of a preset, as JSON. It may be like another one; the build script rejects a longer chain.
fn scheme_values(preset: &Preset) -> Vec<Value> {
    let Ok(Value::Object(mut members)) = serde_json::from_str(preset.sender) else { return Vec::new() };
    if let Some(Value::Array(schemes)) = members.remove("schemes") {
        return schemes;
    }
    let like = members.remove("like").and_then(|name| Preset::by_name(name.as_str()?));
    members.retain(|name, _| !MEMBERS.contains(&name.as_str()));
    let own = Value::Object(members);
    match like {
        Some(base) => scheme_values(base).into_iter().map(|base| merged(base, &own)).collect(),
        None if own.as_object().is_some_and(Map::is_empty) => Vec::new(),
        None => vec![own],
    }
}

/// Adds the nearest member of a sender to a message about an unknown member, if the parser, which knows only those of a
/// scheme, has found none.
fn with_sender_members(message: &str, members: &Map<String, Value>) -> String {
    let unknown = members.keys().find(|name| message.starts_with(&format!("unknown field `{name}`")));
    match unknown.and_then(|name| nearest(name, MEMBERS)) {
        Some(near) if !message.ends_with("is near") => format!("{message}; `{near}` is near"),
        _ => message.to_owned(),
    }
}

/// A value with the members of another one over its own.
fn merged(base: Value, over: &Value) -> Value {
    match (base, over) {
        (Value::Object(mut base), Value::Object(over)) => {
            for (name, value) in over {
                let own = base.remove(name).unwrap_or_default();
                base.insert(name.clone(), merged(own, value));
            }
            Value::Object(base)
        }
        (_, over) => over.clone(),
    }
}

/// Takes a member out of an object.
fn taken<T: DeserializeOwned>(members: &mut Map<String, Value>, name: &'static str) -> Result<Option<T>, SenderError> {
    let Some(value) = members.remove(name) else { return Ok(None) };
    Option::<T>::deserialize(value).map_err(|e| {
        let error = DescriptorError::Json(hint::with_nearest(&e.to_string()));
        SenderError::Member { at: format!("`{name}`"), error }
    })
}

/// The error for a member that breaks a rule.
fn rule(at: &str, member: &'static str, rule: &'static str) -> SenderError {
    SenderError::Member { at: at.to_owned(), error: DescriptorError::Rule { member, rule } }
}
