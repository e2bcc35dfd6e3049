//! Validated names: references to workflows and runs, topics, and delivery ids.
//!
//! Each name in a reference becomes a path segment of a URL of the engine ([`path_segment`]). Text that could be read as
//! more than one segment is rejected, and the rest is percent-encoded.

mod delivery_id;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

pub use delivery_id::DeliveryId;

/// Maximum length of a reference in bytes.
pub const MAX_REFERENCE: usize = 256;
/// Maximum length of a topic in bytes.
pub const MAX_TOPIC: usize = 1_024;

/// All characters except the unreserved ones are percent-encoded (RFC 3986, section 2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The reason why a text is not a valid reference or topic. The message completes a sentence such as "`ref` …".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// No text.
    #[error("is empty")]
    Empty,
    /// More bytes than the limit.
    #[error("is longer than {max} bytes")]
    TooLong {
        /// The limit.
        max: usize,
    },
    /// A control character, or one that could end the path segment.
    #[error("must not contain {0:?}")]
    Character(char),
    /// `.` or `..`, which have a special meaning as path segments (RFC 3986, section 3.3).
    #[error("must not be a dot segment")]
    DotSegment,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, checked by $check:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// Validates a text; see [`ReferenceError`].
            pub fn parse(text: &str) -> Result<Self, ReferenceError> {
                $check(text)?;
                Ok(Self(text.to_owned()))
            }

            /// The text as the sender gave it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = ReferenceError;

            fn try_from(text: String) -> Result<Self, ReferenceError> {
                $check(&text)?;
                Ok(Self(text))
            }
        }
    };
}

name! {
    /// The workflow that a webhook or an event starts: its name or id, such as `deploy`, or with the scope that it
    /// belongs to, such as `team/deploy`. The engine's profile decides whether there are scopes.
    WorkflowRef, checked by check_workflow
}
name! {
    /// The id of a workflow run that a callback resumes.
    RunRef, checked by check_reference
}
name! {
    /// The topic that tasks of a run wait for. It reaches the engine only within JSON, so any text of 1 to
    /// [`MAX_TOPIC`] bytes without control characters is valid.
    Topic, checked by check_topic
}

impl WorkflowRef {
    /// The name or id of the workflow.
    pub fn workflow(&self) -> &str {
        self.0.split_once('/').map_or(&*self.0, |(_, workflow)| workflow)
    }

    /// The scope that the workflow belongs to, if the reference names one.
    pub fn scope(&self) -> Option<&str> {
        self.0.split_once('/').map(|(scope, _)| scope)
    }
}

/// Encodes a name as exactly one path segment of a URL. Returns an error for text that a proxy or a server could read
/// as more than one segment; see [`ReferenceError`].
pub fn path_segment(name: &str) -> Result<String, ReferenceError> {
    check_reference(name)?;
    Ok(utf8_percent_encode(name, SEGMENT).to_string())
}

fn check_workflow(text: &str) -> Result<(), ReferenceError> {
    check_length(text, MAX_REFERENCE)?;
    match text.split_once('/') {
        Some((scope, workflow)) if scope.is_empty() || workflow.is_empty() || workflow.contains('/') => {
            Err(ReferenceError::Character('/'))
        }
        Some((scope, workflow)) => check_reference(scope).and_then(|()| check_reference(workflow)),
        None => check_reference(text),
    }
}

fn check_reference(text: &str) -> Result<(), ReferenceError> {
    check_length(text, MAX_REFERENCE)?;
    // Encoding alone is not enough: proxies and servlet containers decode `%2F` and `%5C` before they route.
    if let Some(c) = text.chars().find(|c| c.is_control() || matches!(c, '/' | '\\' | '?' | '#' | '%' | ';')) {
        return Err(ReferenceError::Character(c));
    }
    if matches!(text, "." | "..") {
        return Err(ReferenceError::DotSegment);
    }
    Ok(())
}

fn check_topic(text: &str) -> Result<(), ReferenceError> {
    check_length(text, MAX_TOPIC)?;
    text.chars().find(|c| c.is_control()).map_or(Ok(()), |c| Err(ReferenceError::Character(c)))
}

