//! The expected result of a verification, implemented independently from the vendors' documentation.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use sluice::sender::{
    Encoding, HeaderFormat, MAX_FORM_FIELDS, MAX_SIGNATURES, Part, TimestampLocation, TimestampSpec, Unit,
};
use sluice::time::Timestamp;

use super::{FORM, NOW, Scheme, Sent, message};

/// Whether the header contains `right`, the signature over the request with its intended timestamp. `None` if that
/// depends on a date that isn't parsed here.
pub(super) fn is_right(scheme: &Scheme, sent: &Sent<'_>, right: &str) -> Option<bool> {
    let signs = |part| scheme.descriptor.signed.contains(&part);
    let Some(value) = text(&sent.value) else { return Some(false) };
    if signs(Part::Id) && text(&sent.id).is_none() || signs(Part::Params) && !is_covered(sent) {
        return Some(false);
    }
    let found: Vec<&str> = match &scheme.descriptor.header_format {
        HeaderFormat::Single => vec![value],
        HeaderFormat::List(separator) => value.split(*separator).map(str::trim).collect(),
        HeaderFormat::Pairs { separator, signature } => pairs(value, *separator, signature),
    };
    let prefix = scheme.descriptor.prefix.as_str();
    let found: Vec<&str> = found.into_iter().filter_map(|found| found.strip_prefix(prefix)).collect();
    let timestamp =
        match (scheme.descriptor.timestamp.as_ref().map(|spec| &spec.location), &scheme.descriptor.header_format) {
            (Some(TimestampLocation::Header(_)), _) => text(&sent.timestamp),
            (Some(TimestampLocation::Field(name)), HeaderFormat::Pairs { separator, .. }) => {
                match pairs(value, *separator, name).as_slice() {
                    [one] => Some(*one),
                    _ => None,
                }
            }
            _ => Some(""),
        };
    let Some(timestamp) = timestamp.filter(|_| found.len() <= MAX_SIGNATURES) else { return Some(false) };

    let contains = |right: &str| match scheme.descriptor.encoding {
        Encoding::Hex if !scheme.is_token() => found.iter().any(|found| found.eq_ignore_ascii_case(right)),
        _ => found.contains(&right),
    };
    // The header may contain a timestamp other than the intended one.
    let is_right = if signs(Part::Timestamp) && timestamp.as_bytes() != sent.timestamp.trim_ascii() {
        contains(&scheme.sign(&message(scheme, sent, timestamp.as_bytes())))
    } else {
        contains(right)
    };
    match &scheme.descriptor.timestamp {
        Some(spec) if is_right => is_fresh(spec, timestamp, &sent.body),
        _ => Some(is_right),
    }
}

/// The text of a header, if it is visible ASCII and not empty.
pub(super) fn text(value: &[u8]) -> Option<&str> {
    let is_visible = value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    std::str::from_utf8(value).ok().map(str::trim).filter(|text| is_visible && !text.is_empty())
}

/// Whether the signature covers the body (Twilio).
pub(super) fn is_covered(sent: &Sent<'_>) -> bool {
    if let Some(digest) = digest(&sent.url) {
        return digest.eq_ignore_ascii_case(&HEXLOWER.encode(&Sha256::digest(&sent.body)));
    }
    sent.body.is_empty()
        || sent.content_type == FORM
            && is_utf8(&sent.body)
            && form_urlencoded::parse(&sent.body).count() <= MAX_FORM_FIELDS
}

/// Whether a form is UTF-8 after decoding. Other bytes would be replaced, so the signed text would differ.
fn is_utf8(mut form: &[u8]) -> bool {
    let mut decoded = Vec::new();
    while let [first, rest @ ..] = form {
        let digits = rest.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        let byte =
            digits.filter(|digits| !digits.starts_with('+')).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(byte.unwrap_or(*first));
        form = if byte.is_some() { &rest[2..] } else { rest };
    }
    String::from_utf8(decoded).is_ok()
}

/// The digest of the body in the URL's query (Twilio).
pub(super) fn digest(url: &str) -> Option<String> {
    let query = url.split_once('?')?.1.split('#').next()?;
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(name, _)| name == "bodySHA256").map(|(_, digest)| digest.into_owned())
}

fn pairs<'a>(value: &'a str, separator: char, name: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    for pair in value.split(separator) {
        if let Some((key, value)) = pair.split_once('=')
            && key.trim() == name
        {
            found.push(value.trim());
        }
    }
    found
}

fn is_fresh(spec: &TimestampSpec, timestamp: &str, body: &[u8]) -> Option<bool> {
    let mut text = timestamp.to_owned();
    if let TimestampLocation::Pointer(pointer) = &spec.location {
        // JSON that is too deep is refused by the code under test.
        if body.iter().filter(|byte| matches!(byte, b'[' | b'{')).count() > 100 {
            return None;
        }
        let members: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(body).ok()?;
        let Some(member) = members.get(pointer.trim_start_matches('/')) else { return Some(false) };
        text = serde_json::from_str(member.get()).unwrap_or_else(|_| member.get().to_owned());
    }
    let number = || {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|_| digits)
    };
    let sent = match spec.unit {
        Unit::Seconds => number().map(|seconds| seconds.saturating_mul(1_000)),
        Unit::Milliseconds => number(),
        Unit::Iso8601Utc | Unit::HttpDate => return None,
        Unit::Rfc3339 => return (text == Timestamp(NOW * 1_000).rfc3339()).then_some(true),
    };
    Some(sent.is_some_and(|sent| sent.abs_diff(NOW * 1_000) <= u64::from(spec.tolerance) * 1_000))
}
