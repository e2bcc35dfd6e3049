//! The layout of all pages: head, navigation, style sheet, and shared elements such as notices.

use http::{Response, StatusCode};
use maud::{Markup, html};

use crate::api::confirm_page::{HtmlPage, problem_page_with};
use crate::api::problem::Problem;

/// The entries of the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tab {
    Overview,
    Deliveries,
    Callbacks,
    Sources,
}

const TABS: [(Tab, &str, &str); 4] = [
    (Tab::Overview, "/console", "Overview"),
    (Tab::Deliveries, "/console/deliveries", "Deliveries"),
    (Tab::Callbacks, "/console/callbacks", "Callbacks"),
    (Tab::Sources, "/console/sources", "Sources"),
];

/// The tone of a state; the style sheet has a colour for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Busy,
    Bad,
    Plain,
}

impl Tone {
    fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Busy => "busy",
            Self::Bad => "bad",
            Self::Plain => "plain",
        }
    }
}

/// Returns a page under an entry of the navigation.
pub(super) fn page(tab: Tab, heading: &str, content: &Markup) -> Response<Vec<u8>> {
    render(StatusCode::OK, Some(tab), heading, content)
}

/// Renders a problem as a page of the console.
pub(super) fn problem_page(problem: Problem) -> Response<Vec<u8>> {
    problem_page_with(problem, |status, title, detail| {
        render(status, None, title, &notice(Tone::Bad, &html! { (detail) }))
    })
}

/// Returns a paragraph with the result of an action, or a warning.
pub(super) fn notice(tone: Tone, content: &Markup) -> Markup {
    html! { p.notice.(tone.class()) role="status" { (content) } }
}

/// Returns a small label for a state.
pub(super) fn chip(tone: Tone, text: &str) -> Markup {
    html! { span.chip.(tone.class()) { (text) } }
}

fn render(status: StatusCode, tab: Option<Tab>, heading: &str, content: &Markup) -> Response<Vec<u8>> {
    let body = html! {
        a.skip href="#main" { "Skip to content" }
        header {
            div {
                a.brand href="/console" { span.mark aria-hidden="true" {} "Sluice" }
                nav aria-label="Console" {
                    @for (name, path, text) in TABS {
                        a href=(path) aria-current=[(tab == Some(name)).then_some("page")] { (text) }
                    }
                }
            }
        }
        main #main {
            h1 { (heading) }
            (content)
        }
    };
    let title = format!("{heading} · Sluice");
    // Without a referrer, the `Origin` of a form would be `null` (Fetch, "serializing a request origin"), and the
    // console could not recognise its own forms.
    HtmlPage { title: &title, style: include_str!("style.css"), referrer: "same-origin" }.into_response(status, &body)
}
