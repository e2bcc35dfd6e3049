//! Headers with pairs of names and values.

use std::sync::LazyLock;

use sluice::sender::{Algorithm, HeaderFormat};

use super::support::signing::{self, Scheme};

static SCHEMES: LazyLock<Vec<Scheme>> = LazyLock::new(|| {
    signing::schemes(
        |descriptor| {
            matches!(descriptor.header_format, HeaderFormat::Pairs { .. }) && descriptor.algorithm != Algorithm::Ed25519
        },
        &[
            r#"{"algorithm":"hmac-sha1","encoding":"base64","headers":["x"],"prefix":"v0:",
                "grammar":{"pairs":{"separator":" ","signature":"sig"}},"signed":"{id}{timestamp}{body}",
                "timestamp":{"from":{"field":"at"},"unit":"rfc3339"},"id":{"header":"x-i"}}"#,
            r#"{"algorithm":"hmac-sha512","headers":["x"],"grammar":{"pairs":{"separator":"&","signature":"t"}},
                "signed":"{timestamp}{body}","timestamp":{"from":{"header":"x-t"}}}"#,
        ],
    )
});

pub fn check(data: &[u8]) {
    signing::check(&SCHEMES, data);
}
