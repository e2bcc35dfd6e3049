//! Sources: those who may deliver, and the workflows and callbacks of each. The variable `sources` is a JSON array of
//! them.
//!
//! ```json
//! [{"name": "acme-github", "sender": "github", "secrets": ["…"], "workflows": ["build", "deploy-*"]},
//!  {"name": "partner", "tokens": ["…"], "workflows": ["intake"]},
//!  {"name": "billing", "sender": {"algorithm": "hmac-sha256", "headers": ["x-sig"]}, "secrets": ["…"],
//!   "callbacks": true}]
//! ```
//!
//! ```text
//! sources ──parse──▶ Sources ──find(name, headers, tokens)──▶ Found ──signature, token──▶ Authority
//!                                                                                           │
//!                                            start, callback ──decide────▶ Grant | Refusal ◀┘
//! ```
//!
//! Errors are confined: a source that breaks a rule is stopped, and the others go on. The text is parsed for each
//! request, so one pass reads it if it is regular, a list of a source is read only if the request may be its own, and
//! texts are borrowed.
//!
//! Pure. Names [`json`], [`reference`](mod@crate::reference), [`secret`](crate::secret) and
//! [`sender`](crate::sender).

mod find;
mod handed;
mod refused;
mod scope;
mod sender;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::json::{self, InvalidValue, JsonError, JsonType, Reader, Record};
use crate::secret::Secret;
use crate::sender::{Descriptor, Repeat, Sender, SenderError};

pub use find::{Authority, Candidate, Clues, Found, Miss, Proof, UnknownSource};
pub use handed::{HandedSecret, HandedSecrets, MAX_HANDED};
pub use refused::{FailedVerification, LastRefused, LastVerified, MAX_REFUSED, NOTE_INTERVAL, OldSecret, Refused};
pub use scope::{Action, Grant, Pattern, Reason, Refusal, RunWorkflow, Scope, Via, Workflow};
pub use sender::SourceSender;

/// Maximum length of `sources`, in bytes. The text is parsed for each request.
pub const MAX_TEXT: usize = 262_144;
/// Maximum number of sources.
pub const MAX_SOURCES: usize = 256;
/// Maximum length of a source's name, in bytes: that of a label's value at most engines, since each run of a source has
/// the label `sluice.dev/source`.
pub const MAX_NAME: usize = 63;

/// The members of a source.
pub const MEMBERS: [&str; 11] = [
    "name",
    "sender",
    "secrets",
    "tokens",
    "workflows",
    "callbacks",
    "ordered",
    "repeat",
    "audience",
    "issuer",
    "keys",
];

/// The sources, and the tokens of `access_tokens`, which have no limits.
#[derive(Debug, Default)]
pub struct Sources<'a> {
    entries: Vec<Entry<'a>>,
    access_tokens: Vec<Secret>,
}

/// An element of the array.
#[derive(Debug)]
struct Entry<'a> {
    /// The name; `None` if it can't be read.
    name: Option<Cow<'a, str>>,
    sender: Claim<'a>,
    source: Result<Source<'a>, InvalidValue>,
}

/// The sender that an element names, whether the element is valid or not.
#[derive(Debug)]
enum Claim<'a> {
    /// No sender.
    None,
    Sender(SourceSender<'a>),
    /// One that can't be read.
    Unreadable,
}

/// Someone who may deliver.
pub struct Source<'a> {
    /// The index in the array.
    at: usize,
    name: Cow<'a, str>,
    sender: Option<SourceSender<'a>>,
    secrets: List<'a>,
    tokens: List<'a>,
    workflows: Option<&'a RawValue>,
    callbacks: bool,
    ordered: bool,
    repeat: Option<Repeat>,
    token_demands: TokenDemands<'a>,
    /// Read when a request may be the source's own.
    scope: OnceCell<Result<Scope, InvalidValue>>,
}

/// The values of the [`MEMBERS`] of a source.
type Members<'a> = Record<'a, { MEMBERS.len() }>;

/// A list of secrets, read when it is needed.
struct List<'a> {
    raw: Option<&'a RawValue>,
    secrets: OnceCell<Result<Vec<Secret>, InvalidValue>>,
}

/// The lists of a source.
#[derive(Clone, Copy, Debug)]
struct Lists<'s> {
    secrets: &'s [Secret],
    tokens: &'s [Secret],
    scope: &'s Scope,
}

/// The demands on a JSON Web Token (RFC 7519), as JSON: the sender's scheme decides on their form.
#[derive(Clone, Copy, Default)]
struct TokenDemands<'a> {
    /// The audience, `aud`.
    audience: Option<&'a RawValue>,
    /// The issuer, `iss`.
    issuer: Option<&'a RawValue>,
    /// The keys, or the place that they are fetched from.
    keys: Option<&'a RawValue>,
}

