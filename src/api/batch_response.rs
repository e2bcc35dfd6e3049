//! Responses to requests with several deliveries: a batch of events, or one event or webhook that starts several
//! workflows.

use http::header::HeaderValue;
use http::{Response, StatusCode};
use serde::Serialize;

use super::log;
use super::prefer::{PREFERENCE_APPLIED, Prefer};
use super::problem::{Kind, Problem, ProblemSummary};
use super::{BACKGROUND_DRAIN_BUDGET, Background, RequestContext, SLUICE_OUTCOME, is_pending_or_sampled, respond};
use crate::delivery::{Key, Outcome, Start, Work};
use crate::gateway::{Eagerness, Gateway, Receipt, on_heap};
use crate::ports::Host;
use crate::sender::SuccessCriterion;

/// An item of the response: a run to start, or an event that no route matches.
pub(super) struct Item<'a> {
    /// The id and source of the event, in a batch.
    pub(super) event: Option<(String, String)>,
    /// The run to start, and its idempotency key if there is one. `None` if no route matches.
    pub(super) start: Option<(Start<'a>, Option<Key>)>,
}

/// The outcome of one item, as the response lists it.
#[derive(Serialize)]
struct ItemOutcome {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workflow: Option<String>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: Option<String>,
    /// The id of the WorkflowRun.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ProblemSummary>,
}

impl<'h, H: Host> RequestContext<'_, 'h, H> {
    /// Delivers each item to the engine, or stores it. Returns the response with the list of outcomes.
    pub(super) async fn deliver_all(
        &mut self,
        gateway: Gateway<'h, H>,
        items: Vec<Item<'_>>,
    ) -> Result<Response<Vec<u8>>, Problem> {
        let prefer = Prefer::of(self.headers);
        let wait = self.max_wait(&prefer, &gateway);
        let mut works = Vec::new();
        let mut list = Vec::with_capacity(items.len());
        for Item { event, start } in items {
            let (id, source) = event.unzip();
            let workflow = start.as_ref().map(|(start, _)| start.workflow.as_str().to_owned());
            works.extend(start.map(|(start, key)| (Work::Start(start), key)));
            list.push(ItemOutcome {
                id,
                source,
                workflow,
                outcome: "unmatched",
                delivery: None,
                run: None,
                problem: None,
            });
        }
        for (work, _) in &works {
            gateway.settings().engine.takes(work)?;
        }
        let works_have_key = works.iter().any(|(_, key)| key.is_some());
        let mut receipts = gateway.accept_all(works, &self.trace(), wait).await;
        self.log.deliveries(&receipts);
        let run_id = |body: &[u8]| gateway.run_id(body);

        let mut worst: Option<Problem> = None;
        let mut pending = false;
        for (listed, receipt) in list.iter_mut().filter(|listed| listed.workflow.is_some()).zip(&mut receipts) {
            listed.delivery = Some(receipt.id.to_string());
            listed.outcome = receipt.outcome.name();
            match &receipt.outcome {
                Outcome::Delivered { body } | Outcome::Duplicate { body: Some(body) } => listed.run = run_id(body),
                Outcome::Duplicate { body: None } | Outcome::Pending { .. } => pending = true,
                outcome => {
                    let problem = Problem::of_outcome(outcome.clone());
                    listed.problem = Some(problem.summary());
                    if worst.as_ref().is_none_or(|worst| severity(problem.kind) > severity(worst.kind)) {
                        worst = Some(problem);
                    }
                }
            }
        }
        self.is_noted |= works_have_key || receipts.iter().any(is_pending_or_sampled);
        self.background = work_after_response(gateway, &mut receipts);
        let count = |outcome: &str| list.iter().filter(|listed| listed.outcome == outcome).count();
        if let Some(worst) = worst {
            let rejected = count("rejected");
            let were = if rejected == 1 { "was" } else { "were" };
            let detail = format!(
                "{rejected} of {} deliveries {were} rejected: `deliveries` has the reason for each; a retry of the whole request does not repeat accepted deliveries that have a key",
                list.len()
            );
            return Err(worst.detail(detail).member("deliveries", &list));
        }
        let overall = ["pending", "delivered", "duplicate", "unmatched"].into_iter().find(|outcome| count(outcome) > 0);
        self.log.outcome(overall.unwrap_or("unmatched"));
        #[derive(Serialize)]
        struct View {
            deliveries: Vec<ItemOutcome>,
        }
        let (status, empty) = self.success(&prefer, pending);
        let mut response =
            if empty { respond::empty(status) } else { respond::json(status, &View { deliveries: list }) };
        response.headers_mut().insert(SLUICE_OUTCOME, HeaderValue::from_static(overall.unwrap_or("unmatched")));
        response.headers_mut().extend(prefer.applied(pending).map(|applied| (PREFERENCE_APPLIED, applied)));
        Ok(response)
    }

    /// Starts the runs of one event or webhook. It usually starts one run, but routes may start several or none.
    pub(super) async fn start(
        &mut self,
        gateway: Gateway<'h, H>,
        mut starts: Vec<(Start<'_>, Option<Key>)>,
    ) -> Result<Response<Vec<u8>>, Problem> {
        if starts.len() > 1 {
            let items = starts.into_iter().map(|start| Item { event: None, start: Some(start) }).collect();
            return on_heap(|| self.deliver_all(gateway, items)).await;
        }
        match starts.pop() {
            Some((start, key)) => on_heap(|| self.deliver(gateway, Work::Start(start), key)).await,
            None => Ok(self.unmatched()),
        }
    }

    /// Returns the response to a delivery that no route matches. The response is a success.
    fn unmatched(&mut self) -> Response<Vec<u8>> {
        self.log.outcome("unmatched");
        let mut response = respond::empty(match self.response_policy.success {
            SuccessCriterion::Only200 | SuccessCriterion::Empty200 => StatusCode::OK,
            SuccessCriterion::Any2xx | SuccessCriterion::Only204 => StatusCode::NO_CONTENT,
        });
        response.headers_mut().insert(SLUICE_OUTCOME, HeaderValue::from_static("unmatched"));
        response
    }
}

/// Returns the rank of a problem. The problem with the highest rank determines the status of the response. Failures
/// that a retry of the request may overcome rank first, and failures after which a retry may act twice rank second.
fn severity(kind: Kind) -> u8 {
    match kind {
        Kind::StoreUnavailable | Kind::OutOfTime | Kind::KeysUnavailable => 2,
        Kind::EngineUnclear => 1,
        _ => 0,
    }
}

/// Returns the work that remains after the response if a delivery is pending. It finishes the attempts that are still
/// running, then runs a short drain for the deliveries that were stored without an attempt.
fn work_after_response<'h, H: Host>(gateway: Gateway<'h, H>, receipts: &mut [Receipt<'h>]) -> Option<Background<'h>> {
    let pending = receipts.iter().any(|receipt| matches!(receipt.outcome, Outcome::Pending { .. }));
    let attempts: Vec<_> = receipts.iter_mut().filter_map(|receipt| receipt.background.take()).collect();
    pending.then(|| -> Background<'h> {
        Box::pin(async move {
            let mut lines: Vec<_> = futures_util::future::join_all(attempts).await.iter().map(log::report).collect();
            let drained = gateway.drain(BACKGROUND_DRAIN_BUDGET, Eagerness::Obeys).await;
            lines.push(log::drained(gateway.now(), &drained));
            lines
        })
    })
}
