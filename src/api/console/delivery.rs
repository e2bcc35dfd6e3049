//! The page of one delivery: its data, its attempts, its request to the engine, and its actions.

use http::{Method, Response};
use maud::{Markup, html};

use super::format::{ago, time, until};
use super::json::pretty;
use super::layout::{Tab, Tone, chip, notice, page};
use super::{engine, preflight};
use crate::api::operator::RedeliveryState;
use crate::api::problem::Problem;
use crate::api::{RequestContext, operator};
use crate::config::Settings;
use crate::delivery::{Delivery, DeliveryId, MAX_HISTORY, Outcome, Work};
use crate::engine::Engine;
use crate::gateway::Gateway;
use crate::gateway::operator::OperatorError;
use crate::ports::Host;
use crate::store::DeliveryState;
use crate::time::Timestamp;

/// Maximum bytes of a request's body on the page.
const MAX_SHOWN_BYTES: usize = 262_144;

/// `GET /console/deliveries/{id}`
pub(in crate::api) async fn show(
    context: &mut RequestContext<'_, '_, impl Host>,
    id: &str,
) -> Result<Response<Vec<u8>>, Problem> {
    let id = operator::delivery_id(id)?;
    let gateway = context.gateway()?;
    delivery_page(context, &gateway, id, None).await
}

/// `POST /console/deliveries/{id}/redeliver`
pub(in crate::api) async fn redeliver(
    context: &mut RequestContext<'_, '_, impl Host>,
    id: &str,
) -> Result<Response<Vec<u8>>, Problem> {
    let id = operator::delivery_id(id)?;
    let gateway = context.gateway()?;
    let outcome = gateway.redeliver(id).await.map_err(|error| operator::to_problem(context, error))?;
    let result = match operator::redelivered(&outcome) {
        (RedeliveryState::Delivered, _) => {
            let run = match &outcome {
                Outcome::Delivered { body } => gateway.run_id(body),
                _ => None,
            };
            let engine = &gateway.settings().engine;
            let text = html! {
                "The engine has accepted the delivery."
                @if let Some(run) = run { " It is the run " (engine::run(Some(engine), &run)) "." }
            };
            return Ok(removed(id, "Delivered", &text));
        }
        (RedeliveryState::Dropped, _) => {
            let text = "Another delivery with the same key was delivered before, so this one was removed.";
            return Ok(removed(id, "Dropped", &html! { (text) }));
        }
        (RedeliveryState::Dead, reason) => (Tone::Bad, "The delivery stays dead", reason),
        (RedeliveryState::Pending, reason) => (Tone::Busy, "The delivery stays pending", reason),
    };
    delivery_page(context, &gateway, id, Some(result)).await
}

/// `GET`, `HEAD` and `POST /console/deliveries/{id}/delete`: asks for confirmation, or deletes the delivery.
pub(in crate::api) async fn delete(
    context: &mut RequestContext<'_, '_, impl Host>,
    id: &str,
) -> Result<Response<Vec<u8>>, Problem> {
    let id = operator::delivery_id(id)?;
    let gateway = context.gateway()?;
    if context.method == Method::POST {
        let is_deleted = gateway.delete(id).await.map_err(|error| operator::to_problem(context, error))?;
        let text = if is_deleted {
            "The delivery and its key were removed."
        } else {
            "A drain is running, and removes the delivery and its key before it would send it."
        };
        return Ok(removed(id, "Deleted", &html! { (text) }));
    }
    let view = load(context, &gateway, id).await?;
    Ok(confirm_delete(&gateway.settings().engine, id, view.as_ref()))
}

/// A stored delivery that can be read.
struct View {
    state: DeliveryState,
    delivery: Delivery<'static>,
    now: Timestamp,
}

