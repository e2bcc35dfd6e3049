//! What there is, and three things to try.

use super::style::{KNOWN, QUIET, STRONG, paint};

/// Names that the lines to paste use.
pub(super) struct Names {
    pub(super) webhook: &'static str,
    pub(super) event: &'static str,
    pub(super) run: String,
}

impl Names {
    /// Of an engine that we don't know.
    pub(super) fn to_fill_in() -> Names {
        Names { webhook: "WORKFLOW", event: "WORKFLOW", run: "RUN".to_owned() }
    }

    /// Of the stand-in engine, which knows any workflow.
    pub(super) fn of_stand_in(run: String) -> Names {
        Names { webhook: "build", event: "nightly", run }
    }
}

/// Where all is.
pub(super) fn places(sluice: &str, engine: &str, is_stand_in: bool) -> String {
    let (name, more) = match is_stand_in {
        true => ("Stand-in engine", "  shows the runs"),
        false => ("Engine", ""),
    };
    let line = |name: &str, url: &str| format!("  {}  {}", paint(STRONG, format_args!("{name:16}")), paint(KNOWN, url));
    format!("{}\n{}{}\n", line("Sluice", sluice), line(name, engine), paint(QUIET, more))
}

/// Three lines to paste at the repository's root; `id` makes the event another one.
pub(super) fn to_try(sluice: &str, Names { webhook, event, run }: &Names, id: u128) -> String {
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
        (format!("A callback resumes the run {run} that waits for \"approval\""), callback),
        (format!("A CloudEvent starts a run of {event}; sent again, it is a duplicate"), tick),
    ];
    let steps = steps.into_iter().enumerate().map(|(at, (what, line))| {
        format!("{}\n{line}\n", paint(STRONG, format_args!("{}. {what}", at.saturating_add(1))))
    });
    steps.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_three_lines_to_paste() {
        let names = Names::of_stand_in("6b04f05c3c2cc20000000001".to_owned());
        let text = anstream::adapter::strip_str(&to_try("http://127.0.0.1:3000", &names, 7)).to_string();
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with("curl ")).collect();
        assert_eq!(lines.len(), 3);
        let routes = ["/api/v2/webhook?ref=build'", "/api/v2/callback?ref=6b04f05c3c2cc20000000001&", "/api/v2/event'"];
        for (line, route) in lines.iter().zip(routes) {
            assert!(line.contains(route), "{line}");
            assert_eq!(line.matches('\'').count() % 2, 0, "quotes are closed: {line}");
        }
        let event = lines.iter().find_map(|line| line.split("-d '").nth(1)?.split('\'').next()).unwrap_or_default();
        assert!(serde_json::from_str::<serde_json::Value>(event).is_ok(), "{event}");
    }

    #[test]
    fn an_engine_that_we_do_not_know_has_names_to_fill_in() {
        let text = to_try("http://127.0.0.1:3000", &Names::to_fill_in(), 7);
        assert!(text.contains("ref=WORKFLOW'") && text.contains("ref=RUN&") && text.contains("\"/WORKFLOW/tick\""));
        let places = places("http://a", "http://b", false);
        assert!(!places.contains("tand-in"), "{places}");
    }
}
