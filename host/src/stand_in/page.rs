//! The HTML page that lists the runs.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::runs::{Run, Status, Wait, timestamp};
use super::state::Inner;

/// Maximum number of runs on the page; `/stand-in/runs` lists all of them.
const MAX_SHOWN: usize = 200;

const STYLE: &str = "
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
article { border-top: 1px solid #8888; padding: 1rem 0 }
h2 { font-size: 1rem; margin: 0 }
p { margin: .25rem 0 }
pre { background: #8882; padding: .5rem; margin: .25rem 0; overflow: auto; max-height: 20rem }
";

/// Renders the page with the latest runs, newest first.
pub(super) fn render(state: &Inner) -> Markup {
    let total = state.runs.total;
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                meta name="color-scheme" content="light dark";
                title { "Stand-in engine" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "Stand-in engine" }
                @if total == 0 {
                    p { "No runs yet." }
                } @else {
                    p { "Runs so far: " (total) ". Newest first." }
                }
                @for run in state.runs.iter().rev().take(MAX_SHOWN) { (article(run)) }
            }
        }
    }
}

fn article(run: &Run) -> Markup {
    html! {
        article {
            h2 { (run.workflow_ref) " " code { (run.id) } ": " (name(run.status)) }
            p {
                (timestamp(run.creation_date)) ", by " (run.trigger)
                @if let Some(delivery) = run.labels.get("sluice.dev/delivery") { ", delivery " code { (delivery) } }
            }
            @for param in &run.params { (value(&param.name, param.value.get())) }
            @for Wait { topic, status, early, results } in &run.waits {
                p {
                    @if *status == Status::Waiting {
                        "Waits for " b { (topic) } "."
                    } @else {
                        "Waited for " b { (topic) } @if *early { ", which arrived early" } ": " (name(*status)) "."
                    }
                }
                @for result in results { (value(&result.name, result.value.get())) }
            }
            @for (topic, (status, _)) in &run.early { p { b { (topic) } " arrived: " (name(*status)) "." } }
        }
    }
}

/// A name and the JSON of its value.
fn value(name: &str, json: &str) -> Markup {
    html! {
        p { (name) ":" }
        pre { (json) }
    }
}

fn name(status: Status) -> &'static str {
    match status {
        Status::Ready => "ready",
        Status::Running => "running",
        Status::Waiting => "waiting",
        Status::Succeeded => "succeeded",
        Status::Failed => "failed",
    }
}
