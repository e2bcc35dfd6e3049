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
use super::{Call, body, operator};
use crate::ports::{Body, Outside};
use delivery::Act;

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
    let (id, act) = match place {
        Console::Overview => return overview::show(call, false).await,
        Console::Drain => return overview::show(call, true).await,
        Console::Deliveries => return list::show(call).await,
        Console::Callbacks => return callbacks::show(call).await,
        Console::Delivery { id } => (id, Act::Show),
        Console::Redeliver { id } => (id, Act::Redeliver),
        Console::Delete { id } if call.method == Method::POST => (id, Act::Delete),
        Console::Delete { id } => (id, Act::Confirm),
    };
    delivery::answer(call, operator::delivery_id(id)?, act).await
}
