//! The HTML page that lists the runs.

use chrono::DateTime;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::model::{Json, Record, TaskRun, TaskType};
use super::response::timestamp;
use super::site::Site;

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
pub(super) fn render(site: &mut Site) -> Markup {
    let total = site.total();
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
                @for run in site.runs().rev().take(MAX_SHOWN) { (article(run)) }
            }
        }
    }
}

fn article(Record { run, tasks, .. }: &Record) -> Markup {
    html! {
        article {
            h2 { (run.workflow_ref) " " code { (run.id) } ": " (run.status.name()) }
            p {
                (time(run.creation_date)) ", by " (run.trigger)
                @if let Some(Some(delivery)) = run.labels.get("sluice.dev/delivery") {
                    ", delivery " code { (delivery) }
                }
            }
            @if let Some(message) = &run.status_message { p { (message) } }
            @for param in &run.params { (value(&param.name, &param.value)) }
            @for task in tasks.iter().filter(|task| !matches!(task.kind, TaskType::Start | TaskType::End)) {
                (task_run(task))
            }
        }
    }
}

fn task_run(task: &TaskRun) -> Markup {
    let topic = task.param("topic").and_then(Json::as_text).filter(|_| task.kind == TaskType::EventWait);
    html! {
        p {
            "Task " b { (task.name) } " of type " (task.kind.name())
            @if let Some(topic) = topic { ", topic " b { (topic) } }
            ": " (task.status.name())
            @if task.pre_approved { ", event arrived early" }
            "."
        }
        @for result in task.results.iter().filter(|result| !result.value.is_null()) {
            (value(result.name.as_deref().unwrap_or_default(), &result.value))
        }
    }
}

/// A name and the JSON of its value.
fn value(name: &str, json: &Json) -> Markup {
    html! {
        p { (name) ":" }
        pre { (json) }
    }
}

fn time(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default();
    timestamp(time)
}
