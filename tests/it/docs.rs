//! What the documents say is what the code does.

mod links;

use std::fs;
use std::path::Path;

use sluice::api::problem::Kind;
use sluice::routing::Table;
use sluice::sender::{PRESETS, ResponsePolicy, SuccessCriterion};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn every_problem_is_described() {
    let page = read("docs/problems.md");
    for kind in Kind::ALL {
        let (slug, status, retry, title) = kind.row();
        let retry = serde_json::to_value(retry).unwrap();
        let status = if slug == "rejected" { "the engine's".to_owned() } else { status.as_u16().to_string() };
        let row = format!("| `{slug}` | {status} | `{}` | {title} |", retry.as_str().unwrap());
        assert!(page.contains(&row), "docs/problems.md lacks: {row}");
    }
    let is_row = |line: &&str| {
        ["`safe`", "`fix-first`", "`may-repeat`"].iter().any(|retry| line.contains(&format!("| {retry} | ")))
    };
    let rows = page.lines().filter(|line| line.starts_with("| `")).filter(is_row).count();
    assert_eq!(rows, Kind::ALL.len(), "docs/problems.md lists what isn't there");
}

#[test]
fn every_variable_is_listed_with_its_default() {
    let manifest = read("spin.toml");
    let pages = ["README.md", "docs/senders.md", "docs/links.md", "docs/routes.md"].map(read).concat();
    let variables = manifest.split("[variables]").nth(1).unwrap().split("\n[").next().unwrap();
    let mut count = 0;
    for line in variables.lines().filter(|line| line.contains(" = { default = ")) {
        let (name, rest) = line.split_once(" = { default = \"").unwrap();
        let default = rest.split_once('"').unwrap().0;
        let cell = if default.is_empty() { "empty".to_owned() } else { format!("`{default}`") };
        assert!(pages.contains(&format!("| `{name}` | {cell} |")), "no page has {name} = {default:?}");
        assert!(manifest.contains(&format!("{name} = \"{{{{ {name} }}}}\"")), "spin.toml doesn't pass {name} on");
        count += 1;
    }
    assert_eq!(count, 35);
}

/// What the shell reads at once is all that there is: a name that were missing would be read alone, which is slow and seen
/// by nobody.
#[test]
fn variables_are_also_given_together() {
    let manifest: toml::Value = toml::from_str(&read("spin.toml")).unwrap();
    let given = manifest["component"]["sluice"]["variables"].as_table().unwrap();
    let is_text = |name: &str| matches!(name, "settings" | "secrets");
    for (text, is_secret) in [("settings", false), ("secrets", true)] {
        let names = given.keys().filter(|name| !is_text(name) && *name != "routes");
        let mut expected: Vec<_> = names
            .filter(|name| name.starts_with("secret_") == is_secret)
            .map(|name| format!("{name}={{{{ {name} }}}}"))
            .collect();
        let mut parts: Vec<_> = given[text].as_str().unwrap().split('\u{1f}').map(str::to_owned).collect();
        expected.sort();
        parts.sort();
        assert_eq!(parts, expected, "{text}");
    }
}

#[test]
fn the_manners_of_senders_are_listed() {
    let page = read("docs/senders.md");
    let table = page.split("## What senders make of an answer").nth(1).unwrap();
    for preset in PRESETS {
        let ResponsePolicy { deadline, success } = preset.response_policy;
        let rows: Vec<_> = table.lines().filter(|row| row.starts_with(&format!("| `{}`", preset.name))).collect();
        assert!(!rows.is_empty(), "{} has no row", preset.name);
        let answers = match success {
            SuccessCriterion::Any2xx => "| 200 with the run, 202 |",
            SuccessCriterion::Only200 => "| 200 with the run; 200 if stored |",
            SuccessCriterion::Empty200 => "| 200, empty |",
            SuccessCriterion::Only204 => "| 204 |",
        };
        let deadline = deadline.map_or("| – |".to_owned(), |seconds| format!("{seconds} s"));
        for row in rows {
            assert!(row.contains(answers) && row.contains(&deadline), "{row}");
        }
    }
}

#[test]
fn every_test_that_a_rule_of_cloudevents_names_is_there() {
    let page = read("docs/cloudevents.md");
    let mut count = 0;
    for cell in page.lines().filter(|line| line.starts_with('|')).flat_map(|line| line.split('`')) {
        let Some((file, name)) = cell.split_once(".rs: ") else { continue };
        assert!(read(&format!("{file}.rs")).contains(&format!("fn {name}(")), "{file}.rs has no test {name}");
        count += 1;
    }
    assert!(count > 40, "{count}");
}

#[test]
fn the_tables_of_the_guides_are_read() {
    for page in ["github", "slack", "stripe", "knative", "event-grid"] {
        let page = read(&format!("docs/guides/{page}.md"));
        let tables: Vec<_> = page.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
        assert_eq!(tables.len(), 1, "{page}");
        for table in tables {
            Table::parse(table).unwrap_or_else(|error| panic!("{table}: {error}"));
        }
    }
}

#[test]
fn the_short_documents_are_short() {
    for (path, most) in [("README.md", 80), ("ARCHITECTURE.md", 100)] {
        let lines = read(path).lines().count();
        assert!(lines <= most, "{path} has {lines} lines, and may have {most}");
    }
}
