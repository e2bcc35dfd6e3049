//! The operator `LIKE` (CESQL 1.0, section 3.4.3).

use std::str::Chars;

/// One step of a pattern.
enum Step {
    /// `%`: any number of characters.
    Any,
    /// `_`: one character.
    One,
    /// This character.
    Exact(char),
}

/// Returns whether a text matches a pattern. Of several ways to match `%`, only the position of the last one has to be
/// tried again, so the time is at most the product of both lengths.
pub(super) fn matches(text: &str, pattern: &str) -> bool {
    let mut text = text.chars();
    let mut pattern = pattern.chars();
    // The pattern after the last `%`, and the text that it is compared with next.
    let mut retry: Option<(Chars<'_>, Chars<'_>)> = None;
    loop {
        let is_equal = match next(&mut pattern) {
            Some(Step::Any) => {
                retry = Some((pattern.clone(), text.clone()));
                continue;
            }
            Some(step) => match (step, text.next()) {
                (Step::Exact(expected), Some(found)) => expected == found,
                (_, found) => found.is_some(),
            },
            None if text.as_str().is_empty() => return true,
            None => false,
        };
        if !is_equal {
            let Some((after, from)) = &mut retry else { return false };
            if from.next().is_none() {
                return false;
            }
            (pattern, text) = (after.clone(), from.clone());
        }
    }
}

/// The next step of a pattern. A backslash before `%` or `_` escapes it, and is a character like any other elsewhere.
fn next(pattern: &mut Chars<'_>) -> Option<Step> {
    Some(match pattern.next()? {
        '%' => Step::Any,
        '_' => Step::One,
        '\\' if pattern.as_str().starts_with(['%', '_']) => Step::Exact(pattern.next()?),
        character => Step::Exact(character),
    })
}
