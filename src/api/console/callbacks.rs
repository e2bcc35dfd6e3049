//! The page with the accepted callbacks of a run.

use http::Response;
use maud::{Markup, html};

use super::engine;
use super::format::{ago, count, time};
use super::json::pretty;
use super::layout::{Tab, Tone, chip, page};
use crate::api::problem::Problem;
use crate::api::query::{Query, invalid_reference};
use crate::api::{RequestContext, operator};
use crate::callback::{CallbackRecord, State, Status};
use crate::ports::Host;
use crate::reference::RunRef;
use crate::store::CallbackPage;
use crate::time::Timestamp;

/// Number of callbacks on the page, if there are as many.
const MAX_SHOWN: usize = 100;
/// Maximum bytes of each payload on the page.
const MAX_SHOWN_BYTES: usize = 16_384;

/// `GET /console/callbacks?run=`
pub(in crate::api) async fn show(
    context: &mut RequestContext<'_, '_, impl Host>,
) -> Result<Response<Vec<u8>>, Problem> {
    let gateway = context.gateway()?;
    let query = Query::parse(context.query)?;
    let text = query.one("run")?.unwrap_or_default().trim();
    let found = if text.is_empty() {
        html! { div.card.empty { strong { "No run selected" } "Enter the id of a run to list its accepted callbacks, for as long as they are kept." } }
    } else {
        let run = RunRef::parse(text).map_err(|error| invalid_reference("run", error))?;
        let page =
            gateway.callbacks(&run, MAX_SHOWN, None).await.map_err(|error| operator::to_problem(context, error))?;
        html! {
            (list(&page, gateway.now()))
            (engine::run_link(&gateway.settings().engine, run.as_str()))
        }
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

fn list(page: &CallbackPage, now: Timestamp) -> Markup {
    let records = &page.records;
    if records.is_empty() {
        return html! { div.card.empty { strong { "No callbacks" } "None was accepted for this run, or they are older than retention_hours." } };
    }
    html! {
        @for record in records { (callback_card(record, now)) }
        p.mute {
            (count(records.len(), "callback", "callbacks"))
            @if page.next.is_some() { "; the run has more" }
        }
    }
}

fn callback_card(record: &CallbackRecord, now: Timestamp) -> Markup {
    let status = match record.status {
        Status::Succeeded => Tone::Good,
        Status::Failed => Tone::Bad,
    };
    let id = (record.state == State::Pending).then_some(record.id);
    html! {
        section.card.above {
            div.pad {
                div.row.above {
                    h2 { bdi { (record.topic.as_str()) } }
                    (chip(status, record.status.as_str()))
                    @match record.state {
                        State::Pending => (chip(Tone::Busy, "pending")),
                        State::Delivered if record.unseen => (chip(Tone::Busy, "sent, effect unknown")),
                        State::Delivered => (chip(Tone::Plain, "delivered")),
                    }
                }
                p.mute {
                    "Received " (ago(record.received, now)) ", " (time(record.received))
                    @if let Some(id) = id { " · " a href={ "/console/deliveries/" (id) } { "Show delivery" } }
                }
            }
            @if let Some(payload) = &record.payload {
                @let (body, is_cut) = pretty(payload.get(), MAX_SHOWN_BYTES);
                pre { (body) @if is_cut { "\n… only the first " (MAX_SHOWN_BYTES) " bytes are shown" } }
            } @else {
                p.pad.mute { "No payload." }
            }
        }
    }
}
