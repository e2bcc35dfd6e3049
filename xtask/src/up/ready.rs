//! Requests at the start: Sluice's readiness, the readiness of an engine, and a run for the examples.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};
use ureq::Agent;

use super::style::{BOLD, ERROR, WARNING, paint, plain};
use super::variables::in_environment;

/// Readiness of Sluice.
#[derive(Debug, PartialEq)]
pub(super) enum Health {
    /// With warnings, if there are some.
    Ready(Vec<String>),
    /// The engine rejects Sluice's requests, because `engine_url` or `engine_token` is wrong.
    Degraded(String),
    /// Variables with invalid values, as pairs of name and problem.
    InvalidVariables(Vec<(String, String)>),
    /// Not ready for another reason.
    NotReady(String),
}

/// Queries `/readyz`; `None` if there is no answer yet.
pub(super) fn query(sluice: &str) -> Option<Health> {
    let mut response = agent().get(format!("{sluice}/readyz")).call().ok()?;
    let body = response.body_mut().read_to_string().unwrap_or_default();
    Some(parse(response.status().as_u16(), &body))
}

/// Starts a run of the stand-in engine that waits for a callback, and returns its id: `None` while the stand-in doesn't
/// answer, `Some(None)` if it has no such workflow.
pub(super) fn waiting_run(stand_in: &str) -> Option<Option<String>> {
    let wait = json!({ "workflow": "release", "topic": "approval" });
    let mut response = agent().post(format!("{stand_in}/stand-in/waits")).send_json(wait).ok()?;
    let body: Value = response.body_mut().read_json().unwrap_or_default();
    Some(body.get("run").and_then(Value::as_str).map(str::to_owned))
}

/// Starts a run of a workflow by a webhook to Sluice, and returns its id; `None` if Sluice doesn't answer with a run.
pub(super) fn started_run(sluice: &str, workflow: &str) -> Option<String> {
    let webhook = agent().post(format!("{sluice}/api/v2/webhook")).query("ref", workflow);
    let mut response = webhook.send_json(json!({ "release": "1.0" })).ok()?;
    let body: Value = response.body_mut().read_json().ok()?;
    body.get("id").and_then(Value::as_str).map(plain)
}

/// The JSON that a server answers with a success; `None` if it doesn't.
pub(super) fn get_json(url: &str) -> Option<Value> {
    let mut response = agent().get(url).call().ok().filter(|response| response.status().is_success())?;
    response.body_mut().read_json().ok()
}

/// Whether a server answers with a success.
pub(super) fn answers(url: &str) -> bool {
    agent().get(url).call().is_ok_and(|response| response.status().is_success())
}

/// Whether a server accepts JSON by POST.
pub(super) fn accepts(url: &str, body: &Value) -> bool {
    agent().post(url).send_json(body).is_ok_and(|response| response.status().is_success())
}

/// A client for servers on this machine: without a proxy, and with a short timeout.
fn agent() -> Agent {
    let config = Agent::config_builder().proxy(None).http_status_as_error(false);
    config.timeout_global(Some(Duration::from_secs(10))).build().into()
}

fn parse(status: u16, body: &str) -> Health {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(plain);
    let errors = body.get("errors").and_then(Value::as_array).into_iter().flatten();
    let invalid: Vec<_> = errors.filter_map(|error| Some((text(error, "field")?, text(error, "detail")?))).collect();
    match (status, text(&body, "status").as_deref()) {
        _ if !invalid.is_empty() => Health::InvalidVariables(invalid),
        (200, Some("degraded")) if body.get("engine").is_some() => {
            let engine = body.get("engine").cloned().unwrap_or_default();
            let (fault, since) = (text(&engine, "fault"), text(&engine, "since"));
            Health::Degraded(format!("{}, since {}", fault.unwrap_or_default(), since.unwrap_or_default()))
        }
        (200, Some("ready" | "degraded")) => {
            let warnings = body.get("warnings").and_then(Value::as_array).into_iter().flatten();
            Health::Ready(warnings.filter_map(Value::as_str).map(plain).collect())
        }
        _ => Health::NotReady(text(&body, "detail").unwrap_or_else(|| format!("/readyz answered {status}"))),
    }
}

impl Health {
    /// A message with the problem and its fix; empty if Sluice is ready.
    pub(super) fn message(&self) -> String {
        match self {
            Health::Ready(warnings) => {
                warnings.iter().map(|warning| format!("{} {warning}\n", paint(WARNING, "warning:"))).collect()
            }
            Health::Degraded(fault) => {
                let check = "check engine_url and engine_token";
                format!("{} {fault}: {check}. Deliveries are stored and sent later.\n", paint(WARNING, "warning:"))
            }
            Health::NotReady(reason) => format!("{} Sluice isn't ready: {reason}\n", paint(ERROR, "error:")),
            Health::InvalidVariables(variables) => list(variables),
        }
    }
}

/// Lists invalid variables, with the way to set the first one.
fn list(variables: &[(String, String)]) -> String {
    let mut text = String::new();
    let subject = if variables.len() == 1 { "a variable is" } else { "some variables are" };
    let error = paint(ERROR, "error:");
    // Writing to a `String` can't fail.
    let _ = writeln!(text, "{error} {subject} invalid. Requests that need them are answered 503:");
    let width = variables.iter().map(|(variable, _)| variable.len()).max().unwrap_or(0);
    for (variable, problem) in variables {
        let _ = writeln!(text, "  {}  {problem}", paint(BOLD, format_args!("{variable:width$}")));
    }
    if let Some((variable, _)) = variables.first() {
        let _ = writeln!(text, "Start again with --var {variable}=…, or set {}.", in_environment(variable));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_is_parsed() {
        assert_eq!(parse(200, r#"{"status":"ready"}"#), Health::Ready(Vec::new()));
        let warned = r#"{"status":"degraded","warnings":["anyone may deliver","the source `a` is stopped"]}"#;
        let health = parse(200, warned);
        assert_eq!(health, Health::Ready(vec!["anyone may deliver".into(), "the source `a` is stopped".into()]));
        let message = anstream::adapter::strip_str(&health.message()).to_string();
        assert_eq!(message, "warning: anyone may deliver\nwarning: the source `a` is stopped\n");
        let degraded = r#"{"status":"degraded","engine":{"fault":"the engine answered 401","since":"2026-11-24T08:30:00Z","check":[]}}"#;
        assert_eq!(
            parse(200, degraded),
            Health::Degraded("the engine answered 401, since 2026-11-24T08:30:00Z".into())
        );
        let store = r#"{"title":"x","status":503,"detail":"the store did not answer"}"#;
        assert_eq!(parse(503, store), Health::NotReady("the store did not answer".into()));
        assert_eq!(parse(404, "<html>"), Health::NotReady("/readyz answered 404".into()));
    }

    #[test]
    fn invalid_variables_are_listed_with_their_problems() {
        let body = r#"{"status":503,"detail":"x","errors":[
            {"field":"settings","detail":"must be a whole number"},{"field":"routes","detail":"is no \u001b[2J table"}]}"#;
        let message = anstream::adapter::strip_str(&parse(503, body).message()).to_string();
        assert!(message.starts_with("error: some variables are invalid."), "{message}");
        assert!(message.contains("\n  settings  must be a whole number\n"), "{message}");
        assert!(message.contains("\n  routes    is no \u{fffd}[2J table\n"), "{message}");
        assert!(message.contains("--var settings=…, or set SPIN_VARIABLE_SETTINGS."), "{message}");
    }
}
