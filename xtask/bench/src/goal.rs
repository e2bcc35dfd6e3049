//! Performance goals, compared with the measured figures.

/// The threshold for a figure.
#[derive(Clone, Copy)]
pub(super) enum Threshold {
    AtLeast(f64),
    AtMost(f64),
}

/// A measured figure, compared with its threshold.
pub(super) struct Goal {
    name: String,
    threshold: Threshold,
    measured: f64,
}

impl Goal {
    pub(super) fn new(name: String, threshold: Threshold, measured: f64) -> Goal {
        Goal { name, threshold, measured }
    }

    /// The cells of a table row: name, threshold, measured figure and verdict.
    pub(super) fn cells(&self) -> Vec<String> {
        let (threshold, is_met) = match self.threshold {
            Threshold::AtLeast(min) => (format!("at least {min:.2}"), self.measured >= min),
            Threshold::AtMost(max) => (format!("at most {max:.2}"), self.measured <= max),
        };
        let verdict = if is_met { "met" } else { "**not met**" };
        vec![self.name.clone(), threshold, format!("{:.2}", self.measured), verdict.to_owned()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goal_is_met_at_its_threshold_and_not_without_a_figure() {
        let verdict =
            |threshold, measured| Goal::new(String::new(), threshold, measured).cells().pop().unwrap_or_default();
        assert_eq!(verdict(Threshold::AtLeast(0.85), 0.85), "met");
        assert_eq!(verdict(Threshold::AtLeast(0.85), 0.84), "**not met**");
        assert_eq!(verdict(Threshold::AtMost(1.1), 1.11), "**not met**");
        assert_eq!(verdict(Threshold::AtMost(1.1), f64::NAN), "**not met**");
    }
}
