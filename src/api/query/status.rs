//! The `status` of a callback, and the refusal of a request in which it is damaged.
//!
//! `status` is `Succeeded` by default, so a query that lost its `status=Failed` on the way would succeed. Mail programs,
//! templates and people damage URLs: they leave `&amp;` in a link, add a second `?`, encode the query twice, break it
//! into lines, or misspell a name. An intact `status` elsewhere in the query shows that nothing was lost, so some rules
//! apply only without it.

use super::{Query, decode};
use crate::api::problem::{Kind, Problem};
use crate::callback::Status;
use crate::event::truncated;

/// The name of the parameter.
const NAME: &str = "status";
/// The names of the parameters that a callback has besides `status`. Their values may be `failed`.
const OTHERS: [&str; 6] = ["ref", "workflowrun", "topic", "access_token", "sender", "source"];
/// Prefix of the tracking parameters whose values people choose: `utm_campaign=failed-builds`.
const TRACKER: &str = "utm_";
/// The number of times that a value is decoded in search of a parameter that was encoded too often.
const MAX_LAYERS: usize = 8;
/// Maximum number of letters and digits between `status` and `fail`, such as those of an encoded `=`.
const MAX_BETWEEN: usize = 8;

impl Query {
    /// Returns `status`, which is `Succeeded` by default. A query that may contain a damaged `status` is an error.
    pub fn status(&self) -> Result<Status, Problem> {
        let given = match self.one(NAME)? {
            None => None,
            Some(text) => Some(Status::parse(text).ok_or_else(|| {
                let detail = "`status` must be `Succeeded`, the default, or `Failed`";
                Problem::new(Kind::InvalidParameter, detail).field(NAME)
            })?),
        };
        let damage = self.pairs.iter().find_map(|(name, value)| damage(name, value, given));
        match damage.or_else(|| self.cut().filter(|_| given.is_none())) {
            None => Ok(given.unwrap_or(Status::Succeeded)),
            Some(problem) => Err(problem),
        }
    }

    /// Returns the problem of a query that ends within a parameter, before its value: `&`, `&amp;`, `&sta`. Parameters
    /// may follow that a mail program has added.
    fn cut(&self) -> Option<Problem> {
        let is_start = |(name, value): &(String, String)| {
            let letters = letters(name);
            let rest = ["amp", "3d"].iter().find_map(|start| letters.strip_prefix(start)).unwrap_or(&letters);
            let is_start = rest.is_empty() || NAME.starts_with(rest) || "amp".starts_with(rest);
            let is_empty = match value.strip_prefix(['\r', '\n']) {
                // A line break within the name, as for `straddles_status`.
                Some(value) => NAME.starts_with(&format!("{rest}{}", self::letters(value))),
                None => self::letters(value).is_empty(),
            };
            is_empty && is_start && !OTHERS.contains(&&**name)
        };
        // Between commas, whatever is no parameter is taken as a part of the value before it.
        let is_joined = |(_, value): &(String, String)| value.contains([',', ';', '?', '&', '|']);
        let is_cut = self.is_cut
            || self.pairs.iter().any(is_start)
            || self.is_separated_by_commas && self.pairs.iter().any(is_joined);
        is_cut.then(|| {
            let detail = "the query seems to be cut off or damaged, so `status` may be lost: send the whole URL, or end it with `&status=Succeeded` or `&status=Failed`";
            Problem::new(Kind::InvalidParameter, detail).field("query")
        })
    }
}

/// Returns the problem of a parameter that may be or contain a damaged `status`. `given` is the intact one.
fn damage(name: &str, value: &str, given: Option<Status>) -> Option<Problem> {
    if name == NAME {
        return None;
    }
    let shown = truncated(name);
    let invalid = |problem: String| {
        let detail = format!("{problem}: send `status` once, as `&status=Succeeded` or `&status=Failed`");
        Some(Problem::new(Kind::InvalidParameter, detail).field(shown.as_str()))
    };
    if resembles_status(name) || straddles_status(name, value) {
        return invalid(format!("the parameter {shown:?} resembles `status`"));
    }
    if layers(name).chain(layers(value)).any(|text| contains_status(&text)) {
        return invalid(format!("the parameter {shown:?} contains what may be a `status`"));
    }
    let is_known = OTHERS.contains(&name);
    // If the callback fails anyway, nothing else is lost.
    match given {
        Some(Status::Failed) => None,
        None if is_known && layers(value).any(|text| seems_to_contain_status(&text)) => {
            invalid(format!("the parameter {shown:?} contains what may be a `status`"))
        }
        _ if is_known => None,
        _ if says_failed(name, value, given) => {
            invalid(format!("the parameter {shown:?} says `failed`, but only `status` is read"))
        }
        None if !is_intact(name) => {
            invalid(format!("the query is damaged at the parameter {shown:?}, so `status` may be lost"))
        }
        _ => None,
    }
}

