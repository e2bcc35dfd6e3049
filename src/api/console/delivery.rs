//! One delivery: what will be sent, what was tried, and what can be done.

use http::Response;
use maud::{Markup, html};

use super::frame::{Mood, Tab, chip, notice, page};
use super::pretty::pretty;
use super::words::{ago, time, until};
use crate::api::problem::Problem;
use crate::api::{Call, operator};
use crate::delivery::{Delivery, DeliveryId, HISTORY, Work};
use crate::engine::boomerang;
use crate::gateway::Gate;
use crate::gateway::operator::{OperatorError, Redelivered, Stored};
use crate::ports::Outside;

/// Most bytes of a request's body that are shown.
const MOST_SHOWN: usize = 262_144;

/// `GET /console/deliveries/{id}`
pub(super) async fn show(call: &mut Call<'_, '_, impl Outside>, id: &str) -> Result<Response<Vec<u8>>, Problem> {
    let gate = call.gate()?;
    draw(call, &gate, operator::delivery_id(id)?, &html! {}).await
}

/// `POST /console/deliveries/{id}/redeliver`
pub(super) async fn redeliver(call: &mut Call<'_, '_, impl Outside>, id: &str) -> Result<Response<Vec<u8>>, Problem> {
    let (gate, id) = (call.gate()?, operator::delivery_id(id)?);
    let redelivered = gate.redeliver(id).await.map_err(|error| operator::refuse(call, error))?;
    let (mood, text) = match redelivered {
        Redelivered::Delivered => return Ok(gone("Delivered", "The engine has it now.", id)),
        Redelivered::Dropped => return Ok(gone("Dropped", "The same was delivered before, so this one is gone.", id)),
        Redelivered::Dead(why) => (Mood::Bad, format!("Sent again, and it stays dead: {why}")),
        Redelivered::Pending(why) => {
            (Mood::Busy, format!("It stays pending: {}", why.as_deref().unwrap_or("it will be tried again")))
        }
    };
    draw(call, &gate, id, &notice(mood, &html! { (text) })).await
}

/// `GET /console/deliveries/{id}/delete`
pub(super) async fn confirm(call: &mut Call<'_, '_, impl Outside>, id: &str) -> Result<Response<Vec<u8>>, Problem> {
    let (gate, id) = (call.gate()?, operator::delivery_id(id)?);
    let shown = match gate.show(id).await {
        Ok((stored, delivery)) => html! { (chip(mood(stored), stored.as_str())) (facts(&delivery)) },
        Err(OperatorError::Damaged) => html! { p { "It can't be read." } },
        Err(error) => return Err(operator::refuse(call, error)),
    };
    let content = html! {
        (notice(Mood::Bad, &html! {
            "It is forgotten, and the engine never gets it. So is its key: if its sender brings it again, it is taken as if for the first time."
        }))
        div.card.pad { (shown) }
        form.row.below method="post" {
            button.danger type="submit" { "Delete for good" }
            a.button href={ "/console/deliveries/" (id) } { "Keep it" }
        }
    };
    Ok(page(Tab::Deliveries, "Delete this delivery?", &content))
}

/// `POST /console/deliveries/{id}/delete`
pub(super) async fn delete(call: &mut Call<'_, '_, impl Outside>, id: &str) -> Result<Response<Vec<u8>>, Problem> {
    let id = operator::delivery_id(id)?;
    call.gate()?.delete(id).await.map_err(|error| operator::refuse(call, error))?;
    Ok(gone("Deleted", "It is forgotten, and its key with it.", id))
}

fn gone(heading: &str, text: &str, id: DeliveryId) -> Response<Vec<u8>> {
    let content = html! {
        (notice(Mood::Good, &html! { (text) }))
        p.mute { "Delivery " code { (id) } }
        div.row.below { a.button href="/console/deliveries" { "Pending deliveries" } a.button href="/console/deliveries?state=dead" { "Dead deliveries" } }
    };
    page(Tab::Deliveries, heading, &content)
}

