//! The console: HTML pages for the operator, rendered by the server. They have no scripts and load no other resources.
//! Actions are forms with POST; everything else is a GET that can be bookmarked.

pub(super) mod callbacks;
pub(super) mod delivery;
pub(super) mod list;
pub(super) mod overview;
pub(super) mod preflight;
pub(super) mod repair;
pub(super) mod replay;
pub(super) mod sources;

mod auth;
mod chart;
mod engine;
mod format;
mod json;
mod layout;
mod trends;

use http::Method;

use super::problem::Problem;
use super::{RequestContext, body};
use crate::ports::{Body, Host};

/// Maximum bytes of a form's body. The forms of the console have empty bodies.
const MAX_FORM: usize = 4_096;

/// Authorizes the operator. For a form, also checks that it was sent from a page of the console.
pub(super) async fn authorize(
    context: &mut RequestContext<'_, '_, impl Host>,
    incoming: &mut impl Body,
) -> Result<(), Problem> {
    auth::check_password(context)?;
    if context.method == Method::POST {
        auth::check_form_origin(context)?;
        body::read(incoming, context.headers, MAX_FORM).await?;
    }
    Ok(())
}
