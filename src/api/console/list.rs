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
use crate::delivery::{Delivery, DeliveryId};
use crate::gateway::operator::OperatorError;
use crate::gateway::{Found, MAX_SCANNED};
use crate::ports::Host;
use crate::store::DeliveryState;
use crate::time::Timestamp;

/// Number of deliveries on a page.
const PAGE_SIZE: usize = 50;

/// The query of the page.
struct ListQuery<'a> {
    state: DeliveryState,
    /// The text to search for; empty if there is no search.
    text: &'a str,
    /// The last delivery of the previous page.
    after: Option<DeliveryId>,
}

/// `GET /console/deliveries?state=&q=&after=`
pub(in crate::api) async fn show(
    context: &mut RequestContext<'_, '_, impl Host>,
) -> Result<Response<Vec<u8>>, Problem> {
    let gateway = context.gateway()?;
    let query = Query::parse(context.query)?;
    let text = query.one("q")?.unwrap_or_default().trim();
    let list_query =
        ListQuery { state: operator::state_parameter(&query)?, text, after: operator::after_parameter(&query)? };
    if let Some(id) = DeliveryId::parse(&text.to_ascii_uppercase()) {
        match gateway.show(id).await {
            Ok(_) | Err(OperatorError::Damaged) => return Ok(see_other(id)),
            Err(OperatorError::Unknown) => {}
            Err(error) => return Err(operator::to_problem(context, error)),
        }
    }
    let found = gateway.search(list_query.state, list_query.text, PAGE_SIZE, list_query.after).await;
    let found = found.map_err(|error| operator::to_problem(context, error.into()))?;
    Ok(render(&list_query, &found, context.host.now()))
}

fn render(query: &ListQuery<'_>, found: &Found, now: Timestamp) -> Response<Vec<u8>> {
    let content = html! {
        (controls(query, [found.pending, found.dead]))
        @if found.deliveries.is_empty() {
            div.card.empty { (empty(query)) }
        } @else {
            (rows(found, query.state, now))
        }
        (paging(query, found))
    };
    page(Tab::Deliveries, "Deliveries", &content)
}

fn see_other(id: DeliveryId) -> Response<Vec<u8>> {
    let mut response = respond::no_store(respond::empty(StatusCode::SEE_OTHER));
    let location = HeaderValue::from_str(&format!("/console/deliveries/{id}"));
    response.headers_mut().extend(location.ok().map(|location| (LOCATION, location)));
    response
}

fn url(state: DeliveryState, text: &str, after: Option<DeliveryId>) -> String {
    const PATH: &str = "/console/deliveries?";
    let mut query = Serializer::for_suffix(PATH.to_owned(), PATH.len());
    query.append_pair("state", state.as_str());
    if !text.is_empty() {
        query.append_pair("q", text);
    }
    if let Some(after) = after {
        query.append_pair("after", &after.to_string());
    }
    query.finish()
}

fn controls(query: &ListQuery<'_>, [pending, dead]: [usize; 2]) -> Markup {
    let states = [(DeliveryState::Pending, "Pending", pending), (DeliveryState::Dead, "Dead", dead)];
    html! {
        div.row.above {
            nav aria-label="State" {
                @for (state, text, count) in states {
                    a href=(url(state, query.text, None)) aria-current=[(state == query.state).then_some("page")] {
                        (text) " (" (count) ")"
                    }
                }
            }
            form.row.grow role="search" action="/console/deliveries" {
                input type="hidden" name="state" value=(query.state.as_str());
                input.grow type="search" name="q" value=(query.text) aria-label="Id, workflow, run or topic"
                    placeholder="Id, workflow, run or topic" maxlength="1024";
                button type="submit" { "Search" }
                @if !query.text.is_empty() { a href=(url(query.state, "", None)) { "Clear" } }
            }
        }
    }
}

fn empty(query: &ListQuery<'_>) -> Markup {
    html! {
        @if !query.text.is_empty() {
            strong { "Nothing was found" }
            "No delivery has the id " bdi { (query.text) } ", and none of the " (query.state.as_str()) " deliveries that were searched has it in its workflow, run or topic."
        } @else if query.after.is_some() {
            strong { "No more deliveries" }
        } @else if query.state == DeliveryState::Pending {
            strong { "No pending deliveries" }
            "Deliveries that the engine can't accept at once wait here for their next attempt."
        } @else {
            strong { "No dead deliveries" }
            "Deliveries that expire, or that the engine rejects after they were stored, are kept here."
        }
    }
}

fn rows(found: &Found, state: DeliveryState, now: Timestamp) -> Markup {
    html! {
        div.card {
            table {
                thead {
                    tr {
                        th scope="col" { "Delivery" } th scope="col" { "Received" } th.n scope="col" { "Attempts" }
                        @if state == DeliveryState::Pending { th scope="col" { "Next attempt" } }
                        th scope="col" { "Last failure" }
                    }
                }
                tbody {
                    @for (id, delivery) in &found.deliveries {
                        tr {
                            td data-of="Delivery" { (name_cell(*id, delivery.as_ref().ok())) }
                            td data-of="Received" { span { (ago(id.at(), now)) } small { (time(id.at())) } }
                            @if let Ok(delivery) = delivery {
                                td.n data-of="Attempts" { span { (delivery.attempts) } }
                                @if state == DeliveryState::Pending { td data-of="Next attempt" { span { (until(delivery.next_attempt, now)) } } }
                                td data-of="Last failure" { span { (delivery.last_failure().unwrap_or("None so far")) } }
                            } @else {
                                td.n data-of="Attempts" {}
                                @if state == DeliveryState::Pending { td data-of="Next attempt" {} }
                                td data-of="Last failure" { span { "The record can't be read" } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The name of a delivery as a link to its page, followed by the delivery's kind, topic and id.
fn name_cell(id: DeliveryId, delivery: Option<&Delivery<'_>>) -> Markup {
    let topic = delivery.and_then(|delivery| delivery.work.topic());
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

fn paging(query: &ListQuery<'_>, found: &Found) -> Markup {
    html! {
        div.row.below {
            @if query.after.is_some() { a.button href=(url(query.state, query.text, None)) { "First page" } }
            @if let Some(next) = found.next {
                a.button href=(url(query.state, query.text, Some(next))) { (if query.text.is_empty() { "Next page" } else { "Continue search" }) }
            }
            @if !query.text.is_empty() {
                span.mute {
                    (count(found.scanned, "delivery", "deliveries")) " searched"
                    @if found.next.is_some() { "; a search reads at most " (MAX_SCANNED) " at a time" }
                }
            }
        }
    }
}
