//! The declarative description of a signature scheme. A preset has one or more of them ([`super::PRESETS`]); the
//! variable `sender_custom` holds one, as JSON.

use std::collections::BTreeMap;

use http::HeaderName;
use serde::{Deserialize, Serialize};

use super::header::SignatureHeader;
use super::hint;
use super::question::Test;
use super::template::{Part, Template};
use crate::json::Pointer;

/// A signature scheme, and where a request carries the event's id and type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Descriptor {
    /// The algorithm of the signature.
    pub algorithm: Algorithm,
    /// The conditions under which a request is signed by this scheme: all of them hold. A sender with several schemes may
    /// say in a header which one it uses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<Test>,
    /// The encoding of the signature.
    #[serde(default)]
    pub encoding: Encoding,
    /// Names of the headers with signatures. A `*` at the end stands for any text (`x-docusign-signature-*`). Of the
    /// headers that the request has, one with a valid signature is enough. `authorization` by default for
    /// [`Algorithm::Basic`] and JSON Web Tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
    /// The location of the signature, if that is not a header.
    #[serde(default, rename = "signature", skip_serializing_if = "Option::is_none")]
    pub location: Option<ValueLocation>,
    /// The format of the header's value.
    #[serde(default, rename = "grammar")]
    pub header_format: HeaderFormat,
    /// Text before each signature: `sha256=`, `v1,`.
    #[serde(default)]
    pub prefix: String,
    /// The message that the signature covers.
    #[serde(default)]
    pub signed: Template,
    /// Whether the signature covers only a part of the body. Required if so, since the rest can be
    /// changed in a captured request.
    #[serde(default, skip_serializing_if = "is_false")]
    pub partial: bool,
    /// Texts that the operator has from the sender, for `{constant:…}` in `signed`. PayPal signs a webhook's id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub constants: BTreeMap<String, String>,
    /// Values that must be the operator's constants. Amazon SNS signs the messages of all its customers with one key: only
    /// the topic tells whose they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bound: Vec<Binding>,
    /// The form in which a secret holds the key.
    #[serde(default, rename = "secret")]
    pub key_format: KeyFormat,
    /// Where the public keys come from, if they are not given as secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<KeySource>,
    /// The rules for a JSON Web Token, beyond its signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt: Option<TokenRules>,
    /// The time of sending, if the sender signs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<TimestampSpec>,
    /// The location of the event's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<ValueLocation>,
    /// The location of the event's type.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub event_type: Option<ValueLocation>,
    /// The criterion by which two requests without an id are the same event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<Repeat>,
    /// JSON Pointers to members of the body that change with each attempt. They are left out of the digest that detects
    /// duplicates, as is a timestamp in the body.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unstable: Vec<String>,
}

/// A signature algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// HMAC (RFC 2104) with SHA-1.
    HmacSha1,
    /// HMAC (RFC 2104) with SHA-256.
    HmacSha256,
    /// HMAC (RFC 2104) with SHA-384.
    HmacSha384,
    /// HMAC (RFC 2104) with SHA-512.
    HmacSha512,
    /// SHA-1 of a message that contains the secret.
    Sha1,
    /// SHA-256 of a message that contains the secret. If the secret comes first and the body last, anyone can append to
    /// a signed body (length extension): HubSpot's versions 1 and 2 have this weakness.
    Sha256,
    /// SHA-384 of a message that contains the secret.
    Sha384,
    /// SHA-512 of a message that contains the secret.
    Sha512,
    /// Ed25519 (RFC 8032). The secret is the sender's public key.
    Ed25519,
    /// ECDSA with P-256 and SHA-256 (FIPS 186-5), the signature in DER. The secret is the sender's public key.
    EcdsaP256,
    /// RSASSA-PKCS1-v1_5 (RFC 8017, section 8.2) with SHA-1. The secret is the sender's public key.
    RsaSha1,
    /// RSASSA-PKCS1-v1_5 (RFC 8017, section 8.2) with SHA-256. The secret is the sender's public key.
    RsaSha256,
    /// A JSON Web Token (RFC 7519) signed by HMAC with SHA-256.
    JwtHs256,
    /// A JSON Web Token signed by HMAC with SHA-384.
    JwtHs384,
    /// A JSON Web Token signed by HMAC with SHA-512.
    JwtHs512,
    /// A JSON Web Token signed by RSASSA-PKCS1-v1_5 with SHA-256.
    JwtRs256,
    /// A JSON Web Token signed by ECDSA with P-256 and SHA-256.
    JwtEs256,
    /// No signature: the request contains the secret itself.
    Token,
    /// No signature: user and password (RFC 7617). The secret is `user:password`.
    Basic,
}

