//! Substitution of `$(name)` in a text, as Apache Commons Text does it in the engine's configuration.
//!
//! Values are substituted again, names may contain variables, `$(name:-default)` has a default, and `$$(name)` stands
//! for `$(name)` itself. Unknown variables stay.

/// The longest text that substitution may produce: the engine's database takes no larger document.
const MAX_LENGTH: usize = 16 << 20;
const PREFIX: &str = "$(";
const DEFAULT: &str = ":-";

/// The text with its variables replaced; `None` if a variable contains itself or the result is too long.
pub(super) fn substitute(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    Substitutor { lookup, budget: MAX_LENGTH }.replace(text, &mut Vec::new())
}

struct Substitutor<'l> {
    lookup: &'l dyn Fn(&str) -> Option<String>,
    /// How many bytes of values may still be inserted.
    budget: usize,
}

impl Substitutor<'_> {
    /// `names` are the variables whose values are being replaced.
    fn replace(&mut self, text: &str, names: &mut Vec<String>) -> Option<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(PREFIX) {
            out.push_str(before);
            if out.ends_with('$') {
                out.pop();
                out.push_str(PREFIX);
                rest = after;
                continue;
            }
            let Some((expression, after)) = split_expression(after) else {
                // No end: the prefix is text, and a later one may have an end.
                out.push_str(PREFIX);
                rest = after;
                continue;
            };
            rest = after;
            match self.value(expression, names)? {
                Some(value) => out.push_str(&value),
                None => out.extend([PREFIX, expression, ")"]),
            }
        }
        out.push_str(rest);
        Some(out)
    }

    /// The value of what stands between the parentheses: `Some(None)` if there is none.
    fn value(&mut self, expression: &str, names: &mut Vec<String>) -> Option<Option<String>> {
        let expression = self.replace(expression, &mut Vec::new())?;
        let (name, default) = match expression.split_once(DEFAULT) {
            Some((name, default)) => (name, Some(default.to_owned())),
            None => (expression.as_str(), None),
        };
        if names.iter().any(|known| known == name) {
            return None;
        }
        let Some(value) = (self.lookup)(name).or(default) else { return Some(None) };
        self.budget = self.budget.checked_sub(value.len() + 1)?;
        names.push(name.to_owned());
        let value = self.replace(&value, names)?;
        names.pop();
        Some(Some(value))
    }
}

/// Splits at the parenthesis that closes the variable; variables inside have their own.
fn split_expression(text: &str) -> Option<(&str, &str)> {
    let mut nested = 0;
    for (at, char) in text.char_indices() {
        let (head, tail) = text.split_at(at);
        if tail.starts_with(PREFIX) {
            nested += 1;
        } else if char == ')' && nested == 0 {
            return Some((head, tail.strip_prefix(')')?));
        } else if char == ')' {
            nested -= 1;
        }
    }
    None
}
