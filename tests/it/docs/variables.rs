//! `spin.toml` and the documents have the variables that the code reads.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use sluice::config::{AnyMember, Config, Document, MOVED, members};
use sluice::ports::{VariableError, Variables};
use sluice::source::Sources;

use super::read;

/// The variable of the component that is other variables put together.
const PACKED: &str = "packed";

/// Variables that only the allow-list of the manifest uses.
const OF_THE_HOST: [&str; 1] = ["database_host"];

/// Records the names of the variables that are read. Each is empty.
#[derive(Default)]
struct Recorder(RefCell<BTreeSet<String>>);

impl Variables for Recorder {
    fn variable(&self, name: &str) -> Result<Option<&str>, VariableError> {
        self.0.borrow_mut().insert(name.to_owned());
        Ok(Some(""))
    }
}

/// The variables that the code reads: `/readyz` checks all of them.
fn expected() -> BTreeSet<String> {
    let recorder = Recorder::default();
    Config::new(&recorder).check();
    recorder.0.into_inner()
}

fn manifest() -> toml::Table {
    read("spin.toml").parse().unwrap()
}

fn component_variables(manifest: &toml::Table) -> &toml::Table {
    manifest["component"]["sluice"]["variables"].as_table().unwrap()
}

#[track_caller]
fn assert_same(place: &str, found: &BTreeSet<String>, expected: &BTreeSet<String>) {
    let missing: Vec<_> = expected.difference(found).collect();
    assert!(missing.is_empty(), "{place} lacks {missing:?}");
    let unknown: Vec<_> = found.difference(expected).collect();
    assert!(unknown.is_empty(), "{place} has {unknown:?}, which the code doesn't read");
}

#[test]
fn manifest_declares_each_variable() {
    let manifest = manifest();
    let declared = manifest["variables"].as_table().unwrap();
    let mut expected = expected();
    expected.extend(OF_THE_HOST.map(str::to_owned));
    assert_same("[variables] in spin.toml", &declared.keys().cloned().collect(), &expected);
    for (name, declaration) in declared {
        let is_secret = declaration.get("secret").and_then(toml::Value::as_bool) == Some(true);
        let is_public = ["engine_url", "engine", "database_host"].contains(&name.as_str());
        assert!(is_secret != is_public, "{name} in spin.toml: `secret`");
    }
}

#[test]
fn manifest_passes_each_variable_to_the_component() {
    let manifest = manifest();
    let mut passed = component_variables(&manifest).clone();
    assert!(passed.remove(PACKED).is_some());
    assert_same("[component.sluice.variables] in spin.toml", &passed.keys().cloned().collect(), &expected());
    for (name, template) in &passed {
        assert_eq!(template.as_str(), Some(format!("{{{{ {name} }}}}").as_str()), "{name} in spin.toml");
    }
}

/// `src/spin/variables.rs` reads one text that contains all variables that a delivery needs. It would read a missing one by
/// itself, which is slow, and which no other test sees.
#[test]
fn packed_text_contains_the_variables_of_a_delivery() {
    let manifest = manifest();
    let expected = expected().into_iter().filter(|name| !["routes", "operator_token"].contains(&name.as_str()));
    let expected: BTreeSet<_> = expected.map(|name| format!("{name}={{{{ {name} }}}}")).collect();
    let parts: Vec<_> = component_variables(&manifest)[PACKED].as_str().unwrap().split('\u{1f}').collect();
    let found: BTreeSet<_> = parts.iter().map(|part| (*part).to_owned()).collect();
    assert_same(&format!("`{PACKED}` in spin.toml"), &found, &expected);
    assert_eq!(found.len(), parts.len(), "`{PACKED}` in spin.toml has a variable twice");
}

#[test]
fn documents_list_each_variable_with_its_default() {
    let manifest = manifest();
    let page = read("docs/variables.md");
    for (name, declaration) in manifest["variables"].as_table().unwrap() {
        let default = declaration["default"].as_str().unwrap();
        let cell = if default.is_empty() { "empty".to_owned() } else { format!("`{default}`") };
        assert!(page.contains(&format!("| `{name}` | {cell} |")), "docs/variables.md lists no {name} with {default:?}");
    }
}

/// The rows of the table with this head.
fn rows(page: &str, head: &str) -> Vec<String> {
    let page = read(page);
    let (_, table) = page.split_once(&format!("{head}\n")).unwrap_or_else(|| panic!("no table {head}"));
    table.lines().skip(1).take_while(|line| line.starts_with('|')).map(str::to_owned).collect()
}

/// After a change, `INSTA_UPDATE=always cargo test --test it docs::variables` rewrites the table.
#[test]
fn settings_are_listed_with_their_defaults_and_rules() {
    let head = "| Member | Default | Rule |";
    let row = |member: &&dyn AnyMember| {
        let default = member.default_json().map_or("not set".to_owned(), |json| format!("`{json}`"));
        format!("| `{}` | {default} | {} |", member.name(), member.rule())
    };
    let expected: Vec<_> = members::MEMBERS.iter().map(row).collect();
    let found = rows("docs/settings.md", head);
    if found != expected && super::is_update() {
        let table = |rows: &[String]| format!("{head}\n|---|---|---|\n{}\n", rows.join("\n"));
        let page = read("docs/settings.md").replace(&table(&found), &table(&expected));
        fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/settings.md"), page).unwrap();
        return;
    }
    assert!(found == expected, "docs/settings.md: the rows must be:\n{}\n", expected.join("\n"));
    // The second table says what each is for.
    let page = read("docs/settings.md");
    let (_, meanings) = page.split_once("\n## What each is for\n").unwrap();
    for member in members::MEMBERS {
        assert!(meanings.contains(&format!("`{}`", member.name())), "no meaning of {}", member.name());
    }
}

#[test]
fn changelog_says_where_each_variable_went() {
    let expected: Vec<_> = MOVED.iter().map(|moved| format!("| `{}` | {} |", moved.variable, moved.to)).collect();
    assert_eq!(rows("CHANGELOG.md", "| Variable of 0.1 | Now |"), expected);
}

/// The examples of `sources` and `settings` in the documents are valid.
#[test]
fn examples_of_sources_and_settings_are_valid() {
    for (page, minimum) in
        [("docs/sources.md", 1), ("docs/settings.md", 1), ("docs/senders.md", 1), ("CHANGELOG.md", 1)]
    {
        // A text in place of a secret.
        let text = read(page).replace('…', "s3cret");
        let examples: Vec<_> = text.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
        assert!(examples.len() >= minimum, "{page}: {}", examples.len());
        for example in examples {
            match example.trim_start().starts_with('[') {
                true => assert_eq!(Sources::parse(example, Vec::new()).unwrap().stopped(), [], "{page}: {example}"),
                false => assert_eq!(Document::parse(example).unwrap().errors(), [], "{page}: {example}"),
            }
        }
    }
}