/// The reason why the whole text can't be used. Repeats no value of the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourcesError {
    /// The text is longer than [`MAX_TEXT`].
    #[error("is longer than {MAX_TEXT} bytes")]
    TooLong,
    /// The text is not JSON.
    #[error("is no array of sources: {0}")]
    Json(JsonError),
    /// The text is not an array, or has too many elements.
    #[error("is no array of sources: {0}")]
    Value(#[from] InvalidValue),
}

/// A source that an error stops: no request is accepted as one of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stopped {
    /// The index in the array.
    #[serde(skip)]
    pub at: usize,
    /// The name; `None` if it can't be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The error. Its pointer begins with the index.
    #[serde(serialize_with = "as_text")]
    pub error: InvalidValue,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "the source `{name}` is stopped: {}", self.error),
            None => write!(f, "a source is stopped: {}", self.error),
        }
    }
}

fn as_text<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

impl<'a> Sources<'a> {
    /// Parses the array. An empty text is an empty array. A source that breaks a rule is an element of
    /// [`stopped`](Self::stopped), not an error.
    pub fn parse(text: &'a str, access_tokens: Vec<Secret>) -> Result<Self, SourcesError> {
        if json::without_mark(text).trim().is_empty() {
            return Ok(Self { entries: Vec::new(), access_tokens });
        }
        if text.len() > MAX_TEXT {
            return Err(SourcesError::TooLong);
        }
        let raw = json::value(text.as_bytes()).map_err(SourcesError::Json)?;
        let regular = json::records(raw, &MEMBERS, Entry::new).filter(|entries| entries.len() <= MAX_SOURCES);
        let entries = regular.map_or_else(|| Self::parse_each(raw), Ok)?;
        Ok(Self { entries, access_tokens })
    }

    /// Parses each element by itself: an error in one concerns no other.
    fn parse_each(raw: &'a RawValue) -> Result<Vec<Entry<'a>>, SourcesError> {
        let reader = Reader::root();
        let elements = reader.elements(raw)?;
        if elements.len() > MAX_SOURCES {
            return Err(reader.error(format!("must have at most {MAX_SOURCES} sources")).into());
        }
        Ok(elements.into_iter().enumerate().map(|(at, raw)| Entry::parse(at, raw)).collect())
    }

    /// Returns whether anyone may deliver: there is neither a source nor an access token. A source that is stopped
    /// counts.
    pub fn is_open(&self) -> bool {
        self.entries.is_empty() && self.access_tokens.is_empty()
    }

    /// The sources that have no error in themselves, in their order. One of them may still be stopped, because another
    /// source has its name, token or secret.
    pub fn iter(&self) -> impl Iterator<Item = &Source<'a>> {
        self.entries.iter().filter_map(|entry| entry.source.as_ref().ok())
    }

    /// The sources that are stopped, in their order. Reads all lists of all sources.
    pub fn stopped(&self) -> Vec<Stopped> {
        self.stopped_by(|_| None)
    }

    /// The sources that are stopped, and those whose descriptor is not valid or that have a secret or key which is not in
    /// the sender's form. Requests do not look for the latter errors until they use what has them.
    pub fn faults(&self) -> Vec<Stopped> {
        self.stopped_by(Source::sender_error)
    }

