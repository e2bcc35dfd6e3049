//! Pages for people: what is asked, what came of it, and why not. They have no script, work without their style, and load
//! nothing; a mail program or a proxy that opens one has done nothing by it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, Response, StatusCode};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::problem::Problem;
use crate::callback::{Callback, Status};
use crate::time::Timestamp;

/// The form's only field, with its value: so that a button is told from any other POST.
pub(super) const CONFIRMED: &str = "confirm=yes";

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{margin:0 auto;max-width:36rem;padding:12vh 1.25rem 3rem;font:1.0625rem/1.55 system-ui,sans-serif}\
h1{margin:0 0 1rem;font-size:1.5rem;line-height:1.25;overflow-wrap:anywhere}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:.35rem 1.25rem;margin:1.5rem 0 2rem}\
dt{font-weight:600}dd{margin:0;overflow-wrap:anywhere}\
button{padding:.7rem 2rem;border:2px solid;border-radius:.5rem;background:CanvasText;color:Canvas;font:inherit;font-weight:600;cursor:pointer}\
button:focus-visible{outline:3px solid Highlight;outline-offset:3px}";

/// Does who asks want a page rather than a problem in JSON?
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let accept = headers.get_all(http::header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut json = false;
    for accept in accept {
        if accept.contains("text/html") {
            return true;
        }
        json |= accept.contains("json");
    }
    !json
}

/// What is asked of someone who opens a link.
pub(super) struct Question<'a> {
    /// In the words of who asks; empty for none.
    pub(super) text: &'a str,
    /// The button's text; empty for none.
    pub(super) button: &'a str,
    pub(super) callback: &'a Callback<'a>,
    pub(super) until: Option<Timestamp>,
}

/// The page with the button. Its form goes to the URL of the page itself.
pub(super) fn ask(question: &Question<'_>) -> Response<Vec<u8>> {
    let Question { text, button, callback, until } = question;
    let heading = or(text, "A workflow waits for your answer");
    let button = or(
        button,
        match callback.status {
            Status::Succeeded => "Approve",
            Status::Failed => "Reject",
        },
    );
    page(
        StatusCode::OK,
        heading,
        html! {
            (facts(callback, *until))
            form method="post" {
                input type="hidden" name="confirm" value="yes";
                button type="submit" { (button) }
            }
        },
    )
}

/// What came of it.
pub(super) fn tell(status: StatusCode, heading: &str, text: &str, callback: &Callback<'_>) -> Response<Vec<u8>> {
    page(
        status,
        heading,
        html! {
            p { (text) }
            (facts(callback, None))
        },
    )
}

/// Why not.
pub(super) fn refuse(problem: Problem) -> Response<Vec<u8>> {
    refuse_on(problem, |status, title, detail| page(status, title, html! { p { (detail) } }))
}

/// The same on another page.
pub(super) fn refuse_on(
    problem: Problem,
    draw: impl FnOnce(StatusCode, &str, &str) -> Response<Vec<u8>>,
) -> Response<Vec<u8>> {
    let (title, detail) = (problem.title(), problem.detail().to_owned());
    let (parts, _) = problem.into_response().into_parts();
    let mut response = draw(parts.status, title, &detail);
    for (name, value) in parts.headers.iter().filter(|(name, _)| *name != CONTENT_TYPE) {
        response.headers_mut().insert(name, value.clone());
    }
    response
}

/// What it is about.
fn facts(callback: &Callback<'_>, until: Option<Timestamp>) -> Markup {
    html! {
        dl {
            dt { "Run" } dd { (callback.run.as_str()) }
            dt { "Topic" } dd { (callback.topic.as_str()) }
            dt { "Answer" } dd { (callback.status.as_str()) }
            @if let Some(until) = until {
                dt { "Open until" } dd { (until.rfc3339()) }
            }
        }
    }
}

fn or<'a>(text: &'a str, usual: &'a str) -> &'a str {
    if text.is_empty() { usual } else { text }
}

fn page(status: StatusCode, heading: &str, content: Markup) -> Response<Vec<u8>> {
    let body = html! { main { h1 { (heading) } (content) } };
    Document { title: heading, style: STYLE, referrer: "no-referrer" }.answer(status, &body)
}

/// What a page is made of, but for its body.
pub(super) struct Document<'a> {
    pub(super) title: &'a str,
    /// The only style that its policy lets through.
    pub(super) style: &'static str,
    /// `Referrer-Policy`.
    pub(super) referrer: &'static str,
}

impl Document<'_> {
    /// The whole page, with the headers that shut out everything but its own style and forms.
    pub(super) fn answer(&self, status: StatusCode, body: &Markup) -> Response<Vec<u8>> {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width";
                    meta name="robots" content="noindex";
                    title { (self.title) }
                    style { (PreEscaped(self.style)) }
                }
                body { (body) }
            }
        };
        locked(status, page, self.style, self.referrer)
    }
}

fn locked(status: StatusCode, page: Markup, style: &str, referrer: &'static str) -> Response<Vec<u8>> {
    let mut response = Response::new(page.into_string().into_bytes());
    *response.status_mut() = status;
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        BASE64_STANDARD.encode(Sha256::digest(style))
    );
    let headers = response.headers_mut();
    let fixed: [(HeaderName, &'static str); 5] = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, referrer),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
    ];
    headers.extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
    headers.extend(HeaderValue::from_str(&policy).ok().map(|policy| (CONTENT_SECURITY_POLICY, policy)));
    response
}
