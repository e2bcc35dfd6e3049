//! The component, with whatever compiler for wasm32-wasip1 there is.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};
use wasmparser::{DataKind, Operator, Parser, Payload};

use crate::shell::{apt_install, cargo, cargo_at, command, has, output, quiet, run, target};
use crate::shrink::shrink;

const TARGET: &str = "wasm32-wasip1";

/// Debian's own compiler, the standard library's source and the linker.
const PACKAGES: [&str; 5] = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm", "wasi-libc"];

/// How the memory of an instance begins: 256 KB of stack, the data, and the rest of 576 KB for a heap that a small request
/// doesn't outgrow. Each request has an instance of its own, and a host sets all its memory back after it. The usual stack of
/// 1 MB, and memory that grows, for which the process changes what all its threads may touch, are about a third of what a
/// request costs otherwise (docs/benchmarks.md, `bare, linked as Sluice`). The deepest that Sluice takes ends a stack of 24 KB
/// and not one of 32 (`host/tests/e2e/deep.rs`).
const MEMORY: &str = "-Clink-arg=-zstack-size=262144 -Clink-arg=--initial-memory=589824";

/// Vectors, which all hosts of Spin have: structures are moved in fewer instructions, so that the component is 25 KB smaller.
const VECTORS: &str = "-Ctarget-feature=+simd128";

/// The least of it that is left for the heap.
const HEAP: u64 = 128 << 10;

const FLAGS: &str = "CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS";

/// A compiler for the component.
pub(crate) struct Compiler {
    /// Where it is from.
    said: String,
    /// What it needs to be told.
    flags: &'static str,
    /// Compiles; what it makes is not yet [`finish`]ed.
    pub(crate) command: Command,
}

/// Makes `target/wasm32-wasip1/release/sluice.wasm`.
pub(crate) fn build() -> Result<()> {
    let mut compiler = compiler()?;
    println!("component: with {}", compiler.said);
    run(&mut compiler.command)?;
    println!("component: {}", finish()?);
    Ok(())
}

/// Makes `target/limit/wasm32-wasip1/release/limit.wasm`, which benchmarks hold Sluice against; and the same in
/// `target/limit-linked`, compiled and linked as Sluice.
pub(crate) fn build_limit() -> Result<()> {
    for (name, more) in [("limit", String::new()), ("limit-linked", tuned())] {
        let directory = target().join(name);
        let Compiler { flags, command: mut limit, .. } = compiler()?;
        limit.args(["--manifest-path", "bench/limit/Cargo.toml", "--target-dir"]).arg(&directory);
        run(limit.env(FLAGS, format!("{flags} {more}")))?;
        println!("{name}: {}", shrink(&directory.join(TARGET).join("release/limit.wasm"))?);
    }
    Ok(())
}

/// What makes Sluice smaller and faster than cargo's defaults.
fn tuned() -> String {
    format!("{VECTORS} {MEMORY}")
}

/// Does what is left once it is compiled, and says how large it is.
pub(crate) fn finish() -> Result<String> {
    let path = target().join(TARGET).join("release/sluice.wasm");
    let said = shrink(&path)?;
    let heap = heap(&fs::read(&path)?)?;
    if heap < HEAP {
        bail!(
            "the component begins with {heap} bytes of heap, so that each request makes its memory grow: raise MEMORY"
        );
    }
    Ok(said)
}

