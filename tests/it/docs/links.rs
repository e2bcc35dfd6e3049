//! Links in the documents: each leads to an existing file and heading. External links are checked for their form only,
//! without network access.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use http::Uri;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every document of the repository, in order; paths start at its root.
pub(super) fn pages() -> Vec<PathBuf> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(root().join(directory)).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            let path = directory.join(&name);
            let is_source = !name.starts_with('.') && !["target", "node_modules"].contains(&name.as_str());
            if entry.file_type().unwrap().is_dir() {
                if is_source {
                    walk(&path, found);
                }
            } else if name.ends_with(".md") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new(""), &mut found);
    found.sort();
    found
}

/// The lines of a page outside code blocks, without inline code.
fn text(page: &str) -> impl Iterator<Item = String> {
    let mut fenced = false;
    page.lines().filter_map(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        let is_text = !fenced && !fence;
        is_text.then(|| line.split('`').step_by(2).collect::<Vec<_>>().join("`"))
    })
}

/// The targets of `[…](target)` in a line. Parentheses within a target have to be balanced.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("](").map(move |(at, mark)| {
        let rest = &line[at + mark.len()..];
        let mut depth = 0_usize;
        let end = rest.find(|c| match c {
            '(' => {
                depth += 1;
                false
            }
            ')' if depth == 0 => true,
            ')' => {
                depth -= 1;
                false
            }
            _ => false,
        });
        &rest[..end.unwrap_or_else(|| panic!("unterminated link: {line}"))]
    })
}

/// The anchors of a page's headings, as GitHub generates them.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let mut counts = BTreeMap::<String, usize>::new();
    let headings = page.lines().filter(|line| {
        fenced ^= line.trim_start().starts_with("```");
        !fenced && line.starts_with('#')
    });
    let name = |heading: &str| {
        let name = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = name.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>()
    };
    let numbered = |name: String| {
        let count = counts.entry(name.clone()).and_modify(|count| *count += 1).or_default();
        if *count == 0 { name } else { format!("{name}-{count}") }
    };
    headings.map(name).map(numbered).collect()
}

/// The fault of a link on a page, if it has one.
fn fault(page: &Path, target: &str) -> Option<String> {
    if target.contains("://") {
        let is_valid = target.parse::<Uri>().is_ok_and(|uri| {
            let host = uri.host().unwrap_or_default();
            uri.scheme_str() == Some("https") && host.contains('.') && uri.port().is_none()
        });
        return (!is_valid).then(|| "is not a public https URL".to_owned());
    }
    let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
    let mut path = if file.is_empty() { page.to_owned() } else { PathBuf::new() };
    if !file.is_empty() {
        for part in page.parent().unwrap().join(file).components() {
            match part {
                Component::ParentDir if !path.pop() => return Some("leaves the repository".to_owned()),
                Component::Normal(name) => path.push(name),
                Component::ParentDir | Component::CurDir => {}
                _ => return Some("is an absolute path".to_owned()),
            }
        }
    }
    let there = root().join(&path);
    if !there.exists() {
        return Some(format!("leads to {}, which doesn't exist", path.display()));
    }
    let anchor = anchor?;
    let has = there.is_file() && anchors(&fs::read_to_string(there).unwrap()).contains(anchor);
    (!has).then(|| format!("leads to a heading that {} doesn't have", path.display()))
}

#[test]
fn every_link_resolves() {
    let mut count = 0;
    let mut faults = Vec::new();
    for page in pages() {
        for line in text(&fs::read_to_string(root().join(&page)).unwrap()) {
            for target in targets(&line) {
                count += 1;
                faults.extend(fault(&page, target).map(|fault| format!("{}: {target} {fault}", page.display())));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(count > 100, "{count}");
}

#[test]
fn broken_link_is_reported() {
    let page = Path::new("docs/guides/github.md");
    for (target, is_valid) in [
        ("../senders.md", true),
        ("../senders.md#tokens", true),
        ("#sources", true),
        ("../../README.md", true),
        ("../../src", true),
        ("https://docs.github.com/webhooks#x", true),
        ("../senders.md#token", false),
        ("#source", false),
        ("senders.md", false),
        ("../../../README.md", false),
        ("/docs/senders.md", false),
        ("http://docs.github.com/webhooks", false),
        ("https://localhost/x", false),
        ("https://docs github.com", false),
    ] {
        assert_eq!(fault(page, target).is_none(), is_valid, "{target}: {:?}", fault(page, target));
    }
    assert_eq!(targets("a [b](c_(d)) e [f](g#h).").collect::<Vec<_>>(), ["c_(d)", "g#h"]);
    let anchors = anchors("# `A` b\n## It's -- C_d\n```\n# no\n```\n## a b\n");
    assert_eq!(anchors.into_iter().collect::<Vec<_>>(), ["a-b", "a-b-1", "its----c_d"]);
}

#[test]
fn summary_lists_every_page() {
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let listed: Vec<_> = summary.lines().flat_map(targets).map(|target| Path::new("docs").join(target)).collect();
    let distinct: BTreeSet<_> = listed.iter().collect();
    assert_eq!(distinct.len(), listed.len(), "docs/SUMMARY.md lists a page twice");
    for page in pages().iter().filter(|page| page.starts_with("docs") && !page.ends_with("SUMMARY.md")) {
        assert!(distinct.contains(page), "docs/SUMMARY.md doesn't list {}", page.display());
    }
}
