//! Medians and spreads.

use std::fmt;

/// The median of rounds, and how far they are apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spread {
    pub(super) median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Spread {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let last = values.len().saturating_sub(1);
        let median = (at(last / 2) + at(last - last / 2)) / 2.0;
        Spread { median, least: at(0), most: at(last) }
    }

    /// Round by round, since what disturbs a round disturbs both.
    pub(super) fn ratio(of: impl IntoIterator<Item = f64>, to: impl IntoIterator<Item = f64>) -> Spread {
        Spread::of(of.into_iter().zip(to).map(|(of, to)| of / to))
    }
}

/// The median, with the least and the most in brackets.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        let Spread { median, least, most } = self;
        write!(f, "{median:.digits$} ({least:.digits$} to {most:.digits$})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_between() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]).to_string(), "2.00 (1.00 to 3.00)");
        assert_eq!(format!("{:.0}", Spread::of([4.0, 1.0])), "2 (1 to 4)");
        assert_eq!(Spread::ratio([2.0, 9.0], [1.0, 3.0]).to_string(), "2.50 (2.00 to 3.00)");
    }
}