impl Algorithm {
    /// Returns whether the signature is a JSON Web Token.
    pub fn is_jwt(self) -> bool {
        matches!(self, Self::JwtHs256 | Self::JwtHs384 | Self::JwtHs512 | Self::JwtRs256 | Self::JwtEs256)
    }

    /// Returns whether the request carries the secret itself.
    pub fn is_bearer(self) -> bool {
        matches!(self, Self::Token | Self::Basic)
    }

    /// Returns whether the signature is a hash without a key: the message must contain the secret.
    pub fn is_hash(self) -> bool {
        matches!(self, Self::Sha1 | Self::Sha256 | Self::Sha384 | Self::Sha512)
    }

    /// Returns whether the key is a public key in one of the forms that [`PublicKey::parse`] takes.
    ///
    /// [`PublicKey::parse`]: super::PublicKey::parse
    pub fn has_public_key(self) -> bool {
        matches!(self, Self::EcdsaP256 | Self::RsaSha1 | Self::RsaSha256 | Self::JwtRs256 | Self::JwtEs256)
    }
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
    /// Base64 in the alphabet for URLs, with or without padding (RFC 4648, section 5).
    #[serde(rename = "base64url")]
    Base64Url,
}

/// The source of public keys that are not given as secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum KeySource {
    /// The URL of a JSON Web Key Set (RFC 7517, section 5). The token's `kid` names the key.
    Jwks(String),
    /// An X.509 certificate whose URL is in the request.
    Certificate {
        /// The location of the URL.
        from: ValueLocation,
        /// Patterns for the URL: without one, anyone could bring a certificate of their own. See
        /// [`KeySource::permits`].
        urls: Vec<String>,
    },
}

impl KeySource {
    /// Returns whether the certificate may be fetched from this URL. In a pattern, `*` stands for letters, digits, `-`
    /// and `_`, and `{region}` for a region of AWS, such as `us-gov-west-1`: with `*`, `sns.*.amazonaws.com` would
    /// include `sns.s3.amazonaws.com`, a storage bucket that anyone may have.
    pub fn permits(&self, url: &str) -> bool {
        match self {
            Self::Jwks(own) => own == url,
            Self::Certificate { urls, .. } => urls.iter().any(|pattern| fits(pattern, url)),
        }
    }
}

/// Returns whether a URL has the form of a pattern.
fn fits(pattern: &str, url: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let (literal, wildcard, rest) = match (pattern.find('*'), pattern.find("{region}")) {
        (None, None) => return pattern == url,
        (star, region) if star.unwrap_or(usize::MAX) < region.unwrap_or(usize::MAX) => {
            let (literal, rest) = pattern.split_once('*').unwrap_or_default();
            (literal, "*", rest)
        }
        _ => {
            let (literal, rest) = pattern.split_once("{region}").unwrap_or_default();
            (literal, "{region}", rest)
        }
    };
    let Some(url) = url.strip_prefix(literal) else { return false };
    let longest = url.find(|c| !is_plain(c)).unwrap_or(url.len());
    // The text between two wildcards is short, and so is a URL: backtracking stays cheap.
    (1..=longest).any(|end| {
        let Some((matched, url)) = url.split_at_checked(end) else { return false };
        (wildcard == "*" || is_region(matched)) && fits(rest, url)
    })
}

