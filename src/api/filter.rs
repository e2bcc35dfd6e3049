//! The query parameters of a filter of stored deliveries.

use super::operator::invalid_parameter;
use super::problem::Problem;
use super::query::Query;
use crate::delivery::Filter;
use crate::reference::MAX_TOPIC;
use crate::source::{self, Pattern};
use crate::time::Timestamp;

/// The names of the parameters.
pub(super) const PARAMETERS: [&str; 6] = ["workflow", "source", "received_from", "received_to", "failure", "text"];

/// The form of a time without a zone, as a browser's form has it, with or without seconds.
const FORM_TIME: usize = "2026-11-24T08:30".len();

/// The meaning of a parameter with an empty value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// A program: an empty value is an error, since a variable that isn't set would otherwise match all deliveries.
    Program,
    /// A browser's form, which sends each of its fields: an empty one is no condition. A time has no zone, and is in
    /// UTC.
    Form,
}

/// Reads a filter. An error names the parameter and its rule.
pub(super) fn read(query: &Query, client: Client) -> Result<Filter, Problem> {
    let value = |name: &'static str| -> Result<Option<&str>, Problem> {
        match (query.one(name)?.map(|text| if client == Client::Form { text.trim() } else { text }), client) {
            (Some(""), Client::Form) => Ok(None),
            (Some(""), Client::Program) => {
                Err(invalid_parameter(name, "a text that is not empty: leave it out to match all deliveries"))
            }
            (value, _) => Ok(value),
        }
    };
    let time = |name: &'static str| -> Result<Option<Timestamp>, Problem> {
        let Some(text) = value(name)? else { return Ok(None) };
        let rule = "a time by RFC 3339, such as `2026-11-24T08:30:00Z` (encode a `+` as `%2B`)";
        let time = rfc3339(text).or_else(|| form_time(text).filter(|_| client == Client::Form));
        time.map(Some).ok_or_else(|| invalid_parameter(name, rule))
    };
    let part = |name: &'static str| value(name)?.map(|text| checked_part(name, text)).transpose();
    let workflow = value("workflow")?.map(Pattern::parse).transpose().map_err(|rule| {
        let rule = format!("a workflow, which may end with `*`: it {rule}");
        invalid_parameter("workflow", &rule)
    })?;
    let source = value("source")?;
    if source.is_some_and(|name| !source::is_name(name)) {
        let rule = format!("the name of a source: 1 to {} letters, digits, `.`, `_` or `-`", source::MAX_NAME);
        return Err(invalid_parameter("source", &rule));
    }
    Ok(Filter {
        workflow,
        source: source.map(str::to_owned),
        received_from: time("received_from")?,
        received_to: time("received_to")?,
        failure: part("failure")?,
        text: part("text")?,
    })
}

/// The parameters of a filter, which [`read`] reads as the same one.
pub(super) fn pairs(filter: &Filter) -> impl Iterator<Item = (&'static str, String)> + use<> {
    let Filter { workflow, source, received_from, received_to, failure, text } = filter.clone();
    let values = [
        workflow.map(|pattern| pattern.to_string()),
        source,
        received_from.map(Timestamp::rfc3339),
        received_to.map(Timestamp::rfc3339),
        failure,
        text,
    ];
    PARAMETERS.into_iter().zip(values).filter_map(|(name, value)| Some((name, value?)))
}

/// Checks a text that is searched for.
pub(super) fn checked_part(name: &'static str, text: &str) -> Result<String, Problem> {
    if text.len() > MAX_TOPIC || text.contains(char::is_control) {
        return Err(invalid_parameter(
            name,
            &format!("a text of at most {MAX_TOPIC} bytes without control characters"),
        ));
    }
    Ok(text.to_owned())
}

/// Parses a time by RFC 3339. One before 1970 counts as the begin of that year.
fn rfc3339(text: &str) -> Option<Timestamp> {
    let time = chrono::DateTime::parse_from_rfc3339(text).ok()?;
    Some(Timestamp(u64::try_from(time.timestamp_millis()).unwrap_or_default()))
}

