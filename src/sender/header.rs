//! Headers of signed requests, and the signatures in the value of the signature header.

use http::HeaderMap;

use super::descriptor::{Descriptor, HeaderFormat};
use super::verify::VerifyError;

/// Maximum number of signatures in a request: verifying each of them costs a computation. During a rotation, senders
/// sign with two or a few keys.
pub const MAX_SIGNATURES: usize = 16;

/// The text of a header that may occur once. `None` if it is missing or empty.
pub(super) fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, VerifyError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match (values.next(), value.to_str()) {
        (None, Ok(text)) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
        _ => Err(VerifyError::MalformedHeader { header: name.to_owned() }),
    }
}

/// The text of a header that must occur exactly once.
pub(super) fn required<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, VerifyError> {
    single(headers, name)?.ok_or_else(|| VerifyError::MissingHeader { header: name.to_owned() })
}

/// A value of the request that contains signatures.
#[derive(Clone, Copy, Debug)]
pub(super) struct SignatureHeader<'a> {
    descriptor: &'a Descriptor,
    name: &'a str,
    value: &'a str,
}

impl<'a> SignatureHeader<'a> {
    /// A value that was found elsewhere than in a header.
    pub(super) fn new(descriptor: &'a Descriptor, name: &'a str, value: &'a str) -> Self {
        Self { descriptor, name, value }
    }

    /// Finds those of the descriptor's headers that are present: at least one, and at most [`MAX_SIGNATURES`].
    pub(super) fn find_all(descriptor: &'a Descriptor, headers: &'a HeaderMap) -> Result<Vec<Self>, VerifyError> {
        let mut found = Vec::new();
        for pattern in &descriptor.headers {
            match pattern.strip_suffix('*') {
                Some(prefix) => {
                    for name in headers.keys().filter(|name| name.as_str().starts_with(&prefix.to_ascii_lowercase())) {
                        found.extend(Self::at(descriptor, headers, name.as_str())?);
                    }
                }
                None => found.extend(Self::at(descriptor, headers, pattern)?),
            }
        }
        match found.get(MAX_SIGNATURES) {
            Some(excess) => Err(excess.malformed()),
            None if found.is_empty() => {
                Err(VerifyError::MissingHeader { header: descriptor.headers.first().cloned().unwrap_or_default() })
            }
            None => Ok(found),
        }
    }

    fn at(descriptor: &'a Descriptor, headers: &'a HeaderMap, name: &'a str) -> Result<Option<Self>, VerifyError> {
        Ok(single(headers, name)?.map(|value| Self { descriptor, name, value }))
    }

    /// The value, without the scheme of HTTP authentication (RFC 9110, section 11.4) before it. The scheme is required
    /// in `Authorization`, and allowed elsewhere.
    pub(super) fn credentials(&self, scheme: &str) -> Option<&'a str> {
        let (first, rest) = self.value.split_once(' ').unwrap_or((self.value, ""));
        if first.eq_ignore_ascii_case(scheme) && !rest.is_empty() {
            return Some(rest.trim());
        }
        (!self.name.eq_ignore_ascii_case("authorization")).then_some(self.value)
    }

    /// A token without a scheme before it, which LiveKit sends in `Authorization`.
    pub(super) fn bare_token(&self) -> Option<&'a str> {
        let is_token = self.value.matches('.').count() == 2 && !self.value.contains(' ');
        is_token.then_some(self.value)
    }

    /// The signatures, without their prefix. Items without the prefix are ignored: they belong to other schemes.
    pub(super) fn signatures(&self) -> Result<Vec<&'a str>, VerifyError> {
        let value = self.value;
        let strip = |text: &'a str| text.trim().strip_prefix(self.descriptor.prefix.as_str());
        let signatures: Vec<&str> = match &self.descriptor.header_format {
            HeaderFormat::Single => strip(value).into_iter().collect(),
            HeaderFormat::List(separator) => value.split(*separator).filter_map(strip).collect(),
            HeaderFormat::Pairs { separator, signature } => {
                values_of(value, *separator, signature).filter_map(strip).collect()
            }
        };
        if signatures.len() > MAX_SIGNATURES {
            return Err(self.malformed());
        }
        Ok(signatures)
    }

    /// The value of the pair with this name, which must not occur twice.
    pub(super) fn pair(&self, name: &str) -> Result<Option<&'a str>, VerifyError> {
        let HeaderFormat::Pairs { separator, .. } = self.descriptor.header_format else { return Ok(None) };
        let mut values = values_of(self.value, separator, name);
        let value = values.next();
        if values.next().is_some() { Err(self.malformed()) } else { Ok(value) }
    }

    /// The error for more signatures than [`MAX_SIGNATURES`], and for other faults of form.
    pub(super) fn malformed(&self) -> VerifyError {
        VerifyError::MalformedHeader { header: self.name.to_owned() }
    }
}

