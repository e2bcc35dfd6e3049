//! Flow's API: `/api/v2` with a token, and `/internal`, which asks for none.
//!
//! Flow calls the engine for everything that it does with runs. Each error of the engine becomes a 500 on the way.

mod auth;
mod hooks;
mod team;

use http::StatusCode;

use crate::Model;
use crate::fault::Fault;
use crate::incoming::Incoming;
use crate::reply::Reply;
use auth::Identity;

/// Answers a request.
pub(crate) fn answer(model: &mut Model, request: &Incoming) -> Result<Reply, Fault> {
    let segments: Vec<_> = request.segments.iter().map(String::as_str).collect();
    if let ["internal", ref rest @ ..] = segments[..] {
        return match (rest, request.method.as_str()) {
            (["workflow", id, "submit"], "POST") => model.internal_submit(id, request),
            (["workflow", _, "submit"], method) => Err(Fault::wrong_method(method, "POST")),
            _ => Err(Fault::unknown_path(&request.path)),
        };
    }
    // Even an unknown path asks for a token.
    let identity = Identity::of(request, &model.catalogue).ok_or(Fault::Empty(StatusCode::UNAUTHORIZED))?;
    let method = request.method.as_str();
    match segments[..] {
        ["api", "v2", "webhook"] if method == "POST" => model.webhook(&identity, request),
        ["api", "v2", "event"] if method == "POST" => model.cloud_event(&identity, request),
        ["api", "v2", "callback"] if method == "POST" || method == "GET" => model.callback(request),
        ["api", "v2", "webhook" | "event"] => Err(Fault::wrong_method(method, "POST")),
        ["api", "v2", "callback"] => Err(Fault::wrong_method(method, "GET,POST")),
        ["api", "v2", "team", team, ref rest @ ..] => model.team(&identity, team, rest, request),
        _ => Err(Fault::unknown_path(&request.path)),
    }
}
