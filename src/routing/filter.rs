//! Filters, in the dialects of the CloudEvents Subscriptions API (1.0-wip, section 3.2.4.1.1).

use serde_json::value::RawValue;

use super::MAX_FILTER_DEPTH;
use super::input::{Incoming, Input, Operand};
use super::reader::{Reader, TableError, list};
use crate::event::is_attribute_name;
use crate::json::{self, Pointer};

/// The dialects that there are; the optional `sql` isn't.
const DIALECTS: [&str; 6] = ["exact", "prefix", "suffix", "all", "any", "not"];

/// A condition on an event or a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    /// Each of these has the text that it should have. What isn't there has none.
    Compare(Match, Vec<(Operand, String)>),
    /// Each of these holds.
    All(Vec<Self>),
    /// One of these holds.
    Any(Vec<Self>),
    /// This doesn't hold.
    Not(Box<Self>),
}

/// How two texts are compared: byte by byte, so with regard to case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    Exact,
    Prefix,
    Suffix,
}

impl Filter {
    /// A filter, or an array of filters that must all hold; of an empty one they do (section 3.2.1, "filters").
    pub(super) fn parse(raw: &RawValue, from: Incoming, reader: &Reader) -> Result<Self, TableError> {
        match json::elements(raw) {
            Some(filters) => each(&filters, from, reader, 1).map(Self::All),
            None => one(raw, from, reader, 1),
        }
    }

    /// Does it hold?
    pub(super) fn matches(&self, input: &Input<'_>) -> bool {
        match self {
            Self::Compare(how, wanted) => {
                wanted.iter().all(|(name, wanted)| input.text(name).is_some_and(|text| how.holds(&text, wanted)))
            }
            Self::All(filters) => filters.iter().all(|filter| filter.matches(input)),
            Self::Any(filters) => filters.iter().any(|filter| filter.matches(input)),
            Self::Not(filter) => !filter.matches(input),
        }
    }
}

impl Match {
    fn holds(self, text: &str, wanted: &str) -> bool {
        match self {
            Self::Exact => text == wanted,
            Self::Prefix => text.starts_with(wanted),
            Self::Suffix => text.ends_with(wanted),
        }
    }
}

fn one(raw: &RawValue, from: Incoming, reader: &Reader, depth: usize) -> Result<Filter, TableError> {
    if depth > MAX_FILTER_DEPTH {
        return Err(reader.wrong(format!("nests filters deeper than {MAX_FILTER_DEPTH} levels")));
    }
    let members = reader.members(raw)?;
    let [(dialect, value)] = members.as_slice() else {
        return Err(reader.wrong(format!("must have one dialect, and only one, of {}", list(&DIALECTS))));
    };
    let inner = depth.saturating_add(1);
    let compare = |how| texts(value, from, &reader.at(dialect)).map(|wanted| Filter::Compare(how, wanted));
    let filters = || {
        let reader = reader.at(dialect);
        match each(&reader.elements(value)?, from, &reader, inner)? {
            filters if filters.is_empty() => Err(reader.wrong("must have at least one filter")),
            filters => Ok(filters),
        }
    };
    match dialect.as_str() {
        "exact" => compare(Match::Exact),
        "prefix" => compare(Match::Prefix),
        "suffix" => compare(Match::Suffix),
        "all" => filters().map(Filter::All),
        "any" => filters().map(Filter::Any),
        "not" => one(value, from, &reader.at(dialect), inner).map(|filter| Filter::Not(Box::new(filter))),
        _ => Err(reader.wrong(format!("has a dialect that isn't known: it may be {}", list(&DIALECTS)))),
    }
}

fn each(filters: &[&RawValue], from: Incoming, reader: &Reader, depth: usize) -> Result<Vec<Filter>, TableError> {
    filters.iter().enumerate().map(|(at, raw)| one(raw, from, &reader.at(at), depth)).collect()
}

/// Names and texts of which neither may be empty.
fn texts(raw: &RawValue, from: Incoming, reader: &Reader) -> Result<Vec<(Operand, String)>, TableError> {
    let members = reader.members(raw)?;
    if members.is_empty() {
        return Err(reader.wrong("must have at least one name"));
    }
    let named = members.into_iter().zip(1_usize..).map(|((text, value), n)| {
        let name = Operand::parse(&text, from).ok_or_else(|| {
            let names = match from {
                Incoming::Event => "a context attribute (lower-case letters and digits)",
                Incoming::Webhook => "`sender`, `type`",
            };
            reader.wrong(format!("must name {names}, or a JSON Pointer that starts with `/`: member {n}"))
        })?;
        Ok((name, reader.at(&text).text(value)?))
    });
    named.collect()
}

impl Operand {
    /// An attribute by the rules of CloudEvents 1.0.2, "Attribute Naming Convention"; `data` isn't one.
    fn parse(text: &str, from: Incoming) -> Option<Self> {
        if text.starts_with('/') {
            return Pointer::parse(text).map(Self::Pointer);
        }
        let is_name = match from {
            Incoming::Event => text != "data" && is_attribute_name(text),
            Incoming::Webhook => matches!(text, "sender" | "type"),
        };
        is_name.then(|| Self::Attribute(text.to_owned()))
    }
}
