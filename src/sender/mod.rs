//! Webhook senders: how each of them signs a request, as a declarative [`Descriptor`], and the verification of what it
//! signed. [`PRESETS`] is the table of the known senders. Pure: the current time is an argument.

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
