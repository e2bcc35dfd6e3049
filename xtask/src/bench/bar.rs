//! What Sluice is to reach, and whether it does.

/// What a figure is held against.
#[derive(Clone, Copy)]
pub(super) enum Wanted {
    AtLeast(f64),
    AtMost(f64),
    /// Nothing: it is there to compare.
    Nothing,
}

/// A figure that is held against something.
pub(super) struct Bar {
    what: String,
    wanted: Wanted,
    /// Not measured in this run, where it is `None`.
    got: Option<f64>,
}

impl Bar {
    pub(super) fn new(what: impl Into<String>, wanted: Wanted, got: Option<f64>) -> Bar {
        Bar { what: what.into(), wanted, got }
    }

    /// What, wanted, got, met.
    pub(super) fn cells(&self) -> Vec<String> {
        let (wanted, met) = match self.wanted {
            Wanted::AtLeast(least) => (format!("at least {least}"), self.got.map(|got| got >= least)),
            Wanted::AtMost(most) => (format!("at most {most}"), self.got.map(|got| got <= most)),
            Wanted::Nothing => (String::new(), None),
        };
        let got = self.got.map_or_else(|| "-".to_owned(), |got| format!("{got:.2}"));
        let met = match met {
            Some(true) => "met",
            Some(false) => "**not met**",
            None if matches!(self.wanted, Wanted::Nothing) => "to compare",
            None => "not measured",
        };
        vec![self.what.clone(), wanted, got, met.to_owned()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_met_at_its_value_and_never_without_one() {
        let met = |wanted, got| Bar::new("", wanted, got).cells().pop().unwrap_or_default();
        assert_eq!(met(Wanted::AtLeast(0.85), Some(0.85)), "met");
        assert_eq!(met(Wanted::AtLeast(0.85), Some(0.84)), "**not met**");
        assert_eq!(met(Wanted::AtMost(600.0), Some(601.0)), "**not met**");
        assert_eq!(met(Wanted::AtMost(600.0), Some(f64::NAN)), "**not met**");
        assert_eq!(met(Wanted::AtMost(600.0), None), "not measured");
        assert_eq!(met(Wanted::Nothing, Some(0.7)), "to compare");
    }
}
