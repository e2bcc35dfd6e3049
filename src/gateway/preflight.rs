//! The preflight of a workflow: asks the engine what it knows of it. Nothing is stored, and no run is started.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use http::{Request, Response, StatusCode};

use super::Gateway;
use crate::delivery::Verdict;
use crate::engine::RequestError;
use crate::engine::preflight::{Finding, TemplateRef, TemplateState, unavailable, undescribed};
use crate::ports::Host;
use crate::reference::WorkflowRef;

/// Maximum number of task templates that one preflight asks for.
pub const MAX_TEMPLATES: usize = 50;
/// Maximum number of requests to the engine at the same time.
const MAX_CONCURRENT: usize = 4;
/// Time after which a preflight begins no further request. Some platforms end a request after 30 s.
const BUDGET: Duration = Duration::from_secs(15);

/// A failed request: the verdict, and the engine's status if it answered.
type Failure = (Verdict, Option<StatusCode>);

impl<H: Host> Gateway<'_, H> {
    /// Asks the engine about a workflow, with one request for it and one for each template of a task that needs an
    /// image. If the engine doesn't answer, that is a finding too.
    pub async fn preflight(&self, workflow: &WorkflowRef) -> Vec<Finding> {
        let found = self.try_preflight(workflow).await;
        found.unwrap_or_else(|(verdict, status)| vec![unavailable(&verdict, status)])
    }

    async fn try_preflight(&self, workflow: &WorkflowRef) -> Result<Vec<Finding>, Failure> {
        let engine = &self.settings.engine;
        let started = self.now();
        let Some(request) = engine.describe(workflow).map_err(|error| (error.into(), None))? else {
            return Ok(vec![undescribed(engine.profile.name())]);
        };
        let response = self.ask(Ok(request)).await?;
        let status = response.status();
        let described = engine.read_workflow(response, self.now()).map_err(|verdict| (verdict, Some(status)))?;
        let wanted = engine.templates(&described).map_err(|verdict| (verdict, None))?;
        let wanted: Vec<_> = wanted.into_iter().take(MAX_TEMPLATES).collect();
        let mut templates = BTreeMap::new();
        let mut stopped = None;
        for some in wanted.chunks(MAX_CONCURRENT) {
            if self.now().since(started) > BUDGET {
                stopped.get_or_insert_with(|| "the time limit was reached".to_owned());
            }
            let states = match &stopped {
                Some(reason) => some.iter().map(|_| TemplateState::NotRead(reason.clone())).collect(),
                None => join_all(some.iter().map(|template| self.template(workflow, template))).await,
            };
            // A template that can't be read because the engine is gone is the last one that is asked for.
            stopped = states.iter().find_map(|state| match state {
                TemplateState::NotRead(reason) => Some(reason.clone()),
                _ => None,
            });
            templates.extend(some.iter().cloned().zip(states));
        }
        engine.findings(workflow, &described, &templates).map_err(|verdict| (verdict, None))
    }

    async fn template(&self, workflow: &WorkflowRef, template: &TemplateRef) -> TemplateState {
        let engine = &self.settings.engine;
        if template.reference.is_empty() {
            return TemplateState::Unknown;
        }
        match self.ask(engine.describe_template(workflow, template)).await {
            Ok(response) => engine
                .read_template(response, self.now())
                .unwrap_or_else(|verdict| TemplateState::NotRead(verdict.to_string())),
            Err((verdict, _)) => TemplateState::NotRead(verdict.to_string()),
        }
    }

    async fn ask(&self, request: Result<Request<Vec<u8>>, RequestError>) -> Result<Response<Vec<u8>>, Failure> {
        let request = request.map_err(|error| (error.into(), None))?;
        self.call(request).await.map_err(|verdict| (verdict, None))
    }
}
