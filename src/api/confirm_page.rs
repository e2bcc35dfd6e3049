//! HTML pages for people who open a callback link: the question, the result, or the problem. The pages have no scripts,
//! work without their style sheet, and load no other resources. A GET of a page changes nothing.

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

/// The body that the form of the page sends. It distinguishes the form from other POSTs.
pub(super) const CONFIRMED: &str = "confirm=yes";

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{margin:0 auto;max-width:36rem;padding:12vh 1.25rem 3rem;font:1.0625rem/1.55 system-ui,sans-serif}\
h1{margin:0 0 1rem;font-size:1.5rem;line-height:1.25;overflow-wrap:anywhere}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:.35rem 1.25rem;margin:1.5rem 0 2rem}\
dt{font-weight:600}dd{margin:0;overflow-wrap:anywhere}\
button{padding:.7rem 2rem;border:2px solid;border-radius:.5rem;background:CanvasText;color:Canvas;font:inherit;font-weight:600;cursor:pointer}\
button:focus-visible{outline:3px solid Highlight;outline-offset:3px}";

/// Returns whether the client prefers HTML to JSON. It does if its `Accept` contains `text/html`, or contains no JSON
/// type.
pub(super) fn prefers_html(headers: &HeaderMap) -> bool {
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

/// The question on the page of a link.
pub(super) struct Question<'a> {
    /// The text of the question; empty for the default.
    pub(super) text: &'a str,
    /// The text of the button; empty for the default.
    pub(super) button: &'a str,
    /// The callback that the button completes.
    pub(super) callback: &'a Callback<'a>,
    /// When the link expires, if it does.
    pub(super) expires: Option<Timestamp>,
}

/// Returns the page with the question and the button, whose form posts to the page's own URL.
pub(super) fn question_page(question: &Question<'_>) -> Response<Vec<u8>> {
    let Question { text, button, callback, expires } = question;
    let heading = or_default(text, "A workflow is waiting for your answer");
    let button = or_default(
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
            (details(callback, *expires))
            form method="post" {
                input type="hidden" name="confirm" value="yes";
                button type="submit" { (button) }
            }
        },
    )
}

/// Returns the page that shows the result of an answer.
pub(super) fn result_page(status: StatusCode, heading: &str, text: &str, callback: &Callback<'_>) -> Response<Vec<u8>> {
    page(
        status,
        heading,
        html! {
            p { (text) }
            (details(callback, None))
        },
    )
}

/// Renders a problem as a page.
pub(super) fn problem_page(problem: Problem) -> Response<Vec<u8>> {
    problem_page_with(problem, |status, title, detail| page(status, title, html! { p { (detail) } }))
}

/// Renders a problem with `render`, which gets its status, title and detail. The response keeps the problem's headers.
pub(super) fn problem_page_with(
    problem: Problem,
    render: impl FnOnce(StatusCode, &str, &str) -> Response<Vec<u8>>,
) -> Response<Vec<u8>> {
    let (title, detail) = problem.title_and_detail();
    let detail = detail.to_owned();
    let (parts, _) = problem.into_response().into_parts();
    let mut response = render(parts.status, title, &detail);
    for (name, value) in parts.headers.iter().filter(|(name, _)| *name != CONTENT_TYPE) {
        response.headers_mut().insert(name, value.clone());
    }
    response
}

/// The run, topic and answer of a callback, and when its link expires.
fn details(callback: &Callback<'_>, expires: Option<Timestamp>) -> Markup {
    html! {
        dl {
            dt { "Run" } dd { (callback.run.as_str()) }
            dt { "Topic" } dd { (callback.topic.as_str()) }
            dt { "Answer" } dd { (callback.status.as_str()) }
            @if let Some(expires) = expires {
                dt { "Open until" } dd { (expires.rfc3339()) }
            }
        }
    }
}

fn or_default<'a>(text: &'a str, default: &'a str) -> &'a str {
    if text.is_empty() { default } else { text }
}

fn page(status: StatusCode, heading: &str, content: Markup) -> Response<Vec<u8>> {
    let body = html! { main { h1 { (heading) } (content) } };
    HtmlPage { title: heading, style: STYLE, referrer: "no-referrer" }.into_response(status, &body)
}

/// The frame of an HTML document: everything but its body.
pub(super) struct HtmlPage<'a> {
    pub(super) title: &'a str,
    /// The style sheet: the only one that the document's `Content-Security-Policy` allows.
    pub(super) style: &'static str,
    /// `Referrer-Policy`.
    pub(super) referrer: &'static str,
}

impl HtmlPage<'_> {
    /// Returns the document as a response. Its headers allow only its own style sheet and forms.
    pub(super) fn into_response(self, status: StatusCode, body: &Markup) -> Response<Vec<u8>> {
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
        let mut response = Response::new(page.into_string().into_bytes());
        *response.status_mut() = status;
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            BASE64_STANDARD.encode(Sha256::digest(self.style))
        );
        let headers = response.headers_mut();
        let fixed: [(HeaderName, &'static str); 5] = [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            (CACHE_CONTROL, "no-store"),
            (REFERRER_POLICY, self.referrer),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (X_FRAME_OPTIONS, "DENY"),
        ];
        headers.extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
        headers.extend(HeaderValue::from_str(&policy).ok().map(|policy| (CONTENT_SECURITY_POLICY, policy)));
        response
    }
}
