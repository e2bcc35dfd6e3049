//! What is printed and written: tables, and the bars.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use comfy_table::presets::ASCII_MARKDOWN;

use super::bar::{Bar, Wanted};
use super::{Plan, machine};
use crate::shell::target;

/// Around the tables; words in braces are put in.
const FRAME: &str = include_str!("../../../bench/benchmarks.md");

/// One table of a section.
pub(super) struct Table {
    title: String,
    heads: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

/// What a part measured.
pub(super) struct Section {
    title: &'static str,
    pub(super) tables: Vec<Table>,
    pub(super) bars: Vec<Bar>,
}

/// All of it.
pub(super) struct Report {
    how: String,
    sections: Vec<Section>,
}

impl Table {
    pub(super) fn new(title: impl Into<String>, heads: &[&str]) -> Table {
        let heads = heads.iter().map(|head| (*head).to_owned()).collect();
        Table { title: title.into(), heads, rows: Vec::new() }
    }
}

impl Section {
    pub(super) fn new(title: &'static str) -> Section {
        Section { title, tables: Vec::new(), bars: Vec::new() }
    }
}

impl Report {
    pub(super) fn new(plan: &Plan) -> Result<Report> {
        let mut table = Table::new("", &["", ""]);
        table.rows.extend(machine::describe()?.into_iter().map(|(name, value)| vec![name.to_owned(), value]));
        let words: Vec<String> = std::env::args().skip(1).collect();
        let Plan { rounds, seconds, quick } = plan;
        table.rows.push(vec!["Command".to_owned(), format!("`cargo xtask {}`", words.join(" "))]);
        let rounds =
            format!("{rounds} of {seconds} s{}", if *quick { "; quick, which is too short for figures" } else { "" });
        table.rows.push(vec!["Rounds".to_owned(), rounds]);
        Ok(Report { how: table.to_string(), sections: Vec::new() })
    }

    pub(super) fn add(&mut self, section: Section) {
        self.sections.push(section);
    }

    /// Prints the bars. A whole run is docs/benchmarks.md; another is kept beside what it left.
    pub(super) fn write(mut self, whole: bool) -> Result<()> {
        if whole && !self.sections.iter().any(|section| section.title == super::peers::TITLE) {
            let bars = super::peers::BARS.map(|(what, least)| Bar::new(what, Wanted::AtLeast(least), None));
            self.sections.push(Section { title: super::peers::TITLE, tables: Vec::new(), bars: bars.into() });
        }
        let mut bars = Table::new("", &["Bar", "wanted", "measured", ""]);
        bars.rows = self.sections.iter().flat_map(|section| &section.bars).map(Bar::cells).collect();
        println!("{bars}");
        let tables: Vec<String> = self.sections.iter().map(ToString::to_string).collect();
        let text = FRAME
            .replace("{machine}", self.how.trim_end())
            .replace("{bars}", bars.to_string().trim_end())
            .replace("{tables}", tables.join("\n").trim_end());
        let file =
            if whole { Path::new("docs/benchmarks.md").to_owned() } else { target().join("bench/benchmarks.md") };
        fs::write(&file, text).with_context(|| format!("can't write {}", file.display()))?;
        println!("written: {}", file.display());
        Ok(())
    }
}

/// In Markdown.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.title.is_empty() {
            writeln!(f, "### {}\n", self.title)?;
        }
        let mut table = comfy_table::Table::new();
        table.load_preset(ASCII_MARKDOWN).set_header(&self.heads).add_rows(&self.rows);
        writeln!(f, "{table}")
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## {}\n", self.title)?;
        if self.tables.is_empty() {
            writeln!(f, "Not measured in this run: `--peers`.")?;
        }
        for table in &self.tables {
            writeln!(f, "{table}")?;
        }
        Ok(())
    }
}
