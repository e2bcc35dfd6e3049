//! The names in references, and the texts that requests and responses of an operation have in common.
//!
//! A profile may need several names to address a workflow or a run: a run of Airflow is known by its DAG and its own id.
//! A reference has them separated by `!`, as in `etl!sluice-1`.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

use super::form::{Mark, MarkForm, Text};
use super::profile::{Document, ProfileError};
use super::{Constants, ReferenceError, RequestError};
use crate::delivery::{Delivery, Key, Start, Work};
use crate::reference::WorkflowRef;

/// Separates the names in a reference.
const SEPARATOR: char = '!';

/// The names, ids and other texts that the requests for a delivery, and their responses, are about.
#[derive(Clone, Debug, Default)]
pub struct Names {
    values: Vec<(Cow<'static, str>, String)>,
    /// The workflow's reference, as the sender gave it.
    reference: Option<String>,
}

impl Names {
    /// Returns the text of this name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str())
    }

    /// The workflow's reference, as the sender gave it.
    pub(super) fn reference(&self) -> Option<&str> {
        self.reference.as_deref()
    }

    /// Adds a text, unless there is none.
    pub(super) fn add(&mut self, name: impl Into<Cow<'static, str>>, text: Option<String>) {
        self.values.extend(text.map(|text| (name.into(), text)));
    }

    /// The names of a delivery.
    pub(super) fn of_delivery(
        document: &Document<'_>,
        constants: &Constants,
        delivery: &Delivery<'_>,
    ) -> Result<Self, RequestError> {
        let mut names = match &delivery.work {
            Work::Start(start) => Self::of_start(document, constants, start)?,
            Work::Resolve(callback) => {
                let mut names = Self::of_run(document, callback.run.as_str())?;
                names.add("topic", Some(callback.topic.as_str().to_owned()));
                names.add("status", Some(callback.status.as_str().to_owned()));
                names.add("once", Some(Key::once(callback)));
                names
            }
        };
        let label = delivery.label();
        names.add("mark", Some(mark(&document.mark()?, &label)));
        names.add("label", Some(label));
        Ok(names)
    }

    fn of_start(document: &Document<'_>, constants: &Constants, start: &Start<'_>) -> Result<Self, RequestError> {
        let mut names = Self::of_workflow(document, constants, &start.workflow)?;
        names.add("trigger", Some(super::request::trigger(start.trigger).to_owned()));
        names.add("source", start.source.clone());
        names.add("replay_of", start.replay_of.map(|id| id.to_string()));
        Ok(names)
    }

    /// The names of a workflow. Constants stand for those that its reference leaves out, except the last one.
    pub(super) fn of_workflow(
        document: &Document<'_>,
        constants: &Constants,
        workflow: &WorkflowRef,
    ) -> Result<Self, RequestError> {
        let mut names = Self { reference: Some(workflow.as_str().to_owned()), ..Self::default() };
        let expected = document.workflow_names()?;
        let Some(expected) = expected.filter(|names| names.len() > 1) else {
            names.add("workflow", Some(workflow.workflow().to_owned()));
            return Ok(names);
        };
        for (name, given) in aligned(&expected, workflow.workflow()).map_err(|_| RequestError)? {
            if given.is_none() && constants.get(name).is_none() {
                return Err(RequestError);
            }
            names.add(name.to_string(), given.map(str::to_owned));
        }
        Ok(names)
    }

    /// The names of a run.
    pub(super) fn of_run(document: &Document<'_>, run: &str) -> Result<Self, RequestError> {
        let mut names = Self::default();
        match document.run_names()?.filter(|names| names.len() > 1) {
            None => names.add("run", Some(run.to_owned())),
            Some(expected) => {
                for (name, given) in aligned(&expected, run).map_err(|_| RequestError)? {
                    names.add(name.to_string(), Some(given.ok_or(RequestError)?.to_owned()));
                }
            }
        }
        Ok(names)
    }
}

/// Checks that a workflow's reference has names that the profile can use.
pub(super) fn check_workflow(
    document: &Document<'_>,
    constants: &Constants,
    workflow: &WorkflowRef,
) -> Result<(), ReferenceError> {
    // A malformed profile is an error of each request.
    let Some(expected) = document.workflow_names().ok().flatten().filter(|names| names.len() > 1) else {
        return Ok(());
    };
    for (name, given) in aligned(&expected, workflow.workflow())? {
        if given.is_none() && constants.get(name).is_none() {
            return Err(ReferenceError::Missing { name: name.to_string(), form: form(&expected) });
        }
    }
    Ok(())
}

