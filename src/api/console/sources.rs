//! The page with the sources: when each was last verified, refused requests, and fetched keys.

use http::Response;
use maud::{Markup, html};

use super::format::{ago, count, number, time};
use super::layout::{Tab, Tone, chip, page};
use crate::api::problem::Problem;
use crate::api::sources::{Configured, SourceRow, SourceRows, configured, failed_fetches};
use crate::api::{RequestContext, operator};
use crate::gateway::sources::{Remembered, remembered};
use crate::ports::Host;
use crate::sender::{FetchedKeys, Freshness};
use crate::source::{OldSecret, Refused};
use crate::time::Timestamp;

/// `GET /console/sources`
pub(in crate::api) async fn show(
    context: &mut RequestContext<'_, '_, impl Host>,
) -> Result<Response<Vec<u8>>, Problem> {
    let remembered = remembered(context.host).await.map_err(|error| operator::to_problem(context, error.into()))?;
    let (rows, now) = (SourceRows::new(configured(context.config), &remembered), context.host.now());
    let content = html! {
        (overview(&rows, now))
        @for (at, row) in rows.sources.iter().enumerate() { (source(at, row, now)) }
        h2 { "Requests of no source" }
        (refusals(&rows.unknown, now))
        h2 { "Public keys" }
        (keys(&remembered, now))
    };
    Ok(page(Tab::Sources, "Sources", &content))
}

/// The table of all sources.
fn overview(rows: &SourceRows, now: Timestamp) -> Markup {
    if rows.sources.is_empty() {
        return html! { div.card.pad { p.mute { "No sources are set, and nothing is noted of any." } } };
    }
    html! {
        p.mute { "Of each source, one verified and one refused request a minute is noted, for 30 days" }
        div.card {
            table {
                thead { tr { th scope="col" { "Source" } th scope="col" { "Kind" } th scope="col" { "Last verified" } th scope="col" { "Refused" } } }
                tbody { @for (at, row) in rows.sources.iter().enumerate() { (overview_row(at, row, now)) } }
            }
        }
    }
}

fn overview_row(at: usize, row: &SourceRow, now: Timestamp) -> Markup {
    let noted = row.refused.iter().fold(0_u64, |sum, refused| sum.saturating_add(refused.count.into()));
    html! {
        tr {
            td data-of="Source" { a href={ "#source-" (at) } { bdi.name { (row.name) } } }
            td data-of="Kind" { (kind(row.configured.as_ref())) }
            td data-of="Last verified" {
                @match &row.verified {
                    Some(verified) => { span { (ago(verified.at, now)) } small { (time(verified.at)) } }
                    None => { span { "Not yet" } }
                }
            }
            td data-of="Refused" {
                @match row.refused.first() {
                    Some(last) => {
                        span { (number(noted)) " noted, the last one " (ago(last.at, now)) }
                        small { bdi { (last.detail) } }
                    }
                    None => { span { "None" } }
                }
            }
        }
    }
}

/// The proof of a source's requests.
fn kind(configured: Option<&Configured>) -> Markup {
    let Some(Configured { sender, tokens, is_stopped, .. }) = configured else {
        return html! { span.mute { "No longer set" } };
    };
    let tokens = (*tokens > 0).then(|| count(*tokens, "token", "tokens"));
    let parts: Vec<_> = sender.map(str::to_owned).into_iter().chain(tokens).collect();
    html! {
        span {
            (parts.join(", "))
            @if *is_stopped { " " (chip(Tone::Bad, "Stopped")) }
        }
    }
}

fn source(at: usize, row: &SourceRow, now: Timestamp) -> Markup {
    html! {
        h2 id={ "source-" (at) } { bdi { (row.name) } }
        @if let Some(old) = row.verified.as_ref().and_then(|verified| verified.old) { (old_secret(old, now)) }
        @if let Some(handed) = row.handed.last() {
            p {
                (chip(Tone::Busy, "Secret handed over"))
                " Its sender has handed over a secret " (ago(handed.at, now)) ": set it in " code { "sources" } ". "
                code { "GET /api/v2/sources" } " shows it"
            }
        }
        (refusals(&row.refused, now))
    }
}

fn old_secret(old: OldSecret, now: Timestamp) -> Markup {
    html! {
        p {
            (chip(Tone::Busy, "Old secret in use"))
            " Its secret " code { "/secrets/" (old.index) } " last verified a request " (ago(old.at, now)) ", " (time(old.at))
        }
    }
}

fn refusals(refused: &[Refused], now: Timestamp) -> Markup {
    if refused.is_empty() {
        return html! { div.card.pad { p.mute { "No request was refused." } } };
    }
    html! {
        div.card {
            table {
                thead { tr { th scope="col" { "Refused" } th scope="col" { "Reason" } th scope="col" { "Request" } } }
                tbody { @for one in refused { (refusal(one, now)) } }
            }
        }
    }
}

fn refusal(refused: &Refused, now: Timestamp) -> Markup {
    html! {
        tr {
            td.when data-of="Refused" {
                span { (ago(refused.at, now)) }
                small { (time(refused.at)) }
                @if refused.count > 1 { small { "in " (refused.count) " different minutes" } }
            }
            td data-of="Reason" {
                bdi { (refused.detail) }
                @if let Some(near_miss) = &refused.near_miss { small { bdi { (near_miss) } } }
                small { code { (refused.reason) } }
            }
            td data-of="Request" {
                @if let Some(size) = refused.size {
                    span { (count(usize::try_from(size).unwrap_or(usize::MAX), "byte", "bytes")) }
                } @else {
                    span { "Body not read" }
                }
                @if let Some(digest) = &refused.digest { small { "SHA-256 " code { (digest) "…" } } }
                @if !refused.headers.is_empty() { small { "Headers: " bdi { (refused.headers.join(", ")) } } }
            }
        }
    }
}

fn keys(remembered: &Remembered, now: Timestamp) -> Markup {
    let failed: Vec<_> = failed_fetches(remembered).collect();
    if remembered.keys.is_empty() && failed.is_empty() {
        return html! { div.card.pad { p.mute { "None was fetched." } } };
    }
    html! {
        div.card {
            table {
                thead { tr { th scope="col" { "URL" } th scope="col" { "Fetched" } th scope="col" { "State" } } }
                tbody {
                    @for (attempt, failure) in &failed {
                        tr {
                            td data-of="URL" { bdi { (attempt.url) } }
                            td.when data-of="Fetched" { span { "Tried " (ago(attempt.at, now)) } small { (time(attempt.at)) } }
                            td data-of="State" { span { (chip(Tone::Bad, "Failed")) } small { bdi { (failure) } } }
                        }
                    }
                    @for keys in &remembered.keys { (key_set(keys, now)) }
                }
            }
        }
    }
}

fn key_set(keys: &FetchedKeys, now: Timestamp) -> Markup {
    let (tone, state) = match keys.freshness(now) {
        Freshness::Fresh => (Tone::Good, "Fresh"),
        Freshness::Stale => (Tone::Plain, "Fetched again when needed"),
        Freshness::Expired => (Tone::Plain, "Too old to be used"),
    };
    html! {
        tr {
            td data-of="URL" { bdi { (keys.url()) } }
            td.when data-of="Fetched" { span { (ago(keys.fetched(), now)) } small { (time(keys.fetched())) } }
            td data-of="State" { span { (chip(tone, state)) } small { (count(keys.ids().count(), "key", "keys")) } }
        }
    }
}
