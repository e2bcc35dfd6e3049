//! `POST` and `GET /api/v2/callback` resolve a wait.

use std::borrow::Cow;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, Response};

use super::confirm_page::{self, Question};
use super::problem::{Kind, Problem};
use super::query::Query;
use super::{RequestContext, body, link, no_store};
use crate::callback::{Callback, Status};
use crate::config::{self, CallbackGet, ConfigError};
use crate::delivery::{Key, Work};
use crate::ports::{Body, Host};
use crate::sender;

/// How a callback comes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// POST, with a payload.
    Payload,
    /// GET, as a link in a mail: it carries none.
    Link,
    /// HEAD of the same: a look that changes nothing.
    Look,
    /// GET or HEAD where `callback_get` is `confirm`: a page with a button.
    Page,
    /// That button.
    Button,
}

pub(super) async fn complete(
    context: &mut RequestContext<'_, '_, impl Host>,
    incoming: &mut impl Body,
) -> Result<Response<Vec<u8>>, Problem> {
    let query = Query::parse_callback(context.query)?;
    let (run, topic) = (query.run()?, query.topic()?);
    let status = status(&query)?;
    let way = Way::of(context)?;
    if matches!(way, Way::Page | Way::Button) {
        context.refuse = confirm_page::refuse;
    }
    let entry = context.enter(&query)?;
    match way {
        Way::Payload => body::require_json(context.headers)?,
        Way::Link | Way::Look if looks_ahead(context.headers) => {
            let detail = "this would complete the callback: open the link itself, without a preview or prefetch";
            return Err(Problem::new(Kind::Prefetch, detail).no_store());
        }
        _ => {}
    }
    let max = config::max_body(context.host)?;
    let gateway = context.gateway()?;

    let posted = matches!(way, Way::Payload | Way::Button);
    let bytes = if posted { body::read(incoming, context.headers, max).await? } else { Vec::new() };
    context.verify(&entry, &bytes)?;
    let callback = Callback { run, topic, status, payload: None };
    match way {
        Way::Look => Ok(no_store(Response::default())),
        Way::Page => {
            let question = Question { text: "", button: "", callback: &callback, until: None };
            link::show(context, &gateway, &question).await
        }
        // Another form has a payload, which would be lost.
        Way::Button if bytes != confirm_page::CONFIRMED.as_bytes() => {
            Err(body::unsupported(context.headers, "application/json"))
        }
        Way::Button => link::press(context, gateway, callback).await,
        Way::Link | Way::Payload => {
            let payload = (way == Way::Payload).then(|| body::object(&bytes)).transpose()?.map(Cow::Borrowed);
            let callback = Callback { payload, ..callback };
            let key = Key::callback(&callback);
            context.deliver(gateway, Work::Resolve(callback), Some(key)).await.map(no_store)
        }
    }
}

impl Way {
    fn of(context: &RequestContext<'_, '_, impl Host>) -> Result<Self, ConfigError> {
        let confirms = || config::callback_get(context.host).map(|get| get == CallbackGet::Confirm);
        let is_form = || body::text_of(context.headers, CONTENT_TYPE).is_some_and(sender::is_form);
        Ok(match context.method {
            Method::POST if is_form() && confirms()? => Self::Button,
            Method::POST => Self::Payload,
            _ if confirms()? => Self::Page,
            Method::HEAD => Self::Look,
            _ => Self::Link,
        })
    }
}

fn status(query: &Query) -> Result<Status, Problem> {
    match query.one("status")? {
        None => Ok(Status::Succeeded),
        Some(text) => Status::parse(text).ok_or_else(|| {
            let detail = "`status` must be Succeeded or Failed; left out it is Succeeded";
            Problem::new(Kind::InvalidParameter, detail).field("status")
        }),
    }
}

/// A browser or a mail program that fetches what no one has opened yet: `Sec-Purpose` (Fetch, section 2.2.7), and what
/// older ones send.
fn looks_ahead(headers: &HeaderMap) -> bool {
    ["sec-purpose", "purpose", "x-purpose", "x-moz"].iter().any(|name| {
        headers.get_all(*name).iter().any(|value| {
            let value = value.as_bytes().to_ascii_lowercase();
            ["prefetch", "prerender", "preview"]
                .iter()
                .any(|what| value.windows(what.len()).any(|w| w == what.as_bytes()))
        })
    })
}
