//! The application's variables. A request reads several dozen of them, and each read is a call to the host. The
//! manifest therefore packs them into two additional variables, `settings` and `secrets`, each of which is read once.

use std::borrow::Cow;
use std::cell::OnceCell;

use spin_sdk::variables::{Error, get};

use crate::ports::VariableError;

/// The separator in a packed variable: U+001F, the unit separator. No value may contain a control character.
const SEPARATOR: char = '\u{1f}';

/// The variables that this request has read.
#[derive(Default)]
pub(super) struct Cache {
    /// All variables except the secrets of senders. Most requests need some of them.
    settings: OnceCell<Pairs>,
    /// The secrets of senders. A request without a signature reads all of them to find out whether one is set.
    secrets: OnceCell<Pairs>,
}

/// Names and values. Their memory is leaked, because the instance serves only this request.
type Pairs = Vec<(&'static str, &'static str)>;

impl Cache {
    /// Returns the value of a variable. A variable that isn't packed is read on its own.
    pub(super) fn variable(&self, name: &str) -> Result<Option<Cow<'_, str>>, VariableError> {
        let (cell, packed) = match name.starts_with("secret_") {
            true => (&self.secrets, "secrets"),
            false => (&self.settings, "settings"),
        };
        let pairs = cell.get_or_init(|| read_packed(packed));
        match pairs.iter().find(|(known, _)| *known == name) {
            Some((_, value)) => Ok(Some(Cow::Borrowed(value))),
            None => read_one(name),
        }
    }
}

/// Reads a packed variable. If that fails, the result is empty. Each variable is then read on its own, and the error
/// tells which one can't be read.
fn read_packed(name: &str) -> Pairs {
    let Ok(text) = get(name) else { return Vec::new() };
    text.leak().split(SEPARATOR).filter_map(|pair| pair.split_once('=')).collect()
}

/// Reads one variable on its own.
fn read_one(name: &str) -> Result<Option<Cow<'static, str>>, VariableError> {
    match get(name) {
        Ok(value) => Ok(Some(Cow::Owned(value))),
        Err(Error::Undefined(_)) => Ok(None),
        Err(error) => Err(VariableError(error.to_string())),
    }
}
