//! Media types (RFC 9110, section 8.3).

/// A parsed `Content-Type`.
#[derive(Clone, Debug)]
pub struct MediaType {
    parsed: mediatype::MediaTypeBuf,
    text: String,
}

impl MediaType {
    /// Parses the value of a `Content-Type` header. `None` if it is not a media type.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        Some(Self { parsed: text.parse().ok()?, text: text.to_owned() })
    }

    /// The value of the header as it was sent.
    pub fn as_str(&self) -> &str {
        &self.text
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

    /// Whether the text is UTF-8: `charset` is absent, UTF-8, or its subset US-ASCII.
    pub fn is_utf8(&self) -> bool {
        use mediatype::ReadParams;
        self.parsed.get_param(mediatype::names::CHARSET).is_none_or(|charset| {
            let charset = charset.unquoted_str();
            ["utf-8", "utf8", "us-ascii"].iter().any(|name| charset.eq_ignore_ascii_case(name))
        })
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
    fn suffix_is_part_of_the_type() {
        let event = MediaType::parse("application/cloudevents+json; charset=utf-8").unwrap();
        assert!(event.is("application", "cloudevents", Some("json")) && event.is_json());
        let batch = MediaType::parse("application/cloudevents-batch+json").unwrap();
        assert!(
            !batch.is("application", "cloudevents", Some("json")) && batch.starts_with("application", "cloudevents")
        );
    }
}