async fn draw<O: Outside>(
    call: &mut Call<'_, '_, O>,
    gate: &Gate<'_, O>,
    id: DeliveryId,
    above: &Markup,
) -> Result<Response<Vec<u8>>, Problem> {
    let (stored, delivery) = match gate.show(id).await {
        Ok(shown) => shown,
        Err(OperatorError::Damaged) => {
            call.log.warning(format!("the stored delivery {id} can't be read"));
            let words = OperatorError::Damaged.to_string();
            let content = html! { (notice(Mood::Bad, &html! { (words) })) div.row { (delete_link(id)) } };
            return Ok(page(Tab::Deliveries, "Damaged delivery", &content));
        }
        Err(error) => return Err(operator::refuse(call, error)),
    };
    let now = gate.outside.now();
    let heading = match &delivery.work {
        Work::Start(start) => format!("Start {}", start.workflow.as_str()),
        Work::Resolve(callback) => format!("Resolve {}", callback.run.as_str()),
    };
    let content = html! {
        (above)
        div.row.above {
            (chip(mood(stored), stored.as_str()))
            @if delivery.is_under_way(now, &gate.settings.limits) { (chip(Mood::Busy, "on its way")) }
            form method="post" action={ "/console/deliveries/" (id) "/redeliver" } { button.main type="submit" { "Redeliver now" } }
            (delete_link(id))
        }
        div.card.pad {
            (facts(&delivery))
            @if stored == Stored::Pending {
                p.mute.below { "Next attempt " (until(delivery.next_attempt, now)) ", not before " (time(delivery.next_attempt)) }
            }
            @if delivery.is_ambiguous() {
                p.mute { "It, or another of its key, may have reached the engine: that is asked before it is sent again." }
            }
        }
        h2 { "Attempts" }
        div.card {
            @if delivery.history.is_empty() {
                p.empty { "None has failed so far." }
            } @else {
                table {
                    thead { tr { th scope="col" { "When" } th scope="col" { "Why it failed" } } }
                    tbody {
                        @for attempt in delivery.history.iter().rev() {
                            tr {
                                td data-of="When" { span { (ago(attempt.at, now)) } small { (time(attempt.at)) } }
                                td data-of="Why it failed" { span { (attempt.failure) } }
                            }
                        }
                    }
                }
            }
        }
        @if usize::try_from(delivery.attempts).is_ok_and(|attempts| attempts > HISTORY) {
            p.mute { "The last " (HISTORY) " of " (delivery.attempts) "." }
        }
        h2 { "Request to the engine" }
        (request(gate, &delivery))
    };
    Ok(page(Tab::Deliveries, &heading, &content))
}

fn mood(stored: Stored) -> Mood {
    match stored {
        Stored::Pending => Mood::Busy,
        Stored::Dead => Mood::Bad,
    }
}

fn delete_link(id: DeliveryId) -> Markup {
    html! { a.button href={ "/console/deliveries/" (id) "/delete" } { "Delete…" } }
}

fn facts(delivery: &Delivery<'_>) -> Markup {
    html! {
        dl {
            dt { "Id" } dd { code { (delivery.id) } }
            @match &delivery.work {
                Work::Start(start) => { dt { "Workflow" } dd { bdi { (start.workflow.as_str()) } } }
                Work::Resolve(callback) => {
                    dt { "Run" } dd { bdi { (callback.run.as_str()) } }
                    dt { "Topic" } dd { bdi { (callback.topic.as_str()) } }
                    dt { "Ends as" } dd { (callback.status.as_str()) }
                }
            }
            dt { "Received" } dd { (time(delivery.received)) }
            dt { "Attempts" } dd { (delivery.attempts) }
            @if let Some(claimed) = &delivery.key { dt { "Key" } dd { code { (claimed.key.hash()) } } }
        }
    }
}

fn request<O: Outside>(gate: &Gate<'_, O>, delivery: &Delivery<'_>) -> Markup {
    let engine = &gate.settings.engine;
    let Ok(request) = boomerang::bring(&engine.url, engine.start, delivery) else {
        return html! { div.card.pad { "It can't be built." } };
    };
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let (body, is_cut) = pretty(std::str::from_utf8(request.body()).unwrap_or_default(), MOST_SHOWN);
    html! {
        div.card {
            pre { strong { (request.method().as_str()) } " " (path) "\n\n" (body) }
        }
        @if is_cut {
            p.mute { "These are the first " (MOST_SHOWN) " bytes. All of it: GET /api/v2/deliveries/" (delivery.id) }
        }
    }
}
