//! The forms that members of `settings` may have: how a value is read, its default, and its bounds.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use serde_json::value::RawValue;

use super::{Origins, WebOrigins, origin};
use crate::json::{self, InvalidValue, JsonType, Reader};
use crate::reference::WorkflowRef;
use crate::secret::Secret;

/// A member of `settings`.
#[derive(Debug)]
pub struct Member<F> {
    /// The name.
    pub name: &'static str,
    /// The form of its value.
    pub form: F,
}

/// The form of a value.
pub trait Form<'a> {
    /// The value, once it is read.
    type Value;

    /// Reads a value.
    fn read(&self, raw: &'a RawValue, reader: &Reader<'_>) -> Result<Self::Value, InvalidValue>;

    /// The value of a member that is not set.
    fn default_value(&self) -> Self::Value;

    /// The default as JSON; `None` if the member is simply not set.
    fn default_json(&self) -> Option<String> {
        None
    }

    /// The rule for the value. Completes a sentence that begins with the member's name: "must be a boolean".
    fn rule(&self) -> String;
}

/// A member, whatever its form: for checks, and for the table in the documentation.
pub trait AnyMember: Sync {
    /// The name.
    fn name(&self) -> &'static str;

    /// The default as JSON; `None` if the member is simply not set.
    fn default_json(&self) -> Option<String>;

    /// The rule for the value. Completes a sentence that begins with the member's name: "must be a boolean".
    fn rule(&self) -> String;

    /// Checks a value.
    fn check(&self, raw: &RawValue, reader: &Reader<'_>) -> Result<(), InvalidValue>;
}

impl<F: for<'a> Form<'a> + Sync> AnyMember for Member<F> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn default_json(&self) -> Option<String> {
        self.form.default_json()
    }

    fn rule(&self) -> String {
        self.form.rule()
    }

    fn check(&self, raw: &RawValue, reader: &Reader<'_>) -> Result<(), InvalidValue> {
        self.form.read(raw, reader).map(drop)
    }
}

/// A whole number.
#[derive(Debug)]
pub struct Number<T> {
    pub(super) default: T,
    pub(super) min: T,
    pub(super) max: T,
}

/// A duration: a whole number of a unit.
#[derive(Debug)]
pub struct Span {
    pub(super) number: Number<u32>,
    pub(super) unit: Duration,
}

/// `true` or `false`, by default `false`.
#[derive(Debug)]
pub struct Boolean;

