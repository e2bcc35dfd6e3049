//! The rows of the benchmark: kinds of requests, their bodies and destinations.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::configured::{self, Dialect};
use super::lab::{Application, Lab, Target};
use super::load::Load;
use super::process::Request;

/// GitHub's secret for signed webhooks.
const SECRET: &str = "It's a Secret to Everybody";

/// A request body of a fixed size.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    Webhook1,
    Webhook64,
    Webhook512,
    /// A CloudEvent with 1 KB of data and the word UNIQUE as its id.
    Event,
}

impl Body {
    pub(super) const ALL: [Body; 4] = [Body::Webhook1, Body::Webhook64, Body::Webhook512, Body::Event];

    pub(super) fn file(self, directory: &Path) -> PathBuf {
        directory.join(match self {
            Body::Webhook1 => "webhook-1k.json",
            Body::Webhook64 => "webhook-64k.json",
            Body::Webhook512 => "webhook-512k.json",
            Body::Event => "event.json",
        })
    }

    pub(super) fn content(self) -> String {
        match self {
            Body::Webhook1 => order(1 << 10),
            Body::Webhook64 => order(64 << 10),
            Body::Webhook512 => order(512 << 10),
            Body::Event => format!(
                r#"{{"specversion":"1.0","id":"UNIQUE","source":"/benchmark","type":"order","data":{}}}"#,
                order(1 << 10)
            ),
        }
    }
}

