//! Is the right signature where the grammar wants it? Written once more, from the vendors' pages.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use sluice::sender::{
    Encoding, HeaderFormat, MAX_FORM_FIELDS, MAX_SIGNATURES, Part, TimestampLocation, TimestampSpec, Unit,
};
use sluice::time::Timestamp;

use super::{FORM, NOW, Scheme, Sent, message};

/// `right` is the signature over what was sent, with the timestamp that was meant. `None` where it hangs on a date that
/// isn't read here.
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
        match (scheme.descriptor.timestamp.as_ref().map(|dated| &dated.location), &scheme.descriptor.header_format) {
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

    let is = |right: &str| match scheme.descriptor.encoding {
        Encoding::Hex if !scheme.is_token() => found.iter().any(|found| found.eq_ignore_ascii_case(right)),
        _ => found.contains(&right),
    };
    // A date may also stand in the header, and be another than was meant.
    let is_right = match signs(Part::Timestamp) && timestamp.as_bytes() != sent.timestamp.trim_ascii() {
        true => is(&scheme.sign(&message(scheme, sent, timestamp.as_bytes()))),
        false => is(right),
    };
    match &scheme.descriptor.timestamp {
        Some(dated) if is_right => is_fresh(dated, timestamp, &sent.body),
        _ => Some(is_right),
    }
}

/// A header's text: visible ASCII, something of it.
pub(super) fn text(value: &[u8]) -> Option<&str> {
    let is_visible = value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    std::str::from_utf8(value).ok().map(str::trim).filter(|text| is_visible && !text.is_empty())
}

/// Twilio: is the body, whatever it is, a part of what is signed?
pub(super) fn is_covered(sent: &Sent<'_>) -> bool {
    if let Some(digest) = digest(&sent.url) {
        return digest.eq_ignore_ascii_case(&HEXLOWER.encode(&Sha256::digest(&sent.body)));
    }
    sent.body.is_empty()
        || sent.content_type == FORM
            && is_utf8(&sent.body)
            && form_urlencoded::parse(&sent.body).count() <= MAX_FORM_FIELDS
}

/// What isn't UTF-8 once it is decoded would be read as something else.
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

/// Twilio: the body's digest in the URL's query.
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

fn is_fresh(dated: &TimestampSpec, timestamp: &str, body: &[u8]) -> Option<bool> {
    let mut text = timestamp.to_owned();
    if let TimestampLocation::Pointer(pointer) = &dated.location {
        // Deep ones are no JSON to us.
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
    let sent = match dated.unit {
        Unit::Seconds => number().map(|seconds| seconds.saturating_mul(1_000)),
        Unit::Milliseconds => number(),
        Unit::Rfc3339 => return (text == Timestamp(NOW * 1_000).rfc3339()).then_some(true),
    };
    Some(sent.is_some_and(|sent| sent.abs_diff(NOW * 1_000) <= u64::from(dated.tolerance) * 1_000))
}
