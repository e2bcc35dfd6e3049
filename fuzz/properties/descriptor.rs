//! An accepted descriptor reads back as written, and admits no request without the secret.

use std::sync::LazyLock;

use http::{HeaderMap, HeaderName, HeaderValue};
use sluice::secret::Secret;
use sluice::sender::{Descriptor, HeaderFormat, SignedRequest, Template, TimestampLocation, ValueLocation, verify};
use sluice::time::Timestamp;

/// A secret of each format.
static SECRETS: LazyLock<[Secret; 4]> = LazyLock::new(|| {
    [
        "a secret that nobody guesses",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "6a7b8c9d6a7b8c9d6a7b8c9d6a7b8c9d",
        "whpk_iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=",
    ]
    .map(Secret::new)
});

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(template) = Template::try_from(text.to_owned()) {
        assert_eq!(template.to_string(), text);
        assert_eq!(Template::try_from(template.to_string()).as_ref(), Ok(&template));
    }
    let Ok(descriptor) = Descriptor::parse(text) else { return };
    let written = serde_json::to_string(&descriptor).expect("JSON");
    assert_eq!(Descriptor::parse(&written).as_ref(), Ok(&descriptor));
    assert!(!descriptor.id_is_covered() || descriptor.id.is_some());
    assert_refuses(&descriptor);
}

/// Asserts that a request without the right signature is refused.
fn assert_refuses(descriptor: &Descriptor) {
    let mut headers = HeaderMap::new();
    let mut set = |name: &str, value: &str| {
        let name = HeaderName::try_from(name).expect("a header's name");
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.entry(name).or_insert(value);
        }
    };
    let from = descriptor.timestamp.as_ref().map(|timestamp| &timestamp.location);
    if let Some(TimestampLocation::Header(name)) = from {
        set(name, "1");
    }
    if let Some(ValueLocation::Header(name)) = &descriptor.id {
        // No secret ends with this character, whatever prefix the descriptor has.
        set(name, "!");
    }
    let signature = format!("{}{}", descriptor.prefix, "0".repeat(64));
    let value = match (&descriptor.header_format, from) {
        (HeaderFormat::Pairs { separator, signature: name }, Some(TimestampLocation::Field(field))) => {
            format!("{field}=1{separator}{name}={signature}")
        }
        (HeaderFormat::Pairs { signature: name, .. }, _) => format!("{name}={signature}"),
        _ => signature,
    };
    for name in &descriptor.headers {
        set(name, &value);
    }
    let request = SignedRequest { method: "POST", headers: &headers, url: "https://a/b?c", body: br#"{"t":1}"# };
    assert!(verify(descriptor, SECRETS.as_slice(), request, Timestamp(1_000)).is_err());
}
