//! Questions as data: requests by which a sender checks an endpoint, or hands it a secret, and the answers to them.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::descriptor::{Algorithm, DescriptorError, Encoding, ValueLocation, check_location, invalid};
use super::locate::Values;
use super::signature::{self, Piece};
use super::template::{Part, Template};
use super::verify::{SignedRequest, VerifyError, pieces};
use crate::secret::Secret;

/// Maximum length of a value that an answer contains, in bytes. Slack's has 52 characters, Microsoft Graph's about 110.
pub const MAX_VALUE: usize = 1_024;

/// A question and the answer to it. It starts no run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The method of the request.
    #[serde(default)]
    pub method: QuestionMethod,
    /// The conditions by which the question is told from an event: all of them hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<Test>,
    /// The location of a token that the operator has chosen at the sender. The question gets its answer only with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<ValueLocation>,
    /// Whether the question is signed as an event is. It then gets its answer only if the signature is valid.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub signed: bool,
    /// The signature in the answer, for `{signature}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign: Option<AnswerSignature>,
    /// The location of a secret that the sender hands over by this request (Asana, Notion). Anyone can send such a
    /// request: it counts only while the source has no secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<ValueLocation>,
    /// The answer.
    #[serde(default)]
    pub answer: Answer,
}

/// The method of a question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum QuestionMethod {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    #[default]
    Post,
}

/// A condition on a value in the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// The location of the value, which must be there.
    pub at: ValueLocation,
    /// The text that it must have. Any, if neither this nor `has` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is: Option<String>,
    /// The text that it must contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub has: Option<String>,
    /// Whether the opposite must hold: the value is not there, or has another text.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not: bool,
}

impl Test {
    /// Checks that the members are valid and consistent.
    pub(super) fn check(&self) -> Result<(), DescriptorError> {
        if self.is.is_some() && self.has.is_some() {
            return invalid("when", "must not have both `is` and `has`");
        }
        check_location("when", Some(&self.at))
    }

    /// Returns whether the condition holds.
    pub(super) fn holds(&self, request: SignedRequest<'_>) -> bool {
        let holds = match Values::of(request).find(&self.at) {
            Ok(Some(found)) => {
                let is_same = self.is.as_ref().is_none_or(|expected| found == expected.as_str());
                is_same && self.has.as_ref().is_none_or(|part| found.contains(part.as_str()))
            }
            _ => false,
        };
        holds != self.not
    }
}

/// The signature in an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerSignature {
    /// The algorithm: an HMAC, or a plain hash.
    pub algorithm: Algorithm,
    /// The encoding of the signature.
    #[serde(default)]
    pub encoding: Encoding,
    /// The signed message.
    pub text: Template,
}

/// An answer. Without `text` and `json`, its body is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Answer {
    /// The status, a 2xx; 200 if it is not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The body, as `text/plain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<Template>,
    /// The body, as `application/json`. Each string in it is a [`Template`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json: Option<Value>,
    /// Headers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Template>,
}

/// The response to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The `Content-Type`, if there is a body: never a type that a browser would execute.
    pub content_type: Option<&'static str>,
    /// Further headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: String,
}

/// The reason why a question gets no answer. Carries no secret and no value of the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// The token is missing, or none that is set.
    #[error("the token in `{location}` is missing or not the one that is set")]
    Token {
        /// The location of the token.
        location: String,
    },
    /// The answer is signed, and no secret is set.
    #[error("the answer is signed, and no secret is set")]
    NoSecret,
    /// A value that the answer contains is missing, repeated or malformed.
    #[error(transparent)]
    Value(#[from] VerifyError),
    /// A value that the answer contains is too long.
    #[error("a value of the question is longer than {MAX_VALUE} bytes")]
    TooLong,
    /// A value that the answer signs could be a forged event.
    #[error("a value that the answer signs has other characters than letters, digits and `-`, `_`, `+`, `/`, `.`, `=`")]
    UnsafeToSign,
    /// A value in a header of the answer has other characters than visible ASCII.
    #[error("a header of the answer would not be visible ASCII")]
    Header,
}