/// JSON with many small members, like that of webhooks. A single long string would be parsed faster.
fn order(bytes: usize) -> String {
    let mut text = String::from(r#"{"number":4711,"placed":"2026-11-24T02:03:09Z","items":["#);
    let item = r#"{"article":"A-0001","quantity":3,"price":12.50,"gift":false,"note":null},"#;
    while text.len() + 2 * item.len() < bytes {
        text.push_str(item);
    }
    text.push_str(r#"{}],"end":""#);
    let rest = bytes.saturating_sub(text.len() + 2);
    text.push_str(&"x".repeat(rest));
    text + "\"}"
}

/// The destination of requests: an application with its variables and its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    Limit,
    LimitLinked,
    Sluice,
    /// Sluice with a secret for GitHub's signatures.
    Signed,
    /// Sluice with 60 sources and 50 routes.
    Configured,
    /// Sluice with 50 routes, whose filters are in this dialect.
    Routed(Dialect),
    /// Sluice with its engine down.
    EngineDown,
}

impl Destination {
    pub(super) const ALL: [Destination; 8] = [
        Destination::Limit,
        Destination::LimitLinked,
        Destination::Sluice,
        Destination::Signed,
        Destination::Configured,
        Destination::Routed(Dialect::Subscriptions),
        Destination::Routed(Dialect::Sql),
        Destination::EngineDown,
    ];

    /// Starts it with a new store.
    pub(super) fn start(self, lab: &Lab) -> Result<Target> {
        let github = format!(r#"[{{"name":"github","sender":"github","secrets":["{SECRET}"]}}]"#);
        let (sources, routes) = (configured::sources(), configured::routes());
        let routes = match self {
            Destination::Routed(dialect) => configured::filtered_routes(dialect),
            _ => routes,
        };
        let (application, variables) = match self {
            Destination::Limit => (Application::Limit, vec![]),
            Destination::LimitLinked => (Application::LimitLinked, vec![]),
            Destination::Sluice => (Application::Sluice, vec![]),
            Destination::Signed => (Application::Sluice, vec![("sources", github.as_str())]),
            Destination::Configured => (Application::Sluice, vec![("sources", sources.as_str()), ("routes", &routes)]),
            Destination::Routed(_) => (Application::Sluice, vec![("routes", routes.as_str())]),
            // Port 1 is privileged and unused.
            Destination::EngineDown => (Application::Sluice, vec![("engine_url", "http://127.0.0.1:1")]),
        };
        let name = format!("{self:?}").replace(['(', ')'], "-");
        let target = lab.start(application, &name, &variables)?;
        if application == Application::Sluice {
            let response = Request { url: &format!("{}/readyz", target.url), ..Request::default() }.send()?;
            ensure!(response.body.contains(r#""status":"ready""#), "{self:?} is not ready: {}", response.body);
        }
        if self == Destination::Sluice {
            first_event(&target)?;
        }
        Ok(target)
    }
}

/// A kind of request: one row of the tables.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) to: Destination,
    path: &'static str,
    pub(super) body: Body,
    /// The expected `sluice-outcome`; `None` for the reference component.
    outcome: Option<&'static str>,
    /// Whether the word UNIQUE in path and body is replaced with another value in each request.
    unique: bool,
}

/// A row of the reference component that is linked as Sluice. The path lists its steps.
const fn linked(name: &'static str, path: &'static str, body: Body) -> Row {
    Row { name, to: Destination::LimitLinked, path, body, outcome: None, unique: false }
}

pub(super) const BARE: Row = Row { to: Destination::Limit, ..linked("`bare`", "/call", Body::Webhook1) };
pub(super) const LINKED: Row = linked("`bare, linked as Sluice`", "/call", Body::Webhook1);
pub(super) const LINKED_64: Row = linked("`bare, linked as Sluice`, 64 KB", "/call", Body::Webhook64);
pub(super) const LINKED_512: Row = linked("`bare, linked as Sluice`, 512 KB", "/call", Body::Webhook512);
pub(super) const CHECKED_64: Row = linked("`bare` with one check, 64 KB", "/check/call", Body::Webhook64);
pub(super) const CHECKED_512: Row = linked("`bare` with one check, 512 KB", "/check/call", Body::Webhook512);
pub(super) const TWO_WRITES: Row = linked("`2 writes and the call`", "/write/write/call", Body::Event);
pub(super) const THREE_WRITES: Row = linked("`3 writes and the call`", "/write/write/write/call", Body::Event);
pub(super) const LATE_WRITE: Row =
    linked("`2 writes and the call`, 1 write after the response", "/write/write/call/respond/write", Body::Event);
pub(super) const ONE_WRITE: Row = linked("`1 write, no call`", "/write", Body::Webhook1);
/// For each body, a row without a check, and one with [`CHECKS`].
pub(super) const CHECK: [[Row; 2]; 2] = [
    [linked("no check, 64 KB", "/", Body::Webhook64), linked("64 KB", CHECK_PATH, Body::Webhook64)],
    [linked("no check, 512 KB", "/", Body::Webhook512), linked("512 KB", CHECK_PATH, Body::Webhook512)],
];
const CHECK_PATH: &str = "/check/check/check/check/check";
pub(super) const CHECKS: f64 = 5.0;

pub(super) const PLAIN: Row = Row {
    name: "plain webhook, 1 KB",
    to: Destination::Sluice,
    path: "/api/v2/webhook?ref=w",
    body: Body::Webhook1,
    outcome: Some("delivered"),
    unique: false,
};
pub(super) const PLAIN_64: Row = Row { name: "plain webhook, 64 KB", body: Body::Webhook64, ..PLAIN };
pub(super) const PLAIN_512: Row = Row { name: "plain webhook, 512 KB", body: Body::Webhook512, ..PLAIN };
pub(super) const SIGNED: Row =
    Row { name: "signed webhook, no key", to: Destination::Signed, path: "/api/v2/webhook?ref=w&dedup=off", ..PLAIN };
pub(super) const CONFIGURED: Row =
    Row { name: "plain webhook with a token; 60 sources, 50 routes", to: Destination::Configured, ..PLAIN };
pub(super) const ROUTED: Row = Row {
    name: "webhook by the last of 50 routes",
    to: Destination::Routed(Dialect::Subscriptions),
    path: "/api/v2/webhook",
    ..PLAIN
};
pub(super) const ROUTED_SQL: Row =
    Row { name: "webhook by the last of 50 routes with `sql`", to: Destination::Routed(Dialect::Sql), ..ROUTED };
pub(super) const UNROUTED_SQL: Row =
    Row { name: "plain webhook; 50 routes with `sql`", to: Destination::Routed(Dialect::Sql), ..PLAIN };
pub(super) const EVENT: Row =
    Row { name: "keyed event, first time", path: "/api/v2/event?ref=w", body: Body::Event, unique: true, ..PLAIN };
pub(super) const DUPLICATE: Row =
    Row { name: "keyed event, duplicate", outcome: Some("duplicate"), unique: false, ..EVENT };
pub(super) const STORED: Row =
    Row { name: "webhook stored, engine down", to: Destination::EngineDown, outcome: Some("pending"), ..PLAIN };

impl Row {
    /// The load that sends this row's requests to a target.
    pub(super) fn load(&self, target: &Target, directory: &Path) -> Load {
        let kind = match self.body {
            Body::Event => "application/cloudevents+json",
            _ => "application/json",
        };
        let mut headers = vec![("content-type", kind.to_owned())];
        match self.to {
            Destination::Signed => {
                headers.push(("x-hub-signature-256", signature(self.body.content().as_bytes())));
                headers.push(("x-github-event", "push".to_owned()));
            }
            Destination::Configured => headers.push(("authorization", format!("Bearer {}", configured::TOKEN))),
            _ => {}
        }
        Load {
            name: self.name,
            url: format!("{}{}", target.url, self.path),
            method: "POST",
            body: Some(self.body.file(directory)),
            headers,
            status: if self.outcome == Some("pending") { "202" } else { "200" },
            outcome: self.outcome,
            unique: self.unique,
        }
    }
}

/// GitHub's signature of a body.
fn signature(body: &[u8]) -> String {
    let hash = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).map(|mac| mac.chain_update(body).finalize());
    // Infallible: HMAC accepts keys of any length.
    format!("sha256={}", hash.map(|hash| HEXLOWER.encode(&hash.into_bytes())).unwrap_or_default())
}

/// Sends the event that [`DUPLICATE`] repeats. Its id is the word UNIQUE itself.
fn first_event(target: &Target) -> Result<()> {
    let content = Body::Event.content();
    let url = format!("{}{}", target.url, EVENT.path);
    let headers = [("content-type", "application/cloudevents+json")];
    let response = Request { url: &url, headers: &headers, body: Some(content.as_bytes()) }.send()?;
    let is_delivered = response.outcome.as_deref() == Some("delivered");
    ensure!(is_delivered, "the first event: {} {}", response.status, response.body);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_json_of_the_given_size() {
        for (body, bytes) in [(Body::Webhook1, 1 << 10), (Body::Webhook64, 64 << 10), (Body::Webhook512, 512 << 10)] {
            let content = body.content();
            assert_eq!(content.len(), bytes);
            assert!(serde_json::from_str::<serde_json::Value>(&content).is_ok(), "{content:.200}");
        }
        assert!(serde_json::from_str::<serde_json::Value>(&Body::Event.content()).is_ok());
    }

    #[test]
    fn signature_matches_the_example_of_github() {
        // The example, with this secret, of GitHub's page "Validating webhook deliveries".
        let expected = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert_eq!(signature(b"Hello, World!"), expected);
    }
}
