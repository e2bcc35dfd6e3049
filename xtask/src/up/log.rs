//! Lines of the component's log (`src/api/log.rs`), formatted as a table.

use std::fmt::{self, Display, Formatter};

use anstyle::Style;
use serde_json::{Map, Value};

use super::style::{ACCENT, DIM, ERROR, SUCCESS, WARNING, paint, plain};

/// The table's header.
pub(super) fn header() -> String {
    let header =
        format!("{:8}  {:21}  {:9}  {:6}  {:26}  {:>6}", "UTC", "request", "outcome", "status", "delivery", "ms");
    paint(DIM, header)
}

/// One line: a request, the outcome of a delivery after its response, or a drain that Sluice started itself.
pub(super) struct Entry(Map<String, Value>);

impl Entry {
    /// Parses a line; `None` if it isn't one of the component's log.
    pub(super) fn parse(line: &str) -> Option<Entry> {
        let Ok(Value::Object(entry)) = serde_json::from_str(line) else { return None };
        let is_entry = entry.contains_key("time")
            && ["route", "delivery", "drained", "warning"].iter().any(|name| entry.contains_key(*name));
        is_entry.then_some(Entry(entry))
    }

    /// Whether the request is a query of `/readyz`.
    pub(super) fn is_probe(&self) -> bool {
        self.text("route").as_deref() == Some("/readyz")
    }

    fn text(&self, name: &str) -> Option<String> {
        self.0.get(name)?.as_str().map(plain)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name)?.as_u64()
    }

    /// The time of day, `02:03:09`, of an RFC 3339 timestamp.
    fn time(&self) -> String {
        let time = self.text("time").unwrap_or_default();
        time.get(11..19).map_or(time.clone(), str::to_owned)
    }

    fn request(&self) -> String {
        match (self.text("method"), self.text("route")) {
            (Some(method), Some(route)) => format!("{method} {}", route.strip_prefix("/api/v2/").unwrap_or(&route)),
            _ if self.0.contains_key("delivery") => "after response".to_owned(),
            _ => "drain".to_owned(),
        }
    }

    fn outcome(&self) -> (Style, String) {
        let outcome = self.text("outcome").or_else(|| self.text("problem").map(|_| "refused".to_owned()));
        let style = match outcome.as_deref() {
            Some("delivered") => SUCCESS,
            Some("duplicate") => ACCENT,
            Some("pending") => WARNING,
            Some("rejected" | "refused" | "dead") => ERROR,
            _ => Style::new(),
        };
        (style, outcome.unwrap_or_default())
    }

    fn delivery(&self) -> String {
        let count = || self.number("deliveries").map(|count| format!("{count} deliveries"));
        self.text("delivery").or_else(count).unwrap_or_default()
    }

    fn duration(&self) -> String {
        match self.0.get("duration_ms").and_then(Value::as_f64) {
            Some(duration) if duration < 10.0 => format!("{duration:.1}"),
            Some(duration) => format!("{duration:.0}"),
            None => String::new(),
        }
    }

    /// Details that have no column.
    fn notes(&self) -> Vec<String> {
        let outcome = self.text("outcome");
        let problem = self.text("problem").filter(|problem| outcome.as_ref() != Some(problem));
        let engine = self.number("engine_status").filter(|_| outcome.as_deref() != Some("delivered"));
        let drained = self.0.get("drained").and_then(Value::as_object).map(drained);
        let notes = [problem, engine.map(|status| format!("engine {status}")), self.text("failure"), drained];
        let warning = self.text("warning").map(|warning| paint(WARNING, format_args!("warning: {warning}")));
        notes.into_iter().flatten().chain(warning).collect()
    }
}

impl Display for Entry {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (style, outcome) = self.outcome();
        let status = self.number("status").map(|status| status.to_string()).unwrap_or_default();
        let line = format!(
            "{}  {:21}  {}  {status:6}  {}  {:>6}  {}",
            paint(DIM, self.time()),
            self.request(),
            // Padded inside the style, since escape sequences would count as width.
            paint(style, format_args!("{outcome:9}")),
            paint(DIM, format_args!("{:26}", self.delivery())),
            self.duration(),
            self.notes().join(", "),
        );
        f.write_str(line.trim_end())
    }
}

