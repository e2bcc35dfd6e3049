//! What `/readyz` says, asked once at the start.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};
use ureq::Agent;

use super::style::{BAD, STRONG, WARN, paint, plain};
use super::variables::in_environment;

/// How Sluice is.
#[derive(Debug, PartialEq)]
pub(super) enum Health {
    Ready,
    /// The engine refused it for a reason that is set here.
    Degraded(String),
    /// Variables that can't be used, and why.
    Faults(Vec<(String, String)>),
    /// Anything else.
    Unwell(String),
}

/// Asks; `None` if nobody answers yet.
pub(super) fn ask(sluice: &str) -> Option<Health> {
    let mut answer = agent().get(format!("{sluice}/readyz")).call().ok()?;
    let body = answer.body_mut().read_to_string().unwrap_or_default();
    Some(read(answer.status().as_u16(), &body))
}

/// Makes a run of the stand-in engine that waits, and gives its id.
pub(super) fn waiting_run(stand_in: &str) -> Option<String> {
    let wait = json!({ "workflow": "release", "topic": "approval" });
    let mut answer = agent().post(format!("{stand_in}/stand-in/waits")).send_json(wait).ok()?;
    let answer: Value = answer.body_mut().read_json().ok()?;
    answer.get("run")?.as_str().map(str::to_owned)
}

/// All that we ask is on this machine: no proxy, and no long wait.
fn agent() -> Agent {
    let config = Agent::config_builder().proxy(None).http_status_as_error(false);
    config.timeout_global(Some(Duration::from_secs(10))).build().into()
}

fn read(status: u16, body: &str) -> Health {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(plain);
    let faults = body.get("errors").and_then(Value::as_array).into_iter().flatten();
    let faults: Vec<_> = faults.filter_map(|fault| Some((text(fault, "field")?, text(fault, "detail")?))).collect();
    match (status, text(&body, "status").as_deref()) {
        _ if !faults.is_empty() => Health::Faults(faults),
        (200, Some("ready")) => Health::Ready,
        (200, Some("degraded")) => {
            let engine = body.get("engine").cloned().unwrap_or_default();
            let (fault, since) = (text(&engine, "fault"), text(&engine, "since"));
            Health::Degraded(format!("{}, since {}", fault.unwrap_or_default(), since.unwrap_or_default()))
        }
        _ => Health::Unwell(text(&body, "detail").unwrap_or_else(|| format!("/readyz answered {status}"))),
    }
}

impl Health {
    /// What to tell, and how to mend it; empty if all is well.
    pub(super) fn told(&self) -> String {
        match self {
            Health::Ready => String::new(),
            Health::Degraded(fault) => {
                let check = "check engine_url and engine_token";
                format!("{} {fault}: {check}. What comes is stored, and brought later.\n", paint(WARN, "warning:"))
            }
            Health::Unwell(why) => format!("{} Sluice isn't ready: {why}\n", paint(BAD, "error:")),
            Health::Faults(faults) => told(faults),
        }
    }
}

fn told(faults: &[(String, String)]) -> String {
    let mut text = String::new();
    let what = if faults.len() == 1 { "a variable" } else { "some variables" };
    let error = paint(BAD, "error:");
    // To a `String` nothing fails.
    let _ = writeln!(text, "{error} {what} can't be used. What needs them is answered 503 until they are mended:");
    let width = faults.iter().map(|(variable, _)| variable.len()).max().unwrap_or(0);
    for (variable, problem) in faults {
        let _ = writeln!(text, "  {}  {problem}", paint(STRONG, format_args!("{variable:width$}")));
    }
    if let Some((variable, _)) = faults.first() {
        let _ = writeln!(text, "Start again with --var {variable}=…, or {} set.", in_environment(variable));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_readyz_says_is_understood() {
        assert_eq!(read(200, r#"{"status":"ready"}"#), Health::Ready);
        let degraded = r#"{"status":"degraded","engine":{"fault":"the engine answered 401","since":"2026-11-24T08:30:00Z","check":[]}}"#;
        assert_eq!(read(200, degraded), Health::Degraded("the engine answered 401, since 2026-11-24T08:30:00Z".into()));
        let store = r#"{"title":"x","status":503,"detail":"the store did not answer"}"#;
        assert_eq!(read(503, store), Health::Unwell("the store did not answer".into()));
        assert_eq!(read(404, "<html>"), Health::Unwell("/readyz answered 404".into()));
    }

    #[test]
    fn each_fault_is_told_with_its_variable() {
        let body = r#"{"status":503,"detail":"x","errors":[
            {"field":"engine_wait_ms","detail":"must be a whole number"},{"field":"routes","detail":"is no \u001b[2J table"}]}"#;
        let told = anstream::adapter::strip_str(&read(503, body).told()).to_string();
        assert!(told.starts_with("error: some variables can't be used."), "{told}");
        assert!(told.contains("\n  engine_wait_ms  must be a whole number\n"), "{told}");
        assert!(told.contains("\n  routes          is no \u{fffd}[2J table\n"), "{told}");
        assert!(told.contains("--var engine_wait_ms=…, or SPIN_VARIABLE_ENGINE_WAIT_MS set"), "{told}");
    }
}
