//! The declarative description of a signature scheme. A preset has one or more of them ([`super::PRESETS`]); the
//! variable `sender_custom` holds one, as JSON.

use http::HeaderName;
use serde::{Deserialize, Serialize};

use super::template::{Part, Template};
use crate::json::Pointer;

/// A signature scheme, and where a request carries the event's id and type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Descriptor {
    /// The algorithm of the signature.
    pub algorithm: Algorithm,
    /// The encoding of the signature.
    #[serde(default)]
    pub encoding: Encoding,
    /// Names of the header with the signature. The first one that the request has is used.
    pub headers: Vec<String>,
    /// The format of the header's value.
    #[serde(default, rename = "grammar")]
    pub header_format: HeaderFormat,
    /// Text before each signature: `sha256=`, `v1,`.
    #[serde(default)]
    pub prefix: String,
    /// The message that the signature covers.
    #[serde(default)]
    pub signed: Template,
    /// The form in which a secret holds the key.
    #[serde(default, rename = "secret")]
    pub key_format: KeyFormat,
    /// The time of sending, if the sender signs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<TimestampSpec>,
    /// The location of the event's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<ValueLocation>,
    /// The location of the event's type.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub event_type: Option<ValueLocation>,
}

/// A signature algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// HMAC (RFC 2104) with SHA-1.
    HmacSha1,
    /// HMAC (RFC 2104) with SHA-256.
    HmacSha256,
    /// HMAC (RFC 2104) with SHA-512.
    HmacSha512,
    /// Ed25519 (RFC 8032). The secret is the sender's public key.
    Ed25519,
    /// No signature: the header contains the secret itself.
    Token,
}

/// The encoding of a signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// Hexadecimal, in upper or lower case (RFC 4648, section 8).
    #[default]
    Hex,
    /// Base64 with padding (RFC 4648, section 4).
    Base64,
}

/// The format of the signature header's value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum HeaderFormat {
    /// One signature.
    #[default]
    Single,
    /// Signatures with the prefix, separated by a character: `v1,… v1,…`. Items without the prefix are ignored.
    List(char),
    /// Names and values: `t=…,v1=…`.
    Pairs {
        /// The character between two pairs.
        separator: char,
        /// The name of a pair whose value is a signature.
        signature: String,
    },
}

/// The form in which a secret's text holds the key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyFormat {
    /// The encoding of the key.
    pub encoding: KeyEncoding,
    /// Text that every secret starts with, and that is not part of the key: `whsec_`.
    pub prefix: String,
}

/// The encoding of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyEncoding {
    /// The bytes of the text are the key.
    #[default]
    Raw,
    /// Hexadecimal, in upper or lower case (RFC 4648, section 8).
    Hex,
    /// Base64 with or without padding (RFC 4648, section 4).
    Base64,
}

/// The time of sending: its location, form and tolerance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimestampSpec {
    /// The location of the timestamp.
    #[serde(rename = "from")]
    pub location: TimestampLocation,
    /// The form of the timestamp.
    #[serde(default)]
    pub unit: Unit,
    /// Maximum difference from Sluice's clock, past or future, in seconds.
    #[serde(default = "five_minutes")]
    pub tolerance: u32,
}

fn five_minutes() -> u32 {
    300
}

/// The location of a timestamp.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimestampLocation {
    /// A header.
    Header(String),
    /// A pair in the signature's header ([`HeaderFormat::Pairs`]), by its name.
    Field(String),
    /// A member of the body, by JSON Pointer (RFC 6901).
    Pointer(String),
}

/// The form of a timestamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Seconds since the Unix epoch.
    #[default]
    Seconds,
    /// Milliseconds since the Unix epoch.
    Milliseconds,
    /// RFC 3339.
    Rfc3339,
}

/// The location of an event's id or type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValueLocation {
    /// A header.
    Header(String),
    /// A member of the body, by JSON Pointer (RFC 6901). Arrays are not entered.
    Pointer(String),
}

/// The reason why a text is not a valid descriptor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DescriptorError {
    /// The text is not JSON of the expected form. The parser's message names the position, and may repeat parts of the
    /// text.
    #[error("{0}")]
    Json(String),
    /// A member breaks a rule.
    #[error("`{member}` {rule}")]
    Rule {
        /// Name of the member.
        member: &'static str,
        /// The rule. Completes the sentence that begins with the member's name.
        rule: &'static str,
    },
}

/// Maximum tolerance of a timestamp, in seconds: one day.
pub const MAX_TOLERANCE: u32 = 86_400;

impl Descriptor {
    /// Parses a descriptor in JSON, and checks that its members are valid and consistent.
    pub fn parse(json: &str) -> Result<Self, DescriptorError> {
        let descriptor: Self = serde_json::from_str(json).map_err(|e| DescriptorError::Json(e.to_string()))?;
        descriptor.check()?;
        Ok(descriptor)
    }

    /// Returns whether the signature covers the id. A token is taken to cover the whole request, because its
    /// holder can send anything.
    pub fn id_is_covered(&self) -> bool {
        match &self.id {
            None => false,
            Some(_) if self.algorithm == Algorithm::Token => true,
            Some(ValueLocation::Header(_)) => self.signs(Part::Id),
            Some(ValueLocation::Pointer(_)) => self.signs(Part::Body),
        }
    }

