//! Variables. A request reads some dozens of them, and each reading is a call of the host: so the manifest also gives them
//! together, as two texts, each read once.

use std::borrow::Cow;
use std::cell::OnceCell;

use spin_sdk::variables::{Error, get};

use crate::ports::VariableError;

/// Between two variables of a text: a control character, which no value may have (U+001F, the unit separator).
const SEPARATOR: char = '\u{1f}';

/// What this request has read.
#[derive(Default)]
pub(super) struct Together {
    /// What most requests read.
    settings: OnceCell<Pairs>,
    /// The secrets of senders, all of which are read where nobody signs: is any set?
    secrets: OnceCell<Pairs>,
}

/// Names and values. They live as long as the instance, which serves one request.
type Pairs = Vec<(&'static str, &'static str)>;

impl Together {
    /// A variable's value; what is in neither text is read alone.
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

/// One that can't be read says nothing: then each is read by its name, and that says which one.
fn read(text: &str) -> Pairs {
    let Ok(text) = get(text) else { return Vec::new() };
    text.leak().split(SEPARATOR).filter_map(|pair| pair.split_once('=')).collect()
}

fn alone(name: &str) -> Result<Option<Cow<'static, str>>, VariableError> {
    match get(name) {
        Ok(value) => Ok(Some(Cow::Owned(value))),
        Err(Error::Undefined(_)) => Ok(None),
        Err(error) => Err(VariableError(error.to_string())),
    }
}
