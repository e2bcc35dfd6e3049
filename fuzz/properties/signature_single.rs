//! Headers with a single signature or token.

use std::sync::LazyLock;

use sluice::sender::{Algorithm, HeaderFormat};

use super::support::signing::{self, Scheme};

static SCHEMES: LazyLock<Vec<Scheme>> = LazyLock::new(|| {
    signing::schemes(
        |descriptor| descriptor.header_format == HeaderFormat::Single && descriptor.algorithm != Algorithm::Ed25519,
        &[
            r#"{"algorithm":"hmac-sha512","encoding":"base64","headers":["x-a","x-b"],"prefix":"sha512 = ",
                "signed":"{timestamp}\n{id}\n{url}\n{body}{{}}","secret":{"encoding":"hex","prefix":"k_"},
                "timestamp":{"from":{"header":"x-t"},"unit":"milliseconds","tolerance":1},"id":{"header":"x-i"}}"#,
            r#"{"algorithm":"token","headers":["x-token"],"prefix":"Bearer ","secret":{"prefix":"t_"}}"#,
        ],
    )
});

pub fn check(data: &[u8]) {
    signing::check(&SCHEMES, data);
}
