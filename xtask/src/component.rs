//! Builds the component, with an installed compiler for wasm32-wasip1 or one that it installs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail};

use crate::shell::{
    announce, apt_install, cargo, cargo_at, command, has, install_from_npm, output, run, stamp, succeeds, target,
};

/// The target of the component.
pub const TARGET: &str = "wasm32-wasip1";

/// Debian's packages for a compiler, the source of the standard library, and the linker.
const PACKAGES: [&str; 5] = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm", "wasi-libc"];

/// The compiler of these packages.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// Linker arguments for the initial memory of an instance: 512 KB, of which 96 KB are stack and about 360 KB static data.
/// The rest is a heap that a small request doesn't outgrow.
///
/// Each request runs in a new instance. Afterwards, the host resets the whole memory, up to 2 MB in Spin, whether it was
/// used or not, so a smaller memory makes each request faster. One that grows costs even more, because growth changes
/// page protections of the whole process. `host/tests/e2e/deep.rs` has the requests with the deepest stacks.
const MEMORY: [&str; 2] = ["-Clink-arg=-zstack-size=98304", "-Clink-arg=--initial-memory=524288"];

/// Enables SIMD, which every version of Spin supports. Structures are then copied with fewer instructions, which makes
/// the component 25 KB smaller.
const SIMD: &str = "-Ctarget-feature=+simd128";

/// Minimum size of the heap within the initial memory, in bytes. With less, a request with a small body would grow its
/// memory: raise `MEMORY`.
pub const MIN_HEAP: u64 = 48 << 10;

/// The environment variable with flags for rustc, separated by U+001F. Cargo reads no other flags then, and with
/// `--target` it passes these to the target's crates only.
const RUSTFLAGS: &str = "CARGO_ENCODED_RUSTFLAGS";

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
    flags: &'static [&'static str],
    /// The program of rustc.
    pub rustc: &'static str,
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
    for (name, more_flags) in [("limit", Vec::new()), ("limit-linked", tuning_flags())] {
        let directory = target().join(name);
        let Compiler { flags, command: mut limit, .. } = compiler(Profile::Release)?;
        limit.args(["--manifest-path", "bench/limit/Cargo.toml", "--target-dir"]).arg(&directory);
        run(limit.env(RUSTFLAGS, encode(flags, &more_flags)))?;
        println!("{name}: {}", shrink(&directory.join(TARGET).join("release/limit.wasm"), 0)?);
    }
    Ok(())
}

/// Flags that make Sluice smaller and faster than cargo's defaults.
fn tuning_flags() -> Vec<String> {
    [SIMD].iter().chain(&MEMORY).map(|flag| (*flag).to_owned()).collect()
}

/// The flag that keeps the path of cargo's home out of the component: panics name the source files of crates. Cargo
/// passes the paths of Sluice's own files relative to the root.
fn remap(cargo_home: &Path) -> String {
    format!("--remap-path-prefix={}=registry", cargo_home.join("registry/src").display())
}

/// Cargo's home, with its registry.
pub fn cargo_home() -> Result<PathBuf> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")));
    home.context("neither CARGO_HOME nor HOME is set")
}

/// The value of [`RUSTFLAGS`].
fn encode(flags: &[&str], more: &[String]) -> String {
    flags.iter().copied().chain(more.iter().map(String::as_str)).collect::<Vec<_>>().join("\u{1f}")
}

