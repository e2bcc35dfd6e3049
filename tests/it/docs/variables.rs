//! `spin.toml` and the documents have the variables that the code reads.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;

use sluice::config;
use sluice::ports::{VariableError, Variables};
use sluice::sender::PRESETS;

use super::read;

/// Variables of the component that are other variables put together.
const COMBINED: [&str; 2] = ["settings", "secrets"];

/// Variables that only the allow-list of the manifest uses.
const OF_THE_HOST: [&str; 1] = ["database_host"];

/// Records the names of the variables that are read. Each is empty.
#[derive(Default)]
struct Recorder(RefCell<BTreeSet<String>>);

impl Variables for Recorder {
    fn variable(&self, name: &str) -> Result<Option<Cow<'_, str>>, VariableError> {
        self.0.borrow_mut().insert(name.to_owned());
        Ok(Some(Cow::Borrowed("")))
    }
}

/// The variables that the code reads: `/readyz` checks all of them, and each preset has its own.
fn expected() -> BTreeSet<String> {
    let recorder = Recorder::default();
    config::check(&recorder);
    let mut names = recorder.0.into_inner();
    names.extend(PRESETS.iter().filter_map(config::secret_variable).map(str::to_owned));
    names
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
    for variable in PRESETS.iter().filter_map(config::secret_variable) {
        let is_secret = declared[variable].get("secret").and_then(toml::Value::as_bool);
        assert_eq!(is_secret, Some(true), "{variable} in spin.toml is not marked as a secret");
    }
}

#[test]
fn manifest_passes_each_variable_to_the_component() {
    let manifest = manifest();
    let mut passed = component_variables(&manifest).clone();
    passed.retain(|name, _| !COMBINED.contains(&name));
    assert_same("[component.sluice.variables] in spin.toml", &passed.keys().cloned().collect(), &expected());
    for (name, template) in &passed {
        assert_eq!(template.as_str(), Some(format!("{{{{ {name} }}}}").as_str()), "{name} in spin.toml");
    }
}

/// `src/spin/variables.rs` reads two texts that contain all variables but `routes`. It would read a missing one by itself,
/// which is slow, and which no other test sees.
#[test]
fn combined_texts_contain_each_variable() {
    let manifest = manifest();
    for (text, is_secret) in [("settings", false), ("secrets", true)] {
        let expected = expected().into_iter().filter(|name| name != "routes");
        let expected = expected.filter(|name| name.starts_with("secret_") == is_secret);
        let expected: BTreeSet<_> = expected.map(|name| format!("{name}={{{{ {name} }}}}")).collect();
        let parts: Vec<_> = component_variables(&manifest)[text].as_str().unwrap().split('\u{1f}').collect();
        let found: BTreeSet<_> = parts.iter().map(|part| (*part).to_owned()).collect();
        assert_same(&format!("`{text}` in spin.toml"), &found, &expected);
        assert_eq!(found.len(), parts.len(), "`{text}` in spin.toml has a variable twice");
    }
}

#[test]
fn documents_list_each_variable_with_its_default() {
    let manifest = manifest();
    let pages =
        ["README.md", "docs/senders.md", "docs/links.md", "docs/routes.md", "docs/key-value.md"].map(read).concat();
    // A sender's secret and an own descriptor belong in `sources`.
    let is_moved = |name: &str| name.starts_with("secret_") || name == "sender_custom";
    for (name, declaration) in manifest["variables"].as_table().unwrap().iter().filter(|(name, _)| !is_moved(name)) {
        let default = declaration["default"].as_str().unwrap();
        let cell = if default.is_empty() { "empty".to_owned() } else { format!("`{default}`") };
        assert!(pages.contains(&format!("| `{name}` | {cell} |")), "no page lists {name} with {default:?}");
    }
}
