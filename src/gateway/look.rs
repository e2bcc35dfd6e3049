//! Looks at runs.

use std::cell::RefCell;
use std::collections::BTreeMap;

use http::HeaderMap;

use super::Gateway;
use super::send::Sent;
use crate::callback::Callback;
use crate::delivery::width::Answer;
use crate::delivery::{Delivery, DeliveryId, Limits, RunView, RunWorkflow, Verdict, Wait};
use crate::engine::Confirm;
use crate::ports::Host;
use crate::reference::RunRef;
use crate::store::Claims as _;
use crate::time::Timestamp;

/// What the attempts of one pass of the drain share.
#[derive(Debug, Default)]
pub(super) struct PassNotes {
    /// The last look at each run, or topic: many callbacks may be kept for one run.
    looks: RefCell<BTreeMap<String, (Timestamp, RunView)>>,
    /// How the engine has answered the last request of each delivery.
    answers: RefCell<BTreeMap<DeliveryId, Answer>>,
    /// What an operator has to know, for the log.
    warnings: RefCell<Vec<String>>,
}

impl PassNotes {
    /// Returns the last look with this [key](crate::engine::Engine::look_key), and its time.
    pub(super) fn last_look(&self, key: &str) -> Option<(Timestamp, RunView)> {
        self.looks.borrow().get(key).cloned()
    }

    /// Keeps a look.
    pub(super) fn keep_look(&self, key: String, at: Timestamp, view: &RunView) {
        self.looks.borrow_mut().insert(key, (at, view.clone()));
    }

    /// Keeps how the engine has answered a delivery.
    pub(super) fn answered(&self, delivery: &Delivery<'_>, sent: &Sent, limits: &Limits) {
        let deadline = limits.engine_deadline(delivery.sent.unwrap_or(delivery.received));
        let answer = Answer::of(&sent.verdict, sent.engine_status, deadline);
        self.answers.borrow_mut().insert(delivery.id, answer);
    }

    /// Returns how the engine has answered a delivery in this pass.
    pub(super) fn take_answer(&self, id: DeliveryId) -> Answer {
        self.answers.borrow_mut().remove(&id).unwrap_or(Answer::Unsent)
    }

    /// Adds a warning.
    pub(super) fn warn(&self, warning: String) {
        self.warnings.borrow_mut().push(warning);
    }

    /// Returns the warnings.
    pub(super) fn into_warnings(self) -> Vec<String> {
        self.warnings.into_inner()
    }
}

impl<H: Host> Gateway<'_, H> {
    /// Looks at the run of a callback, in each configured scope if it has to. Returns a verdict if the engine does not
    /// show it.
    pub(super) async fn look(&self, delivery: &Delivery<'_>) -> Result<RunView, Verdict> {
        let (run, topic) = (delivery.work.reference(), delivery.work.topic());
        self.look_in_scopes(run, topic, &delivery.trace).await.map(|(view, _)| view)
    }

    /// Returns the workflow of a run with its scope, such as a team: by its reference, or by a look.
    pub async fn workflow_of(&self, run: &RunRef, trace: &HeaderMap) -> Result<(RunWorkflow, Option<String>), Verdict> {
        if let Some(workflow) = self.settings.engine.workflow_in(run.as_str()) {
            return Ok((workflow, None));
        }
        self.look_in_scopes(run.as_str(), None, trace).await.map(|(view, scope)| (view.workflow, scope))
    }

    /// Looks at a run, or at a topic in it. Returns it with the scope in which the engine shows it.
    async fn look_in_scopes(
        &self,
        run: &str,
        topic: Option<&str>,
        trace: &HeaderMap,
    ) -> Result<(RunView, Option<String>), Verdict> {
        let scopes = self.settings.engine.scopes();
        let Some((first, others)) = scopes.split_first() else {
            return Ok((self.look_in(run, topic, None, trace).await?, None));
        };
        let unknown = match self.look_in(run, topic, Some(first), trace).await {
            Err(unknown @ Verdict::UnknownRun { .. }) => unknown,
            seen => return Ok((seen?, Some(first.to_owned()))),
        };
        // The store failing here costs a look at the run's own scope, and no more.
        let record = self.store().run(run).await.ok().flatten();
        let own = record.and_then(|record| record.scope).filter(|own| own != first);
        for scope in own.iter().chain(others.iter().filter(|other| Some(*other) != own.as_ref())) {
            match self.look_in(run, topic, Some(scope), trace).await {
                Err(Verdict::UnknownRun { .. }) => {}
                seen => return Ok((seen?, Some(scope.to_owned()))),
            }
        }
        Err(unknown)
    }

    /// Asks the engine whether a run waits for the topic of a callback; `None` if it does not tell.
    pub async fn wait(&self, callback: &Callback<'_>) -> Option<Wait> {
        match self.settings.engine.confirm() {
            Confirm::Answer => None,
            Confirm::Look => {
                let topic = Some(callback.topic.as_str());
                let seen = self.look_in_scopes(callback.run.as_str(), topic, &HeaderMap::new()).await;
                seen.ok().map(|(view, _)| view.wait(&callback.topic))
            }
        }
    }
}
