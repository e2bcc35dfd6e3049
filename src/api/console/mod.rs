//! The console: pages for the operator, made by the server alone. They have no script and load nothing; each button is a
//! form, each search a link that can be kept.

mod auth;
mod callbacks;
mod delivery;
mod format;
mod json;
mod layout;
mod list;
mod overview;

use http::{Method, Response};

use super::problem::Problem;
use super::{RequestContext, body, operator};
use crate::ports::{Body, Host};
use delivery::Act;

/// Most bytes of a form's body; the console's own have none.
const MAX_FORM: usize = 4_096;

/// A page, or an action; with the path's segment that names a delivery.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    Overview,
    Drain,
    Deliveries,
    Delivery(&'a str),
    Redeliver(&'a str),
    Delete(&'a str),
    Callbacks,
}

/// Any page, any action.
pub(super) async fn answer(
    context: &mut RequestContext<'_, '_, impl Host>,
    place: Place<'_>,
    incoming: &mut impl Body,
) -> Result<Response<Vec<u8>>, Problem> {
    auth::open(context)?;
    if context.method == Method::POST {
        auth::is_own_form(context)?;
        body::read(incoming, context.headers, MAX_FORM).await?;
    }
    let (id, act) = match place {
        Place::Overview => return overview::show(context, false).await,
        Place::Drain => return overview::show(context, true).await,
        Place::Deliveries => return list::show(context).await,
        Place::Callbacks => return callbacks::show(context).await,
        Place::Delivery(id) => (id, Act::Show),
        Place::Redeliver(id) => (id, Act::Redeliver),
        Place::Delete(id) if context.method == Method::POST => (id, Act::Delete),
        Place::Delete(id) => (id, Act::Confirm),
    };
    delivery::answer(context, operator::delivery_id(id)?, act).await
}
