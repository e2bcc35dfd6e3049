//! The engine on the pages: the promises of its profile, and links to its own pages of runs.

use maud::{Markup, html};

use super::format::{number, span};
use super::layout::{Tone, chip};
use crate::callback::Status;
use crate::config::Settings;
use crate::engine::{Confirm, Doubt, Engine};

/// The rows of the configuration that are about the engine: its profile, its address, and what they promise together
/// with the settings. `max_body_bytes` is the value of that setting.
pub(super) fn rows(settings: &Settings<'_>, max_body_bytes: usize) -> Markup {
    let engine = &settings.engine;
    html! {
        dt { "Engine" } dd { (engine.profile.title()) " " small { code { (engine.profile.name()) } } }
        dt { "Engine URL" } dd { (engine.url) }
        dt { "Engine token" } dd { (if engine.token.is_some() { "set" } else { "not set" }) }
        dt { "Starts" } dd { (starts(engine)) }
        @if let Some(hours) = engine.retention_hours() {
            dt { "Starts known" } dd { (known(hours, settings.limits.max_age.as_secs().div_ceil(3_600))) }
        }
        dt { "Callbacks" } dd { (callbacks(settings)) }
        dt { "Largest payload" } dd { (largest_payload(engine, max_body_bytes)) }
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
        },
        Doubt::Hold => html! {
            (chip(Tone::Good, "At most once")) " If the answer to a start is lost, the delivery is dead, and you decide"
        },
        Doubt::ResendAnyway => html! {
            (chip(Tone::Busy, "At least once")) " If the answer to a start is lost, the start is sent again, and may start a second run"
        },
    }
}

/// How long the engine knows a start, compared with how long a delivery is retried, both in hours.
fn known(retention: u64, retried: u64) -> Markup {
    html! {
        @if retention < retried {
            (chip(Tone::Busy, "Too short")) " The engine knows a start for " (retention) " h, and a delivery is retried for "
            (retried) " h: a start that is sent again later may start a second run. Set " code { "retry_max_hours" }
            " to at most " (retention) ", or let the engine remember longer"
        } @else {
            "For " (retention) " h at the engine; a delivery is retried for at most " (retried) " h"
        }
    }
}

/// How a callback is delivered.
fn callbacks(settings: &Settings<'_>) -> Markup {
    let engine = &settings.engine;
    if engine.resumes(None).is_err() {
        return html! { (chip(Tone::Busy, "None")) " The engine can't resume a run, so they are refused" };
    }
    html! {
        @match engine.confirm() {
            Confirm::Look => {
                "Sent while the engine shows a task that waits, and delivered once it shows that this task has ended. An early one is kept for up to "
                (span(settings.limits.callback_wait))
            }
            Confirm::Answer => "Sent at once: the engine keeps an early one, and ignores a repeated one",
        }
        ". Of different ones for one task, the first wins"
        @if engine.resumes(Some(Status::Failed)).is_err() { ". A failed one is refused" }
    }
}

/// The largest payload that is accepted, and the limit that decides.
fn largest_payload(engine: &Engine<'_>, max_body_bytes: usize) -> Markup {
    let bytes = |limit: usize| number(u64::try_from(limit).unwrap_or(u64::MAX));
    html! {
        @match engine.profile.max_body_bytes().ok().flatten() {
            Some(limit) if limit < max_body_bytes => { (bytes(limit)) " bytes, the engine's limit" }
            Some(limit) => { (bytes(max_body_bytes)) " bytes; the engine takes " (bytes(limit)) }
            None => { (bytes(max_body_bytes)) " bytes; the engine's profile names no limit" }
        }
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
