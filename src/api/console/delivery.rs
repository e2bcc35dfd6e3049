//! One delivery: what will be sent, what was tried, and what can be done.

use http::Response;
use maud::{Markup, html};

use super::format::{ago, time, until};
use super::json::pretty;
use super::layout::{Mood, Tab, chip, notice, page};
use crate::api::problem::Problem;
use crate::api::{RequestContext, operator};
use crate::config::Settings;
use crate::delivery::{Delivery, DeliveryId, HISTORY, Work};
use crate::gateway::operator::OperatorError;
use crate::ports::Host;
use crate::store::DeliveryState;
use crate::time::Timestamp;

/// Most bytes of a request's body that are shown.
const MOST_SHOWN: usize = 262_144;

/// What is done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Show,
    Redeliver,
    /// Asks if it is to be deleted.
    Confirm,
    Delete,
}

/// Does something with a delivery, then shows it, as far as it is still there.
pub(super) async fn answer(
    context: &mut RequestContext<'_, '_, impl Host>,
    id: DeliveryId,
    act: Act,
) -> Result<Response<Vec<u8>>, Problem> {
    let gateway = context.gateway()?;
    let mut told = None;
    match act {
        Act::Show | Act::Confirm => {}
        Act::Redeliver => {
            let outcome = gateway.redeliver(id).await.map_err(|error| operator::refuse(context, error))?;
            match operator::redelivered(&outcome) {
                ("delivered", _) => return Ok(gone(id, "Delivered", "The engine has it now.")),
                ("dropped", _) => {
                    return Ok(gone(id, "Dropped", "The same was delivered before, so this one is gone."));
                }
                ("dead", why) => told = Some((Mood::Bad, "Sent again, and it stays dead", why)),
                (_, why) => told = Some((Mood::Busy, "It stays pending", why)),
            }
        }
        Act::Delete => {
            gateway.delete(id).await.map_err(|error| operator::refuse(context, error))?;
            return Ok(gone(id, "Deleted", "It is forgotten, and its key with it."));
        }
    }
    let shown = match gateway.show(id).await {
        Ok((stored, delivery)) => Some(Shown { stored, delivery, now: context.host.now() }),
        Err(OperatorError::Damaged) => None,
        Err(error) => return Err(operator::refuse(context, error)),
    };
    if shown.is_none() {
        context.log.warning(format!("the stored delivery {id} can't be read"));
    }
    Ok(match (act, &shown) {
        (Act::Confirm, shown) => ask(id, shown.as_ref()),
        (_, None) => damaged(id),
        (_, Some(shown)) => shown.page(gateway.settings(), told),
    })
}

/// One that can be read.
struct Shown {
    stored: DeliveryState,
    delivery: Delivery<'static>,
    now: Timestamp,
}

fn ask(id: DeliveryId, shown: Option<&Shown>) -> Response<Vec<u8>> {
    let content = html! {
        (notice(Mood::Bad, &html! {
            "It is forgotten, and the engine never gets it. So is its key: if its sender brings it again, it is taken as if for the first time."
        }))
        div.card.pad {
            @match shown {
                Some(Shown { stored, delivery, .. }) => { p { (state(*stored)) } (facts(delivery)) }
                None => { "It can't be read." }
            }
        }
        form.row.below method="post" {
            button.danger type="submit" { "Delete for good" }
            a.button href={ "/console/deliveries/" (id) } { "Keep it" }
        }
    };
    page(Tab::Deliveries, "Delete this delivery?", &content)
}

fn damaged(id: DeliveryId) -> Response<Vec<u8>> {
    let words = html! { "It can't be read: it is damaged, or written by a later version." };
    let content = html! { (notice(Mood::Bad, &words)) div.row { (delete_link(id)) } };
    page(Tab::Deliveries, "Damaged delivery", &content)
}

fn gone(id: DeliveryId, heading: &str, text: &str) -> Response<Vec<u8>> {
    let content = html! {
        (notice(Mood::Good, &html! { (text) }))
        p.mute { "Delivery " code { (id) } }
        div.row.below {
            a.button href="/console/deliveries" { "Pending deliveries" }
            a.button href="/console/deliveries?state=dead" { "Dead deliveries" }
        }
    };
    page(Tab::Deliveries, heading, &content)
}

impl Shown {
    fn page(&self, settings: &Settings, told: Option<(Mood, &str, Option<String>)>) -> Response<Vec<u8>> {
        let Self { stored, delivery, now } = self;
        let heading = match &delivery.work {
            Work::Start(start) => ["Start ", start.workflow.as_str()].concat(),
            Work::Resolve(callback) => ["Resolve ", callback.run.as_str()].concat(),
        };
        let content = html! {
            @if let Some((mood, what, why)) = told {
                (notice(mood, &html! { (what) @if let Some(why) = why { ": " (why) } }))
            }
            div.row.above {
                (state(*stored))
                @if delivery.is_in_flight(*now, &settings.limits) {
                    (chip(Mood::Busy, "in doubt"))
                    span.mute { "The engine may still act on it: till then it can't be redelivered or deleted" }
                } @else {
                    form method="post" action={ "/console/deliveries/" (delivery.id) "/redeliver" } {
                        button.main type="submit" { "Redeliver now" }
                    }
                    (delete_link(delivery.id))
                }
            }
            div.card.pad {
                (facts(delivery))
                @if *stored == DeliveryState::Pending {
                    p.mute.below {
                        "Next attempt " (until(delivery.next_attempt, *now)) ", not before " (time(delivery.next_attempt))
                    }
                }
                @if delivery.is_ambiguous() {
                    p.mute { "It, or another of its key, may have reached the engine: that is asked before it is sent again." }
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
                p.empty { "None has failed so far." }
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
        @if usize::try_from(delivery.attempts).is_ok_and(|attempts| attempts > HISTORY) {
            p.mute { "The last " (HISTORY) " of " (delivery.attempts) "." }
        }
    }
}

fn state(stored: DeliveryState) -> Markup {
    match stored {
        DeliveryState::Pending => chip(Mood::Busy, "pending"),
        DeliveryState::Dead => chip(Mood::Bad, "dead"),
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
            @if let Some(claim) = &delivery.claim { dt { "Key" } dd { code { (claim.key.hash()) } } }
        }
    }
}

fn request(settings: &Settings, delivery: &Delivery<'_>) -> Markup {
    let Ok(request) = settings.engine.request(delivery) else {
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
