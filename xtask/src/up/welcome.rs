//! The text shown once Sluice answers: addresses, and three requests to try.

use super::style::{ACCENT, BOLD, DIM, paint};

/// Names of workflows and a run, for the example requests.
pub(super) struct ExampleNames {
    pub(super) webhook: String,
    pub(super) event: String,
    pub(super) run: String,
}

impl ExampleNames {
    /// Placeholders, for the user's own engine.
    pub(super) fn placeholders() -> ExampleNames {
        ExampleNames::new("WORKFLOW", "WORKFLOW", None)
    }

    /// Names for a stand-in engine that accepts any workflow.
    pub(super) fn stand_in(run: String) -> ExampleNames {
        ExampleNames::new("build", "nightly", Some(run))
    }

    /// Names for a real engine. Without a run that waits, its id is a placeholder.
    pub(super) fn real(workflow: &str, run: Option<String>) -> ExampleNames {
        ExampleNames::new(workflow, workflow, run)
    }

    fn new(webhook: &str, event: &str, run: Option<String>) -> ExampleNames {
        let run = run.unwrap_or_else(|| "RUN".to_owned());
        ExampleNames { webhook: webhook.to_owned(), event: event.to_owned(), run }
    }
}

/// A line with an address: its name, its URL, and a remark.
pub(super) fn address(name: &str, url: &str, remark: &str) -> String {
    let remark = if remark.is_empty() { String::new() } else { paint(DIM, format_args!("  {remark}")) };
    format!("  {}  {}{remark}\n", paint(BOLD, format_args!("{name:16}")), paint(ACCENT, url))
}

/// Three `curl` commands to run in the repository's root. `id` makes the event a new one.
pub(super) fn examples(sluice: &str, ExampleNames { webhook, event, run }: &ExampleNames, id: u128) -> String {
    let push = format!(
        "curl -i -H 'content-type: application/json' --data-binary @tests/vectors/github-push.json '{sluice}/api/v2/webhook?ref={webhook}'"
    );
    let callback = format!(
        "curl -i -H 'content-type: application/json' -d '{{\"approved\":true}}' '{sluice}/api/v2/callback?ref={run}&topic=approval&status=Succeeded'"
    );
    let tick = format!(
        "curl -i -H 'content-type: application/cloudevents+json' -d '{{\"specversion\":\"1.0\",\"id\":\"tick-{id}\",\"source\":\"/clock\",\"type\":\"dev.sluice.tick\",\"subject\":\"/{event}/tick\",\"data\":{{\"shift\":\"night\"}}}}' '{sluice}/api/v2/event'"
    );
    let steps = [
        (format!("A push from GitHub starts a run of the workflow {webhook}"), push),
        (format!("A callback resumes the run {run}, which waits for \"approval\""), callback),
        (format!("A CloudEvent starts a run of {event}; sent again, it is a duplicate"), tick),
    ];
    let steps = steps.into_iter().enumerate().map(|(at, (title, line))| {
        format!("{}\n{line}\n", paint(BOLD, format_args!("{}. {title}", at.saturating_add(1))))
    });
    steps.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_three_commands() {
        let names = ExampleNames::stand_in("6b04f05c3c2cc20000000001".to_owned());
        let text = anstream::adapter::strip_str(&examples("http://127.0.0.1:3000", &names, 7)).to_string();
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with("curl ")).collect();
        assert_eq!(lines.len(), 3);
        let routes = ["/api/v2/webhook?ref=build'", "/api/v2/callback?ref=6b04f05c3c2cc20000000001&", "/api/v2/event'"];
        for (line, route) in lines.iter().zip(routes) {
            assert!(line.contains(route), "{line}");
            assert_eq!(line.matches('\'').count() % 2, 0, "unbalanced quotes: {line}");
        }
        let event = lines.iter().find_map(|line| line.split("-d '").nth(1)?.split('\'').next()).unwrap_or_default();
        assert!(serde_json::from_str::<serde_json::Value>(event).is_ok(), "{event}");
    }

    #[test]
    fn own_engine_gets_placeholders() {
        let text = examples("http://127.0.0.1:3000", &ExampleNames::placeholders(), 7);
        assert!(text.contains("ref=WORKFLOW'") && text.contains("ref=RUN&") && text.contains("\"/WORKFLOW/tick\""));
        let text = examples("http://127.0.0.1:3000", &ExampleNames::real("Recorder", None), 7);
        assert!(text.contains("ref=Recorder'") && text.contains("ref=RUN&") && text.contains("\"/Recorder/tick\""));
    }
}