impl Question {
    /// Checks that the members are valid and consistent.
    pub(super) fn check(&self) -> Result<(), DescriptorError> {
        if self.method == QuestionMethod::Post && self.when.iter().all(|test| test.not) {
            return invalid("when", "must tell the question from an event, because its method is POST");
        }
        if self.signed && self.method != QuestionMethod::Post {
            return invalid("signed", "must not be true unless the method is POST");
        }
        self.when.iter().try_for_each(Test::check)?;
        check_location("token", self.token.as_ref())?;
        check_location("keep", self.keep.as_ref())?;
        if let Some(AnswerSignature { algorithm, text, .. }) = &self.sign {
            let hmac = matches!(
                algorithm,
                Algorithm::HmacSha1 | Algorithm::HmacSha256 | Algorithm::HmacSha384 | Algorithm::HmacSha512
            );
            if !hmac && !algorithm.is_hash() {
                return invalid("sign", "must have an `algorithm` that is an HMAC or a plain hash");
            }
            if algorithm.is_hash() != text.contains(&Part::Secret) {
                return invalid("sign", "must contain {secret} in `text` if, and only if, `algorithm` is a plain hash");
            }
            let is_allowed =
                |part: &Part| matches!(part, Part::Text(_) | Part::Value(_) | Part::Secret | Part::Url | Part::Method);
            if !text.parts().iter().all(is_allowed) {
                return invalid("sign", "must contain only texts, values, {url}, {method} and {secret} in `text`");
            }
        }
        self.answer.check(self.sign.is_some())
    }

    /// Returns whether a request asks this question.
    pub fn is_asked_by(&self, request: SignedRequest<'_>) -> bool {
        let method = match self.method {
            QuestionMethod::Get => "GET",
            QuestionMethod::Head => "HEAD",
            QuestionMethod::Post => "POST",
        };
        request.method == method && self.when.iter().all(|test| test.holds(request))
    }

    /// Builds the answer. `tokens` are those that the operator has chosen at the sender. The first of the secrets
    /// signs: for a signed question, the caller gives the one that verified it.
    pub fn answer(
        &self,
        request: SignedRequest<'_>,
        secrets: &[Secret],
        tokens: &[Secret],
    ) -> Result<Reply, QuestionError> {
        let values = Values::of(request);
        if let Some(location) = &self.token {
            let given = values.text(Some(location)).unwrap_or_default();
            // All tokens are compared, so the time does not depend on which of them matches.
            let matches = tokens.iter().fold(false, |matches, token| token.matches(&given) | matches);
            if given.is_empty() || !matches {
                return Err(QuestionError::Token { location: location.to_string() });
            }
        }
        let signature = match &self.sign {
            Some(sign) => Some(sign.signature(&values, secrets.first().ok_or(QuestionError::NoSecret)?)?),
            None => None,
        };
        self.answer.render(&values, signature.as_deref())
    }

    /// The secret that the sender hands over by this request.
    pub fn secret(&self, request: SignedRequest<'_>) -> Option<Secret> {
        let text = Values::of(request).text(self.keep.as_ref())?;
        (text.len() <= MAX_VALUE).then(|| Secret::new(&text))
    }
}

impl AnswerSignature {
    fn signature(&self, values: &Values<'_>, secret: &Secret) -> Result<String, QuestionError> {
        for location in self.text.locations() {
            let value = bounded(values, location)?;
            if !is_safe_to_sign(&value) {
                return Err(QuestionError::UnsafeToSign);
            }
        }
        let pieces = pieces(&self.text, None, values, None)?;
        let message: Vec<Piece<'_>> = pieces.into_iter().map(|(_, piece)| piece).collect();
        let signature = signature::compute(self.algorithm, secret.expose().as_bytes(), &message);
        Ok(signature::encode(self.encoding, &signature.unwrap_or_default()))
    }
}

/// Returns whether a text can't be an event, whose signature the answer would otherwise be: neither JSON, nor a form,
/// nor anything with a separator. Challenges in base64 end in `=`.
fn is_safe_to_sign(text: &str) -> bool {
    text.trim_end_matches('=').bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_+/.".contains(&byte))
}

/// A value of the request that the answer contains.
fn bounded(values: &Values<'_>, location: &ValueLocation) -> Result<String, QuestionError> {
    let missing = || VerifyError::MissingValue { location: location.to_string() };
    let found = values.find(location)?.ok_or_else(missing)?.into_owned();
    if found.len() > MAX_VALUE { Err(QuestionError::TooLong) } else { Ok(found) }
}

/// Headers that an answer must not set: they are the server's, or would make a browser act.
const RESERVED: [&str; 6] =
    ["content-type", "content-length", "transfer-encoding", "connection", "location", "set-cookie"];

