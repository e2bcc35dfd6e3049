//! The source of the book: the pages of the summary with their links, and the files that they link to.
//!
//! Paths of the repository become paths of the site: those of `docs/` without this folder, all others as they are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use pulldown_cmark::{Event, LinkType, Options, Parser, Tag};

/// The folder of the documents.
const DOCS: &str = "docs";

/// The list of the pages, in the order in which they are read.
const SUMMARY: &str = "docs/SUMMARY.md";

/// Writes the source of the book, and returns the number of its pages.
///
/// # Errors
///
/// If a document of `docs/` isn't in the summary, or a page links to something that the site doesn't have.
pub(crate) fn assemble(root: &Path, to: &Path) -> Result<usize> {
    let summary = fs::read_to_string(root.join(SUMMARY)).with_context(|| format!("can't read {SUMMARY}"))?;
    let pages: BTreeSet<_> =
        local_targets(&summary).map(|target| resolve(Path::new(SUMMARY), target)).collect::<Result<_>>()?;

    let mut files = BTreeSet::new();
    for file in walk(root, Path::new(DOCS))? {
        if file.extension().is_none_or(|extension| extension != "md") {
            files.insert(file);
        } else if file != Path::new(SUMMARY) && !pages.contains(&file) {
            bail!("{} isn't in {SUMMARY}", file.display());
        }
    }
    for page in pages.iter().map(PathBuf::as_path).chain([Path::new(SUMMARY)]) {
        let text = fs::read_to_string(root.join(page)).with_context(|| format!("can't read {}", page.display()))?;
        let text = adapt(root, page, &text, &pages, &mut files).with_context(|| format!("in {}", page.display()))?;
        write(&to.join(place(page)), text.as_bytes())?;
    }
    for file in files {
        write(&to.join(place(&file)), &fs::read(root.join(&file))?)?;
    }
    Ok(pages.len())
}

/// The path of a file of the repository on the site, relative to its root. A folder's README is the folder's index.
fn place(file: &Path) -> PathBuf {
    let file = file.strip_prefix(DOCS).unwrap_or(file);
    if file.ends_with("README.md") { file.with_file_name("index.md") } else { file.to_owned() }
}

/// A page with links that fit the site. Files that are linked to and aren't pages are added to `files`. A link to a
/// directory becomes its text, because a site doesn't list directories.
fn adapt(
    root: &Path,
    page: &Path,
    text: &str,
    pages: &BTreeSet<PathBuf>,
    files: &mut BTreeSet<PathBuf>,
) -> Result<String> {
    let mut adapted = text.to_owned();
    // From the end, so the positions before a change remain valid.
    for (link, range) in links(text).into_iter().rev() {
        let (file, anchor) =
            link.target.split_once('#').map_or((&*link.target, ""), |(file, _)| (file, &link.target[file.len()..]));
        if file.is_empty() || is_external(file) {
            continue;
        }
        if !link.is_inline {
            bail!("the link to {} must be inline", link.target);
        }
        let source = &text[range.clone()];
        let Some(open) = source.rfind("](") else { bail!("the link to {} isn't understood", link.target) };
        let target = resolve(page, file)?;
        let there = root.join(&target);
        if there.is_dir() {
            adapted.replace_range(range.start + open..range.end, "");
            adapted.replace_range(range.start..=range.start, "");
            continue;
        }
        if !pages.contains(&target) {
            if !there.is_file() {
                bail!("{} doesn't exist", target.display());
            }
            if target.extension().is_some_and(|extension| extension == "md") {
                bail!("{} isn't in {SUMMARY}", target.display());
            }
            files.insert(target.clone());
        }
        let target = format!("](<{}{anchor}>)", relative(&place(page), &place(&target)).display());
        adapted.replace_range(range.start + open..range.end, &target);
    }
    Ok(adapted)
}

/// A link or an image.
struct Link {
    target: String,
    is_inline: bool,
}

