//! Tools from crates.io that the chores call, in the target directory.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::shell::{cargo, command, output, run, target};

/// The tool's program, installed if it isn't there in this version.
pub(crate) fn tool(name: &str, version: &str) -> Result<PathBuf> {
    let tools = std::path::absolute(target())?.join("tools");
    let program = tools.join("bin").join(name);
    if !is(&program, version) {
        println!("installing {name}, which takes minutes the first time");
        run(cargo(["install", "-q", name, "--locked", "--version", version, "--root"]).arg(&tools))?;
    }
    Ok(program)
}

fn is(program: &Path, version: &str) -> bool {
    output(&mut command(program, ["--version"])).is_ok_and(|said| said.ends_with(version))
}