/// Returns whether a text is a region of AWS: two letters, one or more words, and a number, joined by `-`.
fn is_region(text: &str) -> bool {
    let Some((place, number)) = text.rsplit_once('-') else { return false };
    let mut words = place.split('-');
    words.next().is_some_and(|first| first.len() == 2 && first.bytes().all(|b| b.is_ascii_lowercase()))
        && place.contains('-')
        && words.all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase()))
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
}

/// The rules for a JSON Web Token, beyond its signature. `exp` and `nbf` are always checked if they are present.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenRules {
    /// The accepted issuers (`iss`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub issuers: Vec<String>,
    /// The accepted audiences: one of them must be in `aud`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub audiences: Vec<String>,
    /// Other claims and the texts that they must have; a boolean or a number has its JSON text.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, String>,
    /// The claim with the SHA-256 of the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<DigestClaim>,
    /// The claim with the URL that the sender called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<UrlClaim>,
    /// The rules that only the operator knows. Until the source gives them, no token is accepted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub required: Vec<RequiredRule>,
}

/// A value that must be one of the descriptor's constants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// The location of the value.
    pub at: ValueLocation,
    /// The name of the constant.
    pub constant: String,
}

/// A rule for a JSON Web Token that the source has to give, by the name of its member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequiredRule {
    /// The audiences.
    Audience,
    /// The issuers.
    Issuer,
}

impl Descriptor {
    /// The path of the source's member that has to give a value which only the operator knows, and does not.
    pub fn missing(&self) -> Option<String> {
        let constant = || self.constants.iter().find(|(_, text)| text.is_empty());
        let rule = self.jwt.as_ref().and_then(TokenRules::missing);
        rule.or_else(|| constant().map(|(name, _)| format!("sender.constants.{name}")))
    }
}

impl TokenRules {
    /// The member of the source that has to give a rule, and does not: `audience`, `issuer`, or, for a claim whose text is
    /// empty, the claim's.
    pub fn missing(&self) -> Option<String> {
        let rule = self.required.iter().find_map(|rule| match rule {
            RequiredRule::Audience => self.audiences.is_empty().then(|| "audience".to_owned()),
            RequiredRule::Issuer => self.issuers.is_empty().then(|| "issuer".to_owned()),
        });
        let claim = || self.claims.iter().find(|(_, text)| text.is_empty());
        rule.or_else(|| claim().map(|(name, _)| format!("sender.jwt.claims.{name}")))
    }

    /// Returns whether tokens of any issuer, or for any receiver, would be accepted.
    fn is_unbound(&self) -> bool {
        let is_missing = |rule, values: &[String]| values.is_empty() && !self.required.contains(&rule);
        is_missing(RequiredRule::Issuer, &self.issuers) || is_missing(RequiredRule::Audience, &self.audiences)
    }
}

/// A claim with a SHA-256 digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DigestClaim {
    /// Name of the claim.
    pub claim: String,
    /// The encoding of the digest.
    #[serde(default)]
    pub encoding: Encoding,
}

/// A claim with a URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UrlClaim {
    /// Name of the claim.
    pub claim: String,
    /// Whether the claim contains the SHA-256 of the URL, in hexadecimal, instead of the URL.
    #[serde(default, skip_serializing_if = "is_false")]
    pub hashed: bool,
}

/// A criterion by which two requests without an id are the same event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Repeat {
    /// The body: it always contains something that tells two events apart.
    Body,
}

fn is_false(value: &bool) -> bool {
    !*value
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
    /// Other texts that a secret may start with instead. An empty one makes the prefix optional.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<String>,
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
    /// Whether a request may lack the timestamp. `signed` then contains it as `{if timestamp}…{end}`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
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
    /// A claim of a JSON Web Token: `iat`.
    Claim(String),
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
    /// As in RFC 3339, or without a time zone, which then is UTC.
    Iso8601Utc,
    /// An HTTP date (RFC 9110, section 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
    HttpDate,
}

