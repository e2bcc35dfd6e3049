//! The nearest of several names, in error messages of serde.

use crate::json::nearest;

/// Adds the nearest of the expected names to a message of serde about an unknown member or value. Other messages, and
/// those without a near name, are returned unchanged.
///
/// Serde's messages have the form "unknown field `sign`, expected one of `signed`, `id`".
pub(super) fn with_nearest(message: &str) -> String {
    let is_unknown = message.starts_with("unknown field") || message.starts_with("unknown variant");
    let mut quoted = message.split('`').skip(1).step_by(2);
    match (is_unknown, quoted.next().and_then(|name| nearest(name, quoted))) {
        (true, Some(near)) => format!("{message}; `{near}` is near"),
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_name_is_added_to_an_unknown_one() {
        let message = "unknown field `sign`, expected one of `id`, `signed`, `type`";
        assert_eq!(with_nearest(message), format!("{message}; `signed` is near"));
        for message in [
            "unknown field `zzzz`, expected one of `id`, `signed`",
            "unknown field `sign`, there are no fields",
            "missing field `algorithm`",
            "invalid type: string `a`, expected `a`",
        ] {
            assert_eq!(with_nearest(message), message);
        }
    }
}
