//! Spelling and style: `typos` over the whole repository, `vale` over documents, comments and messages. The workflows:
//! `actionlint`.
//!
//! `_typos.toml` has the accepted words; `.vale.ini` and `.vale/styles/Sluice` have the rules of style.

use std::path::Path;

use anyhow::Result;
use xtask::shell::{command, output, run};

use crate::tool;

const TYPOS: &str = "1.52.0";
const VALE: &str = "3.21.0";
const ACTIONLINT: &str = "1.7.12";

/// The files that contain prose, as Git pathspecs. `.vale.ini` says which parts of them vale reads.
const PROSE: [&str; 4] = ["*.md", "*.rs", "*.py", "docs/openapi.yaml"];

/// Checks the workflows, spelling and style, and fails if one of them does. All are checked even if one fails.
pub(crate) fn check() -> Result<()> {
    let requirements = "Go 1.25.7 or later (https://go.dev/doc/install) and a C compiler";
    let actionlint =
        tool::from_go("actionlint", "github.com/rhysd/actionlint/cmd/actionlint", ACTIONLINT, requirements)?;
    // With these programs, if they were installed, it would find more.
    let workflows = run(&mut command(actionlint, ["-shellcheck=", "-pyflakes="]));

    let typos = tool::from_pypi("typos", TYPOS)?;
    let spelling = run(&mut command(typos, []));

    let vale = tool::from_go("vale", "github.com/vale-cli/vale/v3/cmd/vale", VALE, requirements)?;
    let files = output(command("git", ["ls-files", "--cached", "--others", "--exclude-standard"]).args(PROSE))?;
    // Git also lists tracked files that were deleted.
    let files = files.lines().filter(|file| Path::new(file).exists());
    let style = run(command(vale, ["--no-global", "--minAlertLevel=error", "--output=line"]).args(files));
    workflows.and(spelling).and(style)
}