    fn stopped_by(&self, further: impl Fn(&Source<'a>) -> Option<InvalidValue>) -> Vec<Stopped> {
        let stopped = self.entries.iter().enumerate().filter_map(|(at, entry)| {
            let error = self.error(at, entry).or_else(|| further(entry.source.as_ref().ok()?))?;
            Some(Stopped { at, name: entry.name.as_deref().map(str::to_owned), error })
        });
        stopped.collect()
    }

    /// The error that stops a source, if there is one: in itself, or with another one.
    fn error(&self, at: usize, entry: &Entry<'a>) -> Option<InvalidValue> {
        match &entry.source {
            Err(error) => Some(error.clone()),
            Ok(source) => match source.lists() {
                Err(error) => Some(error.clone()),
                Ok(lists) => self.conflict(at, source, lists),
            },
        }
    }

    /// The error of a source whose requests could be another one's.
    fn conflict(&self, at: usize, source: &Source<'a>, lists: Lists<'_>) -> Option<InvalidValue> {
        let others = || self.entries.iter().enumerate().filter(|(other, _)| *other != at);
        let root = Reader::root();
        let reader = root.at(at);
        if let Some((other, _)) = others().find(|(_, entry)| entry.name.as_deref() == Some(&*source.name)) {
            return Some(reader.at("name").error(format!("is also the name of `/{other}`: each source needs its own")));
        }
        let error = |list: &'static str, index: usize, owner: &dyn fmt::Display| {
            reader.at(list).at(index).error(format!("is also {owner}: its requests could be either's"))
        };
        if let Some(index) = shared(lists.tokens, || Some(&self.access_tokens)) {
            return Some(error("tokens", index, &"in `access_tokens`"));
        }
        others().filter_map(|(_, entry)| entry.source.as_ref().ok()).find_map(|other| {
            // Most senders differ in their names: only descriptors have to be compared.
            let may_have_same_sender =
                source.sender.map(SourceSender::preset_name) == other.sender.map(SourceSender::preset_name);
            let secret = shared(lists.secrets, || may_have_same_sender.then(|| other.secret_list().ok())?)
                .filter(|_| source.sender == other.sender);
            let token = || shared(lists.tokens, || other.token_list().ok());
            let conflict = match secret {
                Some(index) => error("secrets", index, &format!("a secret of `{}`, which has this sender", other.name)),
                None => error("tokens", token()?, &format!("a token of `{}`", other.name)),
            };
            // A source whose lists can't all be read stops no other.
            other.lists().is_ok().then_some(conflict)
        })
    }
}

/// The index of the first of these secrets that another list has, too. Without secrets, that list isn't read.
fn shared<'s>(mine: &[Secret], theirs: impl FnOnce() -> Option<&'s [Secret]>) -> Option<usize> {
    let theirs = if mine.is_empty() { None } else { theirs() }?;
    mine.iter().position(|secret| theirs.iter().any(|other| other.expose() == secret.expose()))
}

impl<'a> Entry<'a> {
    fn parse(at: usize, raw: &'a RawValue) -> Self {
        match Reader::root().at(at).known_members(raw, MEMBERS) {
            Ok(members) => Self::new(at, members),
            Err(error) => {
                let sender = match json::type_of(raw) {
                    JsonType::Object => Claim::of(json::member(raw, "sender")),
                    _ => Claim::Unreadable,
                };
                Self { name: readable_name(json::member(raw, "name")), sender, source: Err(error) }
            }
        }
    }

    /// The entry of an object with these members.
    fn new(at: usize, members: Members<'a>) -> Self {
        let [name, sender, ..] = members;
        match Source::new(at, members) {
            Ok(source) => {
                let sender = source.sender.map_or(Claim::None, Claim::Sender);
                Self { name: Some(source.name.clone()), sender, source: Ok(source) }
            }
            Err(error) => Self { name: readable_name(name), sender: Claim::of(sender), source: Err(error) },
        }
    }
}

impl<'a> Claim<'a> {
    fn of(sender: Option<&'a RawValue>) -> Self {
        match sender {
            None => Self::None,
            Some(raw) => SourceSender::read(raw).map_or(Self::Unreadable, Self::Sender),
        }
    }
}

impl<'a> Source<'a> {
    fn new(at: usize, members: Members<'a>) -> Result<Self, InvalidValue> {
        let root = Reader::root();
        let reader = root.at(at);
        let [name, sender, secrets, tokens, workflows, callbacks, ordered, repeat, audience, issuer, keys] = members;
        let name = name.ok_or_else(|| reader.error("must have a `name`"))?;
        let name = parse_name(name, &reader.at("name"))?;
        let sender = sender.map(|raw| SourceSender::parse(raw, &reader.at("sender"))).transpose()?;
        let boolean = |raw: Option<&RawValue>, member| {
            raw.map(|raw| reader.at(member).boolean(raw)).transpose().map(Option::unwrap_or_default)
        };
        let source = Self {
            at,
            name,
            sender,
            secrets: List::new(secrets),
            tokens: List::new(tokens),
            workflows,
            callbacks: boolean(callbacks, "callbacks")?,
            ordered: boolean(ordered, "ordered")?,
            repeat: repeat.map(|raw| parse_repeat(raw, &reader.at("repeat"))).transpose()?,
            token_demands: TokenDemands { audience, issuer, keys },
            scope: OnceCell::new(),
        };
        source.check(&reader).map(|()| source)
    }

