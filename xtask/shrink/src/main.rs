//! `shrink FROM TO MIN_HEAP`: rewrites a module's description of its imports, for a faster first start, and ensures that
//! the module starts with that many bytes of heap.
//!
//! A program of its own: `cargo xtask up` does without it, and its libraries take longer to compile than all others of
//! `cargo xtask`.

mod heap;
mod imports;

use std::env::args_os;
use std::fs;

use anyhow::{Context, Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<_> = args_os().skip(1).collect();
    let [from, to, min_heap] = &arguments[..] else { bail!("usage: shrink FROM TO MIN_HEAP") };
    let min_heap: u64 = min_heap.to_string_lossy().parse().context("MIN_HEAP is a number of bytes")?;
    let module = fs::read(from).with_context(|| format!("can't read {}", from.display()))?;
    let heap = heap::size(&module)?;
    if heap < min_heap {
        bail!("{} starts with {heap} bytes of heap, fewer than {min_heap}", from.display());
    }
    let module = imports::describe(&module).context("can't rewrite the module's description of its imports")?;
    fs::write(to, module).with_context(|| format!("can't write {}", to.display()))
}
