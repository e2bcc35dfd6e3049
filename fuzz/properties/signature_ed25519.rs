//! Public keys with each header format. Verification is slow, so they have a target of their own.

use std::sync::LazyLock;

use sluice::sender::Algorithm;

use super::support::signing::{self, Scheme};

static SCHEMES: LazyLock<Vec<Scheme>> = LazyLock::new(|| {
    signing::schemes(
        |descriptor| descriptor.algorithm == Algorithm::Ed25519,
        &[
            r#"{"algorithm":"ed25519","headers":["x-signature-ed25519"],"signed":"{timestamp}{body}",
                "secret":{"encoding":"hex"},"timestamp":{"from":{"header":"x-signature-timestamp"}}}"#,
            r#"{"algorithm":"ed25519","headers":["x"],"grammar":{"pairs":{"separator":",","signature":"s"}},
                "secret":{"encoding":"base64"}}"#,
        ],
    )
});

pub fn check(data: &[u8]) {
    signing::check(&SCHEMES, data);
}
