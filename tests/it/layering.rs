//! The layers of `src/`: a layer names only layers below it; only the shell names its host; only `engine` names an engine;
//! only `store` names a key. The table in `src/lib.rs` is the one list of layers.

use std::fs;
use std::path::{Path, PathBuf};

use sluice::engine::Profile;

/// Crates that call the host.
const HOST_CRATES: [&str; 4] = ["spin_sdk", "spin_executor", "wit_bindgen", "wasi"];

/// A source file and its layer.
struct Source {
    layer: String,
    path: PathBuf,
    text: String,
}

#[test]
fn layer_names_only_layers_below_it() {
    let layers = layers();
    let height = |layer: &str| layers.iter().position(|one| one == layer);
    let mut seen: Vec<_> = Vec::new();
    for Source { layer, path, text } in sources() {
        let path = path.display();
        let own = height(&layer).unwrap_or_else(|| panic!("{path}: {layer} is not in the table of src/lib.rs"));
        seen.push(own);
        for named in text.match_indices("crate::").flat_map(|(at, _)| names(&text[at + "crate::".len()..])) {
            let below = height(&named).unwrap_or_else(|| panic!("{path}: crate::{named} is not a layer"));
            assert!(below <= own, "{path}: {layer} names {named}, which is above it");
        }
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), layers.len(), "each layer of the table has a file");
}

#[test]
fn only_the_shell_names_its_host() {
    for Source { layer, path, text } in sources() {
        for host in HOST_CRATES.iter().filter(|_| layer != "spin") {
            assert!(!text.contains(&format!("{host}::")), "{}: only `spin` may name {host}", path.display());
        }
    }
}

#[test]
fn only_the_engine_layer_names_an_engine() {
    // "Flow" is a part of "workflow", and the name of the API that the contract comes from.
    let engines: Vec<String> = Profile::names().map(|name| name.split('-').next().unwrap().to_owned()).collect();
    let engines: Vec<String> =
        engines.into_iter().filter(|name| !matches!(name.as_str(), "flow" | "generic")).collect();
    assert!(engines.len() >= 8, "{engines:?}");
    for Source { path, text, .. } in sources().into_iter().filter(|source| source.layer != "engine") {
        let text = text.to_lowercase().replace("boomerang flow", "");
        let is_word = |at: usize, name: &str| {
            let around = [text[..at].chars().next_back(), text[at + name.len()..].chars().next()];
            around.into_iter().flatten().all(|c| !c.is_alphanumeric())
        };
        for name in &engines {
            let named = text.match_indices(name.as_str()).any(|(at, _)| is_word(at, name));
            assert!(!named, "{}: only `engine` may name {name}: ask its profile", path.display());
        }
    }
}

#[test]
fn only_one_file_of_the_store_names_a_key() {
    let named: Vec<_> = sources()
        .into_iter()
        .filter(|source| source.text.contains("sluice/"))
        .map(|source| source.path.strip_prefix(src()).unwrap().display().to_string())
        .collect();
    assert_eq!(named, ["store/key_value/old_names.rs"]);
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The first column of the table in `src/lib.rs`, from the ground up.
fn layers() -> Vec<String> {
    let text = fs::read_to_string(src().join("lib.rs")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("//! | ")).skip(1);
    let layers: Vec<_> = rows.map(|row| row.split('`').nth(1).unwrap().to_owned()).collect();
    assert!(layers.len() > 10, "{layers:?}");
    layers
}

fn sources() -> Vec<Source> {
    let mut sources: Vec<_> = files(&src())
        .into_iter()
        .map(|path| {
            let relative = path.strip_prefix(src()).unwrap();
            let layer = relative.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
            Source { layer: layer.to_owned(), text: fs::read_to_string(&path).unwrap(), path }
        })
        .filter(|source| source.layer != "lib")
        .collect();
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

/// The first segments of a path or a list: `a::b` → a; `{a, b::c}` → a and b.
fn names(rest: &str) -> Vec<String> {
    let ident = |text: &str| text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
    match rest.strip_prefix('{') {
        None => vec![ident(rest)],
        Some(list) => {
            let (list, _) = list.split_once("};").unwrap();
            assert!(!list.contains('{'), "nest no lists in `use crate::{{…}}`: {list}");
            list.split(',').map(|item| ident(item.trim())).filter(|item| !item.is_empty()).collect()
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
