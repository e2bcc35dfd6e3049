//! `Content-Encoding` (RFC 9110, section 8.4): a list of content codings, none of which is supported. Many clients send
//! a charset, a transfer coding or a media type there by mistake, so the problem says what the value is.

use http::HeaderMap;
use http::header::CONTENT_ENCODING;

use super::problem::{Kind, Problem};
use crate::event::truncated;

/// The registered content codings (IANA, "HTTP Content Coding Registry"), with their aliases.
const CODINGS: [&str; 12] = [
    "aes128gcm",
    "br",
    "compress",
    "dcb",
    "dcz",
    "deflate",
    "exi",
    "gzip",
    "pack200-gzip",
    "x-compress",
    "x-gzip",
    "zstd",
];
/// The transfer codings (RFC 9112, section 7) that are no content codings.
const TRANSFER_CODINGS: [&str; 2] = ["chunked", "trailers"];
/// The encodings of MIME, which HTTP doesn't have (RFC 2045, section 6; RFC 9110, appendix B.5).
const MIME_ENCODINGS: [&str; 5] = ["7bit", "8bit", "base64", "binary", "quoted-printable"];
/// The beginnings of the names of charsets.
const CHARSETS: [&str; 11] =
    ["utf", "unicode", "us-ascii", "ascii", "iso-8859", "iso8859", "latin", "windows-", "cp", "gb", "shift"];

/// Requires that the body is not encoded. `identity` and empty elements of the list mean nothing.
pub(super) fn require_identity(headers: &HeaderMap) -> Result<(), Problem> {
    for value in headers.get_all(CONTENT_ENCODING) {
        let Ok(value) = value.to_str() else { return Err(problem("the Content-Encoding is not visible ASCII")) };
        let mut codings = value.split(',').map(|coding| coding.trim_matches([' ', '\t']));
        if let Some(coding) = codings.find(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity")) {
            return Err(problem(&fault(coding)));
        }
    }
    Ok(())
}

fn problem(fault: &str) -> Problem {
    Problem::new(Kind::UnsupportedMediaType, format!("{fault}: send the body as it is, without `Content-Encoding`"))
        .field("Content-Encoding")
        .accept_encoding("identity")
}

/// Says what an element of the list is.
fn fault(coding: &str) -> String {
    let shown = truncated(coding);
    let lower = coding.to_ascii_lowercase();
    let is_one_of = |names: &[&str]| names.contains(&&*lower);
    if is_one_of(&CODINGS) {
        return format!("the content coding `{shown}` is not supported");
    }
    let belongs = if CHARSETS.iter().any(|start| lower.starts_with(start)) || lower.starts_with("charset") {
        "that belongs in Content-Type"
    } else if lower.contains('/') {
        "a media type belongs in Content-Type"
    } else if is_one_of(&TRANSFER_CODINGS) {
        "that belongs in Transfer-Encoding"
    } else if is_one_of(&MIME_ENCODINGS) {
        "it is an encoding of mail, which HTTP does not have"
    } else {
        "IANA lists none of this name"
    };
    format!("`{shown}` is no content coding, {belongs}")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn check(values: &[&str]) -> Result<(), String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CONTENT_ENCODING, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        require_identity(&headers).map_err(|problem| {
            let (detail, field) = problem.into_detail_and_field();
            assert_eq!(field.as_deref(), Some("Content-Encoding"));
            detail
        })
    }

    #[test]
    fn body_without_coding_is_accepted() {
        for values in [
            &[][..],
            &[""],
            &[" "],
            &[","],
            &[" , ,"],
            &["identity"],
            &["Identity"],
            &["IDENTITY, identity"],
            &["identity,"],
            &["identity", "identity"],
            &["", "\tidentity\t"],
        ] {
            assert_eq!(check(values), Ok(()), "{values:?}");
        }
    }

    #[test]
    fn coding_is_not_supported() {
        for values in [
            &["gzip"][..],
            &["GZip"],
            &["x-gzip"],
            &["br"],
            &["zstd"],
            &["deflate"],
            &["compress"],
            &["dcz"],
            &["identity, gzip"],
            &["identity", "br"],
            &[",gzip,"],
            &["aes128gcm , br"],
        ] {
            let detail = check(values).unwrap_err();
            assert!(detail.starts_with("the content coding `") && detail.contains("not supported"), "{detail}");
        }
        assert!(check(&["gzip, UTF-8"]).unwrap_err().contains("`gzip`"), "the first fault is named");
    }

    #[test]
    fn value_that_is_no_coding_is_named() {
        for (value, expected) in [
            ("UTF-8", "`UTF-8` is no content coding, that belongs in Content-Type"),
            ("utf8", "`utf8` is no content coding, that belongs in Content-Type"),
            ("utf-16le", "`utf-16le` is no content coding, that belongs in Content-Type"),
            ("iso-8859-1", "`iso-8859-1` is no content coding, that belongs in Content-Type"),
            ("Windows-1252", "`Windows-1252` is no content coding, that belongs in Content-Type"),
            ("charset=utf-8", "`charset=utf-8` is no content coding, that belongs in Content-Type"),
            ("identity, UTF-8", "`UTF-8` is no content coding, that belongs in Content-Type"),
            ("application/json", "`application/json` is no content coding, a media type belongs in Content-Type"),
            ("chunked", "`chunked` is no content coding, that belongs in Transfer-Encoding"),
            ("base64", "`base64` is no content coding, it is an encoding of mail"),
            ("8bit", "`8bit` is no content coding, it is an encoding of mail"),
            ("none", "`none` is no content coding, IANA lists none"),
            ("gzip;q=1", "`gzip;q=1` is no content coding, IANA lists none"),
            ("\"gzip\"", "`\"gzip\"` is no content coding, IANA lists none"),
            ("*", "`*` is no content coding, IANA lists none"),
            ("json", "`json` is no content coding, IANA lists none"),
        ] {
            let detail = check(&[value]).unwrap_err();
            assert!(detail.starts_with(expected), "{value}: {detail}");
            assert!(detail.ends_with("send the body as it is, without `Content-Encoding`"), "{detail}");
        }
        assert!(check(&["gz\u{ef}p"]).unwrap_err().contains("not visible ASCII"));
        assert!(check(&[&"x".repeat(10_000)]).unwrap_err().len() < 250);
    }
}
