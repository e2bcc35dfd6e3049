//! The template of a signed message, such as `{id}.{timestamp}.{body}`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::descriptor::ValueLocation;
use crate::json::nearest;

/// The parts of a signed message, or of an answer. In the text form, all characters are literal but braces:
///
/// | Text | Stands for |
/// |---|---|
/// | `{body}`, `{method}`, `{url}` | the parts of the request |
/// | `{params}` | the fields of a form, as Twilio signs them |
/// | `{timestamp}`, `{id}` | the values that the descriptor locates |
/// | `{header:x}`, `{json:/x}`, `{form:x}`, `{query:x}` | a value in the request |
/// | `{field:t}` | a pair in the signature's header |
/// | `{sha256:body}`, `{crc32:body}` | a digest of the body, in hexadecimal, and its CRC-32, in decimal |
/// | `{secret}` | the secret, for plain hashes |
/// | `{constant:x}` | one of the descriptor's constants |
/// | `{signature}` | the signature, in the answer to a question |
/// | `{if json:/x}…{end}`, `{if timestamp}…{end}` | the text between, if the request has the value |
/// | `{{`, `}}` | a brace |
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template(Vec<Part>);

/// A part of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The bytes of the body.
    Body,
    /// The SHA-256 of the body, in lower-case hexadecimal.
    BodySha256,
    /// The CRC-32 of the body (ISO 3309), in decimal.
    BodyCrc32,
    /// The timestamp, as it was received.
    Timestamp,
    /// The event's id, as it was received.
    Id,
    /// The method, in upper case.
    Method,
    /// The URL that the sender called, including the query.
    Url,
    /// The fields of a form, sorted, each name directly followed by its value (Twilio). Empty for any other body: the
    /// URL then contains the body's digest as `bodySHA256`.
    Params,
    /// The secret.
    Secret,
    /// The signature that an answer contains.
    Signature,
    /// One of the descriptor's constants.
    Constant(String),
    /// A value in the request.
    Value(ValueLocation),
    /// Parts that are left out if the request lacks a value.
    If(Condition, Vec<Part>),
    /// Literal text.
    Text(String),
}

/// The condition of [`Part::If`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The request has a timestamp.
    Timestamp,
    /// The request has a value at this location.
    Value(ValueLocation),
}

/// The reason why a text is not a valid template. Completes the sentence "`signed` …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// An unknown placeholder.
    #[error(
        "contains {{{name}}}, but only {{body}}, {{timestamp}}, {{id}}, {{url}}, {{method}}, {{params}}, {{secret}}, \
         {{header:…}}, {{json:…}}, {{form:…}}, {{query:…}}, {{field:…}}, {{constant:…}}, {{sha256:body}}, \
         {{crc32:body}}, {{signature}} and {{if …}} are known{hint}"
    )]
    UnknownPlaceholder {
        /// The text between the braces.
        name: String,
        /// The nearest placeholder, as a half-sentence; empty if none is near.
        hint: String,
    },
    /// A brace without its counterpart.
    #[error("contains an unmatched brace: write {{{{ or }}}} for a literal brace")]
    UnmatchedBrace,
    /// `{if …}` without `{end}`, the reverse, or one within another.
    #[error("must close each {{if …}} with {{end}}, before the next {{if …}}")]
    UnmatchedIf,
}

impl Template {
    /// The parts, in order.
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    /// Returns whether the message always contains this part.
    pub fn contains(&self, part: &Part) -> bool {
        self.0.contains(part)
    }

    /// Returns whether the message contains this part, always or under a condition.
    pub fn mentions(&self, part: &Part) -> bool {
        self.all().any(|one| one == part)
    }

    /// The locations of the values in the message and in its conditions.
    pub fn locations(&self) -> impl Iterator<Item = &ValueLocation> {
        self.all().filter_map(|part| match part {
            Part::Value(location) | Part::If(Condition::Value(location), _) => Some(location),
            _ => None,
        })
    }

