//! Filters, in the dialects of the CloudEvents Subscriptions API (1.0-wip, section 3.2.4.1.1).

use serde_json::value::RawValue;

use super::MAX_FILTER_DEPTH;
use super::input::{Input, InputKind, Operand};
use super::sql::{Expression, Type};
use crate::event::is_attribute_name;
use crate::json::{self, InvalidValue, JsonType, Pointer, Reader, code_list};

/// The dialects.
const DIALECTS: [&str; 7] = ["exact", "prefix", "suffix", "all", "any", "not", "sql"];

/// A condition on an event or a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    /// Each operand exists, and its text matches the expected text.
    Compare(Match, Vec<(Operand, String)>),
    /// All of the filters match.
    All(Vec<Self>),
    /// At least one of the filters matches.
    Any(Vec<Self>),
    /// The filter does not match.
    Not(Box<Self>),
    /// The value of the expression is `true`, and its evaluation has no error.
    Sql(Expression),
}

/// A comparison of an operand's text with the expected text. Compares bytes, so it is case-sensitive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    Exact,
    Prefix,
    Suffix,
}

impl Filter {
    /// Parses a filter, or an array of filters that must all match; an empty array matches everything (section 3.2.1,
    /// "filters").
    pub(super) fn parse(raw: &RawValue, kind: InputKind, reader: &Reader<'_>) -> Result<Self, InvalidValue> {
        match json::type_of(raw) {
            JsonType::Array => parse_filters(&reader.elements(raw)?, kind, reader, 1).map(Self::All),
            _ => parse_filter(raw, kind, reader, 1),
        }
    }

    /// Returns whether the input satisfies the condition.
    pub(super) fn matches(&self, input: &Input<'_>) -> bool {
        match self {
            Self::Compare(comparison, operands) => operands
                .iter()
                .all(|(operand, expected)| input.text(operand).is_some_and(|text| comparison.matches(&text, expected))),
            Self::All(filters) => filters.iter().all(|filter| filter.matches(input)),
            Self::Any(filters) => filters.iter().any(|filter| filter.matches(input)),
            Self::Not(filter) => !filter.matches(input),
            Self::Sql(expression) => expression.matches(input),
        }
    }
}

impl Match {
    fn matches(self, text: &str, expected: &str) -> bool {
        match self {
            Self::Exact => text == expected,
            Self::Prefix => text.starts_with(expected),
            Self::Suffix => text.ends_with(expected),
        }
    }
}

fn parse_filter(raw: &RawValue, kind: InputKind, reader: &Reader<'_>, depth: usize) -> Result<Filter, InvalidValue> {
    if depth > MAX_FILTER_DEPTH {
        return Err(reader.error(format!("nests filters deeper than {MAX_FILTER_DEPTH} levels")));
    }
    let members = reader.members(raw)?;
    let [(dialect, value)] = members.as_slice() else {
        return Err(reader.error(format!("must have exactly one of the dialects {}", code_list(&DIALECTS))));
    };
    let inner = depth.saturating_add(1);
    let compare = |comparison| {
        let operands = parse_operands(value, kind, &reader.at(&**dialect))?;
        Ok(Filter::Compare(comparison, operands))
    };
    let filters = || {
        let reader = reader.at(&**dialect);
        let filters = parse_filters(&reader.elements(value)?, kind, &reader, inner)?;
        if filters.is_empty() {
            return Err(reader.error("must have at least one filter"));
        }
        Ok(filters)
    };
    match &**dialect {
        "exact" => compare(Match::Exact),
        "prefix" => compare(Match::Prefix),
        "suffix" => compare(Match::Suffix),
        "all" => filters().map(Filter::All),
        "any" => filters().map(Filter::Any),
        "not" => parse_filter(value, kind, &reader.at(&**dialect), inner).map(|filter| Filter::Not(Box::new(filter))),
        "sql" => parse_expression(value, kind, &reader.at(&**dialect)).map(Filter::Sql),
        _ => Err(reader.error(format!("has an unknown dialect: known are {}", code_list(&DIALECTS)))),
    }
}

fn parse_filters(
    filters: &[&RawValue],
    kind: InputKind,
    reader: &Reader<'_>,
    depth: usize,
) -> Result<Vec<Filter>, InvalidValue> {
    filters.iter().enumerate().map(|(at, raw)| parse_filter(raw, kind, &reader.at(at), depth)).collect()
}

/// Parses an expression of `sql`. One that is never a boolean never matches, so it is an error.
fn parse_expression(raw: &RawValue, kind: InputKind, reader: &Reader<'_>) -> Result<Expression, InvalidValue> {
    let expression = Expression::parse(&reader.text(raw)?, kind).map_err(|error| reader.error(error.to_string()))?;
    match expression.type_of() {
        None | Some(Type::Boolean) => Ok(expression),
        Some(Type::Integer) => Err(reader.error("must be a condition, but its value is an integer")),
        Some(Type::String) => Err(reader.error("must be a condition, but its value is a string")),
    }
}

/// Parses operands with their expected texts. There is at least one, and neither operands nor texts are empty.
fn parse_operands(
    raw: &RawValue,
    kind: InputKind,
    reader: &Reader<'_>,
) -> Result<Vec<(Operand, String)>, InvalidValue> {
    let members = reader.members(raw)?;
    if members.is_empty() {
        return Err(reader.error("must have at least one member"));
    }
    let operands = members.into_iter().zip(1_usize..).map(|((name, value), n)| {
        let operand = Operand::parse(&name, kind).ok_or_else(|| {
            let names = match kind {
                InputKind::Event => "a context attribute (lower-case letters and digits)",
                InputKind::Webhook => "`sender`, `source`, `type`",
            };
            reader
                .error(format!("has an invalid name (member {n}): use {names} or a JSON Pointer that starts with `/`"))
        })?;
        Ok((operand, reader.at(&*name).text(value)?.into_owned()))
    });
    operands.collect()
}

impl Operand {
    /// Parses a JSON Pointer, or the name of an attribute. A webhook has the attributes `sender`, `source` and `type`. An event
    /// may have any attribute (CloudEvents 1.0.2, "Attribute Naming Convention"), but `data` is not one.
    pub(super) fn parse(text: &str, kind: InputKind) -> Option<Self> {
        if text.starts_with('/') {
            return Pointer::parse(text).map(Self::Pointer);
        }
        let is_attribute = match kind {
            InputKind::Event => text != "data" && is_attribute_name(text),
            InputKind::Webhook => matches!(text, "sender" | "source" | "type"),
        };
        is_attribute.then(|| Self::Attribute(text.to_owned()))
    }
}
