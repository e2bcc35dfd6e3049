//! The console: HTML pages for the operator, rendered by the server. They have no scripts and load no other resources.
//! Each button is a form, and each search a link.

pub(super) mod callbacks;
pub(super) mod delivery;
pub(super) mod list;
pub(super) mod overview;

mod auth;
mod format;
mod json;
mod layout;

use http::Method;

use super::problem::Problem;
use super::{RequestContext, body};
use crate::ports::{Body, Host};

/// Maximum bytes of a form's body. The forms of the console have none.
const MAX_FORM: usize = 4_096;

/// Authorizes the operator. Checks also that a form comes from the console itself.
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
