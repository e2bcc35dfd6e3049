//! The engine on the pages: the promises of its profile, and links to its own pages of runs.

use maud::{Markup, html};

use super::layout::{Tone, chip};
use crate::callback::Status;
use crate::engine::{Confirm, Doubt, Engine};

/// The rows of the configuration that are about the engine.
pub(super) fn rows(engine: &Engine<'_>) -> Markup {
    html! {
        dt { "Engine" } dd { (engine.profile.title()) " " small { code { (engine.profile.name()) } } }
        dt { "Engine URL" } dd { (engine.url) }
        dt { "Engine token" } dd { (if engine.token.is_some() { "set" } else { "not set" }) }
        dt { "Starts" } dd { (starts(engine)) }
        dt { "Callbacks" } dd { (callbacks(engine)) }
    }
}

/// How often a delivery starts a run.
fn starts(engine: &Engine<'_>) -> Markup {
    match engine.profile.doubt() {
        Doubt::Find => html! {
            (chip(Tone::Good, "Once")) " If the answer to a start is lost, its run is looked up before the start is sent again"
        },
        Doubt::Resend => html! {
            (chip(Tone::Good, "Once")) " If the answer to a start is lost, the start is sent again, and the engine starts no second run"
            @if let Some(hours) = engine.retention_hours() { ", for " (hours) " h" }
        },
        Doubt::Hold => html! {
            (chip(Tone::Good, "At most once")) " If the answer to a start is lost, the delivery is dead, and you decide"
        },
        Doubt::ResendAnyway => html! {
            (chip(Tone::Busy, "At least once")) " If the answer to a start is lost, the start is sent again, and may start a second run"
        },
    }
}

/// How a callback is delivered.
fn callbacks(engine: &Engine<'_>) -> Markup {
    if engine.resumes(None).is_err() {
        return html! { (chip(Tone::Busy, "None")) " The engine can't resume a run, so they are refused" };
    }
    html! {
        @match engine.confirm() {
            Confirm::Look => "Sent while the engine shows a task that waits, and delivered once it shows that this task has ended",
            Confirm::Answer => "Sent at once: the engine keeps an early one, and ignores a repeated one",
        }
        @if engine.resumes(Some(Status::Failed)).is_err() { ". A failed one is refused" }
    }
}

/// The reference of a run, as a link to its page at the engine if it has one.
pub(super) fn run(engine: Option<&Engine<'_>>, run: &str) -> Markup {
    match engine.and_then(|engine| engine.page(run)) {
        Some(page) => html! { a href=(page) rel="noreferrer" { bdi { (run) } } },
        None => html! { bdi { (run) } },
    }
}

/// A link to the page of a run at the engine; empty if it has none.
pub(super) fn run_link(engine: &Engine<'_>, run: &str) -> Markup {
    html! {
        @if let Some(page) = engine.page(run) {
            div.row.below { a.button href=(page) rel="noreferrer" { "Show the run at the engine" } }
        }
    }
}
