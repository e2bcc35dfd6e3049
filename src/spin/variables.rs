//! The application's variables. A request reads several dozen of them, and each read is a call to the host. The
//! manifest therefore also packs them into two texts, `settings` and `secrets`, each of which is read once.

use std::borrow::Cow;
use std::cell::OnceCell;

use spin_sdk::variables::{Error, get};

use crate::ports::VariableError;

/// The separator of the variables in a text: U+001F, the unit separator. No value may contain a control character.
const SEPARATOR: char = '\u{1f}';

/// The variables that this request has read.
#[derive(Default)]
pub(super) struct Together {
    /// All variables but the secrets. Most requests need them.
    settings: OnceCell<Pairs>,
    /// The secrets of senders. A request without a signature reads all of them, to find out whether any is set.
    secrets: OnceCell<Pairs>,
}

/// Names and values. They are leaked, since the instance serves only this request.
type Pairs = Vec<(&'static str, &'static str)>;

impl Together {
    /// Returns the value of a variable. One that is in neither text is read on its own.
    pub(super) fn variable(&self, name: &str) -> Result<Option<Cow<'_, str>>, VariableError> {
        let (cell, text) = match name.starts_with("secret_") {
            true => (&self.secrets, "secrets"),
            false => (&self.settings, "settings"),
        };
        let together = cell.get_or_init(|| read(text));
        match together.iter().find(|(known, _)| *known == name) {
            Some((_, value)) => Ok(Some(Cow::Borrowed(value))),
            None => alone(name),
        }
    }
}

/// Reads one of the two texts. If that fails, the result is empty and each variable is read on its own: only then does
/// the error name the variable.
fn read(text: &str) -> Pairs {
    let Ok(text) = get(text) else { return Vec::new() };
    text.leak().split(SEPARATOR).filter_map(|pair| pair.split_once('=')).collect()
}

/// Reads one variable on its own.
fn alone(name: &str) -> Result<Option<Cow<'static, str>>, VariableError> {
    match get(name) {
        Ok(value) => Ok(Some(Cow::Owned(value))),
        Err(Error::Undefined(_)) => Ok(None),
        Err(error) => Err(VariableError(error.to_string())),
    }
}
