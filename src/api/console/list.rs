//! The list of stored deliveries by state, with a search.

use form_urlencoded::Serializer;
use http::header::{HeaderValue, LOCATION};
use http::{Response, StatusCode};
use maud::{Markup, html};

use super::format::{ago, count, time, until};
use super::layout::{Tab, page};
use crate::api::filter::{self, Client};
use crate::api::problem::Problem;
use crate::api::query::Query;
use crate::api::{RequestContext, operator, respond};
use crate::delivery::{Delivery, DeliveryId, Filter};
use crate::gateway::operator::OperatorError;
use crate::gateway::{Found, MAX_SCANNED, Repair};
use crate::ports::Host;
use crate::store::DeliveryState;
use crate::time::Timestamp;

/// Number of deliveries on a page.
const PAGE_SIZE: usize = 50;

/// The query of the page.
struct ListQuery {
    state: DeliveryState,
    filter: Filter,
    /// The last delivery of the previous page.
    after: Option<DeliveryId>,
}

/// `GET /console/deliveries?state=&q=&workflow=&source=&received_from=&received_to=&failure=&after=`
pub(in crate::api) async fn show(
    context: &mut RequestContext<'_, '_, impl Host>,
) -> Result<Response<Vec<u8>>, Problem> {
    let gateway = context.gateway()?;
    let query = Query::parse(context.query)?;
    let text = query.one("q")?.unwrap_or_default().trim();
    let filter = Filter { text: Filter::of_text(text).text, ..filter::read(&query, Client::Form)? };
    let list_query =
        ListQuery { state: operator::state_parameter(&query)?, filter, after: operator::after_parameter(&query)? };
    if let Some(id) = DeliveryId::parse(&text.to_ascii_uppercase()) {
        match gateway.show(id).await {
            Ok(_) | Err(OperatorError::Damaged) => return Ok(see_other(id)),
            Err(OperatorError::Unknown) => {}
            Err(error) => return Err(operator::to_problem(context, error)),
        }
    }
    let found = gateway.search(list_query.state, &list_query.filter, PAGE_SIZE, list_query.after).await;
    let found = found.map_err(|error| operator::to_problem(context, error.into()))?;
    Ok(render(&list_query, &found, context.host.now()))
}

fn render(query: &ListQuery, found: &Found, now: Timestamp) -> Response<Vec<u8>> {
    let content = html! {
        (controls(query, [found.pending, found.dead]))
        @if found.page.deliveries.is_empty() {
            div.card.empty { (empty(query)) }
        } @else {
            (rows(found, query.state, now))
        }
        (paging(query, found))
        @if !found.page.deliveries.is_empty() || found.page.next.is_some() {
            (actions(query))
        }
    };
    page(Tab::Deliveries, "Deliveries", &content)
}

fn see_other(id: DeliveryId) -> Response<Vec<u8>> {
    let mut response = respond::no_store(respond::empty(StatusCode::SEE_OTHER));
    let location = HeaderValue::from_str(&format!("/console/deliveries/{id}"));
    response.headers_mut().extend(location.ok().map(|location| (LOCATION, location)));
    response
}

/// The address of the list with a filter.
pub(super) fn url(state: DeliveryState, filter: &Filter, after: Option<DeliveryId>) -> String {
    const PATH: &str = "/console/deliveries?";
    let mut query = Serializer::for_suffix(PATH.to_owned(), PATH.len());
    query.append_pair("state", state.as_str());
    for (name, value) in filter::pairs(filter) {
        query.append_pair(if name == "text" { "q" } else { name }, &value);
    }
    if let Some(after) = after {
        query.append_pair("after", &after.to_string());
    }
    query.finish()
}

