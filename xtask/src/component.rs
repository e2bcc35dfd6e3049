//! The component, with whatever compiler for wasm32-wasip1 there is.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::shell::{apt_install, cargo, command, has, output, quiet, run, target};
use crate::shrink::shrink;

const TARGET: &str = "wasm32-wasip1";

/// Debian's own compiler, the standard library's source and the linker.
const PACKAGES: [&str; 5] = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm", "wasi-libc"];

/// A compiler for the component.
pub(crate) struct Compiler {
    /// Where it is from.
    said: String,
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

/// Makes `target/limit/wasm32-wasip1/release/limit.wasm`, which benchmarks hold Sluice against.
pub(crate) fn build_limit() -> Result<()> {
    let directory = target().join("limit");
    let mut limit = compiler()?.command;
    limit.args(["--manifest-path", "bench/limit/Cargo.toml", "--target-dir"]).arg(&directory);
    run(&mut limit)?;
    println!("limit: {}", shrink(&directory.join(TARGET).join("release/limit.wasm"))?);
    Ok(())
}

/// Does what is left once it is compiled, and says how large it is.
pub(crate) fn finish() -> Result<String> {
    shrink(&target().join(TARGET).join("release/sluice.wasm"))
}

/// Finds a compiler, or installs one.
pub(crate) fn compiler() -> Result<Compiler> {
    if installed() {
        return Ok(Compiler { said: format!("{TARGET} of the active toolchain"), command: rustc(cargo([])) });
    }
    // Where it can't download, it says so in a second or two.
    if has("rustup") && quiet(&mut command("rustup", ["target", "add", TARGET])) && installed() {
        return Ok(Compiler { said: format!("{TARGET}, just added by rustup"), command: rustc(cargo([])) });
    }
    if debian_installed() || (apt_install(&PACKAGES) && link_linker() && debian_installed()) {
        let said = format!("Debian's compiler, as rustup can't add {TARGET} here");
        return Ok(Compiler { said, command: debian() });
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

fn rustc(mut cargo: Command) -> Command {
    // As the only crate type: with an rlib beside it, cargo drops link-time optimisation.
    cargo.args(["rustc", "--lib", "--crate-type", "cdylib", "--release", "--locked", "--target", TARGET]);
    cargo
}

fn debian() -> Command {
    let mut build = rustc(command("/usr/bin/cargo", []));
    // We run inside another cargo, which speaks of its own toolchain.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let toolchain = ["RUSTUP_TOOLCHAIN", "RUSTC", "RUSTDOC", "RUSTFLAGS", "LD_LIBRARY_PATH", "CARGO"];
        if toolchain.contains(&&*name) || name == "CARGO_ENCODED_RUSTFLAGS" || name.starts_with("CARGO_PKG_") {
            build.env_remove(&*name);
        }
    }
    build
        .arg("-Zbuild-std=std,panic_abort")
        .env("RUSTC", "/usr/bin/rustc")
        // Building the standard library is an unstable feature of this stable compiler.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS", "-L native=/usr/lib/wasm32-wasi");
    build
}