/// Formats the counts of a drain: `1 delivered 2 pending`.
fn drained(counts: &Map<String, Value>) -> String {
    let counted = counts.iter().filter_map(|(name, count)| match count {
        Value::Number(count) if count.as_u64() != Some(0) => Some(format!("{count} {}", plain(name))),
        Value::String(text) => Some(format!("{} {}", plain(name), plain(text))),
        _ => None,
    });
    let counted: Vec<_> = counted.collect();
    if counted.is_empty() { "nothing to do".to_owned() } else { counted.join(" ") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn rendered(line: &str) -> String {
        anstream::adapter::strip_str(&Entry::parse(line).unwrap().to_string()).to_string()
    }

    #[test]
    fn delivery_is_one_line() {
        let line = r#"{"time":"2026-11-24T02:03:09.998Z","method":"POST","route":"/api/v2/webhook","status":200,"duration_ms":12.345,"delivery":"01M85MNVRRNF3YKJSMZYXYD1X7","outcome":"delivered","engine_status":200}"#;
        let expected = "02:03:09  POST webhook           delivered  200     01M85MNVRRNF3YKJSMZYXYD1X7      12";
        assert_eq!(rendered(line), expected);
        assert!(Entry::parse(line).unwrap().to_string().contains("\u{1b}[32mdelivered\u{1b}[0m"), "in green");
        let columns = anstream::adapter::strip_str(&header()).to_string();
        assert_eq!(columns.find("delivery"), expected.find("01M85"), "columns are aligned");
        assert_eq!(columns.len(), expected.len());
    }

    #[test]
    fn problem_is_at_the_end() {
        let line = r#"{"time":"2026-11-24T02:03:09.998Z","method":"POST","route":"/api/v2/event","status":400,"duration_ms":0.2,"problem":"invalid-event"}"#;
        assert!(rendered(line).contains("POST event             refused    400"), "{}", rendered(line));
        assert!(rendered(line).ends_with("0.2  invalid-event"), "{}", rendered(line));
        let line = r#"{"time":"2026-11-24T02:03:09.998Z","method":"POST","route":"/api/v2/webhook","status":404,"duration_ms":3.1,"delivery":"01M8","outcome":"rejected","engine_status":404,"problem":"rejected"}"#;
        assert!(rendered(line).ends_with("3.1  engine 404"), "{}", rendered(line));
        let line = r#"{"time":"2026-11-24T02:03:09.998Z","method":"POST","route":"/api/v2/webhook","status":202,"duration_ms":3.1,"deliveries":3,"outcome":"pending","warning":"the engine answered 401"}"#;
        assert!(rendered(line).contains("3 deliveries"), "{}", rendered(line));
        assert!(rendered(line).ends_with("warning: the engine answered 401"), "{}", rendered(line));
    }

    #[test]
    fn work_after_a_response_is_one_line() {
        let line = r#"{"time":"2026-11-24T02:03:12Z","delivery":"01M8","outcome":"pending","failure":"the engine answered 503"}"#;
        assert!(rendered(line).starts_with("02:03:12  after response         pending"), "{}", rendered(line));
        assert!(rendered(line).ends_with("the engine answered 503"), "{}", rendered(line));
        let line = r#"{"time":"2026-11-24T02:03:12Z","drained":{"delivered":2,"rejected":0,"dead":0,"dropped":0,"pending":null,"stopped":"budget"}}"#;
        assert!(rendered(line).ends_with("2 delivered stopped budget"), "{}", rendered(line));
    }

    #[test]
    fn other_lines_are_not_parsed() {
        for line in ["", "thread main panicked", "{}", "[1]", r#"{"time":"x"}"#, r#"{"route":"/"}"#, "{\"time"] {
            assert!(Entry::parse(line).is_none(), "{line}");
        }
        let odd = Entry::parse(r#"{"time":"é","route":"\u001b[2J","status":"x","duration_ms":"y"}"#).unwrap();
        assert!(!anstream::adapter::strip_str(&odd.to_string()).to_string().contains('\u{1b}'));
    }
}
