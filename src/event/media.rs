//! Media types (RFC 9110, section 8.3).

/// A parsed `Content-Type`.
#[derive(Clone, Debug)]
pub struct MediaType {
    parsed: mediatype::MediaTypeBuf,
    text: String,
}

/// The reason why a text is not one media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaTypeError {
    /// Not the grammar of a media type.
    Invalid,
    /// A list of different media types.
    Different,
}

impl MediaType {
    /// Parses the value of a `Content-Type` header. `None` if it is not a media type. Parameters may be empty (RFC 9110,
    /// section 5.6.6).
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = if text.contains(';') && !text.starts_with(';') {
            let parts = split(text, ';').map(str::trim).filter(|part| !part.is_empty());
            parts.collect::<Vec<_>>().join("; ")
        } else {
            text.to_owned()
        };
        Some(Self { parsed: text.parse().ok()?, text })
    }

    /// Parses the values of one or several `Content-Type` headers, separated by commas. The header is no list, but
    /// clients and proxies repeat it. Values count as equal if their types and charsets do; the first one is returned.
    pub fn parse_list(list: &str) -> Result<Self, MediaTypeError> {
        let mut types = split(list, ',').map(Self::parse);
        let first = types.next().flatten().ok_or(MediaTypeError::Invalid)?;
        for other in types {
            let other = other.ok_or(MediaTypeError::Invalid)?;
            if !first.is_same(&other) {
                return Err(MediaTypeError::Different);
            }
        }
        Ok(first)
    }

    /// The type and its parameters as they were sent, without empty parameters.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether two media types have the same type, and the same charset or both none but UTF-8. Ignores case.
    fn is_same(&self, other: &Self) -> bool {
        let essence = |of: &Self| of.parsed.essence().to_string().to_ascii_lowercase();
        let charset = |of: &Self| of.charset().map(|charset| charset.to_ascii_lowercase());
        essence(self) == essence(other) && (charset(self) == charset(other) || self.is_utf8() && other.is_utf8())
    }

    /// Whether it has this type, subtype and suffix. Ignores case and parameters.
    pub fn is(&self, ty: &str, subty: &str, suffix: Option<&str>) -> bool {
        self.parsed.ty() == ty && self.parsed.subty() == subty && self.suffix_is(suffix)
    }

    /// Whether it has this type, and a subtype with this prefix. Ignores case.
    pub fn starts_with(&self, ty: &str, subty: &str) -> bool {
        self.parsed.ty() == ty
            && self.parsed.subty().as_str().get(..subty.len()).is_some_and(|start| start.eq_ignore_ascii_case(subty))
    }

    /// Whether it is `…/json` or `…+json` (RFC 6839, section 3.1).
    pub fn is_json(&self) -> bool {
        self.parsed.subty() == "json" || self.suffix_is(Some("json"))
    }

    /// Whether it is `application/json` or `…+json`. Unlike [`is_json`](Self::is_json), not `text/json`, which was never
    /// registered.
    pub fn is_json_type(&self) -> bool {
        self.is("application", "json", None) || self.suffix_is(Some("json"))
    }

    /// The first `charset` that is not UTF-8, otherwise the first one.
    pub fn charset(&self) -> Option<String> {
        let mut first = None;
        for charset in self.charsets() {
            if !is_utf8(&charset) {
                return Some(charset);
            }
            first.get_or_insert(charset);
        }
        first
    }

    /// Whether the text is UTF-8: each `charset` is UTF-8 or its subset US-ASCII, or there is none.
    pub fn is_utf8(&self) -> bool {
        self.charsets().all(|charset| is_utf8(&charset))
    }

    fn charsets(&self) -> impl Iterator<Item = String> {
        use mediatype::ReadParams;
        let params = self.parsed.params().filter(|(name, _)| *name == mediatype::names::CHARSET);
        params.map(|(_, charset)| charset.unquoted_str().into_owned())
    }

    /// Whether it is a type whose bytes are not text: `application/octet-stream`, images, audio, video and fonts.
    pub fn is_binary(&self) -> bool {
        self.is("application", "octet-stream", None)
            || ["image", "audio", "video", "font"].iter().any(|ty| self.parsed.ty() == *ty)
    }

    fn suffix_is(&self, suffix: Option<&str>) -> bool {
        match (self.parsed.suffix(), suffix) {
            (Some(is), Some(wanted)) => is == wanted,
            (None, None) => true,
            _ => false,
        }
    }
}

fn is_utf8(charset: &str) -> bool {
    ["utf-8", "utf8", "us-ascii"].iter().any(|name| charset.eq_ignore_ascii_case(name))
}

