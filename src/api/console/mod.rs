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
use super::route::Console;
use super::{Call, body};
use crate::ports::{Body, Outside};

/// Most bytes of a form's body; the console's own have none.
const MAX_FORM: usize = 4_096;

/// Any page, any action.
pub(super) async fn answer(
    call: &mut Call<'_, '_, impl Outside>,
    place: &Console,
    incoming: &mut impl Body,
) -> Result<Response<Vec<u8>>, Problem> {
    door::open(call)?;
    if call.method == Method::POST {
        door::is_own_form(call)?;
        body::read(incoming, call.headers, MAX_FORM).await?;
    }
    match place {
        Console::Overview => overview::show(call).await,
        Console::Drain => overview::drain(call).await,
        Console::Deliveries => list::show(call).await,
        Console::Delivery { id } => delivery::show(call, id).await,
        Console::Redeliver { id } => delivery::redeliver(call, id).await,
        Console::Delete { id } if call.method == Method::POST => delivery::delete(call, id).await,
        Console::Delete { id } => delivery::confirm(call, id).await,
        Console::Callbacks => callbacks::show(call).await,
    }
}
