//! How a sender signs: one declarative type. A preset is one or more of these ([`super::preset`]); the sender named
//! `custom` is one in a variable, as JSON.

use http::HeaderName;
use serde::{Deserialize, Serialize};

use super::template::{Part, Template};
use crate::json::Pointer;

/// How a sender signs, and where it says what it sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Descriptor {
    /// What makes the signature.
    pub algorithm: Algorithm,
    /// How the signature is written.
    #[serde(default)]
    pub encoding: Encoding,
    /// The signature's header: the first of these that is there.
    pub headers: Vec<String>,
    /// How the header's value is put together.
    #[serde(default)]
    pub grammar: HeaderFormat,
    /// What stands before each signature: `sha256=`, `v1,`.
    #[serde(default)]
    pub prefix: String,
    /// What is signed.
    #[serde(default)]
    pub signed: Template,
    /// How the key is made of the secret's text.
    #[serde(default)]
    pub secret: KeyFormat,
    /// When it was sent, where that is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<TimestampSpec>,
    /// The event's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Source>,
    /// The event's type.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<Source>,
}

/// What makes a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// RFC 2104 over SHA-1.
    HmacSha1,
    /// RFC 2104 over SHA-256.
    HmacSha256,
    /// RFC 2104 over SHA-512.
    HmacSha512,
    /// RFC 8032; the secret is the sender's public key.
    Ed25519,
    /// No signature: the header holds the secret itself.
    Token,
}

/// How a signature is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// RFC 4648, section 8, in either case.
    #[default]
    Hex,
    /// RFC 4648, section 4, with padding.
    Base64,
}

/// How a header's value is put together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum HeaderFormat {
    /// One signature.
    #[default]
    Single,
    /// Signatures, each with the prefix, with this between: `v1,… v1,…`. Others are passed over.
    List(char),
    /// Names and values: `t=…,v1=…`.
    Pairs {
        /// What is between two of them.
        separator: char,
        /// The name that a signature has.
        signature: String,
    },
}

/// How a key is made of a secret's text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyFormat {
    /// How the key is written.
    pub encoding: KeyEncoding,
    /// What must stand before it, and is no part of the key: `whsec_`.
    pub prefix: String,
}

/// How a key is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyEncoding {
    /// The text's bytes are the key.
    #[default]
    Raw,
    /// RFC 4648, section 8.
    Hex,
    /// RFC 4648, section 4; padding may be left out.
    Base64,
}

/// When a request was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimestampSpec {
    /// Where it stands.
    pub from: TimestampLocation,
    /// How it is written.
    #[serde(default)]
    pub unit: Unit,
    /// How many seconds it may be from our clock, either way.
    #[serde(default = "five_minutes")]
    pub tolerance: u32,
}

fn five_minutes() -> u32 {
    300
}

/// Where a timestamp stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimestampLocation {
    /// A header.
    Header(String),
    /// A name in the signature's header ([`HeaderFormat::Pairs`]).
    Field(String),
    /// A member of the body.
    Pointer(String),
}

/// How a timestamp is written.
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

/// Where an id or a type stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A header.
    Header(String),
    /// A member of the body, by JSON Pointer (RFC 6901) through objects.
    Pointer(String),
}

/// Why a text is no descriptor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DescriptorError {
    /// Not the JSON that is asked for; says where.
    #[error("{0}")]
    Json(String),
    /// A member breaks a rule.
    #[error("`{member}` {rule}")]
    Rule {
        /// Its name.
        member: &'static str,
        /// What it must be. Completes the sentence.
        rule: &'static str,
    },
}

/// The longest tolerance: a day.
pub const MAX_TOLERANCE: u32 = 86_400;

impl Descriptor {
    /// Reads a descriptor in JSON, and checks that its members fit together.
    pub fn parse(json: &str) -> Result<Self, DescriptorError> {
        let descriptor: Self = serde_json::from_str(json).map_err(|e| DescriptorError::Json(e.to_string()))?;
        descriptor.check()?;
        Ok(descriptor)
    }

    /// Does the signature cover the id? A token vouches for the whole request, since who has it can send anything.
    pub fn id_is_covered(&self) -> bool {
        match &self.id {
            None => false,
            Some(_) if self.algorithm == Algorithm::Token => true,
            Some(Source::Header(_)) => self.signs(Part::Id),
            Some(Source::Pointer(_)) => self.signs(Part::Body),
        }
    }

