//! What a sender may name: a workflow, a run, a topic. A reference goes into an engine URL, so it is refused where it
//! could mean more than one path segment, and percent-encoded all the same.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The longest reference, in bytes.
pub const MAX_REFERENCE: usize = 256;
/// Longest topic, in bytes.
pub const MAX_TOPIC: usize = 1_024;

/// RFC 3986, section 2.3: all but the unreserved characters is encoded.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Why a text can't be a reference or a topic. Completes the sentence "`ref` …".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing there.
    #[error("is empty")]
    Empty,
    /// More bytes than the limit.
    #[error("is longer than {max} bytes")]
    TooLong {
        /// The limit.
        max: usize,
    },
    /// A character that could leave the path segment, or can't be seen.
    #[error("must not contain {0:?}")]
    Character(char),
    /// `.` and `..` are path segments with a meaning of their own (RFC 3986, section 3.3).
    #[error("must not be a dot segment")]
    DotSegment,
}

macro_rules! reference {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name(String);

        impl $name {
            /// Checks a text; see [`ReferenceError`].
            pub fn parse(text: &str) -> Result<Self, ReferenceError> {
                check(text)?;
                Ok(Self(text.to_owned()))
            }

            /// The text as the sender gave it.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// One path segment of a URL.
            pub fn to_segment(&self) -> String {
                utf8_percent_encode(&self.0, SEGMENT).to_string()
            }
        }
    };
}

reference! {
    /// The name or id of a workflow: what a webhook or an event starts.
    WorkflowRef
}
reference! {
    /// The id of a workflow run: what a callback resumes.
    RunRef
}

/// What the tasks of a run wait for. Travels in JSON only, so any visible text will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic(String);

impl Topic {
    /// Checks a text: not empty, at most [`MAX_TOPIC`] bytes, no control characters.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        bounded(text, MAX_TOPIC)?;
        match text.chars().find(|c| c.is_control()) {
            Some(c) => Err(ReferenceError::Character(c)),
            None => Ok(Self(text.to_owned())),
        }
    }

    /// The text as the sender gave it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check(text: &str) -> Result<(), ReferenceError> {
    bounded(text, MAX_REFERENCE)?;
    // Proxies and servlet containers decode `%2F` and `%5C` before they route, so encoding alone doesn't hold these.
    if let Some(c) = text.chars().find(|c| c.is_control() || matches!(c, '/' | '\\' | '?' | '#' | '%' | ';')) {
        return Err(ReferenceError::Character(c));
    }
    if matches!(text, "." | "..") {
        return Err(ReferenceError::DotSegment);
    }
    Ok(())
}

fn bounded(text: &str, max: usize) -> Result<(), ReferenceError> {
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
    fn what_could_leave_the_segment_is_refused() {
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
            assert_eq!(WorkflowRef::parse(text).unwrap_err(), error, "{text:?}");
            assert_eq!(RunRef::parse(text).unwrap_err(), error, "{text:?}");
        }
        let long = "a".repeat(MAX_REFERENCE + 1);
        assert_eq!(RunRef::parse(&long).unwrap_err(), ReferenceError::TooLong { max: MAX_REFERENCE });
        assert!(RunRef::parse(&"a".repeat(MAX_REFERENCE)).is_ok());
    }

    #[test]
    fn a_topic_is_any_visible_text() {
        assert_eq!(Topic::parse("a/b, c?").unwrap().as_str(), "a/b, c?");
        assert_eq!(Topic::parse("a\u{7}").unwrap_err(), ReferenceError::Character('\u{7}'));
        assert_eq!(Topic::parse("").unwrap_err(), ReferenceError::Empty);
    }

    proptest! {
        #[test]
        fn an_accepted_reference_is_one_segment_and_comes_back(text in "\\PC{1,80}") {
            if let Ok(reference) = WorkflowRef::parse(&text) {
                let segment = reference.to_segment();
                prop_assert!(segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)));
                prop_assert!(segment != "." && segment != "..");
                let back = percent_encoding::percent_decode_str(&segment).decode_utf8().unwrap();
                prop_assert_eq!(back, text);
            }
        }
    }
}
