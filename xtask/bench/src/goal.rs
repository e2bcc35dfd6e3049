//! Performance goals, compared with the measured figures.

/// The threshold for a figure.
#[derive(Clone, Copy)]
pub(super) enum Threshold {
    AtLeast(f64),
    AtMost(f64),
    /// No threshold: the figure is given for comparison.
    None,
}

/// A measured figure, compared with its threshold.
pub(super) struct Goal {
    name: String,
    threshold: Threshold,
    /// `None` if this run didn't measure it.
    measured: Option<f64>,
}

impl Goal {
    pub(super) fn new(name: impl Into<String>, threshold: Threshold, measured: Option<f64>) -> Goal {
        Goal { name: name.into(), threshold, measured }
    }

    /// The cells of a table row: name, threshold, measured figure and verdict.
    pub(super) fn cells(&self) -> Vec<String> {
        let (threshold, is_met) = match self.threshold {
            Threshold::AtLeast(min) => (format!("at least {min}"), self.measured.map(|figure| figure >= min)),
            Threshold::AtMost(max) => (format!("at most {max}"), self.measured.map(|figure| figure <= max)),
            Threshold::None => (String::new(), None),
        };
        let measured = self.measured.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.2}"));
        let verdict = match is_met {
            Some(true) => "met",
            Some(false) => "**not met**",
            None if matches!(self.threshold, Threshold::None) => "for comparison",
            None => "not measured",
        };
        vec![self.name.clone(), threshold, measured, verdict.to_owned()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goal_is_met_at_its_threshold_and_not_without_a_figure() {
        let verdict = |threshold, measured| Goal::new("", threshold, measured).cells().pop().unwrap_or_default();
        assert_eq!(verdict(Threshold::AtLeast(0.85), Some(0.85)), "met");
        assert_eq!(verdict(Threshold::AtLeast(0.85), Some(0.84)), "**not met**");
        assert_eq!(verdict(Threshold::AtMost(600.0), Some(601.0)), "**not met**");
        assert_eq!(verdict(Threshold::AtMost(600.0), Some(f64::NAN)), "**not met**");
        assert_eq!(verdict(Threshold::AtMost(600.0), None), "not measured");
        assert_eq!(verdict(Threshold::None, Some(0.7)), "for comparison");
    }
}