    /// The names of the constants in the message.
    pub fn constants(&self) -> impl Iterator<Item = &str> {
        self.all().filter_map(|part| match part {
            Part::Constant(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// All parts, also those under a condition.
    fn all(&self) -> impl Iterator<Item = &Part> {
        self.0.iter().flat_map(|part| match part {
            Part::If(_, parts) => std::iter::once(part).chain(parts.as_slice()),
            _ => std::iter::once(part).chain(&[]),
        })
    }
}

/// The template `{body}`.
impl Default for Template {
    fn default() -> Self {
        Self(vec![Part::Body])
    }
}

impl TryFrom<String> for Template {
    type Error = TemplateError;

    fn try_from(text: String) -> Result<Self, TemplateError> {
        let mut builder = Builder::default();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '{' | '}' if chars.next_if_eq(&c).is_some() => builder.literal.push(c),
                '{' => {
                    let mut name = String::new();
                    loop {
                        match chars.next() {
                            Some('}') => break,
                            Some(c) if c != '{' => name.push(c),
                            _ => return Err(TemplateError::UnmatchedBrace),
                        }
                    }
                    builder.placeholder(name)?;
                }
                '}' => return Err(TemplateError::UnmatchedBrace),
                c => builder.literal.push(c),
            }
        }
        builder.finish()
    }
}

/// A template that is being parsed.
#[derive(Default)]
struct Builder {
    parts: Vec<Part>,
    literal: String,
    /// The condition that is open, and the parts before it.
    open: Option<(Condition, Vec<Part>)>,
}

impl Builder {
    fn end_literal(&mut self) {
        if !self.literal.is_empty() {
            self.parts.push(Part::Text(std::mem::take(&mut self.literal)));
        }
    }

    fn placeholder(&mut self, name: String) -> Result<(), TemplateError> {
        self.end_literal();
        if let Some(condition) = name.strip_prefix("if ") {
            if self.open.is_some() {
                return Err(TemplateError::UnmatchedIf);
            }
            let condition = match (condition, location(condition)) {
                ("timestamp", _) => Condition::Timestamp,
                (_, Some(location)) => Condition::Value(location),
                (_, None) => return Err(unknown(name)),
            };
            self.open = Some((condition, std::mem::take(&mut self.parts)));
        } else if name == "end" {
            let (condition, before) = self.open.take().ok_or(TemplateError::UnmatchedIf)?;
            let within = std::mem::replace(&mut self.parts, before);
            self.parts.push(Part::If(condition, within));
        } else {
            self.parts.push(Part::placeholder(name)?);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Template, TemplateError> {
        self.end_literal();
        if self.open.is_some() { Err(TemplateError::UnmatchedIf) } else { Ok(Template(self.parts)) }
    }
}

/// The placeholders without an argument, and the parts that they stand for.
const PLAIN: [(&str, Part); 10] = [
    ("body", Part::Body),
    ("sha256:body", Part::BodySha256),
    ("crc32:body", Part::BodyCrc32),
    ("timestamp", Part::Timestamp),
    ("id", Part::Id),
    ("method", Part::Method),
    ("url", Part::Url),
    ("params", Part::Params),
    ("secret", Part::Secret),
    ("signature", Part::Signature),
];

impl Part {
    /// The part that a placeholder stands for.
    fn placeholder(name: String) -> Result<Self, TemplateError> {
        if let Some((_, part)) = PLAIN.into_iter().find(|(plain, _)| *plain == name) {
            return Ok(part);
        }
        match name.strip_prefix("constant:") {
            Some(constant) if !constant.is_empty() => Ok(Self::Constant(constant.to_owned())),
            _ => location(&name).map(Self::Value).ok_or_else(|| unknown(name)),
        }
    }
}

/// The location that a text such as `json:/data/id` names.
fn location(text: &str) -> Option<ValueLocation> {
    let (kind, name) = text.split_once(':')?;
    let name = name.to_owned();
    match kind {
        "header" => Some(ValueLocation::Header(name)),
        "json" => Some(ValueLocation::Pointer(name)),
        "form" => Some(ValueLocation::Form(name)),
        "query" => Some(ValueLocation::Query(name)),
        "field" => Some(ValueLocation::Field(name)),
        _ => None,
    }
}

fn unknown(name: String) -> TemplateError {
    let names = PLAIN.iter().map(|(plain, _)| *plain);
    let kinds = ["header", "json", "form", "query", "field", "constant", "end"];
    let word = name.split([':', ' ']).next().unwrap_or_default();
    let hint = nearest(word, names.chain(kinds)).map(|near| format!("; `{near}` is near")).unwrap_or_default();
    TemplateError::UnknownPlaceholder { name, hint }
}

impl fmt::Display for ValueLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Pointer(pointer) => write!(f, "json:{pointer}"),
            Self::Form(name) => write!(f, "form:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
            Self::Field(name) => write!(f, "field:{name}"),
            Self::Claim(name) => write!(f, "claim:{name}"),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}")),
            Self::Constant(name) => write!(f, "{{constant:{name}}}"),
            Self::Value(location) => write!(f, "{{{location}}}"),
            Self::If(condition, parts) => {
                match condition {
                    Condition::Timestamp => f.write_str("{if timestamp}")?,
                    Condition::Value(location) => write!(f, "{{if {location}}}")?,
                }
                parts.iter().try_for_each(|part| part.fmt(f))?;
                f.write_str("{end}")
            }
            plain => {
                let name = PLAIN.iter().find(|(_, part)| part == plain).map(|(name, _)| *name);
                write!(f, "{{{}}}", name.unwrap_or_default())
            }
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| part.fmt(f))
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Template, TemplateError> {
        Template::try_from(text.to_owned())
    }

    #[test]
    fn template_is_parsed_into_parts() {
        let text = |text: &str| Part::Text(text.to_owned());
        let parts = [text("v0:"), Part::Timestamp, text(":"), Part::Body];
        assert_eq!(parse("v0:{timestamp}:{body}").unwrap().parts(), parts);
        assert_eq!(parse("{{{id}}}").unwrap().parts(), [text("{"), Part::Id, text("}")]);
        let subject = ValueLocation::Pointer("/Subject".to_owned());
        let within = vec![text("Subject\n"), Part::Value(subject.clone()), text("\n")];
        let template = parse("{method}{if json:/Subject}Subject\n{json:/Subject}\n{end}").unwrap();
        assert_eq!(template.parts(), [Part::Method, Part::If(Condition::Value(subject.clone()), within)]);
        assert!(template.mentions(&Part::Value(subject.clone())) && !template.contains(&Part::Value(subject)));
    }

    #[test]
    fn invalid_template_is_rejected() {
        for (text, near) in [("{ts}", ""), ("{bodi}", "; `body` is near"), ("{heder:x}", "; `header` is near")] {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.starts_with(&format!("contains {text}, but only {{body}}, {{timestamp}}, ")), "{message}");
            assert!(message.ends_with(&format!("are known{near}")), "{message}");
        }
        for text in ["{if json:/a}", "{end}", "{if timestamp}{if json:/a}{end}{end}", "{if timestamp}{end}{end}"] {
            assert_eq!(parse(text).unwrap_err(), TemplateError::UnmatchedIf, "{text}");
        }
        let unmatched = "contains an unmatched brace: write {{ or }} for a literal brace";
        for text in ["{", "}", "{body", "body}", "{bo{dy}", "{body}}"] {
            assert_eq!(parse(text).unwrap_err().to_string(), unmatched, "{text}");
        }
    }

    proptest! {
        #[test]
        fn template_round_trips(text in "([a-z.:]|\\{\\{|\\}\\}|\\{body\\}|\\{crc32:body\\}|\\{json:/a\\}|\\{if form:b\\}x\\{query:c\\}\\{end\\}){0,8}") {
            let template = parse(&text).unwrap();
            prop_assert_eq!(parse(&template.to_string()).unwrap(), template);
        }

        #[test]
        fn any_text_round_trips_or_is_rejected(text in "\\PC{0,40}") {
            if let Ok(template) = parse(&text) {
                prop_assert_eq!(template.to_string(), text);
            }
        }
    }
}
