//! The preflight of a workflow, for an operator.

use http::Response;
use serde::Serialize;

use super::problem::Problem;
use super::query::{Query, invalid_reference, missing};
use super::{RequestContext, operator};
use crate::engine::preflight::{Finding, Level};
use crate::ports::Host;

/// `GET /api/v2/preflight?ref=`: asks the engine about a workflow, and returns what an operator should know or change.
pub(super) async fn show(context: &mut RequestContext<'_, '_, impl Host>) -> Result<Response<Vec<u8>>, Problem> {
    let gateway = operator::authorize(context)?;
    let query = Query::parse(context.query)?;
    let workflow = query.workflow()?.ok_or_else(|| missing("ref", "the workflow, as senders name it"))?;
    let accepted = gateway.settings().engine.accepts(&workflow);
    accepted.map_err(|error| invalid_reference("ref", error))?;
    let findings = gateway.preflight(&workflow).await;

    #[derive(Serialize)]
    struct View<'a> {
        r#ref: &'a str,
        level: Level,
        findings: &'a [Finding],
    }
    Ok(operator::json(&View { r#ref: workflow.as_str(), level: level(&findings), findings: &findings }))
}

/// Returns the most severe level of the findings.
pub(super) fn level(findings: &[Finding]) -> Level {
    findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
}
