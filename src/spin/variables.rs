//! Variables. A request reads some dozens of them, and each reading is a call of the host: so the manifest also gives them
//! together, as two texts, each read once.

use std::cell::OnceCell;

use spin_sdk::variables::{Error, get};

use crate::ports::VariableError;

/// Between two variables of a text: a control character, which no value may have (U+001F, the unit separator).
const SEPARATOR: char = '\u{1f}';

/// What this request has read.
#[derive(Default)]
pub(super) struct Together {
    /// What most requests read.
    settings: OnceCell<Vec<String>>,
    /// The secrets of senders, all of which are read where nobody signs: is any set?
    secrets: OnceCell<Vec<String>>,
}

impl Together {
    /// A variable's value; what is in neither text is read alone.
    pub(super) fn variable(&self, name: &str) -> Result<Option<String>, VariableError> {
        let (cell, text) = match name.starts_with("secret_") {
            true => (&self.secrets, "secrets"),
            false => (&self.settings, "settings"),
        };
        // One that can't be read says nothing: then each is read by its name, and that says which one.
        let read = || get(text).map(|text| text.split(SEPARATOR).map(str::to_owned).collect()).unwrap_or_default();
        let together = cell.get_or_init(read);
        match together.iter().find_map(|variable| variable.strip_prefix(name)?.strip_prefix('=')) {
            Some(value) => Ok(Some(value.to_owned())),
            None => alone(name),
        }
    }
}

fn alone(name: &str) -> Result<Option<String>, VariableError> {
    match get(name) {
        Ok(value) => Ok(Some(value)),
        Err(Error::Undefined(_)) => Ok(None),
        Err(error) => Err(VariableError(error.to_string())),
    }
}
