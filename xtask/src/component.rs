//! Builds the component, with an installed compiler for wasm32-wasip1 or one that it installs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Result, bail};

use crate::shell::{announce, apt_install, cargo, cargo_at, command, has, output, run, succeeds, target};

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
const MEMORY: &str = "-Clink-arg=-zstack-size=262144 -Clink-arg=--initial-memory=786432";

/// Enables SIMD, which every version of Spin supports. Structures are then copied with fewer instructions, which makes
/// the component 25 KB smaller.
const SIMD: &str = "-Ctarget-feature=+simd128";

/// Minimum size of the heap within the initial memory, in bytes. With less, each request would grow its memory: raise
/// [`MEMORY`].
const MIN_HEAP: u64 = 128 << 10;

/// The environment variable with flags for rustc, for this target only.
const RUSTFLAGS: &str = "CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS";

/// The features of wasm32-wasip1 since LLVM 20, and SIMD, none of which `wasm-opt` detects.
const FEATURES: [&str; 7] = [
    "--enable-bulk-memory",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
    "--enable-simd",
];

/// A profile of the component, in the manifest of the workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Small and fast, for production, tests and benchmarks.
    Release,
    /// Compiled on all cores, without link-time optimisation, for `cargo xtask up`.
    Up,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Up => "up",
        }
    }

    /// The module that is compiled with it, relative to the root unless `CARGO_TARGET_DIR` is absolute.
    pub fn module(self) -> PathBuf {
        target().join(TARGET).join(self.name()).join("sluice.wasm")
    }
}

/// A compiler for the component.
pub struct Compiler {
    /// Where the compiler comes from, for the log.
    origin: String,
    /// Flags for rustc that this compiler needs.
    flags: &'static str,
    /// The command that compiles [`Profile::module`].
    pub command: Command,
}

/// Builds `target/wasm32-wasip1/release/sluice.wasm`.
pub fn build() -> Result<()> {
    let mut compiler = compiler(Profile::Release)?;
    println!("component: with {}", compiler.origin);
    run(&mut compiler.command)?;
    println!("component: {}", finish()?);
    Ok(())
}

/// Shrinks [`Profile::Release`]'s module, once it is compiled. Returns a description of its size.
pub fn finish() -> Result<String> {
    shrink(&Profile::Release.module(), MIN_HEAP)
}

/// Builds `bench/limit` twice: into `target/limit` with cargo's defaults, and into `target/limit-linked` with Sluice's
/// flags.
pub fn build_limit() -> Result<()> {
    for (name, more_flags) in [("limit", String::new()), ("limit-linked", tuning_flags())] {
        let directory = target().join(name);
        let Compiler { flags, command: mut limit, .. } = compiler(Profile::Release)?;
        limit.args(["--manifest-path", "bench/limit/Cargo.toml", "--target-dir"]).arg(&directory);
        run(limit.env(RUSTFLAGS, format!("{flags} {more_flags}")))?;
        println!("{name}: {}", shrink(&directory.join(TARGET).join("release/limit.wasm"), 0)?);
    }
    Ok(())
}

/// Flags that make Sluice smaller and faster than cargo's defaults.
fn tuning_flags() -> String {
    format!("{SIMD} {MEMORY}")
}

/// Shrinks a module in place, for a faster first start: removes the descriptions of unused interfaces, and runs
/// `wasm-opt`. Returns a description of its size. If `wasm-opt` is missing, the module is an eighth larger, and the
/// description says that it is missing.
fn shrink(path: &Path, min_heap: u64) -> Result<String> {
    // As in `cargo xtask test`, for the same features of its dependencies.
    run(&mut cargo(["build", "-q", "--workspace", "--locked", "--bin", "shrink"]))?;
    let program = std::path::absolute(target())?.join("debug/shrink");
    let small = path.with_extension("small.wasm");
    let mut remark = "";
    // Each build replaces the module with cargo's own file, whose modification time is that of the compilation.
    let is_newer_than = |than: &Path| is_newer(&small, than);
    if !is_newer_than(path)? || !is_newer_than(&program)? || !is_newer_than(&env::current_exe()?)? {
        let unfinished = path.with_extension("unfinished.wasm");
        run(command(program, []).arg(path).arg(&unfinished).arg(min_heap.to_string()))?;
        if has("wasm-opt") || apt_install(&["binaryen"]) {
            run(command("wasm-opt", ["-Oz"]).args(FEATURES).arg(&unfinished).arg("-o").arg(&unfinished))?;
        } else {
            remark = ", not optimised: wasm-opt (of binaryen) isn't installed";
        }
        fs::rename(unfinished, &small)?;
    }
    // The path is a hard link to cargo's own file, which must not be overwritten.
    fs::remove_file(path)?;
    Ok(format!("{} bytes{remark}", fs::copy(&small, path)?))
}

fn is_newer(file: &Path, than: &Path) -> Result<bool> {
    let Ok(file) = fs::metadata(file) else { return Ok(false) };
    Ok(file.modified()? > fs::metadata(than)?.modified()?)
}

/// Finds a compiler, or installs one and prints the commands that do so.
pub fn compiler(profile: Profile) -> Result<Compiler> {
    if is_target_installed() {
        return Ok(Compiler::new(format!("{TARGET} of the active toolchain"), "", cargo([]), profile));
    }
    // Without access to the network, rustup fails within seconds.
    let mut add = command("rustup", ["target", "add", TARGET]);
    if has("rustup") {
        announce(&add);
        if succeeds(&mut add) && is_target_installed() {
            return Ok(Compiler::new(format!("{TARGET}, just added by rustup"), "", cargo([]), profile));
        }
    }
    if is_debian_compiler_installed() || (apt_install(&PACKAGES) && install_linker() && is_debian_compiler_installed())
    {
        let origin = format!("Debian's compiler, since rustup can't add {TARGET} here");
        let mut compiler = Compiler::new(origin, "-L native=/usr/lib/wasm32-wasi", debian_cargo(), profile);
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
    fn new(origin: String, flags: &'static str, mut cargo: Command, profile: Profile) -> Compiler {
        // `cdylib` alone: for an rlib as well, cargo would disable link-time optimisation.
        cargo.args(["rustc", "--lib", "--crate-type", "cdylib", "--locked", "--target", TARGET]);
        cargo.args(["--profile", profile.name()]);
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