impl Answer {
    /// Checks that the members are valid and consistent. `{signature}` is known only if the answer is signed.
    pub(super) fn check(&self, is_signed: bool) -> Result<(), DescriptorError> {
        if !(200..=299).contains(&self.status.unwrap_or(200)) {
            return invalid("answer", "must have a `status` from 200 to 299");
        }
        if self.text.is_some() && self.json.is_some() {
            return invalid("answer", "must not have both `text` and `json`");
        }
        let is_valid =
            |name: &String| HeaderName::try_from(name.as_str()).is_ok_and(|name| !RESERVED.contains(&name.as_str()));
        if !self.headers.keys().all(is_valid) {
            return invalid(
                "answer",
                "must have only valid `headers`, and none that the server or a browser acts upon",
            );
        }
        let mut templates: Vec<Template> = self.headers.values().chain(&self.text).cloned().collect();
        if !self.json.as_ref().is_none_or(|json| collect(json, &mut templates)) {
            return invalid("answer", "must have only valid templates in `json`");
        }
        let is_allowed = |part: &Part| match part {
            Part::Text(_) | Part::Value(_) => true,
            Part::Signature => is_signed,
            _ => false,
        };
        if !templates.iter().flat_map(Template::parts).all(is_allowed) {
            return invalid("answer", "must contain only texts, values, and, beside `sign`, {signature}");
        }
        Ok(())
    }

    /// Builds the response.
    fn render(&self, values: &Values<'_>, signature: Option<&str>) -> Result<Reply, QuestionError> {
        let text = |template: &Template| {
            let mut text = String::new();
            for part in template.parts() {
                match part {
                    Part::Text(literal) => text.push_str(literal),
                    Part::Value(location) => text.push_str(&bounded(values, location)?),
                    Part::Signature => text.push_str(signature.unwrap_or_default()),
                    _ => {}
                }
            }
            Ok(text)
        };
        let (content_type, body) = match (&self.text, &self.json) {
            (Some(template), _) => (Some("text/plain; charset=utf-8"), text(template)?),
            (None, Some(json)) => (Some("application/json"), rendered(json, &text)?.to_string()),
            (None, None) => (None, String::new()),
        };
        let mut headers = Vec::new();
        for (name, template) in &self.headers {
            let value = HeaderValue::try_from(text(template)?).map_err(|_| QuestionError::Header)?;
            headers.push((HeaderName::try_from(name.as_str()).map_err(|_| QuestionError::Header)?, value));
        }
        Ok(Reply { status: self.status.unwrap_or(200), content_type, headers, body })
    }

    /// The response to every event, for a sender that prescribes one. It contains no value of the request.
    pub fn fixed(&self) -> Reply {
        let empty = http::HeaderMap::new();
        let request = SignedRequest { method: "POST", headers: &empty, url: "", body: b"" };
        self.render(&Values::of(request), None).unwrap_or(Reply {
            status: 200,
            content_type: None,
            headers: Vec::new(),
            body: String::new(),
        })
    }

    /// Returns whether the answer contains no value of the request.
    pub(super) fn is_fixed(&self) -> bool {
        let mut templates: Vec<Template> = self.headers.values().chain(&self.text).cloned().collect();
        self.json.as_ref().is_none_or(|json| collect(json, &mut templates))
            && templates.iter().flat_map(Template::parts).all(|part| matches!(part, Part::Text(_)))
    }
}

/// Collects the templates in a JSON value. False if one of them is invalid.
fn collect(json: &Value, templates: &mut Vec<Template>) -> bool {
    match json {
        Value::String(text) => Template::try_from(text.clone()).map(|template| templates.push(template)).is_ok(),
        Value::Array(elements) => elements.iter().all(|element| collect(element, templates)),
        Value::Object(members) => members.values().all(|member| collect(member, templates)),
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

/// A JSON value with its templates filled in.
fn rendered(json: &Value, text: &impl Fn(&Template) -> Result<String, QuestionError>) -> Result<Value, QuestionError> {
    Ok(match json {
        Value::String(own) => match Template::try_from(own.clone()) {
            Ok(template) => Value::String(text(&template)?),
            // The check has rejected it.
            Err(_) => Value::Null,
        },
        Value::Array(elements) => {
            Value::Array(elements.iter().map(|element| rendered(element, text)).collect::<Result<_, _>>()?)
        }
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| Ok((name.clone(), rendered(value, text)?));
            Value::Object(members.iter().map(member).collect::<Result<_, QuestionError>>()?)
        }
        other => other.clone(),
    })
}
