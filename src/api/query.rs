//! Query parameters. Parsing is strict: a malformed or repeated parameter is an error.

mod status;

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::problem::{Kind, Problem};
use crate::reference::{RunRef, Topic, WorkflowRef};

/// Names of the parameters of a callback. Parameters with other names are ignored.
const CALLBACK_PARAMETERS: [&str; 7] = ["ref", "workflowrun", "topic", "status", "access_token", "source", "sender"];

/// The number of characters of an unknown parameter's name that a problem shows.
const MAX_NAMED: usize = 64;

/// A decoded query.
#[derive(Debug)]
pub struct Query {
    pairs: Vec<(String, String)>,
    /// Whether a part ends within a percent-escape, or one without `=`, which may be empty, follows the last
    /// [known](CALLBACK_PARAMETERS) parameter: `a=%2`, `a&&b=c`, `a&sta`.
    is_cut: bool,
    /// Whether commas separate the parameters.
    is_separated_by_commas: bool,
}

impl Query {
    /// Decodes `application/x-www-form-urlencoded` pairs (WHATWG URL, section 5.1). Unlike that standard, rejects text
    /// that is not UTF-8.
    pub fn parse(query: Option<&str>) -> Result<Self, Problem> {
        let query = query.unwrap_or_default();
        pairs(query.split('&'))
    }

    /// Decodes the query of a callback. Also accepts the spelling in the contract's published reference,
    /// `ref=R,topic=T,status=S`, but only if the query has no `&` and would otherwise have no `topic`. A comma
    /// separates two pairs only if a known name and `=` follow it, since a topic may contain commas.
    pub fn parse_callback(query: Option<&str>) -> Result<Self, Problem> {
        let query = query.unwrap_or_default();
        let plain = pairs(query.split('&'))?;
        if query.contains('&') || plain.pairs.iter().any(|(name, _)| name == "topic") {
            return Ok(plain);
        }
        let mut parts: Vec<Cow<'_, str>> = Vec::new();
        for part in query.split(',') {
            let starts_pair = CALLBACK_PARAMETERS
                .iter()
                .any(|name| part.strip_prefix(name).is_some_and(|rest| rest.starts_with('=')));
            match parts.last_mut() {
                Some(last) if !starts_pair => *last = Cow::Owned(format!("{last},{part}")),
                _ => parts.push(Cow::Borrowed(part)),
            }
        }
        Ok(Self { is_separated_by_commas: parts.len() > 1, ..pairs(parts.iter().map(AsRef::as_ref))? })
    }

    /// Returns the value of a parameter. A parameter that is present more than once is an error.
    pub fn one(&self, name: &'static str) -> Result<Option<&str>, Problem> {
        let mut values = self.pairs.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str());
        let value = values.next();
        match values.next() {
            None => Ok(value),
            Some(_) => {
                Err(Problem::new(Kind::InvalidParameter, format!("`{name}` is present more than once: send it once"))
                    .field(name))
            }
        }
    }

    /// Checks that there are no parameters but these. For an operation that a misspelled condition would extend to all.
    pub(super) fn allow_only(&self, names: &[&'static str]) -> Result<(), Problem> {
        let Some((name, _)) = self.pairs.iter().find(|(name, _)| !names.contains(&name.as_str())) else {
            return Ok(());
        };
        // A name of a sender may be long.
        let name: String = name.chars().take(MAX_NAMED).collect();
        let detail = format!("`{name}` is not a parameter of this path: it has {}", names.join(", "));
        Err(Problem::new(Kind::InvalidParameter, detail).field(name))
    }

    /// Returns the value of a parameter with two names, and the name that was used. Both may be present if their values
    /// are equal; `name` is then the one that counts.
    fn either(&self, name: &'static str, other: &'static str) -> Result<Option<(&'static str, &str)>, Problem> {
        match (self.one(name)?, self.one(other)?) {
            (Some(value), Some(second)) if value != second => {
                let detail = format!("`{name}` and `{other}` mean the same, but have different values: send only one");
                Err(Problem::new(Kind::InvalidParameter, detail).field(other))
            }
            (Some(value), _) => Ok(Some((name, value))),
            (None, value) => Ok(value.map(|value| (other, value))),
        }
    }

    /// Returns `ref` as a workflow. Flow's pages call it `workflow`.
    pub(super) fn workflow(&self) -> Result<Option<WorkflowRef>, Problem> {
        let given = self.either("ref", "workflow")?;
        given.map(|(name, text)| WorkflowRef::parse(text).map_err(|e| invalid_reference(name, e))).transpose()
    }

    /// Returns `ref` as a run. The betas of Flow called it `workflowrun`.
    pub fn run(&self) -> Result<RunRef, Problem> {
        let given = self.either("ref", "workflowrun")?;
        let (name, text) = given.ok_or_else(|| missing("ref", "the id of the WorkflowRun"))?;
        RunRef::parse(text).map_err(|e| invalid_reference(name, e))
    }

    /// Returns the name in `source`, with the name of the parameter. In 0.1, it was called `sender`.
    pub(super) fn source(&self) -> Result<Option<(&'static str, &str)>, Problem> {
        self.either("source", "sender")
    }

    /// Returns `dedup`: whether duplicates are detected by the sender's key.
    pub(super) fn dedup(&self) -> Result<bool, Problem> {
        self.is_on("dedup", "to accept a duplicate again")
    }

    /// Returns `subject`: whether an event's subject may name the workflow that it starts.
    pub(super) fn subject(&self) -> Result<bool, Problem> {
        self.is_on("subject", "to let the routes choose the workflow of an event")
    }

    /// Reads a parameter that is `on` by default. `off_purpose` completes the text "`off`, to …".
    fn is_on(&self, name: &'static str, off_purpose: &str) -> Result<bool, Problem> {
        match self.one(name)? {
            None | Some("on") => Ok(true),
            Some("off") => Ok(false),
            Some(_) => {
                let detail = format!("`{name}` must be `on`, the default, or `off`, {off_purpose}");
                Err(Problem::new(Kind::InvalidParameter, detail).field(name))
            }
        }
    }

    /// Returns `topic`.
    pub fn topic(&self) -> Result<Topic, Problem> {
        let text =
            self.one("topic")?.ok_or_else(|| missing("topic", "the topic that the task of the run waits for"))?;
        Topic::parse(text).map_err(|e| invalid_reference("topic", e))
    }
}