/// Parses a time as the field of a form has it: `2026-11-24T08:30`, perhaps with seconds.
fn form_time(text: &str) -> Option<Timestamp> {
    let seconds = if text.len() == FORM_TIME { ":00" } else { "" };
    rfc3339(&format!("{text}{seconds}Z"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_text(query: &str, client: Client) -> Result<Filter, String> {
        let query = Query::parse(Some(query)).map_err(|problem| problem.text().to_owned())?;
        read(&query, client).map_err(|problem| problem.text().to_owned())
    }

    #[test]
    fn each_parameter_is_a_condition() {
        let filter = read_text(
            "workflow=team/d*&source=shop&received_from=2026-11-24T08:30:00Z\
             &received_to=2026-11-24T09:30:00.250%2B01:00&failure=404&text=Dep",
            Client::Program,
        );
        let expected = Filter {
            workflow: Some(Pattern::parse("team/d*").unwrap()),
            source: Some("shop".to_owned()),
            received_from: Some(Timestamp(1_795_509_000_000)),
            received_to: Some(Timestamp(1_795_509_000_250)),
            failure: Some("404".to_owned()),
            text: Some("Dep".to_owned()),
        };
        assert_eq!(filter.unwrap(), expected);
        assert!(read_text("state=dead&limit=5", Client::Program).unwrap().is_empty());
        let early = read_text("received_to=1969-12-31T00:00:00Z", Client::Program).unwrap();
        assert_eq!(early.received_to, Some(Timestamp(0)), "nothing came before");
    }

    #[test]
    fn error_names_the_parameter() {
        for (query, start) in [
            ("workflow=", "`workflow` must be a text that is not empty"),
            ("workflow=a*b", "`workflow` must be a workflow, which may end with `*`: it must have `*` only at its end"),
            ("workflow=a%2Fb%2Fc", "`workflow` must be a workflow, which may end with `*`: it must not contain '/'"),
            ("source=", "`source` must be a text that is not empty"),
            ("source=a+b", "`source` must be the name of a source"),
            ("received_from=today", "`received_from` must be a time by RFC 3339"),
            ("received_from=2026-11-24T08:30", "`received_from` must be a time by RFC 3339"),
            ("received_to=2026-11-24T09:30:00+01:00", "`received_to` must be a time by RFC 3339"),
            ("failure=a%00", "`failure` must be a text of at most 1024 bytes without control characters"),
            ("failure=", "`failure` must be a text that is not empty"),
            ("text=", "`text` must be a text that is not empty"),
            ("failure=a&failure=b", "`failure` is present more than once"),
        ] {
            let error = read_text(query, Client::Program).unwrap_err();
            assert!(error.starts_with(start), "{query}: {error}");
        }
        let long = format!("text={}", "x".repeat(MAX_TOPIC + 1));
        assert!(read_text(&long, Client::Program).is_err());
    }

    #[test]
    fn form_sends_empty_fields_and_times_in_utc() {
        let form = "workflow=&source=+&received_from=2026-11-24T08:30&received_to=2026-11-24T08:30:05&failure=&text=";
        let filter = read_text(form, Client::Form).unwrap();
        let received_from = Some(Timestamp(1_795_509_000_000));
        let received_to = Some(Timestamp(1_795_509_005_000));
        assert_eq!(filter, Filter { received_from, received_to, ..Filter::default() });
        assert!(read_text("received_from=2026-11-24", Client::Form).is_err());
    }

    proptest! {
        #[test]
        fn pairs_are_read_as_the_same_filter(
            workflow in prop::option::of("([a-c]/)?[a-c]{1,3}\\*?"),
            source in prop::option::of("[a-z]([a-z0-9._-]{0,8}[a-z0-9])?"),
            from in prop::option::of(0..4_000_000_000_000_u64),
            to in prop::option::of(0..4_000_000_000_000_u64),
            failure in prop::option::of("[^ \\x00-\\x1f\\x7f-\\x9f]{1,20}"),
            text in prop::option::of("[^ \\x00-\\x1f\\x7f-\\x9f]{1,20}"),
        ) {
            let filter = Filter {
                workflow: workflow.map(|pattern| Pattern::parse(&pattern).unwrap()),
                source,
                received_from: from.map(Timestamp),
                received_to: to.map(Timestamp),
                failure,
                text,
            };
            let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs(&filter)).finish();
            prop_assert_eq!(read_text(&query, Client::Program).unwrap(), filter);
        }
    }
}
