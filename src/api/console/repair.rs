//! The pages that redeliver or delete all deliveries that match a search: a dry run that asks for confirmation, and the
//! result.

use http::{Method, Response};
use maud::{Markup, html};

use super::format::{ago, count, time};
use super::layout::{Tab, Tone, notice, page};
use super::list::name_cell;
use crate::api::filter::{self, Client};
use crate::api::operator::{self, REQUESTED_DRAIN_BUDGET};
use crate::api::problem::Problem;
use crate::api::query::Query;
use crate::api::{RequestContext, repair};
use crate::delivery::{Delivery, DeliveryId, Filter};
use crate::gateway::{Repair, Repaired, Selection, Skipped};
use crate::ports::Host;
use crate::store::DeliveryState;
use crate::time::Timestamp;

/// `GET`, `HEAD` and `POST /console/deliveries/redeliver` and `/console/deliveries/delete`: shows the deliveries that
/// match, or redelivers or deletes them.
pub(in crate::api) async fn answer(
    context: &mut RequestContext<'_, '_, impl Host>,
    repair: Repair,
) -> Result<Response<Vec<u8>>, Problem> {
    let gateway = context.gateway()?;
    let selection = repair::selection(&Query::parse(context.query)?, Client::Form)?;
    let acts = context.method == Method::POST;
    let done = if acts { repair } else { Repair::DryRun };
    let repaired = gateway.repair(done, &selection, REQUESTED_DRAIN_BUDGET).await;
    let repaired = repaired.map_err(|error| operator::to_problem(context, error.into()))?;
    let view = View { repair, selection: &selection, repaired: &repaired };
    Ok(if acts { view.result() } else { view.confirmation(context.host.now()) })
}

/// An operation and its result, or that of its dry run.
struct View<'a> {
    repair: Repair,
    selection: &'a Selection,
    repaired: &'a Repaired,
}

impl View<'_> {
    /// The verb of the operation.
    fn verb(&self) -> &'static str {
        if self.repair == Repair::Delete { "Delete" } else { "Redeliver" }
    }

    fn confirmation(&self, now: Timestamp) -> Response<Vec<u8>> {
        let Self { selection, repaired, .. } = self;
        let total = count(repaired.count, "delivery", "deliveries");
        let is_part = repaired.next.is_some();
        let content = html! {
            (self.warning())
            div.card.pad {
                p { strong { @if is_part { "At least " } (total) } }
                p { (words(selection.state, &selection.filter)) }
                (skipped(repaired.skipped))
                @if is_part {
                    p.mute { "There was no time to read all deliveries, so more may match." }
                }
            }
            @if !repaired.first.is_empty() {
                h2 { (if repaired.first.len() < repaired.count { "The first ones" } else { "These" }) }
                (self.rows(now))
            }
            form.row.below method="post" action=(self.url(selection.after)) {
                @if repaired.count > 0 || is_part {
                    @match self.repair {
                        Repair::Delete => button.danger type="submit" { "Delete all permanently" },
                        _ => button.main type="submit" { "Redeliver all" },
                    }
                }
                a.button href=(super::list::url(selection.state, &selection.filter, None)) { "Cancel" }
            }
        };
        let question = if self.repaired.count > 0 || is_part {
            format!("{} {}{total}?", self.verb(), if is_part { "at least " } else { "" })
        } else {
            "No delivery matches".to_owned()
        };
        page(Tab::Deliveries, &question, &content)
    }

    /// The consequences of the operation.
    fn warning(&self) -> Markup {
        match self.repair {
            Repair::Delete => notice(
                Tone::Bad,
                &html! { "The engine will never get these deliveries. Their keys are removed as well: if a sender sends one again, it is accepted as a new one." },
            ),
            _ => notice(
                Tone::Plain,
                &html! { "They are due at once, with their age and attempts reset. The drain sends them, as many at a time as the engine keeps up with." },
            ),
        }
    }

    fn rows(&self, now: Timestamp) -> Markup {
        html! {
            div.card {
                table {
                    thead { tr { th scope="col" { "Delivery" } th scope="col" { "Received" } th scope="col" { "Last failure" } } }
                    tbody {
                        @for (id, delivery) in &self.repaired.first {
                            @let delivery = delivery.as_ref().ok();
                            tr {
                                td data-of="Delivery" { (name_cell(*id, delivery)) }
                                td data-of="Received" { span { (ago(id.at(), now)) } small { (time(id.at())) } }
                                td data-of="Last failure" { span { (failure(delivery)) } }
                            }
                        }
                    }
                }
            }
        }
    }

    fn result(&self) -> Response<Vec<u8>> {
        let Self { repair, selection, repaired } = self;
        let total = count(repaired.count, "delivery", "deliveries");
        let (heading, effect) = match repair {
            Repair::Delete => ("Deleted", "deleted."),
            _ => ("Redelivered", "pending and due now. The drain sends what is due."),
        };
        let content = html! {
            (notice(if repaired.skipped.total() > 0 { Tone::Busy } else { Tone::Good }, &html! {
                (total) (if repaired.count == 1 { " is " } else { " are " }) (effect)
                @if repaired.deferred > 0 {
                    " A drain is at work, and does this in its next pass."
                }
            }))
            p { (words(selection.state, &selection.filter)) }
            (skipped(repaired.skipped))
            @if let Some(next) = repaired.next {
                p { "There was no time for all." }
                form.row.below method="post" action=(self.url(Some(next))) {
                    button.main type="submit" { (self.verb()) " the rest" }
                }
            }
            div.row.below {
                a.button href="/console/deliveries" { "Pending deliveries" }
                a.button href="/console/deliveries?state=dead" { "Dead deliveries" }
            }
        };
        page(Tab::Deliveries, heading, &content)
    }

    /// The address of the operation.
    fn url(&self, after: Option<DeliveryId>) -> String {
        url(self.repair, self.selection.state, &self.selection.filter, after)
    }
}

