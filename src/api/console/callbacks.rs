//! The callbacks of a run that were accepted.

use http::Response;
use maud::{Markup, html};

use super::format::{ago, count, time};
use super::json::pretty;
use super::layout::{Mood, Tab, chip, page};
use crate::api::problem::Problem;
use crate::api::query::{Query, unusable};
use crate::api::{RequestContext, operator};
use crate::callback::{CallbackRecord, State, Status};
use crate::ports::Host;
use crate::reference::RunRef;
use crate::time::Timestamp;

/// Most callbacks that are shown.
const MOST: usize = 100;
/// Most bytes of a payload that are shown.
const MOST_SHOWN: usize = 16_384;

/// `GET /console/callbacks?run=`
pub(super) async fn show(context: &mut RequestContext<'_, '_, impl Host>) -> Result<Response<Vec<u8>>, Problem> {
    let gateway = context.gateway()?;
    let query = Query::parse(context.query)?;
    let text = query.one("run")?.unwrap_or_default().trim();
    let found = if text.is_empty() {
        html! { div.card.empty { strong { "Which run?" } "The callbacks that were accepted for it are listed, as long as they are kept." } }
    } else {
        let run = RunRef::parse(text).map_err(|error| unusable("run", error))?;
        let records = gateway.callbacks(&run).await.map_err(|error| operator::refuse(context, error))?;
        listed(&records, gateway.now())
    };
    let content = html! {
        form.row.above role="search" action="/console/callbacks" {
            input.grow type="search" name="run" value=(text) aria-label="Run" placeholder="Id of the run" maxlength="256" required;
            button type="submit" { "Show" }
        }
        (found)
    };
    Ok(page(Tab::Callbacks, "Callbacks of a run", &content))
}

fn listed(records: &[CallbackRecord], now: Timestamp) -> Markup {
    if records.is_empty() {
        return html! { div.card.empty { strong { "None was accepted" } "Or it is older than retention_hours." } };
    }
    html! {
        @for record in records.iter().take(MOST) { (one(record, now)) }
        p.mute {
            (count(records.len(), "callback", "callbacks"))
            @if records.len() > MOST { ", the first " (MOST) " are shown" }
        }
    }
}

fn one(record: &CallbackRecord, now: Timestamp) -> Markup {
    let status = match record.status {
        Status::Succeeded => Mood::Good,
        Status::Failed => Mood::Bad,
    };
    let id = (record.state == State::Pending).then_some(record.id);
    html! {
        section.card.above {
            div.pad {
                div.row.above {
                    h2 { bdi { (record.topic.as_str()) } }
                    (chip(status, record.status.as_str()))
                    @match record.state {
                        State::Pending => (chip(Mood::Busy, "pending")),
                        State::Delivered => (chip(Mood::Plain, "delivered")),
                    }
                }
                p.mute {
                    "Received " (ago(record.received, now)) ", " (time(record.received))
                    @if let Some(id) = id { " · " a href={ "/console/deliveries/" (id) } { "its delivery" } }
                }
            }
            @if let Some(payload) = &record.payload {
                @let (body, is_cut) = pretty(payload.get(), MOST_SHOWN);
                pre { (body) @if is_cut { "\n… the first " (MOST_SHOWN) " bytes" } }
            } @else {
                p.pad.mute { "Without a payload." }
            }
        }
    }
}
