//! Each kind of request, relative to the reference component, and the goals.

use anyhow::{Context, Result};

use super::Plan;
use super::check;
use super::goal::{Goal, Threshold};
use super::lab::{Lab, Target};
use super::load::{Pace, Sample, interleaved};
use super::report::{Section, Table};
use super::rows::{
    BARE, CHECKED_64, CHECKED_512, CONFIGURED, DUPLICATE, Destination, EVENT, LATE_WRITE, LINKED, LINKED_64,
    LINKED_512, ONE_WRITE, PLAIN, PLAIN_64, PLAIN_512, ROUTED, ROUTED_SQL, Row, SIGNED, STORED, THREE_WRITES,
    TWO_WRITES, UNROUTED_SQL,
};
use super::stats::Spread;

const ONE: Pace = Pace::Connections(1);
const MANY: Pace = Pace::Connections(32);
const FIXED: Pace = Pace::Rate(50);

/// Each row that is measured with connections, and the row that it is compared with.
const MEASURED: [(Row, Row); 20] = [
    (LINKED, LINKED),
    (BARE, LINKED),
    (PLAIN, LINKED),
    (SIGNED, LINKED),
    (CONFIGURED, PLAIN),
    (UNROUTED_SQL, PLAIN),
    (ROUTED, PLAIN),
    (ROUTED_SQL, ROUTED),
    (LINKED_64, LINKED_64),
    (CHECKED_64, LINKED_64),
    (PLAIN_64, LINKED_64),
    (LINKED_512, LINKED_512),
    (CHECKED_512, LINKED_512),
    (PLAIN_512, LINKED_512),
    (THREE_WRITES, THREE_WRITES),
    (LATE_WRITE, THREE_WRITES),
    (EVENT, THREE_WRITES),
    (DUPLICATE, LINKED),
    (ONE_WRITE, ONE_WRITE),
    (STORED, ONE_WRITE),
];

/// Those at a fixed rate.
const MEASURED_AT_RATE: [(Row, Row); 4] =
    [(TWO_WRITES, TWO_WRITES), (THREE_WRITES, TWO_WRITES), (LATE_WRITE, TWO_WRITES), (EVENT, TWO_WRITES)];

/// The figure of a row that a goal compares with that of another row.
#[derive(Clone, Copy)]
enum Figure {
    /// Requests per second.
    Rate,
    /// The median of the time of a request.
    P50,
    /// The part of this median that the other row doesn't have.
    AddedP50,
}

/// The goals: a figure of a row, relative to that of another row.
const GOALS: [(Pace, Row, Row, Figure, Threshold); 12] = [
    (MANY, PLAIN, LINKED, Figure::Rate, Threshold::AtLeast(0.85)),
    (MANY, SIGNED, LINKED, Figure::Rate, Threshold::AtLeast(0.80)),
    (ONE, PLAIN, LINKED, Figure::AddedP50, Threshold::AtMost(0.20)),
    (MANY, PLAIN_64, LINKED_64, Figure::Rate, Threshold::AtLeast(0.80)),
    (MANY, PLAIN_512, LINKED_512, Figure::Rate, Threshold::AtLeast(0.70)),
    (MANY, PLAIN_64, CHECKED_64, Figure::Rate, Threshold::AtLeast(0.95)),
    (MANY, PLAIN_512, CHECKED_512, Figure::Rate, Threshold::AtLeast(0.95)),
    (ONE, EVENT, THREE_WRITES, Figure::P50, Threshold::AtMost(1.10)),
    (FIXED, EVENT, TWO_WRITES, Figure::P50, Threshold::AtMost(1.15)),
    (MANY, CONFIGURED, PLAIN, Figure::Rate, Threshold::AtLeast(0.97)),
    (MANY, UNROUTED_SQL, PLAIN, Figure::Rate, Threshold::AtLeast(0.95)),
    (MANY, ROUTED_SQL, ROUTED, Figure::Rate, Threshold::AtLeast(0.95)),
];

