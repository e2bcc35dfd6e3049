//! Webhook senders as data: what each signs and how ([`Descriptor`]), what it asks, posts and expects ([`Sender`]), the
//! table of known senders ([`PRESETS`]), and the verification of signed requests.
//!
//! ```text
//! `sender` ──▶ Sender ─┬─ questions ─▶ Reply
//!    │ name, `like`     ├─ schemes ───▶ verify ─▶ Verified: id, type and identity of the event
//!    ▼                  │                ▲  └───▶ KeyRequest: a public key to be fetched
//! PRESETS               │     secrets, keys, raw body, current time
//!                       └─ body ──────▶ Events
//! ```
//!
//! A signature is verified over the raw body. Before that, the body is parsed only for values that the scheme itself
//! takes from it. For the operator, [`near_miss`] finds a change that would have made a refused request fit.
//!
//! Pure: the current time is an argument. Names [`json`](crate::json), [`secret`](crate::secret) and
//! [`time`](crate::time).

mod body;
mod definition;
mod descriptor;
mod explain;
mod fetched_keys;
mod form;
mod header;
mod hint;
mod jwt;
mod locate;
mod payload;
mod preset;
#[cfg(test)]
mod preset_tests;
mod public_key;
mod question;
#[cfg(test)]
mod scheme_tests;
mod signature;
mod template;
#[cfg(test)]
mod tests;
mod verify;

pub use body::{ArrayRule, BodyError, BodyRules, Events, FormRule, MAX_ITEMS};
pub use definition::{Sender, SenderError};
pub use descriptor::{
    Algorithm, Binding, Descriptor, DescriptorError, DigestClaim, Encoding, HeaderFormat, KeyEncoding, KeyFormat,
    KeySource, MAX_TOLERANCE, Repeat, RequiredRule, TimestampLocation, TimestampSpec, TokenRules, Unit, UrlClaim,
    ValueLocation,
};
pub use explain::{MAX_EXPLAINED_BODY, MAX_LOOKS, NearMiss, near_miss};
pub use fetched_keys::{
    DEFAULT_MAX_AGE, FetchAttempt, FetchAttempts, FetchedKeys, Freshness, MAX_ATTEMPTS, MAX_KEY_RESPONSE, MAX_KEY_URL,
    MAX_MAX_AGE, MAX_STALE, MIN_MAX_AGE, Plan, RETRY_INTERVAL,
};
pub use form::{FormError, MAX_FORM_FIELDS, is_form, object as form_object};
pub use header::MAX_SIGNATURES;
pub use jwt::LEEWAY;
pub use preset::{PRESETS, Preset, ResponsePolicy, SuccessCriterion};
pub use public_key::{MAX_KEYS, MIN_RSA_BITS, PublicKey, PublicKeyError};
pub use question::{Answer, AnswerSignature, MAX_VALUE, Question, QuestionError, QuestionMethod, Reply, Test};
pub use signature::{Credentials, SecretError};
pub use template::{Condition, Part, Template, TemplateError};
pub use verify::{
    Identity, KeyRequest, SignedRequest, Verified, VerifyError, event_type, verify, verify_any, verify_with,
};

/// Name of the sender that the variable `sender_custom` describes.
pub const CUSTOM: &str = "custom";