    fn check(&self) -> Result<(), DescriptorError> {
        self.check_header()?;
        self.check_signed()?;
        check_source("id", self.id.as_ref())?;
        check_source("type", self.kind.as_ref())?;
        self.timestamp.as_ref().map_or(Ok(()), |dated| self.check_timestamp(dated))
    }

    fn check_header(&self) -> Result<(), DescriptorError> {
        if self.headers.is_empty() || !self.headers.iter().all(|header| is_header(header)) {
            return wrong("headers", "must name at least one header");
        }
        match &self.grammar {
            HeaderFormat::Pairs { separator, .. } if *separator == '=' || !separator.is_ascii() => {
                wrong("grammar", "must have another separator than `=`, in ASCII")
            }
            HeaderFormat::Pairs { signature, .. } if signature.is_empty() => {
                wrong("grammar", "must name the signature")
            }
            HeaderFormat::List(_) if self.prefix.is_empty() => {
                wrong("prefix", "must not be empty where there is a list")
            }
            _ => Ok(()),
        }
    }

    fn check_signed(&self) -> Result<(), DescriptorError> {
        if self.algorithm == Algorithm::Token {
            if self.grammar != HeaderFormat::Single {
                return wrong("grammar", "must be `single` for a token");
            }
            if self.signed != Template::default() || self.timestamp.is_some() {
                return wrong("algorithm", "signs nothing if it is `token`: leave `signed` and `timestamp` out");
            }
            if self.secret.encoding != KeyEncoding::Raw {
                return wrong("secret", "must be raw for a token");
            }
        }
        if self.algorithm == Algorithm::Ed25519 && self.secret.encoding == KeyEncoding::Raw {
            return wrong("secret", "must be a key in hex or base64 for ed25519");
        }
        if !self.signs(Part::Body) && !self.signs(Part::Params) {
            return wrong("signed", "must have {body}, or {params} for a form");
        }
        if self.signs(Part::Id) && !matches!(self.id, Some(Source::Header(_))) {
            return wrong("id", "must be in a header, since {id} is signed");
        }
        if self.signs(Part::Timestamp) && self.timestamp.is_none() {
            return wrong("timestamp", "must be there, since {timestamp} is signed");
        }
        Ok(())
    }

    /// A timestamp that anyone could change would date nothing.
    fn check_timestamp(&self, TimestampSpec { from, tolerance, .. }: &TimestampSpec) -> Result<(), DescriptorError> {
        match from {
            TimestampLocation::Header(header) if !is_header(header) => wrong("timestamp", "must name a header"),
            TimestampLocation::Field(_) if !matches!(self.grammar, HeaderFormat::Pairs { .. }) => {
                wrong("timestamp", "must not be in a field, since the grammar has no `pairs`")
            }
            TimestampLocation::Header(_) | TimestampLocation::Field(_) if !self.signs(Part::Timestamp) => {
                wrong("timestamp", "means nothing where {timestamp} isn't signed")
            }
            TimestampLocation::Pointer(_) if self.signs(Part::Timestamp) => {
                wrong("timestamp", "must not be in the body, since {timestamp} is signed")
            }
            TimestampLocation::Pointer(_) if !self.signs(Part::Body) => {
                wrong("timestamp", "means nothing where {body} isn't signed")
            }
            TimestampLocation::Pointer(pointer) if !is_pointer(pointer) => {
                wrong("timestamp", "must point by a leading `/`")
            }
            _ if !(1..=MAX_TOLERANCE).contains(tolerance) => {
                wrong("timestamp", "must have a tolerance from 1 to 86400 seconds")
            }
            _ => Ok(()),
        }
    }

    /// Is this part of what is signed?
    fn signs(&self, part: Part) -> bool {
        self.signed.has(&part)
    }
}

fn check_source(member: &'static str, source: Option<&Source>) -> Result<(), DescriptorError> {
    match source {
        Some(Source::Header(header)) if !is_header(header) => wrong(member, "must name a header"),
        Some(Source::Pointer(pointer)) if !is_pointer(pointer) => wrong(member, "must point by a leading `/`"),
        _ => Ok(()),
    }
}

fn wrong(member: &'static str, rule: &'static str) -> Result<(), DescriptorError> {
    Err(DescriptorError::Rule { member, rule })
}

fn is_header(name: &str) -> bool {
    HeaderName::try_from(name).is_ok()
}

fn is_pointer(pointer: &str) -> bool {
    Pointer::parse(pointer).is_some()
}