/// The links and images of a page, each with its range, in order of their ends.
fn links(text: &str) -> Vec<(Link, std::ops::Range<usize>)> {
    let events = Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter();
    let mut links: Vec<_> = events
        .filter_map(|(event, range)| match event {
            Event::Start(Tag::Link { link_type, dest_url, .. } | Tag::Image { link_type, dest_url, .. }) => {
                Some((Link { target: dest_url.into_string(), is_inline: link_type == LinkType::Inline }, range))
            }
            _ => None,
        })
        .collect();
    links.sort_by_key(|(_, range)| range.end);
    links
}

/// The targets of a page's links to files of the repository, without their anchors.
fn local_targets(text: &str) -> impl Iterator<Item = String> {
    let targets = links(text).into_iter().map(|(link, _)| link.target);
    targets.filter(|target| !target.starts_with('#') && !is_external(target)).map(|target| {
        match target.split_once('#') {
            Some((file, _)) => file.to_owned(),
            None => target,
        }
    })
}

fn is_external(target: &str) -> bool {
    target.contains("://") || target.starts_with("mailto:")
}

/// The path, from the repository's root, of the target of a link on a page.
fn resolve(page: &Path, target: impl AsRef<Path>) -> Result<PathBuf> {
    let target = target.as_ref();
    let mut path = page.parent().unwrap_or(Path::new("")).to_owned();
    for part in target.components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir if path.pop() => {}
            _ => bail!("{} leaves the repository", target.display()),
        }
    }
    Ok(path)
}

/// The path of a file, relative to the folder of another one.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let from: Vec<_> = from.parent().unwrap_or(Path::new("")).components().collect();
    let to: Vec<_> = to.components().collect();
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    from[shared..].iter().map(|_| Component::ParentDir).chain(to[shared..].iter().copied()).collect()
}

/// The files in a folder and its folders; paths start at the root.
fn walk(root: &Path, folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            found.extend(walk(root, &path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}

fn write(file: &Path, content: &[u8]) -> Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(file, content).with_context(|| format!("can't write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapted(page: &str, text: &str) -> Result<(String, Vec<PathBuf>)> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let pages = ["docs/drain.md", "docs/engines/README.md", "deploy/README.md"].map(PathBuf::from).into();
        let mut files = BTreeSet::new();
        let text = adapt(&root, Path::new(page), text, &pages, &mut files)?;
        Ok((text, files.into_iter().collect()))
    }

    #[test]
    fn links_fit_the_site() -> Result<()> {
        for (page, link, expected) in [
            ("docs/drain.md", "[a](engines/README.md#b)", "[a](<engines/index.md#b>)"),
            ("docs/drain.md", "[a](../deploy/README.md)", "[a](<deploy/index.md>)"),
            ("docs/engines/README.md", "[a](../../deploy/README.md)", "[a](<../deploy/index.md>)"),
            ("deploy/README.md", "[`a`](../docs/drain.md)", "[`a`](<../drain.md>)"),
            ("deploy/README.md", "see [a](systemd) and [b](#c)", "see a and [b](#c)"),
            ("docs/drain.md", "`[a](b)` <https://example.com/x>", "`[a](b)` <https://example.com/x>"),
        ] {
            assert_eq!(adapted(page, link)?.0, expected, "{page}: {link}");
        }
        Ok(())
    }

    #[test]
    fn linked_files_come_with_the_page() -> Result<()> {
        let (text, files) = adapted("docs/drain.md", "[a](../deploy/drain.sh)")?;
        assert_eq!((&*text, files), ("[a](<deploy/drain.sh>)", vec![PathBuf::from("deploy/drain.sh")]));
        Ok(())
    }

    #[test]
    fn links_that_the_site_cannot_have_are_errors() {
        for link in
            ["[a](none.md)", "[a](none.png)", "[a](../ARCHITECTURE.md)", "[a](../../x)", "[a][b]\n\n[b]: drain.md"]
        {
            assert!(adapted("docs/drain.md", link).is_err(), "{link}");
        }
    }
}