fn check_length(text: &str, max: usize) -> Result<(), ReferenceError> {
    match text.len() {
        0 => Err(ReferenceError::Empty),
        n if n > max => Err(ReferenceError::TooLong { max }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reference_that_could_leave_its_segment_is_rejected() {
        for (text, error) in [
            ("", ReferenceError::Empty),
            ("../../admin", ReferenceError::Character('/')),
            ("a/b?x#y", ReferenceError::Character('/')),
            ("a?b", ReferenceError::Character('?')),
            ("a%2fb", ReferenceError::Character('%')),
            ("a;b", ReferenceError::Character(';')),
            ("a\\b", ReferenceError::Character('\\')),
            ("a\nb", ReferenceError::Character('\n')),
            (".", ReferenceError::DotSegment),
            ("..", ReferenceError::DotSegment),
        ] {
            assert_eq!(RunRef::parse(text).unwrap_err(), error, "{text:?}");
            assert_eq!(path_segment(text).unwrap_err(), error, "{text:?}");
            if text != "a/b?x#y" {
                assert_eq!(WorkflowRef::parse(text).unwrap_err(), error, "{text:?}");
            }
        }
        let long = "a".repeat(MAX_REFERENCE + 1);
        assert_eq!(RunRef::parse(&long).unwrap_err(), ReferenceError::TooLong { max: MAX_REFERENCE });
        assert!(RunRef::parse(&"a".repeat(MAX_REFERENCE)).is_ok());
    }

    #[test]
    fn workflow_may_have_a_scope() {
        let parts = |text| {
            let reference = WorkflowRef::parse(text).unwrap();
            (reference.scope().map(str::to_owned), reference.workflow().to_owned())
        };
        assert_eq!(parts("deploy"), (None, "deploy".to_owned()));
        assert_eq!(parts("a team/deploy"), (Some("a team".to_owned()), "deploy".to_owned()));
        for (text, error) in [
            ("/a", ReferenceError::Character('/')),
            ("a/", ReferenceError::Character('/')),
            ("/", ReferenceError::Character('/')),
            ("a//b", ReferenceError::Character('/')),
            ("a/b/c", ReferenceError::Character('/')),
            ("../a", ReferenceError::DotSegment),
            ("a/..", ReferenceError::DotSegment),
            ("a/b?c", ReferenceError::Character('?')),
            ("a%2fb/c", ReferenceError::Character('%')),
        ] {
            assert_eq!(WorkflowRef::parse(text).unwrap_err(), error, "{text:?}");
        }
    }

    #[test]
    fn topic_is_any_text_without_control_characters() {
        assert_eq!(Topic::parse("a/b, c?").unwrap().as_str(), "a/b, c?");
        assert_eq!(Topic::parse("a\u{7}").unwrap_err(), ReferenceError::Character('\u{7}'));
        assert_eq!(Topic::parse("").unwrap_err(), ReferenceError::Empty);
    }

    #[test]
    fn name_is_validated_when_it_is_deserialized() {
        let run: RunRef = serde_json::from_str(r#""r\u00e9""#).unwrap();
        assert_eq!((run.as_str(), serde_json::to_string(&run).unwrap().as_str()), ("ré", "\"ré\""));
        assert!(serde_json::from_str::<RunRef>(r#""a/b""#).is_err());
        assert!(serde_json::from_str::<Topic>(r#""a/b""#).is_ok());
        assert!(serde_json::from_str::<Topic>(r#""a\u0007""#).is_err());
    }

    proptest! {
        #[test]
        fn accepted_reference_round_trips_as_one_segment_per_name(text in "[./%\\\\?#;a-zé ]{1,8}|\\PC{1,80}") {
            if let Ok(reference) = WorkflowRef::parse(&text) {
                let names = reference.scope().into_iter().chain([reference.workflow()]);
                let segments: Vec<_> = names.map(|name| path_segment(name).unwrap()).collect();
                for segment in &segments {
                    prop_assert!(segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)));
                    prop_assert!(!segment.is_empty() && segment != "." && segment != "..");
                }
                let path = segments.join("/");
                let back = percent_encoding::percent_decode_str(&path).decode_utf8().unwrap();
                prop_assert_eq!(back, text);
            }
        }
    }
}