/// Checks that a run's reference has all names that the profile needs.
pub(super) fn check_run(document: &Document<'_>, run: &str) -> Result<(), ReferenceError> {
    let Some(expected) = document.run_names().ok().flatten().filter(|names| names.len() > 1) else { return Ok(()) };
    let is_complete = aligned(&expected, run)?.iter().all(|(_, given)| given.is_some());
    if is_complete { Ok(()) } else { Err(ReferenceError::Names { form: form(&expected) }) }
}

/// The names that a profile expects with the parts of a reference, aligned at the last one.
fn aligned<'n, 'r>(
    expected: &'n [Text<'n>],
    reference: &'r str,
) -> Result<Vec<(&'n Text<'n>, Option<&'r str>)>, ReferenceError> {
    let parts: Vec<&str> = reference.split(SEPARATOR).collect();
    let wrong = || ReferenceError::Names { form: form(expected) };
    let missing = expected.len().checked_sub(parts.len()).ok_or_else(wrong)?;
    if parts.iter().any(|part| part.is_empty() || matches!(*part, "." | "..")) {
        return Err(wrong());
    }
    let parts = std::iter::repeat_n(None, missing).chain(parts.into_iter().map(Some));
    Ok(expected.iter().zip(parts).collect())
}

/// The form of a reference, for a message: `WORKFLOW!RUN`.
fn form(names: &[Text<'_>]) -> String {
    names.iter().map(|name| name.to_uppercase()).collect::<Vec<_>>().join("!")
}

/// The mark of a delivery, as the engine takes it.
fn mark(form: &Mark<'_>, label: &str) -> String {
    let prefix = form.prefix.as_deref().unwrap_or_default();
    let spelled = match form.form {
        MarkForm::AsIs => Cow::Borrowed(label),
        MarkForm::Lower => label.to_ascii_lowercase().into(),
        MarkForm::Uuid => uuid(label).into(),
    };
    [prefix, &*spelled].concat()
}

/// A UUID of version 8 with 122 bits of the SHA-256 of a text.
fn uuid(text: &str) -> String {
    let digest = Sha256::digest(text);
    let mut bytes = [0_u8; 16];
    for (byte, from) in bytes.iter_mut().zip(digest) {
        *byte = from;
    }
    let [.., version, _, variant, _, _, _, _, _, _, _] = &mut bytes;
    *version = (*version & 0x0f) | 0x80;
    *variant = (*variant & 0x3f) | 0x80;
    let hex = base16ct::lower::encode_string(&bytes);
    let groups = [hex.get(..8), hex.get(8..12), hex.get(12..16), hex.get(16..20), hex.get(20..)];
    groups.map(Option::unwrap_or_default).join("-")
}

/// Encodes bytes in base64 (RFC 4648, section 4).
pub(super) fn base64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_STANDARD.encode(bytes)
}

impl From<ProfileError> for RequestError {
    fn from(_: ProfileError) -> Self {
        Self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_has_version_and_variant() {
        let made = uuid("01M85MNVRRNF3YKJSMZYXYD1X7");
        let parts: Vec<&str> = made.split('-').collect();
        assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{made}");
        assert!(parts[2].starts_with('8') && parts[3].starts_with(['8', '9', 'a', 'b']), "{made}");
        assert_ne!(made, uuid("01M85MNVRRNF3YKJSMZYXYD1X8"));
    }

    #[test]
    fn marks_are_spelled_as_the_profile_says() {
        let spelled = |json: &str| mark(&serde_json::from_str(json).unwrap(), "01ABC");
        assert_eq!(spelled("{}"), "01ABC");
        assert_eq!(spelled(r#"{"prefix":"sluice-","form":"lower"}"#), "sluice-01abc");
        assert_eq!(spelled(r#"{"form":"uuid"}"#), uuid("01ABC"));
    }

    #[test]
    fn names_are_aligned_at_the_last_one() {
        let expected = ["queue", "workflow"].map(Text::from);
        let parts = |reference| aligned(&expected, reference).map(|all| all.iter().map(|(_, part)| *part).collect());
        assert_eq!(parts("q!w"), Ok(vec![Some("q"), Some("w")]));
        assert_eq!(parts("w"), Ok(vec![None, Some("w")]));
        for wrong in ["a!q!w", "!w", "q!", "..!w", "!"] {
            let error = parts(wrong).unwrap_err();
            assert_eq!(error.to_string(), "must be QUEUE!WORKFLOW, without an empty name", "{wrong}");
        }
    }
}
