//! What a signature is made over: a template such as `{id}.{timestamp}.{body}`.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The signed string, in parts. Written as text: `{body}`, `{timestamp}`, `{id}`, `{url}`, `{params}`, and what is to be
/// taken as it stands; `{{` and `}}` for a brace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template(Vec<Part>);

/// A part of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The body's bytes.
    Body,
    /// The timestamp as it was sent.
    Timestamp,
    /// The event's id as it was sent.
    Id,
    /// The URL that the sender called, with its query.
    Url,
    /// The fields of a form, sorted, name and value without anything between; nothing for another body, whose digest is
    /// then in the URL as `bodySHA256` (Twilio).
    Params,
    /// Text as it stands.
    Text(String),
}

/// Why a text is no template. Completes the sentence "`signed` …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A name that isn't known.
    #[error("must not have {{{0}}}: known are {{body}}, {{timestamp}}, {{id}}, {{url}} and {{params}}")]
    Unknown(String),
    /// A brace without its partner.
    #[error("has a brace without its partner: write {{{{ or }}}} for a brace that is signed")]
    Brace,
}

impl Template {
    /// The parts, in order.
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    /// Is this part in it?
    pub fn has(&self, part: &Part) -> bool {
        self.0.contains(part)
    }
}

/// The body and nothing else.
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
                            _ => return Err(TemplateError::Brace),
                        }
                    }
                    if !literal.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut literal)));
                    }
                    parts.push(Part::named(name)?);
                }
                '}' => return Err(TemplateError::Brace),
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
    fn named(name: String) -> Result<Self, TemplateError> {
        Ok(match name.as_str() {
            "body" => Self::Body,
            "timestamp" => Self::Timestamp,
            "id" => Self::Id,
            "url" => Self::Url,
            "params" => Self::Params,
            _ => return Err(TemplateError::Unknown(name)),
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

    #[test]
    fn a_template_is_read_and_what_is_wrong_is_named() {
        let read = |text: &str| Template::try_from(text.to_owned());
        assert_eq!(
            read("v0:{timestamp}:{body}").unwrap().parts(),
            [Part::Text("v0:".to_owned()), Part::Timestamp, Part::Text(":".to_owned()), Part::Body]
        );
        assert_eq!(
            read("{{{id}}}").unwrap().parts(),
            [Part::Text("{".to_owned()), Part::Id, Part::Text("}".to_owned())]
        );
        let error = |text: &str| read(text).unwrap_err().to_string();
        assert_eq!(error("{ts}"), "must not have {ts}: known are {body}, {timestamp}, {id}, {url} and {params}");
        for text in ["{", "}", "{body", "body}", "{bo{dy}", "{body}}"] {
            assert_eq!(error(text), "has a brace without its partner: write {{ or }} for a brace that is signed");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_the_same(text in "([a-z.:]|\\{\\{|\\}\\}|\\{body\\}|\\{id\\}|\\{timestamp\\}){0,8}") {
            let template = Template::try_from(text).unwrap();
            prop_assert_eq!(Template::try_from(template.to_string()).unwrap(), template);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
            if let Ok(template) = Template::try_from(text.clone()) {
                prop_assert_eq!(template.to_string(), text);
            }
        }
    }
}