/// Returns whether a name other than `status` resembles it: `amp;status`, `Status`, `?status`, `stat us`, `statsu`,
/// `task_status`, `state`.
fn resembles_status(name: &str) -> bool {
    letters(name).contains(NAME) || words(&folded(name)).any(is_like_status)
}

/// Returns whether a word is `status`, `state`, `stat`, or differs from `status` by one edit.
fn is_like_status(word: &str) -> bool {
    matches!(word, NAME | "state" | "stat") || is_one_edit(word, NAME)
}

/// Returns whether a `=` was added within `status`, as quoted-printable does at the end of a line: `sta=%0Atus`.
fn straddles_status(name: &str, value: &str) -> bool {
    let mut name = letters(name);
    let is_start = !name.is_empty() && NAME.starts_with(&name);
    let value = letters(value);
    // Quoted-printable may have encoded that `=` again.
    name.push_str(value.strip_prefix("3d").unwrap_or(&value));
    is_start && name.starts_with(NAME)
}

/// Returns whether a text contains `status=` or `=failed`. Only letters, digits and `=` are compared, whatever their
/// case.
fn contains_status(text: &str) -> bool {
    let text: String = folded(text).chars().filter(|c| c.is_ascii_alphanumeric() || *c == '=').collect();
    text.contains("status=") || text.contains("=failed")
}

/// Returns whether a value seems to contain a `status` with another separator or another `=`: `T;status:no`,
/// `T-26status-3DFailed`.
fn seems_to_contain_status(text: &str) -> bool {
    let text = folded(text);
    let mut parts = text.split([',', ';', '?', '&', '|']).skip(1);
    if parts.any(|part| words(part).next().is_some_and(is_like_status)) {
        return true;
    }
    let text = letters(&text);
    let mut after = text.match_indices(NAME).filter_map(|(at, name)| text.get(at.saturating_add(name.len())..));
    after.any(|rest| rest.find("fail").is_some_and(|between| between <= MAX_BETWEEN))
}

/// Returns whether an unknown parameter says `failed`. Beside an intact `status`, this has to be its whole name or
/// value; without, it may be a part of the name or a word of the value.
fn says_failed(name: &str, value: &str, given: Option<Status>) -> bool {
    let failed = Status::Failed.as_str();
    let is_failed = |text: String| letters(&text) == failed;
    if layers(name).chain(layers(value)).any(is_failed) {
        return true;
    }
    let has_word = |text: String| words(&folded(&text)).any(|word| word == "fail" || word == failed);
    given.is_none() && !name.starts_with(TRACKER) && (letters(name).contains("fail") || layers(value).any(has_word))
}

/// Returns whether a name has only characters that names of parameters usually have, and at least one.
fn is_intact(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.~*".contains(&byte))
}

/// Returns a text in lower case, with full-width characters as ASCII (Unicode, "Halfwidth and Fullwidth Forms"), and
/// without the line breaks of quoted-printable (RFC 2045, section 6.7).
fn folded(text: &str) -> String {
    let text = text.replace("=\r\n", "").replace("=\n", "");
    let narrow = |c| match c {
        '\u{ff01}'..='\u{ff5e}' => u32::from(c).checked_sub(0xfee0).and_then(char::from_u32).unwrap_or(c),
        'ſ' => 's',
        c => c,
    };
    text.chars().map(|c| narrow(c).to_ascii_lowercase()).collect()
}

/// Returns the ASCII letters and digits of a text, in lower case.
fn letters(text: &str) -> String {
    folded(text).chars().filter(char::is_ascii_alphanumeric).collect()
}

/// Returns the words of a text: the runs of letters and digits.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// Returns a text and what it means if it was percent-encoded once or several times too often.
fn layers(text: &str) -> impl Iterator<Item = String> {
    let next = |text: &String| decode(text).filter(|decoded| decoded != text);
    std::iter::successors(Some(text.to_owned()), next).take(MAX_LAYERS)
}

/// Returns whether one letter was inserted, left out or replaced, or two neighbours were swapped. `false` if the texts
/// are equal.
fn is_one_edit(a: &str, b: &str) -> bool {
    let mut a: Vec<char> = a.chars().collect();
    let mut b: Vec<char> = b.chars().collect();
    for _ in 0..2 {
        let common = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
        a.drain(..common);
        b.drain(..common);
        a.reverse();
        b.reverse();
    }
    match (&*a, &*b) {
        ([_], [] | [_]) | ([], [_]) => true,
        ([first, second], other) => *other == [*second, *first],
        _ => false,
    }
}

#[cfg(test)]
mod tests;
