//! What all pages of the console have: head, navigation, style, and how a problem looks.

use http::{Response, StatusCode};
use maud::{Markup, html};

use crate::api::confirm_page::{Document, refuse_on};
use crate::api::problem::Problem;

/// In their order in the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tab {
    Overview,
    Deliveries,
    Callbacks,
}

const TABS: [(Tab, &str, &str); 3] = [
    (Tab::Overview, "/console", "Overview"),
    (Tab::Deliveries, "/console/deliveries", "Deliveries"),
    (Tab::Callbacks, "/console/callbacks", "Callbacks"),
];

/// How good or bad a state is; the style has a colour for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Good,
    Busy,
    Bad,
    Plain,
}

impl Mood {
    fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Busy => "busy",
            Self::Bad => "bad",
            Self::Plain => "plain",
        }
    }
}

/// A page under one of the tabs.
pub(super) fn page(tab: Tab, heading: &str, content: &Markup) -> Response<Vec<u8>> {
    draw(StatusCode::OK, Some(tab), heading, content)
}

/// A problem as a page of the console.
pub(super) fn refuse(problem: Problem) -> Response<Vec<u8>> {
    refuse_on(problem, |status, title, detail| draw(status, None, title, &notice(Mood::Bad, &html! { (detail) })))
}

/// What came of something.
pub(super) fn notice(mood: Mood, content: &Markup) -> Markup {
    html! { p.notice.(mood.class()) role="status" { (content) } }
}

/// A state in one or two words.
pub(super) fn chip(mood: Mood, text: &str) -> Markup {
    html! { span.chip.(mood.class()) { (text) } }
}

fn draw(status: StatusCode, tab: Option<Tab>, heading: &str, content: &Markup) -> Response<Vec<u8>> {
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
    // Without a referrer a form's `Origin` would be `null` (Fetch, "serializing a request origin"), and no form be known as
    // our own.
    Document { title: &title, style: include_str!("style.css"), referrer: "same-origin" }.answer(status, &body)
}
