//! Builds the documentation's site: `sluice-site DIRECTORY`, which `cargo xtask site` runs.
//!
//! | Step | Module |
//! |---|---|
//! | the pages that `docs/SUMMARY.md` lists are copied, and their links adapted to the site | `source` |
//! | mdBook renders them, with a search | this one |
//! | every link of the result is followed | `check` |
//!
//! A page that isn't in the summary, and a link that leads nowhere, fail the build.

mod check;
mod source;

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use anyhow::{Context as _, Result, bail};
use mdbook_driver::MDBook;
use mdbook_driver::config::Config;

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(site), None) = (arguments.next(), arguments.next()) else {
        bail!("expected one argument, the directory of the site");
    };
    let site = std::path::absolute(site)?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;

    let sources = site.with_extension("source");
    for directory in [&sources, &site] {
        if directory.exists() {
            fs::remove_dir_all(directory).with_context(|| format!("can't remove {}", directory.display()))?;
        }
    }
    let pages = source::assemble(&root, &sources)?;
    fs::write(sources.join("site.css"), include_str!("../site.css"))?;

    let mut config = Config::from_str(include_str!("../book.toml"))?;
    config.book.src = PathBuf::new();
    config.build.build_dir = site.clone();
    MDBook::load_with_config(&sources, config)?.build()?;
    fs::remove_dir_all(&sources)?;

    let links = check::links(&site)?;
    println!("{}: {pages} pages, {links} links", site.join("index.html").display());
    Ok(())
}
