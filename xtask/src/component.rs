//! Builds the component, with an installed compiler for wasm32-wasip1 or one that it installs.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};
use wasmparser::{DataKind, Operator, Parser, Payload};

use crate::shell::{announce, apt_install, cargo, cargo_at, command, has, output, run, succeeds, target};
use crate::shrink::shrink;

const TARGET: &str = "wasm32-wasip1";

/// Debian's packages for a compiler, the source of the standard library, and the linker.
const PACKAGES: [&str; 5] = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm", "wasi-libc"];

/// Linker arguments for the initial memory of an instance: 576 KB, of which 256 KB are stack. The rest is static data
/// and a heap that a small request doesn't outgrow.
///
/// Each request runs in a new instance, and the host resets its memory afterwards. With the default stack of 1 MB and a
/// memory that grows, which changes page protections of the whole process, growth and reset take about a third of a
/// request's cost: see `bare, linked as Sluice` in docs/benchmarks.md. The deepest accepted JSON overflows a stack of
/// 24 KB, but not one of 32 KB (`host/tests/e2e/deep.rs`).
const MEMORY: &str = "-Clink-arg=-zstack-size=262144 -Clink-arg=--initial-memory=720896";

/// Enables SIMD, which every version of Spin supports. Structures are then copied with fewer instructions, which makes
/// the component 25 KB smaller.
const SIMD: &str = "-Ctarget-feature=+simd128";

/// Minimum size of the heap within the initial memory, in bytes.
const MIN_HEAP: u64 = 128 << 10;

/// The environment variable with flags for rustc, for this target only.
const RUSTFLAGS: &str = "CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS";

/// A compiler for the component.
pub(crate) struct Compiler {
    /// Where the compiler comes from, for the log.
    origin: String,
    /// Flags for rustc that this compiler needs.
    flags: &'static str,
    /// The command that compiles the component. [`finish`] completes its result.
    pub(crate) command: Command,
}

/// Builds `target/wasm32-wasip1/release/sluice.wasm`.
pub(crate) fn build() -> Result<()> {
    let mut compiler = compiler()?;
    println!("component: with {}", compiler.origin);
    run(&mut compiler.command)?;
    println!("component: {}", finish()?);
    Ok(())
}

/// Builds `bench/limit` twice: into `target/limit` with cargo's defaults, and into `target/limit-linked` with Sluice's
/// flags.
pub(crate) fn build_limit() -> Result<()> {
    for (name, more_flags) in [("limit", String::new()), ("limit-linked", tuning_flags())] {
        let directory = target().join(name);
        let Compiler { flags, command: mut limit, .. } = compiler()?;
        limit.args(["--manifest-path", "bench/limit/Cargo.toml", "--target-dir"]).arg(&directory);
        run(limit.env(RUSTFLAGS, format!("{flags} {more_flags}")))?;
        println!("{name}: {}", shrink(&directory.join(TARGET).join("release/limit.wasm"))?);
    }
    Ok(())
}

/// Flags that make Sluice smaller and faster than cargo's defaults.
fn tuning_flags() -> String {
    format!("{SIMD} {MEMORY}")
}

/// Shrinks the compiled component and checks its initial heap. Returns a description of its size.
pub(crate) fn finish() -> Result<String> {
    let path = target().join(TARGET).join("release/sluice.wasm");
    let size = shrink(&path)?;
    let heap = heap(&fs::read(&path)?)?;
    if heap < MIN_HEAP {
        bail!("the component starts with {heap} bytes of heap, so each request would grow its memory: raise MEMORY");
    }
    Ok(size)
}

/// Size of a module's initial heap in bytes: the memory that follows its stack and static data.
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

/// Finds a compiler, or installs one and prints the commands that do so.
pub(crate) fn compiler() -> Result<Compiler> {
    if is_target_installed() {
        return Ok(Compiler::new(format!("{TARGET} of the active toolchain"), "", cargo([])));
    }
    // Without access to the network, rustup fails within seconds.
    let mut add = command("rustup", ["target", "add", TARGET]);
    if has("rustup") {
        announce(&add);
        if succeeds(&mut add) && is_target_installed() {
            return Ok(Compiler::new(format!("{TARGET}, just added by rustup"), "", cargo([])));
        }
    }
    if is_debian_compiler_installed() || (apt_install(&PACKAGES) && install_linker() && is_debian_compiler_installed())
    {
        let origin = format!("Debian's compiler, since rustup can't add {TARGET} here");
        let mut compiler = Compiler::new(origin, "-L native=/usr/lib/wasm32-wasi", debian_cargo());
        // Debian ships the standard library for this target as source.
        compiler.command.arg("-Zbuild-std=std,panic_abort");
        return Ok(compiler);
    }
    bail!(
        "no compiler for {TARGET}: `rustup target add {TARGET}`, \
         or on Debian `apt-get install {}`",
        PACKAGES.join(" ")
    )
}

/// Whether the active toolchain has the target.
fn is_target_installed() -> bool {
    let sysroot = output(&mut command("rustc", ["--print", "sysroot"]));
    sysroot.is_ok_and(|root| Path::new(&root).join("lib/rustlib").join(TARGET).is_dir())
}

/// Whether all of Debian's packages for a compiler are installed.
fn is_debian_compiler_installed() -> bool {
    let needed = ["/usr/bin/cargo", "/usr/bin/rustc", "/usr/bin/rust-lld", "/usr/lib/wasm32-wasi/libc.a"];
    let sysroot = output(&mut command("/usr/bin/rustc", ["--print", "sysroot"]));
    needed.iter().all(|path| Path::new(path).exists())
        && sysroot.is_ok_and(|root| Path::new(&root).join("lib/rustlib/src/rust/library").is_dir())
}

/// Installs the lld that Debian's `rust-lld` links to, such as `lld-22`: a package of the same name, on which no other
/// package depends.
fn install_linker() -> bool {
    let lld = Path::new("/usr/bin/rust-lld");
    lld.exists() || lld.read_link().is_ok_and(|to| to.to_str().is_some_and(|package| apt_install(&[package])))
}

impl Compiler {
    fn new(origin: String, flags: &'static str, mut cargo: Command) -> Compiler {
        // `cdylib` alone: for an rlib as well, cargo would disable link-time optimisation.
        cargo.args(["rustc", "--lib", "--crate-type", "cdylib", "--release", "--locked", "--target", TARGET]);
        // These would take precedence over the variable for this target.
        cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        cargo.env(RUSTFLAGS, format!("{flags} {}", tuning_flags()));
        Compiler { origin, flags, command: cargo }
    }
}

/// Debian's cargo, with its own compiler.
fn debian_cargo() -> Command {
    let mut cargo = cargo_at("/usr/bin/cargo", []);
    // The cargo that runs this program has set these for its own toolchain.
    for name in ["RUSTUP_TOOLCHAIN", "RUSTDOC", "LD_LIBRARY_PATH", "CARGO"] {
        cargo.env_remove(name);
    }
    cargo
        .env("RUSTC", "/usr/bin/rustc")
        // `-Zbuild-std` is unstable, and this compiler is a stable one.
        .env("RUSTC_BOOTSTRAP", "1");
    cargo
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{ConstExpr, DataSection, MemorySection, MemoryType, Module};

    use super::*;

    #[test]
    fn heap_is_the_initial_memory_after_stack_and_data() {
        let heap_of = |pages, at, data: &[u8]| {
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
        assert_eq!(heap_of(2, 65_536, &[0; 1_000]), Some(64_536));
        assert_eq!(heap_of(1, 65_536, &[]), Some(0));
        assert_eq!(heap(b"no module").ok(), None);
    }
}