/// The result of an action: its tone, the outcome, and the reason for it.
type ActionResult = (Tone, &'static str, Option<String>);

/// Returns the page of a delivery, with the result of an action if there was one.
async fn delivery_page<H: Host>(
    context: &mut RequestContext<'_, '_, H>,
    gateway: &Gateway<'_, H>,
    id: DeliveryId,
    result: Option<ActionResult>,
) -> Result<Response<Vec<u8>>, Problem> {
    let view = load(context, gateway, id).await?;
    Ok(view.map_or_else(|| damaged(id), |view| view.page(gateway.settings(), result)))
}

/// Loads a delivery; `None` if its record can't be read.
async fn load<H: Host>(
    context: &mut RequestContext<'_, '_, H>,
    gateway: &Gateway<'_, H>,
    id: DeliveryId,
) -> Result<Option<View>, Problem> {
    match gateway.show(id).await {
        Ok((state, delivery)) => Ok(Some(View { state, delivery, now: context.host.now() })),
        Err(OperatorError::Damaged) => {
            context.log.warning(format!("the stored delivery {id} can't be read"));
            Ok(None)
        }
        Err(error) => Err(operator::to_problem(context, error)),
    }
}

fn confirm_delete(engine: &Engine<'_>, id: DeliveryId, view: Option<&View>) -> Response<Vec<u8>> {
    let content = html! {
        (notice(Tone::Bad, &html! {
            "The engine will never get this delivery. Its key is removed as well: if its sender sends it again, it is accepted as a new one."
        }))
        div.card.pad {
            @match view {
                Some(View { state, delivery, .. }) => { p { (state_chip(*state)) } (details(engine, delivery)) }
                None => { "The record can't be read." }
            }
        }
        form.row.below method="post" {
            button.danger type="submit" { "Delete permanently" }
            a.button href={ "/console/deliveries/" (id) } { "Cancel" }
        }
    };
    page(Tab::Deliveries, "Delete this delivery?", &content)
}

fn damaged(id: DeliveryId) -> Response<Vec<u8>> {
    let text = html! { "The record can't be read: it is damaged, or was written by a later version of Sluice." };
    let content = html! { (notice(Tone::Bad, &text)) div.row { (delete_link(id)) } };
    page(Tab::Deliveries, "Damaged delivery", &content)
}

fn removed(id: DeliveryId, heading: &str, text: &Markup) -> Response<Vec<u8>> {
    let content = html! {
        (notice(Tone::Good, text))
        p.mute { "Delivery " code { (id) } }
        div.row.below {
            a.button href="/console/deliveries" { "Pending deliveries" }
            a.button href="/console/deliveries?state=dead" { "Dead deliveries" }
        }
    };
    page(Tab::Deliveries, heading, &content)
}

impl View {
    fn page(&self, settings: &Settings, result: Option<ActionResult>) -> Response<Vec<u8>> {
        let Self { state, delivery, now } = self;
        let heading = match &delivery.work {
            Work::Start(start) => ["Start ", start.workflow.as_str()].concat(),
            Work::Resolve(callback) => ["Resolve ", callback.run.as_str()].concat(),
        };
        let content = html! {
            @if let Some((tone, outcome, reason)) = result {
                (notice(tone, &html! { (outcome) @if let Some(reason) = reason { ": " (reason) } }))
            }
            div.row.above {
                (state_chip(*state))
                @if delivery.is_in_flight(*now, &settings.limits) {
                    (chip(Tone::Busy, "unconfirmed"))
                    span.mute { "The engine may still act on it, so it can't be redelivered or deleted yet" }
                } @else {
                    form method="post" action={ "/console/deliveries/" (delivery.id) "/redeliver" } {
                        button.main type="submit" { "Redeliver now" }
                    }
                    (delete_link(delivery.id))
                }
                @if let Work::Start(start) = &delivery.work { (preflight::link(&start.workflow)) }
            }
            div.card.pad {
                (details(&settings.engine, delivery))
                @if *state == DeliveryState::Pending {
                    p.mute.below {
                        "Next attempt " (until(delivery.next_attempt, *now)) ", not before " (time(delivery.next_attempt))
                    }
                }
                @if delivery.is_ambiguous() {
                    p.mute { "This delivery, or another one with its key, may have reached the engine. Sluice asks the engine before it sends this one again." }
                }
            }
            h2 { "Attempts" }
            (attempts(delivery, *now))
            h2 { "Request to the engine" }
            (request(settings, delivery))
        };
        page(Tab::Deliveries, &heading, &content)
    }
}

fn attempts(delivery: &Delivery<'_>, now: Timestamp) -> Markup {
    html! {
        div.card {
            @if delivery.history.is_empty() {
                p.empty { "No attempt has failed so far." }
            } @else {
                table {
                    thead { tr { th.when scope="col" { "When" } th scope="col" { "Why it failed" } } }
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
        @if usize::try_from(delivery.attempts).is_ok_and(|attempts| attempts > MAX_HISTORY) {
            p.mute { "Only the last " (MAX_HISTORY) " of " (delivery.attempts) " attempts are shown." }
        }
    }
}

fn state_chip(state: DeliveryState) -> Markup {
    match state {
        DeliveryState::Pending => chip(Tone::Busy, "pending"),
        DeliveryState::Dead => chip(Tone::Bad, "dead"),
    }
}

fn delete_link(id: DeliveryId) -> Markup {
    html! { a.button href={ "/console/deliveries/" (id) "/delete" } { "Delete…" } }
}

fn details(engine: &Engine<'_>, delivery: &Delivery<'_>) -> Markup {
    html! {
        dl {
            dt { "Id" } dd { code { (delivery.id) } }
            @match &delivery.work {
                Work::Start(start) => { dt { "Workflow" } dd { bdi { (start.workflow.as_str()) } } }
                Work::Resolve(callback) => {
                    dt { "Run" } dd { (engine::run(Some(engine), callback.run.as_str())) }
                    dt { "Topic" } dd { bdi { (callback.topic.as_str()) } }
                    dt { "Status" } dd { (callback.status.as_str()) }
                }
            }
            dt { "Received" } dd { (time(delivery.received)) }
            dt { "Attempts" } dd { (delivery.attempts) }
            @for orphan in &delivery.orphans {
                dt { (if orphan.replaced { "Run, cancelled" } else { "Run, not started" }) }
                dd { (engine::run(Some(engine), &orphan.run)) }
            }
            @if let Some(claim) = &delivery.claim { dt { "Key" } dd { code { (claim.key.hash()) } } }
        }
    }
}

fn request(settings: &Settings, delivery: &Delivery<'_>) -> Markup {
    let Ok(request) = settings.engine.request(delivery) else {
        return html! { div.card.pad { "The request can't be built." } };
    };
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let (body, is_cut) = pretty(std::str::from_utf8(request.body()).unwrap_or_default(), MAX_SHOWN_BYTES);
    html! {
        div.card {
            pre { strong { (request.method().as_str()) } " " (path) "\n\n" (body) }
        }
        @if is_cut {
            p.mute { "Only the first " (MAX_SHOWN_BYTES) " bytes are shown. For all of it: GET /api/v2/deliveries/" (delivery.id) }
        }
    }
}
