//! The template of a signed message, such as `{id}.{timestamp}.{body}`.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The parts of a signed message. In the text form, `{body}`, `{timestamp}`, `{id}`, `{url}` and `{params}` are
/// placeholders, `{{` and `}}` are braces, and all other characters are literal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template(Vec<Part>);

/// A part of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The bytes of the body.
    Body,
    /// The timestamp, as it was received.
    Timestamp,
    /// The event's id, as it was received.
    Id,
    /// The URL that the sender called, including the query.
    Url,
    /// The fields of a form, sorted, each name directly followed by its value (Twilio). Empty for any other body: the
    /// URL then contains the body's digest as `bodySHA256`.
    Params,
    /// Literal text.
    Text(String),
}

/// The reason why a text is not a valid template. Completes the sentence "`signed` …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// An unknown placeholder.
    #[error("contains {{{0}}}, but only {{body}}, {{timestamp}}, {{id}}, {{url}} and {{params}} are known")]
    UnknownPlaceholder(String),
    /// A brace without its counterpart.
    #[error("contains an unmatched brace: write {{{{ or }}}} for a literal brace")]
    UnmatchedBrace,
}

impl Template {
    /// The parts, in order.
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    /// Returns whether the message contains this part.
    pub fn contains(&self, part: &Part) -> bool {
        self.0.contains(part)
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
        let mut parts: Vec<Part> = Vec::new();
        let mut literal = String::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '{' | '}' if chars.next_if_eq(&c).is_some() => literal.push(c),
                '{' => {
                    let mut name = String::new();
                    loop {
                        match chars.next() {
                            Some('}') => break,
                            Some(c) if c != '{' => name.push(c),
                            _ => return Err(TemplateError::UnmatchedBrace),
                        }
                    }
                    if !literal.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut literal)));
                    }
                    parts.push(Part::placeholder(name)?);
                }
                '}' => return Err(TemplateError::UnmatchedBrace),
                c => literal.push(c),
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self(parts))
    }
}

impl Part {
    /// The part that a placeholder stands for.
    fn placeholder(name: String) -> Result<Self, TemplateError> {
        Ok(match name.as_str() {
            "body" => Self::Body,
            "timestamp" => Self::Timestamp,
            "id" => Self::Id,
            "url" => Self::Url,
            "params" => Self::Params,
            _ => return Err(TemplateError::UnknownPlaceholder(name)),
        })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| {
            f.write_str(&match part {
                Part::Body => Cow::Borrowed("{body}"),
                Part::Timestamp => Cow::Borrowed("{timestamp}"),
                Part::Id => Cow::Borrowed("{id}"),
                Part::Url => Cow::Borrowed("{url}"),
                Part::Params => Cow::Borrowed("{params}"),
                Part::Text(text) => Cow::Owned(text.replace('{', "{{").replace('}', "}}")),
            })
        })
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
    }

    #[test]
    fn invalid_template_is_rejected() {
        let unknown = "contains {ts}, but only {body}, {timestamp}, {id}, {url} and {params} are known";
        assert_eq!(parse("{ts}").unwrap_err().to_string(), unknown);
        let unmatched = "contains an unmatched brace: write {{ or }} for a literal brace";
        for text in ["{", "}", "{body", "body}", "{bo{dy}", "{body}}"] {
            assert_eq!(parse(text).unwrap_err().to_string(), unmatched, "{text}");
        }
    }

    proptest! {
        #[test]
        fn template_round_trips(text in "([a-z.:]|\\{\\{|\\}\\}|\\{body\\}|\\{id\\}|\\{timestamp\\}){0,8}") {
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
