//! The rows of the benchmark: kinds of requests, their bodies and destinations.

use std::path::{Path, PathBuf};

use anyhow::Result;
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::lab::{SECRET, Target};
use super::load::Load;

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
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Destination {
    Limit,
    LimitLinked,
    Sluice,
    /// Sluice with a secret for GitHub's signatures.
    Signed,
    /// Sluice with its engine down.
    EngineDown,
    /// Sluice over Redis.
    Redis,
    /// Sluice over Redis with its engine down.
    RedisEngineDown,
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

const fn limit(name: &'static str, path: &'static str, body: Body) -> Row {
    Row { name, to: Destination::Limit, path, body, outcome: None, unique: false }
}

pub(super) const HELLO: Row = limit("hello", "/hello", Body::Webhook1);
pub(super) const BARE: [Row; 3] = [
    limit("bare", "/bare", Body::Webhook1),
    limit("bare, 64 KB", "/bare", Body::Webhook64),
    limit("bare, 512 KB", "/bare", Body::Webhook512),
];
/// The bare row of the reference component that is compiled and linked with Sluice's flags.
pub(super) const LINKED: Row = Row { name: "bare, linked as Sluice", to: Destination::LimitLinked, ..BARE[0] };
pub(super) const CALLS: Row = limit("3 writes and the call", "/calls/3", Body::Event);
pub(super) const STORES: Row = limit("1 write, no call", "/stores/1", Body::Webhook1);

/// The statements of [`EVENT`] and of [`STORED`] in PostgreSQL, with the call, by the reference component that is linked
/// as Sluice.
pub(super) const CLAIMS: Row =
    Row { name: "bare, linked, with its statements", path: "/claims", body: Body::Event, ..LINKED };
pub(super) const KEPT: Row = Row { name: "bare, linked, engine down, with its statement", path: "/kept", ..LINKED };

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
pub(super) const EVENT: Row =
    Row { name: "keyed event, first time", path: "/api/v2/event?ref=w", body: Body::Event, unique: true, ..PLAIN };
pub(super) const DUPLICATE: Row =
    Row { name: "keyed event, duplicate", outcome: Some("duplicate"), unique: false, ..EVENT };
pub(super) const CALLBACK: Row = Row {
    name: "callback",
    path: "/api/v2/callback?ref=rUNIQUE&topic=t&status=Succeeded",
    body: Body::Webhook1,
    ..EVENT
};
pub(super) const STORED: Row =
    Row { name: "webhook stored, engine down", to: Destination::EngineDown, outcome: Some("pending"), ..PLAIN };
pub(super) const STORED_REDIS: Row = STORED.on_redis("webhook stored, engine down, on Redis");

impl Row {
    /// The same row over Redis.
    pub(super) const fn on_redis(self, name: &'static str) -> Row {
        Row {
            name,
            to: if matches!(self.to, Destination::EngineDown) {
                Destination::RedisEngineDown
            } else {
                Destination::Redis
            },
            ..self
        }
    }

    /// The load that sends this row's requests to a target.
    pub(super) fn load(&self, target: &Target, directory: &Path) -> Load {
        let kind = match self.body {
            Body::Event => "application/cloudevents+json",
            _ => "application/json",
        };
        let mut headers = vec![("content-type", kind.to_owned())];
        if self.to == Destination::Signed {
            headers.push(("x-hub-signature-256", signature(self.body.content().as_bytes())));
            headers.push(("x-github-event", "push".to_owned()));
        }
        Load {
            name: self.name.to_owned(),
            url: format!("{}{}", target.url, self.path),
            body: Some(self.body.file(directory)),
            headers,
            status: if self.outcome == Some("pending") { "202" } else { "200" },
            outcome: self.outcome,
            unique: self.unique,
            ..Load::default()
        }
    }
}

/// GitHub's signature of a body.
pub(super) fn signature(body: &[u8]) -> String {
    let hash = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).map(|mac| mac.chain_update(body).finalize());
    // Infallible: HMAC accepts keys of any length.
    format!("sha256={}", hash.map(|hash| HEXLOWER.encode(&hash.into_bytes())).unwrap_or_default())
}

/// Sends the event that [`DUPLICATE`] repeats. Its id is the word UNIQUE itself.
pub(super) fn first_event(target: &Target) -> Result<()> {
    let content = Body::Event.content();
    let url = format!("{}{}", target.url, EVENT.path);
    let headers = [("content-type", "application/cloudevents+json")];
    let response = super::process::Request { url: &url, headers: &headers, body: Some(content.as_bytes()) }.send()?;
    anyhow::ensure!(
        response.outcome.as_deref() == Some("delivered"),
        "the first event: {} {}",
        response.status,
        response.body
    );
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
