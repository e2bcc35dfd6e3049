//! The overview: the engine, stored deliveries, the last drains, and the configuration. It shows which secrets are set,
//! but never their values.

use std::time::Duration;

use http::Response;
use maud::{Markup, html};

use super::format::{ago, count, span, time};
use super::layout::{Tab, Tone, chip, notice, page};
use super::{engine, preflight, trends};
use crate::api::problem::Problem;
use crate::api::{RequestContext, operator};
use crate::config::{Config, ConfigError, members};
use crate::engine::Engine;
use crate::gateway::{DrainSummary, Overview, Stopped, overview, samples};
use crate::ports::{Host, Variables};
use crate::routing::{InputKind, Route, Table};
use crate::source::{SourceSender, Sources};
use crate::store::StoreHealth;
use crate::time::Timestamp;

/// `GET /console`
pub(in crate::api) async fn show(
    context: &mut RequestContext<'_, '_, impl Host>,
) -> Result<Response<Vec<u8>>, Problem> {
    overview_page(context, None).await
}

/// `POST /console/drain`: runs a drain, then shows the overview.
pub(in crate::api) async fn drain(
    context: &mut RequestContext<'_, '_, impl Host>,
) -> Result<Response<Vec<u8>>, Problem> {
    let gateway = context.gateway()?;
    let drained = operator::run_drain(context, &gateway).await?;
    overview_page(context, Some(&drained)).await
}

async fn overview_page(
    context: &mut RequestContext<'_, '_, impl Host>,
    drained: Option<&DrainSummary>,
) -> Result<Response<Vec<u8>>, Problem> {
    let state = overview(context.host).await.map_err(|error| operator::to_problem(context, error.into()))?;
    let samples = samples(context.host).await.map_err(|error| operator::to_problem(context, error.into()))?;
    let config = context.config;
    let configuration = match config.check() {
        errors if errors.is_empty() => settings(config)?,
        errors => config_errors(&errors),
    };
    let routes = config.routes().ok().flatten();
    let settings = config.settings().ok();
    let engine = settings.as_ref().map(|settings| &settings.engine);
    let content = html! {
        @if let Some(drained) = drained { (drain_notice(drained)) }
        (status(&state, engine, context.host.now()))
        (trends::section(&samples, context.host.now()))
        h2 { "Configuration" }
        div.card.pad { (configuration) }
        h2 { "Preflight" }
        p.mute { "Asks the engine whether a workflow can be used as its senders use it" }
        (preflight::form(config, ""))
        h2 { "Sources" }
        div.card.pad { (sources_list(config.sources().ok())) }
        h2 { "Routes" }
        (routes_table(routes.as_ref()))
    };
    Ok(page(Tab::Overview, "Overview", &content))
}

fn drain_notice(drained: &DrainSummary) -> Markup {
    let tone = match drained.stopped {
        None | Some(Stopped::Budget) => Tone::Good,
        Some(Stopped::Leased) => Tone::Busy,
        Some(Stopped::Unreachable) => Tone::Bad,
    };
    notice(tone, &html! { "Drained: " (summary(drained)) })
}

fn status(state: &Overview, engine: Option<&Engine<'_>>, now: Timestamp) -> Markup {
    let drained = state.drained.as_ref();
    let unreachable = drained.and_then(|(_, drained)| drained.as_ref()?.stopped) == Some(Stopped::Unreachable);
    html! {
        div.tiles {
            section.card.pad {
                h2 { "Engine" }
                @if let Some(twice) = &state.twice {
                    p.big.bad { "Ran a delivery twice" }
                    p {
                        "Delivery " (twice.delivery) " has the runs "
                        @for (at, run) in twice.runs.iter().enumerate() { @if at > 0 { ", " } (engine::run(engine, run)) }
                        ", found " (time(twice.at))
                    }
                } @else if let Some(fault) = &state.fault {
                    p.big.bad { "Rejects Sluice" }
                    p { (fault.reason) ", since " (time(fault.at)) ". Check engine_url and engine_token" }
                } @else if unreachable {
                    p.big.bad { "Not reachable" }
                    p.mute { "The last drain could not reach it, or too many attempts in a row failed" }
                } @else if let Some(failure) = &state.failure {
                    p.big { "Some deliveries fail" }
                    p.mute { "The oldest pending delivery: " (failure) }
                } @else {
                    p.big.good { "OK" }
                    p.mute { "No failure is known" }
                }
            }
            section.card.pad {
                h2 { "Pending" }
                p.big { a href="/console/deliveries" { (state.pending) } }
                p.mute {
                    @match state.oldest {
                        Some(oldest) => { "The oldest was received " a href={ "/console/deliveries/" (oldest) } { (ago(oldest.at(), now)) } }
                        None => { "No pending deliveries" }
                    }
                    @if let Some(seconds) = drained.and_then(|(_, drained)| drained.as_ref()?.backlog).filter(|_| state.pending > 0) {
                        ". At the pace of the last drains, they take " (span(Duration::from_secs(seconds)))
                    }
                }
            }
            section.card.pad {
                h2 { "Dead" }
                p.big { a href="/console/deliveries?state=dead" { (state.dead) } }
                p.mute { @if state.dead == 0 { "No dead deliveries" } @else { "Redeliver or delete them" } }
            }
            @if state.store != StoreHealth::default() {
                section.card.pad {
                    h2 { "Store" }
                    @if let Some(unusable) = &state.store.unusable {
                        p.big.bad { "Unusable" }
                        p { (unusable) }
                    }
                    @if state.store.full {
                        p.big.bad { "Full" }
                        p { "max_keys are pending or dead: deliver or delete some" }
                    }
                    @if let Some(upgrade) = &state.store.upgrade {
                        p.big { "Being upgraded" }
                        p.mute { (upgrade) }
                    }
                    @if let Some(since) = state.store.known_since {
                        p { "Only events since " (time(since)) " are still known: raise max_keys, or set database_url" }
                    }
                }
            }
            section.card.pad {
                h2 { "Last drain" }
                @match drained {
                    None => { p.big { "Never" } p.mute { "Schedule one every minute" } }
                    Some((at, drained)) => {
                        p.big { (ago(*at, now)) }
                        p.mute { (drained.as_ref().map(summary).unwrap_or_default()) }
                    }
                }
            }
        }
        form.row.below method="post" action="/console/drain" {
            button type="submit" { "Drain now" }
            span.mute { "Attempts all due deliveries, for at most " (operator::REQUESTED_DRAIN_BUDGET.as_secs()) " s. This page is as of " (time(now)) }
        }
    }
}

