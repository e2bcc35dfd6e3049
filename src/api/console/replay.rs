//! The page that replays delivered starts as new runs: a search, a dry run that asks for confirmation, and the result.

use form_urlencoded::Serializer;
use http::{Method, Response};
use maud::{Markup, html};

use super::format::{ago, count, time};
use super::layout::{Tab, Tone, notice, page};
use super::repair::origin;
use crate::api::filter::{self, Client};
use crate::api::operator::{self, REQUESTED_DRAIN_BUDGET};
use crate::api::problem::Problem;
use crate::api::query::Query;
use crate::api::{RequestContext, replay};
use crate::delivery::DeliveryId;
use crate::gateway::{Replay, Replayed};
use crate::ports::Host;
use crate::time::Timestamp;

/// The path of the page.
const PATH: &str = "/console/replay";

/// `GET`, `HEAD` and `POST /console/replay`: asks which starts are replayed, shows those that match, or replays them.
pub(in crate::api) async fn answer(
    context: &mut RequestContext<'_, '_, impl Host>,
) -> Result<Response<Vec<u8>>, Problem> {
    let gateway = context.gateway()?;
    if !gateway.keeps_payloads() {
        return Ok(page(Tab::Deliveries, "Replay", &nothing_kept()));
    }
    let query = Query::parse(context.query)?;
    let mut replay = replay::read(&query, &gateway, Client::Form)?;
    replay.is_dry_run = context.method != Method::POST;
    if replay.is_dry_run && query.one("workflow")?.is_none() {
        return Ok(page(Tab::Deliveries, "Replay", &form(&replay)));
    }
    replay.trace = context.trace();
    let replayed = gateway.replay(&replay, REQUESTED_DRAIN_BUDGET).await;
    let replayed = replayed.map_err(|error| operator::to_problem(context, error.into()))?;
    let view = View { replay: &replay, replayed: &replayed };
    Ok(if replay.is_dry_run { view.confirmation(context.host.now()) } else { view.result() })
}

/// What to set while no payloads are kept.
fn nothing_kept() -> Markup {
    html! {
        (notice(Tone::Plain, &html! {
            "No payloads are kept. Set " code { "keep_hours" } " in " code { "settings" } ", with "
            code { "database_url" } ": what is delivered from then on can be replayed for that time."
        }))
        div.row.below { a.button href="/console/deliveries" { "Deliveries" } }
    }
}

/// The search for the starts.
fn form(replay: &Replay) -> Markup {
    let fields = [
        ("workflow", "Workflow, perhaps with * at its end", "text", ""),
        ("source", "Source", "text", ""),
        ("received_from", "Received from, in UTC", "datetime-local", ""),
        ("received_to", "Received before, in UTC", "datetime-local", ""),
        ("to", "Another workflow to start instead", "text", ""),
        ("name", "Name of the replay: under one name, a start is replayed once", "text", replay.name.as_str()),
    ];
    html! {
        (notice(Tone::Plain, &html! {
            "Starts that the engine has accepted are sent once more, as new runs: after a bad release of a workflow, say. \
             Their first runs stay as they are."
        }))
        form.search.above action=(PATH) {
            div.fields {
                @for (name, label, kind, value) in fields {
                    label {
                        span { (label) }
                        input type=(kind) name=(name) value=(value) maxlength="256"
                            step=[(kind == "datetime-local").then_some("1")];
                    }
                }
            }
            div.row { button.main type="submit" { "Show what matches" } }
        }
    }
}

/// A replay and its result, or that of its dry run.
struct View<'a> {
    replay: &'a Replay,
    replayed: &'a Replayed,
}

impl View<'_> {
    fn confirmation(&self, now: Timestamp) -> Response<Vec<u8>> {
        let Self { replay, replayed } = self;
        let total = count(replayed.count, "start", "starts");
        let is_part = replayed.next.is_some();
        let content = html! {
            (notice(Tone::Plain, &html! {
                "Each becomes a new delivery that starts a new run; its first run stays as it is. The drain sends them, as many at \
                 a time as the engine keeps up with."
            }))
            div.card.pad {
                p { strong { @if is_part { "At least " } (total) } }
                p { (self.words()) }
                @if is_part { p.mute { "There was no time to read all of them, so more may match." } }
            }
            @if !replayed.first.is_empty() {
                h2 { (if replayed.first.len() < replayed.count { "The first ones" } else { "These" }) }
                (self.rows(now))
            }
            form.row.below method="post" action=(url(replay, replay.after)) {
                @if replayed.count > 0 || is_part { button.main type="submit" { "Replay all" } }
                a.button href=(PATH) { "Cancel" }
            }
        };
        let question = if replayed.count > 0 || is_part {
            format!("Replay {}{total}?", if is_part { "at least " } else { "" })
        } else {
            "No start matches".to_owned()
        };
        page(Tab::Deliveries, &question, &content)
    }

    fn rows(&self, now: Timestamp) -> Markup {
        html! {
            div.card {
                table {
                    thead { tr { th scope="col" { "Delivery" } th scope="col" { "Received" } th scope="col" { "Source" } } }
                    tbody {
                        @for kept in &self.replayed.first {
                            tr {
                                td data-of="Delivery" { span { bdi { (kept.workflow.as_str()) } } small { (kept.id) } }
                                td data-of="Received" { span { (ago(kept.id.at(), now)) } small { (time(kept.id.at())) } }
                                td data-of="Source" { span { (kept.source.as_deref().unwrap_or("None")) } }
                            }
                        }
                    }
                }
            }
        }
    }

    fn result(&self) -> Response<Vec<u8>> {
        let Self { replay, replayed } = self;
        let Replayed { replayed: new, repeated, unreadable, next, .. } = replayed;
        let content = html! {
            (notice(if *new > 0 { Tone::Good } else { Tone::Busy }, &html! {
                (count(*new, "start", "starts")) (if *new == 1 { " is" } else { " are" })
                " pending again, as new deliveries. The drain sends them."
            }))
            p { (self.words()) }
            @if *repeated > 0 {
                p.mute {
                    (count(*repeated, "start", "starts")) " left: replayed before under the name " code { (replay.name) }
                    ". Another name replays them once more."
                }
            }
            @if *unreadable > 0 { p.mute { (count(*unreadable, "start", "starts")) " left: the record can't be read" } }
            @if let Some(next) = next {
                p { "There was no time for all." }
                form.row.below method="post" action=(url(replay, Some(*next))) {
                    button.main type="submit" { "Replay the rest" }
                }
            }
            div.row.below { a.button href="/console/deliveries" { "Pending deliveries" } }
        };
        page(Tab::Deliveries, "Replayed", &content)
    }

    /// The replay in words.
    fn words(&self) -> Markup {
        let filter = &self.replay.filter;
        html! {
            (if filter.is_empty() { "All delivered starts that are kept" } else { "Delivered starts" })
            (origin(filter))
            @if let Some(text) = &filter.text { ", with " bdi { (text) } " in the workflow" }
            @if let Some(to) = &self.replay.to { ", to the workflow " code { (to.as_str()) } }
            "."
        }
    }
}

/// The address of a replay.
fn url(replay: &Replay, after: Option<DeliveryId>) -> String {
    let path = format!("{PATH}?");
    let at = path.len();
    let mut query = Serializer::for_suffix(path, at);
    query.extend_pairs(filter::pairs(&replay.filter)).append_pair("name", &replay.name);
    if let Some(to) = &replay.to {
        query.append_pair("to", to.as_str());
    }
    if let Some(after) = after {
        query.append_pair("after", &after.to_string());
    }
    query.finish()
}