/// The location of a value in a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValueLocation {
    /// A header.
    Header(String),
    /// A member of the body, by JSON Pointer (RFC 6901).
    Pointer(String),
    /// A field of a form, which must occur once.
    Form(String),
    /// A parameter of the URL's query, which must occur once.
    Query(String),
    /// A pair in the signature's header ([`HeaderFormat::Pairs`]), by its name.
    Field(String),
    /// A claim of a JSON Web Token.
    Claim(String),
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

/// Maximum tolerance of a timestamp, in seconds: three days. Recharge retries for two.
pub const MAX_TOLERANCE: u32 = 259_200;

impl Descriptor {
    /// Parses a descriptor in JSON, and checks that its members are valid and consistent.
    pub fn parse(json: &str) -> Result<Self, DescriptorError> {
        let error = match serde_json::from_str(json) {
            Ok(descriptor) => return Self::checked(descriptor),
            Err(error) => error.to_string(),
        };
        let value = serde_json::from_str(json).unwrap_or_default();
        Err(DescriptorError::Json(explained(&error, &value)))
    }

    /// Reads a descriptor from a JSON value, as [`parse`](Self::parse) does.
    pub fn from_value(value: serde_json::Value) -> Result<Self, DescriptorError> {
        match serde_json::from_value(value.clone()) {
            Ok(descriptor) => Self::checked(descriptor),
            Err(error) => Err(DescriptorError::Json(explained(&error.to_string(), &value))),
        }
    }

    fn checked(mut descriptor: Self) -> Result<Self, DescriptorError> {
        let has_default_header = descriptor.algorithm == Algorithm::Basic || descriptor.algorithm.is_jwt();
        if has_default_header && descriptor.headers.is_empty() && descriptor.location.is_none() {
            descriptor.headers.push("authorization".to_owned());
        }
        descriptor.check()?;
        Ok(descriptor)
    }

    /// Returns whether the signature covers the id. A token is taken to cover the whole request, because its
    /// holder can send anything.
    pub fn id_is_covered(&self) -> bool {
        self.id.as_ref().is_some_and(|id| self.covers(id))
    }

    /// Returns whether one of the signature's headers is there, with the prefix, or with the scheme `Basic` or `Bearer`
    /// that the algorithm uses.
    pub fn is_carried_by(&self, headers: &http::HeaderMap) -> bool {
        let Ok(found) = SignatureHeader::find_all(self, headers) else { return false };
        found.iter().any(|header| match self.algorithm {
            Algorithm::Basic => header.credentials("Basic").is_some(),
            algorithm if algorithm.is_jwt() => header.credentials("Bearer").or_else(|| header.bare_token()).is_some(),
            _ => header.signatures().is_ok_and(|signatures| !signatures.is_empty()),
        })
    }

    /// Returns whether nobody can change the value at this location without the secret.
    fn covers(&self, location: &ValueLocation) -> bool {
        let covers_body = self.jwt.as_ref().is_some_and(|rules| rules.body.is_some());
        if self.algorithm.is_bearer() || (self.algorithm.is_jwt() && !covers_body) {
            return true;
        }
        if self.algorithm.is_jwt() {
            return match location {
                ValueLocation::Claim(_) | ValueLocation::Pointer(_) | ValueLocation::Form(_) => true,
                ValueLocation::Query(_) => self.jwt.as_ref().is_some_and(|rules| rules.url.is_some()),
                ValueLocation::Header(_) | ValueLocation::Field(_) => false,
            };
        }
        self.signed.contains(&Part::Value(location.clone()))
            || match location {
                ValueLocation::Header(_) => self.signs(Part::Id),
                // A CRC-32 is no protection against changes of the body. It tells events apart all the same, and such a
                // sender has nothing better.
                ValueLocation::Pointer(_) => {
                    self.signs(Part::Body) || self.signs(Part::BodySha256) || self.signs(Part::BodyCrc32)
                }
                ValueLocation::Form(_) => self.signs(Part::Body) || self.signs(Part::Params),
                ValueLocation::Query(_) => self.signs(Part::Url),
                ValueLocation::Field(_) | ValueLocation::Claim(_) => false,
            }
    }