fn controls(query: &ListQuery, [pending, dead]: [usize; 2]) -> Markup {
    let states = [(DeliveryState::Pending, "Pending", pending), (DeliveryState::Dead, "Dead", dead)];
    let filter = &query.filter;
    let has_conditions = *filter != Filter { text: filter.text.clone(), ..Filter::default() };
    html! {
        nav.above aria-label="State" {
            @for (state, text, count) in states {
                a href=(url(state, filter, None)) aria-current=[(state == query.state).then_some("page")] {
                    (text) " (" (count) ")"
                }
            }
            a href="/console/replay" { "Replay" }
        }
        form.search.above role="search" action="/console/deliveries" {
            input type="hidden" name="state" value=(query.state.as_str());
            div.row {
                input.grow type="search" name="q" value=(filter.text.as_deref().unwrap_or_default())
                    aria-label="Id, workflow, run or topic" placeholder="Id, workflow, run or topic" maxlength="1024";
                button type="submit" { "Search" }
                @if !filter.is_empty() { a href=(url(query.state, &Filter::default(), None)) { "Clear" } }
            }
            details open[has_conditions] {
                summary { "Workflow, source, time, failure" }
                (conditions(filter))
            }
        }
    }
}

/// The fields of the conditions besides the text.
fn conditions(filter: &Filter) -> Markup {
    let workflow = filter.workflow.as_ref().map(ToString::to_string);
    let [from, to] = [filter.received_from, filter.received_to].map(|at| at.map(form_time));
    let fields = [
        ("workflow", "Workflow, perhaps with * at its end", "text", workflow.as_deref()),
        ("source", "Source", "text", filter.source.as_deref()),
        ("received_from", "Received from, in UTC", "datetime-local", from.as_deref()),
        ("received_to", "Received before, in UTC", "datetime-local", to.as_deref()),
        ("failure", "Part of the last failure", "text", filter.failure.as_deref()),
    ];
    html! {
        div.fields {
            @for (name, label, kind, value) in fields {
                label {
                    span { (label) }
                    input type=(kind) name=(name) value=(value.unwrap_or_default()) step=[(kind == "datetime-local").then_some("any")];
                }
            }
        }
    }
}

/// A time as the field of a form has it, in UTC: `2026-11-24T08:30:00.000`.
fn form_time(at: Timestamp) -> String {
    at.rfc3339().trim_end_matches('Z').to_owned()
}

/// Links to the operations on all deliveries that match.
fn actions(query: &ListQuery) -> Markup {
    let link = |repair| super::repair::url(repair, query.state, &query.filter, None);
    html! {
        div.row.below {
            a.button href=(link(Repair::Redeliver)) { "Redeliver all that match…" }
            a.button href=(link(Repair::Delete)) { "Delete all that match…" }
        }
    }
}

fn empty(query: &ListQuery) -> Markup {
    let Filter { text, .. } = &query.filter;
    html! {
        @if let Some(text) = text && query.filter == Filter::of_text(text) {
            strong { "Nothing was found" }
            "No delivery has the id " bdi { (text) } ", and none of the " (query.state.as_str()) " deliveries that were searched has it in its workflow, run or topic."
        } @else if !query.filter.is_empty() {
            strong { "Nothing was found" }
            "None of the " (query.state.as_str()) " deliveries that were searched matches."
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
                    @for (id, delivery) in &found.page.deliveries {
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
pub(super) fn name_cell(id: DeliveryId, delivery: Option<&Delivery<'_>>) -> Markup {
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

fn paging(query: &ListQuery, found: &Found) -> Markup {
    html! {
        div.row.below {
            @if query.after.is_some() { a.button href=(url(query.state, &query.filter, None)) { "First page" } }
            @if let Some(next) = found.page.next {
                a.button href=(url(query.state, &query.filter, Some(next))) { (if query.filter.is_empty() { "Next page" } else { "Continue search" }) }
            }
            @if !query.filter.is_empty() {
                span.mute {
                    (count(found.page.scanned, "delivery", "deliveries")) " searched"
                    @if found.page.next.is_some() { "; a search reads at most " (MAX_SCANNED) " at a time" }
                }
            }
        }
    }
}