pub(super) fn measure(lab: &Lab, plan: &Plan) -> Result<Section> {
    let start = |to: &Destination| Ok((*to, to.start(lab)?));
    let targets = Destination::ALL.iter().map(start).collect::<Result<Vec<_>>>()?;
    let target = |row: &Row| -> Result<&Target> {
        let found = targets.iter().find(|(to, _)| *to == row.to);
        Ok(&found.with_context(|| format!("no target for {}", row.name))?.1)
    };
    let mut section = Section::new("Requests");
    for pace in [ONE, MANY, FIXED] {
        let measured: &'static [(Row, Row)] = if pace == FIXED { &MEASURED_AT_RATE } else { &MEASURED };
        let load = |(row, _): &(Row, Row)| Ok(row.load(target(row)?, &lab.directory));
        let loads = measured.iter().map(load).collect::<Result<Vec<_>>>()?;
        let samples = Samples { measured, samples: interleaved(&loads, pace, plan)? };
        section.tables.push(samples.table(pace));
        section.goals.extend(GOALS.iter().filter(|goal| goal.0 == pace).map(|goal| samples.goal(goal)));
    }
    section.tables.push(check::measure(lab, target(&LINKED)?, plan)?);
    Ok(section)
}

/// The samples of each row at one pace.
struct Samples {
    measured: &'static [(Row, Row)],
    samples: Vec<Vec<Sample>>,
}

impl Samples {
    /// A figure of a row in each round.
    fn of(&self, row: &Row, figure: fn(&Sample) -> f64) -> impl Iterator<Item = f64> {
        let at = self.measured.iter().position(|(measured, _)| measured.name == row.name);
        at.and_then(|at| self.samples.get(at)).into_iter().flatten().map(figure)
    }

    /// A figure of a row relative to that of another row.
    fn ratio(&self, row: &Row, to: &Row, figure: fn(&Sample) -> f64) -> Spread {
        Spread::ratio(self.of(row, figure), self.of(to, figure))
    }

    fn table(&self, pace: Pace) -> Table {
        let headers = ["Request", "Requests/s", "p50 ms", "p99 ms", "Requests/s, relative", "p50, relative", "to"];
        let mut table = Table::new(pace.to_string(), &headers);
        for (row, to) in self.measured {
            let mut cells = vec![
                row.name.to_owned(),
                format!("{:.0}", Spread::of(self.of(row, Sample::rate))),
                format!("{:.3}", Spread::of(self.of(row, |sample| sample.p50_ms)).median),
                format!("{:.3}", Spread::of(self.of(row, |sample| sample.p99_ms)).median),
            ];
            if row.name != to.name {
                cells.push(format!("{:.2}", self.ratio(row, to, Sample::rate)));
                cells.push(format!("{:.2}", self.ratio(row, to, |sample| sample.p50_ms)));
                cells.push(to.name.to_owned());
            }
            table.rows.push(cells);
        }
        table
    }

    fn goal(&self, (pace, row, to, figure, threshold): &(Pace, Row, Row, Figure, Threshold)) -> Goal {
        let p50 = || self.ratio(row, to, |sample| sample.p50_ms).median;
        let (name, measured) = match figure {
            Figure::Rate => ("requests/s relative to", self.ratio(row, to, Sample::rate).median),
            Figure::P50 => ("p50 relative to", p50()),
            Figure::AddedP50 => ("added p50, relative to the p50 of", p50() - 1.0),
        };
        Goal::new(format!("{}: {name} {}, {pace}", row.name, to.name), *threshold, measured)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_goals_are_measured_at_their_pace() {
        for (pace, row, to, ..) in &GOALS {
            let measured: &[_] = if *pace == FIXED { &MEASURED_AT_RATE } else { &MEASURED };
            for row in [row, to] {
                assert!(measured.iter().any(|(measured, _)| measured.name == row.name), "{pace}: {}", row.name);
            }
        }
    }
}
