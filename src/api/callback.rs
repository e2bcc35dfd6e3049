//! `POST` and `GET /api/v2/callback`: completes a run's tasks that wait for a topic.

use std::borrow::Cow;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, Response, StatusCode};

use super::auth::Admitted;
use super::confirm_page::{self, Question};
use super::intake::Received;
use super::problem::{Kind, Problem};
use super::query::Query;
use super::respond::{self, no_store};
use super::{RequestContext, body, link};
use crate::callback::Callback;
use crate::config::{CallbackGet, ConfigError, members};
use crate::delivery::Work;
use crate::ports::{Body, Host};

/// The kind of a request to this endpoint.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CallbackMode {
    /// POST, perhaps with a payload, which completes the callback.
    Post,
    /// A plain link: GET without a payload, which completes the callback.
    Get,
    /// HEAD of a plain link, which completes nothing.
    Head,
    /// GET or HEAD while `callback_get` is `confirm`: returns a page with a button.
    ConfirmPage,
    /// POST of the form on that page, which completes the callback without a payload.
    Confirm,
}

/// Completes a callback, or returns the page that asks for confirmation.
pub(super) async fn complete(
    context: &mut RequestContext<'_, '_, impl Host>,
    incoming: &mut impl Body,
) -> Result<Response<Vec<u8>>, Problem> {
    let query = Query::parse_callback(context.query)?;
    let (run, topic) = (query.run()?, query.topic()?);
    let status = query.status()?;
    let mode = CallbackMode::of(context)?;
    if matches!(mode, CallbackMode::ConfirmPage | CallbackMode::Confirm) {
        context.problem_page = confirm_page::problem_page;
    }
    let authentication = context.authenticate(&query)?;
    let has_type = context.headers.contains_key(CONTENT_TYPE);
    match mode {
        CallbackMode::Post if has_type => body::require_json(context.headers)?,
        CallbackMode::Get | CallbackMode::Head if is_prefetch(context.headers) => {
            let detail = "a prefetch or preview of this link does not complete the callback: open the link itself";
            return Err(Problem::new(Kind::Prefetch, detail).no_store());
        }
        _ => {}
    }
    let Received { gateway, bytes, admitted } = context.receive(authentication, incoming).await?;
    let admission = match admitted {
        Admitted::Delivery(admission) => admission,
        Admitted::Question(reply) => return Ok(context.reply(reply)),
    };
    context.permit_callback(&admission, &gateway, &run, status).await?;
    let callback = Callback { run, topic, status, payload: None };
    match mode {
        CallbackMode::Head => Ok(no_store(respond::empty(StatusCode::OK))),
        CallbackMode::ConfirmPage => {
            let question = Question { text: "", button: "", callback: &callback, expires: None };
            link::show(context, &gateway, &question).await
        }
        // Any other form contains a payload, which would be lost.
        CallbackMode::Confirm if *bytes != *confirm_page::CONFIRMED.as_bytes() => {
            Err(body::unsupported(context.headers, "application/json"))
        }
        CallbackMode::Confirm => link::confirm(context, gateway, callback).await,
        CallbackMode::Get | CallbackMode::Post => {
            // Without a content type and a body, POST completes the callback as GET does.
            let has_payload = mode == CallbackMode::Post && (has_type || !bytes.is_empty());
            if has_payload && !has_type {
                return Err(body::unsupported(context.headers, "application/json"));
            }
            let payload = has_payload.then(|| body::object(&bytes)).transpose()?;
            let payload = payload.map(Cow::Borrowed);
            let callback = Callback { payload, ..callback };
            context.deliver(gateway, Work::Resolve(callback), None).await.map(no_store)
        }
    }
}

impl CallbackMode {
    /// Determines the kind from the method, the content type and the `callback_get` variable.
    fn of(context: &RequestContext<'_, '_, impl Host>) -> Result<Self, ConfigError> {
        let confirms = || context.config.get(&members::CALLBACK_GET).map(|get| get == CallbackGet::Confirm);
        let is_form = || body::is_form(context.headers);
        Ok(match context.method {
            Method::POST if is_form() && confirms()? => Self::Confirm,
            Method::POST => Self::Post,
            _ if confirms()? => Self::ConfirmPage,
            Method::HEAD => Self::Head,
            _ => Self::Get,
        })
    }
}

/// Returns whether a browser or mail program fetches a link in advance, before a person opens it. Such a request has
/// `Sec-Purpose` (Fetch, section 2.2.7), or a header that older programs send for this purpose.
fn is_prefetch(headers: &HeaderMap) -> bool {
    ["sec-purpose", "purpose", "x-purpose", "x-moz"].iter().any(|name| {
        headers.get_all(*name).iter().any(|value| {
            let value = value.as_bytes().to_ascii_lowercase();
            ["prefetch", "prerender", "preview"]
                .iter()
                .any(|word| value.windows(word.len()).any(|window| window == word.as_bytes()))
        })
    })
}