    /// Checks that the members fit each other.
    fn check(&self, reader: &Reader<'_>) -> Result<(), InvalidValue> {
        let rules = self.token_demands;
        let Some(sender) = self.sender else {
            return match (self.secrets.raw, self.tokens.raw) {
                (Some(_), _) => Err(reader.error("must have a `sender`, which says how its `secrets` are used")),
                (None, _) if rules.is_any() => {
                    Err(reader.error("must have a `sender`, which says how its `keys` are used"))
                }
                (None, None) => Err(reader.error("must have `tokens`, or a `sender` with `secrets` or `keys`")),
                (None, Some(_)) => Ok(()),
            };
        };
        match self.secrets.raw {
            Some(_) if !sender.signs() => {
                Err(reader.at("secrets").error("must not be set: this sender signs nothing, so use `tokens`"))
            }
            None if self.tokens.raw.is_none() && !rules.is_any() && !sender.has_own_keys() && !sender.hands_over() => {
                Err(reader.error("must have `secrets`, `tokens` or `keys`"))
            }
            _ => Ok(()),
        }
    }

    /// The index in `sources`.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The error in the definition of its sender, or in a secret or key whose form is not the sender's.
    fn sender_error(&self) -> Option<InvalidValue> {
        let root = Reader::root();
        let reader = root.at(self.at);
        let sender = match self.definition()? {
            Ok(sender) => sender,
            Err(error) => return Some(reader.at("sender").error(format!("is not valid: {}", error.redacted()))),
        };
        if let Some(member) = sender.schemes.iter().find_map(Descriptor::missing) {
            return Some(reader.error(format!("must have `{member}`, which this sender needs")));
        }
        let reason = |secret: &Secret| {
            let mut errors = sender.schemes.iter().map(|scheme| scheme.check_secret(secret));
            let first = errors.next()?.err()?;
            errors.all(|checked| checked.is_err()).then_some(first)
        };
        let invalid = |list: &'static str, secrets: &[Secret]| {
            let (at, error) = secrets.iter().enumerate().find_map(|(at, secret)| Some((at, reason(secret)?)))?;
            Some(reader.at(list).at(at).error(error.to_string()))
        };
        let secrets = self.lists().map_or(&[][..], |lists| lists.secrets);
        invalid("secrets", secrets).or_else(|| invalid("keys", &self.given_keys()))
    }

    /// The name: the value of `?source=` and of the label `sluice.dev/source`. 1 to [`MAX_NAME`] letters, digits, `.`,
    /// `_` and `-`, with a letter or digit at both ends.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The sender, which says how a request is signed; `None` if only a token authenticates the source.
    pub fn sender(&self) -> Option<SourceSender<'a>> {
        self.sender
    }

    /// Its authority; `None` if its lists have an error.
    pub fn authority(&self) -> Option<Authority<'_, 'a>> {
        self.lists().ok().map(|lists| Authority::Source(self, lists.scope))
    }

    /// Whether its starts are sent one at a time, in order of arrival.
    pub fn is_ordered(&self) -> bool {
        self.ordered
    }

    /// The part of a request that tells a repeat from another event, if the source names one.
    pub fn repeat(&self) -> Option<Repeat> {
        self.repeat
    }

    /// The sender's schemes, questions and bodies, with the demands of this source; `None` without a sender.
    pub fn definition(&self) -> Option<Result<Sender, SenderError>> {
        self.sender.map(|sender| sender.definition(self.token_demands))
    }

    /// The tokens; none if they can't be read.
    pub fn tokens(&self) -> &[Secret] {
        self.lists().map_or(&[], |lists| lists.tokens)
    }

    /// The secrets; none if they can't be read.
    pub fn secrets(&self) -> &[Secret] {
        self.lists().map_or(&[], |lists| lists.secrets)
    }

    /// The public keys that the source itself contains, as texts.
    pub fn given_keys(&self) -> Vec<Secret> {
        self.token_demands.given_keys()
    }

    /// Whether a request may be signed: there are secrets or keys to verify a signature with.
    fn is_signed(&self) -> bool {
        let has_key = |sender: SourceSender<'_>| {
            self.secrets.raw.is_some() || self.token_demands.is_any() || sender.has_own_keys() || sender.hands_over()
        };
        self.sender.is_some_and(has_key)
    }

    /// All lists, or the first error in one of them. Each is read once.
    fn lists(&self) -> Result<Lists<'_>, &InvalidValue> {
        Ok(Lists { secrets: self.secret_list()?, tokens: self.token_list()?, scope: self.scope()? })
    }

    /// The secrets, whether the other lists can be read or not.
    fn secret_list(&self) -> Result<&[Secret], &InvalidValue> {
        self.secrets.read(self.at, "secrets", secret_rule)
    }

    /// The tokens, likewise.
    fn token_list(&self) -> Result<&[Secret], &InvalidValue> {
        self.tokens.read(self.at, "tokens", token_rule)
    }

    fn scope(&self) -> Result<&Scope, &InvalidValue> {
        let read = || Scope::parse(self.workflows, self.callbacks, &Reader::root().at(self.at).at("workflows"));
        self.scope.get_or_init(read).as_ref()
    }
}

