//! Follows the links of the finished site, as a browser would.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use html5ever::tokenizer::{BufferQueue, TagToken, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts};

/// What other pages may refer to, and what a page refers to.
#[derive(Default)]
struct Page {
    ids: RefCell<BTreeSet<String>>,
    targets: RefCell<BTreeSet<String>>,
}

impl TokenSink for &Page {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        if let TagToken(tag) = token {
            for attribute in tag.attrs {
                let value = attribute.value.to_string();
                match &*attribute.name.local {
                    "id" => self.ids.borrow_mut().insert(value),
                    "href" | "src" => self.targets.borrow_mut().insert(value),
                    _ => false,
                };
            }
        }
        TokenSinkResult::Continue
    }
}

/// Follows every link between the files of a site, and returns their number.
///
/// # Errors
///
/// If a link leads to a file or a heading that doesn't exist. All of them are listed.
pub(crate) fn links(site: &Path) -> Result<usize> {
    let mut pages = BTreeMap::new();
    read(site, Path::new(""), &mut pages)?;
    let count = Cell::new(0);
    let mut faults = Vec::new();
    for (path, page) in &pages {
        let targets = page.targets.borrow();
        for target in targets.iter().filter(|target| !target.contains(':') && !target.starts_with("//")) {
            count.set(count.get() + 1);
            if !leads_somewhere(site, &pages, path, target) {
                faults.push(format!("{}: {target}", path.display()));
            }
        }
    }
    if !faults.is_empty() {
        bail!("broken links:\n{}", faults.join("\n"));
    }
    Ok(count.get())
}

/// Reads the pages in a folder of the site. The page of errors is left out: its links start at the server's root.
fn read(site: &Path, folder: &Path, pages: &mut BTreeMap<PathBuf, Page>) -> Result<()> {
    for entry in fs::read_dir(site.join(folder))? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            read(site, &path, pages)?;
        } else if path.extension().is_some_and(|extension| extension == "html") && path != Path::new("404.html") {
            let text = fs::read_to_string(entry.path()).with_context(|| format!("can't read {}", path.display()))?;
            pages.insert(path, parse(&text));
        }
    }
    Ok(())
}

fn parse(text: &str) -> Page {
    let page = Page::default();
    let input = BufferQueue::default();
    input.push_back(text.into());
    let tokenizer = Tokenizer::new(&page, TokenizerOpts::default());
    let _ = tokenizer.feed(&input);
    tokenizer.end();
    page
}

fn leads_somewhere(site: &Path, pages: &BTreeMap<PathBuf, Page>, from: &Path, target: &str) -> bool {
    let (file, id) = target.split_once('#').unwrap_or((target, ""));
    let mut path = from.to_owned();
    if !file.is_empty() {
        path.pop();
        for part in Path::new(file).components() {
            match part {
                Component::Normal(name) => path.push(name),
                Component::ParentDir if !path.pop() => return false,
                _ => {}
            }
        }
    }
    match pages.get(&path) {
        Some(page) => id.is_empty() || page.ids.borrow().contains(id),
        None => id.is_empty() && site.join(path).is_file(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_files_and_headings() {
        let page =
            parse("<h1 id=\"a\">A</h1><a href='x.html#a'>x</a><pre>&lt;a href=\"no.html\"&gt;</pre><img src=y.png>");
        assert_eq!(page.targets.borrow().iter().collect::<Vec<_>>(), ["x.html#a", "y.png"]);
        let pages = BTreeMap::from([(PathBuf::from("folder/page.html"), page)]);
        let site = Path::new(env!("CARGO_MANIFEST_DIR"));
        for (from, target, expected) in [
            ("folder/page.html", "#a", true),
            ("folder/page.html", "#b", false),
            ("folder/other.html", "page.html#a", true),
            ("index.html", "folder/page.html", true),
            ("index.html", "page.html", false),
            ("index.html", "book.toml", true),
            ("folder/page.html", "../../x", false),
        ] {
            assert_eq!(leads_somewhere(site, &pages, Path::new(from), target), expected, "{from}: {target}");
        }
    }
}
