//! `POST` and `GET /api/v2/callback` resolve a wait.

use std::borrow::Cow;

use http::{HeaderMap, Method, Response};

use super::problem::{Kind, Problem};
use super::query::Query;
use super::{Call, body, no_store};
use crate::callback::{Callback, Status};
use crate::config;
use crate::delivery::{Key, Work};
use crate::ports::{Body, Outside};

/// POST carries a payload; GET is for a link in a mail, and carries none; HEAD is a look that changes nothing.
pub(super) async fn complete(
    call: &mut Call<'_, '_, impl Outside>,
    incoming: &mut impl Body,
) -> Result<Response<Vec<u8>>, Problem> {
    let query = Query::parse_callback(call.query)?;
    let (run, topic) = (query.run()?, query.topic()?);
    let status = status(&query)?;
    let entry = call.enter(&query)?;
    let posted = call.method == Method::POST;
    if posted {
        body::require_json(call.headers)?;
    } else if looks_ahead(call.headers) {
        let detail = "this would complete the callback: open the link itself, without a preview or prefetch";
        return Err(Problem::new(Kind::Prefetch, detail).no_store());
    }
    let max = config::max_body(call.outside)?;
    let gate = call.gate()?;

    let bytes = if posted { body::read(incoming, call.headers, max).await? } else { Vec::new() };
    call.verify(&entry, &bytes)?;
    if call.method == Method::HEAD {
        return Ok(no_store(Response::default()));
    }
    let payload = if posted { Some(Cow::Borrowed(body::object(&bytes)?)) } else { None };
    let callback = Callback { run, topic, status, payload };
    let key = Key::callback(&callback);
    call.deliver(gate, Work::Resolve(callback), Some(key)).await.map(no_store)
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
