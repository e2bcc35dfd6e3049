//! Answers a request that is several deliveries: the events of a batch, or the workflows that one event or webhook starts.

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;

use super::log;
use super::prefer::{PREFERENCE_APPLIED, Prefer};
use super::problem::{Brief, Kind, Problem};
use super::{DRAIN_BUDGET, RequestContext, Rest, SLUICE_OUTCOME};
use crate::delivery::{Key, Outcome, Start, Work};
use crate::gateway::{Gateway, Receipt};
use crate::ports::Host;
use crate::sender::SuccessCriterion;

/// One workflow that is to be started; or none, where no route is for the event.
pub(super) struct Item<'a> {
    /// The event's id and source.
    pub(super) event: Option<(String, String)>,
    pub(super) start: Option<(Start<'a>, Option<Key>)>,
}

/// What came of it.
#[derive(Serialize)]
struct Listed {
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
    problem: Option<Brief>,
}

impl<'o, O: Host> RequestContext<'_, 'o, O> {
    /// Brings each to the engine, or stores it, and answers by a list.
    pub(super) async fn deliver_all(
        &mut self,
        gateway: Gateway<'o, O>,
        items: Vec<Item<'_>>,
    ) -> Result<Response<Vec<u8>>, Problem> {
        let prefer = Prefer::of(self.headers);
        let wait = self.patience(&prefer, &gateway);
        let mut works = Vec::new();
        let mut list = Vec::with_capacity(items.len());
        for Item { event, start } in items {
            let (id, source) = event.unzip();
            let workflow = start.as_ref().map(|(start, _)| start.workflow.as_str().to_owned());
            works.extend(start.map(|(start, key)| (Work::Start(start), key)));
            list.push(Listed { id, source, workflow, outcome: "unmatched", delivery: None, run: None, problem: None });
        }
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
                    listed.problem = Some(problem.brief());
                    if worst.as_ref().is_none_or(|worst| weight(problem.kind) > weight(worst.kind)) {
                        worst = Some(problem);
                    }
                }
            }
        }
        self.rest = after(gateway, &mut receipts);
        let count = |outcome: &str| list.iter().filter(|listed| listed.outcome == outcome).count();
        if let Some(worst) = worst {
            let detail = format!(
                "{} of {} were not taken: `deliveries` says which, and why; the others are, and those of them that have a key are known when they come again",
                count("rejected"),
                list.len()
            );
            return Err(worst.about(detail).member("deliveries", &list));
        }
        let whole = ["pending", "delivered", "duplicate", "unmatched"].into_iter().find(|outcome| count(outcome) > 0);
        self.log.outcome(whole.unwrap_or("unmatched"));
        let (status, empty) = self.success(&prefer, pending);
        let mut response = Response::default();
        *response.status_mut() = status;
        response.headers_mut().insert(SLUICE_OUTCOME, HeaderValue::from_static(whole.unwrap_or("unmatched")));
        if !empty {
            #[derive(Serialize)]
            struct View {
                deliveries: Vec<Listed>,
            }
            *response.body_mut() = serde_json::to_vec(&View { deliveries: list }).unwrap_or_default();
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        response.headers_mut().extend(prefer.applied(pending).map(|applied| (PREFERENCE_APPLIED, applied)));
        Ok(response)
    }

    /// Starts what one event or webhook starts: one run as a rule, several by routes, or none.
    pub(super) async fn start(
        &mut self,
        gateway: Gateway<'o, O>,
        mut starts: Vec<(Start<'_>, Option<Key>)>,
    ) -> Result<Response<Vec<u8>>, Problem> {
        if starts.len() > 1 {
            let items = starts.into_iter().map(|start| Item { event: None, start: Some(start) }).collect();
            return self.deliver_all(gateway, items).await;
        }
        match starts.pop() {
            Some((start, key)) => self.deliver(gateway, Work::Start(start), key).await,
            None => Ok(self.unmatched()),
        }
    }

    /// No route is for what came: a fact, and no error.
    fn unmatched(&mut self) -> Response<Vec<u8>> {
        self.log.outcome("unmatched");
        let mut response = Response::default();
        *response.status_mut() = match self.response_policy.success {
            SuccessCriterion::Only200 | SuccessCriterion::Empty200 => StatusCode::OK,
            SuccessCriterion::Any2xx | SuccessCriterion::Only204 => StatusCode::NO_CONTENT,
        };
        response.headers_mut().insert(SLUICE_OUTCOME, HeaderValue::from_static("unmatched"));
        response
    }
}

/// Which failure the whole answer is about: first what the same request may mend, then what it may do twice.
fn weight(kind: Kind) -> u8 {
    match kind {
        Kind::StoreUnavailable => 2,
        Kind::EngineUnclear => 1,
        _ => 0,
    }
}

/// The calls that go on, then a short drain for what had no turn.
fn after<'o, O: Host>(gateway: Gateway<'o, O>, receipts: &mut [Receipt<'o>]) -> Option<Rest<'o>> {
    let pending = receipts.iter().any(|receipt| matches!(receipt.outcome, Outcome::Pending { .. }));
    let background: Vec<_> = receipts.iter_mut().filter_map(|receipt| receipt.background.take()).collect();
    pending.then(|| -> Rest<'o> {
        Box::pin(async move {
            let mut lines: Vec<_> = futures_util::future::join_all(background).await.iter().map(log::report).collect();
            let drained = gateway.drain(DRAIN_BUDGET).await;
            lines.push(log::drained(gateway.now(), &drained));
            lines
        })
    })
}
