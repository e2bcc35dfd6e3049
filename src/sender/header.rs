//! The signature's header: from its value to the signatures in it.

use http::HeaderMap;

use super::descriptor::{Descriptor, HeaderFormat};
use super::verify::VerifyError;

/// How many signatures are tried. Senders rotate two keys, or a few; each one that is tried costs a computation.
pub const MAX_SIGNATURES: usize = 16;

/// A header of which there must not be two. `None` if it isn't there, or is empty.
pub(super) fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, VerifyError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match (values.next(), value.to_str()) {
        (None, Ok(text)) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
        _ => Err(VerifyError::Malformed { header: name.to_owned() }),
    }
}

/// The value of the signature's header, and its name.
pub(super) fn value<'a, 'd>(
    descriptor: &'d Descriptor,
    headers: &'a HeaderMap,
) -> Result<(&'a str, &'d str), VerifyError> {
    for name in &descriptor.headers {
        if let Some(value) = one(headers, name)? {
            return Ok((value, name));
        }
    }
    Err(VerifyError::Missing { header: descriptor.headers.first().cloned().unwrap_or_default() })
}

/// The signatures in a header's value, without their prefix: none that could be one is no fault of the grammar.
pub(super) fn signatures<'a>(
    descriptor: &Descriptor,
    (value, name): (&'a str, &str),
) -> Result<Vec<&'a str>, VerifyError> {
    let prefix = |text: &'a str| text.trim().strip_prefix(descriptor.prefix.as_str());
    let found: Vec<&str> = match &descriptor.grammar {
        HeaderFormat::Single => prefix(value).into_iter().collect(),
        HeaderFormat::List(separator) => value.split(*separator).filter_map(prefix).collect(),
        HeaderFormat::Pairs { separator, signature } => {
            fields(value, *separator, signature).filter_map(prefix).collect()
        }
    };
    match found.len() {
        0..=MAX_SIGNATURES => Ok(found),
        _ => Err(VerifyError::Malformed { header: name.to_owned() }),
    }
}

/// A field of which there must not be two, in a header of pairs.
pub(super) fn field<'a>(
    descriptor: &Descriptor,
    (value, name): (&'a str, &str),
    field: &str,
) -> Result<&'a str, VerifyError> {
    let HeaderFormat::Pairs { separator, .. } = descriptor.grammar else { return Err(VerifyError::Undated) };
    let mut found = fields(value, separator, field);
    match (found.next(), found.next()) {
        (Some(value), None) => Ok(value),
        (None, _) => Err(VerifyError::Undated),
        (Some(_), Some(_)) => Err(VerifyError::Malformed { header: name.to_owned() }),
    }
}

fn fields<'a>(value: &'a str, separator: char, name: &str) -> impl Iterator<Item = &'a str> {
    value
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

    #[test]
    fn signatures_are_found() {
        let find = |rest: &str, value| signatures(&descriptor(rest), (value, "x")).unwrap();
        assert_eq!(find(r#""prefix":"sha256=""#, "sha256=ab"), ["ab"]);
        assert_eq!(find(r#""prefix":"sha256=""#, "sha1=ab"), Vec::<&str>::new());
        assert_eq!(find(LIST, "v1a,zz v1,aa  v2,bb v1,cc"), ["aa", "cc"]);
        assert_eq!(find(PAIRS, "t=1, v1=aa,v0=bb,v1=c=="), ["aa", "c=="]);
        let many = "v1,a ".repeat(MAX_SIGNATURES + 1);
        let malformed = VerifyError::Malformed { header: "x".to_owned() };
        assert_eq!(signatures(&descriptor(LIST), (&many, "x")).unwrap_err(), malformed);
        assert_eq!(field(&descriptor(PAIRS), ("t=1,v1=a,t=2", "x"), "t").unwrap_err(), malformed);
        assert_eq!(field(&descriptor(PAIRS), ("v1=a", "x"), "t").unwrap_err(), VerifyError::Undated);
        assert_eq!(field(&descriptor(PAIRS), ("v1=a, t = 1", "x"), "t").unwrap(), "1");
    }

    proptest! {
        #[test]
        fn any_value_is_read_or_refused(value in "[ -~]{0,60}", tv in "[tv1=, ;]{0,30}") {
            for value in [value, tv] {
                for rest in [r#""prefix":"sha256=""#, LIST, PAIRS] {
                    let descriptor = descriptor(rest);
                    if let Ok(found) = signatures(&descriptor, (&value, "x")) {
                        prop_assert!(found.iter().all(|signature| value.contains(signature)));
                    }
                    let _ = field(&descriptor, (&value, "x"), "t");
                }
            }
        }
    }
}
