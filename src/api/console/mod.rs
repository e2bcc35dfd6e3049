//! The console: pages for the operator, made by the server alone. They have no script and load nothing; each button is a
//! form, each search a link that can be kept.

mod callbacks;
mod delivery;
mod door;
mod frame;
mod list;
mod overview;
mod pretty;
mod words;

use http::{Method, Response};

use super::problem::Problem;
use super::{Call, body, operator};
use crate::ports::{Body, Outside};
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
    call: &mut Call<'_, '_, impl Outside>,
    place: Place<'_>,
    incoming: &mut impl Body,
) -> Result<Response<Vec<u8>>, Problem> {
    door::open(call)?;
    if call.method == Method::POST {
        door::is_own_form(call)?;
        body::read(incoming, call.headers, MAX_FORM).await?;
    }
    let (id, act) = match place {
        Place::Overview => return overview::show(call, false).await,
        Place::Drain => return overview::show(call, true).await,
        Place::Deliveries => return list::show(call).await,
        Place::Callbacks => return callbacks::show(call).await,
        Place::Delivery(id) => (id, Act::Show),
        Place::Redeliver(id) => (id, Act::Redeliver),
        Place::Delete(id) if call.method == Method::POST => (id, Act::Delete),
        Place::Delete(id) => (id, Act::Confirm),
    };
    delivery::answer(call, operator::delivery_id(id)?, act).await
}