    fn check(&self) -> Result<(), DescriptorError> {
        self.check_header()?;
        self.check_signed()?;
        self.check_keys()?;
        self.when.iter().try_for_each(Test::check)?;
        check_location("id", self.id.as_ref())?;
        check_location("type", self.event_type.as_ref())?;
        check_location("signature", self.location.as_ref())?;
        let places = [("id", self.id.as_ref()), ("type", self.event_type.as_ref())];
        for (member, location) in places {
            if matches!(location, Some(ValueLocation::Claim(_))) && !self.algorithm.is_jwt() {
                return invalid(member, "must not be a claim, because `algorithm` is not a `jwt-…`");
            }
        }
        if !self.unstable.iter().all(|pointer| is_pointer(pointer)) {
            return invalid("unstable", "must list JSON Pointers that start with `/` (RFC 6901), such as /attempt");
        }
        self.timestamp.as_ref().map_or(Ok(()), |spec| self.check_timestamp(spec))
    }

    fn check_header(&self) -> Result<(), DescriptorError> {
        match &self.location {
            Some(_) if !self.headers.is_empty() => {
                return invalid("signature", "must not be set beside `headers`: the signature has one location");
            }
            Some(ValueLocation::Field(_) | ValueLocation::Claim(_)) => {
                return invalid("signature", "must be a `header`, a `pointer`, a `form` field or a `query` parameter");
            }
            Some(_) => {}
            None if self.headers.is_empty() || !self.headers.iter().all(|header| is_header_name(header)) => {
                return invalid("headers", "must list at least one header, and only valid header names");
            }
            None => {}
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
        if self.algorithm.is_bearer() {
            if self.header_format != HeaderFormat::Single {
                return invalid("grammar", "must be `single` if `algorithm` is `token` or `basic`");
            }
            if self.signed != Template::default() || self.timestamp.is_some() {
                return invalid(
                    "algorithm",
                    "is `token`, which signs nothing, or `basic`: remove `signed` and `timestamp`",
                );
            }
            if self.key_format.encoding != KeyEncoding::Raw {
                return invalid("secret", "must have the encoding `raw` if `algorithm` is `token` or `basic`");
            }
        }
        if self.algorithm.is_jwt() && (self.header_format != HeaderFormat::Single || self.signed != Template::default())
        {
            return invalid("algorithm", "is a JSON Web Token: remove `grammar` and `signed`, and see `jwt`");
        }
        if self.algorithm == Algorithm::Ed25519 && self.key_format.encoding == KeyEncoding::Raw {
            return invalid("secret", "must have the encoding `hex` or `base64` if `algorithm` is `ed25519`");
        }
        match (self.algorithm.is_hash(), self.signed.mentions(&Part::Secret)) {
            (true, _) if !self.signed.contains(&Part::Secret) => {
                return invalid("signed", "must contain {secret}, because `algorithm` is a plain hash");
            }
            (false, true) => return invalid("signed", "must not contain {secret} unless `algorithm` is a plain hash"),
            _ => {}
        }
        let covers_body = self.signs(Part::Body) || self.signs(Part::Params) || self.signs(Part::BodySha256);
        if !covers_body && !self.partial {
            return invalid(
                "signed",
                "must contain {body}, or {params} for forms; if the sender signs only a part of the body, say so by \
                 `\"partial\":true`",
            );
        }
        if covers_body && self.partial {
            return invalid("partial", "must not be true, because `signed` contains the body");
        }
        if self.signed.mentions(&Part::Id) && !matches!(self.id, Some(ValueLocation::Header(_))) {
            return invalid("id", "must name a header, because `signed` contains {id}");
        }
        if self.signed.mentions(&Part::Timestamp) && self.timestamp.is_none() {
            return invalid("timestamp", "is required, because `signed` contains {timestamp}");
        }
        for location in self.signed.locations() {
            check_location("signed", Some(location))?;
            if matches!(location, ValueLocation::Field(_)) && !matches!(self.header_format, HeaderFormat::Pairs { .. })
            {
                return invalid("signed", "must not contain {field:…}, because `grammar` is not `pairs`");
            }
        }
        let bound = self.bound.iter().map(|binding| binding.constant.as_str());
        if self.signed.constants().chain(bound).any(|name| !self.constants.contains_key(name)) {
            return invalid("constants", "must have a member for each {constant:…} in `signed`, and each of `bound`");
        }
        self.bound.iter().try_for_each(|binding| check_location("bound", Some(&binding.at)))?;
        Ok(())
    }

    fn check_keys(&self) -> Result<(), DescriptorError> {
        if self.algorithm.has_public_key() && self.key_format != KeyFormat::default() {
            return invalid("secret", "must not be set: a public key is PEM, SPKI in base64, a JWK or a JWK Set");
        }
        match &self.keys {
            Some(_) if !self.algorithm.has_public_key() => {
                return invalid("keys", "must not be set, because `algorithm` has no public key that could be fetched");
            }
            Some(KeySource::Jwks(_)) if !self.algorithm.is_jwt() => {
                return invalid("keys", "must be a `certificate`, because `algorithm` is not a `jwt-…`");
            }
            Some(KeySource::Jwks(url)) if !url.starts_with("https://") => {
                return invalid("keys", "must have a `jwks` URL that starts with https://");
            }
            Some(KeySource::Certificate { .. }) if self.algorithm.is_jwt() => {
                return invalid("keys", "must be a `jwks`, because `algorithm` is a `jwt-…`");
            }
            Some(KeySource::Certificate { from, urls }) => {
                check_location("keys", Some(from))?;
                // A host that ends in a wildcard, or has nothing fixed, would let anyone bring a certificate.
                let is_pinned = |url: &String| {
                    let host = url.strip_prefix("https://").and_then(|rest| rest.split_once('/')).map(|(host, _)| host);
                    host.is_some_and(|host| host.rsplit('.').take(2).all(is_domain_label))
                };
                if urls.is_empty() || !urls.iter().all(is_pinned) {
                    return invalid(
                        "keys",
                        "must list `urls` that start with https:// and name the last two labels of the host without \
                         a wildcard",
                    );
                }
            }
            Some(KeySource::Jwks(_)) | None => {}
        }
        let Some(rules) = &self.jwt else {
            if matches!(self.algorithm, Algorithm::JwtRs256 | Algorithm::JwtEs256) {
                return invalid("jwt", "is required: name `issuers` and `audiences`, or the `body` claim");
            }
            return Ok(());
        };
        if !self.algorithm.is_jwt() {
            return invalid("jwt", "must not be set, because `algorithm` is not a `jwt-…`");
        }
        if self.algorithm.has_public_key() && rules.is_unbound() && rules.body.is_none() {
            return invalid("jwt", "must name `issuers` and `audiences`, or the `body` claim");
        }
        Ok(())
    }

    /// Checks a timestamp. The signature must cover it: anyone could change one that is not signed.
    fn check_timestamp(&self, spec: &TimestampSpec) -> Result<(), DescriptorError> {
        let mentions = self.signed.mentions(&Part::Timestamp);
        match &spec.location {
            TimestampLocation::Claim(_) if !self.algorithm.is_jwt() => {
                invalid("timestamp", "must not be a claim, because `algorithm` is not a `jwt-…`")
            }
            TimestampLocation::Claim(_) if !(1..=MAX_TOLERANCE).contains(&spec.tolerance) => {
                invalid("timestamp", TOLERANCE_RANGE)
            }
            TimestampLocation::Claim(_) => Ok(()),
            _ if self.algorithm.is_jwt() => invalid("timestamp", "must be a claim, because `algorithm` is a `jwt-…`"),
            TimestampLocation::Header(header) if !is_header_name(header) => {
                invalid("timestamp", "must name a valid header")
            }
            TimestampLocation::Field(_) if !matches!(self.header_format, HeaderFormat::Pairs { .. }) => {
                invalid("timestamp", "must not be in a field, because `grammar` is not `pairs`")
            }
            TimestampLocation::Header(_) | TimestampLocation::Field(_) if !mentions => {
                invalid("timestamp", "must be covered by the signature: add {timestamp} to `signed`")
            }
            TimestampLocation::Header(_) | TimestampLocation::Field(_)
                if spec.optional == self.signed.contains(&Part::Timestamp) =>
            {
                invalid(
                    "timestamp",
                    "must be in `signed` as {timestamp}, or, if it is `optional`, within {if timestamp} and {end}",
                )
            }
            TimestampLocation::Pointer(_) if mentions => invalid(
                "timestamp",
                "must be in a header or a field, because `signed` contains {timestamp}: use {json:/…} for a member",
            ),
            TimestampLocation::Pointer(pointer)
                if !self.signs(Part::Body)
                    && !self.signed.contains(&Part::Value(ValueLocation::Pointer(pointer.clone()))) =>
            {
                invalid("timestamp", "must be covered by the signature: add {body} to `signed`")
            }
            TimestampLocation::Pointer(pointer) if !is_pointer(pointer) => invalid("timestamp", INVALID_POINTER),
            _ if !(1..=MAX_TOLERANCE).contains(&spec.tolerance) => invalid("timestamp", TOLERANCE_RANGE),
            _ => Ok(()),
        }
    }

    /// Returns whether the signature covers this part.
    fn signs(&self, part: Part) -> bool {
        self.signed.contains(&part)
    }
}

/// Adds to a parser's message the member that it is about, and the nearest of the expected names.
fn explained(message: &str, value: &serde_json::Value) -> String {
    let message = hint::with_nearest(message);
    let is_at_fault = |(name, value): &(&String, &serde_json::Value)| {
        let algorithm = ("algorithm".to_owned(), "token".into());
        let alone = [algorithm, ((*name).clone(), (*value).clone())].into_iter().collect();
        serde_json::from_value::<Descriptor>(serde_json::Value::Object(alone)).is_err()
    };
    match value.as_object().and_then(|members| members.iter().find(is_at_fault)) {
        Some((name, _)) if !message.contains(&format!("`{name}`")) => format!("`{name}`: {message}"),
        _ => message,
    }
}

const INVALID_POINTER: &str = "must be a JSON Pointer that starts with `/` (RFC 6901), such as /data/id";

const TOLERANCE_RANGE: &str = "must have a tolerance from 1 to 259200 seconds";

pub(super) fn check_location(member: &'static str, location: Option<&ValueLocation>) -> Result<(), DescriptorError> {
    match location {
        Some(ValueLocation::Header(header)) if !is_header_name(header) => invalid(member, "must name a valid header"),
        Some(ValueLocation::Pointer(pointer)) if !is_pointer(pointer) => invalid(member, INVALID_POINTER),
        Some(
            ValueLocation::Form(name)
            | ValueLocation::Query(name)
            | ValueLocation::Field(name)
            | ValueLocation::Claim(name),
        ) if name.is_empty() => invalid(member, "must not have an empty name"),
        _ => Ok(()),
    }
}

/// The error for a member that breaks a rule.
pub(super) fn invalid(member: &'static str, rule: &'static str) -> Result<(), DescriptorError> {
    Err(DescriptorError::Rule { member, rule })
}

/// Returns whether a text is a label of a domain name, without a wildcard.
fn is_domain_label(label: &str) -> bool {
    !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn is_header_name(name: &str) -> bool {
    HeaderName::try_from(name).is_ok()
}

fn is_pointer(pointer: &str) -> bool {
    Pointer::parse(pointer).is_some()
}
