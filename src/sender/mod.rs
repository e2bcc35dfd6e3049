//! Who sends webhooks, and how each proves it: one declarative [`Descriptor`], [`PRESETS`] made of it, and [`verify()`]. No
//! clock, no socket: `now` is an argument, and what came is bytes.
//!
//! | Sender | Header | Signed | Tolerance | Known again by |
//! |---|---|---|---|---|
//! | bitbucket | `X-Hub-Signature` | body | | digest of the body |
//! | docker-hub | none: an access token | nothing | | |
//! | gitea, forgejo | `X-Gitea-Signature`, `X-Forgejo-Signature` | body | | digest of the body |
//! | github | `X-Hub-Signature-256` | body | | digest of the body |
//! | gitlab, `whsec_…` | `webhook-signature` | id, timestamp, body | 300 s | `webhook-id` |
//! | gitlab, else | `X-Gitlab-Token` | nothing: the header is the secret | | `Idempotency-Key`, else digest of the body |
//! | linear | `Linear-Signature` | body, with `webhookTimestamp` | 60 s | digest of the body |
//! | paddle | `Paddle-Signature` | timestamp, body | 60 s | `event_id` |
//! | shopify | `X-Shopify-Hmac-Sha256` | body | | digest of the body |
//! | slack | `X-Slack-Signature` | timestamp, body | 300 s | `event_id`, else digest of the body |
//! | standard-webhooks, `whsec_…` or `whpk_…` | `webhook-signature` | id, timestamp, body | 300 s | `webhook-id` |
//! | stripe | `Stripe-Signature` | timestamp, body | 300 s | `id` |
//! | svix | `svix-signature` | id, timestamp, body | 300 s | `svix-id` |
//! | twilio | `X-Twilio-Signature` | URL, form's fields or body's digest | | digest of what is signed |
//! | twitch | `Twitch-Eventsub-Message-Signature` | id, timestamp, body | 600 s | `Twitch-Eventsub-Message-Id` |
//! | vercel | `x-vercel-signature` | body | | `id` |
//! | zoom | `x-zm-signature` | timestamp, body | 300 s | digest of the body |

mod challenge;
mod descriptor;
mod form;
mod header;
mod payload;
mod preset;
mod signature;
mod template;
#[cfg(test)]
mod tests;
mod verify;

use http::{HeaderMap, HeaderName};

pub use challenge::{Answer, Challenge};
pub use descriptor::{
    Algorithm, Descriptor, DescriptorError, Encoding, HeaderFormat, KeyEncoding, KeyFormat, MAX_TOLERANCE, Source,
    TimestampLocation, TimestampSpec, Unit,
};
pub use form::{FormError, MAX_FIELDS, is_form, object as form_object};
pub use header::MAX_SIGNATURES;
pub use preset::{PRESETS, Preset, ResponsePolicy, Success};
pub use template::{Part, Template, TemplateError};
pub use verify::{Identity, SignedRequest, Verified, VerifyError, by_preset, fits, kind, verify};

/// The name of the sender that a variable describes.
pub const CUSTOM: &str = "custom";

impl Preset {
    /// The sender that these headers are of.
    pub fn of_headers(headers: &HeaderMap) -> Option<&'static Self> {
        let names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        let is_there = |header: &&str| names.contains(header);
        PRESETS.iter().find(|preset| preset.detect_headers.iter().any(is_there))
    }

    /// The sender of this name.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.name == name || preset.alias == Some(name))
    }
}
