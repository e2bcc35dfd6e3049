//! How things stand: the engine, what waits, the last drain, the configuration. Nothing secret is shown, only that it is
//! there.

use http::Response;
use maud::{Markup, html};

use super::format::{ago, count, time};
use super::layout::{Mood, Tab, chip, notice, page};
use crate::api::problem::Problem;
use crate::api::{RequestContext, operator};
use crate::config;
use crate::gateway::{DrainSummary, Overview, Stopped, overview};
use crate::ports::{Host, Variables};
use crate::routing::{InputKind, Route, Table};
use crate::time::Timestamp;

/// `GET /console`, and `POST /console/drain`, which drains first.
pub(super) async fn show(
    context: &mut RequestContext<'_, '_, impl Host>,
    drain: bool,
) -> Result<Response<Vec<u8>>, Problem> {
    let mut drained = None;
    if drain {
        let gateway = context.gateway()?;
        drained = Some(operator::drained(context, &gateway).await?);
    }
    let state = overview(context.host).await.map_err(|error| operator::refuse(context, error.into()))?;
    let configuration = match config::check(context.host) {
        faults if faults.is_empty() => settings(context.host)?,
        faults => broken(&faults),
    };
    let (senders, routes) = (config::senders_with_secrets(context.host), config::routes(context.host).ok().flatten());
    let content = html! {
        @if let Some(drained) = &drained { (told(drained)) }
        (tiles(&state, context.host.now()))
        div.card.pad { (configuration) }
        h2 { "Senders that sign" }
        div.card.pad { (signing(&senders)) }
        h2 { "Routes" }
        (routing(routes.as_ref()))
    };
    Ok(page(Tab::Overview, "Overview", &content))
}

fn told(drained: &DrainSummary) -> Markup {
    let mood = match drained.stopped {
        None | Some(Stopped::Budget) => Mood::Good,
        Some(Stopped::Leased) => Mood::Busy,
        Some(Stopped::Unreachable) => Mood::Bad,
    };
    notice(mood, &html! { "Drained: " (words(drained)) })
}

fn tiles(state: &Overview, now: Timestamp) -> Markup {
    let drained = state.drained.as_ref();
    let unreachable = drained.and_then(|(_, drained)| drained.as_ref()?.stopped) == Some(Stopped::Unreachable);
    html! {
        div.tiles {
            section.card.pad {
                h2 { "Engine" }
                @if let Some(fault) = &state.fault {
                    p.big.bad { "Refuses Sluice" }
                    p { (fault.reason) ", since " (time(fault.at)) ". Check engine_url and engine_token" }
                } @else if unreachable {
                    p.big.bad { "Not reachable" }
                    p.mute { "Or it puts everything off, as the last drain saw" }
                } @else if let Some(failure) = &state.failure {
                    p.big { "Not taking all" }
                    p.mute { "Of the oldest that waits: " (failure) }
                } @else {
                    p.big.good { "In order" }
                    p.mute { "Nothing is known against it" }
                }
            }
            section.card.pad {
                h2 { "Pending" }
                p.big { a href="/console/deliveries" { (state.pending) } }
                p.mute {
                    @match state.oldest {
                        Some(oldest) => { "The oldest came " a href={ "/console/deliveries/" (oldest) } { (ago(oldest.at(), now)) } }
                        None => { "Nothing waits" }
                    }
                }
            }
            section.card.pad {
                h2 { "Dead" }
                p.big { a href="/console/deliveries?state=dead" { (state.dead) } }
                p.mute { @if state.dead == 0 { "Nothing was given up" } @else { "Redeliver or delete them" } }
            }
            section.card.pad {
                h2 { "Last drain" }
                @match drained {
                    None => { p.big { "Never" } p.mute { "Have it called every minute" } }
                    Some((at, drained)) => {
                        p.big { (ago(*at, now)) }
                        p.mute { (drained.as_ref().map(words).unwrap_or_default()) }
                    }
                }
            }
        }
        form.row.below method="post" action="/console/drain" {
            button type="submit" { "Drain now" }
            span.mute { "Brings what is due, for at most " (operator::BUDGET.as_secs()) " s. As of " (time(now)) }
        }
        h2 { "Configuration" }
    }
}

/// What a drain did.
fn words(drained: &DrainSummary) -> String {
    let DrainSummary { delivered, rejected, dead, dropped, pending, stopped, .. } = drained;
    let counted = [
        (*delivered, "delivered"),
        (*rejected, "rejected"),
        (*dead, "dead"),
        (*dropped, "dropped"),
        (pending.unwrap_or(0), "still pending"),
    ];
    let mut parts: Vec<_> =
        counted.iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!("{number} {what}")).collect();
    parts.extend(stopped.map(|stopped| {
        let why = match stopped {
            Stopped::Unreachable => "stopped: the engine can't be reached, or puts everything off",
            Stopped::Budget => "stopped: the time was up",
            Stopped::Leased => "another drain was at work",
        };
        why.to_owned()
    }));
    if parts.is_empty() { "nothing was pending".to_owned() } else { parts.join(", ") }
}

fn settings(variables: &impl Variables) -> Result<Markup, Problem> {
    let settings = config::settings(variables)?;
    let tokens = config::access_tokens(variables)?.len();
    let links = !config::link_secrets(variables)?.is_empty();
    let set = |is_set: bool| if is_set { "set" } else { "not set" };
    Ok(html! {
        p.above { (chip(Mood::Good, "In order")) }
        dl {
            dt { "Engine" } dd { (settings.engine.url) }
            dt { "Token for the engine" } dd { (set(settings.engine.token.is_some())) }
            dt { "Who may deliver" }
            dd {
                @if config::requires_authentication(variables)? {
                    "Who signs, or has an access token: " (tokens) (if tokens == 1 { " is set" } else { " are set" })
                } @else {
                    (chip(Mood::Busy, "Anyone")) " No access token is set, and no sender's secret"
                }
            }
            dt { "Public URL" } dd { (config::public_url(variables)?.as_deref().unwrap_or("not set")) }
            dt { "Callback links" } dd { (if links { "on" } else { "off: link_secret is not set" }) }
            dt { "Kept for" } dd { (settings.retention.length().as_secs().checked_div(3_600).unwrap_or(0)) " h at least" }
        }
    })
}

fn broken(faults: &[config::ConfigError]) -> Markup {
    html! {
        p { (chip(Mood::Bad, "Not in order")) " What these say has to be mended, in Spin's variables:" }
        ul.faults { @for fault in faults { li { (fault) } } }
    }
}

fn signing(senders: &[(&str, usize)]) -> Markup {
    html! {
        @if senders.is_empty() { span.mute { "No sender has a secret: no signature is asked for." } }
        ul.chips {
            @for (name, secrets) in senders {
                li { (chip(Mood::Plain, name)) " " small { (count(*secrets, "secret", "secrets")) } }
            }
        }
    }
}

fn routing(table: Option<&Table>) -> Markup {
    let Some(table) = table else {
        return html! { div.card.pad { span.mute { "There are none: each sender names its workflow." } } };
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
                                    (match route.input_kind() { InputKind::Event => "events", InputKind::Webhook => "webhooks" })
                                    @if let Some(sender) = route.sender() { " of " (sender) }
                                }
                            }
                            td data-of="Filter" { span { (if route.has_filter() { "yes" } else { "takes all" }) } }
                            td data-of="Params" { bdi { (params(route)) } }
                        }
                    }
                }
            }
        }
    }
}
