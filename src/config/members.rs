//! The members of `settings`, with their defaults and bounds.

use std::time::Duration;

use super::CallbackGet;
use super::forms::{
    AnyMember, Boolean, Choice, Hosts, Member, Number, Object, Origin, Pages, Span, Text, Token, Tokens, Workflow,
};
use crate::time::Retention;

const DAY_MS: u32 = 86_400_000;

const fn number<T>(name: &'static str, default: T, min: T, max: T) -> Member<Number<T>> {
    Member { name, form: Number { default, min, max } }
}

const fn milliseconds(name: &'static str, default: u32, min: u32, max: u32) -> Member<Span> {
    Member { name, form: Span { number: Number { default, min, max }, unit: Duration::from_millis(1) } }
}

const fn minutes(name: &'static str, default: u32, max: u32) -> Member<Span> {
    Member { name, form: Span { number: Number { default, min: 1, max }, unit: Duration::from_secs(60) } }
}

const fn hours(name: &'static str, default: u32) -> Member<Span> {
    let max = Retention::MAX_HOURS;
    Member { name, form: Span { number: Number { default, min: 1, max }, unit: Duration::from_secs(3_600) } }
}

/// The constants for the engine's profile, such as a team.
pub static ENGINE: Member<Object> = Member { name: "engine", form: Object };
/// Whether the engine starts a submitted run at once.
pub static ENGINE_START: Member<Boolean> = Member { name: "engine_start", form: Boolean };
/// Time limit for the connection to the engine.
pub static ENGINE_CONNECT: Member<Span> = milliseconds("engine_connect_ms", 2_000, 1, 600_000);
/// Time limit for a whole call to the engine.
pub static ENGINE_TIMEOUT: Member<Span> = milliseconds("engine_timeout_ms", 10_000, 1, 600_000);
/// How long a sender waits for the engine before its delivery is stored.
pub static ENGINE_WAIT: Member<Span> = milliseconds("engine_wait_ms", 2_500, 1, 600_000);
/// The size of the largest body that is accepted. The maximum is Akamai's limit on the size of a request.
pub static MAX_BODY_BYTES: Member<Number<usize>> = number("max_body_bytes", 524_288, 1, 10 * 1024 * 1024);
/// How long outcomes and callbacks are kept.
pub static RETENTION_HOURS: Member<Number<u32>> = number("retention_hours", 72, 1, Retention::MAX_HOURS);
/// How long a delivery is retried.
pub static RETRY_MAX: Member<Span> = hours("retry_max_hours", 24);
/// How often a delivery is attempted.
pub static RETRY_MAX_ATTEMPTS: Member<Number<u32>> = number("retry_max_attempts", 100, 1, 1_000_000);
/// The greatest number of deliveries that drains have in flight.
pub static DRAIN_WIDTH_MAX: Member<Number<u32>> = number("drain_width_max", 16, 1, 1_024);
/// Number of registers in which deliveries of the key-value store meet.
pub static DOORS: Member<Number<u32>> = number("doors", 4_096, 16, 65_536);
/// Number of keys of the key-value store above which the oldest outcomes are dropped.
pub static MAX_KEYS: Member<Number<usize>> = number("max_keys", 250_000, 500, 10_000_000);
/// How long a callback is kept for a run that the engine doesn't know.
pub static CALLBACK_EARLY: Member<Span> = milliseconds("callback_early_ms", 600_000, 0, DAY_MS);
/// How long a callback is kept for a run that doesn't wait for it yet.
pub static CALLBACK_WAIT: Member<Span> = hours("callback_wait_hours", 168);
/// The age at which a run that was saved and not queued counts as an orphan.
pub static ORPHAN_AFTER: Member<Span> = milliseconds("orphan_after_ms", 300_000, 1, DAY_MS);
/// Whether a webhook may be any JSON value instead of an object.
pub static WEBHOOK_ANY_JSON: Member<Boolean> = Member { name: "webhook_any_json", form: Boolean };
/// Scheme, host and port by which senders reach the gateway.
pub static PUBLIC_URL: Member<Origin> = Member { name: "public_url", form: Origin };
/// The first secret signs callback links, and any of them verifies a link.
pub static LINK_SECRETS: Member<Tokens> = Member { name: "link_secrets", form: Tokens };
/// The token that makes callback links, and nothing else.
pub static LINK_TOKEN: Member<Token> = Member { name: "link_token", form: Token };
/// The token that calls the drain, and nothing else.
pub static DRAIN_TOKEN: Member<Token> = Member { name: "drain_token", form: Token };
/// The token that reads the metrics, and nothing else.
pub static METRICS_TOKEN: Member<Token> = Member { name: "metrics_token", form: Token };
/// The effect of `GET /api/v2/callback`.
pub static CALLBACK_GET: Member<Choice<CallbackGet>> = Member {
    name: "callback_get",
    form: Choice(&[("complete", CallbackGet::Complete), ("confirm", CallbackGet::Confirm)]),
};
/// The origins that may deliver CloudEvents.
pub static ALLOWED_ORIGINS: Member<Hosts> = Member { name: "allowed_origins", form: Hosts };
/// The origins whose web pages may deliver.
pub static CORS_ORIGINS: Member<Pages> = Member { name: "cors_origins", form: Pages };
/// For how many hours the payloads of delivered starts are kept; 0 for none.
pub static KEEP_HOURS: Member<Number<u32>> = number("keep_hours", 0, 0, Retention::MAX_HOURS);
/// The workflow that is started when an operator should look.
pub static ALERT_WORKFLOW: Member<Workflow> = Member { name: "alert_workflow", form: Workflow };
/// How long the oldest pending delivery may wait before an alert.
pub static ALERT_AFTER: Member<Span> = minutes("alert_after_minutes", 15, 10_080);
/// The store in use before, while its content is being moved.
pub static MOVE_FROM: Member<Text> = Member {
    name: "move_from",
    form: Text { rule: "must be `key-value`, or the URL of the database that was in use, percent-encoded" },
};
/// Whether it is intended that anyone may deliver while neither a source nor an access token is set.
pub static OPEN: Member<Boolean> = Member { name: "open", form: Boolean };

/// All members, in the order of the documentation.
pub static MEMBERS: [&dyn AnyMember; 29] = [
    &ENGINE,
    &ENGINE_START,
    &ENGINE_CONNECT,
    &ENGINE_TIMEOUT,
    &ENGINE_WAIT,
    &MAX_BODY_BYTES,
    &RETENTION_HOURS,
    &RETRY_MAX,
    &RETRY_MAX_ATTEMPTS,
    &DRAIN_WIDTH_MAX,
    &DOORS,
    &MAX_KEYS,
    &CALLBACK_EARLY,
    &CALLBACK_WAIT,
    &ORPHAN_AFTER,
    &WEBHOOK_ANY_JSON,
    &PUBLIC_URL,
    &LINK_SECRETS,
    &LINK_TOKEN,
    &DRAIN_TOKEN,
    &METRICS_TOKEN,
    &CALLBACK_GET,
    &ALLOWED_ORIGINS,
    &CORS_ORIGINS,
    &KEEP_HOURS,
    &ALERT_WORKFLOW,
    &ALERT_AFTER,
    &MOVE_FROM,
    &OPEN,
];