/// Returns a summary of a drain: `2 delivered, 1 still pending`.
fn summary(drained: &DrainSummary) -> String {
    let DrainSummary { delivered, rejected, dead, dropped, pending, stopped, .. } = drained;
    let counted = [
        (*delivered, "delivered"),
        (*rejected, "rejected"),
        (*dead, "dead"),
        (*dropped, "dropped"),
        (pending.unwrap_or(0), "still pending"),
    ];
    let mut parts: Vec<_> = counted
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, outcome)| format!("{number} {outcome}"))
        .collect();
    parts.extend(stopped.map(|stopped| {
        let reason = match stopped {
            Stopped::Unreachable => "stopped: the engine can't be reached, or too many attempts in a row failed",
            Stopped::Budget => "stopped: the time limit was reached",
            Stopped::Leased => "another drain was running",
        };
        reason.to_owned()
    }));
    if parts.is_empty() { "nothing was pending".to_owned() } else { parts.join(", ") }
}

fn settings<H: Variables>(config: &Config<'_, H>) -> Result<Markup, Problem> {
    let settings = config.settings()?;
    let sources = config.sources()?;
    let links = !config.get(&members::LINK_SECRETS)?.is_empty();
    Ok(html! {
        p.above { (chip(Tone::Good, "Valid")) }
        dl {
            (engine::rows(&settings, config.get(&members::MAX_BODY_BYTES)?))
            dt { "Authentication" }
            dd {
                @if !sources.is_open() {
                    "A signature or a token of a source, or an access token ("
                    (count(config.access_tokens()?.len(), "token is", "tokens are")) " set)"
                } @else {
                    (chip(Tone::Busy, "None")) " Anyone may deliver: neither sources nor access tokens are set"
                }
            }
            dt { "Public URL" } dd { (config.get(&members::PUBLIC_URL)?.as_deref().unwrap_or("not set")) }
            dt { "Callback links" } dd { (if links { "on" } else { "off: link_secrets is not set" }) }
            dt { "Retention" } dd { "At least " (settings.retention.length().as_secs().checked_div(3_600).unwrap_or(0)) " h" }
        }
    })
}

fn config_errors(errors: &[ConfigError]) -> Markup {
    html! {
        p { (chip(Tone::Bad, "Not valid")) " Correct these variables of the Spin application:" }
        ul.errors { @for error in errors { li { (error) } } }
    }
}

fn sources_list(sources: Option<&Sources<'_>>) -> Markup {
    let stopped = sources.map(Sources::faults).unwrap_or_default();
    html! {
        @if sources.is_none_or(|sources| sources.iter().next().is_none() && stopped.is_empty()) {
            span.mute { "No sources are set." }
        }
        ul.chips {
            @for source in sources.into_iter().flat_map(Sources::iter) {
                @if stopped.iter().all(|stopped| stopped.at != source.at()) {
                    li {
                        (chip(Tone::Plain, source.name()))
                        @if let Some(sender) = source.sender().map(SourceSender::name) { " " small { (sender) } }
                    }
                }
            }
        }
        @if !stopped.is_empty() {
            ul.errors {
                @for stopped in &stopped {
                    li { (chip(Tone::Bad, "Stopped")) " " @if let Some(name) = &stopped.name { bdi { (name) } ": " } (stopped.error) }
                }
            }
        }
    }
}

fn routes_table(table: Option<&Table>) -> Markup {
    let Some(table) = table else {
        return html! { div.card.pad { span.mute { "No routes are set, so each request has to name its workflow." } } };
    };
    let params = |route: &Route| match route.param_names().collect::<Vec<_>>() {
        names if names.is_empty() => "none".to_owned(),
        names => names.join(", "),
    };
    html! {
        div.card {
            table {
                thead { tr { th scope="col" { "Workflow" } th scope="col" { "From" } th scope="col" { "Filter" } th scope="col" { "Params" } } }
                tbody {
                    @for route in table.iter() {
                        tr {
                            td data-of="Workflow" { bdi.name { (route.workflow().as_str()) } }
                            td data-of="From" {
                                span {
                                    @if let Some(sender) = route.sender() { (sender) " " }
                                    (match route.input_kind() { InputKind::Event => "events", InputKind::Webhook => "webhooks" })
                                }
                            }
                            td data-of="Filter" { span { (if route.has_filter() { "yes" } else { "matches all" }) } }
                            td data-of="Params" { bdi { (params(route)) } }
                        }
                    }
                }
            }
        }
    }
}