/// One of some words; the first one is the default.
#[derive(Debug)]
pub struct Choice<T: 'static>(pub(super) &'static [(&'static str, T)]);

/// A token in visible ASCII, since it is sent in a header (RFC 9110, section 5.5).
#[derive(Debug)]
pub struct Token;

/// Several tokens, at least one.
#[derive(Debug)]
pub struct Tokens;

/// A text that may be secret, in visible ASCII.
#[derive(Debug)]
pub struct Text {
    /// The rule of the member: "must be …".
    pub(super) rule: &'static str,
}

/// The reference of a workflow, as `?ref=` has it.
#[derive(Debug)]
pub struct Workflow;

/// Scheme, host and port of a URL, without a slash at the end.
#[derive(Debug)]
pub struct Origin;

/// Host names, or `*` for all.
#[derive(Debug)]
pub struct Hosts;

/// Origins of web pages, or `*` for all.
#[derive(Debug)]
pub struct Pages;

/// An object, whose members are read by its user.
#[derive(Debug)]
pub struct Object;

impl<'a, T: FromStr + PartialOrd + Display + Copy> Form<'a> for Number<T> {
    type Value = T;

    fn read(&self, raw: &'a RawValue, reader: &Reader<'_>) -> Result<T, InvalidValue> {
        if json::type_of(raw) != JsonType::Number {
            return Err(reader.wrong_type(self.rule(), raw));
        }
        let number = raw.get().parse().ok().filter(|number| (&self.min..=&self.max).contains(&number));
        number.ok_or_else(|| reader.error(self.rule()))
    }

    fn default_value(&self) -> T {
        self.default
    }

    fn default_json(&self) -> Option<String> {
        Some(self.default.to_string())
    }

    fn rule(&self) -> String {
        format!("must be a whole number from {} to {}", self.min, self.max)
    }
}

impl Span {
    fn of(&self, number: u32) -> Duration {
        self.unit.saturating_mul(number)
    }
}

impl<'a> Form<'a> for Span {
    type Value = Duration;

    fn read(&self, raw: &'a RawValue, reader: &Reader<'_>) -> Result<Duration, InvalidValue> {
        self.number.read(raw, reader).map(|number| self.of(number))
    }

    fn default_value(&self) -> Duration {
        self.of(self.number.default)
    }

    fn default_json(&self) -> Option<String> {
        self.number.default_json()
    }

    fn rule(&self) -> String {
        self.number.rule()
    }
}

impl<'a> Form<'a> for Boolean {
    type Value = bool;

    fn read(&self, raw: &'a RawValue, reader: &Reader<'_>) -> Result<bool, InvalidValue> {
        reader.boolean(raw)
    }

    fn default_value(&self) -> bool {
        false
    }

    fn default_json(&self) -> Option<String> {
        Some("false".to_owned())
    }

    fn rule(&self) -> String {
        "must be a boolean".to_owned()
    }
}

impl<'a, T: Copy + Default> Form<'a> for Choice<T> {
    type Value = T;

    fn read(&self, raw: &'a RawValue, reader: &Reader<'_>) -> Result<T, InvalidValue> {
        let text = reader.text(raw)?;
        let chosen = self.0.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        chosen.ok_or_else(|| reader.error(self.rule()))
    }

    fn default_value(&self) -> T {
        self.0.first().map(|(_, value)| *value).unwrap_or_default()
    }

    fn default_json(&self) -> Option<String> {
        self.0.first().map(|(word, _)| format!("\"{word}\""))
    }

    fn rule(&self) -> String {
        let words: Vec<_> = self.0.iter().map(|(word, _)| format!("`{word}`")).collect();
        format!("must be {}", words.join(" or "))
    }
}

fn read_token(raw: &RawValue, reader: &Reader<'_>, rule: &str) -> Result<Secret, InvalidValue> {
    let text = reader.text(raw)?;
    if text.bytes().all(|b| b.is_ascii_graphic()) { Ok(Secret::new(&text)) } else { Err(reader.error(rule)) }
}

/// Reads the elements of an array that isn't empty.
fn read_all<'a, T>(
    raw: &'a RawValue,
    reader: &Reader<'_>,
    read: impl Fn(&'a RawValue, &Reader<'_>) -> Result<T, InvalidValue>,
) -> Result<Vec<T>, InvalidValue> {
    let elements = reader.elements(raw)?;
    if elements.is_empty() {
        return Err(reader.error("must not be empty: leave it out if there is none"));
    }
    elements.into_iter().enumerate().map(|(at, raw)| read(raw, &reader.at(at))).collect()
}

const TOKEN_RULE: &str = "must be visible ASCII without blanks";

impl<'a> Form<'a> for Token {
    type Value = Option<Secret>;

    fn read(&self, raw: &'a RawValue, reader: &Reader<'_>) -> Result<Option<Secret>, InvalidValue> {
        read_token(raw, reader, TOKEN_RULE).map(Some)
    }

    fn default_value(&self) -> Option<Secret> {
        None
    }

    fn rule(&self) -> String {
        TOKEN_RULE.to_owned()
    }
}

impl<'a> Form<'a> for Tokens {
    type Value = Vec<Secret>;

    fn read(&self, raw: &'a RawValue, reader: &Reader<'_>) -> Result<Vec<Secret>, InvalidValue> {
        read_all(raw, reader, |raw, reader| read_token(raw, reader, TOKEN_RULE))
    }

    fn default_value(&self) -> Vec<Secret> {
        Vec::new()
    }

    fn rule(&self) -> String {
        "must be an array of texts in visible ASCII without blanks".to_owned()
    }
}

impl<'a> Form<'a> for Text {
    type Value = Option<Secret>;

    fn read(&self, raw: &'a RawValue, reader: &Reader<'_>) -> Result<Option<Secret>, InvalidValue> {
        read_token(raw, reader, self.rule).map(Some)
    }

    fn default_value(&self) -> Option<Secret> {
        None
    }

    fn rule(&self) -> String {
        self.rule.to_owned()
    }
}

impl<'a> Form<'a> for Workflow {
    type Value = Option<WorkflowRef>;

    fn read(&self, raw: &'a RawValue, reader: &Reader<'_>) -> Result<Option<WorkflowRef>, InvalidValue> {
        WorkflowRef::parse(&reader.text(raw)?).map(Some).map_err(|error| reader.error(error.to_string()))
    }

    fn default_value(&self) -> Option<WorkflowRef> {
        None
    }

    fn rule(&self) -> String {
        "must be the reference of a workflow, as in `?ref=`".to_owned()
    }
}

impl<'a> Form<'a> for Origin {
    type Value = Option<String>;

    fn read(&self, raw: &'a RawValue, reader: &Reader<'_>) -> Result<Option<String>, InvalidValue> {
        origin(&reader.text(raw)?).map(Some).map_err(|rule| reader.error(rule))
    }

    fn default_value(&self) -> Option<String> {
        None
    }

    fn rule(&self) -> String {
        "must be an absolute URL that ends after host and port, such as https://gate.example.com".to_owned()
    }
}

impl<'a> Form<'a> for Hosts {
    type Value = Origins;

    fn read(&self, raw: &'a RawValue, reader: &Reader<'_>) -> Result<Origins, InvalidValue> {
        let hosts = read_all(raw, reader, |raw, reader| {
            let text = reader.text(raw)?;
            let is_host = Origins::is_origin(&text);
            is_host
                .then(|| text.into_owned())
                .ok_or_else(|| reader.error("must be a host name without a scheme, or `*`"))
        });
        hosts.map(Origins::new)
    }

    fn default_value(&self) -> Origins {
        Origins::new(Vec::new())
    }

    fn rule(&self) -> String {
        "must be an array of host names without a scheme, or of `*`".to_owned()
    }
}

impl<'a> Form<'a> for Pages {
    type Value = WebOrigins;

    fn read(&self, raw: &'a RawValue, reader: &Reader<'_>) -> Result<WebOrigins, InvalidValue> {
        let origins = read_all(raw, reader, |raw, reader| {
            let text = reader.text(raw)?;
            match WebOrigins::parse(&text) {
                Some(origin) => Ok(origin),
                None => Err(reader.error("must be an origin such as https://app.example.com, or `*`")),
            }
        });
        origins.map(WebOrigins::new)
    }

    fn default_value(&self) -> WebOrigins {
        WebOrigins::default()
    }

    fn rule(&self) -> String {
        "must be an array of origins such as https://app.example.com, or of `*`".to_owned()
    }
}

impl<'a> Form<'a> for Object {
    type Value = Option<&'a RawValue>;

    fn read(&self, raw: &'a RawValue, reader: &Reader<'_>) -> Result<Option<&'a RawValue>, InvalidValue> {
        match json::type_of(raw) {
            JsonType::Object => Ok(Some(raw)),
            _ => Err(reader.wrong_type(self.rule(), raw)),
        }
    }

    fn default_value(&self) -> Option<&'a RawValue> {
        None
    }

    fn rule(&self) -> String {
        "must be an object".to_owned()
    }
}