/// Shrinks a module in place, for a faster first start: removes the descriptions of unused interfaces, and runs
/// `wasm-opt`. Returns a description of its size. If npm is missing, `wasm-opt` can't be installed, the module is an
/// eighth larger, and the description says so.
///
/// The module before `wasm-opt` is [`plain`].
pub fn shrink(path: &Path, min_heap: u64) -> Result<String> {
    // As in `cargo xtask test`, for the same features of its dependencies.
    run(&mut cargo(["build", "-q", "--workspace", "--locked", "--bin", "shrink"]))?;
    let program = std::path::absolute(target())?.join("debug/shrink");
    let binaryen = binaryen()?;
    let (plain, small) = (plain(path), path.with_extension("small.wasm"));
    // Each build replaces the module with cargo's own file, whose modification time is that of the compilation.
    let mut sources = vec![path.to_owned(), program.clone(), env::current_exe()?];
    sources.extend(binaryen.as_ref().map(|directory| stamp(directory)));
    if !is_newer(&small, &sources)? {
        let unfinished = path.with_extension("unfinished.wasm");
        run(command(program, []).arg(path).arg(&plain).arg(min_heap.to_string()))?;
        match &binaryen {
            Some(directory) => {
                let wasm_opt = directory.join("node_modules/.bin/wasm-opt");
                run(command(wasm_opt, ["-Oz"]).args(FEATURES).arg(&plain).arg("-o").arg(&unfinished))?;
                fs::rename(unfinished, &small)?;
            }
            None => _ = fs::copy(&plain, &small)?,
        }
    }
    // The path is a hard link to cargo's own file, which must not be overwritten.
    fs::remove_file(path)?;
    let size = fs::copy(&small, path)?;
    let remark = if binaryen.is_none() { ", not optimised: npm, which installs wasm-opt, is missing" } else { "" };
    Ok(format!("{size} bytes{remark}"))
}

/// The file beside a module that [`shrink`] has written before it ran `wasm-opt`.
pub fn plain(module: &Path) -> PathBuf {
    module.with_extension("plain.wasm")
}

/// The directory with the `wasm-opt` that `xtask/shrink/package-lock.json` pins, or `None` without npm. With the same
/// one, each machine builds the same bytes.
fn binaryen() -> Result<Option<PathBuf>> {
    if !has("npm") {
        return Ok(None);
    }
    let directory = std::path::absolute(target())?.join("tools/binaryen");
    install_from_npm(&directory, Path::new("xtask/shrink"), run)?;
    Ok(Some(directory))
}

/// Whether a file is newer than all its sources.
fn is_newer(file: &Path, sources: &[PathBuf]) -> Result<bool> {
    let Ok(file) = fs::metadata(file) else { return Ok(false) };
    let modified = file.modified()?;
    for source in sources {
        if modified <= fs::metadata(source)?.modified()? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Finds a compiler, or installs one and prints the commands that do so.
pub fn compiler(profile: Profile) -> Result<Compiler> {
    if is_target_installed() {
        return Compiler::new(format!("{TARGET} of the active toolchain"), &[], cargo([]), profile);
    }
    // Without access to the network, rustup fails within seconds.
    let mut add = command("rustup", ["target", "add", TARGET]);
    if has("rustup") {
        announce(&add);
        if succeeds(&mut add) && is_target_installed() {
            return Compiler::new(format!("{TARGET}, just added by rustup"), &[], cargo([]), profile);
        }
    }
    if is_debian_compiler_installed() || (apt_install(&PACKAGES) && install_linker() && is_debian_compiler_installed())
    {
        let origin = format!("Debian's compiler, since rustup can't add {TARGET} here");
        let mut compiler = Compiler::new(origin, &["-Lnative=/usr/lib/wasm32-wasi"], debian_cargo(), profile)?;
        compiler.rustc = DEBIAN_RUSTC;
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
    let needed = ["/usr/bin/cargo", DEBIAN_RUSTC, "/usr/bin/rust-lld", "/usr/lib/wasm32-wasi/libc.a"];
    let sysroot = output(&mut command(DEBIAN_RUSTC, ["--print", "sysroot"]));
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
    fn new(origin: String, flags: &'static [&'static str], mut cargo: Command, profile: Profile) -> Result<Compiler> {
        // `cdylib` alone: for an rlib as well, cargo would disable link-time optimisation.
        cargo.args(["rustc", "--lib", "--crate-type", "cdylib", "--locked", "--target", TARGET]);
        cargo.args(["--profile", profile.name()]);
        let mut compiler = Compiler { origin, flags, rustc: "rustc", command: cargo };
        compiler.set_cargo_home(&cargo_home()?);
        Ok(compiler)
    }

    /// Sets cargo's home, and the flags for rustc, of which one depends on it.
    pub fn set_cargo_home(&mut self, home: &Path) {
        let mut flags = tuning_flags();
        flags.push(remap(home));
        self.command.env("CARGO_HOME", home).env(RUSTFLAGS, encode(self.flags, &flags));
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
        .env("RUSTC", DEBIAN_RUSTC)
        // `-Zbuild-std` is unstable, and this compiler is a stable one.
        .env("RUSTC_BOOTSTRAP", "1");
    cargo
}
