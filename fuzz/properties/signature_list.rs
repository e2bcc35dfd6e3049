//! Headers with a list of signatures, each with its prefix.

use std::sync::LazyLock;

use sluice::sender::{Algorithm, HeaderFormat};

use super::support::signing::{self, Scheme};

static SCHEMES: LazyLock<Vec<Scheme>> = LazyLock::new(|| {
    signing::schemes(
        |descriptor| {
            matches!(descriptor.header_format, HeaderFormat::List(_)) && descriptor.algorithm != Algorithm::Ed25519
        },
        &[
            r#"{"algorithm":"hmac-sha1","headers":["x"],"grammar":{"list":","},"prefix":"sha1=",
                "signed":"{timestamp}{body}","timestamp":{"from":{"header":"x-t"},"unit":"rfc3339"}}"#,
            r#"{"algorithm":"hmac-sha512","headers":["x"],"grammar":{"list":"|"},"prefix":"a b,"}"#,
        ],
    )
});

pub fn check(data: &[u8]) {
    signing::check(&SCHEMES, data);
}