    fn check(&self) -> Result<(), DescriptorError> {
        self.check_header()?;
        self.check_signed()?;
        check_location("id", self.id.as_ref())?;
        check_location("type", self.event_type.as_ref())?;
        self.timestamp.as_ref().map_or(Ok(()), |spec| self.check_timestamp(spec))
    }

    fn check_header(&self) -> Result<(), DescriptorError> {
        if self.headers.is_empty() || !self.headers.iter().all(|header| is_header_name(header)) {
            return invalid("headers", "must list at least one header, and only valid header names");
        }
        match &self.header_format {
            HeaderFormat::Pairs { separator, .. } if *separator == '=' || !separator.is_ascii() => {
                invalid("grammar", "must have an ASCII separator other than `=`")
            }
            HeaderFormat::Pairs { signature, .. } if signature.is_empty() => {
                invalid("grammar", "must have the name of the signature's pair as `signature`")
            }
            HeaderFormat::List(_) if self.prefix.is_empty() => {
                invalid("prefix", "must not be empty if `grammar` is a list")
            }
            _ => Ok(()),
        }
    }

    fn check_signed(&self) -> Result<(), DescriptorError> {
        if self.algorithm == Algorithm::Token {
            if self.header_format != HeaderFormat::Single {
                return invalid("grammar", "must be `single` if `algorithm` is `token`");
            }
            if self.signed != Template::default() || self.timestamp.is_some() {
                return invalid("algorithm", "is `token`, which signs nothing: remove `signed` and `timestamp`");
            }
            if self.key_format.encoding != KeyEncoding::Raw {
                return invalid("secret", "must have the encoding `raw` if `algorithm` is `token`");
            }
        }
        if self.algorithm == Algorithm::Ed25519 && self.key_format.encoding == KeyEncoding::Raw {
            return invalid("secret", "must have the encoding `hex` or `base64` if `algorithm` is `ed25519`");
        }
        if !self.signs(Part::Body) && !self.signs(Part::Params) {
            return invalid("signed", "must contain {body}, or {params} for forms");
        }
        if self.signs(Part::Id) && !matches!(self.id, Some(ValueLocation::Header(_))) {
            return invalid("id", "must name a header, because `signed` contains {id}");
        }
        if self.signs(Part::Timestamp) && self.timestamp.is_none() {
            return invalid("timestamp", "is required, because `signed` contains {timestamp}");
        }
        Ok(())
    }

    /// Checks a timestamp. The signature must cover it: anyone could change one that is not signed.
    fn check_timestamp(&self, spec: &TimestampSpec) -> Result<(), DescriptorError> {
        match &spec.location {
            TimestampLocation::Header(header) if !is_header_name(header) => {
                invalid("timestamp", "must name a valid header")
            }
            TimestampLocation::Field(_) if !matches!(self.header_format, HeaderFormat::Pairs { .. }) => {
                invalid("timestamp", "must not be in a field, because `grammar` is not `pairs`")
            }
            TimestampLocation::Header(_) | TimestampLocation::Field(_) if !self.signs(Part::Timestamp) => {
                invalid("timestamp", "must be covered by the signature: add {timestamp} to `signed`")
            }
            TimestampLocation::Pointer(_) if self.signs(Part::Timestamp) => {
                invalid("timestamp", "must be in a header or a field, because `signed` contains {timestamp}")
            }
            TimestampLocation::Pointer(_) if !self.signs(Part::Body) => {
                invalid("timestamp", "must be covered by the signature: add {body} to `signed`")
            }
            TimestampLocation::Pointer(pointer) if !is_pointer(pointer) => invalid("timestamp", INVALID_POINTER),
            _ if !(1..=MAX_TOLERANCE).contains(&spec.tolerance) => {
                invalid("timestamp", "must have a tolerance from 1 to 86400 seconds")
            }
            _ => Ok(()),
        }
    }

    /// Returns whether the signature covers this part.
    fn signs(&self, part: Part) -> bool {
        self.signed.contains(&part)
    }
}

const INVALID_POINTER: &str = "must be a JSON Pointer that starts with `/` (RFC 6901), such as /data/id";

fn check_location(member: &'static str, location: Option<&ValueLocation>) -> Result<(), DescriptorError> {
    match location {
        Some(ValueLocation::Header(header)) if !is_header_name(header) => invalid(member, "must name a valid header"),
        Some(ValueLocation::Pointer(pointer)) if !is_pointer(pointer) => invalid(member, INVALID_POINTER),
        _ => Ok(()),
    }
}

/// The error for a member that breaks a rule.
fn invalid(member: &'static str, rule: &'static str) -> Result<(), DescriptorError> {
    Err(DescriptorError::Rule { member, rule })
}

fn is_header_name(name: &str) -> bool {
    HeaderName::try_from(name).is_ok()
}

fn is_pointer(pointer: &str) -> bool {
    Pointer::parse(pointer).is_some()
}
