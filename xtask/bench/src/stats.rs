//! Medians with their ranges.

use std::fmt;

/// Median, minimum and maximum of several rounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spread {
    pub(super) median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Spread {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let last = values.len().saturating_sub(1);
        let median = (at(last / 2) + at(last - last / 2)) / 2.0;
        Spread { median, min: at(0), max: at(last) }
    }

    /// The spread of ratios, taken round by round because a disturbance affects both figures of a round.
    pub(super) fn ratio(of: impl IntoIterator<Item = f64>, to: impl IntoIterator<Item = f64>) -> Spread {
        Spread::of(of.into_iter().zip(to).map(|(of, to)| of / to))
    }
}

/// The median, with minimum and maximum in parentheses.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        let Spread { median, min, max } = self;
        write!(f, "{median:.digits$} ({min:.digits$} to {max:.digits$})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_shown_with_its_range() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]).to_string(), "2.00 (1.00 to 3.00)");
        assert_eq!(format!("{:.0}", Spread::of([4.0, 1.0])), "2 (1 to 4)");
        assert_eq!(Spread::ratio([2.0, 9.0], [1.0, 3.0]).to_string(), "2.50 (2.00 to 3.00)");
    }
}
