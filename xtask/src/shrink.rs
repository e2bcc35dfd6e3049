//! Makes a component's module small, so that it starts fast where it has never run: `wasm-opt`, and of the interfaces that
//! the libraries describe only what is imported.

use std::collections::HashSet;
use std::path::Path;
use std::{env, fs};

use anyhow::{Context, Result, bail};
use wasmparser::{Parser, Payload};
use wit_component::StringEncoding;
use wit_component::metadata::{Bindgen, decode, encode};
use wit_parser::{InterfaceId, Resolve, WorldItem};

use crate::shell::{apt_install, command, has, run};

/// What wasm32-wasip1 has since LLVM 20, and vectors, which `wasm-opt` has to be told.
const FEATURES: [&str; 7] = [
    "--enable-bulk-memory",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
    "--enable-simd",
];

/// Shrinks a module where it is, and says how small it is. It does the same as before; without `wasm-opt` it is an eighth
/// larger.
pub(crate) fn shrink(path: &Path) -> Result<String> {
    let small = path.with_extension("small.wasm");
    let mut more = "";
    // Cargo puts its own in place at each build, as it was when it was compiled.
    if !is_newer(&small, path)? || !is_newer(&small, &env::current_exe()?)? {
        let module = fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
        let module = described(&module).context("can't rewrite what the component says of its imports")?;
        let half = path.with_extension("half.wasm");
        fs::write(&half, module)?;
        if has("wasm-opt") || apt_install(&["binaryen"]) {
            run(command("wasm-opt", ["-Oz"]).args(FEATURES).arg(&half).arg("-o").arg(&half))?;
        } else {
            more = ", not optimised, since wasm-opt (of binaryen) isn't there";
        }
        fs::rename(half, &small)?;
    }
    // Not over cargo's, of which this is a second name.
    fs::remove_file(path)?;
    Ok(format!("{} bytes{more}", fs::copy(&small, path)?))
}

fn is_newer(file: &Path, than: &Path) -> Result<bool> {
    let Ok(file) = fs::metadata(file) else { return Ok(false) };
    Ok(file.modified()? > fs::metadata(than)?.modified()?)
}

/// The module with one description of what it imports and exports, in place of one for each library, of which each lists
/// all that its library could import.
fn described(module: &[u8]) -> Result<Vec<u8>> {
    let used = imports(module)?;
    let (bare, Bindgen { mut resolve, world, producers, .. }) = decode(module)?;
    let Some(mut bare) = bare else { bail!("no library describes what it imports") };

    let mut kept = HashSet::new();
    for (key, item) in &resolve.worlds[world].imports {
        if let WorldItem::Interface { id, .. } = item
            && used.iter().any(|(module, _)| *module == resolve.name_world_key(key))
        {
            keep(&resolve, *id, &mut kept);
        }
    }
    for (_, item) in &resolve.worlds[world].exports {
        if let WorldItem::Interface { id, .. } = item {
            resolve.interface_direct_deps(*id).for_each(|id| keep(&resolve, id, &mut kept));
        }
    }
    let is_kept = |item: &WorldItem| matches!(item, WorldItem::Interface { id, .. } if kept.contains(id));
    resolve.worlds[world].imports.retain(|_, item| is_kept(item));
    let exported: Vec<_> = resolve.worlds[world].exports.values().cloned().collect();
    let is_exported = |id| exported.iter().any(|item| matches!(item, WorldItem::Interface { id: it, .. } if *it == id));
    let functions: HashSet<_> = used.iter().map(|(_, function)| function.as_str()).collect();
    for (id, interface) in resolve.interfaces.iter_mut() {
        if !is_exported(id) {
            interface.functions.retain(|name, _| functions.contains(name.as_str()));
        }
    }

    // What is decoded is named `root:root`, as is what everyone else decodes: a world of another size by that name is refused.
    if let Some(package) = resolve.worlds[world].package {
        resolve.packages[package].name.namespace = "sluice".to_owned();
    }

    let section = encode(&resolve, world, StringEncoding::UTF8, producers.as_ref())?;
    wasm_encoder::Section::append_to(
        &wasm_encoder::CustomSection { name: "component-type:sluice".into(), data: section.into() },
        &mut bare,
    );
    Ok(bare)
}

/// An interface, and those whose types it uses.
fn keep(resolve: &Resolve, id: InterfaceId, kept: &mut HashSet<InterfaceId>) {
    if kept.insert(id) {
        resolve.interface_direct_deps(id).for_each(|id| keep(resolve, id, kept));
    }
}

/// What the module imports: interface and function.
fn imports(module: &[u8]) -> Result<Vec<(String, String)>> {
    let mut imports = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::ImportSection(section) = payload? {
            for import in section.into_imports() {
                let import = import?;
                imports.push((import.module.to_owned(), import.name.to_owned()));
            }
        }
    }
    Ok(imports)
}