impl<'a> List<'a> {
    fn new(raw: Option<&'a RawValue>) -> Self {
        Self { raw, secrets: OnceCell::new() }
    }

    /// The secrets of a source, by its index and the member that has the list.
    fn read(&self, at: usize, member: &'static str, rule: Rule) -> Result<&[Secret], &InvalidValue> {
        let Some(raw) = self.raw else { return Ok(&[]) };
        let read = || parse_secrets(raw, &Reader::root().at(at).at(member), rule);
        self.secrets.get_or_init(read).as_deref()
    }
}

/// Redacted: a value in the wrong place might be a secret.
impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Redacted: a key may be a secret.
impl fmt::Debug for TokenDemands<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDemands(…)")
    }
}

impl TokenDemands<'_> {
    /// The URL in `keys`.
    fn key_url(self) -> Option<String> {
        self.keys.and_then(json::text).filter(|text| text.starts_with("https://"))
    }

    /// The keys in `keys`: a JWK Set or a JWK as an object, or an array of texts, each a key in PEM, base64 or JSON.
    fn given_keys(self) -> Vec<Secret> {
        let Some(raw) = self.keys else { return Vec::new() };
        match json::type_of(raw) {
            JsonType::Object => vec![Secret::new(raw.get())],
            JsonType::Array => {
                json::elements(raw).into_iter().flatten().filter_map(json::text).map(|t| Secret::new(&t)).collect()
            }
            _ => json::text(raw)
                .filter(|text| !text.starts_with("https://"))
                .map(|text| Secret::new(&text))
                .into_iter()
                .collect(),
        }
    }

    fn is_any(self) -> bool {
        self.audience.is_some() || self.issuer.is_some() || self.keys.is_some()
    }
}

fn parse_name<'a>(raw: &'a RawValue, reader: &Reader<'_>) -> Result<Cow<'a, str>, InvalidValue> {
    let name = reader.text(raw)?;
    if is_name(&name) {
        return Ok(name);
    }
    Err(reader.error(format!(
        "must be 1 to {MAX_NAME} letters, digits, `.`, `_` and `-`, with a letter or digit at both ends"
    )))
}

/// The name of a source that may have an error.
fn readable_name(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    raw.and_then(json::borrowed_text).filter(|name| is_name(name))
}

/// Whether a text is the name of a source, according to its form.
pub fn is_name(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let ends = [name.bytes().next(), name.bytes().next_back()];
    name.len() <= MAX_NAME
        && name.bytes().all(is_inner)
        && ends.into_iter().all(|end| end.is_some_and(|byte| byte.is_ascii_alphanumeric()))
}

fn parse_repeat(raw: &RawValue, reader: &Reader<'_>) -> Result<Repeat, InvalidValue> {
    match &*reader.text(raw)? {
        "body" => Ok(Repeat::Body),
        _ => Err(reader.error("must be `body`")),
    }
}

/// Returns the rule that a secret breaks. Completes a sentence that begins with its place.
type Rule = fn(&str) -> Option<&'static str>;

fn parse_secrets(raw: &RawValue, reader: &Reader<'_>, rule: Rule) -> Result<Vec<Secret>, InvalidValue> {
    let elements = reader.elements(raw)?;
    if elements.is_empty() {
        return Err(reader.error("must not be empty: leave it out if there is none"));
    }
    let secrets = elements.into_iter().enumerate().map(|(at, raw)| {
        let reader = reader.at(at);
        let text = reader.text(raw)?;
        rule(&text).map_or_else(|| Ok(Secret::new(&text)), |rule| Err(reader.error(rule)))
    });
    secrets.collect()
}

/// A signing secret may contain blanks: senders accept any text, such as `It's a Secret to Everybody` in GitHub's
/// documentation.
fn secret_rule(text: &str) -> Option<&'static str> {
    match text {
        // A public key in PEM (RFC 7468) has lines.
        _ if text.trim().starts_with("-----BEGIN ") => None,
        _ if text.trim() != text => Some("must not begin or end with white space, such as a line break"),
        _ if !text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') => {
            Some("must be ASCII without control characters")
        }
        _ => None,
    }
}

/// A token is sent in a header, so it must be visible ASCII (RFC 9110, section 5.5).
fn token_rule(text: &str) -> Option<&'static str> {
    let is_token = text.bytes().all(|b| b.is_ascii_graphic());
    (!is_token).then_some("must be visible ASCII without blanks")
}
