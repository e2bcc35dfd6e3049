//! The list of stored deliveries by state, with a search.

use form_urlencoded::Serializer;
use http::header::{HeaderValue, LOCATION};
use http::{Response, StatusCode};
use maud::{Markup, html};

use super::format::{ago, count, time, until};
use super::layout::{Tab, page};
use crate::api::problem::Problem;
use crate::api::query::Query;
use crate::api::{RequestContext, operator, respond};
use crate::delivery::{Delivery, DeliveryId, Work};
use crate::gateway::operator::OperatorError;
use crate::gateway::{Found, MAX_SCANNED};
use crate::ports::Host;
use crate::store::DeliveryState;
use crate::time::Timestamp;

/// Deliveries on a page.
const PAGE_SIZE: usize = 50;

/// The query of the page.
struct Filter<'a> {
    stored: DeliveryState,
    text: &'a str,
    after: Option<DeliveryId>,
}

/// `GET /console/deliveries?state=&q=&after=`
pub(in crate::api) async fn show(
    context: &mut RequestContext<'_, '_, impl Host>,
) -> Result<Response<Vec<u8>>, Problem> {
    let gateway = context.gateway()?;
    let query = Query::parse(context.query)?;
    let text = query.one("q")?.unwrap_or_default().trim();
    let filter = Filter { stored: operator::state_parameter(&query)?, text, after: operator::after_parameter(&query)? };
    if let Some(id) = DeliveryId::parse(&text.to_ascii_uppercase()) {
        match gateway.show(id).await {
            Ok(_) | Err(OperatorError::Damaged) => return Ok(see_other(id)),
            Err(OperatorError::Unknown) => {}
            Err(error) => return Err(operator::to_problem(context, error)),
        }
    }
    let found = gateway.search(filter.stored, filter.text, PAGE_SIZE, filter.after).await;
    let found = found.map_err(|error| operator::to_problem(context, error.into()))?;
    Ok(draw(&filter, &found, context.host.now()))
}

fn draw(filter: &Filter<'_>, found: &Found, now: Timestamp) -> Response<Vec<u8>> {
    let content = html! {
        (controls(filter, [found.pending, found.dead]))
        @if found.deliveries.is_empty() {
            div.card.empty { (empty(filter)) }
        } @else {
            (rows(found, filter.stored, now))
        }
        (paging(filter, found))
    };
    page(Tab::Deliveries, "Deliveries", &content)
}

fn see_other(id: DeliveryId) -> Response<Vec<u8>> {
    let mut response = respond::no_store(respond::empty(StatusCode::SEE_OTHER));
    let location = HeaderValue::from_str(&format!("/console/deliveries/{id}"));
    response.headers_mut().extend(location.ok().map(|location| (LOCATION, location)));
    response
}

fn url(stored: DeliveryState, text: &str, after: Option<DeliveryId>) -> String {
    const PATH: &str = "/console/deliveries?";
    let mut query = Serializer::for_suffix(PATH.to_owned(), PATH.len());
    query.append_pair("state", stored.as_str());
    if !text.is_empty() {
        query.append_pair("q", text);
    }
    if let Some(after) = after {
        query.append_pair("after", &after.to_string());
    }
    query.finish()
}

fn controls(filter: &Filter<'_>, [pending, dead]: [usize; 2]) -> Markup {
    let states = [(DeliveryState::Pending, "Pending", pending), (DeliveryState::Dead, "Dead", dead)];
    html! {
        div.row.above {
            nav aria-label="State" {
                @for (stored, text, count) in states {
                    a href=(url(stored, filter.text, None)) aria-current=[(stored == filter.stored).then_some("page")] {
                        (text) " (" (count) ")"
                    }
                }
            }
            form.row.grow role="search" action="/console/deliveries" {
                input type="hidden" name="state" value=(filter.stored.as_str());
                input.grow type="search" name="q" value=(filter.text) aria-label="Id, workflow, run or topic"
                    placeholder="Id, workflow, run or topic" maxlength="1024";
                button type="submit" { "Search" }
                @if !filter.text.is_empty() { a href=(url(filter.stored, "", None)) { "Clear" } }
            }
        }
    }
}

fn empty(filter: &Filter<'_>) -> Markup {
    html! {
        @if !filter.text.is_empty() {
            strong { "Nothing was found" }
            "No delivery has the id " bdi { (filter.text) } ", and none of the " (filter.stored.as_str()) " deliveries that were searched has it in its workflow, run or topic."
        } @else if filter.after.is_some() {
            strong { "No more deliveries" }
        } @else if filter.stored == DeliveryState::Pending {
            strong { "No pending deliveries" }
            "Deliveries that the engine can't accept at once wait here for their next attempt."
        } @else {
            strong { "No dead deliveries" }
            "Deliveries that expire, or that the engine rejects after they were stored, are kept here."
        }
    }
}

fn rows(found: &Found, stored: DeliveryState, now: Timestamp) -> Markup {
    html! {
        div.card {
            table {
                thead {
                    tr {
                        th scope="col" { "Delivery" } th scope="col" { "Received" } th.n scope="col" { "Attempts" }
                        @if stored == DeliveryState::Pending { th scope="col" { "Next attempt" } }
                        th scope="col" { "Last failure" }
                    }
                }
                tbody {
                    @for (id, delivery) in &found.deliveries {
                        tr {
                            td data-of="Delivery" { (named(*id, delivery.as_ref().ok())) }
                            td data-of="Received" { span { (ago(id.at(), now)) } small { (time(id.at())) } }
                            @if let Ok(delivery) = delivery {
                                td.n data-of="Attempts" { span { (delivery.attempts) } }
                                @if stored == DeliveryState::Pending { td data-of="Next attempt" { span { (until(delivery.next_attempt, now)) } } }
                                td data-of="Last failure" { span { (delivery.last_failure().unwrap_or("None so far")) } }
                            } @else {
                                td.n data-of="Attempts" {}
                                @if stored == DeliveryState::Pending { td data-of="Next attempt" {} }
                                td data-of="Last failure" { span { "The record can't be read" } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn named(id: DeliveryId, delivery: Option<&Delivery<'_>>) -> Markup {
    let topic = match delivery.map(|delivery| &delivery.work) {
        Some(Work::Resolve(callback)) => Some(callback.topic.as_str()),
        _ => None,
    };
    let name = delivery.map_or("Damaged", |delivery| delivery.work.reference());
    html! {
        a.name href={ "/console/deliveries/" (id) } { bdi { (name) } }
        small {
            @if let Some(delivery) = delivery { (delivery.work.kind()) }
            @if let Some(topic) = topic { ": " bdi { (topic) } }
            " " code { (id) }
        }
    }
}

fn paging(filter: &Filter<'_>, found: &Found) -> Markup {
    html! {
        div.row.below {
            @if filter.after.is_some() { a.button href=(url(filter.stored, filter.text, None)) { "First page" } }
            @if let Some(next) = found.next {
                a.button href=(url(filter.stored, filter.text, Some(next))) { (if filter.text.is_empty() { "Next page" } else { "Continue search" }) }
            }
            @if !filter.text.is_empty() {
                span.mute {
                    (count(found.scanned, "delivery", "deliveries")) " searched"
                    @if found.next.is_some() { "; a search reads at most " (MAX_SCANNED) " at a time" }
                }
            }
        }
    }
}