/// Returns whether the query may contain an access token, even if the query is malformed.
pub(super) fn carries_token(query: Option<&str>) -> bool {
    let mut names = query.unwrap_or_default().split(['&', ',']).map(|part| part.split('=').next().unwrap_or(part));
    names.any(|name| decode(name).is_some_and(|name| name == "access_token"))
}

/// Returns the problem of a missing parameter that is required. `value` describes what it should contain.
pub(super) fn missing(name: &'static str, value: &str) -> Problem {
    Problem::new(Kind::MissingParameter, format!("`{name}` is missing: add `?{name}=` with {value}")).field(name)
}

/// Returns the problem of a parameter that is not a valid reference or topic.
pub(super) fn invalid_reference(name: &'static str, error: impl std::fmt::Display) -> Problem {
    Problem::new(Kind::InvalidParameter, format!("`{name}` {error}")).field(name)
}

/// Percent-decodes text. `None` if the result is not UTF-8.
pub(super) fn decode(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(Cow::into_owned)
}

/// Decodes pairs such as `name=value`, the parts of a query. Empty parts are ignored.
fn pairs<'a>(parts: impl Iterator<Item = &'a str>) -> Result<Query, Problem> {
    let (mut pairs, mut is_cut) = (Vec::new(), false);
    for part in parts {
        let split = part.split_once('=');
        is_cut |= split.is_none();
        if part.is_empty() {
            continue;
        }
        let (name, value) = split.unwrap_or((part, ""));
        let decode_form = |text: &str| decode(&text.replace('+', " "));
        let (Some(name), Some(value)) = (decode_form(name), decode_form(value)) else {
            let detail = "the query is not UTF-8 after percent-decoding: encode its values as UTF-8";
            return Err(Problem::new(Kind::InvalidParameter, detail).field("query"));
        };
        is_cut &= !CALLBACK_PARAMETERS.contains(&&*name);
        is_cut |= ends_within_escape(part);
        pairs.push((name, value));
    }
    Ok(Query { pairs, is_cut, is_separated_by_commas: false })
}

/// Returns whether a text ends with `%` or `%2`, the beginning of a percent-escape.
fn ends_within_escape(text: &str) -> bool {
    text.rsplit_once('%').is_some_and(|(_, digits)| digits.len() < 2 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn callback(query: &str) -> [Option<String>; 3] {
        let query = Query::parse_callback(Some(query)).unwrap();
        ["ref", "topic", "status"].map(|name| query.one(name).unwrap().map(str::to_owned))
    }

    #[test]
    fn both_spellings_of_a_callback_are_parsed() {
        let parsed = |r: &str, t: &str, s: Option<&str>| [Some(r.into()), Some(t.into()), s.map(str::to_owned)];
        assert_eq!(callback("ref=R&topic=T&status=S"), parsed("R", "T", Some("S")));
        assert_eq!(callback("ref=R,topic=T,status=S"), parsed("R", "T", Some("S")));
        // `topic` is present, so the comma is part of its value.
        assert_eq!(callback("topic=T,ref=R"), [None, Some("T,ref=R".into()), None]);
        assert_eq!(callback("ref=R,topic=a,b,status=S"), parsed("R", "a,b", Some("S")));
        assert_eq!(callback("ref=R,x&topic=T"), parsed("R,x", "T", None));
        assert_eq!(callback("ref=a+b%20c&topic=%E2%82%AC"), parsed("a b c", "€", None));
    }

    #[test]
    fn workflow_and_run_have_two_names() {
        let workflow = |query| Query::parse(Some(query)).unwrap().workflow();
        let run = |query| Query::parse_callback(Some(query)).unwrap().run();
        for query in ["ref=a", "workflow=a", "ref=a&workflow=a", "workflow=a&workflowrun=b"] {
            assert_eq!(workflow(query).unwrap().unwrap().as_str(), "a", "{query}");
        }
        for query in ["ref=a&topic=t", "workflowrun=a&topic=t", "workflowrun=a,topic=t", "ref=a,topic=t,workflowrun=a"]
        {
            assert_eq!(run(query).unwrap().as_str(), "a", "{query}");
        }
        assert!(workflow("workflowrun=a").unwrap().is_none() && run("workflow=a").is_err());
        assert!(workflow("workflow=a&workflow=a").is_err() && workflow("ref=a&workflow=b").is_err());
        assert!(run("workflowrun=a&workflowrun=a").is_err() && run("ref=a,topic=t,workflowrun=b").is_err());
    }

    #[test]
    fn repeated_and_non_utf_8_parameters_are_rejected() {
        assert!(Query::parse(Some("ref=a&ref=b")).unwrap().one("ref").is_err());
        assert!(Query::parse(Some("ref=a&ref=a")).unwrap().one("ref").is_err());
        assert!(Query::parse(Some("ref=%ff")).is_err());
        assert_eq!(Query::parse(None).unwrap().one("ref").unwrap(), None);
    }
}