/// How much of a module's first memory is left after stack and data.
fn heap(module: &[u8]) -> Result<u64> {
    const PAGE: u64 = 64 << 10;
    let (mut memory, mut data) = (0, 0);
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::MemorySection(section) => {
                for first in section {
                    memory = first?.initial * PAGE;
                }
            }
            Payload::DataSection(section) => {
                for part in section {
                    let part = part?;
                    if let DataKind::Active { offset_expr, .. } = part.kind
                        && let Operator::I32Const { value } = offset_expr.get_operators_reader().read()?
                    {
                        data = data.max(u64::from(value.cast_unsigned()) + part.data.len() as u64);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(memory.saturating_sub(data))
}

/// Finds a compiler, or installs one.
pub(crate) fn compiler() -> Result<Compiler> {
    if installed() {
        return Ok(Compiler::new(format!("{TARGET} of the active toolchain"), "", cargo([])));
    }
    // Where it can't download, it says so in a second or two.
    if has("rustup") && quiet(&mut command("rustup", ["target", "add", TARGET])) && installed() {
        return Ok(Compiler::new(format!("{TARGET}, just added by rustup"), "", cargo([])));
    }
    if debian_installed() || (apt_install(&PACKAGES) && link_linker() && debian_installed()) {
        let said = format!("Debian's compiler, as rustup can't add {TARGET} here");
        let mut compiler = Compiler::new(said, "-L native=/usr/lib/wasm32-wasi", debian());
        // With Debian's compiler comes the standard library's source, not the library.
        compiler.command.arg("-Zbuild-std=std,panic_abort");
        return Ok(compiler);
    }
    bail!(
        "no compiler for {TARGET}: `rustup target add {TARGET}`, \
         or on Debian `apt-get install {}`",
        PACKAGES.join(" ")
    )
}

fn installed() -> bool {
    let sysroot = output(&mut command("rustc", ["--print", "sysroot"]));
    sysroot.is_ok_and(|root| Path::new(&root).join("lib/rustlib").join(TARGET).is_dir())
}

fn debian_installed() -> bool {
    let needed = ["/usr/bin/cargo", "/usr/bin/rustc", "/usr/bin/rust-lld", "/usr/lib/wasm32-wasi/libc.a"];
    let sysroot = output(&mut command("/usr/bin/rustc", ["--print", "sysroot"]));
    needed.iter().all(|path| Path::new(path).exists())
        && sysroot.is_ok_and(|root| Path::new(&root).join("lib/rustlib/src/rust/library").is_dir())
}

/// Debian's `rust-lld` is a link to an lld that nothing makes it install: `lld-22`, the package's name too.
fn link_linker() -> bool {
    let lld = Path::new("/usr/bin/rust-lld");
    lld.exists() || lld.read_link().is_ok_and(|to| to.to_str().is_some_and(|package| apt_install(&[package])))
}

impl Compiler {
    fn new(said: String, flags: &'static str, mut cargo: Command) -> Compiler {
        // As the only crate type: with an rlib beside it, cargo drops link-time optimisation.
        cargo.args(["rustc", "--lib", "--crate-type", "cdylib", "--release", "--locked", "--target", TARGET]);
        // Where these are set, cargo looks at no others.
        cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        cargo.env(FLAGS, format!("{flags} {}", tuned()));
        Compiler { said, flags, command: cargo }
    }
}

fn debian() -> Command {
    let mut cargo = cargo_at("/usr/bin/cargo", []);
    // We run inside another cargo, which speaks of its own toolchain.
    for name in ["RUSTUP_TOOLCHAIN", "RUSTDOC", "LD_LIBRARY_PATH", "CARGO"] {
        cargo.env_remove(name);
    }
    cargo
        .env("RUSTC", "/usr/bin/rustc")
        // Building the standard library is an unstable feature of this stable compiler.
        .env("RUSTC_BOOTSTRAP", "1");
    cargo
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{ConstExpr, DataSection, MemorySection, MemoryType, Module};

    use super::*;

    #[test]
    fn the_heap_is_what_is_left_of_the_first_memory() {
        let first = |pages, at, data: &[u8]| {
            let mut memory = MemorySection::new();
            memory.memory(MemoryType {
                minimum: pages,
                maximum: None,
                memory64: false,
                shared: false,
                page_size_log2: None,
            });
            let mut parts = DataSection::new();
            parts.active(0, &ConstExpr::i32_const(at), data.iter().copied());
            parts.active(0, &ConstExpr::i32_const(8), *b"stack");
            let mut module = Module::new();
            heap(module.section(&memory).section(&parts).as_slice()).ok()
        };
        assert_eq!(first(2, 65_536, &[0; 1_000]), Some(64_536));
        assert_eq!(first(1, 65_536, &[]), Some(0));
        assert_eq!(heap(b"no module").ok(), None);
    }
}
