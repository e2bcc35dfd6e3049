//! Holds the ladder of the rooms: a room names only rooms below it, and only the shell names its host.

use std::fs;
use std::path::{Path, PathBuf};

/// From the ground up, as src/lib.rs lists them.
const LADDER: [&str; 16] = [
    "time",
    "json",
    "secret",
    "reference",
    "event",
    "sender",
    "callback",
    "delivery",
    "routing",
    "engine",
    "ports",
    "config",
    "claim",
    "gateway",
    "api",
    "spin",
];
/// Crates that ask something of a host.
const HOST_ONLY: [&str; 4] = ["spin_sdk", "spin_executor", "wit_bindgen", "wasi"];

#[test]
fn a_room_names_only_rooms_below_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut seen = Vec::new();
    for file in files(&src) {
        let relative = file.strip_prefix(&src).unwrap();
        let room = relative.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
        if room == "lib" {
            continue;
        }
        let floor = LADDER.iter().position(|r| *r == room).unwrap_or_else(|| panic!("{room} is not on the ladder"));
        seen.push(floor);
        let text = fs::read_to_string(&file).unwrap();
        for named in text.match_indices("crate::").map(|(at, _)| name(&text[at + "crate::".len()..])) {
            for named in named {
                let below = LADDER.iter().position(|r| *r == named);
                let below = below.unwrap_or_else(|| panic!("{}: crate::{named} is not a room", file.display()));
                assert!(below <= floor, "{}: {room} names {named}, which is above it", file.display());
            }
        }
        for host in HOST_ONLY.iter().filter(|_| room != "spin") {
            assert!(!text.contains(&format!("{host}::")), "{}: only the shell may name {host}", file.display());
        }
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), LADDER.len(), "each room of the ladder has a file");
}

/// `a::b` → a; `{a, b::c}` → a and b.
fn name(rest: &str) -> Vec<String> {
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
