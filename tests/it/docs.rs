//! The documents match the code.

mod links;
mod releases;
mod senders;
mod variables;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use sluice::api::problem::{Definition, Kind};
use sluice::routing::Table;

/// Whether made parts of documents are to be rewritten, as snapshots are.
#[allow(clippy::disallowed_methods, reason = "as for the snapshots themselves")]
fn is_update() -> bool {
    std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always")
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn every_problem_is_documented() {
    let page = read("docs/problems.md");
    for kind in Kind::ALL {
        let Definition { slug, status, retry, title } = kind.definition();
        let retry = serde_json::to_value(retry).unwrap();
        let status = if slug == "rejected" { "the engine's".to_owned() } else { status.as_u16().to_string() };
        let row = format!("| `{slug}` | {status} | `{}` | {title} |", retry.as_str().unwrap());
        assert!(page.contains(&row), "docs/problems.md lacks: {row}");
    }
    let is_row = |line: &&str| {
        ["`safe`", "`fix-first`", "`may-repeat`"].iter().any(|retry| line.contains(&format!("| {retry} | ")))
    };
    let rows = page.lines().filter(|line| line.starts_with("| `")).filter(is_row).count();
    assert_eq!(rows, Kind::ALL.len(), "docs/problems.md has unknown problems");
}

#[test]
fn tests_named_in_tables_exist() {
    for (page, minimum) in [("docs/cloudevents.md", 40), ("docs/engines/boomerang.md", 20)] {
        let text = read(page);
        let mut count = 0;
        for cell in text.lines().filter(|line| line.starts_with('|')).flat_map(|line| line.split('`')) {
            let Some((file, name)) = cell.split_once(".rs: ") else { continue };
            let has = read(format!("{file}.rs")).contains(&format!("fn {name}("));
            assert!(has, "{page}: {file}.rs has no test {name}");
            count += 1;
        }
        assert!(count > minimum, "{page}: {count}");
    }
}

#[test]
fn routes_in_the_guides_parse() {
    for page in ["github", "slack", "stripe", "knative", "event-grid"] {
        let page = read(format!("docs/guides/{page}.md"));
        let tables: Vec<_> = page.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
        assert_eq!(tables.len(), 1, "{page}");
        for table in tables {
            Table::parse(table).unwrap_or_else(|error| panic!("{table}: {error}"));
        }
    }
}

/// Tables, code blocks and items that are only a link are exempt.
#[test]
fn document_lines_have_at_most_120_characters() {
    let mut long = Vec::new();
    for page in links::pages() {
        let mut fenced = false;
        for (number, line) in (1..).zip(read(&page).lines()) {
            let text = line.trim_start();
            let is_fence = text.starts_with("```");
            fenced ^= is_fence;
            let length = line.chars().count();
            let is_exempt = fenced || is_fence || text.starts_with('|') || text.starts_with("- <https://");
            if length > 120 && !is_exempt {
                long.push(format!("{}:{number} has {length} characters", page.display()));
            }
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn readme_is_short_and_names_the_two_commands() {
    let page = read("README.md");
    assert!(page.lines().count() <= 120, "{} lines", page.lines().count());
    for command in ["cargo xtask up ", "cargo xtask test "] {
        assert!(page.lines().any(|line| line.starts_with(command)), "{command}");
    }
}

/// The members of the log's lines are the fields of the structs that are serialized in `src/api/log.rs`.
#[test]
fn every_member_of_the_log_is_documented() {
    let page = read("docs/log.md");
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| `")).collect();
    let documented: BTreeSet<_> = rows.iter().flat_map(|row| row.split('|').nth(1)).flat_map(code).collect();
    let source = read("src/api/log.rs");
    let structs = source.split("struct Line").skip(1).flat_map(|rest| rest.split("\n    }\n").next());
    let fields = structs.flat_map(str::lines).filter_map(|line| line.trim().strip_suffix(',')?.split_once(": "));
    let members: BTreeSet<_> = fields.map(|(name, _)| name).collect();
    assert!(members.len() > 10, "{members:?}");
    assert_eq!(documented, members);
}

/// The texts between backticks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}
