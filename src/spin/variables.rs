//! The application's variables. A delivery reads most of them, and each read is a call to the host. The manifest therefore
//! packs those into the additional variable `packed`, which is read once.

use std::cell::OnceCell;

use spin_sdk::variables::{Error, get};

use crate::ports::VariableError;

/// The separator in `packed`: U+001F, the unit separator. JSON and tokens contain no control character.
const SEPARATOR: char = '\u{1f}';

/// The variables that this request has read.
#[derive(Default)]
pub(super) struct Cache {
    packed: OnceCell<Pairs>,
}

/// Names and values. Their memory is leaked, because the instance serves only this request.
type Pairs = Vec<(&'static str, &'static str)>;

impl Cache {
    /// Returns the value of a variable. A variable that isn't packed is read on its own.
    pub(super) fn variable(&self, name: &str) -> Result<Option<&'static str>, VariableError> {
        match self.packed.get_or_init(read_packed).iter().find(|(known, _)| *known == name) {
            Some((_, value)) => Ok(Some(value)),
            None => read_one(name),
        }
    }
}

/// Reads the packed variables. If that fails, the result is empty. Each variable is then read on its own, and the error
/// tells which one can't be read.
fn read_packed() -> Pairs {
    let Ok(text) = get("packed") else { return Vec::new() };
    text.leak().split(SEPARATOR).filter_map(|pair| pair.split_once('=')).collect()
}

/// Reads one variable on its own.
fn read_one(name: &str) -> Result<Option<&'static str>, VariableError> {
    match get(name) {
        Ok(value) => Ok(Some(value.leak())),
        Err(Error::Undefined(_)) => Ok(None),
        Err(error) => Err(VariableError(error.to_string())),
    }
}
