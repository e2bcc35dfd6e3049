//! The known name that an unknown one was probably meant to be.

/// The known name that is nearest to a misspelled one; `None` if none is near. Case doesn't count, and `-` equals `_`.
///
/// The distance is the number of letters that are added, left out, replaced or swapped with their neighbour (optimal
/// string alignment). A name is near if the distance is at most a third of the known name's length. Of two names at the
/// same distance, the first one wins.
pub fn nearest<'n>(given: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    /// No known name is longer. A long text is not compared at all: the time grows with the product of both lengths.
    const MAX_NAME: usize = 64;
    let plain = |name: &str| name.to_ascii_lowercase().replace('-', "_");
    if given.len() > MAX_NAME {
        return None;
    }
    let given = plain(given);
    let distances = known.into_iter().map(|name| (strsim::osa_distance(&given, &plain(name)), name));
    let is_near = |(distance, name): &(usize, &str)| distance.saturating_mul(3) <= name.len();
    distances.filter(is_near).min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KNOWN: [&str; 5] = ["name", "sender", "secrets", "tokens", "callback_get"];

    #[test]
    fn misspelled_name_is_near_to_the_one_that_was_meant() {
        for (given, expected) in [
            ("secret", Some("secrets")),
            ("sercets", Some("secrets")),
            ("Secrets", Some("secrets")),
            ("token", Some("tokens")),
            ("nmae", Some("name")),
            ("callback-get", Some("callback_get")),
            ("callbackGet", Some("callback_get")),
            ("sendr", Some("sender")),
            ("", None),
            ("hunter2", None),
            ("authority", None),
        ] {
            assert_eq!(nearest(given, KNOWN), expected, "{given}");
        }
        assert_eq!(nearest(&"n".repeat(100_000), KNOWN), None);
    }

    proptest! {
        #[test]
        fn known_name_is_nearest_to_itself_and_to_itself_without_a_letter(
            at in 0..KNOWN.len(),
            cut in any::<prop::sample::Index>(),
        ) {
            let name = KNOWN[at];
            prop_assert_eq!(nearest(name, KNOWN), Some(name));
            let mut shorter = name.to_owned();
            shorter.remove(cut.index(name.len()));
            prop_assert_eq!(nearest(&shorter, KNOWN), Some(name));
        }
    }
}
