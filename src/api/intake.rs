//! The checks that the endpoints for deliveries share, before and after the body is read.

use http::Method;

use super::auth::{Admitted, Authentication};
use super::problem::Problem;
use super::query::{Query, invalid_reference};
use super::{RequestContext, body};
use crate::config::members;
use crate::gateway::Gateway;
use crate::json::Buffer;
use crate::ports::{Body, Host};
use crate::reference::WorkflowRef;

/// The checked head of a request to start runs: its origin, query and token are valid, and its body is still unread.
pub(super) struct Head<'r, 'h> {
    pub(super) query: Query,
    /// The workflow in `ref`.
    pub(super) workflow: Option<WorkflowRef>,
    /// The `dedup` parameter: whether duplicates are detected.
    pub(super) dedup: bool,
    pub(super) authentication: Authentication<'r, 'h>,
}

/// A request whose body was read, and that was authenticated.
pub(super) struct Received<'r, 'h, H> {
    pub(super) gateway: Gateway<'h, H>,
    /// The body; empty for GET and HEAD.
    pub(super) bytes: Buffer,
    pub(super) admitted: Admitted<'r, 'h>,
}

impl<'r, 'h, H: Host> RequestContext<'r, 'h, H> {
    /// Checks the head of a webhook or event.
    pub(super) fn head(&mut self) -> Result<Head<'r, 'h>, Problem> {
        self.check_origin()?;
        let query = Query::parse(self.query)?;
        let (workflow, dedup) = (query.workflow()?, query.dedup()?);
        let authentication = self.authenticate(&query)?;
        // The settings are read early only for a reference that the engine might not accept.
        if let Some(workflow) = workflow.as_ref().filter(|workflow| workflow.scope().is_some()) {
            let accepted = self.gateway()?.settings().engine.accepts(workflow);
            let name = if query.one("ref")?.is_some() { "ref" } else { "workflow" };
            accepted.map_err(|error| invalid_reference(name, error))?;
        }
        Ok(Head { query, workflow, dedup, authentication })
    }

    /// Reads the settings and the body, then authenticates the request.
    pub(super) async fn receive(
        &mut self,
        authentication: Authentication<'r, 'h>,
        incoming: &mut impl Body,
    ) -> Result<Received<'r, 'h, H>, Problem> {
        let max = self.config.get(&members::MAX_BODY_BYTES)?;
        let gateway = self.gateway()?;
        // A larger payload would be stored, and then rejected by the engine.
        let of_engine = gateway.settings().engine.profile.max_body_bytes().ok().flatten();
        let max = of_engine.map_or(max, |of_engine| max.min(of_engine));
        let has_body = self.method == Method::POST;
        let bytes = if has_body { body::read(incoming, self.headers, max).await? } else { Buffer::default() };
        match self.admit(authentication, &bytes).await {
            Ok(admitted) => Ok(Received { gateway, bytes, admitted }),
            Err(problem) => {
                if let Some(failed) = &mut self.failed {
                    failed.body = bytes.into_bytes();
                }
                Err(problem)
            }
        }
    }
}
