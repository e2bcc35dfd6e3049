//! Webhook senders: a declarative [`Descriptor`] of each signature scheme, the table of known senders ([`PRESETS`]),
//! and the verification of signed requests.
//!
//! ```text
//! headers or `?sender=` ──▶ Preset ─┐
//!                                   ├──▶ Descriptor ──▶ verify ──▶ Verified: id, type and identity of the event
//! variable `sender_custom` ─────────┘                     ▲
//!                                         secrets, raw body, current time
//! ```
//!
//! A signature is verified over the raw body, before the body is parsed. [`Challenge`] and [`form_object`] handle the
//! requests of known senders that are not JSON webhooks.
//!
//! Pure: the current time is an argument. Names [`json`](crate::json), [`secret`](crate::secret) and
//! [`time`](crate::time).

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

pub use challenge::{Challenge, ChallengeResponse};
pub use descriptor::{
    Algorithm, Descriptor, DescriptorError, Encoding, HeaderFormat, KeyEncoding, KeyFormat, MAX_TOLERANCE,
    TimestampLocation, TimestampSpec, Unit, ValueLocation,
};
pub use form::{FormError, MAX_FORM_FIELDS, is_form, object as form_object};
pub use header::MAX_SIGNATURES;
pub use preset::{PRESETS, Preset, ResponsePolicy, SecretVariable, SuccessCriterion};
pub use template::{Part, Template, TemplateError};
pub use verify::{Identity, SignedRequest, Verified, VerifyError, event_type, verify, verify_preset};

/// Name of the sender that the variable `sender_custom` describes.
pub const CUSTOM: &str = "custom";
