//! The documents, manifests and workflows that name a release.

use std::fs;
use std::path::{Path, PathBuf};

use super::read;

/// Every file below these paths, which start at the repository's root.
fn files(paths: &[&str]) -> Vec<PathBuf> {
    fn walk(path: &Path, found: &mut Vec<PathBuf>) {
        if path.is_dir() {
            fs::read_dir(path).unwrap().for_each(|entry| walk(&entry.unwrap().path(), found));
        } else {
            found.push(path.to_owned());
        }
    }
    let mut found = Vec::new();
    for path in paths {
        walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join(path), &mut found);
    }
    found
}

/// The commands `spin up` in a text that take an application from a registry.
fn from_registry(text: &str) -> Vec<String> {
    let text = text.replace("\\\n", " ");
    let commands = text.lines().flat_map(|line| line.match_indices("spin up").map(|(at, _)| &line[at..]));
    let commands = commands.map(|rest| rest.split(['`', ';', '|', '&']).next().unwrap());
    let is_from_registry = |command: &&str| {
        let mut words = command.split_whitespace().flat_map(|word| word.splitn(2, '='));
        let names_source = |word: &str| ["-f", "--from", "--from-registry"].contains(&word);
        words.any(names_source)
            && words.next().is_some_and(|source| {
                let source = source.trim_matches(['"', '\'']);
                // Spin takes a file or a directory if there is one, and otherwise a reference.
                !source.ends_with(".toml") && !source.starts_with(['.', '/'])
            })
    };
    commands.filter(is_from_registry).map(str::to_owned).collect()
}

/// Whether the command names the place of the key-value store. Without, Spin keeps it in memory: an application from a
/// registry has no directory, which is the default place (`TomlResolver::state_dir` in Spin's
/// `crates/runtime-config/src/lib.rs`, and `AppSource::local_app_dir` in `src/commands/up/app_source.rs`).
fn names_store(command: &str) -> bool {
    let mut words = command.split_whitespace().flat_map(|word| word.splitn(2, '='));
    words.any(|word| ["--state-dir", "--runtime-config-file"].contains(&word))
        && words.next().is_some_and(|place| !place.trim_matches(['"', '\'']).is_empty())
}

#[test]
fn applications_from_a_registry_keep_their_state() {
    let mut count = 0;
    for file in files(&["README.md", "docs", "deploy", ".github"]) {
        // Images are no text.
        let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
        for command in from_registry(&text) {
            assert!(names_store(&command), "{}: the store is in memory with `{command}`", file.display());
            count += 1;
        }
    }
    assert!(count >= 2, "docs/install.md and release.yml start an application from a registry");
}

#[test]
fn commands_from_a_registry_are_recognized() {
    let text = "`spin up`, `spin up -f spin.toml`, `spin up --from /opt/sluice`
        spin up --from \"$image\" --state-dir state
        spin up --from-registry=example.com/sluice:1 \\
          --runtime-config-file=config.toml
        spin up -f example.com/sluice:1 --listen 127.0.0.1:3000
        spin up -f example.com/sluice:1 --state-dir ''";
    let found = from_registry(text);
    assert_eq!(found.iter().map(|command| names_store(command)).collect::<Vec<_>>(), [true, true, false, false]);
}

#[test]
fn version_is_the_same_everywhere() {
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    let spin: toml::Table = read("spin.toml").parse().unwrap();
    assert_eq!(spin["application"]["version"].as_str(), Some(VERSION));
    let changes = read("CHANGELOG.md");
    let newest = changes.lines().find(|line| line.starts_with("## [")).unwrap();
    assert!(newest.starts_with(&format!("## [{VERSION}] - ")), "{newest}");
    let files =
        ["docs/install.md", "deploy/README.md", "deploy/spinkube/sluice.yaml", "deploy/spinkube/sluice-postgres.yaml"];
    for file in files {
        let text = read(file);
        // The texts before a version in a URL, in a reference and in a command.
        let marks = ["download/v", "checkout v", "download v", "tags/v", "/sluice:", "OWNER/REPO:"];
        let named: Vec<_> = marks.iter().flat_map(|mark| text.split(mark).skip(1)).collect();
        assert!(!named.is_empty(), "{file}");
        for rest in named {
            assert!(
                rest.starts_with(VERSION),
                "{file} names a version other than {VERSION}: {:?}",
                rest.lines().next()
            );
        }
    }
}
