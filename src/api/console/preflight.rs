//! The page with the preflight of a workflow.

use std::collections::BTreeSet;

use http::Response;
use maud::{Markup, html};

use super::layout::{Tab, Tone, chip, page};
use crate::api::RequestContext;
use crate::api::problem::Problem;
use crate::api::query::{Query, invalid_reference};
use crate::config::Config;
use crate::engine::preflight::{Finding, Level};
use crate::ports::{Host, Variables};
use crate::reference::WorkflowRef;
use crate::routing::Table;

/// `GET /console/preflight?ref=`: asks the engine about a workflow.
pub(in crate::api) async fn show(
    context: &mut RequestContext<'_, '_, impl Host>,
) -> Result<Response<Vec<u8>>, Problem> {
    let gateway = context.gateway()?;
    let query = Query::parse(context.query)?;
    let text = query.one("ref")?.unwrap_or_default().trim();
    let found = if text.is_empty() {
        html! { div.card.empty { strong { "No workflow selected" } "Enter a workflow as senders name it, to ask the engine about it." } }
    } else {
        let workflow = WorkflowRef::parse(text).map_err(|error| invalid_reference("ref", error))?;
        let accepted = gateway.settings().engine.accepts(&workflow);
        accepted.map_err(|error| invalid_reference("ref", error))?;
        list(&gateway.preflight(&workflow).await)
    };
    let content = html! {
        (form(context.config, text))
        (found)
    };
    Ok(page(Tab::Overview, "Preflight", &content))
}

/// A form that asks about a workflow, with the workflows of the routes as suggestions.
pub(super) fn form(config: &Config<'_, impl Variables>, workflow: &str) -> Markup {
    let routes = config.routes().ok().flatten();
    let suggestions: BTreeSet<&str> =
        routes.iter().flat_map(Table::iter).map(|route| route.workflow().as_str()).collect();
    html! {
        form.row.above action="/console/preflight" {
            input.grow type="text" name="ref" value=(workflow) aria-label="Workflow" placeholder="Workflow, as senders name it" maxlength="256" autocomplete="off" required list=[(!suggestions.is_empty()).then_some("workflows")];
            @if !suggestions.is_empty() {
                datalist #workflows { @for workflow in &suggestions { option value=(workflow) {} } }
            }
            button type="submit" { "Check" }
        }
    }
}

/// A link to the preflight of a workflow.
pub(super) fn link(workflow: &WorkflowRef) -> Markup {
    let reference: String = form_urlencoded::byte_serialize(workflow.as_str().as_bytes()).collect();
    html! { a.button href={ "/console/preflight?ref=" (reference) } { "Check the workflow" } }
}

fn list(findings: &[Finding]) -> Markup {
    html! {
        ul.findings.card {
            @for finding in findings {
                li.pad {
                    (level(finding.level))
                    div {
                        p { bdi { (finding.text) } }
                        @if let Some(remedy) = &finding.remedy { p.mute { bdi { (remedy) } } }
                    }
                }
            }
        }
    }
}

fn level(level: Level) -> Markup {
    match level {
        Level::Ok => chip(Tone::Good, "OK"),
        Level::Warning => chip(Tone::Busy, "Warning"),
        Level::Error => chip(Tone::Bad, "Error"),
    }
}
