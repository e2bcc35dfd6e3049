//! Helpers of several properties.

pub(super) mod signing;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::value::RawValue;
use sluice::json;

/// A request in text form: header lines, an empty line, the body. Invalid headers are skipped.
pub(super) fn request(data: &[u8]) -> (HeaderMap, &[u8]) {
    let (mut headers, mut rest) = (HeaderMap::new(), data);
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        if line.is_empty() {
            break;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&line[..colon]), value) {
            headers.append(name, value);
        }
    }
    (headers, rest)
}

/// The first `N` lines; the last one extends to the end of the data.
pub(super) fn lines<const N: usize>(data: &[u8]) -> [&[u8]; N] {
    let mut lines = data.splitn(N, |byte| *byte == b'\n');
    std::array::from_fn(|_| lines.next().unwrap_or_default())
}

/// Selects by a byte, `a` being the first, to keep seeds legible.
pub(super) fn choose<T>(of: &[T], byte: u8) -> &T {
    &of[usize::from(byte.wrapping_sub(b'a')) % of.len()]
}

/// The value of a string member.
pub(super) fn member(object: &RawValue, name: &str) -> Option<String> {
    let members = json::members(object)?;
    members
        .into_iter()
        .find(|(found, _)| json::text(found).is_some_and(|found| found == name))
        .and_then(|(_, v)| json::text(v))
}

/// A JSON value without the white space around it (RFC 8259, section 2).
pub(super) fn trimmed(json: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    let start = json.iter().position(|byte| !is_space(byte)).unwrap_or(json.len());
    let end = json.iter().rposition(|byte| !is_space(byte)).map_or(start, |at| at + 1);
    &json[start..end]
}
