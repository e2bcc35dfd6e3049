//! The report: tables of figures, and the goals.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use comfy_table::presets::ASCII_MARKDOWN;
use xtask::shell::target;

use super::goal::Goal;
use super::lab::Lab;
use super::{Plan, machine};

/// The page with placeholders in braces.
const TEMPLATE: &str = include_str!("../../../bench/benchmarks.md");

/// One table of a section; a title or header may be empty.
pub(super) struct Table {
    title: String,
    headers: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

/// The tables and goals of one part of the benchmark.
pub(super) struct Section {
    title: &'static str,
    pub(super) tables: Vec<Table>,
    pub(super) goals: Vec<Goal>,
}

/// The report of a run.
pub(super) struct Report {
    /// The table of the machine, the programs and the command, as Markdown.
    machine: String,
    sections: Vec<Section>,
}

impl Table {
    pub(super) fn new(title: impl Into<String>, headers: &[&str]) -> Table {
        let headers = headers.iter().map(|header| (*header).to_owned()).collect();
        Table { title: title.into(), headers, rows: Vec::new() }
    }
}

impl Section {
    pub(super) fn new(title: &'static str) -> Section {
        Section { title, tables: Vec::new(), goals: Vec::new() }
    }
}

impl Report {
    pub(super) fn new(lab: &Lab, plan: &Plan) -> Result<Report> {
        let mut table = Table::new("", &["", ""]);
        table
            .rows
            .extend(machine::describe(&lab.runner)?.into_iter().map(|(name, value)| vec![name.to_owned(), value]));
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let Plan { rounds, seconds, quick } = plan;
        table.rows.push(vec!["Command".to_owned(), format!("`cargo xtask bench {}`", arguments.join(" "))]);
        let rounds =
            format!("{rounds} of {seconds} s{}", if *quick { "; --quick, too short for usable figures" } else { "" });
        table.rows.push(vec!["Rounds".to_owned(), rounds]);
        Ok(Report { machine: table.to_string(), sections: Vec::new() })
    }

    pub(super) fn add(&mut self, section: Section) {
        self.sections.push(section);
    }

    /// Prints the goals and writes the page: docs/benchmarks.md for a complete run, otherwise a file in target/bench.
    pub(super) fn write(self, is_complete: bool) -> Result<()> {
        let mut goals = Table::new("", &["Figure", "Goal", "Measured", ""]);
        goals.rows = self.sections.iter().flat_map(|section| &section.goals).map(Goal::cells).collect();
        println!("{goals}");
        let tables: Vec<String> = self.sections.iter().map(ToString::to_string).collect();
        let text = TEMPLATE
            .replace("{machine}", self.machine.trim_end())
            .replace("{goals}", goals.to_string().trim_end())
            .replace("{tables}", tables.join("\n").trim_end());
        let file =
            if is_complete { Path::new("docs/benchmarks.md").to_owned() } else { target().join("bench/benchmarks.md") };
        fs::write(&file, text).with_context(|| format!("can't write {}", file.display()))?;
        println!("wrote {}", file.display());
        Ok(())
    }
}

/// Formats the table as Markdown.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.title.is_empty() {
            writeln!(f, "### {}\n", self.title)?;
        }
        let mut table = comfy_table::Table::new();
        table.load_preset(ASCII_MARKDOWN).set_header(&self.headers).add_rows(&self.rows);
        writeln!(f, "{table}")
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## {}\n", self.title)?;
        for table in &self.tables {
            writeln!(f, "{table}")?;
        }
        Ok(())
    }
}