/// The values of the pairs with this name.
fn values_of<'a>(header: &'a str, separator: char, name: &str) -> impl Iterator<Item = &'a str> {
    header
        .split(separator)
        .filter_map(|pair| pair.split_once('='))
        .filter(move |(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn descriptor(rest: &str) -> Descriptor {
        Descriptor::parse(&format!(r#"{{"algorithm":"hmac-sha256","headers":["x"],{rest}}}"#)).unwrap()
    }

    const LIST: &str = r#""grammar":{"list":" "},"prefix":"v1,""#;
    const PAIRS: &str = r#""grammar":{"pairs":{"separator":",","signature":"v1"}},
        "signed":"{timestamp}.{body}","timestamp":{"from":{"field":"t"}}"#;

    fn header<'a>(descriptor: &'a Descriptor, value: &'a str) -> SignatureHeader<'a> {
        SignatureHeader { descriptor, name: "x", value }
    }

    fn malformed() -> VerifyError {
        VerifyError::MalformedHeader { header: "x".to_owned() }
    }

    #[test]
    fn signatures_are_found_in_each_format() {
        let found = |rest: &str, value| {
            header(&descriptor(rest), value).signatures().unwrap().into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(found(r#""prefix":"sha256=""#, "sha256=ab"), ["ab"]);
        assert_eq!(found(r#""prefix":"sha256=""#, "sha1=ab"), Vec::<String>::new());
        assert_eq!(found(LIST, "v1a,zz v1,aa  v2,bb v1,cc"), ["aa", "cc"]);
        assert_eq!(found(PAIRS, "t=1, v1=aa,v0=bb,v1=c=="), ["aa", "c=="]);
    }

    #[test]
    fn number_of_signatures_is_bounded() {
        let many = "v1,a ".repeat(MAX_SIGNATURES + 1);
        assert_eq!(header(&descriptor(LIST), &many).signatures().unwrap_err(), malformed());
    }

    #[test]
    fn pair_must_not_occur_twice() {
        let descriptor = descriptor(PAIRS);
        let pair = |value| header(&descriptor, value).pair("t").map(|found| found.map(str::to_owned));
        assert_eq!(pair("t=1,v1=a,t=2"), Err(malformed()));
        assert_eq!(pair("v1=a"), Ok(None));
        assert_eq!(pair("v1=a, t = 1"), Ok(Some("1".to_owned())));
    }

    proptest! {
        #[test]
        fn signatures_are_parts_of_the_value(value in "[ -~]{0,60}", tv in "[tv1=, ;]{0,30}") {
            for value in [value, tv] {
                for rest in [r#""prefix":"sha256=""#, LIST, PAIRS] {
                    let descriptor = descriptor(rest);
                    let header = header(&descriptor, &value);
                    if let Ok(signatures) = header.signatures() {
                        prop_assert!(signatures.iter().all(|signature| value.contains(signature)));
                    }
                    let _ = header.pair("t");
                }
            }
        }
    }
}
