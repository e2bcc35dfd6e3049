//! Spelling and style: `typos` over the whole repository, and `vale` over documents, comments and messages.
//!
//! `_typos.toml` has the accepted words; `.vale.ini` and `.vale/styles/Sluice` have the rules of style.

use std::path::Path;

use anyhow::Result;
use xtask::shell::{command, output, run};

use crate::tool;

const TYPOS: &str = "1.52.0";
const VALE: &str = "3.21.0";

/// The files that contain prose, as Git pathspecs. `.vale.ini` says which parts of them vale reads.
const PROSE: [&str; 4] = ["*.md", "*.rs", "*.py", "docs/openapi.yaml"];

/// Checks spelling, then style, and fails if either does. Style is checked even if spelling fails.
pub(crate) fn check() -> Result<()> {
    let typos = tool::from_pypi("typos", TYPOS)?;
    let spelling = run(&mut command(typos, []));

    let requirements = "Go 1.25.7 or later (https://go.dev/doc/install) and a C compiler";
    let vale = tool::from_go("vale", "github.com/vale-cli/vale/v3/cmd/vale", VALE, requirements)?;
    let files = output(command("git", ["ls-files", "--cached", "--others", "--exclude-standard"]).args(PROSE))?;
    // Git also lists tracked files that were deleted.
    let files = files.lines().filter(|file| Path::new(file).exists());
    let style = run(command(vale, ["--no-global", "--minAlertLevel=error", "--output=line"]).args(files));
    spelling.and(style)
}