/// The parts of a text between separators that are not within a quoted string (RFC 9110, section 5.6.4).
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => return c == separator && !quoted,
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_utf8_json(text: &str) -> bool {
        let media_type = MediaType::parse(text).unwrap();
        media_type.is("application", "json", None) && media_type.is_utf8()
    }

    #[test]
    fn content_types_of_the_contract_are_parsed() {
        for text in [
            "application/json",
            "application/json;charset=utf-8",
            "application/json; charset=utf-8",
            "Application/JSON; Charset=\"UTF-8\"",
        ] {
            assert!(is_utf8_json(text), "{text}");
        }
        for text in ["text/json", "application/json; charset=latin1", "application/vnd.api+json", "text/plain"] {
            assert!(!is_utf8_json(text), "{text}");
        }
        assert!(MediaType::parse("json").is_none());
    }

    #[test]
    fn empty_parameters_are_left_out() {
        for (text, expected) in [
            ("application/json;;charset=utf-8", "application/json; charset=utf-8"),
            ("application/json;", "application/json"),
            ("application/json ; ; ;charset=utf-8;", "application/json; charset=utf-8"),
            ("application/json;\t;charset=\"utf-8\"", "application/json; charset=\"utf-8\""),
            ("application/json;x=\";;\"", "application/json; x=\";;\""),
            ("application/json;x=\"\\\";;\";;y=1", "application/json; x=\"\\\";;\"; y=1"),
        ] {
            let media_type = MediaType::parse(text).unwrap();
            assert_eq!(media_type.as_str(), expected, "{text}");
            assert!(media_type.is("application", "json", None) && media_type.is_utf8(), "{text}");
        }
        for text in ["", ";", ";application/json", "application/json;charset", "application/json;x=\";", "a b/c"] {
            assert!(MediaType::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn repeated_content_type_counts_once_if_it_is_equal() {
        for list in [
            "application/json,application/json",
            "application/json, Application/JSON",
            "application/json; charset=utf-8, application/json",
            "application/json, application/json;charset=\"UTF-8\"",
            "application/json,application/json,application/json",
            "application/json; charset=latin1, application/json; charset=Latin1",
            "application/json;x=\"a,b\"",
        ] {
            assert!(MediaType::parse_list(list).unwrap().is("application", "json", None), "{list}");
        }
        for (list, error) in [
            ("application/json, text/plain", MediaTypeError::Different),
            ("application/json, application/x+json", MediaTypeError::Different),
            ("application/json, application/json; charset=latin1", MediaTypeError::Different),
            ("image/png;charset=a, image/png;charset=b", MediaTypeError::Different),
            ("application/x-www-form-urlencoded,application/json", MediaTypeError::Different),
            ("application/json,", MediaTypeError::Invalid),
            (",application/json", MediaTypeError::Invalid),
            ("application/json,json", MediaTypeError::Invalid),
            ("", MediaTypeError::Invalid),
        ] {
            assert_eq!(MediaType::parse_list(list).unwrap_err(), error, "{list}");
        }
    }

    #[test]
    fn any_charset_but_utf_8_counts() {
        for (text, charset) in [
            ("application/json", None),
            ("application/json;charset=utf8", Some("utf8")),
            ("application/json;charset=iso-8859-1", Some("iso-8859-1")),
            ("application/json;CHARSET=\"UTF-16\"", Some("UTF-16")),
            ("application/json;charset=utf-8;charset=utf-16", Some("utf-16")),
            ("application/json;charset=utf-16;charset=utf-8", Some("utf-16")),
            ("application/json;charset='utf-8'", Some("'utf-8'")),
            ("application/json;charset=\"\"", Some("")),
        ] {
            let media_type = MediaType::parse(text).unwrap();
            assert_eq!(media_type.charset().as_deref(), charset, "{text}");
            assert_eq!(media_type.is_utf8(), matches!(charset, None | Some("utf8")), "{text}");
        }
    }

    #[test]
    fn vendor_types_with_the_suffix_json_are_json() {
        for (text, json) in [
            ("application/vnd.docker.distribution.events.v2+json", true),
            ("application/vnd.contentful.management.v1+json; charset=utf-8", true),
            ("application/problem+json", true),
            ("application/ld+JSON", true),
            ("application/vnd.api+json", true),
            ("application/json", true),
            ("text/json", false),
            ("application/vnd.api+xml", false),
            ("application/vnd.api.json", false),
            ("application/json-seq", false),
            ("application/jsonx", false),
        ] {
            assert_eq!(MediaType::parse(text).unwrap().is_json_type(), json, "{text}");
        }
    }

    #[test]
    fn suffix_is_part_of_the_type() {
        let event = MediaType::parse("application/cloudevents+json; charset=utf-8").unwrap();
        assert!(event.is("application", "cloudevents", Some("json")) && event.is_json());
        let batch = MediaType::parse("application/cloudevents-batch+json").unwrap();
        assert!(
            !batch.is("application", "cloudevents", Some("json")) && batch.starts_with("application", "cloudevents")
        );
    }
}
