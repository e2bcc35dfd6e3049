//! Media types (RFC 9110, section 8.3), as far as content negotiation asks.

/// A parsed `Content-Type`.
#[derive(Clone, Debug)]
pub struct MediaType {
    parsed: mediatype::MediaTypeBuf,
    text: String,
}

impl MediaType {
    /// Reads a header's value; `None` if it isn't a media type.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        Some(Self { parsed: text.parse().ok()?, text: text.to_owned() })
    }

    /// The header's value as it was sent.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Is it this type, whatever its parameters? Case doesn't count.
    pub fn is(&self, ty: &str, subty: &str, suffix: Option<&str>) -> bool {
        self.parsed.ty() == ty && self.parsed.subty() == subty && self.suffix_is(suffix)
    }

    /// Does its type and subtype start so?
    pub fn starts_with(&self, ty: &str, subty: &str) -> bool {
        self.parsed.ty() == ty
            && self.parsed.subty().as_str().get(..subty.len()).is_some_and(|start| start.eq_ignore_ascii_case(subty))
    }

    /// `…/json` or `…+json` (RFC 6839, section 3.1).
    pub fn is_json(&self) -> bool {
        self.parsed.subty() == "json" || self.suffix_is(Some("json"))
    }

    /// Is the text in UTF-8, as far as the `charset` says? US-ASCII is a part of it.
    pub fn is_utf8(&self) -> bool {
        use mediatype::ReadParams;
        self.parsed.get_param(mediatype::names::CHARSET).is_none_or(|charset| {
            let charset = charset.unquoted_str();
            ["utf-8", "utf8", "us-ascii"].iter().any(|name| charset.eq_ignore_ascii_case(name))
        })
    }

    /// Bytes that no one should take for text.
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
    fn the_contracts_content_types_are_read() {
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
    fn suffixes_count() {
        let event = MediaType::parse("application/cloudevents+json; charset=utf-8").unwrap();
        assert!(event.is("application", "cloudevents", Some("json")) && event.is_json());
        let batch = MediaType::parse("application/cloudevents-batch+json").unwrap();
        assert!(
            !batch.is("application", "cloudevents", Some("json")) && batch.starts_with("application", "cloudevents")
        );
    }
}
