//! The nearest of several names, for error messages.

/// Maximum length of a name that is compared, in bytes. The comparison takes time in proportion to the square of it.
const MAX_NAME: usize = 64;

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

/// The candidate that is nearest to a name. `None` if none of them is near: more than a third of the characters differ,
/// or more than three.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = name.len().div_ceil(3).min(3);
    candidates
        .filter(|candidate| name.len() <= MAX_NAME && candidate.len() <= MAX_NAME)
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The Levenshtein distance of two texts, without regard to upper and lower case, in bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (line, left) in a.bytes().enumerate() {
        let mut diagonal = line;
        let mut previous = line.saturating_add(1);
        let mut next = vec![previous];
        for (above, right) in row.iter().skip(1).zip(b.bytes()) {
            let change = diagonal.saturating_add(usize::from(!left.eq_ignore_ascii_case(&right)));
            diagonal = *above;
            previous = change.min(above.saturating_add(1)).min(previous.saturating_add(1));
            next.push(previous);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_changes() {
        for (a, b, expected) in [("", "", 0), ("a", "", 1), ("", "ab", 2), ("kitten", "sitting", 3), ("ID", "id", 0)] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

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
        assert_eq!(nearest(&"a".repeat(65), ["a"].into_iter()), None);
    }
}