/// The address of an operation on all deliveries that match.
pub(super) fn url(repair: Repair, state: DeliveryState, filter: &Filter, after: Option<DeliveryId>) -> String {
    let path = match repair {
        Repair::Delete => "/console/deliveries/delete?",
        _ => "/console/deliveries/redeliver?",
    };
    let mut query = form_urlencoded::Serializer::for_suffix(path.to_owned(), path.len());
    query.append_pair("state", state.as_str()).extend_pairs(filter::pairs(filter));
    if let Some(after) = after {
        query.append_pair("after", &after.to_string());
    }
    query.finish()
}

/// The last failure of a delivery, or that there is none.
fn failure<'d>(delivery: Option<&'d Delivery<'_>>) -> &'d str {
    match delivery {
        Some(delivery) => delivery.last_failure().unwrap_or("None so far"),
        None => "The record can't be read",
    }
}

/// The deliveries of a selection in words.
fn words(state: DeliveryState, filter: &Filter) -> Markup {
    html! {
        (if filter.is_empty() { "All " } else { "" }) (state.as_str()) " deliveries"
        (origin(filter))
        @if let Some(failure) = &filter.failure { ", with " bdi { (failure) } " in the last failure" }
        @if let Some(text) = &filter.text { ", with " bdi { (text) } " in workflow, run or topic" }
        "."
    }
}

/// The conditions of a filter on workflow, source and time, in words.
pub(super) fn origin(filter: &Filter) -> Markup {
    let Filter { workflow, source, received_from, received_to, .. } = filter;
    html! {
        @if let Some(workflow) = workflow { " of the workflow " code { (workflow) } }
        @if let Some(source) = source { " from the source " code { (source) } }
        @if let Some(from) = received_from { ", received from " (time(*from)) " on" }
        @if let Some(to) = received_to { ", received before " (time(*to)) }
    }
}

/// The deliveries that match and are left as they are.
fn skipped(skipped: Skipped) -> Markup {
    let Skipped { under_way, superseded, repeated, unreadable } = skipped;
    let reasons = [
        (under_way, "left: being sent to the engine"),
        (superseded, "left: another delivery has the same key by now"),
        (repeated, "removed: the same delivery was accepted meanwhile"),
        (unreadable, "left: the record can't be read"),
    ];
    html! {
        @for (number, reason) in reasons {
            @if number > 0 { p.mute { (count(number, "delivery", "deliveries")) " " (reason) } }
        }
    }
}
