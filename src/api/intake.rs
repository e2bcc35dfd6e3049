//! The checks that the endpoints for deliveries share, before and after the body is read.

use http::Method;

use super::auth::{Authentication, VerifiedSender};
use super::problem::Problem;
use super::query::{Query, invalid_reference};
use super::{RequestContext, body};
use crate::config;
use crate::gateway::Gateway;
use crate::ports::{Body, Host};
use crate::reference::WorkflowRef;

/// The checked head of a request to start runs: its origin, query and token are valid, and its body is still unread.
pub(super) struct Head {
    pub(super) query: Query,
    /// The workflow in `ref`.
    pub(super) workflow: Option<WorkflowRef>,
    /// The `dedup` parameter: whether duplicates are detected.
    pub(super) dedup: bool,
    pub(super) authentication: Authentication,
}

/// A request whose body was read, and whose signature was verified if one is required.
pub(super) struct Received<'h, H> {
    pub(super) gateway: Gateway<'h, H>,
    /// The body; empty for GET and HEAD.
    pub(super) bytes: Vec<u8>,
    /// The sender, if it signed the request.
    pub(super) sender: Option<VerifiedSender>,
}

impl<'h, H: Host> RequestContext<'_, 'h, H> {
    /// Checks the head of a webhook or event.
    pub(super) fn head(&mut self) -> Result<Head, Problem> {
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

    /// Reads the settings and the body, then verifies the signature.
    pub(super) async fn receive(
        &self,
        authentication: &Authentication,
        incoming: &mut impl Body,
    ) -> Result<Received<'h, H>, Problem> {
        let max = config::max_body(self.host)?;
        let gateway = self.gateway()?;
        let has_body = self.method == Method::POST;
        let bytes = if has_body { body::read(incoming, self.headers, max).await? } else { Vec::new() };
        let sender = self.verify(authentication, &bytes)?;
        Ok(Received { gateway, bytes, sender })
    }
}
